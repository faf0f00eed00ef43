"""The Faust app of a worker: settings, the delivery loop of an agent, publishing with acknowledgement.

    app = build_app(WorkerSettings(fetch_topics=frozenset({"predictions"})), on_assigned=resume_offsets)

    @app.agent(app.topic("predictions"))
    async def sketch(stream):
        await consume(stream, work)     # work: an async function of a Fetch

    run_worker(app)     # or: faust -A module worker

An exception in the loop ends the worker with exit code 1; the fetch in work is not acknowledged, and comes again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import faust
import mode
from faust.app.base import BootStrategy
from faust.exceptions import ProducerSendError
from faust.types import TP, StreamT
from yarl import URL

from driftline.stream.config.limits import Limits
from driftline.stream.config.sections import Kafka
from driftline.stream.kafka.client import call_kafka, faust_credentials
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.retry import Waits, calling
from driftline.stream.schemas.topics import PANE_BYTES
from driftline.stream.worker.faust.transport import AssignedHook, FetchConsumer, FetchTransport

#: s from SIGTERM to the end. Orchestrators send SIGKILL after 10 (docker) to 30; a fetch takes well under 1.
STOP_TIMEOUT = 9.0
#: s that a worker may take to finish its fetch when partitions move, after which Kafka goes on without it.
REBALANCE_TIMEOUT = 30.0
#: s from an error to the end; the orderly end takes 2. Until then the group waits for this worker's partitions.
CRASH_TIMEOUT = 5.0

#: Called with the revoked partitions, which are all that the worker has.
RevokedHook = Callable[[frozenset[TP]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker uses Kafka. Durations in seconds, sizes in bytes.

    `session_timeout`: after it, a dead worker's partitions move. Brokers refuse less than 6 by default; above 10
    recovery drags, and the embedded broker's first join takes half of it.
    `rebalance_timeout`: how long a worker may take to finish its fetch when partitions move.
    `request_timeout`: how long a broker may take to answer a request before the worker sends it again.
    `fetch_size`: per partition and fetch. A larger record comes alone. Each fetch has its price (a seal, an
    acknowledgement): at a quarter of this size a worker takes a sixth more processor time; at twice, the event loop
    blocks for a fifth of a second.
    `queue_size`: fetches (or single records) queued per agent; they take some 2 * `queue_size` * `fetch_size` bytes.
    `max_request_size`: of a record; the broker has its own limit for each topic.
    `batch_bytes`: see `limits` in the configuration.
    `idempotent`: off on the embedded broker, which does not understand aiokafka's InitProducerId request.
    """

    kafka: Kafka = Kafka()
    group: str = "driftline"
    fetch_topics: frozenset[str] = frozenset()
    session_timeout: float = 10.0
    rebalance_timeout: float = REBALANCE_TIMEOUT
    request_timeout: float = 40.0
    commit_interval: float = 1.0
    fetch_size: int = 4 << 20
    queue_size: int = 2
    max_request_size: int = PANE_BYTES
    batch_bytes: int = Limits().batch_bytes
    idempotent: bool = True


class _NoWebServer(BootStrategy):
    """Keeps the web server off: `faust worker` turns the setting `web_enabled` on again, on all interfaces."""

    enable_web = False


class App(faust.App):
    """A Faust app without web server and data directory, whose end has a deadline."""

    BootStrategy = _NoWebServer
    _stops_in_a_wait = False

    async def stop(self) -> None:
        """Adds a deadline to the orderly end, which finishes the fetch in work unless that waits for a server."""
        self._stops_in_a_wait = bool(self._waits.current())
        self._end_within(STOP_TIMEOUT)
        giving_up = asyncio.create_task(cast(FetchConsumer, self.consumer).give_up_waiting())
        try:
            await super().stop()
        finally:
            giving_up.cancel()

    async def _producer_flush(self, logger: Any) -> None:
        """Replaces a flush without a limit: `publish` has waited for everything but what was given up."""

    @property
    def _waits(self) -> Waits:
        return cast(FetchTransport, self.transport).waits

    def _crash(self, reason: BaseException) -> None:
        """Adds a deadline to the end after an error, when Faust can wait for ever for a thread that has ended."""
        self._end_within(CRASH_TIMEOUT)
        super()._crash(reason)

    def _end_within(self, seconds: float) -> None:
        if self.in_worker:
            deadline = threading.Timer(seconds, self._end)
            deadline.daemon = True
            deadline.start()

    def _end(self) -> NoReturn:
        if not self.crashed and (self._stops_in_a_wait or self._waits.current()):
            self.log.warning("the worker ends while a server does not answer; unacknowledged fetches come again")
            os._exit(0)
        self.log.critical(
            "the worker is still busy after its time to stop; it exits now, and unacknowledged fetches come again"
        )
        os._exit(1)

    async def on_first_start(self) -> None:
        """Replaces the creation of `<id>-data` in the working directory (for tables); tunes the garbage collector.

        Fetched records are many objects without cycles, yet by default every 700 of them start a collection that finds
        nothing: that was a quarter of the CPU time of a worker that only fetches.
        """
        gc.freeze()
        gc.set_threshold(70_000, 10, 10)


def build_app(
    settings: WorkerSettings,
    on_assigned: AssignedHook | None = None,
    on_revoked: RevokedHook | None = None,
    waits: Waits | None = None,
) -> App:
    """A Faust app on the fetch transport. It contacts nothing before it starts. waits: those of this process.

    `on_assigned` is awaited before any record of a new assignment is delivered, see `AssignedHook`; `on_revoked` is
    awaited when partitions are revoked, once the fetch in work is finished. An exception in either ends the worker.
    """
    urls = [URL(f"kafka://{broker}") for broker in settings.kafka.bootstrap.split(",")]
    app = App(settings.group, broker=urls, **_faust_settings(settings))
    app.transport = FetchTransport(
        urls,
        app,
        fetch_topics=settings.fetch_topics,
        on_assigned=on_assigned,
        idempotent=settings.idempotent,
        waits=waits or Waits(),
        batch_bytes=settings.batch_bytes,
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
        # Otherwise environment variables like BROKER_URL or WEB_PORT would override these settings.
        "env_prefix": "DRIFTLINE_FAUST_",
        "broker_credentials": faust_credentials(settings.kafka),
        "broker_session_timeout": settings.session_timeout,
        "broker_heartbeat_interval": settings.session_timeout / 4,
        "broker_rebalance_timeout": settings.rebalance_timeout,
        "broker_request_timeout": settings.request_timeout,
        "broker_commit_interval": settings.commit_interval,
        # s. A member that has not fetched for this long leaves the group for good, and one without partitions never
        # fetches: a spare worker would be gone after the default of 1000. The watchdog finds stalls.
        "broker_max_poll_interval": 1e9,
        # ms. A group leader that could not ask for the topics' partitions, because Kafka was just coming back, assigns
        # none until it asks again. With the default of 300 s, all workers once were idle for 135 s.
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


async def consume(stream: StreamT[Any], work: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """Work on the values of an agent's stream, one by one; each is acknowledged when its work is done.

    Faust itself also acknowledges a value whose processing raised; here an exception skips that and ends the worker.
    """
    manual, consumer = cast("faust.Stream[Any]", stream).noack(), cast(FetchConsumer, stream.app.consumer)
    async with aclosing(manual.events()) as events:
        async for event in events:
            if consumer.is_stale(event.message):
                continue
            if await consumer.finish(work(event.value)):
                await stream.ack(event)
            else:
                consumer.drop(event.message)


async def publish(app: faust.App, records: Iterable[OutgoingRecord]) -> None:
    """Send all records and wait until every in-sync replica has them, without end while Kafka refuses at the moment.

    Raises KafkaError if one can never be sent.
    """
    left, sent = deque(records), list[Awaitable[Any]]()
    await call_kafka(_send, app, left, sent)
    with calling("Kafka"):
        await asyncio.gather(*sent)


async def _send(app: faust.App, left: deque[OutgoingRecord], sent: list[Awaitable[Any]]) -> None:
    """Move records from `left` to `sent`, each with its acknowledgement. After an error, the rest is still left."""
    while left:
        r = left[0]
        try:
            sent.append(
                await app.producer.send(r.topic, r.key, r.value, r.partition, timestamp=None, headers=list(r.headers))
            )
        except ProducerSendError as error:
            raise error.__cause__ or error from None
        left.popleft()


def run_worker(app: faust.App) -> NoReturn:
    """Run until SIGTERM or SIGINT (exit code 0) or an error (exit code 1). Logging stays as it is."""
    worker = faust.Worker(app, override_logging=False, quiet=True)
    worker.spinner = None  # it would draw between log lines
    worker.execute_from_commandline()
