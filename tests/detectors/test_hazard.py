"""Thresholds spend the stated rate: no more false pages than promised, and not far fewer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from driftline.detectors.decision.hazard import COST, PANES, cost, shares, threshold
from driftline.detectors.decision.likeness import Likeness
from load_tests.bench.hazard import alarms, highest, likeness, signals


def few_codes(pane: int) -> Iterator[Likeness]:
    """Signals of few values, whose tests are much the same, with a few values missing."""
    for regular in ([0.8, 0.2], [0.5, 0.3, 0.2], [0.3, 0.3, 0.2, 0.1, 0.1]):
        yield likeness(np.append(0.99 * np.array(regular), 0.01), len(regular), True, pane)


@pytest.mark.parametrize("of", [signals, few_codes])
@pytest.mark.parametrize("pane", [PANES[0], PANES[-1]])
def test_all_tests_of_independent_traffic_together_page_as_often_as_stated(
    of: Callable[[int], Iterable[Likeness]], pane: int
) -> None:
    # A rate that allows each signal 30 false pages in 2 times 6,000 panes.
    rng, rate, pages, promised = np.random.default_rng(pane), 2.5e-3 / pane, 0, 0.0
    for signal in of(pane):
        asked = shares(signal.tests)
        among = (signal.worth @ asked / asked).tolist()
        heights = [threshold(test, rate, pane, 1, own) for test, own in zip(signal.tests, among, strict=True)]
        for _ in range(2):
            pages += alarms((highest(signal, pane, rng) / heights).max(1), 1.0, pane)
            promised += 6000 * rate * pane
    assert 0.4 * promised < pages < 1.2 * promised


def test_a_threshold_rises_by_the_logarithm_of_what_shares_the_rate() -> None:
    one = threshold("ks", 1e-6, 250, 1, 1)
    for dearer, times in ((threshold("ks", 1e-6, 250, 20, 4), 80), (threshold("ks", 1e-7, 250, 1, 1), 10)):
        # c itself grows like half of the logarithm of the threshold.
        assert dearer - one == pytest.approx(math.log(times) + math.log(dearer / one) / 2, abs=0.01)


@pytest.mark.parametrize("test", COST)
def test_between_and_beyond_the_panes_simulated_it_is_that_of_its_neighbours(test: str) -> None:
    costs = [cost(test, pane) for pane in (10, 50, 70, 100, 250, 4000)]
    assert costs[0] == pytest.approx(costs[1])
    assert min(costs[1], costs[3]) <= costs[2] <= max(costs[1], costs[3])
    assert costs[5] == pytest.approx(costs[4])


@pytest.mark.parametrize("test", COST)
def test_where_every_check_may_alarm_some_evidence_is_still_asked_for(test: str) -> None:
    assert threshold(test, 0.01, 250, 1, 1 / 0.9) >= 1
    assert threshold(test, 0.01, 250, 1, 1 / 0.9) <= threshold(test, 0.001, 250, 1, 1 / 0.9)
