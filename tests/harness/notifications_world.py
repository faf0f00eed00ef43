"""The notifications of one receiver in a simulated world: a topic, Redis, a clock, silences, a receiver, and kills.

world = World(GroupingRules(group_wait=20, outage_models=5, outage_window=600))
world.emit("fraud")                         # a worker opens an incident, or updates it
world.wait()
world.emit("fraud")
world.settle(kill_after=1)                  # the relay dies after one request: the receiver has it, Redis does not know
world.settle()
world.emit("fraud", "resolved")
assert world.open_pages() == set()
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import build_notification
from driftline.stream.paging.notifications import Notifications, RecordPosition
from tests.harness.services import cloud_event, stamp

StructT = TypeVar("StructT", bound=msgspec.Struct)

#: No record is older than the world, so that none is too old to be reported.
START = float(int(time.time()))


@dataclass
class World:
    """The surroundings of one receiver's notifications; `settle` does what a dispatcher does before a commit."""

    rules: GroupingRules
    now: float = START
    silenced: set[str] = field(default_factory=set)
    receiver_is_down: bool = False
    log: list[bytes] = field(default_factory=list)
    sent: list[CompleteAlert] = field(default_factory=list)
    notifications: Notifications = field(default_factory=Notifications)
    settled: Counter[str] = field(default_factory=Counter)
    committed: int = 0
    # What the workers know of each model: number of incidents so far, newest seq, and whether the last one is open.
    _incidents: Counter[str] = field(default_factory=Counter)
    _seq: Counter[str] = field(default_factory=Counter)
    open_models: set[str] = field(default_factory=set)

    def is_silenced(self, alert: CompleteAlert) -> bool:
        return alert.model in self.silenced

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, seconds: float | None = None) -> None:
        """Let the relay settle now, and again after `seconds`, by default the group wait."""
        self.settle()
        self.advance(self.rules.group_wait if seconds is None else seconds)
        self.settle()

    def emit(self, model: str, status: str = "", **fields: Any) -> str:
        """Write a worker's next alert of a model, by default firing or updated. Returns the incident's name."""
        if status == "resolved" and model not in self.open_models:
            return ""
        if not status:
            status = "updated" if model in self.open_models else "firing"
        self._incidents[model] += status == "firing"
        self._seq[model] += 1
        incident = f"{model}{self._incidents[model]}"
        at = {"starts_at": stamp(self.now - 60), "emitted_at": stamp(self.now)}
        ends = {"ends_at": stamp(self.now)} if status == "resolved" else {}
        self.log.append(cloud_event(self._seq[model], status, incident, model, **{**at, **ends, **fields}))
        (self.open_models.discard if status == "resolved" else self.open_models.add)(model)
        return f"{model}/{incident}"

    def emit_again(self, offset: int) -> None:
        """Write a duplicate of an earlier record."""
        if self.log:
            self.log.append(self.log[offset % len(self.log)])

    def settle(self, kill_after: int | None = None) -> None:
        """Read what is not committed, decide, send, commit.

        kill_after: die after this many requests, before the last one is recorded.
        """
        records = [(raw, RecordPosition("alerts", 0, offset)) for offset, raw in enumerate(self.log)][self.committed :]
        fresh = [each for each in records if self._is_fresh(read_complete_alert(each[0]))]
        self.notifications = self.notifications.receive(fresh, self.now)
        self._decide()
        before = len(self.sent)
        if self.receiver_is_down:
            return
        while due := self.notifications.due(self.is_silenced):
            self._write(self.notifications.mark_tried(due[0]))
            message = build_notification(self.notifications, due[0], self.rules, self.now)
            self.sent.append(read_complete_alert(message.raw))
            if kill_after == len(self.sent) - before:
                return  # Redis has only what was written before
            self._write(self.notifications.mark_sent(due[0]))
            self._decide()  # a later decision knows what was sent
        self.committed = len(self.log)

    def _decide(self) -> None:
        self._write(decide(self.notifications, self.rules, self.is_silenced, self.now))

    def end(self) -> None:
        """End all silences, let every model recover, and let the relay settle undisturbed."""
        self.silenced.clear()
        self.wait()
        for model in sorted(self.open_models):
            self.emit(model, "resolved")
        self.settle()

    def open_pages(self) -> set[str]:
        """The incidents that the receiver shows as open."""
        shown: set[str] = set()
        for alert in self.sent:
            (shown.discard if alert.resolved else shown.add)(alert.incident)
        return shown

    def pages(self) -> list[str]:
        """Every page that was ever open, in order of its first alert."""
        return list(dict.fromkeys(alert.incident for alert in self.sent if not alert.resolved))

    def pages_by_incident(self) -> dict[str, set[str]]:
        """The pages that have reported each incident."""
        found: dict[str, set[str]] = {}
        for alert in self.sent:
            for incident in reported_by(alert):
                found.setdefault(incident, set()).add(alert.incident)
        return found

    def _is_fresh(self, alert: CompleteAlert) -> bool:
        return alert.incident in self.notifications.incidents or alert.seq > self.settled[alert.alert_key]

    def _write(self, after: Notifications) -> None:
        for name, incident in self.notifications.incidents.items():
            if name not in after.incidents:
                key = incident.alert.alert_key
                self.settled[key] = max(self.settled[key], incident.alert.seq)
        # Through JSON, as through Redis.
        self.notifications = Notifications(
            {name: _through_json(incident) for name, incident in after.incidents.items()},
            {name: _through_json(page) for name, page in after.pages.items()},
            dict(after.sent_seqs),
            ended=dict(after.ended),
        )


def _through_json(part: StructT) -> StructT:
    return msgspec.json.decode(msgspec.json.encode(part), type=type(part))


def reported_by(alert: CompleteAlert) -> set[str]:
    """The incidents that an alert reports; not those that it says have a page of their own."""
    members = [*alert.evidence.get("members", []), *alert.evidence.get("downstream", [])]
    own = set() if alert.group == "outage" else {alert.incident}
    return own | {member["incident"] for member in members if not member["own_page"]}
