"""Evidence that a count is not what was expected, where events come in clumps.

A pipeline that fails loses all values of a minute; so missing values, and rare codes in general, are not independent.
Clumps come as a Poisson process and have geometric sizes (Pólya-Aeppli), so that of E expected events the variance is
φE, φ the dispersion. With φ = 1 every event comes alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray

# Least expectation, where logarithms are finite and no evidence comes of it.
_TINY = 1e-9


def clumped_evidence(count: npt.ArrayLike, expected: npt.ArrayLike, dispersion: npt.ArrayLike) -> FloatArray:
    """-ln of Chernoff's bound in nats, at least 0, of a tail beyond `count`; all broadcast, dispersion >= 1.

    It holds on either side for itself. At dispersion 1 it is Poisson's: k ln(k / E) - k + E.

    >>> clumped_evidence([0, 3, 12, 12], [3, 3, 3, 3], [1, 1, 1, 5]).round(2)
    array([3.  , 0.  , 7.64, 1.21])
    """
    k, e, phi = (np.maximum(each, _TINY) for each in np.broadcast_arrays(count, expected, dispersion))
    size = (phi + 1) / 2
    clumps, ends = e / size, e / size**2
    # k is expected at the tilt y = k z² / ends of clumps, k (1 - 1/size) z² + ends z - ends = 0. Solved for z and not
    # for y, which comes so near to its limit that nothing would be left of the difference.
    z = 2 / (1 + np.sqrt(1 + 4 * k * (1 - 1 / size) / ends))
    evidence = k * np.log(k * z * z / ends) - k * z + clumps
    return np.asarray(np.maximum(evidence, 0.0))


def g_evidence(k: npt.ArrayLike, n: npt.ArrayLike, k_ref: npt.ArrayLike, n_ref: npt.ArrayLike) -> FloatArray:
    """Exponent in nats, at least 0, of k of n and k_ref of n_ref events having one rate; all broadcast, k_ref may be 0.

    It is half of the G statistic of two Poisson counts. Unlike `rate_evidence` it is no bound for small counts.
    """
    k, n, k_ref, n_ref = np.broadcast_arrays(*(np.asarray(each, float) for each in (k, n, k_ref, n_ref)))
    rate = np.maximum(k + k_ref, _TINY) / (n + n_ref)
    parts = (each * np.log(np.maximum(each, _TINY) / (of * rate)) for each, of in ((k, n), (k_ref, n_ref)))
    return np.asarray(np.maximum(sum(parts), 0.0))
