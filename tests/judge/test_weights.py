"""Priorities share the false pages among signals: the sum is what is promised, and a high one is seen sooner."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import median
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detectors.decision.thresholds import Dependence
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import SignalRule, Signals
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.shares import shares
from driftline.stream.judge.sight import sights
from tests.harness.days import baseline_of_days
from tests.harness.traffic import Batch, Driver, baseline_of, draw

Priority = Literal["high", "normal", "low"]
RATE, FRESH, WINDOWS = 1e-6, 250, 30


def config(**priorities: Priority) -> ModelConfig:
    """priorities: by signal, without `features.`."""
    rules = {f"features.{name}": SignalRule(priority=priority) for name, priority in priorities.items()}
    return ModelConfig(signals=Signals(rules=rules))


@cache
def baseline(kind: str) -> Baseline:
    match kind:
        case "phases":
            return baseline_of_days()
        case "slopes":
            return baseline_of(draw(np.random.default_rng(0), 10_000))
        case _:
            return replace(baseline("slopes"), slopes=None, bins=None)


@st.composite
def judges(draw_of: st.DrawFn) -> Judge:
    own = baseline(draw_of(st.sampled_from(["phases", "slopes", "neither"])))
    names = [each.name.removeprefix("features.") for each in own.layout.signals]
    chosen = draw_of(st.dictionaries(st.sampled_from(names), st.sampled_from(["high", "normal", "low"])))
    return Judge(own, config(**chosen))


@settings(max_examples=60, deadline=None)
@given(judges())
def test_the_sum_of_what_all_tests_may_spend_is_what_is_promised(judge: Judge) -> None:
    battery = judge.battery
    nats = judge.weights.bound(RATE, FRESH, WINDOWS, battery)
    assert WINDOWS * np.exp(-nats).sum() == pytest.approx(RATE * FRESH)
    if judge.alike:
        assert judge.alike.shares.sum() == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(judges())
def test_shares_are_as_many_times_those_of_a_like_signal_as_priorities_say(judge: Judge) -> None:
    found = {each.signal: each for each in shares(judge, RATE)}
    rules = judge.config.signals
    for name, each in found.items():
        twin = f"{name[:-1]}{1 - int(name[-1])}" if name[-1] in "01" else name
        weight = rules.rule(name).weight / rules.rule(twin).weight
        assert each.share / found[twin].share == pytest.approx(weight)
        assert each.nats - found[twin].nats == pytest.approx(-np.log(weight), abs=0.2)
    assert sum(each.share for each in found.values()) == pytest.approx(1.0 if found else 0.0)


@pytest.mark.parametrize("kind", ["phases", "slopes", "neither"])
def test_without_priorities_below_level_three_and_where_all_are_the_same_thresholds_are_as_before(kind: str) -> None:
    own = baseline(kind)
    every = {each.name.removeprefix("features."): "high" for each in own.layout.signals}
    some: dict[str, Priority] = dict([*every.items()][:1])  # type: ignore[arg-type]
    plain = Judge(own, ModelConfig())
    for judge in (Judge(own, config(**every)), Judge(own, config(**some), weighs=False)):  # type: ignore[arg-type]
        assert judge.weights.bound(RATE, FRESH, WINDOWS, judge.battery) == pytest.approx(
            plain.weights.bound(RATE, FRESH, WINDOWS, plain.battery), abs=1e-12
        )
        if judge.alike and plain.alike:
            none = np.zeros((1, len(judge.battery.columns)))
            found, usual = (each.thresholds(none, RATE, FRESH) for each in (judge.alike, plain.alike))
            assert found == pytest.approx(usual, abs=1e-12)
        assert not shares(judge, RATE)


def test_the_design_effect_multiplies_the_bound_of_each_test() -> None:
    dependence = Dependence(np.array([100.0]), np.array([[2.0, 3.0]]), np.zeros((1, 2)))
    assert dependence.threshold(np.array([100, 200]), np.array([10.0, 12.0])).tolist() == [[20.0, 36.0]] * 2


def twins(seed: int, n: int, shift: float = 0.0) -> Batch:
    values = (np.random.default_rng(seed).normal(size=n) + shift).astype(object)
    return {f"features.{name}": values for name in ("a", "b", "c")}


def first(steps: list[tuple[int, set[str]]], name: str) -> int:
    return next(at for at, names in steps if name in names)


def test_of_equal_signals_one_of_high_priority_is_seen_sooner_and_one_of_low_priority_later() -> None:
    own, chosen = baseline_of(twins(0, 20_000)), config(a="high", c="low")
    delays: dict[str, list[int]] = {name: [] for name in "abc"}
    for seed in range(1, 9):
        driver = Driver(own, chosen, 50)
        steps = [(at, {each.signal for each in step.findings}) for at, step in driver.feed(twins(seed, 12_000, 0.15))]
        for name, found in delays.items():
            found.append(first(steps, f"features.{name}"))
        assert delays["a"][-1] <= delays["b"][-1] <= delays["c"][-1]
    assert median(delays["a"]) < 0.95 * median(delays["b"])
    assert median(delays["b"]) < 0.95 * median(delays["c"])


def test_a_smaller_change_of_a_high_signal_is_seen_in_the_same_time() -> None:
    judge = Judge(baseline_of(twins(0, 20_000)), config(a="high", c="low"))
    a, b, c = (each.shift[0] for each in sights(judge, [5000], RATE))
    assert a is not None
    assert b is not None
    assert c is not None
    assert a < b < c
