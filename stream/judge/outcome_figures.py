"""How well a model does now, as figures by name: of its newest outcomes, and of predictions that have no label. Pure.

accuracy, recall@fraud, …   of the newest outcomes
weighted_accuracy           the same, if labels came for all predictions alike
labelled                    the share of the newest predictions that have a label
estimated_accuracy          of the newest predictions, labelled or not, by their scores alone
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.outcomes.coverage import reweighted
from driftline.detectors.outcomes.estimate import Calibration
from driftline.detectors.outcomes.table import OutcomeTable, rows
from driftline.stream.baselines.outcomes import OutcomeReference
from driftline.stream.judge.outcome_state import OutcomesState
from driftline.stream.outcomes.coding import Coding
from driftline.stream.outcomes.halves import Stubs
from driftline.stream.outcomes.tasks import BinaryTask, NumbersTask, Task

#: Outcomes, or predictions, that figures of the newest ones are made of, at least: a rate is then known to 3 points.
NEWEST: Final = 1000


def newest_figures(
    state: OutcomesState | None, coding: Coding, reference: OutcomeReference | None, waiting: Stubs | None = None
) -> dict[str, float]:
    """The figures of the newest outcomes and predictions, `NEWEST` or somewhat more, by name.

    reference: None while it is learned. waiting: the newest predictions that wait for their labels.
    """
    history = [] if state is None else [each.content for each in reversed([*state.history])]
    pending = [] if state is None or state.pending is None else [state.pending.content]
    outcomes = _newest(coding, history, labelled=True)
    predictions = _newest(coding, [*_table(coding, waiting), *pending, *history], labelled=False)
    judged = _newest(coding, [*pending, *history], labelled=False)
    return {
        **_metrics(coding.task, outcomes),
        **_labelled(coding.task, judged),
        **_weighted(coding.task, outcomes, reference),
        **_estimated(coding.task, predictions, reference),
    }


def _table(coding: Coding, waiting: Stubs | None) -> list[OutcomeTable]:
    """The table of predictions without a label; none without predictions."""
    if waiting is None:
        return []
    predicted = coding.predicted(waiting.prediction, waiting.score)
    return [coding.outcomes(waiting.ts, predicted, waiting.score, [None] * len(waiting))]


def _newest(coding: Coding, tables: Iterable[OutcomeTable], labelled: bool) -> IntArray:
    """The cells (C,) of the first tables that have `NEWEST` outcomes, or predictions, together."""
    chosen, n = list[OutcomeTable](), 0
    for each in tables:
        if n >= NEWEST:
            break
        chosen.append(each)
        n += each.n if labelled else int(coding.task.seen(each.row(coding.size)).sum())
    return rows(chosen, coding.size).sum(0) if chosen else np.zeros(coding.size, np.int64)


def _metrics(task: Task, cells: IntArray) -> dict[str, float]:
    named = {f"{name}@{of}" if of else name: each.value for (name, of), each in task.metrics(cells, 1.0).items()}
    return {name: value for name, value in named.items() if value is not None}


def _labelled(task: Task, cells: IntArray) -> dict[str, float]:
    seen = float(task.seen(cells).sum())
    return {"labelled": float(task.tally(cells).n.sum()) / seen} if seen else {}


def _weighted(task: Task, cells: IntArray, reference: OutcomeReference | None) -> dict[str, float]:
    """The accuracy, in the strata that the reference has rows for."""
    if reference is None or isinstance(task, NumbersTask):
        return {}
    own = task.tally(cells).joined(reference.comparison.starts)
    value = reweighted(own.seen, own.n, own.n - own.loss).value
    return {} if value is None else {"weighted_accuracy": value}


def _estimated(task: Task, cells: IntArray, reference: OutcomeReference | None) -> dict[str, float]:
    if reference is None or not isinstance(task, BinaryTask) or task.layout.scores.grid is None:
        return {}
    estimate = Calibration.of(task.layout, reference.total).estimate(cells, task.classes)
    value = estimate.metrics["accuracy", ""].value if estimate.metrics else None
    return {} if value is None else {"estimated_accuracy": value}
