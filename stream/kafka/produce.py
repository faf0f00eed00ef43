"""Writes to topics: events from files, at a pace, and the alerts of a replay. Uses kafka-python's producer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from driftline.stream.alerts.build import CONTENT_TYPE, encode_alert
from driftline.stream.alerts.schema import AlertEvent
from driftline.stream.config.sections import Kafka
from driftline.stream.events.parse import EventReader
from driftline.stream.kafka.admin import BOOTSTRAP_TIMEOUT, TopicsError, open_admin
from driftline.stream.kafka.client import client_options
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.replay.pacing import KeyChoice, Pace, key_and_time

#: s to wait for an acknowledgement before giving up: a broker that restarts takes some 5, a new leader 10.
PATIENCE = 30.0
_TUNING: dict[str, Any] = {
    "acks": "all",
    "compression_type": "lz4",
    # ms and bytes at which a batch is sent. 20 ms go unnoticed; 256 KiB are some 500 events, the default of 16 only 30.
    "linger_ms": 20,
    "batch_size": 256 << 10,
    "allow_auto_create_topics": False,
    "bootstrap_timeout_ms": int(BOOTSTRAP_TIMEOUT * 1000),
    "request_timeout_ms": int(PATIENCE / 3 * 1000),
    "delivery_timeout_ms": int(PATIENCE * 1000),
    "max_block_ms": int(PATIENCE * 1000),
}
# Bytes sent and not yet acknowledged: a hundred batches. kafka-python has no bound and would hold a whole file.
_WINDOW = 32 << 20


@dataclass
class Sent:
    """What became of the records. acknowledged: by all replicas. without_key: those of them that are no events."""

    acknowledged: int = 0
    without_key: int = 0
    too_large: int = 0


@dataclass
class Sender:
    """Sends records to a topic, with a bounded number of bytes in flight."""

    producer: KafkaProducer
    topic: str
    sent: Sent = field(default_factory=Sent)
    _pending: deque[tuple[Any, int]] = field(default_factory=deque)
    _bytes: int = 0

    def send(self, key: bytes | None, value: bytes) -> None:
        """Send a record. Raises KafkaError if an earlier one was not acknowledged."""
        try:
            future = self.producer.send(self.topic, key=key, value=value)
        except MessageSizeTooLargeError:
            self.sent.too_large += 1
            return
        self._pending.append((future, len(value)))
        self._bytes += len(value)
        while self._pending and (self._bytes > _WINDOW or self._pending[0][0].is_done):
            self._settle()

    def finish(self) -> Sent:
        """Wait for all records. Raises KafkaError if one was not acknowledged."""
        while self._pending:
            self._settle()
        return self.sent

    def _settle(self) -> None:
        future, size = self._pending.popleft()
        self._bytes -= size
        try:
            future.get(PATIENCE)
        except MessageSizeTooLargeError:  # the topic's limit is lower than the producer's
            self.sent.too_large += 1
        else:
            self.sent.acknowledged += 1


@contextmanager
def open_producer(kafka: Kafka, topic: str) -> Iterator[KafkaProducer]:
    """A producer for a topic that exists.

    Raises KafkaUnreachableError, or TopicsError if the topic does not exist or Kafka refuses something meanwhile.
    """
    with open_admin(kafka) as admin:
        if topic not in admin.list_topics():
            raise TopicsError(f"topic {topic} doesn't exist; create it with: driftline topics create {topic}")
    try:
        producer = KafkaProducer(**client_options(kafka), **_TUNING, enable_idempotence=kafka.idempotent)
        try:
            producer.partitions_for(topic)  # metadata now, so that the first record keeps its pace
            yield producer
        finally:
            producer.close(timeout=PATIENCE + 1)  # by then all records in flight have arrived or failed
    except KafkaError as error:
        raise TopicsError(f"topic {topic} can't be written to: {error}") from error


def produce(
    sender: Sender, batches: Iterable[Sequence[bytes]], key: KeyChoice, reader: EventReader, pace: Pace
) -> Sent:
    """Send messages in order, each when it is due, and wait for all of them. Their Kafka timestamp is now."""
    started = time.monotonic()
    for messages in batches:
        for message in messages:
            item = key_and_time(message, key, reader)
            wait = started + pace.due(item.ts) - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sender.send(item.key, message)
            sender.sent.without_key += item.ts is None
    return sender.finish()


def send_now(producer: KafkaProducer, record: OutgoingRecord) -> None:
    """Send a record, and wait until it is acknowledged. Raises KafkaError."""
    producer.send(record.topic, key=record.key, value=record.value, partition=record.partition).get(PATIENCE)


def publish_alert(producer: KafkaProducer, topic: str, alert: AlertEvent[Any]) -> None:
    """Send an alert as a worker does, and wait until it is acknowledged."""
    headers = [("content-type", CONTENT_TYPE.encode())]
    producer.send(topic, key=alert.subject.encode(), value=encode_alert(alert), headers=headers).get(PATIENCE)
