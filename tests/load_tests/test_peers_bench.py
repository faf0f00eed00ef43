"""The optimum that detectors are compared with is the known one, and a drift is found by all that can find it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from load_tests.bench.detection import MODEL, RATE
from load_tests.bench.peers import DEFAULTS, DRIFTS, alarms, delays, limit, median, optimum


def test_the_optimum_crosses_as_often_as_the_formula_of_siegmund_says() -> None:
    """Siegmund 1985: the average run length of a CUSUM of normal values, with the correction of 1.166 for overshoot."""
    shift = 0.5
    h = limit("mean 0.5 σ") + 1.166 * shift
    run_length = (math.exp(h) - h - 1) / (shift * shift / 2)
    assert run_length == pytest.approx(MODEL / RATE, rel=0.6)


@pytest.mark.parametrize("drift", [name for name in DRIFTS if "one value" not in name])
def test_likelihood_ratios_are_those_of_densities(drift: str) -> None:
    quiet = np.random.default_rng(3).standard_normal(200_000)
    assert np.exp(DRIFTS[drift].ratio(quiet)).mean() == pytest.approx(1, abs=0.03)
    assert DRIFTS[drift].ratio(DRIFTS[drift].of(np.random.default_rng(4), quiet)).mean() > 0


def test_a_spike_has_no_optimum() -> None:
    assert optimum("5 % at one value", np.zeros(10)) is None


@pytest.mark.slow
def test_a_large_shift_is_found_by_all() -> None:
    found = delays("mean 1 σ", 0)
    assert all(each is not None and each <= 1500 for each in found.values()), found
    assert (found["optimum"] or 1500) < 100


def test_alarms_are_counted_where_they_are_raised() -> None:
    values = np.concatenate([np.zeros(500), np.ones(500)])
    assert all(500 < each < 700 for each in alarms(DEFAULTS["ADWIN"](), values))


def test_a_median_says_how_many_are_missed() -> None:
    assert median([100, 300, None]) == "300 (1 missed)"
    assert median([None, None]) == "– (2 missed)"
