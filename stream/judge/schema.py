"""Schema: a topic whose messages cannot be read any more, or have other fields, is an incident of its own. Pure.

    tick ── what its partition has read and rejected since the last one ──► share of rejections ─┐
         └─ fields that no signal watches ──► new ones ──────────────────────────────────────────┴─► incidents of topic

The share is judged by a CUSUM (Page, Biometrika 41, 1954): the evidence, in nats, that it has risen since the moment
for which that is likeliest. Every judge keeps this state, by the ticks of its own partition of the panes topic, as it
must know whether a model is silent because nobody can read its events; the judge of partition `REPORTER` reports it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from driftline.detectors.decision.battery import Column
from driftline.detectors.statistics.categorical import rate_evidence
from driftline.stream.config.incidents import Incidents
from driftline.stream.judge.changes import Change, Profile
from driftline.stream.judge.incidents import FIELDS, NEARLY_ALL, REJECTED, Finding, Incident, Status, Step, Subject
from driftline.stream.judge.lifecycle import LifeCycle
from driftline.stream.panes.tick import Tick

#: The partition of the panes topic whose judge reports the incidents of the predictions topic.
REPORTER: Final = 0
# Nats of an alarm. A CUSUM of independent messages reaches them by chance once in e^20 = 5e8 messages or more (Lorden,
# Ann. Math. Stat. 42, 1971), if the usual share is known. Where few messages are, it may be off by half: so the counts
# before and after, compared with each other, must show as much.
_THRESHOLD = 20.0
# ms. Messages of a burst are not independent: those of one batch or one restart are rejected for one reason.
_LASTS = 20_000
# The share that rejections have at least, where none is known, and the least rise that is looked for: as much as
# `worker.max_rejected` allows, twice over. Less is for the dead letters to tell.
_FLOOR, _RISE = 0.001, 0.02
# By how much a share must have fallen to have recovered: one of several producers that is mended brings it down, too.
_LEFT = 10
# Messages whose share of rejections is remembered; those before count half, and so on.
_REMEMBERED = 1_000_000
# Rejections in a row from which on nothing can be read: a quiet partition does not say it of the topic.
_IN_ROW = 10
# ms after which a higher share, but for nothing at all, is the new normal; the same of new fields, of which there is
# nothing to see after a day; and for how long the fields of a topic are learned before a new one is news.
_NEW_NORMAL, _FIELDS_KNOWN, _FIELDS_LEARNED = 7 * 86_400_000, 86_400_000, 86_400_000
# Fields that are remembered, causes that are kept, and those and fields that an alert names.
_FIELDS, _CAUSES, _NAMED = 1000, 20, 5
_LONGEST = 40  # characters of a field or cause in a title
# A time that is later than all others.
_EVER = 1 << 62


class Counts(NamedTuple):
    """Messages read, and of these rejected, at most all."""

    read: int = 0
    rejected: int = 0

    def plus(self, other: Counts) -> Counts:
        """The sum of both."""
        return Counts(self.read + other.read, self.rejected + other.rejected)

    @property
    def share(self) -> float:
        """The share that was rejected; 0 if nothing was read."""
        return self.rejected / self.read if self.read else 0.0


class Unread(NamedTuple):
    """How many messages more than usual could not be read, before `until` (epoch ms): they may be a model's events."""

    messages: int = 0
    until: int = 0

    def explains(self, missing: float, since: int) -> bool:
        """Whether as many may be `missing` of a model since a time, epoch ms."""
        return since < self.until and missing <= self.messages


#: Of a topic that can be read.
ALL_READ: Final = Unread()


class SchemaState(Struct, frozen=True):
    """What is remembered of a topic. Times are of ticks, epoch ms.

    begun: the first tick. at: the last one. usual: counts before `since`. recent: counts from there on, where the share
    may have risen; causes: their rejections by cause. score: nats that it has; in an incident, nats that it has fallen
    again. fields: unwatched fields that are known. unread: of the last rise that was one. incidents: by scope.
    last_seq: number of the newest alert. in_row: rejections since `read_at`, the last tick with messages that could be
    read.
    """

    begun: int
    at: int
    since: int
    usual: Counts = Counts()
    recent: Counts = Counts()
    causes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    score: float = 0.0
    fields: tuple[tuple[str, str], ...] = ()
    unread: Unread = ALL_READ
    incidents: Mapping[str, Incident] = field(default_factory=dict)
    last_seq: int = 0
    in_row: int = 0
    read_at: int = 0

    def finding(self, signal: str) -> Finding | None:
        """What is found of the topic and not over."""
        incident = self.incidents.get(signal)
        return next(iter(incident.drifts), None) if incident else None

    @property
    def open_incidents(self) -> list[Incident]:
        """The incidents that alerts have reported as open."""
        return [each for each in self.incidents.values() if each.reported]

    @property
    def expected(self) -> float:
        """The usual share of rejections."""
        return max((self.usual.rejected + 0.5) / (self.usual.read + 1), _FLOOR)

    @property
    def is_nothing(self) -> bool:
        """Whether nothing at all could be read, of any partition."""
        return self.in_row >= _IN_ROW and self.at - self.read_at >= _LASTS

    @property
    def unreadable(self) -> Unread:
        """The messages that a silent model may have sent."""
        if not self.score and self.finding(REJECTED) is None:
            return self.unread
        surplus = math.floor(self.recent.rejected - self.expected * self.recent.read)
        return Unread(surplus, _EVER) if surplus > 0 else self.unread


@dataclass(frozen=True)
class SchemaJudge:
    """Judges the predictions topic `topic`. rules: of its incidents, those of `defaults`."""

    topic: str
    rules: Incidents

    @cached_property
    def life_cycle(self) -> LifeCycle:
        """The rules of its incidents: each has a scope of its own, and one of which nothing can be read is critical."""
        return LifeCycle(self.rules.model_copy(update={"page_per": "signal"}), "")

    def judge(
        self, state: SchemaState | None, before: Tick | None, tick: Tick, at: int
    ) -> tuple[SchemaState, list[Step]]:
        """The state after a tick, and the steps to report.

        before, tick: what the ticks of one partition of the topic have said, without this one and with it. at: the
        largest time of a tick of the topic, epoch ms.
        """
        if state is None:
            return SchemaState(at, at, at, fields=_first_of(tick.unwatched)), []
        causes = _newly_rejected(before, tick)
        rejected = sum(causes.values())
        # Rows are rejected one by one, and a message may have many.
        counts = Counts(max(tick.read - before.read, rejected, 0) if before else 0, rejected)
        state, found = self._count(_in_row(state, counts, at), counts, causes, at)
        state, new_fields = self._new_fields(state, tick, at)
        return self._advance(state, [*found, *new_fields], at)

    def _count(
        self, state: SchemaState, counts: Counts, causes: Mapping[str, int], at: int
    ) -> tuple[SchemaState, list[Finding]]:
        drift, last = state.finding(REJECTED), state.at
        state = replace(state, at=at)
        return self._rise(state, counts, causes, last) if drift is None else _fall(state, drift, counts, causes)

    def _rise(
        self, state: SchemaState, counts: Counts, causes: Mapping[str, int], last: int
    ) -> tuple[SchemaState, list[Finding]]:
        """The state after more messages, while their share of rejections is as usual, and whether it has risen.

        last: time of the tick before, epoch ms.
        """
        usual, recent = state.expected, state.recent.plus(counts)
        more = _evidence(counts, usual, _risen(usual))
        score = min(state.score + more, 2 * _THRESHOLD)
        shown = min(score, _difference(state.usual, recent)) >= _THRESHOLD
        # What takes longer than all that is known says that too little is known.
        if score <= 0 or (not shown and recent.read > state.usual.read):
            return _learned(state, state.usual.plus(recent), state.at), []
        since = state.since if state.score else last
        state = replace(state, recent=recent, causes=_sum(state.causes, causes), score=score, since=since)
        if more <= 0 or not shown or state.at - since < _LASTS:
            return state, []
        return replace(state, score=0.0), [_rejections(state, state.score)]

    def _new_fields(self, state: SchemaState, tick: Tick, at: int) -> tuple[SchemaState, list[Finding]]:
        room = max(_FIELDS - len(state.fields), 0)
        new = sorted({*tick.unwatched} - {*state.fields})[:room]
        if not new:
            return state, []
        after = replace(state, fields=tuple(sorted({*state.fields, *new})))
        is_expected = at - state.begun < _FIELDS_LEARNED or state.finding(FIELDS) is not None
        return after, [] if is_expected else [_fields(state, new)]

    def _advance(self, state: SchemaState, findings: list[Finding], at: int) -> tuple[SchemaState, list[Step]]:
        if not (findings or state.incidents):
            return state, []
        state, ended = self._accept(state, at)
        drift, released = state.finding(REJECTED), list[Subject]()
        if drift and state.score >= _THRESHOLD:
            released = [drift.subject]
            unread = Unread(state.unreadable.messages, at)
            state = replace(state, recent=Counts(), causes={}, score=0.0, since=at, unread=unread)
        incidents, steps = self.life_cycle.advance(state.incidents, findings, released, at, at)
        numbered = [replace(each, seq=state.last_seq + i) for i, each in enumerate([*ended, *steps], 1)]
        return replace(state, incidents=incidents, last_seq=state.last_seq + len(numbered)), numbered

    def _accept(self, state: SchemaState, at: int) -> tuple[SchemaState, list[Step]]:
        """The state without incidents that have become the new normal, and the ends of those."""
        rejected, fields = state.finding(REJECTED), state.finding(FIELDS)
        steps = list[Step]()
        if fields and at - fields.since >= _FIELDS_KNOWN:
            state, steps = _without(state, FIELDS, at)
        if rejected and at - rejected.since >= _NEW_NORMAL and state.recent.share < NEARLY_ALL:
            state, more = _without(state, REJECTED, at)
            steps += more
            unread = Unread(state.recent.rejected, at)
            state = replace(_learned(state, state.recent, state.since), unread=unread)
        return state, steps


def _in_row(state: SchemaState, counts: Counts, at: int) -> SchemaState:
    """The state with the messages of a tick that follow each other unread, or with the end of such a row."""
    if not counts.read:
        return state
    if counts.share >= NEARLY_ALL:
        return replace(state, in_row=state.in_row + counts.rejected)
    return replace(state, in_row=0, read_at=at)


def _fall(
    state: SchemaState, drift: Finding, counts: Counts, causes: Mapping[str, int]
) -> tuple[SchemaState, list[Finding]]:
    """The state after more messages, while the share of rejections is higher, and whether it is now all of them."""
    usual, so_far = state.expected, (state.recent.rejected + 0.5) / (state.recent.read + 1)
    left = min(max(so_far / _LEFT, _risen(usual)), so_far)
    score = min(max(state.score + _evidence(counts, left, usual), 0.0), _THRESHOLD)
    state = replace(state, recent=state.recent.plus(counts), causes=_sum(state.causes, causes), score=score)
    # The score is that of the way back by now: the evidence is what it was when the share had risen.
    return state, [_rejections(state, drift.evidence)] if state.is_nothing and drift.effect < NEARLY_ALL else []


def _risen(usual: float) -> float:
    """The least share that is more than the usual one."""
    return min(max(2 * usual, usual + _RISE), (1 + usual) / 2)


def _without(state: SchemaState, scope: str, at: int) -> tuple[SchemaState, list[Step]]:
    """The state without an incident, and the end of it."""
    rest, incident = dict(state.incidents), state.incidents[scope]
    del rest[scope]
    ended = Step(Status.RESOLVED, incident, (), at, resolution="replaced")
    return replace(state, incidents=rest), [ended] if incident.reported else []


def _learned(state: SchemaState, usual: Counts, since: int) -> SchemaState:
    """The state where these counts are the usual ones, and nothing has risen since a time."""
    return replace(state, usual=_fading(usual), recent=Counts(), causes={}, score=0.0, since=since)


def _difference(usual: Counts, recent: Counts) -> float:
    """Nats by which counts show that a smaller share was rejected before."""
    if recent.share <= usual.share:
        return 0.0
    return float(rate_evidence(recent.rejected, recent.read, usual.rejected, usual.read))


def _evidence(counts: Counts, before: float, after: float) -> float:
    """Nats by which the counts speak for one share of rejections and against another, both within (0, 1)."""
    accepted = counts.read - counts.rejected
    return counts.rejected * math.log(after / before) + accepted * math.log((1 - after) / (1 - before))


def _newly_rejected(before: Tick | None, tick: Tick) -> dict[str, int]:
    """What a partition has rejected by cause since it was heard last; nothing when it is heard for the first time."""
    if before is None:
        return {}
    more = {cause: times - before.rejected.get(cause, 0) for cause, times in tick.rejected.items()}
    return {cause: times for cause, times in more.items() if times > 0}


def _sum(known: Mapping[str, int], new: Mapping[str, int]) -> Mapping[str, int]:
    """The rejections of both by cause, the commonest ones."""
    if not new:
        return known
    both = Counter(dict(known)) + Counter(dict(new))
    return dict(sorted(both.items(), key=lambda each: (-each[1], each[0]))[:_CAUSES])


def _first_of(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({*fields}))[:_FIELDS]


def _fading(counts: Counts) -> Counts:
    return counts if counts.read < _REMEMBERED else Counts(counts.read // 2, counts.rejected // 2)


def _rejections(state: SchemaState, evidence: float) -> Finding:
    """The finding that the share has risen since `since`. evidence: nats."""
    recent = Counts(state.in_row, state.in_row) if state.is_nothing else state.recent
    usual, rejected = state.usual, max(sum(state.causes.values()), 1)
    causes = {
        _short(cause): round(recent.share * times / rejected, 4) for cause, times in list(state.causes.items())[:_NAMED]
    }
    before = Profile(usual.read, {REJECTED: usual.share}, {})
    after = Profile(recent.read, {REJECTED: recent.share}, causes)
    commonest = next(iter(causes), "")
    nothing = ", nothing can be read" if recent.share >= NEARLY_ALL else ""
    what = f"{_percent(usual.share)} → {_percent(recent.share)}{nothing}{f' ({commonest})' if commonest else ''}"
    return _finding(REJECTED, "share", state, what, before, after, evidence)


def _fields(state: SchemaState, new: list[tuple[str, str]]) -> Finding:
    """The finding of new fields, of models."""
    names = [f"{_short(name)} of {_short(model)}" for model, name in new]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    headline = f"new: {', '.join(names[:_NAMED])}{more}"
    return _finding(FIELDS, "new", state, headline, Profile(0, {}, {}), Profile(0, {}, {}))


def _finding(
    signal: str, test: str, state: SchemaState, headline: str, before: Profile, after: Profile, evidence: float = 0.0
) -> Finding:
    rejections = signal == REJECTED
    return Finding(
        signal=signal,
        test=Column(test, -1),
        against_past=True,
        start=state.at,
        since=state.since if rejections else state.at,
        events=after.events,
        ranges=(),
        evidence=evidence,
        threshold=_THRESHOLD if rejections else 0.0,
        change=Change(
            headline=headline,
            before=before,
            after=after,
            psi=0.0,
            jensen_shannon=0.0,
            distance=None,
            wasserstein=None,
        ),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
