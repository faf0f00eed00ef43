"""The history of a model for people to look at: the sketches of its panes by time, in a bounded number of bins. Pure.

Nothing is decided by it. The bins have one length, which grows along a ladder of usual lengths as the history does: so
they begin at whole minutes, hours, days or weeks, and the same panes make the same bins in whichever order they come.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from driftline.detectors.summaries.sketch import Sketch

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
#: Lengths of bins, ms of event time; each divides the next one, so that bins can be added up. Monday begins a week.
LADDER: Final = (
    10_000, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY, 28 * _DAY, 364 * _DAY, 3640 * _DAY,
    36_400 * _DAY,
)  # fmt: skip
# Lengths between these, of bins that are shown.
_SHOWN: Final = sorted({
    *LADDER, 30_000, 2 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 3 * _HOUR, 12 * _HOUR, 2 * _DAY, 14 * _DAY,
    84 * _DAY,
})  # fmt: skip
# The epoch was a Thursday: bins count from the Monday before it.
_MONDAY = -3 * _DAY
# Bins at most, so that a change is dated to a few thousandths of the history. Counters in all of them at most, which
# are 64 MB: 1000 signals have 70,000 each. A map of fewer than 50 bins would show little.
_BINS, _COUNTERS, _FEWEST = 800, 8_000_000, 50


class Bin(NamedTuple):
    """A stretch of event time, from `start` for `length` ms, and the sketch of its events."""

    start: int
    length: int
    sketch: Sketch

    @property
    def end(self) -> int:
        """Its end, exclusive, epoch ms."""
        return self.start + self.length


class History:
    """Adds up sketches of one layout by the time of their first event."""

    def __init__(self) -> None:
        self._step = 0
        self._bins: dict[int, Sketch] = {}

    def add(self, ts: int, sketch: Sketch) -> None:
        """Count a sketch whose first event is at `ts`, epoch ms."""
        number = self._number(ts)
        known = self._bins.get(number)
        self._bins[number] = sketch if known is None else known + sketch
        most = max(min(_BINS, _COUNTERS // len(sketch.counts)), _FEWEST)
        while len(self._bins) > most and self._step < len(LADDER) - 1:
            self._coarsen()

    @property
    def length(self) -> int:
        """The length of each bin, ms."""
        return LADDER[self._step]

    def bins(self, most: int = _BINS) -> list[Bin]:
        """The bins with events by time, merged until they span at most `most` lengths."""
        if not self._bins:
            return []
        fits = (each for each in _SHOWN if each % self.length == 0 and self._count(each) <= most)
        length = next(fits, LADDER[-1])
        merged = _merged(self._bins, length // self.length)
        return [Bin(number * length + _MONDAY, length, sketch) for number, sketch in sorted(merged.items())]

    def _count(self, length: int) -> int:
        """How many bins of a length the history spans."""
        factor = length // self.length
        return max(self._bins) // factor - min(self._bins) // factor + 1

    def _number(self, ts: int) -> int:
        return (ts - _MONDAY) // self.length

    def _coarsen(self) -> None:
        factor = LADDER[self._step + 1] // LADDER[self._step]
        self._step, self._bins = self._step + 1, _merged(self._bins, factor)


def _merged(bins: dict[int, Sketch], factor: int) -> dict[int, Sketch]:
    """Bins by number, each of which is the sum of `factor` of these."""
    merged: dict[int, Sketch] = {}
    for number, sketch in sorted(bins.items()):
        known = merged.get(number // factor)
        merged[number // factor] = sketch if known is None else known + sketch
    return merged
