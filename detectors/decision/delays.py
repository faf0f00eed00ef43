"""Delays: by how many slots a model's events come after their time was complete, so that its judgement waits for them.

Time is complete when every source partition was read up to it, by the times of all models' events. A model whose events
say when a client made them, minutes before they were sent, is behind that: its newest slots are always empty, and that
is no silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.rates import HOUR

#: Bounds of the delays that are counted, slots. An hour is learned an hour after it ended: what comes later does not
#: count.
BOUNDS: Final = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, HOUR])

# 1 / share of a pane's events that may be stragglers, of clients that were offline: they do not delay the judgement.
_STRAGGLERS = 10
# 1 / share of panes that may come later than is waited for: three hours a week, in which a queue is slower than usual.
_LATE = 50
# 1 / share of panes that may come too late to be counted, where traffic is judged at all; as many panes as `_FIRST` are
# taken to have come in time, so that the first few do not decide.
_LOST, _FIRST = 10, 100


@dataclass(frozen=True, slots=True)
class Delays:
    """panes: how many of a model's panes came up to as late as each of BOUNDS, and later."""

    panes: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    def after(self, slots: IntArray, counts: IntArray, complete: int) -> Delays:
        """The delays with one more pane, which has `counts` (n,) > 0 of events in rising `slots` (n,).

        complete: the slot before which time was complete when it came.
        """
        events = np.cumsum(counts)
        oldest = int(slots[np.searchsorted(events * _STRAGGLERS, events[-1], side="right")])
        panes = [*self.panes]
        panes[int(np.searchsorted(BOUNDS, complete - oldest))] += 1
        return Delays(tuple(panes))

    @property
    def usual(self) -> int:
        """Slots after which nearly all of a slot's events have come; at most an hour, 0 if nothing is known."""
        came, most = np.cumsum(self.panes[:-1]), sum(self.panes)
        return next((int(bound) for bound, n in zip(BOUNDS, came, strict=True) if (most - n) * _LATE <= most), HOUR)

    @property
    def too_late(self) -> bool:
        """Whether more than a tenth come over an hour late, so that the counts say little of the traffic."""
        return self.panes[-1] * _LOST > sum(self.panes) + _FIRST

    def faded(self) -> Delays:
        """The delays when a week has passed: what was counted so far counts half."""
        return Delays(tuple(each // 2 for each in self.panes))
