"""A courier carries alerts to one target: each once, in order, until it is taken, refused or hopeless.

    record ──► no alert ────────────────────────────────► dead letter
           ──► mode is not live ────────────────────────► dropped
           ──► seq settled before ──────────────────────► dropped
           ──► desk ──► decided (`stream.paging.grouping`) ────► the desk is written, then
                            page ──► target ──► delivered ────────► written down as told
                                            ──► refused, hopeless ► dead letter, the same
                                            ──► unavailable ──────► after the others

What it was killed between the target and the ledger is told once more, by the same page. What is held back (a group
waits, a silence holds) is on the desk in Redis, so the offsets behind it need not wait. No Kafka here:
`stream.relay.consumer` reads and commits.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from aiokafka import ConsumerRecord

from driftline.stream.alerts.read import AlertError, CompleteAlert, read_complete_alert
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.messages import Notification, notification
from driftline.stream.paging.notifications import Notifications, Place, Silenced
from driftline.stream.relay.http import ReceiverUnavailableError, RequestRefusedError
from driftline.stream.relay.receivers import Receiver
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.notification_log import NotificationLog

log = logging.getLogger(__name__)

Record: TypeAlias = ConsumerRecord[bytes | None, bytes | None]
#: Makes a dead letter of a record, with the reason.
SendDeadLetter = Callable[[Record, str], Awaitable[None]]

# s that an alert may wait before the relay counts as unwell: one restart of a service is no reason.
_PATIENCE = 120.0


class KnownSilences(Protocol):
    """Who knows which silences there are."""

    def now(self) -> Silenced:
        """Those that hold now."""


@dataclass
class _Open:
    """A desk that this relay may write under its epoch. saved: as Redis has it."""

    epoch: int
    desk: Notifications
    saved: Notifications


class Dispatcher:
    """Carries alerts to `target`. give_up: seconds after which what is neither taken nor refused is hopeless.

    counts: what has become of alerts so far: delivered, refused, retried, dead_letters.
    """

    def __init__(
        self,
        name: str,
        target: Receiver,
        ledger: NotificationLog,
        bury: SendDeadLetter,
        give_up: float,
        rules: GroupingRules,
        silences: KnownSilences,
    ) -> None:
        self.name, self._target, self._ledger, self._bury, self._give_up = name, target, ledger, bury, give_up
        self._rules, self._silences = rules, silences
        self._open: _Open | None = None
        self._taken: list[tuple[CompleteAlert, Record]] = []
        self._bad: list[tuple[Record, str]] = []
        self._tried: dict[str, float] = {}
        self._refused = ""
        self._refreshed = -float("inf")
        self.counts = Counter[str]()

    @property
    def idle(self) -> bool:
        """Whether everything that was taken is settled: told, or held back on the desk."""
        return not (self._taken or self._bad or (self._open and self._open.desk.due(self._silences.now())))

    def take(self, record: Record) -> None:
        """Let a record wait; what is not live never does."""
        try:
            alert = read_complete_alert(record.value)
        except AlertError as error:
            self._bad.append((record, str(error)))
            return
        if alert.mode == "live":
            self._taken.append((alert, record))
        else:
            log.info("%s: %s dropped: its mode is %r", self.name, _name(alert), alert.mode)

    def forget(self) -> None:
        """Another relay has taken over what waits."""
        self._open = None
        self._taken.clear()
        self._bad.clear()
        self._tried.clear()
        self._refused = ""

    async def step(self) -> None:
        """Decide what is to be told now, and settle the first of it.

        ReceiverUnavailableError: the first becomes the last. FencedError: another relay has taken over.
        """
        while self._bad:
            await self._bury(*self._bad[0])
            self.counts["dead_letters"] += 1
            del self._bad[:1]
        if self._open is None:
            desk, epoch = await self._ledger.open()
            self._open = _Open(epoch, desk, desk)
        here = self._open
        await self._admit(here)
        await self._write(here, decide(here.desk, self._rules, self._silences.now(), time.time()))
        if here is not self._open:
            return  # another relay may have decided otherwise
        due = here.desk.due(self._silences.now())
        self._tried = {name: since for name, since in self._tried.items() if name in due}
        if due:
            await self._tell(here, due[0])

    async def refresh(self, well: bool) -> None:
        """Let the target tell again what lasts, when it is time."""
        if self._target.interval is None or time.monotonic() - self._refreshed < self._target.interval:
            return
        self._refreshed = time.monotonic()
        try:
            await self._target.refresh(well)
        except (RequestRefusedError, ReceiverUnavailableError) as error:
            log.warning("%s: what lasts could not be told again: %s", self.name, error)

    def trouble(self) -> str | None:
        """Why alerts would not be delivered; None if they would."""
        if self._refused:
            return f"{self.name} refused the last alert: {self._refused}"
        waited = self.oldest_wait()
        return f"{self.name} has not taken an alert for {waited:.0f} s" if waited > _PATIENCE else None

    def oldest_wait(self) -> float:
        """Seconds since the first try of what waits longest for the target; 0 if nothing does."""
        return time.monotonic() - min(self._tried.values(), default=time.monotonic())

    def held(self) -> dict[str, int]:
        """How many pages wait for the target, and how many incidents were not told: silenced, or in a group's hand."""
        desk, silenced = self._open.desk if self._open else Notifications(), self._silences.now()
        quiet = sum(silenced(case.untold) for case in desk.undecided())
        guests = sum(case.page not in ("", case.alert.incident) for case in desk.cases.values())
        return {
            "waiting": len(desk.due(silenced)),
            "silenced": quiet,
            "grouped": guests + len(desk.undecided()) - quiet,
        }

    async def _admit(self, here: _Open) -> None:
        """Put what was read onto the desk, but what was settled before."""
        taken, fresh = self._taken[:], list[tuple[bytes, Place]]()
        for alert, record in taken:
            told = -1 if alert.incident in here.desk.cases else await self._ledger.seq(alert.alert_key)
            if alert.seq > told:
                fresh.append((record.value or b"", Place(record.topic, record.partition, record.offset)))
            else:
                log.info("%s: %s dropped: it is stale, seq %d has been told", self.name, _name(alert), told)
        here.desk = here.desk.take(fresh, time.time())
        if here is self._open:
            del self._taken[: len(taken)]

    async def _tell(self, here: _Open, name: str) -> None:
        said = notification(here.desk, name, self._rules, time.time())
        started = self._tried.setdefault(name, time.monotonic())
        try:
            await self._target.deliver(said.alert, said.raw)
        except RequestRefusedError as error:
            self._refused = str(error)
            self.counts["refused"] += 1
            await self._give_in(here.desk, name, said, str(error))
        except ReceiverUnavailableError as error:
            self.counts["retried"] += 1
            if time.monotonic() - started < self._give_up:
                log.warning("%s: %s waits: %s", self.name, _name(said.alert), error)
                here.desk = here.desk.put_back(name)
                raise
            await self._give_in(here.desk, name, said, f"given up after {self._give_up / 3600:g} h: {error}")
        else:
            self._refused = ""
            self.counts["delivered"] += 1
            log.info("%s: %s delivered", self.name, _name(said.alert))
        self._tried.pop(name, None)
        await self._write(here, here.desk.done(name))

    async def _write(self, here: _Open, after: Notifications) -> None:
        """Let `after` be the desk. What has left it is noted, so that a late duplicate does not come back."""
        for incident, case in here.desk.cases.items():
            if incident not in after.cases:
                await self._ledger.told(case.alert.alert_key, case.alert.seq)
                if not case.page:
                    log.info("%s: %s dropped: it was over before it could be told", self.name, _name(case.alert))
        try:
            await self._ledger.save(here.epoch, here.saved, after)
        except FencedError:
            if here is self._open:
                raise
            log.info("%s: another relay goes on from here", self.name)
        here.desk = here.saved = after

    async def _give_in(self, desk: Notifications, name: str, said: Notification, reason: str) -> None:
        place = max(case.place for case in desk.members()[name])
        log.error("%s: the alert at offset %d becomes a dead letter: %s", self.name, place.offset, reason)
        key, size = said.alert.alert_key.encode(), len(said.raw)
        await self._bury(
            ConsumerRecord(*place, -1, 0, key, said.raw, None, len(key), size, ()), f"{self.name}: {reason}"
        )
        self.counts["dead_letters"] += 1


def _name(alert: CompleteAlert) -> str:
    """An alert in a log line."""
    return f"{alert.incident!r} seq {alert.seq} ({alert.status})"
