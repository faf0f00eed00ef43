"""Versions of a model with baselines of their own: each is judged by its own, and the model has one incident."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from driftline.detectors.summaries.shape import Shape
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from driftline.stream.panes.tracks import Tracks, by_track

CONFIG = ModelConfig(clock=100, learn_events=600, incidents=Incidents(recovery="1m", cooldown="10m"))
PANE, PANES, HOUR = 60, 90, 3_600_000
# Where the scores of a version lie: each has been trained anew.
SCORE = {"4.2": 0.0, "5.0": 1.5, "6.0": -2.0}
#: The share of the newer version in a pane.
Share = Callable[[int], float]


def events(version: str, seed: int, start: int, n: int, shift: float = 0.0) -> tuple[Event, ...]:
    """n events of a version, one a second; shift: of its feature, in sigma."""
    rng = np.random.default_rng([seed, start, len(version)])
    scores, ages = rng.normal(SCORE[version], 1, n), rng.normal(shift, 1, n)
    return tuple(
        Event(f"{start + i}", 10**12 + 1000 * (start + i), "fraud", version, {"output.score": s, "features.age": a})
        for i, (s, a) in enumerate(zip(scores.tolist(), ages.tolist(), strict=True))
    )


@cache
def baseline(version: str) -> Baseline:
    return build_baseline(events(version, 1, 0, 2000), {"model": "fraud", "version": version})


def given(*versions: str) -> dict[str, Baseline]:
    return {version: baseline(version) for version in versions}


def gradual(pane: int) -> float:
    return min(max((pane - 20) / 50, 0.0), 1.0)


def panes(share: Share, known: dict[str, Baseline], drift: range = range(0), of: str = "5.0") -> Iterator[Pane[Any]]:
    """Panes of 4.2 and 5.0 in one log; versions that are known come as sketches, and the others as events."""
    for number in range(PANES):
        newer = round(PANE * share(number))
        first, parts = number * PANE, dict[str, Any]()
        for version, start, n in (("4.2", first, PANE - newer), ("5.0", first + PANE - newer, newer)):
            own = events(version, 2, start, n, 2.0 * (number in drift and version == of))
            if own and version in known:
                parts[version] = known[version].sketch_events(own)
            elif own:
                parts[""] = (*parts.get("", ()), *own)
        yield of_tracks(first, dict(sorted(parts.items())), PANE)


def of_tracks(first: int, parts: dict[str, Any], n: int) -> Pane[Any]:
    """A pane of n events, one a second."""
    content = parts[""] if parts.keys() == {""} else Tracks(parts)
    return Pane(content, 10**12 + 1000 * first, 10**12 + 1000 * (first + n - 1), (Range(0, first, first + n),))


def play(monitor: Monitor, history: Iterator[Pane[Any]]) -> tuple[list[Step], list[ModelState]]:
    state, steps, states = ModelState(), list[Step](), list[ModelState]()
    for pane in history:
        state, more = monitor.judge(state, pane)
        steps += more
        states.append(state)
    return steps, states


@pytest.mark.parametrize("known", [("4.2", "5.0"), ("4.2",)], ids=["both are given", "the newer learns its own"])
def test_a_rollout_that_mixes_versions_pages_nobody_by_itself(known: tuple[str, ...]) -> None:
    versions = given(*known)
    steps, states = play(Monitor("fraud", CONFIG, versions=versions), panes(gradual, versions))
    assert steps == []
    assert [*states[-1].tracks] == ["4.2", "5.0"]
    assert all(track.judge and track.judge.end > 500 for track in states[-1].tracks.values())


def test_a_version_that_stops_at_once_pages_nobody_while_another_takes_its_events() -> None:
    versions = given("4.2", "5.0")
    history = (
        structs.replace(pane, slots=((pane.first_ts // SLOT_MS, PANE),))
        for pane in panes(lambda pane: 1.0 if pane >= 45 else 0.5, versions)
    )
    monitor, state, steps = Monitor("fraud", CONFIG, versions=versions), ModelState(), list[Step]()
    for pane in history:
        state, drifts = monitor.judge(state, pane, until=pane.first_ts)
        state, absences = monitor.tick(state, pane.last_ts, pane.last_ts)
        steps += [*drifts, *absences]
    assert steps == []
    assert state.traffic is not None


def test_one_baseline_for_both_versions_pages_the_same_rollout() -> None:
    joined = (structs.replace(pane, content=_as_of("4.2", pane)) for pane in panes(gradual, {}))
    steps, _ = play(Monitor("fraud", CONFIG, baseline("4.2")), joined)
    assert steps, "the scores of the versions differ"


def _as_of(version: str, pane: Pane[Any]) -> Sketch:
    return baseline(version).sketch_events([event for part in by_track(pane.content).values() for event in part])


def test_the_drift_of_a_version_is_an_incident_of_the_model_that_names_the_version() -> None:
    versions = given("4.2", "5.0")
    history = panes(lambda _: 0.5, versions, range(30, 60))
    steps, _ = play(Monitor("fraud", CONFIG, versions=versions), history)
    assert [step.status.value for step in steps] == ["firing", "resolved"]
    firing = steps[0]
    assert firing.incident.scope == ""
    assert firing.incident.version == "5.0"
    assert {(each.track, each.signal) for each in firing.findings} == {("5.0", "features.age")}


def test_versions_that_drift_together_share_one_incident() -> None:
    versions = given("4.2", "5.0")
    older, newer = (panes(lambda _: 0.5, versions, range(30, 60), version) for version in ("4.2", "5.0"))
    both = (
        structs.replace(old, content=Tracks({"4.2": old.content.parts["4.2"], "5.0": new.content.parts["5.0"]}))
        for old, new in zip(older, newer, strict=True)
    )
    steps, _ = play(Monitor("fraud", CONFIG, versions=versions), both)
    assert [step.status.value for step in steps] == ["firing", "updated", "resolved"]
    assert len({(step.incident.scope, step.incident.opened) for step in steps}) == 1
    assert {each.track for each in (*steps[-1].incident.recovered, *steps[-1].incident.drifts)} == {"4.2", "5.0"}


def test_a_pane_of_tracks_and_a_state_of_tracks_are_read_back_as_they_were_written() -> None:
    versions = given("4.2")
    monitor, stored, state, told = Monitor("fraud", CONFIG, versions=versions), dict[str, bytes](), ModelState(), []
    plain, _ = play(Monitor("fraud", CONFIG, versions=versions), panes(gradual, versions, range(60, 80)))
    hashes, layouts = {"4.2": baseline("4.2").content_hash}, {"4.2": Shape(baseline("4.2").watched)}
    for pane in panes(gradual, versions, range(60, 80)):
        data = PaneMessage.of("fraud", "", "predictions", pane, tracks=hashes).to_bytes()
        assert data[1] == (2 if isinstance(pane.content, Tracks) else 1)
        read = PaneMessage.from_bytes(data)
        after, steps = monitor.judge(state, read.pane(None, layouts))
        delta = state_delta(state, after)
        stored = {name: part for name, part in (stored | delta.write).items() if name not in delta.delete}
        state, told = restore_state(stored, None), [*told, *steps]
    assert told == plain
    assert told


def test_a_version_without_a_new_event_writes_nothing() -> None:
    versions = given("4.2", "5.0")
    _, states = play(Monitor("fraud", CONFIG, versions=versions), panes(lambda pane: float(pane % 2), versions))
    for before, after in pairwise(states[-4:]):
        written = {name.split(":")[1] for name in state_delta(before, after).write if name.startswith("track:")}
        assert written == {[*after.tracks][-1]}


def test_a_version_that_is_no_longer_given_leaves_its_incident_as_unwatched() -> None:
    versions = given("4.2", "5.0")
    *_, state = play(Monitor("fraud", CONFIG, versions=versions), panes(lambda _: 0.5, versions, range(30, 90)))[1]
    (pane,) = [*panes(lambda _: 0.0, versions)][-1:]
    pane = structs.replace(pane, ranges=(Range(0, 10**6, 10**6 + PANE),))
    others = Monitor("fraud", CONFIG, baseline("5.0"), versions=given("4.2"))
    after, steps = others.judge(state, pane)
    assert [(step.status.value, step.resolution) for step in steps] == [("resolved", "unwatched")]
    assert [*after.tracks] == ["4.2"]


def rebuilt(monitor: Monitor, versions: list[str], state: ModelState, days: float = 0) -> ModelState:
    """The state after an event of each version in one pane, `days` after the first ones."""
    first, now = max(state.consumed.values(), default=0), 10**12 + round(days * 24 * HOUR)
    own = tuple(replace(each, version=v, ts=now) for v in versions for each in events("5.0", 1, first, 1))
    pane = of_tracks(first, {"": own}, len(own))
    return monitor.judge(state, pane, ticks=now)[0]


def test_further_versions_than_can_learn_their_own_are_judged_together() -> None:
    monitor = Monitor("fraud", CONFIG, versions=given("4.2"))
    state = rebuilt(monitor, [f"x{number}" for number in range(30)], ModelState())
    assert [*state.tracks] == [f"x{number}" for number in range(8)]
    assert [each.version for each in state.sample] == [f"x{number}" for number in range(8, 30)]


def test_a_version_out_of_use_makes_room_for_another() -> None:
    monitor = Monitor("fraud", CONFIG, versions=given("4.2"))
    versions = [f"x{number}" for number in range(8)]
    state = rebuilt(monitor, versions, ModelState())
    for days in (0.5, 1.0, 1.5, 2.0):
        state = rebuilt(monitor, versions[1:], state, days)
        assert "x0" in state.tracks
    assert [*rebuilt(monitor, ["new"], state, days=2).tracks] == [*versions[1:], "new"]


def test_after_a_silence_of_the_whole_model_no_version_makes_room_for_another() -> None:
    monitor, versions = Monitor("fraud", CONFIG, versions=given("4.2")), [f"x{number}" for number in range(8)]
    state = rebuilt(monitor, versions, ModelState())
    assert [*rebuilt(monitor, ["new"], state, days=3).tracks] == versions


def test_versions_without_their_own_are_judged_by_the_baseline_of_the_model() -> None:
    monitor = Monitor("fraud", CONFIG, baseline("4.2"), versions=given("5.0"))
    (*_, pane) = panes(lambda _: 0.5, {})
    state, _ = monitor.judge(ModelState(), pane)
    assert [*state.tracks] == ["5.0"]
    assert [each.end for each in state.judges] == [30, 30]
    assert state.judge is not None
    assert state.judge.baseline == baseline("4.2").content_hash


def drifting(versions: dict[str, Baseline]) -> ModelState:
    *_, state = play(Monitor("fraud", CONFIG, versions=versions), panes(lambda _: 0.5, versions, range(30, 90)))[1]
    assert {each.track for each in state.drifts} == {"5.0"}
    return state


def after_panes(
    versions: dict[str, Baseline], state: ModelState, hours: Iterable[float], share: Share = lambda _: 0.0
) -> list[Step]:
    """The steps of panes `hours` after the last pane of both versions, by default of the older one alone."""
    monitor, reported = Monitor("fraud", CONFIG, versions=versions), list[Step]()
    for number, after in enumerate(hours, PANES):
        first, newer = PANE * number, round(PANE * share(number))
        own = {"4.2": events("4.2", 2, first, PANE - newer), "5.0": events("5.0", 2, first + PANE - newer, newer, 2.0)}
        parts = {version: versions[version].sketch_events(each) for version, each in own.items() if each}
        pane, at = of_tracks(first, parts, PANE), round(10**12 + 1000 * PANE * PANES + after * HOUR)
        state, steps = monitor.judge(state, structs.replace(pane, first_ts=at, last_ts=at), ticks=at)
        reported += steps
    return reported


def test_what_a_version_out_of_use_had_found_is_no_longer_watched() -> None:
    versions = given("4.2", "5.0")
    state = drifting(versions)
    assert after_panes(versions, state, range(0, 36, 3)) == []
    (step,) = after_panes(versions, state, range(0, 60, 3))
    assert (step.status.value, step.resolution, step.incident.version) == ("resolved", "unwatched", "5.0")


def test_a_version_whose_line_is_removed_leaves_its_incident_with_the_next_pane() -> None:
    state = drifting(given("4.2", "5.0"))
    (step,) = after_panes(given("4.2"), state, [0])
    assert (step.status.value, step.resolution) == ("resolved", "unwatched")


def test_a_silence_of_the_whole_model_leaves_its_incidents_open() -> None:
    versions = given("4.2", "5.0")
    state = drifting(versions)
    _, steps = Monitor("fraud", CONFIG, versions=versions).tick(state, 10**12 + 10 * 86_400_000)
    assert steps == []


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["of the other version", "of both", "of the version"])
def test_the_panes_after_a_weekend_leave_the_incident_of_a_version_open(share: float) -> None:
    versions = given("4.2", "5.0")
    monday = (62 + minute / 60 for minute in range(10))
    steps = after_panes(versions, drifting(versions), monday, lambda _: share)
    assert [each.resolution for each in steps if each.status == "resolved"] == []


def test_a_model_that_is_trained_anew_every_week_needs_one_new_line() -> None:
    known = given("4.2")
    steps, states = play(Monitor("fraud", CONFIG, versions=known), panes(lambda _: 0.0, known))
    state, both = states[-1], given("4.2", "5.0")
    monitor = Monitor("fraud", CONFIG, versions=both)
    for pane in panes(gradual, both):
        (run,) = pane.ranges
        moved = Range(0, run.start + PANE * PANES, run.end + PANE * PANES)
        state, more = monitor.judge(state, structs.replace(pane, ranges=(moved,)))
        steps += more
    assert steps == []
    assert state.tracks["4.2"].judge.end > states[-1].tracks["4.2"].judge.end > 0  # type: ignore[union-attr]
