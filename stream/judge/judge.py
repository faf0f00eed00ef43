"""The judge: every alert decision lives here. No I/O, no clock, no randomness: `judge(state, pane) -> (state, alerts)`.

A model's history is an exponential histogram of panes. Each time `clock` more events have come, every suffix of it is a
window, the battery gives each window's evidence, and the strongest ratio of evidence to threshold decides per signal:

    alarm      some window reaches its threshold (ratio >= 1): the signal joins the model's incident, or opens one;
               the window with the highest ratio dates its start
    release    the newest events are likelier as the baseline has them than as the drift had them until then, by so much
               that it errs once in a million events of a drift, or all events since its onset have a third less
               evidence than its alarm had (`detectors.decision.release`); and no window of the newest events alarms.
               Where no slope is known, of bets, and of incidents below format level 3, it takes a window of twice the
               events the alarm needed (of bets four times, and 200 at least), under half the threshold of every test
               against the reference. The signal has recovered: windows that reach back further are not evaluated again
    worse      a test of a drifting signal finds so much in its newest events that it is news (`stream.judge.returns`)
    past       after an alarm, a test against the past starts its past over at the new level, so it reports each change
               once; after a release it starts over again, or it would report the recovery as a change
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from operator import add

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.decision.release import has_faded
from driftline.detectors.decision.thresholds import Dependence
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.alike import Alike
from driftline.stream.judge.changes import describe
from driftline.stream.judge.clock import begun, later, time_of
from driftline.stream.judge.dependences import DependenceCache
from driftline.stream.judge.incidents import Finding, Incident, Status, Step, Subject
from driftline.stream.judge.least import Least
from driftline.stream.judge.lifecycle import LifeCycle
from driftline.stream.judge.live_slopes import Alikes
from driftline.stream.judge.pace import pace_of
from driftline.stream.judge.proven import QUIET_GROWTH, Proven
from driftline.stream.judge.returns import without_returns
from driftline.stream.judge.state import JudgeState
from driftline.stream.judge.timeline import Counter, Kept
from driftline.stream.judge.weights import Weights
from driftline.stream.judge.windows import configured, suffix_sums
from driftline.stream.panes.pane import Pane

#: What a track remembers of its events.
History = ExponentialHistogram[Pane[Sketch]]
#: Incidents of a model by scope.
Incidents = Mapping[str, Incident]

# Where no slope is known, a release takes a window of twice the events of the alarm, 200 at least, that has less than
# half of each threshold: of a drift that goes on, it would have about twice the evidence that raised the alarm.
_RELEASE_EVENTS, _RELEASE_GROWTH, _RELEASE_RATIO = 200, 2, 0.5


@dataclass(frozen=True)
class Judge:
    """Judges one track of a model against its baseline under the model's configuration.

    remembers: see `LifeCycle`. by_slope: whether signals are judged by their slopes and bins, if the baseline has them.
    weighs: whether `signals.rules` hold.
    """

    baseline: Baseline
    config: ModelConfig
    dependences: DependenceCache = field(default_factory=DependenceCache)
    track: str = ""
    remembers: bool = False
    by_slope: bool = True
    weighs: bool = True

    @cached_property
    def battery(self) -> Battery:
        """The tests of this model's signals."""
        return Battery(self.baseline.layout, self.baseline.total.counts, self.config.reference == "past")

    @cached_property
    def dependence(self) -> Dependence:
        """How much evidence the baseline's own windows show among themselves."""
        return self.dependences.of(self.baseline, self.battery)

    @cached_property
    def weights(self) -> Weights:
        """How the false pages are shared among the signals."""
        return Weights.stated(self.baseline.layout, self.config.signals if self.weighs else None)

    @cached_property
    def alikes(self) -> Alikes:
        """What judges the signals that have phases, slopes, bets or a range."""
        proven = Proven.stated(self.baseline, self.battery, self.weights, self.config) if self.weighs else None
        return Alikes(self.baseline, self.battery, self.by_slope, self.weights, proven)

    @property
    def alike(self) -> Alike | None:
        """The same before live events have shown any slopes; None if there are none."""
        return self.alikes.by(None)

    def tests(self, state: JudgeState) -> Battery | Alike:
        """What has the columns of evidence. Workers that do not store layouts do not know of phases either."""
        return (self.alikes.by(state.live_slopes) if state.portable else None) or self.battery

    @cached_property
    def least(self) -> Least | None:
        """The least changes that page; None if any does."""
        return Least.of(self.baseline.layout, self.config.signals, self.battery.baseline) if self.weighs else None

    @cached_property
    def counter(self) -> Counter | None:
        """What counts panes for the model's timeline; None if none is kept."""
        kept = self.config.history
        return Counter(self.baseline, Kept.of(kept)) if kept else None

    @cached_property
    def life_cycle(self) -> LifeCycle:
        """The rules by which this model's incidents begin, change and end."""
        return LifeCycle(
            self.config.incidents,
            self.baseline.content_hash,
            self.track or str(self.baseline.about.get("version") or ""),
            remembers=self.remembers,
        )

    def start(self) -> JudgeState:
        """The state before the first pane."""
        begin = np.zeros(len(self.baseline.layout.signals), np.int64)
        # A monitor decides what is stored; whoever judges without one has the newest format.
        return JudgeState(self.baseline.content_hash, self.baseline.watched, begin, begin, portable=self.by_slope)

    def judge(
        self,
        state: JudgeState,
        incidents: Incidents,
        pane: Pane[Sketch],
        clock: int = 0,
        ticks: int = 0,
        elsewhere: int = 0,
        others: Sequence[History] = (),
    ) -> tuple[JudgeState, Incidents, list[Step]]:
        """The state and the incidents after one more pane, and the steps of incidents that it causes.

        clock, ticks: see `later`. elsewhere, others: events of the model in other tracks, and their histories.
        """
        pending = pane if state.pending is None else state.pending + pane
        if pending.content.n < self.config.clock:
            return replace(state, pending=pending), incidents, []
        seen = state.seen + pending.content.n
        history, live = state.history.push(pending), self.alikes.after(state.live_slopes, pending)
        if live and live.overruled and live is not state.live_slopes:
            # What wrong slopes have found must not take in a drift that comes later.
            incidents = without_returns(incidents, {Subject(self.track, name) for name in live.overruled})
        state = replace(state, pending=None, seen=seen, history=history, live_slopes=live)
        of_panes = time_of(state.history)
        at = later(clock, ticks, of_panes)
        pace = pace_of(state.history, others) if self.config.false_pages else 0.0
        evaluation = Evaluation(self, state, pending.content.n, self.config.rate_per_event(pace))
        state, incidents, steps = self._evaluate(state, incidents, evaluation, at, elsewhere)
        # A clock measures how long; when something was found, the events say that found it.
        dated = [each if each.status is Status.RESOLVED else replace(each, at=of_panes) for each in steps]
        return state, incidents, dated

    def _evaluate(
        self, state: JudgeState, incidents: Incidents, evaluation: Evaluation, at: int, elsewhere: int
    ) -> tuple[JudgeState, Incidents, list[Step]]:
        """The state and the incidents after a check at a time, epoch ms."""
        drifts = [(each, incident) for incident in incidents.values() for each in self._own(incident)]
        over = {each.signal: evaluation.over_since(each, incident.course is not UNSET) for each, incident in drifts}
        released = {name: start for name, start in over.items() if start is not None}
        known = {each.signal for each, _ in drifts}
        findings = [evaluation.strongest(s) for s in evaluation.alarms() if self.name(s) not in known]
        worse = [each for each in self._worse(incidents, evaluation) if each.signal not in released]
        state = self._move_starts(state, findings, released)
        subjects = frozenset(Subject(self.track, name) for name in released)
        after, steps = self.life_cycle.advance(incidents, [*findings, *worse], subjects, state.seen + elsewhere, at)
        return state, after, steps

    def _own(self, incident: Incident) -> Iterator[Finding]:
        return (each for each in incident.drifts if each.subject in self._subjects)

    def _worse(self, incidents: Incidents, evaluation: Evaluation) -> Iterator[Finding]:
        """Drifts that have become more severe than their incident, perhaps in another way than they began."""
        life = self.life_cycle
        for incident in incidents.values():
            for drift in self._own(incident):
                found = evaluation.newest_alarms(drift, partial(life.may_be_news, incident, drift))
                worse = [each for each in found if life.is_news(each, incident)]
                if worse:
                    yield max(worse, key=life.rank)

    def _move_starts(self, state: JudgeState, findings: Sequence[Finding], released: Mapping[str, int]) -> JudgeState:
        reference, past = state.reference_start.copy(), state.past_start.copy()
        for finding in findings:
            if finding.against_past:
                past[self.index(finding.signal)] = finding.start
        for name, start in released.items():
            # Where bets begin must not be chosen by what they would have won.
            reference[self.index(name)] = state.seen if self.alikes.bets_on(self.index(name)) else start
            # The quiet window may begin with the drift's last events; with them in its past, the recovery is a change.
            past[self.index(name)] = start if self.battery.against_past else state.seen
        return replace(state, reference_start=reference, past_start=past)

    def name(self, signal: int) -> str:
        """Name of a signal by its index in the layout."""
        return self.baseline.layout.signals[signal].name

    def index(self, name: str) -> int:
        """Index in the layout of a signal by its name."""
        return self._indices[name]

    @cached_property
    def _subjects(self) -> frozenset[Subject]:
        return frozenset(Subject(self.track, name) for name in self._indices)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {signal.name: s for s, signal in enumerate(self.baseline.layout.signals)}


class Evaluation:
    """All windows of a state at one check, oldest start first: w windows, T columns of evidence, C columns of counts.

    fresh: events since the last check. rate: false alarms per event that it may spend. sums: counts (w, C). n, start,
    since: each window's events, the events seen before it, and the time of its first event in epoch ms (w,). evidence,
    threshold: nats (w, T). ratio: evidence over threshold, 0 where a window begins too early to count. alarming: the
    same, 0 also where no window is configured. held_back: signals with alarms of too small a change, which are none.
    """

    def __init__(self, judge: Judge, state: JudgeState, fresh: int, rate: float) -> None:
        self.judge, self.panes, self.fresh = judge, list(state.history), fresh
        self.sums = suffix_sums([pane.content.counts for pane in self.panes])
        self.n = suffix_sums([np.array(pane.content.n) for pane in self.panes])
        self.start, self.reference_start = state.seen - self.n, state.reference_start
        self.since = begun(self.panes)
        battery, tests = judge.battery, judge.tests(state)
        self.columns, self.signal_of, self.uses_past = tests.columns, tests.signal_of, tests.uses_past
        earliest = np.where(self.uses_past, state.past_start[self.signal_of], state.reference_start[self.signal_of])
        windows = len(judge.config.windows) or len(self.panes)
        bound = judge.weights.bound(rate, fresh, windows, battery)
        self.oldest = np.searchsorted(self.start, state.past_start).clip(max=len(self.start) - 1)
        self.threshold = judge.dependence.threshold(self.n, bound)
        self.alike = tests if isinstance(tests, Alike) else None
        if self.alike:
            self.halves, far = self.alike.half_hours(self.panes), self.alike.far_in(self.panes)
            self.evidence = self.alike.evidence(self.sums, lambda: self.past, self.halves, far)
            self.threshold = self.alike.thresholds(self.threshold, rate, fresh)
        else:
            reference = self.past if battery.against_past else judge.baseline.total.counts
            self.evidence = battery.evidence(self.sums, reference, self.past)
        self.ratio = np.where(self.start[:, None] >= earliest, self.evidence / self.threshold, 0.0)
        self.held_back = self._hold_back()
        # Only a configured window may raise an alarm; any window may show that the drift is over.
        may_alarm = configured(self.panes[-1].last_ts - self.since, self.n, judge.config.windows)
        self.alarming = np.where(may_alarm[:, None], self.ratio, 0.0)

    @cached_property
    def past(self) -> IntArray:
        """Counts (w, C) before each window, back to the start of each signal's past."""
        column_signal = self.judge.baseline.layout.signal_of_column
        since_start = self.sums[self.oldest[column_signal], np.arange(len(column_signal))]
        return np.asarray(np.maximum(since_start - self.sums, 0))

    def _hold_back(self) -> frozenset[int]:
        """Takes the evidence from changes that are too small to page; the signals that would have an alarm by it."""
        if self.judge.least is None:
            return frozenset()
        small = self.judge.least.small(
            self.columns, self.evidence, self.ratio, self.sums, self._reference, _RELEASE_RATIO
        )
        held = frozenset(self.signal_of[(small & (self.ratio >= 1)).any(axis=0)].tolist())
        self.evidence[small] = self.ratio[small] = 0.0
        return held

    def _reference(self, test: int, rows: IntArray) -> FloatArray | IntArray:
        """Counts (r, K) or (1, K) of a test's signal that some windows are compared with."""
        signal = int(self.signal_of[test])
        own = self.judge.baseline.layout.columns[signal]
        if self.uses_past[test]:
            return self.past[np.ix_(rows, own)]
        usual = self.alike.usual(signal, self.halves[rows]) if self.alike else None
        return self.judge.baseline.total.counts[None, own] if usual is None else usual

    def alarms(self) -> list[int]:
        """Indices of the signals with a window over its threshold, strongest first."""
        best = np.zeros(len(self.judge.baseline.layout.signals))
        np.maximum.at(best, self.signal_of, self.alarming.max(0))
        return [int(s) for s in np.argsort(-best, kind="stable") if best[s] >= 1]

    def strongest(self, signal: int) -> Finding:
        """The finding of a signal's strongest window."""
        tests = np.flatnonzero(self.signal_of == signal)
        # The smooth test takes longer windows, which tell the start of a drift less well.
        others = [test for test in tests if self.columns[test].statistic != "smooth"]
        if self.alarming[:, others].max() >= 1:
            tests = np.array(others)
        row, column = np.unravel_index(np.argmax(self.alarming[:, tests]), (len(self.n), len(tests)))
        return self._finding(signal, int(row), int(tests[column]))

    def _finding(self, signal: int, row: int, test: int) -> Finding:
        window = reduce(add, self.panes[row:])
        uses_past = bool(self.uses_past[test])
        past = self.panes[self.oldest[signal] : row] if uses_past else []
        cycle = self.alike.cycle(signal) if self.alike else None
        usual = reduce(add, past).content if past else self.judge.baseline.total
        before = self.alike.expected(signal, self.halves[row]) if self.alike and cycle else usual
        change = describe(self.judge.battery, self.columns[test], before, window.content)
        if self.alike:
            change = replace(change, **self.alike.of_slope(signal))
        least, held = self.judge.least, signal in self.held_back
        return Finding(
            signal=self.judge.name(signal),
            track=self.judge.track,
            test=self.columns[test],
            against_past=uses_past,
            start=int(self.start[row]),
            since=int(self.since[row]),
            ranges=window.ranges,
            events=window.content.n,
            evidence=float(self.evidence[row, test]),
            threshold=float(self.threshold[row, test]),
            change=replace(change, least=least.share(self.columns[test])) if held and least else change,
            cycle=cycle,
        )

    def newest_alarms(self, drift: Finding, matters: Callable[[Column, float], bool]) -> Iterator[Finding]:
        """The alarms of tests against the baseline in a drifting signal's newest events, strongest first.

        The code that drifts is tested in as many events as raised the first alarm; the other special codes in the
        fewest of a release, since a long window shows too late that values are gone. matters: whether to look at a
        test's alarm of some nats an event, since describing one is costly.
        """
        signal = self.judge.index(drift.signal)
        tests = np.flatnonzero((self.signal_of == signal) & ~self.uses_past)
        same = [self.columns[test].special == drift.test.special for test in tests]
        rows = np.where(same, self._newest(max(drift.events, _RELEASE_EVENTS)), self._newest(_RELEASE_EVENTS))
        ratio = np.where((rows >= 0) & (self.start[rows] >= drift.start), self.ratio[rows, tests], 0.0)
        for i in np.argsort(-ratio, kind="stable"):
            density = float(self.evidence[rows[i], tests[i]] / self.n[rows[i]])
            if ratio[i] >= 1 and matters(self.columns[tests[i]], density):
                yield self._finding(signal, int(rows[i]), int(tests[i]))

    def _newest(self, events: int) -> int:
        """Index of the shortest window of at least `events` events; -1 if there is none."""
        return int(np.searchsorted(-self.n, -events, side="right")) - 1

    def over_since(self, drift: Finding, by_level: bool) -> int | None:
        """The start of the newest events that show the end of a drift; None if it goes on.

        by_level: whether the drift may be compared with its own level.
        """
        recovery = self._recovery(self.alike, drift) if by_level and self.alike else None
        return self._quiet_since(drift) if recovery is None else self._recovered_since(drift, *recovery)

    def _recovery(self, alike: Alike, drift: Finding) -> tuple[IntArray, FloatArray] | None:
        """The windows (r,) after a drift's first alarm, and the nats (r,) beyond those that show its end.

        None if no slope of the signal is known.
        """
        test, signal = drift.test, self.judge.index(drift.signal)
        known = max(drift.start + drift.events, int(self.reference_start[signal]))
        rows = np.flatnonzero(self.start >= known)
        # Old panes are merged, and the one in which the drift begins may hold most of it.
        onset = int(np.searchsorted(self.start, drift.start))
        if onset and rows.size and 2 * (self.start[rows[0]] - self.start[onset]) < drift.events:
            onset -= 1
        rows = rows[self.start[rows] > self.start[min(onset, len(self.start) - 1)]]
        nats = alike.recovery(test._replace(signal=signal), self.sums, self.halves, onset, rows, self.fresh)
        return None if nats is None else (rows, nats)

    def _recovered_since(self, drift: Finding, rows: IntArray, nats: FloatArray) -> int | None:
        if not rows.size:
            return None
        own, over = self.signal_of == self.judge.index(drift.signal), nats.max() >= 0
        if not over and not has_faded(drift.evidence, self._evidence_until_now(drift, rows[0])):
            return None
        row = rows[nats.argmax()] if over else rows[0]
        return int(self.start[row]) if self.ratio[row:, own & ~self.uses_past].max() < 1 else None

    def _evidence_until_now(self, drift: Finding, after: int) -> float:
        """The most evidence for a drift in windows older than `after`, the first after its alarm; infinite if none."""
        signal = self.judge.index(drift.signal)
        evidence = self.evidence[:after, self.columns.index(drift.test._replace(signal=signal))]
        counted = evidence[self.start[:after] >= self.reference_start[signal]]
        return float(counted.max(initial=0.0)) if counted.size else math.inf

    def _quiet_since(self, drift: Finding) -> int | None:
        """The start of a window long enough to show the drift that shows none; None if there is no such window."""
        signal = self.judge.index(drift.signal)
        growth = QUIET_GROWTH if self.judge.alikes.bets_on(signal) else _RELEASE_GROWTH
        row = self._newest(max(growth * drift.events, _RELEASE_EVENTS))
        # Events without the signal, counted in another baseline's layout, are no quiet ones.
        earliest = max(drift.start + drift.events, self.reference_start[signal])
        # With a baseline, a past that contains the drift cannot show its end.
        tests = (self.signal_of == signal) & (self.judge.battery.against_past | ~self.uses_past)
        known = row >= 0 and self.start[row] >= earliest
        return int(self.start[row]) if known and self.ratio[row, tests].max() < _RELEASE_RATIO else None
