"""The worker's second stage judges panes, keeps the state of their models, and publishes alerts.

    take over: epoch, next offset ──► judge panes ──► commit states, offset and alerts, atomically ──► publish alerts

Rule 1: an alert is published only from the outbox, where the commit that decided it has put it.
Rule 2: an alert leaves the outbox once Kafka has acknowledged it; so it goes out at least once, with the same bytes.
Rule 3: a pane takes effect wholly or not at all; after a crash, panes come again from the committed offset on.
Rule 4: takeovers, panes and the draining of outboxes exclude each other.
Rule 5: a model that is forgotten leaves its sketchers' baseline before its state; if the worker dies between the two,
the next owner passes the baseline on again, and forgets the model again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Self

from driftline.stream.alerts.build import CONTENT_TYPE, encode_alert
from driftline.stream.alerts.read import key_of
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.levels import NEWEST
from driftline.stream.codec.panes import PaneMessage, ReferenceMessage, pack_tick, read_message, unpack_tick
from driftline.stream.codec.schema import pack_schema, unpack_schema
from driftline.stream.codec.state import FORGET, StateDelta, restore_state, state_delta
from driftline.stream.config.remarks import unused_settings
from driftline.stream.config.sections import Config
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.outcome_state import OutcomesState
from driftline.stream.judge.pace import pace_of
from driftline.stream.judge.promise import Promise
from driftline.stream.judge.roster import NoRoomError, Room, Roster
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.waiting import Waiting
from driftline.stream.kafka.dead_letters import dead_letter
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.tick import Marks, Tick, is_same_log
from driftline.stream.partitions.monitors import Monitors, Rules
from driftline.stream.partitions.panes_judge import Message, PanesJudge
from driftline.stream.partitions.remembered import Changes, Remembered
from driftline.stream.state.store import JudgePartition, Store
from driftline.stream.state.values import DecidedAlert, ResumePosition
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.judge_log import UnusedSettings, log_changes, log_yielding
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.references import References

log = logging.getLogger(__name__)

Publish = Callable[[Iterable[OutgoingRecord]], Awaitable[None]]
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

    panes, alerts: topics. room: for models without a given baseline. unused_settings: what of the configuration has no
    effect, given the signals of models.
    """

    panes: str
    alerts: str
    room: Room
    rules: Rules
    unused_settings: UnusedSettings

    @classmethod
    def of(cls, config: Config, calendar_of: CalendarOf = every_day) -> Self:
        topics, unused = config.topics, partial(unused_settings, config)
        return cls(topics.panes, topics.alerts, Room.of(config), Rules.of(config, calendar_of), unused)


@dataclass
class _Partition:
    """One partition of the panes topic that this worker owns, and what is stored of it.

    outbox_pending: whether its outbox may hold alerts of an earlier owner. fields: of the predictions topic, as this
    worker has stored them; None before.
    """

    record: JudgePartition
    remembered: Remembered
    outbox_pending: bool = True
    fields: tuple[tuple[str, str], ...] | None = None


class JudgeStage:
    """Judges the panes partitions assigned to this worker.

    references: the baselines given in the configuration, without the signals that are not watched. level: the group's
    format level, which may rise while the stage works. logs: by topic of events or labels, as in `SketchStage`.
    """

    level: int = NEWEST
    logs: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        settings: JudgeSettings,
        references: References,
        store: Store,
        publish: Publish,
        metrics: Metrics,
    ) -> None:
        self._settings, self._references, self._store, self._publish = settings, references, store, publish
        self._metrics, self._partitions = metrics, dict[int, _Partition]()
        self._monitors = Monitors(settings.rules, references.known)
        self._busy = asyncio.Lock()

    async def take_over(self, partitions: Iterable[int]) -> dict[int, ResumePosition]:
        """Take over partitions; returns where to resume each: at the committed offset, or at 0."""
        async with self._busy:
            self._partitions = {partition: await self._take_over(partition) for partition in sorted(partitions)}
            self._keep_references()
            self._monitors.keep_only({model for each in self._remembered for model in each.states})
            self._count_incidents()
            offsets = {partition: each.record.next_offset or 0 for partition, each in self._partitions.items()}
            return {partition: ResumePosition(offset, offset) for partition, offset in offsets.items()}

    @property
    def _remembered(self) -> list[Remembered]:
        return [each.remembered for each in self._partitions.values()]

    def _keep_references(self) -> None:
        in_effect = (each for owned in self._remembered for each in owned.references.values())
        self._references.known.keep(hash_ for each in in_effect for hash_ in each.baselines.values())

    async def reload(
        self, settings: JudgeSettings, baselines: Mapping[str, Baseline], versions: Versions = NO_VERSIONS
    ) -> None:
        """Go on with a configuration that was loaded again; its baselines are in effect once their records come."""
        async with self._busy:
            self._settings = settings
            self._references.known.replace(baselines, versions)
            self._monitors.reload(settings.rules)

    async def release(self) -> None:
        """Give up all partitions, once the batch in work is done."""
        async with self._busy:
            self._partitions = {}
            self._count_incidents()

    async def _take_over(self, partition: int) -> _Partition:
        record = await self._store.claim_judge(self._settings.panes, partition, self.level)
        remembered = Remembered(partition, Roster(self._settings.room))
        remembered.marks = Marks().after(*map(unpack_tick, await record.marks()))
        remembered.schema = unpack_schema(self._settings.rules.predictions, await record.topics())
        for model, stored in (await record.references()).items():
            remembered.references[model] = ReferenceMessage.from_bytes(stored)
            await self._load(remembered.references[model])
        owned, models, seen = _Partition(record, remembered), await record.models(), await record.seen()
        for first in range(0, len(models), _AT_ONCE):
            some = models[first : first + _AT_ONCE]
            await asyncio.gather(*(self._restore(owned, model, seen.get(model)) for model in some))
        return owned

    async def _load(self, reference: ReferenceMessage) -> None:
        await self._references.find(reference.model, reference.baselines.values())
        try:
            self._references.known.check(reference)
        except FormatError as error:
            log.error("%s; until then, its panes become dead letters", error)

    async def _restore(self, partition: _Partition, model: str, seen: int | None) -> None:
        remembered, parts = partition.remembered, await partition.record.state_parts(model)
        record = remembered.references.get(model)
        given = self._references.known.of(model, record)
        state = remembered.states[model] = await asyncio.to_thread(restore_state, parts, given)
        if not (record.baselines if record else given):
            remembered.enter(model, state, seen)
        if state.learned is not None:
            # The worker that committed it may have died before it passed the baseline to the sketchers.
            await self._store.save_learned(model, parts["learned"])

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
            started, self._monitors.level = time.perf_counter(), self.level
            changes, dead_letters = await self._judge_all(partition, batch)
            self._metrics.judged(batch, time.perf_counter() - started)
            self._metrics.decided(changes.alerts)
            self._metrics.dead_lettered(len(dead_letters))
            await self._publish(dead_letters)
            await self._commit(partition, batch.next_offset, changes)
            if changes.alerts:
                await self._drain_outbox(partition)

    async def _judge_all(self, partition: _Partition, batch: Fetch) -> tuple[Changes, list[OutgoingRecord]]:
        """What the panes change. Records that are no pane, or unusable ones, become dead letters."""
        changes, dead_letters = Changes.of(partition.remembered), list[OutgoingRecord]()
        judge = PanesJudge(self._monitors, changes)
        for record in batch.records:
            changes.stamp(record.timestamp)
            try:
                message = read_message(b"" if record.value is None else record.value)
                # The record's time, not the clock's: decided again after a loss, an alert is the same to the byte.
                await self._judge(judge, message, record.timestamp)
            except (FormatError, NoRoomError) as error:
                self._metrics.limited([str(error)])
                if isinstance(error, NoRoomError):
                    self._metrics.no_room.add(error.model)
                dead_letters.append(dead_letter(batch.tp, record, str(error)))
        return changes, dead_letters

    async def _judge(self, judge: PanesJudge, message: Message, appended: int) -> None:
        """Judge a message. appended: when it was written, epoch ms. Raises FormatError or NoRoomError."""
        if isinstance(message, PaneMessage | Tick):
            _check_log(message, self.logs.get(message.topic, ""))
        if isinstance(message, ReferenceMessage):
            log_yielding(message, judge.changes.reference(message.model))
        if isinstance(message, PaneMessage | ReferenceMessage):
            await self._references.find(message.model, judge.needs(message))
        for job in judge.judge(message, appended):
            # Lets the event loop do other work: all models of a tick may take half a second.
            await asyncio.sleep(0)
            if job.takes_long:
                await asyncio.to_thread(job.run)

    async def _commit(self, partition: _Partition, next_offset: int, changes: Changes) -> None:
        started, learned = time.perf_counter(), changes.newly_learned
        # Packing a baseline may take a second.
        deltas = await asyncio.to_thread(_deltas, changes) if learned else _deltas(changes)
        for model in changes.dropped_learned:
            await self._store.drop_learned(model)
        await self._write(partition, next_offset, deltas, changes)
        for baseline in learned:
            await self._store.save_learned(baseline.model, deltas[baseline.model].write["learned"])
        log_changes(changes, self._monitors, self._settings.unused_settings)
        self._metrics.forgotten(len(changes.forgotten))
        self._show_promises(changes)
        self._show_performance(changes)
        partition.remembered = changes.after_storing()
        if changes.references:
            self._keep_references()
        self._metrics.committed(time.perf_counter() - started, deltas)
        self._count_incidents()

    async def _write(
        self, partition: _Partition, next_offset: int, deltas: Mapping[str, StateDelta], changes: Changes
    ) -> None:
        alerts = [_decided(each) for each in changes.alerts]
        marks = {f"{topic}/{number}": pack_tick(each) for (topic, number), each in changes.new_marks.items()}
        records = {model: each.to_bytes() for model, each in changes.references.items()}
        schema, topic = changes.new_schema, self._settings.rules.predictions
        topics = {} if schema is None else pack_schema(topic, schema, partition.fields)
        await partition.record.commit(next_offset, deltas, alerts, changes.seen, marks, records, topics)
        partition.fields = partition.fields if schema is None else schema.fields

    def _show_promises(self, changes: Changes) -> None:
        """Show how many false pages are allowed of the models that had events, by their traffic."""
        for model in changes.events:
            histories = [each.history for each in changes.states[model].judges]
            pace = pace_of((), histories) or None
            self._metrics.promised(Promise.of(model, self._settings.rules.for_model(model), pace))

    def _show_performance(self, changes: Changes) -> None:
        """Show how well the models do that had outcomes."""
        for model, state in changes.states.items():  # of labels that come later, outcomes come with ticks
            before, waiting = changes.before.states.get(model, ModelState()), state.waiting
            if waiting is not None and _has_waited(waiting, before.waiting):
                self._metrics.joined(model, waiting)
            self._show_versions(model, state, before, changes.reference(model))

    def _show_versions(
        self, model: str, state: ModelState, before: ModelState, reference: ReferenceMessage | None
    ) -> None:
        """Show how well versions do that had outcomes or wait for labels, and no more those that are gone."""
        if not self._metrics.shows(model):
            return
        known, waits = before.outcomes_by_track, _has_waited(state.waiting, before.waiting)
        new = {track for track, own in state.outcomes_by_track.items() if _is_news(own, known.get(track))}
        new |= {*state.waiting.stubs} if state.waiting is not None and waits else set()
        if not new and state.tracks.keys() == before.tracks.keys():
            return
        monitor = self._monitors.of(model, reference)
        figures = {track: monitor.figures(state, track) for track in sorted(new)}
        self._metrics.performed(model, figures, {"", *state.tracks})

    def _count_incidents(self) -> None:
        self._metrics.open_incidents([each for own in self._remembered for each in own.open_incidents])

    async def _drain_outbox(self, partition: _Partition) -> None:
        while alerts := await partition.record.outbox():
            await self._publish(_alert_record(self._settings.alerts, each.message) for each in alerts)
            await partition.record.confirm_published(alerts[-1].position)
        partition.outbox_pending = False


def split(fetch: Fetch) -> Iterator[Fetch]:
    """The panes of a fetch in batches to judge and commit at once."""
    for first in range(0, len(fetch.records), _BATCH):
        yield replace(fetch, records=fetch.records[first : first + _BATCH])


def _has_waited(waiting: Waiting | None, before: Waiting | None) -> bool:
    """Whether slots were looked at, as is done now and then: what waits takes long to add up."""
    return waiting is not None and (before is None or before.tried != waiting.tried)


def _is_news(own: OutcomesState, before: OutcomesState | None) -> bool:
    """Whether outcomes were judged, or predictions came of which none has a label: then labels may have ceased."""
    if before is None or own.history is not before.history:
        return True
    new, old = own.pending, before.pending
    return new is not None and new is not old and new.content.n == (old.content.n if old else 0)


def _deltas(changes: Changes) -> dict[str, StateDelta]:
    stored, states = changes.before.states, changes.states.items()
    return {model: state_delta(stored.get(model), state) if state.consumed else FORGET for model, state in states}


def _check_log(message: PaneMessage | Tick, log: str) -> None:
    """Raises FormatError if a pane or tick is of another log than the group reads, if both are known."""
    if message.log and log and not is_same_log(message.log, log):
        what = "tick" if isinstance(message, Tick) else "pane"
        raise FormatError(
            f"a {what} of another log of topic {message.topic} than the group reads: its worker sent it only after "
            f"`driftline resume` (log {message.log}, and now {log})"
        )


def _decided(alert: IncidentAlert) -> DecidedAlert:
    return DecidedAlert(encode_alert(alert), alert.data.incident_id, resolved=alert.data.status is Status.RESOLVED)


def _alert_record(topic: str, line: bytes) -> OutgoingRecord:
    return OutgoingRecord(topic, key_of(line), line, [("content-type", CONTENT_TYPE.encode())])
