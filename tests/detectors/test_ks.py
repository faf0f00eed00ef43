"""The two-sample Kolmogorov-Smirnov test: scipy's statistic to the last bit, its p-values, and a bound that holds."""

from __future__ import annotations

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special, stats

from driftline.detectors.arrays import IntArray
from driftline.detectors.statistics.ks import ks_evidence, ks_statistic
from driftline.detectors.statistics.ks_pvalue import ks_pvalue

TIED = st.lists(st.integers(-4, 4), min_size=1, max_size=40)


def prefix_counts(values: list[int], codes: list[int]) -> IntArray:
    """Row i: how often each code occurs among the first i + 1 values."""
    return np.cumsum(np.array(values)[:, None] == np.array(codes), axis=0)


def scipy_statistic(a: list[int], b: list[int]) -> float:
    """Its warnings are about the p-value of the smallest samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ks_2samp(a, b, method="asymp").statistic)


@given(TIED, TIED)
def test_at_every_prefix_the_statistic_is_scipys_to_the_last_bit(values: list[int], baseline: list[int]) -> None:
    codes = sorted({*values, *baseline})
    d, n, m = ks_statistic(prefix_counts(values, codes), prefix_counts(baseline, codes)[-1])
    ends = range(1, len(values) + 1)
    assert d[:, 0].tolist() == [scipy_statistic(values[:end], baseline) for end in ends]
    assert n[:, 0].tolist() == list(ends)
    assert m.tolist() == [len(baseline)]


def test_signals_back_to_back_and_a_reference_for_each_window() -> None:
    rng = np.random.default_rng(1)
    starts = np.array([0, 1, 5, 17])
    window, reference = rng.integers(0, 9, (6, 40)), rng.integers(0, 9, (6, 40))
    d, n, m = ks_statistic(window, reference, starts)
    for s, columns in enumerate(np.split(np.arange(40), starts[1:])):
        for row in range(6):
            alone = ks_statistic(window[row : row + 1, columns], reference[row, columns])
            assert (d[row, s], n[row, s], m[row, s]) == (alone[0][0, 0], alone[1][0, 0], alone[2][0])
    assert np.array_equal(ks_statistic(window, reference[2], starts)[0][2], d[2])


@pytest.mark.parametrize(("window", "reference"), [([0, 0], [3, 4]), ([3, 4], [0, 0]), ([0, 0], [0, 0])])
def test_an_empty_side_is_no_distance_and_no_evidence(window: list[int], reference: list[int]) -> None:
    d, n, m = ks_statistic(np.array([window]), np.array(reference))
    assert d.tolist() == [[0.0]]
    assert ks_evidence(d, n, m).tolist() == [[0.0]]


def test_coarser_codes_never_show_more() -> None:
    rng = np.random.default_rng(2)
    window, reference = rng.integers(0, 5, (200, 64)), rng.integers(0, 5, (200, 64))
    fine, _, _ = ks_statistic(window, reference)
    coarse, _, _ = ks_statistic(window.reshape(200, 16, 4).sum(2), reference.reshape(200, 16, 4).sum(2))
    assert (coarse <= fine).all()
    assert (coarse < fine).any()


def attainable(n: int, m: int) -> list[float]:
    """Values of D > 0 for two samples without ties."""
    return [step / math.lcm(n, m) for step in range(1, math.lcm(n, m) + 1)]


def test_evidence_bounds_the_exact_p_value_but_for_the_known_pairs() -> None:
    """p <= 2 exp(-2t²), as Wei & Dudley found: exceeded for n = m < 458 and three more pairs, at most e/2 times."""
    small = [(n, m) for n in range(1, 14) for m in range(n, 18)]
    exceeded = {}
    for n, m in [*small, (457, 457), (458, 458)]:
        d = np.array(attainable(n, m)[:50])
        p = np.array([ks_pvalue(each, n, m, "exact") for each in d])
        exceeded[n, m] = (p * np.exp(ks_evidence(d, n, m))).max()
    known = {(n, n) for n in [*range(1, 14), 457]} | {(1, 2), (1, 3), (2, 3)}
    assert {pair for pair, factor in exceeded.items() if factor > 1 + 1e-9} == known
    assert max(exceeded.values()) == pytest.approx(math.e / 2)


def test_evidence_is_the_logarithm_of_kolmogorovs_limit() -> None:
    t = np.linspace(1.5, 15, 50)
    n = 10**8
    evidence = ks_evidence(t / math.sqrt(n / 2), n, n)
    assert evidence == pytest.approx(-np.log(special.kolmogorov(t)), rel=1e-6)


def test_evidence_in_tails_beyond_any_float() -> None:
    assert ks_evidence(1.0, 10**9, 10**9) == pytest.approx(10**9 - math.log(2))
    assert ks_evidence(0.01, 10**9, 10**9) == pytest.approx(10**5 - math.log(2))


def test_false_alarms_are_as_rare_as_the_evidence_says() -> None:
    rng = np.random.default_rng(3)
    runs, bins = 20_000, 256
    window, reference = rng.multinomial(200, [1 / bins] * bins, runs), rng.multinomial(900, [1 / bins] * bins, runs)
    evidence = ks_evidence(*ks_statistic(window, reference))
    for nats in (1, 2, 3, 4, 5):
        expected = runs * math.exp(-nats)
        assert expected / 3 < (evidence >= nats).sum() < expected + 3 * math.sqrt(expected)


@given(TIED, TIED)
def test_exact_p_values_are_scipys(a: list[int], b: list[int]) -> None:
    with warnings.catch_warnings(record=True) as gave_up:
        warnings.simplefilter("always")
        found = stats.ks_2samp(a, b, method="exact")
    assume(not gave_up)  # where its own sum rounds to more than 1, scipy falls back on the asymptotic value
    assert ks_pvalue(found.statistic, len(a), len(b), "exact") == pytest.approx(found.pvalue, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (4, 4), (3, 7), (5, 6)])
def test_exact_p_values_by_listing_every_order(n: int, m: int) -> None:
    distances = []
    for places in combinations(range(n + m), n):
        is_first = np.isin(np.arange(n + m), places)
        distances.append(np.abs(np.cumsum(is_first) / n - np.cumsum(~is_first) / m).max())
    for d in attainable(n, m):
        share = np.mean(np.array(distances) >= d - 1e-12)
        assert ks_pvalue(d, n, m, "exact") == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 100, 140, 141, 200, 1000, 10_000, 200_000])
def test_asymptotic_p_values_are_scipys(n: int) -> None:
    """With m so large that the effective size is n, over the range where scipy's result is a normal float."""
    for d in np.concatenate([np.geomspace(0.3 / n, 1, 20), [1 / n, 0.5]]).clip(0, 1):
        expected = stats.kstwo.sf(d, n)
        if expected > 1e-290:
            assert ks_pvalue(d, n, 10**15, "asymp") == pytest.approx(expected, rel=2e-9)


def test_auto_is_exact_up_to_10_000_events_and_asymptotic_above() -> None:
    for n, m, method in [(50, 10_000, "exact"), (50, 10_001, "asymp"), (10_001, 50, "asymp")]:
        assert ks_pvalue(0.2, n, m) == ks_pvalue(0.2, n, m, method)  # type: ignore[arg-type]
    assert ks_pvalue(0.2, 50, 10_000) == pytest.approx(ks_pvalue(0.2, 50, 10_001), rel=0.05)
    assert ks_pvalue(0.2, 50, 10_000) != ks_pvalue(0.2, 50, 10_001)


@pytest.mark.parametrize("method", ["exact", "asymp"])
def test_the_ends_of_the_range(method: str) -> None:
    for d in (0.0, 1e-300):
        assert ks_pvalue(d, 30, 40, method) == ks_pvalue(d, 10**6, 500_000, method) == 1.0  # type: ignore[arg-type]
    assert ks_pvalue(1.0, 30, 40, method) < 1e-19  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((0.5, 0, 3), "n and m"), ((1.5, 2, 3), "d must"), ((math.nan, 2, 3), "d must"), ((0.5, 2, 3, "fast"), "method")],
)
def test_wrong_arguments_are_named(arguments: tuple[float, int, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ks_pvalue(*arguments)
