"""Incidents: a drift from its first alarm to its recovery, and the steps that are reported of it. Pure.

`stream.judge.lifecycle` says how they begin, go on and end. A signal is either in `drifts` or in `recovered`, once: one
that drifts again while the incident is open moves back.

Incidents are stored by the names of their fields (`stream.codec.state`), so these names stay.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, NamedTuple

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from driftline.detectors.decision.battery import Column
from driftline.stream.config.incidents import FindingClass, Severity
from driftline.stream.judge.changes import BROKEN, Change, Volume
from driftline.stream.judge.outcome_state import OutcomeChange
from driftline.stream.panes.pane import Range

#: What stands for a signal in findings about how many events a model has; no signal has this name.
TRAFFIC: Final = "traffic"
#: The same in findings about a topic: how many of its messages are rejected, and which fields they have.
REJECTED: Final = "rejected"
FIELDS: Final = "fields"
#: The scope of incidents of outcomes, whose findings are about `ACCURACY`, `ERROR`, or a floor: "floor.recall@fraud".
OUTCOMES: Final = "outcomes"
ACCURACY: Final = "accuracy"
ERROR: Final = "error"
FLOOR: Final = "floor."
# The share that is gone when nothing comes any more, of a model's events or of the messages that can be read: what is
# left may be a probe.
NEARLY_ALL: Final = 0.99
# From harmless to worst.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")

#: Why an incident is resolved: its signals are as expected again; they are compared with another reference, which
#: somebody has accepted or not, or are expected so from now on; or they are not watched any more.
Resolution = Literal["recovered", "accepted", "replaced", "unwatched"]


class Status(StrEnum):
    """What has happened to an incident."""

    FIRING = "firing"
    UPDATED = "updated"
    RESOLVED = "resolved"


class Phase(StrEnum):
    """The state of an incident."""

    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"
    CLOSED = "closed"


class Subject(NamedTuple):
    """What drifts: a signal in one track of the model and one segment of its events; "" for the track and for all."""

    track: str
    signal: str
    segment: str = ""


class Cycle(Struct, frozen=True):
    """The times that a window is compared with: those of its own phases. phases: of a cycle. timezone: of its days."""

    phases: int
    timezone: str


class Finding(Struct, frozen=True, omit_defaults=True):
    """One signal's alarm: the test and the window that raised it, and the change that it found.

    track, segment: see `Subject`. against_past: the window was compared with the past and not with the baseline. start:
    events the track had seen before the window; a slot where the finding is about traffic, outcomes where it is about
    these. since: time of its first event, epoch ms. events: its length. evidence, threshold: nats. volume: of traffic.
    outcome: of outcomes. A sixteenth field would change the bytes of all of them: the header of a map would be longer.
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
    track: str = ""
    segment: str = ""
    volume: Volume | None = None
    cycle: Cycle | None = None
    outcome: OutcomeChange | None = None

    @property
    def subject(self) -> Subject:
        """What drifts."""
        return Subject(self.track, self.signal, self.segment)

    @property
    def kind(self) -> FindingClass:
        """The class of the change."""
        return class_of(self.signal, self.test)

    @property
    def effect(self) -> float:
        """The effect size that the severity depends on: a shift, however large, breaks no values."""
        if self.volume is not None:
            return self.volume.effect
        if self.outcome is not None:
            return self.outcome.effect
        if self.kind == "schema":
            return self.change.after.special.get(REJECTED, 0.0)
        return self.change.breakage if self.kind == "data-quality" else self.change.jensen_shannon

    @property
    def is_stop(self) -> bool:
        """Whether a model's traffic has stopped, or nothing of a topic can be read; a rise of traffic is no stop."""
        watches_all = self.kind in ("absence", "schema") and self.test.statistic != "many"
        return watches_all and self.effect >= NEARLY_ALL

    @property
    def scale(self) -> float:
        """The factor by which all values look multiplied or divided; 1 for any other change."""
        return self.change.scale


class Reported(Struct, frozen=True):
    """The worst that was reported of a subject in one special code, "" for its values.

    odds: of its size, see `stream.judge.returns`. density: nats an event.
    """

    subject: Subject
    special: str
    statistic: str
    odds: float
    density: float


#: `Course.until` of an incident that wrong slopes made: no later drift has its cause.
NOTHING: Final = -1


class Course(Struct, frozen=True, omit_defaults=True):
    """What an incident has been through. `stream.judge.returns` says what follows from it.

    ends: those that did not last. events: of quiet that show its end. quiet_from: events that the model had seen when
    all of it had recovered last. reported: the worst that was reported. until: what began up to then may have the same
    cause, epoch ms; `NOTHING` if no later drift is the same again.
    """

    ends: int = 0
    events: int = 0
    quiet_from: int = 0
    reported: tuple[Reported, ...] = ()
    until: int = 0


class Incident(Struct, frozen=True):
    """An incident of one model, or of one of its signals.

    scope: the signal, "" for the whole model. baseline, version: content hash and model version of the baseline.
    opened: events the model had seen at the first alarm; model, scope, baseline and this identify the incident. since:
    earliest start of its drifts, epoch ms. entered: when it entered its phase, epoch ms. again: it opened within the
    cooldown of another one. drifts: findings of the signals that still drift. recovered: of those that no longer do.
    course: unset where nothing is remembered of it after its end: of traffic, of topics, and below format level 3.
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
    course: Course | UnsetType = UNSET

    @property
    def came_back(self) -> bool:
        """Whether it was resolved before, and that did not last."""
        return self.course is not UNSET and self.course.ends > 0

    @property
    def reported(self) -> bool:
        """Whether an alert has reported it as open."""
        return self.phase in (Phase.FIRING, Phase.RECOVERING)

    def enter(self, phase: Phase, at: int) -> Incident:
        """The incident in another phase since `at`, epoch ms."""
        return replace(self, phase=phase, entered=at)


class Step(Struct, frozen=True):
    """A step to report: an incident fired, was updated by findings or was resolved, at event time `at` (epoch ms).

    findings: those that it reports; none when resolved. seq: number of the step among those of the model. resolution:
    why it is resolved. reopened: whether the update says that the incident had been resolved, and that did not last.
    """

    status: Status
    incident: Incident
    findings: tuple[Finding, ...]
    at: int
    seq: int = 0
    resolution: Resolution | None = None
    reopened: bool = False


def class_of(signal: str, test: Column) -> FindingClass:
    """The class of the changes that a test of a signal finds."""
    if signal == TRAFFIC:
        return "absence"
    if signal in (REJECTED, FIELDS):
        return "schema"
    if signal in (ACCURACY, ERROR) or signal.startswith(FLOOR):
        return "outcomes"
    if test.special in BROKEN:
        return "data-quality"
    return "data-drift" if signal.startswith("features.") else "prediction-drift"
