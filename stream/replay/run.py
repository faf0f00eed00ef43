"""Replay: the pipeline over the logs of one topic, at full speed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.baselines.unseen import unseen_remarks
from driftline.stream.config.remarks import unknown_upstreams, unused_settings
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import Defect
from driftline.stream.events.frames import Schema
from driftline.stream.events.mapping import NATIVE
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.events.rejections import Rejections
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.judge.floors import unjudged_outcomes
from driftline.stream.judge.incidents import Incident, Step
from driftline.stream.judge.lateness import are_late, label_lags, late_remark
from driftline.stream.judge.resolution import small_baseline_remarks
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.timeline import Timeline
from driftline.stream.judge.waiting import Counts
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.panes.history import History
from driftline.stream.panes.pane import Run
from driftline.stream.replay.pipeline import LogBatch, ModelCounts, Pipeline, merge_runs

#: Logs of the partitions of a topic.
Logs = Mapping[int, Iterable[LogBatch]]
NO_LOGS: Logs = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Record:
    """What a replay keeps for a report.

    histories, references: the events by time, and the baselines that they were compared with, by model and track.
    steps: of incidents, in order, each with its model. open: the incidents that were open at the end, by model.
    outcomes: the timelines of outcomes, by model and track.
    """

    histories: Mapping[tuple[str, str], History]
    references: Mapping[tuple[str, str], Baseline]
    steps: Sequence[tuple[str, Step]]
    open: Mapping[str, Sequence[Incident]]
    outcomes: Mapping[tuple[str, str], Timeline]


class LabelMessages(NamedTuple):
    """How many messages of labels were read and how many of them are none, with the first reason."""

    read: int = 0
    refused: int = 0
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.refused:,} of {self.read:,} labels are unusable ({self.reason})"


@dataclass
class ReplayResult:
    """The alerts of a replay, and what was read.

    events: number of events accepted. defects: how often a value counted under a special code, by place and not by
    value, since values are unbounded; examples: the first reason of each. counts: what became of the events, by model.
    watched: the names of the signals that were judged, by model. constant: models of which all of these are constant in
    the baseline. unwatched: the fields that no signal watches.
    remarks: what has no effect on these events, of the configuration and the baselines, and baselines that are small.
    record: for reports, if it was asked for. labels: what became of predictions and labels, by model, where these come
    by themselves. label_messages: of these, what was read.
    """

    alerts: list[IncidentAlert] = field(default_factory=list)
    events: int = 0
    rejected: Rejections = field(default_factory=lambda: Rejections(NATIVE))
    defects: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    counts: dict[str, ModelCounts] = field(default_factory=dict)
    watched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    constant: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)
    unwatched: list[Unwatched] = field(default_factory=list)
    record: Record | None = None
    labels: dict[str, Counts] = field(default_factory=dict)
    label_messages: LabelMessages = LabelMessages()

    @property
    def recorded(self) -> Record:
        """The record. Raises ValueError if it was not asked for."""
        if self.record is None:
            raise ValueError("a replay that keeps no history has nothing to report")
        return self.record

    @property
    def read(self) -> int:
        """Number of events read, and of messages and rows rejected."""
        return self.events + self.rejected.total

    @property
    def judged(self) -> int:
        """Number of events judged."""
        return sum(each.judged for each in self.counts.values())

    @property
    def learned(self) -> dict[str, int]:
        """Models whose baseline was learned from their first events, and how many those were."""
        return {model: each.learned_from for model, each in self.counts.items() if each.learned_from}

    @property
    def without_baseline(self) -> dict[str, int]:
        """Models that never had enough events to learn a baseline from, and how many they have."""
        few = {model: each.too_few + each.dropped for model, each in self.counts.items()}
        return {model: n for model, n in few.items() if n and model not in self.learned}

    def count_defects(self, defects: Iterable[Defect]) -> None:
        """Count defective values."""
        for defect in defects:
            place = f"{defect.signal} counted as {defect.code.name.lower()}"
            self.defects[place] += 1
            self.examples.setdefault(place, defect.reason)


def replay(
    config: Config,
    baselines: Sequence[Baseline],
    logs: Mapping[int, Iterable[LogBatch]],
    on_alert: Callable[[IncidentAlert], None],
    topic: str | None = None,
    schemas: Mapping[int, Schema] | None = None,
    calendar_of: CalendarOf = every_day,
    versions: Versions = NO_VERSIONS,
    keeps_history: bool = False,
    labels: Logs = NO_LOGS,
) -> ReplayResult:
    """Run the logs of a topic's partitions through the pipeline; `on_alert` is called with each alert.

    topic, calendar_of, versions, keeps_history: as in `Pipeline`. schemas: see `EventReader`. labels: the logs of the
    labels that come by themselves, which are read before: a join does not depend on the order.
    """
    by_model = {baseline.model: baseline for baseline in baselines}
    result = ReplayResult(rejected=Rejections(config.mapping.event_mapping()))
    pipeline = Pipeline(config, by_model, topic, schemas=schemas, calendar_of=calendar_of, versions=versions)
    pipeline.keeps_history, pipeline.keeps_timelines = keeps_history, False

    def report(alerts: Iterable[IncidentAlert]) -> None:
        for alert in alerts:
            result.alerts.append(alert)
            on_alert(alert)

    result.label_messages = _learn(pipeline, labels)
    for run in merge_runs(_runs(pipeline, partition, log, result) for partition, log in sorted(logs.items())):
        report(pipeline.judge(run))
        report(pipeline.tick_after(run))
    lags = _lags(pipeline)
    report(pipeline.last_tick())
    result.counts, result.watched, result.unwatched = pipeline.counts, pipeline.watched, pipeline.unwatched
    result.constant = pipeline.constant
    result.labels = joined_of(pipeline.states)
    if keeps_history:
        still_open = {model: state.open_incidents for model, state in pipeline.states.items()}
        outcomes = {
            (model, track): own.timeline
            for model, state in pipeline.states.items()
            for track, own in state.outcomes_by_track.items()
            if own.timeline is not None
        }
        result.record = Record(pipeline.histories, pipeline.references, pipeline.steps, still_open, outcomes)
    result.remarks += [*_label_remarks(result.label_messages, pipeline, lags), *_remarks(pipeline)]
    return result


def joined_of(states: Mapping[str, ModelState]) -> dict[str, Counts]:
    """What became of predictions and labels, by model, of those whose labels come by themselves."""
    waiting = ((model, state.waiting) for model, state in sorted(states.items()))
    return {model: each.counts for model, each in waiting if each is not None}


def _label_remarks(messages: LabelMessages, pipeline: Pipeline, lags: Mapping[str, IntArray]) -> Iterator[str]:
    if messages.refused:
        yield f"{messages}; `mapping.labels` says where the parts of a label are"
    for model, state in pipeline.states.items():
        if state.waiting is not None and state.waiting.halvings:
            most = pipeline.config.for_model(model).outcomes.max_pending
            yield (
                f"model {model}: only one in {1 << state.waiting.halvings} predictions is joined, chosen by its id: "
                f"more than {most:,} predictions or labels were remembered at once; raise `outcomes.max_pending`"
            )
        if state.waiting is not None and are_late(state.waiting.counts):
            yield f"model {model}: {late_remark(state.waiting.counts, lags[model], _bounds(pipeline, model))}"


def _lags(pipeline: Pipeline) -> dict[str, IntArray]:
    """By model, how long labels took, see `label_lags`: before the last tick, after which nothing is remembered."""
    states = pipeline.states.items()
    return {
        model: label_lags(each.waiting, _bounds(pipeline, model)) for model, each in states if each.waiting is not None
    }


def _bounds(pipeline: Pipeline, model: str) -> Bounds:
    return Bounds.of(pipeline.config.for_model(model).outcomes)


def _remarks(pipeline: Pipeline) -> Iterator[str]:
    """What has no effect on the events of this replay, and which given baselines are too small, a line each."""
    yield from map(str, unused_settings(pipeline.config, pipeline.signals))
    yield from map(str, unknown_upstreams(pipeline.config, pipeline.states))
    for model, monitor in pipeline.monitors.items():
        if monitor.refusal:
            yield f"model {model}: no baseline can be learned from its events: {monitor.refusal}"
        learned = pipeline.states[model].learned
        if learned is not None and (reason := monitor.shortened_by(learned)):
            yield f"model {model}: its baseline is learned early: {reason}"
    given = [*pipeline.baselines.values(), *(each for own in pipeline.versions.values() for each in own.values())]
    for baseline in given:
        if baseline.model in pipeline.events:
            yield from map(str, small_baseline_remarks(baseline, pipeline.config.for_model(baseline.model)))
    for (model, track), baseline in pipeline.references.items():
        if (total := pipeline.total(model, track)) is not None:
            yield from map(str, unjudged_outcomes(baseline, pipeline.config.for_model(model)))
            yield from map(str, unseen_remarks(baseline, total))


def _runs(pipeline: Pipeline, partition: int, log: Iterable[LogBatch], result: ReplayResult) -> Iterator[Run]:
    """The runs of one partition; the end of the log closes the last one. Counts events and problems in `result`."""
    sketcher, end = None, 0
    for batch in log:
        sketcher = sketcher or pipeline.sketcher(partition, int(batch.offsets[0]))
        runs, events, rejections, defects = sketcher.consume(*batch)
        result.events += events
        result.rejected.add(rejections, batch.messages, batch.offsets)
        result.count_defects(defect for _, defect in defects)
        end = int(batch.offsets[-1]) + 1
        yield from runs
    if sketcher:
        yield sketcher.close(end)


def _learn(pipeline: Pipeline, labels: Logs) -> LabelMessages:
    """Take the labels of all partitions."""
    read, refused, reason = 0, 0, ""
    for partition, log in sorted(labels.items()):
        sketcher, end = None, 0
        for batch in log:
            sketcher = sketcher or pipeline.label_sketcher(partition, int(batch.offsets[0]))
            runs, _, rejections, _ = sketcher.consume(*batch)
            read, refused = read + len(batch.messages), refused + len(rejections)
            reason = reason or next((each.reason for each in rejections), "")
            end = int(batch.offsets[-1]) + 1
            for run in runs:
                pipeline.learn(run)
        if sketcher:
            pipeline.learn(sketcher.close(end))
    return LabelMessages(read, refused, reason)


def as_single_partition(batches: Iterable[Sequence[bytes]]) -> Iterator[LogBatch]:
    """Number the messages of files as the log of one partition: the offset is the index among all messages."""
    end = 0
    for messages in batches:
        start, end = end, end + len(messages)
        yield LogBatch(np.arange(start, end), messages)


def select_time_range(
    log: Iterable[LogBatch], reader: EventReader, first_ms: int | None, end_ms: int | None
) -> Iterator[LogBatch]:
    """Keep events whose time is in [first_ms, end_ms), and messages that are no events: the replay rejects those."""
    if first_ms is None and end_ms is None:
        yield from log
        return
    for offsets, messages, timestamps in log:
        kept = [i for i, message in enumerate(messages) if _in_range(reader, message, first_ms, end_ms)]
        if kept:
            picked = None if timestamps is None else timestamps[kept]
            yield LogBatch(offsets[kept], [messages[i] for i in kept], picked)


def _in_range(reader: EventReader, message: bytes | None, first_ms: int | None, end_ms: int | None) -> bool:
    try:
        ts = reader.head(message).ts
    except EventError:
        return True
    return (first_ms is None or ts >= first_ms) and (end_ms is None or ts < end_ms)
