"""The charts of one signal: bands of quantiles, shares over time, before and after. Edge.

Before is always grey, after orange, values over time blue; what the reference shows is drawn as dashed lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from driftline.detectors.arrays import FloatArray
from driftline.detectors.summaries.codes import Categories, Special
from driftline.detectors.summaries.distribution import Distribution, distribution
from driftline.stream.judge.changes import SPECIAL_WORDS
from driftline.stream.reports.page.svg import (
    WIDTH,
    Scale,
    fits_log,
    joined,
    path,
    percent_of,
    picture,
    scale_of,
    stretched,
    tag,
)
from driftline.stream.reports.page.ticks import tick_marks
from driftline.stream.reports.page.timeline import Time, axis
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.results.sentences import band, number, percent, shown

# Pixels: height of a chart, and of what is written below it.
_HEIGHT, _AXIS, _SMALL = 150.0, 18.0, 22.0
# Intervals of a before and after, and categories that are drawn.
_INTERVALS, _CATEGORIES = 36, 6
# The share of the rows from which on what is no regular value has a chart of its own.
_WORTH = 0.005

# A row of figures of one stretch of time; None where there are no values.
_Rows = Sequence[tuple[float, ...] | None]
# One figure of each stretch; None where there is none.
_Column = Sequence[float | None]


def _drift(time: Time, signal: SignalView) -> Markup:
    """Where a signal drifts, behind its values."""
    return joined(
        _shade(time.x(each.since), 1.0 if each.until is None else time.x(each.until)) for each in signal.episodes
    )


def _shade(left: float, right: float) -> Markup:
    begin, width = percent_of(left), percent_of(max(right - left, 0.0))
    area = tag("rect", x=begin, y=0, width=width, height=_HEIGHT, class_="drift")
    return area + tag("line", x1=begin, x2=begin, y1=0, y2=_HEIGHT, class_="since")


def _grid(scale: Scale, words: Iterable[tuple[float, str]]) -> Markup:
    return joined(
        _across(scale.y(value), "grid") + tag("text", text, x=2, y=max(scale.y(value) - 3, 10.0), class_="tick value")
        for value, text in words
    )


def _across(y: float, class_: str) -> Markup:
    return tag("line", x1=0, x2="100%", y1=y, y2=y, class_=class_)


def _levels(scale: Scale, values: Iterable[float]) -> Markup:
    """The reference's values as dashed lines."""
    return joined(_across(scale.y(each), "ref") for each in values)


def _pieces(spans: Sequence[tuple[float, float]], column: _Column) -> Iterator[list[tuple[float, float]]]:
    """Places, 0 to 1, and figures of stretches that follow each other without a gap.

    Each is in its middle; one that stands alone is at its begin and at its end.
    """
    piece, before = list[tuple[float, float, float]](), None
    for (begin, end), value in zip(spans, column, strict=True):
        if piece and (value is None or begin != before):
            yield _middles(piece)
            piece = []
        before = end
        if value is not None:
            piece.append((begin, end, value))
    if piece:
        yield _middles(piece)


def _middles(piece: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    if len(piece) > 1:
        return [((begin + end) / 2, value) for begin, end, value in piece]
    return [(place, value) for begin, end, value in piece for place in (begin, end)]


def _lines(spans: Sequence[tuple[float, float]], column: _Column, scale: Scale, class_: str) -> Iterator[Markup]:
    """A line for each piece without a gap."""
    for piece in _pieces(spans, column):
        yield path([(WIDTH * x, scale.y(value)) for x, value in piece], class_)


def _areas(
    spans: Sequence[tuple[float, float]], low: _Column, high: _Column, scale: Scale, class_: str
) -> Iterator[Markup]:
    """The area between two figures that are known for the same stretches, for each piece without a gap."""
    for bottom, top in zip(_pieces(spans, low), _pieces(spans, high), strict=True):
        points = [(WIDTH * x, scale.y(value)) for x, value in (*top, *bottom[::-1])]
        yield path(points, class_, closed=True)


@dataclass(frozen=True)
class _Series:
    """Rows of figures over time, one a bin of the model."""

    model: ModelView
    rows: _Rows

    @property
    def time(self) -> Time:
        """The axis of time."""
        return Time.of(self.model)

    @property
    def known(self) -> list[tuple[float, ...]]:
        """The rows that have values."""
        return [each for each in self.rows if each is not None]

    def lines(self, scale: Scale, which: int) -> Iterator[Markup]:
        """A line a piece."""
        return _lines(self._spans, self._column(which), scale, "median")

    def areas(self, scale: Scale, low: int, high: int, class_: str) -> Iterator[Markup]:
        """The area between two figures, a piece each."""
        return _areas(self._spans, self._column(low), self._column(high), scale, class_)

    def _column(self, which: int) -> _Column:
        return [None if each is None else each[which] for each in self.rows]

    @property
    def _spans(self) -> list[tuple[float, float]]:
        time = self.time
        return [(time.x(each.start), time.x(each.end)) for each in self.model.bins]


def band_chart(model: ModelView, signal: SignalView) -> Markup | None:
    """9 of 10 values, half of them and the median over time, over those of the reference; None where none is known."""
    old = band(model.layout, model.baseline.total, signal.index)
    bins = zip(model.bins, signal.levels, strict=True)
    rows = [band(model.layout, each.sketch, signal.index) if level >= 0 else None for each, level in bins]
    series = _Series(model, rows)
    if old is None or not series.known:
        return None
    every = [old, *series.known]
    log = fits_log([each[0] for each in every], [each[-1] for each in every], [each[2] for each in every])
    scale = scale_of([value for each in every for value in (each[0], each[-1])], _HEIGHT, log)
    areas = (*series.areas(scale, 0, 4, "nine"), *series.areas(scale, 1, 3, "half"), *series.lines(scale, 2))
    label = (
        f"{shown(signal.short)} over time: typical value {number(series.known[0][2])} at first and "
        f"{number(series.known[-1][2])} at the end; in the reference {number(old[2])}, 9 of 10 values between "
        f"{number(old[0])} and {number(old[-1])}"
    )
    grid = _grid(scale, ((each, number(each)) for each in scale.ticks()))
    return _chart(series.time, signal, label, [*areas], _levels(scale, (old[0], old[2], old[-1])) + grid)


def _chart(time: Time, signal: SignalView, label: str, shapes: Sequence[Markup], above: Markup) -> Markup:
    behind = _drift(time, signal)
    return picture(_HEIGHT + _AXIS, label, behind, stretched(_HEIGHT, *shapes), above, axis(time, _HEIGHT))


def range_chart(model: ModelView, signal: SignalView) -> Markup | None:
    """The mean between the least and the greatest value over time, of a number that was constant; None of others."""
    if not isinstance(model.layout.signals[signal.index].coder, Categories):
        return None
    found = [model.layout.summary(each.sketch, signal.index) for each in model.bins]
    series = _Series(model, [None if each is None else (each.low, each.mean, each.high) for each in found])
    old = model.layout.summary(model.baseline.total, signal.index)
    if old is None or not series.known:
        return None
    scale = scale_of([value for each in series.known for value in each] + [old.low], _HEIGHT)
    means = f"mean {number(series.known[-1][1])} at the end; in the reference always {number(old.low)}"
    label = f"{shown(signal.short)} over time: {means}"
    grid = _grid(scale, ((each, number(each)) for each in scale.ticks()))
    shapes = [*series.areas(scale, 0, 2, "nine"), *series.lines(scale, 1)]
    return _chart(series.time, signal, label, shapes, _levels(scale, [old.low]) + grid)


def share_chart(model: ModelView, signal: SignalView, columns: Sequence[int], what: str) -> Markup:
    """A share of the rows over time, over that of the reference."""
    old, *shares = (
        float(each.counts[list(columns)].sum() / max(each.n, 1))
        for each in (model.baseline.total, *(each.sketch for each in model.bins))
    )
    series = _Series(
        model, [(each,) if level >= 0 else None for each, level in zip(shares, signal.levels, strict=True)]
    )
    values = [each for (each,) in series.known] or [0.0]
    scale = Scale(0.0, min(max(1.08 * max([old, *values]), 0.02), 1.0), _HEIGHT)
    label = (
        f"{shown(signal.short)}, {shown(what)} over time: {percent(values[0])} at first and {percent(values[-1])} at "
        f"the end; in the reference {percent(old)}"
    )
    grid = _grid(scale, ((each, f"{100 * each:.3g} %") for each in scale.ticks(3)))
    return _chart(series.time, signal, label, [*series.lines(scale, 0)], _levels(scale, [old]) + grid)


def special_charts(model: ModelView, signal: SignalView) -> Iterator[tuple[str, Markup]]:
    """Shares over time of what is no regular value: missing, unseen, and so on, where it is not negligible."""
    for special in Special:
        column = model.layout.special_column(signal.index, special)
        most = max((each.sketch.counts[column] / max(each.sketch.n, 1) for each in model.bins), default=0.0)
        if most >= _WORTH and signal.figure.value is not special:
            yield SPECIAL_WORDS[special], share_chart(model, signal, (column,), SPECIAL_WORDS[special])


def before_after(model: ModelView, signal: SignalView) -> Markup | None:
    """The values of the reference above an axis, those since the drift began below it; None without a range."""
    old, new = (distribution(model.layout, each, signal.index) for each in (model.baseline.total, signal.after))
    if old is None or new is None:
        return None
    quantiles = [[each.quantile(share) for share in (0.005, 0.5, 0.995)] for each in (old, new)]
    log = fits_log([each[0] for each in quantiles], [each[2] for each in quantiles], [each[1] for each in quantiles])
    scale = scale_of([value for each in quantiles for value in (each[0], each[2])], 1.0, log)
    shares = [histogram(each, scale) for each in (old, new)]
    top, half = max(float(each.max()) for each in shares) or 1.0, _HEIGHT / 2
    upper = _columns(shares[0] / top * (half - 12), half, True) + _upright(scale.share(quantiles[0][1]), 0.0, half)
    lower = _columns(shares[1] / top * (half - 12), half, False) + _upright(scale.share(quantiles[1][1]), half, _HEIGHT)
    base = tag("line", x1=0, x2=WIDTH, y1=half, y2=half, class_="base")
    medians = f"typical value {number(quantiles[0][1])}, then {number(quantiles[1][1])}"
    sides = tag("text", "reference", x=2, y=11, class_="tick") + tag(
        "text", "since" if model.timed else "now", x=2, y=_HEIGHT - 3, class_="tick"
    )
    label = f"{shown(signal.short)} before and after: {medians}"
    return picture(_HEIGHT + _AXIS, label, stretched(_HEIGHT, upper, lower, base), sides, *_values(scale))


def histogram(of: Distribution, scale: Scale) -> FloatArray:
    """The shares of values in intervals of equal width on a scale; the outermost ones hold what lies beyond."""
    inner = [scale.at(index / _INTERVALS) for index in range(1, _INTERVALS)]
    return np.asarray(np.diff(of.share_up_to(inner), prepend=0.0, append=1.0))


def _columns(heights: FloatArray, half: float, up: bool) -> Markup:
    width = WIDTH / _INTERVALS
    return joined(
        tag(
            "rect", x=index * width, y=half - height if up else half, width=width * 0.92, height=height,
            class_="old" if up else "new",
        )
        for index, height in enumerate(heights.tolist()) if height > 0.05
    )  # fmt: skip


def _upright(share: float, top: float, bottom: float) -> Markup:
    return tag("line", x1=WIDTH * share, x2=WIDTH * share, y1=top, y2=bottom, class_="typical")


def _values(scale: Scale) -> Iterator[Markup]:
    for each in scale.ticks(5):
        if 0.02 < scale.share(each) < 0.95:
            yield tag("text", number(each), x=percent_of(scale.share(each)), y=_HEIGHT + 13, class_="tick mid")


@dataclass(frozen=True)
class Share:
    """A value of a signal that has categories, and its share before and after."""

    value: str
    before: float
    after: float

    @property
    def bars(self) -> Markup:
        """Both shares as bars."""
        shapes = (
            tag("rect", x=0, y=y, width=percent_of(share), height=8.0, rx=2, class_=class_)
            for y, share, class_ in ((1.0, self.before, "old"), (11.0, self.after, "new"))
        )
        return picture(20.0, f"{percent(self.before)}, then {percent(self.after)}", *shapes, class_="row pair")


def shares_of(model: ModelView, signal: SignalView) -> list[Share]:
    """The values of a signal with categories that matter most, and the special codes; none of a numeric signal."""
    coder, start = model.layout.signals[signal.index].coder, int(model.layout.starts[signal.index])
    if not isinstance(coder, Categories):
        return []
    old, new = (each.counts / max(each.n, 1) for each in (model.baseline.total, signal.after))
    columns = [(str(value), start + code) for code, value in enumerate(coder.values)]
    known = sorted(columns, key=lambda each: -max(old[each[1]], new[each[1]], 2 * abs(new[each[1]] - old[each[1]])))
    first, rest = known[:_CATEGORIES], [column for _, column in known[_CATEGORIES:]]
    rows = [Share(shown(value), float(old[column]), float(new[column])) for value, column in first]
    if rest:
        rows.append(Share(f"{len(rest):,} others", float(old[rest].sum()), float(new[rest].sum())))
    for special in Special:
        column = model.layout.special_column(signal.index, special)
        if old[column] or new[column]:
            rows.append(Share(SPECIAL_WORDS[special], float(old[column]), float(new[column])))
    return rows


def small_line(model: ModelView, signal: SignalView, least: float) -> Markup:
    """A signal's figure over time in the height of a line of text. least: the span that the height has at least."""
    series = _Series(model, [None if each is None else (each,) for each in model.series(signal)])
    before = [] if signal.figure.before is None else [signal.figure.before]
    tight = scale_of([*(each[0] for each in series.known), *before], _SMALL)
    spare = max(least - (tight.high - tight.low), 0.0) / 2
    scale = Scale(tight.low - spare, tight.high + spare, _SMALL)
    label = f"{shown(signal.short)} over time"
    return picture(_SMALL, label, _levels(scale, before), stretched(_SMALL, *series.lines(scale, 0)), class_="row")


class Curve(NamedTuple):
    """A figure over time. spans: begin and end of each stretch, 0 to 1. values, bounds: None where there is none.

    before: in the reference. least: the span that the picture has at least. expected: what was to be expected, one a
    value, or none at all. floors: bounds of it. bands: [begin, end) of incidents, 0 to 1.
    """

    spans: Sequence[tuple[float, float]]
    values: _Column
    bounds: Sequence[tuple[float | None, float | None]]
    before: float | None
    least: float
    expected: _Column = ()
    floors: Sequence[float] = ()
    bands: Sequence[tuple[float, float]] = ()

    @property
    def scale(self) -> Scale:
        """The scale that shows all of it."""
        pairs = [each for low, high in self.bounds if low is not None and high is not None for each in (low, high)]
        known = [each for each in (*self.values, self.before, *self.expected) if each is not None]
        tight = scale_of([*known, *pairs, *self.floors], _HEIGHT)
        spare = max(self.least - (tight.high - tight.low), 0.0) / 2
        return Scale(tight.low - spare, tight.high + spare, _HEIGHT)


def curve_chart(curve: Curve, label: str, ticks: Sequence[tuple[float, str]], words: Callable[[float], str]) -> Markup:
    """A figure over time with its intervals; a gap is left empty. ticks: places and words. words: of a value."""
    scale, before = curve.scale, [] if curve.before is None else [curve.before]
    low, high = ([None if None in pair else pair[side] for pair in curve.bounds] for side in (0, 1))
    shapes = stretched(
        _HEIGHT,
        *_areas(curve.spans, low, high, scale, "nine"),
        *(_lines(curve.spans, curve.expected, scale, "expected") if curve.expected else ()),
        *_lines(curve.spans, curve.values, scale, "median"),
    )
    behind = joined(_shade(*each) for each in curve.bands)
    floors = joined(_across(scale.y(each), "floor") for each in curve.floors)
    grid = _grid(scale, ((each, words(each)) for each in scale.ticks()))
    below = tick_marks(ticks, _HEIGHT)
    return picture(_HEIGHT + _AXIS, label, behind, shapes, _levels(scale, before), floors, grid, below)


def share_row(spans: Sequence[tuple[float, float]], shares: _Column, label: str) -> Markup:
    """A share of the rows in each stretch of time as bars: the height of the row is all of them."""
    bars = (
        tag(
            "rect", x=WIDTH * begin, y=_SMALL * (1 - share), width=max(0.92 * WIDTH * (end - begin), 1.0),
            height=_SMALL * share, class_="vol",
        )
        for (begin, end), share in zip(spans, shares, strict=True) if share
    )  # fmt: skip
    return picture(_SMALL, label, _across(0.5, "grid"), stretched(_SMALL, *bars), _across(_SMALL, "grid"), class_="row")
