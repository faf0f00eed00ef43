"""Coverage: which fields of live events no signal watches, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.unwatched import Why
from driftline.stream.config.signals import Signals
from driftline.stream.events.event import Event
from driftline.stream.events.mapping import NATIVE
from driftline.stream.panes import coverage as module
from driftline.stream.panes.coverage import (
    EARLY,
    SAMPLE_EVERY,
    SAMPLE_EVERY_EARLY,
    Coverage,
    sampled_positions,
    unwatched,
)
from driftline.stream.panes.cutter import Cutter, PaneRule
from driftline.stream.panes.sketcher import Sketcher

EVERYTHING = Signals()


def event(signals: Mapping[str, Any], model: str = "m") -> Event:
    return Event("i", 1_767_225_600_000, model, None, {f"features.{name}": value for name, value in signals.items()})


def baseline_of(*signals: Mapping[str, Any]) -> Baseline:
    return build_baseline([event(each) for each in signals], {"model": "m"})


def reasons(
    baseline: Baseline, *live: Mapping[str, Any], signals: Signals = EVERYTHING, coverage: Coverage | None = None
) -> dict[str, str]:
    coverage = coverage or Coverage()
    for offset, each in enumerate(live):
        coverage.add(event(each), baseline.names, 0, offset)
    return {each.field.removeprefix("features."): each.why.value for each in unwatched(baseline, signals, coverage)}


def test_a_field_that_the_baseline_never_had_is_new_and_comes_first() -> None:
    baseline = baseline_of({"x": 1, "empty": None}, {"x": 2, "empty": None})
    found = reasons(baseline, {"x": 1, "zip": "a", "tags": [1], "box": {}, "box.lid": 3})
    assert found == {"box.lid": "new", "zip": "new", "empty": "null", "tags": "array"}
    assert list(found)[:2] == ["box.lid", "zip"]


def test_a_field_that_was_null_in_the_whole_baseline_and_has_values_now_is_a_change() -> None:
    baseline = baseline_of({"x": 1, "late": None}, {"x": 2, "late": None})
    assert reasons(baseline, {"x": 1, "late": None}) == {"late": "null"}
    coverage = Coverage()
    assert reasons(baseline, {"x": 1}, {"x": 1, "late": 7}, coverage=coverage) == {"late": "filled"}
    (late,) = unwatched(baseline, EVERYTHING, coverage)
    assert late.is_change
    assert late.detail == (
        "was null in all 2 events of the baseline, and has values now; build a baseline that knows them. In 1 of 2 "
        "sampled events, first at offset 1 (partition 0), a number"
    )


def test_an_excluded_field_is_named_with_its_glob() -> None:
    signals = Signals(exclude=("features.z*",))
    baseline = baseline_of({"x": 1, "zip": "a"}, {"x": 2, "zip": "b"}).select_signals(signals.selects)
    coverage = Coverage()
    assert reasons(baseline, {"x": 1, "zip": "a", "zone": 4}, signals=signals, coverage=coverage) == {
        "zip": "excluded",
        "zone": "excluded",
    }
    assert {each.detail for each in unwatched(baseline, signals, coverage)} == {
        "excluded by signals.exclude: features.z*"
    }
    narrow = Signals(include=("features.x",))
    assert reasons(baseline.select_signals(narrow.selects), {"y": 1}, signals=narrow)["y"] == "excluded"


def test_a_reason_of_a_newer_version_is_left_out() -> None:
    baseline = baseline_of({"x": 1}, {"x": 2})
    about = {**baseline.about, "unwatched": {"features.a": "null", "features.b": "sparse", "features.c": 7}}
    assert replace(baseline, about=about).unwatched == {"features.a": Why.NULL}


def test_every_nth_offset_is_sampled_however_the_log_is_cut() -> None:
    baseline = baseline_of({"x": 1}, {"x": 2})
    first = EARLY
    log = [
        orjson.dumps({"id": str(i), "ts": 1_767_225_600_000 + i, "model": "m", "features": {"x": 1, f"n{i}": 1}})
        for i in range(first, first + 3 * SAMPLE_EVERY)
    ]
    wanted = {f"n{i}" for i in range(first, first + len(log)) if i % SAMPLE_EVERY == 0}
    for size in (len(log), 100, 7):
        sketcher = Sketcher("t", Cutter(PaneRule(), 0, first), {"m": baseline}, NATIVE)
        for start in range(0, len(log), size):
            part = log[start : start + size]
            sketcher.consume(np.arange(first + start, first + start + len(part)), part)
        assert {name.removeprefix("features.") for name in sketcher.coverage.fields["m"]} == wanted
        assert len(wanted) == 3


def test_a_baseline_that_is_learned_later_takes_its_fields_from_the_unwatched() -> None:
    coverage, learned = Coverage(), baseline_of({"x": 1}, {"x": 2})
    coverage.add(event({"x": 1, "new": 2}), None, 0, 0)
    assert set(coverage.fields["m"]) == {"features.x", "features.new"}
    coverage.forget("m", learned.names)
    assert reasons(learned, coverage=coverage) == {"new": "new"}


def test_memory_is_bounded_whatever_fields_and_models_the_events_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_OWN", 20)
    monkeypatch.setattr(module, "_MAX_TOTAL", 100)
    coverage = Coverage()
    coverage.add(event({f"k{i}": 1 for i in range(50)}), frozenset(), 0, 0)
    assert (len(coverage.fields["m"]), coverage.beyond) == (20, 30)
    for i in range(200):
        coverage.add(event({"x": 1}, model=f"m{i}"), None, 0, 0)
    assert len(coverage.fields) == len(coverage.sampled) == 16, "models without a baseline share half of the room"
    coverage.add(event({"x": 1}, model="known"), frozenset(), 0, 0)
    assert "known" in coverage.fields
    for i in range(200):
        coverage.add(event({}, model=f"empty-{i}"), frozenset(), 0, 0)
    assert len(coverage.sampled) < 100, "a model without a field takes room, too"


def test_names_that_the_baseline_has_counted_are_said_in_a_line_and_are_not_new() -> None:
    """An id in a name makes a field of every event; each as a line of its own would hide the new field among them."""
    baseline = baseline_of(*({"x": i % 7, f"user_{i}": 1} for i in range(200)))
    coverage = Coverage()
    found = reasons(baseline, *({"x": 1, "zip": "a", f"user_{i}": 1} for i in range(900, 950)), coverage=coverage)
    assert found == {"zip": "new", "*": "rare"}
    (line,) = [each.detail for each in unwatched(baseline, EVERYTHING, coverage) if each.field == "*"]
    assert line.startswith("200 names have a value in fewer than 5 of the 200 events of the baseline")


class Full(dict[str, Any]):
    """Counts that fail as nobody foresaw."""

    def __setitem__(self, key: str, value: Any) -> None:
        raise ArithmeticError


def test_a_fault_in_the_sample_is_logged_once_and_costs_no_event(caplog: pytest.LogCaptureFixture) -> None:
    messages = [orjson.dumps({"id": n, "ts": 1_767_225_600_000, "model": "m", "score": 0.5}) for n in range(100)]
    sketcher = Sketcher("t", Cutter(PaneRule(), 0, 0), {}, NATIVE, coverage=Coverage(sampled=Full()))
    sketched = sketcher.consume(np.arange(100), messages)
    assert (sketched.events, sketched.rejections) == (100, [])
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the reader failed, which is a fault of Driftline"
    ]


@given(st.sets(st.integers(0, 30_000)))
def test_what_is_sampled_depends_on_each_offset_alone(offsets: set[int]) -> None:
    log = sorted(offsets)
    wanted = [o for o in log if o % SAMPLE_EVERY == 0 or (o < EARLY and o % SAMPLE_EVERY_EARLY == 0)]
    assert [log[position] for position in sampled_positions(np.array(log, np.int64))] == wanted
