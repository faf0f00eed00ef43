"""The benchmark of budgets: its traffic and its bound."""

from __future__ import annotations

import numpy as np
import pytest

from load_tests.bench.budget import KINDS, bound, growing, office, run, steady

DAY, HOUR = 86_400_000, 3_600_000


@pytest.mark.parametrize("kind", KINDS)
def test_values_have_the_same_mean_and_spread_at_all_times(kind: str) -> None:
    values = KINDS[kind].values(np.random.default_rng(0), steady(8640 * 20))
    assert values.shape == (8640 * 20, 5)
    first, last = (np.nanmedian(part) for part in np.array_split(values, 2))
    assert abs(first - last) < 0.1


def test_times_are_those_of_offices_or_come_ever_faster() -> None:
    at = office(12_096 * 12)
    assert set((at // DAY % 7).tolist()) == set(range(5))
    assert at.min() % DAY >= 9 * HOUR
    assert (at % DAY).max() < 17 * HOUR
    gaps = np.diff(growing(10_000))
    assert gaps[0] / gaps[-1] == pytest.approx(4, rel=0.01)


def test_the_bound_is_that_of_a_poisson_number() -> None:
    assert [round(bound(count), 2) for count in (0, 1, 10)] == [3.0, 4.74, 16.96]


def test_a_run_is_judged_and_its_promise_follows_from_its_time() -> None:
    found = run("normal", seed=1, weeks=0.2, baseline=4000)
    assert found["promised"] == pytest.approx(9 * 0.2, rel=0.01)
    assert found["pages"] <= found["promised"] + 3
    assert found["events"] > 11_000
