"""`driftline scan` of tables with labels: whether the model is right, and a label that comes later."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest

from tests.harness.command_line import Run


def test_a_scan_of_rows_with_labels_says_whether_the_model_is_right_and_since_when_not(run: Run) -> None:
    """The columns look as before, and labels no longer follow the scores from row 1,500 on."""
    chance = random.Random(3)

    def write(name: str, rows: int, turn: int, day: str) -> None:
        lines = ["at,amount,score,predicted,label"]
        for row in range(rows):
            score = chance.random()
            label = chance.random() < (score if row < turn else 0.5)
            at = datetime.fromisoformat(day) + timedelta(minutes=10 * row)
            lines.append(f"{at.isoformat()},{chance.gauss(50, 9):.1f},{score:.3f},{int(score > 0.5)},{int(label)}")
        Path(name).write_text("\n".join(lines) + "\n")

    write("train.csv", 3000, 3000, "2026-01-01")
    write("june.csv", 3000, 1500, "2026-06-01")
    named = ("--label", "label", "--prediction", "predicted", "--score", "score", "--time", "at")

    found = run("scan", "june.csv", "--reference", "train.csv", *named, "--report", "r.html")
    facts = orjson.loads(run("scan", "june.csv", "--reference", "train.csv", *named, "--json").out)

    assert "in the reference" in found.out
    assert ": worse" in found.out
    page = Path("r.html").read_text()
    assert "Whether the model is right" in page
    assert "accuracy over time: " in page
    assert facts["performance"]["worse"] is True
    [since] = [each["since"] for each in facts["performance"]["changes"] if each["worse"]]
    assert "2026-06-09" < since < "2026-06-14"


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [("churned", (), 0), ("label", (), 0), ("paid_back", ("--label", "paid_back"), 0), ("paid_back", (), 1)],
)
def test_a_label_that_only_the_reference_has_yet_is_no_lost_column(
    run: Run, name: str, options: tuple[str, ...], code: int
) -> None:
    chance = random.Random(4)
    for path, more in (("train.csv", True), ("live.csv", False)):
        lines = [f"amount,prediction{f',{name}' if more else ''}"]
        for _ in range(1500):
            amount, label = chance.gauss(50, 9), chance.choice(["yes", "no"])
            lines.append(f"{amount:.1f},{'yes' if amount > 50 else 'no'}{f',{label}' if more else ''}")
        Path(path).write_text("\n".join(lines))

    found = run("scan", "live.csv", "--reference", "train.csv", *options)

    assert found.code == code
    said = f"train.csv: its label, {name}, is not in live.csv yet, and is not compared" in found.words
    assert said == (code == 0)
    assert ("100 %" in found.words) == (code == 1)
