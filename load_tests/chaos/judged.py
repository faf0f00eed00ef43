"""Panes judged one after the other, as the judges of a chaos run must have judged them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driftline.stream.alerts.build import build_alert, encode_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import Versions
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.codec.panes import OUT_OF_ORDER, PaneMessage
from driftline.stream.codec.state import state_delta
from driftline.stream.config.sections import Config
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range, Source
from driftline.stream.replay.panes import PanesRecord, PanesReplay, resumed
from load_tests.chaos.outcome import Message, Record
from load_tests.harness.oracle import Parts
from load_tests.harness.ticks_heard import Heard, HeardWith, TicksHeard


@dataclass
class Judged:
    """The panes of the predictions topic judged in its order: states of all models, and alerts as lines by id."""

    config: Config
    baselines: Mapping[str, Baseline]
    states: dict[str, ModelState] = field(default_factory=dict)
    lines: dict[str, bytes] = field(default_factory=dict)
    versions: Versions = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._monitors: dict[str, Monitor] = {}

    def judge(self, model: str, pane: Pane[Any], heard: Sequence[Heard]) -> None:
        """Judge one more pane, and the ticks before the next one. heard: what there was to hear, see `HeardWith`."""
        monitor, state, (then, *ticks) = self._monitor(model), self.states.get(model, ModelState()), heard
        state, steps = monitor.judge(state, pane, ticks=then.ticks, until=then.until)
        for tick in ticks:
            state, more = monitor.tick(state, *tick)
            steps = [*steps, *more]
        self.states[model], topic = state, self.config.topics.predictions
        alerts = (build_alert(monitor, step, mode="live", topic=topic, emitted_at=0) for step in steps)
        self.lines |= _lines(alerts)

    def resume(self, offsets: Mapping[int, int]) -> None:
        """Begin the next era: partitions of the predictions topic go on at these offsets."""
        self.states = {model: resumed(state, offsets) for model, state in self.states.items()}

    def _monitor(self, model: str) -> Monitor:
        if model not in self._monitors:
            settings, limits = self.config.for_model(model), self.config.limits
            given, own = self.baselines.get(model), self.versions.get(model, {})
            self._monitors[model] = Monitor(model, settings, given, limits, versions=own, **monitor_settings())
        return self._monitors[model]

    def stored(self) -> dict[str, Parts]:
        """The parts of every model's state, as they are stored."""
        return _stored(self.states)


@dataclass
class JudgedPanes:
    """The panes topic judged in its order.

    exchanged: baselines that were given before others. lines: alerts by id. kept: the runs of which a model's state
    knows the events, by the era's number. crowded_out: the models of panes for which there was no room, and those that
    gave way to others. heard: the ticks, era by era.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    exchanged: Iterable[Baseline] = ()
    lines: dict[str, bytes] = field(default_factory=dict)
    kept: dict[str, set[tuple[int, Range]]] = field(default_factory=dict)
    crowded_out: set[str] = field(default_factory=set)
    heard: list[HeardWith] = field(default_factory=list)
    versions: Versions = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_hash = {each.content_hash: each for each in self.exchanged}
        self._replay = PanesReplay(
            self.config, self.baselines, lambda _, name: self._by_hash.get(name), versions=self.versions
        )
        self._era = 0
        self._ticks = TicksHeard(self.config)

    @property
    def states(self) -> dict[str, ModelState]:
        """The states of all models."""
        return self._replay.states

    @property
    def refused(self) -> dict[tuple[int, int], str]:
        """Why there was no room for a pane, by partition and offset of the panes topic."""
        refused = self._replay.refused.items()
        return {place: reason for place, reason in refused if not reason.startswith(OUT_OF_ORDER)}

    def knows_baseline(self, message: PaneMessage) -> bool:
        """Whether the model has the baseline of this pane by now."""
        state = self._replay.state_of(message.model)
        baseline = self.baselines.get(message.model) or state.learned
        known = {*self._by_hash, "", *([baseline.content_hash] if baseline else [])}
        return message.baseline in known

    def read(self, record: Record, message: Message) -> None:
        """Judge one more record, which says this."""
        self._ticks.read(record.partition, message)
        replay, known = self._replay, len(self._replay.forgotten)
        before = self._consumed(message)
        alerts = replay.read(PanesRecord(record.partition, record.offset, record.timestamp, record.value))
        self.lines |= _lines(alerts)
        for model in replay.forgotten[known:]:
            self.kept.pop(model, None)
            self.crowded_out.add(model)
        if isinstance(message, PaneMessage) and message.topic == self.config.topics.predictions:
            reason = replay.refused.get((record.partition, record.offset), OUT_OF_ORDER)
            if not reason.startswith(OUT_OF_ORDER):
                self.crowded_out.add(message.model)
            elif self._consumed(message) != before:
                self.kept.setdefault(message.model, set()).add((self._era, message.run))

    def _consumed(self, message: Message) -> int:
        """Up to where a pane's partition was judged for its model."""
        if not isinstance(message, PaneMessage):
            return 0
        return self._replay.state_of(message.model).consumed.get(Source(message.run.partition), 0)

    def resume(self, offsets: Mapping[int, int]) -> None:
        """Begin the next era: partitions of the predictions topic go on at these offsets."""
        self._era += 1
        self._replay.resume(offsets)
        self.heard.append(self._ticks.heard)
        self._ticks.resume(offsets)

    def stored(self) -> dict[str, Parts]:
        """The parts of every model's state, as they are stored: none of a model that was forgotten."""
        return _stored(self.states)


def _lines(alerts: Iterable[IncidentAlert]) -> dict[str, bytes]:
    return {each.id: encode_alert(each) for each in alerts}


def _stored(states: Mapping[str, ModelState]) -> dict[str, Parts]:
    return {model: state_delta(None, state).write for model, state in states.items() if state != ModelState()}
