"""Parts of sentences that many messages have: a number of things, the first of many names. Pure."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

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
