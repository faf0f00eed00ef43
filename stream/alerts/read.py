"""Alerts as they were told, typed, and how one is found among them. Pure.

Read are alerts of any version: fields that are missing have defaults, those that are unknown are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Literal, NamedTuple

import msgspec

from driftline.stream.alerts.intake import SEVERITIES, AlertError, Link, Timestamp

# Orjson writes null for what is no number.
Number = float | None
Shares = dict[str, Number]
#: Alerts in the order in which they were told; asked twice it begins anew.
Lines = Callable[[], Iterable[bytes | None]]

# Alerts named when an id is ambiguous.
_NAMED = 5


class Profile(msgspec.Struct, frozen=True):
    """One side of a change, as `stream.judge.changes.Profile`."""

    events: int = 0
    special: Shares = {}
    values: Shares = {}
    mean: Number = None
    deviation: Number = None
    low: Number = None
    high: Number = None


class Histogram(msgspec.Struct, frozen=True):
    """Shares of regular values in bins, as `stream.judge.changes.Histogram`."""

    edges: list[Number] = []
    before: list[Number] = []
    after: list[Number] = []


class Change(msgspec.Struct, frozen=True):
    """A signal's change, as `stream.judge.changes.Change`."""

    headline: str = "changed"
    before: Profile = Profile()
    after: Profile = Profile()
    psi: Number = None
    jensen_shannon: Number = None
    distance: Number = None
    wasserstein: Number = None
    histogram: Histogram | None = None


class Stretch(msgspec.Struct, frozen=True):
    """Offsets of one partition, end exclusive."""

    partition: int
    start: int
    end: int


class Signal(msgspec.Struct, frozen=True, rename={"name": "signal", "kind": "class"}):
    """The evidence of one signal."""

    name: str = ""
    kind: str = ""
    test: str = ""
    code: str | None = None
    against: str = "baseline"
    since: str = ""
    events: int = 0
    evidence_nats: Number = None
    threshold_nats: Number = None
    change: Change = Change()
    offsets: list[Stretch] = []

    @property
    def ratio(self) -> float:
        """Evidence over threshold: how far beyond an alarm."""
        return (self.evidence_nats or 0.0) / (self.threshold_nats or 1.0)


class Member(msgspec.Struct, frozen=True):
    """An incident that a relay's page of several speaks of."""

    model: str = ""
    incident: str = ""
    status: str = ""
    title: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """What an alert's evidence holds; of a page of several incidents, those it speaks of."""

    topic: str = ""
    version: str | None = None
    signals: list[Signal] = []
    likely_origin: list[str] = []
    members: list[Member] = []
    downstream: list[Member] = []


class ReadAlert(msgspec.Struct, frozen=True, rename={"kind": "class"}):
    """An alert as it was told."""

    id: str
    incident_id: str = ""
    seq: int = 0
    status: Literal["firing", "updated", "resolved"] = "firing"
    resolution: str | None = None
    severity: str = ""
    title: str = ""
    description: str = ""
    starts_at: Timestamp | None = None
    ends_at: Timestamp | None = None
    emitted_at: Timestamp | None = None
    component: str = ""
    kind: str = ""
    labels: dict[str, str] = {}
    evidence: Evidence = Evidence()
    links: list[Link | str] = []
    commands: list[str] = []
    mode: str = ""

    @property
    def model(self) -> str:
        """The model that it speaks of."""
        return self.component or self.labels.get("model", "")

    def called(self, beginning: str) -> bool:
        """Whether its id or its incident's begins so."""
        return self.id.startswith(beginning) or self.incident_id.startswith(beginning)

    @property
    def scope(self) -> str:
        """The signal that its incident is of, "" for the whole model."""
        return self.labels.get("signal", "")

    @property
    def signals(self) -> list[Signal]:
        """The strongest evidence first."""
        return sorted(self.evidence.signals, key=lambda each: -each.ratio)

    @property
    def hrefs(self) -> list[str]:
        """What it links to."""
        return [each if isinstance(each, str) else each.href for each in self.links]


class _CloudEvent(msgspec.Struct):
    data: ReadAlert


_TOLD = msgspec.json.Decoder(_CloudEvent)


def read_any_alert(line: bytes | None) -> ReadAlert:
    """The alert in a record or in a line of a file; AlertError."""
    try:
        return _TOLD.decode(line or b"").data
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AlertError(f"no alert: {error}") from None


class ListedIncident(NamedTuple):
    """An incident. told: its newest alert. signals: all that its alerts speak of. phase: "" if that can't be told."""

    told: ReadAlert
    signals: list[Signal]
    phase: str = ""

    @classmethod
    def of(cls, told: ReadAlert, alerts: Iterable[ReadAlert], phase: str = "") -> ListedIncident:
        """With the signals of those of the alerts, newest first, that are its incident's."""
        own = [told, *(each for each in alerts if each.incident_id == told.incident_id)]
        signals = {signal.name: signal for each in reversed(own) for signal in reversed(each.signals)}
        return cls(told, sorted(signals.values(), key=lambda each: -each.ratio), phase)

    @property
    def open(self) -> bool:
        """Whether it is not resolved."""
        return self.told.status != "resolved"

    @property
    def rank(self) -> tuple[bool, int, float]:
        """By which incidents are sorted: open ones first, then the worst, then the oldest."""
        told = self.told
        severity = SEVERITIES.index(told.severity) if told.severity in SEVERITIES else -1
        return not self.open, -severity, told.starts_at.timestamp() if told.starts_at else 0.0


class AmbiguousIdError(Exception):
    """What was asked for begins several ids; the message names them."""


class FoundAlert(NamedTuple):
    """An alert, its bytes, and all alerts of its incident by `seq`."""

    told: ReadAlert
    line: bytes
    incident: list[ReadAlert]


def find(lines: Lines, wanted: str) -> FoundAlert | None:
    """An alert by its id or its incident's, or by how one of these begins; of an incident the newest alert.

    None if there is none, AmbiguousIdError. It goes through the lines twice.
    """
    hits = {each.id: (each, line) for each, line in _with(lines, wanted) if each.called(wanted)}
    if not hits:
        return None
    whole = [hit for hit in hits.values() if wanted in (hit[0].id, hit[0].incident_id)]
    meant = [hits[wanted]] if wanted in hits else whole or list(hits.values())
    if len({each.incident_id or each.id for each, _ in meant}) > 1:
        raise AmbiguousIdError("\n".join(f"  {each.id}  {each.title}" for each, _ in meant[:_NAMED]))
    told, line = max(meant, key=lambda hit: hit[0].seq)
    others = _with(lines, told.incident_id) if told.incident_id else ()
    incident = {each.id: each for each, _ in ((told, line), *others) if each.incident_id == told.incident_id}
    return FoundAlert(told, line, sorted(incident.values(), key=lambda each: each.seq))


def _with(lines: Lines, text: str) -> Iterator[tuple[ReadAlert, bytes]]:
    """The alerts whose JSON holds a text; what is no alert is left out."""
    wanted = text.encode()
    for line in lines():
        if line and wanted in line:
            with suppress(AlertError):
                yield read_any_alert(line), line
