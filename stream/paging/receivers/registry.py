"""Alerts in the words of each pager: an alert in, an HTTP request out. Pure: no I/O, no clock.

    service       one incident is                                   limits kept
    pagerduty     one alert, by dedup_key; an update triggers anew  summary 1024 characters, body 512 kB
    slack         a message for each step                           50 blocks of 3000 characters
    webhook       the CloudEvent as it is, for each step

Limits are kept by cutting texts and leaving out evidence, so that no alert is too large to be delivered.
`stream.paging.receivers.alertmanager` has Alertmanager's, which depend on what it was told before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from driftline.stream.alerts.build import CONTENT_TYPE
from driftline.stream.alerts.intake import SHORT, Alert, cut

_JSON = "application/json"
# Bytes of a body that PagerDuty takes: "512 KB", taken as the smaller of its two meanings.
_PAGERDUTY_BODY = 512_000
# Characters. Only the summary and the dedup_key (255) have limits; the other texts get room enough.
_SUMMARY, _DESCRIPTION = 1024, 3000
# Slack: characters of a header and of a section; signals with a section of their own, of 50 blocks in a message.
_HEADER, _SECTION, _SIGNALS = 150, 3000, 10
_MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_RESOLVED_MARK = "✅"
_SLACK_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True, slots=True)
class Access:
    """Where a service is reached, and its secrets. key: PagerDuty's routing key, or that of a webhook's signature."""

    url: str = field(repr=False)
    key: str = field(default="", repr=False)
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Pager(NamedTuple):
    """A service: the request for an alert (with its record's bytes, and now), and whether an answer means it took it.

    Answers of a status under 400 that are not the documented ones are a proxy's or a broken service's.
    """

    request: Callable[[Alert, bytes, Access, datetime], Request]
    took: Callable[[int, bytes], bool]


def json_request(access: Access, body: bytes) -> Request:
    """A POST of JSON."""
    return Request(access.url, body, {"Content-Type": _JSON, **_authorization(access)})


# PagerDuty: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/


def pagerduty(alert: Alert, _: bytes, access: Access, now: datetime) -> Request:  # noqa: ARG001 # all have one signature
    """Trigger, or resolve, the PagerDuty alert of the incident."""
    event: dict[str, Any] = {
        "routing_key": access.key,
        "event_action": "resolve" if alert.status == "resolved" else "trigger",
        "dedup_key": alert.incident,
        "client": "Driftline",
        "links": [{"href": link.href, "text": link.text} for link in alert.hrefs()],
    }

    def body(evidence: Mapping[str, Any]) -> bytes:
        return msgspec.json.encode({**event, "payload": _payload(alert, evidence)})

    return json_request(access, next(each for each in map(body, _less(alert.evidence)) if len(each) <= _PAGERDUTY_BODY))


def _payload(alert: Alert, evidence: Mapping[str, Any]) -> dict[str, Any]:
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


# Slack: https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/block-kit/blocks


def slack(alert: Alert, _: bytes, access: Access, now: datetime) -> Request:  # noqa: ARG001 # all have one signature
    """A message of the alert: title, description, circumstances, figures of the first signals, links."""
    over = alert.status == "resolved"
    title = f"{_RESOLVED_MARK if over else _MARKS[alert.severity]} {alert.title}"
    facts = [alert.status, alert.severity, alert.component, f"since {alert.starts_at:%Y-%m-%d %H:%M} UTC"]
    links = "\n".join(f"<{link.href}|{_mrkdwn(link.text, SHORT)}>" for link in alert.hrefs())
    told = alert.evidence.get("signals")
    signals = told if isinstance(told, list) and not over else []
    sections = [
        _mrkdwn(alert.description),
        *(_mrkdwn(_figures(each)) for each in signals[:_SIGNALS]),
        links if len(links) <= _SECTION else "",
    ]
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": cut(title, _HEADER)}},
        *({"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in sections if text),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _mrkdwn(" · ".join(filter(None, facts)))}]},
    ]
    return json_request(access, msgspec.json.encode({"text": _mrkdwn(title), "blocks": blocks}))


def _figures(signal: object) -> str:
    """One line about a signal's evidence, of those figures that are there."""
    if not isinstance(signal, dict):
        return ""
    words = {"test": "{}", "evidence_nats": "evidence {} nats", "threshold_nats": "threshold {}", "events": "{} events"}
    figures = [form.format(signal[name]) for name, form in words.items() if signal.get(name) is not None]
    return f"{signal.get('signal')}: {', '.join(figures)}" if figures else ""


def _mrkdwn(text: str, limit: int = _SECTION) -> str:
    """`text` as Slack shows it and never obeys it (<!channel>), in at most `limit` characters once escaped."""
    escaped = [_SLACK_ESCAPES.get(char, char) for char in text[: limit + 1]]
    ends = list(accumulate(map(len, escaped), initial=0))
    if ends[-1] <= limit:
        return "".join(escaped)
    return "".join(escaped[: bisect_left(ends, limit) - 1]) + "…"


def _slack_took(status: int, answer: bytes) -> bool:
    return status == 200 and answer.strip() == b"ok"


# Any webhook: CloudEvents HTTP binding, structured mode; https://www.standardwebhooks.com


def webhook(alert: Alert, raw: bytes, access: Access, now: datetime) -> Request:
    """The CloudEvent as it came. `webhook-id` is the same whenever this alert is sent: receivers know it by that."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", alert.id)
    name = alert.id if plain else hashlib.sha256(alert.id.encode()).hexdigest()
    sent = str(int(now.timestamp()))
    headers = {"Content-Type": f"{CONTENT_TYPE}; charset=utf-8", "webhook-id": name, "webhook-timestamp": sent}
    if access.key:
        signed = hmac.digest(_signing_key(access.key), f"{name}.{sent}.".encode() + raw, "sha256")
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return Request(access.url, raw, headers | _authorization(access))


def _signing_key(key: str) -> bytes:
    """A key in the form of Standard Webhooks is base64 after its prefix; any other one is its own bytes."""
    try:
        return base64.b64decode(key.removeprefix("whsec_"), validate=True) if key.startswith("whsec_") else key.encode()
    except binascii.Error:
        return key.encode()


def _authorization(access: Access) -> dict[str, str]:
    return {"Authorization": access.authorization} if access.authorization else {}


def _webhook_took(status: int, _: bytes) -> bool:
    return 200 <= status < 300


PAGERS: Mapping[str, Pager] = {
    "pagerduty": Pager(pagerduty, _pagerduty_took),
    "slack": Pager(slack, _slack_took),
    "webhook": Pager(webhook, _webhook_took),
}
