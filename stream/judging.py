"""The worker's second stage: panes change the memory of their models, and alerts go out.

    take over: epoch, next offset ──► judge panes ──► commit memories, offset and alerts, atomically ──► publish alerts

Rule 1: an alert is published only from the outbox, into which the commit that decided it has put it.
Rule 2: the outbox is emptied only of what is acknowledged; so an alert goes out at least once, always with the same bytes.
Rule 3: what a pane did, it did wholly or not at all; after a crash the panes from the committed offset on come again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from stream.alerts import CONTENT_TYPE, alert, key_of, to_line
from stream.app import Message
from stream.letters import dead_letter
from stream.baseline import Baseline
from stream.config import Config, model_config
from stream.memory import OtherBaseline, diff, load
from stream.metrics import Metrics
from stream.monitor import Memory, Monitor
from stream.store import JudgeRecord, Store
from stream.transport import Run as Fetched
from stream.wire import PaneMessage, WireError

Publish = Callable[[Iterable[Message]], Awaitable[None]]


@dataclass
class _Partition:
    """One partition of the panes topic in this worker's care: its models' memories, as stored."""

    record: JudgeRecord
    memories: dict[str, Memory] = field(default_factory=dict)
    # Of models whose stored memory is of another baseline: with what to begin anew, until the next commit replaces it.
    anew: dict[str, Memory] = field(default_factory=dict)

    def remembered(self, model: str) -> Memory:
        """A model's memory, an empty one for a model never seen."""
        return self.memories.get(model) or self.anew.get(model) or Memory()


class JudgeStage:
    """Judges the panes partitions assigned to this worker. baselines: given ones, by model, as they are watched."""

    def __init__(
        self, config: Config, baselines: Mapping[str, Baseline], store: Store, publish: Publish, metrics: Metrics
    ) -> None:
        self._config, self._baselines, self._store, self._publish = config, baselines, store, publish
        self._metrics, self._partitions = metrics, dict[int, _Partition]()
        self._monitors: dict[str, Monitor] = {}

    async def assigned(self, partitions: Iterable[int]) -> dict[int, int]:
        """Take over partitions and publish what is left in their outboxes; the offset to go on from, by partition."""
        self._partitions = {}
        for partition in sorted(partitions):
            record = await self._store.take_judge(self._config.topics.panes, partition)
            taken = _Partition(record)
            for model in await record.models():
                await self._remember(taken, model)
            self._partitions[partition] = taken
        return {partition: each.record.next_offset or 0 for partition, each in self._partitions.items()}

    async def resume(self) -> None:
        """Publish what earlier owners left in the outboxes."""
        for partition in self._partitions.values():
            await self._empty_outbox(partition.record)

    async def _remember(self, partition: _Partition, model: str) -> None:
        try:
            partition.memories[model] = load(await partition.record.parts(model), self._baselines.get(model))
        except OtherBaseline as other:
            # A new baseline begins a new history; what was delivered, and how far alerts are numbered, still holds.
            partition.anew[model] = Memory(other.delivered, alerts=other.alerts)

    async def take(self, fetched: Fetched) -> None:
        """Judge fetched panes; their effect is committed and their alerts are published on return."""
        partition = self._partitions[fetched.tp.partition]
        changed, alerts, letters = dict[str, Memory](), list[bytes](), list[Message]()
        started = time.perf_counter()
        for record in fetched.records:
            try:
                message = PaneMessage.from_bytes(record.value or b"")
                memory = changed.get(message.model) or partition.remembered(message.model)
                changed[message.model], told = self._judge(message, memory)
                alerts += told
            except WireError as error:
                letters.append(dead_letter(record, str(error)))
        self._metrics.judged(fetched, time.perf_counter() - started)
        await self._publish(letters)
        await self._commit(partition, fetched.next_offset, changed, alerts)

    def _judge(self, message: PaneMessage, memory: Memory) -> tuple[Memory, list[bytes]]:
        monitor = self._monitor(message.model)
        baseline = monitor.baseline(memory)
        if message.baseline and (baseline is None or baseline.content_hash != message.baseline):
            raise WireError(f"a pane of {message.model!r} against another baseline than this worker has")
        memory, steps = monitor.take(memory, message.pane(baseline.layout if message.baseline and baseline else None))
        against = monitor.baseline(memory)
        now = time.time_ns() // 1_000_000
        told = [
            to_line(alert(against, step, mode="live", topic=message.topic, emitted_at=now)) for step in steps if against
        ]
        self._metrics.told(steps)
        return memory, told

    def _monitor(self, model: str) -> Monitor:
        if model not in self._monitors:
            given = self._baselines.get(model)
            self._monitors[model] = Monitor(model, model_config(self._config, model), given)
        return self._monitors[model]

    async def _commit(
        self, partition: _Partition, next_offset: int, changed: Mapping[str, Memory], alerts: list[bytes]
    ) -> None:
        started = time.perf_counter()
        old = partition.memories
        changes = {model: diff(old.get(model), memory, self._baselines.get(model)) for model, memory in changed.items()}
        await partition.record.commit(next_offset, changes, alerts)
        for model, memory in changed.items():
            if memory.learned is not None and (model not in old or old[model].learned is None):
                await self._store.put_learned(model, memory.learned.to_bytes())
        partition.memories = {**old, **changed}
        self._metrics.committed(time.perf_counter() - started, changes, self._incidents())
        if alerts:
            await self._empty_outbox(partition.record)

    def _incidents(self) -> int:
        memories = (memory for partition in self._partitions.values() for memory in partition.memories.values())
        return sum(memory.state is not None and memory.state.incident is not None for memory in memories)

    async def _empty_outbox(self, record: JudgeRecord) -> None:
        while alerts := await record.outbox():
            await self._publish(_as_message(self._config.topics.alerts, each.message) for each in alerts)
            await record.sent(alerts[-1].position)


def _as_message(topic: str, line: bytes) -> Message:
    return Message(topic, key_of(line), line, [("content-type", CONTENT_TYPE.encode())])
