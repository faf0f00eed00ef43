"""`driftline.compare`: data frames of any library in, the findings of a scan out, shown by notebooks."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import driftline
from driftline.stream.sources.inputs import InputError
from tests.harness.payments import payments

pyarrow = pytest.importorskip("pyarrow")


def rows(drift_from: int | None, seed: int = 2) -> list[dict[str, Any]]:
    return list(payments(1500, drift_from, seed))


@pytest.fixture(scope="module")
def result() -> driftline.Result:
    return driftline.compare(rows(None, 1), rows(1000), time="paid_at")


def test_a_result_says_what_changed_in_sentences(result: driftline.Result) -> None:
    assert result.drifted
    assert "live has changed: 4 of its 5 signals differ from the reference" in result.verdict
    assert re.search(r"device_trust is missing in 3\d(\.\d)? % of the rows; in the reference in 0 %", repr(result))
    assert result["amount"].change.startswith("is about 1")
    assert str(result["amount"].since.date()) == "2026-09-05"
    assert any(each.startswith("order: left out") for each in result.unchecked)


def test_a_frame_of_any_library_gives_the_same_rows(result: driftline.Result) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    reference, live = rows(None, 1), rows(1000)
    columns = {name: [row[name] for row in live] for name in live[0]}
    frames = [
        (pandas.DataFrame(reference), pandas.DataFrame(live), pandas.DataFrame),
        (polars.DataFrame(reference), polars.DataFrame(live), polars.DataFrame),
        (pyarrow.Table.from_pylist(reference), columns, pyarrow.Table),
    ]

    for before, after, kind in frames:
        found = driftline.compare(before, after, time="paid_at")
        assert found.rows == result.rows
        assert isinstance(found.to_frame(), kind)


def test_times_may_be_those_of_the_frame_and_the_frame_may_have_none() -> None:
    pandas = pytest.importorskip("pandas")
    reference, live = (pandas.DataFrame(each) for each in (rows(None, 1), rows(1000)))
    for frame in (reference, live):
        frame["paid_at"] = pandas.to_datetime(frame["paid_at"])

    timed = driftline.compare(reference, live)
    untimed = driftline.compare(reference.drop(columns="paid_at"), live.drop(columns="paid_at"))

    assert str(timed["device_trust"].since.date()) == "2026-09-05"
    assert untimed.drifted
    assert untimed["device_trust"].since is None
    assert any("the rows have no time" in each for each in untimed.unchecked)


def test_an_index_of_times_without_a_name_is_the_time(result: driftline.Result, tmp_path: Path) -> None:
    pandas, parquet = pytest.importorskip("pandas"), pytest.importorskip("pyarrow.parquet")
    reference, live = (pandas.DataFrame(each) for each in (rows(None, 1), rows(1000)))
    indexed = [each.set_index(pandas.to_datetime(each.pop("paid_at")).rename(None)) for each in (reference, live)]
    indexed[1].to_parquet(tmp_path / "live.parquet")

    for after in (indexed[1], parquet.read_table(tmp_path / "live.parquet")):
        found = driftline.compare(indexed[0], after)
        assert found["device_trust"].since == result["device_trust"].since


def test_columns_may_be_numbered() -> None:
    pandas = pytest.importorskip("pandas")
    reference, live = (
        {0: [float(each % 40) for each in range(n)], 1: [float(each % 40) + more for each in range(n)]}
        for n, more in ((2000, 0), (500, 15))
    )
    for make in (dict, pandas.DataFrame, lambda columns: pandas.DataFrame(columns).to_dict("records")):
        found = driftline.compare(make(reference), make(live), kinds={0: "numeric"})
        assert found[1].change == "is higher: a typical value is now 34, was 19"
    with pytest.raises(InputError, match=r"live: has no column '5' for the time. The columns are 0, 1"):
        driftline.compare(reference, live, time=5)
    with pytest.raises(InputError, match="two columns have one name: '0', 0"):
        driftline.compare(reference, {"0": [1.0], 0: [1.0]})


def test_a_kind_that_does_not_fit_its_column_is_named() -> None:
    with pytest.raises(InputError, match=r"reference: country: cannot be numeric: there are 0 numbers among 1,500 val"):
        driftline.compare(rows(None, 1), rows(None), kinds={"country": "numeric"})
    with pytest.raises(InputError, match=r"amount: cannot be boolean: there are [\d,]+ different ones among 1,500"):
        driftline.compare(rows(None, 1), rows(None), kinds={"amount": "boolean"})
    with pytest.raises(InputError, match="kinds: expected one of numeric, categorical, boolean, got 'constant'"):
        driftline.compare(rows(None, 1), rows(None), kinds={"amount": "constant"})


def test_a_notebook_shows_the_report_in_a_frame_where_nothing_runs(result: driftline.Result, tmp_path: Path) -> None:
    shown = result._repr_html_()
    result.save_html(tmp_path / "page.html")

    assert shown.startswith("<iframe sandbox srcdoc=")
    inner = re.search(r'srcdoc="([^"]*)"', shown)
    assert inner is not None
    assert unescape(inner[1]) == (tmp_path / "page.html").read_text("utf-8")


def test_a_signal_has_a_card_of_its_own(result: driftline.Result, tmp_path: Path) -> None:
    card = result.plot("device_trust")
    card.save_html(tmp_path / "card.html")

    text = (tmp_path / "card.html").read_text("utf-8")
    assert "device_trust" in text
    assert "amount" not in text
    with pytest.raises(KeyError, match="no signal 'trust'; there are device_trust"):
        result.plot("trust")


def test_for_whom_may_be_one_name() -> None:
    found = driftline.compare(rows(None, 1), rows(1000), time="paid_at", for_whom="country")

    assert [each["column"] for each in found["amount"].for_whom] == ["features.country"]
    assert "for_whom=['country']" in found.scan.wishes.command


@pytest.mark.parametrize(
    ("live", "says"),
    [
        (
            7,
            "live: expected a pandas or Polars data frame, .* or a list of dicts, got int",
        ),
        ({"x": []}, "live: has no rows"),
        ({"x": [1], "y": [1, 2]}, "live: .*all columns one length"),
        ({"x": [1, "a", {}]}, "live: .*give each column values of one type"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(live: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        driftline.compare({"x": [1.0] * 200}, live)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="live: has no column 'paid' for the time; did you mean 'paid_at'"):
        driftline.compare(rows(None, 1), rows(None), time="paid")


def test_importing_driftline_imports_neither_arrow_nor_the_command_line() -> None:
    code = "import driftline, sys; assert not {'pyarrow', 'typer', 'jinja2', 'pandas'} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_column_that_only_the_rows_have_is_named_without_offsets_and_partitions() -> None:
    both = {"x": [0.5, 1.5] * 500}

    found = driftline.compare(both, both | {"extra": [1.5, 2.5] * 500})

    assert "extra: the reference has no such column" in found.unchecked
