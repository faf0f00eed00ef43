"""Schema-registry frames: messages that are not JSON themselves, but an id of a schema and a payload.

    byte    0      1 ... 4                5 ...
          ┌──────┬──────────────────────┬─────────────────────────────────────────────┐
          │ 0x00 │ schema id, big-endian │ payload: Avro's binary encoding, JSON text  │
          └──────┴──────────────────────┴─────────────────────────────────────────────┘

JSON text never begins with one of the bytes in `_BINARY`, so these are never mistaken for it. A payload in Avro is
decoded by fastavro with the writer's schema and becomes a document of plain JSON values:

    date                                days since 1970
    timestamp-*, local-timestamp-*      as written: epoch milli-, micro- or nanoseconds
    time-millis, time-micros, duration  seconds
    decimal                             float
    bytes, fixed                        [], which nothing monitors

Rule 1: no payload makes this module raise anything but FrameError, or take memory and time out of proportion. fastavro
checks neither depth nor number of values: so a schema that could nest without end, or make values out of no bytes, is
refused before it is used. No I/O, no clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol, cast
from uuid import UUID

import fastavro
from fastavro.read import LOGICAL_READERS, SchemaResolutionError
from fastavro.schema import SchemaParseException

from driftline.stream.events.event import quoted

_HEADER = 5  # bytes before the payload
# Bytes with which some messages begin that are not text: those of JSON are space, brackets, quotes, digits, letters,
# minus, and 0xEF of a byte order mark.
_BINARY = b"\x00\x03\xc3O\x1f"
_GLUE = 18  # bytes of AWS Glue's header: version, compression, UUID of the schema
# Levels of a schema. The deepest ones in use have some 10; fastavro, compiled, overflows the stack at some 10,000.
_MAX_DEPTH = 64
# Values that one message may hold. Four in every byte of the largest message: a schema in use makes one to three. As
# objects of one value each, the largest values, they take 800 MB for an instant; with twice as many, a worker may die.
_MAX_VALUES = 4 << 20
# Values of one record that take no bytes: fields that are always null, or records of such. A schema in use has none.
_MAX_FREE = 1000
# Digits after the point of a decimal; databases have up to 1000.
_MAX_SCALE = 1000
# s. The mean month of the Gregorian calendar.
_MONTH, _DAY = 2_629_746, 86_400
# Bytes that a primitive takes at least.
_LEAST = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1, "enum": 1}
_REMEDY = "name the registry: `schemas: {registry: URL}`"

# What fastavro raises for a schema and for a payload that is none.
_BAD_SCHEMA = (SchemaParseException, LookupError, TypeError, ValueError, AttributeError, RecursionError)
_BAD_PAYLOAD = (EOFError, LookupError, TypeError, ValueError, OverflowError, SchemaResolutionError)


class FrameError(ValueError):
    """A message in a binary format cannot be read; the text says why, and what helps."""


class Schema(Protocol):
    """How to read the frames of one schema id."""

    def read(self, frame: bytes) -> dict[str, Any] | bytes:
        """The document in a frame, or its JSON text. Raises FrameError."""


def unpack(data: bytes, schemas: Mapping[int, Schema] | None) -> dict[str, Any] | bytes:
    """The document in a message, or its JSON text: for a message that is no frame, the message itself.

    schemas: by id; None if the configuration names no source of schemas. Raises FrameError for a frame that cannot be
    read, and for other formats that are certainly not JSON.

    >>> unpack(b'\\0\\0\\0\\0\\x07{"id": 1}', {7: parse_schema("{}", "JSON")})
    b'{"id": 1}'
    """
    if not data or data[0] not in _BINARY:
        return data
    if data[0] == 0:
        return _open(data, schemas)
    if foreign := _foreign(data):
        raise FrameError(foreign)
    return data


def schema_ids(messages: Iterable[bytes | None]) -> set[int]:
    """The schema ids of the frames among messages."""
    ids = {data[1:_HEADER] for data in messages if data and data[0] == 0}
    return {int.from_bytes(each, "big") for each in ids if len(each) == _HEADER - 1}


def without_headers(
    messages: Sequence[bytes | None], schemas: Mapping[int, Schema], max_bytes: int
) -> Sequence[bytes | None]:
    """The messages, with the JSON text in place of each frame of a JSON Schema that has at most `max_bytes`."""
    headers = {
        b"\0" + number.to_bytes(_HEADER - 1, "big")
        for number, schema in schemas.items()
        if isinstance(schema, _JsonSchema)
    }
    if not headers:
        return messages
    return [
        data[_HEADER:] if data and data[:_HEADER] in headers and len(data) <= max_bytes else data for data in messages
    ]


def parse_schema(text: str, kind: str, references: Sequence[str] = ()) -> Schema:
    """The schema in a text. One that cannot be used refuses each of its frames, with the reason.

    kind: AVRO, JSON or PROTOBUF, as a registry calls it. references: the texts of the schemas whose types this one
    uses, each after those that it uses itself.
    """
    if kind == "JSON":
        return _JsonSchema()
    if kind != "AVRO":
        return _UnreadableSchema(f"is of type {quoted(kind)}; Driftline reads Avro and JSON Schema: convert the topic")
    try:
        return _avro_schema(text, references)
    except FrameError as error:
        return _UnreadableSchema(str(error))
    except _BAD_SCHEMA as error:
        return _UnreadableSchema(f"is not a valid Avro schema: {quoted(str(error))}")


class RecordReader:
    """Reads the records of an Avro object container file, whose schema is given as text. Raises FrameError."""

    def __init__(self, schema: str) -> None:
        parsed = parse_schema(schema, "AVRO")
        if not isinstance(parsed, _AvroSchema):
            parsed.read(b"")  # raises FrameError with the reason
            raise FrameError("is no Avro schema")
        self._schema = parsed

    def read(self, block: bytes, records: int) -> list[dict[str, Any]]:
        """The documents of `records` records, in order. Raises FrameError."""
        if records > len(block):
            raise FrameError(f"has {records} records in {len(block)} bytes")
        stream = BytesIO(block)
        documents = [self._schema.read_next(stream, len(block)) for _ in range(records)]
        if not all(isinstance(document, dict) for document in documents):
            raise FrameError("describes no record")
        return cast(list[dict[str, Any]], documents)


def _open(data: bytes, schemas: Mapping[int, Schema] | None) -> dict[str, Any] | bytes:
    if len(data) < _HEADER:
        raise FrameError("schema-registry frame: ends within the schema id")
    number = int.from_bytes(data[1:_HEADER], "big")
    if schemas is None:
        raise FrameError(f"schema-registry frame: schema {number} is needed; {_REMEDY}")
    if number not in schemas:
        raise FrameError(f"schema-registry frame: schema {number} is unknown; is `schemas` the source of this topic?")
    try:
        return schemas[number].read(data)
    except FrameError as error:
        raise FrameError(f"schema-registry frame: schema {number} {error}") from None


def _foreign(data: bytes) -> str | None:
    if data.startswith(b"Obj\x01"):
        return "Avro object container file: a message must be a schema-registry frame or JSON"
    if data.startswith(b"\xc3\x01"):
        return "Avro single-object encoding: a message must be a schema-registry frame or JSON"
    if data.startswith(b"\x1f\x8b"):
        return "gzip: let Kafka compress instead of the message itself (compression.type of the producer)"
    if data.startswith((b"\x03\x00", b"\x03\x05")) and len(data) >= _GLUE:
        version = UUID(bytes=data[2:_GLUE])
        return f"AWS Glue frame: schema version {version}; a message must be a schema-registry frame or JSON"
    return None


class _JsonSchema:
    def read(self, frame: bytes) -> bytes:
        return frame[_HEADER:]


@dataclass(frozen=True, slots=True)
class _UnreadableSchema:
    reason: str

    def read(self, frame: bytes) -> bytes:  # noqa: ARG002 # as every schema
        raise FrameError(self.reason)


@dataclass(frozen=True, slots=True)
class _AvroSchema:
    """parsed: as fastavro wants it, a record of the one field "value". values: see `_Size`."""

    parsed: Any
    values: float

    def read(self, frame: bytes) -> dict[str, Any] | bytes:
        stream = BytesIO(frame)
        stream.seek(_HEADER)
        document = self.read_next(stream, len(frame))
        if left := len(frame) - stream.tell():
            raise FrameError(f"does not fit the payload: {left} bytes are left over")
        return document

    def read_next(self, stream: BytesIO, size: int) -> dict[str, Any] | bytes:
        """The document that begins at the place of a stream of `size` bytes. Raises FrameError."""
        if self.values * size > _MAX_VALUES:
            raise FrameError(f"could make more than {_MAX_VALUES} values of {size} bytes: send smaller messages")
        try:
            value: Any = fastavro.schemaless_reader(stream, self.parsed, None, handle_unicode_errors="surrogateescape")
        except _BAD_PAYLOAD as error:
            raise FrameError(f"does not fit the payload: {type(error).__name__} {quoted(str(error))}") from None
        return _document(value["value"])


def _document(value: Any) -> dict[str, Any] | bytes:
    """What a payload holds: a record, or a text that may be JSON."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise FrameError(f"describes no record: got {quoted(value)}")


def _avro_schema(text: str, references: Sequence[str]) -> Schema:
    named: dict[str, Any] = {}
    for each in references:
        fastavro.parse_schema(_reduced(json.loads(each)), named)
    # A field takes no bytes of its own. Names in a union at the top would be lost without a record around it.
    message = {"type": "record", "name": "DriftlineMessage", "fields": [{"name": "value", "type": json.loads(text)}]}
    parsed = fastavro.parse_schema(_reduced(message), named)
    return _AvroSchema(parsed, _Sizes(named).of("DriftlineMessage").values)


def _reduced(schema: Any, depth: int = 0) -> Any:
    """What decoding needs of a schema, with the conversions of this module as its logical types."""
    if depth > _MAX_DEPTH:
        raise FrameError(f"is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(schema, list):
        return [_reduced(branch, depth + 1) for branch in schema]
    if not isinstance(schema, dict):
        return _reduced({"type": schema}, depth + 1) if schema == "bytes" else schema
    if isinstance(schema["type"], dict | list):
        return _reduced(schema["type"], depth + 1)
    kept = {key: schema[key] for key in ("type", "name", "namespace", "symbols", "size", "scale") if key in schema}
    for inner in ("items", "values"):
        if inner in schema:
            kept[inner] = _reduced(schema[inner], depth + 1)
    if "fields" in schema:
        fields = schema["fields"]
        kept["fields"] = [{"name": each["name"], "type": _reduced(each["type"], depth + 1)} for each in fields]
    if conversion := _conversion(schema):
        kept["logicalType"] = conversion
    return kept


def _conversion(schema: Mapping[str, Any]) -> str | None:
    """The logical type that converts the values of a type; None if they are left as they are.

    As Avro demands, a logical type that does not fit its type is ignored.
    """
    kind, logical, size, scale = (schema.get(key) for key in ("type", "logicalType", "size", "scale"))
    if (kind, logical) in (("int", "time-millis"), ("long", "time-micros")):
        return f"driftline-{logical}"
    if kind not in ("bytes", "fixed"):
        return None
    decimal = logical == "decimal" and isinstance(scale or 0, int) and 0 <= (scale or 0) <= _MAX_SCALE
    sized = kind == "fixed" and (logical, size) in (("uuid", 16), ("duration", 12))
    return f"driftline-{logical}" if decimal or sized else "driftline-opaque"


def _decimal(data: bytes, schema: Mapping[str, Any], _: Any = None) -> float:
    unscaled = int.from_bytes(data, "big", signed=True)
    try:
        return unscaled / 10 ** (schema.get("scale") or 0)
    except OverflowError:
        return math.inf if unscaled > 0 else -math.inf


def _duration(data: bytes, *_: Any) -> float:
    months, days, milliseconds = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4, 8))
    return months * _MONTH + days * _DAY + milliseconds / 1000


def _opaque(*_: Any) -> list[Any]:
    return []


# fastavro finds readers by type and logical type in this table of the process; the prefix keeps ours apart.
_READERS: dict[str, Callable[..., Any]] = {
    "int-driftline-time-millis": lambda value, *_: value / 1000,
    "long-driftline-time-micros": lambda value, *_: value / 1_000_000,
    "bytes-driftline-decimal": _decimal,
    "fixed-driftline-decimal": _decimal,
    "fixed-driftline-duration": _duration,
    "fixed-driftline-uuid": lambda data, *_: str(UUID(bytes=data)),
    "bytes-driftline-opaque": _opaque,
    "fixed-driftline-opaque": _opaque,
}
LOGICAL_READERS.update(_READERS)


@dataclass(frozen=True, slots=True)
class _Size:
    """What decoding a type costs at most.

    least: bytes that it takes at least. values: the values made of each byte; of a type that takes none, in all.
    height: levels.
    """

    least: int
    values: float
    height: int = 1


class _Sizes:
    """The sizes of types. Raises FrameError for one whose values are not bounded by the bytes that it takes."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named, self._known, self._open = named, dict[str, _Size](), set[str]()

    def of(self, schema: Any) -> _Size:
        """The size of a type, given as fastavro parses it."""
        if isinstance(schema, list):
            return self._union([self.of(branch) for branch in schema])
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind in _LEAST:
            return _Size(_LEAST[kind], 1.0)
        match kind:
            case "fixed":
                return _Size(int(schema["size"]), 1.0)
            case "array":
                return self._array(self.of(schema["items"]))
            case "map":
                return self._map(self.of(schema["values"]))
            case "record" | "error":
                return self._record([self.of(each["type"]) for each in schema["fields"]])
        return self._of_name(kind)

    def _of_name(self, name: str) -> _Size:
        if name in self._open:
            raise FrameError(f"has a type that contains itself, {quoted(name)}, which Driftline does not read")
        if name not in self._known:
            self._open.add(name)
            self._known[name] = self.of(self._named[name])
            self._open.discard(name)
        return self._known[name]

    def _union(self, branches: Sequence[_Size]) -> _Size:
        return _level(branches, 1 + min(each.least for each in branches), max(each.values for each in branches))

    def _array(self, item: _Size) -> _Size:
        if item.least == 0:
            raise FrameError("has an array whose items take no bytes, so that a few could be any number of them")
        return _level([item], 1, max(1.0, item.values))

    def _map(self, value: _Size) -> _Size:
        return _level([value], 1, value.values + 1 if value.least == 0 else max(1.0, value.values))

    def _record(self, fields: Sequence[_Size]) -> _Size:
        least = sum(each.least for each in fields)
        of_no_bytes = 1 + sum(each.values for each in fields if each.least == 0)
        if of_no_bytes > _MAX_FREE:
            raise FrameError(f"has a record with more than {_MAX_FREE} values that take no bytes")
        of_bytes = max((each.values for each in fields if each.least), default=0.0)
        return _level(fields, least, of_bytes + of_no_bytes / (least or 1))


def _level(parts: Sequence[_Size], least: int, values: float) -> _Size:
    """The size of a type around others."""
    height = 1 + max((each.height for each in parts), default=0)
    if height > _MAX_DEPTH:
        raise FrameError(f"is nested more than {_MAX_DEPTH} levels deep")
    return _Size(least, values, height)
