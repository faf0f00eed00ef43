"""Stretches of time by which outcomes are shown and compared: functions of a row's time alone. Pure."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.text.phrases import moment

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
# 1 January 1970 was a Thursday; weeks begin on Monday.
_MONDAY = 4 * _DAY
# Rows of the table that a person reads.
_SHOWN = 60
# Widths of slots, in milliseconds.
_WIDTHS = tuple(
    [each * _MINUTE for each in (1, 5, 15, 30)] + [each * _HOUR for each in (1, 3, 6, 12)]
    + [each * _DAY for each in (1, 2, 4, 7, 14, 28, 56, 112, 224, 448)]
)  # fmt: skip


class By(StrEnum):
    """A period of the table."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def fitting(ts: IntArray) -> By:
    """The shortest period of which rows with these times (n,) fill no more than a table can show.

    Rows count, not the span: a single wrong clock must not make one line of a year.
    """
    fits = (by for by in By if len(np.unique(starts(ts, by))) <= _SHOWN)
    return next(fits, By.MONTH)


def starts(ts: IntArray, by: By) -> IntArray:
    """The start (n,) of the period in which each time (n,) lies, epoch ms, in UTC."""
    if by is By.MONTH:
        months = ts.astype("datetime64[ms]").astype("datetime64[M]")
        return months.astype("datetime64[ms]").astype(np.int64)
    width, shift = {By.HOUR: (_HOUR, 0), By.DAY: (_DAY, 0), By.WEEK: (7 * _DAY, _MONDAY)}[by]
    return (ts - shift) // width * width + shift


def end_of(start: int, by: By) -> int:
    """The end of a period, which is the start of the next one, epoch ms."""
    # The longest period has 31 days, and half as much more lies in the next one.
    return int(starts(np.array([start + {By.MONTH: 45 * _DAY, By.WEEK: 7 * _DAY, By.DAY: _DAY}.get(by, _HOUR)]), by)[0])


def slots(ts: IntArray, most: int, rows: int) -> tuple[IntArray, int]:
    """The start (n,) of the slot in which each time (n,) lies, and the width of slots in ms.

    At most `most` of them have rows, at least `rows` on average.
    """
    bound = min(most, max(len(ts) // rows, 1))
    width = next((each for each in _WIDTHS if len(np.unique(ts // each)) <= bound), _WIDTHS[-1])
    return ts // width * width, width


def shown(start: int, by: By) -> str:
    """A period as text: its first hour, its first day or its month."""
    day = moment(start, 0 if by is By.HOUR else _DAY)
    return day.partition(" ")[2] if by is By.MONTH else day
