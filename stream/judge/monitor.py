"""A model's monitor: panes in, steps out; without a baseline, the model's first events become one. Pure.

    Memory()  ──panes of events, until learn_events──►  Memory(learned baseline)  ──panes──►  steps

Events that hold nothing to learn from (every value null, or none selected) are forgotten, and learning begins anew.
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
from driftline.stream.judge.lifecycle import accepted
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane


@dataclass(eq=False)
class Monitor:
    """Watches one model under its configuration, against `given`, its baseline, or one that it learns."""

    model: str
    config: ModelConfig
    given: Baseline | None = None
    dependences: DependenceCache = field(default_factory=DependenceCache)
    _judging: Judge | None = None

    @property
    def compares_with_log(self) -> bool:
        """Whether the reference comes from the log itself: the model's own past, or a baseline that it learned."""
        return self.given is None or self.config.reference == "past"

    def baseline(self, memory: ModelState) -> Baseline | None:
        """What the model is compared with; None while it learns."""
        return self.given or memory.learned

    def judge(self, memory: ModelState, pane: Pane[Any]) -> tuple[ModelState, list[Step]]:
        """The memory after one pane, of a sketch or of events, and what there is to tell.

        A pane that starts before what its partition has delivered was taken before, and changes nothing.
        """
        steps = accepted(memory.superseded, min(pane.first_ts, pane.last_ts))
        memory, more = self._judge_next(replace(memory, superseded=()), pane)
        numbered = [replace(step, seq=memory.last_seq + i) for i, step in enumerate([*steps, *more], 1)]
        return replace(memory, last_seq=memory.last_seq + len(numbered)), numbered

    def _judge_next(self, memory: ModelState, pane: Pane[Any]) -> tuple[ModelState, list[Step]]:
        (run,) = pane.ranges
        if run.start < memory.consumed.get(run.partition, 0):
            return memory, []
        memory = replace(memory, consumed={**memory.consumed, run.partition: run.end})
        if self.given and memory.sample:  # a baseline was given to a model that was still learning
            memory = replace(memory, sample=())
        baseline = self.baseline(memory)
        return self._learn(memory, pane) if baseline is None else self._judge(memory, baseline, pane)

    def _learn(self, memory: ModelState, pane: Pane[tuple[Event, ...]]) -> tuple[ModelState, list[Step]]:
        events = (*memory.sample, *pane.content)
        if len(events) < self.config.learn_events:
            return replace(memory, sample=events), []
        sample, rest = events[: self.config.learn_events], events[self.config.learn_events :]
        memory = replace(memory, sample=(), learned=self._learned(sample))
        if memory.learned is None or not rest:
            return memory, []
        return self._judge(memory, memory.learned, replace(pane, content=rest, first_ts=rest[0].ts))

    def _learned(self, sample: Sequence[Event]) -> Baseline | None:
        kinds = {name: Kind(kind) for name, kind in self.config.kinds.items()}
        settings = BuildSettings(kinds=kinds, selects=self.config.signals.selects)
        try:
            return build_baseline(sample, {"model": self.model, "learned": True}, settings)
        except BaselineError:
            return None

    def _judge(self, memory: ModelState, baseline: Baseline, pane: Pane[Any]) -> tuple[ModelState, list[Step]]:
        # Its thresholds take a second to derive: not again for each copy of a baseline, as after every rebalance.
        if self._judging is None or self._judging.baseline.content_hash != baseline.content_hash:
            self._judging = Judge(baseline, self.config, self.dependences)
        if not isinstance(pane.content, Sketch):
            pane = replace(pane, content=baseline.sketch_events(pane.content))
        state, steps = self._judging.judge(memory.judge or self._judging.start(), pane)
        return replace(memory, judge=state), steps
