"""Both stages of a worker over lists instead of topics, with a real store: fast, and with a crash at any step.

    driver = Driver(config, baselines, client, {0: messages})
    asyncio.run(driver.work())          # until all is read, or until the Crash at step `driver.crash_at`
    driver.topics[config.topics.alerts]

A step is one record published or one call to Redis. `crash_at` is the number of a step or its name, which is that of
the topic or the command. A crash comes before the step's effect or, if `late`, after it, when the answer is lost.
Another driver on the same topics and store is the next worker. With `gives_up`, the work of that step is given up
instead, as when partitions are revoked while it waits for a server, and the same driver may go on.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from aiokafka import ConsumerRecord
from faust.types import TP

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.levels import NEWEST
from driftline.stream.config.sections import Config
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.state.client import Client
from driftline.stream.state.references import StoredBaselines
from driftline.stream.state.store import Store
from driftline.stream.worker.configuration import Configuration
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.judge_stage import JudgeSettings, JudgeStage, split
from driftline.stream.worker.label_stage import LabelStage
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.references import References
from driftline.stream.worker.sketch_stage import SketchSettings, SketchStage
from driftline.stream.worker.ticks import TickFacts


class Crash(Exception):
    """The worker dies here."""


Topics = dict[str, dict[int, list[OutgoingRecord]]]


Logs = Mapping[int, Sequence[bytes | None]]


def topics_with(config: Config, logs: Logs, labels: Logs = MappingProxyType({})) -> Topics:
    """The topics of a configuration, with messages on those of predictions and of labels, by partition."""
    names = config.topics
    read = {names.predictions: logs, **({names.labels: labels} if labels else {})}
    own = {
        name: {partition: [OutgoingRecord(name, None, each) for each in log] for partition, log in by.items()}
        for name, by in read.items()
    }
    return {**own, names.panes: {}, names.alerts: {}, **{f"{name}.dlq": {} for name in (*read, names.panes)}}


@dataclass
class Driver:
    """A worker that has all partitions assigned. fetch_size: records per fetch. first: first offset of each log.

    reports_end: whether a fetch also says where the log ends, as any broker should. step_ms: between two records.
    level: the format level of the group. versions: the baselines of versions that have their own.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    client: Client
    topics: Topics
    crash_at: int | str | None = None
    late: bool = False
    gives_up: bool = False
    fetch_size: int = 70
    panes_partitions: int = 2
    first: int = 0
    reports_end: bool = False
    step_ms: int = 0
    level: int = NEWEST
    versions: Versions = field(default_factory=dict)
    steps: int = 0
    _read: dict[TP, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        store = Store(_Crashing(self.client, self), self.config.worker.group)  # type: ignore[arg-type]
        self.sketch = SketchStage(SketchSettings.of(self.config), self.baselines, store, self.publish, self.metrics)
        settings = SketchSettings.of_labels(self.config)
        self.labels = LabelStage(settings, {}, store, self.publish, self.metrics)
        stored = StoredBaselines(store.client, self.config.worker.group)
        self.references = References(self.baselines, stored, self.versions)
        self.judge = JudgeStage(JudgeSettings.of(self.config), self.references, store, self.publish, self.metrics)
        self.sketch.level = self.labels.level = self.judge.level = self.level
        self.configuration = Configuration(
            SketchSettings.of(self.config), self.references, self.sketch, self.judge, self.publish
        )
        self.configuration.level = self.level
        self.sketch.facts = TickFacts(len(self._partitions), self.panes_partitions)
        self.labels.facts = TickFacts(len(self._label_partitions), self.panes_partitions)

    async def assign(self) -> None:
        """Take over every partition."""
        topics = self.config.topics
        starts = await self.sketch.take_over(self._partitions)
        self._read = {TP(topics.predictions, partition): max(at.offset, self.first) for partition, at in starts.items()}
        starts = await self.labels.take_over(self._label_partitions)
        self._read |= {TP(topics.labels, partition): at.offset for partition, at in starts.items()}
        starts = await self.judge.take_over(range(self.panes_partitions))
        self._read |= {TP(topics.panes, partition): at.offset for partition, at in starts.items()}
        await self.judge.drain_outboxes()

    async def announce(self) -> None:
        """Say what models are compared with, as a worker does before its first pane."""
        await self.configuration.announce()

    async def reload(
        self,
        baselines: Mapping[str, Baseline],
        versions: Versions = NO_VERSIONS,
        calendar_of: CalendarOf = every_day,
    ) -> None:
        """Go on with other baselines and calendars, as a worker does at SIGHUP."""
        settings = SketchSettings.of(self.config), JudgeSettings.of(self.config, calendar_of)
        await self.configuration.replace(*settings, baselines, versions)
        await self.labels.reload(SketchSettings.of_labels(self.config))

    async def release(self) -> None:
        """Give up every partition."""
        await self.sketch.release()
        await self.labels.release()
        await self.judge.release()

    async def work(self) -> None:
        """Take over, and work until everything is read."""
        await self.assign()
        while any([await each for each in self._reading()]):
            while any([await self.judge_next(partition) for partition in range(self.panes_partitions)]):
                pass

    def _reading(self) -> Iterator[Coroutine[Any, Any, bool]]:
        yield from (self.sketch_next(partition) for partition in self._partitions)
        yield from (self.labels_next(partition) for partition in self._label_partitions)

    @property
    def open_incidents(self) -> float:
        """How many incidents are open by its metrics."""
        (own,) = [each for each in self.metrics.registry.collect() if each.name == "driftline_incidents_open"]
        return sum(each.value for each in own.samples)

    async def send_ticks(self, asked: int) -> None:
        """Send the ticks that are due, once Kafka was asked for the ends of its logs. asked: when, epoch ms."""
        names = self.config.topics
        for stage, topic, first in ((self.sketch, names.predictions, self.first), (self.labels, names.labels, 0)):
            stage.asked_for_ends({p: first + len(log) for p, log in self.topics.get(topic, {}).items()}, asked)
            await stage.send_ticks()

    async def sketch_next(self, partition: int = 0) -> bool:
        """Sketch what the next fetch brings of a partition of the predictions topic; whether it brought something."""
        fetch = self._fetch(TP(self.config.topics.predictions, partition), self.first)
        if fetch is not None:
            await self.sketch.sketch(fetch)
        return fetch is not None

    async def labels_next(self, partition: int = 0) -> bool:
        """Take what the next fetch brings of a partition of the labels topic; whether it brought something."""
        fetch = self._fetch(TP(self.config.topics.labels, partition), 0)
        if fetch is not None:
            await self.labels.sketch(fetch)
        return fetch is not None

    async def judge_next(self, partition: int = 0) -> bool:
        """Judge what the next fetch brings of a partition of the panes topic; whether it brought something."""
        fetch = self._fetch(TP(self.config.topics.panes, partition), 0)
        for batch in split(fetch) if fetch is not None else ():
            await self.judge.judge(batch)
        return fetch is not None

    @property
    def _partitions(self) -> list[int]:
        return sorted(self.topics[self.config.topics.predictions])

    @property
    def _label_partitions(self) -> list[int]:
        return sorted(self.topics.get(self.config.topics.labels, {}))

    def _fetch(self, tp: TP, first: int) -> Fetch | None:
        at = self._read[tp]
        records = [
            ConsumerRecord(
                tp.topic, tp.partition, offset, self.step_ms * offset, 0, each.key, each.value, None, 0, 0, ()
            )
            for offset, each in enumerate(
                self.topics[tp.topic].get(tp.partition, [])[at - first :][: self.fetch_size], at
            )
        ]
        self._read[tp] = at + len(records)
        end = first + len(self.topics[tp.topic].get(tp.partition, []))
        return Fetch(tp, records, end if self.reports_end else None) if records else None

    async def publish(self, messages: Iterable[OutgoingRecord]) -> None:
        for message in messages:
            with self.step(message.topic):
                partitions = self.panes_partitions if message.topic == self.config.topics.panes else 1
                chosen = zlib.crc32(message.key or b"") % partitions
                partition = chosen if message.partition is None else message.partition
                self.topics[message.topic].setdefault(partition, []).append(message)

    def step(self, name: str) -> _Step:
        """A context for something with an effect outside of this process."""
        self.steps += 1
        error = asyncio.CancelledError if self.gives_up else Crash
        return _Step(error if self.crash_at in (self.steps, name) else None, late=self.late)


@dataclass
class _Step:
    error: type[BaseException] | None
    late: bool

    def __enter__(self) -> None:
        if self.error is not None and not self.late:
            raise self.error

    def __exit__(self, *_: object) -> None:
        if self.error is not None:
            raise self.error


@dataclass
class _Crashing:
    """A client whose every call is a step."""

    client: Client
    driver: Driver

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            with self.driver.step(name):
                return await getattr(self.client, name)(*args)

        return call
