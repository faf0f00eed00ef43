"""The exact reader: turns the bytes of one message into events, or says why they are none.

It alone defines what an event is; `stream.events.decode` is a faster way to the same result. A message is refused
(`EventError`, a dead letter) when it is neither a JSON object nor a readable schema-registry frame, when id, time or
model is missing or of a wrong type, or when it holds nothing to monitor. Every other message counts, however odd its
values: `stream.events.event` says how each is read. Fields that Driftline does not use are ignored.

Beyond strict JSON, it accepts the literals NaN and Infinity and a byte order mark, which serialisers in use write.
No I/O, no clock.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar

from driftline.stream.events.event import MAX_NAME, Event, as_version, is_finite, is_unicode, quoted, spelt
from driftline.stream.events.frames import FrameError, Schema, unpack
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits
from driftline.stream.events.mapping import NATIVE, EventMapping, Origin, value_at
from driftline.stream.events.rows import RowsError, read_rows
from driftline.stream.events.unreadable import Unreadable

log = logging.getLogger(__name__)

_Path = tuple[str, ...]
_ReadT = TypeVar("_ReadT")


def _integer(digits: str) -> float:
    """The number that digits spell. Python refuses integers of more than 4300 digits; as a float they are infinite."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


_JSON = json.JSONDecoder(parse_int=_integer)


class EventError(ValueError):
    """A message is not an event; the text says why, as in "ts: missing"."""


class RowFault(NamedTuple):
    """A row of a message that is not an event: its number from 0, and the reason."""

    row: int
    reason: str


class ParsedRecord(NamedTuple):
    """The events of a message, and the rows of it that are none."""

    events: list[Event]
    faults: list[RowFault]


def record_id(origin: Origin) -> str:
    """The id of a record's event, if the mapping takes it from there: `predictions/0/1234`."""
    return f"{origin.topic}/{origin.partition}/{origin.offset}"


class Head(NamedTuple):
    """What all events of a message share; their ids are `id` itself or, of rows, `id` and the row's number."""

    id: str
    ts: int
    model: str
    version: str | None
    extras: Mapping[str, Any]

    def event(self, signals: dict[str, Any], row: int | None = None) -> Event:
        """An event of the message."""
        id_ = self.id if row is None else f"{self.id}#{row}"
        return Event(id_, self.ts, self.model, self.version, signals, self.extras)


class EventReader:
    """Reads messages exactly, by one mapping.

    schemas: of schema-registry frames, by id; None if there is no source of them. limits: what exceeds them is refused.
    extras: names of values that are no signals and are wanted all the same, as in `Event`.
    """

    def __init__(
        self,
        mapping: EventMapping = NATIVE,
        schemas: Mapping[int, Schema] | None = None,
        limits: MessageLimits = DEFAULT_LIMITS,
        extras: Iterable[str] = (),
    ) -> None:
        self._mapping, self._schemas, self._limits, self._time = mapping, schemas, limits, mapping.time_rule
        self._id, self._ts, self._model = (mapping.path(part) for part in ("id", "ts", "model"))
        self._version = mapping.path("version") or ()
        self._extras = {name: mapping.extra_path(name) for name in extras if name != "version"}
        self._monitored = mapping.monitored
        self._left_out = _tree([("features", *path) for path in mapping.left_out])
        self._nulls = frozenset(mapping.nulls)
        self._opens_payload = not mapping.leads_into("payload")
        self._failures = set[str]()

    def read(self, data: bytes | None, origin: Origin | None = None) -> ParsedRecord:
        """The events of a message. Raises EventError, with the reason, if there is none at all.

        origin: where the message comes from; needed by mappings that take a part of an event from it.
        """
        return self._refusing_faults(self._read, data, origin)

    def head(self, data: bytes | None, origin: Origin | None = None) -> Head:
        """What all events of a message share. Raises EventError if it is missing or wrong."""
        return self._refusing_faults(lambda: self._read_head(self.document(data), origin))

    def _refusing_faults(self, reading: Callable[..., _ReadT], *args: Any) -> _ReadT:
        try:
            return reading(*args)
        except (EventError, MemoryError):
            raise
        except Exception as error:  # a fault of ours: one message must not stop all others for ever
            raise EventError(self.failure(error)) from error

    def _read(self, data: bytes | None, origin: Origin | None) -> ParsedRecord:
        document = self.document(data)
        head = self._read_head(document, origin)
        if self._mapping.rows:
            return self._read_rows(document, head)
        return ParsedRecord([head.event(self._signals(document))], [])

    def document(self, data: bytes | None) -> dict[str, Any]:
        """The document in a message; what Kafka Connect writes is taken out of its envelope, unless the paths do so.

        Raises EventError if there is none.
        """
        document = _document(data, self._schemas, self._limits)
        if self._opens_payload and document.keys() == {"schema", "payload"}:
            payload = document["payload"]
            return payload if isinstance(payload, dict) else document
        return document

    def failure(self, error: Exception) -> str:
        """The reason for refusing a message that no code foresaw; the log gets each kind of failure once."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {PurePath(place.filename).name}:{place.lineno}"
        if kind not in self._failures:
            self._failures.add(kind)
            log.error("the reader failed, which is a fault of Driftline: %s", kind, exc_info=error)
        return f"the reader failed: {kind}, which is a fault of Driftline; the log says more"

    def _read_head(self, document: dict[str, Any], origin: Origin | None) -> Head:
        return Head(
            self._identify(document, origin),
            self._read_time(document, origin),
            self._read_model(document, origin),
            as_version(value_at(document, self._version)),
            {name: self._read_extra(document, *path) for name, path in self._extras.items()},
        )

    def _read_extra(self, document: dict[str, Any], home: _Path, keys: _Path) -> Any:
        value = _spelt_at(value_at(document, home), keys)
        return None if isinstance(value, str) and value in self._nulls else value

    def _identify(self, document: dict[str, Any], origin: Origin | None) -> str:
        if self._id is None:
            return record_id(_needed(origin, "id"))
        value, path = _required(document, self._id), _dotted(self._id)
        return spelt(value) if is_finite(value) else _text(value, path, "string or number")

    def _read_time(self, document: dict[str, Any], origin: Origin | None) -> int:
        if self._ts is None:
            if (timestamp := _needed(origin, "ts").timestamp) is None:
                raise EventError("ts: a file has no times of records; name the path of the time with `mapping.ts`")
            return timestamp
        value = _required(document, self._ts)
        try:
            return self._time.epoch_ms(value)
        except ValueError as error:
            raise EventError(f"{_dotted(self._ts)}: {error}") from None

    def _read_model(self, document: dict[str, Any], origin: Origin | None) -> str:
        if self._model is None:
            return self._mapping.constant_model or _needed(origin, "model").topic
        value, path = _required(document, self._model), _dotted(self._model)
        model = spelt(value) if is_finite(value) else _text(value, path, "string or number")
        if len(model) > MAX_NAME:  # every pane and alert holds it, and must fit into a record
            raise EventError(f"{path}: {len(model)} characters, and {MAX_NAME} is the most")
        return model

    def _signals(self, document: dict[str, Any]) -> dict[str, Any]:
        parts = self._parts(document)
        if not parts:
            raise EventError(f"nothing to monitor: {self._monitored_paths()} are all missing")
        if not isinstance(parts.get("features", {}), dict):
            raise EventError(f"{self._mapping.features}: expected object, got {quoted(parts['features'])}")
        return self._flattened(parts)

    def _parts(self, document: dict[str, Any]) -> dict[str, Any]:
        """What the document has of features, prediction and score."""
        found = {part: value_at(document, path) for part, path in self._monitored.items()}
        return {part: value for part, value in found.items() if value is not None}

    def _flattened(self, parts: dict[str, Any]) -> dict[str, Any]:
        signals: dict[str, Any] = {}
        _flatten(parts, "", self._left_out, self._nulls, self._limits.signals, signals)
        if len(signals) > self._limits.signals:
            raise EventError(self._limits.too_many_signals)
        return signals

    def _read_rows(self, document: dict[str, Any], head: Head) -> ParsedRecord:
        at = self._mapping.names_at
        names = value_at(document, tuple(at.split("."))) if at else self._mapping.names
        try:
            rows = read_rows(self._parts(document), names, self._limits)
        except RowsError as error:
            raise EventError(str(error)) from None
        if not rows:
            raise EventError(f"nothing to monitor: {self._monitored_paths()} hold no rows")
        events, faults = list[Event](), list[RowFault]()
        for number, row in enumerate(rows):
            try:
                if isinstance(row, RowsError):
                    raise row
                events.append(head.event(self._flattened(row), number))
            except (RowsError, EventError) as fault:
                faults.append(RowFault(number, str(fault)))
        if not events:
            raise EventError(f"none of {len(faults)} rows is an event; row 0: {faults[0].reason}")
        return ParsedRecord(events, faults)

    def _monitored_paths(self) -> str:
        return ", ".join(map(_dotted, self._monitored.values()))


def parse_event(data: bytes | None, mapping: EventMapping = NATIVE, origin: Origin | None = None) -> Event:
    """The only event in a message. Raises EventError, with the reason, if the message is not an event.

    >>> event = parse_event(b'{"id": 7, "ts": "2026-01-01T00:00:00Z", "model": "m", "features": {"geo": {"x": 1.5}}}')
    >>> event.ts, event.signals["features.geo.x"]
    (1767225600000, 1.5)
    """
    events, faults = _reader(mapping).read(data, origin)
    if len(events) != 1 or faults:
        raise EventError(f"expected one event, got {len(events)}")
    return events[0]


@lru_cache(maxsize=8)
def _reader(mapping: EventMapping) -> EventReader:
    return EventReader(mapping)


class _Tree(dict[str, "_Tree"]):
    """Paths as nested dictionaries; an empty one ends a path."""


def _tree(paths: Iterable[_Path]) -> _Tree:
    tree = _Tree()
    for path in paths:
        node = tree
        for key in path:
            node = node.setdefault(key, _Tree())
    return tree


def _document(data: bytes | None, schemas: Mapping[int, Schema] | None, limits: MessageLimits) -> dict[str, Any]:
    """The document in a message, which is a JSON object or a schema-registry frame."""
    if isinstance(data, Unreadable):
        raise EventError(data.reason)
    if not data:
        raise EventError("tombstone: the message has no value" if data is None else "not JSON: empty message")
    if len(data) > limits.message_bytes:
        raise EventError(limits.too_large(len(data)))
    try:
        content = unpack(data, schemas)
    except FrameError as error:
        raise EventError(str(error)) from None
    if isinstance(content, dict):
        if limits.is_document_too_deep(content):
            raise EventError(limits.too_deep)
        return content
    if limits.is_text_too_deep(content):  # before it is parsed: where the parser gives up depends on the call stack
        raise EventError(limits.too_deep)
    return _json_object(content)


def _json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in a text. Bytes that are not UTF-8 become surrogates, which matter only in values we use."""
    text = data.decode("utf-8-sig", "surrogateescape")
    try:
        document = _JSON.decode(text)
    except json.JSONDecodeError as error:
        place = len(data) - len(text[error.pos :].encode("utf-8", "surrogateescape"))
        raise EventError(f"not JSON: {error.msg} at byte {place}") from None
    if not isinstance(document, dict):
        raise EventError(f"expected object, got {quoted(document)}")
    return document


def _required(document: dict[str, Any], path: _Path) -> Any:
    value = value_at(document, path)
    if value is None:
        raise EventError(f"{_dotted(path)}: missing")
    return value


def _needed(origin: Origin | None, part: str) -> Origin:
    if origin is None:
        raise EventError(f"{part}: only a record of a topic has one; name the path of it with `mapping.{part}`")
    return origin


def _dotted(path: _Path) -> str:
    return ".".join(path) or "the message"


def _text(value: Any, path: str, expected: str) -> str:
    if not isinstance(value, str):
        raise EventError(f"{path}: expected {expected}, got {quoted(value)}")
    if not value:
        raise EventError(f"{path}: empty")
    if not is_unicode(value):
        raise EventError(f"{path}: not valid Unicode: {quoted(value)}")
    return value


def _spelt_at(value: Any, keys: _Path) -> Any:
    """What the keys of a name lead to, {"a": {"b": ..}} or {"a.b": ..} for a.b; None if nothing."""
    if not keys:
        return value
    ends = range(1, len(keys) + 1) if isinstance(value, dict) else ()
    found = (_spelt_at(value.get(".".join(keys[:end])), keys[end:]) for end in ends)
    return next((each for each in found if each is not None), None)


def _flatten(
    branch: dict[str, Any], prefix: str, left_out: _Tree, nulls: frozenset[str], most: int, into: dict[str, Any]
) -> None:
    """Add the values of a branch by name; it ends early once there are more than `most`."""
    for key, value in branch.items():
        if len(into) > most:
            return
        inner = left_out.get(key)
        if inner is not None and not inner:
            continue
        name = sys.intern(prefix + key)  # thousands of events of a model are kept for its warm-up
        if len(name) > MAX_NAME:
            continue
        if isinstance(value, dict):
            into[name] = {}
            _flatten(value, f"{name}.", inner or _Tree(), nulls, most, into)
        else:
            into[name] = None if isinstance(value, str) and value in nulls else value
