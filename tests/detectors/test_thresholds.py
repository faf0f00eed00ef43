"""Thresholds: independence costs nothing, dependence is measured, and no baseline alarms against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river.drift import ADWIN
from scipy.signal import lfilter

from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.thresholds import Dependence, independence_bound
from driftline.detectors.summaries.layout import Layout
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.incidents import Status, Step
from tests.harness.traffic import Batch, Driver, baseline_of, draw


def autoregressive(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """x[t] = φ x[t-1] + noise, settled. Its mean varies as that of n (1 - φ)/(1 + φ) independent values."""
    return lfilter([1], [1, -phi], rng.normal(size=n + 500))[500:]


def dependence_of(baseline: Baseline, against_past: bool = False) -> tuple[Battery, Dependence]:
    battery = Battery(baseline.layout, baseline.total.counts, against_past)
    return battery, Dependence.of(battery, baseline.blocks)


def effects(baseline: Baseline, statistic: str) -> np.ndarray:
    """Design effects by length of one statistic of the first signal."""
    battery, dependence = dependence_of(baseline)
    return dependence.effect[:, [column.statistic for column in battery.columns].index(statistic)]


def steps(driver: Driver, batch: Batch) -> list[tuple[int, Step]]:
    return list(driver.feed(batch))


def test_independent_events_have_hardly_any_design_effect() -> None:
    """Numbers, ties, categories, rare codes: whatever evidence they show, a null sample shows as much."""
    rng = np.random.default_rng(1)
    batch = draw(rng, 10_000)
    batch["features.t2_0"] = np.where(rng.random(10_000) < 0.002, None, batch["features.t2_0"])
    for against_past in (False, True):
        _, dependence = dependence_of(baseline_of(batch), against_past)
        assert np.median(dependence.effect) == 1
        assert np.quantile(dependence.effect, 0.9) < 1.3
        # The last length has four windows: of some 200 columns, a few exceed what nineteen in twenty stay under.
        assert dependence.effect.max() < 3


@pytest.mark.parametrize(("phi", "theory"), [(0.5, 3), (0.8, 9), (0.95, 39)])
def test_the_design_effect_of_a_level_is_that_of_theory(phi: float, theory: float) -> None:
    """(1 + φ)/(1 - φ) for windows longer than the memory of the process; shorter ones see less of it."""
    rng = np.random.default_rng(2)
    measured = [
        effects(baseline_of({"features.x": autoregressive(rng, 10_000, phi).astype(object)}), "level") for _ in range(3)
    ]
    assert theory / 2 < np.mean(measured, axis=0)[3] < 2 * theory
    assert (np.diff(measured) >= 0).all()


def test_a_dependent_stream_raises_no_alarm_while_adwin_on_it_alarms_every_thousand_events() -> None:
    rng = np.random.default_rng(3)
    driver = Driver(baseline_of({"features.x": autoregressive(rng, 10_000, 0.8).astype(object)}))
    values = autoregressive(rng, 250_000, 0.8)
    assert not steps(driver, {"features.x": values.astype(object)})
    assert driver.seen == 250_000
    detector, alarms = ADWIN(), 0
    for value in 1 / (1 + np.exp(-values[:50_000])):
        detector.update(value)
        alarms += detector.drift_detected
    assert alarms > 50


def test_a_dependent_stream_that_shifts_is_still_caught() -> None:
    rng = np.random.default_rng(4)
    driver = Driver(baseline_of({"features.x": autoregressive(rng, 10_000, 0.8).astype(object)}))
    assert not steps(driver, {"features.x": autoregressive(rng, 10_000, 0.8).astype(object)})
    seen, step = steps(driver, {"features.x": (autoregressive(rng, 5_000, 0.8) + 2).astype(object)})[0]
    assert step.status is Status.FIRING
    assert seen <= 11_500


def seasonal(seed: int, n: int = 4000) -> Batch:
    """Daily and weekly cycles, autocorrelation, and missing values and a category that vary with the hour."""
    rng, t = np.random.default_rng(seed), np.arange(n)
    day, week = np.sin(2 * np.pi * t / 200 + seed), np.sin(2 * np.pi * t / 1400)
    level = day + week + 0.5 * autoregressive(rng, n, 0.9)
    return {
        "features.level": level.astype(object),
        "features.gaps": np.where(rng.random(n) < 0.1 * (1 + day), None, rng.normal(size=n)),
        "features.kind": np.where(day + rng.normal(size=n) > 0, "night", "day").astype(object),
        "features.noise": rng.normal(size=n).astype(object),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reference", ["baseline", "past"])
def test_a_baseline_replayed_against_itself_raises_nothing(seed: int, reference: str) -> None:
    batch = seasonal(seed)
    driver = Driver(baseline_of(batch), ModelConfig(reference=reference), pane=100)
    assert not steps(driver, batch)
    # It does alarm on the same cycles with one signal moved by its own spread.
    moved = {**batch, "features.noise": batch["features.noise"] + 1}
    assert steps(driver, moved)


def test_no_window_of_the_baseline_exceeds_its_threshold() -> None:
    baseline = baseline_of(seasonal(7))
    battery, dependence = dependence_of(baseline)
    sums = np.concatenate([np.zeros_like(baseline.blocks[:1]), np.cumsum(baseline.blocks, axis=0)])
    for length in (1, 2, 4, 8, 16, 32, 64):
        windows, past = sums[length:] - sums[:-length], sums[:-length]
        evidence = battery.evidence(windows, sums[-1] - windows, past)
        threshold = dependence.threshold(battery.layout.events(windows), bound=0.0)
        assert (evidence <= threshold).all()
        # A bound of 0 leaves nothing but the floor, and the floor is no higher than it must be.
        assert (evidence.max(0) == threshold[0]).any()


def test_longer_windows_are_never_trusted_more_and_the_longest_one_holds_beyond() -> None:
    _, dependence = dependence_of(baseline_of(seasonal(8)))
    thresholds = dependence.threshold(np.array([1, 10, 50, 200, 800, 1000, 10**6, 10**9]), bound=17.0)
    assert (np.diff(thresholds, axis=0) >= 0).all()
    assert (thresholds[-1] == thresholds[-3]).all()
    assert (thresholds >= 17.0).all()


def test_the_same_baseline_gives_the_same_thresholds() -> None:
    one, other = (dependence_of(baseline_of(seasonal(9)))[1] for _ in range(2))
    assert (one.effect == other.effect).all()
    assert (one.floor == other.floor).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_blocks_are_trusted_to_be_independent(n: int) -> None:
    baseline = baseline_of({"features.x": np.arange(float(n)).astype(object)})
    battery, dependence = dependence_of(baseline)
    assert (dependence.threshold(np.array([1, 1000]), 17.0) == 17.0).all()
    assert dependence.effect.shape == (1, len(battery.columns))


@given(st.floats(1e-12, 0.01), st.integers(1, 10**6), st.integers(1, 200), st.integers(1, 10_000))
def test_the_bound_splits_the_allowed_false_alarms_over_windows_and_columns(
    rate: float, events: int, windows: int, columns: int
) -> None:
    nats = independence_bound(rate, events, windows, columns)
    assert windows * columns * math.exp(-nats) == pytest.approx(min(rate * events, 1), rel=1e-9)
    assert nats >= 0


def test_a_bound_is_never_negative_however_many_false_alarms_are_allowed() -> None:
    """One false alarm in a hundred events is ten thousand in a pane of a million: the logarithm would be negative."""
    assert independence_bound(0.01, 1_000_000, windows=5, columns=7) == pytest.approx(math.log(35))


def test_layouts_without_ordered_signals_have_thresholds_too() -> None:
    rng = np.random.default_rng(10)
    baseline = baseline_of({"features.c": rng.choice(list("ab"), 500).astype(object)})
    assert isinstance(baseline.layout, Layout)
    assert dependence_of(baseline)[1].effect.max() < 3
