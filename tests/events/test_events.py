"""From bytes to columns: what an event is, how faults are reported, and that the fast path agrees with the exact."""

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

from driftline.detectors.summaries.codes import Special
from driftline.stream.events.columns import Columns, Defect, Field, infer_fields, tabulate
from driftline.stream.events.decode import Decoded, Decoder
from driftline.stream.events.event import Event, Rejection
from driftline.stream.events.mapping import NATIVE, EventMapping, Origins
from driftline.stream.events.parse import EventError, parse_event

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
FIELDS = (
    Field("features.amount", True),
    Field("features.land", False),
    Field("features.geo.lat", True),
    Field("score", True),
)
MODELS = {
    "fraud": FIELDS,
    "other types": (Field("features.land", True), Field("features.geo", True), Field("score", False)),
    "no features": (Field("prediction", False), Field("score", True)),
    "classes": (Field("features.land", False, whole=True), Field("prediction", False, whole=True)),
    "flags": (Field("features.land", False, flag=True), Field("features.amount", True, flag=True)),
    # Models that no struct can describe.
    "value and object": (Field("features.geo", True), Field("features.geo.lat", False)),
    "quote": (Field('features."', True),),
    "too long " * 40: FIELDS,
    "no fields": (),
}
REST, CONSTANT, NULLS = EventMapping(features="rest"), EventMapping(model="=fraud"), EventMapping(nulls=("DE", "N/A"))
NESTED = EventMapping(id="request.id", ts="request.at", model="request.model", features="inputs.row", score="out.score")


def message(**parts: Any) -> bytes:
    """An event of `fraud` with some parts replaced or, if None, left out."""
    plain = {"id": "a", "ts": NOW, "model": "fraud", "features": {"amount": 1.5, "land": "DE", "geo": {"lat": 2}}}
    return json.dumps({key: part for key, part in (plain | parts).items() if part is not None}).encode()


def one(data: bytes, fields: Sequence[Field] = FIELDS) -> Columns:
    return Decoder({"fraud": fields}).decode([data]).known["fraud"]


def read_exactly(batch: Sequence[bytes | None], mapping: EventMapping, origins: Origins | None = None) -> Decoded:
    """What `Decoder` must return, by the exact reader alone."""
    known: dict[str, list[tuple[int, Event]]] = {}
    unknown: dict[str, list[tuple[int, Event]]] = {}
    rejections = []
    for position, data in enumerate(batch):
        try:
            event = parse_event(data, mapping, origins and origins.at(position))
        except EventError as error:
            rejections.append(Rejection(position, str(error)))
        else:
            (known if event.model in MODELS else unknown).setdefault(event.model, []).append((position, event))
    return Decoded({model: tabulate(MODELS[model], events) for model, events in known.items()}, unknown, rejections, {})


def assert_same(ours: Columns, exact: Columns) -> None:
    np.testing.assert_array_equal(ours.position, exact.position)
    np.testing.assert_array_equal(ours.ts, exact.ts)
    np.testing.assert_array_equal(ours.numeric, exact.numeric)
    assert (ours.ids, ours.texts, ours.defects) == (exact.ids, exact.texts, exact.defects)


@cache
def decoder(mapping: EventMapping = NATIVE) -> Decoder:
    """A decoder of all `MODELS`; it has no state between batches."""
    return Decoder(MODELS, mapping)


def assert_reads_as_exactly(
    batch: Sequence[bytes | None], mapping: EventMapping = NATIVE, origins: Origins | None = None
) -> None:
    ours, exact = decoder(mapping).decode(batch, origins), read_exactly(batch, mapping, origins)
    assert ours.rejections == exact.rejections
    assert repr(ours.unknown) == repr(exact.unknown)  # their NaN differ from themselves
    assert ours.known.keys() == exact.known.keys()
    for model, columns in ours.known.items():
        assert_same(columns, exact.known[model])


# Rejected messages.


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "tombstone: the message has no value"),
        (b"", "not JSON: empty message"),
        (b"\xff\xfe{", "not JSON: Expecting value at byte 0"),
        (b'{"id": "a", "ts"', "not JSON: Expecting ':' delimiter at byte 16"),
        (b'{"\xc3\xa9": "\xff\xfe", "id": x}', "not JSON: Expecting value at byte 19"),
        (message() + b"{}", "not JSON: Extra data at byte 112"),
        (b"[" * 100_000, "too deep: more than 64 objects or arrays in each other; raise limits.depth"),
        (b'{"id": ' + b'{"a":' * 100_000, "too deep: more than 64 objects or arrays in each other; raise limits.depth"),
        (b"[{}]", "expected object, got an array"),
        (b'"text"', "expected object, got 'text'"),
        (message() + b" " * (1 << 20), "too large: 1048688 bytes, and 1048576 is the most; raise limits.message_bytes"),
        (message(id=None), "id: missing"),
        (message(id=math.inf), "id: expected string or number, got inf"),
        (message(id=True), "id: expected string or number, got true"),
        (message(id=""), "id: empty"),
        (message(id="\ud800"), r"id: not valid Unicode: '\ud800'"),
        (message(id="é").replace(b"\\u00e9", b"\xe9"), r"id: not valid Unicode: '\udce9'"),
        (message(ts=None), "ts: missing"),
        (message(ts="yesterday"), "ts: expected a time such as 2026-01-31T00:00:00Z, got 'yesterday'"),
        (message(ts="\ud800"), r"ts: expected a time such as 2026-01-31T00:00:00Z, got '\ud800'"),
        (
            message(ts="2026-02-30T00:00:00Z"),
            "ts: expected a time such as 2026-01-31T00:00:00Z, got '2026-02-30T00:00:00Z'",
        ),
        (message(ts=False), "ts: expected a time, got false"),
        (message(ts=-NOW), "ts: expected a time, got -1767225600000"),
        (message(ts=math.nan), "ts: expected a time, got nan"),
        (
            message(ts=20260101),
            "ts: expected a time, got 20260101, too small for epoch seconds since 1973; give `unit` or `format`",
        ),
        (message(ts=10**20), "ts: expected a time, got 100000000000000000000"),
        (
            message(ts="0001-01-01T00:00:00Z"),
            "ts: expected a time in the years 1970 to 9999, got '0001-01-01T00:00:00Z'",
        ),
        (
            message(ts="9999-12-31T23:00:00-02:00"),
            "ts: expected a time in the years 1970 to 9999, got '9999-12-31T23:00:00-02:00'",
        ),
        (message(model=None), "model: missing"),
        (message(model=True), "model: expected string or number, got true"),
        (message(model=""), "model: empty"),
        (message(model="x" * 256), "model: 256 characters, and 255 is the most"),
        (message(features=None), "nothing to monitor: features, prediction, score are all missing"),
        (message(features=[1, 2]), "features: expected object, got an array"),
        (message(features=5, model="no features", prediction="x", score=1), "features: expected object, got 5"),
        (message(features="x" * 999), f"features: expected object, got '{'x' * 56}..."),
    ],
)
def test_an_unusable_message_is_rejected_with_the_reason(data: bytes | None, reason: str) -> None:
    known, unknown, rejections, _ = decoder().decode([message(id="before"), data, message(id="after")])
    assert rejections == [Rejection(1, reason)]
    assert known["fraud"].ids == ["before", "after"]
    assert unknown == {}


# How times, ids and values are read.


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        (NOW, NOW),
        (NOW + 0.75, NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01 00:00:00.001999z", NOW + 1),
        ("2026-01-01T01:30:00+01:30", NOW),
        ("2026-01-01T00:00:00", NOW),  # without a time zone: UTC, wherever this runs
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times_become_epoch_milliseconds(ts: str | float, expected: int) -> None:
    assert one(message(ts=ts)).ts.tolist() == [expected]
    assert parse_event(message(ts=ts)).ts == expected


def test_integer_ids_become_text() -> None:
    assert one(message(id=2**70)).ids == [str(2**70)]


@pytest.mark.parametrize(
    ("literal", "number", "text"),
    [
        ("null", None, None),
        ("12", 12.0, "12"),
        ("-12.50", -12.5, "-12.5"),
        ("12.0", 12.0, "12.0"),
        ("1e999", math.inf, "inf"),
        ("-Infinity", -math.inf, "-inf"),
        ("9" * 400, math.inf, "9" * 400),
        ("-" + "9" * 5000, -math.inf, "-inf"),
        ("NaN", (Special.NAN, "NaN"), (Special.NAN, "NaN")),
        ('"N/A"', (Special.INVALID, "expected number, got 'N/A'"), "N/A"),
        ('"12"', 12.0, "12"),
        ('" -1.5e3 "', -1500.0, " -1.5e3 "),
        ('"1_000"', (Special.INVALID, "expected number, got '1_000'"), "1_000"),
        ('"1,5"', (Special.INVALID, "expected number, got '1,5'"), "1,5"),
        ('"nan"', (Special.NAN, "NaN"), "nan"),
        ('"-Infinity"', -math.inf, "-Infinity"),
        ("true", (Special.INVALID, "expected number, got true"), "true"),
        ("false", (Special.INVALID, "expected number, got false"), "false"),
        ("[1]", (Special.INVALID, "expected number, got an array"), (Special.INVALID, "expected text, got an array")),
        ("{}", (Special.INVALID, "expected number, got an object"), (Special.INVALID, "expected text, got an object")),
        (
            r'"\ud83d"',
            (Special.INVALID, r"expected number, got '\ud83d'"),
            (Special.INVALID, r"not valid Unicode: '\ud83d'"),
        ),
    ],
)
def test_every_value_is_kept_missing_or_a_defect(literal: str, number: Any, text: Any) -> None:
    data = message(score="?").replace(b'"?"', literal.encode())
    for numeric, expected in ((True, number), (False, text)):
        columns = one(data, [Field("score", numeric)])
        (value,) = columns.numeric[:, 0].tolist() if numeric else columns.texts[0]
        if isinstance(expected, tuple):
            code, reason = expected
            assert columns.defects == [Defect(0, "score", code, f"score: {reason}")]
            assert value is None or value != value
        else:
            assert columns.defects == []
            assert value == expected or (expected is None and value != value)


def test_a_long_value_is_shortened_in_the_reason() -> None:
    (defect,) = one(message(score="x" * 10_000)).defects
    assert defect.reason == f"score: expected number, got '{'x' * 56}..."


def test_absent_values_are_missing_and_unmonitored_ones_are_ignored() -> None:
    columns = one(message(features={"new": [1], "amount": 1}, tags=7, weight="x", version={}))
    np.testing.assert_array_equal(columns.numeric, [[1, np.nan, np.nan]])
    assert columns.texts == [[None]]
    assert columns.defects == []


def test_nested_features_have_dotted_names_however_they_are_spelt() -> None:
    for spelling in ({"geo": {"lat": 3}}, {"geo.lat": 3}):
        assert one(message(features=spelling)).numeric[0, 1] == 3


def test_values_under_too_long_a_name_are_ignored_and_fill_no_memory() -> None:
    bomb = {"k" * 500_000: {str(n): n for n in range(20_000)}, "k" * 246: 1, "k" * 247: 1}
    assert [field.name for field in infer_fields([parse_event(message(features=bomb))])] == [f"features.{'k' * 246}"]


def test_defects_and_columns_keep_the_order_of_the_batch() -> None:
    batch = [message(id=str(n), features={"amount": n, "land": str(n)}) for n in range(9)]
    for n in (1, 2, 4, 5, 7, 8):
        batch[n] = message(id=str(n), features={"amount": "N/A", "land": str(n)}, score=[])
    columns = Decoder({"fraud": FIELDS}).decode([b"?", *batch]).known["fraud"]
    assert columns.position.tolist() == list(range(1, 10))
    assert columns.ids == columns.texts[0] == [str(n) for n in range(9)]
    assert columns.numeric[[0, 3, 6], 0].tolist() == [0, 3, 6]
    assert [defect.row for defect in columns.defects] == [1, 1, 2, 2, 4, 4, 5, 5, 7, 7, 8, 8]
    exact = tabulate(FIELDS, [(n, parse_event(batch[n])) for n in (4, 5)])
    assert [defect.row for defect in exact.defects] == [0, 0, 1, 1]
    assert_same(columns.select(np.arange(1, 9, 2)).merge(columns.select(np.arange(0, 9, 2))), columns)


# Models without known fields, and how fields are inferred.


def test_events_of_an_unknown_model_are_not_tabulated() -> None:
    known, unknown, _, _ = decoder().decode([message(), message(model="new", version=3, score=None, prediction=True)])
    assert list(known) == ["fraud"]
    ((position, event),) = unknown["new"]
    assert (position, event.id, event.ts, event.version) == (1, "a", NOW, "3")
    assert {name: event.signals[name] for name in ("features.land", "features.geo.lat", "prediction")} == {
        "features.land": "DE",
        "features.geo.lat": 2,
        "prediction": True,
    }


def test_a_field_is_inferred_from_the_more_frequent_type_of_its_values() -> None:
    examples: list[dict[str, Any]] = [
        {"n": 1, "mixed": 1, "flag": True, "text": "x", "even": 1, "empty": None, "list": [1], "\ud800": 1},
        {"n": 2.5, "mixed": "N/A", "flag": None, "late": 1, "even": "x"},
        {"n": None, "mixed": math.nan, "text": 3, "text2": "y"},
        {"text": "z", "sub": {"n": 1}},
    ]
    events = [parse_event(message(features=features, prediction="yes")) for features in examples]
    assert inferred(events) == [
        ("n", True),
        ("mixed", True),
        ("flag", False),
        ("text", False),
        ("even", False),
        ("prediction", False),
        ("late", True),
        ("text2", False),
        ("sub.n", True),
    ]


def inferred(events: Sequence[Event]) -> list[tuple[str, bool]]:
    return [(field.name.removeprefix("features."), field.numeric) for field in infer_fields(events)]


@pytest.mark.parametrize(
    ("texts", "numeric"),
    [
        ([f"{n / 8}" for n in range(30)], True),
        ([f"{n / 8}" for n in range(30)] + ["N/A"], False),
        ([f"{n:05}" for n in range(30)], False),  # postcodes
        (["4.1", "4.2"] * 15, False),  # versions
    ],
)
def test_numbers_in_texts_are_numbers_only_if_they_look_measured(texts: list[str], numeric: bool) -> None:
    events = [parse_event(message(features={"x": text})) for text in texts]
    assert inferred(events) == [("x", numeric)]


@pytest.mark.parametrize(
    "mark", ["", " ", "\t", "\n", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2003", "\u3000", "\u0661", "_"]
)
@pytest.mark.parametrize("number", ["1.5", "nan", "inf"])
def test_a_text_that_is_taken_for_a_number_is_one_to_python_too(number: str, mark: str) -> None:
    """Four control characters are white space to `re`, but not to `float`: such a text ended the worker."""
    for text in (f"{number}{mark}", f"{mark}{number}"):
        columns = one(message(score=text), [Field("score", True)])
        taken = math.isfinite(columns.numeric[0, 0]) or not columns.defects or columns.defects[0].code is Special.NAN
        if taken:
            assert mark.isspace() or not mark
            assert str(float(text)) == number
        else:
            assert columns.defects[0].code is Special.INVALID


FLAG_VALUES = [(True, 1, 1.0, "true", "True", "1", "1.0"), (False, 0, 0.0, "false", "FALSE", "0", "0.0")]


@pytest.mark.parametrize("numeric", [True, False])
@pytest.mark.parametrize("state", [0, 1])
def test_all_spellings_of_a_flag_are_one_value(numeric: bool, state: int) -> None:
    batch = [message(score=value) for value in FLAG_VALUES[1 - state]]
    columns = Decoder({"fraud": [Field("score", numeric, flag=True)]}).decode(batch).known["fraud"]
    assert columns.defects == []
    found = columns.numeric[:, 0].tolist() if numeric else columns.texts[0]
    assert set(found) == ({float(state)} if numeric else {"true" if state else "false"})


# Other shapes of events.


def nest(event: dict[str, Any], mapping: EventMapping) -> dict[str, Any]:
    """The parts of an event, placed where a mapping says."""
    document: dict[str, Any] = {}
    for part, value in event.items():
        if part == "features" and mapping.features == "rest" and isinstance(value, dict):
            document |= value
            continue
        *way, key = getattr(mapping, part, part).split(".")
        home = document
        for step in way:
            home = home.setdefault(step, {})
        home[key] = value
    return document


def test_a_mapping_moves_every_part_and_renames_no_signal() -> None:
    data = json.dumps(nest(json.loads(message(score=0.5)), NESTED)).encode()
    assert json.loads(data)["request"] == {"id": "a", "at": NOW, "model": "fraud"}
    moved = Decoder({"fraud": FIELDS}, NESTED).decode([data, b'{"request": 1}'])
    assert_same(moved.known["fraud"], one(message(score=0.5)))
    assert moved.rejections == [Rejection(1, "request.id: missing")]


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        ({"id": ""}, "id: expected a dotted path such as 'request.id', got ''"),
        ({"ts": "a..b"}, "ts: expected a dotted path such as 'request.id', got 'a..b'"),
        ({"id": "score.id"}, "id: the path 'score.id' lies inside that of score, 'score'"),
        ({"id": "features"}, "id: the path 'features' lies inside that of features, 'features'"),
        ({"model": "="}, "model: expected a name after '=', as in '=fraud'"),
        ({"zone": "Mars/Olympus"}, "zone: 'Mars/Olympus' is no time zone that this machine knows"),
        ({"names": ("x",)}, "names: has no effect without `rows`"),
        ({"names_at": "x", "names": ("x",), "rows": True}, "names_at: has no effect beside `names`"),
        ({"rows": True, "features": "rest"}, "features: `rest` is one row; with `rows`, name the path of the rows"),
        ({"score": "prediction"}, "prediction: the path 'prediction' lies inside that of score, 'prediction'"),
    ],
)
def test_a_mapping_with_impossible_paths_is_refused(paths: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        EventMapping(**paths)


# The fast path.

PLAIN = {
    "fraud": message(score=None),
    "nulls": message(features={"amount": None, "land": None}, score=None),
    "rfc 3339": message(ts="2026-01-01T00:00:00+01:00", id=5, version=1, tags={"a": "b"}),
    "other order": message(prediction="x")[:-1] + b', "more": [1, {}]}',
    "numbers for text": message(features={"land": 7}),
    "no features": message(model="no features", prediction=True, score=1),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN.keys())
def test_plain_events_take_the_fast_path(data: bytes) -> None:
    _, refused = decoder()._parse_plain([data])
    assert refused == []


NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -0.0, 2**53 + 1, 10**25, 10**400, 5e-324, 1.7976931348623157e308, 1e22, NOW]),
)
VALUES = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.sampled_from(["DE", "", "é", "\x00", "\ud800", "N/A", "12", "True", "0.0", "nan"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["lat", "lat.x", ""]), NUMBERS, max_size=2),
)
FEATURES = st.dictionaries(st.sampled_from(["amount", "land", "geo", "geo.lat", '"', "é"]), VALUES, max_size=5)
TIMES = st.one_of(
    st.integers(NOW - 9, NOW + 9),
    st.integers(-1, 10**15),
    st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    st.sampled_from(["2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]),
)
MODEL = st.sampled_from([*MODELS, "fraud", "new"])
EVENTS = st.fixed_dictionaries(
    {"id": st.one_of(st.text(max_size=3), st.integers()), "ts": TIMES, "model": MODEL},
    optional={"features": FEATURES, "prediction": VALUES, "score": VALUES, "version": VALUES, "x": VALUES},
)
ODD_EVENTS = EVENTS | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("id", "ts", "model", "features", "prediction", "score", "version"), VALUES),
)


@settings(max_examples=500)
@given(
    st.lists(st.one_of(EVENTS, ODD_EVENTS), max_size=6),
    st.sampled_from([NATIVE, EventMapping(model="m"), NESTED, REST, CONSTANT, NULLS]),
)
def test_the_fast_path_reads_every_event_as_the_exact_reader_does(
    events: list[dict[str, Any]], mapping: EventMapping
) -> None:
    assert_reads_as_exactly([json.dumps(nest(event, mapping)).encode() for event in events], mapping)


@given(
    st.lists(FEATURES, max_size=6),
    st.sampled_from([{}, {"model": "=fraud"}, {"model": "=fraud", "features": "rest"}]),
    st.sampled_from([{"id": "$record"}, {"ts": "$record"}, {"id": "$record", "ts": "$record"}]),
    st.sampled_from([None, Origins("t", 1, np.arange(50, 56)), Origins("t", 1, np.arange(6), np.arange(NOW, NOW + 6))]),
)
def test_the_fast_path_takes_parts_from_the_record_as_the_exact_reader_does(
    rows: list[dict[str, Any]], shape: dict[str, str], record: dict[str, str], origins: Origins | None
) -> None:
    mapping = EventMapping(**shape | record)
    events = [{"id": n, "ts": NOW, "model": "fraud", "features": row} for n, row in enumerate(rows)]
    batch = [json.dumps(nest(event, mapping)).encode() for event in events]
    assert_reads_as_exactly(batch, mapping, origins)


@given(
    st.lists(st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True), min_size=1)
)
def test_numbers_are_read_alike_to_the_last_bit(literals: list[str]) -> None:
    batch = [message(score="?", features={"land": "?"}).replace(b'"?"', each.encode()) for each in literals]
    assert_reads_as_exactly(batch)
    (score,) = Decoder({"fraud": [Field("score", True)]}).decode(batch).known["fraud"].numeric.T
    assert score.tolist() == [float(each) for each in literals]


@given(st.lists(st.binary(max_size=40), max_size=5))
@example([b'{"id":1,"id":2,"model":"fraud","model":"other","ts":1767225600000,"features":{},"features":{"amount":1}}'])
@example([b"\xef\xbb\xbf" + message()])
@example([message(extra="?").replace(b"?", b"\xff")])
@example([message(extra="?").replace(b"?", b"\\ud800")])
@example([message(features={"geo": {"lat": 1}, "geo.lat": 2})])
def test_any_bytes_are_read_alike_and_raise_nothing(batch: list[bytes]) -> None:
    assert_reads_as_exactly(batch)


@settings(max_examples=500)
@given(st.data())
def test_damaged_events_are_read_alike_and_raise_nothing(data: st.DataObject) -> None:
    damaged = bytearray(message(score=0.5, ts="2026-01-01T00:00:00Z"))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    decoded = decoder().decode([bytes(damaged)])
    assert_reads_as_exactly([bytes(damaged)])
    assert len(decoded.known) + len(decoded.unknown) + len(decoded.rejections) == 1


def test_a_thousand_models_on_one_topic_are_told_apart() -> None:
    fields = {f"m{n}": [Field(f"features.f{n}", True)] for n in range(1000)}
    batch = [message(model=f"m{n}", features={f"f{n}": n, f"f{n + 1}": "x"}) for n in range(1000)]
    known, unknown, rejections, _ = Decoder(fields).decode(batch)
    assert [known[f"m{n}"].numeric.tolist() for n in range(1000)] == [[[n]] for n in range(1000)]
    assert not unknown
    assert not rejections
