"""PagerDuty, Events API v2. Pure. https://developer.pagerduty.com/docs/events-api-v2/trigger-events/"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.alerts.schema import SHORT, cut
from driftline.stream.paging.receivers.request import Endpoint, Request, json_request
from driftline.stream.text.printable import printable, printable_lines

# Bytes of a body that PagerDuty accepts: "512 KB", in the smaller of its two meanings.
_BODY = 512_000
# Characters. Only the summary and the dedup_key (255) have documented limits; the others are generous.
_SUMMARY, _DESCRIPTION = 1024, 3000


def build_request(alert: CompleteAlert, _: bytes, endpoint: Endpoint, now: datetime) -> Request:  # noqa: ARG001 # as `Integration`
    """A request that triggers or resolves the incident's PagerDuty alert."""
    event: dict[str, Any] = {
        "routing_key": endpoint.key,
        "event_action": "resolve" if alert.status == "resolved" else "trigger",
        "dedup_key": _dedup_key(alert),
        "client": "Driftline",
        "links": [{"href": link.href, "text": _short(link.text)} for link in alert.web_links()],
    }

    def body(evidence: Mapping[str, Any]) -> bytes:
        return msgspec.json.encode({**event, "payload": _payload(alert, evidence)})

    return json_request(endpoint, next(each for each in map(body, _ever_less(alert.evidence)) if len(each) <= _BODY))


def _payload(alert: CompleteAlert, evidence: Mapping[str, Any]) -> dict[str, Any]:
    details = {
        "description": cut(printable_lines(alert.description), _DESCRIPTION),
        "status": alert.status,
        "seq": alert.seq,
        "alert_id": _short(alert.id),
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        **({"owner": _short(alert.owner)} if alert.owner else {}),
        "labels": _shown(alert.short_labels()),
        "evidence": _shown(evidence),
    }
    return {
        "summary": cut(printable(alert.title), _SUMMARY) or "drift",  # an empty one is refused
        "source": _short(alert.source) or "driftline",
        "severity": alert.severity,
        "timestamp": alert.starts_at,
        "component": _short(alert.component),
        "group": _short(alert.group),
        "class": _short(alert.kind),
        "custom_details": details,
    }


def _dedup_key(alert: CompleteAlert) -> str:
    """The incident's identity, printable and in at most 255 characters."""
    key = printable(alert.incident)
    return key if len(key) <= SHORT else hashlib.sha256(key.encode()).hexdigest()


def _short(text: str) -> str:
    return cut(printable(text), SHORT)


def _shown(value: Any) -> Any:
    """JSON values with every text printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(name): _shown(each) for name, each in value.items()}
    return list(map(_shown, value)) if isinstance(value, list) else value


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
