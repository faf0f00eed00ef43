"""The drifts of a replay, signal by signal: when each began, whether it is over, and what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from driftline.detectors.decision.battery import Column
from driftline.stream.config.incidents import Severity
from driftline.stream.judge.incidents import TRAFFIC, Incident, Status, Subject
from driftline.stream.replay.run import Record


class Found(Protocol):
    """What is shown of a finding: that of a judge, or that of an alert."""

    @property
    def test(self) -> Column: ...

    @property
    def against_past(self) -> bool: ...

    @property
    def events(self) -> int: ...

    @property
    def evidence(self) -> float: ...

    @property
    def threshold(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Episode:
    """One drift of one signal.

    finding: its newest one. since: its earliest start, epoch ms. until: when its incident was resolved, epoch ms; None
    while that is open. recovered: whether the signal is as expected again, though its incident may be open.
    """

    finding: Found
    since: int
    severity: Severity
    until: int | None = None
    recovered: bool = False

    @property
    def open(self) -> bool:
        """Whether the signal still drifts."""
        return self.until is None and not self.recovered


@dataclass
class _Known:
    """An incident so far."""

    newest: Incident
    episodes: dict[Subject, Episode]
    until: int | None = None


def episodes_of(record: Record, model: str, track: str) -> dict[str, list[Episode]]:
    """By signal, the drifts of one track of a model in the order of their starts."""
    incidents = dict[tuple[str, str, int], _Known]()
    for _, step in (each for each in record.steps if each[0] == model):
        until = step.at if step.status is Status.RESOLVED else None
        _add(incidents, step.incident, until)
    for incident in record.open.get(model, ()):
        _add(incidents, incident, None)
    found = dict[str, list[Episode]]()
    for subject, episode in _all(incidents.values()):
        if subject.track == track and subject.signal != TRAFFIC:
            found.setdefault(subject.signal, []).append(episode)
    return {signal: sorted(own, key=lambda each: each.since) for signal, own in found.items()}


def _add(incidents: dict[tuple[str, str, int], _Known], incident: Incident, until: int | None) -> None:
    """The incidents, by identity, after one was seen in this state."""
    identity = incident.scope, incident.baseline, incident.opened
    known = incidents.setdefault(identity, _Known(incident, {}))
    known.newest, known.until = incident, until
    for findings, recovered in ((incident.drifts, False), (incident.recovered, True)):
        for finding in findings:
            before = known.episodes.get(finding.subject)
            since = finding.since if before is None else min(before.since, finding.since)
            known.episodes[finding.subject] = Episode(finding, since, incident.severity, recovered=recovered)


def _all(incidents: Iterable[_Known]) -> Iterator[tuple[Subject, Episode]]:
    for known in incidents:
        for subject, episode in known.episodes.items():
            yield subject, replace(episode, until=known.until, severity=known.newest.severity)


def worst(episodes: Sequence[Episode]) -> Episode | None:
    """The episode that a signal is shown by: the open one, or the one with the most evidence."""
    return max(episodes, key=lambda each: (each.open, each.finding.evidence), default=None)
