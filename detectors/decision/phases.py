"""Which phases a signal has: none, hours or half hours of the day, or hours of the week. Its baseline says so itself.

Each cycle in turn is predicted by the others, with the shares of its phases there or with those of all. Where phases
predict days better that they have not seen, the signal has them. The gain, in nats an event, falls with phases that are
too fine, since each is then known from fewer events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray

#: Seconds of a cycle, by number of phases.
CYCLES: Final[Mapping[int, int]] = {24: 86_400, 48: 86_400, 168: 7 * 86_400}
#: Half hours of a week, by which events are counted in panes: all phases are sums of them.
HALF_HOURS: Final = 336
#: Cycles below which no phases are chosen: two or three nights do not show how nights differ. With 4.2 days a category
#: whose evenings move paged 4 times as often as allowed, with 5.8 days as often as allowed.
FEWEST: Final = 5

# Events of all phases added to each: a phase that is seldom visited is like the others.
_PRIOR = 10.0
# Nats an event that a cycle must gain: a signal that hardly ever varies gains less by rounding.
_SEEN = 1e-4
# Share of the gain of hours that half hours must keep.
_KEPT = 0.75
# Share of the events of a usual cycle, below which a cycle tells nothing of phases: it may be an event with a wrong
# clock, or the first minutes of a day, and would count as much as a whole one.
_WHOLE = 0.1
# Codes among which the gain is measured: more would ask for more events.
_CODES = 8


def phases_at(seconds: IntArray, phases: int) -> tuple[IntArray, IntArray]:
    """Phase and cycle (n,) of local times in seconds since the epoch; weeks begin on Thursday, as the epoch did."""
    cycle, within = np.divmod(seconds, CYCLES[phases])
    return within * phases // CYCLES[phases], cycle


def half_hours(seconds: IntArray) -> IntArray:
    """The half hour of the week (n,), 0 to 335, of local times in seconds since the epoch."""
    return np.asarray(seconds // 1800 % HALF_HOURS)


def in_phases(half_hours: FloatArray, phases: int) -> FloatArray:
    """Events (w, H) by phase, of events (w, 336) by half hour of the week, as `phases_at` numbers them."""
    if CYCLES[phases] > CYCLES[48]:
        return np.asarray(half_hours.reshape(len(half_hours), phases, -1).sum(2))
    of_day = half_hours.reshape(len(half_hours), -1, 48).sum(1)
    return np.asarray(of_day.reshape(len(half_hours), phases, -1).sum(2))


def held_out_gain(visits: FloatArray) -> FloatArray:
    """Gain (C,) in nats an event of the phases in each cycle, as the others predict it.

    visits: counts (C, H, K), C >= 2, by cycle, phase and code. A cycle without events has a gain of 0.
    """
    rest = visits.sum(0) - visits
    pooled = rest.sum(1, keepdims=True) + 0.5
    pooled = pooled / pooled.sum(2, keepdims=True)
    shares = (rest + _PRIOR * pooled) / (rest.sum(2, keepdims=True) + _PRIOR)
    gain = (visits * np.log(shares / pooled)).sum((1, 2))
    return np.asarray(gain / np.maximum(visits.sum((1, 2)), 1))


def choose_phases(visits: Mapping[int, FloatArray]) -> int:
    """The number of phases that predict best, 1 if none predict better than all of time.

    visits: counts (C, H, K) by number of phases H, of as few codes as `few_codes` gives. Phases of fewer than `FEWEST`
    cycles are not chosen, not counting cycles of hardly any events. The gain of a cycle must be above what all of time
    or another cycle gain, by a standard error and `_SEEN`: chance prefers none. Half hours need only keep most of what
    hours gain: with 24 phases, a steep evening paged twice as often as allowed, with 48 never, and no shift was seen
    later.
    """
    best, most = 1, 0.0
    for phases in sorted(visits):
        events = visits[phases].sum((1, 2))
        whole = visits[phases][events >= _WHOLE * np.median(events)]
        if len(whole) < FEWEST:
            continue
        gain = held_out_gain(whole)
        error = float(gain.std(ddof=1)) / math.sqrt(len(gain))
        finer = best > 1 and CYCLES[phases] == CYCLES[best]
        if gain.mean() > (_KEPT * most if finer else most + error + _SEEN):
            best, most = phases, max(most, float(gain.mean()))
    return best


def few_codes(total: IntArray, size: int) -> IntArray:
    """A new code (K,) for each code of a signal, the first `size` of them regular: at most 8, and one for the rest.

    total: counts (K,). Neighbouring codes go together, so that each group has an eighth of the events or one code.
    """
    regular = total[:size]
    middle = (np.cumsum(regular) - regular / 2) / max(regular.sum(), 1)
    codes = np.full(len(total), _CODES)
    codes[:size] = np.minimum((middle * _CODES).astype(np.int64), _CODES - 1)
    return codes
