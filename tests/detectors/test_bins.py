"""Single bins: few enough, of about equal shares, and a spike in one of them is evidence that chance does not make."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import poisson

from driftline.detectors.decision.binned import Binned, bins_of_values, dispersions_of_bins, dispersions_of_smooth
from driftline.detectors.decision.reference import History, Reference
from driftline.detectors.decision.widths import Widths
from driftline.detectors.statistics.bins import MOST, NEVER, Bins, bins_evidence
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.long_run import limits
from driftline.detectors.statistics.smooth import Smooth

N = 20_000
COUNTS = arrays.arrays(np.int64, st.integers(1, 300), elements=st.integers(0, 500))


@given(COUNTS)
def test_neighbours_share_a_bin_and_values_between_known_ones_have_their_own(counts: np.ndarray) -> None:
    bins = Bins(counts)
    assert bins.number <= MOST + 1
    assert bins.merged(counts).sum() == counts.sum()
    seen = np.flatnonzero(counts)
    between = [c for c in range(len(counts)) if not counts[c] and seen.size and seen[0] < c < seen[-1]]
    assert (np.diff(np.delete(bins.of, between)) >= 0).all()
    assert len({*bins.of[between].tolist()}) == bool(between)
    assert (bins.new > 0).sum() == bool(between)
    assert not bins.merged(counts)[bins.new > 0].any()


@given(COUNTS)
def test_no_bin_has_more_than_its_part_but_for_a_common_value(counts: np.ndarray) -> None:
    bins = Bins(counts)
    for bin_ in range(bins.number):
        own = counts[bins.of == bin_]
        assert own.sum() - own.max() <= counts.sum() / MOST + own.max()


def test_64_quantiles_are_64_bins() -> None:
    assert Bins(np.full(64, 300)).of.tolist() == [*range(64)]


def history(codes: np.ndarray, size: int, blocks: int = 200) -> History:
    block = np.arange(len(codes)) * blocks // len(codes)
    return History.steady(np.bincount(block * size + codes, minlength=blocks * size).reshape(blocks, size))


def test_events_in_runs_have_the_dispersion_of_their_runs() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(1, 16, N)
    stuck = rng.random(N // 20) < 1 / 16
    codes.reshape(-1, 20)[stuck] = 0
    found = dispersions_of_bins(history(codes, 16), Bins(np.bincount(codes, minlength=16)))
    # Runs of 20, of which one block in sixteen has one, and a standard error.
    assert found[0] == pytest.approx(20, rel=0.3)
    assert found[1:] == pytest.approx(np.ones(15), abs=0.6)


@pytest.mark.parametrize("blocks", [100, 500])
def test_independent_events_are_taken_for_that_and_dependent_ones_are_not(blocks: int) -> None:
    rng, size = np.random.default_rng(3), 16
    independent, smooth = rng.integers(0, size, N), Smooth(np.full(size, 1 / size))
    # Neighbours within one of each other, so that a bin is not left for some ten events.
    wander = np.abs((np.cumsum(rng.integers(-1, 2, N)) + size) % (2 * size) - size).clip(max=size - 1)
    found, slow = (
        (dispersions_of_bins(known, Bins(np.full(size, N // size))), dispersions_of_smooth(known, smooth))
        for known in (history(codes, size, blocks) for codes in (independent, wander))
    )
    assert np.median(found[0]) == 1
    assert max(map(np.max, found)) < 1.4
    assert min(map(np.min, slow)) > 2


def test_bins_of_which_a_baseline_has_too_few_are_never_evidence() -> None:
    codes = np.append(np.zeros(2000, np.int64), np.arange(1, 17))
    bins = Bins(np.bincount(codes), np.ones(1))
    known = Bins(bins.counts, dispersions_of_bins(history(codes, 17, 40), bins))
    joined = Binned.of([(0, known, Reference(bins.counts[None].astype(float)))])
    window = np.bincount(np.full(200, 9), minlength=17)[None].astype(float)
    assert joined.evidence(window, np.array([[200.0]]), np.array([[2016.0]]), np.ones((1, 1)))[0, 0] < 200
    assert known.dispersion[bins.of[9]] > 1e6


def test_values_of_a_nominal_signal_are_bins_that_vary_as_their_shares_do() -> None:
    rng = np.random.default_rng(4)
    codes = np.repeat(rng.choice(6, N // 20, p=[0.4, 0.3, 0.2, 0.099, 0.001, 0]), 20)
    known, counts = history(codes, 6, 200), np.bincount(codes, minlength=6)
    for series, slope in ((known, 20), (history(rng.permutation(codes), 6, 200), 1)):
        bins = bins_of_values(counts, Widths.of(series, Functionals(counts / N, 6, ordered=False)))
        assert bins.of.tolist() == [*range(6)]
        assert bins.dispersion[:4] == pytest.approx(np.full(4, slope), rel=0.4)
        # The rare one has some 20 events, of one session, and the last one none at all.
        assert (bins.dispersion[4:] > 1e6).all()
        assert not bins.new.any()
        assert bins.merged(counts[None]).tolist() == [counts.tolist()]


def test_values_that_a_baseline_has_not_got_are_not_tested() -> None:
    codes = np.full(N, 4)
    widths = Widths.of(history(codes, 5), Functionals(np.bincount(codes) / N, 4, ordered=False))
    with np.errstate(all="raise"):
        bins = bins_of_values(np.zeros(4, np.int64), widths)
        assert not bins.tested.size
        assert not bins.merged(np.zeros((1, 4))).any()


def test_bins_that_are_not_tested_cost_the_others_nothing() -> None:
    counts, mixed = np.array([300, 200, 0, 2, 0, 0]), np.array([1.0, 1.0, NEVER, 3.0, NEVER, NEVER])
    windows, n, size = np.array([[9.0, 80, 3, 0, 1, 2]]), np.array([[95.0]]), np.array([[502.0]])

    def of(kept: Sequence[int]) -> float:
        joined = Binned.of([(0, Bins(counts[kept], mixed[kept], apart=True), Reference(counts[None, kept] / 1.0))])
        return joined.evidence(windows[:, kept], n, size, np.ones((1, 1))).item()

    assert of(range(6)) == pytest.approx(of([0, 1, 3]))
    assert of(range(6)) > 10


def evidence(counts: list[float], expected: list[float], size: float = 1e9, dispersion: float = 1.0) -> float:
    k, e = np.array([counts]), np.array([expected])
    n = k.sum(1, keepdims=True)
    return bins_evidence(k, e, n, np.array([[size]]), np.full(k.shape, dispersion), np.zeros(1, np.int64)).item()


def test_the_evidence_is_that_of_the_strongest_bin_less_what_two_sides_of_all_bins_cost() -> None:
    exact = -poisson.logsf(39, 10)
    found = evidence([40, 10, 10, 10], [10, 20, 20, 20])
    # Chernoff's bound lacks a factor that grows with the root of the count.
    assert exact - 4 < found + math.log(8) < exact
    assert evidence([10, 20, 20, 20], [10, 20, 20, 20]) == 0
    assert evidence([40, 10, 10, 10], [10, 20, 20, 20], dispersion=3) < found / 2
    assert evidence([40, 10, 10, 10], [10, 20, 20, 20], size=70) < found
    assert evidence([0, 30, 20, 20], [10, 20, 20, 20]) == pytest.approx(10 - math.log(8), abs=0.1)


def test_signals_together_have_the_evidence_that_each_has_alone() -> None:
    rng = np.random.default_rng(2)
    several = [Bins(rng.poisson(mean, size) + (rng.random(size) < 0.8)) for mean, size in ((9, 40), (3, 7), (20, 130))]
    own = [(bins, Reference(bins.counts[None].astype(float))) for bins in several]
    first = np.cumsum([0, *(len(bins.of) + 2 for bins in several)])
    windows = rng.poisson(5, (6, first[-1])).astype(float)
    n, size, restless = np.full((6, 1), 400.0), np.full((6, 1), 900.0), rng.uniform(1, 2, (6, 3))
    together = Binned.of([(int(at), *each) for at, each in zip(first, own, strict=False)])
    found = together.evidence(windows, n, size, restless)
    for s, (at, each) in enumerate(zip(first, own, strict=False)):
        alone = Binned.of([(int(at), *each)]).evidence(windows, n, size, restless[:, [s]])
        assert alone[:, 0] == pytest.approx(found[:, s])


def test_a_value_between_those_that_the_baseline_has_is_seen_at_once_and_one_more_value_is_not() -> None:
    whole = np.zeros(21, np.int64)
    whole[::2] = 500
    bins = Bins(whole)
    joined = Binned.of([(0, bins, Reference(whole[None].astype(float)))])

    def of(new: int) -> float:
        window = whole / 50
        window[5] = new
        n = window.sum(keepdims=True)[None]
        return joined.evidence(window[None], n, np.array([[float(whole.sum())]]), np.ones((1, 1))).item()

    assert of(1) < 3
    assert of(8) > 15


def test_a_constant_signal_has_bins_that_depend_on_nothing() -> None:
    with np.errstate(all="raise"):
        assert limits(np.zeros((64, 3)))[0].tolist() == [0.0, 0.0, 0.0]
