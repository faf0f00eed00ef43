"""Signals over time as pages show them: of a timeline that workers have stored."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import ReadSignal
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.codec.timeline import read_span, stored_timeline, wanted_names
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.timeline import HOUR_MS
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.reports.page.alert import alert_page
from driftline.stream.results.overview import ModelView
from driftline.stream.results.timelines import SPANS, Span, read_timeline, view_of
from driftline.stream.serve.live import Now
from driftline.stream.serve.pages import model_page
from driftline.stream.serve.signals import SignalMap, signal_page, signal_rows
from tests.serve.test_pages import AT, HOSTILE, alert, model, text

HOURS, DRIFT = 140, 100
FIRST = int(AT * 1000) // HOUR_MS - HOURS + 1
TWO_DAYS, WEEK, SIXTY, _ = SPANS


def events(hour: int, n: int = 60) -> list[Event]:
    rng, drifts = np.random.default_rng([7, hour]), hour >= DRIFT
    amounts, odd = rng.lognormal(3.0, 1.0, n) * (50 if drifts else 1), rng.random(n) < (0.5 if drifts else 0.0)
    places = np.where(odd, "new", rng.choice(["at", "ch"], n))
    return [
        Event(
            str(i),
            (FIRST + hour) * HOUR_MS + i,
            "fraud",
            None,
            {"features.amount": float(amounts[i]), HOSTILE: None if odd[i] else 1.5 + i, "place": str(places[i])},
        )
        for i in range(n)
    ]


@cache
def baseline() -> Baseline:
    return build_baseline([event for hour in range(40) for event in events(hour)], {"model": "fraud"})


@cache
def stored(change_at: int = 0) -> dict[str, bytes]:
    """What a worker has stored that started again after each commit; before an hour, without the signal `place`."""
    state, parts, closed = ModelState(), dict[str, bytes](), dict[str, bytes]()
    fewer = baseline().select_signals(lambda name: name != "place")
    before: ModelState | None = None
    for hour in range(HOURS):
        given, at = (fewer if hour < change_at else baseline()), (FIRST + hour) * HOUR_MS
        judge = Monitor("fraud", Config().defaults, given, portable=True, timelines=True)
        pane = Pane(given.sketch_events(events(hour)), at, at, (Range(0, hour, hour + 1),))
        state, _ = judge.judge(state, pane)
        delta = state_delta(before, state)
        for held, each in ((parts, delta), (closed, delta.timelines)):
            held.update(each.write)
            for name in each.delete:
                held.pop(name, None)
        state = before = restore_state(parts, None)
    return {**closed, **parts}


def incident(name: str = "features.amount", **more: Any) -> ListedIncident:
    since = "2026-05-30T21:00:00Z"
    signal = ReadSignal(name=name, test="ks", since=since, evidence_nats=90.0, threshold_nats=20.0)
    return ListedIncident(alert(**more), [signal])


def view(span: Span, *incidents: ListedIncident, of: dict[str, bytes] | None = None) -> ModelView:
    kind, parts = "day" if span.by_day else "hour", of or stored()
    names = wanted_names(read_span(parts["timeline"]), kind, 0)
    timelines = read_timeline(stored_timeline({name: parts[name] for name in names if name in parts}), kind)
    assert timelines is not None
    return view_of(timelines, "fraud", "", span, [""], incidents)


def levels(of: ModelView, name: str) -> tuple[int, ...]:
    return next(each.levels for each in of.signals if each.name == name)


def test_a_drift_shows_from_the_hour_in_which_it_began() -> None:
    shown = view(WEEK, incident())
    begun = (FIRST + DRIFT) * HOUR_MS
    for name in ("features.amount", HOSTILE, "place"):
        by_time = dict(zip((each.start for each in shown.bins), levels(shown, name), strict=True))
        assert all(level >= 2 for start, level in by_time.items() if start >= begun)
        usual = [level for start, level in by_time.items() if start + 2 * HOUR_MS <= begun]
        assert sum(level == 0 for level in usual) >= 0.9 * len(usual)
    worst = shown.signals[0]
    assert (worst.name, worst.is_open, worst.figure.what) == ("features.amount", True, "typical value")
    assert 40 < (worst.figure.after or 0) / (worst.figure.before or 1) < 62


def test_days_hold_what_their_hours_do() -> None:
    assert {each.length for each in view(SIXTY).bins} == {24 * HOUR_MS}
    assert view(SIXTY).events == 60 * HOURS


def test_a_signal_that_a_baseline_did_not_have_is_not_drawn_before_it() -> None:
    shown, begun = view(TWO_DAYS._replace(each=HOUR_MS), of=stored(change_at=60)), (FIRST + 60) * HOUR_MS
    by_time = dict(zip((each.start for each in shown.bins), levels(shown, "place"), strict=True))
    assert {level for start, level in by_time.items() if start < begun} == {-1}
    assert min(level for start, level in by_time.items() if start >= begun) >= 0
    assert min(levels(shown, "features.amount")) >= 0, "it is judged alike by both"


def test_the_map_leads_to_each_signal_and_no_name_is_markup() -> None:
    shown = SignalMap(view(WEEK, incident()), WEEK, ["", "4.2"])
    page = model_page(Now(at=AT, began=True, models=[model()]), Config(), AT, "fraud", shown)
    assert page is not None
    assert "<script>alert" not in page
    assert 'href="/models?name=fraud&amp;span=7d&amp;signal=features.amount"' in page
    assert 'href="/models?name=fraud&amp;span=400d"' in page
    assert 'href="/models?name=fraud&amp;span=7d&amp;version=4.2"' in page
    assert "Each square is 2 hours" in text(page)
    assert "19 of 20 such stretches of the baseline do, and more than chance explains" in text(page)


@pytest.mark.parametrize("span", SPANS)
def test_the_page_of_a_signal_has_its_values_and_what_is_none_over_time(span: Span) -> None:
    shown = SignalMap(view(span, incident(HOSTILE)), span, [""])
    by_name = {each.name: each for each in shown.view.signals}
    hostile = signal_page(shown, by_name[HOSTILE])
    assert "<script>alert" not in hostile
    assert "missing" in text(hostile)
    assert {"Values over time", "Before and after"} <= {
        *re.findall("<figcaption>([^<]*?) <span>", signal_page(shown, by_name["features.amount"]))
    }
    assert "unseen values" in text(signal_page(shown, by_name["place"]))


def test_the_page_of_an_incident_shows_its_signals_over_time_from_before_it_began() -> None:
    found, shown = incident(), SignalMap(view(WEEK, incident()), WEEK, [""])
    with_signals = alert(evidence={"signals": [{"signal": "features.amount", "since": found.signals[0].since}]})
    page = alert_page(with_signals, [with_signals], "", "/", shown.view, shown.places)
    assert 'class="since"' in page
    assert 'href="/models?name=fraud&amp;span=7d&amp;signal=features.amount"' in page
    assert "in squares of 2 hours" in text(page)
    assert 'class="since"' not in alert_page(with_signals, [with_signals], "")


def test_as_json_there_is_a_row_for_each_signal_and_stretch() -> None:
    shown = view(TWO_DAYS)
    rows = [each for each in signal_rows(SignalMap(shown, TWO_DAYS, [""])) if each["signal"] == HOSTILE]
    assert [each["start"] for each in rows] == [each.start for each in shown.bins]
    assert rows[-1]["missing"] == pytest.approx(0.5, abs=0.2)
    assert rows[0]["events"] == 60
    assert len(rows[-1]["quantiles"]) == 5


@pytest.mark.parametrize(("history", "words"), [(None, "`history` is null"), ({}, "There are none yet")])
def test_a_page_says_why_there_are_no_signals_over_time(history: Any, words: str) -> None:
    config = Config.model_validate({"models": {"fraud": {"history": history}}})
    assert words in text(model_page(Now(at=AT, began=True, models=[model()]), config, AT, "fraud"))
