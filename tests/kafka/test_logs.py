"""Where logs begin and end, on the embedded broker and on Apache Kafka."""

from __future__ import annotations

import pytest

from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.kafka.client import KafkaUnreachableError
from driftline.stream.kafka.logs import read_logs
from driftline.stream.schemas.topics import Topic
from tests.harness.brokers import Broker, unique


def test_a_topic_that_is_gone_is_waited_for_like_a_kafka_that_is_away(broker: Broker) -> None:
    """Beside one that is there: kafka-python then leaves the partitions of the other out of its answer."""
    there, gone = unique("panes"), unique("predictions")
    with open_admin(broker.kafka) as admin:
        ensure_topics(admin, [Topic(there, partitions=1, replication=1, settings={})])
    with pytest.raises(KafkaUnreachableError, match="Kafka does not say where"):
        read_logs(broker.kafka, [(there, 0), (gone, 0)])
