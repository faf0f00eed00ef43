"""Panes: a partition's log cut into runs, each run summed up per model.

A run ends, in whatever chunks the log arrives,

- before the first event whose time lies in a later slot than the run's first event's (late events stay in the run), or
- after the event that gives one of its models `events` events, or
- after 100 · `events` offsets, to bound the work to do again after a crash, however many models share the log.

    offset    0  1  2  3  4  5  6  7  8  9 10 11 12
    slot      a  a  a  a  a  b  b  a  b  b  b  b  b        events = 6
    runs     [─────────────)[────────────────)[─────       7 is late and stays; 10 is its run's sixth

One event from the future costs one early end and one run that lasts until it is full, because a run's slot is its own
first event's.
No I/O, no clock: runs and panes are a pure function of the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.panes.pane import Pane, Range, Run

# A run's length in offsets, in multiples of `events`: with a thousand models on a partition each still gets panes of a
# tenth of `events`, and sketching the 25,000 offsets of the default again takes a quarter of a second.
_MAX_OFFSETS = 100


class Rows(Protocol):
    """Decoded events of one model in log order: (n,) rising offsets, (n,) times in ms, and the sum of any slice."""

    @property
    def offsets(self) -> IntArray: ...

    @property
    def times(self) -> IntArray: ...

    def content(self, first: int, last: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class PaneRule:
    """Where runs end: after `events` events of one model, or where time leaves its slot of `slot_ms`, None: never."""

    events: int = 250
    slot_ms: int | None = 10_000


@dataclass
class Cutter:
    """Cuts one partition's log, fed in chunks, into runs; `start` is the first offset it is to see.

    sealed: offsets, rising, at which runs have ended before. Up to the last of them, they do so again and nowhere else,
    whatever the rule says by now. seen: one past the last fed.
    """

    rule: PaneRule
    partition: int
    start: int
    sealed: tuple[int, ...] = ()
    end: int = 0
    _slot: int | None = None
    _open: dict[str, Pane[Any]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def push(self, rows: Mapping[str, Rows], end: int) -> list[Run]:
        """Runs that end within the next offsets, up to `end` (exclusive); `rows` are the good events among those."""
        self.end = end
        chunk = _Chunk.of(rows, self.rule)
        runs, at = [], 0
        while (cut := self._cut(chunk, at, end)) is not None:
            taken, boundary = cut
            self._add(chunk, at, taken)
            runs.append(self.close(boundary))
            at = taken
        self._add(chunk, at, len(chunk.offsets))
        return runs

    def close(self, end: int) -> Run:
        """End the open run at offset `end` (exclusive): an idle partition's panes need not wait for the next event."""
        last = Range(self.partition, self.start, end)
        panes = {model: replace(pane, ranges=(last,)) for model, pane in sorted(self._open.items())}
        run = Run(self.start, end, panes)
        self.start, self._slot, self._open, self._counts = end, None, {}, {}
        return run

    def models(self) -> set[str]:
        """Models with events in the open run."""
        return set(self._open)

    def convert(self, model: str, change: Callable[[Any], Any]) -> None:
        """Replace what the open run holds of a model by `change` of it."""
        if model in self._open:
            self._open[model] = replace(self._open[model], content=change(self._open[model].content))

    def _cut(self, chunk: _Chunk, at: int, end: int) -> tuple[int, int] | None:
        """Where the open run ends, as (events of the chunk up to there, offset), if it does so in this chunk."""
        again = bisect_right(self.sealed, self.start)
        if again < len(self.sealed):
            limit = self.sealed[again]
            return (int(np.searchsorted(chunk.offsets, limit)), limit) if end >= limit else None
        limit = self.start + _MAX_OFFSETS * self.rule.events
        stop = int(np.searchsorted(chunk.offsets, limit))
        slot = self._slot
        if slot is None and at < stop:
            slot = int(chunk.slots[at])
        leaves = at if slot is None else chunk.first_later(slot, at, stop)
        full = chunk.first_full(self._counts, self.rule.events, at, min(leaves, stop))
        if full is not None:
            return full + 1, int(chunk.offsets[full]) + 1
        if leaves < stop:
            return leaves, int(chunk.offsets[leaves])
        return (stop, limit) if end >= limit else None

    def _add(self, chunk: _Chunk, first: int, last: int) -> None:
        """Add the chunk's events [first, last) to the open run."""
        if first == last:
            return
        if self._slot is None:
            self._slot = int(chunk.slots[first])
        for model, count, pane in chunk.panes(first, last):
            self._open[model] = self._open[model] + pane if model in self._open else pane
            self._counts[model] = self._counts.get(model, 0) + count


@dataclass
class _Chunk:
    """The good events of all models in a stretch of the log, in log order: (n,) offsets and time slots."""

    rows: Mapping[str, Rows]
    offsets: IntArray
    slots: IntArray

    @classmethod
    def of(cls, rows: Mapping[str, Rows], rule: PaneRule) -> _Chunk:
        none = np.empty(0, np.int64)
        offsets = np.concatenate([none, *(part.offsets for part in rows.values())])
        times = np.concatenate([none, *(part.times for part in rows.values())])
        order = np.argsort(offsets, kind="stable")
        slots = times // rule.slot_ms if rule.slot_ms else np.zeros_like(times)
        return cls(rows, offsets[order], slots[order])

    def first_later(self, slot: int, first: int, last: int) -> int:
        """The first event in [first, last) of a later slot; `last` if there is none."""
        # Runs may be one event long or a whole chunk: growing steps keep both linear.
        step = 64
        while first < last:
            later = np.flatnonzero(self.slots[first : min(first + step, last)] > slot)
            if later.size:
                return first + int(later[0])
            first, step = first + step, step * 4
        return last

    def first_full(self, have: Mapping[str, int], events: int, first: int, last: int) -> int | None:
        """The first event in [first, last) that is its model's `events`-th of a run that already holds `have`."""
        full = last
        for name, part in self.rows.items() if first < last else ():
            nth = int(np.searchsorted(part.offsets, self.offsets[first])) + events - have.get(name, 0) - 1
            if nth < len(part.offsets):
                full = min(full, int(np.searchsorted(self.offsets, part.offsets[nth])))
        return full if full < last else None

    def panes(self, first: int, last: int) -> Iterator[tuple[str, int, Pane[Any]]]:
        """Model, number of events and pane (without ranges) of the events [first, last)."""
        bounds = self.offsets[first], self.offsets[last - 1] + 1
        for name, part in self.rows.items():
            start, stop = (int(each) for each in np.searchsorted(part.offsets, bounds))
            if start < stop:
                pane = Pane(part.content(start, stop), int(part.times[start]), int(part.times[stop - 1]), ())
                yield name, stop - start, pane
