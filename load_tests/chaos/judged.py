"""Panes judged one after the other, as the judges of a chaos run must have judged them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from driftline.detectors.summaries.layout import Layout
from driftline.stream.alerts.build import build_alert, encode_alert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.levels import NEWEST, learned_format
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import state_delta
from driftline.stream.config.sections import Config
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.monitor import Monitor, forget
from driftline.stream.judge.roster import NoRoomError, Room, Roster
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range, Source
from driftline.stream.panes.tick import Marks, Tick
from load_tests.chaos.outcome import Record
from load_tests.harness.oracle import Parts


@dataclass
class Judged:
    """The states of all models, and the alerts as lines by id.

    era: its number. kept: the runs of which a model's state knows the events, by era. refused: why there was no room
    for a pane, by partition and offset of the panes topic. crowded_out: the models of such panes, and those that gave
    way to others.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    states: dict[str, ModelState] = field(default_factory=dict)
    lines: dict[str, bytes] = field(default_factory=dict)
    kept: dict[str, set[tuple[int, Range]]] = field(default_factory=dict)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    crowded_out: set[str] = field(default_factory=set)
    era: int = 0

    def __post_init__(self) -> None:
        self._monitors: dict[str, Monitor] = {}
        self._rosters: dict[int, Roster] = {}
        self._marks: dict[int, Marks] = {}
        self._partitions: dict[str, int] = {}

    def judge_published(self, message: PaneMessage, record: Record) -> None:
        """Judge one more pane of the panes topic, if it comes in turn and there is room for its model."""
        model, run, at = message.model, message.run, record.timestamp
        self._partitions[model] = record.partition
        consumed = self.states.get(model, ModelState()).consumed.get(Source(run.partition), 0)
        if consumed < message.previous_end:
            return
        pane = message.pane(self._layout(message))
        if model in self.baselines or run.start < consumed:
            self.judge(model, pane, at)
            return
        try:
            self._make_room(record.partition, model, pane, at)
        except NoRoomError as error:
            self.refused[record.partition, record.offset] = str(error)
            self.crowded_out.add(model)
        else:
            self.judge(model, pane, at)
            self.kept.setdefault(model, set()).add((self.era, run))
            state = self.states[model]
            self._roster(record.partition).note(model, at, len(state.sample), state.learned is not None)

    def tick(self, tick: Tick, record: Record) -> None:
        """Let it become later for the models of a partition."""
        self._marks[record.partition] = self._marks.get(record.partition, Marks()).after(tick)
        for model in sorted(self.states):
            if self._partitions.get(model) == record.partition:
                ticks, monitor = self._time(model), self._monitor(model)
                self.states[model], steps = monitor.tick(self.states[model], ticks)
                self._report(monitor, steps, record.timestamp)

    def _time(self, model: str) -> int:
        """How late it is by the ticks of a model's partition; 0 before the first."""
        marks = self._marks.get(self._partitions.get(model, -1), Marks())
        return marks.time_of(self.config.topics.predictions)

    def _roster(self, partition: int) -> Roster:
        return self._rosters.setdefault(partition, Roster(Room.of(self.config)))

    def _make_room(self, partition: int, model: str, pane: Pane[Any], at: int) -> None:
        """Forget who gives way to a model that learns its baseline. Raises NoRoomError."""
        if self._baseline(model) is not None:
            return
        learns = self._monitor(model).learns_from(self.states.get(model, ModelState()), pane)
        for leaving in self._roster(partition).make_room(model, len(pane.content), at, learns):
            self.states[leaving], _ = forget(self.states[leaving])
            self.kept.pop(leaving, None)
            self.crowded_out.add(leaving)

    def judge(self, model: str, pane: Pane[Any], appended: int) -> None:
        """Judge one more pane; one that was judged before changes nothing. appended: epoch ms."""
        monitor = self._monitor(model)
        state = self.states.get(model, ModelState())
        self.states[model], steps = monitor.judge(state, pane, ticks=self._time(model))
        self._report(monitor, steps, appended)

    def _report(self, monitor: Monitor, steps: Iterable[Step], appended: int) -> None:
        for step in steps:
            alert = build_alert(monitor, step, mode="live", topic=self.config.topics.predictions, emitted_at=appended)
            self.lines[alert.id] = encode_alert(alert)

    def resume(self, offsets: Mapping[int, int]) -> None:
        """Begin the next era: partitions of the predictions topic go on at these offsets."""
        self.era += 1
        for model, state in self.states.items():
            sources = {Source(partition): offset for partition, offset in offsets.items()}
            moved = {source: offset for source, offset in sources.items() if source in state.consumed}
            self.states[model] = replace(state, consumed={**state.consumed, **moved})

    def _monitor(self, model: str) -> Monitor:
        if model not in self._monitors:
            settings, limits = self.config.for_model(model), self.config.limits
            given = self.baselines.get(model)
            self._monitors[model] = Monitor(
                model, settings, given, limits, learned_format=learned_format(NEWEST), portable=True
            )
        return self._monitors[model]

    def knows_baseline(self, message: PaneMessage) -> bool:
        """Whether the model has the baseline of this pane by now."""
        baseline = self._baseline(message.model)
        return not message.baseline or (baseline is not None and baseline.content_hash == message.baseline)

    def _layout(self, message: PaneMessage) -> Layout | None:
        """The layout of a pane that holds a sketch, None for one that holds events."""
        baseline = self._baseline(message.model)
        return baseline.layout if message.baseline and baseline else None

    def _baseline(self, model: str) -> Baseline | None:
        return self.baselines.get(model) or self.states.get(model, ModelState()).learned

    def stored(self) -> dict[str, Parts]:
        """The parts of every model's state, as they are stored: none of a model that was forgotten."""
        return {model: state_delta(None, state).write for model, state in self.states.items() if state != ModelState()}
