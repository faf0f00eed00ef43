"""Rejections: what is said of many rejected messages, and which mapping would read them."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.events.event import Rejection
from driftline.stream.events.mapping import NATIVE, EventMapping
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.events.rejections import Rejections, remedy


def reason_of(message: bytes, mapping: EventMapping) -> str:
    with pytest.raises(EventError) as refused:
        EventReader(mapping).read(message)
    return str(refused.value)


@pytest.mark.parametrize(
    ("document", "mapping", "helps"),
    [
        ({"timestamp": 1, "id": 2, "model": "m"}, NATIVE, "did you mean `timestamp`? add `mapping: {ts: timestamp}`"),
        ({"meta": {"requestId": 7}, "amount": 1}, NATIVE, "did you mean `meta.requestId`?"),
        ({"amount": 1, "land": "de"}, NATIVE, "the message has amount, land; name the path of the id"),
        ({"id": 1, "ts": 1767225600000, "amount": 3}, NATIVE, "or the model itself: `mapping: {model: =NAME}`"),
        ({"id": 1, "ts": 1767225600000, "model": "m", "amount": 3}, NATIVE, "add `mapping: {features: rest}`"),
        ({"id": 1, "ts": 1767225600000, "model": "m", "features": [1]}, NATIVE, "add `mapping: {rows: true}`"),
        ({"ts": 1, "time": 2}, EventMapping(id="time"), ""),
        ({"id": 1, "a": {"time": 2}}, EventMapping(ts="a.at"), "add `mapping: {ts: a.time}`"),
    ],
)
def test_a_remedy_names_the_fields_of_the_message_and_the_likely_one(
    document: dict[str, Any], mapping: EventMapping, helps: str
) -> None:
    message = orjson.dumps(document)
    assert helps in remedy(reason_of(message, mapping), message, mapping)


def test_a_message_with_nan_has_a_remedy_too() -> None:
    assert "did you mean `time`?" in remedy("ts: missing", b'{"time": 1, "amount": NaN}', NATIVE)


def test_rejections_are_counted_by_place_with_the_first_as_an_example() -> None:
    found = Rejections(NATIVE)
    found.add([Rejection(0, "ts: missing"), Rejection(1, "not JSON: x at byte 3")], [b'{"time": 1}', b"{"])
    found.add([Rejection(0, "ts: expected a time, got 'x'")], [b"{}"])
    assert [(each.place, each.times, each.example) for each in found.causes()] == [
        ("ts", 2, "ts: missing"),
        ("not JSON", 1, "not JSON: x at byte 3"),
    ]
    assert found.total == 3
    assert found.causes()[0].remedy.endswith("did you mean `time`? add `mapping: {ts: time}`")


def test_places_are_bounded() -> None:
    found = Rejections(NATIVE)
    found.add([Rejection(0, f"key {i}: odd") for i in range(1000)], [b""])
    assert (len(found.causes()), found.total) == (101, 1000)


@given(st.binary() | st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_message_makes_a_remedy_fail(message: Any) -> None:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    assert isinstance(remedy("ts: missing", data, NATIVE), str)
