"""The smallest change that is seen, against what the judge itself sees of simulated changes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.sight import Sight, sights
from tests.harness.traffic import Batch, Driver, baseline_of

CONFIG = ModelConfig()
EVENTS = 2000
NAMES = ("features.normal", "features.count", "features.flag", "features.city")


def draw(rng: np.random.Generator, n: int, shift: float = 0.0, lost: float = 0.0, missing: float = 0.0) -> Batch:
    """Values of a normal signal, of counts, of a flag and of categories, whose commonest has a share of a half."""
    city = rng.choice(list("abcd"), n, p=np.array([0.5 - lost, *np.array([0.3, 0.15, 0.05]) * (1 + 2 * lost)]))
    batch = {
        "features.normal": rng.normal(size=n) + shift,
        # Of variance 4; a Poisson of another mean is the same one tilted.
        "features.count": rng.poisson(4 + 2 * shift, n).astype(float),
        "features.flag": (rng.random(n) < 0.2 + 0.4 * shift).astype(float),
        "features.city": city,
    }
    return {
        name: np.where(rng.random(n) < missing, None, values.astype(object))  # type: ignore[arg-type]
        for name, values in batch.items()
    }


@cache
def baseline() -> Baseline:
    return baseline_of(draw(np.random.default_rng(0), 20_000))


@cache
def seen() -> dict[str, Sight]:
    return {each.name: each for each in sights(Judge(baseline(), CONFIG), [EVENTS, 20, 20_000], 1e-6)}


def found(name: str, **change: float) -> float:
    """The share of 30 changes that are found of a signal within EVENTS, in windows of the change alone."""
    times = 0
    for seed in range(30):
        own = Driver(baseline(), CONFIG, pane=250)
        steps = list(own.feed(draw(np.random.default_rng(100 + seed), EVENTS, **change)))
        times += any(each.signal == name for _, step in steps for each in step.findings)
    return times / 30


@pytest.mark.parametrize("name", NAMES[:3])
def test_half_of_the_smallest_shifts_are_found_or_more_hardly_any_smaller_and_nearly_all_larger_ones(name: str) -> None:
    smallest = seen()[name].shift[0]
    assert smallest is not None
    assert found(name, shift=0.6 * smallest) <= 0.4
    assert found(name, shift=smallest) >= 0.4
    assert found(name, shift=1.4 * smallest) >= 0.85


def test_the_smallest_loss_of_a_share_is_about_what_is_found() -> None:
    smallest = seen()["features.city"].share[0]
    assert smallest is not None
    assert found("features.city", lost=0.6 * smallest) <= 0.3
    assert found("features.city", lost=1.4 * smallest) >= 0.85


def test_the_smallest_share_of_missing_values_is_about_what_is_found() -> None:
    smallest = seen()["features.normal"].missing[0]
    assert smallest is not None
    assert found("features.normal", missing=0.4 * smallest) <= 0.3
    assert found("features.normal", missing=1.8 * smallest) >= 0.85


def test_more_events_show_less_and_fewer_than_a_check_takes_show_nothing() -> None:
    for name in NAMES:
        each = seen()[name]
        few, none, many = each.shift or each.share
        assert none is None
        assert few is not None
        assert many is not None
        assert many < few
        assert each.missing[1] is None


def test_a_higher_rate_shows_smaller_changes() -> None:
    judge = Judge(baseline(), CONFIG)
    (strict, *_), (free, *_) = (sights(judge, [EVENTS], rate) for rate in (1e-9, 1e-3))
    assert (free.shift[0] or 0) < (strict.shift[0] or 0)
