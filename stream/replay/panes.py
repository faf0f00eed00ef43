"""The panes topic of a live group judged again: its history, decision by decision. Pure.

The order of panes and ticks on that topic has decided, and is recorded nowhere else. So with the configuration and the
baselines of then, from the group's first pane on, the alerts are those of the live group to the byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from heapq import merge
from typing import NamedTuple

from msgspec import structs

from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions, select_watched, select_watched_versions
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.panes import PaneMessage, ReferenceMessage, read_message
from driftline.stream.config.sections import Config
from driftline.stream.events.rejections import Rejections
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.judge.roster import NoRoomError, Room, Roster
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Source
from driftline.stream.panes.tick import Tick, is_same_log
from driftline.stream.partitions.baselines import KnownBaselines
from driftline.stream.partitions.monitors import Monitors, Rules
from driftline.stream.partitions.panes_judge import Message, PanesJudge
from driftline.stream.partitions.remembered import Changes, Remembered
from driftline.stream.replay.pipeline import LogBatch, ModelCounts, names_of
from driftline.stream.replay.run import ReplayResult, joined_of

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
    result.labels = joined_of(states)
    result.watched = {model: own.watched(model) for model in judged}
    for reason, count in Counter(own.refused.values()).most_common(_REASONS):
        result.remarks.append(f"{count:,} × not judged: {reason}")
    if late := sorted(partition for partition, begin in begins.items() if begin):
        result.remarks.append(
            f"the first panes of partitions {', '.join(map(str, late))} are gone: alerts may differ from the live ones"
        )
    if any(len(each) > 1 for each in own.logs.values()):
        result.remarks.append("`driftline resume` was run: panes that the group skipped then are judged here")
    if own.events and not own.ticks:
        result.remarks.append("the topic has no ticks: the panes alone say how late it is")
    return result


def resumed(state: ModelState, offsets: Mapping[int, int]) -> ModelState:
    """A state of which these partitions of the predictions topic go on at other offsets."""
    moved = {Source(each): offset for each, offset in offsets.items() if Source(each) in state.consumed}
    return structs.replace(state, consumed={**state.consumed, **moved})


def _restarted(state: ModelState, topic: str) -> ModelState:
    """A state of which all partitions of a topic, "" for the predictions topic, go on in another log."""
    return structs.replace(
        state, consumed={each: 0 if each.topic == topic else at for each, at in state.consumed.items()}
    )


def records_of(logs: Mapping[int, Iterable[LogBatch]]) -> Iterator[PanesRecord]:
    """The records of all partitions by their timestamps, each partition's in the order of its log."""
    return merge(*(_records(*each) for each in sorted(logs.items())), key=lambda record: record.timestamp)


def _records(partition: int, log: Iterable[LogBatch]) -> Iterator[PanesRecord]:
    for offsets, values, stamps in log:
        times = [0] * len(values) if stamps is None else stamps.tolist()
        yield from map(PanesRecord, [partition] * len(values), offsets.tolist(), times, values)


@dataclass
class PanesReplay:
    """The judges of a panes topic. baselines: the given ones, by model, with the signals that are watched.

    A record of the topic that names another baseline takes effect where it stands. find: finds baselines that are not
    given. events: judged, by model. ticks: how many came. refused: why a record became a dead letter, by partition and
    offset. forgotten: models, in the order in which they were forgotten. calendar_of: gives the calendar of a model.
    versions: the baselines of versions that have their own, as `baselines`. logs: of predictions and
    of labels, by topic, one after the other: a group has left all but the last by `driftline resume`.
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
    logs: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._partitions: dict[int, Remembered] = {}
        self._known = KnownBaselines(self.baselines, self.versions)
        self._monitors = Monitors(Rules.of(self.config, self.calendar_of), self._known)
        self._find = cache(self.find)

    @property
    def states(self) -> dict[str, ModelState]:
        """The state of every model that is remembered."""
        return {model: state for each in self._partitions.values() for model, state in sorted(each.states.items())}

    def state_of(self, model: str) -> ModelState:
        """A model's state, an empty one if nothing is remembered of it."""
        return next((each.states[model] for each in self._partitions.values() if model in each.states), ModelState())

    def watched(self, model: str) -> tuple[str, ...]:
        """Names of the signals that the model's baselines watch."""
        own = next((each.references[model] for each in self._partitions.values() if model in each.references), None)
        return names_of(self._monitors.of(model, own).baselines(self.state_of(model)).values())

    def resume(self, offsets: Mapping[int, int]) -> None:
        """Let partitions of the predictions topic go on at these offsets, as `driftline resume` does, in any log."""
        self.logs.pop(self.config.topics.predictions, None)
        self._move(lambda state: resumed(state, offsets))

    def _move(self, moved: Callable[[ModelState], ModelState]) -> None:
        for number, each in self._partitions.items():
            states = {model: moved(state) for model, state in each.states.items()}
            self._partitions[number] = replace(each, states=states)

    def read(self, record: PanesRecord) -> list[IncidentAlert]:
        """Judge one more record; returns the alerts that it causes."""
        try:
            message = read_message(record.value or b"")
            if isinstance(message, PaneMessage | Tick):
                self._follow(message)
            return self._judge(record, message)
        except (FormatError, NoRoomError) as error:
            self.refused[record.partition, record.offset] = str(error)
            return []

    def _follow(self, message: PaneMessage | Tick) -> None:
        """Go on in the log of the topic that a pane or tick names. Raises FormatError if it is a former one."""
        log, topic, names = message.log, message.topic, self.config.topics
        known = self.logs.get(topic, [])
        if not log or topic not in (names.predictions, names.labels) or (known and is_same_log(log, known[-1])):
            return
        if any(is_same_log(log, each) for each in known):
            raise FormatError(f"of a log of topic {topic} that the group had left by `driftline resume`")
        if known:
            source = "" if topic == names.predictions else topic
            self._move(partial(_restarted, topic=source))
        self.logs[topic] = [*known, log]

    def _judge(self, record: PanesRecord, message: Message) -> list[IncidentAlert]:
        """Judge the message of a record. Raises FormatError or NoRoomError, and then it has changed nothing."""
        number = record.partition
        if number not in self._partitions:
            self._partitions[number] = Remembered(number, Roster(Room.of(self.config)))
        changes = Changes.of(self._partitions[number])
        judge = PanesJudge(self._monitors, changes)
        if isinstance(message, PaneMessage | ReferenceMessage):
            self._load(message.model, judge.needs(message))
        for job in judge.judge(message, record.timestamp):
            job.run()
        self._partitions[number] = changes.after()
        self.ticks += isinstance(message, Tick)
        self.events.update(changes.events)
        self.forgotten += changes.forgotten
        return changes.alerts

    def _load(self, model: str, hashes: Iterable[str]) -> None:
        """Make baselines of a model known, those that can be found."""
        for hash_ in hashes:
            if self._known.get(model, hash_) is None and (found := self._find(model, hash_)) is not None:
                self._known.add(model, hash_, found)
