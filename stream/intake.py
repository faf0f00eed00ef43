"""What the relay takes from the alerts topic: alerts, typed, and those that wait to be delivered. Pure.

    record ──read_alert──► Alert ──live alone──► Backlog: of each incident the newest step, in the order of the topic

What a later step of its incident has superseded is never sent: after an outage a pager hears how things are, once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

Severity = Literal["critical", "error", "warning", "info"]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]

#: Characters that every service takes in any short text; PagerDuty's limit for a dedup_key.
SHORT = 255
# What is passed on of an alert's labels and links; identity needs a handful.
_LABELS, _LINKS = 30, 10


class BadAlert(ValueError):
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

    def short_labels(self) -> dict[str, str]:
        """The labels, so many and so long that any service takes them."""
        return {cut(name, SHORT): cut(value, SHORT) for name, value in list(self.labels.items())[:_LABELS]}

    def hrefs(self) -> list[Link]:
        """The links that a browser can follow, each with a text."""
        links = (Link(each) if isinstance(each, str) else each for each in self.links)
        web = [each for each in links if re.fullmatch(r"https?://[^\s<>|]{1,2000}", each.href)]
        return [Link(each.href, cut(each.text or each.href, SHORT)) for each in web[:_LINKS]]


class _CloudEvent(msgspec.Struct):
    specversion: Literal["1.0"]
    type: Literal["driftline.alert.v1"]
    data: Alert


_ALERTS = msgspec.json.Decoder(_CloudEvent)


def read_alert(value: bytes | None) -> Alert:
    """The alert in a record's value; BadAlert."""
    try:
        return _ALERTS.decode(value or b"").data
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadAlert(f"no alert: {error}") from None


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[RecordT]):
    """The newest alert of an incident that is not delivered yet, and the record it came in.

    opening: seq of the incident's first alert, if that one waited too: then nobody may have heard of the incident.
    """

    alert: Alert
    record: RecordT
    opening: int | None


class Backlog(Generic[RecordT]):
    """The alerts that wait, by incident; those of one alert_key in the order they came."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting[RecordT]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, alert: Alert, record: RecordT) -> None:
        """Let an alert wait in the place of an older one of its incident; an older one is forgotten."""
        before = self._waiting.get(alert.incident)
        opening = alert.seq if alert.status == "firing" else before.opening if before else None
        if before is not None and alert.seq < before.alert.seq:
            self._waiting[alert.incident] = replace(before, opening=opening)
        else:
            self._waiting[alert.incident] = Waiting(alert, record, opening)

    def head(self) -> Waiting[RecordT] | None:
        """The one to deliver next."""
        return next(iter(self._waiting.values()), None)

    def done(self, waiting: Waiting[RecordT]) -> None:
        """It waits no longer; nothing happens if it is gone already."""
        if self._waiting.get(waiting.alert.incident) is waiting:
            del self._waiting[waiting.alert.incident]

    def put_back(self, alert_key: str) -> None:
        """Let the others go first; what has this key keeps its order."""
        mine = {incident: each for incident, each in self._waiting.items() if each.alert.alert_key == alert_key}
        self._waiting = {incident: each for incident, each in self._waiting.items() if incident not in mine} | mine

    def clear(self) -> None:
        """Forget everything: it is another's to deliver now."""
        self._waiting.clear()
