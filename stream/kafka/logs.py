"""What Kafka says of its logs: the ids of the cluster and its topics, and where each partition begins and ends.

A topic that is deleted and created again has the same name and another id. Offsets mean nothing without both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from driftline.stream.config.sections import Kafka
from driftline.stream.kafka.admin import BOOTSTRAP_TIMEOUT, TopicsError, open_admin
from driftline.stream.kafka.client import KafkaUnreachableError, check_reachable, client_options

#: Seconds without any record, while some are due, before reading gives up. A broker restarts in some 5 and a new leader
#: is elected in 10; at half of this, one slow disk would end a replay of hours.
SILENCE_TIMEOUT = 30.0
POLL_MS = 200
# s for one answer about topics. A worker that ends waits for it.
_REQUEST_TIMEOUT = 5.0
_TUNING: dict[str, Any] = {
    "fetch_max_wait_ms": 100,
    "auto_offset_reset": "earliest",  # a log may lose its beginning between two requests
    "enable_auto_commit": False,
    "group_id": None,
    "allow_auto_create_topics": False,
    "bootstrap_timeout_ms": int(BOOTSTRAP_TIMEOUT * 1000),
}


class TopicFacts(NamedTuple):
    """What is fixed about a topic until it is created again, and how many partitions it has. id: None if not known."""

    id: str | None
    partitions: int


class ClusterFacts(NamedTuple):
    """The id of a cluster, None if it is not known, and those of the topics asked for that exist."""

    id: str | None
    topics: Mapping[str, TopicFacts]


class Log(NamedTuple):
    """Where a partition begins, and the offset that its next record will have."""

    begin: int
    end: int


@dataclass
class ClusterClient:
    """Asks again and again for the facts of the same topics, on one connection. Any thread may call it."""

    kafka: Kafka
    topics: Collection[str]
    _open: ExitStack = field(default_factory=ExitStack)
    _admin: KafkaAdminClient | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def facts(self) -> ClusterFacts:
        """What Kafka says now. Raises KafkaUnreachableError if it says nothing; the next call connects anew."""
        with self._lock:
            try:
                if self._admin is None:
                    self._admin = self._open.enter_context(open_admin(self.kafka, _REQUEST_TIMEOUT))
                return cluster_facts(self._admin, self.topics)
            except KafkaError as error:
                self._close()
                raise KafkaUnreachableError(f"Kafka does not say which topics it has: {error}") from error

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._admin = None
        self._open.close()


def cluster_facts(admin: KafkaAdminClient, topics: Collection[str]) -> ClusterFacts:
    """The facts of a cluster and of those of these topics that exist. Creates none, whatever the broker's setting."""
    found = {entry["name"]: entry for entry in admin.describe_topics(sorted(topics)) if not entry["error_code"]}
    facts = {
        name: TopicFacts(None if entry.get("topic_id") is None else str(entry["topic_id"]), len(entry["partitions"]))
        for name, entry in found.items()
    }
    return ClusterFacts(admin.describe_cluster()["cluster_id"], facts)


def read_logs(kafka: Kafka, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Log]:
    """Where partitions begin and end. Raises KafkaUnreachableError if Kafka does not say."""
    assigned = [TopicPartition(*each) for each in partitions]
    if not assigned:
        return {}
    check_reachable(kafka)
    try:
        consumer = KafkaConsumer(**client_options(kafka), **_TUNING)
        try:
            consumer.assign(assigned)
            begins = consumer.beginning_offsets(assigned)
            return {(tp.topic, tp.partition): Log(begins[tp], end) for tp, end in read_ends(consumer).items()}
        finally:
            consumer.close(autocommit=False)
    except (KafkaError, TopicsError) as error:
        raise KafkaUnreachableError(f"Kafka does not say where its topics end: {error}") from error
    except KeyError as error:  # kafka-python finds no answer for a topic that has just been deleted
        raise KafkaUnreachableError(f"Kafka does not say where {error} begins and ends: is the topic there?") from error


def read_ends(consumer: KafkaConsumer) -> dict[TopicPartition, int]:
    """The end of each assigned partition: where a transaction is open, if only committed records are read.

    The embedded broker answers too low. But it goes on to send records from there, and the high watermark of that fetch
    is right; from the first record of an open transaction on, Kafka sends none.
    """
    assigned = consumer.assignment()
    ends: dict[TopicPartition, int] = consumer.end_offsets(list(assigned))
    for tp, offset in ends.items():
        consumer.seek(tp, offset)
    deadline = time.monotonic() + SILENCE_TIMEOUT
    while unknown := [tp for tp in assigned if consumer.highwater(tp) is None]:
        if time.monotonic() > deadline:
            raise TopicsError(silence_message(unknown))
        consumer.poll(POLL_MS)
    return {tp: consumer.highwater(tp) if consumer.position(tp) > end else end for tp, end in ends.items()}


def silence_message(unanswered: Sequence[TopicPartition] | Mapping[TopicPartition, Any]) -> str:
    """What to say if Kafka has sent nothing of these partitions of one topic."""
    partitions = ", ".join(str(tp.partition) for tp in sorted(unanswered))
    topic = next(iter(unanswered)).topic
    return (
        f"Kafka has sent nothing of topic {topic}, partition {partitions}, for {SILENCE_TIMEOUT:.0f} s; is it still up?"
    )
