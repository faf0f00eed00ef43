"""Effect sizes: how large a change is. People read them and severities follow from them; alarms do not.

Unlike evidence they do not grow with the number of events. From few events they are too large by chance (PSI by about
(K - 1)(1/n + 1/m) for K codes), so read them beside evidence.

All take counts (w, K), one row a window, with the codes of S signals back to back; reference (K,), or one row a window;
and starts (S,), the first column of each signal, strictly ascending from 0. All return (w, S), 0 where a side is empty.
"""

from __future__ import annotations

import numpy as np

from driftline.detectors.arrays import ONE_SIGNAL, FloatArray, IntArray, sum_by_signal
from driftline.detectors.statistics.ks import cdf_difference

# Events added to every code of both samples (Jeffreys' prior). E ln(X + a) = ln λ + (a - 1/2)/λ + O(1/λ²) for a
# Poisson count X (Haldane, Ann. Hum. Genet. 20, 1956): at 1/2 the leading error vanishes, at 1/4 rare codes look rarer
# than they are. The customary floor, a share of 0.0001, makes a code that is empty among 50 events count as much as one
# that is empty among a million.
_PRIOR = 0.5


def psi(counts: IntArray, reference: IntArray, starts: IntArray = ONE_SIGNAL) -> FloatArray:
    """Population stability index Σ (p - q) ln(p / q) (w, S), in nats, unbounded: Jeffreys' divergence (Siddiqi 2006).

    p, q: shares of the codes after adding half an event to each. By convention 0.1 is moderate, 0.25 large, for 10
    codes.
    """
    p, q = _shares(counts, starts, _PRIOR), _shares(reference, starts, _PRIOR)
    parts = (p - q) * np.log(p / q)
    return _sum(parts, counts, reference, starts)


def jensen_shannon(counts: IntArray, reference: IntArray, starts: IntArray = ONE_SIGNAL) -> FloatArray:
    """Jensen-Shannon distance (w, S): the square root of the divergence in bits; 0: equal, 1: disjoint.

    It is a metric (Endres & Schindelin, IEEE Trans. Inf. Theory 49, 2003) and needs no smoothing: empty codes add 0.
    """
    p, q = _shares(counts, starts), _shares(reference, starts)
    middle = (p + q) / 2
    parts = (_entropy(p, middle) + _entropy(q, middle)) / 2
    return np.sqrt(np.maximum(_sum(parts, counts, reference, starts), 0.0))


def wasserstein(
    counts: IntArray, reference: IntArray, positions: FloatArray, starts: IntArray = ONE_SIGNAL
) -> FloatArray:
    """Wasserstein-1 distance Σ |F - G| Δposition (w, S), in the unit of positions (K,), ascending within a signal.

    With grid points as positions, it says how far an event moved on average, in the signal's own unit; with mid-ranks,
    by what share of the baseline. Empty codes need no smoothing.
    """
    difference, n, m = cdf_difference(counts, reference, starts)
    np.abs(difference, out=difference)
    # F = G = 1 at the last code of a signal, so the step from there to the next signal is multiplied by 0.
    difference *= np.diff(positions, append=positions[-1])
    return sum_by_signal(difference, starts) * ((n > 0) & (m > 0))


def _shares(counts: IntArray, starts: IntArray, prior: float = 0.0) -> FloatArray:
    """Share of each code in its signal (w, K); all 0 without events and prior."""
    widths = np.diff(starts, append=counts.shape[-1])
    totals = sum_by_signal(counts, starts)
    divisor = np.where(totals > 0, totals, 1) + prior * widths
    return np.asarray((counts + prior) / np.repeat(divisor, widths, axis=-1))


def _entropy(p: FloatArray, middle: FloatArray) -> FloatArray:
    """p log2(p / middle), 0 where p is 0."""
    return p * np.log2(np.divide(p, middle, out=np.ones_like(middle), where=p > 0))


def _sum(parts: FloatArray, counts: IntArray, reference: IntArray, starts: IntArray) -> FloatArray:
    """Sums over the codes of each signal (w, S), 0 where a side is empty."""
    n, m = sum_by_signal(counts, starts), sum_by_signal(reference, starts)
    return sum_by_signal(parts, starts) * ((n > 0) & (m > 0))
