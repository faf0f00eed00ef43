"""Outcomes judged: whether a model is right less often than its reference, why, and whether a floor is missed. Pure.

    pane ── its table of outcomes ──► histogram, and the first ones learned if the baseline has none
         ──► evidence of every window that they are worse, one-sided ──► incident of the model's outcomes

The tests are those of `detectors.outcomes.compare`: the loss, but for what it changes as labels come for other
predictions than before, and the loss within strata, which the mix of scores cannot explain. Their thresholds spend the
outcomes' own share of false pages, and rise by the design effect of the reference's own blocks. A floor
(`stream.judge.floors`) is missed where even the window's favourable luck leaves its metric below.

The incident has the life cycle of all others, and a scope of its own: that the world looks different is known hours or
weeks before labels say whether that matters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np
from msgspec.structs import replace

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.battery import Column
from driftline.detectors.decision.budget import Family
from driftline.detectors.decision.thresholds import independence_bound
from driftline.detectors.outcomes.compare import Tally
from driftline.detectors.outcomes.table import OutcomeTable, rows
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.outcomes import LEAST, OutcomeReference
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.clock import begun, time_of
from driftline.stream.judge.floors import Windows, unjudged
from driftline.stream.judge.incidents import (
    ACCURACY,
    ERROR,
    FLOOR,
    OUTCOMES,
    Finding,
    Incident,
    Resolution,
    Status,
    Step,
    Subject,
)
from driftline.stream.judge.lifecycle import LifeCycle, leave
from driftline.stream.judge.outcome_changes import confused, described
from driftline.stream.judge.outcome_figures import newest_figures
from driftline.stream.judge.outcome_state import OutcomeChange, OutcomesState
from driftline.stream.judge.pace import pace_of
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.timeline import Kept, OutcomeEra, count_outcomes
from driftline.stream.outcomes.coding import Coding
from driftline.stream.outcomes.halves import Stubs
from driftline.stream.outcomes.tasks import NumbersTask, Task
from driftline.stream.panes.pane import Pane
from driftline.stream.panes.rows import columns_of

#: Statistics of findings about outcomes.
LOSS, CONCEPT, BELOW = "loss", "concept", "floor"
# Tables that are kept of the outcomes that are learned; beyond it, neighbours are added up in pairs.
_BLOCKS = 64
# Tables without which nothing is known of how far neighbouring outcomes are alike: one pane may hold thousands.
_LEAST_BLOCKS = 8
# As in `stream.judge.judge`: a release takes twice the outcomes of the alarm, at least 200, at half the threshold.
_RELEASE_OUTCOMES, _RELEASE_GROWTH, _RELEASE_RATIO = 200, 2, 0.5


class OutcomesLifeCycle(LifeCycle):
    """The rules of incidents of outcomes, which are one of the model."""

    def scope(self, signal: str) -> str:  # noqa: ARG002 # as of all signals
        """The scope of all of them."""
        return OUTCOMES


def outcomes_in(baseline: Baseline, pane: Pane[Any], track: str) -> OutcomeTable | None:
    """The outcomes of a track in a pane; None if there are none. baseline: that in which it is counted."""
    if isinstance(pane.content, tuple):
        return baseline.count_outcomes(columns_of(baseline, list(enumerate(pane.content))))
    return dict(pane.outcomes).get(track)


@dataclass
class OutcomesJudge:
    """Judges the outcomes of the tracks of one model under its configuration."""

    config: ModelConfig
    _learned: dict[str, tuple[tuple[OutcomeTable, ...], OutcomeReference]] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> Bounds:
        """For how long predictions and labels wait for each other."""
        return Bounds.of(self.config.outcomes)

    def judge(
        self,
        state: ModelState,
        baseline: Baseline,
        table: OutcomeTable | None,
        pane: Pane[Any],
        track: str,
        at: int,
        made: int,
    ) -> tuple[ModelState, list[Step]]:
        """The state after the outcomes of a pane, and the steps that they cause. state: as the track sees it.

        table: None without outcomes. at: event time, epoch ms. made: time of the pane's predictions, epoch ms.
        """
        coding = baseline.coding if self.config.outcomes.labels else None
        state, steps = self._leave(state, baseline, coding, track, at)
        if coding is None or table is None or table.layout != coding.name:
            return state, steps
        own = state.outcomes or OutcomesState(coding.name, _hash(baseline))
        reference = self._reference(own, baseline, track)
        own = self._counted(own, OutcomeEra(coding, reference), table, made)
        outcomes = Pane(table, pane.first_ts, pane.last_ts, pane.ranges)
        pending = outcomes if own.pending is None else own.pending + outcomes
        if pending.content.n < self.config.clock:
            return replace(state, outcomes=replace(own, pending=pending)), steps
        own = replace(own, pending=None, seen=own.seen + pending.content.n, history=own.history.push(pending))
        if reference is None:
            # Floors alone are judged meanwhile: no window of accuracy begins before all is learned.
            learned = _halved((*own.learned, pending.content))
            own = replace(own, learned=learned, starts={**own.starts, ACCURACY: own.seen})
            if not self.config.outcomes.floors or not _is_enough(learned, LEAST):
                return replace(state, outcomes=own), steps
            reference = OutcomeReference.of_tables(coding, learned)
        version = track or str(baseline.about.get("version") or "")
        life = OutcomesLifeCycle(self.config.incidents, baseline.content_hash, version)
        check = _Check(self.config, coding.task, reference, own, pending.content.n, track)
        own, incidents, more = check.advance(state.incidents, life, at)
        return replace(state, outcomes=own, incidents=incidents), [*steps, *more]

    def figures(
        self, own: OutcomesState | None, baseline: Baseline, track: str, waiting: Stubs | None
    ) -> dict[str, float]:
        """How well a track does now, see `newest_figures`; own, baseline: of the track."""
        coding = baseline.coding if self.config.outcomes.labels else None
        if coding is None or (own is not None and own.layout != coding.name):
            return {}
        reference = baseline.outcomes if own is None else self._reference(own, baseline, track)
        return newest_figures(own, coding, reference, waiting)

    def _counted(self, own: OutcomesState, era: OutcomeEra, table: OutcomeTable, made: int) -> OutcomesState:
        """The state with a table counted in its timeline, if one is kept."""
        history = self.config.history
        timeline = count_outcomes(own.timeline, era, table, made, Kept.of(history)) if history else None
        return replace(own, timeline=timeline)

    def _leave(
        self, state: ModelState, baseline: Baseline, coding: Coding | None, track: str, at: int
    ) -> tuple[ModelState, list[Step]]:
        """The state without outcomes in another layout, of another reference, or that are not judged any more."""
        own = state.outcomes
        if own is None or (coding is not None and (own.layout, own.reference) == (coding.name, _hash(baseline))):
            return state, []
        reason: Resolution = "unwatched" if coding is None else "replaced"
        drifts = (each for each in state.drifts if each.track == track and each.kind == "outcomes")
        incidents, steps = leave(state.incidents, dict.fromkeys((each.subject for each in drifts), reason), at)
        timeline, after = own.timeline and own.timeline.end_era(), None
        if coding is not None and timeline is not None:
            after = OutcomesState(coding.name, _hash(baseline), timeline=timeline)
        return replace(state, outcomes=after, incidents=incidents), steps

    def _reference(self, own: OutcomesState, baseline: Baseline, track: str) -> OutcomeReference | None:
        """What outcomes are compared with; None while it is learned."""
        if baseline.outcomes is not None or baseline.coding is None:
            return baseline.outcomes
        if not _is_enough(own.learned, self.config.outcomes.learn):
            return None
        known = self._learned.get(track)
        if known is None or known[0] is not own.learned:
            known = own.learned, OutcomeReference.of_tables(baseline.coding, own.learned)
            self._learned[track] = known
        return known[1]


def _hash(baseline: Baseline) -> str:
    return baseline.outcomes.hash if baseline.outcomes else ""


def _is_enough(learned: Sequence[OutcomeTable], outcomes: int) -> bool:
    """Whether others can be compared with tables: they need that many outcomes, and some blocks to show dependence."""
    return len(learned) >= _LEAST_BLOCKS and sum(each.n for each in learned) >= outcomes


def _halved(tables: tuple[OutcomeTable, ...]) -> tuple[OutcomeTable, ...]:
    if len(tables) <= _BLOCKS:
        return tables
    pairs = zip(tables[::2], tables[1::2], strict=False)
    return (*(first + second for first, second in pairs), *tables[len(tables) // 2 * 2 :])


class _Check:
    """All windows of the outcomes of a track at one check, oldest start first: w windows, T columns of evidence.

    fresh: outcomes since the last check. columns: signal and statistic of each. evidence, threshold: nats (w, T).
    ratio: of both, 0 where a window begins too early.
    """

    def __init__(
        self,
        config: ModelConfig,
        task: Task,
        reference: OutcomeReference,
        state: OutcomesState,
        fresh: int,
        track: str,
    ) -> None:
        self.task, self.reference, self.state, self.track = task, reference, state, track
        self.main = ERROR if isinstance(task, NumbersTask) else ACCURACY
        self.panes = list(state.history)
        cells = rows([each.content for each in self.panes], task.layout.size)
        self.sums = np.cumsum(cells[::-1], axis=0)[::-1]
        self.tally = task.tally(self.sums)
        self.n = np.cumsum([each.content.n for each in self.panes][::-1])[::-1]
        self.start, self.since = state.seen - self.n, begun(self.panes)
        rate = config.rate_per_event(pace_of(state.history), Family.OUTCOMES)
        floors = [each for each in config.outcomes.floors if unjudged(task, each) is None]
        bound = independence_bound(rate, fresh, len(self.panes), 2 + len(floors))
        held = Windows(task, self.sums, reference, bound).held(config.outcomes.floors)
        self.floors = {f"{FLOOR}{name}": each for name, each in held.items()}
        self.columns = [(self.main, LOSS), (self.main, CONCEPT), *((each, BELOW) for each in self.floors)]
        comparison = reference.comparison
        below = (each.evidence for each in self.floors.values())
        self.evidence = np.column_stack([comparison.worse(self.tally), *below])
        own = comparison.dependence.threshold(self.n, bound)[:, :2]
        self.threshold = np.column_stack([own, np.full((len(self.n), len(self.floors)), bound)])
        earliest = np.array([state.starts.get(signal, 0) for signal, _ in self.columns])
        self.ratio = np.where(self.start[:, None] >= earliest, self.evidence / self.threshold, 0.0)

    def advance(
        self, incidents: Mapping[str, Incident], life: LifeCycle, at: int
    ) -> tuple[OutcomesState, Mapping[str, Incident], list[Step]]:
        """The state and the incidents after the check at a time, epoch ms, and the steps to report."""
        drifts = {
            each.signal: each
            for incident in incidents.values()
            for each in incident.drifts
            if each.kind == "outcomes" and each.track == self.track
        }
        released = {name: start for name, each in drifts.items() if (start := self._quiet_since(each)) is not None}
        known = drifts.keys() - released.keys()
        worse = [each for name in sorted(known) for each in self._worse(drifts[name], incidents[OUTCOMES], life)]
        findings = [*self._alarms(drifts.keys()), *worse]
        state = replace(self.state, starts={**self.state.starts, **released}) if released else self.state
        subjects = frozenset(Subject(self.track, name) for name in released)
        # The others count events, and these are outcomes.
        mine = {scope: each for scope, each in incidents.items() if scope == OUTCOMES}
        after, steps = life.advance(mine, findings, subjects, state.seen, at)
        others = {scope: each for scope, each in incidents.items() if scope != OUTCOMES}
        found = time_of(state.history)
        return (
            state,
            others | after,
            [each if each.status is Status.RESOLVED else replace(each, at=found) for each in steps],
        )

    def _alarms(self, known: Collection[str]) -> list[Finding]:
        """The findings of signals that do not drift yet, strongest first."""
        signals = dict.fromkeys(signal for signal, _ in self.columns if signal not in known)
        alarms = [place for each in signals if self.ratio[place := self._strongest(each, self.ratio)] >= 1]
        return [self._finding(*place) for place in sorted(alarms, key=lambda place: -self.ratio[place])]

    def _worse(self, drift: Finding, incident: Incident, life: LifeCycle) -> Iterator[Finding]:
        """A drift in its newest outcomes, if it has become more severe than its incident."""
        row = self._newest(max(drift.events, _RELEASE_OUTCOMES))
        if row < 0 or self.start[row] < drift.start:
            return
        _, column = self._strongest(drift.signal, self.ratio[row : row + 1])
        if self.ratio[row, column] >= 1 and life.is_worse(found := self._finding(row, column), incident):
            yield found

    def _strongest(self, signal: str, ratio: FloatArray) -> tuple[int, int]:
        """Window and column of the strongest evidence about a signal."""
        own = self._tests(signal)
        row, column = np.unravel_index(int(np.argmax(ratio[:, own])), (len(ratio), len(own)))
        return int(row), int(own[column])

    def _tests(self, signal: str) -> IntArray:
        return np.array([i for i, (each, _) in enumerate(self.columns) if each == signal], np.int64)

    def _newest(self, n: int) -> int:
        """Index of the shortest window of at least n outcomes; -1 if there is none."""
        return int(np.searchsorted(-self.n, -n, side="right")) - 1

    def _quiet_since(self, drift: Finding) -> int | None:
        """The start of a window long enough to show the drift that shows none; None if there is no such window."""
        row, tests = self._newest(max(_RELEASE_GROWTH * drift.events, _RELEASE_OUTCOMES)), self._tests(drift.signal)
        if not len(tests):  # of a floor that is not configured any more
            return self.state.seen
        if row < 0 or self.start[row] < drift.start + drift.events:
            return None
        return int(self.start[row]) if self.ratio[row, tests].max() < _RELEASE_RATIO else None

    def _finding(self, row: int, column: int) -> Finding:
        signal, statistic = self.columns[column]
        window: Pane[OutcomeTable] = reduce(add, self.panes[row:])
        outcome = self._floor_missed(signal, row) if statistic == BELOW else self._change(row)
        return Finding(
            signal=signal,
            track=self.track,
            test=Column(statistic, -1),
            against_past=not self.state.reference,
            start=int(self.start[row]),
            since=int(self.since[row]),
            ranges=window.ranges,
            events=window.content.n,
            evidence=float(self.evidence[row, column]),
            threshold=float(self.threshold[row, column]),
            change=described(
                outcome, self.reference.n, window.content.n, () if statistic == BELOW else self._confused(row)
            ),
            outcome=outcome,
        )

    def _change(self, row: int) -> OutcomeChange:
        split = self.reference.comparison.split(Tally(self.tally.sums[:, row]))
        if self.main == ERROR:
            return OutcomeChange(ERROR, "", split.before, split.after, split.mix, split.concept, split.coverage)
        parts = -split.mix, -split.concept, -split.coverage
        return OutcomeChange(ACCURACY, "", 1 - split.before, 1 - split.after, *parts)

    def _confused(self, row: int) -> tuple[dict[str, float], ...]:
        """How classes were taken for each other, in the reference and in a window; () of numbers."""
        if isinstance(self.task, NumbersTask):
            return ()
        return confused(self.task, self.reference.total, self.sums[row])

    def _floor_missed(self, signal: str, row: int) -> OutcomeChange:
        floor = self.floors[signal]
        return OutcomeChange(floor.metric, floor.of, floor.bound, float(floor.values[row]))
