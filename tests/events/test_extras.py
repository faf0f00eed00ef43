"""What is kept of an event beside its signals, where it is asked for, and events that are told apart by version."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.stream.events.columns import Columns, Field, tabulate
from driftline.stream.events.decode import Decoder
from driftline.stream.events.event import Event
from driftline.stream.events.mapping import NATIVE, EventMapping
from driftline.stream.events.parse import EventError, EventReader

NOW = 1_767_225_600_000
FIELDS = (Field("score", True), Field("features.land", False))
EXTRAS = (
    Field("version", False),
    Field("label", False, whole=True),
    Field("weight", True),
    Field("tags.land", False),
    Field("tags.app.name", False),
    Field("tags.size", True),
)
ELSEWHERE = EventMapping(version="meta.v", label="truth.y", weight="truth.w", tags="meta", nulls=("NA",))
REST = EventMapping(features="rest", label="y", nulls=("NA",))


def message(**parts: Any) -> bytes:
    return json.dumps({"id": "a", "ts": NOW, "model": "m", "score": 0.5, "features": {}} | parts).encode()


def kept(data: bytes, extras: Sequence[Field] = EXTRAS, mapping: EventMapping = NATIVE) -> dict[str, Any]:
    columns = Decoder({"m": FIELDS}, mapping, extras=extras).decode([data]).known["m"]
    return {name: value for name, (value,) in columns.extras.items()}


def plain(data: bytes, decoder: Decoder) -> bool:
    return decoder._parse_plain([data])[1] == []


def test_what_is_asked_for_is_kept_beside_the_signals() -> None:
    data = message(version="4.2", label=1, weight=2, tags={"land": "DE", "app": {"name": "web"}, "size": 3})
    assert kept(data) == {
        "version": "4.2", "label": "1", "weight": 2.0, "tags.land": "DE", "tags.app.name": "web", "tags.size": 3.0
    }  # fmt: skip
    assert kept(data, []) == {}


def test_what_is_asked_for_takes_the_fast_path() -> None:
    decoder = Decoder({"m": FIELDS}, extras=EXTRAS)
    assert plain(message(version=5, label="fraud", weight=0.5, tags={"land": "DE", "other": [1, {}]}), decoder)
    assert plain(message(), decoder)


def test_what_nobody_asked_for_may_be_anything_on_the_fast_path() -> None:
    assert plain(message(version=[], label={}, weight="x", tags=7), Decoder({"m": FIELDS}))


def test_what_is_absent_is_missing() -> None:
    assert set(kept(message()).values()) == set(kept(message(tags=None, label=None)).values()) == {None}


def test_parts_lie_where_the_mapping_says_and_are_no_features() -> None:
    data = message(meta={"v": 7, "land": "DE"}, truth={"y": "NA", "w": 1}, features={"label": "not this"})
    assert kept(data, EXTRAS[:4], ELSEWHERE) == {"version": "7", "label": None, "weight": 1.0, "tags.land": "DE"}
    (event,) = EventReader(REST, extras=["label"]).read(message(y="spam", a=1)).events
    assert event.extras == {"label": "spam"}
    assert "features.y" not in event.signals


def test_a_tag_has_one_name_however_it_is_spelt() -> None:
    for tags in ({"app": {"name": "web"}}, {"app.name": "web"}, {"app": 5, "app.name": "web"}):
        assert kept(message(tags=tags))["tags.app.name"] == "web"


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("label", {"a": 1}, "label: expected text, got an object"),
        ("label", [1], "label: expected text, got an array"),
        ("label", math.nan, "label: NaN"),
        ("weight", -1, "weight: expected a finite number from 0 on, got -1"),
        ("weight", math.inf, "weight: expected a finite number from 0 on, got inf"),
        ("weight", math.nan, "weight: NaN"),
        ("weight", "heavy", "weight: expected number, got 'heavy'"),
        ("weight", True, "weight: expected number, got true"),
        ("tags", {"land": {"code": "DE"}}, "tags.land: expected text, got an object"),
        ("tags", {"size": "XL"}, "tags.size: expected number, got 'XL'"),
    ],
)
def test_a_malformed_value_is_missing_with_the_reason_and_its_event_counts(part: str, value: Any, reason: str) -> None:
    columns = Decoder({"m": FIELDS}, extras=EXTRAS).decode([message(**{part: value})]).known["m"]
    assert [each.reason for each in columns.defects] == [reason]
    assert [each for (each,) in columns.extras.values()] == [None] * len(EXTRAS)
    assert columns.numeric.tolist() == [[0.5]]


@pytest.mark.parametrize("tags", [7, "x", [{"land": "DE"}], {}, {"other": {"land": "DE"}}])
def test_tags_that_hold_no_such_name_are_missing(tags: Any) -> None:
    assert kept(message(tags=tags))["tags.land"] is None


def test_huge_and_deep_tags_cost_no_memory_and_hide_nothing() -> None:
    tags: dict[str, Any] = {"land": "DE", **{f"k{n}": {"a": {"b": n}} for n in range(20_000)}}
    assert kept(message(tags=tags))["tags.land"] == "DE"


@pytest.mark.parametrize(
    ("value", "version"),
    [
        ("4.2", "4.2"), (4.2, "4.2"), (5, "5"), (5.0, "5.0"), ("", None), ("v" * 256, None), ("v" * 255, "v" * 255),
        (True, None), (None, None), (math.inf, None), (math.nan, None), ({}, None), ([1], None), ("\ud800", None),
    ],
)  # fmt: skip
def test_a_version_is_a_text_or_a_finite_number(value: Any, version: str | None) -> None:
    data = message(version=value)
    assert kept(data)["version"] == version
    assert EventReader().read(data).events[0].version == version


@pytest.mark.parametrize("name", ["tags", "label.x", "version.1", "score", "features.land", "else"])
def test_only_the_parts_of_an_event_that_are_no_signals_can_be_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="expected version, label, weight or the name of a tag"):
        Decoder({"m": FIELDS}, extras=[Field(name, False)])


def test_a_message_of_many_events_shares_what_is_no_signal() -> None:
    mapping = EventMapping(rows=True, features="features")
    data = json.dumps({"id": 1, "ts": NOW, "model": "m", "features": [{"land": "a"}, {"land": "b"}], "label": "x"})
    columns = Decoder({"m": FIELDS}, mapping, extras=EXTRAS).decode([data.encode()]).known["m"]
    assert columns.extras["label"] == ["x", "x"]


def test_extras_stay_with_their_events() -> None:
    batch = [message(id=str(n), label=str(n), score="x" if n % 3 else n) for n in range(9)]
    columns = Decoder({"m": FIELDS}, extras=EXTRAS[1:2]).decode(batch).known["m"]
    assert columns.extras["label"] == columns.ids == [str(n) for n in range(9)]
    assert columns.slice(2, 5).extras == {"label": ["2", "3", "4"]}
    assert columns.select(np.array([7, 1])).extras == {"label": ["7", "1"]}
    assert Columns.concatenate([columns, columns.slice(0, 1)]).extras["label"][-2:] == ["8", "0"]


# Both readers.

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.floats(),
    st.sampled_from(["DE", "", "NA", "12", "-1", "1.0", "\ud800", "é", 2**70, 10**400, -0.0, 1.0, "v" * 300]),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.sampled_from(["name", "app"]), st.integers(), max_size=1),
)
TAGS = st.one_of(
    VALUES,
    st.dictionaries(st.sampled_from(["land", "app", "app.name", "size", "v", "x"]), VALUES, max_size=4),
)
EVENTS = st.fixed_dictionaries(
    {"id": st.integers(0, 9), "ts": st.just(NOW), "model": st.sampled_from(["m", "m", "n", "new"])},
    optional={
        "score": VALUES, "features": TAGS, "version": VALUES, "label": VALUES, "weight": VALUES, "tags": TAGS,
        "meta": TAGS, "truth": st.dictionaries(st.sampled_from(["y", "w"]), VALUES), "y": VALUES,
    },
)  # fmt: skip
VERSIONS = {
    "m": {"": FIELDS, "v" * 300: FIELDS, "5": (Field("score", False),), "DE": FIELDS[:1], "1.0": FIELDS, "12": ()}
}


@cache
def decoder(mapping: EventMapping) -> Decoder:
    return Decoder({"m": FIELDS, "n": FIELDS[:1]}, mapping, versions=VERSIONS, extras=EXTRAS)


@cache
def told_apart(mapping: EventMapping) -> Decoder:
    """A decoder of versions that all have structs, and of a model that has no other events."""
    versions = {"m": {"5": (Field("score", False),), "DE": FIELDS[:1], "1.0": FIELDS, "": FIELDS, "v" * 300: FIELDS}}
    return Decoder({"n": FIELDS[:1]}, mapping, versions=versions, extras=EXTRAS)


def read_exactly(batch: Sequence[bytes], mapping: EventMapping) -> list[tuple[int, Event]]:
    reader, events = EventReader(mapping, extras=[each.name for each in EXTRAS]), list[tuple[int, Event]]()
    for position, data in enumerate(batch):
        try:
            events += [(position, event) for event in reader.read(data).events]
        except EventError:
            continue
    return events


def rows(columns: Columns) -> list[tuple[Any, ...]]:
    lists = zip(*columns.texts, strict=True) if columns.texts else [()] * len(columns.ids)
    extras = zip(*columns.extras.values(), strict=True)
    parts = (columns.position.tolist(), columns.numeric.tolist(), lists, extras)
    return [tuple(map(repr, row)) for row in zip(*parts, strict=True)]


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=6), st.sampled_from([NATIVE, ELSEWHERE, REST, EventMapping(model="=m")]))
@example([{"id": 1, "ts": NOW, "model": "m", "score": 1, "version": 5.0}], NATIVE)
@pytest.mark.parametrize("make", [decoder, told_apart])
def test_both_readers_keep_the_same(make: Any, events: list[dict[str, Any]], mapping: EventMapping) -> None:
    batch = [json.dumps(event).encode() for event in events]
    ours = make(mapping).decode(batch)
    exact = read_exactly(batch, mapping)
    fields = make(mapping)._fields
    for model in ("m", "n", "new"):
        own = [(at, event) for at, event in exact if event.model == model]
        for version in {event.version for _, event in own if (model, event.version) in fields} - {None}:
            of_version = [(at, event) for at, event in own if event.version == version]
            expected = tabulate(fields[model, version], of_version, EXTRAS)
            columns = ours.versions[model].pop(str(version))
            assert (rows(columns), columns.defects) == (rows(expected), expected.defects)
        others = [(at, event) for at, event in own if (model, event.version) not in fields or event.version is None]
        if others and (model, None) in fields:
            expected = tabulate(fields[model, None], others, EXTRAS)
            columns = ours.known[model]
            assert (rows(columns), columns.defects) == (rows(expected), expected.defects)
        elif others:
            assert repr([event.id for _, event in ours.unknown[model]]) == repr([event.id for _, event in others])
    assert not any(ours.versions.values())
    assert len(ours.rejections) == len(batch) - len(exact)


# Versions.


def test_versions_are_told_apart_on_the_fast_path() -> None:
    versions = {"m": {"4": (Field("score", True),), "5": (Field("features.land", True),)}}
    batch = [
        message(version="5", features={"land": 3}),
        message(version=4, features={"land": "DE"}),
        message(version="6"),
        message(model="n"),
        message(),
    ]
    decoder = Decoder({"n": FIELDS}, versions=versions)
    decoded = decoder.decode(batch)
    assert decoded.versions["m"]["4"].numeric.tolist() == [[0.5]]
    assert decoded.versions["m"]["5"].numeric.tolist() == [[3.0]]
    assert list(decoded.known) == ["n"]
    assert [position for position, _ in decoded.unknown["m"]] == [2, 4]
    assert [plain(each, decoder) for each in batch] == [True, True, False, True, False]


def test_a_version_without_fields_of_its_own_is_read_as_its_model() -> None:
    decoder = Decoder({"m": FIELDS}, versions={"m": {"5": FIELDS[:1]}})
    decoded = decoder.decode([message(version="4"), message(version="5"), message()])
    assert decoded.known["m"].position.tolist() == [0, 2]
    assert decoded.versions["m"]["5"].position.tolist() == [1]


def test_a_version_that_no_struct_can_describe_is_not_read_as_another() -> None:
    decoder = Decoder({"m": FIELDS}, versions={"m": {"5": (Field("features.a", True), Field("features.a.b", True))}})
    decoded = decoder.decode([message(version="5", features={"a": {"b": 2}})])
    assert decoded.versions["m"]["5"].numeric[0, 1] == 2
