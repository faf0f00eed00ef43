"""`driftline performance`: tables with labels, or labels in a file of their own."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from driftline.stream.outcomes.performance import concatenated
from driftline.stream.outcomes.rows import Rows
from tests.harness.command_line import Run
from tests.harness.outcomes import documents, outcomes

DAY = 86_400


def written(path: Path, rows: Rows, *left_out: str) -> Path:
    """The rows as CSV, without some columns."""
    with path.open("w", newline="") as file:
        kept = [name for name in next(documents(rows)) if name not in left_out]
        table = csv.DictWriter(file, kept, extrasaction="ignore")
        table.writeheader()
        table.writerows(documents(rows))
    return path


def truths(path: Path, rows: Rows, seed: int) -> Path:
    """Labels by id, a day late, in random order; some come twice, some are corrected, some have unknown ids."""
    draw, lines = random.Random(seed), list[dict[str, object]]()
    for each in documents(rows):
        right, at = each["fraudulent"], each["paid_at"] + DAY
        if draw.random() < 0.05:
            wrong = "fine" if right == "fraud" else "fraud"
            lines.append({"id": each["id"], "label": wrong, "known_at": at - 600})
        lines += [{"id": each["id"], "label": right, "known_at": at}] * (1 + (draw.random() < 0.05))
    lines += [{"id": f"other-{each}", "label": "fine", "known_at": at} for each in range(7)]
    draw.shuffle(lines)
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


DRIFTED = concatenated(outcomes(6000, 1), outcomes(3000, 2, 6000, concept=0.6))
COLUMNS = ("--label", "fraudulent", "--prediction", "decision", "--time", "paid_at")


def test_a_table_with_labels_says_since_when_they_no_longer_follow_scores(run: Run, tmp_path: Path) -> None:
    result = run("performance", str(written(tmp_path / "payments.csv", DRIFTED)), *COLUMNS, "--by", "week")

    assert result.code == 1
    assert "week (UTC)" in result.out
    assert "16 Feb 2026" in result.out
    assert "concept drift" in result.words
    assert re.search(r"since 1\d Feb 2026", result.words)
    assert "time paid_at, prediction decision, score score, label fraudulent" in result.words


def test_a_table_in_which_nothing_changes_is_no_worse(run: Run, tmp_path: Path) -> None:
    result = run("performance", str(written(tmp_path / "payments.csv", outcomes(6000, 3))), *COLUMNS)

    assert result.code == 0
    assert "no worse" in result.words


def test_what_has_nothing_to_be_compared_with_is_no_all_clear_unless_a_bound_is_all_that_was_asked(
    run: Run, tmp_path: Path
) -> None:
    table = str(written(tmp_path / "payments.csv", outcomes(300, 3)))
    bare, bound = (run("performance", table, *COLUMNS, *more) for more in ((), ("--require", "accuracy>=0.5")))

    assert bare.code == 2
    assert "nothing to compare it with" in bare.words
    assert bound.code == 0


def test_labels_that_come_late_doubled_corrected_and_disordered_give_the_same_figures(run: Run, tmp_path: Path) -> None:
    whole = run("performance", str(written(tmp_path / "a.csv", DRIFTED)), *COLUMNS, "--json")
    bare = written(tmp_path / "b.csv", DRIFTED, "fraudulent")
    labels = truths(tmp_path / "labels.jsonl", DRIFTED, 4)
    joined = run(
        "performance", str(bare), "--labels", str(labels), "--prediction", "decision", "--time", "paid_at", "--json"
    )
    facts, direct = json.loads(joined.out), json.loads(whole.out)

    assert joined.code == whole.code == 1
    assert facts["periods"] == direct["periods"]
    assert facts["changes"] == direct["changes"]
    assert facts["labels"]["matched"] == len(DRIFTED)
    assert facts["labels"]["unmatched"] == 7
    assert facts["labels"]["corrected"] > 300
    assert facts["labels"]["repeated"] > 300
    assert any("labels come after" in each for each in facts["says"])


def test_a_part_of_the_labels_is_said_with_the_scores_it_leaves_out(run: Run, tmp_path: Path) -> None:
    rows = outcomes(6000, 5)
    some = rows.take((rows.score < 0.3).nonzero()[0])
    bare, labels = written(tmp_path / "b.csv", rows, "fraudulent"), truths(tmp_path / "labels.jsonl", some, 6)
    result = run("performance", str(bare), "--labels", str(labels), "--prediction", "decision", "--time", "paid_at")

    assert "of 6,000 predictions have a label" in result.words
    assert "0.0 % have one" in result.words


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--label", "fraudulant"), "has no column 'fraudulant' for the label; did you mean 'fraudulent'?"),
        (("--prediction", "score", "--score", "score"), "the column 'score' cannot be the prediction and the score"),
        (("--label", "fraudulent", "--cost", "fp"), "--cost: expected fp=NUMBER or fn=NUMBER"),
        (("--label", "fraudulent", "--positive", "yes"), "there is no class 'yes'; there are"),
        (("--label", "fraudulent", "--require", "recall@yes>=0.5"), "there is no such metric; there are accuracy"),
        (("--label", ""), "'' is no name of a column for the label"),
        (("--time", "paid_at."), "'paid_at.' is no name of a column for the time"),
        (("--id", "zzz"), "has no column 'zzz' for the id. The columns are id, paid_at"),
        (("--prediction", "score"), "the column 'score' is the score by its name, and cannot be the prediction, too"),
        (("--label", "fraudulent", "--reference-label", "x"), "--reference-label names a column of --reference"),
        (("--labels", "kafka://labels"), "--labels: predictions of a table have labels of a table; save those of"),
        (("--reference", "kafka://before"), "kafka://before: is a topic, and files are read here"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_a_remedy(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    result = run("performance", str(written(tmp_path / "payments.csv", outcomes(600, 8))), *arguments)

    assert result.code == 2
    assert reason in result.words


@pytest.mark.parametrize("left_out", ["fraudulent", ""])
def test_predictions_without_labels_beside_a_reference_get_no_verdict(run: Run, tmp_path: Path, left_out: str) -> None:
    rows = outcomes(600, 8)
    reference = written(tmp_path / "before.csv", outcomes(2000, 1))
    live = written(tmp_path / "live.csv", rows.with_labels([None] * len(rows)), left_out)
    columns = (
        "--prediction",
        "decision",
        "--time",
        "paid_at",
        "--reference",
        str(reference),
        "--reference-label",
        "fraudulent",
    )
    bare, bound = (run("performance", str(live), *columns, *more) for more in ((), ("--require", "accuracy>=0.5")))

    assert bare.code == bound.code == 2
    assert "no verdict, as none of its predictions has a label, and it takes 20" in bare.words


@pytest.mark.parametrize(("n", "few"), [(1, "only 1 of its predictions has"), (7, "only 7 of its predictions have")])
def test_a_few_labels_beside_a_reference_give_no_verdict_either(run: Run, tmp_path: Path, n: int, few: str) -> None:
    rows = outcomes(600, 8)
    reference = written(tmp_path / "before.csv", outcomes(2000, 1))
    live = written(tmp_path / "live.csv", rows.with_labels([*rows.label[:n], *[None] * (len(rows) - n)]))
    result = run("performance", str(live), *COLUMNS, "--reference", str(reference))

    assert result.code == 2
    assert f"no verdict, as {few} a label, and it takes 20" in result.words


def test_the_label_of_a_reference_may_have_another_name(run: Run, tmp_path: Path) -> None:
    text = written(tmp_path / "before.csv", outcomes(6000, 1)).read_text()
    live, same = written(tmp_path / "live.csv", outcomes(3000, 2)), ("--reference", "before.csv", "--json")
    facts = []
    for name, option in (("fraudulent", ()), ("truth", ()), ("verdict", ("--reference-label", "verdict"))):
        (tmp_path / "before.csv").write_text(text.replace("fraudulent", name))
        facts.append(json.loads(run("performance", str(live), *COLUMNS, *same, *option).out))
    unnamed = run("performance", str(live), *COLUMNS, *same)

    assert facts[0]["reference"] == facts[1]["reference"] == facts[2]["reference"]
    assert facts[0]["reference"]["rows"] == 6000
    assert any("the label is taken to be" in each and "truth" in each for each in facts[1]["notes"])
    assert "--reference-label verdict" in facts[2]["command"]
    assert unnamed.code == 2
    assert "before.csv: has no column 'fraudulent' with the label. If another one has it, rename that" in unnamed.words


def test_a_file_of_labels_without_ids_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("customer,label\n1,fine\n2,fraud\n")
    bare = written(tmp_path / "b.csv", outcomes(600, 9), "fraudulent")
    result = run("performance", str(bare), "--labels", "labels.csv", "--prediction", "decision", "--time", "paid_at")

    assert result.code == 2
    assert "no column is known as the id; name it with --id. It has customer, label" in result.words


@pytest.mark.shared
def test_the_accuracy_of_electricity_by_week_is_the_direct_one_and_falls_in_may(run: Run, shared_data: Path) -> None:
    files = {name: shared_data / f"electricity_{name}.jsonl.gz" for name in ("baseline", "live", "labels")}
    result = run(
        "performance", str(files["live"]), "--labels", str(files["labels"]), "--reference", str(files["baseline"]),
        "--by", "day", "--json",
    )  # fmt: skip
    facts = json.loads(result.out)
    live, labels = (
        map(json.loads, gzip.decompress(files[name].read_bytes()).splitlines()) for name in ("live", "labels")
    )
    truth = {each["id"]: each["label"] for each in labels}
    rows, right = Counter[str](), Counter[str]()
    for each in live:
        rows[each["ts"][:10]] += 1
        right[each["ts"][:10]] += each["prediction"] == truth[each["id"]]
    found = {each["start"][:10]: each["metrics"][0] for each in facts["periods"]}

    assert {day: each["value"] for day, each in found.items()} == {day: right[day] / rows[day] for day in rows}
    assert {day: each["n"] for day, each in found.items()} == dict(rows)
    (change,) = [each for each in facts["changes"] if each["worse"]]
    assert "1997-05-01" <= change["since"] <= "1997-05-15"
    assert change["until"] is None
    assert "accuracy 46.6 %, in the reference 82.2 %" in change["says"]


@pytest.mark.shared
def test_electricity_without_a_reference_is_worse_than_its_first_months(run: Run, shared_data: Path) -> None:
    live, labels = (str(shared_data / f"electricity_{name}.jsonl.gz") for name in ("live", "labels"))
    result = run("performance", live, "--labels", labels, "--by", "month")

    assert result.code == 1
    assert "at first 83.6 %" in result.words
    assert result.out.rstrip().endswith(": worse")
