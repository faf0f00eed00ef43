"""A relay's desk in a world of its own: a log, what Redis holds, a clock, silences, a pager that remembers, and kills.

world = World(Rules(wait=20, outage_models=5, window=600))
world.tell("fraud")                         # a worker opens an incident, or has news of it
world.wait()
world.tell("fraud")
world.settle(kill_after=1)                  # the relay dies after one request: the pager has it, the desk doesn't
world.settle()
world.tell("fraud", "resolved")
assert world.open_pages() == set()
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from driftline.stream.alerts.read import CompleteAlert, read_complete_alert
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import notification
from driftline.stream.paging.notifications import Notifications, RecordPosition
from tests.harness.services import cloud_event, stamp

#: A record that the relay reads is never older than the world, and nothing in it is old news.
START = float(int(time.time()))


@dataclass
class World:
    """The surroundings of one target's desk; `settle` is what a courier does between reading and committing."""

    rules: GroupingRules
    now: float = START
    silenced: set[str] = field(default_factory=set)
    log: list[bytes] = field(default_factory=list)
    sent: list[CompleteAlert] = field(default_factory=list)
    notifications: Notifications = field(default_factory=Notifications)
    settled: Counter[str] = field(default_factory=Counter)
    committed: int = 0
    # What the workers know: of each model the incidents so far, the newest seq, and whether the last one is open.
    _incidents: Counter[str] = field(default_factory=Counter)
    _seq: Counter[str] = field(default_factory=Counter)
    open_models: set[str] = field(default_factory=set)

    def is_silenced(self, alert: CompleteAlert) -> bool:
        return alert.model in self.silenced

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, seconds: float | None = None) -> None:
        """The relay reads what there is, and after so long, by default the group wait, decides again."""
        self.settle()
        self.advance(self.rules.group_wait if seconds is None else seconds)
        self.settle()

    def emit(self, model: str, status: str = "", **fields: Any) -> str:
        """A worker's next alert of a model: by default it fires, or is updated; its incident."""
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
        """A duplicate of an earlier record."""
        if self.log:
            self.log.append(self.log[offset % len(self.log)])

    def settle(self, kill_after: int | None = None) -> None:
        """Read what is not committed, decide, tell. kill_after: die after so many requests, before that is written."""
        records = [(raw, RecordPosition("alerts", 0, offset)) for offset, raw in enumerate(self.log)][self.committed :]
        self.notifications = self.notifications.receive(
            [each for each in records if self._is_fresh(read_complete_alert(each[0]))], self.now
        )
        self._write(decide(self.notifications, self.rules, self.is_silenced, self.now))
        before = len(self.sent)
        while due := self.notifications.due(self.is_silenced):
            self.sent.append(read_complete_alert(notification(self.notifications, due[0], self.rules, self.now).raw))
            if kill_after == len(self.sent) - before:
                return  # what was written down is all there is
            self._write(self.notifications.mark_sent(due[0]))
            # What a later step is decided on has been told.
            self._write(decide(self.notifications, self.rules, self.is_silenced, self.now))
        self.committed = len(self.log)

    def end(self) -> None:
        """Nothing is silenced any more, everything recovers, and the relay is left in peace."""
        self.silenced.clear()
        self.wait()
        for model in sorted(self.open_models):
            self.emit(model, "resolved")
        self.settle()

    def open_pages(self) -> set[str]:
        """What a pager shows."""
        shown: set[str] = set()
        for alert in self.sent:
            (shown.discard if alert.resolved else shown.add)(alert.incident)
        return shown

    def pages(self) -> list[str]:
        """Every page that was ever open, in order."""
        return list(dict.fromkeys(alert.incident for alert in self.sent if not alert.resolved))

    def named(self) -> dict[str, set[str]]:
        """The pages that each incident was told by."""
        found: dict[str, set[str]] = {}
        for alert in self.sent:
            for incident in reported_by(alert):
                found.setdefault(incident, set()).add(alert.incident)
        return found

    def _is_fresh(self, alert: CompleteAlert) -> bool:
        return alert.incident in self.notifications.incidents or alert.seq > self.settled[alert.alert_key]

    def _write(self, after: Notifications) -> None:
        for incident, incident in self.notifications.incidents.items():
            if incident not in after.incidents:
                key = incident.alert.alert_key
                self.settled[key] = max(self.settled[key], incident.alert.seq)
        # Through JSON, as through Redis.
        self.notifications = Notifications(
            {
                name: msgspec.json.decode(msgspec.json.encode(incident), type=type(incident))
                for name, incident in after.incidents.items()
            },
            {
                name: msgspec.json.decode(msgspec.json.encode(page), type=type(page))
                for name, page in after.pages.items()
            },
            dict(after.sent_seqs),
        )


def reported_by(alert: CompleteAlert) -> set[str]:
    """The incidents that an alert tells of, but those that it says have a page of their own."""
    members = [*alert.evidence.get("members", []), *alert.evidence.get("downstream", [])]
    own = set() if alert.group == "outage" else {alert.incident}
    return own | {member["incident"] for member in members if not member["own_page"]}
