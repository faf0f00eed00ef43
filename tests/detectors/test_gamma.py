"""Logarithms of gamma functions, against scipy's where it has digits and against exact sums where it has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from driftline.detectors.statistics.gamma import log_gamma, log_upper_gamma


def test_log_gamma_is_scipys() -> None:
    x = np.concatenate([np.geomspace(1e-3, 1e12, 3000), np.arange(1, 400) / 2])
    assert log_gamma(x) == pytest.approx(special.gammaln(x), rel=1e-14, abs=1e-12)


@pytest.mark.parametrize("a", [0.5, 1, 1.5, 7, 50.5, 128, 1000])
def test_log_upper_gamma_is_scipys_from_the_lower_tail_to_the_upper(a: float) -> None:
    x = a * np.concatenate([np.linspace(0, 3, 301), [10, 30]])
    upper, lower = special.gammaincc(a, x), special.gammainc(a, x)
    normal = (upper > 1e-290) & (upper < 0.9)
    assert np.exp(log_upper_gamma(a, x[normal]) - np.log(upper[normal])) == pytest.approx(1, rel=1e-10)
    near_one = (upper >= 0.9) & (lower > 1e-290)
    assert -np.expm1(log_upper_gamma(a, x[near_one])) == pytest.approx(lower[near_one], rel=1e-10)


@pytest.mark.parametrize("a", [1, 2, 5, 40])
@pytest.mark.parametrize("x", [1e3, 1e6, 1e12])
def test_log_upper_gamma_where_scipy_underflows(a: int, x: float) -> None:
    """For a whole number a, Q(a, x) is the Poisson sum exp(-x) Σ x^k/k! over k < a."""
    log_terms = np.array([k * math.log(x) - math.lgamma(k + 1) for k in range(a)])
    assert log_upper_gamma(a, x) == pytest.approx(np.logaddexp.reduce(log_terms) - x, rel=1e-13)


def test_shapes_broadcast_and_may_be_empty() -> None:
    assert log_upper_gamma(np.ones((3, 1)), np.zeros(4)).tolist() == [[0.0] * 4] * 3
    assert log_upper_gamma(np.ones(0), 1.0).shape == (0,)
