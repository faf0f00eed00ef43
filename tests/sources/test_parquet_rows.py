"""Parquet as pandas, Spark and polars write it: types, indexes, and what is left out."""

from __future__ import annotations

import json
import math
import os
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import EventReader
from driftline.stream.sources.inputs import InputError
from tests.sources.reading import events, messages, noted

NAIVE = datetime.fromisoformat("2026-01-01T12:00:00.5")
SECONDS = 1767268800.5


def parquet(tmp_path: Path, columns: dict[str, Any], name: str = "a.parquet") -> Path:
    pq.write_table(pa.table(columns), tmp_path / name)
    return tmp_path / name


def feature(tmp_path: Path, values: Any) -> Any:
    return events(parquet(tmp_path, {"f": values}))[0]["features"].get("f")


@pytest.mark.parametrize(
    ("values", "value", "note"),
    [
        (pa.array([date(1970, 1, 11)]), 10, "dates are read as days since 1970-01-01"),
        (pa.array([date(1969, 12, 31)], pa.date64()), -1, "dates are read as days since 1970-01-01"),
        (pa.array([NAIVE]), SECONDS, "timestamps are read as seconds since 1970-01-01"),
        (
            pa.array([NAIVE]).cast(pa.timestamp("ns", "Europe/Berlin")),
            SECONDS,
            "timestamps are read as seconds since 1970-01-01",
        ),
        (pa.array([timedelta(milliseconds=1500)]), 1.5, "durations are read in seconds"),
        (pa.array([time(1, 0, 0, 500_000)]), 3600.5, "times of day are read as seconds since midnight"),
        (pa.array([date(1970, 1, 11)]).dictionary_encode(), 10, None),
        (pa.array([2**63 + 8], pa.uint64()), 2**63 + 8, None),
        (pa.array([0.5], pa.float16()), 0.5, None),
        (pa.array(["a"]).dictionary_encode(), "a", None),
        (pa.array([""]), "", None),
        (pa.array([{"x": 1, "deep": {"y": date(1970, 1, 2)}}]), {"x": 1, "deep": {"y": 1}}, None),
        (pa.array([[("k", 1.5)]], pa.map_(pa.string(), pa.float64())), {"k": 1.5}, None),
        (pa.array([[1.5, math.nan]]), [1.5, None], None),
        (pa.array([["a"]]), ["a"], None),
        (pa.array([b"x"]), None, "is left out: values of the type binary cannot be monitored"),
        (pa.array([[date(1970, 1, 2)]]), None, "is left out: values of the type list<element: date32[day]> cannot be"),
        (pa.array([[(1, 1)]], pa.map_(pa.int8(), pa.int8())), None, "is left out: values of the type map<int8, int8"),
        (pa.nulls(1), None, "is null in every row"),
        (pa.array([None], pa.float64()), None, "is null in every row"),
    ],
)
def test_each_type_becomes_a_value_or_a_note(tmp_path: Path, values: Any, value: object, note: str | None) -> None:
    columns = {"x": [1], "f": values}
    assert events(parquet(tmp_path, columns))[0]["features"].get("f") == value
    if note:
        assert noted(tmp_path / "a.parquet")["f"].startswith(note)


def test_nan_in_a_struct_stays_nan(tmp_path: Path) -> None:
    assert math.isnan(feature(tmp_path, pa.array([{"deep": {"x": math.nan}}]))["deep"]["x"])


@pytest.mark.parametrize(
    "times",
    [
        pa.array([date(2026, 1, 1)]),
        pa.array([datetime.fromisoformat("2026-01-01")]),
        pa.array([1767225600 * 10**9 + 1], pa.timestamp("ns")),
    ],
)
def test_a_time_without_zone_is_read_in_the_zone_of_the_mapping(tmp_path: Path, times: Any) -> None:
    path = parquet(tmp_path, {"ts": times, "model": ["m"], "x": [1]})
    mapping = EventMapping(zone="Europe/Berlin")
    (message,) = messages(path, mapping=mapping)
    (event,) = EventReader(mapping).read(message, None).events
    assert event.ts == (1767225600 - 3600) * 1000


def test_a_time_with_a_zone_is_that_instant(tmp_path: Path) -> None:
    times = pa.array([1767225600 * 10**9], pa.timestamp("ns", "Europe/Berlin"))
    mapping = EventMapping(ts="at", zone="Asia/Tokyo")
    (message,) = messages(parquet(tmp_path, {"at": times, "model": ["m"], "x": [1]}), mapping=mapping)
    assert EventReader(mapping).read(message, None).events[0].ts == 1767225600000


def test_an_index_without_a_name_is_left_out_and_one_with_a_name_is_a_column(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"x": [1.5], "user": [7], "__index_level_0__": [0]})
    about = {"index_columns": ["user", "__index_level_0__"], "columns": [], "column_indexes": []}
    pq.write_table(pq.read_table(path).replace_schema_metadata({"pandas": json.dumps(about)}), path)
    assert events(path)[0]["features"] == {"x": 1.5, "user": 7}
    assert list(noted(path)) == ["column 3, '__index_level_0__'"]


@pytest.mark.parametrize("features", [['{"x": 1}'], [b'{"x": 1}'], [{"x": 1}]])
def test_a_column_of_all_features_is_opened(tmp_path: Path, features: list[Any]) -> None:
    assert events(parquet(tmp_path, {"features": features, "y": [2]}))[0]["features"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("name", ["a.pq", "a", "a.csv", "a.jsonl"])
def test_parquet_is_recognised_under_any_name(tmp_path: Path, name: str) -> None:
    assert events(parquet(tmp_path, {"x": [1, 2]}, name))[1] == {"id": "2", "features": {"x": 2}}


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"x": pa.array([], pa.float64())})
    with pytest.raises(InputError, match="holds no events; leave it out"):
        messages(path)


def test_parquet_in_a_pipe_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path, fifo = parquet(tmp_path, {"x": [1]}), tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    try:
        os.write(writer, path.read_bytes())
        with pytest.raises(InputError, match="is Parquet, which is read from files only; save it as one"):
            messages(fifo)
    finally:
        os.close(writer)
