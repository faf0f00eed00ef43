"""The life of an incident: none, firing, updated, resolved, and which signals it holds meanwhile."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.battery import Test as Statistic
from stream.changes import Change, Profile
from stream.incidents import Finding, Incident, Status, Step, advance
from stream.panes import Range

CHANGE = Change("mean 1 → 2", Profile(9, {}, {}), Profile(9, {}, {}), 0.1, 0.1, None, None)


def finding(signal: str, since: int = 1000) -> Finding:
    return Finding(signal, Statistic("ks", 0), False, 0, since, 100, (Range(0, 0, 100),), 20.0, 17.0, CHANGE)


def names(findings: Collection[Finding]) -> list[str]:
    return [each.signal for each in findings]


def incident(drifts: str = "", recovered: str = "", opened: int = 500, since: int = 1000) -> Incident:
    return Incident(opened, since, tuple(map(finding, drifts)), tuple(map(finding, recovered)))


def step(before: Incident | None, found: str = "", released: str = "") -> tuple[Incident | None, list[Step]]:
    return advance(before, [finding(signal, 2000) for signal in found], set(released), seen=700, at=3000)


# before, found, released, statuses told, drifts and recovered after ("": no incident)
TRANSITIONS = [
    (None, "", "", [], None),
    (None, "a", "", [Status.FIRING], ("a", "")),
    (None, "ab", "", [Status.FIRING], ("ab", "")),
    (("a", ""), "", "", [], ("a", "")),
    (("a", ""), "b", "", [Status.UPDATED], ("ab", "")),
    (("ab", ""), "", "a", [], ("b", "a")),
    (("b", "a"), "", "b", [Status.RESOLVED], None),
    (("ab", ""), "", "ab", [Status.RESOLVED], None),
    (("a", ""), "b", "a", [Status.UPDATED], ("b", "a")),
    (("b", "a"), "a", "", [Status.UPDATED], ("ba", "")),
    (("b", "a"), "a", "b", [Status.UPDATED], ("a", "b")),
]


@pytest.mark.parametrize(("before", "found", "released", "statuses", "after"), TRANSITIONS)
def test_transitions(
    before: tuple[str, str] | None,
    found: str,
    released: str,
    statuses: list[Status],
    after: tuple[str, str] | None,
) -> None:
    new, steps = step(incident(*before) if before else None, found, released)
    assert [each.status for each in steps] == statuses
    assert (new and ("".join(names(new.drifts)), "".join(names(new.recovered)))) == after


def test_an_incident_is_named_after_where_it_fired_and_keeps_its_earliest_start() -> None:
    fired, _ = step(None, "a")
    assert fired == Incident(opened=700, since=2000, drifts=(finding("a", 2000),))
    earlier, _ = advance(fired, [finding("b", 1500)], (), seen=900, at=4000)
    later, _ = advance(earlier, [finding("c", 9000)], (), seen=950, at=9500)
    assert later is not None
    assert (later.opened, later.since) == (700, 1500)


def test_a_step_tells_the_news_and_the_end_tells_of_all_that_had_drifted() -> None:
    _, (fired,) = step(None, "ab")
    assert (names(fired.news), fired.at) == (["a", "b"], 3000)
    _, (updated,) = step(incident("ab"), "c", "a")
    assert names(updated.news) == ["c"]
    _, (resolved,) = step(incident("c", "ab"), released="c")
    assert (names(resolved.news), names(resolved.incident.recovered)) == ([], ["a", "b", "c"])
    assert resolved.incident.drifts == ()


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))), max_size=30))
def test_a_flapping_signal_is_held_once_however_often_it_flaps(history: list[tuple[set[str], set[str]]]) -> None:
    """While another signal kept an incident open, each return of a signal used to add to what had recovered."""
    open_incident: Incident | None = incident("z")
    for found, gone in history:
        drifting = set(names(open_incident.drifts)) if open_incident else set()
        new = [finding(signal) for signal in sorted(found - drifting)]
        open_incident, _ = advance(open_incident, new, gone & drifting, seen=1, at=1)
        assert open_incident is not None
        held = names(open_incident.drifts) + names(open_incident.recovered)
        assert len(held) == len(set(held))
        assert set(names(open_incident.drifts)) == drifting - gone | (found - drifting)
