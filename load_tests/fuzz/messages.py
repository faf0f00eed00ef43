"""Messages: every shape that a mapping reads, and Avro frames, beside a second, naive reading.

What the exact reader accepts must be what the naive one finds, value by value, and the fast path must agree with the
exact reader. Schemas come from whoever may register them, so they are damaged too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from driftline.stream.events.columns import Field, tabulate
from driftline.stream.events.decode import Decoder
from driftline.stream.events.frames import FrameError, parse_schema, unpack
from driftline.stream.events.mapping import NATIVE, Origins
from driftline.stream.events.parse import EventError, EventReader, ParsedRecord
from load_tests.fuzz import avro
from load_tests.fuzz.mutations import damage_bytes, damage_document, damage_json
from load_tests.fuzz.shapes import CANNOT, SHAPES, START_MS, Row, Shape, flat, naive_ms
from load_tests.fuzz.target import Target, WrongError

FIELDS = [
    Field("features.x", True), Field("features.c", False), Field("features.f", True, flag=True),
    Field("features.deep.y", True), Field("score", True), Field("prediction", False, whole=True),
]  # fmt: skip
EXTRAS = [
    Field("version", False), Field("label", False, whole=True), Field("weight", True), Field("tags.t", False),
    Field("tags.deep.n", True),
]  # fmt: skip
NAMES = ("x", "c", "f", "n", "name", "data", "a b")
# The shapes that the fast path reads.
FAST = ("native", "rest")
WORDS = (b"NaN", b"Infinity", b"-0", b"1e999", b"null", b"true", b'"id":', b'"features":', b'"ts":', b"\\ud800", b"{}")


def targets() -> list[Target]:
    """All messages, and the schemas of frames."""
    return [
        *(_message(name, shape) for name, shape in SHAPES.items()),
        Target("message-avro", _write_avro, _AvroReader().read, (EventError,)),
        Target("schema", _write_schema, _read_schema, (FrameError,), _damage_schema),
    ]


def _message(name: str, shape: Shape) -> Target:
    label = f"message-{name.lower().replace(' ', '-')}"
    return Target(label, _Writer(shape).write, _Reader(name, shape).read, (EventError,), damage_json, WORDS)


class _Writer:
    """Writes messages of one shape."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def write(self, rng: random.Random) -> bytes:
        number = rng.randrange(10**6)
        head = {"id": rng.choice([f"e{number}", number]), "ts": START_MS + number, "model": "m"}
        head |= rng.choice([{}, {"version": number, "label": 1.0, "weight": 2, "tags": {"t": "a", "deep": {"n": 1}}}])
        return json.dumps(head | self._shape.write(table(rng, self._shape.rows or rng.choice([1, 2, 5])))).encode()


class _Reader:
    """Reads messages of one shape, and compares what it finds."""

    def __init__(self, name: str, shape: Shape) -> None:
        self._shape, self._exact = shape, EventReader(shape.mapping, extras=[each.name for each in EXTRAS])
        self._fast = Decoder({"m": FIELDS}, shape.mapping, extras=EXTRAS) if name in FAST else None

    def read(self, data: bytes) -> None:
        """Raises EventError for what is no event, or has a row that is none; WrongError."""
        record = read(self._exact, data)
        if record is not None:
            check_record(self._shape, record, as_json(data))
        if self._fast:
            check_fast(self._fast, data, record)
        if record is None or record.faults:
            raise EventError("refused" if record is None else record.faults[0].reason)


def table(rng: random.Random, rows: int) -> list[Row]:
    """Rows of the same names, with the values that real tables have."""
    names = rng.sample(NAMES, rng.randint(2, len(NAMES)))
    values: dict[str, Callable[[], Any]] = {
        "x": lambda: rng.choice([rng.gauss(0, 1), 3, -7, None]),
        "c": lambda: rng.choice(["a", "b", "ü", None]),
        "f": lambda: rng.choice([0, 1, 1.5]),
    }
    return [{name: values.get(name, rng.random)() for name in names} for _ in range(rows)]


def leaves(signals: Any) -> Row:
    return {name: value for name, value in signals.items() if not isinstance(value, dict)}


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return isinstance(theirs, list)  # an array is not monitored, whatever it holds
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    numbers = type(ours) in (int, float) and type(theirs) in (int, float)
    if numbers and (ours != ours or theirs != theirs):
        return ours != ours and theirs != theirs
    return bool(ours == theirs) and (numbers or type(ours) is type(theirs))


def read(reader: EventReader, data: bytes) -> ParsedRecord | None:
    try:
        return reader.read(data)
    except EventError:
        return None


def check_record(shape: Shape, record: ParsedRecord, document: Any) -> None:
    """Raises WrongError if the events of a message differ from the naive reading."""
    try:
        rows = shape.read(document)
    except CANNOT as error:
        raise WrongError(f"accepted, but a naive reading fails: {error!r}") from error
    bad = {fault.row for fault in record.faults}
    good = [row for number, row in enumerate(rows) if number not in bad]
    if len(good) != len(record.events):
        raise WrongError(f"{len(record.events)} events, but {len(good)} rows")
    for event, row in zip(record.events, good, strict=True):
        if row is None or not same(leaves(event.signals), row):
            raise WrongError(f"{leaves(event.signals)!r} is not {row!r}")
        time = naive_ms(document["ts"])
        if time is not None and abs(time - event.ts) > 1:
            raise WrongError(f"the time {document['ts']!r} is not {event.ts}")
        if event.id.partition("#")[0] != str(document["id"]).partition("#")[0] or event.model != str(document["model"]):
            raise WrongError(f"{event.id!r} of {event.model!r} is not {document['id']!r} of {document['model']!r}")


def check_fast(decoder: Decoder, data: bytes, record: ParsedRecord | None) -> None:
    """Raises WrongError if the fast path reads another event than the exact reader."""
    decoded = decoder.decode([data], Origins("t", 0, np.array([5])))
    events = [] if record is None else [(0, event) for event in record.events if event.model == "m"]
    exact, fast = tabulate(FIELDS, events, EXTRAS), decoded.known.get("m")
    if fast is None:
        agrees = not events
    else:
        agrees = (
            np.array_equal(fast.numeric, exact.numeric, equal_nan=True)
            and (fast.texts, fast.ids, fast.ts.tolist()) == (exact.texts, exact.ids, exact.ts.tolist())
            and (fast.defects, repr(fast.extras)) == (exact.defects, repr(exact.extras))
        )
    if not agrees:
        raise WrongError("the fast path reads another event")


def as_json(data: bytes) -> Any:
    return json.loads(data.decode("utf-8-sig", "surrogateescape"))


def _write_avro(rng: random.Random) -> bytes:
    return avro.frame(avro.document(rng, rng.randrange(10**6)))


class _AvroReader:
    """Reads Avro frames, and compares what it finds."""

    def __init__(self) -> None:
        self._reader = EventReader(NATIVE, schemas={avro.SCHEMA_ID: parse_schema(avro.TEXT, "AVRO")})

    def read(self, data: bytes) -> None:
        """Raises EventError for what is no event; WrongError."""
        record = self._reader.read(data)
        try:
            found = avro.naive(data) if data[:1] == b"\x00" else as_json(data)
        except avro.OddEncodingError:  # fastavro wraps such a number or index
            return
        except CANNOT as error:
            raise WrongError(f"accepted, but a naive reading fails: {error!r}") from error
        expected = flat("features", found["features"]) | flat("score", found["score"])
        if not same(leaves(record.events[0].signals), expected):
            raise WrongError(f"{leaves(record.events[0].signals)!r} is not {expected!r}")


# A schema and a payload for it, as JSON text and bytes in one msgpack array.


def _write_schema(rng: random.Random) -> bytes:
    return msgspec.msgpack.encode([avro.SCHEMA, _write_avro(rng)])


def _damage_schema(data: bytes, rng: random.Random) -> bytes:
    schema, payload = msgspec.msgpack.decode(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        damage_document(schema, rng)
    payload = damage_bytes(payload, rng) if rng.random() < 0.3 else payload
    try:
        return msgspec.msgpack.encode([schema, payload])
    except (OverflowError, RecursionError, UnicodeEncodeError):
        return damage_bytes(data, rng)


def _read_schema(data: bytes) -> None:
    try:
        schema, payload = msgspec.msgpack.decode(data, type=tuple[Any, bytes])
        text = json.dumps(schema)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:  # no input at all
        raise FrameError("no schema and payload") from error
    unpack(payload[:1] + avro.SCHEMA_ID.to_bytes(4, "big") + payload[5:], {avro.SCHEMA_ID: parse_schema(text, "AVRO")})
