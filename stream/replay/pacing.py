"""Feeding a topic from files: under which key a message is sent, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import EventError, parse_event

Key = Literal["event-id", "model", "none"]

# Event time, ms. A longer step, forward or back, is not waited for: it is a hole in the log, or an event's wrong clock,
# perhaps by years. A model that sleeps at night has steps of 12 h, which are meant.
_LONGEST_STEP = 24 * 3_600_000


class Item(NamedTuple):
    """A message with its Kafka key and its event time, epoch ms; both None when it is no event."""

    key: bytes | None
    ts: int | None


def as_item(message: bytes, key: Key, mapping: EventMapping) -> Item:
    """Key and time of a message.

    >>> as_item(b'{"id": 7, "ts": 1767225600000, "model": "m", "score": 0.5}', "event-id", EventMapping())
    Item(key=b'7', ts=1767225600000)
    """
    try:
        event = parse_event(message, mapping)
    except EventError:
        return Item(None, None)
    keys = {"event-id": event.id, "model": event.model}
    return Item(keys[key].encode() if key in keys else None, event.ts)


@dataclass
class Pace:
    """When messages are due, in seconds after the first: `rate` a second, or by their times, `speed` times as fast.

    Neither: all at once. With `speed`, a late event, and what is no event, is due with the one before.
    """

    rate: float | None = None
    speed: float | None = None
    _count: int = 0
    _at: int | None = None
    _due: float = 0.0

    def due(self, ts: int | None) -> float:
        """When the next message, of event time `ts` in epoch ms, is due.

        >>> pace = Pace(speed=60)
        >>> [pace.due(ts) for ts in (0, 60_000, 90_000, 80_000, None, 120_000)]
        [0.0, 1.0, 1.5, 1.5, 1.5, 2.0]
        """
        if self.rate is not None:
            self._due, self._count = self._count / self.rate, self._count + 1
        elif self.speed is not None and ts is not None:
            step = 0 if self._at is None else ts - self._at
            if self._at is None or abs(step) > _LONGEST_STEP:
                self._at = ts
            elif step > 0:
                self._at, self._due = ts, self._due + step / 1000 / self.speed
        return self._due
