"""A model's monitor: panes in, steps out. Without a baseline, the model's first events become one. Pure.

    ModelState()  ──panes of events, until learn_events──►  ModelState(learned baseline)  ──panes──►  steps

Events without a usable value (every value null, or no signal selected) are dropped, and collecting starts over. When
the events hold too many values (`limits.sample_values`), the baseline is learned from fewer events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from driftline.detectors.decision.traffic import EVERY_DAY, Calendar
from driftline.detectors.summaries.codes import Kind
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.watched import Signals
from driftline.stream.config.limits import Limits
from driftline.stream.config.sections import FEWEST_EVENTS, ModelConfig
from driftline.stream.events.event import Event, values_of
from driftline.stream.judge.absence import TrafficJudge
from driftline.stream.judge.carry import begin, carry_over, gone, projected, projection
from driftline.stream.judge.clock import later, told_by
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.judge import DependenceCache, Judge
from driftline.stream.judge.lifecycle import end, leave
from driftline.stream.judge.schema import Unread
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Source

_ALL_READ = Unread()


def forget(state: ModelState) -> tuple[ModelState, list[Step]]:
    """What is remembered of a model that is forgotten, and the ends of its open incidents.

    That is nothing or, if there were alerts, the number of the newest: relays skip those that they have seen.
    """
    judge = state.judge
    panes = [] if judge is None else [*judge.history, *([judge.pending] if judge.pending else [])]
    traffic = state.traffic and state.traffic.incident
    incidents = [*state.incidents.values(), *([traffic] if traffic else [])]
    at = panes[-1].last_ts if panes else max((each.entered for each in incidents), default=0)
    state, steps = _with_numbers(state, end(incidents, at))
    return (ModelState(state.consumed, last_seq=state.last_seq) if state.last_seq else ModelState()), steps


def _with_numbers(state: ModelState, steps: Sequence[Step]) -> tuple[ModelState, list[Step]]:
    """The state after these steps, and the steps with their numbers."""
    numbered = [replace(step, seq=state.last_seq + i) for i, step in enumerate(steps, 1)]
    return replace(state, last_seq=state.last_seq + len(steps)), numbered


@dataclass(eq=False)
class Monitor:
    """Judges one model under its configuration, against the baseline `given` or one that it learns.

    limits: `sample_values` of a warm-up, and `signals` of a learned baseline. calendar: when its traffic says nothing.
    refusal: why no baseline could be learned from the last sample, "" if it could. learned_format: version of the
    format in which a learned baseline is stored, one that all workers of the group read; from 2 on, without its blocks.
    portable: whether a history is stored with its layout.
    """

    model: str
    config: ModelConfig
    given: Baseline | None = None
    limits: Limits = field(default_factory=Limits)
    dependences: DependenceCache = field(default_factory=DependenceCache)
    calendar: Calendar = EVERY_DAY
    refusal: str = ""
    learned_format: int = 1
    portable: bool = False
    _judge: Judge | None = None

    def learns_from(self, state: ModelState, pane: Pane[Any]) -> bool:
        """Whether the model learns its baseline when it judges this pane."""
        collects = self.baseline(state) is None and not isinstance(pane.content, Sketch)
        return collects and self._fill(state, pane.content)[2]

    def takes_long(self, state: ModelState, pane: Pane[Any]) -> bool:
        """Whether judging this pane takes seconds, to learn a baseline or to derive its thresholds."""
        baseline = self.baseline(state)
        if baseline is None:
            return self.learns_from(state, pane)
        return baseline.derived is None and not self._has_judge_of(baseline)

    def shortened_by(self, learned: Baseline) -> str:
        """Why the baseline was learned from fewer events than `learn_events`, "" if it was not."""
        if learned.total.n >= self.config.learn_events:
            return ""
        return (
            f"learn_events is {self.config.learn_events:,}, but {learned.total.n:,} events hold "
            f"{self.limits.sample_values:,} values; for more, raise limits.sample_values"
        )

    @property
    def compares_with_log(self) -> bool:
        """Whether the reference comes from the log itself: the model's own past, or a baseline that it learned."""
        return self.given is None or self.config.reference == "past"

    def baseline(self, state: ModelState) -> Baseline | None:
        """The baseline that the model is compared with; None while it is learned."""
        return self.given or state.learned

    def judge(
        self,
        state: ModelState,
        pane: Pane[Any],
        topic: str = "",
        ticks: int = 0,
        counted_in: Signals | None = None,
    ) -> tuple[ModelState, list[Step]]:
        """The state after one pane, of a sketch or of events, and the steps to report.

        A pane that starts before the end of the last one of its partition was judged already, and changes nothing.
        topic: of its events, "" for the predictions topic. ticks: the largest time of a tick so far, epoch ms; 0 before
        the first. counted_in: the signals of a sketch's layout; by default, those of the baseline that the model is
        compared with.
        """
        (run,) = pane.ranges
        source = Source(run.partition, topic)
        if run.start < state.consumed.get(source, 0):
            return state, []
        state = replace(state, consumed={**state.consumed, source: run.end})
        if topic:  # the offsets that an alert gives are those of the predictions topic
            pane = replace(pane, ranges=())
        else:
            state = replace(state, traffic=self._traffic_judge.count(state.traffic, pane.slots))
        pane = replace(pane, slots=())  # the history of panes needs none
        state, steps = self._carry_over(state, later(state.clock, ticks, min(pane.first_ts, pane.last_ts)))
        baseline = self.baseline(state)
        if baseline is None:
            state, more = self._collect(state, pane, ticks)
        else:
            state, more = self._compare(state, baseline, pane, ticks, counted_in)
        return _with_numbers(state, [*steps, *more])

    @cached_property
    def _traffic_judge(self) -> TrafficJudge:
        return TrafficJudge(self.config, self.calendar, self.given.rates if self.given else None)

    def tick(
        self, state: ModelState, ticks: int, until: int = 0, unread: Unread = _ALL_READ
    ) -> tuple[ModelState, list[Step]]:
        """The state when it has become `ticks`, and the steps to report; the same object if nothing has changed.

        ticks, until: epoch ms up to which the farthest partition of the predictions topic, and every one, was read; 0
        if that is not known, and traffic not judged. unread: messages of the topic that could not be read.
        """
        after, steps = self._tick_drifts(state, ticks)
        traffic, more = self._traffic_judge.judge(after.traffic, until, ticks, unread)
        if traffic is not after.traffic:
            after = replace(after, traffic=traffic)
        return (state, []) if after is state else _with_numbers(after, [*steps, *more])

    def _tick_drifts(self, state: ModelState, ticks: int) -> tuple[ModelState, list[Step]]:
        """The state after incidents whose time has come; the same object if nothing has changed."""
        baseline, judged = self.baseline(state), state.judge
        if baseline is None or judged is None or not state.incidents:
            return state, []
        clock, life_cycle = later(state.clock, ticks), Judge(baseline, self.config, self.dependences).life_cycle
        incidents, steps = life_cycle.advance(state.incidents, [], (), judged.seen, clock)
        if not steps and [*map(id, incidents.values())] == [*map(id, state.incidents.values())]:
            return state, []
        return replace(state, incidents=incidents, clock=clock), steps

    def _carry_over(self, state: ModelState, at: int) -> tuple[ModelState, list[Step]]:
        """What is remembered against another baseline, carried over to the one that the model is compared with now."""
        baseline, judge = self.baseline(state), state.judge
        if self.given and state.sample:  # a baseline was given to a model that was still collecting its own
            state = replace(state, sample=(), values=0)
        if baseline is None:
            ends = end(state.incidents.values(), at)
            return replace(state, judge=None, incidents={}, unreadable=False), ends
        if judge and judge.baseline == baseline.content_hash:
            return state, []
        leaving = gone(state.drifts, judge.signals if judge else None, baseline)
        incidents, steps = leave(state.incidents, leaving, at)
        carried = judge and carry_over(judge, baseline)
        return replace(state, judge=carried, incidents=incidents, unreadable=False), steps

    def _collect(self, state: ModelState, pane: Pane[tuple[Event, ...]], ticks: int) -> tuple[ModelState, list[Step]]:
        """Add events to the sample; once it is large enough, learn the baseline and judge the events after it."""
        count, values, complete = self._fill(state, pane.content)
        sample, rest = (*state.sample, *pane.content[:count]), pane.content[count:]
        if not complete:
            return replace(state, sample=sample, values=values), []
        state = replace(state, sample=(), values=0, learned=self._learn(sample))
        if state.learned is None or not rest:
            return state, []
        rest_of_pane = replace(pane, content=rest, first_ts=rest[0].ts)
        return self._compare(state, state.learned, rest_of_pane, ticks)

    def _fill(self, state: ModelState, events: Sequence[Event]) -> tuple[int, int, bool]:
        """How many of the events the sample takes, how many values it holds then, and whether it is complete."""
        values = state.values
        for count, event in enumerate(events, 1):
            values, size = values + values_of(event), len(state.sample) + count
            if size >= self.config.learn_events or (values >= self.limits.sample_values and size >= FEWEST_EVENTS):
                return count, values, True
        return len(events), values, False

    def _learn(self, sample: Sequence[Event]) -> Baseline | None:
        kinds = {name: Kind(kind) for name, kind in self.config.kinds.items()}
        settings = BuildSettings(
            kinds=kinds,
            selects=self.config.signals.selects,
            most=self.limits.signals,
            format_version=self.learned_format,
        )
        self.refusal = ""
        try:
            learned = build_baseline(sample, {"model": self.model, "learned": True}, settings)
            return learned.without_blocks() if self.learned_format > 1 else learned
        except BaselineError as error:
            self.refusal = str(error)
            return None

    def _compare(
        self, state: ModelState, baseline: Baseline, pane: Pane[Any], ticks: int, counted_in: Signals | None = None
    ) -> tuple[ModelState, list[Step]]:
        # Deriving thresholds takes a second, so a copy of the same baseline, as after a rebalance, keeps the judge.
        if self._judge is None or not self._has_judge_of(baseline):
            self._judge = Judge(baseline, self.config, self.dependences)
        if not isinstance(pane.content, Sketch):
            pane = replace(pane, content=baseline.sketch_events(pane.content))
        judge = replace(state.judge or self._judge.start(), portable=self.portable)
        if counted_in is not None and counted_in != baseline.watched:
            onto = projection(counted_in, baseline.watched)
            pane, judge = projected(pane, onto), begin(judge, onto.absent, judge.end + pane.content.n)
        judge, incidents, steps = self._judge.judge(judge, state.incidents, pane, state.clock, ticks)
        clock = later(state.clock, ticks, told_by(judge.history)) if ticks and judge.pending is None else state.clock
        return replace(state, judge=judge, incidents=incidents, clock=clock), steps

    def _has_judge_of(self, baseline: Baseline) -> bool:
        return self._judge is not None and self._judge.baseline.content_hash == baseline.content_hash
