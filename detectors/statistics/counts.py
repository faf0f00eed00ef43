"""Evidence that a count over a stretch of time is smaller or larger than expected, where counts vary more than chance.

A count with mean e has the variance e (1 + e v): chance alone gives e, and v is the relative variance of the rate
itself. Two shapes have this variance. In clumps (Pólya-Aeppli: Poisson many clumps, each of geometric size) a small
count is likelier; with a rate that varies (negative binomial: Poisson with a gamma distributed rate) a large one is.
Traffic may be either, so each side takes the more cautious. The tails are Chernoff's bounds, in closed form and valid
at every count: P(evidence >= x) <= e^-x.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray

# Smallest relative variance: below it the results no longer change, and the logarithms of their differences would.
_LEAST = 1e-9


def few_evidence(n: npt.ArrayLike, e: npt.ArrayLike, v: npt.ArrayLike) -> FloatArray:
    """Evidence in nats, at least 0, that n events are too few where e are expected; any shapes that broadcast.

    v >= 0 is the relative variance of the rate. With clumps of mean size m = 1 + e v / 2,

        evidence = n ln y + (e/m) (1 - y) / (1 - q y),   q = 1 - 1/m,   y = 2n / (2nq + a + √(a² + 4nqa)),   a = e/m²

    which is e/m for n = 0 and n ln(n/e) - n + e for v = 0.

    >>> few_evidence([0, 50, 100], 100, [[0.0], [0.1]]).round(2)
    array([[100.  ,  15.34,   0.  ],
           [ 16.67,   1.56,   0.  ]])
    """
    n, e, v = (np.asarray(each, np.float64) for each in (n, e, v))
    clump = 1 + e * v / 2
    share, clumps = 1 - 1 / clump, e / clump
    a = clumps / clump
    with np.errstate(divide="ignore", invalid="ignore"):
        y = 2 * n / (2 * n * share + a + np.sqrt(a * a + 4 * n * share * a))
        evidence = np.where(n > 0, n * np.log(y), 0.0) + clumps * (1 - y) / (1 - share * y)
    return np.where(n < e, np.maximum(evidence, 0.0), 0.0)


def many_evidence(n: npt.ArrayLike, e: npt.ArrayLike, v: npt.ArrayLike) -> FloatArray:
    """Evidence in nats, at least 0, that n events are too many where e > 0 are expected; shapes that broadcast.

    v >= 0 is the relative variance of the rate. For e > 0 and n > e, with a = 1/v,

        evidence = n ln(n/e) - (n + a) ln((n + a) / (e + a))

    >>> many_evidence([100, 200], 100, [[0.0], [0.1]]).round(2)
    array([[ 0.  , 38.63],
           [ 0.  ,  2.84]])
    """
    n, e, a = (*(np.asarray(each, np.float64) for each in (n, e)), 1 / np.maximum(np.asarray(v, np.float64), _LEAST))
    with np.errstate(divide="ignore", invalid="ignore"):
        evidence = n * np.log(n / e) - (n + a) * np.log1p((n - e) / (e + a))
    return np.where((n > e) & (e > 0), np.maximum(evidence, 0.0), 0.0)


def silence_evidence(e: npt.ArrayLike, v: npt.ArrayLike) -> FloatArray:
    """Evidence in nats against no event where e are expected and the rate varies by v: ln(1 + e v) / v.

    It grows with e without end, which distinguishes a stop from a slow hour; few_evidence ends at 2/v. How silent
    traffic in clumps is between them has to be learned from its gaps.

    >>> silence_evidence([10, 1000], [[0.0], [0.25]]).round(1)
    array([[  10. , 1000. ],
           [   5. ,   22.1]])
    """
    v = np.maximum(np.asarray(v, np.float64), _LEAST)
    return np.asarray(np.log1p(np.asarray(e, np.float64) * v) / v)


def unsure(evidence: npt.ArrayLike, samples: npt.ArrayLike) -> FloatArray:
    """Evidence in nats when the variance is itself known from `samples` only: Student's tail, (N/2) ln(1 + 2 x/N).

    >>> unsure(15.0, [[7], [28], [10_000]]).round(1).ravel()
    array([ 5.8, 10.2, 15. ])
    """
    half = np.maximum(np.asarray(samples, np.float64), 1e-3) / 2
    return np.asarray(half * np.log1p(np.asarray(evidence, np.float64) / half))
