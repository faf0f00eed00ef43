"""Quantiles agree with scipy's where thresholds need them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from driftline.detectors.statistics.quantiles import chi2_quantile, normal_quantile, student_quantile

DOF = np.array([3, 4, 5, 8, 10, 20, 52, 200, 1000])


@pytest.mark.parametrize("p", [0.1, 1e-3, 3e-6, 1e-12])
def test_students_quantiles_are_scipys(p: float) -> None:
    assert student_quantile(p, DOF) == pytest.approx(stats.t.isf(p, DOF), rel=1e-3)
    assert normal_quantile(p) == pytest.approx(stats.norm.isf(p), rel=1e-6)


@pytest.mark.parametrize("p", [0.05, 1e-3, 1e-5])
def test_chi_squares_quantiles_are_scipys_to_some_percent(p: float) -> None:
    assert chi2_quantile(p, DOF) == pytest.approx(stats.chi2.isf(p, DOF), rel=0.06)
