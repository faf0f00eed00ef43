"""A projection: a sketch of one shape as a sketch of another one that shares some of its signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from driftline.detectors.arrays import BoolArray, IntArray
from driftline.detectors.summaries.codes import MAGNITUDES, Special
from driftline.detectors.summaries.shape import Shape, SignalShape
from driftline.detectors.summaries.sketch import NO_TAILS, Sketch


@dataclass(frozen=True)
class Projection:
    """Sketches of shape `old` as sketches of shape `new`.

    sources: for each signal of `new`, the index of the signal of `old` with the same codes; None if there is none. Such
    a signal is missing in every event of the sketch: nothing may be concluded from that.
    """

    old: Shape[SignalShape]
    new: Shape[SignalShape]
    sources: Sequence[int | None]

    @cached_property
    def absent(self) -> BoolArray:
        """Which signals of `new` (S,) have no source."""
        return np.array([source is None for source in self.sources])

    @cached_property
    def _shared(self) -> list[tuple[int, int]]:
        """Indices of the signals that both have, in `new` and in `old`."""
        return [(s, source) for s, source in enumerate(self.sources) if source is not None]

    @cached_property
    def _columns(self) -> tuple[IntArray, IntArray]:
        """The columns of the shared signals, in `new` and in `old`."""
        none = np.zeros(0, np.int64)
        return (
            np.concatenate([none, *(self.new.columns[s] for s, _ in self._shared)]),
            np.concatenate([none, *(self.old.columns[source] for _, source in self._shared)]),
        )

    @cached_property
    def _moments(self) -> tuple[list[int], list[int]]:
        """The columns of the moments of the shared signals, in `new` and in `old`."""
        numeric = [(s, source) for s, source in self._shared if self.new.signals[s].numeric]
        return (
            [self.new.numeric.index(s) for s, _ in numeric],
            [self.old.numeric.index(source) for _, source in numeric],
        )

    def sketch(self, sketch: Sketch) -> Sketch:
        """The same events in shape `new`."""
        counts = np.zeros(self.new.width, np.int64)
        for s in np.flatnonzero(self.absent):
            counts[self.new.special_column(int(s), Special.MISSING)] = sketch.n
        to, source = self._columns
        counts[to] = sketch.counts[source]
        sums, extremes = np.zeros((2, len(self.new.numeric)), np.int64), np.empty((2, len(self.new.numeric)))
        extremes[:] = [[np.inf], [-np.inf]]
        to_moment, from_moment = self._moments
        sums[:, to_moment], extremes[:, to_moment] = sketch.sums[:, from_moment], sketch.extremes[:, from_moment]
        return Sketch(sketch.n, counts, sums, extremes, self._tails(sketch))

    def _tails(self, sketch: Sketch) -> IntArray:
        """What lies beyond the ranges that the shared signals have in both."""
        found = [NO_TAILS]
        for s, source in self._shared if sketch.tails.size else ():
            span = self.new.signals[s].range
            if span is not None and span == self.old.signals[source].range:
                for side in (0, 1):
                    cells, counts = self.old.tail(sketch, source, side)
                    first = (2 * self.new.ranged.index(s) + side) * MAGNITUDES
                    found.append(np.stack([cells + first, counts]))
        tails = np.hstack(found)
        return np.asarray(tails[:, np.argsort(tails[0])])
