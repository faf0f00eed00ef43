"""The budget: the false pages a month that a model may cause, in shares of families, and as a rate per event.

The operator states pages per time, and the tests of the data spend them per event: `thresholds` takes a rate. How many
events a month has is read off the model's own history, as it is at each check: the same history gives the same rate.

    pace = max over all suffixes of the history that last a day to a quarter of (events / time)
    rate = pages a month / pace, at most MOST

The largest suffix errs towards fewer pages. A model that grows tenfold has a tenth of the rate within a day; one that
falls keeps the lower rate until a quarter has passed, and so does one that begins again after a silence, whose time
alone would let a month's pages through within hours. A single day is the shortest, so that a nightly batch is not taken
for a whole day of traffic. The pace moves by as little as one check adds to a day, so no evidence near its threshold
flaps. While the history is shorter than a day, all of it counts, and an hour at least: events of one second tell
nothing of a month.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

import numpy as np

from driftline.detectors.arrays import IntArray

#: ms of the month of a budget, 30 days.
MONTH_MS: Final = 30 * 86_400_000
#: The highest rate: over it, more than every hundredth event might raise an alarm, and a check of 100 events any.
MOST: Final = 0.01
# ms of the shortest and the longest suffixes that say how many events come, and the least time that a history counts.
# A quarter: a year's would keep the rate of a model low that was ten times as busy in a season long past.
_SHORTEST, _LONGEST, _LEAST = 86_400_000, 91 * 86_400_000, 3_600_000


class Family(StrEnum):
    """Tests that spend of one budget."""

    DATA = "data"
    ABSENCE = "absence"
    OUTCOMES = "outcomes"


# Parts of a budget. Of one page a month, absence gets what it is allowed where nobody states a budget: ten times as
# much would find a stop by a tenth to a sixth sooner. Outcomes get less than data, as they are one series, not dozens.
_PARTS: Mapping[Family, int] = {Family.DATA: 9, Family.ABSENCE: 1, Family.OUTCOMES: 5}


def shares(families: Collection[Family]) -> dict[Family, float]:
    """The share of a budget of each of these families; those of absent ones are given back in proportion.

    >>> shares([Family.DATA, Family.ABSENCE])[Family.DATA], shares([Family.DATA])[Family.DATA]
    (0.9, 1.0)
    """
    total = sum(_PARTS[each] for each in families)
    return {each: _PARTS[each] / total for each in Family if each in families}


def events_a_month(since: IntArray, n: IntArray, now: int) -> float:
    """The pace of a model: events in 30 days, by its history at `now`, epoch ms.

    since, n: when each suffix (w,) of the history began, epoch ms, and its events, longest first.
    """
    lasted = now - since
    usable = (lasted >= _SHORTEST) & (lasted <= _LONGEST)
    if not usable.any():
        # A history of less than a day, or a wrong clock: what began a quarter ago or more is not its first event.
        usable = np.arange(len(since)) == min(np.count_nonzero(lasted > _LONGEST), len(since) - 1)
    return float((n[usable] * MONTH_MS / np.maximum(lasted[usable], _LEAST)).max())


def rate_per_event(pages: float, pace: float) -> float:
    """False alarms per event that spend `pages` in the time in which `pace` events come.

    >>> rate_per_event(1.0, 2_000_000), rate_per_event(1.0, 30)
    (5e-07, 0.01)
    """
    return min(pages / max(pace, 1.0), MOST)
