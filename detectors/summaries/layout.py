"""The layout of a sketch: its shape (`detectors.summaries.shape`), and how events are counted in it.

Everything in a sketch is an integer or an extreme, so adding sketches is exact, associative and commutative: however a
stretch of the log is cut and merged, its sketch is the same to the byte.

Float sums of raw values would break that, since float addition rounds. They are kept as integers in units of each
signal's own spread, for people to read (`Summary`: "mean 3.1 → 3.6"); no alarm depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import MAGNITUDES, Categories, Coder, Grid, Kind, magnitudes
from driftline.detectors.summaries.groups import group_codes
from driftline.detectors.summaries.shape import Shape
from driftline.detectors.summaries.sketch import NO_TAILS, Sketch, Summary

# The units of sums and of sums of squares are 2^-16 of the signal's spread and 2^-8 of its square: finer than anyone
# reads.
_UNIT, _SQUARE_UNIT = 2.0**16, 2.0**8
# Sums clip a value at 2^14 spreads from the centre (extremes are not clipped). Its square is then 2^36 units, and the
# sum over a hundred million such outliers fits 63 bits. Half as many bits (2^7) would clip a change of unit by 1000.
_CLIP = 2.0**14
_ZERO_AND_ONE = Grid.fit([0.0, 1.0])


@dataclass(frozen=True, slots=True)
class Signal:
    """One monitored quantity: its name ("features.amount", "score"), kind and coder.

    numeric: its values are floats (a constant may be a number, too).
    center, spread: location and scale of a numeric signal in its baseline, in its unit; spread > 0.
    range: the least and the greatest finite value of an ordered signal in its baseline, beyond which sketches tell
    values apart by their magnitude; None for signals that do not have it.
    whole: categories that are whole numbers are spelt without a fraction, and so must values be: 1.0 is "1".
    groups_of: the name of the text signal whose values without a category this one counts in groups; None of others.
    """

    name: str
    kind: Kind
    coder: Coder
    numeric: bool
    center: float = 0.0
    spread: float = 1.0
    range: tuple[float, float] | None = None
    whole: bool = False
    groups_of: str | None = None

    @property
    def size(self) -> int:
        """Number of regular codes."""
        return self.coder.size

    @property
    def ordered(self) -> bool:
        """Whether its codes are ranks, so that KS and rank means make sense."""
        return isinstance(self.coder, Grid)

    @property
    def is_flag(self) -> bool:
        """Whether its baseline has no values but true and false, or 0 and 1."""
        if isinstance(self.coder, Categories):
            return set(self.coder.values) <= {"false", "true", 0.0, 1.0}
        return np.array_equal(self.coder.cuts, _ZERO_AND_ONE.cuts)


@dataclass(frozen=True)
class Layout(Shape[Signal]):
    """A shape whose signals have coders, so that it sketches events."""

    @classmethod
    def of(cls, signals: Sequence[Signal]) -> Layout:
        """A layout of signals in any order."""
        return cls(tuple(sorted(signals, key=lambda signal: not signal.ordered)))

    @cached_property
    def nominal(self) -> tuple[int, ...]:
        """Signals with text values of their own, in the order of the text columns."""
        return tuple(s for s, signal in enumerate(self.signals) if not signal.numeric and signal.groups_of is None)

    @cached_property
    def groups(self) -> dict[int, int]:
        """The signal of groups of each text that has one, by its index."""
        names = {signal.name: s for s, signal in enumerate(self.signals)}
        named = ((s, signal.groups_of) for s, signal in enumerate(self.signals))
        return {names[text]: s for s, text in named if text is not None}

    @cached_property
    def _scaling(self) -> tuple[FloatArray, FloatArray]:
        """Centre and spread of the numeric signals."""
        chosen = [self.signals[s] for s in self.numeric]
        return np.array([signal.center for signal in chosen]), np.array([signal.spread for signal in chosen])

    @cached_property
    def _ranges(self) -> FloatArray:
        """Lowest and highest value (2, R) of the signals with a range."""
        return np.array([self.signals[s].range for s in self.ranged], float).reshape(-1, 2).T

    def encode(self, values: FloatArray, texts: Sequence[Sequence[str | None]]) -> IntArray:
        """Columns (n, S) of n events: `values` (n, numeric signals), NaN where absent, and a list per text signal."""
        # Each signal's codes are contiguous in memory: written across rows, they cost twice as much as the coding.
        columns = np.empty((len(self.signals), len(values)), np.int64)
        for index, s in enumerate(self.numeric):
            columns[s] = self.columns[s][self.signals[s].coder.encode(values[:, index])]
        for index, s in enumerate(self.nominal):
            codes = cast(Categories, self.signals[s].coder).encode(texts[index])
            columns[s] = self.columns[s][codes]
            if (own := self.groups.get(s)) is not None:
                groups = group_codes(texts[index], codes, self.signals[s].size, self.signals[own].size - 1)
                columns[own] = self.columns[own][groups]
        return columns.T

    def sketch(self, columns: IntArray, values: FloatArray) -> Sketch:
        """The sketch of n events from their columns (n, S) and raw values (n, numeric signals)."""
        return self.sketches(columns, values, [len(columns)])[0] if len(columns) else self.empty()

    def sketches(self, columns: IntArray, values: FloatArray, sizes: Sequence[int]) -> list[Sketch]:
        """The sketches of stretches that follow each other, of `sizes` events each, at least one; see `sketch`.

        Many short stretches take a tenth of the time that each for itself takes.
        """
        of = np.repeat(np.arange(len(sizes)), sizes)
        starts = np.cumsum([0, *sizes[:-1]])
        counts = np.bincount((columns.T + of * self.width).ravel(), minlength=self.width * len(sizes))
        center, spread = self._scaling
        finite = np.isfinite(values)
        with np.errstate(over="ignore"):
            z = np.clip(np.where(finite, (values - center) / spread, 0.0), -_CLIP, _CLIP)
        sums = np.add.reduceat(np.rint(z * _UNIT).astype(np.int64), starts)
        squares = np.add.reduceat(np.rint(z * z * _SQUARE_UNIT).astype(np.int64), starts)
        lows = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
        highs = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
        # Adding 0 turns -0.0 into 0.0: which of the two numpy takes for the minimum of both is not defined.
        extremes = np.stack([lows, highs], axis=1) + 0.0
        # Copies: a view of one stretch would keep the others in memory.
        moments = np.stack([sums, squares], axis=1)
        stretches = zip(sizes, counts.reshape(-1, self.width), moments, extremes, strict=True)
        tails = self._tails(values, of, extremes)
        return [
            Sketch(n, own.copy(), both.copy(), ends.copy(), tails.get(stretch, NO_TAILS))
            for stretch, (n, own, both, ends) in enumerate(stretches)
        ]

    def _tails(self, values: FloatArray, of: IntArray, extremes: FloatArray) -> dict[int, IntArray]:
        """Cells beyond the ranges, and their counts (2, m), by stretch; none of those without any.

        values: raw, (n, numeric signals). of: (n,) rising, their stretches. extremes: (stretches, 2, numeric signals).
        """
        columns = np.searchsorted(self.numeric, self.ranged)
        low, high = self._ranges
        beyond = np.flatnonzero(((extremes[:, 0, columns] < low) | (extremes[:, 1, columns] > high)).any(axis=0))
        if not beyond.size:
            return {}
        own, width, found = values[:, columns[beyond]], 2 * len(self.ranged) * MAGNITUDES, []
        for side, outside in enumerate((own < low[beyond], own > high[beyond])):
            rows, signals = np.nonzero(outside & np.isfinite(own))
            cells = (2 * beyond[signals] + side) * MAGNITUDES + magnitudes(own[rows, signals])
            found.append(of[rows] * width + cells)
        cells, counts = np.unique(np.concatenate(found), return_counts=True)
        stretches, firsts = np.unique(cells // width, return_index=True)
        parts = np.split(np.stack([cells % width, counts]), firsts[1:], axis=1)
        return {stretch: part.copy() for stretch, part in zip(stretches.tolist(), parts, strict=True)}

    def empty(self) -> Sketch:
        """The sketch of no events, the neutral element of addition."""
        none = np.zeros((2, len(self.numeric)), np.int64)
        extremes = np.stack([np.full(len(self.numeric), np.inf), np.full(len(self.numeric), -np.inf)])
        return Sketch(0, np.zeros(self.width, np.int64), none, extremes)

    def summary(self, sketch: Sketch, signal: int) -> Summary | None:
        """Summary of the finite values of one numeric signal; None for a text signal or without values."""
        if not self.signals[signal].numeric:
            return None
        index, of = self.numeric.index(signal), self.signals[signal]
        n = self.finite(sketch.counts, signal)
        if n == 0:
            return None
        z, zz = sketch.sums[0, index] / _UNIT / n, sketch.sums[1, index] / _SQUARE_UNIT / n
        return Summary(
            n=n,
            mean=of.center + of.spread * float(z),
            deviation=of.spread * float(np.sqrt(max(zz - z * z, 0.0))),
            low=float(sketch.extremes[0, index]),
            high=float(sketch.extremes[1, index]),
        )

    def clipped(self, sketch: Sketch, signal: int) -> bool:
        """Whether some value of a numeric signal is so large that its sums, and so its moments, are too small."""
        index, of = self.numeric.index(signal), self.signals[signal]
        with np.errstate(over="ignore"):
            return bool((np.abs(sketch.extremes[:, index] - of.center) > _CLIP * of.spread).any())
