"""The smooth test of several signals in one pass, beside what a baseline expects of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.reference import Reference, mixed
from driftline.detectors.decision.widths import variances
from driftline.detectors.statistics.deviations import squared_deviations
from driftline.detectors.statistics.smooth import ORDERS, Smooth

# Independent events of a window, for each square of the largest number that a code has in σ: 50 of a uniform signal.
# With 25 for all, AR(1) 0.95 of whole numbers, whose rare codes have 7 σ, paged 8 times as often as stated.
_REACH = 8.0
# A variance of nothing, so that what does not vary is never evidence.
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Smoothed:
    """What is asked of S signals with one baseline and the same phases, one after another.

    codes: their columns of regular codes. starts: where each signal begins in these (S,). Of the two orders: weights of
    the codes (2, .), what is expected of an event and its variance by phase (2, H, S), and dispersion, skewness (2, S).
    least: independent events of a window (2, S) from which on its sums are about normal.
    """

    codes: IntArray
    starts: IntArray
    weights: FloatArray
    expected: FloatArray
    variance: FloatArray
    dispersion: FloatArray
    skewness: FloatArray
    least: FloatArray

    @classmethod
    def of(cls, several: Sequence[tuple[int, Smooth, Reference]]) -> Self:
        """The test of signals, one at least, each with the column of its first code."""
        shares = [known.shares[:, : len(smooth.shares)] for _, smooth, known in several]
        asked = [smooth.matrix for _, smooth, _ in several]
        return cls(
            np.concatenate([first + np.arange(len(smooth.shares)) for first, smooth, _ in several]),
            np.cumsum([0, *(len(each) for each in asked)])[:-1],
            np.vstack(asked).T,
            np.stack([own @ each for own, each in zip(shares, asked, strict=True)], axis=-1).transpose(1, 0, 2),
            np.stack([variances(*each) for each in zip(shares, asked, strict=True)], axis=-1).transpose(1, 0, 2),
            np.stack([smooth.dispersion for _, smooth, _ in several], axis=1),
            np.stack([smooth.shares @ smooth.matrix**3 for _, smooth, _ in several], axis=1),
            np.stack([_REACH * np.abs(each).max(0) ** 2 for each in asked], axis=1),
        )

    def evidence(self, counts: FloatArray, phases: FloatArray, size: FloatArray, restless: FloatArray) -> FloatArray:
        """Evidence (w, S) of windows with these counts (w, K) and events by phase (w, H).

        size: of the reference (w, 1). restless: by how much more than usual each signal varies in a window (w or 1, S).
        """
        own, n, most = counts[:, self.codes], phases.sum(1, keepdims=True), np.zeros((len(counts), len(self.starts)))
        for order in range(len(ORDERS)):
            asked = np.add.reduceat(own * self.weights[order], self.starts, axis=1)
            slope = restless * self.dispersion[order]
            variance = mixed(phases, self.variance[order]) * slope * ((n + size) / size)
            residual = asked - mixed(phases, self.expected[order])
            squares = squared_deviations(residual, np.maximum(variance, _LEAST), slope, n, self.skewness[order])
            counted = (variance > _LEAST) & (n >= self.least[order] * slope)
            np.maximum(most, np.where(counted, squares, 0.0), out=most)
        return np.asarray(np.maximum(most / 2 - math.log(4), 0.0))
