"""Thresholds from a stated rate of false pages: how often windows reach a threshold by chance.

The windows of a signal overlap: each new pane brings little that is new to a long one. So a threshold does not pay for
every window, as a union bound does. On independent traffic the chance that some window that ends with a pane is the
first to reach h nats is

    hazard a pane = exp(c - h),      threshold h = ln(S F / (rate · pane)) + c

for S signals with F tests each, `rate` false pages an event, and panes of `pane` events. c is simulated for each test,
by `python -m load_tests.bench.hazard`; it grows with h like half of ln h, from that of 11 nats in the table. Where
events depend on each other, `decision.widths` makes their evidence as rare as that of independent ones.

The tests of an ordered signal's shape alarm together: ks, level and spread of 64 codes have half as many alarms more
than level alone, and those of two values are one test. So ks, which adds the least, has the c of what it adds, and a
signal counts as many tests of its shape as it has cuts, at most three (`Likeness.worth`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray

#: Events of a pane for which `COST` is simulated.
PANES: Final = (50, 100, 250)
#: c in nats by test, for panes of `PANES` events.
COST: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "ks": (0.0, 0.0, 0.2),
        "level": (-0.6, -0.6, -0.5),
        "spread": (-0.5, -0.5, -0.5),
        "chi2": (2.3, 2.2, 2.0),
        "bins": (-0.7, -0.3, -0.3),
        "smooth": (-0.5, -0.5, -0.5),
        "rate": (-1.0, -1.0, -0.5),
    }
)
#: How many shares of the rate of its signal a test has; all others have one. On average drifts are seen soonest where a
#: share is the chance that its test is the first to see the next drift: most are shifts, which level sees first.
SHARES: Final[Mapping[str, float]] = MappingProxyType({"level": 4.0})
#: Nats for which `COST` is.
HEIGHT: Final = 11
# Nats below which c was not simulated, and rounds after which a height is known to a thousandth of a nat.
_LOWEST, _ROUNDS = 4, 3
# Nats of the lowest threshold. Where every check may alarm, the formula falls below 0, and a ratio to it means nothing;
# a window as odd as one in e is no evidence, however many pages are allowed.
_FAINTEST = 1.0


def shares(tests: Iterable[str]) -> FloatArray:
    """How many shares of the rate of their signal these tests (T,) have."""
    return np.array([SHARES.get(each, 1.0) for each in tests])


def threshold(test: str, rate: float, pane: float, signals: int, tests: float) -> float:
    """Nats at which a test of a signal spends its share of `rate` false pages an event.

    pane: events between two checks. signals: of the model. tests: that each signal counts for. Between the panes
    simulated it is interpolated by the logarithm, and beyond them it is that of the nearest. At least 1 nat. Raises
    KeyError for an unknown test.
    """
    least = math.log(signals * tests / min(rate * pane, 1.0)) + cost(test, pane)
    height = least
    for _ in range(_ROUNDS):
        height = least + growth(max(height, _LOWEST))
    return max(height, _FAINTEST)


def cost(test: str, pane: float) -> float:
    """c of a test at `HEIGHT` nats. Raises KeyError for an unknown test."""
    return float(np.interp(math.log(pane), np.log(PANES), COST[test]))


def growth(height: float) -> float:
    """By how much c of another height, in nats, differs from that of the table."""
    return 0.5 * math.log(height / HEIGHT)
