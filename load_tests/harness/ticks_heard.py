"""What the judges of a panes topic heard of time, pane by pane: only the order of its records says so. Pure.

    panes topic      pane A   pane B   tick 1   pane A   tick 2
    heard by A         0                 1        1        2       with pane A: (0, 1), with the next one: (1, 2)

So a replay of the predictions topic takes its panes from there, and from the panes topic nothing but when it was late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.panes import ForgetMessage, PaneMessage, ReferenceMessage, check_order
from driftline.stream.config.sections import Config
from driftline.stream.judge.schema import SchemaJudge, SchemaState, Unread
from driftline.stream.panes.pane import Range
from driftline.stream.panes.tick import Marks, Tick


class Heard(NamedTuple):
    """What the ticks of a partition had said so far, as `Monitor.judge` and `Monitor.tick` take it.

    ticks, until: how late it was, epoch ms; 0 before the first, and `until` also with a tick that completes no slot.
    unread: messages of the topic that could not be read.
    """

    ticks: int = 0
    until: int = 0
    unread: Unread = Unread()


#: What each pane's judge had heard when it judged it, then with each tick before the model's next pane; by model and
#: run.
HeardWith = Mapping[tuple[str, Range], Sequence[Heard]]
#: What a judge has heard that no tick reached.
NOTHING: Sequence[Heard] = (Heard(),)


@dataclass
class TicksHeard:
    """The ticks of a panes topic, by the pane that was the last one before each.

    heard: those of the panes since the beginning, or since the last `resume`.
    """

    config: Config
    heard: dict[tuple[str, Range], list[Heard]] = field(default_factory=dict)
    _marks: dict[int, Marks] = field(default_factory=dict)
    _schemas: dict[int, SchemaState | None] = field(default_factory=dict)
    _newest: dict[int, dict[str, list[Heard]]] = field(default_factory=dict)
    _consumed: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._topic = self.config.topics.predictions
        self._schema = SchemaJudge(self._topic, self.config.defaults.incidents)

    def read(self, partition: int, message: PaneMessage | Tick | ForgetMessage | ReferenceMessage) -> None:
        """Read the next message of a partition of the panes topic."""
        if isinstance(message, Tick):
            before = self._marks.get(partition, Marks())
            self._tick(partition, message)
            until = self._marks[partition].completed_since(before, self._topic)
            for each in self._newest.get(partition, {}).values():
                each.append(self._now(partition)._replace(until=until))
        elif isinstance(message, PaneMessage) and self._is_judged(message):
            heard = self.heard[message.model, message.run] = [self._now(partition)]
            self._newest.setdefault(partition, {})[message.model] = heard
            self._consumed[message.model, message.run.partition] = message.run.end

    def _tick(self, partition: int, tick: Tick) -> None:
        place, marks = (tick.topic, tick.partition), self._marks.get(partition, Marks())
        self._marks[partition] = after = marks.after(tick)
        if tick.topic == self._topic:
            known, before, now = self._schemas.get(partition), marks.ticks.get(place), after.time_of(self._topic)
            self._schemas[partition], _ = self._schema.judge(known, before, after.ticks[place], now)

    def resume(self, offsets: Mapping[int, int]) -> None:
        """Let partitions of the predictions topic go on at these offsets, which runs may have again from now on."""
        self._consumed |= {place: offsets[place[1]] for place in self._consumed if place[1] in offsets}
        self.heard = {}

    def _is_judged(self, message: PaneMessage) -> bool:
        consumed = self._consumed.get((message.model, message.run.partition), 0)
        try:
            check_order(message, consumed)
        except FormatError:
            return False
        return message.run.start >= consumed

    def _now(self, partition: int) -> Heard:
        marks, schema = self._marks.get(partition, Marks()), self._schemas.get(partition)
        unread = schema.unreadable if schema else Unread()
        return Heard(marks.time_of(self._topic), marks.complete_to(self._topic), unread)
