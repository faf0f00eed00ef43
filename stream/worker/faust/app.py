"""The Faust app of a worker: settings, the delivery loop of an agent, publishing with acknowledgement.

    app = build_app(WorkerSettings(fetch_topics=frozenset({"predictions"})), on_assigned=positions)

    @app.agent(app.topic("predictions"))
    async def sketch(stream):
        async for run in consume(stream):
            await publish(app, [Message("panes", key, pane) for key, pane in sketch_of(run)])

    run_worker(app)     # or: faust -A module worker

An exception in the loop ends the worker with exit code 1; what it was working on is not acknowledged, and comes again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import faust
import mode
from faust.app.base import BootStrategy
from faust.types import TP, StreamT
from yarl import URL

from driftline.stream.config.sections import Kafka
from driftline.stream.kafka.client import faust_credentials
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.schemas.topics import PANE_BYTES
from driftline.stream.worker.faust.transport import AssignedHook, FetchConsumer, FetchTransport

#: s from SIGTERM to the end. Orchestrators send SIGKILL after 10 (docker) to 30; a run takes well under 1.
STOP_TIMEOUT = 9.0
#: s from an error to the end; the orderly end takes 2. Until then the group waits for this worker's partitions.
CRASH_TIMEOUT = 5.0

#: Called with the partitions taken away, which are all that the worker has.
RevokedHook = Callable[[frozenset[TP]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to know of Kafka. Durations in seconds, sizes in bytes.

    `session_timeout`: a dead worker's partitions move after so long. Below 6 brokers refuse by default; above 10
    recovery drags, and the embedded broker's first join takes half of it.
    `rebalance_timeout`: how long a worker may take to finish its run when partitions move.
    `request_timeout`: a broker that doesn't answer for so long ends the worker when it publishes.
    `takeover_timeout`: the same for the positioning of new partitions, the assigned-hook included. It must be shorter,
    because after `request_timeout` Faust gives up on an assignment without a word and stands still.
    `fetch_size`: per partition and fetch, so the longest run. Of a record that is larger, a fetch brings just that one.
    Each run has its price (a seal, an acknowledgement): at a quarter, a worker takes a sixth more processor time; at
    twice, the event loop stands still for a fifth of a second.
    `queue_size`: runs (or single records) waiting per agent; they take some 2 * `queue_size` * `fetch_size` of memory.
    `max_request_size`: of a record; the broker has its own limit for each topic.
    `idempotent`: off on the embedded broker, which doesn't understand aiokafka's InitProducerId request.
    """

    kafka: Kafka = Kafka()
    group: str = "driftline"
    fetch_topics: frozenset[str] = frozenset()
    session_timeout: float = 10.0
    rebalance_timeout: float = 30.0
    request_timeout: float = 40.0
    takeover_timeout: float = 30.0
    commit_interval: float = 1.0
    fetch_size: int = 4 << 20
    queue_size: int = 2
    max_request_size: int = PANE_BYTES
    idempotent: bool = True


class _NoWebServer(BootStrategy):
    """Says no for good: `faust worker` turns the setting `web_enabled` on again, on all interfaces."""

    enable_web = False


class App(faust.App):
    """A Faust app without Faust's web server and data directory, that ends when it should end."""

    BootStrategy = _NoWebServer

    async def stop(self) -> None:
        """Adds a deadline to the orderly end, which finishes the run in work, however long that takes."""
        self._end_within(STOP_TIMEOUT)
        await super().stop()

    def _crash(self, reason: BaseException) -> None:
        """Adds a deadline to the end after an error, in which Faust can wait for ever for a thread that is gone."""
        self._end_within(CRASH_TIMEOUT)
        super()._crash(reason)

    def _end_within(self, seconds: float) -> None:
        if self.in_worker:
            deadline = threading.Timer(seconds, self._end)
            deadline.daemon = True
            deadline.start()

    def _end(self) -> NoReturn:
        self.log.critical(
            "the worker is still busy after its time to stop: it ends now, unacknowledged runs come again"
        )
        os._exit(1)

    async def on_first_start(self) -> None:
        """Replaces the making of `<id>-data` in the working directory (for tables); calms the garbage collector.

        Fetched records are many objects without cycles, yet by default every 700 of them make it look, and in vain:
        that was a quarter of the CPU time of a worker that only fetches.
        """
        gc.freeze()
        gc.set_threshold(70_000, 10, 10)


def build_app(
    settings: WorkerSettings, on_assigned: AssignedHook | None = None, on_revoked: RevokedHook | None = None
) -> App:
    """A Faust app on the run transport. Nothing is contacted before it starts.

    `on_assigned` is awaited before any record of a new assignment is delivered, see `AssignedHook`;
    `on_revoked` when partitions are taken away, once the run in work is finished. An exception ends the worker.
    """
    urls = [URL(f"kafka://{broker}") for broker in settings.kafka.bootstrap.split(",")]
    app = App(settings.group, broker=urls, **_faust_settings(settings))
    app.transport = FetchTransport(
        urls,
        app,
        fetch_topics=settings.fetch_topics,
        on_assigned=on_assigned,
        takeover_timeout=settings.takeover_timeout,
        idempotent=settings.idempotent,
    )
    if on_revoked is not None:
        app.on_partitions_revoked.connect(_receiver(on_revoked))
    return app


def _receiver(hook: RevokedHook) -> Callable[..., Awaitable[None]]:
    async def receive(_sender: Any, revoked: set[TP], *_: Any, **__: Any) -> None:
        if revoked:  # not before the first assignment
            await hook(frozenset(revoked))

    return receive


def _faust_settings(settings: WorkerSettings) -> dict[str, Any]:
    return {
        # Otherwise environment variables like BROKER_URL or WEB_PORT would win over what is written here.
        "env_prefix": "DRIFTLINE_FAUST_",
        "broker_credentials": faust_credentials(settings.kafka),
        "broker_session_timeout": settings.session_timeout,
        "broker_heartbeat_interval": settings.session_timeout / 4,
        "broker_rebalance_timeout": settings.rebalance_timeout,
        "broker_request_timeout": settings.request_timeout,
        "broker_commit_interval": settings.commit_interval,
        # s. Who has not fetched for so long leaves the group for good, and who has no partition never fetches: a spare
        # worker would be gone after the default of 1000. Standing still is the watchdog's to find.
        "broker_max_poll_interval": 1e9,
        # ms. A leader of the group that could not ask for the topics' partitions, because Kafka was just coming back,
        # gives nobody any until it asks again. With the default of 300 s, all workers once were idle for 135 s.
        "consumer_metadata_max_age_ms": 5000,
        "consumer_max_fetch_size": settings.fetch_size,
        "consumer_auto_offset_reset": "earliest",
        "stream_buffer_maxsize": settings.queue_size,
        "producer_acks": -1,
        "producer_request_timeout": settings.request_timeout,
        "producer_max_request_size": settings.max_request_size,
        "key_serializer": "raw",
        "value_serializer": "raw",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        # Without standby tables Faust takes aiokafka's assignor; its own asks for topics with equal partition counts.
        "table_standby_replicas": 0,
        "agent_supervisor": mode.CrashingSupervisor,
        "worker_redirect_stdouts": False,
    }


async def consume(stream: StreamT[Any]) -> AsyncIterator[Any]:
    """Values of an agent's stream, each acknowledged when the loop comes back for the next one.

    Faust itself acknowledges also what an exception interrupted; here an exception in the loop's body skips the ack.
    """
    manual = cast("faust.Stream[Any]", stream).noack()
    async with aclosing(manual.events()) as events:
        async for event in events:
            if not cast(FetchConsumer, stream.app.consumer).is_stale(event.message):
                yield event.value
                await stream.ack(event)


async def publish(app: faust.App, messages: Iterable[OutgoingRecord]) -> None:
    """Send all messages and wait until every in-sync replica has them. KafkaError when one could not be sent."""
    sent = [
        await app.producer.send(m.topic, m.key, m.value, m.partition, timestamp=None, headers=list(m.headers))
        for m in messages
    ]
    await asyncio.gather(*sent)


def run_worker(app: faust.App) -> NoReturn:
    """Run until SIGTERM or SIGINT (exit code 0) or an error (exit code 1). Logging stays as it is."""
    worker = faust.Worker(app, override_logging=False, quiet=True)
    worker.spinner = None  # it would draw between the lines of the log
    worker.execute_from_commandline()
