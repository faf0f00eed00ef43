"""Tests on ranks: has the level (Mann-Whitney) or the spread (Mood) of a signal changed?

A code's mid-rank M is the mean of a uniform rank U given the code, so by Jensen every exponential moment of M - 1/2 is
at most that of U - 1/2, which is at most exp(λ²/24): a uniform variable is strictly sub-Gaussian. Hence for the mean
mid-rank of n events, whatever their distribution and ties,

    level     P(|mean M - 1/2| >= δ) <= 2 exp(-6 n δ²)                          (Hoeffding; variance 1/12)
    spread    P(mean (M - 1/2)² - expected >= δ) <= exp(-n δ² / 2(v + b δ/3))   (Bernstein; v = 1/180, b = 1/6)

with n replaced by nm/(n+m) if the other side is a sample of m. The bounds hold at every n, so small windows need no
rule of their own. By these bounds the tests need a third fewer events than KS, which sees any shape, for a shift of a
normal by 0.5 σ, and a fifth of the events for a scale of 1.5 (Mann & Whitney 1947; Mood 1954).

This assumes that the other side is the baseline that gave the ranks. Against another reference, such as the past after
a change, ranks are not `uniform`: M and (M - 1/2)² are only known to lie in [0, 1] and [0, 1/4], and the bounds are
Hoeffding's, 2 exp(-2 n δ²) and 2 exp(-32 n δ²).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray

# Variance of (U - 1/2)² for uniform U, and by how much it can exceed its mean of 1/12.
_SPREAD_VARIANCE, _SPREAD_BOUND = 1 / 180, 1 / 4 - 1 / 12
_TWO_SIDES = math.log(2)


class RankMoments(NamedTuple):
    """Number of events, sum of mid-ranks and sum of their squares; each (w, S)."""

    n: FloatArray
    sum: FloatArray
    squares: FloatArray

    @property
    def mean(self) -> FloatArray:
        """Mean mid-rank; 0 without events."""
        return np.asarray(self.sum / np.maximum(self.n, 1))

    @property
    def dispersion(self) -> FloatArray:
        """Mean squared distance of mid-ranks from 1/2."""
        return np.asarray((self.squares - self.sum) / np.maximum(self.n, 1) + 0.25)


def rank_moments(counts: IntArray, midranks: FloatArray, starts: IntArray) -> RankMoments:
    """Rank moments of code counts (w, C), given mid-ranks (C,) and the first column of each signal, `starts` (S,)."""
    weighted = counts * midranks
    parts = (counts, weighted, weighted * midranks)
    return RankMoments(*(np.add.reduceat(part, starts, axis=1).astype(float) for part in parts))


def level_evidence(window: RankMoments, reference: RankMoments, uniform: bool = True) -> FloatArray:
    """Evidence in nats, at least 0, that the mean rank differs; 0 where a side is empty."""
    difference = window.mean - reference.mean
    scale = 1 / 6 if uniform else 1 / 2
    return np.maximum(_effective(window, reference) * difference**2 / scale - _TWO_SIDES, 0.0)


def spread_evidence(window: RankMoments, reference: RankMoments, uniform: bool = True) -> FloatArray:
    """Evidence in nats, at least 0, that ranks lie farther from the middle, or nearer; 0 where a side is empty."""
    difference = window.dispersion - reference.dispersion
    scale = 2 * (_SPREAD_VARIANCE + _SPREAD_BOUND * np.abs(difference) / 3) if uniform else 1 / 32
    return np.maximum(_effective(window, reference) * difference**2 / scale - _TWO_SIDES, 0.0)


def _effective(window: RankMoments, reference: RankMoments) -> FloatArray:
    return np.asarray(window.n * reference.n / np.maximum(window.n + reference.n, 1))
