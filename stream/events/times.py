"""Times as people write them: epoch numbers in four units, ISO 8601, RFC 2822, or a format that is given.

    1767225600, 1767225600.5, "1767225600"          seconds       1e8  to 1e11
    1767225600000                                   milliseconds  1e11 to 1e14
    1767225600000000                                microseconds  1e14 to 1e17
    1767225600000000000                             nanoseconds   1e17 to 1e20
    "2026-01-01T00:00:00Z", "2026-01-01 00:00", "20260101T000000+01", "2026/01/01", "2026-01-01T00:00:00,5 UTC"
    "Thu, 01 Jan 2026 00:00:00 GMT"

Each unit thus covers the years 1973 to 5138 and no number has two meanings; `unit` reads others. Whether the day or the
month comes first is never guessed: that needs `format`. No I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from driftline.stream.events.event import is_number, quoted

Unit = Literal["auto", "s", "ms", "us", "ns"]

#: The last millisecond of the year 9999.
MAX_EPOCH_MS = 253_402_300_799_999
#: The least number that is read as a time without `unit`: 1973-03-03 in seconds.
MIN_EPOCH = 10**8
#: The first number that is too large for a time: nanoseconds in the year 5138.
END_OF_EPOCH = 10**20
#: Numbers that are read as milliseconds without `unit`: the first, and the first that is too large.
MILLISECONDS = (10**11, 10**14)
# The least number that is read as each unit, largest first.
_FROM = ((10**17, "ns"), (MILLISECONDS[1], "us"), (MILLISECONDS[0], "ms"), (MIN_EPOCH, "s"))
_PER_MS = {"ms": 1, "us": 1000, "ns": 1_000_000}
_MS_PER_SECOND = 1000

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_DIGITS = re.compile(r"[0-9]{1,20}(\.[0-9]{1,12})?")
_NAMED_UTC = re.compile(r" ?(UTC|GMT|Z)$")
_YEAR_FIRST = re.compile(r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}")
_RFC_2822 = re.compile(
    r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}(:[0-9]{2})? (GMT|UTC|[+-][0-9]{4})"
)
_SLASHES = re.compile(r"[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{2,4}\b")


@dataclass(frozen=True, slots=True)
class TimeRule:
    """How the times of events are read.

    unit: of numbers. format: of texts, as `datetime.strptime` takes it; None: the common forms. zone: IANA name of the
    zone of times that name none. Raises ValueError, "field: rule", for an unknown zone.
    """

    unit: Unit = "auto"
    format: str | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            time_zone(self.zone)
        except ValueError as error:
            raise ValueError(f"zone: {error}") from None

    def epoch_ms(self, value: Any) -> int:
        """The time as epoch milliseconds. Raises ValueError if `value` is none, or lies outside 1970 to 9999.

        value: a parsed JSON value, or a datetime.
        """
        ms = self._read(value)
        if not 0 <= ms <= MAX_EPOCH_MS:
            raise ValueError(f"expected a time in the years 1970 to 9999, got {quoted(value)}")
        return ms

    def column(self, values: Sequence[datetime | float | str]) -> list[int]:
        """Epoch milliseconds of n values; -1 for one that `epoch_ms` refuses."""
        return list(map(self._ms_or_minus_one, values))

    def _ms_or_minus_one(self, value: datetime | float | str) -> int:
        try:
            ms = self._read(value)
        except (ValueError, OverflowError):
            return -1
        return ms if ms <= MAX_EPOCH_MS else -1

    def _read(self, value: Any) -> int:
        if isinstance(value, datetime):
            return self._instant(value)
        if isinstance(value, str):
            is_number_in_text = _DIGITS.fullmatch(value) and not self.format
            return self._number(_number(value), value) if is_number_in_text else self._text(value)
        if not is_number(value) or not 0 <= value < END_OF_EPOCH:  # also refuses NaN
            raise ValueError(f"expected a time, got {quoted(value)}")
        return self._number(value, value)

    def _number(self, number: float, value: Any) -> int:
        unit = likely_unit(number) if self.unit == "auto" else self.unit
        if unit is None:
            raise ValueError(
                f"expected a time, got {quoted(value)}, too small for epoch seconds since 1973; give `unit` or `format`"
            )
        if unit == "s":
            return round(number * _MS_PER_SECOND)
        return int(number // _PER_MS[unit])

    def _text(self, text: str) -> int:
        if self.format:
            try:
                return self._instant(datetime.strptime(text, self.format))  # noqa: DTZ007 # `_instant` adds the zone
            except ValueError:
                raise ValueError(f"expected a time in the format {self.format!r}, got {quoted(text)}") from None
        try:
            return self._instant(_common_form(text))
        except (ValueError, OverflowError):
            hint = "; is the day or the month first? give `format`" if _SLASHES.match(text) else ""
            raise ValueError(f"expected a time such as 2026-01-31T00:00:00Z, got {quoted(text)}{hint}") from None

    def _instant(self, time: datetime) -> int:
        zoned = time if time.tzinfo else time.replace(tzinfo=time_zone(self.zone))
        return (zoned - _EPOCH) // _MILLISECOND


def likely_unit(number: float) -> str | None:
    """The unit, "s", "ms", "us" or "ns", of an epoch number of the years 1973 to 5138; None if it is too small.

    >>> likely_unit(1767225600), likely_unit(1767225600000), likely_unit(20)
    ('s', 'ms', None)
    """
    return next((unit for least, unit in _FROM if number >= least), None)


def _number(digits: str) -> float:
    return float(digits) if "." in digits else int(digits)


def _common_form(text: str) -> datetime:
    try:
        return msgspec.convert(text, datetime)  # RFC 3339
    except ValueError:  # msgspec's own, or the UnicodeEncodeError of a lone surrogate
        pass
    if _RFC_2822.fullmatch(text):
        return parsedate_to_datetime(text)
    if _YEAR_FIRST.match(text):
        text = text.replace("/", "-", 2)
    return datetime.fromisoformat(_NAMED_UTC.sub("+00:00", text))


@cache
def time_zone(name: str) -> tzinfo:
    """A zone of the IANA's by name. Raises ValueError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"expected a time zone such as Europe/Berlin, got {name!r}") from None
    except KeyError:
        raise ValueError(f"{name!r} is no time zone that this machine knows") from None


#: Reads what needs no settings.
PLAIN_TIMES = TimeRule()
