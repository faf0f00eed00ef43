"""The worker: both stages as agents of one Faust app, with health, metrics and a watchdog beside them.

    predictions topic ──► SketchStage ──► panes topic ──► JudgeStage ──► alerts topic
                              │                               │
                              └──────── Redis: seals ─────────┴── memories, offsets, outbox

Faust fetches, dispatches and supervises; it decides nothing. Any error in a stage, being fenced among them, ends the
process with exit code 1 before anything is acknowledged: whatever starts it again goes on where the store says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from faust.types import TP, StreamT

from stream.app import App, Message, WorkerSettings, build_app, delivered, publish
from stream.baseline import Baseline
from stream.config import Config, model_config
from stream.judging import JudgeStage
from stream.metrics import Metrics
from stream.redis_connection import connect
from stream.sketching import SketchStage
from stream.store import Store
from stream.watch import Watchdog, serve

log = logging.getLogger(__name__)

# Seconds between two rounds of housekeeping: idle panes end at most so late.
_ROUND = 1.0
# Rounds between two looks at the ends of the topics, one small request to Kafka each.
_LAG_ROUNDS = 5


@dataclass
class Worker:
    """A worker that has not started. baselines: given ones, by model. idempotent: off on the embedded broker."""

    config: Config
    baselines: Mapping[str, Baseline]
    idempotent: bool = True

    def __post_init__(self) -> None:
        topics, worker = self.config.topics, self.config.worker
        watched = {
            model: each.only(model_config(self.config, model).signals.selects) for model, each in self.baselines.items()
        }
        settings = WorkerSettings(
            kafka=self.config.kafka,
            group=worker.group,
            run_topics=frozenset({topics.predictions, topics.panes}),
            session_timeout=worker.session_seconds,
            idempotent=self.idempotent,
        )
        self.metrics = Metrics()
        self.store = Store(connect(self.config.redis), worker.group)
        self.app: App = build_app(settings, on_assigned=self._assigned)
        self.sketch = SketchStage(self.config, watched, self.store, self._publish, self.metrics)
        self.judge = JudgeStage(self.config, watched, self.store, self._publish, self.metrics)
        self.watchdog = Watchdog(self.metrics, worker.watchdog_seconds)
        self._rounds = 0
        self._add_agents()

    def _add_agents(self) -> None:
        app, topics = self.app, self.config.topics

        @app.agent(app.topic(topics.predictions), name="sketch")
        async def sketch(stream: StreamT[Any]) -> None:
            async for fetched in delivered(stream):
                await self.sketch.take(fetched)

        @app.agent(app.topic(topics.panes), name="judge")
        async def judge(stream: StreamT[Any]) -> None:
            async for fetched in delivered(stream):
                await self.judge.take(fetched)

        app.timer(_ROUND)(self._housekeeping)
        app.task(self._serve)

    async def _publish(self, messages: Iterable[Message]) -> None:
        await publish(self.app, messages)

    async def _assigned(self, partitions: frozenset[TP]) -> Mapping[TP, int]:
        started, topics = time.monotonic(), self.config.topics
        positions = {
            TP(topic, partition): offset
            for topic, stage in ((topics.predictions, self.sketch), (topics.panes, self.judge))
            for partition, offset in (
                await stage.assigned(tp.partition for tp in partitions if tp.topic == topic)
            ).items()
        }
        self.metrics.assigned()
        log.info("took over %d partitions in %.2f s", len(positions), time.monotonic() - started)
        return positions

    async def _housekeeping(self) -> None:
        await self.sketch.close_idle()
        await self.judge.resume()
        self._rounds += 1
        if self._rounds % _LAG_ROUNDS == 0:
            ends = await self.app.consumer.highwaters(*self.app.consumer.assignment())
            self.metrics.behind({(tp.topic, tp.partition): end for tp, end in ends.items() if end is not None})
        self.watchdog.beat()

    async def _serve(self) -> None:
        self.watchdog.start()
        await serve(self.config.worker.http, self.metrics, self.watchdog)
