"""The sketcher, the core of the first stage: takes the messages of one partition, returns runs of panes. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from driftline.detectors.arrays import IntArray
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import Columns, Defect
from driftline.stream.events.decode import Decoded, Decoder
from driftline.stream.events.event import Event, Rejection
from driftline.stream.events.frames import Schema
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits
from driftline.stream.events.mapping import EventMapping, Origin, Origins
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.panes.coverage import Coverage, sampled_positions
from driftline.stream.panes.cutter import Cutter, PaneRule, Sizes
from driftline.stream.panes.pane import Pane, Run
from driftline.stream.panes.rows import (
    EventRows,
    SketchRows,
    Tally,
    TrackRows,
    TrackTally,
    columns_of,
    count_together,
    track_of,
)


class Sketched(NamedTuple):
    """What became of consecutive messages of a partition.

    runs: those that end within these messages. events: how many the messages hold. rejections: of messages and rows.
    defects: values that count under a special code, each with the position of its message.
    """

    runs: list[Run]
    events: int
    rejections: list[Rejection]
    defects: list[tuple[int, Defect]]


@dataclass
class Sketcher:
    """Decodes the messages of one partition of `topic` and cuts them into panes.

    baselines: by model; panes of other models hold events instead of sketches. schemas: see `EventReader`; the mapping
    may grow. coverage: takes a sample of the events. limits: of each message. versions: by model, the baselines of
    versions that have their own. is_labelled: of which models outcomes are counted; None: of none. waits: of which
    models events wait for labels; None: of none.
    """

    topic: str
    cutter: Cutter
    baselines: dict[str, Baseline]
    mapping: EventMapping
    schemas: Mapping[int, Schema] | None = None
    coverage: Coverage = field(default_factory=Coverage)
    limits: MessageLimits = DEFAULT_LIMITS
    versions: dict[str, Mapping[str, Baseline]] = field(default_factory=dict)
    is_labelled: Callable[[str], bool] | None = None
    waits: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        self._counts = RunCounts()
        self._decoder, self._reader = self._new_decoder(), EventReader(self.mapping, self.schemas, self.limits)
        self._waiting: dict[str, Mapping[str, Baseline]] = {}

    def _new_decoder(self) -> Decoder:
        fields = {model: baseline.fields for model, baseline in self.baselines.items()}
        versions = {
            model: {version: baseline.fields for version, baseline in own.items()}
            for model, own in self.versions.items()
        }
        return Decoder(fields, self.mapping, self.schemas, self.limits, versions, is_labelled=self.is_labelled)

    def ask(self, is_labelled: Callable[[str], bool] | None, waits: Callable[[str], bool] | None) -> None:
        """Count outcomes, and keep what waits for labels, of other models from the next message on."""
        if (is_labelled, waits) != (self.is_labelled, self.waits):
            self.is_labelled, self.waits = is_labelled, waits
            self._decoder = self._new_decoder()

    def _by_track(self, model: str) -> dict[str, Baseline]:
        """The baselines that a model's events are counted in now, by track."""
        own = {"": self.baselines[model]} if model in self.baselines else {}
        return own | dict(self.versions.get(model, {}))

    def add_baseline(self, baseline: Baseline) -> None:
        """Sketch the events of the baseline's model from now on, those of the open run included.

        Not yet, if the open run holds a sketch of the model against a former baseline: then try again later.
        """
        self._add(baseline.model, {"": baseline})

    def _add(self, model: str, baselines: Mapping[str, Baseline]) -> bool:
        if isinstance(self.cutter.content(model), Tally | TrackTally):
            return False
        own, versions = baselines.get(""), {track: each for track, each in baselines.items() if track}
        self.baselines |= {} if own is None else {model: own}
        self.versions |= {model: versions} if versions else {}
        self._decoder = self._new_decoder()
        self.coverage.forget(model, {name for each in baselines.values() for name in each.names})
        self.cutter.convert(model, lambda events: _tally(baselines, events, self._waits(model)))
        return True

    def _waits(self, model: str) -> bool:
        return self.waits is not None and self.waits(model)

    def remove_baseline(self, model: str) -> None:
        """Keep the events of a model that was forgotten, from the next run on."""
        self._waiting.pop(model, None)
        if self._by_track(model):
            self.baselines.pop(model, None)
            self.versions.pop(model, None)
            self._decoder = self._new_decoder()

    def exchange(self, model: str, baselines: Mapping[str, Baseline]) -> None:
        """Sketch the events of a model in other baselines, by track, from the next run on; without any, keep them.

        A run has one layout. So the model's events are kept until its open run has ended, and what comes before that
        joins it.
        """
        if _hashes(self._waiting.get(model, self._by_track(model))) != _hashes(baselines):
            self.remove_baseline(model)
            self._waiting |= {model: baselines} if baselines else {}

    def _add_waiting(self) -> None:
        self._waiting = {model: each for model, each in self._waiting.items() if not self._add(model, each)}

    def consume(
        self, offsets: IntArray, messages: Sequence[bytes | None], timestamps: IntArray | None = None
    ) -> Sketched:
        """The runs that end within these messages, and what could not be read of them.

        offsets: (n,) rising, with gaps in a compacted topic. timestamps: (n,) Kafka's, epoch ms; None for a file.
        """
        self._add_waiting()
        origins = Origins(self.topic, self.cutter.partition, offsets, timestamps)
        decoded = self._decoder.decode(messages, origins)
        rows, rejections = self._rows(decoded, offsets), decoded.rejections
        self._sample(messages, origins)
        sizes = Sizes.of(offsets, messages)
        runs = self.cutter.push(rows, int(offsets[-1]) + 1, sizes) if len(offsets) else []
        runs = self._counts.count(runs, offsets, rejections)
        versions = (columns for own in decoded.versions.values() for columns in own.values())
        defects = [
            (int(columns.position[defect.row]), defect)
            for columns in (*decoded.known.values(), *versions, *self._kept(decoded.unknown))
            for defect in columns.defects
        ]
        events = sum(len(each.times) for each in rows.values())
        return Sketched(_counted(runs), events, rejections, defects)

    def _kept(self, unknown: Mapping[str, Sequence[tuple[int, Event]]]) -> Iterator[Columns]:
        """The columns of events that are kept until the open run has ended, as their next baselines read them."""
        for model in self._waiting.keys() & unknown.keys():
            baselines = self._waiting[model]
            for track, baseline in baselines.items():
                own = [each for each in unknown[model] if track_of(each[1], baselines) == track]
                yield columns_of(baseline, own)

    def _rows(self, decoded: Decoded, offsets: IntArray) -> dict[str, SketchRows | EventRows | TrackRows]:
        """The rows of each model. offsets: of the messages."""
        rows: dict[str, SketchRows | EventRows] = {
            model: SketchRows.of(self.baselines[model], columns, offsets, self._waits(model))
            for model, columns in decoded.known.items()
        }
        rows |= {model: EventRows.of(events, offsets) for model, events in decoded.unknown.items()}
        tracks = dict[str, TrackRows]()
        for model in self.versions.keys() & {*rows, *decoded.versions}:
            parts = {"": rows[model]} if model in rows else {}
            for version, columns in sorted(decoded.versions.get(model, {}).items()):
                parts[version] = SketchRows.of(self.versions[model][version], columns, offsets, self._waits(model))
            tracks[model] = TrackRows.of(self._by_track(model), parts, self._waits(model))
        return rows | tracks

    def _sample(self, messages: Sequence[bytes | None], origins: Origins) -> None:
        """Show the coverage every n-th message as the exact reader reads it, with all of its fields."""
        for position in sampled_positions(origins.offsets):
            try:
                self._sample_message(messages[position], origins.at(position))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 # a fault of ours: the events count all the same
                self._reader.failure(error)

    def _sample_message(self, message: bytes | None, origin: Origin) -> None:
        try:
            events, _ = self._reader.read(message, origin)
        except EventError:
            return
        for event in events:
            self.coverage.add(event, self._watched(event), origin.partition, origin.offset)

    def _watched(self, event: Event) -> frozenset[str] | None:
        """The signals of the baseline that an event is counted in; None if there is none."""
        versions = self.versions.get(event.model, {})
        baseline = versions.get(event.version or "") or self.baselines.get(event.model)
        return None if baseline is None else baseline.names

    @property
    def so_far(self) -> Run:
        """What the open run has read and rejected so far, without its panes."""
        counts = self._counts
        return Run(self.cutter.start, self.cutter.end, {}, read=counts.read, rejected=dict(counts.rejected))

    def close(self, end: int) -> Run:
        """End the open run at offset `end` (exclusive) and return it."""
        return _counted([self._counts.close(self.cutter.close(end))])[0]


@dataclass
class RunCounts:
    """How many records the open run has, and how many of them were refused, by cause."""

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def count(self, runs: Sequence[Run], offsets: IntArray, rejections: Iterable[Rejection]) -> list[Run]:
        """The runs with their counts. offsets: (n,) of the records, rising; rejections: of them, in their order."""
        rest, counted, first = deque(rejections), list[Run](), 0
        for run in runs:
            first = self._add(first, int(np.searchsorted(offsets, run.end)), rest)
            counted.append(self.close(run))
        self._add(first, len(offsets), rest)
        return counted

    def _add(self, first: int, end: int, rest: deque[Rejection]) -> int:
        self.read += end - first
        while rest and rest[0].position < end:
            self.rejected[rest.popleft().place] += 1
        return end

    def close(self, run: Run) -> Run:
        """The run that has ended with its counts; those of the next begin."""
        counted = run._replace(read=self.read, rejected=dict(self.rejected))
        self.read, self.rejected = 0, Counter()
        return counted


def _tally(baselines: Mapping[str, Baseline], events: tuple[Event, ...], waits: bool) -> Tally | TrackTally:
    if baselines.keys() != {""}:
        return TrackTally.of_events(baselines, events, waits)
    return Tally.of_events(baselines[""], events, waits)


def _counted(runs: Sequence[Run]) -> list[Run]:
    """The runs with their events counted."""
    contents = iter(count_together([pane.content for run in runs for pane in run.panes.values()]))
    return [_with_sketches(run, contents) for run in runs]


def _with_sketches(run: Run, contents: Iterator[Any]) -> Run:
    """A run whose panes have these contents, as sketches where they were counted."""
    panes, baselines, versions = dict[str, Pane[Any]](), dict[str, str](), dict[str, Mapping[str, str]]()
    for (model, pane), tally in zip(run.panes.items(), contents, strict=False):
        panes[model] = pane
        if isinstance(tally, Tally | TrackTally):
            outcomes, stubs = tally.outcomes_by_track(), tally.stubs_by_track()
            panes[model] = replace(pane, content=tally.sketch(), outcomes=outcomes, stubs=stubs)
            hashes = tally.hashes
            baselines |= {model: hashes[""]} if "" in hashes else {}
            own = {track: each for track, each in hashes.items() if track}
            versions |= {model: own} if own else {}
    return run._replace(panes=panes, baselines=baselines, versions=versions)


def _hashes(baselines: Mapping[str, Baseline]) -> dict[str, str]:
    return {track: each.content_hash for track, each in baselines.items()}


def pane_rule(config: Config) -> PaneRule:
    """The pane rule that `panes` in the configuration sets."""
    seconds = config.panes.seconds
    return PaneRule(config.panes.events, None if seconds is None else round(seconds * 1000), config.limits.run_bytes)
