"""Dead letters: records that could not be used, as they came, on `<topic>.dlq`, with the reason in the headers."""

from __future__ import annotations

from faust.types import TP

from driftline.stream.kafka.record import OutgoingRecord, Record
from driftline.stream.panes.pane import Range

# Bytes. A broker takes records of 1 MB by default, and the headers must not push a record just under that over it: a
# dead letter that cannot be sent would end the worker, again and again. A longer value is cut off here.
_MAX_VALUE, _MAX_KEY, _MAX_REASON = 900_000, 10_000, 4_000


def dead_letter(tp: TP, record: Record, reason: str, counted: bool = False) -> OutgoingRecord:
    """The dead letter of a record. counted: whether its event counts all the same, with a special code for a value."""
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
