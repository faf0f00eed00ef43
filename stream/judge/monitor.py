"""A model's monitor: panes in, steps out. Without a baseline, the model's first events become one. Pure.

    ModelState()  ──panes of events, until learn_events──►  ModelState(learned baseline)  ──panes──►  steps

Events without a usable value (every value null, or no signal selected) are dropped, and collecting starts over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from driftline.detectors.summaries.codes import Kind
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.judge import DependenceCache, Judge
from driftline.stream.judge.lifecycle import accept
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane


@dataclass(eq=False)
class Monitor:
    """Judges one model under its configuration, against the baseline `given` or one that it learns.

    refusal: why no baseline could be learned from the last sample, "" if it could.
    """

    model: str
    config: ModelConfig
    given: Baseline | None = None
    dependences: DependenceCache = field(default_factory=DependenceCache)
    refusal: str = ""
    _judge: Judge | None = None

    @property
    def compares_with_log(self) -> bool:
        """Whether the reference comes from the log itself: the model's own past, or a baseline that it learned."""
        return self.given is None or self.config.reference == "past"

    def baseline(self, state: ModelState) -> Baseline | None:
        """The baseline that the model is compared with; None while it is learned."""
        return self.given or state.learned

    def judge(self, state: ModelState, pane: Pane[Any]) -> tuple[ModelState, list[Step]]:
        """The state after one pane, of a sketch or of events, and the steps to report.

        A pane that starts before the end of the last one of its partition was judged already, and changes nothing.
        """
        steps = accept(state.superseded, min(pane.first_ts, pane.last_ts))
        state, more = self._judge_next(replace(state, superseded=()), pane)
        numbered = [replace(step, seq=state.last_seq + i) for i, step in enumerate([*steps, *more], 1)]
        return replace(state, last_seq=state.last_seq + len(numbered)), numbered

    def _judge_next(self, state: ModelState, pane: Pane[Any]) -> tuple[ModelState, list[Step]]:
        (run,) = pane.ranges
        if run.start < state.consumed.get(run.partition, 0):
            return state, []
        state = replace(state, consumed={**state.consumed, run.partition: run.end})
        if self.given and state.sample:  # a baseline was given to a model that was still collecting its own
            state = replace(state, sample=())
        baseline = self.baseline(state)
        return self._collect(state, pane) if baseline is None else self._compare(state, baseline, pane)

    def _collect(self, state: ModelState, pane: Pane[tuple[Event, ...]]) -> tuple[ModelState, list[Step]]:
        """Add events to the sample; once it is large enough, learn the baseline and judge the events after it."""
        events = (*state.sample, *pane.content)
        if len(events) < self.config.learn_events:
            return replace(state, sample=events), []
        sample, rest = events[: self.config.learn_events], events[self.config.learn_events :]
        state = replace(state, sample=(), learned=self._learn(sample))
        if state.learned is None or not rest:
            return state, []
        return self._compare(state, state.learned, replace(pane, content=rest, first_ts=rest[0].ts))

    def _learn(self, sample: Sequence[Event]) -> Baseline | None:
        kinds = {name: Kind(kind) for name, kind in self.config.kinds.items()}
        settings = BuildSettings(kinds=kinds, selects=self.config.signals.selects)
        self.refusal = ""
        try:
            return build_baseline(sample, {"model": self.model, "learned": True}, settings)
        except BaselineError as error:
            self.refusal = str(error)
            return None

    def _compare(self, state: ModelState, baseline: Baseline, pane: Pane[Any]) -> tuple[ModelState, list[Step]]:
        # Deriving thresholds takes a second, so a copy of the same baseline, as after a rebalance, keeps the judge.
        if self._judge is None or self._judge.baseline.content_hash != baseline.content_hash:
            self._judge = Judge(baseline, self.config, self.dependences)
        if not isinstance(pane.content, Sketch):
            pane = replace(pane, content=baseline.sketch_events(pane.content))
        judged, steps = self._judge.judge(state.judge or self._judge.start(), pane)
        return replace(state, judge=judged), steps
