"""Times below a chart: round ones, each where it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from driftline.stream.reports.page.svg import joined, percent_of, tag

_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000
# The epoch was a Thursday; weeks begin on Monday.
_MONDAY = 4 * _DAY
_STEPS = (
    *(each * _SECOND for each in (1, 2, 5, 10, 15, 30)), *(each * _MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * _HOUR for each in (1, 2, 3, 6, 12)), *(each * _DAY for each in (1, 2, 7, 14)),
)  # fmt: skip
# Beyond two weeks, steps are months, of which these are a part of a year or whole years.
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 600, 1200)
# Ticks of a chart, with an hour or with a date alone; and the part of it at its right end in which none begins, or none
# on a telephone.
_HOURS, _DATES, _END, _END_NARROW = 6, 8, 0.9, 0.72


def round_ticks(start: int, end: int) -> list[tuple[float, str]]:
    """Places, 0 to 1, and words of round times in UTC within [start, end), epoch ms, eight at most.

    >>> begin, day = 862_704_000_000, 86_400_000
    >>> [words for _, words in round_ticks(begin, begin + 100 * day)]
    ['5 May', '19 May', '2 Jun', '16 Jun', '30 Jun', '14 Jul', '28 Jul']
    >>> [words for _, words in round_ticks(begin, begin + day)]
    ['4 May 00:00', '4 May 06:00', '4 May 12:00', '4 May 18:00']
    """
    for step in _STEPS:
        if (end - start) // step <= (_DATES if step >= _DAY else _HOURS):
            shift = _MONDAY % step if step >= 7 * _DAY else 0
            first = -((shift - start) // step) * step + shift
            return [*_placed(range(first, end, step), start, end, "day" if step >= _DAY else "", step)]
    found = next((each for each in _MONTHS if (end - start) // (each * 30 * _DAY) <= _DATES), _MONTHS[-1])
    return [*_placed(_months(start, end, found), start, end, "month", found)]


def _months(start: int, end: int, step: int) -> Iterator[int]:
    """The beginnings of every `step` months, counted from January, within [start, end)."""
    at = datetime.fromtimestamp(start / 1000, UTC)
    number = -(-(12 * at.year + at.month - 1) // step) * step
    while number < 12 * 9999:
        begin = round(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)
        if begin >= end:
            return
        if begin >= start:
            yield begin
        number += step


def _placed(times: Iterable[int], start: int, end: int, unit: str, step: int) -> Iterator[tuple[float, str]]:
    for time in times:
        place, at = (time - start) / (end - start), datetime.fromtimestamp(time / 1000, UTC)
        if place >= _END:
            return
        if unit == "month":
            yield place, f"{at:%b %Y}" if step < 12 else f"{at.year}"
        elif unit == "day":
            yield place, f"{at.day} {at:%b}"
        else:
            yield place, f"{at.day} {at:%b %H:%M}" + (f":{at:%S}" if step < _MINUTE else "")


def tick_marks(ticks: Sequence[tuple[float, str]], top: float) -> Markup:
    """A mark and the words of each tick below a chart; of many, half on a small screen and a quarter on a phone."""
    every = 2 if len(ticks) < 5 else 4

    def marked(index: int, x: float, words: str) -> Markup:
        few = " few" if index % every or x > _END_NARROW else ""
        few += " odd" if every == 4 and index % 2 else ""
        line = tag("line", x1=percent_of(x), x2=percent_of(x), y1=top, y2=top + 5.0, class_=f"at{few}")
        return line + tag("text", words, x=percent_of(x), dx=3, y=top + 13, class_=f"tick{few}")

    return joined(marked(index, *each) for index, each in enumerate(ticks))
