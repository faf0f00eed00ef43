"""A model's state in parts: what a commit writes, what is restored, and what is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.frames import FormatError, frame
from driftline.stream.codec.incidents import unpack_incidents
from driftline.stream.codec.state import StateDelta, move_consumed, restore_state, state_delta
from driftline.stream.judge.incidents import Course, Reported, Status, Subject
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Source
from tests.harness.histories import CONFIG, MODEL, History, events, history, panes

HISTORIES = [pytest.param(False, id="given"), pytest.param(True, id="learned")]
Stored = dict[str, bytes]


def applied(stored: Stored, delta: StateDelta) -> Stored:
    """The parts that a store holds after a delta."""
    kept = {} if delta.replace_all else {name: part for name, part in stored.items() if name not in delta.delete}
    return kept | delta.write


def stored_after(run: History, count: int) -> Stored:
    """The stored parts after the first panes, written pane by pane."""
    stored: Stored = {}
    for old, new in zip([None, *run.states], run.states[: count + 1], strict=False):
        stored = applied(stored, state_delta(old, new))
    return stored


@pytest.mark.parametrize("learned", HISTORIES)
def test_parts_written_pane_by_pane_restore_the_state(learned: bool) -> None:
    run, stored = history(learned=learned), Stored()
    for old, new in zip([None, *run.states], run.states, strict=False):
        stored = applied(stored, state_delta(old, new))
        assert stored == state_delta(None, new).write
        back = restore_state(stored, run.given)
        assert state_delta(None, back).write == stored
        assert (back.consumed, back.sample, back.last_seq) == (new.consumed, new.sample, new.last_seq)
        assert (back.judge is None) is (new.judge is None)


@pytest.mark.parametrize("learned", HISTORIES)
@given(data=st.data())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_a_run_that_stops_anywhere_resumes_as_if_it_had_not_stopped(learned: bool, data: st.DataObject) -> None:
    run = history(learned=learned)
    stops = sorted(data.draw(st.lists(st.integers(0, len(run.panes)), max_size=4)))
    state, alerts, stored = ModelState(), [], Stored()
    for first, last in zip([0, *stops], [*stops, len(run.panes)], strict=True):
        monitor = run.monitor
        for pane in run.panes[first:last]:
            state, steps = monitor.judge(state, pane)
            alerts += [f"{step.seq} {step.status} {step.at} {step.incident}" for step in steps]
        stored = applied(stored, state_delta(restore_state(stored, run.given) if stored else None, state))
        state = restore_state(stored, run.given)
    assert alerts == [alert for each in run.alerts for alert in each]
    assert stored == state_delta(None, run.states[-1]).write


@pytest.mark.parametrize("learned", HISTORIES)
def test_a_commit_writes_the_head_and_what_changed(learned: bool) -> None:
    run = history(learned=learned)
    deltas = [state_delta(old, new) for old, new in zip(run.states, run.states[1:], strict=False)]
    assert state_delta(run.states[-1], run.states[-1]).write.keys() == {"head"}
    # A histogram of n pushes has merged fewer than n times, so each push writes fewer than two buckets.
    buckets = [sum(name.startswith("bucket") for name in delta.write) for delta in deltas]
    assert sum(buckets) < 2 * len(run.panes)
    assert sum("incidents" in delta.write for delta in deltas) <= 4
    assert sum("learned" in delta.write for delta in deltas) == learned
    assert sum("incidents" in delta.delete for delta in deltas) == 1


def test_events_kept_for_the_warm_up_are_written_by_the_hundred_and_deleted_after_it() -> None:
    run = history(learned=True)
    deltas = [state_delta(old, new) for old, new in zip(run.states, run.states[1:6], strict=False)]
    assert [sorted(delta.write) for delta in deltas] == [
        ["events:0", "head"],
        ["events:0", "events:1", "head"],
        ["events:1", "head"],
        ["events:1", "events:2", "head"],
        ["head", "learned"],
    ]
    assert deltas[4].delete == ("events:0", "events:1", "events:2")


def test_a_delta_from_an_unknown_state_replaces_all_stored_parts() -> None:
    run = history(learned=False)
    delta = state_delta(None, run.states[3])
    assert delta.replace_all
    assert applied(stored_after(run, 60), delta) == stored_after(run, 3)


@pytest.mark.parametrize("starts", [[], [0] * 99, [2**63, 0]])
def test_starts_that_are_not_one_for_each_signal_are_refused(starts: list[int]) -> None:
    """With such a part, a worker ended at the model's next pane."""
    run = history(learned=False)
    stored = stored_after(run, 20)
    head = msgspec.msgpack.decode(stored["head"][6:])
    head[5][1] = starts
    with pytest.raises(FormatError):
        restore_state({**stored, "head": frame(b"H", head)}, run.given)


def test_no_stored_parts_restore_the_initial_state() -> None:
    assert restore_state({}, None) == ModelState()


@pytest.mark.parametrize("learned", HISTORIES)
def test_a_missing_or_surplus_part_is_refused(learned: bool) -> None:
    run = history(learned=learned)
    stored = stored_after(run, 20)
    assert {"head", "incidents", "bucket:0"} <= stored.keys()
    for name in stored:
        with pytest.raises(FormatError, match="missing"):
            restore_state({other: part for other, part in stored.items() if other != name}, run.given)
    for extra in ("bucket:7", "events:0", "learned" if not learned else "events:1"):
        with pytest.raises(FormatError, match="do not match its head"):
            restore_state({**stored, extra: b""}, run.given)


@pytest.mark.parametrize("learned", HISTORIES)
def test_a_torn_write_is_refused(learned: bool) -> None:
    """Half of a commit: some parts are older than others."""
    run = history(learned=learned)
    old, new = stored_after(run, 17), stored_after(run, 21)
    changed = [name for name in new if name in old and old[name] != new[name]]
    assert len(changed) >= 2
    for name in changed:
        if name != "incidents":
            with pytest.raises(FormatError):
                restore_state({**new, name: old[name]}, run.given)


def test_a_damaged_part_is_refused() -> None:
    run = history(learned=True)
    stored = stored_after(run, 20)
    for name, part in stored.items():
        middle = len(part) // 2
        with pytest.raises(FormatError):
            restore_state({**stored, name: part[:middle] + bytes([part[middle] ^ 1]) + part[middle + 1 :]}, run.given)


def test_what_is_consumed_of_another_topic_is_kept_in_a_newer_format_and_moves_by_itself() -> None:
    state = ModelState({Source(3): 70, Source(3, "more"): 20, Source(0, "more"): 9, Source(1): 5})
    head = state_delta(None, state).write["head"]
    assert head[1] == 2
    assert restore_state({"head": head}, None) == state
    moved = move_consumed(head, {Source(3, "more"): 0, Source(1): 50, Source(1, "more"): 7})
    assert restore_state({"head": moved}, None).consumed == {
        Source(3): 70, Source(3, "more"): 0, Source(0, "more"): 9, Source(1): 50
    }  # fmt: skip
    plain = state_delta(None, ModelState({Source(3): 70})).write["head"]
    assert plain[1] == 1


@pytest.mark.parametrize("learned", HISTORIES)
def test_from_level_2_on_a_history_outlives_its_baseline(learned: bool) -> None:
    run, state, stored = history(learned=learned), ModelState(), Stored()
    for pane in run.panes[:40]:
        after, _ = Monitor(MODEL, CONFIG, run.given, portable=True).judge(state, pane)
        stored, state = applied(stored, state_delta(state if stored else None, after)), after
    back = restore_state(stored, None)
    assert "layout" in stored
    assert back.judge
    assert back.judge.signals == state.judge.signals
    assert state_delta(None, back).write == stored == state_delta(None, state).write


def test_at_level_1_a_state_is_stored_as_ever_and_gains_its_layout_when_the_level_rises() -> None:
    run = history(learned=False)
    stored = stored_after(run, 40)
    assert "layout" not in stored
    after, _ = Monitor(MODEL, CONFIG, run.given, portable=True).judge(restore_state(stored, run.given), run.panes[40])
    delta = state_delta(run.states[40], after)
    assert "layout" in delta.write
    assert restore_state(applied(stored, delta), None).judge


def test_a_history_of_level_1_is_carried_over_if_its_baseline_is_at_hand() -> None:
    run, other = history(learned=True), build_baseline(events(7, 0, 2000), {"model": MODEL})
    state = restore_state(stored_after(run, 40), other)
    (pane,) = panes(1, given=other)
    after, _ = Monitor(MODEL, CONFIG, other).judge(replace(state, consumed={}), pane)
    assert after.judge.end == run.states[40].judge.end + pane.content.n


def test_a_history_of_level_1_whose_baseline_is_gone_is_lost_and_nothing_else_is() -> None:
    """Its incidents are resolved with the next pane: their page once stayed open for good."""
    run, other = history(learned=False), build_baseline(events(7, 0, 2000), {"model": MODEL})
    before, stored = run.states[22], stored_after(run, 22)
    state = restore_state(stored, other)
    assert (state.consumed, state.last_seq, state.judge, state.unreadable) == (
        before.consumed,
        before.last_seq,
        None,
        True,
    )
    (pane,) = panes(1, given=other)
    after, (resolved,) = Monitor(MODEL, CONFIG, other).judge(replace(state, consumed={}), pane)
    (opened,) = before.incidents.values()
    assert (resolved.status, resolved.resolution, resolved.incident) == (Status.RESOLVED, "replaced", opened)
    assert (resolved.seq, after.unreadable) == (before.last_seq + 1, False)
    delta = state_delta(state, after)
    assert delta.replace_all, "no bucket of the lost history stays behind"
    assert restore_state(applied(stored, delta), other).judge


def test_a_learned_baseline_of_format_2_is_stored_without_its_blocks_and_judges_as_one_of_format_1() -> None:
    """What lies beyond the range of its sample is told more exactly, so that headlines may differ, and nothing else."""
    told, sizes = [], []
    for learned_format in (1, 2):
        monitor, state, steps = Monitor(MODEL, CONFIG, learned_format=learned_format), ModelState(), []
        for pane in panes(60):
            state, more = monitor.judge(state, pane)
            steps += [(each.seq, each.status, each.at, [f.evidence for f in each.findings]) for each in more]
            stored = state_delta(None, state).write
            assert state_delta(None, restore_state(stored, None)).write == stored
        told.append(steps)
        sizes.append(len(stored["learned"]))
    assert told[0] == told[1]
    assert told[0]
    assert sizes[1] < sizes[0]
    assert state.learned
    assert state.learned.read_blocks is None


@pytest.mark.parametrize("of", [{"track": "v2"}, {"segment": "country=at"}])
@pytest.mark.parametrize("where", ["drifts", "recovered"])
def test_readers_of_the_first_version_refuse_a_finding_that_is_not_about_all_events(
    of: dict[str, str], where: str
) -> None:
    """They pass over names that they do not know, and would take it for one about all."""
    state = next(each for each in history(learned=False).states if each.incidents)
    (incident,) = state.incidents.values()
    some = tuple(msgspec.structs.replace(each, **of) for each in incident.drifts)
    new = replace(state, incidents={incident.scope: replace(incident, **{"drifts": (), where: some})})
    assert state_delta(None, state).write["incidents"][1] == 1
    parts = state_delta(None, new).write
    assert parts["incidents"][1] == 2
    assert restore_state(parts, history(learned=False).given).incidents == new.incidents


def test_what_an_incident_has_been_through_is_stored_only_if_it_is_remembered() -> None:
    """Below level 3 the bytes are those of ever."""
    state = next(each for each in history(learned=False).states if each.incidents)
    (incident,) = state.incidents.values()
    forgotten = replace(incident, course=UNSET)
    known = Reported(Subject("v2", "features.a"), "missing", "rate", 0.25, 0.1)
    through = Course(ends=3, events=400, quiet_from=9000, reported=(known,))
    for each, stored in ((forgotten, False), (replace(incident, course=through), True)):
        held = replace(state, incidents={incident.scope: each})
        part = state_delta(None, held).write["incidents"]
        assert (b"course" in part) is stored
        assert part[1] == (3 if stored else 1), "readers that do not know it say so"
        assert unpack_incidents(part) == {incident.scope: each}
