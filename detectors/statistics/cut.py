"""ADWIN's test of a cut: evidence that two neighbouring windows have different means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray


def cut_evidence(
    n0: npt.ArrayLike, mean0: npt.ArrayLike, n1: npt.ArrayLike, mean1: npt.ArrayLike, variance: npt.ArrayLike
) -> FloatArray:
    """The nats that speak against one mean on both sides of a cut: the d at which |mean0 - mean1| equals ADWIN's eps.

    Sizes are counts of values, means in [0, 1], `variance` that of the whole window; all broadcast to the shape of the
    result, which is finite, never negative, and 0 where a side is empty. eps = g := |mean0 - mean1| is a quadratic
    equation in sqrt(d), with the root

        sqrt(d) = 2g / (sqrt(2/m * var) + sqrt(2/m * var + 8/(3m) * g)).

    >>> cut_evidence([500, 500, 0], [0.5, 0.5, 0.0], 500, [0.5, 0.6, 0.6], 1 / 12).round(1)
    array([0. , 8.8, 0. ])
    """
    with np.errstate(all="ignore"):
        gap = np.abs(np.subtract(mean0, mean1))
        inverse_m = np.divide(1.0, n0) + np.divide(1.0, n1)
        # A variance computed as a difference may come out a rounding error below 0.
        noise = 2.0 * inverse_m * np.maximum(variance, 0.0)
        root = 2.0 * gap / (np.sqrt(noise) + np.sqrt(noise + 8.0 / 3.0 * inverse_m * gap))
        evidence = np.minimum(root * root, np.finfo(np.float64).max)
    # False for NaN too, which is 0 / 0: equal means without any variance.
    return np.where((np.minimum(n0, n1) > 0) & (evidence > 0.0), evidence, 0.0)
