"""The logs of a chaos run as its verdict reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.stream.demo.servers import Server
from load_tests.chaos.producers import committed, hang
from load_tests.harness.deployment import deploy
from tests.harness.brokers import Broker


@pytest.mark.kafka
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_log_is_read_to_its_end_though_a_transaction_is_open(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    deployment, log = deploy(tmp_path, broker, redis_server.address, {"topics": {"partitions": 2}}), [b"1", b"2"]
    topic = deployment.config.topics.predictions
    deployment.produce({0: log, 1: log})
    hang(broker.server.address, topic, 1, b"aborted")
    deployment.produce({0: [b"3"]})
    logs = committed(broker.server.address, topic)
    assert [list(logs[partition].values()) for partition in (0, 1)] == [[b"1", b"2", b"3"], log]
