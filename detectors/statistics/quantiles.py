"""Quantiles far out in the tail, where a variance is known from few values."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray


def normal_quantile(p: float) -> float:
    """The z that a standard normal value exceeds with probability p in (0, 1)."""
    return -NormalDist().inv_cdf(p)


def student_quantile(p: float, dof: npt.ArrayLike) -> FloatArray:
    """The t that a value of Student's distribution with `dof` >= 3 degrees of freedom exceeds with probability p.

    Relative error below 0.1 % for p from 1e-12 to 0.1 (Hill, "Algorithm 396", Commun. ACM 13, 1970, by its expansion
    in p near the tail, else about the normal quantile).
    """
    n = np.asarray(dof, float)
    a = 1 / (n - 0.5)
    b = (48 / a) / a
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * np.sqrt(a * math.pi / 2) * n
    y = (2 * p * d) ** (2 / n)
    x = -normal_quantile(p)
    near = x * x
    c = c + np.where(n < 5, 0.3 * (n - 4.5) * (x + 0.6), 0.0)
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
    near = np.expm1(a * (((((0.4 * near + 6.3) * near + 36) * near + 94.5) / c - near - 3) / b + 1) ** 2 * x * x)
    far = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2)
    return np.asarray(np.sqrt(n * np.where(y > 0.05 + a, near, far + 1 / y)))


def chi2_quantile(p: float, dof: npt.ArrayLike) -> FloatArray:
    """What a chi-square value with `dof` >= 1 degrees of freedom exceeds with probability p, to some percent.

    Wilson & Hilferty, Proc. Natl. Acad. Sci. 17, 1931: its cube root is nearly normal.
    """
    n = np.maximum(np.asarray(dof, float), 1.0)
    return np.asarray(n * (1 - 2 / (9 * n) + normal_quantile(p) * np.sqrt(2 / (9 * n))) ** 3)
