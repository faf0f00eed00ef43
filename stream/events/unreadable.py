"""What stands in a log for messages that could not even be unpacked. No I/O, no clock."""

from __future__ import annotations

from typing import Self


class Unreadable(bytes):
    """An empty message that says why it is empty: it stands for the offsets [start, end), which hold no events.

    reason: what is wrong, and what helps. It travels where messages do, so that live workers and replays refuse it in
    the same way.
    """

    start: int
    end: int
    reason: str

    def __new__(cls, start: int, end: int, reason: str) -> Self:
        message = super().__new__(cls)
        message.start, message.end, message.reason = start, end, reason
        return message
