"""Rows: a model's decoded events of one fetch, on their way into panes.

    decode ──► rows, by model ──► the cutter's slices of them ──► run ends: one content a model

A model with a baseline gets sketches. Ranking and counting have their price a call, 150 µs for 20 signals, were it for
one event; with a thousand models on a partition a fetch brings a few events of each. So a slice waits, uncounted, in a
`Tally`, until there are enough or its run ends.
No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.events.columns import Columns
from driftline.stream.events.event import Event

# Events of a model that are counted at once: at 64 a call adds some 2 µs to an event that costs 5. A thousand models of
# 20 numbers then hold 10 MB; twice as many events hold twice that, to save one microsecond.
_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Tally:
    """A model's events in a run that is open: the sketch of some, or none, and the columns of those that wait."""

    baseline: Baseline
    counted: tuple[Sketch, ...]
    waiting: tuple[Columns, ...] = ()

    def __add__(self, newer: Tally) -> Tally:
        both = Tally(self.baseline, self.counted + newer.counted, self.waiting + newer.waiting)
        enough = sum(len(columns.ts) for columns in both.waiting) >= _TOGETHER
        return Tally(self.baseline, (both.sketch(),)) if enough else both

    def sketch(self) -> Sketch:
        """The sketch of all of them."""
        return reduce(add, (*self.counted, *self._rest()))

    def _rest(self) -> list[Sketch]:
        if not self.waiting:
            return []
        return [self.baseline.sketch(Columns.concatenate(self.waiting))]


@dataclass(frozen=True, slots=True)
class SketchRows:
    """Events of a model with a baseline."""

    baseline: Baseline
    columns: Columns

    @classmethod
    def of(cls, baseline: Baseline, columns: Columns, offsets: IntArray) -> SketchRows:
        """offsets: of all messages of the fetch. In a tally, events of several fetches are told apart by them."""
        return cls(baseline, columns.with_positions(offsets))

    @property
    def offsets(self) -> IntArray:
        return self.columns.position

    @property
    def times(self) -> IntArray:
        return self.columns.ts

    def content(self, first: int, last: int) -> Tally:
        return Tally(self.baseline, (), (self.columns.slice(first, last),))


@dataclass(frozen=True, slots=True)
class EventRows:
    """Events of a model without a baseline: its panes hold the events themselves."""

    offsets: IntArray
    times: IntArray
    events: tuple[Event, ...]

    @classmethod
    def of(cls, events: Sequence[tuple[int, Event]], offsets: IntArray) -> EventRows:
        """events: with their positions in the fetch. offsets: of all its messages."""
        positions = np.array([position for position, _ in events])
        times = np.array([event.ts for _, event in events], np.int64)
        return cls(offsets[positions], times, tuple(event for _, event in events))

    def content(self, first: int, last: int) -> tuple[Event, ...]:
        return self.events[first:last]
