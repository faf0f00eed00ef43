"""The shapes in which the traffic of a chaos run writes its events, and values that do not fit. Pure.

All are allowed by the native mapping, and each must count as the plain one does.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from driftline.stream.events.frames import Schema, parse_schema
from load_tests.chaos.naive import AVRO_SCHEMA, JSON_SCHEMA

Document = dict[str, Any]
Shape = Callable[[Document], bytes]

_AVRO = {
    "type": "record",
    "name": "Prediction",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "model", "type": "string"},
        {
            "name": "features",
            "type": {
                "type": "record",
                "name": "Features",
                "fields": [{"name": "amount", "type": ["null", "double"]}, {"name": "country", "type": "string"}],
            },
        },
        {"name": "score", "type": "double"},
    ],
}


def _changed(**fields: Callable[[Document], Any]) -> Shape:
    """The plain shape with other values of some fields."""
    return lambda document: orjson.dumps(document | {name: value(document) for name, value in fields.items()})


def _with_features(change: Callable[[Document], Document]) -> Shape:
    return _changed(features=lambda document: document["features"] | change(document["features"]))


def _flat(document: Document) -> bytes:
    features = dict(document["features"])
    lat = features.pop("geo")["lat"]
    return orjson.dumps(document | {"features": features | {"geo.lat": lat}})


def _twice(document: Document) -> bytes:
    """With a feature twice, of which the later value counts."""
    return orjson.dumps(document).replace(b'"features":{', b'"features":{"amount":-99,', 1)


def _escaped(document: Document) -> bytes:
    return orjson.dumps(document).replace(b'"at"', b'"\\u0061t"').replace(b'"country"', b'"c\\u006funtry"')


def _avro(document: Document) -> bytes:
    """A schema-registry frame in Avro, of the fields that its schema has."""
    features = document["features"]
    amount = b"\x02" + struct.pack("<d", features["amount"])
    parts = [_text(document["id"]), _long(document["ts"]), _text(document["model"]), amount, _text(features["country"])]
    return _header(AVRO_SCHEMA) + b"".join(parts) + struct.pack("<d", document["score"])


def _header(schema: int) -> bytes:
    return b"\0" + schema.to_bytes(4, "big")


def _long(value: int) -> bytes:
    groups, value = [], value << 1
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def _text(text: str) -> bytes:
    return _long(len(text.encode())) + text.encode()


def _moment(document: Document) -> datetime:
    return datetime.fromtimestamp(document["ts"] / 1000, UTC)


SHAPES: Sequence[Shape] = (
    _changed(ts=lambda document: _moment(document).isoformat(timespec="milliseconds")),
    _changed(ts=lambda document: document["ts"] * 1000),
    _changed(ts=lambda document: str(document["ts"])),
    _changed(id=lambda document: document["ts"]),
    _changed(version=lambda _: "4.2", user=lambda _: {"id": 7, "tags": ["a", None]}, label=lambda _: True),
    _changed(prediction=lambda _: "approve"),
    lambda document: b"\xef\xbb\xbf" + orjson.dumps(document),
    lambda document: orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS),
    lambda document: orjson.dumps({"schema": None, "payload": document}),
    lambda document: orjson.dumps(dict(reversed(document.items()))),
    _with_features(lambda features: {"amount": repr(features["amount"])}),
    _with_features(lambda features: {"vip": int(features["vip"])}),
    _with_features(lambda features: {"vip": str(features["vip"])}),
    _flat,
    _twice,
    _escaped,
    _avro,
    lambda document: _header(JSON_SCHEMA) + orjson.dumps(document),
)
# Values that do not fit a number: those that count, and a copy of their message is a dead letter; then others.
ODD_VALUES: Sequence[Any] = (
    "N/A", float("nan"), True, [1], {"of": 1}, "12,5", "1_000", "\ud800",
    None, float("inf"), float("-inf"), 10**400, "1e999", "", -0.0, " 3 ",
)  # fmt: skip
_PLAIN = b'{"id": "1", "ts": 1767225600000, "model": "spread-0", "score": 1'


def _large(size: int) -> bytes:
    """An event of `size` bytes."""
    return _PLAIN + b" " * (size - len(_PLAIN) - 1) + b"}"


def _deep(arrays: int) -> bytes:
    """An event with `arrays` arrays in each other, in an object."""
    return _PLAIN + b', "more": ' + b"[" * arrays + b"]" * arrays + b"}"


def _wide(names: int) -> bytes:
    """An event with `names` names of features, beside the two of features and score."""
    return _PLAIN + b', "features": ' + orjson.dumps({f"f{i}": i for i in range(names)}) + b"}"


# Messages that are no events: each with a word of the reason in `load_tests.chaos.naive`.
BROKEN: Sequence[bytes | None] = (
    None,
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"id": "1", "model": "keyed-0", "score": 1}',
    b'{"id": "1", "ts": 1767225600000, "model": "keyed-0"}',
    b'{"id": "1", "ts": 1767225600000, "model": "keyed-0", "features": [1]}',
    b'{"id": true, "ts": 1767225600000, "model": "keyed-0", "score": 1}',
    b'{"id": "1", "ts": "yesterday", "model": "keyed-0", "score": 1}',
    b'{"id": "1", "ts": 1767225600000, "model": "' + b"m" * 300 + b'", "score": 1}',
    b"\0\0\0\0\x09{}",
    _large(1_200_000),
    _deep(100_000),
    _deep(64),
    _wide(1999),
)
# Messages at their limits, which count.
AT_LIMITS: Sequence[bytes] = (_large(1 << 20), _deep(63), _wide(1998))


def odd(document: Document, value: Any) -> bytes:
    """The document with a value in place of its amount; Python writes NaN and lone surrogates, orjson does not."""
    return json.dumps(document | {"features": document["features"] | {"amount": value}}).encode()


def with_new_names(document: Document, n: int) -> bytes:
    """The document with features that no other one has."""
    names = {f"session-{n}-{i}": i for i in range(8)}
    return orjson.dumps(document | {"features": document["features"] | names})


def write_schemas(folder: Path) -> Mapping[str, str]:
    """Write the schemas of the frames; the section `schemas` of a configuration that names their folder."""
    (folder / "schemas").mkdir()
    (folder / "schemas" / f"{AVRO_SCHEMA}.avsc").write_text(json.dumps(_AVRO))
    (folder / "schemas" / f"{JSON_SCHEMA}.json").write_text("{}")
    return {"folder": "schemas"}


def parsed_schemas() -> Mapping[int, Schema]:
    """The schemas of the frames by id."""
    return {AVRO_SCHEMA: parse_schema(json.dumps(_AVRO), "AVRO"), JSON_SCHEMA: parse_schema("{}", "JSON")}
