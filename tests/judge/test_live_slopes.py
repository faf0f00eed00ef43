"""Slopes from live events: what a shuffled baseline cannot say, 60 blocks of live events do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.slopes import LIVE_BLOCK, LIVE_BLOCKS
from driftline.stream.codec.frames import FormatError, frame, open_envelope
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.codec.state import read_head, restore_state, state_delta
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.state.models import StoredModel
from tests.baselines.test_slopes import remembering

PANE, KEEP = 250, 0.9
LEARNING = LIVE_BLOCKS * LIVE_BLOCK
NAME = "features.x"
CONFIG = ModelConfig(false_alarms_per_event=1e-5)


def events_of(values: np.ndarray) -> list[Event]:
    return [Event(str(i), 10**12 + 1000 * i, "m", None, {NAME: each}) for i, each in enumerate(values.tolist())]


@cache
def shuffled(keep: float = KEEP) -> Baseline:
    values = remembering(keep, 10_000, seed=1)
    np.random.default_rng(0).shuffle(values)
    return build_baseline(events_of(values), {"model": "m"}, BuildSettings(ordered=False)).with_derived()


def panes(values: np.ndarray, size: int = PANE, baseline: Baseline | None = None) -> Iterator[Pane]:
    baseline = baseline or shuffled()
    codes = baseline.layout.encode(values[:, None], [])
    for first in range(0, len(values), size):
        part = slice(first, first + size)
        run = Range(0, first, min(first + size, len(values)))
        yield Pane(baseline.layout.sketch(codes[part], values[part, None]), 10**12 + first, 10**12 + run.end, (run,))


def judged(
    values: np.ndarray, level: int = 3, size: int = PANE, baseline: Baseline | None = None
) -> tuple[ModelState, list[tuple[int, Step]]]:
    """The state after these values, and the steps, each with the events until then."""
    baseline = baseline or shuffled()
    monitor, state, steps = Monitor("m", CONFIG, baseline, **monitor_settings(level)), ModelState(), []
    for pane in panes(values, size, baseline):
        state, found = monitor.judge(state, pane)
        steps += [(pane.ranges[0].end, each) for each in found]
    return state, steps


def slope_of(state: ModelState, baseline: Baseline | None = None) -> float:
    """Events that count for an independent one in long windows, of the level."""
    baseline = baseline or shuffled()
    assert state.judge is not None
    assert state.judge.live_slopes is not None
    known = state.judge.live_slopes.known
    assert known is not None
    assert state.judge.live_slopes.blocks == ()
    widths = known.likeness(baseline.layout, 0, baseline.total.counts).widths
    return float(widths.slope(np.array([[5000.0]]))[0, 0])


def test_live_events_tell_the_slope_that_a_shuffled_baseline_has_lost() -> None:
    state, _ = judged(remembering(KEEP, LEARNING, seed=2))
    # (1 + 0.9) / (1 - 0.9) = 19, and a standard error of a third on top.
    assert 14 <= slope_of(state) <= 35
    calm = shuffled(0.0)
    state, _ = judged(remembering(0.0, LEARNING, seed=2), baseline=calm)
    assert slope_of(state, calm) == 1


def test_a_shuffled_baseline_holds_no_incident_open_while_nothing_drifts() -> None:
    values = remembering(KEEP, 2 * LEARNING, seed=3)
    state, steps = judged(values)
    assert not state.open_incidents
    assert sum(step.status is Status.FIRING for _, step in steps) <= 1


def test_below_level_3_nothing_is_learned() -> None:
    state, _ = judged(remembering(KEEP, 10 * PANE, seed=3), level=2)
    assert state.judge is not None
    assert state.judge.live_slopes is None
    assert not any(name.startswith(("block", "slopes")) for name in state_delta(None, state).write)


@pytest.mark.parametrize("shift", [3.0, 100.0])
def test_a_large_change_pages_while_slopes_are_learned(shift: float) -> None:
    values = remembering(KEEP, 20 * PANE, seed=4)
    values[10 * PANE :] += shift
    _, steps = judged(values)
    first = next(at for at, step in steps if step.status is Status.FIRING)
    assert 10 * PANE < first <= 13 * PANE


@pytest.mark.parametrize(("since", "provisional"), [(10 * PANE, True), (LEARNING, False)])
def test_what_is_found_says_whether_its_slope_was_provisional(since: int, provisional: bool) -> None:
    values = remembering(KEEP, since + 20 * PANE, seed=4)
    values[since:] += 3.0
    _, steps = judged(values)
    assert {each.change.provisional is True for _, step in steps for each in step.findings} == {provisional}


def test_a_drift_that_is_there_from_the_first_event_is_found_once_slopes_are_known() -> None:
    _, steps = judged(remembering(KEEP, LEARNING + 20 * PANE, seed=5) + 0.7)
    assert next(at for at, step in steps if step.status is Status.FIRING) <= LEARNING + 4 * PANE


def test_a_change_in_one_stretch_does_not_widen_what_is_usual() -> None:
    values = remembering(0.0, LEARNING, seed=6)
    values[LEARNING // 2 :] += 1.0
    calm = shuffled(0.0)
    # The stretch with the change has a slope of some 60.
    assert slope_of(judged(values, baseline=calm)[0], calm) < 2.5


def test_blocks_are_of_whole_checks_with_events_enough() -> None:
    state, _ = judged(remembering(KEEP, 1000, seed=7), size=100)
    assert state.judge is not None
    assert state.judge.live_slopes is not None
    assert [block.content.n for block in state.judge.live_slopes.blocks] == [300, 300, 300, 100]
    assert read_head(state_delta(None, state).write["head"]).blocks == 4


def test_a_state_that_is_stored_between_any_two_panes_goes_on_as_if_it_were_not() -> None:
    monitor = Monitor("m", CONFIG, shuffled(), **monitor_settings())
    state = stored = ModelState()
    parts: dict[str, bytes] = {}
    for pane in panes(remembering(KEEP, LEARNING + 2 * PANE, seed=8)):
        state = monitor.judge(state, pane)[0]
        before = restore_state(parts, shuffled())
        stored = monitor.judge(before, pane)[0]
        delta = state_delta(before if parts else None, stored)
        parts = {name: part for name, part in parts.items() if name not in delta.delete} | delta.write
        assert sum(name.startswith("block") for name in delta.write) <= 1
    assert parts == state_delta(None, state).write
    assert "slopes" in parts
    assert not any(name.startswith("block") for name in parts)
    assert slope_of(stored) == slope_of(state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed.__setitem__(0, 10**9),
        lambda packed: packed.__setitem__(1, float("nan")),
        lambda packed: packed[2].__setitem__(NAME, [[0, False, b"\0" * 7]]),
        lambda packed: packed[2].clear(),
        lambda packed: packed[2].__setitem__("other", packed[2].pop(NAME)),
    ],
    ids=["blocks", "nan", "length", "empty", "name"],
)
def test_damaged_slopes_are_refused(damage: object) -> None:
    state, _ = judged(remembering(KEEP, LEARNING, seed=2))
    parts = state_delta(None, state).write
    packed = msgspec.msgpack.decode(open_envelope(b"s", parts["slopes"]))
    damage(packed)  # type: ignore[operator]
    with pytest.raises(FormatError):
        restore_state({**parts, "slopes": frame(b"s", packed, 3)}, shuffled())


def test_slopes_that_do_not_fit_the_signal_are_not_used() -> None:
    state, _ = judged(remembering(KEEP, LEARNING, seed=2))
    parts = state_delta(None, state).write
    packed = msgspec.msgpack.decode(open_envelope(b"s", parts["slopes"]))
    packed[2][NAME].pop()
    damaged = restore_state({**parts, "slopes": frame(b"s", packed, 3)}, shuffled())
    monitor = Monitor("m", CONFIG, shuffled(), **monitor_settings())
    (pane,) = panes(remembering(KEEP, PANE, seed=9))
    at = LEARNING + PANE
    _, steps = monitor.judge(damaged, replace(pane, ranges=(Range(0, LEARNING, at),)))
    assert not steps


def test_models_say_how_far_it_is() -> None:
    state, _ = judged(remembering(KEEP, 10 * PANE, seed=7))
    facts = read_head(state_delta(None, state).write["head"])
    row = StoredModel("m", 0, facts, None, 0).row(Config.model_validate({"models": {"m": {"baseline": "m.driftline"}}}))
    assert row["slope_blocks"] == 10
    known, _ = judged(remembering(KEEP, LEARNING, seed=7))
    assert read_head(state_delta(None, known).write["head"]).blocks == 0
