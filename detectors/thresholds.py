"""Thresholds: how much evidence is too much, given the false alarms that are bearable and the baseline's own unrest.

1. The bound. A model is allowed `rate` false alarms per event. A test time that comes after c events may spend rate·c,
   shared evenly (union bound) over its W windows and T tests, so that under independence

       threshold = ln(W·T / (rate·c))    nats.

2. Dependence. Neighbouring events are rarely independent (daily and weekly cycles), so windows of a drift-free stream
   differ by more than chance. The baseline says by how much: cut into time-ordered blocks, its own windows of each
   length n are tested against the rest of it. Independent data show evidence of mean 1 nat (-ln p of a uniform p). A
   mean above 1 is a design effect (Kish 1965): n events tell no more than n / effect independent ones, and evidence is
   that many times too large.

       threshold(n) = max(effect(n) · ln(W·T / (rate·c)), largest evidence among the baseline's own windows of n)

A union bound over overlapping windows is generous: at 22 signals it spends about 3 nats more than needed, some 10 % of
delay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detectors.battery import Battery
from detectors.grid import FloatArray, IntArray

# A length is measured only where the baseline holds four windows of it side by side; longer ones take its figures.
_MIN_WINDOWS = 4
# The mean of N exponential draws exceeds 1 + 1.65/sqrt(N) in 5 % of cases: less than that is chance, not dependence.
_CHANCE = 1.65


@dataclass(frozen=True, slots=True)
class Variation:
    """What the baseline's own windows show among themselves.

    lengths: (L,) events of the windows measured, rising. effect: (L, T) >= 1, design effect. floor: (L, T) nats.
    """

    lengths: FloatArray
    effect: FloatArray
    floor: FloatArray

    @classmethod
    def none(cls, n_tests: int) -> Variation:
        """Independence taken on trust: for a baseline whose order is lost."""
        return cls(np.ones(1), np.ones((1, n_tests)), np.zeros((1, n_tests)))

    @classmethod
    def of(cls, battery: Battery, blocks: IntArray, against_past: bool = False) -> Variation:
        """Of a baseline's time-ordered blocks (P, C), for windows against the rest of it or against their past."""
        sums = np.concatenate([np.zeros_like(blocks[:1]), np.cumsum(blocks, axis=0)])
        events = battery.layout.events(sums[-1]) / max(len(blocks), 1)
        measured = []
        width = 1
        while len(blocks) // width >= _MIN_WINDOWS:
            window, past = sums[width:] - sums[:-width], sums[:-width]
            evidence = battery.evidence(window, past if against_past else sums[-1] - window, past)
            apart = evidence[::width]
            effect = apart.mean(0) / (1 + _CHANCE / math.sqrt(len(apart)))
            measured.append((events * width, effect, evidence.max(0)))
            width *= 2
        if not measured:
            return cls.none(len(battery.tests))
        lengths, effects, floors = (np.array(each) for each in zip(*measured, strict=True))
        # Longer windows are never trusted more than shorter ones: dependence does not fade with length.
        return cls(lengths, np.maximum(np.maximum.accumulate(effects), 1.0), np.maximum.accumulate(floors))

    def threshold(self, n: IntArray, bound: float) -> FloatArray:
        """Nats (w, T) that windows of n (w,) events must reach where independent data need `bound` nats."""
        nearest = np.searchsorted(self.lengths, n * math.sqrt(0.5), side="left").clip(max=len(self.lengths) - 1)
        return np.asarray(np.maximum(self.effect * bound, self.floor)[nearest])


def independence_bound(rate: float, events: int, windows: int, tests: int) -> float:
    """Nats at which a test time after `events` events spends its share of `rate` false alarms per event."""
    # More than one false alarm a test time cannot be granted: there is at most one.
    return math.log(windows * tests / min(rate * events, 1.0))
