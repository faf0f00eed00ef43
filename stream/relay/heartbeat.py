"""The heartbeat of a relay: sent while alerts would be delivered, and only then, so that its absence pages.

Promise: a heartbeat is sent to a dead man's switch while Kafka and Redis answer, and no receiver refused the last alert
or keeps one waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from aiokafka.errors import KafkaError

from driftline.stream.ops.http import Health, waiting_health
from driftline.stream.relay.consumer import AlertConsumer
from driftline.stream.relay.dispatcher import Dispatcher
from driftline.stream.relay.http import Http, ReceiverUnavailableError
from driftline.stream.retry import Waits
from driftline.stream.state.client import StoreError
from driftline.stream.state.notification_log import NotificationLog

log = logging.getLogger(__name__)

# s within which Kafka must answer.
_KAFKA_TIMEOUT = 10.0


class Heartbeat:
    """Checks every `seconds` whether alerts would be delivered, and if so calls `url`, if there is one.

    consumers: one for each receiver. healthy: result of the last check. sent_at: epoch s of the last heartbeat.
    """

    def __init__(
        self, http: Http, url: str | None, seconds: float, notification_log: NotificationLog, waits: Waits
    ) -> None:
        self._http, self._url, self._seconds, self._log, self._waits = http, url, seconds, notification_log, waits
        self.consumers: list[AlertConsumer] = []
        self.healthy, self.sent_at, self._reason = False, 0.0, "it has just been started"
        self._stopping = asyncio.Event()

    @property
    def dispatchers(self) -> list[Dispatcher]:
        """One for each receiver."""
        return [consumer.dispatcher for consumer in self.consumers]

    def health(self) -> Health:
        """Whether the relay is healthy and if not, why; and the number of pages that wait for each receiver."""
        waiting = {dispatcher.name: dispatcher.pending()["waiting"] for dispatcher in self.dispatchers}
        more = {"waiting": waiting}
        if self._waits.current():
            return waiting_health(self._waits, more)
        return Health("ok", None, more) if self.healthy else Health("ailing", self._reason, more)

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Check, and send heartbeats, until `stop` is called."""
        while not self._stopping.is_set():
            reason = await self._unhealthy_reason()
            self.healthy, self._reason = reason is None, reason or ""
            if reason:
                log.warning("no heartbeat: %s", reason)
            elif self._url:
                await self._send(self._url)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._seconds)

    async def _send(self, url: str) -> None:
        try:
            await self._http.get(url)
            self.sent_at = time.time()
        except ReceiverUnavailableError as error:
            log.warning("the heartbeat could not be sent: %s", error)

    async def _unhealthy_reason(self) -> str | None:
        if self._waits.current():
            return waiting_health(self._waits, {}).reason
        try:
            for consumer in self.consumers:
                await asyncio.wait_for(consumer.consumer.topics(), _KAFKA_TIMEOUT)
            await self._log.ping()
        except (KafkaError, StoreError, OSError) as error:
            return f"Kafka or Redis does not answer: {error or type(error).__name__}"
        return next(filter(None, (dispatcher.unhealthy_reason() for dispatcher in self.dispatchers)), None)
