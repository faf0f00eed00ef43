"""Avro frames: written by fastavro, read a second time by a naive decoder of the binary encoding."""

from __future__ import annotations

import io
import json
import random
import struct
from typing import Any

import fastavro

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Prediction",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "ts", "type": "long"},
        {"name": "model", "type": "string"},
        {
            "name": "features",
            "type": {
                "type": "record",
                "name": "Features",
                "fields": [
                    {"name": "amount", "type": ["null", "double"]},
                    {"name": "count", "type": "long"},
                    {"name": "land", "type": {"type": "enum", "name": "Land", "symbols": ["DE", "FR"]}},
                    {"name": "new", "type": "boolean"},
                    {"name": "geo", "type": {"type": "map", "values": "double"}},
                    {"name": "path", "type": {"type": "array", "items": "long"}},
                ],
            },
        },
        {"name": "score", "type": ["double", "string"]},
    ],
}
SCHEMA_ID = 7
TEXT = json.dumps(SCHEMA)


class OddEncodingError(Exception):
    """A number of more than 64 bits, or a negative index of an enum or a union.

    No writer makes them. fastavro, being made for speed, wraps the one and counts the other from the end.
    """


_PARSED = fastavro.parse_schema(SCHEMA)


def document(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "ts": 1_767_225_600_000 + number,
        "model": "m",
        "features": {
            "amount": rng.choice([None, rng.gauss(0, 1)]),
            "count": rng.randrange(-9, 1 << 40),
            "land": rng.choice(["DE", "FR"]),
            "new": rng.random() < 0.5,
            "geo": {key: rng.random() for key in rng.sample("abc", rng.randrange(3))},
            "path": [rng.randrange(9) for _ in range(rng.randrange(3))],
        },
        "score": rng.choice([rng.random(), "high"]),
    }


def frame(value: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _PARSED, value)
    return b"\x00" + SCHEMA_ID.to_bytes(4, "big") + out.getvalue()


def naive(data: bytes) -> Any:
    """The document in a frame, or an exception: a decoder of the specification's encoding, type by type."""
    if data[:5] != b"\x00" + SCHEMA_ID.to_bytes(4, "big"):
        raise ValueError
    source = io.BytesIO(data[5:])
    value = _value(SCHEMA, source)
    if source.read(1):
        raise ValueError
    return value


def _take(source: io.BytesIO, n: int) -> bytes:
    if n < 0:
        raise ValueError
    data = source.read(n)
    if len(data) != n:
        raise ValueError
    return data


def _long(source: io.BytesIO) -> int:
    shift = total = 0
    while True:
        (byte,) = _take(source, 1)
        total |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            if total >> 64:
                raise OddEncodingError
            return (total >> 1) ^ -(total & 1)


def _items(source: io.BytesIO) -> Any:
    while count := _long(source):
        if count < 0:
            _long(source)
        yield from range(abs(count))


def _value(schema: Any, source: io.BytesIO) -> Any:
    if isinstance(schema, list):
        return _value(_chosen(schema, source), source)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict):
        return _value(kind, source)
    return _READ[kind](schema, source)


def _chosen(of: list[Any], source: io.BytesIO) -> Any:
    number = _long(source)
    if number < 0:
        raise OddEncodingError
    return of[number]


# Bytes that are not UTF-8 become surrogates, as in JSON.
_READ: dict[str, Any] = {
    "null": lambda *_: None,
    "boolean": lambda _, source: _take(source, 1) != b"\x00",
    "long": lambda _, source: _long(source),
    "double": lambda _, source: struct.unpack("<d", _take(source, 8))[0],
    "string": lambda _, source: _take(source, _long(source)).decode("utf-8", "surrogateescape"),
    "enum": lambda schema, source: _chosen(schema["symbols"], source),
    "map": lambda schema, source: {_value("string", source): _value(schema["values"], source) for _ in _items(source)},
    "array": lambda schema, source: [_value(schema["items"], source) for _ in _items(source)],
    "record": lambda schema, source: {each["name"]: _value(each["type"], source) for each in schema["fields"]},
}
