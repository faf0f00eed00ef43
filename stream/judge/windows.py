"""Windows of a model's history: all of its suffixes, and those that may raise an alarm. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from driftline.detectors.arrays import BoolArray, IntArray
from driftline.stream.config.fields import Window


def suffix_sums(parts: Sequence[IntArray]) -> IntArray:
    """Row i is the sum of parts i to the last."""
    sums = np.stack(parts)
    # A row at a time takes a tenth of the time of a cumulative sum along the first axis.
    for row in range(len(sums) - 2, -1, -1):
        sums[row] += sums[row + 1]
    return sums


def configured(duration: IntArray, n: IntArray, windows: Sequence[Window]) -> BoolArray:
    """Which suffixes (w,) may raise an alarm: all or, for each configured length, the shortest that reaches it.

    duration, n: of each suffix, ms and events.
    """
    if not windows:
        return np.full(len(n), True)
    rows = np.full(len(n), False)
    for window in windows:
        reached = np.flatnonzero(duration >= window.seconds * 1000 if window.seconds else n >= (window.events or 0))
        rows[reached[-1:]] = True
    return rows
