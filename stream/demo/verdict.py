"""The demo's verdict: the faults that were planted against the alerts that came. Pure.

    fed       ────────┤ fault 1 ├──────────┤ fault 2 ├─────────
    alerts               firing  resolved     firing  resolved
    belong    (stray)[─ to fault 1 ───────)[─ to fault 2 ──────

A fault is caught when the first incident that fires between its first event and the next fault's names its signal
first. Everything else that fires is a stray, and so is a signal in an alert that neither the fault nor the model's
answer to it explains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from driftline.stream.alerts.schema import AlertData, Evidence
from driftline.stream.demo.scenario import CONSEQUENCES, Fault
from driftline.stream.events.parse import epoch_ms


@dataclass(frozen=True, slots=True)
class Planted:
    """A fault as it was fed. start: index of its first event. started, ended: when it came and went, epoch ms."""

    fault: Fault
    start: int
    started: int
    ended: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """An alert that arrived. at: epoch ms. fed: events fed until then."""

    data: AlertData[Evidence]
    at: int
    fed: int

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
        """The signals it speaks of, the strongest first."""
        return tuple(each.signal for each in self.data.evidence.signals)


@dataclass(frozen=True, slots=True)
class Row:
    """A planted fault, its page and the end of that."""

    planted: Planted
    page: Arrival | None
    resolved: Arrival | None

    @property
    def problem(self) -> str | None:
        """What is wrong; None if the fault was caught."""
        if self.page is None:
            return "not paged"
        first = self.page.signals[0]
        return None if first == self.planted.fault.signal else f"names {first} first"

    @property
    def start_error(self) -> float | None:
        """Seconds by which the page dates the fault too late; negative: too early."""
        if self.page is None:
            return None
        since = epoch_ms(datetime.fromisoformat(self.page.data.evidence.signals[0].since))
        return (since - self.planted.started) / 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the alerts made of the planted faults. strays: in words, what was paged and not planted."""

    rows: tuple[Row, ...]
    strays: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 if every fault was paged, as an incident of its own that names its signal first, and nothing else; or 1."""
        return int(bool(self.strays) or any(row.problem for row in self.rows))


def compare(planted: Sequence[Planted], arrivals: Sequence[Arrival]) -> Verdict:
    """The verdict; both sequences in the order of time."""
    bounds = pairwise([*(each.start for each in planted), math.inf])
    rows = tuple(_row(each, start, end, arrivals) for each, (start, end) in zip(planted, bounds, strict=True))
    owner = {row.page.incident: row.planted.fault for row in rows if row.page}
    strays = [stray for each in arrivals if each.status != "resolved" for stray in _strays(each, owner)]
    return Verdict(rows, tuple(strays))


def _row(planted: Planted, start: float, end: float, arrivals: Sequence[Arrival]) -> Row:
    pages = (each for each in arrivals if each.status == "firing" and start <= each.fed < end)
    page = next(pages, None)
    ends = (each for each in arrivals if page and each.status == "resolved" and each.incident == page.incident)
    return Row(planted, page, next(ends, None))


def _strays(arrival: Arrival, owner: Mapping[str, Fault]) -> list[str]:
    fault = owner.get(arrival.incident)
    if fault is None:
        return [f"an incident of {', '.join(arrival.signals)}"] if arrival.status == "firing" else []
    explained = {fault.signal, *CONSEQUENCES}
    return [f"{signal}, in the incident of the {fault.name}" for signal in arrival.signals if signal not in explained]
