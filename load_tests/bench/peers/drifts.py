"""Drifts of one signal of independent normal values, and the least delay that is possible at a rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from driftline.detectors.arrays import FloatArray

Rng = np.random.Generator
# Crossings of a value at which limits are simulated: 200 in 40 million values.
_SIMULATED = 5e-6


@dataclass(frozen=True)
class Drift:
    """What normal values become, the log likelihood ratio of a value, and events within which it must be seen."""

    of: Callable[[Rng, FloatArray], FloatArray]
    ratio: Callable[[FloatArray], FloatArray] | None
    within: float | None = None


def _shift(by: float) -> Drift:
    return Drift(lambda _, x: x + by, lambda x: by * x - by * by / 2)


def _scale(by: float) -> Drift:
    return Drift(lambda _, x: x * by, lambda x: (1 - by**-2) * x * x / 2 - math.log(by))


def _spike(share: float, within: float) -> Drift:
    # A value that normal ones never have exactly: the best that could be known is that it is there at all.
    return Drift(lambda rng, x: np.where(rng.random(len(x)) < share, 0.0, x), None, within)


def _two_humps(rng: Rng, x: FloatArray) -> FloatArray:
    return np.asarray(0.6 * x + 0.8 * rng.choice([-1.0, 1.0], len(x)))


def _two_humps_ratio(x: FloatArray) -> FloatArray:
    humps = sum(np.exp(-((x - m) ** 2) / 0.72) for m in (-0.8, 0.8)) / 1.2
    return np.asarray(np.log(humps) + x * x / 2)


DRIFTS = {
    "mean 0.1 σ": _shift(0.1),
    "mean 0.2 σ": _shift(0.2),
    "mean 0.5 σ": _shift(0.5),
    "mean 1 σ": _shift(1.0),
    "spread × 1.2": _scale(1.2),
    "spread × 1.5": _scale(1.5),
    "two humps": Drift(_two_humps, _two_humps_ratio),
    "3 % at one value": _spike(0.03, 2000),
    "5 % at one value": _spike(0.05, 750),
    "10 % at one value": _spike(0.1, 500),
}


def limit(drift: str, rate: float) -> float:
    """The threshold, in nats, that a CUSUM of the true likelihood ratio crosses `rate` times a value without a drift.

    Crossings are as many as e^-threshold (Siegmund 1985), so one simulation serves all rates.
    """
    return _simulated_limit(drift) + math.log(_SIMULATED / rate)


@cache
def _simulated_limit(drift: str) -> float:
    ratio = DRIFTS[drift].ratio
    assert ratio is not None
    rng, sums, highest = np.random.default_rng(7), np.zeros(2000), np.zeros(2000)
    peaks: list[FloatArray] = []
    steps = 20_000
    for _ in range(steps):
        sums += ratio(rng.standard_normal(len(sums)))
        ended = (sums <= 0) & (highest > 5)
        peaks.append(highest[ended])
        highest[sums <= 0] = 0
        np.maximum(sums, 0, out=sums)
        np.maximum(highest, sums, out=highest)
    allowed = int(steps * len(sums) * _SIMULATED)
    return float(np.sort(np.concatenate(peaks))[-allowed])


def optimum(drift: str, drifted: FloatArray, rate: float) -> int | None:
    """Values until a CUSUM of the true likelihood ratio crosses its limit; None for a drift without such a ratio."""
    ratio = DRIFTS[drift].ratio
    if ratio is None:
        return None
    total = np.cumsum(ratio(drifted))
    over = np.flatnonzero(total - np.minimum.accumulate(np.minimum(total, 0)) >= limit(drift, rate))
    return int(over[0]) + 1 if over.size else None
