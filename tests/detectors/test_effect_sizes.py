"""Effect sizes, against scipy and against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from driftline.detectors.statistics.effect_sizes import jensen_shannon, psi, wasserstein

PAIRS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=12).filter(
    lambda pairs: all(any(side) for side in zip(*pairs, strict=True))
)


@given(PAIRS)
def test_jensen_shannon_is_scipys_in_base_2(pairs: list[tuple[int, int]]) -> None:
    window, reference = np.array(pairs).T
    # The square root of a difference that rounds to 1e-16 or 0.
    assert jensen_shannon(window[None], reference)[0, 0] == pytest.approx(
        jensenshannon(window, reference, base=2), abs=1e-7
    )


@given(PAIRS, st.data())
def test_wasserstein_is_scipys(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    window, reference = np.array(pairs).T
    distance = st.floats(-1e6, 1e6)
    positions = np.sort(data.draw(st.lists(distance, min_size=len(pairs), max_size=len(pairs))))
    expected = stats.wasserstein_distance(positions, positions, window, reference)
    assert wasserstein(window[None], reference, positions)[0, 0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(PAIRS)
def test_psi_is_jeffreys_divergence_after_half_an_event_in_every_code(pairs: list[tuple[int, int]]) -> None:
    window, reference = np.array(pairs).T
    p, q = window + 0.5, reference + 0.5
    expected = stats.entropy(p, q) + stats.entropy(q, p)
    assert psi(window[None], reference)[0, 0] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_half_an_event_leaves_log_ratios_right_on_average() -> None:
    """The mean of ln((X + a) / λ), X a Poisson count of mean λ, is right at a = 1/2 alone."""
    x = np.arange(200)
    for mean in (5, 10, 40):
        chance = stats.poisson.pmf(x, mean)
        assert abs(chance @ np.log((x + 0.5) / mean)) < 0.25 / mean / 2
        assert abs(chance @ np.log((x + 0.25) / mean)) > 0.25 / mean
        assert abs(chance @ np.log((x + 1.0) / mean)) > 0.25 / mean


def test_signals_back_to_back_and_a_reference_for_each_window() -> None:
    rng = np.random.default_rng(1)
    starts = np.array([0, 1, 5, 17])
    window, reference = rng.integers(0, 4, (6, 40)), rng.integers(0, 9, (6, 40))
    positions = np.concatenate([np.sort(part) for part in np.split(rng.normal(size=40), starts[1:])])
    for s, columns in enumerate(np.split(np.arange(40), starts[1:])):
        own = window[:, columns], reference[:, columns]
        both = window, reference, starts
        for effect in (psi, jensen_shannon):
            assert np.allclose(effect(*both)[:, s], effect(*own)[:, 0], rtol=1e-12)
            assert np.array_equal(effect(window, reference[2], starts)[2], effect(*both)[2])
        alone = wasserstein(*own, positions[columns])
        assert np.allclose(wasserstein(window, reference, positions, starts)[:, s], alone[:, 0], rtol=1e-12)


@pytest.mark.parametrize(("window", "reference"), [([0, 0], [3, 4]), ([3, 4], [0, 0]), ([0, 0], [0, 0])])
def test_an_empty_side_has_no_effect(window: list[int], reference: list[int]) -> None:
    sides = np.array([window]), np.array(reference)
    assert psi(*sides) == jensen_shannon(*sides) == wasserstein(*sides, np.array([0.0, 9.0])) == 0.0


def test_disjoint_samples_have_the_largest_distance() -> None:
    sides = np.array([[10, 0, 0]]), np.array([0, 0, 30])
    assert jensen_shannon(*sides) == 1.0
    assert wasserstein(*sides, np.array([2.0, 3.0, 7.5])) == 5.5
    assert math.isfinite(psi(*sides)[0, 0])


def test_psi_without_a_change_has_the_size_of_chance() -> None:
    """About (K - 1)(1/n + 1/m): ten codes and 50 events already give 0.2, by convention a moderate drift."""
    rng = np.random.default_rng(2)
    window, reference = rng.multinomial(50, [0.1] * 10, 5000), rng.multinomial(5000, [0.1] * 10, 5000)
    assert psi(window, reference).mean() == pytest.approx(9 * (1 / 50 + 1 / 5000), rel=0.1)
