"""Live events overrule a baseline whose rows were shuffled and have times that do not say so, and no other one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from driftline.stream.alerts.explain import verdict
from driftline.stream.alerts.read import ReadChange, ReadSignal
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.overruled import doubt
from driftline.stream.codec.frames import FormatError, frame, open_envelope
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.codec.state import read_head, restore_state, state_delta
from driftline.stream.config.sections import Config
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.live_slopes import LiveSlopes
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.state.models import StoredModel
from tests.baselines.test_slopes import remembering
from tests.judge.test_live_slopes import CONFIG, KEEP, LEARNING, NAME, PANE, events_of, judged, panes

ROWS = 10_000


@cache
def believed(keep: float = KEEP) -> Baseline:
    """A baseline whose rows were shuffled, and then had times in that order."""
    values = remembering(keep, ROWS, seed=1)
    np.random.default_rng(0).shuffle(values)
    return build_baseline(events_of(values), {"model": "m"}).with_derived()


@cache
def ordered(keep: float) -> Baseline:
    return build_baseline(events_of(remembering(keep, ROWS, seed=1)), {"model": "m"}).with_derived()


def live(state: ModelState) -> LiveSlopes:
    assert state.judge is not None
    assert state.judge.live_slopes is not None
    return state.judge.live_slopes


@cache
def overruled() -> ModelState:
    return judged(remembering(KEEP, LEARNING, seed=2), baseline=believed())[0]


def test_live_events_overrule_a_baseline_whose_rows_were_shuffled() -> None:
    known = live(overruled())
    assert known.blocks == ()
    assert known.overruled is not None
    # (1 + 0.9) / (1 - 0.9) = 19 of the level, and fewer of the spread and of the cuts, of which it says the middle one.
    assert 7 <= known.overruled[NAME] <= 20
    judge = Judge(believed(), CONFIG)
    before, after = judge.alikes.by(None), judge.alikes.by(known)
    assert before is not None
    assert after is not None
    tests = [{each.statistic for each in own.columns} for own in (before, after)]
    assert tests[0] - tests[1] == {"bins", "smooth"}


def test_what_a_wrong_slope_has_found_ends() -> None:
    state, steps = judged(remembering(KEEP, 2 * LEARNING, seed=3), baseline=believed())
    fired = [at for at, step in steps if step.status is Status.FIRING]
    assert fired
    assert max(fired) < LEARNING
    assert not state.drifts


def test_a_real_drift_is_found_after_that() -> None:
    values = remembering(KEEP, LEARNING + 40 * PANE, seed=4)
    values[LEARNING + 20 * PANE :] += 3.0
    _, steps = judged(values, baseline=believed())
    found = [(at, each) for at, step in steps if step.status is not Status.RESOLVED for each in step.findings]
    at, newest = found[-1]
    assert LEARNING + 20 * PANE < at <= LEARNING + 25 * PANE
    assert newest.change.slope_ratio == live(overruled_of(values)).overruled[NAME]  # type: ignore[index]


@pytest.mark.parametrize("seed", [3, 4, 7])
def test_what_wrong_slopes_have_found_takes_in_no_drift_that_comes_later(seed: int) -> None:
    """An event a second: the false incident has ended for hours, which is less than eight days."""
    values = remembering(KEEP, LEARNING + 45 * PANE, seed=seed)
    values[LEARNING + 40 * PANE :] += 3.0
    monitor, state, steps = Monitor("m", CONFIG, believed(), **monitor_settings()), ModelState(), []
    for pane in panes(values, PANE, believed()):
        first_ts, last_ts = (10**12 + 1000 * at for at in pane.ranges[0][1:])
        state, found = monitor.judge(state, msgspec.structs.replace(pane, first_ts=first_ts, last_ts=last_ts))
        steps += [(pane.ranges[0].end, each) for each in found]
    of_drift = [each.status for at, each in steps if at > LEARNING + 40 * PANE]
    assert [each.status for at, each in steps if at <= LEARNING + 40 * PANE][-1] is Status.RESOLVED
    assert of_drift[0] is Status.FIRING


def overruled_of(values: np.ndarray) -> ModelState:
    return judged(values[:LEARNING], baseline=believed())[0]


@pytest.mark.parametrize("keep", [0.0, 0.8, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_ordinary_baselines_are_believed_and_keep_nothing(keep: float, seed: int) -> None:
    state, _ = judged(remembering(keep, LEARNING, seed=10 + seed), baseline=ordered(keep))
    known = live(state)
    assert (known.blocks, known.known, known.overruled) == ((), None, {})
    alikes = Judge(ordered(keep), CONFIG).alikes
    assert alikes.by(known) is alikes.by(None)
    assert not any(name.startswith(("block", "slopes")) for name in state_delta(None, state).write)


_AT = np.arange(LEARNING) / LEARNING
DRIFTS = {
    "step": (_AT >= 0.5) * 1.0,
    "large step": (_AT >= 0.5) * 10.0,
    "up in one stretch and down in the next": ((_AT >= 1 / 6) & (_AT < 1 / 2)) * 3.0,
    "ramp": 3.0 * _AT,
    "from the first event": np.full(LEARNING, 1.0),
}


@pytest.mark.parametrize("drift", DRIFTS.values(), ids=[*DRIFTS])
def test_a_drift_is_no_dependence(drift: np.ndarray) -> None:
    state, steps = judged(remembering(0.0, LEARNING, seed=6) + drift, baseline=ordered(0.0))
    assert live(state).overruled == {}
    assert any(step.status is Status.FIRING for _, step in steps)
    assert bool(state.drifts) is bool(drift[-1])


def test_values_that_spread_are_no_dependence() -> None:
    state, _ = judged(3 * remembering(0.0, LEARNING, seed=6), baseline=ordered(0.0))
    assert live(state).overruled == {}


def test_a_code_that_comes_in_runs_is_overruled_by_itself() -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=(2, LEARNING))
    values[0, rng.random(LEARNING) < 0.1] = np.nan
    values[1, np.repeat(rng.random(LEARNING // 20) < 0.1, 20)] = np.nan
    baseline = build_baseline(events_of(values[0]), {"model": "m"}).with_derived()
    known = live(judged(values[1], baseline=baseline)[0])
    assert known.overruled is not None
    assert known.known is not None
    assert 10 <= known.overruled[NAME] <= 40
    shape, *special = known.known.runs[NAME]
    assert not shape.variance.any()
    assert sum(bool(run.variance.any()) for run in special) == 1


def test_below_level_3_and_in_scans_nobody_is_doubted() -> None:
    state, _ = judged(remembering(KEEP, 10 * PANE, seed=3), level=2, baseline=believed())
    assert state.judge is not None
    assert state.judge.live_slopes is None
    scanned = replace(believed(), about={**believed().about, "scan": True})
    assert not scanned.is_doubted


def test_a_state_that_is_stored_between_any_two_panes_goes_on_as_if_it_were_not() -> None:
    monitor = Monitor("m", CONFIG, believed(), **monitor_settings())
    state = stored = ModelState()
    parts: dict[str, bytes] = {}
    for pane in panes(remembering(KEEP, LEARNING + 2 * PANE, seed=8)):
        state = monitor.judge(state, pane)[0]
        before = restore_state(parts, believed())
        stored = monitor.judge(before, pane)[0]
        delta = state_delta(before if parts else None, stored)
        parts = {name: part for name, part in parts.items() if name not in delta.delete} | delta.write
    assert parts == state_delta(None, state).write
    assert "slopes" in parts
    assert not any(name.startswith("block") for name in parts)
    assert live(stored).overruled == live(state).overruled


@pytest.mark.parametrize(
    "says", [{}, {"other": 9.0}, {NAME: float("nan")}, {NAME: 0.5}], ids=["none", "name", "nan", "smaller"]
)
def test_a_damaged_head_is_refused(says: dict[str, float]) -> None:
    parts = state_delta(None, overruled()).write
    head = msgspec.msgpack.decode(open_envelope(b"H", parts["head"]))
    state = next(each for each in head if isinstance(each, list) and {NAME: live(overruled()).overruled[NAME]} in each)  # type: ignore[index]
    state[state.index(live(overruled()).overruled)] = says
    with pytest.raises(FormatError):
        restore_state({**parts, "head": frame(b"H", head, 3)}, believed())


def test_slopes_of_more_than_the_baseline_knows_are_not_used() -> None:
    known = live(overruled())
    assert known.known is not None
    judge = Judge(believed(), CONFIG)
    none = replace(known, known=replace(known.known, runs={NAME: known.known.runs[NAME][:-1]}))
    assert judge.alikes.by(none) is judge.alikes.by(None)


def test_models_alerts_and_verdicts_say_so() -> None:
    facts = read_head(state_delta(None, overruled()).write["head"])
    row = StoredModel("m", 0, facts, None, 0).row(Config.model_validate({"models": {"m": {"baseline": "m.driftline"}}}))
    assert row["slope_ratios"] == live(overruled()).overruled
    assert doubt({"features.a": 2.04, NAME: 12.3}) == (
        "live events depend on each other more than the baseline says (features.x: 12 times as much, "
        "features.a: 2 times as much); were its rows shuffled or sampled?"
    )
    says = "Live events depend on each other 12 times as much as the baseline says"
    assert says in verdict(ReadSignal(test="level", change=ReadChange(slope_ratio=12.3)))
    assert says not in verdict(ReadSignal(test="level"))
