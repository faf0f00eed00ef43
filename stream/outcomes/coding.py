"""How the predictions and labels of events become outcomes of a task, event by event and without what came before.

`choose` looks at all rows and decides; a coding is what it decided, in a form that can be stored. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.classes import MOST_CLASSES, ClassesLayout
from driftline.detectors.outcomes.numbers import NumbersLayout
from driftline.detectors.outcomes.scores import Scores
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.codes import Grid
from driftline.stream.events.columns import LABEL, Columns, Field
from driftline.stream.events.event import FALSE, FLAGS, TRUE, is_numeral
from driftline.stream.outcomes.halves import Values, numbers_of, prediction_of
from driftline.stream.outcomes.rows import as_class
from driftline.stream.outcomes.tasks import BinaryTask, ClassesTask, CodedRows, NumbersTask, Task

# Where a model gives scores alone, they are cut here.
_CUT = 0.5
# Characters of the name of a layout: half of a SHA-256 in hex would do for all the layouts of the world.
_NAME = 16
# The code of what has no value, and of a class that the task does not have.
_NONE, _OTHER = -1, -2
_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Coding:
    """What a task takes for a prediction, a score and a label.

    is_confidence: whether the score is that of the predicted class. by_score: whether the prediction is the class that
    the score means, as the model gives scores alone.
    """

    task: Task
    is_confidence: bool = False
    by_score: bool = False

    @classmethod
    def lean(cls, task: Task, is_confidence: bool = False, by_score: bool = False) -> Coding:
        """The coding that counts no sums of scores and of losses: they would be two thirds of a table."""
        if isinstance(task, BinaryTask):
            task = BinaryTask(BinaryLayout(Scores(task.layout.scores.grid, probabilities=False)), task.classes)
        elif isinstance(task, ClassesTask):
            scores = Scores(task.layout.scores.grid, probabilities=False)
            task = ClassesTask(ClassesLayout(task.layout.classes, scores), task.classes)
        return cls(task, is_confidence, by_score)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The coding as plain JSON data."""
        task = self.task
        if isinstance(task, NumbersTask):
            return {"task": task.name, "grid": task.layout.grid.cuts.tolist(), "unit": task.layout.unit}
        grid = task.layout.scores.grid
        return {
            "task": task.name,
            "classes": list(task.classes),
            "scores": None if grid is None else grid.cuts.tolist(),
            "is_confidence": self.is_confidence,
            "by_score": self.by_score,
        }

    @cached_property
    def name(self) -> str:
        """The name of the layout of its tables: codings with the same one count alike."""
        plain = json.dumps(self.facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()[:_NAME]

    @property
    def size(self) -> int:
        """The cells C of a table."""
        return self.task.layout.size

    def count(self, columns: Columns, fields: Sequence[Field]) -> OutcomeTable | None:
        """The outcomes of decoded events; None if no label was asked for. fields: of the columns.

        A label of a wrong type counts as odd.
        """
        labels = columns.extras.get(LABEL)
        if labels is None:
            return None
        prediction, score = prediction_of(columns, fields), numbers_of(columns, fields, "score")
        unread = np.array([each.row for each in columns.defects if each.signal == LABEL], np.int64)
        return self.outcomes(columns.ts, self.predicted(prediction, score), score, labels, unread)

    def outcomes(
        self,
        ts: IntArray,
        predicted: FloatArray,
        score: FloatArray,
        labels: Sequence[str | None],
        unread: IntArray = _NO_ROWS,
    ) -> OutcomeTable:
        """The outcomes of n predictions, and how many have no label. predicted: as `predicted` gives them.

        unread: (k,) rows whose label is of a wrong type, which count as odd.
        """
        rows = self._coded(ts, predicted, score, labels)
        known, is_prediction, is_label = np.array([each is not None for each in labels], bool), *self._fits(rows)
        fits = known & is_prediction & is_label
        bare = ~known & is_prediction
        bare[unread] = False
        odd = int(known.sum() - fits.sum()) + len(unread)
        return OutcomeTable.of(self.name, int(fits.sum()), odd, self._table(rows.take(np.flatnonzero(fits | bare))))

    def predicted(self, prediction: Values, score: FloatArray) -> FloatArray:
        """What n predictions are to the task: codes of classes, or numbers. score: NaN where there is none."""
        if isinstance(self.task, NumbersTask):
            return _as_numbers(prediction.tolist()) if prediction.dtype == object else prediction.astype(float)
        if self.by_score:
            return np.where(np.isfinite(score), score > _CUT, _NONE).astype(float)
        if prediction.dtype == object:
            return self._codes(prediction.tolist()).astype(float)
        codes = self._code_of_number
        return np.array([_NONE if each != each else codes.get(each, _OTHER) for each in prediction.tolist()], float)

    def _table(self, rows: CodedRows) -> IntArray:
        return np.asarray(self.task.tables(rows, np.zeros(len(rows.ts), np.int64), 1)[0])

    def _fits(self, rows: CodedRows) -> tuple[BoolArray, BoolArray]:
        """Whether rows (n,) have a prediction, and a label that says whether it is right."""
        if isinstance(self.task, NumbersTask):
            return np.isfinite(rows.prediction), np.isfinite(rows.label)
        others = len(self.task.classes)  # whether two of them are the same class is not known
        return rows.prediction >= 0, (rows.label >= 0) & ((rows.prediction != others) | (rows.label != others))

    def _coded(
        self, ts: IntArray, prediction: FloatArray, score: FloatArray, labels: Sequence[str | None]
    ) -> CodedRows:
        if isinstance(self.task, NumbersTask):
            label = _as_numbers(labels)
            return CodedRows(ts, prediction, label, score, (prediction == label).astype(np.int64))
        label = self._codes(labels).astype(float)
        right = (prediction == label).astype(np.int64)
        if isinstance(self.task, ClassesTask):
            others = len(self.task.classes)
            prediction, label = (np.where(own == _OTHER, others, own) for own in (prediction, label))
        if self.is_confidence:
            score = np.where(prediction == 1, score, 1 - score)
        return CodedRows(ts, prediction, label, score, right)

    def _codes(self, texts: Sequence[str | None]) -> IntArray:
        known = self._code_of
        return np.array([known[each] if each in known else self._other(each) for each in texts], np.int64)

    def _other(self, text: str | None) -> int:
        """The code of a text that is not the name of a class, but may spell one."""
        name = as_class(text)
        flag = FLAGS.get((name or "").lower())
        return self._code_of.get(name, _OTHER if flag is None else self._code_of.get(flag, _OTHER))

    @cached_property
    def _code_of(self) -> Mapping[str | None, int]:
        classes: dict[str | None, int] = {name: code for code, name in enumerate(self.task.classes)} | {None: _NONE}
        if {*self.task.classes} == {"0", "1"}:
            classes |= {FALSE: classes["0"], TRUE: classes["1"]}
        return classes

    @cached_property
    def _code_of_number(self) -> Mapping[float, int]:
        return {float(name): code for code, name in enumerate(self.task.classes) if is_numeral(name)}


def coding_from(facts: Mapping[str, Any]) -> Coding:
    """The inverse of `Coding.facts`. Raises ValueError, KeyError or TypeError for other data."""
    if facts["task"] == "regression":
        unit = float(facts["unit"])
        if not 0 < unit < np.inf:
            raise ValueError(f"errors of a regression cannot be counted in units of {unit}")
        return Coding(NumbersTask(NumbersLayout(_grid(facts["grid"]), unit)))
    classes = tuple(map(str, facts["classes"]))
    scores = Scores(None if facts["scores"] is None else _grid(facts["scores"]), probabilities=False)
    chosen = bool(facts["is_confidence"]), bool(facts["by_score"])
    if facts["task"] == "binary" and len({*classes}) == len(classes) == 2:
        return Coding(BinaryTask(BinaryLayout(scores), (classes[0], classes[1])), *chosen)
    if facts["task"] == "multiclass" and 2 < len({*classes}) == len(classes) <= MOST_CLASSES:
        return Coding(ClassesTask(ClassesLayout(len(classes), scores), classes), *chosen)
    raise ValueError(f"no task has the name {facts['task']!r} and {len(classes)} classes")


def _grid(cuts: Sequence[float]) -> Grid:
    return Grid(np.array(cuts, float))


def _as_numbers(texts: Iterable[str | None]) -> FloatArray:
    return np.array([float(each) if each is not None and is_numeral(each) else np.nan for each in texts], float)
