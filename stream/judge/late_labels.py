"""Labels that come by themselves: what becomes of a model's state by them, and by the ticks that close a slot. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.clock import later
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.outcomes import OutcomesJudge
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.waiting import Waiting
from driftline.stream.outcomes.halves import LabelHalves, Stubs
from driftline.stream.panes.pane import Pane

# Predictions and labels whose join may take a second, where all their slots are closed at once, as after an outage:
# each takes some 10 µs.
_MANY = 50_000
#: The baseline that a track is compared with, None while it has none.
ReferenceOf = Callable[[str], Baseline | None]


@dataclass
class LabelJoin:
    """Joins the labels of one model under its configuration, and has its outcomes judged.

    joins: whether predictions and labels may be stored.
    """

    config: ModelConfig
    judge: OutcomesJudge
    joins: bool

    @property
    def is_asked(self) -> bool:
        """Whether labels come by themselves, and may."""
        return self.joins and self.config.outcomes.labels == "topic"

    def expect(self, state: ModelState, pane: Pane[Any], parts: Iterable[tuple[str, Any]]) -> ModelState:
        """The state with the predictions of a pane. parts: its contents by track."""
        if not self.is_asked:
            return state if state.waiting is None else replace(state, waiting=None)
        waiting, given = state.waiting or Waiting(), dict(pane.stubs)
        for track, content in parts:
            stubs = Stubs.of_events(content) if isinstance(content, tuple) else given.get(track)
            if stubs is not None:
                waiting = waiting.expect(track, stubs, pane.ranges[0], self.judge.bounds)
        return replace(state, waiting=waiting)

    def learn(self, state: ModelState, pane: Pane[LabelHalves]) -> ModelState:
        """The state with the labels of a pane."""
        if not self.is_asked:
            return state
        waiting = state.waiting or Waiting()
        return replace(state, waiting=waiting.learn(pane.content, pane.ranges[0], self.judge.bounds))

    def takes_long(self, state: ModelState, until: int) -> bool:
        """Whether `tick` may take a second."""
        waiting = state.waiting
        return (
            self.is_asked and waiting is not None and waiting.is_due(until, self.judge.bounds) and waiting.rows > _MANY
        )

    def tick(
        self, state: ModelState, ticks: int, until: int, reference_of: ReferenceOf
    ) -> tuple[ModelState, list[Step]]:
        """The state when both topics are read up to `until`, epoch ms, and the steps that outcomes cause.

        The same object if nothing has changed. Slots wait while no track has a reference: it is being learned.
        """
        if state.waiting is None or not self.is_asked or not state.waiting.is_due(until, self.judge.bounds):
            return state, []
        known = {track: each for track in state.waiting.stubs if (each := reference_of(track)) is not None}
        if state.waiting.stubs and not known:
            return state, []
        coding = {track: each.coding for track, each in known.items()}
        waiting, slots = state.waiting.close(until, self.judge.bounds, coding.get)
        state, steps = replace(state, waiting=waiting), list[Step]()
        for slot in slots:
            for track, pane in ((track, pane) for track, panes in slot.items() for pane in panes):
                own, at = state.seen_by(track), later(state.clock, ticks, pane.last_ts)
                own, more = self.judge.judge(own, known[track], pane.content, pane, track, at, pane.first_ts)
                state, steps = state.after_track(track, own), [*steps, *more]
        return state, steps
