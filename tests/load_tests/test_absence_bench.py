"""The benchmark of absence: its figures on traffic whose answer can be computed."""

from __future__ import annotations

import pytest

from load_tests.bench.absence import above, optimum, run


def test_the_least_delay_is_the_bound_by_the_information_of_a_slot() -> None:
    least = optimum(a_day=8640.0, allowed=1.0)
    # 3 tests of 259,200 events a month: 13.6 nats, at one event a slot.
    assert least["stop"] == pytest.approx(13.6, abs=0.1)
    assert least["half"] == pytest.approx(13.6 / 0.153, rel=0.01)
    assert least["double"] == pytest.approx(13.6 / 0.386, rel=0.01)
    assert set(optimum(a_day=1e9, allowed=1.0).values()) == {1.0}


def test_the_chance_of_as_many_pages_is_poisson_s() -> None:
    assert above(0, 2.0) == 1
    assert above(3, 2.0) == pytest.approx(0.3233, abs=1e-4)


@pytest.mark.slow
def test_independent_events_page_nobody_and_their_stop_is_seen_within_twice_the_least_delay() -> None:
    found = run("steady, 10,000 a day", seed=1, allowed=1.0)
    assert found["ready"]
    assert found["pages"] == []
    assert found["delays"]["stop"] <= 2 * optimum(1e4, 1.0)["stop"]
