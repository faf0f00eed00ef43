"""The outcomes of a regression as one additive table of integers: `binary` says what that is good for.

        level of the prediction × (rows without a label, rows with one, Σe, Σ|e|, Σe², Σe⁴, predicted too high)

with e = prediction - label.

The errors are fixed-point numbers in units of the reference's own error. One beyond 256 of these counts as 256, and is
counted as such: else a single value of 1e300 would leave no digit for the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Grid

# Levels of the prediction: as many as deciles with some to spare for single frequent values.
_LEVELS = 16
#: Errors, in units of the reference's, beyond which they count as this one.
LIMIT = 256.0
# Fixed point of e, of e² and of e⁴: their largest values, 2^8, 2^16 and 2^32, times these leave room for 2^31, 2^27
# and 2^19 rows that are all at the limit.
_E, _E2, _E4 = 2.0**24, 2.0**20, 2.0**12
_PARTS = 6


class Errors(NamedTuple):
    """Sums (..., S) by level of the prediction; e in the unit of the prediction. high: predictions above the label."""

    n: FloatArray
    e: FloatArray
    absolute: FloatArray
    squared: FloatArray
    fourth: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NumbersLayout:
    """Where the outcomes of a regression stand in a row of C integers; rows add.

    grid: of the predictions. unit: the reference's error, a power of two in the unit of the prediction.
    """

    grid: Grid
    unit: float

    @classmethod
    def fit(cls, prediction: FloatArray, label: FloatArray) -> NumbersLayout:
        """The layout for predictions and labels like these (n,); NaN where there is none."""
        error = prediction - label
        error = np.abs(error[np.isfinite(error)])
        largest = float(error.max(initial=0.0)) or 1.0  # squares of 1e200 are infinite
        typical = largest * math.sqrt(float(np.mean(np.square(error / largest)))) if error.size else 0.0
        unit = 2.0 ** round(math.log2(typical)) if 0 < typical < math.inf else 1.0
        return cls(Grid.fit(prediction, bins=_LEVELS, max_distinct=_LEVELS), unit)

    @property
    def levels(self) -> int:
        """Levels of the prediction, with the last one for predictions that are no number."""
        return self.grid.size + 1

    @property
    def size(self) -> int:
        """Length C of a row."""
        return (1 + _PARTS) * self.levels + 1

    def tables(self, group: IntArray, groups: int, prediction: FloatArray, label: FloatArray) -> IntArray:
        """The tables (groups, C) of rows by group (n,); prediction and label: (n,), NaN where there is none."""
        level = np.minimum(self.grid.encode(prediction), self.levels - 1)
        cells, known = np.zeros((groups, self.size), np.int64), np.isfinite(prediction) & np.isfinite(label)
        np.add.at(cells, (group[~known], level[~known]), 1)
        group, level = group[known], level[known]
        error = (prediction[known] - label[known]) / self.unit
        cells[:, -1] = np.bincount(group[np.abs(error) > LIMIT], minlength=groups)
        for place, part in enumerate(_parts(np.clip(error, -LIMIT, LIMIT)), 1):
            np.add.at(cells, (group, place * self.levels + level), part)
        return cells

    def seen(self, cells: IntArray) -> IntArray:
        """Predictions (..., S) by level, labelled or not."""
        return cells[..., : self.levels] + cells[..., self.levels : 2 * self.levels]

    def errors(self, cells: IntArray) -> Errors:
        """The sums of errors by level."""
        parts = [cells[..., i * self.levels : (i + 1) * self.levels] for i in range(1, 1 + _PARTS)]
        n, e, absolute, squared, fourth, high = (part.astype(float) for part in parts)
        u = self.unit
        return Errors(n, e / _E * u, absolute / _E * u, squared / _E2 * u**2, fourth / _E4 * u**4, high)

    def clipped(self, cells: IntArray) -> int:
        """Errors of one table (C,) that count as smaller than they are."""
        return int(cells[-1])

    @property
    def boundaries(self) -> IntArray:
        """The strata at which predictions begin that are no number."""
        return np.array([0, self.levels - 1])


def _parts(error: FloatArray) -> list[IntArray]:
    square = error**2
    fixed = [np.ones(len(error)), error * _E, np.abs(error) * _E, square * _E2, square**2 * _E4, error > 0]
    return [np.rint(each).astype(np.int64) for each in fixed]
