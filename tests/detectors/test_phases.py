"""A baseline says which phases it has: those that tell more of days which they have not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.decision.phases import CYCLES, FEWEST, choose_phases, few_codes, held_out_gain, phases_at
from driftline.detectors.decision.reference import History

DAY, STEP = 86_400, 60


def visits_of(codes: np.ndarray, seconds: np.ndarray, phases: int) -> np.ndarray:
    return History.of(codes, 9, seconds, phases, 1).visits


def chosen(shift: np.ndarray, seconds: np.ndarray, seed: int) -> int:
    values = np.random.default_rng(seed).standard_normal(len(seconds)) + shift
    cuts = np.quantile(values, np.arange(1, 8) / 8)
    return choose_phases({each: visits_of(np.searchsorted(cuts, values), seconds, each) for each in CYCLES})


def times(days: float) -> np.ndarray:
    return np.arange(0, int(days * DAY), STEP)


def daily(seconds: np.ndarray) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * seconds / DAY)


@pytest.mark.parametrize("seed", range(3))
def test_a_signal_without_a_cycle_has_no_phases(seed: int) -> None:
    assert chosen(np.zeros(len(times(20))), times(20), seed) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_daily_cycle_has_phases_of_the_day_and_a_weekly_one_hours_of_the_week(seed: int) -> None:
    week = times(42)
    weekend = week // DAY % 7 >= 5
    assert chosen(daily(times(6)), times(6), seed) == 48
    assert chosen(daily(week), week, seed) == 48
    assert chosen(daily(week) - 0.8 * weekend, week, seed) == 168


@pytest.mark.parametrize("seed", range(5))
def test_an_event_with_a_wrong_clock_leaves_a_signal_its_phases(seed: int) -> None:
    week = np.linspace(0, 7 * DAY - 1, 12_000).astype(np.int64)
    seconds = np.append(week, 4_000_000_000)
    assert chosen(np.append(daily(week), -3.0), seconds, seed) in {24, 48}
    assert chosen(np.zeros(len(seconds)), seconds, seed) == 1


def test_what_changes_within_the_hour_has_half_hours() -> None:
    seconds = times(20)
    assert chosen(np.where(seconds % 3600 < 1800, 0.5, -0.5), seconds, 1) == 48


def test_half_hours_of_few_events_are_no_phases() -> None:
    seldom = times(6)[::20]
    assert chosen(2 * daily(seldom), seldom, 1) == 24


def test_a_constant_signal_has_no_phases() -> None:
    codes, seconds = np.zeros(len(times(42)), np.int64), times(42)
    assert choose_phases({each: visits_of(codes, seconds, each) for each in CYCLES}) == 1


def test_two_or_four_days_are_too_few() -> None:
    for days in (2, FEWEST - 1):
        assert chosen(daily(times(days)), times(days), 1) == 1


@given(st.integers(-(2**40), 2**40))
def test_a_phase_is_the_part_of_its_cycle(second: int) -> None:
    for phases, length in CYCLES.items():
        phase, cycle = phases_at(np.array([second]), phases)
        begin = cycle[0] * length + phase[0] * length // phases
        assert 0 <= phase[0] < phases
        assert begin <= second < begin + length // phases


def test_few_codes_keep_the_order_and_put_special_codes_together() -> None:
    codes = few_codes(np.array([10] * 64 + [5, 0, 1]), 64)
    assert (np.diff(codes[:64]) >= 0).all()
    assert np.bincount(codes[:64]).tolist() == [8] * 8
    assert codes[64:].tolist() == [8, 8, 8]


def test_the_gain_of_phases_is_what_they_tell_of_a_day_they_have_not_seen() -> None:
    visits = np.zeros((6, 2, 2))
    visits[:, 0, 0] = visits[:, 1, 1] = 1e6
    assert held_out_gain(visits) == pytest.approx(np.log(2), abs=1e-3)
    assert held_out_gain(np.full((6, 2, 2), 1e6)) == pytest.approx(0, abs=1e-4)
