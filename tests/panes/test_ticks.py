"""Ticks: what they say of a partition, and that nothing can make them say more than is true."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.codec.panes import pack_progress, unpack_progress
from driftline.stream.events.mapping import EventMapping
from driftline.stream.panes.cutter import Cutter, PaneRule
from driftline.stream.panes.pane import Run
from driftline.stream.panes.sketcher import Sketcher
from driftline.stream.panes.source_clock import SourceClock
from driftline.stream.panes.tick import Marks, Progress, Tick

SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000
#: What the wall clock says, and what the events of a history say.
WALL, THEN = 1_800_000_000_000, 1_767_225_600_000


def run(end: int, time: int | None, read: int = 10, **rejected: int) -> Run:
    return Run(end - 10, end, {}, time=time, read=read, rejected=rejected)


def progress(*times: int | None) -> Progress:
    known = Progress()
    for i, time in enumerate(times, 1):
        known = known.after(run(10 * i, time), WALL)
    return known


# Runs


def event(second: int) -> bytes:
    return json.dumps({"id": "a", "ts": THEN + SECOND * second, "model": "m", "score": 0.5}).encode()


def sketcher() -> Sketcher:
    return Sketcher("events", Cutter(PaneRule(6, None), 0, 0), {}, EventMapping())


LOG = st.lists(st.one_of(st.integers(0, 50).map(event), st.sampled_from([b"[", b"{}", None])), max_size=60)


@given(LOG, st.integers(1, 7))
def test_what_a_run_has_read_and_refused_does_not_depend_on_how_it_arrived(log: list[bytes | None], chunk: int) -> None:
    runs, whole = list[Run](), sketcher()
    for size, into in ((chunk, (own := sketcher())), (60, whole)):
        found = [
            each
            for first in range(0, len(log), size)
            for each in into.consume(np.arange(first, min(first + size, len(log))), log[first : first + size]).runs
        ]
        found.append(into.close(len(log)))
        runs = found if into is own else runs
    assert [(each.time, each.read, each.rejected) for each in runs] == [
        (each.time, each.read, each.rejected) for each in found
    ]
    assert sum(each.read for each in runs) == len(log)


@pytest.mark.parametrize(
    ("seconds", "time"), [([7], 7), ([0, 9, 9, 9, 9], 9), ([0, 0, 9, 9, 9], 0), ([3, 3, 99, 99, 99], 3)]
)
def test_the_time_of_a_run_is_the_lower_quartile_of_its_events(seconds: list[int], time: int) -> None:
    """A few that are late, or most of them too early: neither makes it a time up to which the partition is not read."""
    own = sketcher()
    own.consume(np.arange(len(seconds)), list(map(event, seconds)))
    assert own.close(len(seconds)).time == THEN + SECOND * time


def test_a_run_without_events_has_no_time_and_counts_what_was_refused() -> None:
    own = sketcher()
    own.consume(np.arange(3), [b"[", b"{}", None])
    ended = own.close(3)
    assert (ended.time, ended.read) == (None, 3)
    assert sum(ended.rejected.values()) == 3


# What is known of a partition


def test_a_run_from_the_future_is_not_believed_alone() -> None:
    assert progress(THEN, THEN + 5, THEN + HOUR, THEN + 9).time == THEN + 9
    assert progress(THEN, THEN + HOUR, THEN + HOUR).time == THEN + HOUR


def test_old_events_do_not_set_the_time_back() -> None:
    assert progress(THEN, THEN, THEN - DAY, THEN - DAY).time == THEN


def test_no_event_is_later_than_the_wall_clock() -> None:
    assert progress(WALL + DAY, WALL + DAY).time == WALL


def test_rejections_are_counted_by_causes_of_which_there_are_few_whatever_the_messages_say() -> None:
    known = Progress()
    for i in range(100):
        known = known.after(run(10 * i + 10, None, **{f"\x1b{i}\ud800" + "x" * 999: 2}))
    assert sum(known.rejected.values()) == 200
    assert len(known.rejected) <= 21
    assert max(map(len, known.rejected)) <= 80
    assert unpack_progress(pack_progress(known)) == known


# The clock of a partition


def clock(time: int | None = None, at: int = 0) -> SourceClock:
    """A clock as an owner hands it on, to whom nothing came in the last minute."""
    return SourceClock(10 * SECOND, time, at, at and at - 60 * SECOND)


def test_a_partition_that_never_held_an_event_has_no_time() -> None:
    own = clock()
    own.asked_for_end(reached=True, asked=WALL)
    assert own.advance(Progress(), is_open=False, now=WALL) is None


def test_an_owner_that_dies_before_it_has_asked_for_the_end_leaves_a_time_that_does_not_jump() -> None:
    first, known = clock(), progress(THEN, THEN)
    assert first.advance(known, is_open=False, now=WALL) == THEN
    own = SourceClock(10 * SECOND, first.time, first.at, first.came)
    own.asked_for_end(reached=True, asked=WALL + 60 * SECOND)
    assert THEN <= (own.advance(known, is_open=False, now=WALL + 60 * SECOND) or 0) <= THEN + 60 * SECOND


def test_a_partition_that_is_read_to_its_end_goes_on_from_its_own_time_at_the_pace_of_the_wall_clock() -> None:
    own, known = clock(), progress(THEN, THEN)
    own.events_came(WALL)
    times = []
    for second in range(0, 60, 10):
        own.asked_for_end(reached=True, asked=WALL + second * SECOND)
        times.append(own.advance(known, is_open=False, now=WALL + second * SECOND + 1))
    assert times == [THEN + second * SECOND for second in (0, 0, 10, 20, 30, 40)]


@pytest.mark.parametrize("behind", [True, False])
def test_time_stands_still_while_something_was_not_read_or_not_published(behind: bool) -> None:
    own, known = clock(THEN, WALL), progress(THEN, THEN)
    own.asked_for_end(reached=not behind, asked=WALL + HOUR)
    assert own.advance(known, is_open=not behind, now=WALL + HOUR) == THEN
    own.asked_for_end(reached=True, asked=WALL + HOUR + SECOND)
    assert own.advance(known, is_open=False, now=WALL + HOUR + SECOND) == THEN + SECOND, "nor does it catch up"


def test_a_worker_that_was_paused_says_nothing_of_its_pause_before_it_has_asked_for_the_end_again() -> None:
    own, known = clock(THEN, WALL), progress(THEN, THEN)
    own.asked_for_end(reached=True, asked=WALL + SECOND)
    assert own.advance(known, is_open=False, now=WALL + HOUR) == THEN + SECOND
    own.asked_for_end(reached=False, asked=WALL + HOUR)
    assert own.advance(known, is_open=False, now=WALL + HOUR) == THEN + SECOND


def test_the_next_owner_goes_on_from_what_the_last_one_said() -> None:
    own = clock(THEN + HOUR, WALL)
    own.asked_for_end(reached=True, asked=WALL + DAY)
    assert own.advance(progress(THEN, THEN), is_open=False, now=WALL + DAY) == THEN + HOUR + DAY


def test_the_next_owner_loses_no_time_if_a_tick_is_due_before_it_has_asked_for_the_end() -> None:
    own = clock(THEN, WALL)
    assert own.advance(progress(THEN, THEN), is_open=False, now=WALL + HOUR) == THEN
    own.asked_for_end(reached=True, asked=WALL + DAY)
    assert own.advance(progress(THEN, THEN), is_open=False, now=WALL + DAY) == THEN + DAY


@pytest.mark.parametrize(
    ("reached", "is_open", "asked", "idle"),
    [
        (True, False, 11, True),
        (True, False, 9, False),
        (True, False, None, False),
        (True, True, 11, False),
        (False, False, 11, False),
    ],
)
def test_a_partition_is_idle_once_all_is_read_and_published_and_nothing_came_for_as_long_as_a_pane_may_last(
    reached: bool, is_open: bool, asked: int | None, idle: bool
) -> None:
    own = clock(WALL, WALL)
    own.events_came(WALL)
    if asked is not None:
        own.asked_for_end(reached, WALL + asked * SECOND)
    own.advance(progress(WALL, WALL), is_open, now=WALL + 12 * SECOND)
    assert own.is_idle is idle


@pytest.mark.parametrize(("late", "idle_after"), [(600, 600), (86_400, 3600)])
def test_a_partition_whose_events_are_late_is_idle_once_nothing_came_for_as_long_or_an_hour(
    late: int, idle_after: int
) -> None:
    """It is no silence if events that are ten minutes late pause for twenty seconds."""
    then = WALL - late * SECOND
    own, known = clock(then, WALL), progress(then, then)
    own.events_came(WALL)
    for quiet, idle in ((20, False), (idle_after - 20, False), (idle_after + 20, True)):
        own.asked_for_end(reached=True, asked=WALL + quiet * SECOND)
        own.advance(known, is_open=False, now=WALL + quiet * SECOND)
        assert own.is_idle is idle
    again = SourceClock(10 * SECOND, own.time, own.at, own.came)
    again.asked_for_end(reached=True, asked=own.at + SECOND)
    again.advance(known, is_open=False, now=own.at + SECOND)
    assert again.is_idle, "its next owner knows for how long nothing came"


def test_a_group_that_begins_to_send_ticks_does_not_jump_to_the_wall_clock() -> None:
    own = clock()
    own.asked_for_end(reached=True, asked=WALL)
    assert own.advance(progress(THEN, THEN), is_open=False, now=WALL) == THEN


def test_events_that_come_again_are_ahead_of_a_clock_that_went_on_without_them() -> None:
    own = clock(THEN, WALL)
    own.events_came(WALL + SECOND)
    assert own.advance(progress(THEN + HOUR, THEN + HOUR), is_open=False, now=WALL + SECOND) == THEN + HOUR


def test_a_wall_clock_that_is_set_back_does_not_set_time_back() -> None:
    own = clock(THEN, WALL)
    own.asked_for_end(reached=True, asked=WALL - HOUR)
    assert own.advance(progress(THEN, THEN), is_open=False, now=WALL - HOUR) == THEN


# Marks


TICKS = st.lists(
    st.builds(
        Tick,
        topic=st.just("events"),
        partition=st.integers(0, 1),
        of=st.just(2),
        read_to=st.integers(0, 9),
        time=st.integers(0, 9),
        read=st.integers(0, 9),
        rejected=st.dictionaries(st.sampled_from(["ts", "id"]), st.integers(0, 9)),
    )
)


@given(TICKS, st.randoms(use_true_random=False))
def test_ticks_that_come_twice_late_or_in_another_order_say_the_same(ticks: list[Tick], random: object) -> None:
    mixed = [*ticks, *ticks[::2]]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert Marks().after(*mixed).ticks == Marks().after(*ticks).ticks


def at(partition: int, time: int, idle: bool = False, read: int = 0) -> Tick:
    return Tick("events", partition, 3, 5, time, read=read, idle=idle)


def test_an_idle_partition_whose_last_event_is_old_holds_no_time_back() -> None:
    marks = Marks().after(at(0, THEN), at(1, THEN + SECOND), at(2, THEN - 3 * DAY))
    assert marks.complete_to("events") == THEN - 3 * DAY
    idle = marks.after(at(2, THEN - 3 * DAY + SECOND, idle=True))
    assert idle.complete_to("events") == THEN
    assert idle.after(at(2, THEN - 3 * DAY + SECOND, read=1)).complete_to("events") == THEN - 3 * DAY + SECOND


def test_an_idle_partition_that_is_hardly_behind_is_waited_for_as_its_next_events_may_be_on_their_way() -> None:
    marks = Marks().after(at(0, THEN), at(1, THEN), at(2, THEN - 30 * SECOND, idle=True))
    assert marks.complete_to("events") == THEN - 30 * SECOND


def test_the_time_of_a_topic_of_which_all_partitions_are_idle_goes_on() -> None:
    marks = Marks().after(at(0, THEN, idle=True), at(1, THEN - SECOND, idle=True), at(2, THEN - DAY, idle=True))
    assert marks.complete_to("events") == THEN - SECOND


def test_labels_are_joined_once_a_tick_of_every_partition_came_even_of_those_that_hold_nothing() -> None:
    labels = Tick("labels", 0, 1, 5, THEN + HOUR)
    before = Marks().after(labels, at(0, THEN), at(1, THEN))
    assert before.complete_to("events") == THEN
    assert before.joined_to("events", "labels") == 0
    after = before.after(at(2, 0, idle=True))
    assert after.joined_to("events", "labels") == after.joined_since(before, "events", "labels") == THEN
    assert after.joined_since(after, "events", "labels") == 0
    more = after.after(Tick("events", 0, 4, 6, THEN + HOUR))
    assert more.joined_to("events", "labels") == 0, "a partition was added, and may hold something"


def test_of_two_ticks_with_the_same_time_the_one_that_is_not_idle_came_later() -> None:
    for ticks in ([at(0, 5), at(0, 5, idle=True)], [at(0, 5, idle=True), at(0, 5)]):
        assert not Marks().after(*ticks).ticks["events", 0].idle


def test_only_a_tick_with_which_a_slot_is_complete_in_all_partitions_says_so() -> None:
    before, said = Marks(), []
    for tick in (at(0, THEN), at(1, THEN + 99 * SECOND), at(0, THEN + 9 * SECOND), at(0, THEN + 12 * SECOND)):
        marks = before.after(tick)
        said.append(marks.completed_since(before, "events"))
        before = marks
    assert said == [THEN, 0, 0, THEN + 12 * SECOND]


def test_a_tick_that_says_nothing_new_leaves_the_mark_as_it_is() -> None:
    marks = Marks().after(Tick("events", 0, 2, 5, 7), Tick("events", 1, 2, 5, 6))
    again = marks.after(Tick("events", 0, 2, 4, 6))
    assert again.ticks["events", 0] is marks.ticks["events", 0]
    assert again.time_of("events") == 7
