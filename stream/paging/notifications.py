"""The desk: the incidents that a target has open, and the pages that tell of them. Pure.

`stream.state.notification_log` keeps it.

    record ─take─► case, without a page ──`stream.paging.grouping` decides──► page ─due─► target ─done─► told
                     waits for others, is silenced,                     one incident's own, or one for several
                     or not severe enough

Rule 1: a case gets its page once and for good, and that is written down before anything is sent. So whoever is killed
when, an incident is told by one page only.
Rule 2: a page is open as long as an incident on it is, and is told of its end.
Rule 3: within one alert_key seq only rises, also where the relay itself has something to add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import msgspec
from msgspec.structs import replace as changed

from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.config.incidents import Severity
from driftline.stream.judge.incidents import SEVERITIES

#: Whether an alert is silenced now.
Silenced = Callable[[CompleteAlert], bool]


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class OpenIncident(msgspec.Struct, frozen=True, dict=True):
    """An incident, as the newest alert tells of it.

    raw: that alert's record. came: when the relay first heard of the incident; fired: when a worker first told of it;
    both epoch s. opened: whether its first alert was heard; else it may have been told before this desk began.
    page: the page that tells of it, "" while none does. also: an outage's page that names it beside its own. news: the
    findings of all of its alerts since the last one told, see `CompleteAlert.findings`.
    """

    raw: bytes
    place: Place
    came: float
    fired: float
    opened: bool
    page: str = ""
    also: str = ""
    news: tuple[tuple[str, str], ...] = ()

    @cached_property
    def alert(self) -> CompleteAlert:
        """The newest alert."""
        return read_complete_alert(self.raw)

    @cached_property
    def untold(self) -> CompleteAlert:
        """The newest alert with the findings of those before it that nobody was told: what a silence must match."""
        signals = [{"signal": signal, "class": kind} for signal, kind in self.news]
        return changed(self.alert, evidence={"signals": signals}) if signals else self.alert

    @property
    def model(self) -> str:
        return self.alert.model

    @property
    def over(self) -> bool:
        return self.alert.resolved


class Page(msgspec.Struct, frozen=True):
    """One page. Its name on the desk is its identity in pagers, `CompleteAlert.incident`.

    labels: those of an outage's, fixed when it begins, since pagers know a page by them. severity: the worst so far.
    made: what the newest step says, in short; it has seq. told: seq of the newest step told, -1 before any.
    """

    alert_key: str
    incident_id: str
    outage: bool = False
    labels: dict[str, str] = {}
    severity: Severity = "info"
    made: str = ""
    seq: int = -1
    told: int = -1


@dataclass(frozen=True)
class Notifications:
    """cases by incident, in the order of the topic; pages by name; told: the highest seq told, by alert_key.

    told knows the keys of open cases, and those of which the relay has raised the seq itself.
    """

    cases: Mapping[str, OpenIncident] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)

    def take(self, records: Iterable[tuple[bytes, Place]], now: float) -> Notifications:
        """After records of live alerts were read. What is older than here only says whether the beginning was heard."""
        cases = dict(self.cases)
        for raw, place in records:
            alert = read_complete_alert(raw)
            cases[alert.incident] = _newer(cases.get(alert.incident), alert, raw, place, now)
        return replace(self, cases=cases)

    def undecided(self) -> list[OpenIncident]:
        """The cases without a page."""
        return [case for case in self.cases.values() if not case.page]

    def members(self) -> dict[str, list[OpenIncident]]:
        """The cases that each page tells of, the first to fire first."""
        found: dict[str, list[OpenIncident]] = {name: [] for name in self.pages}
        for case in sorted(self.cases.values(), key=lambda case: (case.fired, case.came)):
            if case.page:
                found[case.page].append(case)
        return found

    def open_pages(self) -> set[str]:
        """The pages with an incident that lasts, be it their own or one that they name."""
        lasting = [case for case in self.cases.values() if not case.over]
        return {name for case in lasting for name in (case.page, case.also) if name in self.pages}

    def on_pages(self, told: Iterable[tuple[str, Page, Sequence[OpenIncident]]]) -> Notifications:
        """With pages, new or not, by name, each of which tells of these cases too."""
        cases, pages = dict(self.cases), dict(self.pages)
        for name, page, members in told:
            pages[name] = page
            cases |= {case.alert.incident: changed(case, page=name) for case in members}
        return replace(self, cases=cases, pages=pages)

    def naming(self, name: str, others: Iterable[OpenIncident]) -> Notifications:
        """With a page that names cases which have another page."""
        named = {case.alert.incident: changed(case, also=name) for case in others}
        return replace(self, cases={**self.cases, **named})

    def due(self, silenced: Silenced) -> list[str]:
        """The pages to tell of, in their order; not those of which every lasting incident is silenced."""
        waiting = {name for name, page in self.pages.items() if page.told < page.seq}
        if not waiting:
            return []
        members = self.members()
        return [name for name in self.pages if name in waiting and not _hushed(members[name], silenced)]

    def put_back(self, name: str) -> Notifications:
        """Let others be told first; pages of one alert_key keep their order."""
        key = self.pages[name].alert_key
        mine = {each: page for each, page in self.pages.items() if page.alert_key == key}
        others = {each: page for each, page in self.pages.items() if each not in mine}
        return replace(self, pages=others | mine)

    def done(self, name: str) -> Notifications:
        """After a page's newest step was told, or has become a dead letter. What is over is forgotten."""
        page = self.pages[name]
        own = {} if page.outage else {page.alert_key: max(page.seq, self.told.get(page.alert_key, -1))}
        told = {**self.told, **own}
        heard = {
            incident: changed(case, news=()) if case.page == name and case.news else case
            for incident, case in self.cases.items()
        }
        after = Notifications(heard, {**self.pages, name: changed(page, told=page.seq)}, told)
        if name in self.open_pages():
            return after
        return after.without([case.alert.incident for case in self.cases.values() if case.page == name])

    def without(self, incidents: Iterable[str]) -> Notifications:
        """Without these cases and the pages that then tell of nothing, and what was told only as far as it matters."""
        gone = set(incidents)
        cases = {incident: case for incident, case in self.cases.items() if incident not in gone}
        used, keys = {case.page for case in cases.values()}, {case.alert.alert_key for case in cases.values()}
        pages = {name: page for name, page in self.pages.items() if name in used}
        heard = _highest(self.cases[incident].alert for incident in gone)
        told = {key: seq for key, seq in self.told.items() if key in keys or seq > heard.get(key, -1)}
        return Notifications(cases, pages, told)


def _newer(before: OpenIncident | None, alert: CompleteAlert, raw: bytes, place: Place, now: float) -> OpenIncident:
    """A case after an alert was read."""
    opened = alert.status == "firing" or (before is not None and before.opened)
    if before is None:
        return OpenIncident(raw, place, now, alert.emitted_at.timestamp(), opened, news=tuple(alert.findings()))
    if alert.seq > before.alert.seq:
        news = tuple(dict.fromkeys((*before.news, *alert.findings())))
        return changed(before, raw=raw, place=place, opened=opened, news=news)
    return before if opened == before.opened else changed(before, opened=opened)


def _hushed(members: Sequence[OpenIncident], silenced: Silenced) -> bool:
    lasting = [case for case in members if not case.over]
    return bool(lasting) and all(silenced(case.untold) for case in lasting)


def _highest(alerts: Iterable[CompleteAlert]) -> dict[str, int]:
    found: dict[str, int] = {}
    for alert in alerts:
        found[alert.alert_key] = max(alert.seq, found.get(alert.alert_key, -1))
    return found


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of some severities."""
    return max(severities, key=SEVERITIES.index)
