"""The simulated traffic of the detection benchmark is what it says, and its verdict counts what it should."""

from __future__ import annotations

import numpy as np
import pytest

from load_tests.bench.days import events
from load_tests.bench.detection import DAY, KINDS, ar, run, summary, values


@pytest.mark.parametrize("keeps", [0.8, 0.95])
def test_autoregressive_values_have_their_correlation(keeps: float) -> None:
    series = ar(np.random.default_rng(1), 100_000, keeps)
    assert len(series) == 100_000
    assert series.var() == pytest.approx(1, rel=0.1)
    for lag in (1, 5):
        assert np.corrcoef(series[lag:], series[:-lag])[0, 1] == pytest.approx(keeps**lag, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_as_many_values_as_asked_and_is_repeatable(kind: str) -> None:
    first, again = (values(kind, np.random.default_rng(1), DAY, 0.3) for _ in range(2))
    assert len(first) == DAY
    assert np.array_equal(first, again, equal_nan=True)


def test_a_run_finds_the_change_under_a_cycle_and_pages_for_nothing_else() -> None:
    found = run("level", 0)
    assert (found["phases"], found["pages"]) == (48, 0)
    assert found["delay"] <= 400
    row = summary([found, {**found, "pages": 2, "delay": float("inf")}], "level")
    assert (row["pages"], row["missed"], row["of"]) == (2, 1, 2)


def test_events_of_a_model_are_as_far_apart_as_a_day_asks_and_have_gaps_where_values_are_missing() -> None:
    traffic = {"features.missing 0": np.array([0.5, np.nan, 1.5]), "features.share 0": np.array([3.0, 0.0, 1.0])}
    first, second = events(traffic, 1, 3)
    assert (second.ts - first.ts) * DAY == 86_400_000
    assert first.signals == {"features.missing 0": None, "features.share 0": "c0"}
    assert second.signals == {"features.missing 0": 1.5, "features.share 0": "c1"}
