"""A model's monitor: panes in, steps out. Without a baseline, the model's first events become one. Pure.

    ModelState()  ──panes of events, until learn_events──►  ModelState(learned baseline)  ──panes──►  steps

Events without a usable value (every value null, or no signal selected) are dropped, and collecting starts over. When
the events hold too many values (`limits.sample_values`), the baseline is learned from fewer events.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from driftline.detectors.decision.traffic import EVERY_DAY, Calendar
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.watched import Signals
from driftline.stream.config.limits import Limits
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.absence import TrafficJudge
from driftline.stream.judge.alike import by_half_hour
from driftline.stream.judge.carry import begin, carry_over, gone, projected, projection
from driftline.stream.judge.clock import believed, later, time_of
from driftline.stream.judge.dependences import DependenceCache
from driftline.stream.judge.disuse import earliest, is_out_of_use
from driftline.stream.judge.incidents import Resolution, Step, Subject
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.late_labels import LabelJoin
from driftline.stream.judge.lifecycle import LifeCycle, end, leave
from driftline.stream.judge.numbers import with_numbers
from driftline.stream.judge.outcome_figures import NEWEST
from driftline.stream.judge.outcomes import OutcomesJudge, outcomes_in
from driftline.stream.judge.schema import ALL_READ, Unread
from driftline.stream.judge.state import JudgeState, ModelState
from driftline.stream.judge.timeline import time_of_pane
from driftline.stream.judge.waiting import Waiting
from driftline.stream.judge.warm_up import filled, learned_from
from driftline.stream.outcomes.halves import LabelHalves
from driftline.stream.panes.pane import Pane, Source
from driftline.stream.panes.tracks import by_track, is_track

# Versions of a model that learn baselines of their own; each takes as much room as a model. Further ones are judged
# together: without that, a version that changes with every event would be a model with every event.
_LEARNED = 8
NO_LAYOUTS: Mapping[str, Signals] = MappingProxyType({})


@dataclass(eq=False)
class Monitor:
    """Judges one model under its configuration, against the baseline `given` or one that it learns.

    limits: `sample_values` of a warm-up, and `signals` of a learned baseline. calendar: when its traffic says nothing.
    refusal: why no baseline could be learned from the last sample, "" if it could. learned_format: version of the
    format in which a learned baseline is stored, one that all workers of the group read; from 2 on, without its blocks.
    portable: whether a history is stored with its layout. timelines: whether timelines may be stored. remembers,
    by_slope, weighs: as in `Judge`. joins: as in `LabelJoin`. versions: the baselines given to versions of the model.
    former: by track, what those without a reference were compared with before; it is, for sketches that still come.
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
    timelines: bool = False
    remembers: bool = False
    by_slope: bool = False
    weighs: bool = False
    joins: bool = False
    versions: Mapping[str, Baseline] = field(default_factory=dict)
    former: Mapping[str, Baseline] = field(default_factory=dict)
    _judges: dict[str, Judge] = field(default_factory=dict)

    def learns_from(self, state: ModelState, pane: Pane[Any], ticks: int) -> bool:
        """Whether the model learns its baseline when it judges this pane. ticks: as in `judge`."""
        return any(self._learns(state.seen_by(track), track, own) for track, own in self._sort(state, pane, ticks)[0])

    def _learns(self, state: ModelState, track: str, content: Any) -> bool:
        collects = self._reference(state, track) is None and not isinstance(content, Sketch)
        return collects and self._fill(state, content)[2]

    def takes_long(self, state: ModelState, pane: Pane[Any], ticks: int) -> bool:
        """Whether judging this pane takes seconds, to learn a baseline or derive thresholds. ticks: as in `judge`."""
        parts, _ = self._sort(state, pane, ticks)
        return any(self._takes_long(state.seen_by(track), track, own) for track, own in parts)

    def _takes_long(self, state: ModelState, track: str, content: Any) -> bool:
        baseline = self._reference(state, track)
        if baseline is None:
            return self._learns(state, track, content)
        return baseline.derived is None and not self._has_judge_of(baseline, track)

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

    def with_former(self, former: Mapping[str, Baseline]) -> Monitor:
        """The monitor for a pane with sketches of tracks that have no reference any more."""
        return dataclasses.replace(self, former=former) if former else self

    @property
    def is_configured(self) -> bool:
        """Whether a baseline is given for the model, or for some of its versions: then it needs no room of others."""
        return self.given is not None or bool(self.versions)

    def baseline(self, state: ModelState) -> Baseline | None:
        """The baseline that the model is compared with; None while it is learned."""
        return self.given or state.learned

    def baselines(self, state: ModelState) -> dict[str, Baseline]:
        """The baseline of each track that has one."""
        tracks = dict.fromkeys(["", *self.versions, *state.tracks])
        found = {track: self._reference(state.seen_by(track), track) for track in tracks}
        return {track: baseline for track, baseline in found.items() if baseline is not None}

    def _reference(self, state: ModelState, track: str) -> Baseline | None:
        """The baseline of a track; None while it is learned. state: as the track sees it."""
        return (self.versions.get(track) if track else self.given) or state.learned or self.former.get(track)

    def judge(
        self,
        state: ModelState,
        pane: Pane[Any],
        topic: str = "",
        ticks: int = 0,
        counted_in: Mapping[str, Signals] = NO_LAYOUTS,
        until: int = 0,
    ) -> tuple[ModelState, list[Step]]:
        """The state after one pane, of sketches or of events, and the steps to report.

        A pane that starts before the end of the last one of its partition was judged already, and changes nothing.
        topic: of its events, "" for the predictions topic. ticks: the largest time of a tick so far, epoch ms; 0 before
        the first. counted_in: by track, the signals of a sketch's layout; by default, those of the baseline that the
        track is compared with. until: as for `tick`.
        """
        (run,) = pane.ranges
        source = Source(run.partition, topic)
        if run.start < state.consumed.get(source, 0):
            return state, []
        state = replace(state, consumed={**state.consumed, source: run.end})
        if isinstance(pane.content, LabelHalves):
            return self._label_join.learn(state, pane), []
        if topic:  # the offsets that an alert gives are those of the predictions topic
            pane = replace(pane, ranges=())
        else:
            traffic = self._traffic_judge.count(state.traffic, pane.slots, until)
            state = state if traffic is state.traffic else replace(state, traffic=traffic)
        parts, tracks = self._sort(state, pane, ticks)
        state = self._label_join.expect(state, pane, parts)
        here = {track for track, _ in parts}
        state, steps = self._drop_tracks(state, here, tracks, later(state.clock, ticks, earliest(pane)), ticks)
        for track, content in parts:
            if track and track not in tracks:
                continue  # counted in a baseline that its version no longer has
            own, more = self._judge(state.seen_by(track), replace(pane, content=content), track, ticks, counted_in)
            state, steps = state.after_track(track, own), [*steps, *more]
        return with_numbers(state, steps)

    def _sort(self, state: ModelState, pane: Pane[Any], ticks: int) -> tuple[list[tuple[str, Any]], Collection[str]]:
        """The contents of a pane, each with its track, and the tracks of versions that the model has after it.

        Events belong to their version if it has a baseline, or learns its own.
        """
        parts = dict(by_track(pane.content))
        learned = [track for track in state.tracks if track not in self.versions and self._learns_alone(state, track)]
        if not self.versions or not isinstance(parts.get(""), tuple):
            return [*parts.items()], {*self.versions, *self.former, *learned}
        here = {*parts, *(event.version for event in parts[""])}
        silent = (each for each in [*learned] if each not in here and is_out_of_use(state.seen_by(each), ticks))
        events: dict[str, list[Event]] = {}
        for event in parts.pop(""):
            track = event.version if is_track(event.version) and self._has_room(event.version, learned, silent) else ""
            events.setdefault(track, []).append(event)
        contents = [*parts.items(), *((track, tuple(own)) for track, own in events.items())]
        return contents, {*self.versions, *self.former, *learned}

    def _learns_alone(self, state: ModelState, track: str) -> bool:
        """Whether a version in the state still learns its own baseline, or has."""
        own = state.tracks[track]
        return bool(self.versions) and self.given is None and (own.judge is None or own.learned is not None)

    def _has_room(self, version: str, learned: list[str], silent: Iterator[str]) -> bool:
        """Whether a version is a track; it is added to those that learn their own if there is room, or a silent one."""
        if version in self.versions or version in learned:
            return True
        if self.given is not None:
            return False
        if len(learned) >= _LEARNED and (out_of_use := next(silent, "")):
            learned.remove(out_of_use)
        if len(learned) >= _LEARNED:
            return False
        learned.append(version)
        return True

    def _judge(
        self, state: ModelState, pane: Pane[Any], track: str, ticks: int, counted_in: Mapping[str, Signals]
    ) -> tuple[ModelState, list[Step]]:
        """What a track sees after its events of a pane, and the steps. state: as it sees it."""
        state, steps = self._carry_over(state, track, later(state.clock, ticks, earliest(pane)))
        baseline = self._reference(state, track)
        if baseline is not None:
            state, more = self._compare(state, baseline, pane, track, ticks, counted_in.get(track))
        elif track and isinstance(pane.content, Sketch):
            more = []  # counted in a baseline that its version no longer has
        else:
            state, more = self._collect(state, pane, track, ticks)
        return state, [*steps, *more]

    def _drop_tracks(
        self, state: ModelState, here: Collection[str], kept: Collection[str], at: int, ticks: int
    ) -> tuple[ModelState, list[Step]]:
        """The state without the tracks that are not `kept`, and the ends of incidents. here: tracks of the pane.

        What was found in those, in silent ones, or against a baseline that is not given any more, can neither recover
        nor be found again.
        """
        if not (state.tracks or self.versions):
            return state, []
        gone = {track for track in state.tracks if track not in kept}
        found, own = {each.track for each in state.drifts}, state.seen_by
        left = {track for track in found if track in gone or self._reference(own(track), track) is None}
        left |= {track for track in found.difference(left, here) if is_out_of_use(own(track), ticks)}
        leaving: dict[Subject, Resolution] = {each.subject: "unwatched" for each in state.drifts if each.track in left}
        incidents, steps = leave(state.incidents, leaving, at) if leaving else (state.incidents, [])
        for track in gone:
            self._judges.pop(track, None)
        tracks = {track: each for track, each in state.tracks.items() if track not in gone}
        return replace(state, incidents=incidents, tracks=tracks), steps

    @cached_property
    def _outcomes_judge(self) -> OutcomesJudge:
        return OutcomesJudge(self.config)

    def figures(self, state: ModelState, track: str) -> dict[str, float]:
        """How well a track does now, see `stream.judge.outcome_figures`."""
        own = state.seen_by(track)
        waiting, baseline = (state.waiting or Waiting()).newest(track, NEWEST), self._reference(own, track)
        return self._outcomes_judge.figures(own.outcomes, baseline, track, waiting) if baseline else {}

    @property
    def _label_join(self) -> LabelJoin:
        return LabelJoin(self.config, self._outcomes_judge, self.joins)

    @cached_property
    def _traffic_judge(self) -> TrafficJudge:
        return TrafficJudge(self.config, self.calendar, self.given.rates if self.given else None)

    def tick(
        self, state: ModelState, ticks: int, until: int = 0, unread: Unread = ALL_READ, joined: int = 0
    ) -> tuple[ModelState, list[Step]]:
        """The state when it has become `ticks`, and the steps to report; the same object if nothing has changed.

        ticks, until: epoch ms up to which the farthest partition of the predictions topic, and every one, was read; 0
        if that is not known, and traffic not judged. unread: messages of the topic that could not be read. joined: up
        to which every partition of the labels topic was read, too; 0 if that is not known.
        """
        after, steps = self._tick_drifts(state, ticks)
        until = until if state.traffic or state.has_history else 0  # nothing is expected of a model that was forgotten
        traffic, more = self._traffic_judge.judge(after.traffic, until, ticks, unread, lambda: after.newest)
        if traffic is not after.traffic:
            after = replace(after, traffic=traffic)
        after, outcomes = self._label_join.tick(after, ticks, joined, partial(self._reference_of, after))
        return (state, []) if after is state else with_numbers(after, [*steps, *more, *outcomes])

    def tick_takes_long(self, state: ModelState, joined: int) -> bool:
        """Whether `tick` may take a second. joined: as there."""
        return self._label_join.takes_long(state, joined)

    def _reference_of(self, state: ModelState, track: str) -> Baseline | None:
        return self._reference(state.seen_by(track), track)

    def _tick_drifts(self, state: ModelState, ticks: int) -> tuple[ModelState, list[Step]]:
        """The state after incidents whose time has come; the same object if nothing has changed."""
        if not state.incidents or not any(self._is_judged(state.seen_by(each), each) for each in ("", *state.tracks)):
            return state, []
        # Only findings open an incident, which names its baseline.
        clock, life_cycle = later(state.clock, ticks), LifeCycle(self.config.incidents, baseline="")
        incidents, steps = life_cycle.advance(state.incidents, [], (), state.seen, clock)
        if not steps and [*map(id, incidents.values())] == [*map(id, state.incidents.values())]:
            return state, []
        return replace(state, incidents=incidents, clock=clock), steps

    def _is_judged(self, state: ModelState, track: str) -> bool:
        return state.judge is not None and self._reference(state, track) is not None

    def _carry_over(self, state: ModelState, track: str, at: int) -> tuple[ModelState, list[Step]]:
        """What is remembered against another baseline, carried over to the one that the track is compared with now."""
        baseline, judge = self._reference(state, track), state.judge
        if baseline is not None and baseline is not state.learned and state.sample:
            state = replace(state, sample=(), values=0)  # it was given while the track was still collecting its own
        drifts = [each for each in state.drifts if each.track == track]
        if baseline is None and not state.tracks and not track:
            ends = end(state.incidents.values(), at)
            return replace(state, judge=None, outcomes=None, incidents={}, unreadable=False), ends
        if baseline is None:
            incidents, steps = leave(state.incidents, {each.subject: "unwatched" for each in drifts}, at)
            return replace(state, judge=None, outcomes=None, incidents=incidents, unreadable=False), steps
        if judge and judge.baseline == baseline.content_hash:
            return state, []
        leaving = gone(drifts, judge.signals if judge else None, baseline)
        incidents, steps = leave(state.incidents, leaving, at)
        carried = judge and carry_over(judge, baseline)
        return replace(state, judge=carried, incidents=incidents, unreadable=False), steps

    def _collect(
        self, state: ModelState, pane: Pane[tuple[Event, ...]], track: str, ticks: int
    ) -> tuple[ModelState, list[Step]]:
        """Add events to the sample; once it is large enough, learn the baseline and judge the events after it."""
        count, values, complete = self._fill(state, pane.content)
        sample, rest = (*state.sample, *pane.content[:count]), pane.content[count:]
        if not complete:
            return replace(state, sample=sample, values=values), []
        state = replace(state, sample=(), values=0, learned=self._learn(sample))
        if state.learned is None or not rest:
            return state, []
        rest_of_pane = replace(pane, content=rest, first_ts=rest[0].ts)
        return self._compare(state, state.learned, rest_of_pane, track, ticks)

    def _fill(self, state: ModelState, events: Sequence[Event]) -> tuple[int, int, bool]:
        most = self.config.learn_events, self.limits.sample_values
        return filled(len(state.sample), state.values, events, *most)

    def _learn(self, sample: Sequence[Event]) -> Baseline | None:
        self.refusal = ""
        try:
            return learned_from(sample, self.model, self.config, self.limits, self.learned_format, self.by_slope)
        except BaselineError as error:
            self.refusal = str(error)
            return None

    def _compare(
        self,
        state: ModelState,
        baseline: Baseline,
        pane: Pane[Any],
        track: str,
        ticks: int,
        counted_in: Signals | None = None,
    ) -> tuple[ModelState, list[Step]]:
        outcomes = outcomes_in(baseline, pane, track) if self.config.outcomes.labels == "event" else None
        # Deriving thresholds takes a second, so a copy of the same baseline, as after a rebalance, keeps the judge.
        if not self._has_judge_of(baseline, track):
            of_level = self.remembers, self.by_slope, self.weighs
            self._judges[track] = Judge(baseline, self.config, self.dependences, track, *of_level)
        made = believed(time_of_pane(pane), ticks)
        # Only workers that read portable histories know of tracks, and of phases.
        portable = self.portable or bool(track)
        alike = self._judges[track].alike if portable else None
        cycles = alike.cycles if alike else None
        pane = replace(pane, outcomes=(), stubs=(), slots=pane.slots if cycles else ())
        pane = by_half_hour(pane, cycles) if cycles else pane
        if not isinstance(pane.content, Sketch):
            pane = replace(pane, content=baseline.sketch_events(pane.content))
        judge = state.judge or self._judges[track].start()
        judge = judge if judge.portable == portable else replace(judge, portable=portable)
        if counted_in is not None and counted_in != baseline.watched:
            onto = projection(counted_in, baseline.watched)
            pane, judge = projected(pane, onto), begin(judge, onto.absent, judge.end + pane.content.n)
        judge = self._counted(judge, pane, track, made)
        times, own = (state.clock, ticks), self._judges[track]
        others = [each.judge.history for each in state.tracks.values() if each.judge is not None]
        judge, incidents, steps = own.judge(judge, state.incidents, pane, *times, state.elsewhere, others)
        clock = later(state.clock, ticks, time_of(judge.history)) if ticks and judge.pending is None else state.clock
        at = later(state.clock, ticks, time_of(judge.history) if judge.history else earliest(pane))
        state = replace(state, judge=judge, incidents=incidents, clock=clock)
        state, more = self._outcomes_judge.judge(state, baseline, outcomes, pane, track, at, made)
        return state, [*steps, *more]

    def _counted(self, judge: JudgeState, pane: Pane[Sketch], track: str, at: int) -> JudgeState:
        """The state with a pane counted in its timeline, if one is kept. at: epoch ms."""
        counter = self._judges[track].counter if self.timelines else None
        timeline = counter.count(judge.timeline, pane, at) if counter else None
        return replace(judge, timeline=timeline)

    def _has_judge_of(self, baseline: Baseline, track: str) -> bool:
        judge = self._judges.get(track)
        same = judge and (judge.remembers, judge.by_slope, judge.weighs) == (self.remembers, self.by_slope, self.weighs)
        return bool(judge and same and judge.baseline.content_hash == baseline.content_hash)
