"""Alerts: an incident's step as a message for pagers, a CloudEvent 1.0 in structured mode. Pure.

Ids are minted here and depend on the decision alone: the same step of the same incident has the same id wherever and
however often it is decided, so that a message sent twice is the same message twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from stream.baseline import Baseline
from stream.incidents import Finding, Status, Step

Mode = Literal["live", "replay", "test"]
EVENT_TYPE = "driftline.alert.v1"
# Header of a message in structured mode, after the Kafka protocol binding of CloudEvents.
CONTENT_TYPE = "application/cloudevents+json"
# Bounds of the alert schema: what every pager takes without cutting. Signals beyond the first are named while they fit.
_TITLE, _DESCRIPTION, _KEY = 130, 3000, 128
# Findings whose evidence an alert carries, strongest first: some 1 kB each, and a broker takes 1 MB in one message.
_EVIDENCE = 50


def alert(baseline: Baseline, step: Step, *, mode: Mode, topic: str, emitted_at: int) -> dict[str, Any]:
    """The CloudEvent of one step, plain JSON data.

    topic: predictions topic that the offset ranges speak of. emitted_at: epoch ms, the only figure of the envelope
    that is not decided by the log.
    """
    model, incident = baseline.model, step.incident
    incident_id = _digest(model, baseline.content_hash, incident.opened)
    body = {
        "id": _digest(incident_id, step.seq),
        "alert_key": alert_key(model),
        "incident_id": incident_id,
        "seq": step.seq,
        "status": step.status.value,
        "severity": "warning",
        "title": _title(model, step),
        "description": _description(model, step),
        "starts_at": iso(incident.since),
        "ends_at": iso(step.at) if step.status is Status.RESOLVED else None,
        "emitted_at": iso(emitted_at),
        "source": f"/driftline/models/{model}",
        "component": model,
        "group": model,
        "class": "data-drift",
        "labels": {"model": model},
        "evidence": {
            "baseline": baseline.content_hash,
            "topic": topic,
            "signals": [_evidence(finding) for finding in _told(step)[:_EVIDENCE]],
        },
        "links": [],
        "mode": mode,
    }
    return {
        "specversion": "1.0",
        "id": body["id"],
        "source": "/driftline",
        "type": EVENT_TYPE,
        "subject": body["alert_key"],
        "time": body["emitted_at"],
        "datacontenttype": "application/json",
        "data": body,
    }


def alert_key(model: str) -> str:
    """What alerts of one model share, at most 128 characters: the Kafka key, and the identity for pagers."""
    return model if len(model) <= _KEY else f"{model[: _KEY - 17]}-{_digest(model)}"


def key_of(line: bytes) -> bytes:
    """The Kafka key of a message made by `to_line`."""
    return str(orjson.loads(line)["subject"]).encode()


def to_line(message: dict[str, Any]) -> bytes:
    """The message as one line of JSON; the same message gives the same bytes."""
    return orjson.dumps(message)


def iso(epoch_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _told(step: Step) -> tuple[Finding, ...]:
    """What the alert speaks of: the news, or at the end all that had drifted."""
    return step.incident.recovered if step.status is Status.RESOLVED else step.news


def _title(model: str, step: Step) -> str:
    first, *others = _told(step)
    if step.status is Status.RESOLVED:
        text = f"{model}: no longer drifting: {_names(step)}"
    else:
        also = f", and {len(others)} more: {', '.join(each.signal for each in others)}" if others else ""
        text = f"{model}: {first.signal} {first.change.headline} since {iso(first.since)[:16]}Z{also}"
    # One line, whatever a signal or a value is called.
    return _cut("".join(each if each.isprintable() else " " for each in text), _TITLE)


def _description(model: str, step: Step) -> str:
    if step.status is Status.RESOLVED:
        return _cut(f"{model} looks like its reference again. Recovered: {_names(step)}.", _DESCRIPTION)
    return _cut(
        "\n".join(f"{each.signal}: {each.change.headline}, since {iso(each.since)}" for each in step.news), _DESCRIPTION
    )


def _names(step: Step) -> str:
    return ", ".join(each.signal for each in step.incident.recovered)


def _evidence(finding: Finding) -> dict[str, Any]:
    return {
        "signal": finding.signal,
        "test": finding.test.statistic,
        "code": None if finding.test.special is None else finding.test.special.name.lower(),
        "against": "past" if finding.against_past else "baseline",
        "since": iso(finding.since),
        "events": finding.events,
        "evidence_nats": round(finding.evidence, 3),
        "threshold_nats": round(finding.threshold, 3),
        "change": asdict(finding.change),
        "offsets": [each._asdict() for each in finding.ranges],
    }


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _digest(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
