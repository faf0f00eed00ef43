"""Alerts as they were sent, read back. Pure.

    line of a file, record, Redis ──read_alert──────────► ReadAlert       explain, incidents: any version, any gaps
    record of the alerts topic ─────read_complete_alert─► CompleteAlert   relay: all that a receiver needs is there

Fields that are missing have defaults, and unknown ones are ignored. A `CompleteAlert` is the same type with the fields
required that a page cannot be sent without. Both raise AlertError for what is no alert.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from driftline.stream.alerts.schema import SHORT, cut
from driftline.stream.config.incidents import Severity

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]
Seq = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
# Orjson writes null for what is no number.
Number = float | None
Shares = dict[str, Number]
# What is passed on of an alert's labels and links; identity needs a handful.
_LABELS, _LINKS = 30, 10
# A web address that Go's parser accepts too: for a wrong port or escape, Alertmanager refuses the whole alert.
_WEB = re.compile(
    r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d+)?([/?#]([^\s<>|%\x00-\x1f\x7f]|%[\da-f]{2})*)?", re.IGNORECASE
)
# Characters of an address that browsers accept.
_HREF = 2000

DecodedT = TypeVar("DecodedT")


class AlertError(ValueError):
    """A line or a record is no alert; the message says why."""


class ReadProfile(msgspec.Struct, frozen=True):
    """One side of a change, as `stream.judge.changes.Profile`."""

    events: int = 0
    special: Shares = {}
    values: Shares = {}
    mean: Number = None
    deviation: Number = None
    low: Number = None
    high: Number = None


class ReadHistogram(msgspec.Struct, frozen=True):
    """Shares of regular values in bins, as `stream.judge.changes.Histogram`."""

    edges: list[Number] = []
    before: list[Number] = []
    after: list[Number] = []


class ReadChange(msgspec.Struct, frozen=True):
    """A signal's change, as `stream.judge.changes.Change`."""

    headline: str = "changed"
    before: ReadProfile = ReadProfile()
    after: ReadProfile = ReadProfile()
    psi: Number = None
    jensen_shannon: Number = None
    distance: Number = None
    wasserstein: Number = None
    histogram: ReadHistogram | None = None
    least: Number = None
    provisional: bool = False
    slope_ratio: Number = None


class OffsetRange(msgspec.Struct, frozen=True):
    """Offsets of one partition, end exclusive."""

    partition: int
    start: int
    end: int


class ReadTraffic(msgspec.Struct, frozen=True):
    """Events seen and expected, as `stream.alerts.schema.TrafficEvidence`."""

    seen: int = 0
    expected: Number = None
    since: str = ""
    until: str = ""
    interval: Number = None


class ReadCycle(msgspec.Struct, frozen=True):
    """The times that a signal is compared with."""

    phases: int = 0
    timezone: str = ""


class ReadSignal(msgspec.Struct, frozen=True, rename={"name": "signal", "kind": "class"}):
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
    change: ReadChange = ReadChange()
    offsets: list[OffsetRange] = []
    traffic: ReadTraffic | None = None
    cycle: ReadCycle | None = None
    version: str = ""

    @property
    def is_count(self) -> bool:
        """Whether it is about how many events or messages there are, and not about their values."""
        return self.traffic is not None or self.kind == "schema"

    @property
    def ratio(self) -> float:
        """Evidence over threshold: how far beyond an alarm."""
        return (self.evidence_nats or 0.0) / (self.threshold_nats or 1.0)


class ReadMember(msgspec.Struct, frozen=True):
    """An incident that a relay's page of several speaks of."""

    model: str = ""
    incident: str = ""
    status: str = ""
    title: str = ""


class ReadEvidence(msgspec.Struct, frozen=True):
    """What an alert's evidence holds; of a page of several incidents, those it speaks of."""

    topic: str = ""
    version: str | None = None
    signals: list[ReadSignal] = []
    likely_origin: list[str] = []
    members: list[ReadMember] = []
    downstream: list[ReadMember] = []


class ReadLink(msgspec.Struct, frozen=True):
    """A page to follow, such as a runbook."""

    href: str
    text: str = ""


class ReadAlert(msgspec.Struct, frozen=True, rename={"kind": "class"}):
    """An alert as it was sent. What it does not say has a default.

    evidence: as the JSON has it, since receivers pass it on whole; `details` has it typed.
    """

    id: str
    alert_key: str = ""
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
    evidence: dict[str, Any] = {}
    links: list[ReadLink | str] = []
    commands: list[str] = []
    owner: str = ""
    reopened: bool = False
    # An alert that names no mode is not live.
    mode: str = ""

    @property
    def resolved(self) -> bool:
        return self.status == "resolved"

    @property
    def model(self) -> str:
        """The model that it is about."""
        return self.component or self.labels.get("model", "") or self.alert_key

    @property
    def about(self) -> str:
        """What it is about: a model or a topic."""
        return "topic" if "topic" in self.labels else "model"

    @property
    def scope(self) -> str:
        """The signal that its incident is about, "" for the whole model."""
        return self.labels.get("signal", "")

    @property
    def incident(self) -> str:
        """Identity of its incident in at most 255 characters: equal for all its alerts and for no others."""
        key = f"{self.alert_key}/{self.incident_id}"
        return key if len(key) <= SHORT else hashlib.sha256(key.encode()).hexdigest()

    def matches(self, beginning: str) -> bool:
        """Whether its id or that of its incident begins so."""
        return self.id.startswith(beginning) or self.incident_id.startswith(beginning)

    @property
    def details(self) -> ReadEvidence:
        """The evidence, typed; an empty one if it is not of the known form."""
        try:
            return msgspec.convert(self.evidence, ReadEvidence)
        except msgspec.ValidationError:
            return ReadEvidence()

    @property
    def signals(self) -> list[ReadSignal]:
        """The evidence of its signals, the strongest first."""
        return sorted(self.details.signals, key=lambda each: -each.ratio)

    def findings(self) -> list[tuple[str, str]]:
        """The signals that its evidence names, each with the class of its change; without any, that of its labels."""
        signals = self.evidence.get("signals")
        found = [each for each in signals if isinstance(each, dict)] if isinstance(signals, list) else []
        named = [(each.get("signal"), each.get("class", self.kind)) for each in found]
        pairs = [(signal, kind) for signal, kind in named if isinstance(signal, str) and isinstance(kind, str)]
        return pairs or [(self.scope, self.kind)]

    def signal_names(self) -> list[str]:
        """The signals that it names."""
        return [signal for signal, _ in self.findings() if signal]

    def short_labels(self) -> dict[str, str]:
        """The first labels, cut so that any service accepts them."""
        return {cut(name, SHORT): cut(value, SHORT) for name, value in list(self.labels.items())[:_LABELS]}

    def addresses(self) -> list[str]:
        """All that it links to, whether or not a browser can follow it."""
        return [each if isinstance(each, str) else each.href for each in self.links]

    def web_links(self) -> list[ReadLink]:
        """The first links that a browser can follow, each with a text."""
        links = (ReadLink(each) if isinstance(each, str) else each for each in self.links)
        web = [each for each in links if len(each.href) <= _HREF and _WEB.fullmatch(each.href)]
        return [ReadLink(each.href, cut(each.text or each.href, SHORT)) for each in web[:_LINKS]]


class CompleteAlert(ReadAlert, frozen=True, kw_only=True):
    """An alert with all that a receiver needs of it. What no receiver looks at may have any form."""

    alert_key: str
    incident_id: str
    seq: Seq
    status: Literal["firing", "updated", "resolved"]
    severity: Severity
    title: str
    starts_at: Timestamp
    emitted_at: Timestamp
    source: str = ""
    group: str = ""
    resolution: Any = None
    commands: Any = None


class _Envelope(msgspec.Struct):
    data: ReadAlert


class _CloudEvent(msgspec.Struct):
    specversion: Literal["1.0"]
    type: Literal["driftline.alert.v1"]
    data: CompleteAlert


class _Subject(msgspec.Struct):
    subject: str


_ANY, _COMPLETE = msgspec.json.Decoder(_Envelope), msgspec.json.Decoder(_CloudEvent)
_SUBJECT = msgspec.json.Decoder(_Subject)


def read_alert(line: bytes | None) -> ReadAlert:
    """The alert in a record or in a line of a file. Raises AlertError for what is no alert."""
    return _decoded(_ANY, line).data


def read_complete_alert(value: bytes | None) -> CompleteAlert:
    """The alert in a record's value. Raises AlertError for what is none, and for one that lacks what a page needs."""
    return _decoded(_COMPLETE, value).data


def key_of(line: bytes) -> bytes:
    """The Kafka key of a stored alert. Raises AlertError for what is no alert."""
    return _decoded(_SUBJECT, line).subject.encode()


def _decoded(decoder: msgspec.json.Decoder[DecodedT], value: bytes | None) -> DecodedT:
    try:
        # Msgspec does not look into fields that it skips, but what passes an alert on does: all of it must be text.
        return decoder.decode((value or b"").decode())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AlertError(f"no alert: {error}") from None
