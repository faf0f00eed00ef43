"""Topics that another client has compressed, in each of Kafka's codecs: replayed, and read by a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.servers import Server
from driftline.stream.sources.topic_history import open_history
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.oracle import Replay, baseline_of, messages
from tests.harness.brokers import Broker

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
EVENTS = 1000

pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("broker", ["kafka"], indirect=True)]


def send(deployment: Deployment, codec: str, values: list[bytes]) -> None:
    """Append values to partition 0 of the predictions topic, compressed, by a client that shares no code with ours."""
    settings = {"bootstrap.servers": deployment.broker.server.address, "compression.type": codec, "linger.ms": 50}
    producer = Producer(settings)
    for value in values:
        producer.produce(deployment.config.topics.predictions, value, partition=0)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("codec", CODECS)
def test_a_topic_of_any_codec_is_replayed(broker: Broker, redis_server: Server, tmp_path: Path, codec: str) -> None:
    deployment, log = deploy(tmp_path, broker, redis_server.address, {}), messages("a", EVENTS)
    send(deployment, codec, log)
    with open_history(broker.kafka, deployment.config.topics.predictions, None, None) as history:
        assert [message for batch in history.logs()[0] for message in batch.messages] == log


def test_a_worker_reads_a_topic_of_every_codec(broker: Broker, redis_server: Server, tmp_path: Path) -> None:
    """One after another on one partition, since producers of one topic need not agree."""
    (tmp_path / "a.driftline").write_bytes(encode_baseline(baseline_of("a")))
    sections = {"panes": {"events": 50, "seconds": None}, "models": {"a": {"baseline": "a.driftline"}}}
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    log = messages("a", EVENTS * len(CODECS))
    for i, codec in enumerate(CODECS):
        send(deployment, codec, log[i * EVENTS : (i + 1) * EVENTS])

    def replayed() -> Replay:
        replay = Replay(deployment.config, deployment.baselines, heard=deployment.heard())
        replay.read(0, log)
        return replay

    with deployment.worker() as worker:
        worker.wait_for(lambda: deployment.sealed() == {0: len(log)})
        worker.wait_for(lambda: deployment.model_states() == replayed().model_states())
        assert worker.stop() == 0
