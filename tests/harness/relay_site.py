"""A relay as a process, with topics on Kafka, the notification log in Redis, and the services that get alerts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from driftline.stream.demo.servers import Server
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from tests.harness.brokers import Broker
from tests.harness.services import ROUTING_KEY, Service, fake


@dataclass
class Site:
    """Everything that a relay needs: topics, Redis, services."""

    deployment: Deployment
    services: dict[str, Service]

    def relay(self, *receivers: str, name: str = "relay") -> WorkerProcess:
        arguments = [part for receiver in receivers for part in ("--to", receiver)]
        command = [sys.executable, "-m", "driftline", "relay", *arguments, "-c", str(self.deployment.path)]
        environment = {
            "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
            "WEBHOOK_URL": self.services["webhook"].url,
            "HEARTBEAT_URL": self.services["heartbeat"].url,
        }
        return self.deployment.worker(name, command, **environment)

    def publish(self, *values: bytes) -> None:
        kafka, topic = self.deployment.broker.kafka, self.deployment.config.topics.alerts
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        for value in values:
            producer.send(topic, value, key=b"fraud").get(30)
        producer.close()

    def committed(self, receiver: str) -> int | None:
        """The offset at which the consumer group of a receiver resumes."""
        config = self.deployment.config
        group, tp = f"{config.worker.group}-relay-{receiver}", TopicPartition(config.topics.alerts, 0)
        consumer = KafkaConsumer(bootstrap_servers=config.kafka.bootstrap, group_id=group, enable_auto_commit=False)
        offset: int | None = consumer.committed(tp)
        consumer.close(autocommit=False)
        return offset

    def dead_letters(self) -> list[dict[str, str]]:
        records = self.deployment.read(f"{self.deployment.config.topics.alerts}.dlq")
        return [{name: value.decode() for name, value in record.headers} for record in records]


@pytest.fixture
def site(broker: Broker, redis_server: Server, tmp_path: Path) -> Iterator[Site]:
    with site_on(broker, redis_server, tmp_path) as here:
        yield here


@contextmanager
def site_on(broker: Broker, redis_server: Server, directory: Path) -> Iterator[Site]:
    """A site on these servers."""
    with fake("pagerduty") as pagerduty, fake("webhook") as webhook, fake("heartbeat") as heartbeat:
        services = {"pagerduty": pagerduty, "webhook": webhook, "heartbeat": heartbeat}
        relay = {
            "http": "127.0.0.1:0",
            "grouping": {"group_wait": "0s"},
            "timeout_seconds": 2,
            "longest_pause_seconds": 0.2,
            "heartbeat_url_env": "HEARTBEAT_URL",
            "heartbeat_seconds": 1,
            "pagerduty": {"url": pagerduty.url},
        }
        yield Site(deploy(directory, broker, redis_server.address, {"relay": relay}), services)
        assert pagerduty.violations + webhook.violations == []
