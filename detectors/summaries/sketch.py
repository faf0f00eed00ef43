"""The sketch: a stretch of traffic as one additive vector of integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray


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
    """

    n: int
    counts: IntArray
    sums: IntArray
    extremes: FloatArray

    def __add__(self, other: Sketch) -> Sketch:
        """The sketch of the events of both."""
        lows = np.minimum(self.extremes[0], other.extremes[0])
        highs = np.maximum(self.extremes[1], other.extremes[1])
        return Sketch(self.n + other.n, self.counts + other.counts, self.sums + other.sums, np.stack([lows, highs]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.n == other.n and self._bytes() == other._bytes()

    __hash__ = None  # type: ignore[assignment]

    def _bytes(self) -> tuple[bytes, bytes, bytes]:
        return self.counts.tobytes(), self.sums.tobytes(), self.extremes.tobytes()
