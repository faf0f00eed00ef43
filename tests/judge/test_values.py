"""Single values of texts are tested: one of a hundred that goes is found, and named."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import SignalRule, Signals
from tests.harness.traffic import Batch, Driver, baseline_of

PANE = 250
SHARES = np.arange(1, 101) ** -0.9 / (np.arange(1, 101) ** -0.9).sum()


def texts(n: int, seed: int, lost: float = 0.0) -> Batch:
    """n events of a number, of a text by Zipf's law, and of one of two values. lost: by the tenth."""
    rng = np.random.default_rng(seed)
    left = np.where(np.arange(100) == 9, SHARES * (1 - lost), SHARES)
    code = rng.choice(100, n, p=left / left.sum())
    return {
        "features.amount": rng.normal(size=n).astype(object),
        "features.shop": np.array([f"v{each}" for each in code], object),
        "features.side": rng.choice(["left", "right"], n).astype(object),
    }


@cache
def baseline() -> Baseline:
    return baseline_of(texts(20_000, 0))


def driver(rule: SignalRule | None = None) -> Driver:
    signals = Signals(rules={"features.shop": rule} if rule else {})
    return Driver(baseline(), ModelConfig(signals=signals, false_alarms_per_event=1e-5), PANE)


def by_value(each: Driver) -> set[str]:
    names = [signal.name for signal in each.judge.battery.layout.signals]
    return {names[column.signal] for column in each.judge.tests(each.state).columns if column.statistic == "bins"}


def test_a_value_that_goes_is_found_at_once_and_named() -> None:
    own = driver()
    assert [*own.feed(texts(10_000, 1))] == []
    ((seen, step),) = own.feed(texts(3000, 2, lost=1.0))
    (finding,) = step.findings
    assert finding.signal == "features.shop"
    assert finding.test.statistic == "bins"
    assert finding.change.headline.startswith("v9 1.97 %")
    assert finding.change.headline.endswith("→ 0 %")
    assert seen <= 11_500


def test_an_incident_ends_once_the_value_is_back() -> None:
    own = driver()
    assert [step.status.value for _, step in own.feed(texts(3000, 2, lost=1.0))] == ["firing"]
    ends = [seen for seen, step in own.feed(texts(6000, 3)) if step.status.value == "resolved"]
    assert len(ends) == 1


def test_two_values_are_left_to_chi_square() -> None:
    assert by_value(driver()) == {"features.amount", "features.shop"}


def test_below_level_three_values_are_not_tested() -> None:
    earlier = driver()
    earlier.judge = replace(earlier.judge, by_slope=False)
    assert by_value(earlier) == set()


@pytest.mark.parametrize(("least", "found"), [(0.01, True), (0.03, False)])
def test_a_value_of_fewer_events_than_the_least_change_pages_nobody(least: float, found: bool) -> None:
    assert bool([*driver(SignalRule(min_share=least)).feed(texts(3000, 2, lost=1.0))]) == found
