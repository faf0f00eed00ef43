"""The scores of a classifier as codes: a grid of regular ones, and one code for "no score"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How scores are counted.

    grid: None if the model gives none. probabilities: whether they are from 0 to 1; another score is then none.
    """

    grid: Grid | None
    probabilities: bool = True

    @classmethod
    def fit(cls, scores: FloatArray, codes: int) -> Scores:
        """For scores like these (n,), NaN where there is none: quantiles, or each value if they are that few."""
        finite = scores[np.isfinite(scores)]
        if not finite.size:
            return cls(None)
        grid = Grid.fit(finite, bins=codes, max_distinct=codes)
        return cls(grid, bool(((finite >= 0) & (finite <= 1)).all()))

    @property
    def codes(self) -> int:
        """Number of codes; the last one is "no score"."""
        return (self.grid.size if self.grid else 0) + 1

    @property
    def boundaries(self) -> list[int]:
        """The codes at which scores begin, and "no score"."""
        return [0, self.codes - 1] if self.grid else [0]

    def encode(self, scores: FloatArray) -> IntArray:
        """Codes (n,) of scores (n,)."""
        if self.grid is None:
            return np.zeros(len(scores), np.int64)
        fits = np.isfinite(scores)
        if self.probabilities:
            fits &= (scores >= 0) & (scores <= 1)
        return np.where(fits, self.grid.encode(np.where(fits, scores, 0.0)), self.codes - 1)
