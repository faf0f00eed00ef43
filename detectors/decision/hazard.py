"""Thresholds from a stated rate of false pages: how often windows reach a threshold by chance.

The windows of a signal overlap: each new pane brings little that is new to a long one. So a threshold does not pay for
every window, as a union bound does. On independent traffic the chance that some window that ends with a pane is the
first to reach h nats is

    hazard a pane = exp(c - h),      threshold h = ln(S F / (rate · pane)) + c

for S signals with F tests each, `rate` false pages an event, and panes of `pane` events. c is simulated for each test,
by `python -m load_tests.bench.hazard`; it grows with h like half of ln h, and is that of 11 nats here. Where events
depend on each other, `decision.widths` makes their evidence as rare as that of independent ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

#: Events of a pane for which `COST` is simulated.
PANES: Final = (50, 100, 250)
#: c in nats by test, for panes of `PANES` events.
COST: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "ks": (1.2, 1.1, 1.2),
        "level": (-0.6, -0.6, -0.5),
        "spread": (-0.5, -0.5, -0.5),
        "chi2": (2.3, 2.2, 2.0),
        "bins": (-0.7, -0.3, -0.3),
        "smooth": (-0.5, -0.5, -0.5),
        "rate": (-1.0, -1.0, -0.5),
    }
)


def threshold(test: str, rate: float, pane: float, signals: int, tests: int) -> float:
    """Nats at which a test of a signal spends its share of `rate` false pages an event.

    pane: events between two checks. signals: of the model. tests: of each signal. Between the panes simulated it is
    interpolated by the logarithm, and beyond them it is that of the nearest. Raises KeyError for an unknown test.
    """
    cost = float(np.interp(math.log(pane), np.log(PANES), COST[test]))
    return math.log(signals * tests / min(rate * pane, 1.0)) + cost
