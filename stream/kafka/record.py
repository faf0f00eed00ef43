"""Records of Kafka topics: those read, and those to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from aiokafka.partitioner import murmur2


class OutgoingRecord(NamedTuple):
    """A record to publish. partition: None lets the producer choose by key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class Record(Protocol):
    """A record that was read: what aiokafka parses, or its `ConsumerRecord`. timestamp: epoch ms."""

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def timestamp_type(self) -> int: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that producers of Kafka choose for a key, in a topic with this number of partitions."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
