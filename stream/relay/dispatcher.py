"""The dispatcher of one receiver: sends each alert once, in order, until it is accepted, refused or given up.

    record ──► not an alert ─────────────────► dead letter
           ──► mode is not live ─────────────► dropped
           ──► seq settled before ───────────► dropped
           ──► notifications ──► assigned to a page (`stream.paging.grouping`), which is stored in Redis, then
                                   page ──► receiver ──► accepted ─────────► recorded as sent
                                                     ──► refused, given up ► dead letter, recorded as sent
                                                     ──► unavailable ──────► retried after the others

Promise: if the relay is killed after the receiver accepted a page and before the log recorded it, the page is sent
again under the same identity. An incident that is held back (by a group wait or a silence) is stored in Redis with the
notifications, so the offsets behind it can be committed. There is no Kafka here: `stream.relay.consumer` reads and
commits.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from aiokafka import ConsumerRecord

from driftline.stream.alerts.read import AlertError, CompleteAlert, read_complete_alert
from driftline.stream.paging.attempts import Attempts
from driftline.stream.paging.commands import Places
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import Notification, build_notification
from driftline.stream.paging.notifications import IsSilenced, Notifications, RecordPosition
from driftline.stream.relay.http import ReceiverUnavailableError, RequestRefusedError
from driftline.stream.relay.receivers import Receiver
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.notification_log import NotificationLog, Ownership

log = logging.getLogger(__name__)

Record: TypeAlias = ConsumerRecord[bytes | None, bytes | None]
#: Produces a dead letter of a record, with the reason.
SendDeadLetter = Callable[[Record, str], Awaitable[None]]

# s that an alert may wait for its receiver before the relay counts as unhealthy: one restart of a service is no reason.
_PATIENCE = 120.0


class SilenceSource(Protocol):
    """Knows the silences."""

    def active(self) -> IsSilenced:
        """The silences in force now."""


@dataclass
class _Owned:
    """Notifications that this relay may write."""

    ownership: Ownership
    notifications: Notifications


class Dispatcher:
    """Sends alerts to one receiver.

    give_up_after: seconds after which an alert that the receiver neither accepts nor refuses becomes a dead letter.
    places: what its pages refer to. counts: number of alerts so far by outcome: delivered, refused, retried,
    dead_letters.
    """

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        notification_log: NotificationLog,
        send_dead_letter: SendDeadLetter,
        give_up_after: float,
        rules: GroupingRules,
        silences: SilenceSource,
        places: Places,
    ) -> None:
        self.name, self._receiver, self._log = name, receiver, notification_log
        self._send_dead_letter, self._give_up_after = send_dead_letter, give_up_after
        self._rules, self._silences, self._places = rules, silences, places
        self._owned: _Owned | None = None
        self._received: list[tuple[CompleteAlert, Record]] = []
        self._invalid: list[tuple[Record, str]] = []
        self._first_tries: dict[str, float] = {}
        self._attempts = Attempts()
        self._refusal = ""
        self._refreshed_at = -float("inf")
        self.counts = Counter[str]()

    @property
    def idle(self) -> bool:
        """Whether every received record is settled: sent, dropped, or held back in the notifications."""
        due = self._owned and self._owned.notifications.due(self._silences.active())
        return not (self._received or self._invalid or due)

    def receive(self, record: Record) -> None:
        """Queue a record for delivery; drop it if its mode is not `live`."""
        try:
            alert = read_complete_alert(record.value)
        except AlertError as error:
            self._invalid.append((record, str(error)))
            return
        if alert.mode == "live":
            self._received.append((alert, record))
        else:
            log.info("%s: %s dropped: its mode is %r", self.name, _shown(alert), alert.mode)

    def release(self) -> None:
        """Drop the queue and the notifications: another relay takes over."""
        self._owned = None
        self._received.clear()
        self._invalid.clear()
        self._first_tries.clear()
        self._attempts = Attempts()
        self._refusal = ""

    async def step(self) -> None:
        """Decide what is due, and send the most urgent page.

        Raises ReceiverUnavailableError, after moving that page behind the others; FencedError if another relay has
        taken over.
        """
        while self._invalid:
            await self._send_dead_letter(*self._invalid[0])
            self.counts["dead_letters"] += 1
            del self._invalid[:1]
        owned = await self._take_over()
        await self._add_received(owned)
        silenced = self._silences.active()
        decided = decide(owned.notifications, self._rules, silenced, time.time())
        due = decided.due(silenced)
        page = self._attempts.first(due, decided.pages)
        await self._save(owned, decided.mark_tried(page) if page else decided)
        if owned is not self._owned:
            return  # another relay may have decided otherwise
        self._first_tries = {name: since for name, since in self._first_tries.items() if name in due}
        if page:
            await self._send(owned, page, decided)

    async def refresh(self, healthy: bool) -> None:
        """Let the receiver send again what is still firing, if its interval has passed.

        Raises FencedError if another relay has taken over.
        """
        interval = self._receiver.interval
        if interval is None or time.monotonic() - self._refreshed_at < interval:
            return
        self._refreshed_at = time.monotonic()
        owned = await self._take_over()
        await self._save(owned, owned.notifications, always=True)
        if owned is not self._owned:
            return  # another relay knows better what is still firing
        try:
            entries = await self._receiver.refresh(healthy, owned.notifications.entries)
        except (RequestRefusedError, ReceiverUnavailableError) as error:
            log.warning("%s: alerts that are still firing could not be sent again: %s", self.name, error)
        else:
            await self._save(owned, replace(owned.notifications, entries=entries))

    def unhealthy_reason(self) -> str | None:
        """Why alerts would not be delivered; None if they would be."""
        if self._refusal:
            return f"{self.name} refused the last alert: {self._refusal}"
        waited = self.oldest_wait()
        return f"{self.name} has not accepted an alert for {waited:.0f} s" if waited > _PATIENCE else None

    def oldest_wait(self) -> float:
        """Seconds since the first try of the page that waits longest for the receiver; 0 if none waits."""
        return time.monotonic() - min(self._first_tries.values(), default=time.monotonic())

    def pending(self) -> dict[str, int]:
        """Number of pages that wait for the receiver, and of incidents not reported on their own: silenced, grouped."""
        notifications = self._owned.notifications if self._owned else Notifications()
        silenced, unassigned = self._silences.active(), notifications.unassigned()
        hidden = sum(silenced(incident.unreported_alert) for incident in unassigned)
        guests = sum(incident.page not in ("", incident.name) for incident in notifications.incidents.values())
        return {
            "waiting": len(notifications.due(silenced)),
            "silenced": hidden,
            "grouped": guests + len(unassigned) - hidden,
        }

    async def _take_over(self) -> _Owned:
        """The notifications, which this relay alone may write from now on."""
        if self._owned is None:
            notifications, ownership = await self._log.take_over()
            self._owned = _Owned(ownership, notifications)
        return self._owned

    async def _add_received(self, owned: _Owned) -> None:
        """Add the queued records to the notifications, except those settled before."""
        received, fresh = self._received[:], list[tuple[bytes, RecordPosition]]()
        for alert, record in received:
            known = alert.incident in owned.notifications.incidents
            settled = -1 if known else await self._log.settled_seq(owned.ownership, alert.alert_key)
            if alert.seq > settled:
                fresh.append((record.value or b"", RecordPosition(record.topic, record.partition, record.offset)))
            else:
                log.info("%s: %s dropped: it is stale, seq %d is settled", self.name, _shown(alert), settled)
        owned.notifications = owned.notifications.receive(fresh, time.time())
        if owned is self._owned:
            del self._received[: len(received)]

    async def _send(self, owned: _Owned, page: str, untried: Notifications) -> None:
        """Send a page's newest step. untried: as before this try. Raises ReceiverUnavailableError."""
        message = build_notification(owned.notifications, page, self._rules, time.time(), self._places)
        first_try = self._first_tries.setdefault(page, time.monotonic())
        try:
            entries = await self._receiver.deliver(message.alert, message.raw, owned.notifications.entries)
        except RequestRefusedError as error:
            self._refusal = str(error)
            self.counts["refused"] += 1
            await self._make_dead_letter(owned.notifications, page, message, str(error))
        except ReceiverUnavailableError as error:
            self.counts["retried"] += 1
            if time.monotonic() - first_try < self._give_up_after:
                log.warning("%s: %s will be retried: %s", self.name, _shown(message.alert), error)
                self._attempts.failed(owned.notifications.pages[page].alert_key)
                owned.notifications = owned.notifications if error.uncertain else untried
                raise
            await self._make_dead_letter(
                owned.notifications, page, message, f"given up after {self._give_up_after / 3600:g} h: {error}"
            )
        else:
            owned.notifications = replace(owned.notifications, entries=entries)
            self._refusal = ""
            self.counts["delivered"] += 1
            log.info("%s: %s delivered", self.name, _shown(message.alert))
        self._first_tries.pop(page, None)
        self._attempts.settled(owned.notifications.pages[page].alert_key)
        await self._save(owned, owned.notifications.mark_sent(page))

    async def _save(self, owned: _Owned, after: Notifications, always: bool = False) -> None:
        """Store the notifications, and settle the seq of each dropped incident, so that no duplicate reopens it."""
        for name, incident in owned.notifications.incidents.items():
            if name not in after.incidents:
                await self._log.settle(owned.ownership, incident.alert.alert_key, incident.alert.seq)
                if not incident.page:
                    log.info("%s: %s dropped: it ended before it was reported", self.name, _shown(incident.alert))
        try:
            await self._log.save(owned.ownership, after, always)
        except FencedError:
            if owned is self._owned:
                raise
            log.info("%s: another relay resumes here", self.name)
        owned.notifications = after

    async def _make_dead_letter(
        self, notifications: Notifications, page: str, message: Notification, reason: str
    ) -> None:
        """Make a dead letter of a message, at the position of the page's newest record."""
        position = max(incident.position for incident in notifications.members()[page])
        log.error("%s: the alert at offset %d becomes a dead letter: %s", self.name, position.offset, reason)
        key, size = message.alert.alert_key.encode(), len(message.raw)
        record = ConsumerRecord(*position, -1, 0, key, message.raw, None, len(key), size, ())
        await self._send_dead_letter(record, f"{self.name}: {reason}")
        self.counts["dead_letters"] += 1


def _shown(alert: CompleteAlert) -> str:
    """An alert in a log line."""
    return f"{alert.incident!r} seq {alert.seq} ({alert.status})"
