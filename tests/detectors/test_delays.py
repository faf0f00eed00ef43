"""How late a model's events usually come, and which of them say nothing of that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.decision.delays import BOUNDS, Delays
from driftline.detectors.decision.rates import HOUR

NOW = 10_000
NOTHING = Delays()


def panes(*late: int, known: Delays = NOTHING) -> Delays:
    for each in late:
        known = known.after(np.array([NOW - each]), np.array([5]), NOW)
    return known


def test_nothing_is_late_before_the_first_pane_or_if_all_come_in_time() -> None:
    assert Delays().usual == panes(0, -1, -99).usual == 0


@pytest.mark.parametrize(("late", "usual"), [(1, 1), (5, 6), (30, 32), (HOUR, HOUR), (HOUR + 1, HOUR)])
def test_what_is_always_late_is_waited_for_up_to_an_hour(late: int, usual: int) -> None:
    assert panes(*[late] * 20).usual == usual


def test_one_pane_in_fifty_may_come_later() -> None:
    assert panes(*[0] * 49, 30).usual == 0
    assert panes(*[0] * 47, 30, 30).usual == 32


def test_a_tenth_of_a_pane_may_be_stragglers() -> None:
    slots = np.array([NOW - 300, NOW])
    assert Delays().after(slots, np.array([1, 9]), NOW).usual == 0
    assert Delays().after(slots, np.array([2, 9]), NOW).usual > 300


def test_traffic_of_which_a_tenth_comes_more_than_an_hour_late_comes_too_late() -> None:
    assert not panes(*[HOUR + 1] * 11).too_late
    assert panes(*[HOUR + 1] * 12).too_late
    assert not panes(*[HOUR] * 1000, *[HOUR + 1] * 100).too_late
    assert panes(*[HOUR] * 1000, *[HOUR + 1] * 130).too_late


def test_what_was_is_forgotten_in_weeks() -> None:
    weeks, known = 0, panes(*[30] * 100)
    while known.usual:
        known, weeks = panes(*[0] * 100, known=known.faded()), weeks + 1
    assert 3 <= weeks <= 6


@given(st.lists(st.integers(-9, 2 * HOUR), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_panes_does_not_matter_and_nearly_all_are_waited_for(late: list[int], random) -> None:
    known = panes(*late)
    assert known == panes(*random.sample(late, len(late)))
    assert known.usual in BOUNDS
    assert sum(each > known.usual for each in late) * 50 <= len(late) or known.usual == HOUR
