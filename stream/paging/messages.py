"""Messages: the alert that reports the newest step of a page. Pure.

    page                            sent as
    of one incident                 the record's bytes, with another seq where the relay had raised it; if they do not
                                    say all, with the findings of earlier alerts, on the first page as "firing"
    of a cascade (`depends_on`)     the alert of the most upstream incident, which names the models downstream
    of an outage                    an alert of its own: how many models, since when, what most of them share

Each is a CloudEvent of the same shape, so that a receiver handles it like any other alert.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from driftline.stream.alerts.build import cloud_event, encode_alert, rfc3339
from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.alerts.schema import (
    DESCRIPTION,
    SIGNALS,
    TITLE,
    AlertData,
    Link,
    Member,
    OutageAlert,
    OutageEvidence,
    Shared,
    cut,
)
from driftline.stream.judge.incidents import TRAFFIC, Status
from driftline.stream.paging.commands import AS_WRITTEN, Places
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.notifications import Notifications, OpenIncident, Page
from driftline.stream.text.printable import printable

# Members and links in one alert: some 300 bytes each, and PagerDuty accepts 512 kB.
_MEMBERS, _LINKS = 200, 10
# Models and signals in a text, before "and 40 more".
_NAMED = 8


class Notification(NamedTuple):
    """An alert to send, and its CloudEvent."""

    alert: CompleteAlert
    raw: bytes


def build_notification(
    notifications: Notifications, name: str, rules: GroupingRules, now: float, places: Places = AS_WRITTEN
) -> Notification:
    """The newest step of a page, given by name. now: epoch s. places: what its commands and links refer to."""
    page = notifications.pages[name]
    raw = places.name_in(_raw(notifications, name, rules, now), "" if page.outage else page.incident_id)
    return Notification(read_complete_alert(raw), raw)


def _raw(notifications: Notifications, name: str, rules: GroupingRules, now: float) -> bytes:
    page, members = notifications.pages[name], notifications.members()[name]
    if not page.outage and len(members) == 1 and members[0].alert.seq == page.seq and not members[0].earlier:
        return members[0].raw
    over = name not in notifications.open_pages()
    if page.outage:
        named = [each for each in notifications.incidents.values() if each.named_by == name]
        return encode_alert(_outage(page, _Common.of([*members, *named], rules), now, over))
    others = [each for each in members if each.name != name]
    return msgspec.json.encode(_cascade(page, notifications.incidents[name], others, now, over))


# One incident


def _whole(page: Page, incident: OpenIncident) -> dict[str, Any]:
    """The incident's newest alert with the findings of earlier ones, as plain JSON.

    It keeps its id, so that `driftline explain` finds it. Fields that only a newer worker knows pass through.
    """
    event: dict[str, Any] = msgspec.json.decode(incident.raw)
    data = event["data"]
    data["seq"] = page.seq
    if incident.earlier:
        first = page.sent_seq < 0 and incident.start_seen
        data["status"] = Status.FIRING if first else data["status"]
        signals = incident.alert.evidence.get("signals")
        own = signals if isinstance(signals, list) else []
        data["title"] = _whole_title(incident)
        data["description"] = _whole_text(incident)
        data["evidence"] = {**incident.alert.evidence, "signals": [*own, *incident.earlier_evidence.values()][:SIGNALS]}
    return event


def _whole_title(incident: OpenIncident) -> str:
    """The title of the newest alert, and the signals of earlier ones."""
    if not incident.earlier:
        return incident.alert.title
    names = _names(signal.removeprefix("features.") for signal in incident.earlier_evidence)
    return _joined(incident.alert.title, f"; earlier: {names}")


def _whole_text(incident: OpenIncident) -> str:
    """The description of the newest alert, with a line for each signal of earlier ones before the commands."""
    alert = incident.alert
    body, dollar, commands = alert.description.partition("\n$ ")
    foot = dollar + commands
    text = "\n".join([body, "Found earlier in this incident:", *map(_line, incident.earlier_evidence.items())])
    return cut(text, max(DESCRIPTION - len(foot), 0)) + foot


def _line(found: tuple[str, dict[str, Any]]) -> str:
    """A finding of an earlier alert: signal, change and time, as far as its evidence has them."""
    signal, evidence = found
    change, since = evidence.get("change"), evidence.get("since")
    headline = change.get("headline") if isinstance(change, dict) else None
    return printable(f"{signal}{f': {headline}' if headline else ''}{f', since {since}' if since else ''}")


# A cascade


def _cascade(page: Page, head: OpenIncident, others: Sequence[OpenIncident], now: float, over: bool) -> dict[str, Any]:
    """The head's alert with what the others add, as plain JSON."""
    event = _whole(page, head)
    data = event["data"]
    if not others:
        return event
    models = _names(each.model for each in others)
    data |= {
        "id": _digest(page.incident_id, page.seq),
        "status": _status(page, over),
        "resolution": data.get("resolution") if over else None,
        "severity": page.severity,
        "title": _cascade_title(head, others, models, over),
        "description": cut(f"{_cascade_text(head, models)}\n\n{_whole_text(head)}", DESCRIPTION),
        "ends_at": _last_end([head, *others]) if over else None,
        "emitted_at": _timestamp(now),
        "evidence": {
            **data.get("evidence", {}),
            "likely_origin": [head.model],
            "downstream": [_member(each) for each in others[:_MEMBERS]],
        },
    }
    return event | {"id": data["id"], "time": data["emitted_at"]}


def _cascade_title(head: OpenIncident, others: Sequence[OpenIncident], models: str, over: bool) -> str:
    if over:
        return _joined(_whole_title(head), f"; also recovered downstream: {models}")
    if head.resolved:
        still = _names(each.model for each in others if not each.resolved)
        return cut(f"{printable(head.model)} has recovered; still open downstream: {still}", TITLE)
    return _joined(_whole_title(head), f"; also downstream: {models}")


def _cascade_text(head: OpenIncident, models: str) -> str:
    return f"Likely origin: {printable(head.model)}. Models that depend on it have incidents, too: {models}."


def _joined(title: str, more: str) -> str:
    """Both texts in one title; where they are too long, each gets half of the room."""
    more = cut(more, max(TITLE // 2, TITLE - len(title)))
    return f"{cut(title, TITLE - len(more))}{more}"


# An outage


class _Common(NamedTuple):
    """What the incidents of an outage have in common.

    since: start of the earliest. signals: with the number of models that each drifts in, the most common first.
    classes: number of incidents of each class. origins: models among them on which others of them depend.
    """

    incidents: Sequence[OpenIncident]
    models: list[str]
    since: datetime
    signals: list[tuple[str, int]]
    classes: Counter[str]
    origins: list[str]

    @classmethod
    def of(cls, incidents: Sequence[OpenIncident], rules: GroupingRules) -> _Common:
        """Of the incidents of an outage, in order."""
        models = sorted({each.model for each in incidents})
        above = frozenset[str]().union(*(rules.upstream.get(model, ()) for model in models))
        return cls(
            incidents,
            models,
            min(each.alert.starts_at for each in incidents),
            _signals(incidents),
            Counter(each.alert.kind for each in incidents),
            sorted({each.model for each in rules.origins(incidents)} & above),
        )


def _outage(page: Page, common: _Common, now: float, over: bool) -> OutageAlert:
    incidents = common.incidents
    links = {link.href: Link(link.href, link.text) for each in incidents for link in each.alert.web_links()}
    data = AlertData(
        id=_digest(page.incident_id, page.seq),
        alert_key=page.alert_key,
        incident_id=page.incident_id,
        seq=page.seq,
        status=_status(page, over),
        resolution=UNSET,
        severity=page.severity,
        title=_outage_title(common, over),
        description=_outage_text(common),
        starts_at=rfc3339(common.since),
        ends_at=_last_end(incidents) if over else None,
        emitted_at=_timestamp(now),
        source="/driftline/outages",
        # Neither text has the number of models: receivers identify a page by them, so they must not change.
        component="several models",
        group="outage",
        kind=common.classes.most_common(1)[0][0],
        labels=page.labels,
        evidence=_outage_evidence(common),
        links=list(links.values())[:_LINKS],
        commands=UNSET,
        mode="live",
    )
    return cloud_event(data)


def _outage_evidence(common: _Common) -> OutageEvidence:
    return OutageEvidence(
        models=len(common.models),
        likely_origin=common.origins,
        shared=[Shared(signal, count) for signal, count in common.signals[:_MEMBERS]],
        classes=dict(common.classes),
        signals=[],
        members=[_member(each) for each in common.incidents[:_MEMBERS]],
        members_left_out=max(len(common.incidents) - _MEMBERS, 0),
    )


def _outage_title(common: _Common, over: bool) -> str:
    models, do, over_now = len(common.models), *_verbs(common.classes)
    if over:
        return f"{models} models: {over_now}"
    signal, count = next(((name, n) for name, n in common.signals if name != TRAFFIC), ("", 0))
    shared = f": {printable(signal)} in {count} of them" if count > 1 else ""
    since = rfc3339(common.since)[:16].replace("T", " ")
    return cut(f"{models} models {do} at once since {since} UTC{shared}", TITLE)


def _verbs(classes: Counter[str]) -> tuple[str, str]:
    """What models of incidents of these classes do, and what is said when that is over."""
    if "absence" not in classes:
        return "drift", "no longer drifting at once"
    if len(classes) == 1:
        return "have less or more traffic", "incidents of their traffic are over"
    return "drift, or have less or more traffic,", "their incidents are over"


def _outage_text(common: _Common) -> str:
    """What the incidents have in common, as far as their evidence shows it."""
    incidents, classes = common.incidents, common.classes
    headline, same = Counter(map(_headline, incidents)).most_common(1)[0]
    reported_before = [each.model for each in incidents if each.named_by]
    shared = ", ".join(f"{printable(name)} ({count} models)" for name, count in common.signals[:_NAMED])
    kinds = ", ".join(f"{printable(kind)} ({count})" for kind, count in classes.items() if kind)
    lines = [
        f"Models: {_names(common.models)}.",
        f"Shared signals: {shared}." if shared else "",
        f"Most common: {printable(headline)} ({same} of {len(incidents)} incidents).",
        f"Classes: {kinds}." if kinds else "",
        f"Likely origin: {_names(common.origins)}, on which others of them depend." if common.origins else "",
        f"With a page of their own from before: {_names(reported_before)}." if reported_before else "",
    ]
    return cut("\n".join(filter(None, lines)), DESCRIPTION)


def _signals(incidents: Iterable[OpenIncident]) -> list[tuple[str, int]]:
    """Each signal with the number of models that it drifts in, the most common first."""
    pairs = {(signal, each.model) for each in incidents for signal in each.signal_names}
    return sorted(Counter(signal for signal, _ in pairs).items(), key=lambda each: (-each[1], each[0]))


def _headline(incident: OpenIncident) -> str:
    """The change that a title reports, without the model before it and the time after it."""
    after = incident.alert.title.partition(": ")[2] or incident.alert.title
    return re.split(r" since \d", after)[0]


# Both


def _member(incident: OpenIncident) -> Member:
    alert = incident.alert
    return Member(
        model=incident.model,
        incident=alert.incident,
        status="resolved" if incident.resolved else "open",
        severity=alert.severity,
        title=cut(_whole_title(incident), TITLE),
        starts_at=rfc3339(alert.starts_at),
        own_page=bool(incident.named_by),
    )


def _status(page: Page, over: bool) -> Status:
    if over:
        return Status.RESOLVED
    return Status.FIRING if page.sent_seq < 0 else Status.UPDATED


def _last_end(incidents: Iterable[OpenIncident]) -> str | None:
    """When the last of them ended; None if no end is known."""
    ends = [each.alert.ends_at for each in incidents if each.alert.ends_at]
    return rfc3339(max(ends)) if ends else None


def _names(models: Iterable[str]) -> str:
    """The first models, and how many more there are."""
    names = list(dict.fromkeys(map(printable, models)))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _timestamp(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def _digest(incident_id: str, seq: int) -> str:
    return hashlib.sha256(f"relay\x1f{incident_id}\x1f{seq}".encode()).hexdigest()[:16]
