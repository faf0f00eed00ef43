"""Records of Kafka topics, read and to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class OutgoingRecord(NamedTuple):
    """One record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class Record(Protocol):
    """A record as aiokafka parses it, and so a `ConsumerRecord`, too. timestamp: epoch ms."""

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
