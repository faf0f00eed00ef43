"""`driftline scan`: from two tables that Driftline has never seen to what changed, in one command."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from tests.harness.command_line import Run
from tests.harness.payments import payments, write_csv


def tables(drift_from: int | None, *leave_out: str, rows: int = 3000) -> None:
    write_csv(Path("train.csv"), list(payments(3000)), *leave_out)
    write_csv(Path("live.csv"), list(payments(rows, drift_from, seed=2)), *leave_out)


def test_one_command_names_what_changed_since_when_and_how_much(run: Run) -> None:
    tables(drift_from=2000)

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 1
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    trust = next(line for line in lines if line.startswith("device_trust"))
    assert "missing 0 % → 3" in trust
    assert "10 Sep 2026" in trust  # row 2000 is of the 10th
    assert any(line.startswith(("decision", "prediction")) for line in lines)
    assert "live has changed: 4 of its 5 signals differ from the reference, the first since 10 Sep 2026." in lines


def test_the_worst_signal_comes_first_and_what_is_as_usual_last(run: Run) -> None:
    tables(drift_from=2000)

    rows = orjson.loads(run("scan", "live.csv", "--reference", "train.csv", "--json").out)["signals"]

    sizes = [row["size"] for row in rows]
    assert rows[0]["size"] in ("strongly different", "nothing like the reference")
    assert sizes[-1] == "as usual"
    assert rows[-1]["signal"] == "features.country"
    assert {row["signal"]: row["change"] for row in rows}["features.amount"].startswith("is about 1")


def test_two_tables_that_are_alike_are_an_all_clear(run: Run) -> None:
    tables(drift_from=None)

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 0
    assert "live looks as in the reference: none of its 5 signals has changed." in found.words


def test_the_guesses_are_printed_and_can_be_overridden(run: Run) -> None:
    tables(drift_from=2000)

    guessed = run("scan", "live.csv", "--reference", "train.csv")
    given = run("scan", "live.csv", "--reference", "train.csv", "--prediction", "country", "--id", "order", "--json")

    assert "columns: time paid_at, prediction decision; left out: order" in guessed.words
    facts = orjson.loads(given.out)
    assert facts["columns"]["prediction"] == {"value": "country", "why": "given"}
    assert "features.decision" in {row["signal"] for row in facts["signals"]}


def test_without_times_two_samples_are_compared_and_the_output_says_so(run: Run) -> None:
    tables(0, "paid_at", rows=1500)

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 1
    assert "device_trust missing 0 % → 3" in found.words
    assert "since (UTC)" not in found.out
    assert "the rows have no time, so each table is one sample of independent rows" in found.words


def test_without_times_two_samples_that_are_alike_are_an_all_clear(run: Run) -> None:
    tables(None, "paid_at")

    assert run("scan", "live.csv", "--reference", "train.csv").code == 0


def test_a_reference_without_times_still_dates_a_change(run: Run) -> None:
    tables(drift_from=2000)
    write_csv(Path("train.csv"), list(payments(3000)), "paid_at")

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 1
    assert "the first since 10 Sep 2026" in found.words
    assert "train.csv: has no times, so how traffic varies over time is not known" in found.words


def test_rows_in_any_order_are_judged_in_the_order_of_their_times(run: Run) -> None:
    tables(drift_from=2000)
    write_csv(Path("live.csv"), list(payments(3000, 2000, seed=2))[::-1])

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert "the first since 10 Sep 2026" in found.words
    assert "live.csv: rows are not in the order of their times; they were sorted" in found.words


def test_a_first_row_without_a_time_is_no_disorder(run: Run) -> None:
    tables(drift_from=None)
    write_csv(
        Path("live.csv"), [row | ({} if at else {"paid_at": ""}) for at, row in enumerate(payments(3000, seed=2))]
    )

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 0
    assert "not in the order" not in found.words


def test_jsonl_and_parquet_say_the_same_as_csv(run: Run) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    tables(drift_from=2000)
    for name, rows in (("train", list(payments(3000))), ("live", list(payments(3000, 2000, seed=2)))):
        with gzip.open(f"{name}.jsonl.gz", "wb") as file:
            file.writelines(orjson.dumps(row) + b"\n" for row in rows)
        parquet.write_table(pyarrow.Table.from_pylist(rows), f"{name}.parquet")

    answers = [
        orjson.loads(run("scan", f"live.{kind}", "--reference", f"train.{kind}", "--json").out)["signals"]
        for kind in ("csv", "jsonl.gz", "parquet")
    ]

    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("live.csv", "--kind", "amt=numeric"), "train.csv: has no signal 'amt' to be numeric; it has"),
        (("live.csv", "--report", "no/such/page.html"), "there is no folder no/such; make it first"),
        (("live.csv", "--time", "paid"), "live.csv: has no column 'paid' for the time; did you mean 'paid_at'?"),
        (("live.csv", "--label", "churn"), "live.csv: has no column 'churn' for the label."),
        (("live.csv", "--time", "amount"), "expected a time"),
        (("absent.csv",), "absent.csv: no such file"),
        (("-",), "standard input: tables are read twice; save it as a file"),
        (("empty.csv",), "empty.csv: is empty; leave it out"),
        (("head.csv",), "head.csv: holds no events; leave it out"),
    ],
)
def test_an_error_names_the_file_the_column_and_the_remedy(run: Run, arguments: tuple[str, ...], says: str) -> None:
    tables(drift_from=None, rows=200)
    Path("empty.csv").touch()
    Path("head.csv").write_text("paid_at,amount\n")

    found = run("scan", *arguments, "--reference", "train.csv")

    assert found.code == 2
    assert says in found.words


def test_a_table_of_one_row_gets_no_verdict_and_no_all_clear(run: Run) -> None:
    tables(drift_from=None)
    write_csv(Path("live.csv"), list(payments(1)))

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 2
    assert "no verdict: too little was judged" in found.words
    assert re.search(r"country .* → 100 % not judged", found.words)
    assert "as usual" not in found.words


def test_a_model_that_nobody_judged_gets_no_all_clear_beside_one_that_drifts(run: Run) -> None:
    def rows(live: bool) -> list[str]:
        first = [f"a,{i % 37 + 30 * live},{i % 11}" for i in range(1500)]
        return first + [f"b,{1000 * live + i % 23},{i % 7}" for i in range(20 if live else 1500)]

    for path, live in (("train.csv", False), ("live.csv", True)):
        Path(path).write_text("\n".join(["model,amount,size", *rows(live)]))

    found = run("scan", "live.csv", "--reference", "train.csv", "--report", "page.html")
    facts = orjson.loads(run("scan", "live.csv", "--reference", "train.csv", "--json").out)

    assert found.code == 1
    assert "a has changed" in found.words
    assert "b has no verdict: too little of it was judged." in found.words
    assert "b looks as in the reference" not in found.words
    assert {each["size"] for each in facts["signals"] if each["model"] == "b"} == {"not judged"}
    assert "not judged" not in {each["size"] for each in facts["signals"] if each["model"] == "a"}
    assert "b looks as in the reference" not in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("column", "spoil"),
    [
        ("country", lambda chance, _: f"{chance.getrandbits(40):010x}"),
        ("country", lambda chance, _: f"{chance.getrandbits(128):032x}"),
        ("amount", lambda chance, _: f"v{chance.random():.6f}x{chance.getrandbits(20)}"),
        ("amount", lambda _, at: at),
    ],
    ids=["random text", "hashes", "text instead of numbers", "a counter"],
)
def test_a_signal_that_turned_into_garbage_has_changed(
    run: Run, column: str, spoil: Callable[[random.Random, int], object]
) -> None:
    chance = random.Random(3)
    tables(drift_from=None)
    garbage = [row | {column: spoil(chance, at)} for at, row in enumerate(payments(2000, seed=2))]
    write_csv(Path("live.csv"), garbage, "order")

    found = run("scan", "live.csv", "--reference", "train.csv", "--json")

    assert found.code == 1
    changed = {row["signal"]: row for row in orjson.loads(found.out)["signals"]}[f"features.{column}"]
    assert changed["drifts"]


def test_numbers_of_rows_in_another_order_are_still_left_out(run: Run) -> None:
    chance = random.Random(4)
    for path, order in (("train.csv", chance.sample(range(3000), 3000)), ("live.csv", list(range(2000)))):
        Path(path).write_text("row,x\n" + "".join(f"{row},{chance.gauss(0, 1):.3f}\n" for row in order))

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 0
    assert "row: left out: counts the rows" in found.words


def test_tables_without_a_common_column_get_no_verdict(run: Run) -> None:
    Path("train.csv").write_text("x,y\n" + "".join(f"{i % 37},{i % 11}\n" for i in range(500)))
    Path("live.csv").write_text("a,b\n" + "".join(f"{i % 37},{i % 11}\n" for i in range(500)))

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 2
    assert "live.csv and train.csv have no column in common to compare: a, b in one, x, y in the other" in found.words


def test_for_whom_is_said_on_the_terminal_in_json_and_on_the_page(run: Run) -> None:
    tables(drift_from=2000)
    arguments = ("scan", "live.csv", "--reference", "train.csv", "--for-whom", "country,decision")

    found = run(*arguments, "--report", "page.html")
    facts = orjson.loads(run(*arguments, "--json").out)

    says = "device_trust: for all values of country; for all values of prediction"
    assert says in found.words
    trust = next(row for row in facts["signals"] if row["signal"] == "features.device_trust")
    assert [each["says"] for each in trust["for_whom"]] == says.removeprefix("device_trust: ").split("; ")
    assert "For whom <span>for all values of country" in Path("page.html").read_text()
    assert "--for-whom country,decision" in Path("page.html").read_text()


def test_a_tag_that_is_no_feature_can_be_asked_for(run: Run) -> None:
    for path, drift in (("train.jsonl", None), ("live.jsonl", 2000)):
        lines = [
            {
                "id": row["order"], "ts": row["paid_at"], "model": "pay", "tags": {"land": row["country"]},
                "features": {"amount": row["amount"]},
            }
            for row in payments(3000, drift)
        ]  # fmt: skip
        Path(path).write_bytes(b"\n".join(map(orjson.dumps, lines)))

    found = run("scan", "live.jsonl", "--reference", "train.jsonl", "--for-whom", "tags.land")

    assert "amount: for all values of tags.land" in found.words


def test_a_table_compared_with_itself_shows_values_that_it_has(run: Run) -> None:
    tables(drift_from=None)

    found = run("scan", "train.csv", "--reference", "train.csv")

    assert found.code == 0
    assert re.search(r"country (\w+) ([\d.]+ %) → \2 as usual", found.words)


def test_a_column_that_only_spreads_shows_where_its_values_lie(run: Run) -> None:
    chance = random.Random(5)
    for path, spread in (("train.csv", 1.0), ("live.csv", 3.0)):
        Path(path).write_text("x\n" + "".join(f"{chance.gauss(0, spread):.3f}\n" for _ in range(2000)))

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert re.search(r"x -1\.\d+ … 1\.\d+ → -[45](\.\d+)? … [45](\.\d+)? ", found.words)


def test_a_kind_is_given_by_the_name_that_the_output_shows(run: Run) -> None:
    tables(drift_from=None)

    rows = orjson.loads(
        run("scan", "live.csv", "--reference", "train.csv", "--kind", "country=categorical", "--json").out
    )["signals"]

    assert {row["signal"]: row["kind"] for row in rows}["features.country"] == "categorical"


def test_the_object_around_the_features_is_no_signal(run: Run) -> None:
    for path in ("train.jsonl", "live.jsonl"):
        rows = [{"id": str(i), "ts": 1_760_000_000 + i, "model": "m", "features": {"x": i % 37}} for i in range(500)]
        Path(path).write_bytes(b"\n".join(map(orjson.dumps, rows)))

    found = run("scan", "live.jsonl", "--reference", "train.jsonl", "--kind", "features=numeric")

    assert found.code == 2
    assert "has no signal 'features' to be numeric; it has x" in found.words


def test_a_reference_of_a_few_rows_gives_no_all_clear(run: Run) -> None:
    tables(drift_from=None)
    write_csv(Path("train.csv"), list(payments(20)))

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 2
    assert "a baseline of so few events (20) cannot show a shift of 1 σ" in found.words


def test_a_table_of_one_signal_and_one_without_any_value_are_judged(run: Run) -> None:
    Path("train.csv").write_text("x,y\n" + "".join(f"{i % 37},{i % 11}\n" for i in range(2000)))
    Path("one.csv").write_text("x\n" + "".join(f"{i % 37 + 30}\n" for i in range(500)))
    Path("gone.csv").write_text("x,y\n" + "".join(f"{i % 37},\n" for i in range(500)))

    one, gone = (run("scan", name, "--reference", "train.csv") for name in ("one.csv", "gone.csv"))

    assert one.code == gone.code == 1
    assert "y missing 0 % → 100 %" in one.words
    assert "y missing 0 % → 100 %" in gone.words


def test_a_reference_that_cannot_be_read_by_the_same_columns_is_refused(run: Run) -> None:
    tables(drift_from=None)
    Path("train.csv").write_text("other\n" + "not json,\n" * 40)

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 2
    assert "train.csv" in found.words


def test_names_and_values_from_a_table_are_never_markup(run: Run) -> None:
    for path, rows in (("train.csv", payments(2000)), ("live.csv", payments(2000, 0, seed=2))):
        renamed = [
            {("[red]a[/]\u202eb" if key == "device_trust" else key): value for key, value in row.items()}
            for row in rows
        ]
        write_csv(Path(path), renamed)

    found = run("scan", "live.csv", "--reference", "train.csv")

    assert found.code == 1
    assert "[red]a[/]\\u202eb" in found.out


@pytest.mark.shared
def test_electricity_began_to_change_on_the_fourth_of_may_1997(run: Run, shared_data: Path) -> None:
    files = (str(shared_data / f"electricity_{name}.jsonl.gz") for name in ("live", "baseline"))
    live, reference = files

    found = run("scan", live, "--reference", reference)

    assert found.code == 1
    assert (
        "electricity has changed: 5 of its 9 signals differ from the reference, the first since 4 May 1997"
        in found.words
    )
    assert found.out.split()[0] == "electricity"
