"""What a model does, as its predictions and labels show, and how its outcomes are counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.classes import ClassesLayout
from driftline.detectors.outcomes.compare import Tally
from driftline.detectors.outcomes.metrics import (
    Costs,
    Metrics,
    Point,
    binary_calibration,
    binary_metrics,
    class_calibration,
    class_metrics,
    number_metrics,
)
from driftline.detectors.outcomes.numbers import NumbersLayout


@dataclass(frozen=True, slots=True, eq=False)
class CodedRows:
    """Rows as numbers (n,): classes as codes, -1 where there is none; of a regression, values, NaN where there is none.

    right: whether prediction and label are the same.
    """

    ts: IntArray
    prediction: FloatArray
    label: FloatArray
    score: FloatArray
    right: IntArray

    def take(self, rows: IntArray) -> CodedRows:
        """These rows."""
        return CodedRows(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class BinaryTask:
    """Two classes. classes: names of 0 and 1."""

    layout: BinaryLayout
    classes: tuple[str, str]
    costs: Costs | None = None
    name: str = "binary"
    main: str = "accuracy"

    @property
    def boundaries(self) -> IntArray:
        """The strata at which another prediction begins."""
        return self.layout.boundaries

    def tables(self, rows: CodedRows, group: IntArray, groups: int) -> IntArray:
        """The tables (groups, C) of rows by group (n,)."""
        prediction, label = rows.prediction.astype(np.int64), rows.label.astype(np.int64)
        return self.layout.tables(group, groups, prediction, label, rows.score)

    def metrics(self, cells: IntArray, effect: float) -> Metrics:
        """The metrics of one table (C,)."""
        return binary_metrics(self.layout, cells, self.classes, self.costs, effect)

    def tally(self, cells: IntArray) -> Tally:
        """The outcomes of tables (..., C) by strata."""
        seen, outcomes = self.layout.strata(cells)
        wrong, half = outcomes[..., 1], self.layout.codes
        ones = np.concatenate([outcomes[..., :half, 1], outcomes[..., half:, 0]], axis=-1)
        return Tally.of(outcomes.sum(-1), wrong, wrong, ones, seen)

    def seen(self, cells: IntArray) -> IntArray:
        """Predictions (..., S) of tables by strata, labelled or not."""
        return self.layout.strata(cells)[0]

    def confusion(self, cells: IntArray) -> IntArray:
        """Outcomes (..., 2, 2) of tables by prediction and label."""
        return np.asarray(self.layout.counted(cells).sum(-3))

    def calibration(self, cells: IntArray) -> list[Point]:
        """The curve of calibration of one table (C,); empty if there are no probabilities."""
        scores = self.layout.scores
        return binary_calibration(self.layout, cells) if scores.grid and scores.probabilities else []


@dataclass(frozen=True, slots=True, eq=False)
class ClassesTask:
    """Many classes. classes: names of those with codes of their own."""

    layout: ClassesLayout
    classes: tuple[str, ...]
    name: str = "multiclass"
    main: str = "accuracy"

    @property
    def boundaries(self) -> IntArray:
        """The strata at which another prediction begins."""
        return self.layout.boundaries

    def tables(self, rows: CodedRows, group: IntArray, groups: int) -> IntArray:
        """The tables (groups, C) of rows by group (n,)."""
        prediction, label = rows.prediction.astype(np.int64), rows.label.astype(np.int64)
        return self.layout.tables(group, groups, prediction, label, rows.right, rows.score)

    def metrics(self, cells: IntArray, effect: float) -> Metrics:
        """The metrics of one table (C,)."""
        return class_metrics(self.layout, cells, self.classes, effect)

    def tally(self, cells: IntArray) -> Tally:
        """The outcomes of tables (..., C) by strata."""
        seen, outcomes = self.layout.strata(cells)
        return Tally.of(outcomes.sum(-1), outcomes[..., 1], outcomes[..., 1], seen=seen)

    def seen(self, cells: IntArray) -> IntArray:
        """Predictions (..., S) of tables by strata, labelled or not."""
        return self.layout.strata(cells)[0]

    def confusion(self, cells: IntArray) -> IntArray:
        """Outcomes (..., k, k) of tables by prediction and label, the last class being all others."""
        return self.layout.confusion(cells)

    def calibration(self, cells: IntArray) -> list[Point]:
        """The curve of calibration of one table (C,); empty if there are no probabilities."""
        scores = self.layout.scores
        return class_calibration(self.layout, cells) if scores.grid and scores.probabilities else []


@dataclass(frozen=True, slots=True, eq=False)
class NumbersTask:
    """A number."""

    layout: NumbersLayout
    classes: tuple[str, ...] = ()
    name: str = "regression"
    main: str = "mae"

    @property
    def boundaries(self) -> IntArray:
        """The strata at which another prediction begins."""
        return self.layout.boundaries

    def tables(self, rows: CodedRows, group: IntArray, groups: int) -> IntArray:
        """The tables (groups, C) of rows by group (n,)."""
        return self.layout.tables(group, groups, rows.prediction, rows.label)

    def metrics(self, cells: IntArray, effect: float) -> Metrics:
        """The metrics of one table (C,)."""
        return number_metrics(self.layout, cells, effect)

    def tally(self, cells: IntArray) -> Tally:
        """The outcomes of tables (..., C) by strata."""
        errors = self.layout.errors(cells)
        return Tally.of(errors.n, errors.absolute, errors.squared, seen=self.layout.seen(cells))

    def seen(self, cells: IntArray) -> IntArray:
        """Predictions (..., S) of tables by strata, labelled or not."""
        return self.layout.seen(cells)

    def calibration(self, cells: IntArray) -> list[Point]:  # noqa: ARG002 # there are no probabilities
        """The curve of calibration of one table (C,); empty if there are no probabilities."""
        return []


#: How the outcomes of a model are counted. `main` names the metric that says whether it is right.
Task = BinaryTask | ClassesTask | NumbersTask
