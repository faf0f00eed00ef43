"""Parts of sentences that many messages have: a number of things, the first of many names, a time. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from itertools import islice
from typing import Final

#: A day, ms.
DAY: Final = 86_400_000
# Names in one sentence; more would hide what it says.
_SHOWN = 5


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "signal"), counted(2000, "event")
    ('1 signal', '2,000 events')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(names: Collection[str], most: int = _SHOWN) -> str:
    """The first names, and how many more there are.

    >>> listed("abc"), listed("abcdefg")
    ('a, b, c', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - most
    return ", ".join(islice(names, most)) + (f" and {more:,} more" if more > 0 else "")


def moment(epoch_ms: int, length: int = 0) -> str:
    """A time in UTC, with as much of it as a stretch of this length, ms, needs.

    >>> moment(862_747_200_000, 86_400_000), moment(862_747_200_000)
    ('4 May 1997', '4 May 1997 12:00')
    """
    at = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    day = f"{at.day} {at:%b %Y}"
    return day if length >= DAY else f"{day} {at:%H:%M:%S}" if length and length < 60_000 else f"{day} {at:%H:%M}"
