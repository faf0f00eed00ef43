"""Labels that come too late to be counted: how many do, and which `wait` would have them. Pure."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.stream.judge.slots import COMPLETE, Bounds
from driftline.stream.judge.waiting import Counts, Waiting

#: The share of late labels that is no matter of chance: metrics miss what comes late, and what comes late is different.
MOST_LATE: Final = 0.05
# Labels from which their share counts.
_FEW = 200
# Labels from which a quantile is known well enough.
_MANY = 10_000
# ms of an hour and of a day. Up to two days, a `wait` is proposed in hours.
_HOUR, _DAY = 3_600_000, 86_400_000


def are_late(counts: Counts) -> bool:
    """Whether the labels that came too late are too large a share for what is counted to speak for them."""
    labels = counts.joined + counts.late
    return labels >= _FEW and counts.late > MOST_LATE * labels


def late_remark(counts: Counts, lags: IntArray, bounds: Bounds) -> str:
    """What late labels mean, and the `wait` that would have had them. lags: (n,) see `label_lags`."""
    what = f"{counts.late:,} of {counts.joined + counts.late:,} labels came too late and are not counted"
    if not len(lags):
        return f"{what}; raise `outcomes.wait`"
    needed = float(np.quantile(lags, COMPLETE, method="higher"))
    if needed <= bounds.wait:
        return f"{what}: their slots had been judged, with labels for 99 of 100 predictions, as before a correction"
    return f"{what}: of the newest, 99 of 100 come within {_in_words(needed)}; raise `outcomes.wait` to that"


def label_lags(waiting: Waiting, bounds: Bounds) -> IntArray:
    """The times (n,) from predictions to their labels, ms, of the newest remembered; none above wait + keep."""
    found, rows = [np.empty(0, np.int64)], 0
    for part in reversed(waiting.labels.parts):
        rows += len(part.half)
        if rows > _MANY and len(found) > 1:
            break
        for own in waiting.stubs.values():
            places, columns = own.index.find(part.half.keys)
            if columns:
                labels = part.half.ts[places]
                found.append((labels - columns[0])[bounds.belongs(labels, columns[0])])
    return np.concatenate(found)


def _in_words(ms: float) -> str:
    """A time as `wait` is written, rounded up."""
    return f"{math.ceil(ms / _HOUR)}h" if ms <= 2 * _DAY else f"{math.ceil(ms / _DAY)}d"
