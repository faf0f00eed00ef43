"""Reading the history of a topic: a range of every partition, in batches, without group or commits. Edge: kafka-python.

    with open_history(config.kafka, "predictions", AtTime(1767225600000), None) as history:
        for partition, log in history.logs().items(): ...

A range ends where its partition ended when the history was opened; later records are not read. A range between two
times begins with the first record stamped at or after the one, and ends before the next one stamped at or after the
other. The stamps are Kafka's, by the producer's or the broker's clock, not the times of events.

    offset   4    5    6    7    8    9   10   11        first = AtTime(13:00), end = AtTime(14:00)
    stamp   12:58 13:01 12:59 13:30 13:59 14:00 13:58     8 was removed by compaction
    read          [────────────────────)

As in a worker, records of aborted transactions are not read, and a range ends where a transaction is still open.
Batches are opened within a bound, and those that cannot be read are passed over.

The embedded broker answers ListOffsets wrongly: the end is too low, and the offset of any time is 0. So the end is also
read from a fetch, an offset by time only says where to start reading, and this module compares stamps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import dropwhile, takewhile
from typing import Any, NamedTuple

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from driftline.stream.config.limits import Limits
from driftline.stream.config.sections import Kafka
from driftline.stream.events.mapping import Origin
from driftline.stream.kafka import logs
from driftline.stream.kafka.admin import BOOTSTRAP_TIMEOUT, TopicsError
from driftline.stream.kafka.client import check_reachable, client_options
from driftline.stream.kafka.logs import POLL_MS, read_ends, silence_message
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.sources.topic_batches import unpack_within

# kafka-python reads 14,000 messages/s with its own settings, 125,000 with the first three.
_TUNING: dict[str, Any] = {
    "max_poll_records": 20_000,
    "fetch_max_bytes": 50 << 20,
    "max_partition_fetch_bytes": 16 << 20,
    # ms for which a broker may hold back an empty answer; opening a history waits for one.
    "fetch_max_wait_ms": 100,
    # Retention that removes records while we read must be an error: skipping ahead would leave an unseen gap.
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",
    "enable_auto_commit": False,
    "group_id": None,
    "allow_auto_create_topics": False,
    "bootstrap_timeout_ms": int(BOOTSTRAP_TIMEOUT * 1000),
}

# Bytes that the records of one batch may take, unless the configuration is at hand.
_BATCH_BYTES = Limits().batch_bytes

_Offsets = Mapping[TopicPartition, int]


class AtOffset(NamedTuple):
    """A position in a topic: an offset, the same in every partition."""

    offset: int


class AtTime(NamedTuple):
    """A position in a topic: the first record stamped at or after `ms`, epoch milliseconds."""

    ms: int


class Newest(NamedTuple):
    """A position in a topic: `records` before the end, over all partitions, or fewer where offsets have gaps."""

    records: int


TopicPosition = AtOffset | AtTime | Newest


@dataclass
class _PartitionRange:
    """What to read of a partition: offsets [start, end), and of these from stamp `first_ms` up to stamp `end_ms`.

    position: the next offset to fetch. ready: batches fetched, but not handed out yet.
    """

    start: int
    end: int
    first_ms: int | None
    end_ms: int | None
    position: int
    ready: deque[LogBatch] = field(default_factory=deque)

    def add(self, records: Sequence[Any], position: int) -> None:
        """Add the records of a fetch that belong to the range; the next fetch begins at `position`."""
        records = [record for record in records if record.offset < self.end]
        if self.first_ms is not None:
            records = list(dropwhile(lambda record: record.timestamp < self.first_ms, records))
            self.first_ms = None if records else self.first_ms
        kept = records
        if self.end_ms is not None:
            kept = list(takewhile(lambda record: record.timestamp < self.end_ms, records))
        if kept:
            offsets = np.fromiter((record.offset for record in kept), np.int64, len(kept))
            timestamps = np.fromiter((record.timestamp for record in kept), np.int64, len(kept))
            self.ready.append(LogBatch(offsets, [record.value for record in kept], timestamps))
        self.position = self.end if len(kept) < len(records) else min(position, self.end)

    @property
    def needs_fetch(self) -> bool:
        """Whether to fetch now: not while a batch is ready, as a partition ahead of others could fill the memory."""
        return not self.ready and self.position < self.end


class TopicHistory:
    """The history of a topic, one range per partition."""

    def __init__(self, consumer: KafkaConsumer, ranges: dict[TopicPartition, _PartitionRange]) -> None:
        self._consumer = consumer
        self._ranges = ranges

    @property
    def total(self) -> int:
        """Number of offsets in all ranges, including those without a record."""
        return sum(part.end - part.start for part in self._ranges.values())

    @property
    def done(self) -> int:
        """Number of offsets read so far, of `total`."""
        return sum(part.position - part.start for part in self._ranges.values())

    def logs(self, on_progress: Callable[[int], None] = lambda _: None) -> dict[int, Iterator[LogBatch]]:
        """The log of each partition with a range; they can be read once, in any interleaving.

        Reading keeps at most one fetch of each partition in memory, calls `on_progress` with `done`, and raises
        TopicsError if Kafka stops answering.
        """
        return {tp.partition: self._log(part, on_progress) for tp, part in sorted(self._ranges.items())}

    def _log(self, part: _PartitionRange, on_progress: Callable[[int], None]) -> Iterator[LogBatch]:
        while part.ready or part.needs_fetch:
            if part.needs_fetch:
                self._fetch()
            else:
                yield part.ready.popleft()
                on_progress(self.done)

    def _fetch(self) -> None:
        """Fetch from every partition that needs it until one of them makes progress."""
        due = {tp: part for tp, part in self._ranges.items() if part.needs_fetch}
        self._consumer.pause(*self._ranges)
        self._consumer.resume(*due)
        before, deadline = self.done, time.monotonic() + logs.SILENCE_TIMEOUT
        while self.done == before:
            if time.monotonic() > deadline:
                raise TopicsError(silence_message(due))
            fetched = self._consumer.poll(POLL_MS)
            for tp, part in due.items():
                part.add(fetched.get(tp, ()), self._consumer.position(tp))


def with_origins(topic: str, logs: Mapping[int, Iterable[LogBatch]]) -> Iterator[tuple[bytes | None, Origin]]:
    """The messages in the logs of a topic's partitions, one partition after the other, and where each comes from."""
    for partition, log in logs.items():
        for offsets, messages, stamps in log:
            times = [None] * len(offsets) if stamps is None else stamps.tolist()
            for offset, message, time_ in zip(offsets.tolist(), messages, times, strict=True):
                yield message, Origin(topic, partition, offset, time_)


@contextmanager
def open_history(
    kafka: Kafka,
    topic: str,
    first: TopicPosition | None,
    end: TopicPosition | None,
    batch_bytes: int = _BATCH_BYTES,
) -> Iterator[TopicHistory]:
    """The history of a topic from `first` (None: its oldest record) up to, excluding, `end` (None: past its newest).

    batch_bytes: see `limits` in the configuration.

    Raises KafkaUnreachableError, and TopicsError for an unknown topic or an error of Kafka, also while reading.
    """
    check_reachable(kafka)
    try:
        consumer = KafkaConsumer(**client_options(kafka), **_TUNING)
        unpack_within(consumer, batch_bytes)
        try:
            yield TopicHistory(consumer, _ranges(consumer, topic, first, end))
        finally:
            consumer.close(autocommit=False)
    except OffsetOutOfRangeError as error:
        raise TopicsError(f"topic {topic}: records were removed (retention) before they were read") from error
    except KafkaError as error:
        raise TopicsError(f"topic {topic} can't be read: {error}") from error


def _ranges(
    consumer: KafkaConsumer, topic: str, first: TopicPosition | None, end: TopicPosition | None
) -> dict[TopicPartition, _PartitionRange]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        close = get_close_matches(topic, consumer.topics())
        raise TopicsError(f"topic {topic} doesn't exist" + (f"; did you mean {' or '.join(close)}?" if close else ""))
    consumer.assign([TopicPartition(topic, partition) for partition in sorted(partitions)])
    highest = read_ends(consumer)
    starts = _starts(consumer, first, highest)
    stops = _stops(consumer, end, starts, highest)
    first_ms = first.ms if isinstance(first, AtTime) else None
    end_ms = end.ms if isinstance(end, AtTime) else None
    ranges = {
        tp: _PartitionRange(start, stops[tp], first_ms, end_ms, position=start)
        for tp, start in starts.items()
        if start < stops[tp]
    }
    for tp, part in ranges.items():
        consumer.seek(tp, part.start)
    return ranges


def _starts(consumer: KafkaConsumer, first: TopicPosition | None, highest: _Offsets) -> _Offsets:
    lowest: dict[TopicPartition, int] = consumer.beginning_offsets(list(highest))
    match first:
        case AtOffset(offset):
            return {tp: max(offset, low) for tp, low in lowest.items()}
        case AtTime(ms):
            found = consumer.offsets_for_times(dict.fromkeys(highest, ms))
            return {tp: max(found[tp].offset, low) if found[tp] else highest[tp] for tp, low in lowest.items()}
        case Newest(records):
            return _newest(records, lowest, highest)
    return lowest


def _newest(records: int, lowest: _Offsets, highest: _Offsets) -> _Offsets:
    """Starts that leave `records` offsets up to the ends, in equal shares; a shorter partition is read whole."""
    starts, left = dict[TopicPartition, int](), records
    by_length = sorted(lowest, key=lambda tp: highest[tp] - lowest[tp])
    for parts, tp in zip(range(len(by_length), 0, -1), by_length, strict=True):
        share = min(highest[tp] - lowest[tp], -(-left // parts))
        starts[tp], left = highest[tp] - share, left - share
    return starts


def _stops(consumer: KafkaConsumer, end: TopicPosition | None, starts: _Offsets, highest: _Offsets) -> _Offsets:
    match end:
        case AtOffset(offset):
            return {tp: min(offset, high) for tp, high in highest.items()}
        case AtTime(ms):
            found = consumer.offsets_for_times(dict.fromkeys(highest, ms))
            # An answer that isn't beyond the start may be the embedded broker's 0: then stamps alone decide the end.
            beyond = {tp: at.offset for tp, at in found.items() if at and at.offset > starts[tp]}
            return {tp: min(beyond.get(tp, high), high) for tp, high in highest.items()}
    return highest
