"""The two-sample Kolmogorov-Smirnov test, on counts of ordered codes.

    D = max over codes of |F(code) - G(code)|,    F = the window's share of events up to a code, G = the reference's

Counting replaces sorting. If every distinct value has its own code, D equals the textbook's to the last bit; with fewer
codes it is the maximum over the grid's cuts and never larger, so every bound on false alarms still holds. Ties only
make the test more conservative.

`ks_evidence` is what detectors compare with a threshold; `ks_pvalue` is the p-value itself, for use without a stream.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import ONE_SIGNAL, FloatArray, IntArray, sum_by_signal


def cdf_difference(counts: IntArray, reference: IntArray, starts: IntArray) -> tuple[FloatArray, IntArray, IntArray]:
    """F - G at every code, and the number of events on each side.

    counts: (w, K) or (K,), one row a window; the codes of S signals back to back. reference: (K,), or one row a window.
    starts: (S,) first column of each signal, strictly ascending from 0.
    Returns the difference (w, K), n (w, S) and m (S,) or (w, S). A side without events has F = 0 throughout.
    """
    window, n = _cdf(counts, starts)
    other, m = _cdf(reference, starts)
    return window - other, n, m


def _cdf(counts: IntArray, starts: IntArray) -> tuple[FloatArray, IntArray]:
    widths = np.diff(starts, append=counts.shape[-1])
    totals = sum_by_signal(counts, starts)
    before = np.cumsum(totals, axis=-1) - totals
    upto = np.cumsum(counts, axis=-1)
    upto -= np.repeat(before, widths, axis=-1)
    return upto / np.repeat(np.maximum(totals, 1), widths, axis=-1), totals


def ks_statistic(
    counts: IntArray, reference: IntArray, starts: IntArray = ONE_SIGNAL
) -> tuple[FloatArray, IntArray, IntArray]:
    """D (w, S), 0 where a side is empty, and the numbers of events n and m. Shapes as in `cdf_difference`.

    >>> d, n, m = ks_statistic(np.array([[3, 1, 0, 2, 2]]), np.array([1, 1, 2, 5, 5]), np.array([0, 3]))
    >>> d.tolist(), n.tolist(), m.tolist()
    ([[0.5, 0.0]], [[4, 4]], [4, 10])
    """
    difference, n, m = cdf_difference(counts, reference, starts)
    np.abs(difference, out=difference)
    return np.maximum.reduceat(difference, starts, axis=-1) * ((n > 0) & (m > 0)), n, m


def ks_evidence(d: npt.ArrayLike, n: npt.ArrayLike, m: npt.ArrayLike) -> FloatArray:
    """Evidence in nats, at least 0: -ln of the bound p <= 2 exp(-2 t²), t² = d² nm/(n+m); the arguments broadcast.

    The bound is the first term of the limiting distribution's series (Smirnov 1939; Hodges 1958), whose other terms
    soon add nothing. It holds at all sizes, so small windows need no rule of their own: Massart (Ann. Probab. 18, 1990)
    proved it for one sample; for two, Wei & Dudley (Statist. Probab. Lett. 82, 2012) found it exceeded only for n = m <
    458 and for n < m <= 3, by at most a factor e/2 (0.31 nats). Being quadratic in d, it neither underflows nor loses
    digits however far out in the tail.
    """
    n, m = np.asarray(n, np.float64), np.asarray(m, np.float64)
    effective = n * m / np.maximum(n + m, 1)
    return np.asarray(np.maximum(2 * np.square(d) * effective - math.log(2), 0.0))
