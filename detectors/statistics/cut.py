"""ADWIN's test of a cut: evidence that two adjacent windows have different means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray


def cut_evidence(
    n0: npt.ArrayLike, mean0: npt.ArrayLike, n1: npt.ArrayLike, mean1: npt.ArrayLike, variance: npt.ArrayLike
) -> FloatArray:
    """Evidence in nats against equal means on both sides of a cut: the d for which ADWIN's eps equals |mean0 - mean1|.

    n0, n1: number of values. mean0, mean1: in [0, 1]. variance: of the whole window. All broadcast to the shape of the
    result, which is finite, never negative, and 0 where a side is empty. The equation eps = g := |mean0 - mean1| is
    quadratic in sqrt(d) and has the root

        sqrt(d) = 2g / (sqrt(2/m * var) + sqrt(2/m * var + 8/(3m) * g)).

    >>> cut_evidence([500, 500, 0], [0.5, 0.5, 0.0], 500, [0.5, 0.6, 0.6], 1 / 12).round(1)
    array([0. , 8.8, 0. ])
    """
    with np.errstate(all="ignore"):
        gap = np.abs(np.subtract(mean0, mean1))
        inverse_m = np.divide(1.0, n0) + np.divide(1.0, n1)
        # A variance computed as a difference may be below 0 by a rounding error.
        noise = 2.0 * inverse_m * np.maximum(variance, 0.0)
        root = 2.0 * gap / (np.sqrt(noise) + np.sqrt(noise + 8.0 / 3.0 * inverse_m * gap))
        evidence = np.minimum(root * root, np.finfo(np.float64).max)
    # False for NaN, too, which is 0 / 0: equal means and no variance.
    return np.where((np.minimum(n0, n1) > 0) & (evidence > 0.0), evidence, 0.0)
