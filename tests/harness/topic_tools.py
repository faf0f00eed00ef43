"""A test's own topics on a running broker, small traffic for them, and the command line in this process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from driftline.stream.cli.main import main
from driftline.stream.config.sections import Config, Topics
from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.schemas.topics import Topic
from tests.harness.brokers import Broker, unique

# 2026-01-01, epoch ms; events come one a second.
START_MS = 1_767_225_600_000


class Sent(NamedTuple):
    """A record to send; without `stamp` (epoch ms), the client sets the current time."""

    partition: int
    value: bytes
    stamp: int | None = None


def event(i: int, rng: np.random.Generator, *, shift: float = 0.0, feed: float = 1.5) -> bytes:
    """Event i of model "taxi": a price, a zone, and a constant feed."""
    features = {"price": round(float(rng.normal(shift)), 6), "zone": str(rng.choice(["a", "b", "c"])), "feed": feed}
    return json.dumps({"id": f"e-{i}", "ts": START_MS + 1000 * i, "model": "taxi", "features": features}).encode()


def traffic(n: int, seed: int, broken_from: int | None = None) -> list[bytes]:
    """n events; from event `broken_from` on, the price is 1 σ higher and the feed has left its constant."""
    rng = np.random.default_rng(seed)
    broken = n if broken_from is None else broken_from
    return [event(i, rng, shift=float(i >= broken), feed=1.5 + (i >= broken) * rng.random()) for i in range(n)]


def write_lines(path: Path, lines: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def driftline(*arguments: object) -> int:
    """Run a command in this process; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["driftline", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@dataclass(frozen=True)
class Site:
    """A configuration with its own topics on a broker, and its file; the topics predictions and alerts exist."""

    config: Config
    path: Path

    @classmethod
    def on(cls, broker: Broker, folder: Path, partitions: int = 1) -> Site:
        kafka = broker.kafka.model_copy(update={"idempotent": broker.idempotent})
        names = {field: unique(field) for field in ("predictions", "labels", "panes", "alerts")}
        config = Config(kafka=kafka, topics=Topics(**names, partitions=partitions))  # type: ignore[arg-type]
        folder.mkdir(exist_ok=True)
        path = folder / "driftline.yaml"
        path.write_text(json.dumps(config.model_dump(include={"kafka", "topics"})))
        site = cls(config, path)
        site.create(site.predictions, partitions)
        site.create(site.alerts, 1)
        return site

    @property
    def predictions(self) -> str:
        return self.config.topics.predictions

    @property
    def alerts(self) -> str:
        return self.config.topics.alerts

    def create(self, topic: str, partitions: int = 1, **settings: str) -> str:
        with open_admin(self.config.kafka) as admin:
            ensure_topics(admin, [Topic(topic, partitions, 1, {"cleanup.policy": "delete", **settings})])
        return topic

    def send(self, topic: str, records: Iterable[Sent]) -> None:
        """Write records without Driftline's own code, and wait for them."""
        producer = KafkaProducer(bootstrap_servers=self.config.kafka.bootstrap, linger_ms=20)
        futures = [producer.send(topic, value, partition=p, timestamp_ms=stamp) for p, value, stamp in records]
        for future in futures:
            future.get(30)
        producer.close()

    def records(self, topic: str, expected: int) -> list[Any]:
        """All records of a topic, by partition and offset; waits for the expected number, and a moment for more."""
        options = {"group_id": None, "enable_auto_commit": False, "fetch_max_wait_ms": 50}
        consumer = KafkaConsumer(bootstrap_servers=self.config.kafka.bootstrap, **options)
        partitions = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        found: list[Any] = []
        deadline = time.monotonic() + 30
        while len(found) < expected and time.monotonic() < deadline:
            found += chain.from_iterable(consumer.poll(200).values())
        found += chain.from_iterable(consumer.poll(300).values())
        consumer.close(autocommit=False)
        return sorted(found, key=lambda record: (record.partition, record.offset))
