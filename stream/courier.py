"""A courier carries alerts to one target: each once, in order, until it is taken, refused or hopeless.

    record ──► no alert ────────────────────────────────► dead letter
           ──► mode is not live ────────────────────────► dropped
           ──► backlog ──► seq told before ─────────────► dropped
                       ──► over, and nobody heard of it ► dropped, when that is an hour ago
                       ──► target ──► delivered ────────► seq into the ledger
                                  ──► refused, hopeless ► dead letter, seq into the ledger
                                  ──► unavailable ──────► to the end of the backlog

What it was killed between the target and the ledger is told once more. No Kafka here: `stream.relay` reads and commits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord

from stream.delivery import Refused, Unavailable
from stream.intake import Alert, Backlog, BadAlert, Waiting, read_alert
from stream.ledger import Ledger
from stream.targets import Target

log = logging.getLogger(__name__)

Record: TypeAlias = ConsumerRecord[bytes | None, bytes | None]
#: Makes a dead letter of a record, with the reason.
Bury = Callable[[Record, str], Awaitable[None]]

# What began and ended unheard is news for so long: a relay that starts on an old topic must not tell its history.
_NEWS = timedelta(hours=1)
# s that an alert may wait before the relay counts as unwell: one restart of a service is no reason.
_PATIENCE = 120.0


class Courier:
    """Carries alerts to `target`. give_up: seconds after which what is neither taken nor refused is hopeless."""

    def __init__(self, name: str, target: Target, ledger: Ledger, bury: Bury, give_up: float) -> None:
        self.name, self._target, self._ledger, self._bury, self._give_up = name, target, ledger, bury, give_up
        self._backlog = Backlog[Record]()
        self._bad: list[tuple[Record, str]] = []
        self._tried: dict[str, float] = {}
        self._refused = ""
        self._refreshed = -float("inf")

    @property
    def idle(self) -> bool:
        """Whether everything that was taken is settled."""
        return not (self._backlog or self._bad)

    def take(self, record: Record) -> None:
        """Let a record wait; what is not live never does."""
        try:
            alert = read_alert(record.value)
        except BadAlert as error:
            self._bad.append((record, str(error)))
            return
        if alert.mode == "live":
            self._backlog.add(alert, record)
        else:
            log.info("%s: %s dropped: its mode is %r", self.name, _name(alert), alert.mode)

    def forget(self) -> None:
        """Another relay has taken over what waits."""
        self._backlog.clear()
        self._bad.clear()
        self._tried.clear()

    async def step(self) -> None:
        """Settle the first of what waits. Unavailable: it is the last now."""
        while self._bad:
            await self._bury(*self._bad[0])
            del self._bad[:1]
        waiting = self._backlog.head()
        if waiting is None:
            return
        if reason := await self._needless(waiting):
            log.info("%s: %s dropped: %s", self.name, _name(waiting.alert), reason)
        else:
            await self._tell(waiting)
            await self._ledger.told(waiting.alert.alert_key, waiting.alert.seq)
        self._tried.pop(waiting.alert.incident, None)
        self._backlog.done(waiting)

    async def refresh(self, well: bool) -> None:
        """Let the target tell again what lasts, when it is time."""
        if self._target.interval is None or time.monotonic() - self._refreshed < self._target.interval:
            return
        self._refreshed = time.monotonic()
        try:
            await self._target.refresh(well)
        except (Refused, Unavailable) as error:
            log.warning("%s: what lasts could not be told again: %s", self.name, error)

    def trouble(self) -> str | None:
        """Why alerts would not be delivered; None if they would."""
        if self._refused:
            return f"{self.name} refused the last alert: {self._refused}"
        waited = time.monotonic() - min(self._tried.values(), default=time.monotonic())
        return f"{self.name} has not taken an alert for {waited:.0f} s" if waited > _PATIENCE else None

    async def _needless(self, waiting: Waiting[Record]) -> str:
        """Why an alert need not be told; "" if it must."""
        alert, told = waiting.alert, await self._ledger.seq(waiting.alert.alert_key)
        if alert.seq <= told:
            return f"it is stale, seq {told} has been told"
        unheard = waiting.opening is not None and told < waiting.opening
        if alert.resolved and unheard and datetime.now(UTC) - alert.emitted_at > _NEWS:
            return "it was over before it could be told, long ago"
        return ""

    async def _tell(self, waiting: Waiting[Record]) -> None:
        alert, record = waiting.alert, waiting.record
        started = self._tried.setdefault(alert.incident, time.monotonic())
        try:
            await self._target.deliver(alert, record.value or b"")
        except Refused as error:
            self._refused = str(error)
            await self._give_in(record, str(error))
        except Unavailable as error:
            if time.monotonic() - started < self._give_up:
                log.warning("%s: %s waits: %s", self.name, _name(alert), error)
                self._backlog.put_back(alert.alert_key)
                raise
            await self._give_in(record, f"given up after {self._give_up / 3600:g} h: {error}")
        else:
            self._refused = ""
            log.info("%s: %s delivered", self.name, _name(alert))

    async def _give_in(self, record: Record, reason: str) -> None:
        log.error("%s: the alert at offset %d becomes a dead letter: %s", self.name, record.offset, reason)
        await self._bury(record, f"{self.name}: {reason}")


def _name(alert: Alert) -> str:
    """An alert in a log line."""
    return f"{alert.incident!r} seq {alert.seq} ({alert.status})"


__all__: list[Any] = ["Bury", "Courier", "Record"]
