"""Which logs a group goes on with: facts and positions in, refusals, moves and counts out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.config.sections import Topics
from driftline.stream.kafka.logs import ClusterFacts, Log, TopicFacts
from driftline.stream.kafka.record import partition_of
from driftline.stream.worker.continuity import (
    LogChangedError,
    check_group,
    check_log,
    group_facts,
    panes_partitions,
    removed_unread,
)
from driftline.stream.worker.resuming import Situation

TOPICS = Topics(predictions="p", panes="s", labels="l")


def facts(
    cluster: str | None = "c", p: str | None = "p1", s: str | None = "s1", panes: int = 4, labels: str | None = None
) -> dict[str, str]:
    """labels: the id of their topic; None if it is not read."""
    read = {"p": TopicFacts(p, 2), "s": TopicFacts(s, panes), **({"l": TopicFacts(labels, 2)} if labels else {})}
    return group_facts(TOPICS, ClusterFacts(cluster, read))


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        ({"cluster": "d"}, "belongs to Kafka cluster c, and kafka.bootstrap leads to cluster d"),
        ({"p": "p2"}, "topic p was deleted and created again since this group has read it: its id was p1 and is p2"),
        ({"s": "s2"}, "topic s was deleted and created again"),
        ({"panes": 3}, "topics.panes was s with 4 partitions and is s with 3 partitions now"),
    ],
)
def test_a_group_is_refused_on_logs_of_others(present: dict[str, Any], reason: str) -> None:
    with pytest.raises(LogChangedError, match=reason):
        check_group("g", facts(), facts(**present))


@pytest.mark.parametrize("present", [{}, {"cluster": None}, {"p": None}, {"s": None}, {"panes": 9}])
def test_a_group_goes_on_if_kafka_says_nothing_else(present: dict[str, Any]) -> None:
    check_group("g", facts(), facts(**present))


def test_a_group_of_an_older_driftline_is_not_refused_for_what_it_did_not_bind() -> None:
    check_group("g", {"topics.predictions": "p", "topics.panes": "s with 4 partitions"}, facts())


def test_other_names_of_topics_are_refused() -> None:
    with pytest.raises(LogChangedError, match=r"topics\.predictions was q and is p now: the state of g does not fit"):
        check_group("g", {**facts(), "topics.predictions": "q"}, facts())


def test_a_topic_of_labels_counts_once_it_is_read() -> None:
    check_group("g", facts(), facts(labels="l1"))
    check_group("g", facts(labels="l1"), facts())
    with pytest.raises(LogChangedError, match="topic l was deleted and created again"):
        check_group("g", facts(labels="l1"), facts(labels="l2"))
    with pytest.raises(LogChangedError, match=r"topics\.labels was k and is l now.*driftline resume"):
        check_group("g", {**facts(labels="l1"), "topics.labels": "k"}, facts(labels="l1"))


def test_the_panes_partitions_are_those_that_the_group_began_with() -> None:
    assert panes_partitions(facts(panes=12)) == 12


@given(st.binary(min_size=1, max_size=40), st.integers(1, 50))
def test_a_model_has_the_partition_that_kafkas_producers_choose(key: bytes, partitions: int) -> None:
    expected = DefaultPartitioner()(key, list(range(partitions)), list(range(partitions)))
    assert partition_of(key, partitions) == expected


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_log_is_refused_exactly_if_it_ends_before_what_was_read(read_to: int, begin: int, length: int) -> None:
    log = Log(begin, begin + length)
    refused = False
    try:
        check_log("p", 0, read_to, log)
    except LogChangedError:
        refused = True
    assert refused == (read_to > log.end)
    assert removed_unread(read_to, log) == (len(range(read_to, begin)) if read_to else 0)


def situation(present: dict[str, str], positions: dict[tuple[str, int], int], **logs: Log) -> Situation:
    places = {(name[0], int(name[1:])): log for name, log in logs.items()}
    return Situation(TOPICS, facts(), present, positions, places)


def test_nothing_moves_while_the_logs_are_those_that_were_read() -> None:
    same = situation(facts(), {("p", 0): 70, ("s", 0): 5}, p0=Log(30, 90), s0=Log(0, 9))
    assert same.moves("begin") == same.moves("end") == []
    assert not same.is_refused


def test_only_a_shorter_partition_moves_and_waiting_panes_are_skipped() -> None:
    cut = situation(facts(), {("p", 0): 70, ("p", 1): 70, ("s", 0): 5}, p0=Log(30, 60), p1=Log(30, 90), s0=Log(0, 9))
    assert [(each.topic, each.partition, each.to) for each in cut.moves("begin")] == [("p", 0, 30), ("s", 0, 9)]
    assert [(each.topic, each.partition, each.to) for each in cut.moves("end")] == [("p", 0, 60), ("s", 0, 9)]
    assert "its 30 records are read; those that were counted before count again" in str(cut.moves("begin")[0])
    assert "4 panes that wait to be judged are skipped" in str(cut.moves("begin")[1])


def test_the_runs_that_were_sealed_last_may_be_lost_with_their_log() -> None:
    again = situation(facts(p="p2"), {("p", 0): 70, ("p", 1): 7}, p0=Log(0, 900), p1=Log(0, 5))
    known = replace(again, last_seals={("p", 0): 40, ("p", 1): 7})
    first, second = map(str, known.moves("begin"))
    assert first.endswith("; events of offsets 40 to 69 are lost if a worker ended before it published them")
    assert second.endswith("records not read by then are lost"), "nothing of it is sealed since the last resume"


def test_of_the_runs_that_were_sealed_last_what_a_shorter_log_still_has_is_read_again() -> None:
    cut = replace(situation(facts(), {("p", 0): 70}, p0=Log(30, 60)), last_seals={("p", 0): 40})
    (read_again,), (passed_over,) = (cut.moves(at) for at in ("begin", "end"))
    assert "; events of offsets 60 to 69 are lost if" in str(read_again)
    assert "; events of offsets 40 to 69 are lost if" in str(passed_over)
    assert "; events of offsets 20 to 69 are lost if" in str(replace(cut, last_seals={("p", 0): 20}).moves("begin")[0])


def test_all_partitions_of_a_topic_created_again_move_also_longer_ones() -> None:
    again = situation(facts(p="p2"), {("p", 0): 70, ("s", 0): 9}, p0=Log(0, 900), p1=Log(0, 5), s0=Log(0, 9))
    assert again.is_refused
    assert [(each.partition, each.to) for each in again.moves("begin")] == [(0, 0)]
    assert [(each.partition, each.to) for each in again.moves("end")] == [(0, 900), (1, 5)]


def test_a_topic_of_labels_moves_by_itself_and_its_panes_are_not_skipped() -> None:
    positions = {("p", 0): 70, ("l", 0): 50, ("l", 1): 4, ("s", 0): 5}
    places = {("p", 0): Log(0, 90), ("l", 0): Log(0, 60), ("l", 1): Log(0, 0), ("s", 0): Log(0, 9)}
    again = Situation(TOPICS, facts(labels="l1"), facts(labels="l2"), positions, places, last_seals={("l", 0): 40})
    assert again.is_refused
    first, second = again.moves("begin")
    assert [(each.topic, each.partition, each.to) for each in (first, second)] == [("l", 0, 0), ("l", 1, 0)]
    assert "its 60 labels are read; those that were read before are repeated, or come too late" in str(first)
    assert str(first).endswith("; labels of offsets 40 to 49 are lost if a worker ended before it published them")
    unread = replace(again, bound=facts(labels="l1"), present=facts(), logs={("p", 0): Log(0, 90), ("s", 0): Log(0, 9)})
    assert not unread.is_refused
    assert unread.moves("begin") == [], "labels are not read any more"
