"""PagerDuty, Events API v2: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.alerts.schema import SHORT, cut
from driftline.stream.paging.receivers.request import Access, Request, json_request

# Bytes of a body that PagerDuty takes: "512 KB", taken as the smaller of its two meanings.
_PAGERDUTY_BODY = 512_000


# Characters. Only the summary and the dedup_key (255) have limits; the other texts get room enough.
_SUMMARY, _DESCRIPTION = 1024, 3000


def pagerduty(alert: CompleteAlert, _: bytes, access: Access, now: datetime) -> Request:  # noqa: ARG001 # all have one signature
    """Trigger, or resolve, the PagerDuty alert of the incident."""
    event: dict[str, Any] = {
        "routing_key": access.key,
        "event_action": "resolve" if alert.status == "resolved" else "trigger",
        "dedup_key": alert.incident,
        "client": "Driftline",
        "links": [{"href": link.href, "text": link.text} for link in alert.web_links()],
    }

    def body(evidence: Mapping[str, Any]) -> bytes:
        return msgspec.json.encode({**event, "payload": _payload(alert, evidence)})

    return json_request(access, next(each for each in map(body, _less(alert.evidence)) if len(each) <= _PAGERDUTY_BODY))


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


def _less(evidence: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The evidence, then with half of the signals left each time, at last nothing; it says what is left out."""
    yield evidence
    signals = evidence.get("signals")
    kept = len(signals) if isinstance(signals, list) else 0
    while isinstance(signals, list) and kept:
        kept //= 2
        yield {**evidence, "signals": signals[:kept], "signals_left_out": len(signals) - kept}
    yield {"left_out": "more than PagerDuty takes"}


def _pagerduty_took(status: int, answer: bytes) -> bool:
    try:
        return status == 202 and msgspec.json.decode(answer, type=dict)["status"] == "success"
    except (msgspec.MsgspecError, KeyError, ValueError):
        return False
