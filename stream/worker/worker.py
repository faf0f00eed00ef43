"""The worker runs both stages as agents of one Faust app, with health, metrics and a watchdog beside them.

    predictions topic ──► SketchStage ──► panes topic ──► JudgeStage ──► alerts topic
                              │                               │
                              └──────── Redis: seals ─────────┴── states, offsets, outbox

Faust fetches, dispatches and supervises; it decides nothing. An error in a stage ends the process with exit code 1
before anything is acknowledged, and so does being fenced off: the next start resumes where the store says. A server
that does not answer, or refuses for now, is no error: the worker waits for it without end, and /health says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Any, NoReturn, cast

from aiokafka.errors import KafkaError
from faust.types import TP, StreamT

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.remarks import unused_settings
from driftline.stream.config.sections import Config
from driftline.stream.kafka.admin import record_room
from driftline.stream.kafka.client import FailedConnections, RefusedWrites, call_kafka
from driftline.stream.kafka.dead_letters import fitted
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.ops.http import listen
from driftline.stream.ops.logging import configure_logging
from driftline.stream.ops.memory import give_memory_back
from driftline.stream.ops.readiness import wait_until_ready
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.retry import Waits
from driftline.stream.sources.baselines import load_baselines
from driftline.stream.sources.schemas import SchemaLoader, schema_loader
from driftline.stream.state.client import StoreError, connect
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.store import ResumePosition, Store
from driftline.stream.state.unwatched import UnwatchedReports
from driftline.stream.worker.continuity import LogChangedError
from driftline.stream.worker.faust.app import App, WorkerSettings, build_app, consume, publish, run_worker
from driftline.stream.worker.faust.transport import Fetch, FetchConsumer
from driftline.stream.worker.judge_stage import JudgeSettings, JudgeStage, split
from driftline.stream.worker.log_guard import LogGuard
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.sketch_stage import SketchSettings, SketchStage
from driftline.stream.worker.watchdog import Watchdog, serve_worker_http

log = logging.getLogger(__name__)

# s between two rounds of housekeeping, and so how late an idle run may end.
_HOUSEKEEPING_EVERY = 1.0
# Bytes. A topic's max.message.bytes holds for a batch, and the producer puts records of up to 16 KiB into one: what
# goes to a topic that takes less than twice that is sent one by one.
_BATCH_ROOM = 32 << 10
# s between two measurements of the lag, one small request to each broker; a third of the shortest time after which the
# worker reports itself unhealthy.
_LAG_EVERY = 2.0
# s between two reviews of what is not watched, and between two reports of it that say the same. Reports are valid for
# ten times as long as the latter.
_COVERAGE_EVERY, _REPORT_EVERY = 5.0, 60.0


@dataclass
class Worker:
    """A worker that has not started.

    baselines: those given in the configuration, by model. schemas: None if the configuration names no source of them.
    waits: what this process waits for. listener: where it serves /health, by default what the configuration says.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    schemas: SchemaLoader | None = None
    waits: Waits = field(default_factory=Waits)
    listener: socket | None = None

    def __post_init__(self) -> None:
        config, topics, worker = self.config, self.config.topics, self.config.worker
        watched = {
            model: each.select_signals(config.for_model(model).signals.selects)
            for model, each in self.baselines.items()
        }
        settings = WorkerSettings(
            kafka=config.kafka,
            group=worker.group,
            fetch_topics=frozenset({topics.predictions, topics.panes}),
            session_timeout=worker.session_seconds,
            batch_bytes=config.limits.batch_bytes,
            idempotent=config.kafka.idempotent,
        )
        self.metrics = Metrics()
        self.store = Store(connect(config.redis), worker.group, config.redis.replicas)
        self.app: App = build_app(settings, self._take_over, self._release, self.waits)
        self.sketch_stage = SketchStage(
            SketchSettings.of(config), watched, self.store, self._publish, self.metrics, self.schemas
        )
        self.judge_stage = JudgeStage(JudgeSettings.of(config), watched, self.store, self._publish, self.metrics)
        self.watchdog = Watchdog(self.metrics, worker.watchdog_seconds, self.waits)
        self.guard = LogGuard(config, self.store, self.metrics)
        self._name, self._reported = secrets.token_hex(8), (0.0, list[Unwatched]())
        self._room: Mapping[str, int] | None = None
        self._resources = AsyncExitStack()
        self._add_agents()

    def _add_agents(self) -> None:
        app, topics = self.app, self.config.topics

        @app.agent(app.topic(topics.predictions), name="sketch")
        async def sketch(stream: StreamT[Any]) -> None:
            await consume(stream, self._sketch)

        @app.agent(app.topic(topics.panes), name="judge")
        async def judge(stream: StreamT[Any]) -> None:
            await consume(stream, self._judge)

        app.task(self._started)
        app.timer(_HOUSEKEEPING_EVERY)(self._report_alive)
        app.timer(_HOUSEKEEPING_EVERY)(self._housekeeping)
        app.timer(_LAG_EVERY)(self._measure_lag)
        app.timer(_COVERAGE_EVERY)(self._review_coverage)
        app.on_before_shutdown.connect(self._stopping)

    async def _sketch(self, fetch: Fetch) -> None:
        with self.watchdog.working(self.config.topics.predictions), _exit_when_refused():
            await self.guard.check_fetch(fetch, self._begins)
            await self.sketch_stage.sketch(fetch)

    async def _judge(self, fetch: Fetch) -> None:
        with _exit_when_refused():
            await self.guard.check_fetch(fetch, self._begins)
        for batch in split(fetch):
            with self.watchdog.working(self.config.topics.panes), _exit_when_refused():
                await self.judge_stage.judge(batch)

    async def _begins(self, tp: TP) -> Mapping[TP, int]:
        return await call_kafka(self.app.consumer.earliest_offsets, tp)

    async def _publish(self, messages: Iterable[OutgoingRecord]) -> None:
        room = self._room or {}
        records = [
            fitted(each, room[each.topic]) if each.topic in room else each for each in map(self.guard.place, messages)
        ]
        narrow = {topic for topic, most in room.items() if most < _BATCH_ROOM}
        await publish(self.app, (each for each in records if each.topic not in narrow))
        for each in records:
            if each.topic in narrow:
                await publish(self.app, [each])

    async def _take_over(self, partitions: frozenset[TP]) -> Mapping[TP, int]:
        started = time.monotonic()
        with _exit_when_refused():
            positions = await self._claim(partitions)
        self.watchdog.assigned()
        log.info("took over %d partitions in %.2f s", len(positions), time.monotonic() - started)
        return {tp: position.offset for tp, position in positions.items()}

    async def _claim(self, partitions: frozenset[TP]) -> Mapping[TP, ResumePosition]:
        topics = self.config.topics
        await self.guard.bind()
        if self._room is None:
            dead_letters = [f"{topic}.dlq" for topic in (topics.predictions, topics.panes)]
            self._room = await asyncio.to_thread(record_room, self.config.kafka, dead_letters)
        positions = {
            TP(topic, partition): position
            for topic, stage in ((topics.predictions, self.sketch_stage), (topics.panes, self.judge_stage))
            for partition, position in (
                await stage.take_over(tp.partition for tp in partitions if tp.topic == topic)
            ).items()
        }
        await self.guard.take_over(positions)
        return positions

    async def _release(self, _: frozenset[TP]) -> None:
        """Give up all partitions: Kafka assigns them again, and by then another worker may have ended their runs."""
        self.guard.release()
        await self.sketch_stage.release()
        await self.judge_stage.release()

    async def _report_alive(self) -> None:
        self.watchdog.loop_alive()

    async def _housekeeping(self) -> None:
        await cast(FetchConsumer, self.app.consumer).finish(self._keep_house())

    async def _keep_house(self) -> None:
        with _exit_when_refused():
            await self.sketch_stage.close_idle()
            await self.judge_stage.drain_outboxes()

    async def _review_coverage(self) -> None:
        """Show what is not watched; for `driftline incidents`, in Redis, too, once a minute or when it changes."""
        found, now = self.sketch_stage.review_coverage(), time.time()
        if found != self._reported[1] or (found and now - self._reported[0] > _REPORT_EVERY):
            try:
                await UnwatchedReports(self.store.client, self.config.worker.group).write(self._name, found, now)
            except StoreError as error:
                log.warning("what is not watched was not reported: %s", error)
            self._reported = now, found

    async def _measure_lag(self) -> None:
        """Measure the lag from positions: they also count what is no record, such as a marker at the end of a log.

        Ends the worker if a log is not the one that was read.
        """
        try:
            await call_kafka(self._ask_for_lag)
        except KafkaError as error:  # such as a partition that was revoked meanwhile
            log.warning("Kafka does not say where its topics end: %r", error)
        else:
            self.watchdog.lag_known()

    async def _ask_for_lag(self) -> None:
        consumer = cast(FetchConsumer, self.app.consumer)
        assignment_id = consumer.assignment_id
        with _exit_when_refused():
            await self.guard.check_topics()
        # Before the ends, which only grow: so a lag below 0 is a log that became shorter.
        read_to = self.guard.read_to()
        positions = {tp: await consumer.position(tp) or 0 for tp in consumer.assignment()}
        ends = await consumer.ends(*positions)
        if assignment_id is not None and assignment_id == consumer.assignment_id:
            with _exit_when_refused():
                self.guard.check_ends(read_to, ends)
            self.metrics.set_lags({tp: end - positions[tp] for tp, end in ends.items()})

    async def _started(self) -> None:
        self.watchdog.start()
        listener = self.listener or listen(self.config.worker.http)
        await self._resources.enter_async_context(
            serve_worker_http(listener, self.metrics, self.watchdog, self.sketch_stage.intake)
        )
        self._resources.push_async_callback(self.store.client.aclose)

    async def _stopping(self, *_: Any, **__: Any) -> None:
        """Close what `_started` opened. No record is in work any more."""
        await self._resources.aclose()


@contextmanager
def _exit_when_refused() -> Iterator[None]:
    """End the process at once when another worker has taken over, or when the log is not the one that was read.

    The orderly end takes seconds, in which this worker would join the group again and hold partitions until its
    session expires; and it would bury the reason under a traceback.
    """
    try:
        yield
    except FencedError as error:
        _exit(f"{error}: this worker was away for too long, and exits")
    except LogChangedError as error:
        _exit(str(error))


def _exit(reason: str) -> NoReturn:
    log.critical("%s", reason)
    logging.shutdown()
    os._exit(1)


def run(config: Config, folder: Path) -> NoReturn:
    """Wait for the servers, then work until SIGTERM or SIGINT. Paths in the configuration are relative to `folder`."""
    give_memory_back()
    configure_logging(config.worker.log)
    baselines = load_baselines(config, folder)
    for remark in unused_settings(config, {model: each.signal_kinds for model, each in baselines.items()}):
        log.warning("%s", remark)
    schemas = schema_loader(config.schemas, folder)
    waits, listener = waits_without_end(), listen(config.worker.http)
    wait_until_ready(config, waits, listener)
    worker = Worker(config, baselines, schemas, waits, listener)
    worker.watchdog.start()
    run_worker(worker.app)


def waits_without_end() -> Waits:
    """The waits of this process, a worker: from here on it waits for servers without end."""
    waits = Waits()
    waits.without_end()
    RefusedWrites(waits).watch()
    FailedConnections(waits).watch()
    return waits
