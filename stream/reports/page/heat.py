"""The map of a model: a row of squares a signal, coloured by the size of its difference, and its drifts as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from driftline.stream.panes.history import Bin
from driftline.stream.reports.page.svg import WIDTH, coordinate, percent_of, picture, stretched, tag
from driftline.stream.reports.page.timeline import Time
from driftline.stream.results.episodes import Episode
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.results.sentences import figure_text, names, shown
from driftline.stream.results.sizes import LEVELS
from driftline.stream.text.phrases import moment

# Pixels: height of a row, of the line that marks a drift, of a lane of bars and of a bar.
_ROW, _MARK, _LANE, _BAR = 20.0, 3.5, 24.0, 20.0
# Pixels of a character of a label, and of the map's width on a wide screen: whether a label fits into its bar.
_CHARACTER, _MAP = 6.8, 700.0
# Lanes of bars above the map, and the least width of a bar, as a part of the map's.
_LANES, _NARROW = 5, 0.006
_FEW = "too few rows"


def heat_row(model: ModelView, signal: SignalView, explained: bool) -> Markup:
    """The sizes of a signal over time as squares; those of a drift are underlined. explained: to a pointer, each."""
    time = Time.of(model)
    shapes = _squares(model, time, signal) if explained else _runs(model, time, signal)
    marks = (_mark(time, each) for each in signal.episodes)
    return picture(_ROW, _in_words(signal), stretched(_ROW, *shapes, *marks), class_="row")


def _squares(model: ModelView, time: Time, signal: SignalView) -> Iterator[Markup]:
    width = WIDTH / time.cells
    for each, level, value in zip(model.bins, signal.levels, model.series(signal), strict=True):
        figure = f"{shown(signal.figure.what)} {figure_text(signal, value)}"
        words = f"{level_words(level)}; {figure}; {each.sketch.n:,} rows"
        title = tag("title", f"{shown(signal.short)}, {moment(each.start, time.length)}: {words}")
        left = WIDTH * time.x(each.start)
        yield tag("rect", title, x=left, y=0, width=max(width - 1.0, width * 0.8), height=_ROW, class_=_level(level))


def _runs(model: ModelView, time: Time, signal: SignalView) -> Iterator[Markup]:
    """All squares of one size as one shape, in which those that follow each other are one: a map may have thousands."""
    shapes = dict[int, list[str]]()
    cells = zip(range(len(model.bins)), model.bins, signal.levels, strict=True)
    for (level, _), own in groupby(cells, key=lambda each: (each[2], each[1].start // time.length - each[0])):
        bins: list[Bin] = [each[1] for each in own]
        left, right = (coordinate(WIDTH * time.x(at)) for at in (bins[0].start, bins[-1].end))
        shapes.setdefault(level, []).append(f"M{left} 0H{right}V{coordinate(_ROW)}H{left}Z")
    return (tag("path", d="".join(own), class_=_level(level)) for level, own in shapes.items())


def level_words(level: int) -> str:
    """A size in words."""
    return _FEW if level < 0 else LEVELS[level]


def _level(level: int) -> str:
    return "no" if level < 0 else f"l{level}"


def _mark(time: Time, episode: Episode) -> Markup:
    left, right = time.x(episode.since), 1.0 if episode.until is None else time.x(episode.until)
    return tag(
        "rect", x=WIDTH * left, y=_ROW - _MARK, width=max(WIDTH * (right - left), 4.0), height=_MARK, class_="mark"
    )


def _in_words(signal: SignalView) -> str:
    counts = [(level_words(level), signal.levels.count(level)) for level in (*range(len(LEVELS)), -1)]
    total = len(signal.levels)
    sizes = ", ".join(f"{words} in {count} of {total} squares" for words, count in counts if count)
    return f"{shown(signal.short)}: {sizes}"


def reference_row(signal: SignalView) -> Markup:
    """The same of the reference's own stretches, each compared with all of it."""
    count = max(len(signal.before), 1)
    width = WIDTH / count
    squares = (
        tag("rect", x=index * width, y=0, width=width * 0.9, height=_ROW, class_=_level(level))
        for index, level in enumerate(signal.before)
    )
    usual = sum(level == 0 for level in signal.before)
    return picture(
        _ROW, f"reference: as usual in {usual} of {count} squares", stretched(_ROW, *squares), class_="row faded"
    )


def volume_row(events: Sequence[int], places: Sequence[float] | None = None) -> Markup:
    """How many rows there are in each stretch of time."""
    top, count = max(events, default=1) or 1, max(len(events), 1)
    starts = [index / count for index in range(count)] if places is None else list(places)
    width = min((b - a for a, b in zip(starts, [*starts[1:], 1.0], strict=True)), default=1.0)
    bars = (
        tag("rect", x=WIDTH * x, y=_ROW * (1 - n / top), width=WIDTH * width * 0.9, height=_ROW * n / top, class_="vol")
        for x, n in zip(starts, events, strict=False)
    )
    return picture(_ROW, f"up to {top:,} rows", stretched(_ROW, *bars), class_="row")


def volume(model: ModelView) -> Markup:
    """How many rows there are over time."""
    time = Time.of(model)
    return volume_row([each.sketch.n for each in model.bins], [time.x(each.start) for each in model.bins])


@dataclass(frozen=True)
class Group:
    """Signals that began to drift in the same stretch of time, and stopped in the same one; until: None if they drift.

    since, until: epoch ms.
    """

    since: int
    until: int | None
    signals: tuple[SignalView, ...]


def groups_of(model: ModelView) -> list[Group]:
    """The drifts of a model that began and ended together, in order of their starts."""
    length, found = model.bins[0].length, dict[tuple[int, int | None], list[tuple[Episode, SignalView]]]()
    for signal in model.changed:
        for episode in signal.episodes:
            end = None if episode.until is None else episode.until // length
            found.setdefault((episode.since // length, end), []).append((episode, signal))
    groups = (
        Group(min(each.since for each, _ in own), own[0][0].until, tuple(signal for _, signal in own))
        for own in found.values()
    )
    return sorted(groups, key=lambda each: each.since)


@dataclass(frozen=True)
class _Bar:
    """A bar and its label, at places from 0 to 1. side: of the bar on which the label is, -1 left, 0 in it, 1 right."""

    group: Group
    words: str
    left: float
    right: float
    side: int

    @classmethod
    def of(cls, time: Time, group: Group) -> _Bar:
        left, words = time.x(group.since), names(group.signals, len(group.signals))
        right = max(1.0 if group.until is None else time.x(group.until), left + _NARROW)
        if _width(words) > max(right - left, 1 - right, left):
            words = names(group.signals)
        needed = _width(words)
        side = 0 if needed <= right - left else -1 if right + needed > 1 else 1
        return cls(group, words, left, right, side)

    @property
    def span(self) -> tuple[float, float]:
        """From where to where the bar and its label reach."""
        needed = _width(self.words)
        return self.left - needed * (self.side < 0), self.right + needed * (self.side > 0)

    def drawn(self, lane: int) -> Markup:
        """The bar in a lane."""
        top, width = _LANE * lane + 2, percent_of(self.right - self.left)
        worst = max(each.level for each in self.group.signals)
        colour = "over" if self.group.until is not None else "error" if worst >= 3 else "warn"
        place: dict[str, Any] = {"x": percent_of(self.left), "y": top, "width": width, "height": _BAR}
        box = tag("rect", rx=4, class_=f"bar {colour}", **place)
        if not self.side:  # cut off where it does not fit
            return box + tag("svg", tag("text", self.words, x=6, y=14, class_="in"), **place)
        x = self.left - _NARROW if self.side < 0 else self.right + _NARROW
        return box + tag("text", self.words, x=percent_of(x), y=top + 14, class_="out" + " end" * (self.side < 0))


def _width(words: str) -> float:
    return (len(words) + 2) * _CHARACTER / _MAP


def bars(model: ModelView) -> Markup:
    """A bar a group of drifts, from its start to its end, above the map."""
    time, lanes, drawn = Time.of(model), list[float](), list[Markup]()
    groups = groups_of(model)
    for bar in (_Bar.of(time, each) for each in groups):
        begin, end = bar.span
        lane = next((index for index, taken in enumerate(lanes) if taken <= begin), len(lanes))
        if lane < _LANES:
            lanes[lane : lane + 1] = [end]
            drawn.append(bar.drawn(lane))
    label = "; ".join(_group_words(time, each) for each in groups) or "none"
    return picture(_LANE * max(len(lanes), 1), f"drifts: {label}", *drawn, class_="row bars")


def _group_words(time: Time, group: Group) -> str:
    end = "the end" if group.until is None else moment(group.until, time.length)
    return f"{names(group.signals)} from {moment(group.since, time.length)} to {end}"
