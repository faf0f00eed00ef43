"""Functionals: the linear questions that are asked of a signal's counts.

A functional f gives each code a number; of the counts c in a window and the counts E that are expected, it asks for

    Σ f(code) (c - E).

All of a signal's dependence in time enters through the variance of such sums (`statistics.long_run`). An ordered signal
is asked for its level (f is the mid-rank), its spread (the square of the mid-rank's distance from the middle), and for
the share of values up to some cuts, of which Kolmogorov-Smirnov takes the largest; a nominal signal for the share of
each of its codes. All are 0 for special codes, and those of ordered signals 0 in the mean of regular ones: values that
go missing move no shape. Each special code is asked for its share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray

# Shares of the reference below the cuts: a change of shape that none of the seven sees has a distance below 1/16.
_CUTS = np.arange(1, 8) / 8


@dataclass(frozen=True, eq=False)
class Functionals:
    """The functionals of one signal with K codes, the first `size` of them regular and the others special.

    shares: (K,) of the codes in the reference, some of them regular. ordered: whether regular codes are ranks.
    """

    shares: FloatArray
    size: int
    ordered: bool

    @cached_property
    def matrix(self) -> FloatArray:
        """The number that each code has in each functional (K, F): those of the shape, then of special codes."""
        special = np.eye(len(self.shares))[:, self.size :]
        return np.hstack([self._shape, special])

    @property
    def families(self) -> list[slice]:
        """The columns of `matrix` by family: the shape's, which depend on each other, and each special code alone.

        A special code has its own family, as values go missing for other reasons than those by which they vary.
        """
        shape = self._shape.shape[1]
        return [slice(0, shape), *(slice(f, f + 1) for f in range(shape, self.matrix.shape[1]))]

    @cached_property
    def skewness(self) -> FloatArray:
        """Skewness (F,) of each functional of one event; 0 where it does not vary."""
        mean = self.shares @ self.matrix
        variance = np.maximum(self.shares @ self.matrix**2 - mean**2, 0.0)
        third = self.shares @ (self.matrix - mean) ** 3
        some = variance > 1e-12
        return np.where(some, third / np.where(some, variance, 1.0) ** 1.5, 0.0)

    @cached_property
    def regular(self) -> FloatArray:
        """Shares (size,) of the regular codes among themselves."""
        return np.asarray(self.shares[: self.size] / max(self.shares[: self.size].sum(), 1e-300))

    @cached_property
    def cuts(self) -> IntArray:
        """The last codes below the cuts (c,), c <= 7; none if there is one value only."""
        below = np.cumsum(self.regular)
        nearest = np.unique([np.abs(below - share).argmin() for share in _CUTS])
        return np.asarray(nearest[below[nearest] < 1 - 1e-9])

    @cached_property
    def _shape(self) -> FloatArray:
        if not self.ordered:
            return np.eye(len(self.shares), self.size)
        rank = np.cumsum(self.regular) - self.regular / 2
        up_to = np.arange(self.size)[:, None] <= self.cuts
        shape = np.column_stack([rank, (rank - 0.5) ** 2, up_to])
        shape = shape - self.regular @ shape
        return np.vstack([shape, np.zeros((len(self.shares) - self.size, shape.shape[1]))])
