"""The cutter: divides the log of one partition into runs and makes one pane per model of each.

However the log is chunked on arrival, a run ends

- before the first event in a later time slot than the run's first event (late events stay in the run), or
- after the event that is the `events`-th of its model in the run, or
- after 100 · `events` offsets, which bounds the work repeated after a crash, however many models share the log, or
- after the message with which the run's messages have `bytes` bytes, which bounds the memory of events that are kept.

    offset    0  1  2  3  4  5  6  7  8  9 10 11 12
    slot      a  a  a  a  a  b  b  a  b  b  b  b  b        events = 6
    runs     [─────────────)[────────────────)[─────       7 is late and stays; 10 is the run's sixth

A message may hold many events: they have its offset and its time, and a run never ends between them.

A run takes its slot from its own first event, so an event from the future costs one run that ends early and one that
ends only when it is full. No I/O, no clock: runs and panes are a pure function of the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import chain
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from msgspec.structs import replace

from driftline.detectors.arrays import IntArray
from driftline.stream.panes.pane import SLOT_MS, Pane, Range, Run

# The longest run in offsets, as a multiple of `events`: with a thousand models on a partition, each still gets panes of
# a tenth of `events`, and sketching the 25,000 offsets of the default again takes a quarter of a second.
_MAX_OFFSETS = 100
# Slots that a pane counts: two hours and three quarters of event time. A thousand slots take 10 kB, so a pane of events
# whose times are anything stays within what a topic takes; the events of further slots count as events, not as traffic.
_MAX_SLOTS = 1000


class Rows(Protocol):
    """Decoded events of one model in log order: (n,) offsets that never fall, (n,) times in ms, content of a slice."""

    @property
    def offsets(self) -> IntArray: ...

    @property
    def times(self) -> IntArray: ...

    def content(self, first: int, last: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class PaneRule:
    """When a run ends: after `events` events of one model, or at the end of its slot of `slot_ms` (None: no slots).

    bytes: of messages after which it ends in any case.
    """

    events: int = 250
    slot_ms: int | None = 10_000
    bytes: int = 64 << 20


class Sizes(NamedTuple):
    """The sizes of all messages of a chunk: (n,) rising offsets, (n + 1,) bytes before each message and at the end."""

    offsets: IntArray
    before: IntArray

    @classmethod
    def of(cls, offsets: IntArray, messages: Sequence[bytes | None]) -> Self:
        """The sizes of messages at these offsets."""
        sizes = (0 if message is None else len(message) for message in messages)
        return cls(offsets, np.cumsum(np.fromiter(chain([0], sizes), np.int64, len(messages) + 1)))

    def since(self, offset: int) -> int:
        """Bytes from an offset to the end of the chunk."""
        return int(self.before[-1] - self.before[self.offsets.searchsorted(offset)])

    def end_of(self, offset: int, room: int) -> int | None:
        """The offset after the message with which those from `offset` on have `room` bytes; None if none does."""
        first = int(self.offsets.searchsorted(offset))
        needed = self.before[first] + room
        if needed > self.before[-1]:
            return None
        full = max(int(self.before.searchsorted(needed)) - 1, first)
        return int(self.offsets[full]) + 1 if full < len(self.offsets) else None


NO_SIZES = Sizes(np.empty(0, np.int64), np.zeros(1, np.int64))


@dataclass
class Cutter:
    """Cuts the log of one partition, pushed in chunks, into runs.

    start: first offset of the open run. end: the offset after the last one pushed. sealed: rising offsets at which
    earlier runs ended; up to the last of them, runs end exactly there again, even if the rule has changed since.
    """

    rule: PaneRule
    partition: int
    start: int
    sealed: tuple[int, ...] = ()
    end: int = 0
    _slot: int | None = None
    _open: dict[str, Pane[Any]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _times: list[IntArray] = field(default_factory=list)
    _bytes: int = 0

    def push(self, rows: Mapping[str, Rows], end: int, sizes: Sizes = NO_SIZES) -> list[Run]:
        """Add the log up to offset `end` (exclusive), with its valid events, and return the runs that end in it.

        sizes: of its messages.
        """
        self.end = end
        chunk = _Chunk.of(rows, self.rule)
        runs, first = [], 0
        while (cut := self._cut(chunk, first, end, sizes)) is not None:
            last, boundary = cut
            self._add(chunk, first, last)
            runs.append(self.close(boundary))
            first = last
        self._add(chunk, first, len(chunk.offsets))
        self._bytes += sizes.since(self.start)
        return runs

    def close(self, end: int) -> Run:
        """End the open run at offset `end` (exclusive): panes of an idle partition need not wait for the next event."""
        offsets = Range(self.partition, self.start, end)
        panes = {
            model: replace(pane, ranges=(offsets,), slots=_fullest(pane.slots))
            for model, pane in sorted(self._open.items())
        }
        run = Run(self.start, end, panes, time=_lower_quartile(self._times))
        self.start, self._slot, self._open, self._counts, self._times, self._bytes = end, None, {}, {}, [], 0
        return run

    @property
    def holds_events(self) -> bool:
        """Whether the open run has an event."""
        return bool(self._open)

    def content(self, model: str) -> Any:
        """The content of a model's pane in the open run; None if it has none."""
        return self._open[model].content if model in self._open else None

    def convert(self, model: str, change: Callable[[Any], Any]) -> None:
        """Apply `change` to the content of a model's pane in the open run, if it has one."""
        if model in self._open:
            self._open[model] = replace(self._open[model], content=change(self._open[model].content))

    def _cut(self, chunk: _Chunk, first: int, end: int, sizes: Sizes) -> tuple[int, int] | None:
        """Where the open run ends, if within this chunk: (index of the first event after the run, end offset)."""
        seal = bisect_right(self.sealed, self.start)
        if seal < len(self.sealed):
            limit = self.sealed[seal]
            return (int(chunk.offsets.searchsorted(limit)), limit) if end >= limit else None
        limit = self.start + _MAX_OFFSETS * self.rule.events
        limit = min(limit, sizes.end_of(self.start, self.rule.bytes - self._bytes) or limit)
        stop = int(chunk.offsets.searchsorted(limit))
        slot = self._slot
        if slot is None and first < stop:
            slot = int(chunk.slots[first])
        later = first if slot is None else chunk.first_later(slot, first, stop)
        full = chunk.first_full(self._counts, self.rule.events, first, min(later, stop))
        if full is not None:
            boundary = int(chunk.offsets[full]) + 1
            return int(chunk.offsets.searchsorted(boundary)), boundary
        if later < stop:
            return later, int(chunk.offsets[later])
        return (stop, limit) if end >= limit else None

    def _add(self, chunk: _Chunk, first: int, last: int) -> None:
        """Add the chunk's events [first, last) to the open run."""
        if first == last:
            return
        if self._slot is None:
            self._slot = int(chunk.slots[first])
        self._times.append(chunk.times[first:last])
        for model, count, pane in chunk.panes(first, last):
            self._open[model] = self._open[model] + pane if model in self._open else pane
            self._counts[model] = self._counts.get(model, 0) + count


def _lower_quartile(times: Sequence[IntArray]) -> int | None:
    """The time that a quarter of the events are not later than; None without events."""
    if not times:
        return None
    joined = np.concatenate(times)
    rank = (len(joined) - 1) // 4
    joined.partition(rank)
    return int(joined[rank])


@dataclass
class _Chunk:
    """The valid events of all models in one chunk of the log, in log order: (n,) offsets, times and time slots."""

    rows: Mapping[str, Rows]
    offsets: IntArray
    times: IntArray
    slots: IntArray

    @classmethod
    def of(cls, rows: Mapping[str, Rows], rule: PaneRule) -> _Chunk:
        none = np.empty(0, np.int64)
        offsets = np.concatenate([none, *(part.offsets for part in rows.values())])
        times = np.concatenate([none, *(part.times for part in rows.values())])
        order = np.argsort(offsets, kind="stable")
        slots = times // rule.slot_ms if rule.slot_ms else np.zeros_like(times)
        return cls(rows, offsets[order], times[order], slots[order])

    def first_later(self, slot: int, first: int, last: int) -> int:
        """Index of the first event in [first, last) of a later slot; `last` if there is none."""
        # A run may be one event or a whole chunk: growing steps keep both linear.
        step = 64
        while first < last:
            later = np.flatnonzero(self.slots[first : min(first + step, last)] > slot)
            if later.size:
                return first + int(later[0])
            first, step = first + step, step * 4
        return last

    def first_full(self, counts: Mapping[str, int], events: int, first: int, last: int) -> int | None:
        """Index of the first event in [first, last) that is its model's `events`-th, after the `counts` before it."""
        full = last
        for name, part in self.rows.items() if first < last else ():
            nth = int(part.offsets.searchsorted(self.offsets[first])) + events - counts.get(name, 0) - 1
            if nth < len(part.offsets):
                full = min(full, int(self.offsets.searchsorted(part.offsets[nth])))
        return full if full < last else None

    def panes(self, first: int, last: int) -> Iterator[tuple[str, int, Pane[Any]]]:
        """By model, the number of events in [first, last) and their pane, without ranges."""
        bounds = self.offsets[first], self.offsets[last - 1] + 1
        for name, part in self.rows.items():
            start, stop = part.offsets.searchsorted(bounds).tolist()
            if start < stop:
                times = part.times[start:stop]
                yield (
                    name,
                    stop - start,
                    Pane(part.content(start, stop), int(times[0]), int(times[-1]), (), _count_slots(times)),
                )


def _count_slots(times: IntArray) -> tuple[tuple[int, int], ...]:
    """How many of the times (n,), epoch ms, lie in each slot of `Pane.slots`."""
    slots = times // SLOT_MS
    if (slots == slots[0]).all():  # nearly always, and much faster
        return ((int(slots[0]), len(slots)),)
    found, counts = np.unique(slots, return_counts=True)
    return tuple(zip(found.tolist(), counts.tolist(), strict=True))


def _fullest(slots: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The slots with the most events, the later ones of equals: as many as a pane may count."""
    if len(slots) <= _MAX_SLOTS:
        return slots
    return tuple(sorted(nlargest(_MAX_SLOTS, slots, key=lambda slot: (slot[1], slot[0]))))
