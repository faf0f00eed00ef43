"""Tests of unordered counts: chi-square over categories, and an exact bound for a single rate.

The two complement each other. Chi-square is quick and sees any change among frequent categories, but its p-value is an
approximation that rare cells ruin (one event of a category that 100,000 baseline events never showed gives a window of
100 X² = 1000). Rare categories are therefore summed, and their share of the traffic is tested by `rate_evidence`, which
is valid for every count.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import ONE_SIGNAL, BoolArray, FloatArray, IntArray, sum_by_signal
from driftline.detectors.statistics.gamma import log_gamma, log_upper_gamma

# Cochran (Ann. Math. Stat. 23, 1952; Biometrics 10, 1954): the approximation holds from 5 expected events a cell.
# Measured with cells of 5.5, p is too small by a factor of 1.0 to 1.3 at p = e^-5 and 2 to 9 at e^-11; with cells of
# 2.5 it is 14 to 23 there. Thresholds calibrated on history correct the rest.
MIN_EXPECTED = 5.0


def categorical_evidence(
    counts: IntArray, reference: IntArray, starts: IntArray = ONE_SIGNAL, min_expected: float = MIN_EXPECTED
) -> FloatArray:
    """Evidence (w, S) in nats, at least 0, that categories, frequent or rare, have other shares than in the reference.

    It is the larger of the evidence of `chi2_statistic` and `rare_evidence`, less ln 2 because two tests are made.
    Shapes and errors as in `chi2_statistic`.
    """
    cells = _split(counts, reference, starts, min_expected)
    common, rare = chi2_evidence(*_chi2(cells, starts)), _rare(cells)
    return np.maximum(np.maximum(common, rare) - math.log(2), 0.0)


def chi2_statistic(
    counts: IntArray, reference: IntArray, starts: IntArray = ONE_SIGNAL, min_expected: float = MIN_EXPECTED
) -> tuple[FloatArray, IntArray]:
    """Pearson's two-sample chi-square (w, S) and its degrees of freedom (w, S), over frequent categories.

        X² = nm Σ (c/n - r/m)² / (c + r)        c, r: a cell's counts in window and reference, n, m their sums

    counts: (w, K), one row a window; the codes of S signals back to back. reference: (K,), or one row a window.
    starts: (S,) first column of each signal, strictly rising from 0.
    Cells in which the smaller sample expects fewer than `min_expected` events are pooled into one rest cell. If that is
    still too rare, its events are left out and only `rare_evidence` tests them. The choice depends on c + r alone,
    which says nothing about the difference. With fewer than two cells, both results are 0.
    Raises ValueError for min_expected <= 0.

    >>> stat, dof = chi2_statistic(np.array([[30, 50, 20, 1, 0]]), np.array([400, 400, 200, 0, 1]))
    >>> stat.round(2), dof
    (array([[4.55]]), array([[2]]))
    """
    return _chi2(_split(counts, reference, starts, min_expected), starts)


def chi2_evidence(stat: npt.ArrayLike, dof: npt.ArrayLike) -> FloatArray:
    """-ln P(chi-square of dof degrees >= stat) in nats, any shapes that broadcast; 0 where dof is 0.

    Relative error below 1e-9 however far the tail: it is computed in logarithms.
    """
    stat, dof = np.broadcast_arrays(np.asarray(stat, np.float64), np.asarray(dof))
    evidence = -log_upper_gamma(np.maximum(dof, 1) / 2, stat / 2)
    return np.where(dof > 0, evidence, 0.0)


def rare_evidence(
    counts: IntArray, reference: IntArray, starts: IntArray = ONE_SIGNAL, min_expected: float = MIN_EXPECTED
) -> FloatArray:
    """`rate_evidence` (w, S) of the share of the rest cell of `chi2_statistic`. Shapes and errors as there."""
    return _rare(_split(counts, reference, starts, min_expected))


def rate_evidence(k: npt.ArrayLike, n: npt.ArrayLike, k_ref: npt.ArrayLike, n_ref: npt.ArrayLike) -> FloatArray:
    """Evidence in nats, at least 0, that k of n and k_ref of n_ref events have different rates; shapes that broadcast.

    Given the total k + k_ref, k is hypergeometric. Its probability is the exponential of the G test's exponent (half
    the statistic), n KL(k/n || p) + n_ref KL(k_ref/n_ref || p) with p the pooled rate, times a factor that the
    exponent lacks. exp(-exponent) alone is no bound: 1 of 1 against 0 of 1 has exponent 2 ln 2 and probability 1, and
    the shortfall grows as the square root of the counts. The exact probability gives one: along a tail the ratio of
    neighbouring probabilities falls, so a geometric series bounds the tail (Fisher's exact test, from above),

        P(K >= k) <= P(K = k) / (1 - q),    q = P(K = k+1) / P(K = k) = (n-k) k_ref / ((k+1) (n_ref - k_ref + 1)) < 1

    where k/n is the larger rate. Doubled for the two sides, P(evidence >= x) <= e^-x for all counts, zeros included,
    and beyond two standard deviations it is within 0.2 nats of Fisher's.

    >>> rate_evidence([0, 3, 30], 1000, 20, 20_000).round(2)
    array([ 0.28,  1.65, 60.49])
    """
    k, n, k_ref, n_ref = np.broadcast_arrays(*(np.asarray(count, np.float64) for count in (k, n, k_ref, n_ref)))
    swap = k * n_ref < k_ref * n
    k, n, k_ref, n_ref = (np.where(swap, b, a) for a, b in ((k, k_ref), (n, n_ref), (k_ref, k), (n_ref, n)))
    ratio = (n - k) * k_ref / ((k + 1) * (n_ref - k_ref + 1))
    log_p = _log_choose(n, k) + _log_choose(n_ref, k_ref) - _log_choose(n + n_ref, k + k_ref)
    return np.asarray(np.maximum(np.log1p(-ratio) - log_p - math.log(2), 0.0))


class _Cells(NamedTuple):
    """Two samples split into frequent cells and a rest; arrays of cells are (w, K), of signals (w, S).

    share: the smaller sample's share of all events; it expects share * (c + r) of them in a cell.
    """

    window: IntArray
    reference: IntArray
    frequent: BoolArray
    share: FloatArray
    min_expected: float
    n: IntArray
    m: IntArray
    rest_n: IntArray
    rest_m: IntArray


def _split(counts: IntArray, reference: IntArray, starts: IntArray, min_expected: float) -> _Cells:
    if not min_expected > 0:
        raise ValueError(f"min_expected must be above 0, got {min_expected}")
    n, m = sum_by_signal(counts, starts), sum_by_signal(reference, starts)
    share = np.minimum(n, m) / np.maximum(n + m, 1)
    with np.errstate(divide="ignore"):
        least = min_expected / share
    frequent = counts + reference >= _spread(least, counts, starts)
    rest_n, rest_m = (sum_by_signal(side * ~frequent, starts) for side in (counts, reference))
    return _Cells(counts, reference, frequent, share, min_expected, n, m, rest_n, rest_m)


def _chi2(cells: _Cells, starts: IntArray) -> tuple[FloatArray, IntArray]:
    with_rest = (cells.rest_n + cells.rest_m) * cells.share >= cells.min_expected
    n, m = cells.n - np.where(with_rest, 0, cells.rest_n), cells.m - np.where(with_rest, 0, cells.rest_m)
    ratio = n / np.maximum(m, 1)
    parts = _cell(cells.window, cells.reference, _spread(ratio, cells.window, starts)) * cells.frequent
    total = sum_by_signal(parts, starts) + _cell(cells.rest_n, cells.rest_m, ratio) * with_rest
    dof = np.maximum(np.add.reduceat(cells.frequent, starts, axis=-1, dtype=np.int64) + with_rest - 1, 0)
    return np.where(dof > 0, total * m / np.maximum(n, 1), 0.0), dof


def _cell(c: IntArray, r: IntArray, ratio: FloatArray) -> FloatArray:
    """(c - r n/m)² / (c + r), of which X² is m/n times the sum; 0 for an empty cell."""
    off = r * ratio
    np.subtract(c, off, out=off)
    off *= off
    off /= np.maximum(c + r, 1)
    return off


def _rare(cells: _Cells) -> FloatArray:
    return rate_evidence(cells.rest_n, cells.n, cells.rest_m, cells.m)


def _spread(per_signal: FloatArray, counts: IntArray, starts: IntArray) -> FloatArray:
    """Repeat a value per signal (w, S) over the columns of that signal (w, K)."""
    return np.repeat(per_signal, np.diff(starts, append=counts.shape[-1]), axis=-1)


def _log_choose(n: FloatArray, k: FloatArray) -> FloatArray:
    """ln of the binomial coefficient."""
    of_n, of_k, of_rest = log_gamma(np.stack([n, k, n - k]) + 1)
    return np.asarray(of_n - of_k - of_rest)
