"""Counts of events in clumps: the bound holds, is Poisson's without clumps, and gives way with dispersion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftline.detectors.statistics.clumps import clumped_evidence, g_evidence

COUNTS = np.array([0, 1, 3, 10, 40, 200])


def test_without_clumps_it_is_the_bound_of_a_poisson_count() -> None:
    k, expected = COUNTS[1:], 12.0
    assert clumped_evidence(k, expected, 1.0) == pytest.approx(k * np.log(k / expected) - k + expected, abs=1e-6)
    assert clumped_evidence(0, expected, 1.0) == pytest.approx(expected)


@pytest.mark.parametrize("dispersion", [1.0, 3.0, 20.0])
def test_a_tail_is_never_more_probable_than_it_says(dispersion: float) -> None:
    rng, size, expected = np.random.default_rng(4), (dispersion + 1) / 2, 15.0
    clumps = rng.poisson(expected / size, 200_000)
    counts = clumps + np.where(clumps > 0, rng.negative_binomial(np.maximum(clumps, 1), 1 / size), 0)
    assert counts.var() == pytest.approx(dispersion * expected, rel=0.03)
    for k in np.quantile(counts, [0.01, 0.1, 0.9, 0.99, 0.9999]):
        beyond = (counts >= k).mean() if k > expected else (counts <= k).mean()
        assert -np.log(beyond) >= clumped_evidence(k, expected, dispersion) - 0.5 / np.sqrt(beyond * 200_000)


@given(st.integers(0, 10**7), st.floats(0, 1e7), st.floats(1, 1e5))
def test_evidence_is_finite_and_falls_with_dispersion(k: int, expected: float, dispersion: float) -> None:
    evidence = clumped_evidence(k, expected, [dispersion, 2 * dispersion])
    assert np.isfinite(evidence).all()
    assert evidence[1] <= evidence[0] * (1 + 1e-6) + 1e-6


def test_g_evidence_is_half_of_scipys_g_for_rare_events() -> None:
    for k, k_ref in ((3, 40), (20, 5), (7, 70)):
        table = [[k, k_ref], [10**7 - k, 10**8 - k_ref]]
        g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
        assert g_evidence(k, 10**7, k_ref, 10**8) == pytest.approx(g / 2, rel=1e-4)
    assert g_evidence([0, 5], 100, [0, 50], 1000) == pytest.approx([0, 0], abs=1e-9)
