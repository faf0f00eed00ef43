"""From a file that Driftline has never seen to a verdict: `driftline inspect`, then `driftline replay`."""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from driftline.stream.config.load import parse_config
from tests.harness.command_line import Run

START = datetime(2026, 1, 1, tzinfo=UTC)


def write_table(path: Path, rows: int, drift_from: int | None = None) -> None:
    """Predictions of a churn model as pandas writes them, with columns of its owner's own choosing."""
    chance = random.Random(7)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["timestamp", "user_id", "prob", "pred", *(f"x{i}" for i in range(1, 16)), "Unnamed: 0"])
        for row in range(rows):
            shift = 1.5 if drift_from is not None and row >= drift_from else 0.0
            numbers = [round(chance.gauss(shift if i == 3 else 0, 1), 4) for i in range(1, 14)]
            prob = round(chance.betavariate(2, 5), 4)
            at = (START + timedelta(seconds=40 * row)).strftime("%Y-%m-%d %H:%M:%S")
            words = [chance.choice(["web", "app"]), chance.choice(["de", "fr", "it"])]
            table.writerow([at, chance.randrange(10_000), prob, int(prob > 0.5), *numbers, *words, row])


def test_two_commands_lead_from_a_table_to_the_column_that_drifts(run: Run) -> None:
    write_table(Path("churn.csv"), 6000, drift_from=5000)

    assert run("inspect", "churn.csv", "-o", "driftline.yaml").code == 0
    verdict = run("replay", "churn.csv", "-c", "driftline.yaml")

    assert verdict.code == 1
    assert "FIRING churn" in verdict.out
    assert "features.x3 " in verdict.out


def test_two_commands_find_no_drift_where_there_is_none(run: Run) -> None:
    write_table(Path("churn.csv"), 6000)

    assert run("inspect", "churn.csv", "-o", "driftline.yaml").code == 0
    assert run("replay", "churn.csv", "-c", "driftline.yaml").code == 0


def test_the_table_says_what_each_column_is_and_why(run: Run) -> None:
    write_table(Path("churn.csv"), 300)

    shown = run("inspect", "churn.csv").out

    assert "With this mapping 300 of 300 records are events, 15 features." in shown
    assert "user_id is left out: an id" in shown
    assert "'Unnamed: 0' is left out" in shown
    assert "zone        UTC" in shown
    assert "learn_events: 150" in shown


def test_an_existing_file_is_overwritten_only_by_force(run: Run) -> None:
    write_table(Path("churn.csv"), 300)
    Path("driftline.yaml").write_text("mine")

    refused = run("inspect", "churn.csv", "-o", "driftline.yaml")

    assert refused.code == 2
    assert "exists already" in refused.err
    assert Path("driftline.yaml").read_text() == "mine"
    assert run("inspect", "churn.csv", "-o", "driftline.yaml", "--force").code == 0
    assert parse_config(Path("driftline.yaml").read_text(), "x").mapping.model == "=churn"


def test_a_file_without_a_time_writes_nothing_and_exits_with_2(run: Run) -> None:
    Path("a.csv").write_text("a,b\n" + "".join(f"{row % 7},{row / 3}\n" for row in range(50)))

    result = run("inspect", "a.csv", "-o", "driftline.yaml")

    assert result.code == 2
    assert "no column holds a time" in result.out
    assert not Path("driftline.yaml").exists()


def test_json_has_the_same_facts(run: Run) -> None:
    write_table(Path("churn.csv"), 300)

    facts = orjson.loads(run("inspect", "churn.csv", "--json").out)

    assert facts["readable"] is True
    assert facts["mapping"]["ts"]["value"] == "timestamp"
    assert {each["path"]: each["use"] for each in facts["columns"]}["prob"] == "score"
    assert facts["read"] == facts["records"] == 300
    assert facts["excluded"]["features.user_id"].startswith("an id")


def test_only_the_first_records_are_read(run: Run) -> None:
    write_table(Path("churn.csv"), 300)

    facts = orjson.loads(run("inspect", "churn.csv", "--json", "--events", "100").out)

    assert facts["records"] == 100
    assert "learn_events" not in facts["configuration"]


def test_a_decimal_comma_is_read_and_written_down(run: Run) -> None:
    rows = "".join(f"2026-01-01 00:{row:02}:00;{row % 7},5\n" for row in range(60))
    Path("semicolons.csv").write_text("ts;amount\n" + rows)

    assert run("inspect", "semicolons.csv", "-o", "driftline.yaml").code == 0
    config = parse_config(Path("driftline.yaml").read_text(), "x")
    assert config.files.decimal == ","


def test_names_from_traffic_are_no_markup(run: Run) -> None:
    rows = [{"ts": 1767225600000 + row, "[/b] [red]x": row % 7 + 0.5} for row in range(60)]
    Path("odd.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))

    assert "[/b] [red]x" in run("inspect", "odd.jsonl").out


@pytest.mark.parametrize(
    ("name", "mapping", "signals"),
    [
        ("flat-json/flat.jsonl", {"id": "id", "ts": "ts", "model": "model", "features": "rest"}, {"features.amount"}),
        ("flat-json/noid.jsonl", {"id": "$record", "features": "features"}, {"features.amount"}),
        ("flat-json/nomodel.jsonl", {"model": "=nomodel"}, {"features.amount"}),
        ("csv-dialects/cr.csv", {"features": "rest"}, {"features.amount", "features.country"}),
        ("csv-dialects/crlf_bom.csv", {"features": "rest"}, {"features.amount", "features.country"}),
        ("csv-dialects/latin1.csv", {"features": "rest"}, {"features.amount", "features.country"}),
        ("csv-dialects/tab.csv", {"features": "rest"}, {"features.amount", "features.country"}),
        ("csv-dialects/tab.tsv", {"features": "rest"}, {"features.amount", "features.country"}),
        ("csv-dialects/utf16.csv", {"features": "rest"}, {"features.amount", "features.country"}),
        ("csv-dialects/index.csv", {"features": "rest"}, {"features.a"}),
        ("csv-dialects/quoted.csv", {"features": "rest"}, {"features.note"}),
        ("kserve-v2/live.jsonl.gz", {"preset": "kserve-v2"}, {"features.amount", "features.channel"}),
        ("kserve-blind/live.jsonl.gz", {"preset": "kserve-v2"}, {"features.amount"}),
        ("seldon-ndarray/live.jsonl", {"preset": "seldon"}, {"features.sl", "features.sw"}),
        ("sagemaker-capture/live.jsonl", {"preset": "sagemaker"}, {"features.0", "features.1", "prediction"}),
        ("numeric-strings/live.jsonl.gz", {"features": "features"}, {"features.amount", "features.n", "score"}),
        ("parquet-types/types.parquet", {"ts": "ts", "model": "model"}, {"features.amount", "features.geo.lat"}),
        ("parquet-types/struct.parquet", {"features": "features"}, {"features.x"}),
        ("parquet-types/jsonstring.parquet", {"features": "features"}, {"features.x"}),
        ("parquet-types/seconds.parquet", {"ts": "ts"}, {"features.x"}),
        ("parquet-types/naive.parquet", {"zone": "UTC"}, {"features.x"}),
        ("model-as-number/live.jsonl", {"model": "model"}, {"features.a"}),
        *(
            (f"epoch-units/{name}.jsonl", {"ts": "ts"}, {"score"})
            for name in ("basic", "comma", "micros", "named", "nanos", "nine", "no_seconds", "pg", "seconds",
                         "seconds_int", "short_zone", "space", "text_ms")
        ),
    ],
)  # fmt: skip
@pytest.mark.shared
def test_the_cases_that_failed_are_read(
    run: Run, name: str, mapping: dict[str, str], signals: set[str], shared_cases: Path
) -> None:
    result = run("inspect", str(shared_cases / name), "--json")
    facts = orjson.loads(result.out)

    assert result.code == 0
    assert {part: facts["mapping"][part]["value"] for part in mapping} == mapping
    assert signals <= set(facts["signals"])
    assert facts["read"] == facts["records"]


def test_a_name_with_a_line_break_forges_no_row_of_the_table(run: Run) -> None:
    events = [
        {"id": f"p{i}", "ts": f"2026-01-01T00:{i:02}:00Z", "model": "m", "features": {"a\nforged  numeric": i % 7}}
        for i in range(60)
    ]
    Path("m.jsonl").write_bytes(b"\n".join(map(orjson.dumps, events)))

    shown = run("inspect", "m.jsonl").out.splitlines()

    assert not [line for line in shown if line.startswith("forged")]
    assert [line for line in shown if line.startswith(r"features.a\nforged")]
