"""Builds alerts: a step of an incident as a CloudEvent 1.0 in structured mode. Pure.

Ids depend on the decision alone: the same step of the same incident has the same id wherever and however often it is
decided, so an alert that is sent twice has the same bytes twice.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
import orjson
from msgspec import UNSET

from driftline.stream.alerts.outcomes import outcomes_advice, outcomes_ended
from driftline.stream.alerts.schema import (
    DESCRIPTION,
    KEY,
    SIGNALS,
    TITLE,
    AlertData,
    AlertEvent,
    CycleEvidence,
    EventType,
    Evidence,
    EvidenceT,
    IncidentAlert,
    Link,
    Mode,
    Offsets,
    OutcomeEvidence,
    SignalEvidence,
    TrafficEvidence,
    cut,
)
from driftline.stream.alerts.topic import topic_advice, topic_ended
from driftline.stream.alerts.traffic import traffic_advice, traffic_ended
from driftline.stream.baselines.overruled import doubt
from driftline.stream.baselines.slopes import AT_FIRST
from driftline.stream.config.incidents import Incidents, Severity
from driftline.stream.judge.changes import Volume, bars
from driftline.stream.judge.incidents import FIELDS, FLOOR, OUTCOMES, REJECTED, TRAFFIC, Finding, Status, Step
from driftline.stream.judge.lifecycle import severity_rule
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.outcome_state import OutcomeChange
from driftline.stream.judge.returns import quiet_events
from driftline.stream.judge.schema import SchemaJudge
from driftline.stream.text.phrases import listed
from driftline.stream.text.printable import printable

EVENT_TYPE: EventType = "driftline.alert.v1"
# Header of a message in structured mode, after the Kafka protocol binding of CloudEvents.
CONTENT_TYPE = "application/cloudevents+json"
# Findings with a histogram in the description, which is read on a telephone.
_DRAWN = 3
# Offset ranges in an alert, of 54 bytes each: half of the 1 MB that a broker accepts. From 200 partitions on, an alert
# carries the evidence of fewer signals because of it.
_RANGES = 10_000
#: How commands name the configuration, as in the documentation; the relay puts its own file there (`paging.commands`).
CONFIG = ("-c", "driftline.yaml")
# ms. Records are stamped by another clock than events, and it may be behind by this much; a minute more does no harm.
_SKEW = 60_000
_ENDED = {
    None: "over",
    "recovered": "no longer drifting",
    "accepted": "new baseline, drift accepted",
    "replaced": "compared with a new baseline",
    "unwatched": "no longer watched",
}
_NOTHING = "critical: nothing can be read"
# Why it is over, after the name of the model.
_WHY = {
    "accepted": "has a new baseline, which somebody has accepted",
    "replaced": "has a new baseline",
    "unwatched": "is not watched in these signals any more",
}


def build_alert(monitor: Monitor, step: Step, *, mode: Mode, topic: str, emitted_at: int) -> IncidentAlert:
    """The alert of a step that this monitor decided.

    topic: predictions topic that the offsets belong to. emitted_at: epoch ms, when the log held what decided it.
    """
    whole = monitor.compares_with_log
    about = _About(monitor.model, "model", monitor.config.absence.stopped)
    return _build(about, monitor.config.incidents, step, mode, topic, emitted_at, whole)


def build_topic_alert(judge: SchemaJudge, step: Step, *, mode: Mode, emitted_at: int) -> IncidentAlert:
    """The alert of a step that the judge of a topic decided. emitted_at: as in `build_alert`."""
    about = _About(judge.topic, "topic", judge.life_cycle.stopped)
    return _build(about, judge.rules, step, mode, judge.topic, emitted_at, replay_all=True)


class _About(NamedTuple):
    """What an alert is about: the name of a model or a topic, which of both, and the severity of its stop."""

    name: str
    kind: Literal["model", "topic"]
    stopped: Severity


def _build(
    about: _About, rules: Incidents, step: Step, mode: Mode, topic: str, emitted_at: int, replay_all: bool
) -> IncidentAlert:
    model, incident = about.name, step.incident
    incident_id = _digest(model, incident.scope, incident.baseline, incident.opened)
    alert_id = _digest(incident_id, step.seq)
    commands = _commands(alert_id, step, topic, replay_all) if mode == "live" else []
    further = [silence_all_of(about.kind, model)]
    if not replay_all and incident.scope != TRAFFIC:
        further.append(shlex.join(["driftline", "baseline", "accept", incident_id, *CONFIG]))
    next_steps = [*commands, *further] if commands and step.status is not Status.RESOLVED else commands
    data = AlertData(
        id=alert_id,
        alert_key=alert_key(model, incident.scope),
        incident_id=incident_id,
        seq=step.seq,
        status=step.status,
        resolution=step.resolution,
        severity=incident.severity,
        title=_title(model, step),
        description=_description(about, step, rules, next_steps),
        starts_at=iso(incident.since),
        ends_at=iso(step.at) if step.status is Status.RESOLVED else None,
        emitted_at=iso(emitted_at),
        source=f"/driftline/{about.kind}s/{model}",
        component=model,
        group=model,
        kind=_reported(step)[0].kind,
        labels={about.kind: model, **({"signal": incident.scope} if incident.scope else {})},
        evidence=Evidence(
            baseline=incident.baseline,
            version=incident.version or None,
            topic=topic,
            signals=list(map(_evidence, _carried(step))),
        ),
        links=[Link(rules.runbook, "Runbook")] if rules.runbook else [],
        commands=commands,
        owner=rules.owner or UNSET,
        reopened=True if step.reopened else UNSET,
        mode=mode,
    )
    return cloud_event(data)


def cloud_event(data: AlertData[EvidenceT]) -> AlertEvent[EvidenceT]:
    """An alert in its envelope."""
    return AlertEvent(
        specversion="1.0",
        id=data.id,
        source="/driftline",
        type=EVENT_TYPE,
        subject=data.alert_key,
        time=data.emitted_at,
        datacontenttype="application/json",
        data=data,
    )


def encode_alert(event: AlertEvent[Any]) -> bytes:
    """The alert as one line of JSON; equal alerts give equal bytes."""
    return orjson.dumps(msgspec.to_builtins(event))


def alert_key(model: str, scope: str = "") -> str:
    """The key of all alerts of one scope, at most 128 printable characters: the Kafka key, and receivers' identity.

    No two scopes share one: the key of a name with a slash has two slashes before a hash, which no other key has.
    """
    name = f"{model}/{scope}" if scope else model
    if "/" in model or "/" in scope:
        digest = _digest(len(model), model, scope)
        return f"{_question_marks(name)[: KEY - 2 - len(digest)]}//{digest}"
    if len(name) <= KEY and name.isprintable():
        return name
    return f"{_question_marks(name)[: KEY - 17]}-{_digest(model, scope)}"


def _question_marks(name: str) -> str:
    """A name without control characters, which CloudEvents and receivers refuse in a key."""
    return "".join(each if each.isprintable() else "?" for each in name)


def iso(epoch_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return rfc3339(datetime.fromtimestamp(epoch_ms / 1000, UTC), "milliseconds")


def rfc3339(moment: datetime, timespec: str = "auto") -> str:
    """RFC 3339 in UTC. timespec: as `datetime.isoformat` takes it."""
    with suppress(OverflowError):  # on the first and the last day that a datetime can hold, it may have no time in UTC
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def _reported(step: Step) -> tuple[Finding, ...]:
    """The findings that the alert reports: those of the step, or at the end all that had drifted."""
    if step.status is Status.RESOLVED:
        return (*step.incident.recovered, *step.incident.drifts)
    return step.findings


def _carried(step: Step) -> tuple[Finding, ...]:
    """The findings whose evidence fits into the alert, at least one."""
    findings = _reported(step)[:SIGNALS]
    ranges = max(1, *(len(each.ranges) for each in findings))
    return findings[: max(_RANGES // ranges, 1)]


def _title(model: str, step: Step) -> str:
    first, *others = _reported(step)
    name = " ".join([model, *map(_spelt, _versions(step))])
    if step.status is Status.RESOLVED:
        text = f"{name}: {_ended(step) or f'{_ENDED[step.resolution]}: {_names(step)}'}"
    else:
        also = f"; {len(others)} more: {', '.join(_short(each.signal) for each in others)}" if others else ""
        since = iso(first.since)[:16].replace("T", " ")
        again = "again " if step.reopened else ""
        text = f"{name}: {again}{_short(first.signal)} {first.change.headline} since {since} UTC{also}"
    return cut(printable(text), TITLE)


def _versions(step: Step) -> list[str]:
    """The versions that the alert is about; of one baseline for all, the one that it names."""
    tracks = dict.fromkeys(each.track for each in _reported(step) if each.track)
    return [*tracks] or [step.incident.version] * bool(step.incident.version)


def _spelt(version: str) -> str:
    return f"v{version}" if version[:1].isdecimal() else version


def silence_all_of(kind: str, name: str) -> str:
    """The command that silences a model, or a topic (`kind`), for two hours."""
    match = ("--match", f"{kind}={name}", "--for", "2h", "--comment", "known")
    return shlex.join(["driftline", "silence", "add", *match, *CONFIG])


def _description(about: _About, step: Step, rules: Incidents, commands: Sequence[str]) -> str:
    """A line for each signal, histograms of the first ones, what made it severe, its owner, and what to do next."""
    if step.status is Status.RESOLVED and (ended := _ended(step)):
        text = f"{printable(about.name)}: {ended}."
    elif step.status is Status.RESOLVED:
        why = _WHY.get(step.resolution or "", "looks like its reference again")
        text = f"{printable(about.name)} {why}. Signals that had drifted: {_names(step)}."
    else:
        lines = [_line(each, drawn=i < _DRAWN) for i, each in enumerate(step.findings)]
        advice = [line for each in step.findings for line in _advice(each)]
        text = "\n".join(
            [*_came_back(step), *lines, *_provisional(step), *_overruled(step), *_reasons(about, step, rules), *advice]
        )
    owner = f"\nOwner: {printable(rules.owner)}" if rules.owner else ""
    foot = owner + "".join(f"\n$ {printable(each)}" for each in commands)
    return cut(text, DESCRIPTION - len(foot)) + foot


def _advice(finding: Finding) -> list[str]:
    return [*traffic_advice(finding), *topic_advice(finding), *outcomes_advice(finding)]


def _ended(step: Step) -> str:
    """Why an incident of traffic, of outcomes or of a topic is over; "" for others."""
    scope = step.incident.scope
    if scope == TRAFFIC:
        return traffic_ended(step.resolution)
    if scope == OUTCOMES:
        return outcomes_ended(step.resolution)
    return topic_ended(scope, step.resolution) if scope in (REJECTED, FIELDS) else ""


def _came_back(step: Step) -> list[str]:
    """What an update says first of an incident that had been resolved."""
    course = step.incident.course
    if not step.reopened or course is UNSET:
        return []
    quiet = f"{quiet_events(course):,} events of quiet"
    return [f"The incident had been resolved, and that did not last: it is open again, and its end takes {quiet}."]


def _provisional(step: Step) -> list[str]:
    """Which signals were found before their live events have shown how they depend on each other."""
    names = [printable(each.signal) for each in step.findings if each.change.provisional]
    return [f"{listed(names)}: {AT_FIRST}."] if names else []


def _overruled(step: Step) -> list[str]:
    """Of which signals live events overrule the baseline."""
    ratios = {each.signal: each.change.slope_ratio for each in step.findings if each.change.slope_ratio is not UNSET}
    said = doubt(ratios)
    return [f"{said[0].upper()}{said[1:]}"] if ratios else []


def _reasons(about: _About, step: Step, rules: Incidents) -> list[str]:
    """The setting that made the incident as severe as it is, if this step's findings did."""
    severity = step.incident.severity
    for finding in step.findings:
        row = None if finding.is_stop else severity_rule(rules, finding)
        if finding.is_stop and about.stopped == severity:
            return [f"{severity} by absence.stopped of {printable(about.name)}" if about.kind == "model" else _NOTHING]
        if row is not None and rules.severity[row].severity == severity:
            table = f"incidents.severity[{row}]"
            if about.kind == "topic":
                return [f"{severity} by defaults.{table}"]
            first = "" if finding.signal == TRAFFIC else f"; look at {printable(finding.signal)} first"
            return [f"{severity} by {table} of {printable(about.name)}{first}"]
    return []


def _line(finding: Finding, drawn: bool) -> str:
    version = f" of {printable(_spelt(finding.track))}" if finding.track else ""
    line = f"{printable(finding.signal)}{version}: {printable(finding.change.headline)}, since {iso(finding.since)}"
    histogram = finding.change.histogram
    if not (drawn and histogram):
        return line
    return f"{line}\n    before {bars(histogram.before)}  after {bars(histogram.after)}"


def _commands(alert_id: str, step: Step, topic: str, replay_all: bool) -> list[str]:
    """The commands that show the whole evidence, and that replay the drift, or look at what the topic holds.

    The replay has no end: it would refer to the timestamps of records, and events only tell how early these can be.
    """
    # Against a baseline file, the drift's own events suffice; the past or a learned baseline needs those before, too.
    whole = replay_all or any(each.against_past for each in _reported(step))
    start = () if whole else ("--from", iso(min(each.since for each in _reported(step)) - _SKEW))
    of_topic = step.incident.scope in (REJECTED, FIELDS)
    look = ("doctor", *CONFIG) if of_topic else ("replay", f"kafka://{topic}", *CONFIG, *start)
    return [shlex.join(["driftline", *each]) for each in (("explain", alert_id, *CONFIG), look)]


def _names(step: Step) -> str:
    return ", ".join(_short(each.signal) for each in _reported(step))


def _short(signal: str) -> str:
    return printable(signal.removeprefix("features.").removeprefix(FLOOR))


def _evidence(finding: Finding) -> SignalEvidence:
    return SignalEvidence(
        signal=finding.signal,
        kind=finding.kind,
        test=finding.test.statistic,
        code=None if finding.test.special is None else finding.test.special.name.lower(),
        against="past" if finding.against_past else "baseline",
        since=iso(finding.since),
        events=finding.events,
        evidence_nats=round(finding.evidence, 3),
        threshold_nats=round(finding.threshold, 3),
        change=finding.change,
        offsets=[Offsets(*each) for each in finding.ranges],
        version=finding.track or UNSET,
        traffic=UNSET if finding.volume is None else _traffic(finding.since, finding.volume),
        cycle=UNSET if finding.cycle is None else CycleEvidence(finding.cycle.phases, finding.cycle.timezone),
        outcome=UNSET if finding.outcome is None else _outcome(finding.outcome),
    )


def _outcome(each: OutcomeChange) -> OutcomeEvidence:
    before, after, mix, concept = (round(part, 6) for part in (each.before, each.after, each.mix, each.concept))
    by_coverage = round(each.coverage, 6) or UNSET
    return OutcomeEvidence(each.metric, each.of or None, before, after, mix, concept, by_coverage)


def _traffic(since: int, volume: Volume) -> TrafficEvidence:
    interval = round((volume.until - since) / 1000 / volume.expected, 6) if volume.expected else None
    return TrafficEvidence(volume.seen, round(volume.expected, 3), iso(since), iso(volume.until), interval)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
