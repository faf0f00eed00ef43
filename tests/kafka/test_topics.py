"""Creating and describing topics, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import pytest

from driftline.stream.config.sections import Kafka, Topics
from driftline.stream.demo.servers import free_port
from driftline.stream.kafka.admin import (
    TopicsError,
    describe_topics,
    ensure_topics,
    missing_topics,
    open_admin,
    pane_size_problems,
)
from driftline.stream.kafka.client import KafkaUnreachableError
from driftline.stream.schemas.topics import Topic, wanted_topics
from tests.harness.brokers import Broker, unique


def own_topics(**fields: object) -> Topics:
    names = {field: unique(field) for field in ("predictions", "labels", "panes", "alerts")}
    return Topics(**names, **fields)


def test_a_configuration_wants_partitioned_topics_and_alerts_kept_for_ever() -> None:
    wanted = {topic.name: topic for topic in wanted_topics(Topics(partitions=8, replication=3, retention_hours=24))}

    assert list(wanted) == [
        "predictions", "labels", "driftline.panes", "driftline.alerts", "predictions.dlq", "labels.dlq",
        "driftline.panes.dlq", "driftline.alerts.dlq",
    ]  # fmt: skip
    day = {"cleanup.policy": "delete", "retention.ms": "86400000"}
    assert wanted["predictions"] == Topic("predictions", partitions=8, replication=3, settings=day)
    assert wanted["driftline.panes"].partitions == 8
    assert wanted["driftline.alerts"].settings == {"cleanup.policy": "delete", "retention.ms": "-1"}
    assert wanted["predictions.dlq"].partitions == 1


def test_missing_topics_are_created_once(broker: Broker) -> None:
    topics = own_topics(partitions=3, retention_hours=2)
    wanted = wanted_topics(topics)
    with open_admin(broker.kafka) as admin:
        assert ensure_topics(admin, wanted)[0] == f"{topics.predictions}: created, 3 partitions, kept for 2 h"
        assert ensure_topics(admin, wanted) == [f"{topic.name}: exists as wanted" for topic in wanted]

        found = describe_topics(admin, [topics.predictions, topics.alerts, unique("nowhere")])
    assert {name: topic.partitions for name, topic in found.items()} == {topics.predictions: 3, topics.alerts: 1}
    assert found[topics.alerts].settings["retention.ms"] == "-1"


def test_a_topic_that_differs_is_reported_and_left_as_it_is(broker: Broker) -> None:
    name = unique("predictions")
    old = Topic(name, partitions=2, replication=1, settings={"cleanup.policy": "delete", "retention.ms": "3600000"})
    new = Topic(name, partitions=4, replication=1, settings={"cleanup.policy": "delete", "retention.ms": "7200000"})
    compacted = Topic(unique("panes"), partitions=1, replication=1, settings={"cleanup.policy": "compact"})
    with open_admin(broker.kafka) as admin:
        ensure_topics(admin, [old, compacted])
        (line,) = ensure_topics(admin, [new])
        assert line == f"{name}: exists, but has 2 partitions, not 4; is kept for 1 h, not kept for 2 h. Left as it is"
        assert describe_topics(admin, [name])[name].partitions == 2

        (line,) = ensure_topics(admin, [Topic(compacted.name, 1, 1, {"cleanup.policy": "delete"})])
        assert "its cleanup.policy is compact" in line


def test_a_missing_topic_is_reported_and_not_created_by_the_check(broker: Broker) -> None:
    there, absent = unique("there"), unique("absent")
    with open_admin(broker.kafka) as admin:
        ensure_topics(admin, [Topic(there, 1, 1, {"cleanup.policy": "delete"})])
        for _ in range(2):
            (line,) = missing_topics(admin, [there, absent])
            assert absent in line
            assert "driftline topics create" in line


def test_a_panes_topic_with_a_low_size_limit_is_reported_with_the_remedy(broker: Broker) -> None:
    wide = own_topics(partitions=1)
    narrow = Topic(unique("narrow"), 1, 1, {"cleanup.policy": "delete", "max.message.bytes": "1048588"})
    with open_admin(broker.kafka) as admin:
        ensure_topics(admin, [*wanted_topics(wide), narrow])
        assert pane_size_problems(admin, wide.panes) == []
        (line,) = pane_size_problems(admin, narrow.name)
    assert line == f"topic {narrow.name} takes records of 1048588 bytes at most: set its max.message.bytes to 16777216"


def test_a_refused_topic_is_an_error_with_kafkas_reason(broker: Broker) -> None:
    if broker.server.name == "embedded broker":
        pytest.skip("the embedded broker takes any replication factor")
    topic = Topic(unique("wide"), partitions=1, replication=3, settings={"cleanup.policy": "delete"})
    with open_admin(broker.kafka) as admin, pytest.raises(TopicsError, match=f"{topic.name}.*[Rr]eplication"):
        ensure_topics(admin, [topic])


def test_an_unreachable_broker_is_named() -> None:
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    kafka = Kafka(bootstrap=f"{first},{second}")
    with pytest.raises(KafkaUnreachableError, match=f"{first} .Connection refused., {second} "), open_admin(kafka):
        pytest.fail("nobody listens there")
