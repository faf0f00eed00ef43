"""For whom a signal changed: the share of the traffic that carries the change, counted from the rows. Pure.

The rows since a drift began are split by the values of a column, as those of the reference are, and each part is
compared with the same part of the reference. No alarm depends on it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from driftline.detectors.arrays import BoolArray, IntArray
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.events.columns import tabulate
from driftline.stream.events.event import Event
from driftline.stream.results.overview import FOREVER, ModelView, SignalView
from driftline.stream.results.sentences import listed_names, percent, shown
from driftline.stream.results.sizes import Sizes

#: Values of a column that are looked at one by one, the reference's commonest: a table of more is no answer.
VALUES: Final = 24
OTHERS, NEW, NO_VALUE = "all other values", "values that the reference never had", "no value"
# Rows that are turned into codes at once.
_CHUNK = 2_000
# Values that a sentence names.
_NAMED = 5

# From when to when the rows of a drift are, epoch ms; the end is None while it is open.
_Period = tuple[int, int | None]
# By column, the segment that each of its values belongs to.
_Names = Mapping[str, Mapping[str, str]]
# By segment.
_Sketches = Mapping[str, Sketch]


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows with one value of a column.

    rows_before: of the reference. rows: since the drift of a signal began. before, after: the signal's figure.
    carries: whether they differ from the same rows of the reference, by more than chance; None where either are too few
    to say.
    """

    value: str
    rows_before: int
    rows: int
    before: float | None
    after: float | None
    difference: float
    carries: bool | None


@dataclass(frozen=True, slots=True)
class Split:
    """The rows since the drift of a signal began, by the values of one column, the most different ones first."""

    column: str
    segments: tuple[Segment, ...]

    @property
    def short(self) -> str:
        """The column's name without the part that nearly all names have."""
        return self.column.removeprefix("features.")

    @property
    def carriers(self) -> list[Segment]:
        """The segments that carry the change."""
        return [each for each in self.segments if each.carries]

    @property
    def share(self) -> float:
        """The share of the rows that these are."""
        return sum(each.rows for each in self.carriers) / max(self.rows, 1)

    @property
    def rows(self) -> int:
        """The rows since the drift began."""
        return sum(each.rows for each in self.segments)

    @property
    def says(self) -> str:
        """For whom it is, as the end of a sentence."""
        column, carriers = shown(self.short), self.carriers
        if not carriers:
            return f"for no value of {column} by itself"
        if all(each.carries is not False for each in self.segments) and len(carriers) > 1:
            return f"for all values of {column}"
        listed = listed_names([shown(each.value) for each in carriers], _NAMED)
        return f"for {column} {listed}: {percent(self.share)} of these rows"


#: By model and signal, the rows of its drift by the values of each column.
Splits = dict[tuple[str, str], tuple[Split, ...]]


def split_changes(
    model: ModelView, columns: Sequence[str], reference: Iterable[Sequence[Event]], live: Iterable[Sequence[Event]]
) -> dict[str, tuple[Split, ...]]:
    """By signal that has changed, its rows by each of the columns.

    columns: names of signals, or of extras (`Event`). reference, live: the model's events, in chunks.
    """
    periods = {_period(signal) for signal in model.changed}
    chunks = list(reference)
    names = {column: _segments(column, chunks) for column in columns}
    before = _counted(model.baseline, names, chunks, {(0, None)}, timed=False)
    since = _counted(model.baseline, names, live, periods, timed=model.timed)
    sizes = Sizes(model.baseline)
    return {
        signal.name: tuple(
            _split(column, model, signal, sizes, before[column, (0, None)], since[column, _period(signal)])
            for column in columns if column != signal.name
        )
        for signal in model.changed
    }  # fmt: skip


def in_chunks(events: Sequence[Event]) -> Iterable[Sequence[Event]]:
    """Events in pieces that are counted at once."""
    return (events[start : start + _CHUNK] for start in range(0, len(events), _CHUNK))


def _period(signal: SignalView) -> _Period:
    episode = signal.episode
    return (0, None) if episode is None else (episode.since, episode.until)


def _segments(column: str, chunks: Iterable[Sequence[Event]]) -> Mapping[str, str]:
    """The segment of each value that the reference has: itself, if it is one of the commonest."""
    counts = Counter(value_of(event, column) for chunk in chunks for event in chunk)
    common = {value for value, _ in counts.most_common(VALUES)}
    return {value: value if value in common else OTHERS for value in counts}


def value_of(event: Event, column: str) -> str:
    """The value by which an event is sorted into a segment."""
    value = event.version if column == "version" else event.signals.get(column, event.extras.get(column))
    return NO_VALUE if value is None else str(value)


def _counted(
    baseline: Baseline, names: _Names, chunks: Iterable[Sequence[Event]], periods: Iterable[_Period], *, timed: bool
) -> Mapping[tuple[str, _Period], _Sketches]:
    """The sketch of each segment by column and period."""
    found = defaultdict[tuple[str, _Period], dict[str, Sketch]](dict)
    for chunk in chunks:
        columns = tabulate(baseline.fields, list(enumerate(chunk)))
        codes = baseline.encode(columns)
        inside = {period: _inside(columns.ts, period) if timed else np.ones(len(chunk), bool) for period in periods}
        for column, segments in names.items():
            values = np.array([segments.get(value_of(event, column), NEW) for event in chunk], object)
            for period, rows in inside.items():
                own = found[column, period]
                for value in dict.fromkeys(values[rows].tolist()):
                    picked = rows & (values == value)
                    sketch = baseline.layout.sketch(codes[picked], columns.numeric[picked])
                    own[value] = own[value] + sketch if value in own else sketch
    return found


def _inside(times: IntArray, period: _Period) -> BoolArray:
    since, until = period
    return (times >= since) & (times < (FOREVER if until is None else until))


def _split(
    column: str, model: ModelView, signal: SignalView, sizes: Sizes, before: _Sketches, since: _Sketches
) -> Split:
    nothing = model.layout.empty()
    segments = [
        _segment(value, model, signal, sizes, before.get(value, nothing), since.get(value, nothing))
        for value in dict.fromkeys([*before, *since])
    ]
    return Split(column, tuple(sorted(segments, key=lambda each: (not each.carries, -each.difference, each.value))))


def _segment(value: str, model: ModelView, signal: SignalView, sizes: Sizes, before: Sketch, after: Sketch) -> Segment:
    difference, differs = sizes.compare(before, after, signal.index)
    old, new = (signal.figure.of(model.layout, each) if each.n else None for each in (before, after))
    return Segment(value, before.n, after.n, old, new, difference, differs)
