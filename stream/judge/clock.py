"""How late it is for a model, by its log: the clock of hold, recovery and cooldown. Pure.

It is the latest time of its panes and of the ticks of its partition so far, and so hears neither panes of old
events nor a partition that lags. It is kept from the first tick on; before that, the newest panes alone say how late it
is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.judge.state import BUCKETS
from driftline.stream.panes.pane import Pane

# ms. Panes may be ahead of the ticks by what was read since the last tick: of a backlog some hours in 10 s, of which a
# day is the most that is believed. More is a wrong clock, which would end every hold at once.
_AHEAD = 24 * 3_600_000


def time_of(history: Iterable[Pane[Any]]) -> int:
    """The time, epoch ms, that the newest panes of a history reach.

    A pane's first or last event may be from the future, and in several panes in a row one may be days late.
    """
    return max(min(pane.first_ts, pane.last_ts) for pane in list(history)[-BUCKETS:])


def later(clock: int, ticks: int, panes: int = 0) -> int:
    """How late it is, epoch ms.

    clock: how late it was for the model. ticks: the largest time of a tick so far, 0 before the first. panes: that of
    the newest panes, 0 if none came.

    >>> later(1000, ticks=1200, panes=900), later(1000, ticks=0, panes=900)
    (1200, 900)
    """
    if not ticks:
        return panes
    return max(ticks, *(each for each in (clock, panes) if each <= ticks + _AHEAD))


def believed(at: int, ticks: int) -> int:
    """A time of a pane, epoch ms, or that of the ticks where it is so far ahead of them that its clock is wrong."""
    return ticks if ticks and at > ticks + _AHEAD else at


def begun(panes: Sequence[Pane[Any]]) -> IntArray:
    """When each bucket (w,) began, epoch ms.

    This is the time of its first event, unless that lies outside the time of the bucket before and that of its own last
    event: any one of the three may be wrong, by a wrong clock or days late, but their median is not.
    """
    first, last = (np.array(times) for times in zip(*((pane.first_ts, pane.last_ts) for pane in panes), strict=True))
    before = np.concatenate([np.minimum(first, last)[:1], first[:-1]])
    return np.asarray(np.sort(np.stack([before, first, last]), axis=0)[1])
