"""How many events a model has a month, by its history, and how much of a budget is spent by that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from driftline.detectors.decision.budget import MONTH_MS, rate_per_event
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.stream.judge.pace import pace_of
from driftline.stream.judge.state import BUCKETS
from driftline.stream.panes.pane import Pane

START = 1_767_225_600_000  # 2026-01-01
HOUR, DAY = 3_600_000, 86_400_000
STEP = 600_000
# Events a second, by ms since the start.
Traffic = Callable[[float], float]


@dataclass(frozen=True)
class Count:
    """A pane's content, reduced to the number of its events."""

    n: int

    def __add__(self, newer: Count) -> Count:
        return Count(self.n + newer.n)


History = ExponentialHistogram[Pane[Count]]


def checks(traffic: Traffic, days: float) -> Iterator[tuple[int, History]]:
    """The history at each check of 50 events or more, panes of ten minutes; and the events since the last one."""
    history, events, first = History(BUCKETS), 0.0, None
    for at in range(0, round(days * DAY), STEP):
        new = traffic(at) * STEP / 1000
        first = at if first is None and new else first
        events += new
        if events >= 50 and first is not None:
            history = history.push(Pane(Count(int(events)), START + first, START + at + STEP - 1, ()))
            yield int(events), history
            events, first = events % 1, None


def spent(traffic: Traffic, days: float) -> float:
    """False pages that all checks together may spend of one page a month."""
    return sum(min(n * rate_per_event(1.0, pace_of(history)), 1.0) for n, history in checks(traffic, days))


def steady(rate: float) -> Traffic:
    """`rate` events a second, always."""
    return lambda _: rate


def per_day(hours: float) -> Traffic:
    """A thousand events a second, in the first hours of each day."""
    return lambda at: 1000.0 * (at % DAY < hours * HOUR)


CASES: Sequence[tuple[str, Traffic, float, float, float]] = [
    # what, traffic, days, least and most pages spent a promised one
    ("ten a second", steady(10), 40, 0.95, 1.05),
    ("one a minute", steady(1 / 60), 40, 0.95, 1.05),
    ("ten a day", steady(10 / 86_400), 400, 0.9, 1.05),
    ("days and nights", lambda at: 10 * (1 + 0.9 * math.sin(2 * math.pi * at / DAY)), 40, 0.85, 1.05),
    ("begun at night", lambda at: 10 * (1 - 0.99 * math.cos(2 * math.pi * at / DAY)), 40, 0.85, 1.1),
    ("office hours", lambda at: 10.0 * (at // DAY % 7 < 5 and 9 <= at % DAY / HOUR < 17), 40, 0.6, 1.05),
    ("a batch each night", per_day(1), 40, 0.5, 1.05),
    ("a batch each week", lambda at: 1000.0 * (at % (7 * DAY) < HOUR), 70, 0.4, 1.05),
    ("ten times more on the tenth day", lambda at: 10.0 if at > 10 * DAY else 1.0, 40, 0.9, 1.15),
    ("ten times less on the tenth day", lambda at: 1.0 if at > 10 * DAY else 10.0, 100, 0.3, 1.0),
    ("silent for three weeks", lambda at: 10.0 * (not 10 * DAY < at < 31 * DAY), 60, 0.4, 1.0),
    ("an hour's trial a week before", lambda at: 10.0 * (not HOUR < at < 8 * DAY), 40, 0.9, 1.5),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_budget_is_spent_and_hardly_exceeded_by(case: tuple[str, Traffic, float, float, float]) -> None:
    _, traffic, days, least, most = case
    promised = days * DAY / MONTH_MS
    assert least * promised <= spent(traffic, days) <= most * promised


def test_the_first_day_of_a_model_spends_little_of_a_month() -> None:
    assert spent(steady(10), 1) < 0.05
    assert spent(per_day(1), 1) < 0.05


def test_the_pace_hardly_moves_between_two_checks_once_a_day_is_known() -> None:
    cycle = list(checks(lambda at: 10 * (1 + 0.9 * math.sin(2 * math.pi * at / DAY)), 20))
    paces = np.log([pace_of(history) for _, history in cycle[200:]])
    assert np.abs(np.diff(paces)).max() < 0.1


def test_a_pane_with_a_wrong_clock_changes_the_pace_by_little() -> None:
    *_, (_, history) = checks(steady(10), 20)
    right = pace_of(history)
    for wrong in (START - 3650 * DAY, START + 3650 * DAY, START + 40 * DAY):
        after = history.push(Pane(Count(250), wrong, wrong + 1000, ()))
        assert pace_of(after) == pytest.approx(right, rel=0.05)
        for at in range(20 * DAY, 21 * DAY, STEP):
            after = after.push(Pane(Count(6000), START + at, START + at + STEP - 1, ()))
            assert pace_of(after) == pytest.approx(right, rel=0.15)


def test_the_versions_of_a_model_share_its_budget() -> None:
    *_, (_, one) = checks(steady(10), 20)
    *_, (_, other) = checks(steady(30), 20)
    assert pace_of(one, [other]) == pytest.approx(40 * MONTH_MS / 1000, rel=0.02)
    later = History(BUCKETS, tuple(tuple(moved(pane, 120 * DAY) for pane in row) for row in one.rows))
    assert pace_of(later, [other]) < 20 * MONTH_MS / 1000, "a version out of use gives its part back"


def moved(pane: Pane[Count], by: int) -> Pane[Count]:
    return Pane(pane.content, pane.first_ts + by, pane.last_ts + by, ())


def test_nothing_is_known_before_the_first_event() -> None:
    assert pace_of(()) == 0.0
