"""The outcomes of a binary classifier as one additive table of integers, from which every metric follows.

        score code (K regular ones, and one for "no score") × prediction (0, 1) × label (0, 1)

and beside it the predictions without a label, the sum of the scores at each code, and sums of the Brier score
and the log loss. The prediction is counted, not derived: a model need not cut its scores at 0.5. Sums are fixed-point
integers, rounded a row at a time, so a table is a function of the set of its rows: in any order and any parts, the same
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.outcomes.scores import Scores

#: Fixed point of scores and losses, and of squared losses. A log loss is at most 36 and its square 1300, so sums of
#: 200 million rows and of 6 billion rows fit into 64 bits.
ONE, ONE_SQUARED = 2**30, 2**20
# Codes of scores at most: with 64, AUC is off by 5e-4; a column with up to 256 different scores has a code for each.
SCORES = 256
# A score of exactly 0 or 1 that is wrong costs this much, as in scikit-learn: the spacing of doubles at 1.
_EPSILON = float(np.finfo(np.float64).eps)
_LOSSES = 4


class Losses(NamedTuple):
    """Sums over the labelled rows with a score: of the Brier score, the log loss, and of their squares."""

    brier: float
    brier_squared: float
    log_loss: float
    log_loss_squared: float


@dataclass(frozen=True, slots=True, eq=False)
class BinaryLayout:
    """Where the outcomes of a binary classifier stand in a row of C integers; rows add.

    scores: those of label 1, if they are probabilities.
    """

    scores: Scores

    @classmethod
    def fit(cls, scores: FloatArray) -> BinaryLayout:
        """The layout for scores like these (n,); NaN where there is none."""
        return cls(Scores.fit(scores, SCORES))

    @property
    def codes(self) -> int:
        """Codes of scores, with the last one for "no score"."""
        return self.scores.codes

    @property
    def size(self) -> int:
        """Length C of a row."""
        return 7 * self.codes + _LOSSES

    def tables(
        self, group: IntArray, groups: int, prediction: IntArray, label: IntArray, score: FloatArray
    ) -> IntArray:
        """The tables (groups, C) of rows by group (n,).

        prediction: (n,) of 0 and 1. label: (n,) of 0, 1, and -1 where it is not known. score: (n,), NaN where there is
        none. The score of a label 1 should be high.
        """
        code, known = self.scores.encode(score), label >= 0
        cells, ends = np.zeros((groups, self.size), np.int64), np.array([2, 6, 7]) * self.codes
        np.add.at(cells, (group[~known], (2 * code + prediction)[~known]), 1)
        group, code, score, prediction, label = group[known], code[known], score[known], prediction[known], label[known]
        np.add.at(cells, (group, ends[0] + 4 * code + 2 * prediction + label), 1)
        scored = code < self.codes - 1
        group, code, label, score = group[scored], code[scored], label[scored], score[scored]
        if self.scores.probabilities:
            np.add.at(cells, (group, ends[1] + code), _fixed(score))
            for place, loss in enumerate(_losses(score, label)):
                np.add.at(cells, (group, ends[2] + place), loss)
        return cells

    def seen(self, cells: IntArray) -> IntArray:
        """Predictions (..., codes, 2) by score code and prediction, labelled or not."""
        unlabelled = cells[..., : 2 * self.codes].reshape(*cells.shape[:-1], self.codes, 2)
        return np.asarray(unlabelled + self.counted(cells).sum(-1))

    def counted(self, cells: IntArray) -> IntArray:
        """Outcomes (..., codes, 2, 2) by score code, prediction and label."""
        return cells[..., 2 * self.codes : 6 * self.codes].reshape(*cells.shape[:-1], self.codes, 2, 2)

    def score_sums(self, cells: IntArray) -> FloatArray:
        """Sums (..., codes) of the scores of labelled rows, by code; 0 if scores are no probabilities."""
        return cells[..., 6 * self.codes : 7 * self.codes] / ONE

    def losses(self, cells: IntArray) -> Losses:
        """The sums of losses of one table (C,)."""
        sums = cells[7 * self.codes :] / np.array([ONE, ONE_SQUARED, ONE, ONE_SQUARED])
        return Losses(*sums.tolist())

    def strata(self, cells: IntArray) -> tuple[IntArray, IntArray]:
        """Rows alike in score and prediction: predictions (..., S), and outcomes (..., S, 2) as right and wrong.

        Strata of one prediction stand side by side, in the order of their scores; `boundaries` says where they begin.
        """
        seen, counted = np.swapaxes(self.seen(cells), -1, -2), np.swapaxes(self.counted(cells), -2, -3)
        right_first = np.stack([counted[..., 0, :, :], counted[..., 1, :, ::-1]], axis=-3)
        flat = (*cells.shape[:-1], 2 * self.codes)
        return seen.reshape(flat), right_first.reshape(*flat, 2)

    @property
    def boundaries(self) -> IntArray:
        """The strata at which another prediction, or "no score", begins."""
        return np.array([first + each for first in (0, self.codes) for each in self.scores.boundaries])


def _losses(score: FloatArray, label: IntArray) -> list[IntArray]:
    brier = (score - label) ** 2
    chance = np.clip(np.where(label == 1, score, 1 - score), _EPSILON, 1.0)
    log_loss = -np.log(chance)
    return [_fixed(brier), _fixed(brier**2, ONE_SQUARED), _fixed(log_loss), _fixed(log_loss**2, ONE_SQUARED)]


def _fixed(values: FloatArray, one: int = ONE) -> IntArray:
    return np.rint(values * one).astype(np.int64)
