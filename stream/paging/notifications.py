"""Notifications of one receiver: the incidents it has open, and the pages that report them. Pure.

`stream.state.notification_log` stores them in Redis.

    record ─receive─► incident without a page ──`stream.paging.grouping` assigns──► page ─due─► receiver ─mark_sent─►
                        held back: grouped, silenced,               its own, or one shared by
                        or below the minimum severity               several incidents

Rule 1: an incident gets its page once and for good, and the assignment is stored before anything is sent. So an
incident is reported by one page only, whichever relay is killed at whatever moment. One exception: it becomes critical
on a page that people know already (`stream.paging.grouping`).
Rule 2: a page is open as long as one of its incidents is, and its end is reported.
Rule 3: within one alert_key seq only rises, also where the relay adds steps of its own.
Rule 4: an incident that ended before a receiver can have learned of it is dropped, and its end is not reported. So a
try to send is stored before it is made, and forgotten when it is certain that the receiver did not accept it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace as changed

from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.alerts.schema import SIGNALS
from driftline.stream.config.incidents import Severity
from driftline.stream.judge.incidents import SEVERITIES
from driftline.stream.paging.receivers.alertmanager import Entry

# Offset ranges that are kept of an earlier finding, of 54 bytes each; `driftline explain` shows those of more.
_RANGES = 100

#: Whether an alert is silenced now.
IsSilenced = Callable[[CompleteAlert], bool]


class RecordPosition(NamedTuple):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int


# Redis holds both structs below as JSON: `rename` keeps the stored field names, which must not change.
class OpenIncident(
    msgspec.Struct,
    frozen=True,
    dict=True,
    rename={
        "position": "place",
        "read_at": "came",
        "fired_at": "fired",
        "start_seen": "opened",
        "named_by": "also",
        "unreported": "news",
    },
):
    """An incident with its newest alert.

    raw, position: record of that alert. read_at: when the relay first read an alert of the incident; fired_at: when a
    worker emitted that alert; both epoch s. start_seen: whether its firing alert was read, or its end was sent before;
    if not, it may have been reported before this state began. page: name of the page that reports it, "" before one is
    assigned. named_by: name of an outage's page that names it although it has a page of its own. unreported: the
    findings of all alerts since the last one sent, see `CompleteAlert.findings`. earlier: evidence of the signals that
    only earlier alerts of the incident have, by signal. sent_severity: on a page, its severity at the last try to send
    it, "" before the first try; unset: the newest alert's, as also for what an earlier version stored.
    """

    raw: bytes
    position: RecordPosition
    read_at: float
    fired_at: float
    start_seen: bool
    page: str = ""
    named_by: str = ""
    unreported: tuple[tuple[str, str], ...] = ()
    earlier: dict[str, dict[str, Any]] | UnsetType = UNSET
    sent_severity: Severity | Literal[""] | UnsetType = UNSET

    @cached_property
    def alert(self) -> CompleteAlert:
        """The newest alert."""
        return read_complete_alert(self.raw)

    @cached_property
    def unreported_alert(self) -> CompleteAlert:
        """The newest alert with every finding not reported yet: what a silence must match."""
        signals = [{"signal": signal, "class": kind} for signal, kind in self.unreported]
        return changed(self.alert, evidence={"signals": signals}) if signals else self.alert

    @property
    def name(self) -> str:
        """Its identity, see `CompleteAlert.incident`."""
        return self.alert.incident

    @property
    def model(self) -> str:
        return self.alert.model

    @property
    def resolved(self) -> bool:
        return self.alert.resolved

    @property
    def never_sent(self) -> bool:
        """Whether it is certain that the receiver knows nothing of it."""
        return self.start_seen and (not self.page or self.sent_severity == "")

    @property
    def known_severity(self) -> Severity | Literal[""]:
        """The severity that the receiver may know, "" if it knows nothing of it."""
        if self.never_sent:
            return ""
        return self.sent_severity or self.alert.severity

    @property
    def earlier_evidence(self) -> dict[str, dict[str, Any]]:
        """See `earlier`."""
        return self.earlier or {}

    @property
    def signal_names(self) -> list[str]:
        """The signals of all its alerts."""
        return list(dict.fromkeys((*self.alert.signal_names(), *self.earlier_evidence)))


class Page(msgspec.Struct, frozen=True, rename={"summary": "made", "sent_seq": "told"}):
    """One page. Its name is its identity at the receiver, `CompleteAlert.incident`.

    labels: of an outage, fixed when it begins, since receivers identify a page by them. severity: the worst so far.
    summary: what the newest step says, in short. seq: of the newest step. sent_seq: of the newest step sent, -1 before
    the first.
    """

    alert_key: str
    incident_id: str
    outage: bool = False
    labels: dict[str, str] = {}
    severity: Severity = "info"
    summary: str = ""
    seq: int = -1
    sent_seq: int = -1


@dataclass(frozen=True)
class Notifications:
    """Open incidents by name, in the order of the topic; pages by name; the highest seq sent by alert_key.

    sent_seqs has the keys of open incidents, and those whose seq the relay itself has raised. entries: what
    Alertmanager holds, by identity; other receivers hold none. ended: by name, when the last alert of each incident was
    emitted whose end was sent, epoch s: if it comes back, people know of it.
    """

    incidents: Mapping[str, OpenIncident] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
    sent_seqs: Mapping[str, int] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    ended: Mapping[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValueError unless incidents and pages belong together, as in all that a relay stores."""
        for name, incident in self.incidents.items():
            if incident.name != name:
                raise ValueError(f"the incident {name} is stored with an alert of another one")
            if incident.page and incident.page not in self.pages:
                raise ValueError(f"the page of the incident {name} is missing")
        used = {incident.page for incident in self.incidents.values()}
        for name, page in self.pages.items():
            if name not in used or not (page.outage or name in self.incidents):
                raise ValueError(f"the page {name} is stored without its incident")

    def receive(self, records: Iterable[tuple[bytes, RecordPosition]], now: float) -> Notifications:
        """Add records of live alerts. An alert older than the known one only shows whether the start was seen."""
        incidents = dict(self.incidents)
        for raw, position in records:
            alert = read_complete_alert(raw)
            start_seen = alert.status == "firing" or (alert.reopened and alert.incident in self.ended)
            before = incidents.get(alert.incident)
            incidents[alert.incident] = _updated(before, alert, raw, position, now, start_seen)
        return replace(self, incidents=incidents)

    def held_back(self) -> set[str]:
        """The incidents that are merely open again after an end that was sent."""
        found = (name for name, each in self.incidents.items() if each.alert.reopened and not each.page)
        return {name for name in found if name in self.ended}

    def without_ended(self, before: float) -> Notifications:
        """Forget the ends of incidents before a time, epoch s."""
        kept = {name: at for name, at in self.ended.items() if at >= before}
        return self if len(kept) == len(self.ended) else replace(self, ended=kept)

    def unassigned(self) -> list[OpenIncident]:
        """The incidents without a page."""
        return [incident for incident in self.incidents.values() if not incident.page]

    def members(self) -> dict[str, list[OpenIncident]]:
        """The incidents of each page, in the order in which they fired."""
        found: dict[str, list[OpenIncident]] = {name: [] for name in self.pages}
        for incident in sorted(self.incidents.values(), key=lambda each: (each.fired_at, each.read_at)):
            if incident.page:
                found[incident.page].append(incident)
        return found

    def open_pages(self) -> set[str]:
        """The pages with an open incident, be it one of their members or one that they name."""
        still_open = [incident for incident in self.incidents.values() if not incident.resolved]
        return {name for each in still_open for name in (each.page, each.named_by) if name in self.pages}

    def assign(self, assigned: Iterable[tuple[str, Page, Sequence[OpenIncident]]]) -> Notifications:
        """Put incidents on pages, given by name, which may be new."""
        incidents, pages = dict(self.incidents), dict(self.pages)
        for name, page, members in assigned:
            pages[name] = page
            incidents |= {each.name: _assigned(each, name) for each in members}
        return replace(self, incidents=incidents, pages=pages)

    def name_on(self, page: str, others: Iterable[OpenIncident]) -> Notifications:
        """Let a page name incidents that have another page."""
        named = {each.name: changed(each, named_by=page) for each in others}
        return replace(self, incidents={**self.incidents, **named})

    def due(self, silenced: IsSilenced) -> list[str]:
        """The pages to send now, the most urgent first; one is held back while all its open incidents are silenced."""
        waiting = {name for name, page in self.pages.items() if page.sent_seq < page.seq}
        if not waiting:
            return []
        members = self.members()
        return self._by_urgency(
            [name for name in self.pages if name in waiting and not _all_silenced(members[name], silenced)]
        )

    def _by_urgency(self, names: Sequence[str]) -> list[str]:
        """Pages by severity, then by age; an end is as urgent as an info.

        Within one alert_key they keep their order: a page is as urgent as the most urgent one behind it.
        """
        still_open, urgency, by_key = self.open_pages(), dict[str, int](), dict[str, int]()
        for name in reversed(names):
            page = self.pages[name]
            own = SEVERITIES.index(page.severity) if name in still_open else 0
            urgency[name] = by_key[page.alert_key] = max(own, by_key.get(page.alert_key, 0))
        return sorted(names, key=lambda each: -urgency[each])

    def mark_tried(self, name: str) -> Notifications:
        """Record that the receiver may learn of a page's incidents now."""
        members = [(key, each) for key, each in self.incidents.items() if each.page == name]
        tried = {key: changed(each, sent_severity=UNSET) for key, each in members if each.sent_severity is not UNSET}
        return replace(self, incidents={**self.incidents, **tried}) if tried else self

    def mark_sent(self, name: str) -> Notifications:
        """Record that a page's newest step was sent, or became a dead letter. Resolved pages are dropped."""
        page = self.pages[name]
        own = {} if page.outage else {page.alert_key: max(page.seq, self.sent_seqs.get(page.alert_key, -1))}
        incidents = {
            key: changed(each, unreported=()) if each.page == name and each.unreported else each
            for key, each in self.mark_tried(name).incidents.items()
        }
        pages = {**self.pages, name: changed(page, sent_seq=page.seq)}
        after = replace(self, incidents=incidents, pages=pages, sent_seqs={**self.sent_seqs, **own})
        if name in self.open_pages():
            return after
        over = {key: each.alert.emitted_at.timestamp() for key, each in self.incidents.items() if each.page == name}
        return replace(after.without(over), ended={**self.ended, **over})

    def without(self, names: Iterable[str]) -> Notifications:
        """Drop incidents, the pages that are then empty, and each sent seq that no longer matters."""
        gone = set(names)
        if not gone:
            return self
        incidents = {name: each for name, each in self.incidents.items() if name not in gone}
        used, keys = {each.page for each in incidents.values()}, {each.alert.alert_key for each in incidents.values()}
        pages = {name: page for name, page in self.pages.items() if name in used}
        incidents |= {
            name: changed(each, named_by="")
            for name, each in incidents.items()
            if each.named_by and each.named_by not in pages
        }
        highest = _highest_seqs(self.incidents[name].alert for name in gone)
        sent_seqs = {key: seq for key, seq in self.sent_seqs.items() if key in keys or seq > highest.get(key, -1)}
        return replace(self, incidents=incidents, pages=pages, sent_seqs=sent_seqs)


def _updated(
    before: OpenIncident | None,
    alert: CompleteAlert,
    raw: bytes,
    position: RecordPosition,
    now: float,
    start_seen: bool,
) -> OpenIncident:
    """The incident after an alert of it was read. start_seen: whether by this alert its start is known."""
    start_seen = start_seen or (before is not None and before.start_seen)
    if before is None:
        fired_at, findings = alert.emitted_at.timestamp(), tuple(alert.findings())
        return OpenIncident(raw, position, now, fired_at, start_seen, unreported=findings)
    if alert.seq > before.alert.seq:
        unreported = tuple(dict.fromkeys((*before.unreported, *alert.findings())))
        earlier = _without_those_of(alert, before.earlier_evidence | _evidence(before.alert))
        sent = (
            before.known_severity if before.page and alert.severity != before.alert.severity else before.sent_severity
        )
        return changed(
            before, raw=raw, position=position, start_seen=start_seen, unreported=unreported, earlier=earlier,
            sent_severity=sent,
        )  # fmt: skip
    earlier = _without_those_of(before.alert, _evidence(alert) | before.earlier_evidence)
    if start_seen == before.start_seen and earlier == before.earlier:
        return before
    return changed(before, start_seen=start_seen, earlier=earlier)


def _assigned(incident: OpenIncident, page: str) -> OpenIncident:
    """The incident on a page."""
    return changed(incident, page=page, sent_severity="" if incident.never_sent else incident.sent_severity)


def _evidence(alert: CompleteAlert) -> dict[str, dict[str, Any]]:
    """The evidence of each signal in an alert, by signal."""
    signals = alert.evidence.get("signals")
    found = [each for each in signals if isinstance(each, dict)] if isinstance(signals, list) else []
    return {each["signal"]: _shortened(each) for each in found if isinstance(each.get("signal"), str)}


def _shortened(evidence: dict[str, Any]) -> dict[str, Any]:
    """The evidence without its offsets, if they are many."""
    offsets = evidence.get("offsets")
    return {**evidence, "offsets": []} if isinstance(offsets, list) and len(offsets) > _RANGES else evidence


def _without_those_of(
    alert: CompleteAlert, earlier: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]] | UnsetType:
    """The earlier evidence of signals that an alert says nothing of, at most SIGNALS; at its end it has all of them."""
    if alert.resolved:
        return UNSET
    reported = set(alert.signal_names())
    return dict([each for each in earlier.items() if each[0] not in reported][:SIGNALS]) or UNSET


def _all_silenced(members: Sequence[OpenIncident], silenced: IsSilenced) -> bool:
    """Whether a page has open incidents and all of them are silenced."""
    still_open = [each for each in members if not each.resolved]
    return bool(still_open) and all(silenced(each.unreported_alert) for each in still_open)


def _highest_seqs(alerts: Iterable[CompleteAlert]) -> dict[str, int]:
    found: dict[str, int] = {}
    for alert in alerts:
        found[alert.alert_key] = max(alert.seq, found.get(alert.alert_key, -1))
    return found


def worst(severities: Iterable[Severity]) -> Severity:
    """The worst of some severities, of which there is at least one."""
    return max(severities, key=SEVERITIES.index)
