"""The sketch: a stretch of traffic as one additive vector of integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray

#: Counts of no cell: what a sketch has beyond the range of its baseline when nothing is there.
NO_TAILS: IntArray = np.zeros((2, 0), np.int64)
NO_TAILS.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Summary:
    """A numeric signal summarised for people, in its unit: count, mean, standard deviation, extremes."""

    n: int
    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """The counts of some events in a layout of C columns and F numeric signals.

    n: number of events. counts: (C,) int64. sums: (2, F) int64, fixed-point sums of (value - centre) / spread and of
    its square. extremes: (2, F) lowest and highest finite value; +inf and -inf without one.

    tails: (2, m), cells beyond the baseline's range that hold a value, rising, and the count of each
    (`Layout.tail_cells`). They refine the outermost codes, in which their values are counted too.
    """

    n: int
    counts: IntArray
    sums: IntArray
    extremes: FloatArray
    tails: IntArray = field(default_factory=lambda: NO_TAILS)

    def __add__(self, other: Sketch) -> Sketch:
        """The sketch of the events of both."""
        extremes = np.empty_like(self.extremes)
        np.minimum(self.extremes[0], other.extremes[0], out=extremes[0])
        np.maximum(self.extremes[1], other.extremes[1], out=extremes[1])
        counts, sums = self.counts + other.counts, self.sums + other.sums
        return Sketch(self.n + other.n, counts, sums, extremes, self._tails_with(other))

    @classmethod
    def total(cls, sketches: Sequence[Sketch]) -> Sketch:
        """The sketch of the events of all, at least one; the same as adding them one by one, in a fifth of the time."""
        extremes = np.stack([each.extremes for each in sketches])
        tails = [each.tails for each in sketches if each.tails.size]
        return cls(
            sum(each.n for each in sketches),
            np.sum([each.counts for each in sketches], axis=0),
            np.sum([each.sums for each in sketches], axis=0),
            np.stack([extremes[:, 0].min(0), extremes[:, 1].max(0)]),
            merge_tails(np.hstack(tails)) if len(tails) > 1 else tails[0] if tails else NO_TAILS,
        )

    def _tails_with(self, other: Sketch) -> IntArray:
        if not (self.tails.size and other.tails.size):
            return self.tails if self.tails.size else other.tails
        return merge_tails(np.hstack([self.tails, other.tails]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.n == other.n and self._bytes() == other._bytes()

    __hash__ = None  # type: ignore[assignment]

    def _bytes(self) -> tuple[bytes, ...]:
        return tuple(each.tobytes() for each in (self.counts, self.sums, self.extremes, self.tails))


def merge_tails(tails: IntArray) -> IntArray:
    """Cells and counts (2, m) in which each cell occurs once, from some (2, k) in which it may occur more often."""
    cells, index = np.unique(tails[0], return_inverse=True)
    counts = np.zeros(len(cells), np.int64)
    np.add.at(counts, index, tails[1])
    return np.stack([cells, counts])
