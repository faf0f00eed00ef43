"""Dead letters: a record that could not be used, as it came, on `<topic>.dlq`, with the reason in its headers."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from stream.app import Message


def dead_letter(record: ConsumerRecord[bytes | None, bytes | None], reason: str, counted: bool = False) -> Message:
    """The dead letter of a record. counted: its event counts all the same, with a special code for a value."""
    headers = {
        "reason": reason,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "counted": "true" if counted else "false",
    }
    encoded = [(name, text.encode(errors="backslashreplace")) for name, text in headers.items()]
    return Message(f"{record.topic}.dlq", record.key, record.value, encoded)
