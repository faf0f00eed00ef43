"""The panes topic of a live group judged again: its history, decision by decision. Pure.

The order of panes and ticks on that topic has decided, and is recorded nowhere else. So with the configuration and the
baselines of then, from the group's first pane on, the alerts are those of the live group to the byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from typing import NamedTuple

from driftline.detectors.summaries.shape import Shape
from driftline.stream.alerts.build import build_alert, build_topic_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions, select_watched, select_watched_versions
from driftline.stream.baselines.watched import Signals
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.levels import NEWEST, learned_format
from driftline.stream.codec.panes import ForgetMessage, PaneMessage, ReferenceMessage, check_order, read_message
from driftline.stream.config.sections import Config
from driftline.stream.events.rejections import Rejections
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.judge import DependenceCache
from driftline.stream.judge.monitor import Monitor, forget
from driftline.stream.judge.roster import NoRoomError, Room, Roster
from driftline.stream.judge.schema import ALL_READ, REPORTER, SchemaJudge, SchemaState, Unread
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Source
from driftline.stream.panes.tick import Marks, Tick, is_same_log
from driftline.stream.panes.tracks import events_in
from driftline.stream.replay.pipeline import LogBatch, ModelCounts, names_of
from driftline.stream.replay.run import ReplayResult

#: A baseline of a model by its content hash, None if it is not known.
Find = Callable[[str, str], Baseline | None]

# Reasons of dead letters that the remarks name.
_REASONS = 5


class PanesRecord(NamedTuple):
    """A record of the panes topic. timestamp: Kafka's, epoch ms."""

    partition: int
    offset: int
    timestamp: int
    value: bytes | None


def replay_panes(
    config: Config,
    baselines: Sequence[Baseline],
    logs: Mapping[int, Iterable[LogBatch]],
    on_alert: Callable[[IncidentAlert], None],
    find: Find = lambda _model, _hash: None,
    calendar_of: CalendarOf = every_day,
    versions: Versions = NO_VERSIONS,
) -> ReplayResult:
    """Judge the logs of a panes topic's partitions again; `on_alert` is called with each alert.

    find, calendar_of, versions: see `PanesReplay`.
    """
    watched = select_watched(config, {each.model: each for each in baselines})
    own_versions = select_watched_versions(config, versions)
    own = PanesReplay(config, watched, find, calendar_of=calendar_of, versions=own_versions)
    result = ReplayResult(rejected=Rejections(config.mapping.event_mapping()))
    begins = dict[int, int]()
    for record in records_of(logs):
        begins.setdefault(record.partition, record.offset)
        for alert in own.read(record):
            result.alerts.append(alert)
            on_alert(alert)
    result.events = own.events.total()
    states = own.states
    result.counts = {model: ModelCounts.of(own.events[model], state) for model, state in states.items()}
    judged = [model for model in states if result.counts[model].judged]
    result.watched = {model: names_of(own.monitor(model).baselines(states[model]).values()) for model in judged}
    for reason, count in Counter(own.refused.values()).most_common(_REASONS):
        result.remarks.append(f"{count:,} × not judged: {reason}")
    if late := sorted(partition for partition, begin in begins.items() if begin):
        result.remarks.append(
            f"the first panes of partitions {', '.join(map(str, late))} are gone: alerts may differ from the live ones"
        )
    if len(own.logs) > 1:
        result.remarks.append("`driftline resume` was run: panes that the group skipped then are judged here")
    if own.events and not own.ticks:
        result.remarks.append("the topic has no ticks: the panes alone say how late it is")
    return result


def resumed(state: ModelState, offsets: Mapping[int, int]) -> ModelState:
    """A state of which these partitions of the predictions topic go on at other offsets."""
    moved = {Source(each): offset for each, offset in offsets.items() if Source(each) in state.consumed}
    return replace(state, consumed={**state.consumed, **moved})


def _restarted(state: ModelState) -> ModelState:
    """A state of which all partitions of the predictions topic go on in another log."""
    return resumed(state, {source.partition: 0 for source in state.consumed if not source.topic})


def records_of(logs: Mapping[int, Iterable[LogBatch]]) -> Iterator[PanesRecord]:
    """The records of all partitions by their timestamps, each partition's in the order of its log."""
    return merge(*(_records(*each) for each in sorted(logs.items())), key=lambda record: record.timestamp)


def _records(partition: int, log: Iterable[LogBatch]) -> Iterator[PanesRecord]:
    for offsets, values, stamps in log:
        times = [0] * len(values) if stamps is None else stamps.tolist()
        yield from map(PanesRecord, [partition] * len(values), offsets.tolist(), times, values)


@dataclass
class _Partition:
    """What the judge of one partition of the panes topic remembers."""

    roster: Roster
    marks: Marks = field(default_factory=Marks)
    schema: SchemaState | None = None
    states: dict[str, ModelState] = field(default_factory=dict)


@dataclass
class PanesReplay:
    """The judges of a panes topic. baselines: the given ones, by model, with the signals that are watched.

    A record of the topic that names another baseline takes effect where it stands. find: finds baselines that are not
    given. events: judged, by model. ticks: how many came. refused: why a record became a dead letter, by partition and
    offset. forgotten: models, in the order in which they were forgotten. calendar_of: gives the calendar of a model.
    versions: the baselines of versions that have their own, as `baselines`. logs: of the predictions topic, one after
    the other: a group has left all but the last by `driftline resume`.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    find: Find = lambda _model, _hash: None
    events: Counter[str] = field(default_factory=Counter)
    ticks: int = 0
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    calendar_of: CalendarOf = every_day
    versions: Versions = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}
        self._monitors: dict[str, Monitor] = {}
        self._references: dict[str, ReferenceMessage] = {}
        given = (*self.baselines.values(), *(each for own in self.versions.values() for each in own.values()))
        self._known: dict[str, Baseline | None] = {each.content_hash: each for each in given}
        self._dependences = DependenceCache()
        self._schema = SchemaJudge(self.config.topics.predictions, self.config.defaults.incidents)

    @property
    def states(self) -> dict[str, ModelState]:
        """The state of every model that is remembered."""
        return {model: state for each in self._partitions.values() for model, state in sorted(each.states.items())}

    def state_of(self, model: str) -> ModelState:
        """A model's state, an empty one if nothing is remembered of it."""
        return next((each.states[model] for each in self._partitions.values() if model in each.states), ModelState())

    def resume(self, offsets: Mapping[int, int]) -> None:
        """Let partitions of the predictions topic go on at these offsets, as `driftline resume` does, in any log."""
        self.logs.clear()
        for each in self._partitions.values():
            each.states = {model: resumed(state, offsets) for model, state in each.states.items()}

    def read(self, record: PanesRecord) -> list[IncidentAlert]:
        """Judge one more record; returns the alerts that it causes."""
        if record.partition not in self._partitions:
            self._partitions[record.partition] = _Partition(Roster(Room.of(self.config)))
        partition = self._partitions[record.partition]
        partition.roster.stamp(record.timestamp)
        try:
            message = read_message(record.value or b"")
            if isinstance(message, Tick):
                return self._tick(record.partition, partition, message, record.timestamp)
            if isinstance(message, ForgetMessage):
                return self._forget_asked(partition, message.model, record.timestamp)
            if isinstance(message, ReferenceMessage):
                return self._refer(partition, message, record.timestamp)
            return self._judge(partition, message, record.timestamp)
        except (FormatError, NoRoomError) as error:
            self.refused[record.partition, record.offset] = str(error)
            return []

    def _follow(self, message: PaneMessage | Tick) -> None:
        """Go on in the log of the topic that a pane or tick names. Raises FormatError if it is a former one."""
        log, topic = message.log, self.config.topics.predictions
        if not log or message.topic != topic or (self.logs and is_same_log(log, self.logs[-1])):
            return
        if any(is_same_log(log, each) for each in self.logs):
            raise FormatError(f"of a log of topic {topic} that the group had left by `driftline resume`")
        if self.logs:
            for each in self._partitions.values():
                each.states = {model: _restarted(state) for model, state in each.states.items()}
        self.logs.append(log)

    def _tick(self, number: int, partition: _Partition, tick: Tick, at: int) -> list[IncidentAlert]:
        self._follow(tick)
        self.ticks += 1
        before_it = partition.marks
        unread, steps = self._judge_schema(partition, tick)
        reported = steps if number == REPORTER else []
        alerts = [build_topic_alert(self._schema, step, mode="live", emitted_at=at) for step in reported]
        ticks, until = self._time(partition), partition.marks.completed_since(before_it, self.config.topics.predictions)
        for model in sorted(partition.states):
            monitor = self._monitors[model] = self.monitor(model)
            partition.states[model], steps = monitor.tick(partition.states[model], ticks, until, unread)
            alerts += self._alerts(monitor, steps, at)
        return alerts

    def _judge_schema(self, partition: _Partition, tick: Tick) -> tuple[Unread, list[Step]]:
        place, steps = (tick.topic, tick.partition), list[Step]()
        before, partition.marks = partition.marks.ticks.get(place), partition.marks.after(tick)
        if tick.topic == self._schema.topic:
            known, after, now = partition.schema, partition.marks.ticks[place], self._time(partition)
            partition.schema, steps = self._schema.judge(known, before, after, now)
        return partition.schema.unreadable if partition.schema else ALL_READ, steps

    def _judge(self, partition: _Partition, message: PaneMessage, at: int) -> list[IncidentAlert]:
        """Judge a pane. Raises FormatError or NoRoomError."""
        self._follow(message)
        model, run, topic = message.model, message.run, self.config.topics.predictions
        kept, state = self.monitor(model), partition.states.get(model, ModelState())
        monitor = kept.with_former(self._former(message, kept, state))
        source = Source(run.partition, "" if message.topic == topic else message.topic)
        consumed = state.consumed.get(source, 0)
        counted_in = self._signals(message, monitor, state)
        check_order(message, consumed)
        layouts = {track: Shape(signals) for track, signals in counted_in.items()}
        pane = message.pane(layouts.get(""), layouts)
        is_new = run.start >= consumed
        until = partition.marks.complete_to(self.config.topics.predictions)
        judged, steps = monitor.judge(state, pane, source.topic, self._time(partition), counted_in, until)
        alerts = self._make_room(partition, monitor, state, judged, at) if is_new and not monitor.is_configured else []
        partition.states[model], self._monitors[model] = judged, kept
        self.events[model] += events_in(pane.content) if is_new else 0
        return alerts + self._alerts(monitor, steps, at, message.topic)

    def _refer(self, partition: _Partition, record: ReferenceMessage, at: int) -> list[IncidentAlert]:
        """Compare a model with what a record says, from its next pane on. Raises FormatError."""
        if record.yields_to(self._references.get(record.model)):
            return []
        if any(self._find(record.model, hash_) is None for hash_ in record.baselines.values()):
            raise FormatError(f"model {record.model!r} was compared with a baseline that is not known any more")
        self._references[record.model] = record
        state = partition.states.get(record.model, ModelState())
        if record.baselines and record.model in partition.roster:
            partition.roster.forget(record.model)
        elif not record.baselines and state.has_history:
            partition.roster.note(record.model, at, len(state.sample), state.learned is not None, state.values)
        return []

    def _given(self, model: str) -> tuple[Baseline | None, Mapping[str, Baseline]]:
        """The baseline of a model, and those of versions that have their own."""
        reference = self._references.get(model)
        if reference is None:
            return self.baselines.get(model), {}  # as for live judges: baselines of versions need a record
        found = {track: self._find(model, hash_) for track, hash_ in reference.baselines.items()}
        return found.get(""), {track: each for track, each in found.items() if track and each is not None}

    def _find(self, model: str, hash_: str) -> Baseline | None:
        if hash_ not in self._known:
            self._known[hash_] = self.find(model, hash_)
        return self._known[hash_]

    def _former(self, message: PaneMessage, monitor: Monitor, state: ModelState) -> dict[str, Baseline]:
        """The baselines of a pane's sketches whose tracks have no reference any more."""
        without = message.baselines.keys() - monitor.baselines(state).keys()
        found = {track: self._find(message.model, message.baselines[track]) for track in sorted(without)}
        return {track: each for track, each in found.items() if each is not None}

    def _signals(self, message: PaneMessage, monitor: Monitor, state: ModelState) -> dict[str, Signals]:
        """The signals of a pane's sketches, by track. Raises FormatError if they are not known."""
        return {track: self._signals_of(message, monitor, state, track) for track in message.baselines}

    def _signals_of(self, message: PaneMessage, monitor: Monitor, state: ModelState, track: str) -> Signals:
        hash_, baseline = message.baselines[track], monitor.baselines(state).get(track)
        known = (each for each in (baseline, state.seen_by(track).learned) if each is not None)
        found = next((each for each in known if each.content_hash == hash_), None)
        found = found or self._find(message.model, hash_)
        if found is None:
            raise FormatError(f"a pane of {message.model!r} against another baseline than the configuration gives")
        return found.watched

    def _make_room(
        self, partition: _Partition, monitor: Monitor, before: ModelState, after: ModelState, at: int
    ) -> list[IncidentAlert]:
        """Enter a model without a given baseline into the roster; forget who gives way. Raises NoRoomError."""
        model, alerts, learned = monitor.model, list[IncidentAlert](), after.learned is not None
        if before.learned is None and not monitor.former:
            events, values = len(after.sample) - len(before.sample), after.values - before.values
            for each in partition.roster.make_room(model, events, at, learned, values):
                alerts += self._forget(partition, each, at)
        partition.roster.note(model, at, len(after.sample), learned, after.values)
        return alerts

    def _forget_asked(self, partition: _Partition, model: str, at: int) -> list[IncidentAlert]:
        if self.monitor(model).is_configured:
            raise FormatError(f"model {model!r} is not forgotten: the configuration gives it a baseline")
        if model not in partition.roster:
            return []
        partition.roster.forget(model)
        return self._forget(partition, model, at)

    def _forget(self, partition: _Partition, model: str, at: int) -> list[IncidentAlert]:
        self.forgotten.append(model)
        monitor = self._monitors.pop(model, self.monitor(model))
        state, steps = forget(partition.states.pop(model))
        if state != ModelState():
            partition.states[model] = state
        return self._alerts(monitor, steps, at)

    def _time(self, partition: _Partition) -> int:
        return partition.marks.time_of(self.config.topics.predictions)

    def monitor(self, model: str) -> Monitor:
        """The model's monitor, against the baselines that are in effect."""
        config, (given, versions), monitor = self.config, self._given(model), self._monitors.get(model)
        if monitor is not None and monitor.given is given and monitor.versions == versions:
            return monitor
        return Monitor(
            model,
            config.for_model(model),
            given,
            config.limits,
            self._dependences,
            self.calendar_of(model),
            learned_format=learned_format(NEWEST),
            portable=True,
            versions=versions,
        )

    def _alerts(self, monitor: Monitor, steps: Sequence[Step], at: int, topic: str = "") -> list[IncidentAlert]:
        topic = topic or self.config.topics.predictions
        return [build_alert(monitor, step, mode="live", topic=topic, emitted_at=at) for step in steps]
