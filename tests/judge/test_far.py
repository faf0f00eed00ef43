"""Values far beyond the range of a baseline page whatever is known of the signal, and long tails do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from driftline.detectors.arrays import FloatArray
from driftline.detectors.decision.battery import Column
from driftline.detectors.decision.far import CLUMP, Far
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import SignalRule, Signals
from driftline.stream.judge.judge import Judge
from tests.harness.traffic import Batch, Driver, baseline_of

CONFIG = ModelConfig(false_alarms_per_event=1e-5)
ROWS = 5000
KINDS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "season": lambda rng, n: np.sin(np.arange(n) / 1500) + 0.1 * rng.normal(size=n),
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "flag": lambda rng, n: (rng.random(n) < 0.2).astype(float),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
}


def batch(kind: str, first: int, n: int, change: Callable[[FloatArray], FloatArray] = lambda values: values) -> Batch:
    """n events of one kind from the `first` on."""
    values = KINDS[kind](np.random.default_rng(0), first + n)[first:]
    return {"x": np.where(np.isnan(values), None, change(values).astype(object))}


@cache
def judge_of(kind: str) -> Judge:
    return Driver(baseline_of(batch(kind, 0, ROWS)), CONFIG).judge


def found(kind: str, change: Callable[[FloatArray], FloatArray], config: ModelConfig = CONFIG) -> list[str]:
    """The tests by which 500 events with a change raise an alarm, after 500 without one."""
    judged = Driver(judge_of(kind).baseline, config, pane=50)
    assert not list(judged.feed(batch(kind, ROWS, 500)))
    steps = [step for _, step in judged.feed(batch(kind, ROWS + 500, 500, change))]
    return [each.test.statistic for step in steps for each in step.findings]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [lambda x: x + 100 * np.nanstd(x), lambda x: x * 1000], ids=["100 σ", "×1000"])
def test_a_change_far_beyond_the_range_pages(kind: str, change: Callable[[FloatArray], FloatArray]) -> None:
    assert found(kind, change)


def test_no_other_test_sees_it_in_a_signal_that_follows_a_season() -> None:
    assert judge_of("season").baseline.slopes is None
    assert found("season", lambda x: x + 100) == ["far"]


def test_far_values_among_usual_ones_are_named_as_such() -> None:
    judged = Driver(judge_of("season").baseline, CONFIG, pane=250)
    steps = [step for _, step in judged.feed(batch("season", ROWS, 2000, _every_second))]
    assert [(each.test.statistic, each.change.headline) for each in steps[0].findings] == [
        ("far", "values far beyond the range, up to 9: 50 %")
    ]


def _every_second(values: FloatArray) -> FloatArray:
    return np.where(np.arange(len(values)) % 2, values, 9.0)


def test_it_is_over_when_they_are_gone() -> None:
    judged = Driver(judge_of("season").baseline, CONFIG, pane=50)
    log = [batch("season", ROWS, 500, lambda x: x + 100), batch("season", ROWS + 500, 1500)]
    assert [step.status.value for each in log for _, step in judged.feed(each)] == ["firing", "resolved"]


@pytest.mark.parametrize("tail", [0.5, 1.5])
def test_records_of_long_tails_are_none(tail: float) -> None:
    """Of independent values, records beyond twice the largest come one at a time, and seldom."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        judged = Driver(baseline_of({"x": rng.pareto(tail, 1000).astype(object)}), CONFIG)
        steps = [step for _, step in judged.feed({"x": rng.pareto(tail, 20_000).astype(object)})]
        assert "far" not in {each.test.statistic for step in steps for each in step.findings}


def test_below_level_3_nothing_of_it_is_there() -> None:
    for level, tested in ((2, False), (3, True)):
        by_slope = monitor_settings(level)["by_slope"]
        judge = Judge(judge_of("season").baseline, CONFIG, by_slope=by_slope)
        assert (judge.alike is not None and "far" in {each.statistic for each in judge.alike.columns}) == tested


def test_signals_with_a_proven_rate_have_their_bets_alone() -> None:
    signals = Signals(rules={"*": SignalRule(guarantee="proven")})
    judge = Judge(judge_of("normal").baseline, ModelConfig(signals=signals))
    assert judge.alike is not None
    assert "far" not in {each.statistic for each in judge.alike.columns}


def test_the_evidence_counts_what_lies_beyond_twice_the_width() -> None:
    baseline = judge_of("normal").baseline
    far, (low, high) = Far(baseline.layout, baseline.total), baseline.total.extremes[:, 0]
    least, most = low - (high - low), high + (high - low)
    # A cell of magnitudes is a fifth wide.
    values = np.array([low, high, most, 1.25 * most, least, 1.25 * least, 1e300, -1e300])
    rows = values[:, None]
    sketches = [baseline.layout.sketch(baseline.layout.encode(row[None], []), row[None]) for row in rows]
    assert far.columns == (Column("far", 0),)
    assert far.counts(sketches).ravel().tolist() == [0, 0, 0, 1, 0, 1, 1, 1]


def test_evidence_rises_with_the_count_and_is_none_where_as_many_are_expected() -> None:
    baseline = judge_of("normal").baseline
    far, n = Far(baseline.layout, baseline.total), 1000
    counts = np.arange(n)[:, None]
    evidence = far.evidence(counts, np.full((n, 1), n)).ravel()
    expected = int(CLUMP * n / baseline.total.n)
    assert (evidence[: expected + 1] == 0).all()
    assert (np.diff(evidence[expected:]) >= 0).all()
