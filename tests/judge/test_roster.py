"""The roster: which models without a baseline are remembered, and who gives way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.judge.roster import NoRoomError, Room, Roster

HOUR = 3_600_000
ROOM = Room(learned=2, newcomers=3, silence=HOUR, lifetime=90 * 24 * HOUR)


def arrive(roster: Roster, model: str, events: int = 1, at: int = 0, learns: bool = False) -> list[str]:
    """The models that give way to a pane that is judged."""
    leaving = roster.make_room(model, events, at, learns)
    roster.note(model, at, roster.newcomers.get(model, 0) + events, learns or model in roster.learned)
    return leaving


def full(room: Room = ROOM, events: int = 10) -> Roster:
    roster = Roster(room)
    for i in range(room.newcomers):
        assert arrive(roster, f"m{i}", events, at=i) == []
    return roster


def test_the_newcomer_that_was_silent_for_the_longest_time_gives_way() -> None:
    roster = full()
    arrive(roster, "m0", at=HOUR // 2)
    assert arrive(roster, "new", at=HOUR + 1) == ["m1"]
    assert roster.newcomers.keys() == {"m0", "m2", "new"}


def test_nobody_gives_way_to_one_that_brings_no_more_and_the_reason_names_the_remedy() -> None:
    roster = full()
    before = roster.copy()
    with pytest.raises(NoRoomError, match=r"model 'new' has no baseline, and 3 such .* raise limits.newcomers"):
        roster.make_room("new", 10, HOUR - 1, learns=False)
    assert roster == before


def test_a_real_model_in_the_middle_of_a_flood_of_invented_names_takes_a_place_at_once() -> None:
    """It brings more than the one event of an invented name, and none of those that follow pushes it out again."""
    roster = full(events=1)
    assert arrive(roster, "real", events=20, at=10) == ["m0"]
    for i in range(100):
        with pytest.raises(NoRoomError):
            roster.make_room(f"invented-{i}", 1, 20 + i, learns=False)
    assert arrive(roster, "real", events=20, at=200) == []
    assert roster.newcomers["real"] == 40


def test_real_models_that_are_too_many_do_not_push_each_other_out_in_turn() -> None:
    roster = full()
    for turn in range(5):
        for i in range(6):
            try:
                arrive(roster, f"m{i}", 10, at=100 * turn + i)
            except NoRoomError:
                assert i >= 3
    assert roster.newcomers == {f"m{i}": 60 for i in range(3)}


def test_a_flood_takes_no_room_of_models_that_have_learned() -> None:
    roster = Roster(ROOM)
    arrive(roster, "a", learns=True)
    for i in range(50):
        arrive(roster, f"invented-{i}", at=i * HOUR)
    assert roster.learned == {"a"}
    assert len(roster.newcomers) == 3


def test_a_learned_model_is_forgotten_for_another_only_after_its_lifetime() -> None:
    roster = Roster(ROOM)
    arrive(roster, "a", at=0, learns=True)
    arrive(roster, "b", at=HOUR, learns=True)
    lifetime = ROOM.lifetime
    assert lifetime is not None
    with pytest.raises(NoRoomError, match=r"2 models that learned theirs .* raise worker.unknown_models"):
        arrive(roster, "c", at=round(lifetime) - 1)
    assert arrive(roster, "c", at=round(lifetime)) == [], "one that warms up takes no place yet"
    assert arrive(roster, "c", at=round(lifetime) + 1, learns=True) == ["a"]
    assert roster.learned == {"b", "c"}


def test_without_a_lifetime_no_learned_model_is_forgotten() -> None:
    roster = Roster(Room(1, 3, HOUR, None))
    arrive(roster, "a", at=0, learns=True)
    with pytest.raises(NoRoomError):
        arrive(roster, "b", at=10**15)


def test_without_room_for_unknown_models_none_is_accepted() -> None:
    with pytest.raises(NoRoomError, match="unknown_models"):
        arrive(Roster(Room(0, 3, HOUR, None)), "a")


def test_models_of_which_an_earlier_version_kept_no_time_are_stamped_with_the_next_pane() -> None:
    roster = Roster(ROOM, newcomers={"m0": 10, "m1": 10}, learned={"a"}, seen={"m0": 5})
    assert roster.stamp(7) == {"m1": 7, "a": 7}
    assert roster.stamp(9) == {}
    assert roster.seen == {"m0": 5, "m1": 7, "a": 7}


Panes = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 9), st.integers(0, 2 * HOUR), st.booleans()), max_size=60
)


@given(Panes)
def test_whatever_comes_no_share_is_exceeded_and_a_refused_pane_changes_nothing(
    panes: list[tuple[str, int, int, bool]],
) -> None:
    roster, now = Roster(ROOM), 0
    for model, events, later, learns in panes:
        now += later
        before = roster.copy()
        try:
            leaving = arrive(roster, model, events, now, learns and model not in roster.learned)
        except NoRoomError:
            assert roster == before
            continue
        assert model in roster
        assert not any(each in roster for each in leaving)
        assert len(roster.newcomers) <= ROOM.newcomers
        assert len(roster.learned) <= ROOM.learned
        assert roster.seen.keys() == roster.newcomers.keys() | roster.learned


def warm(roster: Roster, model: str, values: int, at: int) -> list[str]:
    leaving = roster.make_room(model, 1, at, learns=False, values=values)
    roster.note(model, at, 1, False, roster.values.get(model, 0) + values)
    return leaving


def test_wide_newcomers_cannot_fill_memory_together_and_silent_ones_give_way() -> None:
    roster = Roster(Room(2, 10, HOUR, None, values=100))
    for i in range(3):
        assert warm(roster, f"m{i}", 30, at=i) == []
    before = roster.copy()
    with pytest.raises(NoRoomError, match=r"'m1' .* hold 100 values .* raise limits.warm_up_values"):
        warm(roster, "m1", 11, at=HOUR - 1)
    assert roster == before
    assert warm(roster, "m1", 10, at=HOUR - 1) == []
    assert warm(roster, "new", 60, at=HOUR + 2) == ["m0", "m2"]
    assert roster.values == {"m1": 40, "new": 60}


def test_values_of_those_that_learn_or_are_forgotten_make_room() -> None:
    roster = Roster(Room(2, 10, HOUR, None, values=100))
    warm(roster, "a", 90, at=0)
    assert roster.make_room("a", 1, 1, learns=True, values=90) == []
    roster.note("a", 1, 0, True)
    warm(roster, "b", 90, at=2)
    roster.forget("b")
    assert warm(roster, "c", 100, at=3) == []
    assert roster.values == {"c": 100}
