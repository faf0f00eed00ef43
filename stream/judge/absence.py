"""Absence: a model's traffic stops, falls or rises, which is an incident of its own. Pure.

    pane ── its slots of event time ──► counts ─┐
    tick ── time is complete up to T ──► T ─────┴─► windows that end at T ─► incident of `traffic`

The statistics are those of `detectors.decision.absence`; a tick says how far time has come. T is the time up to which
every partition of the predictions topic was read: so a partition that is behind delays the judgement, and what it still
holds is no silence. A model whose events come after their time was complete is judged as much later, and not at all if
many come more than an hour later. The incident has the life cycle of all others, but ends as soon as traffic is as
expected again. It does not depend on a baseline, and goes on when that is exchanged.

A version of a model that stops is not absent, as a rollout stops it; a signal or a class that vanishes is a share of
the events that come, which the tests of the battery see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec.structs import replace

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.absence import PATIENCE, Evidence, Kind, accept, judge, recovered
from driftline.detectors.decision.battery import Column
from driftline.detectors.decision.budget import Family
from driftline.detectors.decision.delays import Delays
from driftline.detectors.decision.rates import HOUR, WEEK, Rates
from driftline.detectors.decision.traffic import EVERY_DAY, Calendar, Traffic
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.changes import Change, Profile, Volume
from driftline.stream.judge.incidents import TRAFFIC, Finding, Incident, Resolution, Status, Step
from driftline.stream.judge.lifecycle import LifeCycle
from driftline.stream.judge.schema import ALL_READ, Unread
from driftline.stream.judge.state import TrafficState
from driftline.stream.panes.pane import SLOT_MS

# Slots of an incident after which less or more traffic is the new normal. A week: by then each hour of the week has
# had the new rate once. Silence never becomes normal: a model that is given up is forgotten, or judged no more.
_NEW_NORMAL = 7 * 24 * HOUR
# Slots after which a model's traffic is learned anew if no tick came meanwhile: two weeks are learned in half a second,
# and what changed in a longer time is another traffic.
_OUTDATED = 14 * 24 * HOUR


#: Gives the calendar of a model.
CalendarOf = Callable[[str], Calendar]


def every_day(_: str) -> Calendar:
    """The calendar of any model where none is configured."""
    return EVERY_DAY


@dataclass(frozen=True)
class TrafficJudge:
    """Judges the traffic of one model under its configuration.

    calendar: when its traffic says nothing. rates: those that its baseline knows, None if it knows none.
    """

    config: ModelConfig
    calendar: Calendar = EVERY_DAY
    rates: Rates | None = None

    @cached_property
    def life_cycle(self) -> LifeCycle:
        """The rules of its incidents: each has a scope of its own, and ends at once, as returning traffic is proof."""
        rules = self.config.incidents.model_copy(update={"page_per": "signal", "recovery": 0.0})
        return LifeCycle(rules, "", stopped=self.config.absence.stopped)

    def count(
        self, state: TrafficState | None, slots: Sequence[tuple[int, int]], until: int = 0
    ) -> TrafficState | None:
        """The state with the events of a pane, given by slot. Before the first tick, nothing is counted.

        until: as for `judge`, when the pane came.
        """
        if state is None or not slots:
            return state
        numbers, counts = np.array(slots, np.int64).T
        delays = state.delays.after(numbers, counts, until // SLOT_MS) if until else state.delays
        return replace(state, counts=self._observe(state, numbers, counts, state.counts.until), delays=delays)

    def judge(
        self,
        state: TrafficState | None,
        until: int,
        reached: int,
        unread: Unread = ALL_READ,
        newest: Callable[[], int] = int,
    ) -> tuple[TrafficState | None, list[Step]]:
        """The state when time is complete up to `until`, and the incident's steps; the same state if nothing changed.

        until, reached: epoch ms up to which every partition, and the farthest one, was read; 0 if that is not known.
        unread: messages of the topic that could not be read. What they explain is no absence, and is not learned.
        newest: gives the time of the model's last event, epoch ms.
        """
        allowed, now = self.config.pages[Family.ABSENCE], until // SLOT_MS
        if not until:
            return state, []
        if allowed is None:
            return None, _ended(state.incident if state else None, until, "unwatched")
        if state is None or now - state.counts.until > _OUTDATED:
            ended = _ended(state.incident if state else None, until, "unwatched")
            delays = state.delays if state else Delays()
            uncounted = max(newest() // SLOT_MS + 1, reached // SLOT_MS)
            counts = Traffic.start(now, self.rates, uncounted, reached // SLOT_MS)
            return TrafficState(counts, delays=delays), ended
        now -= state.delays.usual
        if now <= state.counts.until:
            return state, []
        none = np.zeros(0, np.int64)
        counts = self._observe(state, none, none, now, reached // SLOT_MS)
        is_next_week = counts.rates.hour // WEEK > state.counts.rates.hour // WEEK
        delays = state.delays.faded() if is_next_week else state.delays
        observed = replace(state, counts=counts, delays=delays)
        if delays.too_late:
            after, steps = _unwatched(observed, until)
        else:
            after, steps = self._advance(observed, allowed, unread)
        same = (after.incident, after.begin) == (state.incident, state.begin) and counts.rates is state.counts.rates
        return (state if same else after), steps

    def _observe(self, state: TrafficState, slots: IntArray, counts: IntArray, until: int, reached: int = 0) -> Traffic:
        return state.counts.observe(
            slots, counts, until, reached=reached, calendar=self.calendar, unlearned=state.unlearned
        )

    def _advance(self, state: TrafficState, allowed: float, unread: Unread) -> tuple[TrafficState, list[Step]]:
        incident, now = state.incident, state.counts.until
        drift = next(iter(incident.drifts), None) if incident else None
        if incident and drift and drift.events and now - incident.opened >= _NEW_NORMAL:
            counts = accept(state.counts, drift.start, self.calendar)
            return TrafficState(counts, begin=now, delays=state.delays), _ended(incident, now * SLOT_MS, "replaced")
        over = drift if drift and self._is_over(state.counts, drift) else None
        findings = [] if over else self._findings(state, drift, allowed)
        if drift is None and any(_is_explained(each, unread) for each in findings):
            return _after(state, findings[0]), []
        known = {incident.scope: incident} if incident else {}
        released = [over.subject] if over else []
        incidents, steps = self.life_cycle.advance(known, findings, released, now, now * SLOT_MS)
        state = replace(state, incident=incidents.get(TRAFFIC))
        return (_after(state, over) if over else state), steps

    def _is_over(self, counts: Traffic, drift: Finding) -> bool:
        return _came_late(counts, drift) or recovered(counts, counts.until, drift.start, self.calendar)

    def _findings(self, state: TrafficState, drift: Finding | None, allowed: float) -> list[Finding]:
        """What is new, or worse than the incident."""
        begin = state.begin if drift is None else drift.start
        evidence = judge(state.counts, state.counts.until, allowed, begin=begin, calendar=self.calendar)
        if evidence is None or not evidence.alarm:
            return []
        finding = _finding(evidence, state.counts.rates.ready)
        if drift is None:
            return [finding]
        worse = state.incident is not None and self.life_cycle.is_worse(finding, state.incident)
        return [replace(finding, start=drift.start)] if worse else []


def _is_explained(finding: Finding, unread: Unread) -> bool:
    """Whether the events that are missing may be among the messages that could not be read."""
    missing = 0.0 if finding.volume is None else finding.volume.expected - finding.volume.seen
    return finding.test.statistic != "many" and unread.explains(missing, finding.since)


def _came_late(counts: Traffic, drift: Finding) -> bool:
    """Whether more than half of the events that were missing have come since, so that no later one shows a return."""
    volume, first = drift.volume, drift.since // SLOT_MS - counts.first
    if volume is None or first < 0 or volume.seen > volume.expected:
        return False
    seen = int(counts.pending[first : volume.until // SLOT_MS - counts.first].sum())
    return 2 * seen > volume.seen + volume.expected


def _unwatched(state: TrafficState, at: int) -> tuple[TrafficState, list[Step]]:
    """The state while events come too late, and the end of an incident at epoch ms `at`."""
    # No window reaches back to this time once they come in time again.
    return replace(state, begin=state.counts.first, incident=None), _ended(state.incident, at, "unwatched")


def _after(state: TrafficState, drift: Finding) -> TrafficState:
    """The state once a drift is over."""
    # What lies between two incidents within an hour is not learned either, as they share it.
    first, end = state.closed
    begin, now = first if end > state.counts.first else drift.start, state.counts.until
    return replace(state, begin=now, closed=(begin, now))


def _ended(incident: Incident | None, at: int, resolution: Resolution) -> list[Step]:
    """The end of an incident at epoch ms `at`, if somebody knows of it."""
    known = incident is not None and incident.reported
    return [Step(Status.RESOLVED, incident, (), at, resolution=resolution)] if incident and known else []


def _finding(evidence: Evidence, ready: bool) -> Finding:
    """The finding of an alarm. ready: whether the evidence is nats; in the first weeks, it is slots of silence."""
    seen, expected = evidence.seen, evidence.expected
    return Finding(
        signal=TRAFFIC,
        test=Column(_statistic(evidence, ready), -1),
        against_past=True,
        start=evidence.start,
        since=evidence.start * SLOT_MS,
        events=seen,
        ranges=(),
        evidence=evidence.evidence if ready else 0.0,
        threshold=evidence.threshold if ready else 0.0,
        change=Change(
            headline=_headline(evidence, ready),
            before=Profile(round(expected), {}, {}),
            after=Profile(seen, {}, {}),
            psi=0.0,
            jensen_shannon=0.0,
            distance=None,
            wasserstein=None,
        ),
        volume=Volume(seen, expected, evidence.end * SLOT_MS),
    )


def _statistic(evidence: Evidence, ready: bool) -> str:
    if not ready:
        return "gap"
    # A window without an event may begin before the silence.
    return (evidence.kind if evidence.seen else Kind.SILENCE).name.lower()


def _headline(evidence: Evidence, ready: bool) -> str:
    if not ready:
        hours = (evidence.end - evidence.start) / HOUR
        return f"stopped (silent for {hours:.3g} h, {PATIENCE} times its longest gap)"
    expected = f"{evidence.expected:,.0f}" if evidence.expected >= 10 else f"{evidence.expected:.2g}"
    if not evidence.seen:
        return f"stopped (no event, {expected} expected)"
    verb = "fell" if evidence.kind is Kind.FEW else "rose"
    share = evidence.seen / evidence.expected
    return f"{verb} to {100 * share:.3g} % ({evidence.seen:,} events, {expected} expected)"
