"""How the values of a column read as times: in which unit or format, whether they name a zone. No I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise, product
from typing import Any

from driftline.stream.events.event import is_number, is_numeral
from driftline.stream.events.times import TimeRule, likely_unit

# Share of the values that must be times; the others are faults of their rows.
_MOST = 0.95
# Logs of predictions are of these years: a birthday in 1985, or an expiry in 9999, is something else.
_EARLIEST, _LATEST = 946_684_800_000, 4_102_444_800_000  # 2000 and 2100, epoch milliseconds
_OLDEST = 0  # 1970; what is no time reads as -1
# Ten years in seconds: no log is longer, and epoch seconds of this century begin at three times as much.
_LONGEST = 315_360_000
# Values by which to see whether a column could be one of times at all.
_FIRST = 50
_ZONE = re.compile(r"[T ][0-9]{2}.*(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)$", re.IGNORECASE)
# What the texts of `_FORMATS` begin with. Each format costs a millisecond, so other texts are not tried.
_DATED = re.compile(
    r"[0-9]{1,2}[/. -]([0-9]{1,2}|[A-Za-z]{3,9})[/. -][0-9]{2}|[A-Z][a-z]{2,8} [0-9]{1,2}, [0-9]{4}|[0-9]{14}$"
)
_UNITS = {"ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds"}
_DATES = (
    "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%Y", "%d.%m.%y", "%d-%m-%Y", "%m-%d-%Y",
    "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
)  # fmt: skip
_CLOCKS = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H:%M:%S %z")
_FORMATS = (
    *(f"{date}{join}{clock}" for date, clock in product(_DATES, _CLOCKS) for join in ((" ", ", ") if clock else ("",))),
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%d%H%M%S",
)


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How the values of a column read as times.

    words: what they are, for people. unit, format: of a `TimeRule`. others: formats that fit as well, so that nobody
    can say which one is meant. is_zoned: whether they name a zone; epoch numbers need none. first, last: epoch
    milliseconds, of the `read` values that are such times. rises: share of them that are not earlier than the one
    before.
    """

    words: str
    unit: str
    format: str | None
    is_zoned: bool
    first: int
    last: int
    read: int
    rises: float
    others: Sequence[str] = ()


def time_form(values: Sequence[Any]) -> TimeForm | None:
    """How most of the values read as times of the years 2000 to 2100; None if they are no times."""
    if form := _form(values, TimeRule()):
        return form
    if not values or not all(isinstance(value, str) for value in values) or not _DATED.match(values[0]):
        return None
    forms = [form for each in _FORMATS if (form := _form(values, TimeRule(format=each)))]
    best = [form for form in forms if form.read == max(each.read for each in forms)]
    return replace(best[0], others=tuple(form.format or "" for form in best[1:])) if best else None


def elapsed_form(values: Sequence[Any]) -> TimeForm | None:
    """How the values read as seconds since the start of a log; None unless they are numbers that never fall."""
    if len(values) < 2 or not all(map(is_number, values)) or not 0 <= min(values) < max(values) < _LONGEST:
        return None
    form = _of_times([round(value * 1000) for value in values], TimeRule(unit="s"), values)
    return (
        replace(form, words=f"seconds since some start, {min(values):g} to {max(values):g}")
        if form.rises == 1
        else None
    )


def old_form(values: Sequence[Any]) -> TimeForm | None:
    """How texts that hardly ever fall read as times of any year from 1970 on, as old data sets have; None otherwise."""
    if not all(isinstance(value, str) and not is_numeral(value) for value in values):
        return None
    form = _form(values, TimeRule(), _OLDEST)
    return form if form and form.rises >= _MOST else None


def _form(values: Sequence[Any], rule: TimeRule, earliest: int = _EARLIEST) -> TimeForm | None:
    first = rule.column(values[:_FIRST])
    if sum(ms >= earliest for ms in first) < max(_MOST * len(first), 1):
        return None
    times = [ms for ms in rule.column(values) if earliest <= ms < _LATEST]
    return _of_times(times, rule, values) if len(times) >= _MOST * len(values) else None


def _of_times(times: Sequence[int], rule: TimeRule, values: Sequence[Any]) -> TimeForm:
    first, last = min(times), max(times)
    steps = [a <= b for a, b in pairwise(times)]
    return TimeForm(
        words=f"{_words(values[0], rule.format)}, {_days(first, last)}",
        unit=rule.unit,
        format=rule.format,
        is_zoned="%z" in rule.format if rule.format else all(map(_is_zoned, values[:_FIRST])),
        first=first,
        last=last,
        read=len(times),
        rises=sum(steps) / len(steps) if steps else 1.0,
    )


def _words(value: Any, format_: str | None) -> str:
    if format_:
        return f"text in the format {format_}"
    if isinstance(value, str) and not is_numeral(value):
        return f"text such as {value[:40]}"
    return f"epoch {_UNITS[likely_unit(float(value)) or 's']}" + (" in text" if isinstance(value, str) else "")


def _days(first: int, last: int) -> str:
    begin, end = (datetime.fromtimestamp(ms // 1000, UTC).date().isoformat() for ms in (first, last))
    return f"all of {begin}" if begin == end else f"{begin} to {end}"


def _is_zoned(value: Any) -> bool:
    return not isinstance(value, str) or is_numeral(value) or bool(_ZONE.search(value))
