"""The whole detection in one process, without Kafka and Redis: a log in, runs of panes and alerts out. Pure.

The live worker and the replay run the same two stages:

    Sketcher   one partition's messages  ->  runs of panes, rejections, defects
    Monitor    one model's panes         ->  what changed, and the steps of its incidents

A live judge receives the runs of several partitions as they arrive. A replay can't know in which order they arrived:
`merge_runs` fixes one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import Any, NamedTuple

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.codes import Kind
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.alerts.build import build_alert
from driftline.stream.alerts.schema import IncidentAlert, Mode
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import Versions, kinds_of, select_watched, select_watched_versions
from driftline.stream.codec.levels import NEWEST, OUTCOMES, TRACKS, monitor_settings
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import infer_fields
from driftline.stream.events.frames import Schema
from driftline.stream.judge.absence import CalendarOf, every_day
from driftline.stream.judge.dependences import DependenceCache
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.schema import ALL_READ, SchemaJudge, SchemaState, Unread
from driftline.stream.judge.state import FOREVER, ModelState, TrackState
from driftline.stream.panes.coverage import Coverage, Unwatched, unwatched, without_baseline
from driftline.stream.panes.cutter import Cutter
from driftline.stream.panes.history import History
from driftline.stream.panes.label_sketcher import LabelSketcher
from driftline.stream.panes.pane import Pane, Run
from driftline.stream.panes.sketcher import Sketcher, pane_rule
from driftline.stream.panes.tick import Progress, Tick
from driftline.stream.panes.tracks import by_track, events_in

# ms of event time from one tick to the next, as a live partition sends them.
_TICK = 10_000


class LogBatch(NamedTuple):
    """Consecutive messages of one partition's log and their offsets: (n,), rising, with gaps in a compacted topic.

    timestamps: (n,) Kafka's, epoch ms; None for a file.
    """

    offsets: IntArray
    messages: Sequence[bytes | None]
    timestamps: IntArray | None = None


def merge_runs(partitions: Iterable[Iterator[Run]]) -> Iterator[Run]:
    """Merge the runs of several partitions into one sequence by time, keeping each partition's own order.

    The next run is the earliest among the partitions' next runs; ties go to the first partition. A run's time is the
    earliest first or last time of its panes: an event from the future is hardly ever both, so it doesn't hold up its
    partition. The sequence does not depend on how the logs are cut into batches.
    """
    return merge(*partitions, key=_earliest)


def _earliest(run: Run) -> int:
    return min((min(pane.first_ts, pane.last_ts) for pane in run.panes.values()), default=0)


class ModelCounts(NamedTuple):
    """What became of a model's events.

    judged: evaluated. not_due: after the last evaluation, and fewer than one takes (`clock`). learned_from: the
    learned baseline consists of them. too_few: collected for a baseline, which takes more. dropped: had no value that
    a baseline could be learned from.
    """

    judged: int = 0
    not_due: int = 0
    learned_from: int = 0
    too_few: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, total: int, state: ModelState) -> ModelCounts:
        """The counts of a model with `total` events and this state."""
        tracks: list[ModelState | TrackState] = [state, *state.tracks.values()]
        used = cls(
            judged=sum(each.seen for each in state.judges),
            not_due=sum(each.end - each.seen for each in state.judges),
            learned_from=sum(each.learned.total.n for each in tracks if each.learned is not None),
            too_few=sum(len(each.sample) for each in tracks),
        )
        return used._replace(dropped=total - sum(used))

    def why_no_baseline(self, needed: int) -> str:
        """Why the model has learned no baseline, which takes `needed` events with a value, and what helps."""
        if self.dropped:
            return (
                f"{self.dropped:,} of its events hold no value to learn a baseline from: are they arrays "
                "(mapping.rows), or all null?"
            )
        return (
            f"its {self.too_few:,} events are too few to learn a baseline from, which takes {needed:,} (learn_events); "
            "give it a baseline, or lower learn_events"
        )


def names_of(baselines: Iterable[Baseline]) -> tuple[str, ...]:
    """The names of the signals of baselines."""
    return tuple(dict.fromkeys(each.name for baseline in baselines for each in baseline.fields))


@dataclass
class Pipeline:
    """Sketchers and monitors of one topic in one process.

    baselines: the given ones, by model. topic: the topic's name in alerts, by default the configured one; without one,
    the log is one of files, whose traffic is not judged. schemas: see `EventReader`. level: format level of the group
    of workers whose alerts it repeats. calendar_of: gives the calendar of a model. versions: the baselines of versions
    that have their own. states and events: the state and the number of events of every model seen so far. histories: by
    model and track, the sketches of its events by time, and steps: of incidents, each with its model; both for reports,
    if `keeps_history`. keeps_timelines: whether states have timelines, as those that workers store; nothing is decided
    by them. For reports, those of outcomes are kept. signals: by model, the kind of each signal of its baselines or,
    without one, the names in the events that it learns from.
    """

    config: Config
    baselines: Mapping[str, Baseline]
    topic: str | None = None
    mode: Mode = "replay"
    schemas: Mapping[int, Schema] | None = None
    level: int = NEWEST
    calendar_of: CalendarOf = every_day
    versions: Versions = field(default_factory=dict)
    keeps_history: bool = False
    keeps_timelines: bool = True
    monitors: dict[str, Monitor] = field(default_factory=dict)
    states: dict[str, ModelState] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    histories: dict[tuple[str, str], History] = field(default_factory=dict)
    steps: list[tuple[str, Step]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.signals = kinds_of(self.baselines, self.versions)
        self.known_baselines = select_watched(self.config, self.baselines)
        self.known_versions = select_watched_versions(self.config, self.versions if self.level >= TRACKS else {})
        self._sketchers: list[Sketcher] = []
        self._coverage = Coverage()
        self._dependences = DependenceCache()
        self._progress, self.ticks, self.until = Progress(), 0, 0
        self._schema_judge = SchemaJudge(self.topic_name, self.config.defaults.incidents)
        self._schema: SchemaState | None = None
        self._last_tick: Tick | None = None

    def sketcher(self, partition: int, start: int) -> Sketcher:
        """A first stage for one partition's log from offset `start` on; it receives baselines learned later."""
        cutter, mapping = Cutter(pane_rule(self.config), partition, start), self.config.mapping.event_mapping()
        known, limits = dict(self.known_baselines), self.config.limits.of_messages()
        read, versions = (mapping, self.schemas, self._coverage, limits), dict[str, Any](self.known_versions)
        labels = self.config if self.level >= OUTCOMES else Config()
        own = labels.labelled_by("event"), labels.labelled_by("topic")
        self._sketchers.append(Sketcher(self.topic_name, cutter, known, *read, versions, *own))
        return self._sketchers[-1]

    @property
    def topic_name(self) -> str:
        """The topic's name in alerts and in the ids of events that have none of their own."""
        return self.topic or self.config.topics.predictions

    @property
    def watched(self) -> dict[str, tuple[str, ...]]:
        """The names of the signals of every model that was judged."""
        judged = [model for model, each in self.counts.items() if each.judged]
        return {model: names_of(self._baselines_of(model)) for model in sorted(judged)}

    @property
    def constant(self) -> tuple[str, ...]:
        """The models that were judged by nothing but signals that are constant in their baselines."""
        signals = {
            model: [signal for each in self._baselines_of(model) for signal in each.layout.signals]
            for model in self.watched
        }
        return tuple(model for model, own in signals.items() if all(each.kind is Kind.CONSTANT for each in own))

    def _baselines_of(self, model: str) -> list[Baseline]:
        return [*self.monitors[model].baselines(self.states[model]).values()]

    @property
    def references(self) -> dict[tuple[str, str], Baseline]:
        """The baselines in effect, by model and track."""
        return {
            (model, track): baseline
            for model, monitor in self.monitors.items()
            for track, baseline in monitor.baselines(self.states[model]).items()
        }

    def total(self, model: str, track: str) -> Sketch | None:
        """The sketch of all events of a track that were compared with its baseline; None if there are none."""
        judge = self.states[model].seen_by(track).judge
        return None if judge is None else Sketch.total([pane.content for pane in judge.panes])

    @property
    def unwatched(self) -> list[Unwatched]:
        """The fields that no signal watches, of the models of which an event was seen.

        Where versions have baselines of their own, that of the last one says what is new.
        """
        newest = {model: [*own.values()][-1] for model, own in self.known_versions.items()}
        known = self.known_baselines | newest
        fields = [
            each
            for model, baseline in sorted(known.items())
            if model in self.events
            for each in unwatched(baseline, self.config.for_model(model).signals, self._coverage)
        ]
        others = [model for model in sorted(self.events) if model not in known]
        return fields + [each for model in others for each in self._without_baseline(model)]

    def _without_baseline(self, model: str) -> Iterator[Unwatched]:
        counts, needed = self.counts[model], self.config.for_model(model).learn_events
        return without_baseline(model, counts.why_no_baseline(needed), self._coverage)

    @property
    def counts(self) -> dict[str, ModelCounts]:
        """What became of the events of every model seen so far."""
        return {model: ModelCounts.of(total, self.states[model]) for model, total in self.events.items()}

    def label_sketcher(self, partition: int, start: int) -> LabelSketcher:
        """A first stage for one partition's log of labels from offset `start` on."""
        cutter, mapping = Cutter(pane_rule(self.config), partition, start), self.config.mapping.labels.event_mapping()
        topic, waits = self.config.topics.labels, self.config.labelled_by("topic") or (lambda _: False)
        return LabelSketcher(topic, cutter, mapping, waits, self.schemas, self.config.limits.of_messages())

    def learn(self, run: Run) -> None:
        """Take the labels of a run, which wait for their predictions."""
        for model, pane in run.panes.items():
            monitor, topic = self.monitors.get(model) or self._new_monitor(model), self.config.topics.labels
            self.states[model], _ = monitor.judge(self.states.get(model, ModelState()), pane, topic)

    def judge(self, run: Run) -> list[IncidentAlert]:
        """Judge the next run; returns the alerts it causes."""
        alerts = []
        for model, pane in run.panes.items():
            self._record(model, pane)
            monitor = self.monitors.get(model) or self._new_monitor(model)
            self.events[model] += events_in(pane.content)
            state, steps = monitor.judge(self.states.get(model, ModelState()), pane, ticks=self.ticks, until=self.until)
            self.states[model] = state
            baseline = monitor.baseline(state)
            if baseline and model not in self.known_baselines and not monitor.versions:
                self._add_baseline(baseline)
            alerts += self._alerts(monitor, steps)
        return alerts

    def _new_monitor(self, model: str) -> Monitor:
        settings, config = monitor_settings(self.level), self.config.for_model(model)
        settings["timelines"] = settings["timelines"] and self.keeps_timelines
        if not (self.keeps_timelines or self.keeps_history):
            config = config.model_copy(update={"history": None})
        self.monitors[model] = Monitor(
            model,
            config,
            self.known_baselines.get(model),
            self.config.limits,
            self._dependences,
            self.calendar_of(model),
            versions=self.known_versions.get(model, {}),
            **settings,
        )
        return self.monitors[model]

    def tick_after(self, run: Run) -> list[IncidentAlert]:
        """Let it become as late as the runs so far say, if that is later by a tick's length; returns the alerts."""
        self._progress = self._progress.after(run)
        time = self._progress.time or 0
        return self._tick(time) if time >= self.ticks + _TICK else []

    def last_tick(self) -> list[IncidentAlert]:
        """Let it become as late as it was at the end of the log, beyond which nothing waits; returns the alerts."""
        time, newest = self._progress.time or 0, self._progress.newest or 0
        # Nothing confirms the last run, which may have a wrong clock.
        return self._tick(max(self.ticks, min(newest, time + _TICK)), FOREVER)

    def _tick(self, time: int, joined: int | None = None) -> list[IncidentAlert]:
        """joined: up to when slots may close; by default `time`, since all labels are read before."""
        # Files may be samples of what came.
        self.ticks, self.until = time, 0 if self.topic is None else time
        alerts, unread = list[IncidentAlert](), self._unread(time) if self.until else ALL_READ
        for model, monitor in sorted(self.monitors.items()):
            until = time if joined is None else joined
            self.states[model], steps = monitor.tick(self.states[model], time, self.until, unread, until)
            alerts += self._alerts(monitor, steps)
        return alerts

    def _unread(self, time: int) -> Unread:
        """What of the topic could not be read until a time, epoch ms: it explains missing events."""
        known, last = self._progress, self._last_tick
        tick = Tick(self.topic_name, 0, 1, known.read_to, time, known.read, known.rejected)
        self._schema, _ = self._schema_judge.judge(self._schema, last, tick, time)
        self._last_tick = tick
        return self._schema.unreadable

    def _alerts(self, monitor: Monitor, steps: Iterable[Step]) -> list[IncidentAlert]:
        found = list(steps)
        self.steps += [(monitor.model, each) for each in found] if self.keeps_history else []
        return [build_alert(monitor, each, mode=self.mode, topic=self.topic_name, emitted_at=each.at) for each in found]

    def _record(self, model: str, pane: Pane[Any]) -> None:
        for track, content in by_track(pane.content).items():
            if not isinstance(content, Sketch):
                names = (field.name for field in infer_fields(content))
                self.signals[model] = dict.fromkeys(names, "") | self.signals.get(model, {})
            elif self.keeps_history:
                self.histories.setdefault((model, track), History()).add(pane.first_ts, content)

    def _add_baseline(self, baseline: Baseline) -> None:
        self.known_baselines[baseline.model] = baseline
        self.signals[baseline.model] = baseline.signal_kinds
        for sketcher in self._sketchers:
            sketcher.add_baseline(baseline)
