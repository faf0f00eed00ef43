"""A change that is smaller than the least one pages nobody, at the alarm and as long as an incident lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.sections import ModelConfig
from driftline.stream.config.signals import SignalRule, Signals
from driftline.stream.judge.calibration import replay_itself
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.sight import sights
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range
from tests.harness.days import baseline_of_days, events
from tests.harness.traffic import Batch, Driver, baseline_of
from tests.judge.test_alike import Live

PANE = 250


def config(**rules: Mapping[str, float]) -> ModelConfig:
    """rules: by signal, without `features.`."""
    signals = Signals(rules={f"features.{name}": SignalRule(**rule) for name, rule in rules.items()})
    return ModelConfig(signals=signals, incidents=Incidents(recovery="1s", cooldown="1s"))


def draw(seed: int, n: int, shift: float = 0.0, missing: float = 0.0, lost: float = 0.0, at_one: float = 0.0) -> Batch:
    """n events of a number and of a category. lost: by the commonest category. at_one: values that are 1.234."""
    rng = np.random.default_rng(seed)
    number = (rng.normal(size=n) + shift).astype(object)
    number[rng.random(n) < at_one] = 1.234
    number[rng.random(n) < missing] = None
    city = rng.choice(list("abc"), n, p=[0.5 - lost, 0.3 + lost, 0.2]).astype(object)
    return {"features.number": number, "features.city": city}


@cache
def baseline() -> Baseline:
    return baseline_of(draw(0, 20_000))


def pages(settings: ModelConfig, *batches: Batch) -> list[tuple[int, Step]]:
    driver = Driver(baseline(), settings, PANE)
    return [each for batch in batches for each in driver.feed(batch) if each[1].status is Status.FIRING]


@pytest.mark.parametrize(
    ("change", "name", "below", "above"),
    [
        ({"shift": 0.3}, "number", {"min_distance": 0.2}, {"min_distance": 0.05}),  # a distance of 0.12
        ({"missing": 0.05}, "number", {"min_share": 0.1}, {"min_share": 0.02}),
        ({"at_one": 0.05}, "number", {"min_distance": 0.1}, {"min_distance": 0.02}),
        ({"lost": 0.06}, "city", {"min_share": 0.15}, {"min_share": 0.03}),
    ],
)
def test_a_smaller_change_pages_nobody_and_a_larger_one_as_before(
    change: Mapping[str, float], name: str, below: Mapping[str, float], above: Mapping[str, float]
) -> None:
    live = draw(1, 10_000), draw(2, 20_000, **change)
    usual = pages(config(), *live)
    assert [[each.signal for each in step.findings] for _, step in usual] == [[f"features.{name}"]]
    assert pages(config(**{name: below}), *live) == []
    assert [at for at, _ in pages(config(**{name: above}), *live)] == [at for at, _ in usual]


def test_the_least_change_of_another_signal_does_not_matter() -> None:
    live = draw(1, 10_000), draw(2, 20_000, missing=0.05)
    assert pages(config(city={"min_share": 0.5}), *live) == pages(config(), *live)


def test_what_is_left_out_as_too_small_is_said_in_the_finding_that_is_not() -> None:
    live = draw(1, 10_000), draw(2, 10_000, missing=0.04), draw(3, 5000, missing=0.3)
    [(at, step)] = pages(config(number={"min_share": 0.1}), *live)
    assert at > 20_000
    assert step.findings[0].change.least == 0.1
    [(_, usual)] = pages(config(), *live)
    assert not usual.findings[0].change.least


def steps(settings: ModelConfig, *batches: Batch) -> list[Status]:
    driver = Driver(baseline(), settings, PANE)
    return [step.status for batch in batches for _, step in driver.feed(batch)]


def found(settings: ModelConfig, *batches: Batch) -> set[str]:
    driver = Driver(baseline(), settings, PANE)
    steps = (step for batch in batches for _, step in driver.feed(batch))
    return {each.signal for step in steps for each in step.findings}


def test_a_drift_that_becomes_smaller_than_the_least_change_is_over_and_does_not_begin_again() -> None:
    live = draw(1, 10_000), draw(2, 10_000, missing=0.2), draw(3, 60_000, missing=0.01)
    assert Status.RESOLVED not in steps(config(), *live)
    assert steps(config(number={"min_share": 0.05}), *live) == [Status.FIRING, Status.RESOLVED]


def test_nothing_smaller_than_the_least_change_is_an_update() -> None:
    live = draw(1, 10_000), draw(2, 10_000, lost=0.2), draw(3, 10_000, lost=0.2, missing=0.02)
    assert found(config(), *live) == {"features.city", "features.number"}
    assert found(config(number={"min_share": 0.05}), *live) == {"features.city"}


@pytest.mark.parametrize("level", [1, 2])
def test_below_level_three_nothing_is_left_out(level: int) -> None:
    def states(settings: ModelConfig) -> Iterator[tuple[ModelState, list[Step]]]:
        monitor, state = Monitor("m", settings, baseline(), **monitor_settings(level)), ModelState()
        driver = Driver(baseline(), settings, PANE)
        batch = draw(2, 5000, missing=0.05)
        columns = driver.columns(batch)
        codes = baseline().encode(columns)
        for first in range(0, len(codes), PANE):
            part = slice(first, first + PANE)
            sketch = baseline().layout.sketch(codes[part], columns.numeric[part])
            run = Range(0, first, first + PANE)
            state, found = monitor.judge(state, Pane(sketch, first * 1000, (first + PANE) * 1000, (run,)))
            yield state, found

    found = [found for _, found in states(config(number={"min_share": 0.5}))]
    assert found == [found for _, found in states(config())]
    assert any(found)


def test_the_smallest_change_that_is_seen_is_none_that_pages_nobody() -> None:
    settings = config(number={"min_share": 0.03, "min_distance": 0.2}, city={"min_share": 0.07})
    number, city = (
        next(each for each in sights(Judge(baseline(), settings), [20_000, 200_000], 1e-6) if each.name == name)
        for name in ("features.number", "features.city")
    )
    # A distance of 0.2 is a shift by half a σ. Changes that are tried are a twelfth apart, and count two errors less.
    assert all(0.49 <= (each or 0) < 0.6 for each in number.shift)
    assert all(0.03 <= (each or 0) < 0.035 for each in number.missing)
    assert all(0.07 <= (each or 0) < 0.1 for each in city.share)


def test_signals_with_phases_are_compared_with_their_own_times() -> None:
    def pages_from(distance: float) -> int:
        rules = {"features.*": SignalRule(min_distance=distance, min_share=0.9)}
        settings = ModelConfig(false_alarms_per_event=1e-4, signals=Signals(rules=rules))
        this = Live(Monitor("given", settings, baseline_of_days(), **monitor_settings()))
        this.feed([*events(0, 3, 1)])
        return sum(step.status is Status.FIRING for _, step in this.feed([*events(3, 2, 1, shift=1.0)]))

    # By day and night alike, values of the wave would be as far from those of all times without a shift, too.
    assert pages_from(0.3) == 1
    assert pages_from(0.6) == 0


def test_a_history_replayed_against_itself_pages_no_smaller_change_either() -> None:
    both = [draw(5, 17_500), draw(6, 2500, missing=0.3)]
    own = baseline_of({name: np.concatenate([each[name] for each in both]) for name in both[0]})
    assert replay_itself(own, own.blocks, config())
    assert not replay_itself(own, own.blocks, config(number={"min_share": 0.5}))
