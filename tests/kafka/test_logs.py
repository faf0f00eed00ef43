"""Where logs begin and end, on Apache Kafka: the embedded broker answers for topics that it does not have."""

from __future__ import annotations

import pytest

from driftline.stream.kafka.client import KafkaUnreachableError
from driftline.stream.kafka.logs import read_logs
from tests.harness.brokers import Broker, unique


@pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_a_topic_that_is_gone_is_waited_for_like_a_kafka_that_is_away(broker: Broker) -> None:
    with pytest.raises(KafkaUnreachableError, match="Kafka does not say where"):
        read_logs(broker.kafka, [(unique("deleted"), 0)])
