"""Codes: monotone, one for each frequent value, and never a silent 0 for a missing or invalid value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import BINS, MAX_DISTINCT, Categories, Grid, Special, quantiles

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LARGEST, SMALLEST = np.finfo(float).max, 5e-324
# Few distinct values, so that samples have ties and atoms, or any floats at all.
SAMPLES = st.one_of(st.lists(st.integers(-3, 3).map(float), min_size=1), st.lists(FINITE, min_size=1))
GRIDS = st.builds(Grid.fit, SAMPLES, bins=st.integers(2, 8), max_distinct=st.integers(0, 6))


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def neighbours(value: float) -> tuple[float, float]:
    """The floats next to a value."""
    return math.nextafter(value, -math.inf), math.nextafter(value, math.inf)


@given(GRIDS, st.lists(FINITE, min_size=1))
def test_codes_are_monotone_in_the_value(grid: Grid, values: list[float]) -> None:
    codes = grid.encode(floats(*sorted(values)))
    assert (np.diff(codes) >= 0).all()
    assert codes.min() >= 0
    assert codes.max() < grid.size


@given(GRIDS, FINITE)
def test_a_code_is_the_number_of_cuts_below_the_value(grid: Grid, value: float) -> None:
    assert grid.encode(floats(value)).tolist() == [sum(cut < value for cut in grid.cuts)]


@given(GRIDS)
def test_absent_and_infinite_values_have_codes_of_their_own(grid: Grid) -> None:
    codes = grid.encode(floats(math.nan, -math.inf, math.inf))
    assert (codes - grid.size).tolist() == [Special.MISSING, Special.NEG_INF, Special.POS_INF]


def test_special_codes_are_six_and_distinct() -> None:
    assert sorted(Special) == list(range(6))


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_each_of_few_values_has_a_code_that_no_other_float_shares(sample: list[float]) -> None:
    grid = Grid.fit(sample)
    for value in sample:
        below, own, above = grid.encode(floats(neighbours(value)[0], value, neighbours(value)[1]))
        assert math.isinf(neighbours(value)[0]) or below < own
        assert math.isinf(neighbours(value)[1]) or own < above


def test_few_values_are_kept_up_to_the_limit_and_no_further() -> None:
    assert Grid.fit(np.arange(float(MAX_DISTINCT))).size == 2 * MAX_DISTINCT + 1
    assert Grid.fit(np.arange(MAX_DISTINCT + 1.0)).size == BINS


@pytest.mark.parametrize("atom", [0.0, -1.5, 7.0, 1e300])
def test_a_frequent_value_among_continuous_ones_keeps_a_code_of_its_own(atom: float) -> None:
    """Zero-inflated amounts: in a quantile bin with its neighbours, vanishing zeros would go unnoticed."""
    rng = np.random.default_rng(1)
    sample = np.where(rng.random(10_000) < 2 / BINS, atom, rng.normal(size=10_000))
    grid = Grid.fit(sample)
    below, own, above = grid.encode(floats(neighbours(atom)[0], atom, neighbours(atom)[1]))
    assert below < own < above


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(0, 30))
def test_no_code_but_an_atom_holds_more_than_two_bins_of_the_sample(seed: int, bins: int, spikes: int) -> None:
    """A bin ends with all copies of its last value, which, being no atom, are at most one bin more."""
    rng = np.random.default_rng(seed)
    sample = np.concatenate([rng.normal(size=400), rng.integers(-2, 2, 5 * spikes)])
    grid = Grid.fit(sample, bins, max_distinct=10)
    codes = grid.encode(sample)
    for code in np.unique(codes):
        held = sample[codes == code]
        assert len(np.unique(held)) == 1 or len(held) <= 2 * len(sample) / bins + 1


@given(st.integers(0, 2**32 - 1), st.integers(2, 100), st.floats(0.1, 3.0))
def test_bins_bound_the_number_of_codes(seed: int, bins: int, coarseness: float) -> None:
    """Each of the at most `bins - 1` atoms is one of the `bins - 1` quantiles, and needs one cut more."""
    sample = np.round(np.random.default_rng(seed).lognormal(size=2000) / coarseness, 2) * coarseness
    assert Grid.fit(sample, bins, max_distinct=5).size <= 2 * bins


@pytest.mark.parametrize("values", [[LARGEST, -LARGEST], [SMALLEST, -SMALLEST, 0.0], [LARGEST] * 9 + [-1.0]])
@pytest.mark.parametrize("max_distinct", [0, 256])
def test_extreme_floats_have_codes_too(values: list[float], max_distinct: int) -> None:
    """Interpolating between them overflows: numpy's quantiles of the first sample are NaN."""
    grid = Grid.fit(values * 40, bins=4, max_distinct=max_distinct)
    codes = grid.encode(floats(*sorted(set(values))))
    assert len(set(codes)) == len(set(values))


def test_zero_and_minus_zero_are_one_value() -> None:
    grid = Grid.fit([0.0, 1.0])
    assert len(set(grid.encode(floats(0.0, -0.0)))) == 1
    assert Categories((0.0,)).encode(floats(-0.0)).tolist() == [0]


@pytest.mark.parametrize("sample", [[], [math.nan], [math.inf, -math.inf]])
def test_a_sample_without_finite_values_gives_one_code_for_all(sample: list[float]) -> None:
    grid = Grid.fit(sample)
    assert grid.size == 1
    assert grid.encode(floats(-LARGEST, 0.0, math.nan)).tolist() == [0, 0, 1 + Special.MISSING]


@given(st.lists(FINITE, min_size=1, max_size=50), st.integers(1, 20))
def test_quantiles_are_the_least_values_that_a_share_does_not_exceed(sample: list[float], parts: int) -> None:
    shares = np.arange(1, parts + 1) / parts
    for share, value in zip(shares, quantiles(np.array(sample), shares), strict=True):
        assert value in sample
        assert sum(each <= value for each in sample) >= share * len(sample) - 1e-9
        assert sum(each < value for each in sample) < share * len(sample) + 1e-9


@pytest.mark.parametrize("cuts", [[1.0, 1.0], [2.0, 1.0], [math.nan], [0.0, math.inf], [[1.0]]])
def test_cuts_that_do_not_ascend_are_refused(cuts: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and strictly ascending"):
        Grid(np.array(cuts))


@pytest.mark.parametrize("bins", [1, 0, -4])
def test_fewer_than_two_bins_are_refused(bins: int) -> None:
    with pytest.raises(ValueError, match="bins must be at least 2"):
        Grid.fit([1.0, 2.0], bins)


@given(st.lists(st.text(), unique=True, min_size=1), st.text())
def test_known_categories_have_codes_in_order_and_others_are_unseen(known: list[str], other: str) -> None:
    categories = Categories(tuple(known))
    assert categories.encode(known).tolist() == list(range(len(known)))
    expected = known.index(other) if other in known else categories.size + Special.UNSEEN
    assert categories.encode([other, None]).tolist() == [expected, categories.size + Special.MISSING]


def test_a_constant_number_has_one_code_and_special_ones() -> None:
    codes = Categories((2.5,)).encode(floats(2.5, 2.500001, math.nan, -math.inf, math.inf))
    unseen, *special = (code - 1 for code in codes[1:].tolist())
    assert codes[0] == 0
    assert [unseen, *special] == [Special.UNSEEN, Special.MISSING, Special.NEG_INF, Special.POS_INF]


@pytest.mark.parametrize("values", [(), ("a", "a")])
def test_no_or_double_categories_are_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="distinct, and at least one"):
        Categories(values)
