"""The worker runs both stages as agents of one Faust app, with health, metrics and a watchdog beside them.

    predictions topic ──► SketchStage ──► panes topic ──► JudgeStage ──► alerts topic
                              │                               │
                              └──────── Redis: seals ─────────┴── states, offsets, outbox

Faust fetches, dispatches and supervises; it decides nothing. An error in a stage ends the process with exit code 1
before anything is acknowledged, and so does being fenced off: the next start resumes where the store says. A server
that does not answer, or refuses at the moment, is no error: the worker waits for it without end, and /health says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from socket import gethostname, socket
from typing import Any, NoReturn, cast

from aiokafka.errors import KafkaError
from faust.types import TP, StreamT

from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.given import Versions, select_watched, select_watched_versions
from driftline.stream.codec.levels import NEWEST, OUTCOMES
from driftline.stream.config.diagnostics import ConfigError
from driftline.stream.config.sections import Config
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.kafka.admin import record_room
from driftline.stream.kafka.client import call_kafka
from driftline.stream.kafka.dead_letters import fitted
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.ops.http import listen
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.retry import Waits
from driftline.stream.sources.calendars import CalendarError
from driftline.stream.sources.inputs import InputError
from driftline.stream.sources.schemas import SchemaLoader
from driftline.stream.state.client import StoreError, connect
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.level import REPORT_EVERY, GroupLevel, LevelError, WorkerReport
from driftline.stream.state.references import StoredBaselines
from driftline.stream.state.store import NewerError, Store
from driftline.stream.state.unwatched import UnwatchedReports
from driftline.stream.state.values import ResumePosition
from driftline.stream.worker.configuration import Configuration, ignored
from driftline.stream.worker.continuity import LogChangedError
from driftline.stream.worker.faust.app import App, WorkerSettings, build_app, consume, publish
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.faust.transport import FetchConsumer
from driftline.stream.worker.judge_stage import JudgeSettings, JudgeStage, split
from driftline.stream.worker.label_stage import LabelStage
from driftline.stream.worker.log_guard import LogGuard
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.references import References
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
# s between two looks whether the group's level was raised: one small request to Redis.
_LEVEL_EVERY = 5.0


Loaded = tuple[Config, Mapping[str, Baseline], Versions, CalendarOf]


@dataclass
class Worker:
    """A worker that has not started.

    baselines: those given in the configuration, by model. schemas: None if the configuration names no source of them.
    waits: what this process waits for. listener: where it serves /health, by default what the configuration says.
    reload: reads all of that again, once `asked` is set, as by SIGHUP. calendar_of: gives the calendar of a model.
    versions: the baselines of versions that have their own, by model.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    schemas: SchemaLoader | None = None
    waits: Waits = field(default_factory=Waits)
    listener: socket | None = None
    reload: Callable[[], Loaded] | None = None
    calendar_of: CalendarOf = every_day
    versions: Versions = field(default_factory=dict)
    asked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        config, topics, worker = self.config, self.config.topics, self.config.worker
        # Asked for later, labels take a restart.
        reads_labels = config.labelled_by("topic") is not None
        self._inputs = [topics.predictions, *([topics.labels] if reads_labels else [])]
        settings = WorkerSettings(
            kafka=config.kafka,
            group=worker.group,
            fetch_topics=frozenset({*self._inputs, topics.panes}),
            session_timeout=worker.session_seconds,
            batch_bytes=config.limits.batch_bytes,
            idempotent=config.kafka.idempotent,
        )
        self.metrics = Metrics()
        self.store = Store(connect(config.redis), worker.group, config.redis.replicas)
        self.app: App = build_app(settings, self._take_over, self._release, self.waits)
        stored = StoredBaselines(self.store.client, worker.group, config.redis.replicas)
        self.references = References(
            select_watched(config, self.baselines), stored, select_watched_versions(config, self.versions)
        )
        given = self.references.known.given
        self.sketch_stage = SketchStage(
            SketchSettings.of(config), given, self.store, self._publish, self.metrics, self.schemas
        )
        self.label_stage = LabelStage(
            SketchSettings.of_labels(config), {}, self.store, self._publish, self.metrics, self.schemas
        )
        self._readers: dict[str, SketchStage] = dict(zip(self._inputs, (self.sketch_stage, self.label_stage)))  # noqa: B905
        judged = JudgeSettings.of(config, self.calendar_of)
        self.judge_stage = JudgeStage(judged, self.references, self.store, self._publish, self.metrics)
        self.configuration = Configuration(
            SketchSettings.of(config), self.references, self.sketch_stage, self.judge_stage, self._publish
        )
        self.watchdog = Watchdog(self.metrics, worker.watchdog_seconds, self.waits)
        self.guard, self.group_level = LogGuard(config, self.store, self.metrics), GroupLevel(self.store)
        self._name, self._reported = secrets.token_hex(8), (0.0, list[Unwatched]())
        self._level, self._level_reported, self._reloading = 0, 0.0, asyncio.Lock()
        self._room: Mapping[str, int] | None = None
        self._resources = AsyncExitStack()
        self._add_agents()

    def _add_agents(self) -> None:
        app, topics = self.app, self.config.topics

        @app.agent(app.topic(topics.predictions), name="sketch")
        async def sketch(stream: StreamT[Any]) -> None:
            await consume(stream, self._sketch)

        if topics.labels in self._readers:

            @app.agent(app.topic(topics.labels), name="labels")
            async def labels(stream: StreamT[Any]) -> None:
                await consume(stream, self._sketch)

        @app.agent(app.topic(topics.panes), name="judge")
        async def judge(stream: StreamT[Any]) -> None:
            await consume(stream, self._judge)

        app.task(self._started)
        app.timer(_HOUSEKEEPING_EVERY)(self._report_alive)
        app.timer(_HOUSEKEEPING_EVERY)(self._housekeeping)
        app.timer(_HOUSEKEEPING_EVERY)(self._reload_when_asked)
        app.timer(_LAG_EVERY)(self._measure_lag)
        app.timer(_COVERAGE_EVERY)(self._review_coverage)
        app.timer(_LEVEL_EVERY)(self._watch_level)
        app.on_before_shutdown.connect(self._stopping)

    async def _sketch(self, fetch: Fetch) -> None:
        with self.watchdog.working(fetch.tp.topic), _exit_when_refused():
            await self.guard.check_fetch(fetch, self._begins)
            await self.configuration.announce()
            await self._readers[fetch.tp.topic].sketch(fetch)

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
        with self.watchdog.taking_over(), _exit_when_refused():
            positions = await self._claim(partitions)
        log.info("took over %d partitions in %.2f s", len(positions), time.monotonic() - started)
        return {tp: position.offset for tp, position in positions.items()}

    async def _claim(self, partitions: frozenset[TP]) -> Mapping[TP, ResumePosition]:
        topics = self.config.topics
        level = await self.group_level.begin()
        await self.guard.bind()
        if not self._level:
            # Who asked while this worker waited for its group means the files of now: those of its start are outdated.
            await self._reload_if_asked()
        # Not before: with the level, baselines are announced, and only a bound group knows on which partitions.
        self._use_level(level)
        self.judge_stage.logs = self.guard.logs
        for topic, reader in self._readers.items():
            reader.log = self.guard.logs[topic]
        if self._room is None:
            dead_letters = [f"{topic}.dlq" for topic in (*self._inputs, topics.panes)]
            self._room = await asyncio.to_thread(record_room, self.config.kafka, dead_letters)
        stages: dict[str, SketchStage | JudgeStage] = {**self._readers, topics.panes: self.judge_stage}
        positions = {
            TP(topic, partition): position
            for topic, stage in stages.items()
            for partition, position in (
                await stage.take_over(tp.partition for tp in partitions if tp.topic == topic)
            ).items()
        }
        begins = await self.guard.take_over(positions)
        for topic, reader in self._readers.items():
            reader.logs_begin(_of_topic(topic, begins))
        return positions

    async def _release(self, _: frozenset[TP]) -> None:
        """Give up all partitions: Kafka assigns them again, and by then another worker may have ended their runs."""
        self.guard.release()
        for reader in self._readers.values():
            await reader.release()
        await self.judge_stage.release()

    async def _report_alive(self) -> None:
        self.watchdog.loop_alive()

    async def _housekeeping(self) -> None:
        await cast(FetchConsumer, self.app.consumer).finish(self._keep_house())

    async def _keep_house(self) -> None:
        with _exit_when_refused():
            await self.configuration.announce()
            for reader in self._readers.values():
                await reader.close_idle()
                await reader.send_ticks()
            await self.judge_stage.drain_outboxes()

    async def _reload_when_asked(self) -> None:
        if self.asked.is_set() and not await cast(FetchConsumer, self.app.consumer).finish(self._reload_if_asked()):
            self.asked.set()

    async def _reload_if_asked(self) -> None:
        async with self._reloading:
            if self.reload is not None and self.asked.is_set():
                self.asked.clear()  # before anything is read: who asks from now on asks for another time
                await self._reload(self.reload)

    async def _reload(self, reload: Callable[[], Loaded]) -> None:
        """Go on with the configuration as it is now; with the one before, if it has an error."""
        try:
            loaded = await asyncio.to_thread(_load_again, reload, self.config)
        except (ConfigError, InputError, BaselineError, CalendarError, OSError) as error:
            log.error("the configuration was not loaded again, and the former one stays in effect: %s", error)
            return
        self.config, baselines, versions, self.calendar_of = loaded
        judging = JudgeSettings.of(self.config, self.calendar_of)
        await self.configuration.replace(SketchSettings.of(self.config), judging, baselines, versions)
        await self.label_stage.reload(SketchSettings.of_labels(self.config))
        log.info("the configuration was loaded again: %d baselines", len(baselines) + sum(map(len, versions.values())))

    async def _review_coverage(self) -> None:
        """Show what is not watched; for `driftline incidents`, in Redis, too, once a minute or when it changes."""
        found, now = self.sketch_stage.review_coverage(), time.time()
        if found != self._reported[1] or (found and now - self._reported[0] > _REPORT_EVERY):
            try:
                await UnwatchedReports(self.store.client, self.config.worker.group).write(self._name, found, now)
            except StoreError as error:
                log.warning("what is not watched was not reported: %s", error)
            self._reported = now, found

    async def _watch_level(self) -> None:
        """Use the group's level from here on if it was raised, and report which one this worker can do."""
        try:
            if self._level:
                with _exit_when_refused():
                    self._use_level(await self.group_level.read())
            now = time.time()
            if now - self._level_reported > REPORT_EVERY:
                report = WorkerReport(now, gethostname(), version("driftline"), NEWEST)
                await self.group_level.report(self._name, report)
                self._level_reported = now
        except StoreError as error:
            log.warning("the group's format level is not known: %s", error)

    def _use_level(self, read: int) -> None:
        level = max(read, self._level)  # it never falls, but a look that began earlier may end later
        if level != self._level:
            hint = "once all are upgraded, run driftline upgrade finish -c FILE" if level < NEWEST else "the newest"
            log.info("the group is at format level %d: %s", level, hint)
            for warning in ignored(self.config, self.references.known.versions, level):
                log.warning(warning)
        self._level = self.metrics.level = level
        if level < OUTCOMES and len(self._inputs) > 1:
            raise LevelError(
                f"outcomes.labels: topic needs format level {OUTCOMES}; run driftline upgrade finish first"
            )
        self.sketch_stage.level = self.label_stage.level = level
        self.judge_stage.level = self.configuration.level = level

    async def _measure_lag(self) -> None:
        """Measure the lag from positions: they also count what is no record, such as a marker at the end of a log.

        Ends the worker if a log is not the one that was read.
        """
        try:
            await call_kafka(self._ask_for_lag)
        except KafkaError as error:  # such as a partition that was revoked meanwhile
            log.warning("Kafka does not say where its topics end: %r", error)

    async def _ask_for_lag(self) -> None:
        consumer = cast(FetchConsumer, self.app.consumer)
        assignment_id = consumer.settled
        with _exit_when_refused():
            await self.guard.check_topics()
        asked = time.time_ns() // 1_000_000
        for topic, reader in self._readers.items():
            reader.facts = self.guard.facts_of(topic)
        # Before the ends, which only grow: so a lag below 0 is a log that became shorter.
        read_to = self.guard.read_to()
        positions = {tp: await consumer.position(tp) or 0 for tp in consumer.assignment()}
        ends = await consumer.ends(*positions)
        if assignment_id is not None and assignment_id == consumer.settled:
            with _exit_when_refused():
                self.guard.check_ends(read_to, ends)
            for topic, reader in self._readers.items():
                reader.asked_for_ends(_of_topic(topic, ends), asked)
            self.metrics.set_lags({tp: end - positions[tp] for tp, end in ends.items()})
            self.watchdog.lag_known()
        elif consumer.assignment_id is None:
            self.watchdog.rebalancing()

    async def _started(self) -> None:
        self.watchdog.start()
        listener = self._resources.enter_context(self.listener or listen(self.config.worker.http))
        await self._resources.enter_async_context(
            serve_worker_http(listener, self.metrics, self.watchdog, self.sketch_stage.intake)
        )
        self._resources.push_async_callback(self.store.client.aclose)
        self._resources.push_async_callback(self.guard.close)

    async def _stopping(self, *_: Any, **__: Any) -> None:
        """Close what `_started` opened. No record is in work any more; housekeeping may be."""
        await cast(FetchConsumer, self.app.consumer).end()
        with suppress(StoreError):
            await self.group_level.withdraw(self._name)
        await self._resources.aclose()


def _of_topic(topic: str, offsets: Mapping[TP, int]) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in offsets.items() if tp.topic == topic}


def _load_again(reload: Callable[[], Loaded], former: Config) -> Loaded:
    """What `reload` reads, of the configuration only what may change, and without the signals that are not watched."""
    read, baselines, versions, calendar_of = reload()
    config = former.model_copy(update={"defaults": read.defaults, "models": read.models})
    if config.labelled_by("topic") is not None and former.labelled_by("topic") is None:
        log.warning("labels of topic %s (outcomes.labels) are read once this worker is restarted", config.topics.labels)
    if config != read:
        log.warning("only `defaults` and `models` are loaded again; what else has changed takes a restart")
    return config, select_watched(config, baselines), select_watched_versions(config, versions), calendar_of


@contextmanager
def _exit_when_refused() -> Iterator[None]:
    """End the process at once when another worker has taken over, the log is another one, or the group too new.

    The orderly end takes seconds, in which this worker would join the group again and hold partitions until its
    session expires; and it would bury the reason under a traceback.
    """
    try:
        yield
    except FencedError as error:
        _exit(f"{error}: this worker was away for too long, and exits")
    except (LogChangedError, LevelError, NewerError) as error:
        _exit(str(error))


def _exit(reason: str) -> NoReturn:
    log.critical("%s", reason)
    logging.shutdown()
    os._exit(1)
