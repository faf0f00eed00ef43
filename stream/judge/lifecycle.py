"""The life cycle of incidents: findings and recoveries in, steps out. Pure.

    phase        findings             no signal drifts any more    enough time has passed
    (none)       → pending
    pending      join                 → (none)                     hold:      → firing, with all its signals
    firing       new ones: update     → recovering
    recovering   → firing                                          recovery:  → closed, resolved
    closed       → pending                                         cooldown:  → (none)

From format level 3 on, an incident is remembered for eight days after its end (`stream.judge.returns`): what comes back
no worse is the same incident, which is updated and not fired, and its next end takes twice the events of quiet. And an
incident is one cause: what begins later, and does not follow from it, is an incident of its own.

A flapping signal: an incident that opens within the cooldown of the last one must have recovered for as long as the
cooldown, so there are at most two pages within any stretch of that length. A signal that returns to an open incident is
not reported again. All times are event time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import UNSET
from msgspec.structs import replace

from driftline.detectors.decision.battery import Column
from driftline.stream.config.incidents import Incidents, Severity
from driftline.stream.judge.incidents import (
    SEVERITIES,
    Course,
    Finding,
    Incident,
    Phase,
    Resolution,
    Status,
    Step,
    Subject,
    class_of,
)
from driftline.stream.judge.returns import (
    REMEMBERED,
    has_cause_of,
    is_news,
    is_quiet,
    is_return,
    may_be_news,
    reopened,
    with_quiet,
    with_reported,
)

# ms. Less may be the lag of a slow partition, whose panes must not cut a recovery short.
_AHEAD = 24 * 3_600_000
# The reasons for which drifts leave an incident: the first one among them is told.
_STRONGEST: tuple[Resolution, ...] = ("accepted", "replaced", "unwatched")


@dataclass(frozen=True)
class LifeCycle:
    """The rules of one model's incidents, or of a topic's.

    baseline, version: content hash and model version of its baseline. stopped: severity when nothing comes any more.
    remembers: whether new incidents are remembered after their end.
    """

    rules: Incidents
    baseline: str
    version: str = ""
    stopped: Severity = "critical"
    remembers: bool = False

    def scope(self, signal: str) -> str:
        """The scope of the incident that a signal belongs to."""
        return signal if self.rules.page_per == "signal" else ""

    def severity(self, finding: Finding) -> Severity:
        """The severity of a finding: that of a stop, or of the first row of the table that fits, else info."""
        if finding.is_stop:
            return self.stopped
        rule = severity_rule(self.rules, finding)
        return "info" if rule is None else self.rules.severity[rule].severity

    def rank(self, finding: Finding) -> int:
        """The severity of a finding as a number: the higher, the more severe."""
        return SEVERITIES.index(self.severity(finding))

    def may_worsen(self, incident: Incident, signal: str, test: Column) -> bool:
        """Whether the table has a higher severity than the incident's for what such a test finds."""
        kinds = (None, class_of(signal, test))
        unscaled = test.special is not None
        rules = [each for each in self.rules.severity if each.of in kinds and not (unscaled and each.scale)]
        possible = (SEVERITIES.index(each.severity) for each in rules)
        return max(possible, default=0) > SEVERITIES.index(incident.severity)

    def may_be_news(self, incident: Incident, drift: Finding, test: Column, density: float) -> bool:
        """Whether what such a test finds of a drifting signal may be worth an update. density: nats an event."""
        course = incident.course
        new = course is not UNSET and may_be_news(course, drift.subject, test, density)
        return new or self.may_worsen(incident, drift.signal, test)

    def is_news(self, finding: Finding, incident: Incident) -> bool:
        """Whether a finding of a drifting signal is worth an update: more severe, or twice as bad as was reported."""
        course = incident.course
        return self.is_worse(finding, incident) or (course is not UNSET and is_news(course, finding))

    def is_worse(self, finding: Finding, incident: Incident) -> bool:
        """Whether a finding by itself is more severe than the incident."""
        return self.rank(finding) > SEVERITIES.index(incident.severity)

    def advance(
        self,
        incidents: Mapping[str, Incident],
        findings: Sequence[Finding],
        released: Collection[Subject],
        seen: int,
        at: int,
    ) -> tuple[dict[str, Incident], list[Step]]:
        """The incidents by scope after a check, and the steps to report.

        findings: of signals that do not drift yet, or that are worse. released: what has recovered. seen:
        events of the model so far. at: event time, epoch ms.
        """
        after, steps, found = dict[str, Incident](), list[Step](), self._by_scope(incidents, findings, at)
        for scope in dict.fromkeys([*incidents, *found]):
            own = found.get(scope, [])
            incident, more = self._advance_one(incidents.get(scope), scope, own, released, seen, at)
            after |= {} if incident is None else {scope: incident}
            steps += more
        return after, steps

    def _by_scope(
        self, incidents: Mapping[str, Incident], findings: Sequence[Finding], at: int
    ) -> dict[str, list[Finding]]:
        """The findings by the incident that they belong to, each one cause: an open one, or another that begins.

        What begins apart from the incident of its model has the scope of its first signal.
        """
        found, apart = dict[str, list[Finding]](), ""
        for finding in findings:
            scope = self._scope_of(incidents, finding, at)
            if scope is None:
                scope = apart = apart or finding.signal
            found.setdefault(scope, []).append(finding)
        return found

    def _scope_of(self, incidents: Mapping[str, Incident], finding: Finding, at: int) -> str | None:
        """The scope of the incident that a finding belongs to; None if it begins apart from the one of its model."""
        still_open = {scope: each for scope, each in incidents.items() if each.phase is not Phase.CLOSED}
        for scope, each in still_open.items():
            if any(drift.subject == finding.subject for drift in (*each.drifts, *each.recovered)):
                return scope
        own = self.scope(finding.signal)
        # Incidents that are not remembered, as of outcomes, take what has their own scope alone.
        taking = [scope for scope, each in still_open.items() if scope == own or each.course is not UNSET]
        for scope in sorted(taking, key=lambda scope: scope != own):
            if has_cause_of(still_open[scope], finding, self.is_worse(finding, still_open[scope]), at):
                return scope
        returns = (scope for scope, each in incidents.items() if scope != own and is_return(each, [finding], at))
        return next(returns, None if own in still_open else own)

    def _advance_one(
        self,
        incident: Incident | None,
        scope: str,
        findings: Sequence[Finding],
        released: Collection[Subject],
        seen: int,
        at: int,
    ) -> tuple[Incident | None, list[Step]]:
        if findings and (incident is None or incident.phase is Phase.CLOSED):
            incident = self._begin(incident, scope, findings, seen, at)
        if incident is None:
            return None, []
        incident, steps = self._join(incident, findings, at)
        incident = _limit_entered(_release(incident, released), at)
        while (transition := self._transition(incident, seen, at)) is not None:
            after, more = transition
            steps += more
            if after is None:
                return None, steps
            incident = after
        return incident, steps

    def _begin(self, closed: Incident | None, scope: str, findings: Sequence[Finding], seen: int, at: int) -> Incident:
        """What begins with findings: the closed incident again, if they say nothing new, or another one."""
        cooldown = _ms(self.rules.cooldown)
        again = closed is not None and at - closed.entered < cooldown
        until = at + cooldown
        if closed and is_return(closed, findings, at) and not any(self.is_worse(each, closed) for each in findings):
            return reopened(closed, at, again, until)
        course = Course(until=until) if self.remembers else UNSET
        return Incident(
            scope, self.baseline, self.version, seen, findings[0].since, Phase.PENDING, at, again=again, course=course
        )

    def _join(self, incident: Incident, findings: Sequence[Finding], at: int) -> tuple[Incident, list[Step]]:
        """The incident with findings in it, and the update if it is reported and some of them are new or worse."""
        if not findings:
            return incident, []
        known = {each.subject for each in (*incident.drifts, *incident.recovered)}
        news = tuple(each for each in findings if each.subject not in known or self.is_news(each, incident))
        subjects = {each.subject for each in findings}
        joined = replace(
            incident,
            since=min(incident.since, *(each.since for each in findings)),
            severity=max([incident.severity, *map(self.severity, findings)], key=SEVERITIES.index),
            drifts=(*_without(incident.drifts, subjects), *findings),
            recovered=_without(incident.recovered, subjects),
        )
        if not (news and joined.reported):
            return joined, []
        joined = with_reported(joined, news)
        return joined, [Step(Status.UPDATED, joined, news, at)]

    def _transition(self, incident: Incident, seen: int, at: int) -> tuple[Incident | None, list[Step]] | None:
        """The next phase by the table in `stream.judge.incidents`, and its steps; None if the phase stays."""
        duration = at - incident.entered
        match incident.phase:
            case Phase.PENDING if not incident.drifts:
                return _close(incident, at) if incident.again or incident.came_back else None, []
            case Phase.PENDING if duration >= _ms(self.rules.hold):
                fired = self._fire(incident, at)
                status = Status.UPDATED if fired.came_back else Status.FIRING
                return fired, [Step(status, fired, fired.drifts, at, reopened=fired.came_back)]
            case Phase.FIRING if not incident.drifts:
                return with_quiet(incident.enter(Phase.RECOVERING, at), seen), []
            case Phase.RECOVERING if incident.drifts:
                return incident.enter(Phase.FIRING, at), []
            case Phase.RECOVERING if duration >= self._recovery_ms(incident) and is_quiet(incident, seen):
                resolved = Step(Status.RESOLVED, incident, (), incident.entered, resolution="recovered")
                return _close(incident, at), [resolved]
            case Phase.CLOSED if duration >= self._closed_ms(incident):
                return None, []
        return None

    def _fire(self, incident: Incident, at: int) -> Incident:
        """The incident firing with what still drifts: signals that recovered while it was held are not reported."""
        fired = with_reported(incident.enter(Phase.FIRING, at), incident.drifts)
        if incident.came_back:
            return fired
        return replace(fired, severity=self.severity(max(incident.drifts, key=self.rank)), recovered=())

    def _recovery_ms(self, incident: Incident) -> int:
        """How long all signals must have recovered before the incident is resolved."""
        rules = self.rules
        return _ms(max(rules.recovery, rules.cooldown) if incident.again else rules.recovery)

    def _closed_ms(self, incident: Incident) -> int:
        """How long an incident is remembered after its end."""
        cooldown = _ms(self.rules.cooldown)
        return cooldown if incident.course is UNSET else max(cooldown, REMEMBERED)


def severity_rule(rules: Incidents, finding: Finding) -> int | None:
    """The row of the severity table that fits a finding, counted from 0; None if none does."""
    fitting = (
        i
        for i, each in enumerate(rules.severity)
        if each.of in (None, finding.kind)
        and finding.effect >= each.effect
        and (each.scale is None or finding.scale >= each.scale)
    )
    return next(fitting, None)


def end(incidents: Iterable[Incident], at: int) -> list[Step]:
    """The ends of the open incidents of a model that is no longer watched."""
    return [Step(Status.RESOLVED, each, (), at, resolution="unwatched") for each in incidents if each.reported]


def leave(
    incidents: Mapping[str, Incident], gone: Mapping[Subject, Resolution], at: int
) -> tuple[dict[str, Incident], list[Step]]:
    """The incidents by scope without what has `gone`, and the ends of those in which nothing drifts any more by that.

    gone: what is no longer compared with its reference, and why. at: event time, epoch ms.
    """
    after, steps = dict[str, Incident](), list[Step]()
    for scope, incident in incidents.items():
        left = [each for each in incident.drifts if each.subject in gone]
        rest = replace(incident, drifts=_without(incident.drifts, gone))
        if not left or rest.drifts:
            after[scope] = rest if left else incident
            continue
        reasons = {gone[each.subject] for each in left}
        if incident.reported:
            resolution = next(each for each in _STRONGEST if each in reasons)
            steps.append(Step(Status.RESOLVED, incident, (), at, resolution=resolution))
        if incident.reported or incident.again:
            after[scope] = _close(replace(incident, course=UNSET), at)  # what begins now is another drift
    return after, steps


def _limit_entered(incident: Incident, at: int) -> Incident:
    """The incident without a time of entry far ahead of `at`: by a wrong clock it would stay in its phase for years."""
    return incident if incident.entered <= at + _AHEAD else replace(incident, entered=at)


def _release(incident: Incident, released: Collection[Subject]) -> Incident:
    recovered = tuple(each for each in incident.drifts if each.subject in released)
    if not recovered:
        return incident
    return replace(incident, drifts=_without(incident.drifts, released), recovered=(*incident.recovered, *recovered))


def _close(incident: Incident, at: int) -> Incident:
    recovered = () if incident.course is UNSET else incident.recovered
    return replace(incident.enter(Phase.CLOSED, at), drifts=(), recovered=recovered)


def _without(findings: Sequence[Finding], subjects: Collection[Subject]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.subject not in subjects)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
