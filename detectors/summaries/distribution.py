"""How the values of one signal are distributed, as far as the counts of a sketch tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Grid, magnitude_edges
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch

_NONE: FloatArray = np.empty(0)


@dataclass(frozen=True, eq=False)
class Distribution:
    """Counts of values in intervals, within each of which they are taken to be spread evenly.

    low, high: (m,) ends of the intervals, m > 0, finite; they may overlap, or be a single value. counts: (m,) > 0.
    """

    low: FloatArray
    high: FloatArray
    counts: FloatArray

    def share_up_to(self, values: npt.ArrayLike) -> FloatArray:
        """The share of the values that is not above each of `values` (k,)."""
        return np.asarray(np.interp(np.asarray(values, float), *self._curve, left=0.0))

    def quantile(self, share: float) -> float:
        """A value that this share of the values does not exceed."""
        return self.quantiles((share,))[0]

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The values that each of these shares of the values does not exceed."""
        (ends, reached), wanted = self._curve, np.asarray(shares, float)
        right = np.searchsorted(reached, wanted).clip(max=len(ends) - 1)
        left = np.maximum(right - 1, 0)
        before, after = reached[left], reached[right]
        slope = np.divide(1.0, after - before, out=np.zeros(len(wanted)), where=after > before)
        weight = np.where(wanted >= after, 1.0, np.clip(slope * (wanted - before), 0.0, 1.0))
        # As a mean of both ends, since their distance may be infinite.
        values = np.clip(ends[left] * (1 - weight) + ends[right] * weight, ends[left], ends[right])
        return [float(each) for each in values]

    @property
    def ends(self) -> FloatArray:
        """The ends of all intervals, rising."""
        return self._curve[0]

    @cached_property
    def _curve(self) -> tuple[FloatArray, FloatArray]:
        """Ends of intervals (k,), rising, and the share of values up to each; in between it is a straight line."""
        single = self.low == self.high
        before = np.nextafter(self.low[single], np.finfo(float).min)
        ends = np.unique(np.concatenate([self.low, self.high, before]))
        # Halves, since the distance of two finite numbers may be infinite.
        width = self.high / 2 - self.low / 2
        come = ends[:, None] / 2 - self.low / 2
        with np.errstate(over="ignore"):
            within = np.divide(come, width, out=np.ones(come.shape), where=width > 0)
        within = np.where(ends[:, None] < self.low, 0.0, np.minimum(within, 1.0))
        return ends, within @ self.counts / self.counts.sum()

    def magnitude(self) -> Distribution:
        """The distribution of the absolute values."""
        negative = np.where(self.high <= 0, 1.0, 0.0)
        crossing = (self.low < 0) & (self.high > 0)
        # Halves, since the distance of two finite numbers may be infinite.
        np.divide(self.low / 2, self.low / 2 - self.high / 2, out=negative, where=crossing)
        low = np.concatenate([np.maximum(self.low, 0), np.maximum(-self.high, 0)])
        high = np.concatenate([np.maximum(self.high, 0), np.maximum(-self.low, 0)])
        counts = np.concatenate([self.counts * (1 - negative), self.counts * negative])
        return Distribution(low[counts > 0], high[counts > 0], counts[counts > 0])


def distribution(layout: Layout, sketch: Sketch, signal: int) -> Distribution | None:
    """The distribution of a signal's finite values; None if it has none, or no range that says where they lie."""
    of = layout.signals[signal]
    if of.range is None or not isinstance(of.coder, Grid):
        return None
    lowest, highest = sketch.extremes[:, layout.numeric.index(signal)]
    least, most = max(of.range[0], lowest), min(of.range[1], highest)
    cuts = np.clip(of.coder.cuts, least, most)
    start = layout.starts[signal]
    inside = sketch.counts[start : start + layout.sizes[signal]].astype(float)
    below, above = (layout.tail(sketch, signal, side) for side in (0, 1))
    inside[0] -= below[1].sum()
    inside[-1] -= above[1].sum()
    low, high, counts = (
        np.concatenate(each)
        for each in zip(
            _cells(*below, lowest, min(of.range[0], highest)),
            (np.r_[least, cuts], np.r_[cuts, most], inside),
            _cells(*above, max(of.range[1], lowest), highest),
            strict=True,
        )
    )
    some = counts > 0
    return Distribution(low[some], high[some], counts[some]) if some.any() else None


def _cells(cells: IntArray, counts: IntArray, low: float, high: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ends and counts of cells of magnitudes whose values lie between `low` and `high`."""
    if not cells.size:  # as of nearly all stretches of time
        return _NONE, _NONE, _NONE
    ends = (np.clip(each, low, high) for each in magnitude_edges(cells))
    return (*ends, counts.astype(float))  # type: ignore[return-value]
