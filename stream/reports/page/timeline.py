"""The axis of time of a model's charts."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from driftline.stream.reports.page.svg import tag
from driftline.stream.reports.page.ticks import round_ticks, tick_marks
from driftline.stream.results.overview import ModelView

_WEEK, _DAY, _HOUR, _MINUTE = 604_800_000, 86_400_000, 3_600_000, 60_000
_UNITS = ((_WEEK, "week"), (_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1000, "second"))


@dataclass(frozen=True)
class Time:
    """The axis of time of a model: its first bin begins at 0, its last one ends at 1."""

    start: int
    end: int
    length: int

    @classmethod
    def of(cls, model: ModelView) -> Time:
        """The axis of a model's events."""
        return cls(model.bins[0].start, model.bins[-1].end, model.bins[0].length)

    @property
    def cells(self) -> int:
        """Number of bins from the first to the last, empty ones included."""
        return (self.end - self.start) // self.length

    def x(self, epoch_ms: float) -> float:
        """The place of a time, 0 to 1."""
        return min(max((epoch_ms - self.start) / (self.end - self.start), 0.0), 1.0)

    @property
    def unit(self) -> str:
        """What a bin is called, as in "each square is one week"."""
        count, name = next((self.length // size, name) for size, name in _UNITS if self.length % size == 0)
        return f"one {name}" if count == 1 else f"{count} {name}s"


def axis(time: Time, top: float) -> Markup:
    """Round times below a chart."""
    return tick_marks(round_ticks(time.start, time.end), top)


def axis_row(model: ModelView) -> Markup:
    """The times below the map."""
    return tag("svg", axis(Time.of(model), 0.0), height=18, aria_hidden="true", class_="row axis")
