"""Evidence beyond a bound is a bound of the tail at every length, also where a normal interval is far off."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.outcomes.bounds import Areas, area_below, mean_above, share_below

NATS = (1.0, 2.0, 4.0, 6.0)


def by_label(rng: np.random.Generator, n: int, share: float, area: float, windows: int) -> IntArray:
    """Counts (windows, 256, 2) of n normal scores, of which `share` have label 1, with that area under the curve."""
    label = rng.random((windows, n)) < share
    score = rng.normal(size=(windows, n)) + label * math.sqrt(2) * normal_quantile(area)
    found = np.zeros((windows, 256, 2), np.int64)
    code = np.searchsorted(np.linspace(-3, 5, 255), score)
    np.add.at(found, (np.arange(windows)[:, None], code, label.astype(np.int64)), 1)
    return found


def normal_quantile(p: float) -> float:
    low, high = -8.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(-middle / math.sqrt(2)) / 2 < p else (low, middle)
    return low


def by_delong(windows: Areas, least: float) -> FloatArray:
    """What an interval that is normal in the limit says, in nats."""
    z = np.maximum(least - windows.area, 0) / np.sqrt(np.maximum(windows.variance(), 1e-12))
    return np.array([-math.log(max(math.erfc(each / math.sqrt(2)) / 2, 1e-300)) for each in z])


@pytest.mark.parametrize("least", [0.02, 0.5, 0.8, 0.995])
@pytest.mark.parametrize("n", [1, 2, 5, 30, 400])
def test_a_share_below_its_floor_has_the_tail_that_it_says_exactly(n: int, least: float) -> None:
    evidence = share_below(np.arange(n + 1.0), np.full(n + 1, float(n)), least)
    chance = np.array([math.comb(n, k) * least**k * (1 - least) ** (n - k) for k in range(n + 1)])
    assert (evidence[np.arange(n + 1) >= n * least] == 0).all()
    for own in evidence[evidence > 0]:
        assert chance[evidence >= own].sum() <= math.exp(-own) * (1 + 1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_an_area_and_its_variance_are_those_of_all_pairs(m: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ones, zeros = rng.integers(0, 5, m), rng.integers(0, 5, n)
    counts = np.stack([np.bincount(zeros, minlength=5), np.bincount(ones, minlength=5)], axis=-1)
    pairs = (ones[:, None] > zeros) + (ones[:, None] == zeros) / 2
    found = Areas.of(counts[None])
    assert found.area[0] == pytest.approx(pairs.mean())
    parts = (pairs.mean(1).var(ddof=1) if m > 1 else 0.0) / m + (pairs.mean(0).var(ddof=1) if n > 1 else 0.0) / n
    assert found.variance()[0] == pytest.approx(parts)


@pytest.mark.parametrize(("share", "area"), [(0.5, 0.8), (0.1, 0.8), (0.05, 0.7), (0.1, 0.95)])
@pytest.mark.parametrize("known", [0.75, 0.9])
@pytest.mark.parametrize("n", [20, 50, 300])
def test_an_area_at_its_floor_has_no_heavier_tail_whatever_its_reference(
    share: float, area: float, known: float, n: int
) -> None:
    rng = np.random.default_rng([n, round(100 * area)])
    reference = Areas.of(by_label(rng, 4000, share, known, 1)[0])
    found = area_below(Areas.of(by_label(rng, n, share, area, 4000)), area, reference)
    for nats in NATS:
        assert (found >= nats).mean() <= math.exp(-nats)


def test_a_normal_interval_of_an_area_is_far_off_where_labels_are_rare() -> None:
    """Why it is no evidence: of 50 rows with 2 or 3 labels, it claims 4 nats several times as often as that may be."""
    windows = Areas.of(by_label(np.random.default_rng(1), 50, 0.05, 0.7, 20_000))
    assert (by_delong(windows, 0.7) >= 4).mean() > 5 * math.exp(-4)


def test_a_bound_needs_twice_the_rows_of_a_normal_interval_or_less() -> None:
    rng = np.random.default_rng(2)
    reference = Areas.of(by_label(rng, 20_000, 0.3, 0.9, 1)[0])
    windows = Areas.of(by_label(rng, 4000, 0.3, 0.85, 20))
    ratio = area_below(windows, 0.9, reference) / by_delong(windows, 0.9)
    assert 0.5 <= np.median(ratio) <= 1


def test_an_area_without_one_of_the_labels_or_without_a_spread_says_nothing_that_it_does_not_know() -> None:
    none = Areas.of(np.array([[[5, 0], [5, 0]], [[0, 5], [0, 5]], [[0, 0], [0, 0]]]))
    perfect = Areas.of(np.array([[50, 0], [0, 50]]))
    assert area_below(none, 0.8, perfect).tolist() == [0, 0, 0]
    assert perfect.at(0.8).above == pytest.approx(0.16), "no variance is known, so it is the largest that can be"
    assert area_below(Areas.of(np.array([[[0, 50], [50, 0]]])), 0.8, perfect)[0] > 20


@given(st.floats(-700, 700))
def test_the_inequality_that_bounds_a_mean(y: float) -> None:
    """Delyon 2009: exp(y - y²/6) <= 1 + y + y²/3."""
    assert math.exp(y - y * y / 6) <= (1 + y + y * y / 3) * (1 + 1e-12)


VALUES = {
    "half normal": lambda rng, shape: np.abs(rng.normal(size=shape)),
    "exponential": lambda rng, shape: rng.exponential(size=shape),
    "lognormal": lambda rng, shape: rng.lognormal(0, 1.5, shape),
    "rare and large": lambda rng, shape: (rng.random(shape) < 0.01) * 100.0,
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("n", [2, 20, 300])
def test_a_mean_at_its_bound_has_no_heavier_tail_however_skewed_its_values(kind: str, n: int) -> None:
    rng = np.random.default_rng([n, 5])
    many = VALUES[kind](rng, 2_000_000)
    most, scatter = float(many.mean()), float(many.var() / many.mean() ** 2)
    values = VALUES[kind](rng, (20_000, n))
    for nats in NATS:
        aim = np.full(len(values), nats)
        found = mean_above(np.full(len(values), float(n)), values.sum(1), (values**2).sum(1), most, scatter, aim)
        assert (found >= nats).mean() <= math.exp(-nats)


def test_a_mean_above_its_bound_is_seen_about_as_soon_as_by_a_normal_interval() -> None:
    values = 1.2 * np.abs(np.random.default_rng(6).normal(size=(50, 800)))
    most, scatter = math.sqrt(2 / math.pi), math.pi / 2 - 1
    aim = np.full(50, 18.0)
    found = mean_above(np.full(50, 800.0), values.sum(1), (values**2).sum(1), most, scatter, aim)
    z = (values.mean(1) - most) / np.sqrt(values.var(1) / 800)
    assert np.median(found) >= np.median(z * z / 2)


def test_a_mean_that_is_far_below_its_bound_has_no_evidence() -> None:
    found = mean_above(np.array([1.0, 5.0, 1e6]), np.zeros(3), np.zeros(3), 3.0, 1e-6, np.full(3, 18.0))
    assert found.tolist() == [0, 0, 0]
