"""Outcomes over time, as pages draw them: of a timeline that workers have stored, or that a replay has kept. Pure.

    parts ──outcome_history──► OutcomeHistory ──► stream.reports.page.outcome_history

Only the newest era is shown: what was coded in another way, or compared with another reference, is not comparable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from driftline.detectors.arrays import IntArray
from driftline.detectors.outcomes.compare import split
from driftline.detectors.outcomes.coverage import reweighted
from driftline.detectors.outcomes.intervals import Figure
from driftline.detectors.outcomes.metrics import Metrics
from driftline.detectors.outcomes.table import OutcomeTable, rows
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.timeline import (
    StoredTimeline,
    all_parts,
    checked_table,
    stored_timeline,
    unpack_outcome_era,
    unpack_table,
    wanted_names,
)
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.floors import unjudged
from driftline.stream.judge.incidents import FLOOR
from driftline.stream.judge.outcome_figures import NEWEST
from driftline.stream.judge.timeline import HOUR_MS, OutcomeEra, Stretch, Timeline
from driftline.stream.judge.waiting import Counts
from driftline.stream.outcomes.tasks import BinaryTask
from driftline.stream.results.timelines import SPANS

DAY_MS, _HOURS = 24 * HOUR_MS, 24


@dataclass(frozen=True)
class Point:
    """The outcomes of a stretch of time.

    start: epoch ms. labelled: outcomes. weighted: the accuracy if labels came for all predictions alike. expected: the
    main metric that the mix of scores, or of predictions, alone would give. Both are None without a reference,
    the first also of numbers.
    """

    start: int
    labelled: int
    metrics: Metrics
    weighted: Figure | None
    expected: float | None


class Covered(NamedTuple):
    """How many predictions there are in a stretch of time, and how many of them have a label."""

    start: int
    predictions: int
    labelled: int

    @property
    def share(self) -> float:
        """The share that has a label."""
        return self.labelled / max(self.predictions, 1)


@dataclass(frozen=True)
class Band:
    """An incident of outcomes.

    since, until: epoch ms; None if it is open. changes: of each metric in words as it was found, floors last.
    """

    since: int
    until: int | None
    changes: tuple[tuple[str, str], ...] = ()

    @property
    def open(self) -> bool:
        """Whether it is not over."""
        return self.until is None


@dataclass(frozen=True)
class OutcomeHistory:
    """How well one track of a model did.

    each: length of a stretch, ms. tables: by its number, the oldest first. floors: as configured, those that the task
    has. labels: what became of labels that come by themselves; None if they do not.
    """

    era: OutcomeEra
    each: int
    tables: Mapping[int, OutcomeTable]
    floors: Mapping[str, float]
    bands: Sequence[Band]
    labels: Counts | None

    @property
    def main(self) -> str:
        """The metric that says whether the model is right."""
        return self.era.coding.task.main

    @cached_property
    def points(self) -> list[Point]:
        """The stretches that have outcomes, the oldest first."""
        return [self._point(number * self.each, [table]) for number, table in self.tables.items() if table.n]

    @cached_property
    def newest(self) -> Point:
        """The newest stretches that have a thousand outcomes together, or all."""
        chosen, n = list[int](), 0
        for number in reversed([*self.tables]):
            if n < NEWEST and self.tables[number].n:
                chosen.append(number)
                n += self.tables[number].n
        return self._point(chosen[-1] * self.each, [self.tables[number] for number in chosen])

    @property
    def reference(self) -> Metrics | None:
        """The metrics of what outcomes are compared with."""
        return None if self.era.reference is None else self.era.reference.metrics()

    @cached_property
    def coverage(self) -> list[Covered]:
        """The stretches that have predictions; of labels that come by themselves, those that were joined."""
        return [
            Covered(number * self.each, int(self._seen(table).sum()), table.n) for number, table in self.tables.items()
        ]

    @property
    def labelled_share(self) -> float:
        """The share of the predictions that have a label."""
        return sum(each.labelled for each in self.coverage) / sum(each.predictions for each in self.coverage)

    def _seen(self, table: OutcomeTable) -> IntArray:
        return self.era.coding.task.seen(table.row(self.era.coding.size))

    def floor_of(self, name: str) -> tuple[str, str]:
        """The metric, and the class, that a floor is about."""
        metric, _, of = name.partition("@")
        task = self.era.coding.task
        if metric in ("recall", "precision") and not of and isinstance(task, BinaryTask):
            return metric, task.classes[1]
        return metric, of

    def _point(self, start: int, tables: Sequence[OutcomeTable]) -> Point:
        coding, reference = self.era.coding, self.era.reference
        cells, n = rows(tables, coding.size).sum(0), sum(each.n for each in tables)
        metrics = coding.task.metrics(cells, 1.0 if reference is None else reference.effect(n))
        return Point(start, n, metrics, self._weighted(cells, n), self._expected(cells))

    def _weighted(self, cells: IntArray, n: int) -> Figure | None:
        if self.era.reference is None or self.main != "accuracy":
            return None
        own = self.era.coding.task.tally(cells).joined(self.era.reference.comparison.starts)
        return reweighted(own.seen, own.n, own.n - own.loss, self.era.reference.effect(n))

    def _expected(self, cells: IntArray) -> float | None:
        if self.era.reference is None:
            return None
        comparison = self.era.reference.comparison
        found = split(self.era.coding.task.tally(cells).joined(comparison.starts), comparison.reference)
        loss = found.before + found.mix + found.coverage
        return 1 - loss if self.main == "accuracy" else loss


def outcome_history(
    stored: StoredTimeline,
    kind: str,
    each: int,
    config: ModelConfig,
    incidents: Iterable[ListedIncident] = (),
    labels: Counts | None = None,
) -> OutcomeHistory | None:
    """The history in a stored timeline of outcomes; None without an outcome. Raises FormatError.

    kind: of its stretches, hour or day. each: length of those that are shown, ms. incidents: of the model.
    """
    if not stored.layouts:
        return None
    newest = max(stored.layouts)
    era = unpack_outcome_era(stored.layouts[newest])
    factor, tables = each // (DAY_MS if kind == "day" else HOUR_MS), dict[int, OutcomeTable]()
    for stretch in stored.stretches:
        table = unpack_table(stretch.part)
        if stretch.era == newest and table.layout == era.coding.name and table.cells.size:
            table = checked_table(era.coding, table)
            number = stretch.number // (_HOURS if kind == "day" and stretch.kind == "hour" else 1) // factor
            tables[number] = tables[number] + table if number in tables else table
    if not any(table.n for table in tables.values()):
        return None
    task = era.coding.task
    floors = {name: bound for name, bound in config.outcomes.floors.items() if unjudged(task, name) is None}
    bands = [band for incident in incidents if (band := _band(incident)) is not None]
    found = OutcomeHistory(era, each, dict(sorted(tables.items())), floors, bands, labels)
    if not _is_sound(found):
        raise FormatError("a timeline of outcomes is damaged: its tables do not hold the outcomes that they count")
    return found


def _is_sound(found: OutcomeHistory) -> bool:
    """Whether tables, which damage may fill with anything, hold their outcomes and say how right the model is."""
    coding, key = found.era.coding, (found.main, "")
    counts = [(coding.task.tally(each.row(coding.size)), each.n) for each in found.tables.values()]
    if any(own.n.sum() != n or own.n.min() < 0 or (own.seen < own.n).any() for own, n in counts):
        return False
    try:
        points, reference = [*found.points, found.newest], found.reference
    except (ValueError, ArithmeticError):  # such as the root of a negative number
        return False
    values = [each.metrics[key].value for each in points]
    if reference is not None:
        values += [reference[key].value, *(each.expected for each in points)]
    return all(value is not None and math.isfinite(value) for value in values)


def replayed_history(
    timeline: Timeline, config: ModelConfig, incidents: Iterable[ListedIncident], labels: Counts | None
) -> OutcomeHistory | None:
    """The history in a timeline of which nothing was ever stored, as long as is kept; None without an outcome."""
    parts = all_parts(timeline)
    begins = (each.number * (HOUR_MS if kind == "hour" else DAY_MS) for kind, each in _stretches(timeline))
    lasted = (timeline.span.newest + 1) * HOUR_MS - min(begins, default=0)
    span = next((each for each in SPANS if lasted <= each.length), SPANS[-1])
    kind = "day" if span.by_day else "hour"
    wanted = {name: parts[name] for name in wanted_names(timeline.span, kind, 0) if name in parts}
    return outcome_history(stored_timeline(wanted), kind, span.each, config, incidents, labels)


def _stretches(timeline: Timeline) -> Iterator[tuple[str, Stretch]]:
    """The stretches of a timeline, with what each is: hour or day."""
    for name, each in (*timeline.unstored.items(), *timeline.open.items()):
        if isinstance(each, Stretch):
            yield name.partition(":")[0], each


def _band(incident: ListedIncident) -> Band | None:
    """When an incident was, if it is one of outcomes."""
    newest, own = incident.newest, [each for each in incident.signals if each.kind == "outcomes"]
    if newest.starts_at is None or not own:
        return None
    until = None if incident.open or newest.ends_at is None else round(newest.ends_at.timestamp() * 1000)
    own = sorted(own, key=lambda each: each.name.startswith(FLOOR))  # stable: of the rest, the strongest is first
    changes = tuple((each.name.removeprefix(FLOOR), each.change.headline) for each in own)
    return Band(round(newest.starts_at.timestamp() * 1000), until, changes)
