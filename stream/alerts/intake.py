"""What the relay takes from the alerts topic: alerts, typed. Pure.

record ──read_alert──► Alert ──live alone──► `stream.paging.notifications`: of each incident the newest step
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

Severity = Literal["critical", "error", "warning", "info"]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]

#: From harmless to worst.
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")

#: Characters that every service takes in any short text; PagerDuty's limit for a dedup_key.
SHORT = 255
# What is passed on of an alert's labels and links; identity needs a handful.
_LABELS, _LINKS = 30, 10
# A web address that Go's parser takes too: for a wrong port or escape, Alertmanager refuses the whole alert.
_WEB = re.compile(
    r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d+)?([/?#]([^\s<>|%\x00-\x1f\x7f]|%[\da-f]{2})*)?", re.IGNORECASE
)
# Characters of an address, which browsers take.
_HREF = 2000


class AlertError(ValueError):
    """A record of the alerts topic is no alert; the message says why."""


class Link(msgspec.Struct, frozen=True):
    """Something to follow, such as a runbook."""

    href: str
    text: str = ""


class Alert(msgspec.Struct, frozen=True, rename={"kind": "class"}):
    """What pagers need of an alert; fields that are not named here are left alone."""

    id: str
    alert_key: str
    incident_id: str
    seq: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    status: Literal["firing", "updated", "resolved"]
    severity: Severity
    title: str
    starts_at: Timestamp
    emitted_at: Timestamp
    ends_at: Timestamp | None = None
    # Without a mode an alert is not live.
    mode: str = ""
    description: str = ""
    source: str = ""
    component: str = ""
    group: str = ""
    kind: str = ""
    labels: dict[str, str] = {}
    evidence: dict[str, Any] = {}
    links: list[Link | str] = []

    @property
    def resolved(self) -> bool:
        return self.status == "resolved"

    @property
    def incident(self) -> str:
        """What all alerts of an incident share, and no others."""
        key = f"{self.alert_key}/{self.incident_id}"
        return key if len(key) <= SHORT else hashlib.sha256(key.encode()).hexdigest()

    @property
    def model(self) -> str:
        """The model that it speaks of."""
        return self.component or self.labels.get("model", "") or self.alert_key

    def findings(self) -> list[tuple[str, str]]:
        """The signals that its evidence names, each with the class of its change; else the one of its labels."""
        told = self.evidence.get("signals")
        found = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
        named = [(each.get("signal"), each.get("class", self.kind)) for each in found]
        pairs = [(signal, kind) for signal, kind in named if isinstance(signal, str) and isinstance(kind, str)]
        return pairs or [(self.labels.get("signal", ""), self.kind)]

    def signals(self) -> list[str]:
        """The signals that it names."""
        return [signal for signal, _ in self.findings() if signal]

    def short_labels(self) -> dict[str, str]:
        """The labels, so many and so long that any service takes them."""
        return {cut(name, SHORT): cut(value, SHORT) for name, value in list(self.labels.items())[:_LABELS]}

    def hrefs(self) -> list[Link]:
        """The links that a browser can follow, each with a text."""
        links = (Link(each) if isinstance(each, str) else each for each in self.links)
        web = [each for each in links if len(each.href) <= _HREF and _WEB.fullmatch(each.href)]
        return [Link(each.href, cut(each.text or each.href, SHORT)) for each in web[:_LINKS]]


class _CloudEvent(msgspec.Struct):
    specversion: Literal["1.0"]
    type: Literal["driftline.alert.v1"]
    data: Alert


_ALERTS = msgspec.json.Decoder(_CloudEvent)


def read_alert(value: bytes | None) -> Alert:
    """The alert in a record's value; AlertError."""
    try:
        return _ALERTS.decode(value or b"").data
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AlertError(f"no alert: {error}") from None


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
