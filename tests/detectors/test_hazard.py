"""Thresholds spend the stated rate: no more false pages than promised, and not far fewer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from driftline.detectors.decision.hazard import COST, PANES, threshold
from load_tests.bench.hazard import alarms, highest, signals


@pytest.mark.parametrize("pane", [PANES[0], PANES[-1]])
def test_independent_traffic_pages_as_often_as_stated(pane: int) -> None:
    # Two signals, each for 4 times 6,000 panes, at a rate that allows each test some 24 false pages.
    rng, rate, pages, tests = np.random.default_rng(pane), 1e-3 / pane, 0, 0
    for signal in signals(pane):
        for _ in range(4):
            most = highest(signal, pane, rng)
            for test, evidence in zip(signal.tests, most.T, strict=True):
                pages += alarms(evidence, threshold(test, rate, pane, 1, 1), pane)
                tests += 1
    promised = tests * 6000 * rate * pane
    assert 0.4 * promised < pages < 1.2 * promised


def test_a_threshold_rises_by_the_logarithm_of_what_shares_the_rate() -> None:
    one = threshold("ks", 1e-6, 250, 1, 1)
    assert threshold("ks", 1e-6, 250, 20, 4) - one == pytest.approx(math.log(80))
    assert threshold("ks", 1e-7, 250, 1, 1) - one == pytest.approx(math.log(10))


@pytest.mark.parametrize("test", COST)
def test_between_and_beyond_the_panes_simulated_it_is_that_of_its_neighbours(test: str) -> None:
    cost = [threshold(test, 1e-6, pane, 1, 1) + math.log(1e-6 * pane) for pane in (10, 50, 70, 100, 250, 4000)]
    assert cost[0] == pytest.approx(cost[1])
    assert min(cost[1], cost[3]) <= cost[2] <= max(cost[1], cost[3])
    assert cost[5] == pytest.approx(cost[4])
