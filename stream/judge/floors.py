"""The floors of a model's outcomes: which ones a baseline allows, and the evidence that one is missed. Pure.

The level of a floor is stated, so it is judged while the reference is still learned. Of this it takes how far
neighbouring outcomes are alike, and how scores and errors are scattered. Evidence is a bound of the tail at every
length (`detectors.outcomes.bounds`), as floors are looked at after each check, in windows of few outcomes, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.outcomes.bounds import Areas, area_below, mean_above, share_below
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.outcomes import OutcomeReference
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.outcomes import AREA, MEAN_ERROR
from driftline.stream.config.remarks import Remark
from driftline.stream.config.sections import ModelConfig
from driftline.stream.outcomes.tasks import BinaryTask, ClassesTask, NumbersTask, Task
from driftline.stream.text.phrases import listed


@dataclass(frozen=True, slots=True)
class Floor:
    """A metric of a class, "" for none, that is held to a bound. values, evidence: (w,) of w windows; nats."""

    metric: str
    of: str
    bound: float
    values: FloatArray
    evidence: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """What floors are judged by: tables (w, C) of windows of outcomes. nats: the evidence that is to be reached."""

    task: Task
    cells: IntArray
    reference: OutcomeReference
    nats: float

    def held(self, floors: Mapping[str, float]) -> dict[str, Floor]:
        """The floors that the task lets outcomes be held to, by name."""
        own = {name: bound for name, bound in sorted(floors.items()) if unjudged(self.task, name) is None}
        return {name: self._floor(name, bound) for name, bound in own.items()}

    def _floor(self, name: str, bound: float) -> Floor:
        metric, _, of = name.partition("@")
        if isinstance(self.task, NumbersTask):
            return Floor(metric, of, bound, *self._mean_error(self.task, bound))
        if metric == AREA and isinstance(self.task, BinaryTask):
            return Floor(metric, of, bound, *self._area(self.task, bound))
        k, n = _counts(self.task, self.cells, metric, of or self.task.classes[1])
        return Floor(metric, of, bound, k / np.maximum(n, 1), share_below(k, n, bound) / self._effect())

    def _area(self, task: BinaryTask, least: float) -> tuple[FloatArray, FloatArray]:
        windows, reference = (Areas.of(_by_label(task, each)) for each in (self.cells, self.reference.total))
        return windows.area, area_below(windows, least, reference) / self._effect()

    def _mean_error(self, task: NumbersTask, most: float) -> tuple[FloatArray, FloatArray]:
        own, known = task.tally(self.cells).total(), task.tally(self.reference.total).total()
        mean = float(known.loss[0] / max(known.n[0], 1))
        scatter = float(known.squares[0] / known.n[0] / mean**2 - 1) if mean else 1.0
        n, total, squares, effect = own.n[:, 0], own.loss[:, 0], own.squares[:, 0], self._effect()
        evidence = mean_above(n, total, squares, most, scatter, self.nats * effect) / effect
        return total / np.maximum(n, 1), evidence

    def _effect(self) -> FloatArray:
        """The design effect (w,) of the windows."""
        n = self.task.tally(self.cells).n.sum(-1)
        return np.array([self.reference.effect(int(each)) for each in n])


def _by_label(task: BinaryTask, cells: IntArray) -> IntArray:
    """Outcomes with a score (..., codes, 2) by its code and label."""
    return np.asarray(task.layout.counted(cells)[..., :-1, :, :].sum(-2))


def _counts(task: BinaryTask | ClassesTask, cells: IntArray, metric: str, of: str) -> tuple[FloatArray, FloatArray]:
    """The share that a metric of a class is, as counts (w,) of counts (w,)."""
    if metric == "accuracy":
        tally = task.tally(cells)
        return (tally.n - tally.loss).sum(-1), tally.n.sum(-1)
    confusion, code = task.confusion(cells), task.classes.index(of)
    whole = confusion[:, :, code] if metric == "recall" else confusion[:, code]
    return confusion[:, code, code].astype(float), whole.sum(-1).astype(float)


def unjudged(task: Task, name: str) -> str | None:
    """What to do about a floor that the task has no such metric for; None if it has. name: auc, recall@fraud, mae."""
    metric, _, of = name.partition("@")
    if isinstance(task, NumbersTask):
        return None if metric == MEAN_ERROR else f"the predictions are numbers: give the most of {MEAN_ERROR}"
    if metric == MEAN_ERROR:
        return f"the predictions are classes: give the least accuracy, recall, precision or {AREA}"
    if metric == AREA:
        return _unjudged_area(task)
    own = of or (task.classes[1] if isinstance(task, BinaryTask) else "")
    if metric == "accuracy" or own in task.classes:
        return None
    return f"name a class, as in recall@{task.classes[0]}; there are {listed(task.classes)}"


def _unjudged_area(task: BinaryTask | ClassesTask) -> str | None:
    if isinstance(task, ClassesTask):
        return f"there are more than two classes: name one, as in recall@{task.classes[0]}"
    return None if task.layout.scores.grid is not None else "the baseline has no score: build it from events that do"


def unjudged_outcomes(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """A remark on each floor that nothing is held to, or on outcomes that are asked for and not judged at all.

    Silence would be taken for an all-clear.
    """
    asked, path = config.outcomes, ("models", baseline.model, "outcomes")
    if asked.labels is None:
        return
    coding = baseline.coding
    if coding is None:
        found = "labels are not judged: the baseline has no prediction and no score that they could be compared with"
        yield Remark(path, f"{dotted_path(path)}: {found}", "build it from events that have them")
        return
    for name in asked.floors:
        if (remedy := unjudged(coding.task, name)) is not None:
            where = (*path, "floors", name)
            yield Remark(where, f"{dotted_path(where)}: is not judged", remedy)
