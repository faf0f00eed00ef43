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
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from driftline.detectors.summaries.shape import Shape
from driftline.stream.alerts.build import CONTENT_TYPE, build_alert, build_topic_alert, encode_alert
from driftline.stream.alerts.read import key_of
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.baselines.watched import Signals
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.levels import FIRST, NEWEST, learned_format
from driftline.stream.codec.panes import (
    ForgetMessage,
    PaneMessage,
    ReferenceMessage,
    check_order,
    pack_tick,
    read_message,
    unpack_tick,
)
from driftline.stream.codec.schema import pack_schema, unpack_schema
from driftline.stream.codec.state import FORGET, StateDelta, restore_state, state_delta
from driftline.stream.config.limits import Limits
from driftline.stream.config.remarks import Remark, SignalKinds, unused_settings
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.judge import DependenceCache
from driftline.stream.judge.monitor import Monitor, forget
from driftline.stream.judge.roster import NoRoomError, Room, Roster
from driftline.stream.judge.schema import ALL_READ, REPORTER, SchemaJudge, SchemaState, Unread
from driftline.stream.judge.state import ModelState
from driftline.stream.kafka.dead_letters import dead_letter
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.pane import Source
from driftline.stream.panes.tick import Marks, Tick, is_same_log
from driftline.stream.panes.tracks import events_in
from driftline.stream.state.store import DecidedAlert, JudgePartition, ResumePosition, Store
from driftline.stream.worker.faust.transport import Fetch
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
# Forgotten models that a log line names.
_NAMED = 5


@dataclass(frozen=True)
class JudgeSettings:
    """What the stage takes from the configuration.

    predictions, panes, alerts: topics. room: for models without a given baseline. for_model: the configuration of a
    model. unused_settings: what of it has no effect, given the signals of models. schema: judges the predictions topic.
    calendar_of: of a model.
    """

    predictions: str
    panes: str
    alerts: str
    room: Room
    limits: Limits
    for_model: Callable[[str], ModelConfig]
    unused_settings: Callable[[Mapping[str, SignalKinds]], Iterable[Remark]]
    schema: SchemaJudge
    calendar_of: CalendarOf = every_day

    @classmethod
    def of(cls, config: Config, calendar_of: CalendarOf = every_day) -> Self:
        topics, unused = config.topics, partial(unused_settings, config)
        room, limits = Room.of(config), config.limits
        names = topics.predictions, topics.panes, topics.alerts
        schema = SchemaJudge(topics.predictions, config.defaults.incidents)
        return cls(*names, room, limits, config.for_model, unused, schema, calendar_of)


@dataclass
class _Partition:
    """One partition of the panes topic that this worker owns, and its models' states as they are stored.

    roster: the models without a given baseline. outbox_pending: whether its outbox may hold alerts of an earlier owner.
    references: what models are compared with, by the records of the partition. marks: the ticks received. schema: what
    they say of the messages of the topic, None before the first.
    """

    number: int
    record: JudgePartition
    roster: Roster
    outbox_pending: bool = True
    states: dict[str, ModelState] = field(default_factory=dict)
    marks: Marks = field(default_factory=Marks)
    schema: SchemaState | None = None
    references: dict[str, ReferenceMessage] = field(default_factory=dict)

    @property
    def open_incidents(self) -> int:
        """The incidents of its models that alerts have reported as open, and of the topic if it reports those."""
        of_topic = self.schema.open_incidents if self.schema and self.number == REPORTER else []
        return len(of_topic) + sum(len(state.open_incidents) for state in self.states.values())

    def replace(self, changed: Mapping[str, ModelState]) -> None:
        """Take over what a commit has stored. A state without an offset is that of a model that was forgotten."""
        for model, state in changed.items():
            self.states.pop(model, None)
            if state.consumed:
                self.states[model] = state

    def enter(self, model: str, state: ModelState, seen: int | None) -> None:
        """Enter a stored state without a given baseline into the roster. seen: as in `Roster`; None: not stored."""
        if state.learned is not None or state.sample or seen is not None:
            if state.learned is None:
                self.roster.newcomers[model], self.roster.values[model] = len(state.sample), state.values
            else:
                self.roster.learned.add(model)
            self.roster.seen |= {} if seen is None else {model: seen}


@dataclass
class _Batch:
    """What a batch of panes changes: states by model, and when models were seen (None: forgotten)."""

    partition: _Partition
    roster: Roster
    marks: Marks
    schema: SchemaState | None = None
    changed: dict[str, ModelState] = field(default_factory=dict)
    seen: dict[str, int | None] = field(default_factory=dict)
    alerts: list[DecidedAlert] = field(default_factory=list)
    dead_letters: list[OutgoingRecord] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    references: dict[str, ReferenceMessage] = field(default_factory=dict)

    def state_of(self, model: str) -> ModelState:
        """A model's state, an empty one for a model never seen."""
        return self.changed.get(model) or self.partition.states.get(model) or ModelState()

    def reference(self, model: str) -> ReferenceMessage | None:
        """The record of what a model is compared with, if there has been one."""
        return self.references.get(model) or self.partition.references.get(model)

    @property
    def models(self) -> list[str]:
        """The models of which something is remembered, sorted."""
        forgotten = {model for model, state in self.changed.items() if not state.consumed}
        return sorted({*self.partition.states, *self.changed} - forgotten)

    def former(self, model: str) -> Baseline | None:
        """The baseline that the model had learned before this batch, and has not any more."""
        before, after = self.partition.states.get(model), self.changed[model].learned
        return None if before is None or before.learned is after else before.learned

    @property
    def new_marks(self) -> dict[str, bytes]:
        """The marks that have changed, as they are stored."""
        known = self.partition.marks.ticks
        changed = {place: each for place, each in self.marks.ticks.items() if known.get(place) is not each}
        return {f"{topic}/{number}": pack_tick(each) for (topic, number), each in changed.items()}

    def new_topics(self, topic: str) -> dict[str, bytes]:
        """What is known of the messages of a topic, as it is stored, if that has changed."""
        changed = self.schema is not None and self.schema is not self.partition.schema
        return {topic: pack_schema(self.schema)} if self.schema and changed else {}

    def newly_learned(self) -> list[Baseline]:
        """The baselines that were learned in this batch."""
        learned = ((self.partition.states.get(model), state.learned) for model, state in self.changed.items())
        return [new for old, new in learned if new is not None and (old is None or old.learned is not new)]


class JudgeStage:
    """Judges the panes partitions assigned to this worker.

    references: the baselines given in the configuration, without the signals that are not watched. level: the group's
    format level, which may rise while the stage works. log: as in `SketchStage`.
    """

    level: int = NEWEST
    log: str = ""

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
        self._monitors: dict[str, Monitor] = {}
        self._dependences = DependenceCache()
        self._busy = asyncio.Lock()

    async def take_over(self, partitions: Iterable[int]) -> dict[int, ResumePosition]:
        """Take over partitions; returns where to resume each: at the committed offset, or at 0."""
        async with self._busy:
            self._partitions = {partition: await self._take_over(partition) for partition in sorted(partitions)}
            self._keep_references()
            remembered = {model for each in self._partitions.values() for model in each.states}
            self._monitors = {model: each for model, each in self._monitors.items() if model in remembered}
            self._count_incidents()
            offsets = {partition: each.record.next_offset or 0 for partition, each in self._partitions.items()}
            return {partition: ResumePosition(offset, offset) for partition, offset in offsets.items()}

    def _keep_references(self) -> None:
        in_effect = (each for owned in self._partitions.values() for each in owned.references.values())
        self._references.keep(hash_ for each in in_effect for hash_ in each.baselines.values())

    async def reload(
        self, settings: JudgeSettings, baselines: Mapping[str, Baseline], versions: Versions = NO_VERSIONS
    ) -> None:
        """Go on with a configuration that was loaded again; its baselines are in effect once their records come."""
        async with self._busy:
            self._settings = settings
            self._references.replace(baselines, versions)
            self._monitors = {
                model: each
                for model, each in self._monitors.items()
                if (each.config, each.calendar) == (settings.for_model(model), settings.calendar_of(model))
            }

    async def release(self) -> None:
        """Give up all partitions, once the batch in work is done."""
        async with self._busy:
            self._partitions = {}
            self._count_incidents()

    async def _take_over(self, partition: int) -> _Partition:
        record = await self._store.claim_judge(self._settings.panes, partition, self.level)
        owned = _Partition(partition, record, Roster(self._settings.room))
        owned.marks = Marks().after(*map(unpack_tick, await owned.record.marks()))
        topic = self._settings.predictions
        if (stored_schema := (await owned.record.topics()).get(topic)) is not None:
            owned.schema = unpack_schema(stored_schema)
        for model, stored in (await owned.record.references()).items():
            owned.references[model] = ReferenceMessage.from_bytes(stored)
            try:
                await self._references.load(owned.references[model])
            except FormatError as error:
                log.error("%s; until then, its panes become dead letters", error)
        models, seen = await owned.record.models(), await owned.record.seen()
        for first in range(0, len(models), _AT_ONCE):
            some = models[first : first + _AT_ONCE]
            await asyncio.gather(*(self._restore(owned, model, seen.get(model)) for model in some))
        return owned

    async def _restore(self, partition: _Partition, model: str, seen: int | None) -> None:
        parts = await partition.record.state_parts(model)
        record = partition.references.get(model)
        given = self._references.of(model, record)
        state = partition.states[model] = await asyncio.to_thread(restore_state, parts, given)
        if not (record.baselines if record else given):
            partition.enter(model, state, seen)
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
            started = time.perf_counter()
            work = await self._judge_all(partition, batch)
            self._metrics.judged(batch, time.perf_counter() - started)
            self._metrics.dead_lettered(len(work.dead_letters))
            await self._publish(work.dead_letters)
            await self._commit(partition, batch.next_offset, work)
            if work.alerts:
                await self._drain_outbox(partition)

    async def _judge_all(self, partition: _Partition, batch: Fetch) -> _Batch:
        """What the panes change. Records that are no pane, or unusable ones, become dead letters."""
        work = _Batch(partition, partition.roster.copy(), partition.marks, partition.schema)
        for record in batch.records:
            await asyncio.sleep(0)  # lets the event loop do other work between two panes
            work.seen |= work.roster.stamp(record.timestamp)
            try:
                message = read_message(b"" if record.value is None else record.value)
                # The record's time, not the clock's: decided again after a loss, an alert is the same to the byte.
                if isinstance(message, ForgetMessage):
                    self._forget_asked(work, message.model, record.timestamp)
                elif isinstance(message, Tick):
                    await self._tick(work, message, record.timestamp)
                elif isinstance(message, ReferenceMessage):
                    await self._refer(work, message, record.timestamp)
                else:
                    await self._judge(work, message, record.timestamp)
            except (FormatError, NoRoomError) as error:
                self._metrics.limited([str(error)])
                if isinstance(error, NoRoomError):
                    self._metrics.no_room.add(error.model)
                work.dead_letters.append(dead_letter(batch.tp, record, str(error)))
        return work

    async def _judge(self, work: _Batch, message: PaneMessage, appended: int) -> None:
        """Judge a pane. appended: when it was written, epoch ms. Raises FormatError or NoRoomError."""
        model, run = message.model, message.run
        _check_log(message, self._log_of(message.topic))
        if (record := work.reference(model)) is not None:
            await self._references.load(record)
        kept, state = self._monitor(work, model), work.state_of(model)
        monitor = kept.with_former(await self._former(message, kept, state))
        source = self._source(message)
        consumed = state.consumed.get(source, 0)
        counted_in = {each: await self._signals(message, monitor, state, each) for each in message.baselines}
        check_order(message, consumed)
        layouts = {track: Shape(signals) for track, signals in counted_in.items()}
        pane = message.pane(layouts.get(""), layouts)
        new = run.start >= consumed
        unknown = new and not monitor.is_configured
        if unknown and monitor.learns_from(state, pane, self._time(work)):
            # Learning takes a second, and can fail. So nobody is forgotten before, but a model without room is refused.
            work.roster.copy().make_room(model, events_in(pane.content), appended, learns=True)
        until = work.marks.complete_to(self._settings.predictions)
        judge = partial(monitor.judge, state, pane, source.topic, self._time(work), counted_in, until)
        takes_long = monitor.takes_long(state, pane, self._time(work))
        judged, steps = await asyncio.to_thread(judge) if takes_long else judge()
        if unknown:
            self._make_room(work, monitor, state, judged, appended)
        work.changed[model], self._monitors[model] = judged, kept
        if new:
            work.seen[model] = appended
        self._decide(work, monitor, steps, message.topic, appended)

    def _log_of(self, topic: str) -> str:
        """Kafka's id of the topic that its events must come from; "" where that is not known."""
        return self.log if topic == self._settings.predictions else ""

    def _source(self, message: PaneMessage) -> Source:
        return Source(message.run.partition, "" if message.topic == self._settings.predictions else message.topic)

    async def _tick(self, work: _Batch, tick: Tick, appended: int) -> None:
        """Let it become later for the models of this partition. Raises FormatError."""
        _check_log(tick, self._log_of(tick.topic))
        before_it = work.marks
        unread = self._judge_schema(work, tick, appended)
        ticks, until = self._time(work), work.marks.completed_since(before_it, self._settings.predictions)
        for model in work.models:
            await asyncio.sleep(0)  # as between two panes: the traffic of a thousand models takes half a second
            if not self._references.has(work.reference(model)):
                continue
            monitor, before = self._monitor(work, model), work.state_of(model)
            self._monitors[model] = monitor
            state, steps = monitor.tick(before, ticks, until, unread)
            if state is not before:
                work.changed[model] = state
                self._decide(work, monitor, steps, self._settings.predictions, appended)

    def _judge_schema(self, work: _Batch, tick: Tick, appended: int) -> Unread:
        """Take a tick into the marks, and judge what it says of its topic; returns what could not be read of that."""
        place, judge = (tick.topic, tick.partition), self._settings.schema
        before, work.marks = work.marks.ticks.get(place), work.marks.after(tick)
        if tick.topic == judge.topic:
            work.schema, steps = judge.judge(work.schema, before, work.marks.ticks[place], self._time(work))
            if work.partition.number == REPORTER:
                self._metrics.decided(steps)
                alerts = (build_topic_alert(judge, step, mode="live", emitted_at=appended) for step in steps)
                work.alerts += map(_decided, alerts)
        return work.schema.unreadable if work.schema else ALL_READ

    def _time(self, work: _Batch) -> int:
        return work.marks.time_of(self._settings.predictions)

    def _make_room(self, work: _Batch, monitor: Monitor, before: ModelState, after: ModelState, appended: int) -> None:
        """Enter a model without a given baseline into the roster; forget those that give way. Raises NoRoomError.

        What comes of a run that began while it had one needs no room.
        """
        model, learned = monitor.model, after.learned is not None
        if before.learned is None and not monitor.former:
            events, values = len(after.sample) - len(before.sample), after.values - before.values
            for each in work.roster.make_room(model, events, appended, learned, values):
                self._forget(work, each, appended)
        work.roster.note(model, appended, len(after.sample), learned, after.values)

    def _forget_asked(self, work: _Batch, model: str, appended: int) -> None:
        """Forget a model because somebody asked for it. Raises FormatError if that cannot be."""
        if self._monitor(work, model).is_configured:
            raise FormatError(f"model {model!r} is not forgotten: the configuration gives it a baseline")
        if model in work.roster:
            work.roster.forget(model)
            self._forget(work, model, appended)

    def _forget(self, work: _Batch, model: str, appended: int) -> None:
        work.changed[model], steps = forget(work.state_of(model))
        work.seen[model] = None
        work.forgotten.append(model)
        self._decide(work, self._monitor(work, model), steps, self._settings.predictions, appended)
        self._monitors.pop(model, None)

    def _decide(self, work: _Batch, monitor: Monitor, steps: Sequence[Step], topic: str, appended: int) -> None:
        """Add the alerts of steps. topic: of the predictions. appended: when the pane was written, epoch ms."""
        self._metrics.decided(steps)
        alerts = (build_alert(monitor, step, mode="live", topic=topic, emitted_at=appended) for step in steps)
        work.alerts += map(_decided, alerts)

    def _monitor(self, work: _Batch, model: str) -> Monitor:
        """The model's monitor. It is kept once the model is judged: panes may name any number of others."""
        settings, record, monitor = self._settings, work.reference(model), self._monitors.get(model)
        given, versions = self._references.of(model, record), self._references.of_versions(record)
        if monitor is None or monitor.given is not given or monitor.versions != versions:
            own, calendar = settings.for_model(model), settings.calendar_of(model)
            monitor = Monitor(model, own, given, settings.limits, self._dependences, calendar, versions=versions)
        monitor.learned_format, monitor.portable = learned_format(self.level), self.level > FIRST
        return monitor

    async def _refer(self, work: _Batch, record: ReferenceMessage, appended: int) -> None:
        """Compare a model with what a record says, from its next pane on. Raises FormatError."""
        model, before = record.model, work.reference(record.model)
        if before is not None and record.yields_to(before):
            if before.baselines != record.baselines:
                log.warning("model %s: the baseline of an older configuration is not taken", model)
            return
        await self._references.load(record)
        work.references[model] = record
        if record.baselines and model in work.roster:
            work.roster.forget(model)
        elif not record.baselines and (state := work.state_of(model)).has_history:
            # It may never come again, and only a model on the roster gives way, or is forgotten on request.
            work.roster.note(model, appended, len(state.sample), state.learned is not None, state.values)
            work.seen[model] = appended
        if before is not None and before.baselines != record.baselines:
            log.info("model %s: compared with another baseline from here on", model)

    async def _former(self, message: PaneMessage, monitor: Monitor, state: ModelState) -> dict[str, Baseline]:
        """The baselines of a pane's sketches whose tracks have no reference any more: of runs that began before."""
        model, hashes = message.model, message.baselines
        without = sorted(hashes.keys() - monitor.baselines(state).keys())
        found = {track: await self._references.find(model, hashes[track]) for track in without}
        return {track: each for track, each in found.items() if each is not None}

    async def _signals(self, message: PaneMessage, monitor: Monitor, state: ModelState, track: str) -> Signals:
        """The signals of a pane's sketch of a track. Raises FormatError if they are not known."""
        hash_, baseline, own = message.baselines[track], monitor.baselines(state).get(track), state.seen_by(track)
        known = (each for each in (baseline, own.learned) if each is not None)
        found = next((each for each in known if each.content_hash == hash_), None)
        found = found or await self._references.find(message.model, hash_)
        if found is None and baseline is not None and own.judge is not None and own.judge.baseline == hash_:
            return own.judge.signals
        if found is None:
            raise FormatError(f"a pane of {message.model!r} against another baseline than this worker knows")
        return found.watched

    async def _commit(self, partition: _Partition, next_offset: int, work: _Batch) -> None:
        started, learned = time.perf_counter(), work.newly_learned()
        # Packing a baseline may take a second.
        deltas = await asyncio.to_thread(self._deltas, work) if learned else self._deltas(work)
        for model in work.changed:
            if work.former(model) is not None:
                await self._store.drop_learned(model)
        records = {model: each.to_bytes() for model, each in work.references.items()}
        marks, topics = work.new_marks, work.new_topics(self._settings.predictions)
        await partition.record.commit(next_offset, deltas, work.alerts, work.seen, marks, records, topics)
        for baseline in learned:
            await self._store.save_learned(baseline.model, deltas[baseline.model].write["learned"])
            self._log_learned(work, baseline)
        self._log_changes(work)
        partition.replace(work.changed)
        partition.roster, partition.marks, partition.schema = work.roster, work.marks, work.schema
        partition.references |= work.references
        if work.references:
            self._keep_references()
        self._metrics.committed(time.perf_counter() - started, deltas)
        self._count_incidents()

    def _deltas(self, work: _Batch) -> dict[str, StateDelta]:
        stored = work.partition.states
        return {
            model: state_delta(stored.get(model), state) if state.consumed else FORGET
            for model, state in work.changed.items()
        }

    def _log_changes(self, work: _Batch) -> None:
        """Log which models were forgotten, have dropped their first events, or have events that come too late."""
        for model, state in work.changed.items():
            if model in self._monitors and not state.sample and (refusal := self._monitors[model].refusal):
                log.warning("model %s: no baseline can be learned from its events: %s", model, refusal)
            if _comes_too_late(state) and not _comes_too_late(work.partition.states.get(model)):
                log.warning("model %s: its traffic is not judged: many of its events come over an hour late", model)
        if work.forgotten:
            self._metrics.forgotten(len(work.forgotten))
            names = f"{', '.join(work.forgotten[:_NAMED])}{', …' * (len(work.forgotten) > _NAMED)}"
            log.warning(
                "forgotten, on request or because others need their room: %d models (%s)", len(work.forgotten), names
            )

    def _log_learned(self, work: _Batch, baseline: Baseline) -> None:
        log.info("model %s: its baseline is learned from its first %d events", baseline.model, baseline.total.n)
        if reason := self._monitor(work, baseline.model).shortened_by(baseline):
            log.warning("model %s: its baseline is learned early: %s", baseline.model, reason)
        for remark in self._settings.unused_settings({baseline.model: baseline.signal_kinds}):
            log.warning("%s", remark)

    def _count_incidents(self) -> None:
        self._metrics.open_incidents(sum(each.open_incidents for each in self._partitions.values()))

    async def _drain_outbox(self, partition: _Partition) -> None:
        while alerts := await partition.record.outbox():
            await self._publish(_alert_record(self._settings.alerts, each.message) for each in alerts)
            await partition.record.confirm_published(alerts[-1].position)
        partition.outbox_pending = False


def split(fetch: Fetch) -> Iterator[Fetch]:
    """The panes of a fetch in batches to judge and commit at once."""
    for first in range(0, len(fetch.records), _BATCH):
        yield replace(fetch, records=fetch.records[first : first + _BATCH])


def _comes_too_late(state: ModelState | None) -> bool:
    return state is not None and state.traffic is not None and state.traffic.delays.too_late


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
