"""What a page says: an incident's own alert as it came or, for several incidents, an alert that speaks of all. Pure.

    page                            said in the name of
    one incident's own              the incident: the record's bytes, with another seq where the relay had raised it
    a cascade (`depends_on`)        the most upstream incident, which names the models downstream
    an outage                       itself: how many models, since when, what most of them share

Each is a CloudEvent of the same shape, so that every target takes it as it takes any other.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from driftline.stream.alerts.build import EVENT_TYPE
from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.alerts.schema import DESCRIPTION, TITLE, cut
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.notifications import Notifications, OpenIncident, Page

# Members and links that an alert carries: some 300 bytes each, and PagerDuty takes 512 kB.
_MEMBERS, _LINKS = 200, 10
# Models and signals in a text, before "and 40 more".
_NAMED = 8


class Notification(NamedTuple):
    """An alert to tell, and its CloudEvent."""

    alert: CompleteAlert
    raw: bytes


def notification(notifications: Notifications, name: str, rules: GroupingRules, now: float) -> Notification:
    """The newest step of a page. now: epoch s."""
    page, members = notifications.pages[name], notifications.members()[name]
    if not page.outage and len(members) == 1 and members[0].alert.seq == page.seq:
        return Notification(members[0].alert, members[0].raw)
    over = name not in notifications.open_pages()
    if page.outage:
        named = [each for each in notifications.incidents.values() if each.named_by == name]
        event = _outage(page, members, named, rules, now, over)
    else:
        others = [each for each in members if each.name != name]
        event = _cascade(page, notifications.incidents[name], others, now, over)
    raw = msgspec.json.encode(event)
    return Notification(read_complete_alert(raw), raw)


# A cascade


def _cascade(page: Page, head: OpenIncident, others: Sequence[OpenIncident], now: float, over: bool) -> dict[str, Any]:
    """The head's own alert, changed where the others have something to say; fields unknown here stay as they are."""
    event: dict[str, Any] = msgspec.json.decode(head.raw)
    data = event["data"]
    data["seq"] = page.seq
    if not others:
        return event
    models = _names(each.model for each in others)
    data |= {
        "id": _digest(page.incident_id, page.seq),
        "status": _status(page, over),
        "resolution": data.get("resolution") if over else None,
        "severity": page.severity,
        "title": _cascade_title(head, others, models, over),
        "description": cut(f"{_cascade_text(head, models)}\n\n{head.alert.description}", DESCRIPTION),
        "ends_at": _last_end([head, *others]) if over else None,
        "emitted_at": _stamp(now),
        "evidence": {
            **head.alert.evidence,
            "likely_origin": [head.model],
            "downstream": [_member(each) for each in others[:_MEMBERS]],
        },
    }
    return event | {"id": data["id"], "time": data["emitted_at"]}


def _cascade_title(head: OpenIncident, others: Sequence[OpenIncident], models: str, over: bool) -> str:
    if over:
        return _beside(head.alert.title, f"; also recovered downstream: {models}")
    if head.resolved:
        lasting = _names(each.model for each in others if not each.resolved)
        return cut(f"{head.model} has recovered; still drifting downstream: {lasting}", TITLE)
    return _beside(head.alert.title, f"; also downstream: {models}")


def _cascade_text(head: OpenIncident, models: str) -> str:
    return f"Likely origin: {head.model}. Models that depend on it drift too: {models}."


def _beside(title: str, more: str) -> str:
    """Both in one title; where there is too little room, each has half of it."""
    more = cut(more, max(TITLE // 2, TITLE - len(title)))
    return f"{cut(title, TITLE - len(more))}{more}"


# An outage


def _outage(
    page: Page,
    members: Sequence[OpenIncident],
    named: Sequence[OpenIncident],
    rules: GroupingRules,
    now: float,
    over: bool,
) -> dict[str, Any]:
    incidents = [*members, *named]
    models = sorted({each.model for each in incidents})
    since = min(each.alert.starts_at for each in incidents)
    signals, kinds = _signals(incidents), Counter(each.alert.kind for each in incidents)
    above = frozenset[str]().union(*(rules.upstream.get(model, ()) for model in models))
    origins = sorted({each.model for each in rules.origins(incidents)} & above)
    data = {
        "id": _digest(page.incident_id, page.seq),
        "alert_key": page.alert_key,
        "incident_id": page.incident_id,
        "seq": page.seq,
        "status": _status(page, over),
        "severity": page.severity,
        "title": _outage_title(len(models), since, signals, over),
        "description": _outage_text(models, incidents, signals, kinds, origins),
        "starts_at": since,
        "ends_at": _last_end(incidents) if over else None,
        "emitted_at": _stamp(now),
        "source": "/driftline/outages",
        # Neither counts models: pagers know a page by these, so they must not change while it lasts.
        "component": "several models",
        "group": "outage",
        "class": kinds.most_common(1)[0][0],
        "labels": page.labels,
        "evidence": {
            "models": len(models),
            "likely_origin": origins,
            "shared": [{"signal": signal, "models": count} for signal, count in signals[:_MEMBERS]],
            "classes": dict(kinds),
            "signals": [],
            "members": [_member(each) for each in incidents[:_MEMBERS]],
            "members_left_out": max(len(incidents) - _MEMBERS, 0),
        },
        "links": list({link.href: link for each in incidents for link in each.alert.web_links()}.values())[:_LINKS],
        "mode": "live",
    }
    return {
        "specversion": "1.0",
        "id": data["id"],
        "source": "/driftline",
        "type": EVENT_TYPE,
        "subject": page.alert_key,
        "time": data["emitted_at"],
        "datacontenttype": "application/json",
        "data": data,
    }


def _outage_title(models: int, since: datetime, signals: Sequence[tuple[str, int]], over: bool) -> str:
    if over:
        return f"{models} models: no longer drifting at once"
    signal, count = signals[0] if signals else ("", 0)
    shared = f": {signal} in {count} of them" if count > 1 else ""
    return cut(f"{models} models drift at once since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC{shared}", TITLE)


def _outage_text(
    models: Sequence[str],
    incidents: Sequence[OpenIncident],
    signals: Sequence[tuple[str, int]],
    kinds: Mapping[str, int],
    origins: Sequence[str],
) -> str:
    """What they have in common, as far as the evidence shows it."""
    headline, same = Counter(_headline(each) for each in incidents).most_common(1)[0]
    told_alone = [each.model for each in incidents if each.named_by]
    shared = ", ".join(f"{name} ({count} models)" for name, count in signals[:_NAMED])
    lines = [
        f"Models: {_names(models)}.",
        f"Shared signals: {shared}." if signals else "",
        f"Most common: {headline} ({same} of {len(incidents)} incidents).",
        f"Classes: {', '.join(f'{kind} ({count})' for kind, count in kinds.items() if kind)}." if any(kinds) else "",
        f"Likely origin: {_names(origins)}, on which others of them depend." if origins else "",
        f"With a page of their own from before: {_names(told_alone)}." if told_alone else "",
    ]
    return cut("\n".join(filter(None, lines)), DESCRIPTION)


def _signals(incidents: Iterable[OpenIncident]) -> list[tuple[str, int]]:
    """In how many models each signal drifts, the most common first."""
    pairs = {(signal, each.model) for each in incidents for signal in each.alert.signal_names()}
    return sorted(Counter(signal for signal, _ in pairs).items(), key=lambda each: (-each[1], each[0]))


def _headline(incident: OpenIncident) -> str:
    """What a title says has changed, without the model before it and the time after it."""
    after = incident.alert.title.partition(": ")[2] or incident.alert.title
    return re.split(r" since \d", after)[0]


# What both need


def _member(incident: OpenIncident) -> dict[str, Any]:
    alert = incident.alert
    return {
        "model": incident.model,
        "incident": alert.incident,
        "status": "resolved" if incident.resolved else "open",
        "severity": alert.severity,
        "title": cut(alert.title, TITLE),
        "starts_at": alert.starts_at,
        "own_page": bool(incident.named_by),
    }


def _status(page: Page, over: bool) -> str:
    return "resolved" if over else "firing" if page.sent_seq < 0 else "updated"


def _last_end(incidents: Iterable[OpenIncident]) -> datetime | None:
    return max((each.alert.ends_at for each in incidents if each.alert.ends_at), default=None)


def _names(models: Iterable[str]) -> str:
    each = list(dict.fromkeys(models))
    more = f" and {len(each) - _NAMED} more" if len(each) > _NAMED else ""
    return f"{', '.join(each[:_NAMED])}{more}"


def _stamp(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)


def _digest(incident_id: str, seq: int) -> str:
    return hashlib.sha256(f"relay\x1f{incident_id}\x1f{seq}".encode()).hexdigest()[:16]
