"""The sketcher, the core of the first stage: takes the messages of one partition, returns runs of panes. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import Defect
from driftline.stream.events.decode import Decoder
from driftline.stream.events.event import Rejection
from driftline.stream.events.frames import Schema
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits
from driftline.stream.events.mapping import EventMapping, Origin, Origins
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.panes.coverage import Coverage, sampled_positions
from driftline.stream.panes.cutter import Cutter, PaneRule, Sizes
from driftline.stream.panes.pane import Run
from driftline.stream.panes.rows import EventRows, SketchRows, Tally


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
    may grow. coverage: takes a sample of the events. limits: of each message.
    """

    topic: str
    cutter: Cutter
    baselines: dict[str, Baseline]
    mapping: EventMapping
    schemas: Mapping[int, Schema] | None = None
    coverage: Coverage = field(default_factory=Coverage)
    limits: MessageLimits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        self._counts = RunCounts()
        self._decoder, self._reader = self._new_decoder(), EventReader(self.mapping, self.schemas, self.limits)
        self._waiting: dict[str, Baseline] = {}

    def _new_decoder(self) -> Decoder:
        fields = {model: baseline.fields for model, baseline in self.baselines.items()}
        return Decoder(fields, self.mapping, self.schemas, self.limits)

    def add_baseline(self, baseline: Baseline) -> None:
        """Sketch the events of the baseline's model from now on, those of the open run included.

        Not yet, if the open run holds a sketch of the model against a former baseline: then try again later.
        """
        if isinstance(self.cutter.content(baseline.model), Tally):
            return
        self.baselines[baseline.model] = baseline
        self._decoder = self._new_decoder()
        self.coverage.forget(baseline.model, baseline.names)
        self.cutter.convert(baseline.model, lambda events: Tally(baseline, (baseline.sketch_events(events),)))

    def remove_baseline(self, model: str) -> None:
        """Keep the events of a model that was forgotten, from the next run on."""
        self._waiting.pop(model, None)
        if self.baselines.pop(model, None) is not None:
            self._decoder = self._new_decoder()

    def exchange_baseline(self, baseline: Baseline) -> None:
        """Sketch the events of the baseline's model in it, from the next run on.

        A run has one layout. So the model's events are kept until its open run has ended, and what comes before that
        joins it.
        """
        former = self.baselines.get(baseline.model)
        if former is None or former.content_hash != baseline.content_hash:
            self.remove_baseline(baseline.model)
            self._waiting[baseline.model] = baseline

    def _add_waiting(self) -> None:
        for baseline in [*self._waiting.values()]:
            self.add_baseline(baseline)
            if baseline.model in self.baselines:
                del self._waiting[baseline.model]

    def consume(
        self, offsets: IntArray, messages: Sequence[bytes | None], timestamps: IntArray | None = None
    ) -> Sketched:
        """The runs that end within these messages, and what could not be read of them.

        offsets: (n,) rising, with gaps in a compacted topic. timestamps: (n,) Kafka's, epoch ms; None for a file.
        """
        self._add_waiting()
        origins = Origins(self.topic, self.cutter.partition, offsets, timestamps)
        known, unknown, rejections, _ = self._decoder.decode(messages, origins)
        rows: dict[str, SketchRows | EventRows] = {
            model: SketchRows.of(self.baselines[model], columns, offsets) for model, columns in known.items()
        }
        rows |= {model: EventRows.of(events, offsets) for model, events in unknown.items()}
        self._sample(messages, origins)
        sizes = Sizes.of(offsets, messages)
        runs = self.cutter.push(rows, int(offsets[-1]) + 1, sizes) if len(offsets) else []
        runs = self._counts.count(runs, offsets, rejections)
        defects = [
            (int(columns.position[defect.row]), defect) for columns in known.values() for defect in columns.defects
        ]
        events = sum(len(each.times) for each in rows.values())
        return Sketched(list(map(_counted, runs)), events, rejections, defects)

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
            baseline = self.baselines.get(event.model)
            watched = None if baseline is None else baseline.names
            self.coverage.add(event, watched, origin.partition, origin.offset)

    @property
    def so_far(self) -> Run:
        """What the open run has read and rejected so far, without its panes."""
        counts = self._counts
        return Run(self.cutter.start, self.cutter.end, {}, read=counts.read, rejected=dict(counts.rejected))

    def close(self, end: int) -> Run:
        """End the open run at offset `end` (exclusive) and return it."""
        return _counted(self._counts.close(self.cutter.close(end)))


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


def _counted(run: Run) -> Run:
    tallies = {model: pane.content for model, pane in run.panes.items() if isinstance(pane.content, Tally)}
    sketched = {model: replace(run.panes[model], content=tally.sketch()) for model, tally in tallies.items()}
    hashes = {model: tally.baseline.content_hash for model, tally in tallies.items()}
    return run._replace(panes=run.panes | sketched, baselines=hashes)


def pane_rule(config: Config) -> PaneRule:
    """The pane rule that `panes` in the configuration sets."""
    seconds = config.panes.seconds
    return PaneRule(config.panes.events, None if seconds is None else round(seconds * 1000), config.limits.run_bytes)
