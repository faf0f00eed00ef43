"""Incidents: a drift from first alarm to recovery. Pure: findings in, steps out.

    phase        findings        no signal drifts any more    it has lasted
    (none)       → pending
    pending      join            → (none)                     hold:      → firing, told with all its signals
    firing       new ones told   → recovering
    recovering   → firing                                     recovery:  → closed, told as resolved
    closed       → pending                                    cooldown:  → (none)

What comes and goes: an incident that opens within the cooldown of the last one must have recovered for as long as the
cooldown; so, whatever comes and goes, two pages are the most within any stretch of that length. A signal that returns
to an open incident is no news. All times are event time.

A signal is in `drifts` or in `recovered`, and once: one that drifts again while the incident is open moves back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from driftline.detectors.decision.battery import Column
from driftline.stream.config.incidents import FindingClass, Severity
from driftline.stream.judge.changes import BROKEN, Change
from driftline.stream.panes.pane import Range

# Rising.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")


class Status(StrEnum):
    """What an alert says of its incident."""

    FIRING = "firing"
    UPDATED = "updated"
    RESOLVED = "resolved"


class Phase(StrEnum):
    """Where an incident is in its life."""

    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One signal's alarm: the test and window that raised it and the change it saw.

    start: events the model had seen before the window. since: time of its first event, epoch ms. events: its length.
    evidence, threshold: nats. against_past: the reference was the past and not the baseline.
    """

    signal: str
    test: Column
    against_past: bool
    start: int
    since: int
    events: int
    ranges: tuple[Range, ...]
    evidence: float
    threshold: float
    change: Change

    @property
    def kind(self) -> FindingClass:
        """What sort of change it is."""
        return _kind(self.signal, self.test)

    @property
    def effect(self) -> float:
        """By which the table of severities judges it: a shift, however large, breaks no values."""
        return self.change.breakage if self.kind == "data-quality" else self.change.jensen_shannon


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident. opened: events the model had seen at its first alarm; with baseline and model, its identity.

    scope: the signal it is of, "" for the whole model. baseline, version: of what the model is compared with. since:
    earliest start of a drift in it, epoch ms. entered: when it came into its phase, epoch ms. again: it opened within
    the cooldown of another one. drifts: of the signals that still drift. recovered: of those that did.
    """

    scope: str
    baseline: str
    version: str
    opened: int
    since: int
    phase: Phase
    entered: int
    severity: Severity = "info"
    again: bool = False
    drifts: tuple[Finding, ...] = ()
    recovered: tuple[Finding, ...] = ()

    @property
    def told(self) -> bool:
        """Whether pagers know of it as open."""
        return self.phase in (Phase.FIRING, Phase.RECOVERING)

    def enter(self, phase: Phase, at: int) -> Incident:
        """In another phase, from `at` on."""
        return replace(self, phase=phase, entered=at)


@dataclass(frozen=True, slots=True)
class Step:
    """Something to tell: an incident that fired, was updated by `news` or resolved, at event time `at` (epoch ms).

    resolution: why it is resolved: its signals look like the reference again, or the reference is another one now.
    """

    status: Status
    incident: Incident
    news: tuple[Finding, ...]
    at: int
    seq: int = 0
    resolution: Literal["recovered", "accepted"] | None = None


def _kind(signal: str, test: Column) -> FindingClass:
    """What sort of change a test of a signal finds."""
    if test.special in BROKEN:
        return "data-quality"
    return "data-drift" if signal.startswith("features.") else "prediction-drift"
