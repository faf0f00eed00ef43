"""A model's traffic: what is learned of its rate, the counts since, and the calendar by which both are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from driftline.detectors.arrays import BoolArray, IntArray
from driftline.detectors.decision.rates import HOUR, WEEK, Rates

#: Slots by which events may be ahead of the time that is complete: one day, of a partition that is behind.
AHEAD: Final = 24 * HOUR
# Slots by which events may be ahead of the farthest tick, as they are read before the next one: those of a clock that
# is a day ahead are always further. Where a tick is two hours later than what is learned, which an hour always is, a
# backlog is read, of which days may be on their way.
_ON_THEIR_WAY, _OF_A_BACKLOG = AHEAD - HOUR, 2 * AHEAD
# Slots further ahead of the time that is complete, events are not even remembered as left out: a week of a backlog.
_FAR = 7 * AHEAD
_NONE = (0, 0)


@dataclass(frozen=True, slots=True)
class Calendar:
    """What people know of time: the local time, and when traffic says nothing.

    From each Unix second in `since`, ascending, local time is `offsets` seconds ahead of UTC; before, the first offset.
    excluded: slots [first, end) of holidays and planned work, neither learned nor judged.
    Raises ValueError unless there is one offset more than there are times.
    """

    since: tuple[int, ...] = ()
    offsets: tuple[int, ...] = (0,)
    excluded: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.since) + 1 or list(self.since) != sorted(self.since):
            raise ValueError("a calendar needs ascending times, and one offset more than there are times")

    def cells(self, hours: IntArray) -> IntArray:
        """The hour of the week, 0 to 167, of Unix hours (h,), by the local time in their middle."""
        middle = hours * 3600 + 1800
        offset = np.array(self.offsets)[np.searchsorted(np.array(self.since, np.int64), middle, side="right")]
        return np.asarray((middle + offset) // 3600 % WEEK)

    def free(self, first: int, n: int) -> BoolArray:
        """Which of n slots from `first` on are not excluded."""
        return _outside(self.excluded, first, n)


#: UTC, and no holidays.
EVERY_DAY: Final = Calendar()


@dataclass(frozen=True, eq=False)
class Traffic:
    """A model's traffic: what is learned of its rate, and the counts since.

    rates: up to two hours before `until`. pending: (n,) events by slot from the first one of `rates.hour`, without
    trailing zeros. until: the first slot that may still get events, but for late ones. unknown: [first, end) slots in
    which events were not counted: before the model began, or too far ahead of `until`. left_out: [first, end) slots of
    events that were too far ahead, until time comes to them.
    """

    rates: Rates
    pending: IntArray
    until: int
    unknown: tuple[int, int]
    left_out: tuple[int, int] = _NONE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Traffic) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def start(cls, slot: int, rates: Rates | None = None, uncounted: int = 0, reached: int = 0) -> Traffic:
        """Traffic that is complete before `slot`, of which no count is known, but perhaps the rates of another time.

        uncounted: end of the slots whose events may have come already, and were not counted. reached: as in `observe`.
        """
        known = Rates(slot // HOUR) if rates is None else rates.moved(slot // HOUR)
        end = min(uncounted, max(slot, reached) + _ON_THEIR_WAY)
        return cls(known, np.zeros(0, np.int64), slot, (0, max(slot, end)))

    @property
    def first(self) -> int:
        """The first slot that is not learned yet, and the first of `pending`."""
        return self.rates.hour * HOUR

    def observe(
        self,
        slots: IntArray,
        counts: IntArray,
        until: int,
        *,
        reached: int = 0,
        calendar: Calendar = EVERY_DAY,
        unlearned: Sequence[tuple[int, int]] = (),
    ) -> Traffic:
        """The traffic with `counts` (n,) >= 0 of events more in `slots` (n,), and complete before the slot `until`.

        until: the least of all source partitions; a smaller one than before changes nothing. Events further ahead of it
        than AHEAD are left out, and their slots unknown. reached: the largest one; events far ahead of it, too, have a
        wrong clock. unlearned: slots [first, end) of incidents, which are judged but change no
        expectation. Events of slots that are learned already are left out.
        """
        added = self._add(slots, counts, max(until, self.until))
        begin, end = added.left_out
        if 0 < begin < added.until:
            ahead = _OF_A_BACKLOG if added.until - self.until > 2 * HOUR else _ON_THEIR_WAY
            was_read = end <= max(reached, added.until) + ahead
            added = added._learned(begin, calendar, unlearned)._decided(was_read)
        return added._learned(added.until, calendar, unlearned)

    def _learned(self, end: int, calendar: Calendar, unlearned: Sequence[tuple[int, int]]) -> Traffic:
        """The traffic with the hours learned that end before the slot `end`, or at it."""
        rates, pending = self.rates, self.pending
        # An hour is learned when another one has passed, so that a window of an hour ends anywhere in slots.
        while (rates.hour + 1) * HOUR <= min(end, self.until - HOUR - 1):
            hour = np.zeros(HOUR, np.int64)
            hour[: len(pending)] = pending[:HOUR]
            known = self.known(rates.hour * HOUR, HOUR, calendar)
            free = known & _outside(unlearned, rates.hour * HOUR, HOUR)
            cell = int(calendar.cells(np.array([rates.hour]))[0])
            # An incident is judged by the hour: a part of it would be learned as a whole hour of few events.
            rates, pending = rates.fold(hour, known, cell, learn=bool((free == known).all())), pending[HOUR:]
        return replace(self, rates=rates, pending=pending)

    def known(self, first: int, n: int, calendar: Calendar) -> BoolArray:
        """Which of n slots from `first` on are known and not excluded."""
        return calendar.free(first, n) & _outside((self.unknown,), first, n)

    def _add(self, slots: IntArray, counts: IntArray, until: int) -> Traffic:
        first, end = self.first, until + AHEAD
        slots, counts = np.asarray(slots, np.int64), np.asarray(counts, np.int64)
        taken = (slots >= first) & (slots < end)
        size = max(len(self.pending), int(slots[taken].max(initial=first - 1)) + 1 - first)
        pending = np.zeros(size, np.int64)
        pending[: len(self.pending)] = self.pending
        np.add.at(pending, slots[taken] - first, counts[taken])
        ahead = slots[(slots >= end) & (slots < until + _FAR) & (counts > 0)]
        left_out = _joined(self.left_out, ahead)
        return replace(self, pending=np.trim_zeros(pending, "b"), until=until, left_out=left_out)

    def _decided(self, was_read: bool) -> Traffic:
        """The traffic when time has come to what was left out: that is unknown, unless it came of a wrong clock."""
        if not was_read:
            return replace(self, left_out=_NONE)
        (first, end), unknown = self.left_out, self.unknown
        begin = min(unknown[0], first) if unknown[1] > self.first else first
        return replace(self, unknown=(begin, max(unknown[1], end)), left_out=_NONE)


def _joined(interval: tuple[int, int], slots: IntArray) -> tuple[int, int]:
    """The least interval that has an interval, unless that is empty, and all slots."""
    if not len(slots):
        return interval
    first, end = int(slots.min()), int(slots.max()) + 1
    return (min(interval[0], first), max(interval[1], end)) if interval[1] else (first, end)


def _outside(intervals: Sequence[tuple[int, int]], first: int, n: int) -> BoolArray:
    free = np.ones(n, np.bool_)
    for begin, end in intervals:
        free[max(begin - first, 0) : max(end - first, 0)] = False
    return free
