"""Changes in words: one line that a person on call understands, whatever the two sides hold."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.summaries.codes import Special
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.events.event import Event
from driftline.stream.judge.changes import Change, describe

# N(10, 2) as evenly as two thousand values can show it.
NORMAL = norm(10, 2).ppf((np.arange(2000) + 0.5) / 2000).tolist()


def events(values: list[Any]) -> list[Event]:
    return [Event(str(i), i, "m", None, {"features.x": value}) for i, value in enumerate(values)]


def baseline_of(values: list[Any], **settings: Any) -> Baseline:
    return build_baseline(events(values), {"model": "m"}, BuildSettings(**settings))


def change(before: list[Any], after: list[Any], statistic: str = "ks", special: Special | None = None) -> Change:
    baseline = baseline_of(before)
    battery = Battery(baseline.layout, baseline.total.counts)
    return describe(battery, Column(statistic, 0, special), baseline.total, baseline.sketch_events(events(after)))


def scaled(factor: float, shift: float = 0.0) -> list[float]:
    return [10 + factor * (value - 10) + shift for value in NORMAL]


@pytest.mark.parametrize(
    ("after", "headline"),
    [
        (scaled(1, 3), "mean 10 → 13 (+1.5 σ)"),
        (scaled(1, -3), "mean 10 → 7 (-1.5 σ)"),
        (scaled(2), "spread ×2: σ 1.999 → 3.999"),
        (scaled(0.5), "spread ×0.5: σ 1.999 → 0.9997"),
        ([100 * value for value in NORMAL], "×100: mean 10 → 1000"),
        ([value / 60 for value in NORMAL], "×0.01667: mean 10 → 0.1667"),
        ([0.0] * 500, "stuck at 0: σ 1.999 → 0"),
        ([8.0, 12.0] * 500, "shape changed: distance 0.33"),
    ],
)
def test_a_number_changes_in_mean_spread_unit_or_shape(after: list[float], headline: str) -> None:
    assert change(NORMAL, after).headline == headline


@pytest.mark.parametrize(
    ("before", "after", "statistic", "special", "headline"),
    [
        (NORMAL[:100], [None] * 30 + NORMAL[:70], "rate", Special.MISSING, "missing 0 % → 30 %"),
        (NORMAL[:100], ["N/A"] * 5 + NORMAL[:95], "rate", Special.INVALID, "of a wrong type 0 % → 5 %"),
        ([2.5] * 100, [2.5] * 48 + [3.0] * 52, "rate", Special.UNSEEN, "left its constant 2.5: 52 % other values"),
        (["on"] * 100, ["off"] * 9 + ["on"] * 91, "rate", Special.UNSEEN, "left its constant on: 9 % other values"),
        (["a", "b"] * 50, ["c"] * 10 + ["a"] * 90, "rate", Special.UNSEEN, "unseen values 0 % → 10 %"),
        (["a"] * 80 + ["b"] * 20, ["a"] * 50 + ["b"] * 50, "chi2", None, "a 80 % → 50 %"),
        (["a"] * 60 + ["b"] * 38 + ["c"] * 2, ["a"] * 53 + ["b"] * 39 + ["c"] * 8, "chi2", None, "a 60 % → 53 %"),
        (["a"] * 60 + ["b"] * 38 + ["c"] * 2, ["a"] * 53 + ["b"] * 39 + ["c"] * 8, "bins", None, "c 2 % → 8 %"),
        ([True] * 50 + [False] * 50, [True] * 80 + [False] * 20, "chi2", None, "true 50 % → 80 %"),
    ],
)
def test_a_headline_gives_shares_before_and_after(
    before: list[Any], after: list[Any], statistic: str, special: Special | None, headline: str
) -> None:
    assert change(before, after, statistic, special).headline == headline


def test_a_number_that_has_no_value_on_one_side_has_a_headline_by_any_test() -> None:
    assert change(NORMAL, [None] * 50).headline == "has no number any more"
    assert change(NORMAL, [None] * 50, "rate", Special.MISSING).headline == "missing 0 % → 100 %"


def test_a_change_holds_the_figures_of_both_sides() -> None:
    found = change(["a"] * 60 + ["b"] * 39 + [None], ["missing"] * 10 + ["a"] * 70 + [None] * 20, "chi2")
    assert (found.before.events, found.after.events) == (100, 100)
    assert found.before.special == {"missing": 0.01}
    assert found.before.values == {"a": 0.6, "b": 0.39}
    # A value that is called "missing" is something else than a missing value.
    assert found.after.special == {"missing": 0.2, "unseen": 0.1}
    assert found.after.values == {"a": 0.7}
    assert (found.distance, found.wasserstein, found.before.mean) == (None, None, None)
    number = change(NORMAL, scaled(1, 3))
    assert number.after.low == pytest.approx(min(scaled(1, 3)))
    assert number.distance == pytest.approx(0.55, abs=0.1)
    assert number.psi > 1 > number.jensen_shannon > number.wasserstein > 0.2


@pytest.mark.parametrize("value", [3.0, 0.1, 1e9])
def test_the_mean_of_equal_values_is_exactly_that_value(value: float) -> None:
    """Their σ was 4 % of the baseline's, beside a headline of 0, and beyond 16,384 of them their mean another value."""
    found = change([*NORMAL, *np.arange(300.0).tolist()], [value] * 200)
    assert (found.after.mean, found.after.deviation, found.after.low, found.after.high) == (value, 0.0, value, value)


def test_a_constant_that_changes_to_another_is_not_called_stuck() -> None:
    baseline = baseline_of(NORMAL)
    battery = Battery(baseline.layout, baseline.total.counts, against_past=True)
    before, after, both = (
        baseline.sketch_events(events(values)) for values in ([9.0] * 99, [12.0] * 99, [9.0, 12.0] * 50)
    )
    headlines = [describe(battery, battery.columns[0], before, each).headline for each in (after, both)]
    assert headlines == ["left its constant 9: mean 12", "left its constant 9: mean 10.5"]
    assert describe(battery, battery.columns[0], both, after).headline == "stuck at 12: σ 1.502 → 0"


def test_the_same_traffic_is_no_change() -> None:
    found = change(NORMAL, NORMAL)
    assert (found.psi, found.jensen_shannon, found.distance, found.wasserstein) == pytest.approx((0, 0, 0, 0), abs=1e-9)


@pytest.mark.parametrize("value", ["x" * 100_000, "\x1b[2Jgone\n", "", "ü" * 60])
def test_values_of_any_length_and_any_characters_are_shown_short_and_printable(value: str) -> None:
    """A category may hold a megabyte, or what clears a terminal."""
    found = change([value] * 80 + ["b"] * 20, [value] * 20 + ["b"] * 80, "chi2")
    assert found.headline.isprintable()
    assert 0 < len(found.headline) < 80
    assert all(key and key.isprintable() and len(key) <= 40 for key in found.before.values)


@given(
    st.lists(st.one_of(st.floats(), st.none()), min_size=1, max_size=20),
    st.lists(st.one_of(st.floats(), st.none(), st.just("N/A")), min_size=1, max_size=20),
    st.sampled_from([None, *Special]),
)
def test_whatever_the_values_there_is_a_headline(before: list[Any], after: list[Any], special: Special | None) -> None:
    """A window that did not vary at all once ended the judge with a division by its spread."""
    if not all(any(isinstance(each, float) and math.isfinite(each) for each in side) for side in (before, after)):
        return  # no test of numbers compares sides without any
    baseline = baseline_of(before)
    battery = Battery(baseline.layout, baseline.total.counts)
    test = Column("rate", 0, special) if special is not None else battery.columns[0]
    found = describe(battery, test, baseline.total, baseline.sketch_events(events(after)))
    assert found.headline
    assert json.dumps(found.before.special)


def in_cents(share: float, factor: float = 100.0) -> list[float]:
    """Of two thousand N(10, 2), a share in another unit, spread evenly over their order."""
    return [value * factor if 37 * i % 100 < 100 * share else value for i, value in enumerate(NORMAL)]


@pytest.mark.parametrize(
    ("after", "headline"),
    [
        (in_cents(0.43), "×100 for 43 % of the values"),
        (in_cents(0.1, 1000), "×1000 for 10 % of the values"),
        (in_cents(0.3, 1e6), "×1e+06 for 30 % of the values"),
        (in_cents(0.43, 1 / 60), "×0.017 for 43 % of the values"),
        (in_cents(1), "×100: mean 10 → 1000"),
        (in_cents(0.02), "mean 10 → 29.58 (+9.8 σ)"),
    ],
)
def test_a_part_in_another_unit_is_said_as_such(after: list[float], headline: str) -> None:
    """It was called a mean that is forty times as large."""
    assert change(NORMAL, after).headline == headline


def test_a_change_tells_medians_beyond_the_range_and_the_factor() -> None:
    found = change(NORMAL, in_cents(0.6))
    assert found.rescaled
    assert found.scale == found.rescaled.factor == pytest.approx(100, rel=0.02)
    assert found.rescaled.share == pytest.approx(0.6, abs=0.01)
    assert found.before.median == pytest.approx(10, rel=0.01)
    assert found.after.median == pytest.approx(np.median(in_cents(0.6)), rel=0.05)


def test_a_baseline_of_format_1_tells_what_it_always_told() -> None:
    baseline = baseline_of(NORMAL, format_version=1)
    battery = Battery(baseline.layout, baseline.total.counts)
    found = describe(battery, battery.columns[0], baseline.total, baseline.sketch_events(events(in_cents(0.43))))
    assert found.headline.startswith("mean 10 → 43")
    assert {"median", "rescaled"}.isdisjoint(msgspec.json.encode(found).decode().replace('"', " ").split())
