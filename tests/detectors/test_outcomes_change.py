"""Changes of outcomes: since when, and whether the mix of scores moved or labels no longer follow them."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
import pytest

from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.compare import Comparison, Tally, groups, split, stratified
from driftline.detectors.outcomes.stretches import SLOTS, Stretch, stretches

SLOT = 100


def traffic(n: int, draw, mix: float = 0.0, concept: float = 0.0):
    """Prediction, label and score of n rows: `mix` moves the scores, `concept` pulls labels away from them."""
    score = draw.beta(2 + mix, 5, n)
    label = (draw.random(n) < np.clip(score + concept * (0.5 - score), 0, 1)).astype(np.int64)
    return (score > 0.5).astype(np.int64), label, score


def tally(layout: BinaryLayout, rows, size: int = SLOT) -> Tally:
    group = np.arange(len(rows[0])) // size
    _, outcomes = layout.strata(layout.tables(group, int(group[-1]) + 1, *rows))
    positive = outcomes.astype(float)
    wrong = positive[..., 1]
    half = layout.codes
    labels = np.concatenate([positive[..., :half, 1], positive[..., half:, 0]], axis=-1)
    return Tally.of(positive.sum(-1), wrong, wrong, labels)


def found(draw, before: int, after: int, better: bool = False, **change: float) -> list[Stretch]:
    rows = traffic(20_000, draw)
    layout = BinaryLayout.fit(rows[2])
    comparison = Comparison.of(tally(layout, rows), layout.boundaries)
    both = [np.concatenate(each) for each in zip(traffic(before, draw), traffic(after, draw, **change), strict=True)]
    return stretches(tally(layout, both), comparison, better)


@pytest.mark.parametrize("seed", range(10))
def test_a_mix_of_harder_scores_is_named_as_such_and_its_start_is_found(seed: int) -> None:
    (only,) = found(np.random.default_rng(seed), 6000, 6000, mix=1.5)

    assert "loss" in only.reported
    assert "concept" not in only.reported
    assert abs(only.first - 60) <= 5
    assert only.last == 120
    assert only.split.mix > 0.03
    assert abs(only.split.concept) < 0.02


@pytest.mark.parametrize("seed", range(10))
def test_labels_that_follow_scores_less_are_named_as_such(seed: int) -> None:
    (only,) = found(np.random.default_rng(seed), 6000, 6000, concept=0.3)

    assert {"loss", "concept"} <= set(only.reported)
    assert abs(only.first - 60) <= 6
    assert only.split.concept > 0.04
    assert abs(only.split.mix) < 0.01


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_told_where_nothing_changes(seed: int) -> None:
    draw = np.random.default_rng(seed)

    assert found(draw, 6000, 6000) == []
    assert found(draw, 6000, 6000, better=True) == []


def test_a_stretch_that_ends_has_an_end_and_one_that_is_better_is_no_loss() -> None:
    draw = np.random.default_rng(3)
    rows = traffic(20_000, draw)
    layout = BinaryLayout.fit(rows[2])
    comparison = Comparison.of(tally(layout, rows), layout.boundaries)
    parts = traffic(4000, draw), traffic(4000, draw, concept=0.4), traffic(4000, draw)
    series = tally(layout, [np.concatenate(each) for each in zip(*parts, strict=True)])
    (only,) = stretches(series, comparison)

    assert abs(only.first - 40) <= 4
    assert abs(only.last - 80) <= 4
    assert all(each.reported == ("labels",) for each in stretches(series, comparison, better=True))


def test_errors_that_come_in_clumps_need_more_evidence() -> None:
    draw = np.random.default_rng(4)
    layout, reported = BinaryLayout.fit(np.linspace(0, 1, 200)), 0
    for _ in range(10):
        rows = [clumped(each, draw) for each in (40_000, 12_000)]
        comparison = Comparison.of(tally(layout, rows[0]), layout.boundaries)
        assert comparison.dependence.effect[-1].max() > 1.5
        reported += bool(stretches(tally(layout, rows[1]), comparison))
    assert reported == 0


def clumped(n: int, draw):
    """Rows whose labels are pulled away from the scores in turns of some 300 rows, more or less."""
    score = draw.beta(2, 5, n)
    pull = np.repeat(draw.uniform(0, 0.5, n // 300 + 1), 300)[:n]
    label = (draw.random(n) < score + pull * (0.5 - score)).astype(np.int64)
    return (score > 0.5).astype(np.int64), label, score


@pytest.mark.parametrize("follow", [0.8, 0.95])
def test_errors_that_follow_each_other_are_no_change(follow: float) -> None:
    for seed in range(5):
        draw = np.random.default_rng(seed)
        reference, live = (following(each, draw, follow) for each in (20_000, 10_000))
        layout = BinaryLayout.fit(reference[2])
        comparison = Comparison.of(tally(layout, reference), layout.boundaries)

        assert stretches(tally(layout, live), comparison) == []


def following(n: int, draw, follow: float):
    """Rows whose labels are as likely as their scores say, each drawn near the one before by an AR(1) process."""
    noise, level = draw.normal(0, np.sqrt(1 - follow**2), n), np.empty(n)
    level[0] = draw.normal()
    for row in range(1, n):
        level[row] = follow * level[row - 1] + noise[row]
    score = draw.beta(2, 5, n)
    rank = np.array([0.5 * (1 + erf(each / sqrt(2))) for each in level.tolist()])
    return (score > 0.5).astype(np.int64), (rank < score).astype(np.int64), score


def test_the_test_within_strata_is_that_of_mantel_and_haenszel() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(5)
    n, m = draw.integers(20, 50, 30), draw.integers(50, 90, 30)
    x, y = draw.binomial(n, 0.4), draw.binomial(m, 0.3)
    N, X = n + m, x + y
    variance = n * m * X * (N - X) / (N**2 * (N - 1.0))
    expected = (x - n * X / N).sum() / np.sqrt(variance.sum())
    z = stratified(Tally.of(n, x, x), Tally.of(m, y, y))

    assert float(z) == pytest.approx(expected)
    assert abs(float(z)) < stats.norm.isf(1e-12)


def test_the_parts_of_a_split_add_up_and_strata_without_reference_are_said() -> None:
    reference = Tally.of(np.array([100.0, 100.0, 0.0]), np.array([10.0, 40.0, 0.0]), np.array([10.0, 40.0, 0.0]))
    window = Tally.of(np.array([20.0, 60.0, 20.0]), np.array([2.0, 24.0, 20.0]), np.array([2.0, 24.0, 20.0]))
    parts = split(window, reference)

    assert parts.mix + parts.concept == pytest.approx(parts.after - parts.before)
    assert parts.mix == pytest.approx(0.2 * 0.1 + 0.6 * 0.4 + 0.2 * 0.25 - 0.25)
    assert parts.unknown == pytest.approx(0.2)


def test_groups_of_strata_have_rows_enough_and_never_reach_over_a_boundary() -> None:
    reference = np.array([10, 10, 10, 10, 50, 5, 3, 100.0])

    assert groups(reference, np.array([0, 6]), least=30).tolist() == [0, 3, 6]


def test_series_of_the_most_slots_are_searched_in_seconds() -> None:
    draw = np.random.default_rng(6)
    rows = traffic(SLOTS * 60, draw)
    layout = BinaryLayout.fit(rows[2])
    comparison = Comparison.of(tally(layout, rows), layout.boundaries)

    assert stretches(tally(layout, traffic(SLOTS * 40, draw, concept=0.9), 40), comparison)
