"""Schema-registry frames: what fastavro has written is read equal, and no schema and no payload does harm."""

from __future__ import annotations

import json
import math
import tracemalloc
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID
from zlib import crc32

import fastavro
import pytest
from fastavro.schema import SchemaParseException
from hypothesis import given, reject
from hypothesis import strategies as st

from driftline.stream.events.columns import Field
from driftline.stream.events.decode import Decoder
from driftline.stream.events.frames import FrameError, Schema, parse_schema, schema_ids, unpack
from driftline.stream.events.limits import MessageLimits
from driftline.stream.events.parse import EventError, EventReader


def record(*fields: tuple[str, Any], name: str = "Prediction") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields]}


def header(number: int) -> bytes:
    return b"\0" + number.to_bytes(4, "big")


def frame(schema: Any, value: Any, number: int = 7) -> bytes:
    """A frame as a producer writes it."""
    stream = BytesIO(header(number))
    stream.seek(5)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema, {}), value)
    return stream.getvalue()


def avro(schema: Any, *references: Any) -> Schema:
    return parse_schema(json.dumps(schema), "AVRO", [json.dumps(each) for each in references])


def read(schema: Any, value: Any) -> Any:
    return unpack(frame(schema, value), {7: avro(schema)})


def reason(data: bytes, schemas: dict[int, Schema] | None) -> str:
    with pytest.raises(FrameError) as refusal:
        unpack(data, schemas)
    return str(refusal.value)


def refusal(schema: Any, payload: bytes = b"\0") -> str:
    """Why a schema, or this payload of it, is refused."""
    return reason(header(7) + payload, {7: avro(schema)})


# What is a frame


@pytest.mark.parametrize(
    "text", [b'{"id": 1}', b"\xef\xbb\xbf{}", b" []", b"12", b"not JSON", b"\xff\xfe", b"O", b"\x03", b""]
)
def test_a_message_that_is_no_frame_is_left_as_it_is(text: bytes) -> None:
    assert unpack(text, {}) is text
    assert unpack(text, None) is text


def test_the_ids_of_frames_are_found_among_other_messages() -> None:
    messages = [
        None,
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\0\0\0\0\x01",
        b"\0\xff\xff\xff\xff...",
        b'{"id": 1}',
        b"\0\0\0\0\x01x",
    ]
    assert schema_ids(messages) == {1, 0xFFFFFFFF}


def test_a_frame_without_a_source_of_schemas_says_what_it_is_and_what_to_configure() -> None:
    assert reason(header(12) + b"x", None) == (
        "schema-registry frame: schema 12 is needed; name the registry: `schemas: {registry: URL}`"
    )


def test_a_frame_of_an_unknown_schema_says_so() -> None:
    assert reason(header(12) + b"x", {}).startswith("schema-registry frame: schema 12 is unknown")


def test_a_frame_that_ends_early_says_so() -> None:
    assert reason(b"\0\0", {}) == "schema-registry frame: ends within the schema id"


def test_a_frame_in_protobuf_says_what_is_read() -> None:
    message = reason(header(3) + b"\0\x08\x01", {3: parse_schema('syntax = "proto3";', "PROTOBUF")})
    assert message.startswith("schema-registry frame: schema 3 is of type 'PROTOBUF'; Driftline reads Avro")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"Obj\x01\x04\x14avro.codec", "Avro object container file"),
        (b"\xc3\x01" + b"12345678" + b"x", "Avro single-object encoding"),
        (b"\x03\x00" + bytes(16) + b"x", "AWS Glue frame"),
        (b"\x03\x05" + bytes(16) + b"x", "AWS Glue frame"),
        (b"\x1f\x8b\x08rest", "gzip"),
    ],
)
def test_a_message_in_another_known_format_is_refused_by_its_name(data: bytes, name: str) -> None:
    assert reason(data, {}).startswith(name)


# What is read


def test_the_payload_of_a_json_schema_is_the_message() -> None:
    assert unpack(header(7) + b'{"id": 1}', {7: parse_schema("", "JSON")}) == b'{"id": 1}'


def test_a_record_becomes_a_document() -> None:
    schema = record(
        ("id", "long"),
        ("ts", {"type": "long", "logicalType": "timestamp-millis"}),
        ("model", "string"),
        ("features", {"type": "map", "values": ["null", "double", "string"]}),
        ("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}),
        ("list", {"type": "array", "items": "float"}),
        ("nested", ["null", record(("kind", "Kind"), ("flag", "boolean"), name="Nested")]),
    )
    value = {
        "id": 2**40,
        "ts": 1_767_225_600_123,
        "model": "früh",
        "features": {"a": 1.5, "b": None, "c": "x"},
        "kind": "B",
        "list": [0.5, -2.0],
        "nested": {"kind": "A", "flag": True},
    }
    assert read(schema, value) == value


AT = datetime(2026, 1, 31, 12, 30, 15, 123_456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "logical", "value", "expected"),
    [
        ("long", "timestamp-millis", AT, 1_769_862_615_123),
        ("long", "timestamp-micros", AT, 1_769_862_615_123_456),
        ("long", "local-timestamp-micros", AT.replace(tzinfo=None), 1_769_862_615_123_456),
        ("long", "timestamp-nanos", 1_769_862_615_123_456_789, 1_769_862_615_123_456_789),
        ("int", "date", date(1970, 2, 1), 31),
        ("int", "time-millis", time(1, 0, 0, 5000), 3600.005),
        ("long", "time-micros", time(0, 1, 0, 7), 60.000007),
        ("string", "uuid", UUID(int=1), str(UUID(int=1))),
        ("string", "unheard-of", "x", "x"),
        ("string", "decimal", "x", "x"),  # Avro: a logical type that does not fit its type is ignored
        ("int", "date", 2**31 - 1, 2**31 - 1),  # Python's dates end in the year 9999
        ("bytes", None, b"abc", []),
    ],
)
def test_logical_types_become_plain_values(kind: str, logical: str | None, value: Any, expected: Any) -> None:
    schema = record(("x", {"type": kind} | ({"logicalType": logical} if logical else {})))
    assert read(schema, {"x": value}) == {"x": expected}


@pytest.mark.parametrize("kind", [{"type": "bytes"}, {"type": "fixed", "name": "Sixteen", "size": 16}])
@given(unscaled=st.integers(-(10**20), 10**20), scale=st.integers(0, 20))
def test_a_decimal_becomes_the_nearest_float(kind: dict[str, Any], unscaled: int, scale: int) -> None:
    value = Decimal(unscaled).scaleb(-scale)
    schema = record(("x", kind | {"logicalType": "decimal", "precision": 30, "scale": scale}))
    assert read(schema, {"x": value}) == {"x": float(value)}


def test_a_decimal_of_a_million_digits_is_infinite_at_once() -> None:
    """fastavro takes half a minute for it."""
    plain, decimal = record(("x", "bytes")), record(("x", {"type": "bytes", "logicalType": "decimal", "precision": 4}))
    assert unpack(frame(plain, {"x": b"\x7f" * 500_000}), {7: avro(decimal)}) == {"x": math.inf}
    assert unpack(frame(plain, {"x": b"\x80" * 500_000}), {7: avro(decimal)}) == {"x": -math.inf}


def test_fixed_values_become_what_their_logical_type_means() -> None:
    def fixed(size: int, logical: str) -> Any:
        return {"type": "fixed", "name": "F", "size": size, "logicalType": logical}

    raw = {"type": "fixed", "name": "F", "size": 12}
    month_day_second = b"\1\0\0\0\1\0\0\0\xe8\3\0\0"
    data = frame(record(("x", raw)), {"x": month_day_second})
    assert unpack(data, {7: avro(record(("x", fixed(12, "duration"))))}) == {"x": 2_629_746 + 86_400 + 1}
    assert unpack(data, {7: avro(record(("x", raw)))}) == {"x": []}
    uuid = frame(record(("x", raw | {"size": 16})), {"x": UUID(int=5).bytes})
    assert unpack(uuid, {7: avro(record(("x", fixed(16, "uuid"))))}) == {"x": str(UUID(int=5))}


def test_a_text_that_is_not_utf8_is_kept_as_in_json() -> None:
    data = frame(record(("x", "bytes")), {"x": b"a\xff"})
    assert unpack(data, {7: avro(record(("x", "string")))}) == {"x": "a\udcff"}


def test_a_text_holds_json() -> None:
    assert read("string", '{"id": 1}') == b'{"id": 1}'


def test_types_of_other_schemas_are_found_by_name() -> None:
    """Each reference comes after those that it uses itself."""
    place = record(("lat", "double"), name="geo.Place")
    trip = record(("from", "geo.Place"), ("to", ["null", "geo.Place"]), name="geo.Trip")
    main = record(("trip", "geo.Trip"), name="events.Prediction")
    value = {"trip": {"from": {"lat": 1.5}, "to": {"lat": 2.5}}}
    named: dict[str, Any] = {}
    for each in (place, trip):
        fastavro.parse_schema(each, named)
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(main, named), value)
    assert unpack(header(7) + stream.getvalue(), {7: avro(main, place, trip)}) == value
    # A topic of several types: the schema is a union of names.
    union = avro(["geo.Place", "events.Prediction"], place, trip, main)
    assert unpack(header(7) + b"\x02" + stream.getvalue(), {7: union}) == value
    assert "is not a valid Avro schema" in reason(header(7), {7: avro(main, place)})


_NAMES = st.text("abcdefgh", min_size=1, max_size=3)
_LEAVES: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]] = st.sampled_from(
    [
        ("null", st.none()),
        ("boolean", st.booleans()),
        ("int", st.integers(-(2**31), 2**31 - 1)),
        ("long", st.integers(-(2**63), 2**63 - 1)),
        ("double", st.floats(allow_nan=False)),
        ("float", st.floats(allow_nan=False, width=32)),
        ("string", st.text()),
    ]
)


def _wider(inner: Any) -> Any:
    def array(item: Any) -> Any:
        return {"type": "array", "items": item[0]}, st.lists(item[1], max_size=3)

    def mapping(item: Any) -> Any:
        return {"type": "map", "values": item[0]}, st.dictionaries(st.text(), item[1], max_size=3)

    def nullable(item: Any) -> Any:
        return ["null", item[0]], st.none() | item[1]

    def structure(items: Any) -> Any:
        fields = [{"name": name, "type": kind} for name, (kind, _) in items.items()]
        values = st.fixed_dictionaries({name: value for name, (_, value) in items.items()})
        return {"type": "record", "name": f"R{crc32(str(fields).encode())}", "fields": fields}, values

    plain = inner.filter(lambda each: each[0] != "null")
    single = plain.filter(lambda each: not isinstance(each[0], list))
    return (
        plain.filter(lambda each: not _is_free(each[0])).map(array)
        | inner.map(mapping)
        | single.map(nullable)
        | st.dictionaries(_NAMES, inner, min_size=1, max_size=4).map(structure)
    )


def _is_free(kind: Any) -> bool:
    """Whether values of a type take no bytes."""
    fields = kind.get("fields") if isinstance(kind, dict) else None
    return kind == "null" or (fields is not None and all(_is_free(each["type"]) for each in fields))


_SCHEMAS = st.recursive(_LEAVES, _wider, max_leaves=12)


@given(st.data(), st.dictionaries(_NAMES, _SCHEMAS, min_size=1, max_size=4))
def test_whatever_fastavro_writes_is_read_equal(data: st.DataObject, fields: dict[str, Any]) -> None:
    schema = record(*((name, kind) for name, (kind, _) in fields.items()))
    value = data.draw(st.fixed_dictionaries({name: values for name, (_, values) in fields.items()}))
    try:
        written = frame(schema, value)
    except SchemaParseException:
        reject()  # two records of one name
    assert unpack(written, {7: avro(schema)}) == value
    assert "left over" in reason(written + b"\0", {7: avro(schema)})
    if len(written) > 5:
        assert "does not fit the payload" in reason(written[:-1], {7: avro(schema)})


# What does no harm


@given(st.data(), st.binary(max_size=60))
def test_no_payload_raises_anything_but_the_refusal(data: st.DataObject, payload: bytes) -> None:
    schema = avro(data.draw(_SCHEMAS)[0])
    with suppress(FrameError):
        unpack(header(7) + payload, {7: schema})


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        ["null", "int", "bytes", "record", "array", "map", "enum", "fixed", "N", "a.N", "error", "request"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "name",
                    "namespace",
                    "fields",
                    "items",
                    "values",
                    "symbols",
                    "size",
                    "logicalType",
                    "scale",
                    "default",
                ]
            ),
            inner | st.sampled_from(["decimal", "uuid", "duration", "time-millis"]),
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(_ANYTHING, st.binary(max_size=20))
def test_no_schema_raises_anything_but_the_refusal(schema: Any, payload: bytes) -> None:
    for read_as in (avro(schema), avro(schema, schema)):
        with suppress(FrameError):
            unpack(header(7) + payload, {7: read_as})


LINK = record(("next", ["null", "Link"]), name="Link")
DOUBLING = [
    record(("x", "null"), name="R0"),
    *(record(("a", f"R{i}"), ("b", f"R{i}"), name=f"R{i + 1}") for i in range(60)),
]
HUGE = record(("r", "R60"), ("x", {"type": "fixed", "name": "F", "size": 2**60}), name="Huge")


def nested(depth: int) -> Any:
    schema: Any = "int"
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (LINK, "contains itself, 'Link'"),
        (record(("self", "Self"), name="Self"), "contains itself"),
        (record(("m", {"type": "map", "values": "M"}), name="M"), "contains itself"),
        ({"type": "array", "items": "null"}, "items take no bytes"),
        ({"type": "array", "items": record(name="Empty")}, "items take no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "items take no bytes"),
        (DOUBLING, "values that take no bytes"),
        ([*DOUBLING, HUGE], "values that take no bytes"),
        (record(*((f"f{i}", "null") for i in range(2000))), "values that take no bytes"),
        (nested(70), "more than 64 levels"),
        (nested(900), "more than 64 levels"),
        (
            [record(("x", "int"), name="C0"), *(record(("x", f"C{i}"), name=f"C{i + 1}") for i in range(100))],
            "64 levels",
        ),
    ],
)
def test_a_schema_without_bounds_is_refused(schema: Any, why: str) -> None:
    """fastavro overflows the stack, fills the memory or never ends on each of them."""
    assert why in refusal(schema, b"\x02" * 100_000)


def test_a_schema_nested_deeper_than_python_goes_is_refused() -> None:
    text = '{"type":"array","items":' * 100_000 + '"int"' + "}" * 100_000
    assert "is not a valid Avro schema" in reason(header(7), {7: parse_schema(text, "AVRO")})


def varint(number: int) -> bytes:
    number, out = (number << 1) ^ (number >> 63), b""
    while number > 0x7F:
        number, out = number >> 7, out + bytes([number & 0x7F | 0x80])
    return out + bytes([number])


@pytest.mark.parametrize("count", [10**6, 2**40, 2**62, -(2**40), -(2**63) + 1])
@pytest.mark.parametrize(
    "kind", ["string", "bytes", {"type": "array", "items": "int"}, {"type": "map", "values": "int"}]
)
def test_lengths_that_a_payload_only_claims_take_no_memory(kind: Any, count: int) -> None:
    schemas = {7: avro(record(("x", kind)))}
    tracemalloc.start()
    try:
        reason(header(7) + varint(count) + b"\x02" * 50, schemas)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_values_of_one_message_are_bounded() -> None:
    """Objects of one value each, nested eight times: each byte would make nine values."""
    item: Any = "int"
    for level in range(8):
        item = record(("x", item), name=f"Level{level}")
    schema = {7: avro(record(("list", {"type": "array", "items": item})))}
    assert "could make more than" in reason(header(7) + varint(10**6) + b"\x02" * 10**6 + b"\0", schema)
    document = unpack(header(7) + varint(1000) + b"\x02" * 1000 + b"\0", schema)
    assert isinstance(document, dict)
    assert len(document["list"]) == 1000


def test_an_endless_number_is_refused() -> None:
    assert "does not fit the payload" in refusal(record(("x", "long")), b"\xff" * 1_000_000)


def test_what_is_no_record_is_refused() -> None:
    assert refusal("long", b"\x02") == "schema-registry frame: schema 7 describes no record: got 1"


# As events


EVENT = b'{"id": 1, "ts": 1767225600000, "model": "m", "score": 1}'


@given(st.lists(st.sampled_from([b"", b"{}", EVENT, EVENT + b" ", b"\0", header(7) + EVENT[:-1], header(7), b"x"])))
def test_frames_of_a_json_schema_are_read_as_the_exact_reader_reads_them(texts: list[bytes]) -> None:
    schemas = {7: parse_schema("", "JSON")}
    batch = [header(number) + text for text in texts for number in (7, 8)]
    decoded = Decoder({"m": [Field("score", True)]}, schemas=schemas, limits=MessageLimits(5 + len(EVENT))).decode(
        batch
    )
    read, reader = {}, EventReader(schemas=schemas, limits=MessageLimits(5 + len(EVENT)))
    for position, data in enumerate(batch):
        try:
            reader.read(data)
        except EventError as error:
            read[position] = str(error)
    assert {each.position: each.reason for each in decoded.rejections} == read
    assert sum(len(each.ids) for each in decoded.known.values()) == len(batch) - len(read)


def test_frames_and_json_are_events_of_one_batch() -> None:
    schema = record(("id", "long"), ("ts", "long"), ("model", "string"), ("features", {"type": "map", "values": "int"}))
    event = {"id": 1, "ts": 1_767_225_600_000, "model": "m", "features": {"a": 5}}
    plain, framed = json.dumps(event).encode(), frame(schema, event)
    batch = [plain, framed, header(7) + b"\xff", header(9) + plain, None]
    decoded = Decoder({"m": [Field("features.a", True)]}, schemas={7: avro(schema)}).decode(batch)
    assert decoded.known["m"].position.tolist() == [0, 1]
    assert decoded.known["m"].numeric.tolist() == [[5.0], [5.0]]
    reasons = {each.position: each.reason for each in decoded.rejections}
    assert reasons[2].startswith("schema-registry frame: schema 7 does not fit the payload")
    assert reasons[3].startswith("schema-registry frame: schema 9 is unknown")


def test_a_schema_that_is_loaded_later_is_used_from_then_on() -> None:
    schema = record(("id", "long"), ("ts", "long"), ("model", "string"), ("score", "double"))
    framed = frame(schema, {"id": 1, "ts": 1_767_225_600_000, "model": "m", "score": 0.5})
    schemas: dict[int, Schema] = {}
    reader = EventReader(schemas=schemas)
    with pytest.raises(EventError, match="schema 7 is unknown"):
        reader.read(framed)
    schemas[7] = avro(schema)
    (event,) = reader.read(framed).events
    assert event.signals == {"score": 0.5}
