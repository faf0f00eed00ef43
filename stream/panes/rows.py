"""Rows: the decoded events of one model in one fetch, on their way into panes.

    decode ──► rows by model ──► slices, made by the cutter ──► end of the run: one content per model

The events of a model with a baseline become a sketch. Ranking and counting cost 150 µs a call for 20 signals, even for
one event, and with a thousand models on a partition a fetch brings a few events of each. So a `Tally` keeps slices
uncounted until it has enough events or its run ends. No I/O, no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, Self

import numpy as np
from msgspec import Struct

from driftline.detectors.arrays import IntArray
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.codes import TEXT, shortened
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.events.columns import LABEL, LABEL_FIELD, Columns, tabulate
from driftline.stream.events.event import Event
from driftline.stream.outcomes.halves import Stubs
from driftline.stream.panes.tracks import Tracks

# Events of a model that are counted in one call: at 64 the call adds some 2 µs to an event that costs 5. A thousand
# models of 20 numbers then hold 10 MB of uncounted events; 128 would hold twice that to save one microsecond.
_BATCH = 64
# Panes that are counted in one call, whose own price is nothing then: of a model of 500 signals, they take 20 MB.
_TOGETHER = 64


class Tally(Struct, frozen=True):
    """A model's events in an open run: at most one sketch of counted events, and the columns of the uncounted ones.

    When the model's baseline is dropped while the run is open, the events that follow are counted in it all the same.
    judged: outcomes of the counted events. stubs: of all events, if they wait for labels; None if they do not.
    """

    baseline: Baseline
    counted: tuple[Sketch, ...]
    uncounted: tuple[Columns, ...] = ()
    judged: tuple[OutcomeTable, ...] = ()
    stubs: tuple[Stubs, ...] | None = None

    @classmethod
    def of_events(cls, baseline: Baseline, events: Sequence[Event], waits: bool = False) -> Self:
        """The tally of events. waits: whether they wait for labels."""
        columns = columns_of(baseline, list(enumerate(events)))
        stubs = (Stubs.of(columns, baseline.fields),) if waits else None
        return cls(baseline, (baseline.sketch(columns),), (), _outcomes(baseline, columns), stubs)

    def __add__(self, newer: Tally | tuple[Event, ...]) -> Tally:
        if isinstance(newer, tuple):
            newer = Tally.of_events(self.baseline, newer, self.stubs is not None)
        uncounted = self.uncounted + newer.uncounted
        stubs = None if self.stubs is newer.stubs is None else (self.stubs or ()) + (newer.stubs or ())
        both = Tally(self.baseline, self.counted + newer.counted, uncounted, self.judged + newer.judged, stubs)
        enough = len(both.counted) > 1 or sum(len(columns.ts) for columns in both.uncounted) >= _BATCH
        return Tally(self.baseline, (both.sketch(),), (), both.outcomes(), stubs) if enough else both

    @property
    def hashes(self) -> dict[str, str]:
        """The content hash of the baseline, by track."""
        return {"": self.baseline.content_hash}

    def sketch(self) -> Sketch:
        """The sketch of all events, counted or not."""
        rest = [self.baseline.sketch(Columns.concatenate(self.uncounted))] if self.uncounted else []
        return reduce(add, (*self.counted, *rest))

    def outcomes(self) -> tuple[OutcomeTable, ...]:
        """At most one table, of all events with labels."""
        rest = _outcomes(self.baseline, Columns.concatenate(self.uncounted)) if self.uncounted else ()
        tables = self.judged + rest
        return (reduce(add, tables),) if tables else ()

    def outcomes_by_track(self) -> tuple[tuple[str, OutcomeTable], ...]:
        """As in `Pane.outcomes`."""
        return tuple(("", table) for table in self.outcomes())

    def stubs_by_track(self) -> tuple[tuple[str, Stubs], ...]:
        """As in `Pane.stubs`."""
        return (("", reduce(add, self.stubs)),) if self.stubs else ()


@dataclass(frozen=True, slots=True)
class TrackTally:
    """A model's events in an open run, where its versions have baselines of their own.

    baselines: by track. parts: by track, those of a track without a baseline as events. Events that come while other
    baselines wait for the end of the run are counted in these, as those of a `Tally` are. waits: whether the events
    wait for labels.
    """

    baselines: Mapping[str, Baseline]
    parts: Mapping[str, Tally | tuple[Event, ...]]
    waits: bool = False

    @classmethod
    def of_events(cls, baselines: Mapping[str, Baseline], events: Sequence[Event], waits: bool = False) -> Self:
        """The tally of events: of each version in its baseline, and of all others in the track ""."""
        sorted_in = defaultdict[str, list[Event]](list)
        for event in events:
            sorted_in[track_of(event, baselines)].append(event)
        parts = {track: _counted(baselines.get(track), own, waits) for track, own in sorted_in.items()}
        return cls(baselines, parts, waits)

    def __add__(self, newer: TrackTally | tuple[Event, ...]) -> TrackTally:
        if isinstance(newer, tuple):
            newer = TrackTally.of_events(self.baselines, newer, self.waits)
        parts: dict[str, Any] = dict(self.parts)
        for track, part in newer.parts.items():
            parts[track] = parts[track] + part if track in parts else part
        return TrackTally(self.baselines, parts, self.waits or newer.waits)

    @property
    def hashes(self) -> dict[str, str]:
        """The content hashes of the baselines of what was counted, by track."""
        return {track: part.baseline.content_hash for track, part in self.parts.items() if isinstance(part, Tally)}

    def sketch(self) -> Any:
        """The tracks, each with its sketch or its events; the content of the track "" alone if there is no other."""
        parts = {
            track: part.sketch() if isinstance(part, Tally) else part for track, part in sorted(self.parts.items())
        }
        return parts[""] if parts.keys() == {""} else Tracks(parts)

    def outcomes_by_track(self) -> tuple[tuple[str, OutcomeTable], ...]:
        """As in `Pane.outcomes`."""
        return tuple((track, table) for track, part in self._tallies() for table in part.outcomes())

    def stubs_by_track(self) -> tuple[tuple[str, Stubs], ...]:
        """As in `Pane.stubs`."""
        return tuple((track, stubs) for track, part in self._tallies() for _, stubs in part.stubs_by_track())

    def _tallies(self) -> Iterator[tuple[str, Tally]]:
        return ((track, part) for track, part in sorted(self.parts.items()) if isinstance(part, Tally))


def count_together(contents: Sequence[Any]) -> list[Any]:
    """The contents of panes, where those of one baseline are counted in one call: short ones in a tenth of the time."""
    counted, waiting = list(contents), defaultdict[int, list[int]](list)
    for place, content in enumerate(contents):
        if isinstance(content, Tally) and not content.counted:
            waiting[id(content.baseline)].append(place)
    for places in waiting.values():
        for first in range(0, len(places), _TOGETHER):
            chosen = places[first : first + _TOGETHER]
            for place, tally in zip(chosen, _count([contents[each] for each in chosen]), strict=True):
                counted[place] = tally
    return counted


def _count(tallies: Sequence[Tally]) -> Iterator[Tally]:
    """Tallies of one baseline, of which nothing is counted yet, with all of their events counted."""
    parts = [part for tally in tallies for part in tally.uncounted]
    sizes = [sum(len(part.ts) for part in tally.uncounted) for tally in tallies]
    sketches = tallies[0].baseline.sketches(Columns.concatenate(parts), sizes)
    for tally, sketch in zip(tallies, sketches, strict=True):
        yield Tally(tally.baseline, (sketch,), (), tally.outcomes(), tally.stubs)


def track_of(event: Event, baselines: Mapping[str, Baseline]) -> str:
    """The track of an event: its version, if that has a baseline of its own."""
    version = event.version or ""
    return version if version in baselines else ""


def _counted(baseline: Baseline | None, events: Sequence[Event], waits: bool) -> Tally | tuple[Event, ...]:
    return tuple(events) if baseline is None else Tally.of_events(baseline, events, waits)


def columns_of(baseline: Baseline, events: Sequence[tuple[int, Event]]) -> Columns:
    """The columns of events as a baseline reads them, with their labels if these were asked for."""
    labels = [LABEL_FIELD] if any(LABEL in each.extras for _, each in events) else []
    return tabulate(baseline.fields, events, labels)


def _outcomes(baseline: Baseline, columns: Columns) -> tuple[OutcomeTable, ...]:
    table = baseline.count_outcomes(columns)
    return () if table is None else (table,)


@dataclass(frozen=True, slots=True)
class SketchRows:
    """Events of a model with a baseline: their panes hold sketches. stubs: of all of them, if they wait for labels."""

    baseline: Baseline
    columns: Columns
    stubs: Stubs | None = None

    @classmethod
    def of(cls, baseline: Baseline, columns: Columns, offsets: IntArray, waits: bool = False) -> SketchRows:
        """The rows of `columns`. offsets: of all messages of the fetch. waits: whether they wait for labels."""
        stubs = Stubs.of(columns, baseline.fields) if waits else None
        return cls(baseline, columns.with_positions(offsets), stubs)

    @property
    def offsets(self) -> IntArray:
        return self.columns.position

    @property
    def times(self) -> IntArray:
        return self.columns.ts

    def content(self, first: int, last: int) -> Tally:
        stubs = None if self.stubs is None else (self.stubs.take(slice(first, last)),)
        return Tally(self.baseline, (), (self.columns.slice(first, last),), stubs=stubs)


@dataclass(frozen=True, slots=True)
class EventRows:
    """Events of a model without a baseline: their panes hold the events themselves."""

    offsets: IntArray
    times: IntArray
    events: tuple[Event, ...]

    @classmethod
    def of(cls, events: Sequence[tuple[int, Event]], offsets: IntArray) -> EventRows:
        """The rows of `events`, given with their positions in the fetch. offsets: of all messages of the fetch."""
        positions = np.array([position for position, _ in events])
        times = np.array([event.ts for _, event in events], np.int64)
        return cls(offsets[positions], times, tuple(_shortened(event) for _, event in events))

    def content(self, first: int, last: int) -> tuple[Event, ...]:
        return self.events[first:last]


@dataclass(frozen=True, slots=True)
class TrackRows:
    """Events of a model whose versions have baselines of their own: their panes hold tracks.

    parts: by track, in the order of their names, so that the order of one message's events is always the same. waits:
    whether they wait for labels.
    """

    baselines: Mapping[str, Baseline]
    parts: Mapping[str, SketchRows | EventRows]
    offsets: IntArray
    times: IntArray
    waits: bool = False

    @classmethod
    def of(
        cls, baselines: Mapping[str, Baseline], parts: Mapping[str, SketchRows | EventRows], waits: bool = False
    ) -> TrackRows:
        """The rows of at least one track. baselines: by track."""
        offsets = np.concatenate([each.offsets for each in parts.values()])
        times = np.concatenate([each.times for each in parts.values()])
        order = np.argsort(offsets, kind="stable")
        return cls(baselines, parts, offsets[order], times[order], waits)

    def content(self, first: int, last: int) -> TrackTally:
        bounds, parts = (self.offsets[first], self.offsets[last - 1] + 1), dict[str, Tally | tuple[Event, ...]]()
        for track, rows in self.parts.items():
            start, stop = (int(each) for each in np.searchsorted(rows.offsets, bounds))
            if start < stop:
                parts[track] = rows.content(start, stop)
        return TrackTally(self.baselines, parts, self.waits)


def _shortened(event: Event) -> Event:
    """The event with as much of its texts as counts: a warm-up may hold thousands of documents."""
    values = (*event.signals.values(), *event.extras.values())
    if not any(isinstance(value, str) and len(value) > TEXT for value in values):
        return event
    signals, extras = ({name: shortened(value) for name, value in own.items()} for own in (event.signals, event.extras))
    return replace(event, signals=signals, extras=extras)
