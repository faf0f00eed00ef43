"""The types of an alert: its fields with their bounds and descriptions.

`stream.alerts.build` builds alerts of these types, and `stream.schemas.json_schema` derives the published JSON Schema
from them. An alert that the relay builds for several incidents (`stream.paging.messages`) has the same fields; that of
an outage has `OutageEvidence`.

Values that may become more are plain texts, with those that are known as examples: a reader shows what it does not know
as it is. Status, severity and mode are closed, since readers and pagers act on them.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from driftline.detectors.statistics.registry import STATISTICS
from driftline.detectors.summaries.codes import Special
from driftline.stream.config.incidents import FindingClass, Severity
from driftline.stream.judge.changes import Change
from driftline.stream.judge.incidents import Resolution, Status

Mode = Literal["live", "replay", "test"]
EventType = Literal["driftline.alert.v1"]

# Characters that every receiver accepts without cutting.
TITLE, DESCRIPTION, KEY = 130, 3000, 128
#: Characters that every service accepts in any short text; PagerDuty's limit for a dedup_key.
SHORT = 255
# Findings whose evidence an alert carries, strongest first: about 1 kB each, and a broker accepts 1 MB in one message.
SIGNALS = 50

_Time = Annotated[
    str,
    Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$", extra_json_schema={"format": "date-time"}),
]
_Id = Annotated[str, Meta(min_length=1)]
_Key = Annotated[str, Meta(min_length=1, max_length=KEY)]
_Title = Annotated[str, Meta(min_length=1, max_length=TITLE)]
_Count = Annotated[int, Meta(ge=0)]
_Class = Annotated[str, Meta(examples=[*get_args(FindingClass)])]
_Test = Annotated[str, Meta(examples=[*STATISTICS])]
_Code = Annotated[str, Meta(examples=[each.name.lower() for each in Special])]
_Reference = Annotated[str, Meta(examples=["baseline", "past"])]
_Resolution = Annotated[str, Meta(examples=[*get_args(Resolution)])]


class Offsets(Struct, frozen=True):
    """A range of offsets of the predictions topic."""

    partition: Annotated[int, Meta(ge=0, description="Partition of the predictions topic.")]
    start: Annotated[int, Meta(ge=0, description="The first offset.")]
    end: Annotated[int, Meta(ge=1, description="The offset after the last one.")]


class TrafficEvidence(Struct, frozen=True):
    """How many events of a model came in a stretch of time, and how many were expected."""

    seen: Annotated[_Count, Meta(description="Events that came.")]
    expected: Annotated[float, Meta(ge=0, description="Events that its hours of the week let expect.")]
    since: Annotated[_Time, Meta(description="Begin of the stretch, in event time; of a silence, the last event.")]
    until: Annotated[_Time, Meta(description="End of the stretch, in event time.")]
    interval: Annotated[
        float | None, Meta(description="Seconds from event to event, as expected; null where none was expected.")
    ]


class OutcomeEvidence(Struct, frozen=True, rename={"of": "class"}):
    """How a metric of a model's outcomes changed."""

    metric: Annotated[str, Meta(description="`accuracy`, `error` (mean absolute), or the metric of a floor.")]
    of: Annotated[str | None, Meta(description="The class that it is about; null for none.")]
    before: Annotated[float, Meta(description="In the reference; of a floor, the floor.")]
    after: Annotated[float, Meta(description="In the window.")]
    mix: Annotated[
        float, Meta(description="The part of after - before that the mix of scores and predictions explains.")
    ]
    concept: Annotated[
        float, Meta(description="The rest: labels no longer follow scores (concept drift). 0 of a floor, as `mix`.")
    ]
    coverage: Annotated[
        float | UnsetType,
        Meta(description="The part that is there as other predictions have labels than in the reference, if any is."),
    ] = UNSET


class CycleEvidence(Struct, frozen=True):
    """The times that a signal is compared with."""

    phases: Annotated[
        int,
        Meta(
            ge=2,
            description="Phases of a cycle: 24 hours or 48 half hours of the day, or 168 hours of the week. The window "
            "is compared with the mixture of phases that its own events have.",
        ),
    ]
    timezone: Annotated[str, Meta(description="Time zone of its days, such as Europe/Berlin.")]


class SignalEvidence(Struct, frozen=True, kw_only=True, rename={"kind": "class"}):
    """The finding of the strongest test of one signal."""

    signal: Annotated[
        str,
        Meta(
            description="Name of the signal: `features.amount`, `prediction`, `score`; or `traffic`, how many events "
            "the model has; of a topic `rejected`, the share of its messages that is, or "
            "`fields`, those that they have; of outcomes `accuracy`, `error`, or a floor such as `floor.recall@fraud`."
        ),
    ]
    kind: Annotated[_Class, Meta(description="The class of the change.")]
    test: Annotated[_Test, Meta(description="The test that raised the alarm.")]
    code: Annotated[
        _Code | None,
        Meta(description="The special code that the test counts, if it tests one; null for the other tests."),
    ]
    against: Annotated[
        _Reference,
        Meta(description="The reference: the baseline, or the model's past."),
    ]
    since: Annotated[_Time, Meta(description="When this signal's drift began, in event time.")]
    events: Annotated[int, Meta(ge=0, description="Events in the window that raised the alarm.")]
    evidence_nats: Annotated[
        float,
        Meta(
            description="-ln p: how unlikely the window is if nothing has changed; for the test `share`, the score of "
            "a CUSUM; 0 for the tests `gap`, which compares a silence with the longest one so far, and `new`."
        ),
    ]
    threshold_nats: Annotated[float, Meta(description="The evidence that an alarm needs.")]
    change: Annotated[Change, Meta(description="What changed, for people: before, after and effect sizes.")]
    offsets: Annotated[list[Offsets], Meta(description="Where the window lies in the predictions topic.")]
    traffic: Annotated[
        TrafficEvidence | UnsetType, Meta(description="Only where the signal is `traffic`: what was expected of it.")
    ] = UNSET
    outcome: Annotated[
        OutcomeEvidence | UnsetType, Meta(description="Only where the class is `outcomes`: what became of the metric.")
    ] = UNSET
    version: Annotated[
        str | UnsetType, Meta(description="Only where versions have baselines of their own: the version that drifts.")
    ] = UNSET
    cycle: Annotated[
        CycleEvidence | UnsetType,
        Meta(description="Only where the baseline knows the signal by phases of a day or a week."),
    ] = UNSET


class Shared(Struct, frozen=True):
    """A signal that drifts in several models."""

    signal: Annotated[str, Meta(description="Name of the signal.")]
    models: Annotated[int, Meta(ge=1, description="Number of models that it drifts in.")]


class Member(Struct, frozen=True, kw_only=True):
    """One of the incidents that an alert reports together."""

    model: Annotated[str, Meta(description="The model.")]
    incident: Annotated[_Id, Meta(description="Identity of the incident: its alert_key and incident_id.")]
    status: Annotated[Literal["open", "resolved"], Meta(description="Whether it is still open.")]
    severity: Annotated[Severity, Meta(description="Its own severity.")]
    title: Annotated[_Title, Meta(description="The title of its own newest alert.")]
    starts_at: Annotated[_Time, Meta(description="When it began, in event time.")]
    own_page: Annotated[bool, Meta(description="Whether it has a page of its own as well.")]


class Evidence(Struct, frozen=True, kw_only=True):
    """The evidence of an alert: signals, tests, windows, and where to find them in the log."""

    baseline: Annotated[
        str,
        Meta(
            description="Content hash of the baseline that the model was compared with; empty for traffic and topics."
        ),
    ]
    version: Annotated[str | None, Meta(description="Version of the model that the baseline names.")]
    topic: Annotated[str, Meta(description="The predictions topic that the offsets refer to.")]
    signals: Annotated[
        list[SignalEvidence],
        Meta(
            max_length=SIGNALS,
            description="The signals that the alert reports; at the end of an incident, all that had drifted.",
        ),
    ]
    likely_origin: Annotated[
        list[str] | UnsetType,
        Meta(description="Only in an alert for several incidents: the model where they may have begun."),
    ] = UNSET
    downstream: Annotated[
        list[Member] | UnsetType,
        Meta(description="Only in an alert for several incidents: those of the models that depend on it."),
    ] = UNSET


class OutageEvidence(Struct, frozen=True, kw_only=True):
    """The evidence of an outage: what the incidents of many models that drift at once have in common."""

    models: Annotated[int, Meta(ge=2, description="Number of models that drift.")]
    likely_origin: Annotated[list[str], Meta(description="Those of the models that others of them depend on.")]
    shared: Annotated[list[Shared], Meta(description="Signals, with the number of models that they drift in.")]
    classes: Annotated[dict[str, _Count], Meta(description="Number of incidents of each class.")]
    signals: Annotated[list[Any], Meta(max_length=0, description="Empty: each incident's own alert has them.")]
    members: Annotated[list[Member], Meta(description="The incidents.")]
    members_left_out: Annotated[_Count, Meta(description="Number of incidents that `members` leaves out.")]


# `Evidence` or `OutageEvidence`; msgspec knows no union of two structs.
EvidenceT = TypeVar("EvidenceT")


class Link(Struct, frozen=True):
    """A page to follow."""

    href: Annotated[str, Meta(description="Address of the page.")]
    text: Annotated[str, Meta(description="Text of the link, such as Runbook.")]


class AlertData(Struct, Generic[EvidenceT], frozen=True, kw_only=True, rename={"kind": "class"}):
    """The alert itself."""

    id: Annotated[_Id, Meta(description="Id of this alert. One decision has one id, however often it is sent.")]
    alert_key: Annotated[
        _Key,
        Meta(
            description="Key of all incidents of one model; or of one signal, with a page per signal, and where one "
            "begins apart from what drifts in its model."
        ),
    ]
    incident_id: Annotated[_Id, Meta(description="Id of the incident: all its alerts share it, and no others.")]
    seq: Annotated[
        int,
        Meta(ge=0, description="Rises from alert to alert of one alert_key: drop an alert with no higher seq."),
    ]
    status: Annotated[Status, Meta(description="What has happened to the incident.")]
    resolution: Annotated[
        _Resolution | UnsetType | None,  # an outage has none
        Meta(
            description="Why it is resolved. recovered: its signals are as expected again; replaced: they are "
            "compared with another reference, or expected so from now on; accepted: replaced by a reference that "
            "somebody has accepted; unwatched: they are not watched any more. Null while it is open."
        ),
    ] = None
    severity: Annotated[Severity, Meta(description="The severity of the worst finding in the incident so far.")]
    title: Annotated[_Title, Meta(description="What has happened, in one line.")]
    description: Annotated[
        Annotated[str, Meta(max_length=DESCRIPTION)],
        Meta(description="A line for each signal, small histograms, and the commands that show more."),
    ]
    starts_at: Annotated[_Time, Meta(description="Start of the earliest drift in the incident, in event time.")]
    ends_at: Annotated[_Time | None, Meta(description="When the drift was over, in event time; null until then.")]
    emitted_at: Annotated[_Time, Meta(description="When the log contained the events that decided it.")]
    source: Annotated[str, Meta(min_length=1, description="Path of the alert's subject.")]
    component: Annotated[str, Meta(min_length=1, description="The model, or the topic.")]
    group: Annotated[str, Meta(min_length=1, description="Name that receivers may group by.")]
    kind: Annotated[_Class, Meta(description="The class of the first signal's change.")]
    labels: Annotated[
        dict[str, str],
        Meta(
            description="Identity, the same for all alerts of an alert_key: `model` and, with a page per signal or for "
            "`traffic`, `signal`; of a topic, `topic` and `signal`."
        ),
    ]
    evidence: Annotated[EvidenceT, Meta(description="The evidence of the findings.")]
    links: Annotated[list[Link], Meta(description="Pages to follow, such as a runbook.")]
    commands: Annotated[
        list[str] | UnsetType,  # an outage has none
        Meta(description="Commands that show the whole evidence and replay the drift."),
    ] = []
    owner: Annotated[
        str | UnsetType, Meta(description="Who looks after the model, as configured; absent if that is not configured.")
    ] = UNSET
    reopened: Annotated[
        bool | UnsetType,
        Meta(
            description="Only in an update, true: the incident had been resolved, and drifts again as before. It is "
            "the same incident, which pages nobody again."
        ),
    ] = UNSET
    mode: Annotated[Mode, Meta(description="live: this happened. Whatever pages people must ignore replay and test.")]


class AlertEvent(Struct, Generic[EvidenceT], frozen=True, kw_only=True):
    """An alert of Driftline: a CloudEvent 1.0 in structured mode. Fields may be added; readers ignore unknown ones."""

    specversion: Annotated[Literal["1.0"], Meta(description="Version of CloudEvents.")]
    id: Annotated[_Id, Meta(description="Id of the event: that of the alert in `data`.")]
    source: Annotated[str, Meta(min_length=1, description="The sender.", extra_json_schema={"format": "uri-reference"})]
    type: Annotated[EventType, Meta(description="Type of the event: an alert in the first version of this format.")]
    subject: Annotated[_Key, Meta(description="The alert_key, which is the Kafka record's key too.")]
    time: Annotated[_Time, Meta(description="The time in `emitted_at`.")]
    datacontenttype: Annotated[Literal["application/json"], Meta(description="Media type of `data`.")]
    data: Annotated[AlertData[EvidenceT], Meta(description="The alert.")]


#: The alert of one incident, and that of an outage, which many models share.
IncidentAlert = AlertEvent[Evidence]
OutageAlert = AlertEvent[OutageEvidence]


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
