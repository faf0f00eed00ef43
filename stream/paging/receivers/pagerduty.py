"""PagerDuty, Events API v2. Pure. https://developer.pagerduty.com/docs/events-api-v2/trigger-events/"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.alerts.schema import SHORT, cut
from driftline.stream.paging.receivers.request import Endpoint, Request, json_request

# Bytes of a body that PagerDuty accepts: "512 KB", in the smaller of its two meanings.
_BODY = 512_000
# Characters. Only the summary and the dedup_key (255) have documented limits; the others are generous.
_SUMMARY, _DESCRIPTION = 1024, 3000


def build_request(alert: CompleteAlert, _: bytes, endpoint: Endpoint, now: datetime) -> Request:  # noqa: ARG001 # as `Integration`
    """A request that triggers or resolves the incident's PagerDuty alert."""
    event: dict[str, Any] = {
        "routing_key": endpoint.key,
        "event_action": "resolve" if alert.status == "resolved" else "trigger",
        "dedup_key": alert.incident,
        "client": "Driftline",
        "links": [{"href": link.href, "text": link.text} for link in alert.web_links()],
    }

    def body(evidence: Mapping[str, Any]) -> bytes:
        return msgspec.json.encode({**event, "payload": _payload(alert, evidence)})

    return json_request(endpoint, next(each for each in map(body, _ever_less(alert.evidence)) if len(each) <= _BODY))


def _payload(alert: CompleteAlert, evidence: Mapping[str, Any]) -> dict[str, Any]:
    details = {
        "description": cut(alert.description, _DESCRIPTION),
        "status": alert.status,
        "seq": alert.seq,
        "alert_id": cut(alert.id, SHORT),
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "labels": alert.short_labels(),
        "evidence": evidence,
    }
    return {
        "summary": cut(alert.title, _SUMMARY) or "drift",  # an empty one is refused
        "source": cut(alert.source, SHORT) or "driftline",
        "severity": alert.severity,
        "timestamp": alert.starts_at,
        "component": cut(alert.component, SHORT),
        "group": cut(alert.group, SHORT),
        "class": cut(alert.kind, SHORT),
        "custom_details": details,
    }


def _ever_less(evidence: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The evidence, then each time half of the remaining signals, in the end nothing; each says what is left out."""
    yield evidence
    signals = evidence.get("signals")
    kept = len(signals) if isinstance(signals, list) else 0
    while isinstance(signals, list) and kept:
        kept //= 2
        yield {**evidence, "signals": signals[:kept], "signals_left_out": len(signals) - kept}
    yield {"left_out": "more than PagerDuty takes"}


def is_accepted(status: int, answer: bytes) -> bool:
    """Whether an answer means that PagerDuty accepted the event: 202 with status "success"."""
    try:
        return status == 202 and msgspec.json.decode(answer, type=dict)["status"] == "success"
    except (msgspec.MsgspecError, KeyError, ValueError):
        return False
