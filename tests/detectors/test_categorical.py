"""Tests on categories: scipy's chi-square where cells are frequent, an exact bound where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from driftline.detectors.statistics.categorical import (
    categorical_evidence,
    chi2_evidence,
    chi2_statistic,
    rare_evidence,
    rate_evidence,
)

FREQUENT = st.lists(st.tuples(st.integers(12, 200), st.integers(12, 900)), min_size=2, max_size=12)


@given(FREQUENT)
def test_frequent_cells_give_scipys_chi_square(cells: list[tuple[int, int]]) -> None:
    table = np.array(cells).T
    expected = stats.chi2_contingency(table, correction=False)
    assume(expected.expected_freq.min() >= 5)
    stat, dof = chi2_statistic(table[:1], table[1])
    assert stat[0, 0] == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert dof[0, 0] == expected.dof


def test_rare_cells_are_pooled_into_one() -> None:
    window, reference = np.array([[60, 30, 3, 4, 3]]), np.array([500, 400, 30, 40, 30])
    stat, dof = chi2_statistic(window, reference)
    pooled = stats.chi2_contingency([[60, 30, 10], [500, 400, 100]], correction=False)
    assert (stat[0, 0], dof[0, 0]) == (pytest.approx(pooled.statistic), pooled.dof)


def test_a_rest_that_is_still_rare_is_tested_by_its_rate_alone() -> None:
    """One event of a category new to the baseline: X² would be 1000, yet the chance of such an event is 1 in 1001."""
    window, reference = np.array([[60, 39, 1]]), np.array([60_000, 40_000, 0])
    stat, dof = chi2_statistic(window, reference)
    alone = stats.chi2_contingency([[60, 39], [60_000, 40_000]], correction=False)
    assert (stat[0, 0], dof[0, 0]) == (pytest.approx(alone.statistic), alone.dof)
    assert rare_evidence(window, reference)[0, 0] == pytest.approx(math.log(1001 / 2))


def test_a_rare_category_that_takes_over_is_seen() -> None:
    """Its expected count is 0.04, so chi-square has only one cell left and says nothing."""
    window, reference = np.array([[60, 40]]), np.array([99_999, 1])
    assert chi2_statistic(window, reference)[1].tolist() == [[0]]
    assert categorical_evidence(window, reference)[0, 0] > 200


def test_signals_back_to_back_and_a_reference_for_each_window() -> None:
    rng = np.random.default_rng(1)
    starts = np.array([0, 1, 5, 17])
    window, reference = rng.poisson(rng.gamma(0.5, 20, 40), (6, 40)), rng.poisson(rng.gamma(0.5, 60, 40), (6, 40))
    whole = np.stack([*chi2_statistic(window, reference, starts), categorical_evidence(window, reference, starts)])
    for s, columns in enumerate(np.split(np.arange(40), starts[1:])):
        sides = window[:, columns], reference[:, columns]
        alone = np.stack([*chi2_statistic(*sides), categorical_evidence(*sides)])
        assert np.array_equal(whole[:, :, s], alone[:, :, 0])
    assert np.array_equal(categorical_evidence(window, reference[3], starts)[3], whole[2, 3])


@pytest.mark.parametrize(("window", "reference"), [([0, 0], [30, 40]), ([30, 40], [0, 0]), ([0, 0], [0, 0])])
def test_an_empty_side_is_no_evidence(window: list[int], reference: list[int]) -> None:
    sides = np.array([window]), np.array(reference)
    assert [each.tolist() for each in chi2_statistic(*sides)] == [[[0.0]], [[0]]]
    assert categorical_evidence(*sides).tolist() == [[0.0]]


def test_equal_shares_are_no_evidence() -> None:
    window = np.array([[30, 60, 10, 1]])
    assert categorical_evidence(window, 7 * window[0]).tolist() == [[0.0]]


def test_chi2_evidence_is_scipys_far_into_the_tail() -> None:
    dof = np.arange(1, 601)[:, None]
    stat = dof * np.geomspace(1e-3, 100, 60)
    expected = -stats.chi2.logsf(stat, dof)
    normal = (expected > 1e-250) & (expected < 600)
    assert chi2_evidence(stat, dof)[normal] == pytest.approx(expected[normal], rel=1e-9)
    assert chi2_evidence(1e9, 2) == pytest.approx(5e8, rel=1e-12)
    assert chi2_evidence([0.0, 3.0], [3, 0]).tolist() == [0.0, 0.0]


def test_false_alarms_of_frequent_categories_are_as_rare_as_the_evidence_says() -> None:
    rng = np.random.default_rng(3)
    runs, shares = 20_000, np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    window, reference = rng.multinomial(300, shares, runs), rng.multinomial(2000, shares, runs)
    evidence = chi2_evidence(*chi2_statistic(window, reference))
    for nats in (1, 2, 3, 4, 5):
        expected = runs * math.exp(-nats)
        assert (evidence >= nats).sum() == pytest.approx(expected, abs=4 * math.sqrt(expected))


def test_false_alarms_among_hundreds_of_rare_categories() -> None:
    """A long tail, shares as 1/rank: unpooled, chi-square finds p < e^-7 nearly 50 times as often as that."""
    rng = np.random.default_rng(4)
    shares = 1 / np.arange(1, 401)
    shares /= shares.sum()
    window, reference = rng.multinomial(200, shares, 4000), rng.multinomial(20_000, shares, 4000)
    evidence = categorical_evidence(window, reference)
    for nats in (2, 3, 5, 7):
        expected = 4000 * math.exp(-nats)
        assert (evidence >= nats).sum() < expected + 4 * math.sqrt(expected)


def sizes() -> list[tuple[int, int]]:
    return [(n, m) for n in (1, 2, 3, 5, 8, 13, 25) for m in (1, 2, 4, 9, 25, 60, 300)]


@pytest.mark.parametrize(("n", "m"), sizes())
def test_rate_evidence_is_a_bound_for_every_count(n: int, m: int) -> None:
    """P(evidence >= x) <= exp(-x) given the total, by listing all outcomes; hence also whatever the common rate."""
    for total in range(n + m + 1):
        k = np.arange(max(0, total - m), min(n, total) + 1)
        chance = stats.hypergeom.pmf(k, n + m, total, n)
        evidence = rate_evidence(k, n, total - k, m)
        for x in evidence[evidence > 0]:
            assert chance[evidence >= x - 1e-9].sum() <= math.exp(-x) * (1 + 1e-8)


def test_rate_evidence_loses_little_against_fishers_exact_test() -> None:
    for n, m, total in [(100, 100_000, 40), (1000, 1000, 60), (1000, 1000, 1000), (50, 200, 50)]:
        distribution = stats.hypergeom(n + m, total, n)
        k = np.arange(max(0, total - m), min(n, total) + 1)
        tail = np.minimum(distribution.sf(k - 1), distribution.cdf(k))
        far = (np.abs(k - distribution.mean()) > 2 * distribution.std()) & (tail > 1e-200)
        loss = -np.log(2 * tail[far]) - rate_evidence(k, n, total - k, m)[far]
        assert -1e-6 < loss.min() <= loss.max() < 0.2


def test_rate_evidence_is_the_same_if_the_sides_are_exchanged() -> None:
    rng = np.random.default_rng(5)
    n, m = rng.integers(1, 500, (2, 300))
    k, k_ref = rng.integers(0, n + 1), rng.integers(0, m + 1)
    assert rate_evidence(k, n, k_ref, m) == pytest.approx(rate_evidence(k_ref, m, k, n), abs=1e-9)
    assert rate_evidence(n - k, n, m - k_ref, m) == pytest.approx(rate_evidence(k, n, k_ref, m), abs=1e-9)


def test_rate_evidence_is_zero_or_finite_at_the_ends() -> None:
    assert rate_evidence([0, 0, 5, 0], [0, 5, 5, 10**9], [0, 0, 7, 0], [9, 9, 7, 10**9]).tolist() == [0.0] * 4
    all_against_none = rate_evidence(10**6, 10**6, 0, 10**6)
    assert all_against_none == pytest.approx(2e6 * math.log(2), rel=1e-4)


@pytest.mark.parametrize("min_expected", [0.0, -1.0, math.nan])
def test_min_expected_must_be_positive(min_expected: float) -> None:
    for test in (chi2_statistic, rare_evidence, categorical_evidence):
        with pytest.raises(ValueError, match="min_expected"):
            test(np.array([[1, 2]]), np.array([1, 2]), min_expected=min_expected)
