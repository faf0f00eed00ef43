"""The history of a model for people: the same bins in whatever order panes come, bounded, aligned to the calendar."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import Categories, Kind
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.panes.history import LADDER, History

LAYOUT = Layout.of([Signal("x", Kind.CATEGORICAL, Categories(("a", "b")), numeric=False)])
DAY = 86_400_000


def sketch(n: int = 1) -> Sketch:
    return LAYOUT.sketch(LAYOUT.encode(np.empty((n, 0)), [["a"] * n]), np.empty((n, 0)))


def history(times: list[int]) -> History:
    made = History()
    for ts in times:
        made.add(ts, sketch())
    return made


def test_each_length_of_a_bin_divides_the_next_one() -> None:
    assert all(longer % shorter == 0 for shorter, longer in itertools.pairwise(LADDER))


def test_bins_begin_at_whole_days_and_weeks_begin_on_mondays() -> None:
    days = history([each * DAY + 3_600_000 for each in range(20_000, 20_100)]).bins(100)
    weeks = history([each * DAY for each in range(20_000, 20_300)]).bins(50)

    assert [each.length for each in days] == [DAY] * 100
    assert all(each.start % DAY == 0 for each in days)
    assert {each.length for each in weeks} == {7 * DAY}
    assert {datetime.fromtimestamp(each.start / 1000, UTC).weekday() for each in weeks} == {0}


@given(st.lists(st.integers(-(10**12), 4 * 10**12), min_size=1, max_size=60))
def test_the_order_of_panes_changes_no_bin_and_no_event_is_lost(times: list[int]) -> None:
    shuffled = sorted(times, key=lambda ts: (ts * 2_654_435_761) % 1_000_003)

    one, other = history(times).bins(), history(shuffled).bins()

    assert sum(each.sketch.n for each in one) == len(times)
    assert [each.start for each in one] == [each.start for each in other]
    assert all(a.sketch == b.sketch for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("most", [1, 2, 30, 120])
def test_the_bins_that_are_shown_are_never_more_than_asked_for(most: int) -> None:
    assert len(history([each * 3_600_000 * 5 for each in range(700)]).bins(most)) <= most


def test_a_history_of_years_keeps_a_bounded_number_of_bins() -> None:
    assert len(history([each * DAY // 4 for each in range(5_000)]).bins()) <= 800
