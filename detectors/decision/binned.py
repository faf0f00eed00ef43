"""The bins of several signals beside what a baseline expects of them: the test of single bins in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.reference import History, Reference, mixed
from driftline.detectors.decision.widths import Widths, variances
from driftline.detectors.statistics.bins import NEVER, Bins, bins_evidence
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.long_run import limits, long_run
from driftline.detectors.statistics.smooth import Smooth

# Independent events that a baseline must have of a bin, to compare with it. Without it, sessions of 20 events paged 10
# times on 20,000 rows where 0.6 were promised. They are counted by the dispersion of the level: bins of AR(1) 0.95 seem
# to vary less, and those that seem so by chance paged 37 times on 10,000 rows where 8 were promised.
_KNOWN = 25


@dataclass(frozen=True, eq=False)
class Binned:
    """The bins that are tested of signals with one baseline and the same phases, one signal after another: B in all.

    codes: columns of codes, one bin after another. starts: where each bin begins in these (B,). signals: the first bin
    of each signal. shares: expected by phase (H, B). dispersion: φ (B,).
    """

    codes: IntArray
    starts: IntArray
    signals: IntArray
    shares: FloatArray
    dispersion: FloatArray

    @classmethod
    def of(cls, several: Sequence[tuple[int, Bins, Reference]]) -> Self:
        """The bins of signals, one at least, each with one that is tested, and with the column of its first code."""
        orders = [bins.order[np.isin(bins.of[bins.order], bins.tested)] for _, bins, _ in several]
        starts = [
            np.searchsorted(bins.of[order], bins.tested) for order, (_, bins, _) in zip(orders, several, strict=True)
        ]
        of_codes, of_bins = (np.cumsum([0, *map(len, each)])[:-1] for each in (orders, starts))
        expected = (
            (bins.merged(known.shares[:, : len(bins.of)]) + bins.new / bins.events)[:, bins.tested]
            for _, bins, known in several
        )
        return cls(
            np.concatenate([first + order for (first, _, _), order in zip(several, orders, strict=True)]),
            np.concatenate([before + own for before, own in zip(of_codes, starts, strict=True)]),
            of_bins,
            np.hstack([*expected]),
            np.concatenate([np.broadcast_to(bins.dispersion, bins.number)[bins.tested] for _, bins, _ in several]),
        )

    def merged(self, counts: FloatArray) -> FloatArray:
        """Counts (w, B) of the bins, from those of codes (w, K)."""
        own = counts[:, self.codes]
        return own if len(self.starts) == len(self.codes) else np.asarray(np.add.reduceat(own, self.starts, axis=1))

    def evidence(self, counts: FloatArray, phases: FloatArray, size: FloatArray, restless: FloatArray) -> FloatArray:
        """Evidence (w, S) of windows with these counts (w, K) and events by phase (w, H).

        size: of the reference (w, 1). restless: by how much more than usual each signal varies in a window (w or 1, S).
        """
        dispersion = np.repeat(restless, self._number, axis=1) * self.dispersion
        n, expected = phases.sum(1, keepdims=True), mixed(phases, self.shares)
        return bins_evidence(self.merged(counts), expected, n, size, dispersion, self.signals)

    @property
    def _number(self) -> IntArray:
        """Bins of each signal (S,)."""
        return np.diff(self.signals, append=len(self.dispersion))


def dispersions(
    history: History, matrix: FloatArray, limit: Callable[[FloatArray], tuple[FloatArray, FloatArray]] = limits
) -> FloatArray:
    """How much more sums (F,) of functionals vary in long windows than those of independent events, at least 1.

    Just 1 where neighbours are not correlated and it is no more than by chance, as in `decision.widths`. matrix: the
    number that each regular code has in each functional (size, F). limit: see `long_run.limits`.
    """
    own, events = slice(len(matrix)), history.reference.events
    independent = events / events.sum() @ variances(history.reference.shares[:, own], matrix)
    variance, chance = limit(history.residuals[:, own] @ matrix)
    found = variance / history.phases.sum(1).mean() / np.maximum(independent, 1e-300)
    return np.where(found <= chance, 1.0, np.maximum(found, 1.0))


def dispersions_of_smooth(history: History, smooth: Smooth) -> FloatArray:
    """The dispersions (2,) of the orders of the smooth test: at least those of level and spread, which lag longest.

    By their own, smaller ones, AR(1) 0.95 paged 22 times where 16 were promised of all tests.
    """
    found = dispersions(history, np.hstack([smooth.matrix, _shape(history, len(smooth.shares))]), _usual)
    orders = smooth.matrix.shape[1]
    return np.asarray(np.maximum(found[:orders], found[orders:].max()))


def dispersions_of_bins(history: History, bins: Bins) -> FloatArray:
    """The dispersions (B,) of bins, `NEVER` of those of which the baseline has too few.

    New values have the largest of the others.
    """
    clumped = dispersions(history, np.eye(bins.number)[bins.of])
    slow = dispersions(history, _shape(history, len(bins.of)), _usual)[0]
    known = bins.merged(bins.counts) >= _KNOWN * np.maximum(clumped, slow)
    new = clumped[known].max() if known.any() else NEVER
    return np.asarray(np.where(known, clumped, np.where(bins.new > 0, new, NEVER)))


def bins_of_values(counts: IntArray, widths: Widths) -> Bins:
    """Each value of a nominal signal as a bin. counts: (size,) of its regular codes. widths: of the same signal.

    The dispersion of a bin is that of its share in the longest windows; it is not tested where the baseline has too few
    events of it.
    """
    dispersion = widths.longest[: len(counts)]
    return Bins(counts, np.where(counts >= _KNOWN * dispersion, dispersion, NEVER), apart=True)


def _shape(history: History, size: int) -> FloatArray:
    """The number that each regular code has in level and in spread (size, 2)."""
    functionals = Functionals(history.reference.pooled, size, ordered=True)
    return functionals.matrix[:size, :2]


def _usual(series: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same as `limits` of series that share a lag."""
    found = long_run(series)
    return found.variance[-1], np.full(series.shape[1], found.independent_up_to)
