"""Traffic that stops, falls or rises is distinguished from traffic that is as always."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detectors.decision.absence import Kind, judge, judge_all, recovered, thresholds
from driftline.detectors.decision.rates import HOUR, LEARNED, Rates
from driftline.detectors.decision.traffic import AHEAD, EVERY_DAY, Calendar, Traffic

FIRST = 480_000 * HOUR
DAY = 24 * HOUR
#: False pages a month.
ALLOWED = 1.0


def _fed(traffic: Traffic, counts: np.ndarray, calendar: Calendar = EVERY_DAY, unlearned=()) -> Traffic:
    """The traffic with counts by slot from where it is complete on, hour by hour."""
    for first in range(0, len(counts), HOUR):
        hour = counts[first : first + HOUR]
        slots = np.flatnonzero(hour)
        until = traffic.until + len(hour)
        traffic = traffic.observe(traffic.until + slots, hour[slots], until, calendar=calendar, unlearned=unlearned)
    return traffic


@cache
def _known(a_slot: float, hours: int = LEARNED + 24) -> Traffic:
    """Independent events in a daily cycle."""
    at = np.arange(hours * HOUR)
    rate = a_slot * (1 - 0.6 * np.cos(2 * np.pi * at / DAY))
    return _fed(Traffic.start(FIRST), np.random.default_rng(7).poisson(rate))


def _slots_to_alarm(traffic: Traffic, most: int, a_slot: float = 0.0, ticks: int = 1):
    """The first alarm, and how many slots later, if from now on each slot has `a_slot` events on average.

    ticks: slots between two ticks; events come in the first.
    """
    rng = np.random.default_rng(0)
    for passed in range(ticks, most + 1, ticks):
        traffic = traffic.observe([traffic.until], [rng.poisson(a_slot)], traffic.until + ticks)
        found = judge(traffic, traffic.until, ALLOWED)
        if found and found.alarm:
            return found, passed, traffic
    raise AssertionError(f"no alarm in {most} slots")


def test_a_model_of_ten_events_a_second_is_missed_after_one_slot() -> None:
    found, passed, _ = _slots_to_alarm(_known(100.0), 3)
    assert (found.kind, found.seen, passed) == (Kind.SILENCE, 0, 1)


def test_a_model_of_ten_events_a_day_is_missed_after_a_day_or_two() -> None:
    found, passed, _ = _slots_to_alarm(_known(10 / DAY), 3 * DAY, ticks=60)
    assert found.kind is Kind.SILENCE
    assert DAY / 3 < passed < 2 * DAY


def test_half_the_traffic_and_twice_the_traffic_page_within_minutes() -> None:
    # Midnight: 0.4 of the mean rate.
    few, passed, _ = _slots_to_alarm(_known(10.0), 60, a_slot=2.0)
    assert few.kind is Kind.FEW
    many, passed, _ = _slots_to_alarm(_known(10.0), 60, a_slot=8.0)
    assert many.kind is Kind.MANY
    assert many.seen > many.expected
    assert passed < 60


def test_the_night_is_no_alarm() -> None:
    traffic, rng = _known(10.0), np.random.default_rng(1)
    for hour in range(48):
        rate = 10.0 * (1 - 0.6 * np.cos(2 * np.pi * (np.arange(HOUR) / DAY + hour / 24)))
        traffic = _fed(traffic, rng.poisson(rate))
        moments = range(traffic.until - HOUR + 1, traffic.until + 1)
        assert not any(each.alarm for each in judge_all(traffic, moments, ALLOWED))


def test_silence_is_over_with_the_first_events_but_not_with_a_trickle() -> None:
    found, _, silent = _slots_to_alarm(_known(100.0), 3)
    silent = silent.observe([], [], silent.until + 60)
    assert not recovered(silent, silent.until, found.start)
    trickle = silent.observe([silent.until], [1], silent.until + 1)
    assert not recovered(trickle, trickle.until, found.start)
    back = silent.observe([silent.until], [40], silent.until + 1)
    assert recovered(back, back.until, found.start)


def test_a_rare_event_ends_the_silence_of_a_model_with_few_events() -> None:
    found, _, silent = _slots_to_alarm(_known(10 / DAY), 3 * DAY, ticks=60)
    assert not recovered(silent, silent.until, found.start)
    back = silent.observe([silent.until], [1], silent.until + 1)
    assert recovered(back, back.until, found.start)


def test_half_the_traffic_is_over_when_all_of_it_is_back() -> None:
    found, _, half = _slots_to_alarm(_known(100.0), 60, a_slot=20.0)
    for _ in range(30):
        half = half.observe([half.until], [20], half.until + 1)
        assert not recovered(half, half.until, found.start)
    for _ in range(3):
        half = half.observe([half.until], [40], half.until + 1)
    assert recovered(half, half.until, found.start)


def test_in_the_first_week_a_silence_is_over_although_time_has_passed_over_its_first_events() -> None:
    """As of a batch each six hours whose history is read again: time comes to no slot between two."""
    six, traffic = 6 * HOUR, Traffic.start(FIRST)
    for _ in range(10):
        traffic = traffic.observe([traffic.until], [20], traffic.until + six)
    begin = traffic.until - six + 1
    for _ in range(9):
        traffic = traffic.observe([], [], traffic.until + six)
        assert not recovered(traffic, traffic.until, begin)
        holiday = Calendar(excluded=((traffic.until - HOUR, traffic.until + six),))
        later = traffic.observe([], [], traffic.until + six, calendar=holiday)
        assert not recovered(later, later.until, begin, holiday)
    traffic = traffic.observe([traffic.until], [20], traffic.until + six)
    assert recovered(traffic, traffic.until, begin)


def test_in_the_first_weeks_a_silence_pages_when_it_is_eight_times_the_longest_so_far() -> None:
    traffic = _known(100.0, 72)
    assert traffic.rates.longest == 0
    found, passed, _ = _slots_to_alarm(traffic, HOUR)
    assert (found.kind, passed) == (Kind.SILENCE, HOUR)
    paused = _fed(_fed(traffic, np.zeros(HOUR, int)), np.full(2 * HOUR + 1, 100))
    assert paused.rates.longest == HOUR
    _, passed, _ = _slots_to_alarm(paused, 9 * HOUR, ticks=30)
    assert passed == 8 * HOUR
    holiday = Calendar(excluded=((paused.until, paused.until + 20 * HOUR),))
    away = paused.observe([], [], paused.until + 20 * HOUR, calendar=holiday)
    assert not judge(away, away.until, ALLOWED, calendar=holiday).alarm


def test_in_the_first_weeks_a_stop_does_not_hide_the_next_one() -> None:
    traffic = _known(100.0, 72)
    stop = [(traffic.until, traffic.until + 6 * HOUR + 1)]
    after = _fed(traffic, np.r_[np.zeros(6 * HOUR, int), np.full(2 * HOUR + 1, 100)], unlearned=stop)
    assert after.rates.longest == 0


def test_of_a_model_without_two_days_of_events_nothing_is_said() -> None:
    assert judge(_known(100.0, 24), FIRST + 24 * HOUR, ALLOWED) is None
    empty = Traffic.start(FIRST).observe([], [], FIRST + LEARNED * 2 * HOUR)
    assert judge(empty, empty.until, ALLOWED) is None


def test_a_pause_that_came_often_is_not_an_alarm() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(100.0, (LEARNED + 24) * HOUR)
    for at in rng.integers(0, len(counts), 30):
        counts[at : at + rng.integers(6, 18)] = 0
    _, passed, _ = _slots_to_alarm(_fed(Traffic.start(FIRST), counts), HOUR)
    assert 18 < passed < HOUR


def test_excluded_time_is_neither_learned_nor_judged() -> None:
    traffic = _known(100.0)
    holiday = Calendar(excluded=((traffic.until, traffic.until + 6 * HOUR),))
    after = traffic.observe([], [], traffic.until + 6 * HOUR, calendar=holiday)
    assert not judge(after, after.until, ALLOWED, calendar=holiday).alarm
    plain = traffic.observe([], [], traffic.until + 6 * HOUR)
    assert judge(plain, plain.until, ALLOWED).alarm
    # Hours are learned when another one has passed: the two before the holiday are learned during it.
    assert after.rates.learned == traffic.rates.learned + 2 * HOUR < plain.rates.learned


def test_the_time_of_an_incident_changes_no_expectation() -> None:
    traffic = _known(100.0)
    begin = traffic.until
    lasting = _fed(traffic, np.zeros(24 * HOUR, int), unlearned=[(begin, begin + 10**6)])
    learned = _fed(traffic, np.zeros(24 * HOUR, int))
    assert lasting.rates.shapes[1] == pytest.approx(traffic.rates.shapes[1], rel=0.01)
    assert learned.rates.shapes[1].mean() < 0.95 * lasting.rates.shapes[1].mean()


def test_local_time_moves_the_hours_of_the_week() -> None:
    change = 1_700_000_000
    calendar = Calendar((change,), (7200, 3600))
    hours = np.array([change // 3600 - 2, change // 3600 + 2])
    assert (calendar.cells(hours) - Calendar().cells(hours)).tolist() == [2, 1]
    with pytest.raises(ValueError, match="one offset more"):
        Calendar((change,), (0,))


def test_while_a_partition_is_behind_nothing_new_is_judged_and_nothing_is_lost() -> None:
    traffic = _known(10.0)
    now = traffic.until
    slots = np.arange(now, now + 4 * HOUR)
    ahead = traffic.observe(slots, np.full(len(slots), 3), now, reached=now + 4 * HOUR)
    assert judge(ahead, now, ALLOWED) == judge(traffic, now, ALLOWED)
    later = ahead.observe(slots, np.full(len(slots), 3), now + 4 * HOUR)
    whole = traffic.observe(slots, np.full(len(slots), 6), now + 4 * HOUR)
    assert later == whole


def test_what_lies_more_than_a_day_ahead_is_unknown_and_no_absence() -> None:
    traffic = _known(100.0)
    now = traffic.until
    reached = now + 2 * AHEAD
    behind = traffic.observe(np.arange(now, reached), np.full(2 * AHEAD, 100), now, reached=reached)
    assert len(behind.pending) <= 2 * HOUR + AHEAD
    caught_up = behind.observe([], [], reached)
    silent = judge(caught_up, reached, ALLOWED)
    assert silent.kind is not Kind.SILENCE or not silent.alarm


@pytest.mark.parametrize("last", [15, 12, 9])
def test_events_that_were_read_between_two_ticks_of_a_backlog_are_no_silence(last: int) -> None:
    """Of a model with an event every six hours, days are read at once, and no tick speaks of the last of them yet."""
    six_hours = 6 * HOUR
    traffic, times = Traffic.start(8 * AHEAD), range(8 * AHEAD, 14 * AHEAD, six_hours)
    for read, tick in ((range(4), 0), (range(4, 16), last), (range(16, 18), 15), (range(18, 24), 23)):
        traffic = traffic.observe([times[k] for k in read], [1] * len(read), traffic.until)
        traffic = traffic.observe([], [], times[tick] - HOUR, reached=times[tick])
        # What is known before and after an unknown time counts as one silence.
        assert max(traffic.rates.quiet, traffic.rates.longest) < 2 * six_hours
    later = traffic.observe([], [], times[-1] + 3 * AHEAD)
    assert later.rates.learned > 3 * AHEAD


@pytest.mark.parametrize(("days", "every"), [(1, HOUR), (4, AHEAD)])
def test_a_producer_whose_clock_is_days_ahead_leaves_nothing_unknown(days: int, every: int) -> None:
    traffic = _known(10.0)
    begin = traffic.until
    for slot in range(begin, begin + 6 * AHEAD, every):
        traffic = traffic.observe([slot, slot + days * AHEAD + HOUR], [5, 5], slot + every, reached=slot + every)
    assert traffic.known(begin, 6 * AHEAD, EVERY_DAY).all()


def test_a_wrong_clock_far_ahead_is_not_counted() -> None:
    traffic = _known(100.0)
    assert traffic.observe([traffic.until + 10 * AHEAD], [5], traffic.until) == traffic


def test_events_that_come_late_count_until_their_hour_is_learned() -> None:
    traffic = _known(10.0)
    late = traffic.observe([traffic.until - HOUR], [1], traffic.until)
    assert late != traffic
    assert traffic.observe([traffic.first - 1], [1], traffic.until) == traffic


def test_the_state_is_integers() -> None:
    rates = _known(10.0).rates
    for each in fields(Rates):
        assert np.asarray(getattr(rates, each.name)).dtype == np.int64


def test_a_smaller_allowance_needs_more_evidence() -> None:
    rates = _known(10.0).rates
    assert (thresholds(rates, 0.1) >= thresholds(rates, 1.0) + 2).all()


EVENTS = st.lists(st.tuples(st.integers(0, 5 * HOUR - 1), st.integers(1, 1000)), max_size=60)


@settings(max_examples=25, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 5 * HOUR), max_size=8), st.randoms(use_true_random=False))
def test_the_order_and_the_pieces_of_what_is_observed_do_not_matter(events, cuts, random) -> None:
    start = _known(10.0)
    slots, counts = (np.array([each[k] for each in events], np.int64) for k in (0, 1))
    whole = start.observe(start.until + slots, counts, start.until + 5 * HOUR)
    pieces, shuffled = start, random.sample(events, len(events))
    for cut in [*sorted(cuts), 5 * HOUR]:
        now, shuffled = [each for each in shuffled if each[0] < cut], [each for each in shuffled if each[0] >= cut]
        for slot, count in now:
            pieces = pieces.observe([start.until + slot], [count], pieces.until)
        pieces = pieces.observe([], [], start.until + cut)
    assert pieces == whole


@settings(max_examples=10, deadline=None)
@given(EVENTS, st.integers(0, 5 * HOUR))
def test_counts_add_up(events, until) -> None:
    start = _known(10.0)
    slots, counts = (np.array([each[k] for each in events], np.int64) for k in (0, 1))
    both = start.observe(start.until + np.r_[slots, slots], np.r_[counts, counts], start.until + until)
    assert both == start.observe(start.until + slots, 2 * counts, start.until + until)


def test_judging_an_hour_at_once_is_judging_it_tick_by_tick() -> None:
    traffic, rng = _known(1.0), np.random.default_rng(5)
    first, counts = traffic.until, rng.poisson(0.4, HOUR)
    whole = _fed(traffic, counts)
    at_once = judge_all(whole, range(first + 1, first + HOUR + 1), ALLOWED)
    for count, found in zip(counts, at_once, strict=True):
        traffic = traffic.observe([traffic.until], [count], traffic.until + 1)
        assert judge(traffic, traffic.until, ALLOWED) == found
