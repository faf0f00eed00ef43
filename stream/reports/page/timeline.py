"""The axis of time of a model's charts."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from driftline.stream.reports.page.svg import joined, percent_of, tag
from driftline.stream.results.overview import ModelView
from driftline.stream.results.sentences import moment

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

    def ticks(self, count: int = 6) -> list[tuple[float, str]]:
        """Places and words of some times."""
        step = max(-(-self.cells // count), 1)
        places = [index / self.cells for index in range(0, self.cells, step)]
        return [(x, self._words(self.start + round(x * (self.end - self.start)))) for x in places if x < 0.93]

    def _words(self, epoch_ms: int) -> str:
        """A time with as much of it as tells the ticks apart."""
        day, month, year, *rest = moment(epoch_ms, min(self.length, _HOUR)).split()
        if self.end - self.start > 300 * _DAY:
            return f"{month} {year}"
        return f"{day} {month}" if self.end - self.start > 5 * _DAY else f"{day} {month} {' '.join(rest)}"


def axis(time: Time, top: float) -> Markup:
    """Words of some times below a chart; every second one is left out on a narrow screen."""
    return joined(
        tag("text", words, x=percent_of(x), y=top + 13, class_="tick" + " few" * (index % 2))
        for index, (x, words) in enumerate(time.ticks())
    )


def axis_row(model: ModelView) -> Markup:
    """The times below the map."""
    return tag("svg", axis(Time.of(model), 0.0), height=18, aria_hidden="true", class_="row")
