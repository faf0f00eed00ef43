"""The test of single bins: one place of a distribution has more values, or fewer, than it had.

A value that is imputed, a default, a sensor that sticks: 5 % of the values at one place hardly move a mean, and a
Kolmogorov-Smirnov distance by no more. So the codes of an ordered signal are merged into at most `MOST` bins of about
equal shares, and the count of each is tested like that of a special code, by the lesser of G / φ and of the bound for
clumps (`statistics.clumps`). The evidence is that of the strongest bin, less ln 2B for two sides of B bins.

The values of a nominal signal have no order, and each is a bin by itself.

Values between those that the baseline has, as the mean that a pipeline puts in for missing counts, are a bin of their
own. They are expected as often as the baseline has values just once, and once more (Good, Biometrika 40, 1953), or as
often as one clump has events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.statistics.clumps import clumped_evidence, g_evidence

#: Bins of a signal at most, beside the one of new values: as many as a grid has quantiles.
MOST: Final = 64
#: The dispersion of bins of which the baseline has too few events: they are not tested.
NEVER: Final = 2.0**30
# Squared deviations over the variance, below which a bin has less than 6 nats and is not looked at more closely. Its
# share of a threshold, with ln 2B, is over twice as much.
_FAR = 6.0


@dataclass(frozen=True, eq=False)
class Bins:
    """The bins of a signal.

    counts: (size,) of its regular codes in the baseline, in their order. dispersion: φ >= 1 of each bin (B,), or of all
    (1,): of E expected events the variance is φE. apart: whether each code is a bin, as of nominal signals.
    """

    counts: IntArray
    dispersion: FloatArray = field(default_factory=lambda: np.ones(1))
    apart: bool = False

    @cached_property
    def of(self) -> IntArray:
        """The bin (size,) of each code, from 0; that of new values is the last."""
        if self.apart:
            return np.arange(len(self.counts))
        # In whole numbers, so that every machine finds the same bins.
        counts = np.asarray(self.counts, np.int64)
        middle = 2 * np.cumsum(counts) - counts
        bins = np.minimum(middle * MOST // (2 * max(int(counts.sum()), 1)), MOST - 1)
        bins[self._between] = MOST
        return np.asarray(np.unique(bins, return_inverse=True)[1].reshape(-1))

    @cached_property
    def number(self) -> int:
        """How many bins there are, B."""
        return int(self.of.max()) + 1

    @cached_property
    def new(self) -> FloatArray:
        """Events (B,) of the baseline that tell how often new values come, in their bin, if there is one."""
        once = max(1.0 + np.count_nonzero(self.counts == 1), self.dispersion[-1])
        return np.where(np.arange(self.number) == self.of[self._between].max(initial=-1), once, 0.0)

    @property
    def events(self) -> int:
        """Events of regular codes in the baseline; 1 if there are none, as of a text all of whose values are rare."""
        return max(int(self.counts.sum()), 1)

    @cached_property
    def tested(self) -> IntArray:
        """The bins that are tested."""
        return np.flatnonzero(np.broadcast_to(self.dispersion, self.number) < NEVER)

    @cached_property
    def order(self) -> IntArray:
        """The codes (size,) of one bin after another."""
        return np.asarray(np.argsort(self.of, kind="stable"))

    @cached_property
    def starts(self) -> IntArray:
        """Where each bin (B,) begins in `order`."""
        return np.asarray(np.searchsorted(self.of[self.order], np.arange(self.number)))

    def merged(self, counts: FloatArray | IntArray) -> FloatArray:
        """Counts (..., B) of bins, from those of codes (..., size)."""
        return np.asarray(np.add.reduceat(np.asarray(counts, float)[..., self.order], self.starts, axis=-1))

    @cached_property
    def _between(self) -> IntArray:
        """The codes that the baseline has not, although it has lower and higher ones."""
        seen = np.flatnonzero(self.counts) if not self.apart else np.empty(0, np.int64)
        first, last = (seen[0], seen[-1]) if seen.size else (0, 0)
        return np.asarray(first + np.flatnonzero(np.asarray(self.counts)[first:last] == 0))


def bins_evidence(
    counts: FloatArray,
    expected: FloatArray,
    n: FloatArray,
    size: FloatArray,
    dispersion: FloatArray,
    starts: IntArray,
) -> FloatArray:
    """Evidence (w, S) in nats, at least 0, of the strongest bin of each of S signals in w windows.

    counts, expected: (w, B) of the bins of all signals, one after another; dispersion: (w, B) or (1, B). n: events
    (w, 1). size: of the reference (w, 1). starts: (S,) the first bin of each signal.
    """
    # Few bins are far from what is expected, so that to look at all of them would take longer.
    far = (counts - expected) ** 2 > dispersion * expected * (_FAR * (1 + n / size))
    rows, bins = np.divmod(np.flatnonzero(far), counts.shape[1])
    k, e, of_n, of_size = counts[rows, bins], expected[rows, bins], n[rows, 0], size[rows, 0]
    own = np.broadcast_to(dispersion, counts.shape)[rows, bins]
    ratio = g_evidence(k, of_n, e * of_size / of_n, of_size) / own
    strongest = np.zeros((len(counts), len(starts)))
    of_signal = np.searchsorted(starts, bins, side="right") - 1
    np.maximum.at(strongest, (rows, of_signal), np.minimum(ratio, clumped_evidence(k, e, own * (1 + of_n / of_size))))
    number = np.diff(starts, append=counts.shape[1])
    return np.asarray(np.maximum(strongest - np.log(number) - math.log(2), 0.0))
