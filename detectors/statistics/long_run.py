"""The variance of sums over windows of a series whose neighbours depend on each other, by length of the window.

Of a stationary series x with autocovariances γ, a sum over w neighbours has the variance w·V(w),

    V(w) = γ(0) + 2 Σ (1 - k/w) γ(k),    k = 1 .. w-1,

which rises from γ(0) to the long-run variance. γ is estimated from P values; where it is only noise, it must not count:

1. The lag m is the first one after which no correlation is larger than chance, 2 √(log10 P / P), at five lags in a row
   and in any of the series (Politis, Econom. Theory 19, 2003, "adaptive bandwidth choice"). Series of one family share
   it, so that a series which shows its dependence late has that of the others.
2. γ(k) is weighed by a flat-top taper: 1 up to k = m, and falling to 0 at 2m (Politis & Romano, J. Time Ser. Anal. 16,
   1995). With Bartlett's taper (Newey & West, Econometrica 55, 1987) V is too small by a share that fades slowly in P.
3. V rises in w and is at least 0.3 γ(0): longer windows are never trusted more than shorter ones.
4. One standard error is added, √((2 + 16m/3) / P) of V: so much does the estimate vary in normal series (Priestley
   1981, 6.2). Without it AR(1) 0.95 of 10,000 values in blocks of 100 paged 12 times as often as allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray

# Lags in a row without correlation, after which there is none.
_QUIET_LAGS = 5
# V is never below this share of γ(0): where neighbours repel each other, a longer window may not be like the sample.
_LEAST = 0.3
#: Values below which no order in time can be seen: V is then known to a third at best.
FEWEST = 40


@dataclass(frozen=True, slots=True)
class LongRun:
    """The variance of sums over windows.

    lengths: (L,) values in a window, ascending from 1. variance: (L, F) V of F series in squares of their unit, the
    standard error included. lag: values after which neighbours are independent. short: the series is too short to
    see dependence end, so that longer windows may vary more than `variance` says.
    """

    lengths: IntArray
    variance: FloatArray
    lag: int
    short: bool

    @property
    def independent_up_to(self) -> float:
        """The largest V, of that of independent values, that such values have by chance; 0 if these are correlated."""
        # The longest window has as many values as there are, but for a fifth.
        return by_chance(int(self.lengths[-1])) if self.lag == 0 else 0.0

    def at(self, length: float) -> FloatArray:
        """V (F,) of windows of `length` values, by the next longer length known, or the longest one."""
        row = int(np.searchsorted(self.lengths, length).clip(max=len(self.lengths) - 1))
        return np.asarray(self.variance[row])


def window_lengths(longest: int) -> IntArray:
    """Lengths (L,) from 1 to at most `longest` >= 1, each a quarter longer than the one before.

    >>> window_lengths(20)
    array([ 1,  2,  3,  4,  5,  6,  7,  8, 10, 12, 15, 18])
    """
    lengths = [1]
    while (longer := lengths[-1] + max(lengths[-1] // 4, 1)) <= longest:
        lengths.append(longer)
    return np.array(lengths)


def long_run(series: FloatArray, lengths: IntArray | None = None) -> LongRun:
    """The variance of sums over windows of F series (P, F), P >= 2, each around its own mean.

    lengths: (L,) ascending; by default up to P. The result is finite. A series without variance has V = 0.
    """
    n = len(series)
    lengths = window_lengths(n) if lengths is None else lengths
    covariance = autocovariances(series)
    lag, short = _lag(covariance, n)
    weighed = 2 * _flat_top(len(covariance), lag)[:, None] * covariance
    k = np.arange(len(covariance))
    # Row by row, as (L, P/4) weights at once would take 10 MB for the longest baselines.
    variance = np.array([covariance[0] + np.clip(1 - k[1:] / each, 0, None) @ weighed[1:] for each in lengths])
    variance = np.maximum.accumulate(np.maximum(variance, _LEAST * covariance[0]), axis=0)
    return LongRun(lengths, variance * (1 + error_of(lag, n)) * n / (n - 1), lag, short)


def limits(series: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The variance (F,) of sums over the longest windows of F series (P, F), as by `long_run`, but many that are alike.

    With it, up to which variance each is independent, in that of independent values (F,): 0 if it is correlated.

    Of dozens of series one seems to depend on itself by chance, so each has its own lag. The mean of their correlations
    shows what each is too noisy to show, so no lag is less than that of the mean.
    """
    n, covariance = len(series), autocovariances(series)
    # 1 of series that never vary, as of a constant signal.
    alike = max(covariance[0].sum() ** 2 / max((covariance[0] ** 2).sum(), 1e-300), 1.0)
    common = _lag(covariance.sum(1, keepdims=True), n, alike)[0]
    lags = [max(_lag(own[:, None], n)[0], common) for own in covariance.T]
    sums = np.array(
        [own[0] + 2 * _flat_top(len(own), m)[1:] @ own[1:] for own, m in zip(covariance.T, lags, strict=True)]
    )
    errors = np.array([error_of(lag, n) for lag in lags])
    largest = np.where(np.array(lags) == 0, by_chance(n), 0.0)
    return np.maximum(sums, _LEAST * covariance[0]) * (1 + errors) * n / (n - 1), largest


def by_chance(n: int) -> float:
    """The largest V of n independent values, of that of all such: one standard error more, beside the one added."""
    return (1 + error_of(0, n)) ** 2


def error_of(lag: int, n: int) -> float:
    """Relative standard error of V, from n values that are independent after `lag` others."""
    return math.sqrt((2 + 16 * lag / 3) / n)


def autocovariances(series: FloatArray) -> FloatArray:
    """γ (k, F) of series (P, F) at lags 0 .. k-1, k a quarter of P or 2 at least; sums of products, divided by P."""
    n = len(series)
    centred = np.asarray(series, float) - series.mean(0)
    spectrum = np.fft.rfft(centred, 2 * n, axis=0)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), 2 * n, axis=0)[: max(2, n // 4)] / n)


def _lag(covariance: FloatArray, n: int, alike: float = 1.0) -> tuple[int, bool]:
    """The lag after which nothing is correlated; and whether there is none in sight. alike: series in the mean."""
    some = covariance[0] > 0
    correlation = covariance[:, some] / covariance[0, some]
    loud = (np.abs(correlation) >= 2 * math.sqrt(math.log10(n) / (n * alike))).any(axis=1)
    for lag in range(len(loud) - 1):
        if not loud[lag + 1 : lag + 1 + _QUIET_LAGS].any():
            return lag, False
    return len(loud), True


def _flat_top(n: int, lag: int) -> FloatArray:
    """Weights (n,) of the autocovariances."""
    last = min(2 * lag, n - 1)
    return np.clip(2 * (1 - np.arange(n) / (last + 1)), 0, 1)
