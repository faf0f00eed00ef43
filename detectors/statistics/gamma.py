"""Logarithms of the gamma function and of its upper incomplete part, for arrays, without under- or overflow.

numpy has neither function. `log_gamma` is Stirling's series (DLMF 5.11.1) after a shift by 8; `log_upper_gamma` is the
power series of P = 1 - Q below the mean (DLMF 8.11.4) and the continued fraction of Q above it (DLMF 8.9.2), by Lentz's
method, which evaluates it forwards and so can stop at convergence. Relative error of Q about 1e-12.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray

# Shifted to x >= 8, the first term left out of the series, 691/(360360 x^11), is below 3e-13; at x >= 4 it is 5e-10.
_SHIFT = 8
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
# A factor this near to 1 no longer changes a double.
_CONVERGED = 1e-15


def log_gamma(x: npt.ArrayLike) -> FloatArray:
    """ln Γ(x) for x > 0, any shape; absolute error about 1e-12, or relative error 1e-16 if that is more."""
    x = np.asarray(x, np.float64)
    product = np.ones_like(x)
    for step in range(_SHIFT):
        product *= x / _SHIFT + step / _SHIFT
    shifted = x + _SHIFT
    inverse = 1 / shifted
    series = np.polyval(_STIRLING[::-1], inverse * inverse) * inverse
    stirling = (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * np.log(2 * np.pi) + series
    return np.asarray(stirling - np.log(product) - _SHIFT * np.log(_SHIFT))


def log_upper_gamma(a: npt.ArrayLike, x: npt.ArrayLike) -> FloatArray:
    """ln Q(a, x), Q the regularised upper incomplete gamma function, for a > 0, x >= 0; shapes that broadcast."""
    a, x = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(x, np.float64))
    with np.errstate(divide="ignore"):
        lead = a * np.log(x) - x - log_gamma(a)
    result = np.empty(a.shape)
    below = x < a + 1
    result[below] = np.log1p(-np.minimum(np.exp(lead[below]) * _power_series(a[below], x[below]), 1.0))
    result[~below] = lead[~below] + np.log(_continued_fraction(a[~below], x[~below]))
    return result


def _power_series(a: FloatArray, x: FloatArray) -> FloatArray:
    """Σ x^k / (a (a+1) ... (a+k)) over k >= 0; all terms positive."""
    total = term = 1 / a
    while (term > _CONVERGED * total).any():
        a = a + 1
        term = term * x / a
        total = total + term
    return total


def _continued_fraction(a: FloatArray, x: FloatArray) -> FloatArray:
    """1 / (x+1-a - 1(1-a) / (x+3-a - 2(2-a) / (x+5-a - ...))) for x >= a + 1, where every denominator is positive."""
    b = x + 1 - a
    above, below = np.full_like(b, np.inf), 1 / b
    fraction, factor, i = below, np.zeros_like(b), 0
    while (np.abs(factor - 1) > _CONVERGED).any():
        i += 1
        numerator = i * (a - i)
        b = b + 2
        below = 1 / (b + numerator * below)
        above = b + numerator / above
        factor = above * below
        fraction = fraction * factor
    return fraction
