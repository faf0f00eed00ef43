"""A baseline or a selection of signals that changes: what is equal goes on, and nobody is paged for the exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.carry import projection
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range

CONFIG = ModelConfig(clock=100, incidents=Incidents(recovery="1m", cooldown="10m"))
# Events of a pane, and panes of a history; a drift lasts from the 15th to the 45th.
PANE, PANES, DRIFT = 60, 70, range(15, 45)
Features = Callable[[str], bool]


def rows(seed: int, start: int, n: int, drifting: str = "") -> tuple[Event, ...]:
    """n events of four features, one a second, of which one has drifted by 1.5 σ."""
    rng = np.random.default_rng([seed, start])
    values: dict[str, Any] = {name: rng.normal(size=n) + 1.5 * (name == drifting) for name in ("age", "amount", "days")}
    values["country"] = rng.choice(["at", "ch", "de"], n, p=[0.2, 0.3, 0.5])
    return tuple(
        Event(
            str(start + i),
            10**12 + 1000 * (start + i),
            "fraud",
            "1",
            {f"features.{name}": own[i] if name == "country" else float(own[i]) for name, own in values.items()},
        )
        for i in range(n)
    )


def without(*names: str) -> Features:
    return lambda name: name.removeprefix("features.") not in names


@cache
def whole() -> Baseline:
    return build_baseline(rows(1, 0, 2000), {"model": "fraud"})


def other(about: dict[str, Any] | None = None, days: float = 0.0) -> Baseline:
    """The baseline with another reference for one feature, which has moved by so many sigma."""
    events = tuple(
        replace(each, signals={**each.signals, "features.days": float(each.signals["features.days"]) * 1.1 + days})
        for each in rows(1, 0, 2000)
    )
    return build_baseline(events, {"model": "fraud", **(about or {})})


@cache
def play(
    before: Baseline, after: Baseline, at: int, drifting: str = "", late: int = 0
) -> tuple[list[Step], list[ModelState]]:
    """The steps and states of a history in which the baseline is exchanged with the pane number `at`.

    late: how many panes after that are still counted in the former baseline, every other one.
    """
    state, steps, states = ModelState(), list[Step](), list[ModelState]()
    monitors = [Monitor("fraud", CONFIG, before, portable=True), Monitor("fraud", CONFIG, after, portable=True)]
    for number in range(PANES):
        counted_in = before if number < at or (number < at + late and number % 2) else after
        content = rows(2, number * PANE, PANE, drifting if number in DRIFT else "")
        run = Range(0, number * PANE, number * PANE + PANE)
        pane = Pane(counted_in.sketch_events(content), content[0].ts, content[-1].ts, (run,))
        state, more = monitors[number >= at].judge(state, pane, counted_in={"": counted_in.watched})
        steps += more
        states.append(state)
    return steps, states


def told(steps: list[Step]) -> list[tuple[str, str | None]]:
    return [(step.status.value, step.resolution) for step in steps]


EXCHANGES = {
    "a signal is excluded": (whole(), whole().select_signals(without("country"))),
    "a signal is added": (whole().select_signals(without("country")), whole()),
    "a signal has another reference": (whole(), other()),
    "nothing has changed": (whole(), whole()),
}


@pytest.mark.parametrize("late", [0, 20])
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_exchange_keeps_history_and_incidents_of_what_is_equal_and_pages_nobody(exchange: str, late: int) -> None:
    before, after = EXCHANGES[exchange]
    undisturbed, _ = play(before, before, PANES, "amount")
    for at in (10, 30):
        steps, states = play(before, after, at, "amount", late)
        assert told(steps) == told(undisturbed) == [("firing", None), ("resolved", "recovered")]
        assert [step.seq for step in steps] == [1, 2]
        old, new = states[at - 1].judge, states[at].judge
        assert old
        assert new
        assert (new.baseline, new.end) == (after.content_hash, old.end + PANE)
        assert sum(bucket.content.n for bucket in new.history) == new.seen, "the history has kept every event"


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_exchange_on_quiet_traffic_changes_nothing_that_anyone_hears_of(exchange: str) -> None:
    assert play(*EXCHANGES[exchange], at=30, late=20)[0] == []


def test_a_signal_that_is_excluded_while_it_drifts_leaves_its_incident_as_unwatched() -> None:
    steps, _ = play(whole(), whole().select_signals(without("amount")), 30, "amount")
    assert told(steps) == [("firing", None), ("resolved", "unwatched")]
    assert [each.signal for each in steps[1].incident.drifts] == ["features.amount"], "the page says which it was"


@pytest.mark.parametrize(("about", "resolution"), [({}, "replaced"), ({"accepted": {"by": "eva"}}, "accepted")])
def test_a_drift_is_accepted_only_by_a_reference_that_says_so(about: dict[str, Any], resolution: str) -> None:
    steps, _ = play(whole(), other(about, days=1.5), 30, "days")
    assert told(steps)[:2] == [("firing", None), ("resolved", resolution)]


def test_a_signal_that_is_added_is_judged_from_its_first_event_on() -> None:
    """Its past is unknown, which is no value that is missing."""
    steps, states = play(whole().select_signals(without("amount")), whole(), 12, "amount", late=2)
    assert [each.signal for each in steps[0].findings] == ["features.amount"]
    assert steps[0].findings[0].start >= 12 * PANE
    judge = states[20].judge
    assert judge
    starts = dict(zip([each.name for each in judge.signals], judge.reference_start.tolist(), strict=True))
    assert starts["features.amount"] == 14 * PANE, "the 14th pane was the last one that did not count it"
    assert {starts["features.age"], starts["features.country"]} == {0}


def test_against_the_past_a_signal_that_is_added_begins_a_past_of_its_own() -> None:
    config, fewer = CONFIG.model_copy(update={"reference": "past"}), whole().select_signals(without("amount"))
    monitors = {given: Monitor("fraud", config, given, portable=True) for given in (fewer, whole())}
    state, steps = ModelState(), list[Step]()
    for number in range(PANES):
        given = whole() if number >= 30 else fewer
        content = rows(2, number * PANE, PANE)
        pane = Pane(
            given.sketch_events(content),
            content[0].ts,
            content[-1].ts,
            (Range(0, number * PANE, number * PANE + PANE),),
        )
        state, more = monitors[given].judge(state, pane)
        steps += more
    assert steps == []


def test_a_model_whose_baseline_is_taken_away_ends_its_incidents_and_learns() -> None:
    _, states = play(whole(), whole(), PANES, "amount")
    content = rows(3, 0, PANE)
    pane = Pane(content, content[0].ts, content[-1].ts, (Range(1, 0, PANE),))
    state, steps = Monitor("fraud", CONFIG, portable=True).judge(states[30], pane)
    assert told(steps) == [("resolved", "unwatched")]
    assert (len(state.sample), state.judge, state.incidents) == (PANE, None, {})


# Projections

CHOICES = st.sets(st.sampled_from(["age", "amount", "days", "country"]), min_size=1)


@given(CHOICES, st.integers(0, 5), st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_a_sketch_projected_onto_fewer_signals_is_the_sketch_of_fewer_signals(
    kept: set[str], seed: int, n: int
) -> None:
    events, fewer = rows(seed, 0, n), whole().select_signals(lambda name: name.removeprefix("features.") in kept)
    onto = projection(whole().watched, fewer.watched)
    assert onto.sketch(whole().sketch_events(events)) == fewer.sketch_events(events)
    back = projection(fewer.watched, whole().watched)
    again = back.sketch(fewer.sketch_events(events))
    assert (whole().layout.events(again.counts), again.n) == (n, n), "every event has one code of each signal"
    assert onto.sketch(again) == fewer.sketch_events(events)


@given(CHOICES, CHOICES, st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_projections_add_up(first: set[str], second: set[str], n: int, m: int) -> None:
    old, new = (whole().select_signals(lambda name, own=own: name[9:] in own) for own in (first, second))
    onto, (left, right) = projection(old.watched, new.watched), (old.sketch_events(rows(k, 0, k)) for k in (n, m))
    assert onto.sketch(left) + onto.sketch(right) == onto.sketch(left + right)


def test_what_lies_beyond_the_range_is_kept() -> None:
    ranged = [each for each in whole().watched if each.range]
    events: Iterator[Event] = (replace(each, signals={**each.signals, "features.days": 1e6}) for each in rows(1, 0, 9))
    sketch = whole().sketch_events(tuple(events))
    fewer = whole().select_signals(without("age", "amount"))
    moved = projection(whole().watched, fewer.watched).sketch(sketch)
    assert bool(moved.tails.size) is bool(ranged)
    if ranged:
        s = next(s for s, each in enumerate(fewer.watched) if each.name == "features.days")
        assert fewer.layout.tail(moved, s, 1)[1].tolist() == [9]
