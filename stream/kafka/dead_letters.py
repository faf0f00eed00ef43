"""Dead letters: records that could not be used, as they came, on `<topic>.dlq`, with the reason in the headers."""

from __future__ import annotations

from faust.types import TP

from driftline.stream.events.unreadable import Unreadable
from driftline.stream.kafka.record import OutgoingRecord, Record
from driftline.stream.panes.pane import Range

# Bytes. A dead letter that cannot be sent would end the worker, again and again: so what is longer is cut off. All
# headers but the reason take less than 500 bytes, and what Kafka puts around a record and its batch less than 150.
_MAX_VALUE, _MAX_KEY, _MAX_REASON, _REST = 900_000, 10_000, 4_000, 1_000


def dead_letter(tp: TP, record: Record, reason: str, counted: bool = False) -> OutgoingRecord:
    """The dead letter of a record, or of a batch that was passed over, which has no value and names its offsets.

    counted: whether its event counts all the same, with a special code for a value.
    """
    if isinstance(record.value, Unreadable):
        offsets = Range(tp.partition, record.value.start, record.value.end)
        return _of_offsets(f"{tp.topic}.dlq", b"", tp.topic, offsets, reason)
    value, key = record.value or b"", record.key or b""
    cut = len(value) > _MAX_VALUE or len(key) > _MAX_KEY
    headers = _headers(
        reason=reason,
        topic=tp.topic,
        partition=str(tp.partition),
        offset=str(record.offset),
        counted="true" if counted else "false",
        **({"cut": f"from {len(value)} bytes, and a key of {len(key)}"} if cut else {}),
    )
    # aiokafka refuses a record that has neither key nor value.
    no_key, no_value = record.key is None and record.value is not None, record.value is None
    return OutgoingRecord(
        f"{tp.topic}.dlq", None if no_key else key[:_MAX_KEY], None if no_value else value[:_MAX_VALUE], headers
    )


def pane_dead_letter(pane: OutgoingRecord, topic: str, run: Range, reason: str) -> OutgoingRecord:
    """The dead letter of a pane that cannot be published. It names the offsets of its events and holds none of them."""
    return _of_offsets(f"{pane.topic}.dlq", pane.key, topic, run, reason)


def fitted(record: OutgoingRecord, room: int) -> OutgoingRecord:
    """A dead letter that fits into a topic whose records may take `room` bytes: cut further, or without its value.

    >>> letter = OutgoingRecord("t.dlq", b"k", b"x" * 5000, [("reason", b"too large"), ("offset", b"7")])
    >>> len(fitted(letter, 4000).value), fitted(letter, 1000).value is None
    (2977, True)
    """
    size = len(record.key or b"") + len(record.value or b"") + sum(len(k) + len(v or b"") for k, v in record.headers)
    if size + _REST <= room:
        return record
    value, left = record.value or b"", room - _REST - (size - len(record.value or b""))
    if left > 0:
        headers = {"cut": b"from %d bytes" % len(value), **dict(record.headers)}
        return record._replace(value=value[:left], headers=list(headers.items()))
    reason = [(name, text[: max(room // 2, 100)]) for name, text in record.headers]
    return record._replace(key=(record.key or b"")[:100], value=None, headers=reason)


def _of_offsets(target: str, key: bytes | None, topic: str, run: Range, reason: str) -> OutgoingRecord:
    headers = _headers(
        reason=reason,
        topic=topic,
        partition=str(run.partition),
        offset=str(run.start),
        end=str(run.end),
        counted="false",
    )
    return OutgoingRecord(target, key, None, headers)


def _headers(**texts: str) -> list[tuple[str, bytes]]:
    return [(name, text.encode(errors="backslashreplace")[:_MAX_REASON]) for name, text in texts.items()]
