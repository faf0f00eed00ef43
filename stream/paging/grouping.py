"""Who is told with whom: the decision which page tells of an incident, and what its next step is. Pure.

    an incident that nobody was told of
        ├─ silenced, or not severe enough ──────────────► it waits; over before that ends, nobody is told
        ├─ over, or its beginning was never heard ──────► a page of its own, at once
        ├─ a model that it depends on has drifted ──────► the page of that, which then names this one too
        ├─ an outage is open that began just before ────► the page of that
        ├─ as many models as make an outage drift ──────► one page for all that wait
        └─ nothing of that came within the group wait ──► a page of its own

Why here: a worker judges a model alone, only who reads all alerts sees what they have in common.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace as changed

from driftline.stream.config.incidents import Severity
from driftline.stream.judge.incidents import SEVERITIES
from driftline.stream.paging.notifications import Notifications, OpenIncident, Page, Silenced, worst

# s. What began and ended unheard is news for so long: a relay that starts on an old topic must not tell its history.
_NEWS = 3600.0
# s. An incident that nothing was heard of for so long may have lost its end: what follows from it is told by itself.
_STALE = 30 * 86_400.0
# s. After so long it is forgotten. More than the longest silence (`stream.cli.silence`): at a tenth of it, one that
# lasts for two months would lose what it holds back.
_LOST = 400 * 86_400.0


@dataclass(frozen=True)
class GroupingRules:
    """How one target's incidents are grouped.

    wait, window: seconds. outage_models: None: nothing is an outage. least: severity from which on it is told.
    upstream: all models that a model depends on, directly or not.
    """

    wait: float = 0.0
    outage_models: int | None = None
    window: float = 0.0
    least: Severity = "info"
    upstream: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def depends(self, case: OpenIncident, other: OpenIncident) -> bool:
        """Whether the model of one case depends on that of another."""
        return other.model in self.upstream.get(case.model, ())

    def origins(self, cases: Sequence[OpenIncident]) -> list[OpenIncident]:
        """Those that depend on none of the others: where a cascade may have begun."""
        models = {case.model for case in cases}
        return [case for case in cases if not self.upstream.get(case.model, frozenset()) & models]


def decide(desk: Notifications, rules: GroupingRules, silenced: Silenced, now: float) -> Notifications:
    """The desk after every incident that is to be told now got its page, and every page its next step."""
    desk = desk.without([case.alert.incident for case in _past(desk, rules, silenced, now)])
    ready = [case for case in desk.undecided() if _tellable(case, rules, silenced) or case.over]
    waiting = [case for case in ready if case.opened and not case.over]
    desk = desk.on_pages(_page_of(case, [case]) for case in ready if case.over or not case.opened)
    if any(not 0 <= now - case.came < rules.wait for case in waiting):  # a clock that was set back holds nothing up
        desk = _assigned(desk, rules, waiting, now)
    return _with_next_steps(_in_order(desk))


def _tellable(case: OpenIncident, rules: GroupingRules, silenced: Silenced) -> bool:
    return SEVERITIES.index(case.alert.severity) >= SEVERITIES.index(rules.least) and not silenced(case.untold)


def _past(desk: Notifications, rules: GroupingRules, silenced: Silenced, now: float) -> list[OpenIncident]:
    """What is to be forgotten: over before anybody heard of it, or on a page of which nothing is heard any more."""

    heard_of = {_told_by(case) for case in desk.cases.values() if _unheard(case, now) <= _LOST}
    return [
        case
        for case in desk.cases.values()
        if _told_by(case) not in heard_of
        or (case.over and case.opened and not case.page and _is_no_news(case, rules, silenced, now))
    ]


def _told_by(case: OpenIncident) -> str:
    return case.page or case.alert.incident


def _unheard(case: OpenIncident, now: float) -> float:
    """For how many seconds nothing was heard of it."""
    return now - max(case.came, case.alert.emitted_at.timestamp())


def _is_no_news(case: OpenIncident, rules: GroupingRules, silenced: Silenced, now: float) -> bool:
    return now - case.alert.emitted_at.timestamp() > _NEWS or not _tellable(case, rules, silenced)


def _assigned(desk: Notifications, rules: GroupingRules, waiting: Sequence[OpenIncident], now: float) -> Notifications:
    """With pages for those that wait, at least for those whose wait is over."""
    outages = _open_outages(desk)
    pages = [(case, _page_upstream(desk, rules, case, now) or _outage_near(outages, rules, case)) for case in waiting]
    joining, alone = [each for each in pages if each[1]], [case for case, name in pages if not name]
    if joining:  # which may bring others with it
        joined = desk.on_pages((name, desk.pages[name], [case]) for case, name in joining)
        return _assigned(joined, rules, alone, now)
    if outage := _new_outage(desk, rules, alone):
        founders, named = outage
        rest = {case.alert.incident for case in alone} - {case.alert.incident for case in founders}
        begun = _begun(desk, founders, named)
        return _assigned(begun, rules, [case for case in alone if case.alert.incident in rest], now)
    ripe = {case.alert.incident for case in alone if not 0 <= now - case.came < rules.wait}
    told = [each for each in _cascades(rules, alone) if any(case.alert.incident in ripe for case in each[1])]
    return desk.on_pages(_page_of(origin, cascade) for origin, cascade in told)


def _page_of(origin: OpenIncident, cascade: Sequence[OpenIncident]) -> tuple[str, Page, Sequence[OpenIncident]]:
    """The page of the origin's identity that tells of all of a cascade."""
    return origin.alert.incident, Page(origin.alert.alert_key, origin.alert.incident_id), cascade


def _page_upstream(desk: Notifications, rules: GroupingRules, case: OpenIncident, now: float) -> str:
    """The page of the most upstream open incident that this one may follow from; "" if there is none."""
    if case.model not in rules.upstream:
        return ""
    lasting = [each for each in desk.cases.values() if each.page and not each.over and rules.depends(case, each)]
    above = [each for each in lasting if _unheard(each, now) <= _STALE]
    return rules.origins(above)[0].page if above else ""


def _open_outages(desk: Notifications) -> dict[str, tuple[float, float]]:
    """When the first and the latest incident fired on the page of each open outage."""
    names = {name for name in desk.open_pages() if desk.pages[name].outage}
    members = desk.members() if names else {}
    return {name: (members[name][0].fired, members[name][-1].fired) for name in sorted(names)}


def _outage_near(outages: Mapping[str, tuple[float, float]], rules: GroupingRules, case: OpenIncident) -> str:
    """The page of an open outage of which this one, by its time, is a part; "" if there is none."""
    for name, (first, latest) in outages.items():
        if first - rules.window <= case.fired <= latest + rules.window:
            return name
    return ""


def _new_outage(
    desk: Notifications, rules: GroupingRules, waiting: Sequence[OpenIncident]
) -> tuple[list[OpenIncident], list[OpenIncident]] | None:
    """Those that wait and are an outage, and those of it that were told before; None if there is none.

    What one cascade explains is no outage.
    """
    if not waiting:
        return None
    told = [case for case in desk.cases.values() if case.page and not (case.over or case.also)]
    cases = sorted((*told, *waiting), key=lambda case: case.fired)
    origins, least = {case.model for case in rules.origins(cases)}, rules.outage_models or len(cases) + 1
    for i, first in enumerate(cases[: 1 - least]):
        near = cases[i : bisect_right(cases, first.fired + rules.window, key=lambda case: case.fired)]
        founders = [case for case in near if not case.page]
        models = {case.model for case in near} if founders else set()
        if len(models) >= least and len(models & origins) > 1:
            return founders, [case for case in near if case.page]
    return None


def _begun(desk: Notifications, founders: Sequence[OpenIncident], named: Sequence[OpenIncident]) -> Notifications:
    """With the page of a new outage. Its identity is made of its first incident: the same decision, the same page."""
    first = min(founders, key=lambda case: (case.fired, case.came))
    digest = hashlib.sha256(first.alert.incident.encode()).hexdigest()[:16]
    common = set.intersection(*(set(case.alert.labels.items()) for case in (*founders, *named)))
    page = Page(f"outage-{digest}", digest, outage=True, labels=dict(sorted(common)))
    name = f"{page.alert_key}/{page.incident_id}"
    return desk.on_pages([(name, page, founders)]).naming(name, named)


def _cascades(rules: GroupingRules, waiting: Sequence[OpenIncident]) -> list[tuple[OpenIncident, list[OpenIncident]]]:
    """Those that wait, by the most upstream one that each may follow from."""
    origins = rules.origins(waiting)
    found = {case.alert.incident: (case, [case]) for case in origins}
    first = {case.model: case for case in reversed(origins)}
    rank = {model: i for i, model in enumerate(reversed(first))}
    for case in waiting:
        above = [model for model in rules.upstream.get(case.model, ()) if model in first]
        if above:
            found[first[min(above, key=rank.__getitem__)].alert.incident][1].append(case)
    return list(found.values())


def _in_order(desk: Notifications) -> Notifications:
    """New pages in the order in which the topic told of their incidents, after those that had a step before."""
    first = list(dict.fromkeys(case.page for case in desk.cases.values()))
    new = sorted((name for name, page in desk.pages.items() if not page.made), key=first.index)
    old = [name for name, page in desk.pages.items() if page.made]
    return Notifications(desk.cases, {name: desk.pages[name] for name in (*old, *new)}, desk.told) if new else desk


def _with_next_steps(desk: Notifications) -> Notifications:
    """With a new step of every page that has something new to say: who is on it, how bad it is, whether it is over."""
    members, lasting, pages = desk.members(), desk.open_pages(), dict(desk.pages)
    for name, page in desk.pages.items():
        severity = worst([page.severity, *(case.alert.severity for case in members[name])])
        head = -1 if page.outage else desk.cases[name].alert.seq
        made = f"seq {head}, {len(members[name])} incidents, {severity}, {'open' if name in lasting else 'over'}"
        told = desk.told.get(page.alert_key, -1)
        if made != page.made or page.told < page.seq <= told:
            seq = page.seq + 1 if head < 0 or head <= page.seq else head
            pages[name] = changed(page, made=made, severity=severity, seq=max(seq, told + 1))
    return desk if pages == desk.pages else Notifications(desk.cases, pages, desk.told)
