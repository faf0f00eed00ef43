"""The key and the time at which `driftline produce` sends each message. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from driftline.stream.events.parse import EventError, EventReader

KeyChoice = Literal["event-id", "model", "none"]

# Event time, ms. The pace does not wait for a longer step, forward or back: it is a gap in the log, or an event with a
# wrong clock, perhaps by years. A model without traffic at night has steps of 12 h, which are real.
_LONGEST_STEP = 24 * 3_600_000


class KeyAndTime(NamedTuple):
    """A message's Kafka key and its event time, epoch ms; both None if it is no event."""

    key: bytes | None
    ts: int | None


def key_and_time(message: bytes, key: KeyChoice, reader: EventReader) -> KeyAndTime:
    """The key and the event time of a message.

    >>> key_and_time(b'{"id": 7, "ts": 1767225600000, "model": "m", "score": 0.5}', "event-id", EventReader())
    KeyAndTime(key=b'7', ts=1767225600000)
    """
    try:
        head = reader.head(message)
    except EventError:
        return KeyAndTime(None, None)
    keys = {"event-id": head.id, "model": head.model}
    return KeyAndTime(keys[key].encode() if key in keys else None, head.ts)


@dataclass
class Pace:
    """Schedules messages: `rate` messages a second, or by their event times, `speed` times as fast.

    Without either, all are due at once. With `speed`, a late event, or a message that is no event, is due together with
    the message before it.
    """

    rate: float | None = None
    speed: float | None = None
    _count: int = 0
    _at: int | None = None
    _due: float = 0.0

    def due(self, ts: int | None) -> float:
        """Seconds after the first message at which the next one is due; `ts` is its event time, epoch ms.

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
