"""The variance of sums over windows: equal to its definition, to Newey-West, and large enough for dependent series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import lfilter

from driftline.detectors.statistics.long_run import autocovariances, error_of, long_run, window_lengths

LENGTHS = np.array([1, 2, 5, 11])
# `S_hac_simple(series - mean, nlags=w - 1) / 400` of statsmodels 0.15.0, for the series of the test.
NEWEY_WEST = [0.9939442545024576, 1.6907165036415517, 3.1545906095871135, 5.488742867260968]


def ar(rng: np.random.Generator, phi: float, n: int) -> np.ndarray:
    """AR(1) of variance 1."""
    noise = rng.standard_normal(n + 500) * np.sqrt(1 - phi * phi)
    return lfilter([1], [1, -phi], noise)[500:]


def without_error(series: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    found, n = long_run(series, lengths), len(series)
    return found.variance / (1 + error_of(found.lag, n)) / n * (n - 1)


def test_autocovariances_are_sums_of_products() -> None:
    series = np.random.default_rng(1).standard_normal((50, 3))
    centred = series - series.mean(0)
    expected = [(centred[k:] * centred[: 50 - k]).sum(0) / 50 for k in range(12)]
    assert autocovariances(series) == pytest.approx(np.array(expected))


def test_windows_up_to_the_lag_have_the_variance_of_newey_and_west() -> None:
    series = np.sin(np.arange(400.0) ** 1.3)[:, None] + np.cos(np.arange(400.0) / 9)[:, None]
    assert without_error(series, LENGTHS)[:, 0] == pytest.approx(NEWEY_WEST, rel=1e-9)


def test_the_variance_of_a_window_of_a_known_process_is_found() -> None:
    phi, lengths = 0.8, np.array([1, 4, 20, 100])
    series = np.column_stack([ar(np.random.default_rng(seed), phi, 20_000) for seed in range(8)])
    exact = [1 + 2 * sum((1 - k / w) * phi**k for k in range(1, w)) for w in lengths]
    assert without_error(series, lengths).mean(1) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_no_window_varies_more_than_is_said_but_for_chance(phi: float) -> None:
    short = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, int(10 * phi)])
        said = long_run(ar(rng, phi, 400)[:, None], np.array([30])).variance[0, 0]
        real = ar(rng, phi, 60_000).reshape(-1, 30).sum(1).var() / 30
        short += said < real
    # One standard error of a normal estimate: about one in six.
    assert short <= 14


def test_a_wander_that_does_not_end_is_said_to_be_one() -> None:
    rng = np.random.default_rng(2)
    assert long_run(np.cumsum(rng.standard_normal(400))[:, None]).short
    assert not long_run(rng.standard_normal((400, 1))).short


def test_series_of_one_family_share_the_lag_of_the_slowest() -> None:
    rng = np.random.default_rng(3)
    quick, slow = rng.standard_normal(2000), ar(rng, 0.9, 2000)
    assert long_run(quick[:, None]).lag == 0
    assert long_run(np.column_stack([quick, slow])).lag == long_run(slow[:, None]).lag > 5


@given(arrays(float, st.tuples(st.integers(2, 60), st.integers(1, 3)), elements=st.integers(-1000, 1000)))
def test_it_is_finite_rises_with_the_window_and_scales_with_the_series(series: np.ndarray) -> None:
    found = long_run(series)
    assert np.isfinite(found.variance).all()
    assert (found.variance >= 0).all()
    assert (np.diff(found.variance, axis=0) >= 0).all()
    again = long_run(series * 2.0)
    assert (again.lag, again.short) == (found.lag, found.short)
    assert again.variance == pytest.approx(4 * found.variance)


def test_lengths_are_a_quarter_apart() -> None:
    lengths = window_lengths(1000)
    assert (lengths[0], lengths[-1] <= 1000) == (1, True)
    assert (np.diff(lengths) <= np.maximum(lengths[:-1] // 4, 1)).all()
