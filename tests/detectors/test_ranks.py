"""Level and spread: P(evidence >= x) <= e^-x holds at every size and for every distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from driftline.detectors.statistics.ranks import RankMoments, level_evidence, rank_moments, spread_evidence

RUNS, LEVELS = 10_000, (1.0, 2.0, 4.0, 6.0)


def moments(ranks: np.ndarray) -> RankMoments:
    """Rank moments of windows, one a row."""
    return RankMoments(np.full((len(ranks), 1), ranks.shape[1]), ranks.sum(1)[:, None], (ranks**2).sum(1)[:, None])


def too_often(evidence: np.ndarray) -> list[float]:
    """Levels that the evidence reaches more often than it may, by three standard deviations."""
    return [x for x in LEVELS if (evidence >= x).mean() > math.exp(-x) + 3 * math.sqrt(math.exp(-x) / len(evidence))]


@pytest.mark.parametrize("n", [1, 2, 10, 100])
@pytest.mark.parametrize("m", [100, 1000])
def test_uniform_ranks_show_no_more_evidence_than_chance_allows(n: int, m: int) -> None:
    rng = np.random.default_rng(n + m)
    window, reference = moments(rng.random((RUNS, n))), moments(rng.random((RUNS // 20, m)))
    reference = RankMoments(*(np.repeat(each, 20, axis=0) for each in reference))
    assert not too_often(level_evidence(window, reference))
    assert not too_often(spread_evidence(window, reference))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5])
def test_two_sided_ranks_against_a_past_like_them_are_no_evidence_either(share: float) -> None:
    """After a change that left the baseline's range to both sides, ranks are 0 or 1: three times a uniform's variance.

    Taken for uniform, such a level alarmed twelve times in 200,000 events where a fifth of one was granted.
    """
    rng, runs = np.random.default_rng(3), RUNS // 2
    window, past = (moments((rng.random((runs, n)) < share).astype(float)) for n in (100, 1000))
    assert not too_often(level_evidence(window, past, uniform=False))
    assert share != 0.5 or too_often(level_evidence(window, past, uniform=True))
    middle = moments(np.where(rng.random((runs, 100)) < share, 0.5, 1.0))
    other = moments(np.where(rng.random((runs, 1000)) < share, 0.5, 1.0))
    assert not too_often(spread_evidence(middle, other, uniform=False))


def test_level_finds_a_shift_and_spread_a_change_of_scale() -> None:
    grid = np.linspace(0, 1, 1001)[None, :]
    shifted, squeezed = np.minimum(grid + 0.1, 1.0), 0.5 + (grid - 0.5) / 2
    even = moments(grid)
    assert level_evidence(moments(shifted), even).item() > 10 > spread_evidence(moments(shifted), even).item()
    assert spread_evidence(moments(squeezed), even).item() > 10 > level_evidence(moments(squeezed), even).item() == 0


def test_moments_are_computed_for_each_signal() -> None:
    counts = np.array([[1, 2, 3, 0], [0, 0, 0, 5]])
    of = rank_moments(counts, np.array([0.25, 0.75, 0.5, 1.0]), np.array([0, 2]))
    assert of.n.tolist() == [[3, 3], [0, 5]]
    assert of.mean.tolist() == [[1.75 / 3, 0.5], [0.0, 1.0]]
    assert of.dispersion == pytest.approx(np.array([[0.0625, 0.0], [0.25, 0.25]]))


@pytest.mark.parametrize("evidence", [level_evidence, spread_evidence])
def test_an_empty_side_is_no_evidence(evidence) -> None:
    empty, some = moments(np.empty((1, 0))), moments(np.full((1, 50), 0.9))
    assert evidence(empty, some).item() == evidence(some, empty).item() == evidence(empty, empty).item() == 0
