"""Operating characteristics of the whole judge: how many false alarms it raises, and how soon it finds a drift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from driftline.stream.judge.incidents import Status
from tests.harness.traffic import Batch, Driver, baseline_of, draw

pytestmark = pytest.mark.slow
Shift = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def _half_a_sigma(_: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return values + 0.5


def _half_as_wide_again(_: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return values * 1.5


def _a_tenth_missing(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return np.where(rng.random(len(values)) < 0.1, None, values)


def _a_new_category(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return np.where(rng.random(len(values)) < 0.05, "new", values)


def _another_unit(_: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return values * 100


SHIFTS: dict[str, tuple[Shift, str]] = {
    "mean +0.5 sigma": (_half_a_sigma, "features.normal_2"),
    "scale x1.5": (_half_as_wide_again, "features.normal_1"),
    "10 % missing": (_a_tenth_missing, "features.t2_0"),
    "new category at 5 %": (_a_new_category, "features.category_3"),
    "unit x100": (_another_unit, "features.lognormal_1"),
}


def test_a_million_stationary_events_raise_at_most_two_incidents() -> None:
    rng = np.random.default_rng(20260101)
    driver = Driver(baseline_of(draw(rng, 10_000)))
    fired = [seen for _ in range(20) for seen, step in driver.feed(draw(rng, 50_000)) if step.status is Status.FIRING]
    assert driver.seen == 1_000_000
    assert len(fired) <= 2, f"fired after {fired} events"


@pytest.mark.parametrize("name", SHIFTS)
def test_every_shift_is_found_within_500_events_in_the_median(name: str) -> None:
    change, signal = SHIFTS[name]
    delays = [_delay(change, signal, seed) for seed in range(9)]
    assert np.median(delays) <= 500, delays


def _delay(change: Shift, signal: str, seed: int) -> int:
    """Events from the shift, somewhere within a pane, to the incident that names its signal first."""
    rng = np.random.default_rng(seed)
    driver = Driver(baseline_of(draw(rng, 10_000)))
    at = 5_000 + int(rng.integers(0, 250))
    assert not list(driver.feed(before := draw(rng, 5_000))), before
    mixed: Batch = draw(rng, 7_000)
    drifted = np.arange(7_000) >= at - 5_000
    mixed[signal] = np.where(drifted, change(rng, mixed[signal]), mixed[signal])
    seen, step = next(driver.feed(mixed))
    assert step.status is Status.FIRING
    assert step.findings[0].signal == signal
    assert seen >= at
    return seen - at
