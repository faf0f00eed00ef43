"""Signals with phases are compared with their own times: night with nights, and a shift is seen as soon."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from driftline.detectors.summaries.codes import Special
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.calendar import Calendar
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.events.times import MAX_EPOCH_MS
from driftline.stream.judge.calibration import calibrate
from driftline.stream.judge.incidents import Cycle, Finding, Status, Step
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from tests.harness.days import DAY, baseline_of_days, events
from tests.harness.traffic import baseline_of, draw

PANE = 40
CONFIG = ModelConfig(false_alarms_per_event=1e-4)
DAYS = 10


def pane_of(monitor: Monitor, part: Sequence[Event], start: int, *, timed: bool = True) -> Pane:
    assert monitor.given is not None
    slots = np.unique([event.ts // SLOT_MS for event in part], return_counts=True)
    counted = tuple(zip(*(each.tolist() for each in slots), strict=True)) if timed else ()
    run = Range(0, start, start + len(part))
    return Pane(monitor.given.sketch_events(part), part[0].ts, part[-1].ts, (run,), counted)


class Live:
    """A monitor with what it remembers."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor, self.state, self.seen = monitor, ModelState(), 0

    def feed(self, log: Sequence[Event], *, timed: bool = True) -> list[tuple[int, Step]]:
        """Steps with the number of events of the log until then."""
        steps = []
        for first in range(0, len(log), PANE):
            part = log[first : first + PANE]
            self.state, found = self.monitor.judge(self.state, pane_of(self.monitor, part, self.seen, timed=timed))
            self.seen += len(part)
            steps += [(first + len(part), step) for step in found]
        return steps


def live(*, cycles: bool = True, portable: bool = True) -> Live:
    baseline = baseline_of_days()
    given = baseline if cycles else replace(baseline, cycles=None)
    return Live(Monitor("given", CONFIG, given, portable=portable))


def first_of(steps: list[tuple[int, Step]], signal: str) -> tuple[int, Finding]:
    return next((at, each) for at, step in steps for each in step.findings if each.signal == signal)


def test_days_like_those_of_the_baseline_page_nobody() -> None:
    pages = [
        step
        for seed in range(1, 7)
        for _, step in live().feed([*events(0, DAYS, seed)])
        if step.status is Status.FIRING
    ]
    # 28,800 events at 1e-4 allow 2.9.
    assert len(pages) <= 5


def test_a_shift_is_seen_in_a_signal_that_follows_the_day_as_soon_as_in_one_that_does_not() -> None:
    delays = {"features.wave": [], "features.calm": []}  # type: dict[str, list[int]]
    for seed in range(1, 6):
        this = live()
        assert not this.feed([*events(0, 3, seed)])
        steps = this.feed([*events(3, 2, seed, shift=1.0)])
        for signal, found in delays.items():
            found.append(first_of(steps, signal)[0])
    assert median(delays["features.wave"]) <= 2 * median(delays["features.calm"])


def test_without_phases_the_same_shift_takes_far_longer() -> None:
    this, log = live(cycles=False), [*events(3, 2, 1, shift=0.5)]
    this.feed([*events(0, 3, 1)])
    steps = this.feed(log)
    late = [at for at, step in steps if any(each.signal == "features.wave" for each in step.findings)]
    with_phases = live()
    with_phases.feed([*events(0, 3, 1)])
    assert first_of(with_phases.feed(log), "features.wave")[0] < min(late, default=len(log)) / 4


def test_what_an_alarm_says_was_there_before_is_that_of_its_own_hours() -> None:
    this = live()
    this.feed([*events(0, 3, 1)])
    _, finding = first_of(this.feed([*events(3, 2, 1, shift=1.5)]), "features.wave")
    assert finding.cycle is not None
    assert finding.cycle in {Cycle(24, "UTC"), Cycle(48, "UTC")}
    # The shift begins at midnight and is seen in the morning, when values are higher than on average.
    before, after = finding.change.before.mean, finding.change.after.mean
    assert before is not None
    assert after is not None
    assert before > 0.2
    assert after - before == pytest.approx(1.5, abs=0.6)


def by_day(log: Iterable[Event]) -> list[Event]:
    """The events between 8 and 18 h."""
    return [event for event in log if 8 <= event.ts // 3_600_000 % 24 < 18]


def test_at_hours_that_the_baseline_has_never_seen_an_alarm_says_what_was_there_at_all_others() -> None:
    baseline = build_baseline(by_day(events(-20, 20, seed=0)), {"model": "given"}, BuildSettings(timezone="UTC"))
    assert baseline.cycles is not None
    assert "features.wave" in baseline.cycles.by_name
    this = Live(Monitor("given", CONFIG, baseline, portable=True))
    night = [event for event in events(0, 4, 1, shift=2.0) if event.ts // 3_600_000 % 24 < 7]
    _, finding = first_of(this.feed(night), "features.wave")
    before, layout = finding.change.before, baseline.layout
    all_times = layout.summary(baseline.total, [each.name for each in layout.signals].index("features.wave"))
    assert all_times is not None
    assert before.mean == pytest.approx(all_times.mean, abs=1e-6)
    assert before.deviation == pytest.approx(all_times.deviation, rel=1e-3)


def test_signals_without_phases_are_compared_with_all_times() -> None:
    this = live()
    _, finding = first_of(this.feed([*events(0, 2, 1, shift=1.5)]), "features.calm")
    assert finding.cycle is None
    assert finding.change.before.events == baseline_of_days().total.n


def test_what_goes_missing_at_the_wrong_time_of_day_is_seen() -> None:
    this, day = live(), [*events(0, 3, 1)]
    this.feed(day[: 2 * DAY])
    # As often as at any time of the day in all, but in the evening, when hardly any is missing.
    evening = [
        replace(event, signals={**event.signals, "features.often": None if i % 5 == 0 else 0.1})
        for i, event in enumerate(day[2 * DAY + DAY // 2 :])
    ]
    at, finding = first_of(this.feed(evening), "features.often")
    assert at <= DAY // 3
    assert finding.change.before.special["missing"] < 0.2


def test_the_history_counts_its_events_by_half_hour_of_the_week() -> None:
    this = live()
    this.feed([*events(0, 9, 1)])
    assert this.state.judge is not None
    buckets = [*this.state.judge.history]
    assert all(sum(count for _, count in bucket.slots) == bucket.content.n for bucket in buckets)
    assert max(len(bucket.slots) for bucket in buckets) <= 336


def test_what_is_stored_goes_on_with_the_same_steps() -> None:
    log = [*events(0, 4, 1), *events(4, 1, 1, shift=1.5)]
    whole, parts = live(), live()
    steps = whole.feed(log)
    half = len(log) // 2 // PANE * PANE
    before = parts.feed(log[:half])
    parts.state = restore_state(state_delta(None, parts.state).write, None)
    after = [(half + at, step) for at, step in parts.feed(log[half:])]
    assert before + after == steps
    assert state_delta(None, parts.state) == state_delta(None, whole.state)


def test_a_group_at_the_first_level_judges_as_without_phases_and_stores_no_times() -> None:
    log = [*events(0, 3, 1), *events(3, 2, 1, shift=1.5)]
    first, without = live(portable=False), live(cycles=False, portable=False)
    steps = [[(at, step.status, step.incident.since) for at, step in each.feed(log)] for each in (first, without)]
    assert steps[0] == steps[1] != []
    assert first.state.judge is not None
    slots: list[object] = []
    first.state.judge.history.map(lambda bucket: slots.append(bucket.slots) or bucket)
    assert set(slots) == {()}


def test_at_level_2_signals_with_phases_spend_less_than_at_level_3_on_what_the_baseline_has_seen() -> None:
    """There, all columns of the battery share the rate, also those that are not asked."""
    baseline = baseline_of_days()
    second, third = (Judge(baseline, CONFIG, by_slope=each) for each in (False, True))
    assert second.alike is not None
    assert third.alike is not None
    none, alike = np.zeros((1, len(second.battery.columns))), (second.alike, third.alike)
    lower, higher = (
        dict(zip(each.columns, each.thresholds(none, 1e-5, 250)[0].tolist(), strict=True)) for each in alike
    )
    shape = [each for each in lower if each.statistic in ("ks", "level", "spread", "chi2") and lower[each] > 0]
    assert len(shape) > 3
    assert all(higher[each] > 0 for each in shape)
    assert sum(math.exp(-lower[each]) for each in shape) < sum(math.exp(-higher[each]) for each in shape)


@pytest.mark.parametrize("names", [("features.wave", "features.calm"), ("features.wave",), ("features.kind",)])
def test_what_the_baseline_has_never_seen_has_a_tenth_of_the_false_pages_whatever_signals_there_are(
    names: tuple[str, ...],
) -> None:
    alike = Judge(baseline_of_days().select_signals(names.__contains__), CONFIG).alike
    assert alike is not None
    of_tests = alike._worth / alike._tested
    assert of_tests.sum() == pytest.approx(1)
    unseen = [each.special not in (None, Special.MISSING) for each in alike.columns]
    assert of_tests[unseen].sum() == pytest.approx(0.1 * 5 / 6, abs=0.02)


def test_each_signal_may_spend_the_same_and_level_four_times_what_other_tests_may() -> None:
    alike = Judge(baseline_of(draw(np.random.default_rng(0), 10_000)), CONFIG).alike
    assert alike is not None
    of_tests, layout = alike._worth / alike._tested, alike.battery.layout
    known = [
        each.statistic != "far"
        and (each.special is None or alike.battery.baseline[layout.special_column(*each[1:])] > 0)
        for each in alike.columns
    ]
    spent = np.bincount(alike.signal_of[known], of_tests[known])
    numbers = [len([each for each in alike.columns if each.signal == s]) for s in range(len(spent))]
    assert len({*numbers}) > 1
    assert spent == pytest.approx(np.full(len(spent), 0.9 / len(spent)))
    by_test = {(each.statistic, each.signal): part for each, part in zip(alike.columns, of_tests, strict=True)}
    levels = [signal for test, signal in by_test if test == "level"]
    assert levels
    for signal in levels:
        assert by_test["level", signal] == pytest.approx(4 * by_test["smooth", signal])


def test_another_zone_forgets_in_which_half_hours_events_were_and_keeps_the_rest() -> None:
    """The buckets' half hours are those of the zone before: in another one they would be a shift of hours."""
    this = live()
    assert this.feed([*events(0, 3, 1)]) == []
    moved = Live(Monitor("given", CONFIG, baseline_of_days(timezone="America/New_York"), portable=True))
    moved.state, moved.seen = this.state, this.seen
    assert moved.feed([*events(3, 1, 1)]) == []
    judge = moved.state.judge
    assert judge is not None
    assert judge.end == this.state.judge.end + len([*events(3, 1, 1)])


def test_a_history_that_counted_no_times_is_taken_to_be_spread_over_its_own() -> None:
    this, log = live(cycles=False), [*events(0, 4, 1)]
    this.feed(log)
    later = Live(Monitor("given", CONFIG, baseline_of_days(), portable=True))
    later.state, later.seen = this.state, this.seen
    steps = later.feed([*events(4, 2, 1)], timed=False)
    assert not [each for _, step in steps for each in step.findings if each.cycle]
    assert first_of(later.feed([*events(6, 1, 1, shift=1.5)]), "features.wave")[0] <= DAY // 2


def test_a_calibration_leaves_out_what_is_compared_by_phase_and_names_it() -> None:
    baseline = baseline_of_days()
    found = calibrate(baseline, CONFIG)
    assert set(found.by_phase) == {"features.wave", "features.kind", "features.often"}
    assert [each.name for each in found.seen] == ["features.calm"]
    assert found.pages == ()
    assert not calibrate(baseline, ModelConfig(reference="past")).by_phase
    only = calibrate(baseline.select_signals(lambda name: name == "features.wave"), CONFIG)
    assert (only.pages, only.why, only.seen) == (None, "all of its signals are compared by phase", ())


@pytest.mark.parametrize("timezone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_events_at_the_ends_of_time_are_judged_in_zones_far_from_utc(timezone: str) -> None:
    this = Live(Monitor("given", CONFIG, baseline_of_days(timezone=timezone), portable=True))
    day = [*events(0, 1, 1)]
    ends = [replace(day[0], ts=0), replace(day[1], ts=MAX_EPOCH_MS)]
    for log in (ends, day, ends):
        assert not this.feed(log)


@pytest.mark.parametrize("timezone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_baseline_is_learned_from_events_at_the_ends_of_time_in_zones_far_from_utc(timezone: str) -> None:
    log = [*events(0, 6, 1)]
    log = [replace(log[0], ts=0), *log[1:-1], replace(log[-1], ts=MAX_EPOCH_MS)]
    config = ModelConfig(learn_events=len(log), calendar=Calendar(timezone=timezone))
    monitor = Monitor("given", config, learned_format=2)
    state, _ = monitor.judge(ModelState(), Pane(tuple(log), 0, MAX_EPOCH_MS, (Range(0, 0, len(log)),)))
    assert state.learned is not None
    assert state.learned.total.n == len(log)
