"""The outcomes of a classifier of many classes as one additive table of integers: `binary` says what that is good for.

        prediction × score code × right, wrong or unlabelled,    and    prediction × label

Classes beyond the most frequent 32 are pooled in one; whether a prediction is right is counted by itself, since two
classes of the pool are not the same. The score is that of the predicted class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.outcomes.binary import ONE
from driftline.detectors.outcomes.scores import Scores

#: Classes with codes of their own; the table of 32 has 1089 cells, some 9 kB.
MOST_CLASSES = 32
# Codes of the score of the predicted class: a curve of calibration has 10 points.
_SCORES = 16


@dataclass(frozen=True, slots=True, eq=False)
class ClassesLayout:
    """Where the outcomes of a classifier stand in a row of C integers; rows add.

    classes: how many have codes of their own; the code `classes` is that of all others. scores: those of
    the predicted class.
    """

    classes: int
    scores: Scores

    @classmethod
    def fit(cls, classes: int, scores: FloatArray) -> ClassesLayout:
        """The layout for scores like these (n,); NaN where there is none."""
        return cls(classes, Scores.fit(scores, _SCORES))

    @property
    def codes(self) -> int:
        """Codes of scores, with the last one for "no score"."""
        return self.scores.codes

    @property
    def _strata(self) -> int:
        return (self.classes + 1) * self.codes

    @property
    def size(self) -> int:
        """Length C of a row."""
        return 3 * self._strata + (self.classes + 1) ** 2 + self.codes

    def tables(
        self,
        group: IntArray,
        groups: int,
        prediction: IntArray,
        label: IntArray,
        right: IntArray,
        score: FloatArray,
    ) -> IntArray:
        """The tables (groups, C) of rows by group (n,).

        prediction: (n,) codes of classes. label: (n,), -1 where it is not known. right: (n,), whether both are the same
        class. score: (n,) of the predicted class, NaN where there is none.
        """
        code, known = self.scores.encode(score), label >= 0
        stratum, S = prediction * self.codes + code, self._strata
        cells = np.zeros((groups, self.size), np.int64)
        np.add.at(cells, (group[~known], stratum[~known]), 1)
        group, code, stratum, score = group[known], code[known], stratum[known], score[known]
        prediction, label, right = prediction[known], label[known], right[known]
        np.add.at(cells, (group, S + 2 * stratum + (1 - right)), 1)
        np.add.at(cells, (group, 3 * S + prediction * (self.classes + 1) + label), 1)
        if self.scores.probabilities:
            scored = code < self.codes - 1
            sums = np.rint(score[scored] * ONE).astype(np.int64)
            np.add.at(cells, (group[scored], self.size - self.codes + code[scored]), sums)
        return cells

    def strata(self, cells: IntArray) -> tuple[IntArray, IntArray]:
        """Predictions (..., S) alike in class and score, and their outcomes (..., S, 2) as right and wrong."""
        S = self._strata
        outcomes = cells[..., S : 3 * S].reshape(*cells.shape[:-1], S, 2)
        return cells[..., :S] + outcomes.sum(-1), outcomes

    @property
    def boundaries(self) -> IntArray:
        """The strata at which another prediction, or "no score", begins."""
        return np.array([
            first * self.codes + each for first in range(self.classes + 1) for each in self.scores.boundaries
        ])  # fmt: skip

    def confusion(self, cells: IntArray) -> IntArray:
        """Outcomes (..., classes + 1, classes + 1) by prediction and label."""
        S, each = self._strata, self.classes + 1
        return cells[..., 3 * S : 3 * S + each * each].reshape(*cells.shape[:-1], each, each)

    def score_sums(self, cells: IntArray) -> FloatArray:
        """Sums (..., codes) of the scores of labelled rows, by code; 0 if scores are no probabilities."""
        return cells[..., self.size - self.codes :] / ONE
