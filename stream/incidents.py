"""Incidents: one model's drift from first alarm to recovery. Pure: findings in, steps out.

    none ──findings──► firing ──more findings──► firing (updated) ──all signals released──► none (resolved)

A signal is in `drifts` or in `recovered`, and once: one that drifts again while the incident is open moves back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from detectors.battery import Test
from stream.changes import Change
from stream.panes import Range


class Status(StrEnum):
    """What an alert says of its incident."""

    FIRING = "firing"
    UPDATED = "updated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Finding:
    """One signal's alarm: the test and window that raised it and the change it saw.

    start: events the model had seen before the window. since: time of its first event, epoch ms. events: its length.
    evidence, threshold: nats. against_past: the reference was the past and not the baseline.
    """

    signal: str
    test: Test
    against_past: bool
    start: int
    since: int
    events: int
    ranges: tuple[Range, ...]
    evidence: float
    threshold: float
    change: Change


@dataclass(frozen=True, slots=True)
class Incident:
    """An open incident. opened: events the model had seen when it fired; with the model, its identity.

    since: earliest start of a drift in it, epoch ms. drifts: of the signals that still drift. recovered: of those that
    did.
    """

    opened: int
    since: int
    drifts: tuple[Finding, ...] = ()
    recovered: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Something to tell: an incident that fired, was updated by `news` or resolved, at event time `at` (epoch ms)."""

    status: Status
    incident: Incident
    news: tuple[Finding, ...]
    at: int
    seq: int = 0


def advance(
    incident: Incident | None, findings: Sequence[Finding], released: Collection[str], seen: int, at: int
) -> tuple[Incident | None, list[Step]]:
    """The incident after new findings and after signals were released, and the steps to tell of.

    seen: events of the model so far. at: event time, epoch ms.
    """
    steps = []
    if findings:
        status = Status.FIRING if incident is None else Status.UPDATED
        since = min(finding.since for finding in findings)
        old = incident or Incident(opened=seen, since=since)
        recovered = _without(old.recovered, {finding.signal for finding in findings})
        incident = replace(old, since=min(old.since, since), drifts=(*old.drifts, *findings), recovered=recovered)
        steps.append(Step(status, incident, tuple(findings), at))
    if incident is None or not released:
        return incident, steps
    gone = tuple(drift for drift in incident.drifts if drift.signal in released)
    left = _without(incident.drifts, released)
    incident = replace(incident, drifts=left, recovered=(*incident.recovered, *gone))
    if left:
        return incident, steps
    return None, [*steps, Step(Status.RESOLVED, incident, (), at)]


def _without(findings: Sequence[Finding], signals: Collection[str]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.signal not in signals)
