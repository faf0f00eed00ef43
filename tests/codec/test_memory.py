"""A model's memory in parts: what a commit writes, what comes back, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.panes import FormatError
from driftline.stream.codec.state import BaselineChangedError, StateDelta, restore_state, state_delta
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from tests.harness.histories import CONFIG, MODEL, History, baseline, events, history, panes

HISTORIES = [pytest.param(False, id="given"), pytest.param(True, id="learned")]
Stored = dict[str, bytes]


def applied(stored: Stored, change: StateDelta) -> Stored:
    """What a store holds after a change."""
    kept = {} if change.replace_all else {name: part for name, part in stored.items() if name not in change.delete}
    return kept | change.write


def stored_after(run: History, count: int) -> Stored:
    """What is stored after the first panes, written pane by pane."""
    stored: Stored = {}
    for old, new in zip([None, *run.memories], run.memories[: count + 1], strict=False):
        stored = applied(stored, state_delta(old, new, run.given))
    return stored


@pytest.mark.parametrize("learned", HISTORIES)
def test_what_was_written_pane_by_pane_is_the_memory(learned: bool) -> None:
    run, stored = history(learned=learned), Stored()
    for old, new in zip([None, *run.memories], run.memories, strict=False):
        stored = applied(stored, state_delta(old, new, run.given))
        assert stored == state_delta(None, new, run.given).write
        back = restore_state(stored, run.given)
        assert state_delta(None, back, run.given).write == stored
        assert (back.consumed, back.sample, back.last_seq) == (new.consumed, new.sample, new.last_seq)
        assert (back.judge is None) is (new.judge is None)


@pytest.mark.parametrize("learned", HISTORIES)
@given(data=st.data())
@settings(max_examples=8, deadline=None, derandomize=True)
def test_a_run_that_stops_anywhere_goes_on_as_if_it_had_not(learned: bool, data: st.DataObject) -> None:
    run = history(learned=learned)
    stops = sorted(data.draw(st.lists(st.integers(0, len(run.panes)), max_size=4)))
    memory, alerts, stored = ModelState(), [], Stored()
    for first, last in zip([0, *stops], [*stops, len(run.panes)], strict=True):
        monitor = run.monitor
        for pane in run.panes[first:last]:
            memory, steps = monitor.judge(memory, pane)
            alerts += [f"{step.seq} {step.status} {step.at} {step.incident}" for step in steps]
        stored = applied(stored, state_delta(restore_state(stored, run.given) if stored else None, memory, run.given))
        memory = restore_state(stored, run.given)
    assert alerts == [alert for each in run.alerts for alert in each]
    assert stored == state_delta(None, run.memories[-1], run.given).write


@pytest.mark.parametrize("learned", HISTORIES)
def test_a_commit_writes_the_head_and_what_changed(learned: bool) -> None:
    run = history(learned=learned)
    changes = [state_delta(old, new, run.given) for old, new in zip(run.memories, run.memories[1:], strict=False)]
    assert state_delta(run.memories[-1], run.memories[-1], run.given).write.keys() == {"head"}
    # A histogram of n pushes has merged fewer than n times, so each push writes fewer than two buckets.
    buckets = [sum(name.startswith("bucket") for name in change.write) for change in changes]
    assert sum(buckets) < 2 * len(run.panes)
    assert sum("incidents" in change.write for change in changes) <= 4
    assert sum("learned" in change.write for change in changes) == learned
    assert sum("incidents" in change.delete for change in changes) == 1


def test_events_kept_for_learning_are_written_by_the_hundred_and_deleted_when_learned() -> None:
    run = history(learned=True)
    changes = [state_delta(old, new, None) for old, new in zip(run.memories, run.memories[1:6], strict=False)]
    assert [sorted(change.write) for change in changes] == [
        ["events:0", "head"],
        ["events:0", "events:1", "head"],
        ["events:1", "head"],
        ["events:1", "events:2", "head"],
        ["head", "learned"],
    ]
    assert changes[4].delete == ("events:0", "events:1", "events:2")


def test_a_memory_without_what_is_stored_replaces_all_of_it() -> None:
    run = history(learned=False)
    change = state_delta(None, run.memories[3], run.given)
    assert change.replace_all
    assert applied(stored_after(run, 60), change) == stored_after(run, 3)


def test_nothing_stored_is_the_empty_memory() -> None:
    assert restore_state({}, None) == ModelState()


@pytest.mark.parametrize("learned", HISTORIES)
def test_a_lost_part_or_one_too_many_is_noticed(learned: bool) -> None:
    run = history(learned=learned)
    stored = stored_after(run, 20)
    assert {"head", "incidents", "bucket:0"} <= stored.keys()
    for name in stored:
        with pytest.raises(FormatError, match="missing"):
            restore_state({other: part for other, part in stored.items() if other != name}, run.given)
    for extra in ("bucket:7", "events:0", "learned" if not learned else "events:1"):
        with pytest.raises(FormatError, match="do not fit"):
            restore_state({**stored, extra: b""}, run.given)


@pytest.mark.parametrize("learned", HISTORIES)
def test_a_torn_write_is_noticed(learned: bool) -> None:
    """Half of a commit: some parts of one time, some of another."""
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


def test_a_memory_against_another_baseline_says_what_still_holds() -> None:
    run = history(learned=True)
    with pytest.raises(BaselineChangedError) as other:
        restore_state(stored_after(run, 40), baseline())
    before, anew = run.memories[40], other.value.fresh_state
    assert (anew.consumed, anew.judge) == (before.consumed, None)
    assert anew.learned.content_hash == before.learned.content_hash
    assert anew.last_seq == before.last_seq > 0


def test_incidents_against_another_baseline_are_over_with_the_next_pane() -> None:
    """Their page once stayed open for good."""
    run, other = history(learned=False), build_baseline(events(7, 0, 2000), {"model": MODEL})
    with pytest.raises(BaselineChangedError) as refused:
        restore_state(stored_after(run, 22), other)
    (pane,) = panes(1, given=other)
    memory, (over,) = Monitor(MODEL, CONFIG, other).judge(refused.value.fresh_state, pane)
    (before,) = run.memories[22].judge.incidents.values()
    assert (over.status, over.resolution, over.incident) == (Status.RESOLVED, "accepted", before)
    assert (over.seq, memory.superseded) == (run.memories[22].last_seq + 1, ())


def test_a_memory_whose_baseline_file_is_gone_says_so() -> None:
    with pytest.raises(BaselineChangedError):
        restore_state(stored_after(history(learned=False), 40), None)
