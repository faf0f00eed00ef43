"""How much has changed, as a share: against the Kolmogorov-Smirnov distance, and a second way to count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.moved import Moved

SIZE, SPECIAL = 5, 2
COUNTS = st.lists(st.integers(0, 30), min_size=SIZE + SPECIAL, max_size=SIZE + SPECIAL)


def moved(new: list[int], old: list[int]) -> Moved:
    return Moved(np.array([new]), np.array([old]), SIZE)


def shares(counts: list[int]) -> list[float]:
    return [each / max(sum(counts), 1) for each in counts]


@given(COUNTS, COUNTS)
def test_the_distance_is_that_of_kolmogorov_and_smirnov_and_of_regular_values_alone(
    new: list[int], old: list[int]
) -> None:
    values = [np.repeat(np.arange(SIZE), each[:SIZE]) for each in (new, old)]
    found = moved(new, old).distance()[0]
    assert found == pytest.approx(ks_2samp(*values).statistic if all(map(len, values)) else 0.0)


@given(COUNTS, COUNTS)
def test_the_share_of_a_value_is_one_of_regular_values_and_that_of_a_special_code_one_of_all_events(
    new: list[int], old: list[int]
) -> None:
    each = moved(new, old)
    pairs = [*zip(shares(new[:SIZE]), shares(old[:SIZE]), strict=True)]
    both = sum(new[:SIZE]) and sum(old[:SIZE])
    assert each.value()[0] == pytest.approx(max(abs(a - b) for a, b in pairs) if both else 0.0)
    for code in range(SPECIAL):
        assert each.code(code)[0] == pytest.approx(abs(shares(new)[SIZE + code] - shares(old)[SIZE + code]))


@given(COUNTS, COUNTS, st.integers(1, 1000))
def test_expected_counts_of_any_scale_are_as_good_as_counts(new: list[int], old: list[int], scale: int) -> None:
    one, other = moved(new, old), Moved(np.array([new]), np.array([old]) * scale / 7, SIZE)
    assert one.distance() == pytest.approx(other.distance())
    assert one.code(1) == pytest.approx(other.code(1))


def test_values_of_one_bin_are_one_share() -> None:
    known = np.array([10, 10, 980, 0, 0])
    # The first two codes are one bin of 2 %.
    found = Moved(np.array([[30, 30, 940, 0, 0, 0, 0]]), np.array([[10, 10, 980, 0, 0, 0, 0]]), SIZE)
    assert found.bin(Bins(known))[0] == pytest.approx(0.04)
    assert found.value()[0] == pytest.approx(0.04)


def test_a_shift_of_a_normal_signal_by_a_tenth_of_a_sigma_has_a_distance_of_four_points() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(1_000_000)
    cuts = np.linspace(-3, 3, 61)
    old, new = (np.bincount(np.searchsorted(cuts, each), minlength=62)[None] for each in (values, values + 0.1))
    assert Moved(new, old, 62).distance()[0] == pytest.approx(0.04, abs=0.001)
