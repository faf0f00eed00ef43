"""How well a model does: its metrics by period, since when they are worse than a reference, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from driftline.detectors.arrays import BoolArray, IntArray
from driftline.detectors.outcomes.compare import Comparison
from driftline.detectors.outcomes.coverage import reweighted
from driftline.detectors.outcomes.estimate import Calibration, Estimate
from driftline.detectors.outcomes.intervals import Figure
from driftline.detectors.outcomes.metrics import Costs, Metrics, Point
from driftline.detectors.outcomes.numbers import LIMIT
from driftline.detectors.outcomes.stretches import SLOTS, Stretch, is_worse, stretches
from driftline.stream.outcomes.choose import LEAST_LABELS, Chosen, OutcomesError, choose
from driftline.stream.outcomes.join import Joined
from driftline.stream.outcomes.periods import By, end_of, fitting, slots, starts
from driftline.stream.outcomes.requirements import Answer, Requirement
from driftline.stream.outcomes.rows import Rows
from driftline.stream.outcomes.tasks import BinaryTask, CodedRows, NumbersTask, Task
from driftline.stream.text.phrases import counted

# Without a reference, the first quarter of the labelled rows is one, if there are that many: a rate is then known to 4
# points.
_OWN_SHARE, _OWN_LEAST = 0.25, 500
# Rows of a slot at least, on average: with fewer, the search has nothing to compare.
_SLOT_ROWS = 20
# Blocks of the reference from which its own unrest is measured.
_BLOCKS = 256
# Rows of a table without times.
_PERIODS = 20
# Groups of scores by which coverage is shown.
_GROUPS = 10


@dataclass(frozen=True)
class Wishes:
    """What the caller has settled.

    by: the period; None for one that fits. positive: the class that a high score means. required: of the metrics of all
    rows.
    """

    by: By | None = None
    positive: str | None = None
    costs: Costs | None = None
    required: Sequence[Requirement] = ()


@dataclass(frozen=True)
class Required:
    """A requirement, the figure that it is about, and whether that meets it."""

    requirement: Requirement
    name: tuple[str, str]
    figure: Figure
    answer: Answer


@dataclass(frozen=True)
class Period:
    """A line of the table.

    start: epoch ms or, without times, the number of its first row. seen, labelled: predictions. estimate: from scores
    alone, None without a reference or scores. reweighted: the accuracy of all predictions, None for a regression.
    """

    start: int
    seen: int
    labelled: int
    metrics: Metrics
    estimate: Estimate | None
    reweighted: Figure | None


@dataclass(frozen=True)
class Change:
    """A stretch of time, [since, until), in which outcomes were worse or better than in the reference.

    until: None if it reaches the end.
    """

    since: int
    until: int | None
    worse: bool
    stretch: Stretch


@dataclass(frozen=True)
class Covered:
    """Predictions with scores in [low, high], and how many of them have a label."""

    low: float
    high: float
    seen: int
    labelled: int


@dataclass(frozen=True)
class Performance:
    """How well a model does.

    by: None if the rows have no time. reference: the metrics of what it is compared with, of `reference_rows` labelled
    rows; None if there is nothing. own_reference: whether these are its own first rows. settled: whether no part of the
    reference is worse than what precedes it. total: of all rows. effect: the design effect of neighbouring rows.
    changes: in the order of time.
    """

    task: Task
    by: By | None
    periods: Sequence[Period]
    total: Period
    reference: Metrics | None
    reference_rows: int
    own_reference: bool
    settled: bool
    effect: float
    changes: Sequence[Change]
    coverage: Sequence[Covered]
    calibration: Sequence[Point]
    joined: Joined | None
    required: Sequence[Required]
    notes: tuple[str, ...]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The begin and the end of each period, epoch ms or numbers of rows."""
        begins = [each.start for each in self.periods]
        if self.by is not None:
            return [(each, end_of(each, self.by)) for each in begins]
        return [*pairwise([*begins, self.total.seen])]

    @property
    def is_worse(self) -> bool:
        """Whether outcomes are or were worse than in the reference."""
        return any(each.worse for each in self.changes)

    @property
    def is_unclear(self) -> bool:
        """Whether nothing is reported as worse, and yet nothing shows that it is not."""
        missing = self.reference is None or self.is_unlabelled or not self.settled
        return not self.is_worse and (missing or self._has_fallen)

    @property
    def is_unlabelled(self) -> bool:
        """Whether too few of the predictions have a label to say how often they are right."""
        return self.total.labelled < LEAST_LABELS

    @property
    def _has_fallen(self) -> bool:
        """Whether the intervals of all rows and of the reference lie apart, all rows on the worse side."""
        key, higher_is_better = (self.task.main, ""), self.task.main == "accuracy"
        if self.reference is None:
            return False
        now, before = self.total.metrics[key], self.reference[key]
        low, high = (now, before) if higher_is_better else (before, now)
        return low.high is not None and high.low is not None and low.high < high.low

    @property
    def fails(self) -> bool:
        """Whether outcomes are worse, or something required is not met."""
        return self.is_worse or any(each.answer is Answer.NOT_MET for each in self.required)


def performance(
    live: Rows, reference: Rows | None, wishes: Wishes, joined: Joined | None = None, timed: bool = True
) -> Performance:
    """How well the model of the rows `live` does. timed: whether they have times; else their order counts.

    Raises OutcomesError.
    """
    both = live if reference is None else concatenated(reference, live)
    is_live = np.arange(len(both)) >= len(both) - len(live)
    own = _first_part(live, timed) if reference is None else None
    is_reference = ~is_live if own is None else own
    chosen = choose(
        both, is_reference if is_reference.any() else np.ones(len(both), bool), wishes.positive, wishes.costs
    )
    is_live, is_reference = is_live[chosen.kept], is_reference[chosen.kept]
    return _Evaluation(chosen, is_live, is_reference, wishes, timed, own is not None).result(joined)


def concatenated(first: Rows, second: Rows) -> Rows:
    """The rows of both, one after the other."""
    return Rows(
        [*first.ids, *second.ids],
        np.concatenate([first.ts, second.ts]),
        [*first.prediction, *second.prediction],
        np.concatenate([first.score, second.score]),
        [*first.label, *second.label],
    )


def _first_part(rows: Rows, timed: bool) -> BoolArray:
    """Which rows (n,) are the reference of all others: the first ones, none if these are too few."""
    order = np.argsort(rows.ts, kind="stable") if timed else np.arange(len(rows))
    labelled = np.cumsum(rows.labelled[order])
    wanted = max(int(labelled[-1] * _OWN_SHARE) if len(labelled) else 0, _OWN_LEAST)
    first = np.zeros(len(rows), bool)
    if not len(labelled) or labelled[-1] < 2 * wanted:
        return first
    end = int(np.searchsorted(labelled, wanted))
    if timed:  # rows of one moment stay together
        return np.asarray(rows.ts <= rows.ts[order[end]])
    first[order[: end + 1]] = True
    return first


class _Evaluation:
    """The counting of coded rows by period, by slot and by block of the reference."""

    def __init__(
        self, chosen: Chosen, is_live: BoolArray, is_reference: BoolArray, wishes: Wishes, timed: bool, own: bool
    ) -> None:
        self._task, self._chosen, self._wishes, self._timed, self._own = chosen.task, chosen, wishes, timed, own
        reference = np.flatnonzero(is_reference)
        settled = self._settle(reference) if own and reference.size else reference
        self._settled = settled is not None
        reference = reference if settled is None else settled
        judged = np.setdiff1d(np.flatnonzero(is_live), reference)
        self._live, self._reference = chosen.rows.take(np.flatnonzero(is_live)), chosen.rows.take(reference)
        self._judged, self._numbers = chosen.rows.take(judged), np.cumsum(is_live)[judged] - 1
        self._comparison = self._compare(self._reference)

    def result(self, joined: Joined | None) -> Performance:
        task, reference = self._task, self._cells(self._reference)
        total = self._cells(self._live)
        calibration = self._calibration(reference)
        by = (self._wishes.by or fitting(self._live.ts)) if self._timed else None
        compared = self._comparison is not None
        rows = round(float(task.tally(reference).n.sum()))
        return Performance(
            task, by, self._periods(by, calibration), self._period(0, total, calibration),
            task.metrics(reference, self._effect(rows)) if compared else None, rows if compared else 0, self._own,
            self._settled, self._effect(len(self._live.ts)), self._changes(), self._coverage(),
            task.calibration(total), joined, self._required(total), (*self._chosen.notes, *self._clipped(total)),
        )  # fmt: skip

    def _required(self, total: IntArray) -> list[Required]:
        task, found = self._task, list[Required]()
        metrics = task.metrics(total, self._effect(len(self._live.ts)))
        for each in self._wishes.required:
            try:
                name, figure = each.find(metrics, task.classes[-1] if task.name == "binary" else "")
            except ValueError as error:
                raise OutcomesError(str(error)) from None
            found.append(Required(each, name, figure, each.answer(figure)))
        return found

    def _clipped(self, total: IntArray) -> list[str]:
        task = self._task
        count = task.layout.clipped(total) if isinstance(task, NumbersTask) else 0
        much = f"{counted(count, 'error')} of more than {LIMIT:.0f} times the usual one in the reference count as that"
        return [much] if count else []

    def _cells(self, rows: CodedRows) -> IntArray:
        return np.asarray(self._task.tables(rows, np.zeros(len(rows.ts), np.int64), 1)[0])

    def _settle(self, own: IntArray) -> IntArray | None:
        """The first of these own rows, halved until their later half is no worse; None if it always is.

        A fall within the reference would hide itself: what a reference does by itself is no change.
        """
        ts = self._chosen.rows.ts if self._timed else np.arange(len(self._chosen.rows.ts))
        is_whole = True
        while True:
            first = own[ts[own] < np.median(ts[own])]  # rows of one moment stay together
            comparison = self._compare(self._chosen.rows.take(first))
            if comparison is None:
                return own if is_whole else None
            later = self._task.tally(self._cells(self._chosen.rows.take(np.setdiff1d(own, first))))
            if not is_worse(later, comparison):
                return own
            own, is_whole = first, False

    def _compare(self, rows: CodedRows) -> Comparison | None:
        """The comparison with a reference; None if it is too small."""
        if self._cells(rows).size == 0 or self._task.tally(self._cells(rows)).n.sum() < _OWN_LEAST:
            return None
        order = np.argsort(rows.ts, kind="stable") if self._timed else np.arange(len(rows.ts))
        blocks = min(len(order) // _SLOT_ROWS, _BLOCKS)
        block = np.empty(len(order), np.int64)
        block[order] = np.arange(len(order)) * blocks // len(order)
        return Comparison.of(self._task.tally(self._task.tables(rows, block, blocks)), self._task.boundaries)

    def _calibration(self, reference: IntArray) -> Calibration | None:
        task = self._task
        if self._comparison is None or not isinstance(task, BinaryTask) or task.layout.scores.grid is None:
            return None
        return Calibration.of(task.layout, reference)

    def _effect(self, rows: int) -> float:
        return 1.0 if self._comparison is None else float(self._comparison.effect(rows)[0])

    def _periods(self, by: By | None, calibration: Calibration | None) -> list[Period]:
        rows = self._live
        if by is None:
            each = max(-(-len(rows.ts) // _PERIODS), 1)
            start = np.arange(len(rows.ts)) // each * each
        else:
            start = starts(rows.ts, by)
        known, group = np.unique(start, return_inverse=True)
        tables = self._task.tables(rows, group, len(known))
        return [self._period(int(own), cells, calibration) for own, cells in zip(known, tables, strict=True)]

    def _period(self, start: int, cells: IntArray, calibration: Calibration | None) -> Period:
        task, tally, seen = self._task, self._task.tally(cells), self._task.seen(cells)
        labelled = round(float(tally.n.sum()))
        effect = self._effect(labelled)
        estimate = None
        if calibration is not None and isinstance(task, BinaryTask):
            estimate = calibration.estimate(cells, task.classes)
        alike = None
        if task.main == "accuracy" and self._comparison is not None:
            groups = self._comparison.starts
            own = tally.joined(groups)
            alike = reweighted(np.add.reduceat(seen, groups).astype(float), own.n, own.n - own.loss, effect)
        return Period(start, int(seen.sum()), labelled, task.metrics(cells, effect), estimate, alike)

    def _changes(self) -> list[Change]:
        rows, comparison = self._judged, self._comparison
        if comparison is None or not len(rows.ts):
            return []
        if self._timed:
            start, width = slots(rows.ts, SLOTS, _SLOT_ROWS)
        else:
            width = max(-(-len(rows.ts) // SLOTS), _SLOT_ROWS)
            start = self._numbers // width * width
        known, group = np.unique(start, return_inverse=True)
        tally = self._task.tally(self._task.tables(rows, group, len(known)))
        found = [
            Change(
                int(known[each.first]),
                None if each.last == len(known) else int(known[each.last - 1]) + width,
                worse,
                each,
            )
            for worse in (True, False)
            for each in stretches(tally, comparison, better=not worse)
            if worse or each.reported != ("labels",)  # which is reported once
        ]
        return sorted(found, key=lambda each: (each.since, not each.worse))

    def _coverage(self) -> list[Covered]:
        """How many predictions have a label, by tenths of the scores."""
        score, labelled = self._live.score, ~np.isnan(self._live.label) & (self._live.label != -1)
        known = np.isfinite(score)
        if not known.any() or labelled.all():
            return []
        cuts = np.unique(np.quantile(score[known], np.arange(1, _GROUPS) / _GROUPS))
        group = np.searchsorted(cuts, score)
        return [
            Covered(float(score[own].min()), float(score[own].max()), int(own.sum()), int(labelled[own].sum()))
            for each in range(len(cuts) + 1)
            if (own := known & (group == each)).any()
        ]
