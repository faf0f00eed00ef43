"""Notifications of one receiver: each incident's newest step, on one page for good, in order, with a rising seq."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.paging.grouping import GroupingRules, decide
from driftline.stream.paging.notifications import Notifications, OpenIncident, RecordPosition
from tests.harness.services import cloud_event

STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 9)), max_size=30)


def not_silenced(_: CompleteAlert) -> bool:
    return False


def decided(*values: bytes) -> Notifications:
    """Notifications that have received these records, after a decision."""
    return decide(Notifications().receive(map(at, values), 1000.0), GroupingRules(), not_silenced, 1000.0)


def at(value: bytes) -> tuple[bytes, RecordPosition]:
    return value, RecordPosition("alerts", 0, 0)


def sent_in_order(notifications: Notifications) -> list[tuple[str, int]]:
    """(page, seq) of everything that is due, one after the other."""
    found = []
    while due := notifications.due(not_silenced):
        found.append((due[0], notifications.pages[due[0]].seq))
        notifications = decide(notifications.mark_sent(due[0]), GroupingRules(), not_silenced, 1000.0)
    return found


@given(STEPS)
def test_the_newest_step_of_each_incident_is_due_in_the_order_in_which_incidents_came(
    steps: list[tuple[str, int, int]],
) -> None:
    notifications = decided(
        *(cloud_event(seq, "updated", incident=str(incident), key=key) for key, incident, seq in steps)
    )
    newest: dict[str, int] = {}
    for key, incident, seq in steps:
        name = f"{key}/{incident}"
        newest[name] = max(seq, newest.get(name, 0))
    assert {name: incident.alert.seq for name, incident in notifications.incidents.items()} == newest
    assert notifications.due(not_silenced) == list(newest)


@given(STEPS)
def test_within_a_key_seq_rises_whatever_the_order_of_records(steps: list[tuple[str, int, int]]) -> None:
    notifications = decided(
        *(cloud_event(seq, "updated", incident=str(incident), key=key) for key, incident, seq in steps)
    )
    seqs: dict[str, list[int]] = {}
    for name, seq in sent_in_order(notifications):
        seqs.setdefault(name.partition("/")[0], []).append(seq)
    assert all(sorted(set(sent)) == sent for sent in seqs.values())


def test_urgent_pages_come_first_then_old_ones_and_pages_of_one_key_keep_their_order() -> None:
    notifications = decided(
        cloud_event(1, severity="warning", key="a"),
        cloud_event(1, severity="info", key="b", incident="b1"),
        cloud_event(1, severity="error", key="c"),
        cloud_event(2, severity="critical", key="b", incident="b2"),
        cloud_event(1, severity="error", key="d"),
    )
    assert notifications.due(not_silenced) == ["b/b1", "b/b2", "c/a1", "d/a1", "a/a1"]


def test_an_end_is_not_urgent() -> None:
    notifications = decided(cloud_event(1, "resolved", severity="critical", key="a"), cloud_event(1, key="b"))
    assert notifications.due(not_silenced) == ["b/a1", "a/a1"]


def test_what_an_earlier_version_stored_counts_as_sent() -> None:
    notifications = decided(cloud_event(1))
    stored = json.loads(msgspec.json.encode(notifications.incidents["fraud/a1"]))
    stored = {name: value for name, value in stored.items() if name not in ("earlier", "sent_severity")}
    old = replace(notifications, incidents={"fraud/a1": msgspec.convert(stored, OpenIncident)})
    ended = decide(old.receive([at(cloud_event(2, "resolved"))], 1001.0), GroupingRules(), not_silenced, 1001.0)
    assert ended.due(not_silenced) == ["fraud/a1"]


def test_a_lone_incident_is_sent_step_by_step_and_dropped_when_it_is_resolved() -> None:
    notifications = decided(cloud_event(1))
    sent: list[Any] = []
    for seq, status in ((2, "updated"), (3, "resolved")):
        sent += notifications.due(not_silenced)
        notifications = notifications.mark_sent("fraud/a1").receive([at(cloud_event(seq, status))], 1000.0)
        notifications = decide(notifications, GroupingRules(), not_silenced, 1000.0)
    assert sent == ["fraud/a1", "fraud/a1"]
    over = notifications.mark_sent("fraud/a1")
    assert (over.incidents, over.pages, over.sent_seqs, [*over.ended]) == ({}, {}, {}, ["fraud/a1"])


def test_an_older_step_changes_nothing_but_whether_the_start_was_seen() -> None:
    first = Notifications().receive([at(cloud_event(5, "updated"))], 1.0)
    assert not first.incidents["fraud/a1"].start_seen
    assert first.receive([at(cloud_event(4, "updated"))], 2.0) == first
    opened = first.receive([at(cloud_event(1))], 2.0).incidents["fraud/a1"]
    assert (opened.start_seen, opened.alert.seq, opened.read_at) == (True, 5, 1.0)


def test_an_incident_whose_end_was_lost_is_dropped_in_the_end() -> None:
    notifications = decided(cloud_event(1))
    notifications = notifications.mark_sent("fraud/a1")
    life = 400 * 86_400.0
    assert (
        decide(notifications, GroupingRules(), not_silenced, notifications.incidents["fraud/a1"].fired_at + life - 60)
        == notifications
    )
    assert (
        decide(notifications, GroupingRules(), not_silenced, notifications.incidents["fraud/a1"].fired_at + life + 60)
        == Notifications()
    )
