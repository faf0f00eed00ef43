"""What an alert is made of: its fields as types, each with its bounds and what it means.

`stream.alerts.build` makes alerts of these types, and `stream.schemas.json_schema` makes the published JSON Schema of
them. An alert that the relay makes for several incidents (`stream.paging.messages`) has the same fields; that of an
outage has `OutageEvidence`.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from driftline.detectors.summaries.codes import Special
from driftline.stream.config.incidents import FindingClass, Severity
from driftline.stream.judge.changes import Change
from driftline.stream.judge.incidents import Status

Mode = Literal["live", "replay", "test"]
EventType = Literal["driftline.alert.v1"]

# Characters: what every pager takes without cutting.
TITLE, DESCRIPTION, KEY = 130, 3000, 128
#: Characters that every service accepts in any short text; PagerDuty's limit for a dedup_key.
SHORT = 255
# Findings whose evidence an alert carries, strongest first: some 1 kB each, and a broker takes 1 MB in one message.
SIGNALS = 50

_Time = Annotated[
    str,
    Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$", extra_json_schema={"format": "date-time"}),
]
_Id = Annotated[str, Meta(min_length=1)]
_Key = Annotated[str, Meta(min_length=1, max_length=KEY)]
_Title = Annotated[str, Meta(min_length=1, max_length=TITLE)]
_Count = Annotated[int, Meta(ge=0)]
_Code = Annotated[str, Meta(extra_json_schema={"enum": [each.name.lower() for each in Special]})]


class Offsets(Struct, frozen=True):
    """A run of the predictions topic."""

    partition: Annotated[int, Meta(ge=0, description="Partition of the predictions topic.")]
    start: Annotated[int, Meta(ge=0, description="Its first offset.")]
    end: Annotated[int, Meta(ge=1, description="The offset after its last one.")]


class SignalEvidence(Struct, frozen=True, kw_only=True, rename={"kind": "class"}):
    """What the strongest test of one signal found."""

    signal: Annotated[str, Meta(description="Name of the signal: `features.amount`, `prediction`, `score`.")]
    kind: Annotated[FindingClass, Meta(description="What sort of change it is.")]
    test: Annotated[
        str,
        Meta(
            description="The test that raised the alarm.",
            extra_json_schema={"enum": ["ks", "level", "spread", "chi2", "rate", "adwin"]},
        ),
    ]
    code: Annotated[
        _Code | None,
        Meta(description="Of a test of what is no regular value: which; null for the other tests."),
    ]
    against: Annotated[
        Literal["baseline", "past"], Meta(description="What the window was compared with: the baseline or the past.")
    ]
    since: Annotated[_Time, Meta(description="When this signal's drift began, in event time.")]
    events: Annotated[int, Meta(ge=1, description="Events in the window that raised the alarm.")]
    evidence_nats: Annotated[float, Meta(description="-ln p: how surprising the window would be had nothing changed.")]
    threshold_nats: Annotated[float, Meta(description="The evidence from which on it is an alarm.")]
    change: Annotated[Change, Meta(description="What changed, for people: before, after and effect sizes.")]
    offsets: Annotated[list[Offsets], Meta(description="Where the window lies in the predictions topic.")]


class Shared(Struct, frozen=True):
    """A signal that drifts in several models."""

    signal: Annotated[str, Meta(description="Name of the signal.")]
    models: Annotated[int, Meta(ge=1, description="In how many models it drifts.")]


class Member(Struct, frozen=True, kw_only=True):
    """One of the incidents that an alert speaks of."""

    model: Annotated[str, Meta(description="The model.")]
    incident: Annotated[_Id, Meta(description="Which of its incidents.")]
    status: Annotated[Literal["open", "resolved"], Meta(description="Whether it lasts.")]
    severity: Annotated[Severity, Meta(description="Its own severity.")]
    title: Annotated[_Title, Meta(description="The title of its own newest alert.")]
    starts_at: Annotated[_Time, Meta(description="When it began, in event time.")]
    own_page: Annotated[bool, Meta(description="Whether it was told in an alert of its own before.")]


class Evidence(Struct, frozen=True, kw_only=True):
    """Why it is an alert: signals, tests, windows, and where to find them in the log."""

    baseline: Annotated[str, Meta(description="Content hash of the baseline that the model was compared with.")]
    version: Annotated[str | None, Meta(description="Version of the model that the baseline names.")]
    topic: Annotated[str, Meta(description="The predictions topic that the offsets are of.")]
    signals: Annotated[
        list[SignalEvidence],
        Meta(
            max_length=SIGNALS, description="The signals it tells of; at the end of an incident all that had drifted."
        ),
    ]
    likely_origin: Annotated[
        list[str] | UnsetType,
        Meta(description="Of an alert for several incidents alone: the model where they may have begun."),
    ] = UNSET
    downstream: Annotated[
        list[Member] | UnsetType,
        Meta(description="Of an alert for several incidents alone: those of the models that depend on it."),
    ] = UNSET


class OutageEvidence(Struct, frozen=True, kw_only=True):
    """What the incidents of many models that drift at once have in common."""

    models: Annotated[int, Meta(ge=2, description="How many models drift.")]
    likely_origin: Annotated[list[str], Meta(description="Models of them on which others of them depend.")]
    shared: Annotated[list[Shared], Meta(description="Signals by the number of models they drift in.")]
    classes: Annotated[dict[str, _Count], Meta(description="Number of incidents of each class.")]
    signals: Annotated[list[Any], Meta(max_length=0, description="Empty: each incident's own alert has them.")]
    members: Annotated[list[Member], Meta(description="The incidents.")]
    members_left_out: Annotated[_Count, Meta(description="How many more there are than `members` names.")]


# `Evidence` or `OutageEvidence`; msgspec knows no union of two structs.
EvidenceT = TypeVar("EvidenceT")


class Link(Struct, frozen=True):
    """Something to follow."""

    href: Annotated[str, Meta(description="Address of the page.")]
    text: Annotated[str, Meta(description="What it is, such as Runbook.")]


class AlertData(Struct, Generic[EvidenceT], frozen=True, kw_only=True, rename={"kind": "class"}):
    """The alert itself."""

    id: Annotated[_Id, Meta(description="Id of this alert. One decision has one id, however often it is sent.")]
    alert_key: Annotated[
        _Key, Meta(description="What is paged for, the same from incident to incident: a model, or a model's signal.")
    ]
    incident_id: Annotated[_Id, Meta(description="What all alerts of one incident share, and no others.")]
    seq: Annotated[
        int, Meta(ge=0, description="Rises from alert to alert of one alert_key: one that is not higher is old news.")
    ]
    status: Annotated[Status, Meta(description="What has happened to the incident.")]
    resolution: Annotated[
        Literal["recovered", "accepted"] | None,
        Meta(
            description="Why it is resolved: its signals look like their reference again, or the model has another "
            "baseline now. Null while it lasts."
        ),
    ] = None
    severity: Annotated[Severity, Meta(description="That of the worst finding in the incident so far.")]
    title: Annotated[_Title, Meta(description="What has happened, in one line.")]
    description: Annotated[
        Annotated[str, Meta(max_length=DESCRIPTION)],
        Meta(description="A line for each signal, small histograms, and what to type to see more."),
    ]
    starts_at: Annotated[_Time, Meta(description="Start of the earliest drift in the incident, in event time.")]
    ends_at: Annotated[_Time | None, Meta(description="When it was over, in event time; null while it lasts.")]
    emitted_at: Annotated[_Time, Meta(description="When the log held what decided it.")]
    source: Annotated[str, Meta(min_length=1, description="Path that names what the alert is about.")]
    component: Annotated[str, Meta(min_length=1, description="The model.")]
    group: Annotated[str, Meta(min_length=1, description="What pagers may group by.")]
    kind: Annotated[FindingClass, Meta(description="What sort of change the first of its signals shows.")]
    labels: Annotated[
        dict[str, str],
        Meta(
            description="Identity, the same for all alerts of an alert_key: `model` and, with a page per signal, "
            "`signal`."
        ),
    ]
    evidence: Annotated[EvidenceT, Meta(description="What was found.")]
    links: Annotated[list[Link], Meta(description="Pages to follow, such as a runbook.")]
    commands: Annotated[
        list[str], Meta(description="What to type to see the whole evidence, and to see it happen again.")
    ] = []
    mode: Annotated[Mode, Meta(description="live: this happened. Whoever pages people must leave out replay and test.")]


class AlertEvent(Struct, Generic[EvidenceT], frozen=True, kw_only=True):
    """An alert of Driftline: a CloudEvent 1.0 in structured mode. Fields may be added; readers ignore unknown ones."""

    specversion: Annotated[Literal["1.0"], Meta(description="Version of CloudEvents.")]
    id: Annotated[_Id, Meta(description="Id of the event: that of the alert in `data`.")]
    source: Annotated[
        str, Meta(min_length=1, description="Who sends it.", extra_json_schema={"format": "uri-reference"})
    ]
    type: Annotated[EventType, Meta(description="What it is: an alert in the first version of this format.")]
    subject: Annotated[_Key, Meta(description="The alert_key, which is the Kafka record's key too.")]
    time: Annotated[_Time, Meta(description="That of `emitted_at`.")]
    datacontenttype: Annotated[Literal["application/json"], Meta(description="What `data` is.")]
    data: Annotated[AlertData[EvidenceT], Meta(description="The alert.")]


#: The alert of one incident, and that of an outage, which many models share.
IncidentAlert = AlertEvent[Evidence]
OutageAlert = AlertEvent[OutageEvidence]


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
