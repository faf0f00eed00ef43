"""The judge: when a signal joins an incident, when it leaves, and what is said of it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from driftline.stream.config.fields import Window
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.incidents import Finding, Status, Step
from driftline.stream.panes.pane import Pane, Range
from tests.harness.traffic import Batch, Driver, baseline_of

RNG = np.random.default_rng(11)
# 2000 events without drift: a level, a quiet companion, a nominal signal.
CALM: Batch = {
    "features.x": RNG.normal(size=2000).astype(object),
    "features.y": RNG.normal(size=2000).astype(object),
    "features.c": RNG.choice(list("ab"), 2000, p=[0.7, 0.3]).astype(object),
}
BASELINE = baseline_of(CALM)


def traffic(n: int, seed: int, **shifts: float) -> Batch:
    """n events like the baseline's; `x=2` moves features.x by 2 σ."""
    rng = np.random.default_rng(seed)
    return {
        "features.x": (rng.normal(size=n) + shifts.get("x", 0)).astype(object),
        "features.y": (rng.normal(size=n) + shifts.get("y", 0)).astype(object),
        "features.c": rng.choice(list("ab"), n, p=[0.7, 0.3]).astype(object),
    }


def driver(*, pane: int = 100, **config: object) -> Driver:
    return Driver(BASELINE, ModelConfig(**config), pane=pane)


def reported(steps: Sequence[tuple[int, Step]]) -> list[tuple[int, str, list[str]]]:
    return [(seen, step.status.value, [each.signal for each in step.findings]) for seen, step in steps]


def feed(own: Driver, *batches: Batch) -> list[tuple[int, Step]]:
    return [step for batch in batches for step in own.feed(batch)]


def test_a_drift_fires_once_and_is_resolved_when_it_is_over() -> None:
    own = driver()
    assert feed(own, traffic(3000, 1)) == []
    ((seen, fired),) = feed(own, traffic(3000, 2, x=1.5))
    assert fired.status is Status.FIRING
    assert 3000 < seen <= 3200
    ((seen, resolved),) = feed(own, traffic(3000, 3))
    assert resolved.status is Status.RESOLVED
    assert 6000 < seen <= 7000
    assert feed(own, traffic(5000, 4)) == []
    assert resolved.incident.opened == fired.incident.opened


def test_a_finding_has_the_start_the_size_and_the_offsets_of_its_window() -> None:
    own = driver()
    feed(own, traffic(3000, 1))
    ((_, fired),) = feed(own, traffic(1000, 2, x=1.5))
    (finding,) = fired.findings
    assert (finding.signal, finding.against_past) == ("features.x", False)
    assert 2900 <= finding.start <= 3100
    assert finding.since == finding.start * 1000
    assert finding.ranges == (Range(0, finding.start, finding.start + finding.events),)
    assert finding.evidence >= finding.threshold > 10
    before, after = finding.change.before, finding.change.after
    assert before.events == 2000
    assert after.mean - before.mean == pytest.approx(1.5, abs=0.4)


def test_other_signals_join_an_open_incident_and_it_ends_with_the_last_of_them() -> None:
    own = driver()
    steps = feed(own, traffic(2000, 1), traffic(1500, 2, x=2), traffic(1500, 3, x=2, y=2), traffic(1500, 4, y=2))
    steps += feed(own, traffic(3000, 5))
    assert [(status, news) for _, status, news in reported(steps)] == [
        ("firing", ["features.x"]),
        ("updated", ["features.y"]),
        ("resolved", []),
    ]
    assert {each.signal for each in steps[-1][1].incident.recovered} == {"features.x", "features.y"}
    assert len({step.incident.opened for _, step in steps}) == 1


def test_several_signals_are_named_strongest_first() -> None:
    own = driver()
    feed(own, traffic(2000, 1))
    ((_, fired),) = feed(own, traffic(500, 2, x=1.2, y=3))
    assert [each.signal for each in fired.findings] == ["features.y", "features.x"]
    ratios = [each.evidence / each.threshold for each in fired.findings]
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.parametrize("window", ["1000 events", "300s"])
def test_a_drift_in_a_configured_window_is_one_incident_until_it_is_over(window: str) -> None:
    """The release looks at a window of its own length, which is none of the pinned ones.

    As if nothing were there, it used to end the incident, and the pinned window to open the next: 4 in 10,000 events.
    """
    own = driver(windows=(Window.parse(window),))
    steps = feed(own, traffic(3000, 1), traffic(10_000, 2, x=1.5), traffic(6_000, 3))
    assert [status for _, status, _ in reported(steps)] == ["firing", "resolved"]
    assert 3000 < steps[0][0] < 4000 < 13_000 < steps[1][0]


def test_a_configured_window_is_the_shortest_that_reaches_its_length() -> None:
    """A burst of 100 events is diluted in a window of 2000, and seen by all windows at once."""
    burst = (traffic(3000, 1), traffic(100, 2, x=1.5), traffic(1500, 3))
    pinned = driver(windows=(Window.parse("2000 events"),), pane=50)
    assert feed(pinned, *burst) == []
    assert reported(feed(driver(pane=50), *burst))[0][2] == ["features.x"]
    ((_, fired),) = feed(pinned, traffic(1500, 4, x=1))
    assert 2000 <= fired.findings[0].events < 2500


def thresholds_of_windows(*, slopes: bool) -> list[float]:
    thresholds = []
    for windows in (["300 events"], ["300 events", "90d", "91d"], []):
        own = driver(windows=tuple(map(Window.parse, windows)))
        if not slopes:
            own = Driver(replace(BASELINE, slopes=None), own.config, own.pane)
        ((_, fired),) = feed(own, traffic(3000, 1), traffic(300, 2, x=3))
        thresholds.append(fired.findings[0].threshold)
    return thresholds


def test_false_alarms_are_shared_by_the_windows_there_are() -> None:
    """One pinned window has them for itself, be it one of twenty suffixes."""
    thresholds = thresholds_of_windows(slopes=False)
    assert thresholds == sorted(set(thresholds))


def test_of_a_signal_with_slopes_windows_cost_nothing_as_they_overlap() -> None:
    # That of ks or of level, whichever finds it first.
    assert np.ptp(thresholds_of_windows(slopes=True)) < 0.2
    assert max(thresholds_of_windows(slopes=True)) < min(thresholds_of_windows(slopes=False))


def test_no_alarm_is_raised_before_a_configured_window_is_reached() -> None:
    own = driver(windows=(Window.parse("5000 events"),))
    assert feed(own, traffic(4900, 1, x=3)) == []
    assert reported(feed(own, traffic(500, 2, x=3)))[0][1] == "firing"


def test_against_the_past_each_change_is_reported_once_and_compared_with_the_events_just_before() -> None:
    """Of the second change, the level before it used to be a mixture of all levels ever seen."""
    own = driver(reference="past")
    steps = feed(own, traffic(4000, 1), traffic(4000, 2, x=3), traffic(4000, 3, x=9), traffic(4000, 4, x=9))
    findings: list[Finding] = [each for _, step in steps for each in step.findings]
    assert [each.signal for each in findings] == ["features.x", "features.x"]
    assert all(each.against_past for each in findings)
    first, second = (each.change for each in findings)
    assert (first.before.mean, first.after.mean) == pytest.approx((0, 3), abs=0.3)
    assert (second.before.mean, second.after.mean) == pytest.approx((3, 9), abs=0.3)
    assert [status for _, status, _ in reported(steps)] == ["firing", "resolved", "firing", "resolved"]


def test_against_the_past_a_baseline_that_never_fitted_is_no_drift() -> None:
    assert feed(driver(reference="past"), traffic(5000, 1, x=4, y=-4)) == []
    assert reported(feed(driver(), traffic(500, 1, x=4, y=-4)))[0][1] == "firing"


def test_a_feature_that_freezes_is_reported_as_stuck() -> None:
    """Its spread is 0 from then on, by which a ratio of means was once divided."""
    own = driver()
    feed(own, traffic(1000, 1))
    stuck = traffic(1000, 2) | {"features.x": np.full(1000, 0.25).astype(object)}
    ((_, fired),) = feed(own, stuck)
    assert fired.findings[0].change.headline == "stuck at 0.25: σ 1.002 → 0"


def test_panes_are_judged_together_once_the_clock_has_run() -> None:
    """Of panes of 30 events, every second one brings a test: 50 are enough."""
    own = driver(pane=30, clock=50)
    feed(own, traffic(90, 1))
    assert (own.state.seen, own.state.pending.content.n, len(own.state.history)) == (60, 30, 1)
    feed(own, traffic(30, 2))
    assert (own.state.seen, own.state.pending, len(own.state.history)) == (120, None, 2)


def test_judging_is_a_function_of_state_and_pane() -> None:
    own = driver()
    feed(own, traffic(2000, 1))
    before, rows = own.state, own.state.history.rows
    first = feed(own, traffic(500, 2, x=2))
    assert before.history.rows is rows
    other = driver()
    other.state, other.seen = before, 2000
    assert feed(other, traffic(500, 2, x=2)) == first != []


def test_a_rate_of_more_false_alarms_than_checks_does_not_make_thresholds_negative() -> None:
    """At one in a hundred events and panes of 100,000, a negative threshold once made every ratio negative."""
    own = driver(pane=50_000, false_alarms_per_event=0.01, clock=50_000)
    feed(own, traffic(50_000, 1))
    ((_, _, news),) = reported(feed(own, traffic(50_000, 2, x=1)))
    assert news == ["features.x"]


def gone(n: int, seed: int, share: float) -> Batch:
    """n events of which a share lacks features.y."""
    batch, rng = traffic(n, seed), np.random.default_rng(seed)
    return batch | {"features.y": np.where(rng.random(n) < share, None, batch["features.y"])}


def test_a_drift_that_grows_worse_is_reported_again_with_its_new_severity() -> None:
    """A twentieth of the values missing is a warning, half of them are an error, nearly all of them are critical."""
    own = driver()
    steps = feed(own, traffic(2000, 1), gone(2000, 2, 0.05), gone(3000, 3, 1.0), gone(1000, 4, 0.05), traffic(9000, 5))
    assert [(step.status.value, step.incident.severity) for _, step in steps] == [
        ("firing", "warning"),
        ("updated", "error"),
        ("updated", "critical"),
        ("resolved", "critical"),
    ]
    (worse,) = steps[1][1].findings
    assert (worse.signal, worse.kind) == ("features.y", "data-quality")
    assert 4000 < steps[1][0] <= 4600
    assert worse.change.after.special["missing"] > 0.5


def test_a_signal_that_breaks_while_it_drifts_is_reported_with_its_new_severity() -> None:
    """Only the test that had raised the alarm was once evaluated again: a feature that had shifted and went missing
    was not reported."""
    own = driver()
    shifted, lost = traffic(2000, 2, x=1), traffic(3000, 3) | {"features.x": np.full(3000, None)}
    steps = feed(own, traffic(2000, 1), shifted, lost, traffic(9000, 4))
    assert [(step.status.value, step.incident.severity) for _, step in steps] == [
        ("firing", "warning"),
        ("updated", "error"),
        ("updated", "critical"),
        ("resolved", "critical"),
    ]
    (broken,) = steps[1][1].findings
    assert broken.change.headline.startswith("missing 0 % →")
    assert 4000 < steps[1][0] <= 4300


def test_a_shift_with_a_few_values_gone_is_as_severe_as_the_shift() -> None:
    """As severe as if half of them were gone, because the distance between all values before and after is as large."""
    own = driver()
    few_gone = traffic(3000, 3, x=2)
    few_gone["features.x"] = np.where(np.arange(3000) % 25, few_gone["features.x"], None)
    ((_, fired),) = feed(own, traffic(2000, 1), traffic(2000, 2, x=2), few_gone)
    assert fired.incident.severity == "warning"
    assert fired.findings[0].change.jensen_shannon > 0.7


def test_a_signal_that_breaks_during_a_slow_drift_is_reported_at_once() -> None:
    """A window as long as that of the drift would need as many events again, half of them broken."""
    own = driver()
    ((_, fired),) = feed(own, traffic(2000, 1), traffic(8000, 2, x=0.25))
    assert fired.findings[0].events > 800
    (broke, worse), *_ = feed(own, traffic(400, 3) | {"features.x": np.full(400, None)})
    assert worse.incident.severity == "error"
    assert broke <= 10_300


def test_of_two_worse_findings_the_more_severe_is_reported() -> None:
    own = driver()
    infinite = np.where(np.arange(1000) % 10, -np.inf, None)
    feed(own, traffic(2000, 1), traffic(1000, 2, x=1))
    (_, worse), *_ = feed(own, traffic(1000, 3) | {"features.x": infinite})
    assert worse.findings[0].change.headline.startswith("-infinity 0 % →")


DAY = 24 * 3_600_000


def astray(own: Driver, first: int = 0, last: int = 0, **shifts: float) -> list[Step]:
    """A pane of 100 seconds whose first and last event are off by `first` and `last` ms."""
    columns = own.columns(traffic(100, own.seen, **shifts))
    sketch = BASELINE.layout.sketch(BASELINE.encode(columns), columns.numeric)
    run = Range(0, own.seen, own.seen + 100)
    pane = Pane(sketch, run.start * 1000 + first, run.end * 1000 + last, (run,))
    steps, own.seen = own.take(pane), run.end
    return steps


@pytest.mark.parametrize("astray_first", [True, False])
@pytest.mark.parametrize(("first", "last"), [(365 * DAY, 0), (-2 * DAY, 0), (0, -2 * DAY), (0, 365 * DAY)])
def test_events_with_a_wrong_time_do_not_date_a_drift(first: int, last: int, astray_first: bool) -> None:
    """As the first of the window, it was the start of the drift: since next year. As the last of the pane in which it
    was over, one that was two days late began the recovery then, and so ended the incident with the next pane.
    """
    own = driver()
    for _ in range(30):
        assert astray(own) == []
    (fired,) = astray(own, first, last, x=3)
    assert fired.at == pytest.approx(3_000_000, abs=100_000)
    assert fired.incident.since == fired.findings[0].since == pytest.approx(3_000_000, abs=100_000)
    quiet, steps = [], list[Step]()
    while not steps:
        steps = astray(own, *((first, last) if (own.seen % 200 > 0) == astray_first else ()))
        quiet += [] if own.incidents[""].drifts else [own.seen * 1000]
    assert steps[0].at == pytest.approx(quiet[0], abs=200_000)
    assert quiet[-1] - quiet[0] == pytest.approx(300_000, abs=100_000)


def test_an_event_that_comes_days_late_makes_no_long_window_of_a_short_one() -> None:
    own = driver(windows=(Window.parse("1h"),))
    for _ in range(60):
        assert astray(own) == []
    assert astray(own, first=-2 * DAY, x=2) == [], "a thirty-sixth of the hour"
    assert astray(driver(), x=2) != []


def test_on_and_off_every_pane_is_one_page() -> None:
    """A pane every 100 seconds for an hour, and the calm after it."""
    own = driver()
    steps = feed(own, traffic(2000, 1), *(traffic(100, 10 + i, x=3 * (i % 2)) for i in range(36)), traffic(4000, 2))
    assert [status for _, status, _ in reported(steps)] == ["firing", "resolved"]


def test_longer_waves_page_twice_at_most_within_the_cooldown() -> None:
    """On for 10 minutes and off for 20, long enough to recover, all day: the second incident lasts until it is over."""
    own = driver()
    waves = (traffic(600 if i % 2 else 1200, 10 + i, x=2 * (i % 2)) for i in range(24))
    steps = feed(own, *waves, traffic(6000, 2))
    assert [status for _, status, _ in reported(steps)] == ["firing", "resolved", "firing", "resolved"]


def catching_up(own: Driver, back: int) -> list[Step]:
    """Two partitions that drift from second 1000 to 2000; the second one stands still from 1500 to `back`."""
    panes = [(second, partition) for second in range(5, 4000, 5) for partition in (0, 1)]
    steps = []
    for second, partition in sorted(panes, key=lambda pane: max(pane[0], back if pane[1] and pane[0] > 1500 else 0)):
        columns = own.columns(traffic(50, 10_000 * partition + second, x=1.5 * (1000 <= second < 2000)))
        sketch = BASELINE.layout.sketch(BASELINE.encode(columns), columns.numeric)
        run = Range(partition, second * 10, second * 10 + 50)
        steps += own.take(Pane(sketch, second * 1000, second * 1000 + 5000, (run,)))
    return steps


def test_without_a_recovery_a_partition_that_comes_late_opens_an_incident_again() -> None:
    at_once = driver(pane=50, incidents={"recovery": "0s", "cooldown": "0s"})
    assert [step.status.value for step in catching_up(at_once, 2250)].count("firing") == 2


@pytest.mark.parametrize("back", [2030, 2250])
def test_a_partition_that_comes_late_opens_nothing_that_the_others_have_closed(back: int) -> None:
    """Its drift lies behind it, and once paged anew."""
    assert [step.status.value for step in catching_up(driver(pane=50), back)] == ["firing", "resolved"]


def test_a_class_that_is_not_predicted_any_more_is_a_drift_of_the_prediction() -> None:
    def predicted(n: int, seed: int, *classes: str) -> Batch:
        rng, shares = np.random.default_rng(seed), np.array([0.8, 0.15, 0.05][: len(classes)])
        chosen = rng.choice([*classes], n, p=shares / shares.sum())
        return {"features.x": rng.normal(size=n).astype(object), "prediction": chosen.astype(object)}

    own = Driver(baseline_of(predicted(2000, 1, "ok", "review", "fraud")), ModelConfig(), pane=100)
    assert feed(own, predicted(1000, 2, "ok", "review", "fraud")) == []
    ((_, fired),) = feed(own, predicted(2000, 3, "ok", "review"))
    assert [(each.signal, each.kind) for each in fired.findings] == [("prediction", "prediction-drift")]


# Single bins


def spiked(n: int, seed: int, share: float) -> Batch:
    """Normal values of which a share is 0.5 exactly, and counts of which a share is 2.5."""
    rng = np.random.default_rng(seed)
    normal, count = rng.normal(size=n), rng.poisson(4, n).astype(float)
    imputed = rng.random((2, n)) < share
    return {
        "features.normal": np.where(imputed[0], 0.5, normal).astype(object),
        "features.count": np.where(imputed[1], 2.5, count).astype(object),
    }


BINNED = baseline_of(spiked(20_000, 0, 0.0))


def test_values_at_one_place_are_found_and_the_alert_says_where() -> None:
    own = Driver(BINNED, pane=250)
    assert feed(own, spiked(3000, 1, 0.0)) == []
    found = {each.signal: (seen, each) for seen, step in feed(own, spiked(3000, 2, 0.05)) for each in step.findings}
    for name, where in (("features.normal", "values from 0."), ("features.count", "values between known ones: 0 % →")):
        seen, finding = found[name]
        assert finding.test.statistic == "bins"
        assert finding.change.headline.startswith(where)
        assert seen <= 3750


def test_a_group_at_level_2_does_not_test_bins() -> None:
    earlier = Driver(BINNED, pane=250)
    earlier.judge = replace(earlier.judge, by_slope=False)
    assert feed(earlier, spiked(3000, 2, 0.05)) == []
    without = Driver(replace(BINNED, bins=None), pane=250)
    assert not any(column.statistic == "bins" for column in without.judge.tests(without.state).columns)


def test_two_humps_of_the_same_mean_and_spread_are_found() -> None:
    own, rng = Driver(BINNED, pane=250), np.random.default_rng(3)
    humps = 0.6 * rng.normal(size=3000) + 0.8 * rng.choice([-1.0, 1.0], 3000)
    steps = feed(own, spiked(3000, 1, 0.0), spiked(3000, 2, 0.0) | {"features.normal": humps.astype(object)})
    seen, finding = next((seen, each) for seen, step in steps for each in step.findings)
    assert (finding.signal, finding.test.statistic) == ("features.normal", "smooth")
    assert seen <= 4250
