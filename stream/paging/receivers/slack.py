"""Slack's incoming webhooks: a message for each step of an incident. Pure.

https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/block-kit/blocks
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from itertools import accumulate

import msgspec

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.alerts.schema import SHORT, cut
from driftline.stream.paging.receivers.request import Access, Request, json_request

# Slack: characters of a header and of a section; signals with a section of their own, of 50 blocks in a message.
_HEADER, _SECTION, _SIGNALS = 150, 3000, 10
_MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_RESOLVED_MARK = "✅"
_SLACK_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def slack(alert: CompleteAlert, _: bytes, access: Access, now: datetime) -> Request:  # noqa: ARG001 # all have one signature
    """A message of the alert: title, description, circumstances, figures of the first signals, links."""
    over = alert.status == "resolved"
    title = f"{_RESOLVED_MARK if over else _MARKS[alert.severity]} {alert.title}"
    facts = [alert.status, alert.severity, alert.component, f"since {alert.starts_at:%Y-%m-%d %H:%M} UTC"]
    links = "\n".join(f"<{link.href}|{_mrkdwn(link.text, SHORT)}>" for link in alert.web_links())
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
