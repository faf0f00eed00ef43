"""Windows of a model's traffic that end at given moments: what was seen in them, and what was expected."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.rates import HOUR, ONE
from driftline.detectors.decision.traffic import Calendar, Traffic

# Starts of windows: slots before now, and hours before what is learned; neighbours differ by a third to a half.
_SLOTS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 360])
_HOURS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 168, 240, 336])


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows (t, w) of slots [start, end) at t moments, with events seen and expected; none where none may begin.

    edge: events expected in the hour in which a long window begins, or the next.
    """

    start: IntArray
    end: IntArray
    seen: IntArray
    expected: FloatArray
    edge: FloatArray

    def beside(self, others: Windows) -> Windows:
        """These windows and others (t, w') of the same moments."""
        names = [each.name for each in fields(self)]
        return Windows(*(np.concatenate([getattr(self, name), getattr(others, name)], axis=1) for name in names))


@dataclass(frozen=True, slots=True)
class Counts:
    """Events seen, and expected by the best profile before its level, summed up.

    first: the slot at which `seen`, `expected` and `known` (n + 1,) begin: events and slots that count, cumulative by
    slot. old: (3, h + 1) of the last 0 to h hours before `first`, as `Rates.past`.
    """

    traffic: Traffic
    first: int
    seen: IntArray
    expected: FloatArray
    known: IntArray
    old: FloatArray

    @classmethod
    def of(cls, traffic: Traffic, calendar: Calendar) -> Counts:
        rates, first, n = traffic.rates, traffic.first, max(traffic.until - traffic.first, 0)
        counts = np.zeros(n, np.int64)
        counts[: len(traffic.pending)] = traffic.pending[:n]
        known = traffic.known(first, n, calendar)
        cells = calendar.cells(rates.hour + np.arange(-(-n // HOUR)))
        rate = np.repeat(rates.shapes[rates.best][cells], HOUR)[:n]
        return cls(
            traffic,
            first,
            np.concatenate([[0], np.cumsum(counts * known)]),
            np.concatenate([[0.0], np.cumsum(rate * known)]),
            np.concatenate([[0], np.cumsum(known)]),
            rates.past,
        )

    def windows(self, now: IntArray, begin: int) -> Windows:
        """All windows that end at the moments `now` (t,) and do not begin before the slot `begin`."""
        at = now[:, None] - self.first
        start, hours = at - _SLOTS, _HOURS[self.old.shape[1] > _HOURS]
        near, before = np.maximum(start, 0), self.old[:, hours]
        ends = self.expected[at]
        seen = np.concatenate([self.seen[at] - self.seen[near], before[0].astype(np.int64) + self.seen[at]], axis=1)
        expected = [self.old[2, 0] * (ends - self.expected[near]), before[2] * (before[1] + ends)]
        starts = np.concatenate([start, np.broadcast_to(-hours * HOUR, (len(now), len(hours)))], axis=1) + self.first
        inside = (starts >= begin) & ((starts >= self.first) | (np.arange(starts.shape[1]) >= len(_SLOTS)))
        return Windows(
            starts,
            np.broadcast_to(now[:, None], starts.shape),
            np.where(inside, seen, 0),
            np.where(inside, np.concatenate(expected, axis=1), 0.0),
            self.edge(starts),
        )

    def silence(self, now: IntArray, begin: int) -> Windows:
        """The windows (t, 1) since the last event before each moment."""
        rates, at, last = self.traffic.rates, now - self.first, self._last(now)
        passed = self.old[2, 0] * (self.expected[at] - self.expected[last])
        carried = last == 0
        expected = passed + np.where(carried, rates.silence[rates.best] / ONE, 0.0)
        start = self.first + last - np.where(carried, rates.quiet, 0)
        # The silence of the last incident is over; one that began with it is counted from here.
        expected = np.where(start >= begin, expected, passed)
        return Windows(
            start[:, None],
            now[:, None],
            np.zeros((len(now), 1), np.int64),
            expected[:, None],
            self.edge(start[:, None]),
        )

    def quiet(self, now: IntArray) -> IntArray:
        """Slots (t,) that count since the last event before each moment."""
        last = self._last(now)
        passed = self.known[now - self.first] - self.known[last]
        return np.asarray(passed + np.where(last == 0, self.traffic.rates.quiet, 0))

    def _last(self, now: IntArray) -> IntArray:
        """Slots (t,) from `first` to the end of the one with the last event before each moment; 0 without one."""
        active = np.where(np.diff(self.seen, prepend=0) > 0, np.arange(len(self.seen)), 0)
        return np.asarray(np.maximum.accumulate(active)[now - self.first])

    def edge(self, start: IntArray) -> FloatArray:
        """Events expected in the hour of `start`, or in the next one if more; 0 from `first` on."""
        hourly = np.concatenate([[0.0, 0.0], np.diff(self.old[1]) * self.old[2, 1:]])
        back = np.clip(-(-(self.first - start) // HOUR), 0, len(hourly) - 2)
        return np.where(back > 0, np.maximum(hourly[back + 1], hourly[back]), 0.0)

    def between(self, first: int, end: int) -> tuple[int, float]:
        """Events seen and expected in the slots [first, end), first rounded up to an hour before `self.first`."""
        at, start = end - self.first, first - self.first
        if start >= 0:
            seen, expected = self.seen[at] - self.seen[start], self.expected[at] - self.expected[start]
            return int(seen), float(self.old[2, 0] * expected)
        hours = min(-start // HOUR, self.old.shape[1] - 1)
        seen, expected, level = self.old[:, hours]
        return int(seen + self.seen[at]), float(level * (expected + self.expected[at]))
