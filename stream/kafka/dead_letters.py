"""Dead letters: a record that could not be used, as it came, on `<topic>.dlq`, with the reason in its headers."""

from __future__ import annotations

from faust.types import TP

from driftline.stream.kafka.record import OutgoingRecord, Record
from driftline.stream.panes.pane import Range

# Bytes. A broker takes 1 MB of a record by default, and a record just under that must not grow over it by its headers:
# a letter that can't be sent would end the worker, again and again. Beyond this, a letter holds the beginning.
_MAX_VALUE, _MAX_KEY, _MAX_REASON = 900_000, 10_000, 4_000


def dead_letter(tp: TP, record: Record, reason: str, counted: bool = False) -> OutgoingRecord:
    """The dead letter of a record. counted: its event counts all the same, with a special code for a value."""
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
    # aiokafka sends no record that has neither.
    no_key, no_value = record.key is None and record.value is not None, record.value is None
    return OutgoingRecord(
        f"{tp.topic}.dlq", None if no_key else key[:_MAX_KEY], None if no_value else value[:_MAX_VALUE], headers
    )


def pane_dead_letter(pane: OutgoingRecord, topic: str, run: Range, reason: str) -> OutgoingRecord:
    """The dead letter of a pane that cannot be published. Its events are where it says, so it holds none of them."""
    headers = _headers(
        reason=reason,
        topic=topic,
        partition=str(run.partition),
        offset=str(run.start),
        end=str(run.end),
        counted="false",
    )
    return OutgoingRecord(f"{pane.topic}.dlq", pane.key, None, headers)


def _headers(**texts: str) -> list[tuple[str, bytes]]:
    return [(name, text.encode(errors="backslashreplace")[:_MAX_REASON]) for name, text in texts.items()]
