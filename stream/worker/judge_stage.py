"""The worker's second stage: panes change the memory of their models, and alerts go out.

    take over: epoch, next offset ──► judge panes ──► commit memories, offset and alerts, atomically ──► publish alerts

Rule 1: an alert is published only from the outbox, into which the commit that decided it has put it.
Rule 2: the outbox is emptied only of what is acknowledged; so an alert goes out once or more, with the same bytes.
Rule 3: what a pane did, it did wholly or not at all; after a crash the panes from the committed offset on come again.
Rule 4: taking over, panes and the emptying of outboxes wait for each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from driftline.stream.alerts.build import CONTENT_TYPE, build_alert, encode_alert
from driftline.stream.alerts.read import key_of
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.panes import FormatError, PaneMessage
from driftline.stream.codec.state import BaselineChangedError, restore_state, state_delta
from driftline.stream.config.sections import Config
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.judge import DependenceCache
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.kafka.dead_letters import dead_letter
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.state.store import DecidedAlert, JudgePartition, ResumePosition, Store
from driftline.stream.worker.faust.transport import Fetch
from driftline.stream.worker.metrics import Metrics

Publish = Callable[[Iterable[OutgoingRecord]], Awaitable[None]]
#: How the dead letter begins of a pane that came before its turn.
OUT_OF_ORDER = "before its turn"
# Panes judged and committed at once. One takes 1 ms, or 1 s when it is a model's first and its thresholds have to be
# derived; a commit takes 1 ms. A fetch may bring thousands: all at once, the watchdog would see a stall.
_BATCH = 20
# Memories read from Redis at once, so that a distant one does not make thousands of models wait for each other. A
# worker has 32 connections; one that finds none waits.
_AT_ONCE = 32


@dataclass
class _Partition:
    """One partition of the panes topic in this worker's care: its models' memories, as stored.

    outbox_pending: whether its outbox may hold alerts of an earlier owner.
    """

    record: JudgePartition
    outbox_pending: bool = True
    memories: dict[str, ModelState] = field(default_factory=dict)
    # Of models whose stored memory is of another baseline: with what to begin anew, until the next commit replaces it.
    anew: dict[str, ModelState] = field(default_factory=dict)

    def has_state(self, model: str) -> bool:
        """Whether a model has a memory."""
        return model in self.memories or model in self.anew

    def state_of(self, model: str) -> ModelState:
        """A model's memory, an empty one for a model never seen."""
        return self.memories.get(model) or self.anew.get(model) or ModelState()


class JudgeStage:
    """Judges the panes partitions assigned to this worker. baselines: given ones, by model, as they are watched."""

    def __init__(
        self, config: Config, baselines: Mapping[str, Baseline], store: Store, publish: Publish, metrics: Metrics
    ) -> None:
        self._config, self._baselines, self._store, self._publish = config, baselines, store, publish
        self._metrics, self._partitions = metrics, dict[int, _Partition]()
        self._monitors: dict[str, Monitor] = {}
        self._dependences = DependenceCache()
        self._busy = asyncio.Lock()

    async def take_over(self, partitions: Iterable[int]) -> dict[int, ResumePosition]:
        """Take over partitions; where to go on, by partition: at what was not yet committed, or at 0."""
        async with self._busy:
            self._partitions = {partition: await self._take_over(partition) for partition in sorted(partitions)}
            self._metrics.open_incidents(self._incidents())
            offsets = {partition: each.record.next_offset or 0 for partition, each in self._partitions.items()}
            return {partition: ResumePosition(offset, offset) for partition, offset in offsets.items()}

    async def release(self) -> None:
        """Let go of all partitions, once what is in work is done."""
        async with self._busy:
            self._partitions = {}
            self._metrics.open_incidents(0)

    async def _take_over(self, partition: int) -> _Partition:
        taken = _Partition(await self._store.claim_judge(self._config.topics.panes, partition))
        models = await taken.record.models()
        for first in range(0, len(models), _AT_ONCE):
            await asyncio.gather(*(self._remember(taken, model) for model in models[first : first + _AT_ONCE]))
        return taken

    async def _remember(self, partition: _Partition, model: str) -> None:
        try:
            memory = partition.memories[model] = restore_state(
                await partition.record.state_parts(model), self._baselines.get(model)
            )
        except BaselineChangedError as other:
            memory = partition.anew[model] = other.fresh_state
        if memory.learned is not None:
            # Who committed it may have died before the sketchers were given it.
            await self._store.save_learned(model, encode_baseline(memory.learned))

    async def drain_outboxes(self) -> None:
        """Publish what earlier owners left in the outboxes."""
        async with self._busy:
            for partition in self._partitions.values():
                if partition.outbox_pending:
                    await self._empty_outbox(partition)

    async def judge(self, batch: Fetch) -> None:
        """Judge fetched panes; their effect is committed and their alerts are published on return."""
        async with self._busy:
            partition = self._partitions[batch.tp.partition]
            started = time.perf_counter()
            changed, alerts, letters = await self._judge_all(partition, batch)
            self._metrics.judged(batch, time.perf_counter() - started)
            self._metrics.dead_lettered(len(letters))
            await self._publish(letters)
            await self._commit(partition, batch.next_offset, changed, alerts)
            if alerts:
                await self._empty_outbox(partition)

    async def _judge_all(
        self, partition: _Partition, batch: Fetch
    ) -> tuple[dict[str, ModelState], list[DecidedAlert], list[OutgoingRecord]]:
        """Memories that changed, by model, alerts, and dead letters of what is no pane or is of another baseline."""
        changed, alerts, letters = dict[str, ModelState](), list[DecidedAlert](), list[OutgoingRecord]()
        for record in batch.records:
            await asyncio.sleep(0)  # the event loop must not stand still for all of them
            try:
                message = PaneMessage.from_bytes(record.value or b"")
                memory = changed.get(message.model) or self._remembered(partition, changed, message.model)
                # The record's time, not the clock's: decided again after a loss, an alert is the same to the byte.
                changed[message.model], told = self._judge(message, memory, record.timestamp)
                alerts += told
            except FormatError as error:
                letters.append(dead_letter(batch.tp, record, str(error)))
        return changed, alerts, letters

    def _remembered(self, partition: _Partition, changed: Collection[str], model: str) -> ModelState:
        """A model's memory. FormatError for one that there is no room for: each event may be of a model of its own."""
        if model not in self._baselines and not partition.has_state(model):
            most, known = self._config.worker.unknown_models, {*partition.memories, *partition.anew, *changed}
            if len(known - self._baselines.keys()) >= most:
                raise FormatError(
                    f"model {model!r} has no baseline, and {most} such models are remembered: correct its name, give "
                    "it a baseline, or raise worker.unknown_models"
                )
        return partition.state_of(model)

    def _judge(self, message: PaneMessage, memory: ModelState, appended: int) -> tuple[ModelState, list[DecidedAlert]]:
        monitor = self._monitor(message.model)
        baseline = monitor.baseline(memory)
        if message.baseline and (baseline is None or baseline.content_hash != message.baseline):
            raise FormatError(f"a pane of {message.model!r} against another baseline than this worker has")
        _check_order(message, memory.consumed.get(message.run.partition, 0))
        memory, steps = monitor.judge(memory, message.pane(baseline.layout if message.baseline and baseline else None))
        self._metrics.decided(steps)
        alerts = (build_alert(monitor, step, mode="live", topic=message.topic, emitted_at=appended) for step in steps)
        return memory, list(map(_decided, alerts))

    def _monitor(self, model: str) -> Monitor:
        if model not in self._monitors:
            given = self._baselines.get(model)
            self._monitors[model] = Monitor(model, self._config.for_model(model), given, self._dependences)
        return self._monitors[model]

    async def _commit(
        self, partition: _Partition, next_offset: int, changed: Mapping[str, ModelState], alerts: list[DecidedAlert]
    ) -> None:
        started = time.perf_counter()
        old = partition.memories
        changes = {
            model: state_delta(old.get(model), memory, self._baselines.get(model)) for model, memory in changed.items()
        }
        await partition.record.commit(next_offset, changes, alerts)
        for model, memory in changed.items():
            if memory.learned is not None and (model not in old or old[model].learned is None):
                await self._store.save_learned(model, encode_baseline(memory.learned))
        partition.memories = {**old, **changed}
        self._metrics.committed(time.perf_counter() - started, changes)
        self._metrics.open_incidents(self._incidents())

    def _incidents(self) -> int:
        memories = (memory for partition in self._partitions.values() for memory in partition.memories.values())
        return sum(each.told for memory in memories if memory.judge for each in memory.judge.incidents.values())

    async def _empty_outbox(self, partition: _Partition) -> None:
        while alerts := await partition.record.outbox():
            await self._publish(_as_message(self._config.topics.alerts, each.message) for each in alerts)
            await partition.record.confirm_published(alerts[-1].position)
        partition.outbox_pending = False


def split(fetched: Fetch) -> Iterator[Fetch]:
    """The fetched panes in portions to judge and commit at once."""
    for first in range(0, len(fetched.records), _BATCH):
        yield replace(fetched, records=fetched.records[first : first + _BATCH])


def _check_order(message: PaneMessage, had: int) -> None:
    """FormatError for a pane that the judge cannot take, having had its model's events of the partition up to `had`."""
    run = message.run
    if had < message.previous_end:
        raise FormatError(
            f"{OUT_OF_ORDER}: the pane before it, up to offset {message.previous_end}, was lost on its way, and both "
            "are sent again; or that is a dead letter too"
        )
    if run.start < had < run.end:
        raise FormatError(f"a pane of offsets {run.start} to {run.end}, of which those before {had} were judged before")


def _decided(alert: IncidentAlert) -> DecidedAlert:
    return DecidedAlert(encode_alert(alert), alert.data.incident_id, resolved=alert.data.status is Status.RESOLVED)


def _as_message(topic: str, line: bytes) -> OutgoingRecord:
    return OutgoingRecord(topic, key_of(line), line, [("content-type", CONTENT_TYPE.encode())])
