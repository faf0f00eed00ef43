"""Timelines: coarse counts by hour and by day, whichever worker counts them and however often it starts again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.detectors.decision.reference import Reference as PhaseCounts
from driftline.detectors.summaries.coarse import Coarsening
from driftline.detectors.summaries.distribution import distribution
from driftline.detectors.summaries.shape import Shape
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.codec.timeline import pack_reference, unpack_reference, unpack_stretch
from driftline.stream.config.history import History
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.timeline import HOUR_MS, Counter, Kept, Reference, Stretch, Timeline
from driftline.stream.panes.pane import Pane, Range
from tests.harness.histories import MODEL, baseline, events

DAY_MS = 24 * HOUR_MS
CONFIG = ModelConfig(clock=40, history=History.model_validate({"hours": "12h", "days": "3d"}))
Parts = dict[str, bytes]


def pane(number: int, at: int, given: Baseline) -> Pane[Any]:
    """A pane of 20 events at a time, epoch ms."""
    sketch = given.sketch_events(events(3, 20 * number, 20, 1.5 * (number % 3)))
    return Pane(sketch, at, at + 1000, (Range(0, 20 * number, 20 * number + 20),))


def monitor(given: Baseline | None = None, config: ModelConfig = CONFIG) -> Monitor:
    return Monitor(MODEL, config, given or baseline(), portable=True, timelines=True)


class Stored:
    """What a store holds of a model after some commits."""

    def __init__(self) -> None:
        self.parts, self.timelines = Parts(), Parts()

    def commit(self, old: ModelState | None, new: ModelState) -> int:
        """Store a change; returns the bytes that it writes for the timeline."""
        delta = state_delta(old, new)
        if delta.replace_all:
            self.parts, self.timelines = {}, {}
        for held, change in ((self.parts, delta), (self.timelines, delta.timelines)):
            held.update(change.write)
            for name in change.delete:
                held.pop(name, None)
        opened = [each for name, each in delta.write.items() if name.startswith(("hour", "day", "timeline"))]
        return sum(map(len, [*opened, *delta.timelines.write.values()]))


def judged(panes: list[Pane[Any]], commits: list[int], given: Baseline | None = None) -> tuple[ModelState, Stored]:
    """The state after panes, and what is stored by a worker that commits after these and starts again each time."""
    state, stored, before = ModelState(), Stored(), None
    for index, each in enumerate(panes, 1):
        state, _ = monitor(given).judge(state, each)
        if index in commits or index == len(panes):
            stored.commit(before, state)
            state = before = restore_state(stored.parts, None)
    return state, stored


times = st.lists(st.integers(-2 * HOUR_MS, 9 * HOUR_MS), min_size=1, max_size=30).map(
    lambda steps: np.cumsum([10**12, *steps]).tolist()
)


@given(at=times, commits=st.lists(st.integers(1, 30), max_size=6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_worker_that_starts_again_anywhere_stores_what_one_that_never_stops_would(
    at: list[int], commits: list[int]
) -> None:
    panes = [pane(number, each, baseline()) for number, each in enumerate(at)]
    whole = ModelState()
    for each in panes:
        whole, _ = monitor().judge(whole, each)
    _, stored = judged(panes, commits)
    once = state_delta(None, whole)
    assert (stored.parts, stored.timelines) == (once.write, once.timelines.write)


@given(at=times)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_days_and_open_hours_hold_every_event_that_is_recent(at: list[int]) -> None:
    panes, counter = (
        [pane(number, each, baseline()) for number, each in enumerate(at)],
        Counter(baseline(), Kept(10**6, 10**6)),
    )
    timeline: Timeline | None = None
    for each in panes:
        timeline = counter.count(timeline, each, each.first_ts)
    assert timeline is not None
    stretches = [(name, each) for name, each in timeline.unstored.items() if isinstance(each, Stretch)]
    closed = [each.content for name, each in stretches if name.startswith("day")]
    opened = [each.content for each in (*timeline.hours, *([timeline.day] if timeline.day else []))]
    total = reduce(add, (each.content for each in panes))
    assert reduce(add, [*closed, *opened]) == Coarsening(baseline().layout, baseline().total.counts).sketch(total)
    assert len(timeline.hours) <= 3
    hours = [name for name in timeline.unstored if name.startswith("hour")]
    assert len({*hours}) + len(timeline.hours) == len({*hours, *(name for name in timeline.open if name[0] == "h")})


def test_what_is_older_than_the_configuration_says_is_deleted() -> None:
    panes = [pane(number, 10**12 + number * HOUR_MS, baseline()) for number in range(200)]
    _, stored = judged(panes, [*range(200)])
    kinds = [name.split(":")[0] for name in stored.timelines]
    # The newest three hours are among the parts of the state, and so is the newest day.
    assert (kinds.count("hour"), kinds.count("day"), kinds.count("layout")) == (12 - 3, 3 - 1, 1)


def test_without_a_history_nothing_is_kept_and_what_was_is_deleted() -> None:
    panes, stored = [pane(number, 10**12 + number * HOUR_MS, baseline()) for number in range(20)], Stored()
    state, before = ModelState(), None
    for each in panes:
        state, _ = monitor(config=CONFIG if each is not panes[-1] else replace_history(None)).judge(state, each)
        stored.commit(before, state)
        before = state
        assert stored.timelines or each is panes[0] or each is panes[-1]
    assert stored.timelines == {}
    assert not [name for name in stored.parts if name.startswith(("hour", "day", "timeline"))]


def replace_history(history: History | None) -> ModelConfig:
    return CONFIG.model_copy(update={"history": history})


def test_another_baseline_begins_an_era_and_the_one_before_can_still_be_read() -> None:
    first, second = baseline(), baseline().select_signals(lambda name: name == "features.amount")
    panes = [pane(number, 10**12 + number * HOUR_MS, first) for number in range(8)]
    later = [pane(number, 10**12 + number * HOUR_MS, second) for number in range(8, 16)]
    state, stored, before = ModelState(), Stored(), None
    for known, some in ((first, panes), (second, later)):
        for each in some:
            state, _ = monitor(known).judge(state, each)
            stored.commit(before, state)
            state = before = restore_state(stored.parts, None)
    references = {era: unpack_reference(stored.timelines[f"layout:{era}"]) for era in (0, 1)}
    assert [each.coarse.content_hash for each in references.values()] == [first.content_hash, second.content_hash]
    read = {
        name: unpack_stretch(int(name.split(":")[1]), part, Shape(references[int(name[-1])].signals))
        for name, part in stored.timelines.items()
        if name.startswith("hour")
    }
    assert {name[-1] for name in read} == {"0", "1"}
    assert all(each.content.n == 20 for each in read.values())


@cache
def daily() -> Baseline:
    """A week whose values follow the day."""
    rng, values = np.random.default_rng(2), []
    for hour in range(7 * 24):
        values += [(hour * HOUR_MS + i, 3 * np.sin(np.pi * hour / 12) + rng.normal()) for i in range(20)]
    known = [Event("e", at, MODEL, None, {"x": float(value), "y": float(value > 9)}) for at, value in values]
    return build_baseline(known, {"model": MODEL}, BuildSettings(timezone="Europe/Berlin"))


def test_what_is_usual_at_which_hour_is_stored_with_what_stretches_are_compared_with() -> None:
    given = daily()
    expected = Reference.of(given, Coarsening(given.layout, given.total.counts))
    read = unpack_reference(pack_reference(expected))
    assert given.usual is not None
    assert read.coarse.usual == given.usual
    assert expected.phased is not None
    assert read.phased is not None
    assert read.phased.timezone == "Europe/Berlin"
    assert {s: each.counts.tolist() for s, each in read.phased.signals.items()} == {
        s: each.counts.tolist() for s, each in expected.phased.signals.items()
    }
    assert len(pack_reference(expected)) < 8000, "two signals, one of them with 24 phases or 48"


def test_a_reference_that_does_not_say_what_is_usual_is_that_of_an_earlier_version() -> None:
    plain = replace(baseline(), usual=None, cycles=None)
    packed = pack_reference(Reference.of(plain, Coarsening(plain.layout, plain.total.counts)))
    assert packed[1] == 1, "the first version of the frame"
    assert unpack_reference(packed).phased is None


def test_phases_of_other_events_than_the_reference_has_are_refused() -> None:
    given = daily()
    known = Reference.of(given, Coarsening(given.layout, given.total.counts))
    assert known.phased is not None
    for signals in (
        {s: PhaseCounts(each.counts + 1) for s, each in known.phased.signals.items()},
        {s: PhaseCounts(each.counts[:-1]) for s, each in known.phased.signals.items()},
        {9: next(iter(known.phased.signals.values()))},
    ):
        with pytest.raises(FormatError, match="phase"):
            unpack_reference(pack_reference(known._replace(phased=replace(known.phased, signals=signals))))
    with pytest.raises(FormatError, match="zone"):
        unpack_reference(pack_reference(known._replace(phased=replace(known.phased, timezone="Mars/Olympus"))))


def test_eras_beyond_the_eighth_are_deleted() -> None:
    each_alone = [baseline().select_signals(name.__eq__) for name in ("features.amount", "features.country")]
    state, stored, before = ModelState(), Stored(), None
    for number in range(12):
        known = each_alone[number % 2]
        state, _ = monitor(known).judge(state, pane(number, 10**12 + number * HOUR_MS, known))
        stored.commit(before, state)
        state = before = restore_state(stored.parts, None)
    assert {int(name.rpartition(":")[2]) for name in stored.timelines} == {*range(4, 12)}


@pytest.mark.parametrize("timelines", [False, True])
def test_a_group_below_level_3_stores_none(timelines: bool) -> None:
    judge = replace(monitor(), timelines=timelines)
    state, _ = judge.judge(ModelState(), pane(0, 10**12, baseline()))
    assert ("timeline" in state_delta(None, state).write) is timelines


@given(data=st.data())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_coarse_sketches_add_up_and_have_the_quantiles_of_the_reference(data: st.DataObject) -> None:
    given, codes = baseline(), Coarsening(baseline().layout, baseline().total.counts)
    shifts = data.draw(st.lists(st.floats(-500, 500), min_size=1, max_size=4))
    parts = [given.sketch_events(events(5, 100 * index, 50, shift)) for index, shift in enumerate(map(abs, shifts))]
    assert reduce(add, map(codes.sketch, parts)) == codes.sketch(reduce(add, parts))
    assert all(each <= 32 for each in codes.layout.sizes)
    fine, coarse = (
        distribution(layout, total, 0)
        for layout, total in ((given.layout, given.total), (codes.layout, codes.sketch(given.total)))
    )
    assert fine is not None
    assert coarse is not None
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert coarse.quantile(share) == pytest.approx(fine.quantile(share), abs=0.1)


def test_one_event_of_a_wrong_clock_moves_no_pane() -> None:
    slots = (*tuple((10**11 // 1000 + slot, 5) for slot in range(4)), (10**12, 1))
    state, _ = monitor().judge(ModelState(), structs.replace(pane(0, 10**12, baseline()), slots=slots, last_ts=10**16))
    assert state.judge is not None
    assert state.judge.timeline is not None
    assert state.judge.timeline.span.newest == (10**11 // 1000 + 2) * 10_000 // HOUR_MS
