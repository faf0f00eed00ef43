"""The life of an incident: findings in, steps out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from driftline.detectors.decision.battery import Column
from driftline.stream.config.incidents import Incidents, Severity
from driftline.stream.judge.incidents import SEVERITIES, Finding, Incident, Phase, Status, Step, _kind

# ms. Less may be the lag of a slow partition, whose panes must not cut a recovery short.
_AHEAD = 24 * 3_600_000


@dataclass(frozen=True)
class LifeCycle:
    """How a model's incidents begin, go on and end. baseline, version: of what it is compared with."""

    rules: Incidents
    baseline: str
    version: str = ""

    def scope(self, signal: str) -> str:
        """Of which incident a signal is."""
        return signal if self.rules.page_per == "signal" else ""

    def severity(self, finding: Finding) -> Severity:
        """A finding's severity: that of the first line of the table that fits."""
        fitting = (
            each.severity
            for each in self.rules.severity
            if each.of in (None, finding.kind) and finding.effect >= each.effect
        )
        return next(fitting, "info")

    def rank(self, finding: Finding) -> int:
        """By which findings are sorted: the higher, the more severe."""
        return SEVERITIES.index(self.severity(finding))

    def may_worsen(self, incident: Incident, signal: str, test: Column) -> bool:
        """Whether the table knows a higher severity for what such a test finds than the incident has."""
        kinds = (None, _kind(signal, test))
        possible = (SEVERITIES.index(each.severity) for each in self.rules.severity if each.of in kinds)
        return max(possible, default=0) > SEVERITIES.index(incident.severity)

    def worsened(self, finding: Finding, incident: Incident) -> bool:
        """Whether a finding alone is more severe than the incident that holds its signal."""
        return self.rank(finding) > SEVERITIES.index(incident.severity)

    def advance(
        self,
        incidents: Mapping[str, Incident],
        findings: Sequence[Finding],
        released: Collection[str],
        seen: int,
        at: int,
    ) -> tuple[dict[str, Incident], list[Step]]:
        """The incidents by scope after alarms and after signals were released, and the steps to tell of.

        findings: of signals that do not drift yet, or that are worse. seen: events of the model so far. at: event
        time, epoch ms.
        """
        after, steps = dict[str, Incident](), list[Step]()
        for scope in dict.fromkeys([*incidents, *(self.scope(each.signal) for each in findings)]):
            own = [each for each in findings if self.scope(each.signal) == scope]
            incident, told = self._advance(incidents.get(scope), scope, own, released, seen, at)
            after |= {} if incident is None else {scope: incident}
            steps += told
        return after, steps

    def _advance(
        self,
        incident: Incident | None,
        scope: str,
        findings: Sequence[Finding],
        released: Collection[str],
        seen: int,
        at: int,
    ) -> tuple[Incident | None, list[Step]]:
        if findings and (incident is None or incident.phase is Phase.CLOSED):
            first, again = findings[0].since, incident is not None
            incident = Incident(scope, self.baseline, self.version, seen, first, Phase.PENDING, at, again=again)
        if incident is None:
            return None, []
        incident, steps = self._joined(incident, findings, at)
        incident = _in_time(_left(incident, released), at)
        while (change := self._next(incident, at)) is not None:
            after, told = change
            steps += told
            if after is None:
                return None, steps
            incident = after
        return incident, steps

    def _joined(self, incident: Incident, findings: Sequence[Finding], at: int) -> tuple[Incident, list[Step]]:
        """With findings in it, and the update if pagers know of it and some are news."""
        if not findings:
            return incident, []
        known = {each.signal for each in (*incident.drifts, *incident.recovered)}
        news = tuple(each for each in findings if each.signal not in known or self.worsened(each, incident))
        names = {each.signal for each in findings}
        joined = replace(
            incident,
            since=min(incident.since, *(each.since for each in findings)),
            severity=max([incident.severity, *map(self.severity, findings)], key=SEVERITIES.index),
            drifts=(*_without(incident.drifts, names), *findings),
            recovered=_without(incident.recovered, names),
        )
        return joined, [Step(Status.UPDATED, joined, news, at)] if news and joined.told else []

    def _next(self, incident: Incident, at: int) -> tuple[Incident | None, list[Step]] | None:
        """What it becomes at `at` by the table above, and what to tell of that; None: it stays as it is."""
        lasted = at - incident.entered
        match incident.phase:
            case Phase.PENDING if not incident.drifts:
                return _closed(incident, at) if incident.again else None, []
            case Phase.PENDING if lasted >= _ms(self.rules.hold):
                fires = self._fires(incident, at)
                return fires, [Step(Status.FIRING, fires, fires.drifts, at)]
            case Phase.FIRING if not incident.drifts:
                return incident.enter(Phase.RECOVERING, at), []
            case Phase.RECOVERING if incident.drifts:
                return incident.enter(Phase.FIRING, at), []
            case Phase.RECOVERING if lasted >= self._recovery(incident):
                over = Step(Status.RESOLVED, incident, (), incident.entered, resolution="recovered")
                return _closed(incident, at), [over]
            case Phase.CLOSED if lasted >= _ms(self.rules.cooldown):
                return None, []
        return None

    def _fires(self, incident: Incident, at: int) -> Incident:
        """Firing with what still drifts: of what healed while it was held nobody is told, and its return is news."""
        severity = self.severity(max(incident.drifts, key=self.rank))
        return replace(incident.enter(Phase.FIRING, at), severity=severity, recovered=())

    def _recovery(self, incident: Incident) -> int:
        """How long it must have recovered to be resolved, ms."""
        rules = self.rules
        return _ms(max(rules.recovery, rules.cooldown) if incident.again else rules.recovery)


def accepted(incidents: Iterable[Incident], at: int) -> list[Step]:
    """The ends of open incidents whose baseline was replaced: what they drifted to may be the new normal."""
    return [Step(Status.RESOLVED, each, (), at, resolution="accepted") for each in incidents if each.told]


def _in_time(incident: Incident, at: int) -> Incident:
    """A clock that ran ahead may have said when it entered its phase; it must not wait there for years."""
    return incident if incident.entered <= at + _AHEAD else replace(incident, entered=at)


def _left(incident: Incident, released: Collection[str]) -> Incident:
    gone = tuple(each for each in incident.drifts if each.signal in released)
    if not gone:
        return incident
    return replace(incident, drifts=_without(incident.drifts, released), recovered=(*incident.recovered, *gone))


def _closed(incident: Incident, at: int) -> Incident:
    return replace(incident.enter(Phase.CLOSED, at), drifts=(), recovered=())


def _without(findings: Sequence[Finding], signals: Collection[str]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.signal not in signals)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
