"""The benchmark of budgets by time: its traffic and its promise."""

from __future__ import annotations

import numpy as np
import pytest

from load_tests.bench.pace import growing, office, run

DAY, HOUR = 86_400_000, 3_600_000


def test_times_are_those_of_offices_or_come_ever_faster() -> None:
    at = office(12_096 * 12)
    assert set((at // DAY % 7).tolist()) == set(range(5))
    assert at.min() % DAY >= 9 * HOUR
    assert (at % DAY).max() < 17 * HOUR
    gaps = np.diff(growing(10_000))
    assert gaps[0] / gaps[-1] == pytest.approx(4, rel=0.01)


def test_a_run_is_judged_and_its_promise_follows_from_its_time() -> None:
    found = run("steady", seed=1, weeks=0.2, baseline=4000)
    assert found["promised"] == pytest.approx(9 * 0.2, rel=0.01)
    assert found["pages"] <= found["promised"] + 3
    assert found["events"] > 11_000
