"""The p-value of the two-sample Kolmogorov-Smirnov test, exact for small samples."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from driftline.detectors.statistics.gamma import log_gamma

# Up to this size "auto" counts paths exactly, as scipy does: at worst a fifth of a second, growing with its square.
_MAX_EXACT = 10_000


def ks_pvalue(d: float, n: int, m: int, method: Literal["auto", "exact", "asymp"] = "auto") -> float:
    """P(D >= d) for two samples of n and m from one continuous distribution.

    method: "exact" counts lattice paths in O(d nm) steps, with a relative error of about 1e-12; "asymp" treats D as the
    one-sample statistic of round(nm/(n+m)) events, in time and memory of that order; "auto" is exact up to 10,000
    events a side. Raises ValueError if the method is unknown, n or m is below 1, or d is outside [0, 1].
    """
    if method not in ("auto", "exact", "asymp"):
        raise ValueError(f"method must be auto, exact or asymp, got {method!r}")
    if n < 1 or m < 1:
        raise ValueError(f"n and m must be at least 1, got {n} and {m}")
    if not 0 <= d <= 1:
        raise ValueError(f"d must be within 0 and 1, got {d}")
    if method == "exact" or (method == "auto" and max(n, m) <= _MAX_EXACT):
        return _paths_outside(d, n, m)
    return _kolmogorov_sf(max(round(n * m / (n + m)), 1), d)


def _paths_outside(d: float, n: int, m: int) -> float:
    """The share of lattice paths from (0, 0) to (n, m) that touch |x/n - y/m| >= d.

    Every order of the pooled sample is such a path, all equally likely. outside[x + 1] is the share among the paths to
    (x, s - x); the last step of such a path came from the left with probability x/s (Hodges, Ark. Mat. 3, 1958). All
    terms are positive, so small shares keep their digits.
    """
    divisor = math.gcd(n, m)
    up, step = n // divisor, n // divisor + m // divisor
    reach = round(d * n * (m // divisor))
    if reach == 0:
        return 1.0
    outside, xs = np.ones(n + 2), np.arange(n + 1.0)
    outside[1] = 0.0
    for s in range(1, n + m + 1):
        first = max(0, (s * up - reach) // step + 1)
        last = min(s, n, (s * up + reach - 1) // step)
        x = xs[first : last + 1]
        left, below = outside[first : last + 1], outside[first + 1 : last + 2]
        outside[first + 1 : last + 2] = (x * left + (s - x) * below) / s
        outside[first] = 1.0
    return float(outside[n + 1])


def _kolmogorov_sf(n: int, d: float) -> float:
    """P(D_n >= d) of the one-sample statistic; one of three methods, chosen as by Simard & L'Ecuyer (JSS 39(11), 2011).

    In the tail it is twice the one-sided probability: exact up to rounding (1e-8 relative at n = 10^6), apart from the
    chance of crossing on both sides, which is below 1e-5 of it. In the body Durbin's matrix is exact, and used where it
    is small; elsewhere n > 140, and the series has an absolute error below 4e-6 at n = 141 that falls as 1/n².
    """
    if n * d <= 0.5:
        return 1.0  # F_n jumps by 1/n, so somewhere it is half of that away from any continuous F
    if d >= 0.5 or n * d * d >= (4.0 if n <= 140 else 2.2):
        return min(1.0, 2 * _smirnov(n, d))
    matrix_is_small = n <= 140 or (n <= 100_000 and n * d**1.5 <= 1.4)
    cdf = _durbin(n, d) if matrix_is_small else _pelz_good(n, d)
    return min(max(1 - cdf, 0.0), 1.0)


def _smirnov(n: int, d: float) -> float:
    """P(sup (F_n - F) >= d), one-sided: d Σ C(n, j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j), the terms in logarithms."""
    j = np.arange(math.ceil(n * (1 - d)))
    at = d + j / n
    inside = at < 1
    j, at = j[inside], at[inside]
    choose = log_gamma(n + 1) - log_gamma(j + 1) - log_gamma(n - j + 1)
    return float(d * np.exp(choose + (j - 1) * np.log(at) + (n - j) * np.log1p(-at)).sum())


def _durbin(n: int, d: float) -> float:
    """P(D_n < d), exact: n!/n^n (H^n)[k-1, k-1], where H has 2k-1 rows and d = (k - h)/n (Durbin 1968)."""
    k = math.ceil(n * d)
    size, h = 2 * k - 1, k - n * d
    powers = np.arange(1, size + 1)
    factorials = np.cumprod(np.concatenate([[1.0], powers]))
    lag = powers[:, None] - powers[None, :] + 1
    matrix = np.where(lag >= 0, 1 / factorials[np.maximum(lag, 0)], 0.0)
    edge = (1 - h**powers) / factorials[1:]
    matrix[:, 0], matrix[-1, :] = edge, edge[::-1]
    matrix[-1, 0] = (1 - 2 * h**size + max(2 * h - 1, 0.0) ** size) / factorials[-1]
    # Spreading n!/n^n over the n factors keeps the powers of H within a double's range.
    scale = math.exp((math.lgamma(n + 1) - n * math.log(n)) / n)
    return float(np.linalg.matrix_power(matrix * scale, n)[k - 1, k - 1])


def _pelz_good(n: int, d: float) -> float:
    """P(D_n < d) to order n^(-3/2): K0 + K1/√n + K2/n + K3/n^1.5 as theta series in z = d√n (Pelz & Good 1976)."""
    z = d * math.sqrt(n)
    index = np.arange(1, math.ceil(16 * z / math.pi) + 1)
    u, v = (math.pi * (index - 0.5)) ** 2, (math.pi * index) ** 2
    at_u, at_v = np.exp(-u / (2 * z * z)), np.exp(-v / (2 * z * z))
    k0 = at_u.sum() / z
    k1 = ((u - z**2) * at_u).sum() / (6 * z**4)
    k2 = ((6 * z**6 + 2 * z**4 + (2 * z**4 - 5 * z**2) * u + (1 - 2 * z**2) * u**2) * at_u).sum() / (72 * z**7)
    k2 -= (v * at_v).sum() / (36 * z**3)
    cubic = -30 * z**6 - 90 * z**8 + (135 * z**4 - 96 * z**6) * u + (212 * z**4 - 60 * z**2) * u**2
    k3 = ((cubic + (5 - 30 * z**2) * u**3) * at_u).sum() / (6480 * z**10)
    k3 += ((3 * z**2 - v) * v * at_v).sum() / (216 * z**6)
    return float(math.sqrt(2 * math.pi) * (k0 + k1 / math.sqrt(n) + k2 / n + k3 / n**1.5))
