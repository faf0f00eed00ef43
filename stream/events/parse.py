"""The exact reader: turns the bytes of one message into an `Event`, or says why they are not one.

It alone defines what an event is; `stream.events.decode` is a faster way to the same result. A message is rejected
(`EventError`, a dead letter) when it is not a JSON object, when `id`, `ts` or `model` is missing or of a wrong type, or
when it holds nothing to monitor. Every other message counts as an event, however odd its values:
`stream.events.event` says how each is read. Fields that Driftline does not use are ignored.

Beyond strict JSON, it accepts the literals NaN and Infinity and a byte order mark, which serialisers in use write.
No I/O, no clock.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from driftline.stream.events.event import MAX_NAME, Event, is_number, is_unicode, quoted
from driftline.stream.events.mapping import NATIVE, EventMapping

# The largest message that Kafka brokers accept by default (message.max.bytes); nothing larger is parsed.
MAX_BYTES = 1_048_576
# A number from 1e11 to the end of the year 9999 is epoch milliseconds; a smaller one looks like seconds, which reach
# 1e11 in the year 5138. The first date that can be given as a number is thus 1973-03-03; with half of it, 1971-08-02.
MIN_EPOCH_MS, MAX_EPOCH_MS = 10**11, 253_402_300_799_999

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


def _integer(digits: str) -> float:
    """The number that digits spell. Python refuses integers of more than 4300 digits; as a float they are infinite."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


_JSON = json.JSONDecoder(parse_int=_integer)


class EventError(ValueError):
    """A message is not an event; the text says why, as in "ts: missing"."""


def parse_event(data: bytes | None, mapping: EventMapping = NATIVE, max_bytes: int = MAX_BYTES) -> Event:
    """The event in a message. Raises EventError, with the reason, if it is not an event.

    >>> event = parse_event(b'{"id": 7, "ts": "2026-01-01T00:00:00Z", "model": "m", "features": {"geo": {"x": 1.5}}}')
    >>> event.ts, event.signals["features.geo.x"]
    (1767225600000, 1.5)
    """
    try:
        document = _document(data, max_bytes)
        return Event(
            id=_identifier(_required(document, mapping.id), mapping.id),
            ts=_time(_required(document, mapping.ts), mapping.ts),
            model=_model(_required(document, mapping.model), mapping.model),
            version=_version(_at(document, mapping.version)),
            signals=_signals(document, mapping),
        )
    except RecursionError:
        raise EventError("not JSON: nested too deeply") from None


def epoch_ms(ts: datetime | float) -> int:
    """Epoch milliseconds, rounded down; a datetime without a time zone is in UTC."""
    if isinstance(ts, datetime):
        return ((ts if ts.tzinfo else ts.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    return int(ts)


def _document(data: bytes | None, max_bytes: int) -> dict[str, Any]:
    """The JSON object in a message. Bytes that are not UTF-8 become surrogates, which matter only in values we use."""
    if not data:
        raise EventError("tombstone: the message has no value" if data is None else "not JSON: empty message")
    if len(data) > max_bytes:
        raise EventError(f"too large: {len(data)} bytes, limit {max_bytes}")
    text = data.decode("utf-8-sig", "surrogateescape")
    try:
        document = _JSON.decode(text)
    except json.JSONDecodeError as error:
        place = len(data) - len(text[error.pos :].encode("utf-8", "surrogateescape"))
        raise EventError(f"not JSON: {error.msg} at byte {place}") from None
    if not isinstance(document, dict):
        raise EventError(f"expected object, got {quoted(document)}")
    return document


def _at(document: dict[str, Any], path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _required(document: dict[str, Any], path: str) -> Any:
    value = _at(document, path)
    if value is None:
        raise EventError(f"{path}: missing")
    return value


def _identifier(value: Any, path: str) -> str:
    return str(value) if type(value) is int else _text(value, path, "string or integer")


def _text(value: Any, path: str, expected: str) -> str:
    if not isinstance(value, str):
        raise EventError(f"{path}: expected {expected}, got {quoted(value)}")
    if not value:
        raise EventError(f"{path}: empty")
    if not is_unicode(value):
        raise EventError(f"{path}: not valid Unicode: {quoted(value)}")
    return value


def _model(value: Any, path: str) -> str:
    """The model's name, bounded because every pane and alert holds it and must fit into a record."""
    if len(model := _text(value, path, "string")) > MAX_NAME:
        raise EventError(f"{path}: {len(model)} characters, and {MAX_NAME} is the most")
    return model


def _version(value: Any) -> str | None:
    """The version; None if it is unusable. It only describes, so the event counts all the same."""
    usable = type(value) is int or (isinstance(value, str) and is_unicode(value))
    return str(value) if usable else None


def _time(value: Any, path: str) -> int:
    if isinstance(value, str):
        return _rfc3339(value, path)
    if not is_number(value) or not value >= 0:
        raise EventError(f"{path}: expected RFC 3339 or epoch milliseconds, got {quoted(value)}")
    if value < MIN_EPOCH_MS:
        raise EventError(f"{path}: expected epoch milliseconds, got {quoted(value)}, which looks like seconds")
    if value > MAX_EPOCH_MS:
        raise EventError(f"{path}: expected epoch milliseconds, got {quoted(value)}, which is after the year 9999")
    return epoch_ms(value)


def _rfc3339(text: str, path: str) -> int:
    try:
        ts = epoch_ms(msgspec.convert(text, datetime))
    except ValueError:  # msgspec's own, or the UnicodeEncodeError of a lone surrogate
        raise EventError(f"{path}: expected RFC 3339 or epoch milliseconds, got {quoted(text)}") from None
    if not 0 <= ts <= MAX_EPOCH_MS:
        raise EventError(f"{path}: expected a time in the years 1970 to 9999, got {quoted(text)}")
    return ts


def _signals(document: dict[str, Any], mapping: EventMapping) -> dict[str, Any]:
    parts = {part: value for part, path in mapping.monitored.items() if (value := _at(document, path)) is not None}
    if not parts:
        raise EventError(f"nothing to monitor: {', '.join(mapping.monitored.values())} are all missing")
    if not isinstance(parts.get("features", {}), dict):
        raise EventError(f"{mapping.features}: expected object, got {quoted(parts['features'])}")
    signals: dict[str, Any] = {}
    _flatten(parts, "", signals)
    return signals


def _flatten(branch: dict[str, Any], prefix: str, into: dict[str, Any]) -> None:
    for key, value in branch.items():
        name = sys.intern(prefix + key)  # thousands of events of a model are kept for its warm-up
        if len(name) > MAX_NAME:
            continue
        if isinstance(value, dict):
            into[name] = {}
            _flatten(value, f"{name}.", into)
        else:
            into[name] = value
