"""Evidence that a metric of outcomes is beyond a bound, for w windows: a bound of the tail at every length.

Where rows are independent and the bound is kept, t nats or more have a chance of exp(-t) at most, in each window,
however few its rows and however skewed their values: an interval from an estimated variance is right only in the limit,
and windows of all lengths are looked at after each check. Rows that follow each other are up to the caller, who
divides by their design effect.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray

#: Counted rows, or expected ones.
Counts = IntArray | FloatArray

# A mean that is far below its bound may not gain from a large slope, see `mean_above`.
_SLOPE = 3.0


def share_below(k: FloatArray, n: FloatArray, least: float) -> FloatArray:
    """Evidence (w,) that k of n rows (w,) are fewer than a share `least` lets expect: n KL(k / n ‖ least).

    The bound is Chernoff's (Ann. Math. Stat. 23, 1952).
    """
    share = k / np.maximum(n, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = np.where(k > 0, share * np.log(share / least), 0.0)
        wrong = np.where(k < n, (1 - share) * np.log((1 - share) / (1 - least)), 0.0)
    return np.where((n > 0) & (share < least), n * (right + wrong), 0.0)


class Areas(NamedTuple):
    """Areas (w,) under ROC curves, of m rows with label 1 and n with label 0 each.

    above, below: variance of the place of a row with label 1 among those with label 0, and the other way round; their
    parts in that of the area are above / m and below / n (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988).
    """

    area: FloatArray
    m: FloatArray
    n: FloatArray
    above: FloatArray
    below: FloatArray

    @classmethod
    def of(cls, by_label: Counts) -> Areas:
        """The areas of counts (..., codes, 2) by score code and label; rows of one code are ties."""
        negatives, positives = by_label[..., 0].astype(float), by_label[..., 1].astype(float)
        n, m = negatives.sum(-1, keepdims=True), positives.sum(-1, keepdims=True)
        above = (np.cumsum(negatives, -1) - negatives / 2) / np.maximum(n, 1)
        below = (m - np.cumsum(positives, -1) + positives / 2) / np.maximum(m, 1)
        area = (positives * above).sum(-1, keepdims=True) / np.maximum(m, 1)
        spread = [
            (weights * (placed - area) ** 2).sum(-1) / np.maximum(size[..., 0] - 1, 1)
            for weights, placed, size in ((positives, above, m), (negatives, below, n))
        ]
        return cls(area[..., 0], m[..., 0], n[..., 0], *spread)

    def variance(self) -> FloatArray:
        """The variance (w,) of each area."""
        return self.above / np.maximum(self.m, 1) + self.below / np.maximum(self.n, 1)

    def at(self, least: float) -> Areas:
        """Such areas if they were `least`: both variances are taken to be the same part of area (1 - area).

        That is what their sum cannot exceed, and what is taken where none is known.
        """
        most, own = least * (1 - least), self.area * (1 - self.area)
        known = (own > 0) & (self.above + self.below > 0)
        part = most / np.where(known, own, 1.0)
        above, below = (np.where(known, np.minimum(each * part, most), most) for each in (self.above, self.below))
        return self._replace(area=np.full_like(self.area, least), above=above, below=below)


def area_below(windows: Areas, least: float, reference: Areas) -> FloatArray:
    """Evidence (w,) that areas under the curve are below `least`.

    With x = least - area, v its variance and r the rows of the rarer label, x² / 2 (v + x / 3 r) nats are such a bound
    (Bernstein's, for the differences of a martingale: Freedman, Ann. Probab. 3, 1975): draw the rows with label 0
    first, then those with label 1, and none changes the area by more than 1 / r. v is that of the window or, if it is
    larger, that of an area of `least` whose rows are scattered as those of the reference; nothing else is assumed.
    """
    usual, rarer = reference.at(least), np.minimum(windows.m, windows.n)
    v = np.maximum(windows.variance(), windows._replace(above=usual.above, below=usual.below).variance())
    x = np.maximum(least - windows.area, 0.0)
    return np.where(rarer > 0, x**2 / np.maximum(2 * (v + x / (3 * np.maximum(rarer, 1))), 1e-300), 0.0)


def mean_above(
    n: FloatArray, total: FloatArray, squares: FloatArray, most: float, scatter: float, aim: FloatArray
) -> FloatArray:
    """Evidence (w,) that the mean of n values (w,), which are at least 0, exceeds `most`. total, squares: sums (w,).

    scatter: variance over squared mean of such values, as the reference shows it; nothing else is assumed of them. For
    each slope s, chosen before the values are seen, with x = value - most,

        s Σ x  -  s² (Σ x² + 2 n E x²) / 6        nats

    are such a bound, as exp(y - y²/6) <= 1 + y + y²/3 (Delyon, Electron. J. Probab. 14, 2009). aim: nats (w,) that are
    to be reached; the slope is the one that needs the least excess for them.
    """
    expected = most**2 * scatter
    slope = np.minimum(np.sqrt(2 * aim / np.maximum(n * expected, 1e-300)), _SLOPE / most)
    excess, own = total - n * most, squares - 2 * most * total + n * most**2
    return np.where(n > 0, np.maximum(slope * excess - slope**2 * (own + 2 * n * expected) / 6, 0.0), 0.0)
