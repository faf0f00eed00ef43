"""Estimated performance: what accuracy should be, from scores alone, before labels come (CBPE of NannyML).

At each score code, the share of label 1 in the reference, made to rise with the score (isotonic regression by pooling
adjacent violators; Ayer et al., Ann. Math. Stat. 26, 1955). A window's expected table is its predictions times these
shares. So it is a function of the distribution of scores alone: it cannot see that labels no longer follow them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.intervals import Figure, mean
from driftline.detectors.outcomes.metrics import auc, rates

#: Rows of the reference below which a score counts as hardly known, in its code and a twentieth of all codes on either
#: side: with 256 codes of a few rows each, the curve is still known from the neighbours.
FEW, _NEAR = 30, 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimated metrics, by metric and class, and the share of predictions at scores that the reference hardly has.

    Only accuracy has an interval: it allows for the number of predictions and of reference rows.
    """

    metrics: dict[tuple[str, str], Figure]
    unknown: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The share of label 1 (codes,) at each score code, from `rows` (codes,) of a reference."""

    layout: BinaryLayout
    shares: FloatArray
    rows: FloatArray

    @classmethod
    def of(cls, layout: BinaryLayout, reference: IntArray) -> Calibration:
        """From the table (C,) of a reference. Raises ValueError if its model gives no scores."""
        if layout.scores.grid is None:
            raise ValueError("without scores, nothing can be estimated")
        by_label = layout.counted(reference)[:-1].sum(1).astype(float)
        rows = by_label.sum(1)
        return cls(layout, isotonic(by_label[:, 1], rows), rows)

    def estimate(self, cells: IntArray, classes: tuple[str, str]) -> Estimate:
        """What the metrics of a table (C,) should be, from its predictions. classes: names of 0 and 1."""
        seen, p = self.layout.seen(cells)[:-1].astype(float), self.shares[:, None]
        if not seen.sum():
            return Estimate({}, 0.0)
        expected = np.stack([seen * (1 - p), seen * p], axis=-1)
        found = rates(expected.sum(0), classes)
        # Intervals of counts that are expected, not counted, would be wrong.
        bare = {name: Figure(each.value, n=each.n) for name, each in found.items()}
        bare["accuracy", ""] = self._accuracy(seen)
        bare["auc", ""] = Figure(auc(expected.sum(1)).value, n=round(float(seen.sum())))
        return Estimate(bare, float(seen[self._near() < FEW].sum() / seen.sum()))

    def _near(self) -> FloatArray:
        """Rows (codes,) of the reference at each score code and near it."""
        reach = len(self.rows) // _NEAR
        sums = np.concatenate([[0.0], np.cumsum(self.rows)])
        codes = np.arange(len(self.rows))
        return np.asarray(sums[np.minimum(codes + reach + 1, len(self.rows))] - sums[np.maximum(codes - reach, 0)])

    def _accuracy(self, seen: FloatArray) -> Figure:
        n, p = seen.sum(), self.shares
        # A prediction 1 is right with p, a 0 with 1 - p; an error of p by δ moves the mean by δ (ones - zeros) / n.
        right = float(seen[:, 1] @ p + seen[:, 0] @ (1 - p))
        own = float((seen.sum(1) * p * (1 - p)).sum())
        # As if half a row of either label were added: a code with few rows of one label is not known exactly.
        spread = (self.rows * p + 0.5) * (self.rows * (1 - p) + 0.5) / (self.rows + 1) ** 3
        learned = float(((seen[:, 1] - seen[:, 0]) ** 2 * spread).sum())
        found = mean(right, (own + learned) + right**2 / n, float(n))
        return found._replace(low=max(found.low or 0.0, 0.0), high=min(found.high or 1.0, 1.0))


def isotonic(hits: FloatArray, rows: FloatArray) -> FloatArray:
    """The shares (K,), never falling, that fit `hits` (K,) of `rows` (K,) best; codes without rows lie in between."""
    known = np.flatnonzero(rows > 0)
    blocks: list[tuple[float, float, int]] = []
    for code in known:
        blocks.append((float(hits[code]), float(rows[code]), 1))
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last, before = blocks.pop(), blocks.pop()
            blocks.append((last[0] + before[0], last[1] + before[1], last[2] + before[2]))
    shares = np.repeat([h / n for h, n, _ in blocks], [codes for *_, codes in blocks])
    return np.interp(np.arange(len(rows)), known, shares) if known.size else np.full(len(rows), 0.5)
