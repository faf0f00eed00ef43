"""The smooth test: shapes of one level and spread are distinguished, and signals together are as each alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftline.detectors.decision.binned import dispersions_of_smooth
from driftline.detectors.decision.reference import History, Reference
from driftline.detectors.decision.smoothed import Smoothed
from driftline.detectors.statistics.smooth import Smooth
from driftline.detectors.summaries.codes import Grid

COUNTS = arrays.arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 500))
KNOWN = np.random.default_rng(0).normal(size=20_000)
GRID = Grid.fit(KNOWN)
SHARES = np.bincount(GRID.encode(KNOWN)) / len(KNOWN)


@given(COUNTS)
def test_the_orders_are_independent_of_each_other_and_of_level_and_spread(counts: np.ndarray) -> None:
    shares = counts / max(counts.sum(), 1)
    matrix = Smooth(shares).matrix
    assert np.isfinite(matrix).all()
    rank = np.cumsum(shares) - shares / 2
    for order in matrix.T:
        size = shares @ order**2
        assert size == pytest.approx(1) or not order.any()
        for lower in (np.ones(len(shares)), rank, (rank - 0.5) ** 2):
            assert shares @ (order * lower) == pytest.approx(0, abs=1e-4)
    assert shares @ (matrix[:, 0] * matrix[:, 1]) == pytest.approx(0, abs=1e-6)


def test_few_values_have_no_shape_beyond_level_and_spread() -> None:
    assert not Smooth(np.array([0.3, 0.7])).matrix.any()
    assert Smooth(np.array([0.3, 0.3, 0.2, 0.2])).matrix.any(axis=0).tolist() == [True, False]


def evidence(values: np.ndarray) -> float:
    joined = Smoothed.of([(0, Smooth(SHARES), Reference((SHARES * len(KNOWN))[None]))])
    window, n = np.bincount(GRID.encode(values), minlength=len(SHARES))[None].astype(float), float(len(values))
    return joined.evidence(window, np.array([[n]]), np.array([[float(len(KNOWN))]]), np.ones((1, 1))).item()


def test_two_humps_and_a_lean_are_seen_and_the_same_shape_is_not() -> None:
    rng = np.random.default_rng(1)
    humps = 0.6 * rng.normal(size=1000) + 0.8 * rng.choice([-1, 1], 1000)
    assert evidence(humps) > 15
    assert evidence((rng.gamma(4, size=1000) - 4) / 2) > 15
    assert evidence(rng.normal(size=1000)) < 4


def test_a_shift_is_left_to_the_other_tests() -> None:
    assert evidence(np.random.default_rng(2).normal(size=1000) + 0.3) < 5


def test_what_is_expected_by_phase_is_no_evidence() -> None:
    rng = np.random.default_rng(3)
    by_phase = np.array([rng.dirichlet(np.full(12, 5.0)) for _ in range(3)])
    known, phases = by_phase * 5000, np.array([[900.0, 80.0, 20.0], [10.0, 10.0, 700.0]])
    joined = Smoothed.of([(2, Smooth(by_phase.mean(0)), Reference(known))])
    counts = np.hstack([np.zeros((2, 2)), phases @ by_phase])
    assert not joined.evidence(counts, phases, np.full((2, 1), 5000.0), np.ones((2, 1))).any()


def test_signals_together_have_the_evidence_that_each_has_alone() -> None:
    rng = np.random.default_rng(4)
    several = [rng.poisson(mean, size) + 1 for mean, size in ((9, 40), (3, 7), (20, 130))]
    own = [(Smooth(each / each.sum(), rng.uniform(1, 2, 2)), Reference(each[None].astype(float))) for each in several]
    first = np.cumsum([0, *(len(each) + 2 for each in several)])
    windows = rng.poisson(rng.uniform(0, 30, (6, first[-1]))).astype(float)
    n = np.full((6, 1), 400.0)
    size, restless = np.full((6, 1), 900.0), rng.uniform(1, 2, (6, 3))
    together = Smoothed.of([(int(at), *each) for at, each in zip(first, own, strict=False)])
    found = together.evidence(windows, n, size, restless)
    assert found.any()
    for s, (at, each) in enumerate(zip(first, own, strict=False)):
        alone = Smoothed.of([(int(at), *each)]).evidence(windows, n, size, restless[:, [s]])
        assert alone[:, 0] == pytest.approx(found[:, s])


def test_values_that_repeat_have_the_dispersion_of_their_runs() -> None:
    codes = np.repeat(np.random.default_rng(5).choice(len(SHARES), 2000, p=SHARES), 10)
    block = np.arange(len(codes)) // 100
    counts = np.bincount(block * len(SHARES) + codes, minlength=200 * len(SHARES)).reshape(200, -1)
    assert dispersions_of_smooth(History.steady(counts), Smooth(SHARES)) == pytest.approx([11, 11], rel=0.25)
