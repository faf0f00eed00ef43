"""The relay's heartbeat: sent while everything works, so that its absence is a page (a dead man's switch)."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError

from driftline.stream.relay.consumer import AlertConsumer
from driftline.stream.relay.dispatcher import Dispatcher
from driftline.stream.relay.http import Http, ReceiverUnavailableError
from driftline.stream.state.client import StoreError
from driftline.stream.state.notification_log import NotificationLog

log = logging.getLogger(__name__)

# s within which Kafka must answer to count as there.
_KAFKA_ANSWERS = 10.0


class Heartbeat:
    """Knows whether alerts would be delivered, and tells a dead man's switch as long as they would."""

    def __init__(self, http: Http, url: str | None, seconds: float, ledger: NotificationLog) -> None:
        self._http, self._url, self._seconds, self._ledger = http, url, seconds, ledger
        self.lines: list[AlertConsumer] = []
        self.well, self.heard, self._ails = False, 0.0, "it has just been started"
        self._stopping = asyncio.Event()

    @property
    def couriers(self) -> list[Dispatcher]:
        """One for each target."""
        return [line.courier for line in self.lines]

    def health(self) -> tuple[str | None, dict[str, Any]]:
        """What is wrong, None if nothing is; and how many pages wait for each target."""
        waiting = {courier.name: courier.held()["waiting"] for courier in self.couriers}
        return None if self.well else self._ails, {"waiting": waiting}

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()

    async def beat(self) -> None:
        """Check, and tell, until `stop` is called."""
        while not self._stopping.is_set():
            trouble = await self._trouble()
            self.well, self._ails = trouble is None, trouble or ""
            if trouble:
                log.warning("no heartbeat: %s", trouble)
            elif self._url:
                await self._tell(self._url)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._seconds)

    async def _tell(self, url: str) -> None:
        try:
            await self._http.get(url)
            self.heard = time.time()
        except ReceiverUnavailableError as error:
            log.warning("the heartbeat is not heard: %s", error)

    async def _trouble(self) -> str | None:
        try:
            for line in self.lines:
                await asyncio.wait_for(line.consumer.topics(), _KAFKA_ANSWERS)
            await self._ledger.check()
        except (KafkaError, StoreError, OSError) as error:
            return f"Kafka or Redis does not answer: {error or type(error).__name__}"
        return next(filter(None, (line.courier.trouble() for line in self.lines)), None)
