"""Which values of a text are categories, and which rows say how common they are. Pure.

The commonest values of a sample are commoner in it than elsewhere, and what it has not seen is not as rare as it looks:
its share is about that of the values that came once (Good, Biometrika 40, 1953). By a baseline of 10,000 rows of a
thousand values, all alike or by Zipf's law, an incident was open for ever. So the categories of such a text are chosen
on other rows than are counted: every eighth stretch of the rows chooses, and the stretch before it is counted once more
in its place. That keeps the number of events, and the order in time. Stretches, and not single rows, as neighbours are
often alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from driftline.detectors.arrays import BoolArray, IntArray
from driftline.detectors.summaries.codes import TEXT, shortened

#: Values that a nominal signal knows, the most frequent ones; rarer values count as unseen, in the baseline too.
MAX_CATEGORIES: Final = 255
# Values that came once, up to which all values are categories. Of what M rows have not seen, n events show n/M times as
# many, whose evidence is ln(1 + M/n) nats each: at most a nat for each value that came once. Alarms take eleven.
_ONCE = 5
# Rows below which none are kept from being counted: those of one stretch in eight choose nothing then.
_FEWEST = 1000
_STRETCHES, _EVERY = 64, 8
# How often a category comes among the rows that choose, at least, and so some 30 times in all: by 255 categories of 10
# rows each, chi2 held an incident open for a third of the time.
_OFTEN = 4
# Share of the values that the categories have at least. With less, hardly any change of values would show.
_COVERED = 0.1
#: Groups by hash in which the values without a category are counted. By 10,000 rows of 1,000 values, a new value in 3 %
#: of the events is found after 1,250 to 2,750 events (3 seeds), with 64 after 1,000 to 2,000, and with 16, in which it
#: is a smaller part of its group, after 1,750 to 6,500.
GROUPS: Final = 32
#: What the name of a text is followed by in that of its groups.
GROUPED: Final = " (rare)"
#: How anybody finds the group of a value, in Python.
GROUP_OF: Final = f"zlib.crc32(value[:{TEXT}].encode()) % {GROUPS} + 1"
# Rows of a group, in the mean: chi2 counts those of which a window has five, and nearly all windows are shorter.
_OF_GROUP = 25


def is_open(values: Sequence[str | None]) -> bool:
    """Whether a text has many more values than the rows show, so that its categories are chosen on other rows."""
    if len(values) < _FEWEST:
        return False
    counts = counted(values)
    once = sum(count == 1 for count in counts.values())
    if len(counts) > MAX_CATEGORIES or once > _ONCE:
        return True
    # In sessions no value comes once, but the rows that choose have some of which the others know nothing.
    others = frozenset(_counted_values(values))
    return sum(each not in others for each in counted(_choosing(values))) > 1


def counted(values: Iterable[str | None]) -> Counter[str]:
    """How often each value came."""
    return Counter(shortened(value) for value in values if value is not None)


def categories_of(values: Sequence[str | None]) -> list[str]:
    """The categories of a text that is open; the commonest values, if none is common enough."""
    counts = counted(_choosing(values))
    return commonest(Counter({value: count for value, count in counts.items() if count >= _OFTEN}) or counts)


def commonest(counts: Counter[str]) -> list[str]:
    """The most frequent values, at most `MAX_CATEGORIES`; ties go by name."""
    return sorted(counts, key=lambda value: (-counts[value], value))[:MAX_CATEGORIES]


def stand_ins(rows: int) -> IntArray:
    """The row (n,) that is counted for each of n rows: itself, unless that chooses."""
    own = np.arange(rows)
    return np.where(_chooses(rows), own - -(-rows // _STRETCHES), own)


def is_scattered(values: Sequence[str | None]) -> bool:
    """Whether nearly all values are too rare to be categories."""
    without, rows = _without_category(values) if is_open(values) else (0, 0)
    return rows - without < _COVERED * rows


def is_grouped(values: Sequence[str | None]) -> bool:
    """Whether the values without a category are common enough to be counted in groups."""
    return is_open(values) and _without_category(values)[0] >= GROUPS * _OF_GROUP


def _without_category(values: Sequence[str | None]) -> tuple[int, int]:
    """How many of the rows that do not choose have a value without a category, and how many have one at all."""
    known, rest = frozenset(categories_of(values)), _counted_values(values)
    return sum(each not in known for each in rest), len(rest)


def _choosing(values: Sequence[str | None]) -> list[str | None]:
    """The values of the rows that choose the categories."""
    return [values[row] for row in np.flatnonzero(_chooses(len(values))).tolist()]


def _counted_values(values: Sequence[str | None]) -> list[str]:
    """The values of the rows that do not choose."""
    kept = np.flatnonzero(~_chooses(len(values))).tolist()
    return [shortened(values[row]) for row in kept if values[row] is not None]


def _chooses(rows: int) -> BoolArray:
    return np.asarray(np.arange(rows) * _STRETCHES // rows % _EVERY == _EVERY - 1)
