"""Grouping: decides which page reports an incident, and what the next step of each page is. Pure.

    an incident that was never reported
        ├─ resolved ────────────────────────────────────► dropped: nobody knows of it
        ├─ its start was never read ────────────────────► a page of its own, at once
        ├─ silenced, or below the minimum severity ─────► held back
        ├─ open again after an end that was sent ───────► held back until something new is found in it
        ├─ a model that it depends on drifts ───────────► the page of that model, which then names this one too
        ├─ an outage that began just before is open ────► the page of the outage
        ├─ enough models for an outage drift ───────────► one page for all that wait
        └─ none of these within the group wait ─────────► a page of its own

A page that people know already rings no more when it changes. So a critical incident joins no such page, and one that
becomes critical on one leaves it, if others stay there: it gets a page of its own, which rings.

The relay groups because a worker judges one model alone; only a reader of all alerts sees what they have in common.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as changed

from driftline.stream.config.incidents import Severity
from driftline.stream.judge.incidents import SEVERITIES
from driftline.stream.paging.notifications import IsSilenced, Notifications, OpenIncident, Page, worst

# The severity that always rings.
_CRITICAL = SEVERITIES[-1]
# s. The end of an incident without alerts for so long may be lost: no incident downstream joins its page any more.
_STALE = 30 * 86_400.0
# s. More than the time within which an incident comes back, also in a backlog (`stream.judge.returns`).
_RETURNS = 30 * 86_400.0
# s. An incident without alerts for so long is dropped. More than the longest silence (`stream.cli.silence`): at a tenth
# of it, a silence of two months would lose what it holds back.
_ABANDONED = 400 * 86_400.0


@dataclass(frozen=True)
class GroupingRules:
    """How one receiver's incidents are grouped.

    group_wait, outage_window: seconds. outage_models: how many models make an outage; None: there are no outages.
    min_severity: less severe incidents are held back. upstream: all models that a model depends on, directly or not.
    """

    group_wait: float = 0.0
    outage_models: int | None = None
    outage_window: float = 0.0
    min_severity: Severity = "info"
    upstream: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def depends_on(self, incident: OpenIncident, other: OpenIncident) -> bool:
        """Whether the model of one incident depends on that of the other."""
        return other.model in self.upstream.get(incident.model, ())

    def origins(self, incidents: Sequence[OpenIncident]) -> list[OpenIncident]:
        """The incidents whose models depend on none of the others': where a cascade may have begun."""
        models = {incident.model for incident in incidents}
        return [each for each in incidents if not self.upstream.get(each.model, frozenset()) & models]


def decide(notifications: Notifications, rules: GroupingRules, silenced: IsSilenced, now: float) -> Notifications:
    """Assign a page to every incident that is to be reported now, and give every page its next step. now: epoch s."""
    kept = notifications.without([each.name for each in _droppable(notifications, now)]).without_ended(now - _RETURNS)
    kept = kept.assign(_own_page(each, [each]) for each in _risen(kept) if _reportable(each, rules, silenced))
    held = kept.held_back()
    free = [each for each in kept.unassigned() if each.name not in held]
    ready = [each for each in free if each.resolved or _reportable(each, rules, silenced)]
    waiting = [each for each in ready if each.start_seen]
    kept = kept.assign(_own_page(each, [each]) for each in ready if not each.start_seen)
    if any(_has_waited(each, rules, now) for each in waiting):
        kept = _assign_waiting(kept, rules, waiting, now)
    return _with_next_steps(_new_pages_last(kept))


def _reportable(incident: OpenIncident, rules: GroupingRules, silenced: IsSilenced) -> bool:
    """Whether it is severe enough and not silenced."""
    severe = SEVERITIES.index(incident.alert.severity) >= SEVERITIES.index(rules.min_severity)
    return severe and not silenced(incident.unreported_alert)


def _has_waited(incident: OpenIncident, rules: GroupingRules, now: float) -> bool:
    """Whether its group wait is over. A clock that was set back delays nothing."""
    return not 0 <= now - incident.read_at < rules.group_wait


def _droppable(notifications: Notifications, now: float) -> list[OpenIncident]:
    """The incidents that ended before anybody knew of them, and all those of abandoned pages.

    An origin stays as long as its page reports another incident.
    """
    incidents = notifications.incidents.values()
    alive = {_page_name(each) for each in incidents if _seconds_unheard(each, now) <= _ABANDONED}
    ended = [each for each in incidents if each.resolved and each.never_sent]
    missed = {each.name for each in ended}
    needed = {each.page for each in incidents if each.page and each.name not in missed} if missed else set()
    return [
        each for each in incidents if _page_name(each) not in alive or (each.name in missed and each.name not in needed)
    ]


def _risen(notifications: Notifications) -> list[OpenIncident]:
    """The incidents that became critical on a page of several that people know already, if others stay there."""
    shared = [each for each in notifications.incidents.values() if each.page not in ("", each.name)]
    risen = [each for each in shared if _is_critical(each) and each.known_severity != _CRITICAL and not each.resolved]
    if not risen:
        return []
    members, leaving = notifications.members(), {each.name for each in risen}
    return [
        each
        for each in risen
        if not all(other.never_sent for other in members[each.page])
        and any(other.name not in leaving for other in members[each.page])
    ]


def _is_critical(incident: OpenIncident) -> bool:
    return incident.alert.severity == _CRITICAL


def _page_name(incident: OpenIncident) -> str:
    """The page that reports it, or that would."""
    return incident.page or incident.name


def _seconds_unheard(incident: OpenIncident, now: float) -> float:
    """Seconds since its newest alert, or since the first one was read."""
    return now - max(incident.read_at, incident.alert.emitted_at.timestamp())


def _assign_waiting(
    notifications: Notifications, rules: GroupingRules, waiting: Sequence[OpenIncident], now: float
) -> Notifications:
    """Assign pages to waiting incidents, at least to those whose group wait is over."""
    outages, known = _open_outages(notifications), _known_pages(notifications)
    pages = [
        (each, _upstream_page(notifications, rules, each, now) or _outage_page(outages, rules, each))
        for each in waiting
    ]
    pages = [(each, "" if _is_critical(each) and page in known else page) for each, page in pages]
    joining, alone = [pair for pair in pages if pair[1]], [each for each, page in pages if not page]
    if joining:  # which may let others join
        joined = notifications.assign((page, notifications.pages[page], [each]) for each, page in joining)
        return _assign_waiting(joined, rules, alone, now)
    if outage := _new_outage(notifications, rules, alone):
        founders, named = outage
        founding = {each.name for each in founders}
        begun = _with_outage(notifications, founders, named)
        return _assign_waiting(begun, rules, [each for each in alone if each.name not in founding], now)
    due = [each for each in _cascades(rules, alone) if any(_has_waited(member, rules, now) for member in each[1])]
    return notifications.assign(_own_page(origin, cascade) for origin, cascade in due)


def _known_pages(notifications: Notifications) -> set[str]:
    """The pages that the receiver may know already."""
    return {each.page for each in notifications.incidents.values() if each.page and not each.never_sent}


def _own_page(origin: OpenIncident, cascade: Sequence[OpenIncident]) -> tuple[str, Page, Sequence[OpenIncident]]:
    """A page under the origin's identity that reports all of a cascade."""
    return origin.name, Page(origin.alert.alert_key, origin.alert.incident_id), cascade


def _upstream_page(notifications: Notifications, rules: GroupingRules, incident: OpenIncident, now: float) -> str:
    """The page of the most upstream open incident that may have caused this one; "" if there is none."""
    if incident.model not in rules.upstream:
        return ""
    reported = [each for each in notifications.incidents.values() if each.page and not each.resolved]
    upstream = [each for each in reported if rules.depends_on(incident, each) and _seconds_unheard(each, now) <= _STALE]
    return rules.origins(upstream)[0].page if upstream else ""


def _open_outages(notifications: Notifications) -> dict[str, tuple[float, float]]:
    """By page, when the first and the latest incident of each open outage fired, in epoch s."""
    names = {name for name in notifications.open_pages() if notifications.pages[name].outage}
    members = notifications.members() if names else {}
    return {name: (members[name][0].fired_at, members[name][-1].fired_at) for name in sorted(names)}


def _outage_page(outages: Mapping[str, tuple[float, float]], rules: GroupingRules, incident: OpenIncident) -> str:
    """The page of an open outage that was under way when this incident fired; "" if there is none."""
    for name, (first, latest) in outages.items() if _is_of_model(incident) else ():
        if first - rules.outage_window <= incident.fired_at <= latest + rules.outage_window:
            return name
    return ""


def _is_of_model(incident: OpenIncident) -> bool:
    """Whether it may be part of an outage of models. That of a topic has a page of its own, which may explain one."""
    return incident.alert.about == "model"


def _new_outage(
    notifications: Notifications, rules: GroupingRules, waiting: Sequence[OpenIncident]
) -> tuple[list[OpenIncident], list[OpenIncident]] | None:
    """A new outage's waiting incidents, and its incidents that have pages already; None if there is no new outage.

    Incidents that a single cascade explains are no outage.
    """
    if not waiting:
        return None
    reported = [each for each in notifications.incidents.values() if each.page and not each.resolved]
    single = [each for each in reported if not (each.named_by or notifications.pages[each.page].outage)]
    incidents = sorted(filter(_is_of_model, (*single, *waiting)), key=lambda each: each.fired_at)
    origins = {each.model for each in rules.origins(incidents)}
    required = rules.outage_models or len(incidents) + 1
    for i, first in enumerate(incidents[: 1 - required]):
        end = bisect_right(incidents, first.fired_at + rules.outage_window, key=lambda each: each.fired_at)
        near = incidents[i:end]
        founders = [each for each in near if not each.page]
        models = {each.model for each in near} if founders else set()
        if len(models) >= required and len(models & origins) > 1:
            return founders, [each for each in near if each.page]
    return None


def _with_outage(
    notifications: Notifications, founders: Sequence[OpenIncident], named: Sequence[OpenIncident]
) -> Notifications:
    """Add the page of a new outage. Its first incident gives its identity: the same decision makes the same page."""
    first = min(founders, key=lambda each: (each.fired_at, each.read_at))
    digest = hashlib.sha256(first.name.encode()).hexdigest()[:16]
    common = set.intersection(*(set(each.alert.labels.items()) for each in (*founders, *named)))
    page = Page(f"outage-{digest}", digest, outage=True, labels=dict(sorted(common)))
    name = f"{page.alert_key}/{page.incident_id}"
    return notifications.assign([(name, page, founders)]).name_on(name, named)


def _cascades(rules: GroupingRules, waiting: Sequence[OpenIncident]) -> list[tuple[OpenIncident, list[OpenIncident]]]:
    """The waiting incidents, grouped by the most upstream one that may have caused each."""
    origins = rules.origins(waiting)
    found = {origin.name: (origin, [origin]) for origin in origins}
    first = {origin.model: origin for origin in reversed(origins)}
    rank = {model: i for i, model in enumerate(reversed(first))}
    for incident in waiting:
        above = [model for model in rules.upstream.get(incident.model, ()) if model in first]
        if above:
            found[first[min(above, key=rank.__getitem__)].name][1].append(incident)
    return list(found.values())


def _new_pages_last(notifications: Notifications) -> Notifications:
    """Sort new pages, in the topic's order of their incidents, after those that had a step before."""
    first = list(dict.fromkeys(each.page for each in notifications.incidents.values()))
    pages = notifications.pages
    new = sorted((name for name, page in pages.items() if not page.summary), key=first.index)
    if not new:
        return notifications
    old = [name for name, page in pages.items() if page.summary]
    return replace(notifications, pages={name: pages[name] for name in (*old, *new)})


def _with_next_steps(notifications: Notifications) -> Notifications:
    """Give a new step to every page with news: its incidents, its severity, or whether it is over have changed."""
    members, open_pages, pages = notifications.members(), notifications.open_pages(), dict(notifications.pages)
    for name, page in notifications.pages.items():
        severity = worst([page.severity, *(each.alert.severity for each in members[name])])
        head = -1 if page.outage else notifications.incidents[name].alert.seq
        state = "open" if name in open_pages else "over"
        summary = f"seq {head}, {len(members[name])} incidents, {severity}, {state}"
        sent = notifications.sent_seqs.get(page.alert_key, -1)
        if summary != page.summary or page.sent_seq < page.seq <= sent:
            seq = page.seq + 1 if head < 0 or head <= page.seq else head
            pages[name] = changed(page, summary=summary, severity=severity, seq=max(seq, sent + 1))
    if pages == notifications.pages:
        return notifications
    return replace(notifications, pages=pages)
