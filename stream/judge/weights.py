"""How the false pages of a model's data are shared among its signals: equally, or by their priorities. Pure.

A signal's weight is that of its priority, and it has as much of the rate as this is of all weights, which its tests
share. So the sum of all shares, which is what is promised, is the same whatever the priorities are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.thresholds import independence_bound
from driftline.detectors.summaries.layout import Layout
from driftline.stream.config.signals import Signals

# Nats below which no priority takes a threshold: a ratio to less means nothing.
_FAINTEST = 1.0


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights (S,) of the signals of a layout."""

    of: FloatArray

    @classmethod
    def stated(cls, layout: Layout, signals: Signals | None) -> Weights:
        """Those that a configuration states; None: all have the same."""
        return cls(np.array([signals.rule(each.name).weight if signals else 1.0 for each in layout.signals]))

    def bound(self, rate: float, events: int, windows: int, battery: Battery) -> FloatArray:
        """Nats (T,) at which each column spends its share of rate·events false alarms; see `independence_bound`."""
        own = self.of[battery.signal_of]
        equal = independence_bound(rate, events, windows, len(own))
        return np.asarray(np.maximum(equal + np.log(own.mean() / own), min(equal, _FAINTEST)))
