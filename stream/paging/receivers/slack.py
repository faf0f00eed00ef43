"""Slack, incoming webhooks: a message for each step of an incident. Pure.

https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/block-kit/blocks
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from itertools import accumulate
from typing import Any

import msgspec

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.alerts.schema import SHORT
from driftline.stream.paging.receivers.request import Endpoint, Request, json_request
from driftline.stream.text.printable import printable, printable_lines

# Slack's limits in characters of a header and of a section; signals with a section of their own, of 50 blocks in a
# message.
_HEADER, _SECTION, _SIGNALS = 150, 3000, 10
_MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_RESOLVED_MARK = "✅"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def build_request(alert: CompleteAlert, _: bytes, endpoint: Endpoint, now: datetime) -> Request:  # noqa: ARG001 # as `Integration`
    """A message with the alert's title, description, figures of its first signals, links and circumstances."""
    title = f"{_RESOLVED_MARK if alert.resolved else _MARKS[alert.severity]} {printable(alert.title)}"
    facts = [alert.status, alert.severity, printable(alert.component), f"since {alert.starts_at:%Y-%m-%d %H:%M} UTC"]
    links = "\n".join(f"<{link.href}|{mrkdwn(printable(link.text), SHORT)}>" for link in alert.web_links())
    evidence = alert.evidence.get("signals")
    signals = evidence if isinstance(evidence, list) and not alert.resolved else []
    texts = [mrkdwn(alert.description), *(mrkdwn(_figures(each)) for each in signals[:_SIGNALS])]
    texts += [links] if len(links) <= _SECTION else []
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": mrkdwn(title, _HEADER), "emoji": False}},
        *({"type": "section", "text": _as_written(text)} for text in texts if text),
        {"type": "context", "elements": [_as_written(mrkdwn(" · ".join(filter(None, facts))))]},
    ]
    return json_request(endpoint, msgspec.json.encode({"text": mrkdwn(title), "blocks": blocks}))


def _as_written(text: str) -> dict[str, Any]:
    """A text object in which Slack looks for no names of people, channels or sites beyond its escapes."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _figures(signal: object) -> str:
    """One line with the figures that a signal's evidence has."""
    if not isinstance(signal, dict):
        return ""
    words = {"test": "{}", "evidence_nats": "evidence {} nats", "threshold_nats": "threshold {}", "events": "{} events"}
    figures = [form.format(signal[name]) for name, form in words.items() if signal.get(name) is not None]
    return printable(f"{signal.get('signal')}: {', '.join(figures)}") if figures else ""


def mrkdwn(text: str, limit: int = _SECTION) -> str:
    """`text` escaped for Slack, so that a command such as <!channel> is shown only; at most `limit` characters."""
    chars = [_ESCAPES.get(char, char) for char in printable_lines(text[: limit + 1])]
    ends = list(accumulate(map(len, chars), initial=0))
    if ends[-1] <= limit:
        return "".join(chars)
    return "".join(chars[: bisect_left(ends, limit) - 1]) + "…"


def is_accepted(status: int, answer: bytes) -> bool:
    """Whether an answer means that Slack accepted the message: 200 with the text "ok"."""
    return status == 200 and answer.strip() == b"ok"
