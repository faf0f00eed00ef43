"""Many events in one message: every layout of rows, what is a fault of the message and what one of a row."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.config.load import parse_config
from driftline.stream.events.columns import Field
from driftline.stream.events.decode import Decoder
from driftline.stream.events.event import Event, Rejection
from driftline.stream.events.mapping import PRESETS, EventMapping, Origin, Origins
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.events.rows import RowsError, read_rows
from driftline.stream.panes.cutter import Cutter, PaneRule
from driftline.stream.panes.sketcher import Sketcher
from driftline.stream.sources.files import read_messages

ROWS = EventMapping(rows=True)
NOW = 1767225600000
TABLE = [{"x": 1, "y": 2.5}, {"x": 3, "y": None}, {"x": 5, "y": 6}]

LAYOUTS: dict[str, Any] = {
    "objects": TABLE,
    "named lists": {"columns": ["x", "y"], "data": [[1, 2.5], [3, None], [5, 6]]},
    "Seldon": {"names": ["x", "y"], "ndarray": [[1, 2.5], [3, None], [5, 6]]},
    "Seldon's tensor": {"names": ["x", "y"], "tensor": {"shape": [3, 2], "values": [1, 2.5, 3, None, 5, 6]}},
    "columns": {"x": [1, 3, 5], "y": [2.5, None, 6]},
    "tensors": [
        {"name": "x", "shape": [3], "datatype": "INT64", "data": [1, 3, 5]},
        {"name": "y", "shape": [3, 1], "datatype": "FP64", "data": [2.5, None, 6]},
    ],
    "nested tensors": [
        {"name": "x", "data": [[1], [3], [5]]},
        {"name": "y", "shape": [3, 1], "data": [[2.5], [None], [6]]},
    ],
    "CSV": "x,y\n1,2.5\n3,\r\n5,6\n",
    "CSV in an object": {"data": "1,2.5\n3,\n5,6", "encoding": "CSV"},
    "CSV in Base64": {"data": base64.b64encode(b"1,2.5\n3,\n5,6").decode(), "encoding": "BASE64"},
    "JSON in a string": json.dumps({"instances": TABLE}),
    "a wrapper": {"instances": [[1, 2.5], [3, None], [5, 6]]},
    "MLflow": {"dataframe_split": {"columns": ["x", "y"], "data": [[1, 2.5], [3, None], [5, 6]]}},
}  # fmt: skip


def read(document: dict[str, Any], mapping: EventMapping = ROWS) -> list[Event]:
    record = EventReader(mapping).read(json.dumps({"id": "a", "ts": NOW, "model": "m"} | document).encode())
    assert record.faults == []
    return record.events


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_rows_gives_the_same_events(layout: str) -> None:
    names = EventMapping(rows=True, names=("x", "y")) if "CSV" in layout or layout == "a wrapper" else ROWS
    events = read({"features": LAYOUTS[layout]}, names)
    assert [event.id for event in events] == ["a#0", "a#1", "a#2"]
    assert [event.signals for event in events] == [
        {"features": {}} | {f"features.{name}": value for name, value in row.items()} for row in TABLE
    ]


def test_lists_without_names_are_named_by_their_positions() -> None:
    (event,) = read({"features": [[7, "b"]]})
    assert (event.signals["features.0"], event.signals["features.1"]) == (7, "b")


def test_names_may_come_with_the_message() -> None:
    (event,) = read(
        {"head": {"names": ["p", "q"]}, "features": [[7, "b"]]}, EventMapping(rows=True, names_at="head.names")
    )
    assert (event.signals["features.p"], event.signals["features.q"]) == (7, "b")


def test_a_list_of_values_is_a_row_if_it_has_as_many_names_and_rows_of_one_value_otherwise() -> None:
    named = EventMapping(rows=True, names=("p", "q", "r"))
    assert [event.signals["features.r"] for event in read({"features": [1, 2, 3]}, named)] == [3]
    assert [event.signals["features.0"] for event in read({"features": [1, 2, 3]})] == [1, 2, 3]


def test_a_tensor_of_several_columns_names_them_by_position_and_an_embedding_stays_an_array() -> None:
    block = [
        {"name": "v", "shape": [2, 2], "data": [1, 2, 3, 4]},
        {"name": "e", "shape": [2, 1001], "data": [0.5] * 2002},
    ]
    events = read({"features": block})
    assert [event.signals["features.v.1"] for event in events] == [2, 4]
    assert isinstance(events[0].signals["features.e"], list)


def test_predictions_and_scores_go_with_their_rows() -> None:
    events = read({"features": TABLE, "prediction": ["a", "b", "c"], "score": [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]})
    assert [event.signals["prediction"] for event in events] == ["a", "b", "c"]
    assert [event.signals["score.1"] for event in events] == [0.9, 0.8, 0.7]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"features": TABLE, "prediction": [1]}, "rows differ in number: features 3, prediction 1"),
        ({"features": []}, "nothing to monitor: features, prediction, score hold no rows"),
        ({"features": {}}, "rows of an unknown shape: an object of nothing"),
        ({"features": {"x": 1}}, "rows of an unknown shape: an object of 'x'"),
        ({"features": 7}, "expected rows, got 7"),
        ({"features": "a,b"}, "expected rows, got the text 'a,b'; if it is CSV, give `names`"),
        ({"features": [{"name": "x", "data": [1]}, {"name": "y"}]}, "expected tensors only, each with a name and data"),
        ({"features": {"x": [1], "y": [1, 2]}}, "columns differ in length: 1, 2"),
        ({"features": [{"name": "x", "shape": [3], "data": [1]}]}, "the shape of a tensor does not fit its data"),
        ({"features": [{"name": "x", "shape": [2, 2], "data": [1, 2]}]}, "a tensor of shape [2, 2] does not have 2 values"),  # noqa: E501
        ({"features": [{"name": "x", "shape": [1], "data": 3}]}, "expected the data of a tensor as an array, got 3"),
        ({"features": [{"name": "x", "data": [1]}] * 2}, "expected tensors of distinct names, got 'x'"),
        ({"features": '{"x": '}, "not JSON in a string: Expecting value: line 1 column 7 (char 6)"),
        ({"features": {"data": "%%", "encoding": "BASE64"}}, "not text in Base64"),
        (
            {"features": [[1] * 1001]},
            "none of 1 rows is an event; row 0: 1001 values without names, and 1000 is the most; give `names`",
        ),
        ({}, "nothing to monitor: features, prediction, score hold no rows"),
    ],
)  # fmt: skip
def test_a_message_whose_rows_cannot_be_told_is_refused(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(EventError) as refused:
        read(document)
    assert str(refused.value) == reason


def test_a_bad_row_is_a_rejection_with_its_number_and_the_others_count() -> None:
    data = json.dumps({"id": "a", "ts": NOW, "model": "m", "features": [{"x": 1}, 5, {}, {"x": 2}]}).encode()
    _, unknown, rejections, _ = Decoder({}, ROWS).decode([b"?", data])
    assert [event.id for _, event in unknown["m"]] == ["a#0", "a#3"]
    assert rejections[1:] == [
        Rejection(1, "expected an object or a list, got 5", 1),
        Rejection(1, "expected an object or a list, got nothing", 2),
    ]


@given(
    st.lists(
        st.lists(st.sampled_from(["a b", "", "é;", 'say "x"', "1,5", "2", "-0.5"]), min_size=2, max_size=2), min_size=1
    )
)
def test_csv_in_a_string_is_read_as_a_csv_reader_reads_it(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    values = {"": None, "2": 2, "-0.5": -0.5}
    assert read_rows({"features": {"data": text.getvalue(), "encoding": "CSV"}}) == [
        {"features": {str(place): values.get(cell, cell) for place, cell in enumerate(row)}} for row in rows
    ]


# A record is a unit: its rows lie in one pane.


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 7))
def test_a_pane_never_ends_inside_a_record_however_the_log_is_cut(sizes: list[int], events: int, chunk: int) -> None:
    log = [
        json.dumps({"id": n, "ts": NOW + n, "model": "m", "features": [{"x": i} for i in range(size)]}).encode()
        for n, size in enumerate(sizes)
    ]

    def runs(step: int) -> list[tuple[int, int, list[str]]]:
        sketcher = Sketcher("t", Cutter(PaneRule(events, None), 0, 0), {}, ROWS)
        ended = []
        for at in range(0, len(log), step):
            part = log[at : at + step]
            ended += sketcher.consume(np.arange(at, at + len(part)), part).runs
        ended.append(sketcher.close(len(log)))
        return [
            (run.start, run.end, [event.id for pane in run.panes.values() for event in pane.content]) for run in ended
        ]

    found = runs(chunk)
    assert found == runs(len(log))
    for start, end, ids in found:
        assert ids == [f"{n}#{row}" for n in range(start, end) for row in range(sizes[n])]
    for _, _, ids in found[:-1]:
        last = int(ids[-1].partition("#")[0])
        assert len(ids) >= events > len(ids) - sizes[last]  # the record that fills a run is its last


# Parts of an event from its record, from a constant, or from what is left over.


def test_id_time_and_model_may_come_from_the_record() -> None:
    mapping = EventMapping(id="$record", ts="$record", model="$topic", features="rest")
    origins = Origins("fraud", 3, np.array([7, 9]), np.array([NOW, NOW + 1]))
    _, unknown, _, _ = Decoder({}, mapping).decode([b'{"x": 1}', b'{"x": 2}'], origins)
    assert [(event.id, event.ts, event.signals["features.x"]) for _, event in unknown["fraud"]] == [
        ("fraud/3/7", NOW, 1),
        ("fraud/3/9", NOW + 1, 2),
    ]


# A message of nowhere has no position, one of a file no Kafka timestamp.
FILE = {"id": None, "ts": Origin("t", 0, 1)}


@pytest.mark.parametrize("part", ["id", "ts"])
def test_what_only_a_record_has_is_asked_of_a_file_in_vain(part: str) -> None:
    mapping = EventMapping(**{part: "$record"})
    with pytest.raises(EventError, match=rf"{part}: .*`mapping\.{part}`"):
        EventReader(mapping).read(b'{"id": 1, "ts": 1767225600, "model": "m", "score": 1}', FILE[part])


def test_the_rest_of_a_message_is_its_features() -> None:
    mapping = EventMapping(id="user id", ts="meta.at", model="=churn", prediction="out.pred", features="rest")
    row = {
        "user id": 7,
        "meta": {"at": NOW, "host": "h"},
        "x": 1,
        "out": {"pred": "a"},
        "label": 1,
        "weight": 2,
        "tags": {},
    }
    (event,) = EventReader(mapping).read(json.dumps(row).encode()).events
    assert (event.id, event.model) == ("7", "churn")
    assert {name: value for name, value in event.signals.items() if value != {}} == {
        "features.x": 1, "features.meta.host": "h", "prediction": "a",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "document"),
    [
        ({"prediction": "label"}, {"features": {"x": 1}, "label": "a"}),
        ({"prediction": "label", "features": "rest"}, {"x": 1, "label": "a"}),
        ({"prediction": "tags.class"}, {"features": {"x": 1}, "tags": {"class": "a"}}),
        ({"prediction": "weight", "features": "tags"}, {"tags": {"x": 1}, "weight": "a"}),
    ],
)
def test_parts_that_are_not_read_are_in_nobodys_way(paths: dict[str, str], document: dict[str, Any]) -> None:
    mapping = EventMapping(**paths)
    assert parse_config(f"mapping: {json.dumps(paths)}").mapping.event_mapping() == mapping
    data = json.dumps({"id": "a", "ts": NOW, "model": "m"} | document).encode()
    (event,) = EventReader(mapping).read(data).events
    assert {name: value for name, value in event.signals.items() if value != {}} == {"features.x": 1, "prediction": "a"}
    columns = Decoder({"m": [Field("features.x", True), Field("prediction", False)]}, mapping).decode([data]).known["m"]
    assert (columns.numeric.tolist(), columns.texts) == ([[1.0]], [["a"]])


def test_what_kafka_connect_wraps_is_opened_unless_the_paths_do_so() -> None:
    change = {"schema": {}, "payload": {"after": {"x": 1}, "op": "c", "ts_ms": NOW}}
    by_preset = EventMapping(**PRESETS["debezium"] | {"model": "=m"})
    by_hand = EventMapping(id="$record", ts="payload.ts_ms", model="=m", features="payload.after")
    for mapping in (by_preset, by_hand):
        (event,) = EventReader(mapping).read(json.dumps(change).encode(), Origin("t", 0, 5)).events
        assert (event.id, event.ts, event.signals["features.x"]) == ("t/0/5", NOW, 1)


def test_texts_that_mean_missing_are_missing_in_numbers_and_texts() -> None:
    mapping = EventMapping(nulls=("NA", ""))
    (event,) = (
        EventReader(mapping)
        .read(json.dumps({"id": "NA", "ts": NOW, "model": "m", "features": {"x": "NA", "c": "", "d": "na"}}).encode())
        .events
    )
    assert (event.id, event.signals["features.x"], event.signals["features.c"]) == ("NA", None, None)
    assert event.signals["features.d"] == "na"


# Real-looking logs.


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "mapping", "rows", "signals"),
    [
        ("kserve-v2/live.jsonl.gz", "{preset: kserve-v2}", 4, {"features.amount", "features.channel"}),
        ("kserve-blind/live.jsonl.gz", "{preset: kserve-v2}", 1, {"features.amount"}),
        ("kserve-blind/only_arrays.jsonl.gz", "{preset: kserve-v2}", 1, {"features.amount"}),
        ("seldon-ndarray/live.jsonl", "{preset: seldon}", 2, {"features.sl", "features.sw"}),
        (
            "sagemaker-capture/live.jsonl",
            "{preset: sagemaker, model: =churn, names: [amount, channel]}",
            1,
            {"features.amount", "features.channel", "prediction"},
        ),
    ],
)
def test_a_request_log_becomes_events(
    name: str, mapping: str, rows: int, signals: set[str], shared_cases: Path
) -> None:
    reader = EventReader(parse_config(f"mapping: {mapping}").mapping.event_mapping())
    for (line,) in read_messages([str(shared_cases / name)], chunk=1):
        record = reader.read(line)
        assert record.faults == []
        assert len(record.events) == rows
        for event in record.events:
            assert {signal for signal, value in event.signals.items() if value != {}} == signals
            assert not any(isinstance(value, list) for value in event.signals.values())


def test_a_fault_of_a_block_names_its_shape() -> None:
    with pytest.raises(RowsError, match="an object of 'a', 'b', 'c', 'd', 'e'"):
        read_rows({"features": dict.fromkeys("abcdefg", 1)})
