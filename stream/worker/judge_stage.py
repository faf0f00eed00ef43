"""The worker's second stage judges panes, keeps the state of their models, and publishes alerts.

    take over: epoch, next offset ──► judge panes ──► commit states, offset and alerts, atomically ──► publish alerts

Rule 1: an alert is published only from the outbox, where the commit that decided it has put it.
Rule 2: an alert leaves the outbox once Kafka has acknowledged it; so it goes out at least once, with the same bytes.
Rule 3: a pane takes effect wholly or not at all; after a crash, panes come again from the committed offset on.
Rule 4: takeovers, panes and the draining of outboxes exclude each other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from driftline.stream.alerts.build import CONTENT_TYPE, build_alert, encode_alert
from driftline.stream.alerts.read import key_of
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.panes import FormatError, PaneMessage
from driftline.stream.codec.state import BaselineChangedError, restore_state, state_delta
from driftline.stream.config.remarks import Remark, SignalKinds, unused_settings
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.judge import DependenceCache
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.kafka.dead_letters import dead_letter
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.state.store import DecidedAlert, JudgePartition, ResumePosition, Store
from driftline.stream.worker.faust.transport import Fetch
from driftline.stream.worker.metrics import Metrics

log = logging.getLogger(__name__)

Publish = Callable[[Iterable[OutgoingRecord]], Awaitable[None]]
#: How the reason of a dead letter begins if its pane came before an earlier one of its model.
OUT_OF_ORDER = "before its turn"
# Panes judged and committed at once. One takes 1 ms, or 1 s when it is a model's first and its thresholds have to be
# derived; a commit takes 1 ms. A fetch may bring thousands: judged all at once, they would look to the watchdog like a
# stall.
_BATCH = 20
# States read from Redis at once, so that thousands of models do not wait for each other on a distant Redis. A worker
# has 32 connections; a call that finds none waits.
_AT_ONCE = 32


@dataclass(frozen=True)
class JudgeSettings:
    """What the stage takes from the configuration.

    panes, alerts: topics. unknown_models: how many models without a baseline may have a state. for_model: the
    configuration of a model. unused_settings: what of it has no effect, given the signals of models.
    """

    panes: str
    alerts: str
    unknown_models: int
    for_model: Callable[[str], ModelConfig]
    unused_settings: Callable[[Mapping[str, SignalKinds]], Iterable[Remark]]

    @classmethod
    def of(cls, config: Config) -> Self:
        topics, unused = config.topics, partial(unused_settings, config)
        return cls(topics.panes, topics.alerts, config.worker.unknown_models, config.for_model, unused)


@dataclass
class _Partition:
    """One partition of the panes topic that this worker owns, and its models' states as they are stored.

    outbox_pending: whether its outbox may hold alerts of an earlier owner. invalidated: what models start over with
    whose stored state was made against another baseline, until the next commit replaces that.
    """

    record: JudgePartition
    outbox_pending: bool = True
    states: dict[str, ModelState] = field(default_factory=dict)
    invalidated: dict[str, ModelState] = field(default_factory=dict)

    def has_state(self, model: str) -> bool:
        """Whether a state of this model is stored."""
        return model in self.states or model in self.invalidated

    def state_of(self, model: str) -> ModelState:
        """A model's state, an empty one for a model never seen."""
        return self.states.get(model) or self.invalidated.get(model) or ModelState()


class JudgeStage:
    """Judges the panes partitions assigned to this worker.

    baselines: those given in the configuration, by model, without the signals that are not watched.
    """

    def __init__(
        self,
        settings: JudgeSettings,
        baselines: Mapping[str, Baseline],
        store: Store,
        publish: Publish,
        metrics: Metrics,
    ) -> None:
        self._settings, self._baselines, self._store, self._publish = settings, baselines, store, publish
        self._metrics, self._partitions = metrics, dict[int, _Partition]()
        self._monitors: dict[str, Monitor] = {}
        self._dependences = DependenceCache()
        self._busy = asyncio.Lock()

    async def take_over(self, partitions: Iterable[int]) -> dict[int, ResumePosition]:
        """Take over partitions; returns where to resume each: at the committed offset, or at 0."""
        async with self._busy:
            self._partitions = {partition: await self._take_over(partition) for partition in sorted(partitions)}
            self._count_incidents()
            offsets = {partition: each.record.next_offset or 0 for partition, each in self._partitions.items()}
            return {partition: ResumePosition(offset, offset) for partition, offset in offsets.items()}

    async def release(self) -> None:
        """Give up all partitions, once the batch in work is done."""
        async with self._busy:
            self._partitions = {}
            self._count_incidents()

    async def _take_over(self, partition: int) -> _Partition:
        owned = _Partition(await self._store.claim_judge(self._settings.panes, partition))
        models = await owned.record.models()
        for first in range(0, len(models), _AT_ONCE):
            await asyncio.gather(*(self._restore(owned, model) for model in models[first : first + _AT_ONCE]))
        return owned

    async def _restore(self, partition: _Partition, model: str) -> None:
        parts = await partition.record.state_parts(model)
        try:
            state = partition.states[model] = restore_state(parts, self._baselines.get(model))
        except BaselineChangedError as changed:
            state = partition.invalidated[model] = changed.fresh_state
        if state.learned is not None:
            # The worker that committed it may have died before it passed the baseline to the sketchers.
            await self._store.save_learned(model, encode_baseline(state.learned))

    async def drain_outboxes(self) -> None:
        """Publish the alerts that earlier owners left in the outboxes."""
        async with self._busy:
            for partition in self._partitions.values():
                if partition.outbox_pending:
                    await self._drain_outbox(partition)

    async def judge(self, batch: Fetch) -> None:
        """Judge fetched panes; on return, their effect is committed and their alerts are published."""
        async with self._busy:
            partition = self._partitions[batch.tp.partition]
            started = time.perf_counter()
            changed, alerts, dead_letters = await self._judge_all(partition, batch)
            self._metrics.judged(batch, time.perf_counter() - started)
            self._metrics.dead_lettered(len(dead_letters))
            await self._publish(dead_letters)
            await self._commit(partition, batch.next_offset, changed, alerts)
            if alerts:
                await self._drain_outbox(partition)

    async def _judge_all(
        self, partition: _Partition, batch: Fetch
    ) -> tuple[dict[str, ModelState], list[DecidedAlert], list[OutgoingRecord]]:
        """The states that changed, by model; alerts; dead letters of records that are no pane, or unusable ones."""
        changed, alerts, dead_letters = dict[str, ModelState](), list[DecidedAlert](), list[OutgoingRecord]()
        for record in batch.records:
            await asyncio.sleep(0)  # lets the event loop do other work between two panes
            try:
                message = PaneMessage.from_bytes(record.value or b"")
                state = changed.get(message.model) or self._state(partition, changed, message.model)
                # The record's time, not the clock's: decided again after a loss, an alert is the same to the byte.
                changed[message.model], decided = self._judge(message, state, record.timestamp)
                alerts += decided
            except FormatError as error:
                dead_letters.append(dead_letter(batch.tp, record, str(error)))
        return changed, alerts, dead_letters

    def _state(self, partition: _Partition, changed: Collection[str], model: str) -> ModelState:
        """A model's state. Raises FormatError if there is no room for one: each event may name a model of its own."""
        if model not in self._baselines and not partition.has_state(model):
            limit, known = self._settings.unknown_models, {*partition.states, *partition.invalidated, *changed}
            if len(known - self._baselines.keys()) >= limit:
                raise FormatError(
                    f"model {model!r} has no baseline, and {limit} such models are remembered: correct its name, give "
                    "it a baseline, or raise worker.unknown_models"
                )
        return partition.state_of(model)

    def _judge(self, message: PaneMessage, state: ModelState, appended: int) -> tuple[ModelState, list[DecidedAlert]]:
        """The model's state after a pane, and the alerts it raises. appended: when it was written, epoch ms."""
        monitor = self._monitor(message.model)
        baseline = monitor.baseline(state)
        if message.baseline and (baseline is None or baseline.content_hash != message.baseline):
            raise FormatError(f"a pane of {message.model!r} against another baseline than this worker has")
        _check_order(message, state.consumed.get(message.run.partition, 0))
        state, steps = monitor.judge(state, message.pane(baseline.layout if message.baseline and baseline else None))
        self._metrics.decided(steps)
        alerts = (build_alert(monitor, step, mode="live", topic=message.topic, emitted_at=appended) for step in steps)
        return state, list(map(_decided, alerts))

    def _monitor(self, model: str) -> Monitor:
        if model not in self._monitors:
            given = self._baselines.get(model)
            self._monitors[model] = Monitor(model, self._settings.for_model(model), given, self._dependences)
        return self._monitors[model]

    async def _commit(
        self, partition: _Partition, next_offset: int, changed: Mapping[str, ModelState], alerts: list[DecidedAlert]
    ) -> None:
        started, old = time.perf_counter(), partition.states
        deltas = {
            model: state_delta(old.get(model), state, self._baselines.get(model)) for model, state in changed.items()
        }
        await partition.record.commit(next_offset, deltas, alerts)
        for model, state in changed.items():
            if state.learned is not None and (model not in old or old[model].learned is None):
                await self._store.save_learned(model, encode_baseline(state.learned))
                self._log_learned(state.learned)
            elif not state.sample and (refusal := self._monitor(model).refusal):
                log.warning("model %s: no baseline can be learned from its events: %s", model, refusal)
        partition.states = {**old, **changed}
        self._metrics.committed(time.perf_counter() - started, deltas)
        self._count_incidents()

    def _log_learned(self, baseline: Baseline) -> None:
        log.info("model %s: its baseline is learned from its first %d events", baseline.model, baseline.total.n)
        for remark in self._settings.unused_settings({baseline.model: baseline.signal_kinds}):
            log.warning("%s", remark)

    def _count_incidents(self) -> None:
        states = (state for partition in self._partitions.values() for state in partition.states.values())
        incidents = (each for state in states if state.judge for each in state.judge.incidents.values())
        self._metrics.open_incidents(sum(each.reported for each in incidents))

    async def _drain_outbox(self, partition: _Partition) -> None:
        while alerts := await partition.record.outbox():
            await self._publish(_alert_record(self._settings.alerts, each.message) for each in alerts)
            await partition.record.confirm_published(alerts[-1].position)
        partition.outbox_pending = False


def split(fetch: Fetch) -> Iterator[Fetch]:
    """The panes of a fetch in batches to judge and commit at once."""
    for first in range(0, len(fetch.records), _BATCH):
        yield replace(fetch, records=fetch.records[first : first + _BATCH])


def _check_order(message: PaneMessage, consumed: int) -> None:
    """Raises FormatError if the judge cannot use a pane. consumed: end of the model's last pane of that partition."""
    run = message.run
    if consumed < message.previous_end:
        raise FormatError(
            f"{OUT_OF_ORDER}: the pane before it, up to offset {message.previous_end}, was lost on its way, and both "
            "are sent again; or that is a dead letter too"
        )
    if run.start < consumed < run.end:
        raise FormatError(
            f"a pane of offsets {run.start} to {run.end}, of which those before {consumed} were judged before"
        )


def _decided(alert: IncidentAlert) -> DecidedAlert:
    return DecidedAlert(encode_alert(alert), alert.data.incident_id, resolved=alert.data.status is Status.RESOLVED)


def _alert_record(topic: str, line: bytes) -> OutgoingRecord:
    return OutgoingRecord(topic, key_of(line), line, [("content-type", CONTENT_TYPE.encode())])
