"""The demo's verdict: the planted faults compared with the alerts received. Pure.

    events     ────────┤ fault 1 ├──────────┤ fault 2 ├─────────
    alerts                firing  resolved     firing  resolved
    belong to  (none) [─ fault 1 ──────────)[─ fault 2 ──────────

A fault is caught if the first incident of its model, or of the topic, that fires between its first event and that of
the next fault of the same, names its signal first, has its class, comes in time, and is resolved if the fault is fixed.
Every other incident that fires is a false page. So is a signal in an incident's alerts that is neither the fault's own
nor an output of the model, which a fault in a feature moves too. A worker that is down must page nobody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from driftline.stream.alerts.schema import AlertData, Evidence
from driftline.stream.demo.scenario import CONSEQUENCES, OUTAGE, STOP, Fault
from driftline.stream.events.times import PLAIN_TIMES


@dataclass(frozen=True, slots=True)
class PlantedFault:
    """A fault as it was sent. start: index of its first event. started, ended: when it began and ended, epoch ms.

    fixed: whether healthy events have followed.
    """

    fault: Fault
    start: int
    started: int
    ended: int
    fixed: bool = True


@dataclass(frozen=True, slots=True)
class Downtime:
    """When a worker was killed, and when it read events again, epoch ms; None if that did not come."""

    killed: int | None = None
    back: int | None = None

    @property
    def seconds(self) -> float | None:
        """How long it was away; None if it did not come back, or did not go."""
        return None if self.killed is None or self.back is None else (self.back - self.killed) / 1000


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """An alert and its arrival. data: the alert's `data`. at: epoch ms. sent: number of events sent until then."""

    data: AlertData[Evidence]
    at: int
    sent: int

    @property
    def status(self) -> str:
        """Firing, updated or resolved."""
        return self.data.status

    @property
    def incident(self) -> str:
        """The incident's id."""
        return self.data.incident_id

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals in the alert, the strongest first."""
        return tuple(each.signal for each in self.data.evidence.signals)


@dataclass(frozen=True, slots=True)
class FaultResult:
    """A planted fault, the alert that paged it, and the alert that resolved its incident."""

    planted: PlantedFault
    page: ReceivedAlert | None
    resolved: ReceivedAlert | None

    @property
    def problem(self) -> str | None:
        """Why the fault was not caught; None if it was."""
        if self.page is None:
            return "not paged"
        fault, first, kind = self.planted.fault, self.page.signals[0], self.page.data.kind
        if first != fault.signal:
            return f"names {first} first"
        if kind != fault.kind:
            return f"paged as {kind}, not {fault.kind}"
        if fault.within is not None and self.delay > fault.within:
            return f"paged after {self.delay:.0f} s, not within {fault.within:g} s"
        return "not resolved" if self.planted.fixed and self.resolved is None else None

    @property
    def delay(self) -> float:
        """Seconds from the fault to its page; infinite without a page."""
        return math.inf if self.page is None else (self.page.at - self.planted.started) / 1000

    @property
    def start_error(self) -> float | None:
        """The start that the page gives minus the fault's real start, in seconds; None without a page.

        None, too, of traffic that stops: its page dates the window with too few events, which begins before.
        """
        if self.page is None or self.planted.fault.kind == STOP.kind:
            return None
        since = PLAIN_TIMES.epoch_ms(datetime.fromisoformat(self.page.data.evidence.signals[0].since))
        return (since - self.planted.started) / 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of every planted fault, descriptions of the false pages, and when a worker was down."""

    results: tuple[FaultResult, ...]
    false_pages: tuple[str, ...]
    downtime: Downtime

    @property
    def downtime_problem(self) -> str | None:
        """Why the worker's downtime does not show what it should; None if it does."""
        if (seconds := self.downtime.seconds) is None:
            return "the worker did not return"
        if seconds < OUTAGE.seconds:
            return f"only {seconds:.0f} s"
        # Whatever no fault explains may come of it.
        return f"{len(self.false_pages)} false page{'s' * (len(self.false_pages) != 1)}" if self.false_pages else None

    @property
    def exit_code(self) -> int:
        """0 if each fault was caught by an incident of its own, and nothing else paged, or 1."""
        return int(bool(self.downtime_problem) or any(result.problem for result in self.results))

    def facts(self) -> dict[str, Any]:
        """The verdict as JSON values; times in seconds."""
        faults = [
            {
                "fault": each.planted.fault.description,
                "signal": each.planted.fault.signal,
                "paged_after": None if each.page is None else each.delay,
                "start_error": each.start_error,
                "is_resolved": each.resolved is not None,
                "problem": each.problem,
            }
            for each in self.results
        ]
        worker = {"seconds": self.downtime.seconds, "problem": self.downtime_problem}
        return {"faults": faults, "false_pages": list(self.false_pages), "downtime": worker}


def compare(planted: Sequence[PlantedFault], downtime: Downtime, alerts: Sequence[ReceivedAlert]) -> Verdict:
    """The verdict on a demo; both sequences are in order of time."""
    results = tuple(_result(each, _next_start(each, planted), alerts) for each in planted)
    owner = {result.page.incident: result.planted.fault for result in results if result.page}
    unresolved = (each for each in alerts if each.status != "resolved")
    return Verdict(results, tuple(page for each in unresolved for page in _false_pages(each, owner)), downtime)


def _next_start(planted: PlantedFault, all_planted: Sequence[PlantedFault]) -> float:
    """When the next fault of the same model or topic begins."""
    component = planted.fault.component
    later = (each.start for each in all_planted if each.fault.component == component and each.start > planted.start)
    return min(later, default=math.inf)


def _result(planted: PlantedFault, end: float, alerts: Sequence[ReceivedAlert]) -> FaultResult:
    own = (each for each in alerts if each.data.component == planted.fault.component)
    pages = (each for each in own if each.status == "firing" and planted.start <= each.sent < end)
    page = next(pages, None)
    ends = (each for each in alerts if page and each.status == "resolved" and each.incident == page.incident)
    return FaultResult(planted, page, next(ends, None))


def _false_pages(alert: ReceivedAlert, owner: Mapping[str, Fault]) -> list[str]:
    """What in a firing or updated alert no fault explains. owner: the fault that each incident caught."""
    fault = owner.get(alert.incident)
    if fault is None:
        what = f"{alert.data.kind} of {alert.data.component}: {', '.join(alert.signals)}"
        return [what] if alert.status == "firing" else []
    explained = {fault.signal, *CONSEQUENCES}
    return [f"{signal}, in the incident of the {fault.name}" for signal in alert.signals if signal not in explained]
