"""A topic's history as logs: a stretch of every partition in batches, with no group and no commit. Edge: kafka-python.

    with open_history(config.kafka, "predictions", AtTime(1767225600000), None) as history:
        for partition, log in history.logs().items(): ...

A stretch ends where its partition ended when it was opened; what arrives meanwhile is not read. Between two times is:
from the first record stamped at or after the one, up to the first after that stamped at or after the other. Stamps are
Kafka's, by the producer's clock or the broker's, not the events' times.

    offset   4    5    6    7    8    9   10   11        first = AtTime(13:00), end = AtTime(14:00)
    stamp   12:58 13:01 12:59 13:30 13:59 14:00 13:58     8 was removed by compaction
    read          [────────────────────)

The embedded broker answers ListOffsets in its own way: the end is too low, the offset of any time is 0. So the end is
the high watermark of a fetch, an offset by time only says where to begin looking, and stamps are compared here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import dropwhile, takewhile
from typing import Any, NamedTuple

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from driftline.stream.config.sections import Kafka
from driftline.stream.kafka.admin import BOOTSTRAP_TIMEOUT, TopicsError
from driftline.stream.kafka.client import check_reachable, client_options
from driftline.stream.replay.pipeline import LogBatch

# kafka-python reads 14,000 messages/s with its own settings, 125,000 with the first three.
_TUNING: dict[str, Any] = {
    "max_poll_records": 20_000,
    "fetch_max_bytes": 50 << 20,
    "max_partition_fetch_bytes": 16 << 20,
    # ms a broker may hold back an empty answer: opening a history waits for one.
    "fetch_max_wait_ms": 100,
    # What retention removes while we read is an error: an offset far ahead would be a gap that no one sees.
    "auto_offset_reset": "none",
    "enable_auto_commit": False,
    "group_id": None,
    "allow_auto_create_topics": False,
    "bootstrap_timeout_ms": int(BOOTSTRAP_TIMEOUT * 1000),
}
#: s without a record, while some are due, after which Kafka is given up. A broker that restarts takes some 5, and a new
#: leader is elected in 10; at half of it, one slow disk would end a replay of hours.
SILENCE_TIMEOUT = 30.0
_POLL_MS = 200

_Offsets = Mapping[TopicPartition, int]


class AtOffset(NamedTuple):
    """A place in a topic: an offset, the same in every partition."""

    offset: int


class AtTime(NamedTuple):
    """A place in a topic: the first record stamped at or after `ms`, epoch milliseconds."""

    ms: int


TopicPosition = AtOffset | AtTime


@dataclass
class _PartitionRange:
    """What there is to read of a partition: offsets [start, end), and in them from stamp `first_ms` to stamp `end_ms`.

    position: the next offset to ask for. waiting: batches read and not yet taken.
    """

    start: int
    end: int
    first_ms: int | None
    end_ms: int | None
    position: int
    waiting: deque[LogBatch] = field(default_factory=deque)

    def add(self, records: Sequence[Any], position: int) -> None:
        """Keep those of the records before `position` that belong to the stretch."""
        records = [record for record in records if record.offset < self.end]
        if self.first_ms is not None:
            records = list(dropwhile(lambda record: record.timestamp < self.first_ms, records))
            self.first_ms = None if records else self.first_ms
        kept = records
        if self.end_ms is not None:
            kept = list(takewhile(lambda record: record.timestamp < self.end_ms, records))
        if kept:
            offsets = np.fromiter((record.offset for record in kept), np.int64, len(kept))
            self.waiting.append(LogBatch(offsets, [record.value for record in kept]))
        self.position = self.end if len(kept) < len(records) else min(position, self.end)

    @property
    def unread(self) -> bool:
        """Whether to read more of it now: a partition ahead of the others must not fill the memory."""
        return not self.waiting and self.position < self.end


class TopicHistory:
    """The open stretches of a topic's partitions."""

    def __init__(self, consumer: KafkaConsumer, stretches: dict[TopicPartition, _PartitionRange]) -> None:
        self._consumer = consumer
        self._stretches = stretches

    @property
    def total(self) -> int:
        """Offsets in all stretches, those without a record included."""
        return sum(stretch.end - stretch.start for stretch in self._stretches.values())

    @property
    def done(self) -> int:
        """Offsets of `total` read so far."""
        return sum(stretch.position - stretch.start for stretch in self._stretches.values())

    def logs(self, on_progress: Callable[[int], None] = lambda _: None) -> dict[int, Iterator[LogBatch]]:
        """The log of each partition that has one, to be read in any interleaving, once. `on_progress` gets `done`.

        Their reader holds at most one fetch of each partition. TopicsError when Kafka stops answering.
        """
        return {tp.partition: self._log(stretch, on_progress) for tp, stretch in sorted(self._stretches.items())}

    def _log(self, stretch: _PartitionRange, on_progress: Callable[[int], None]) -> Iterator[LogBatch]:
        while stretch.waiting or stretch.unread:
            if stretch.unread:
                self._fetch()
            else:
                yield stretch.waiting.popleft()
                on_progress(self.done)

    def _fetch(self) -> None:
        """Read on in every unread partition until one of them has come further."""
        unread = {tp: stretch for tp, stretch in self._stretches.items() if stretch.unread}
        self._consumer.pause(*self._stretches)
        self._consumer.resume(*unread)
        before, deadline = self.done, time.monotonic() + SILENCE_TIMEOUT
        while self.done == before:
            if time.monotonic() > deadline:
                raise TopicsError(_silence_message(unread))
            fetched = self._consumer.poll(_POLL_MS)
            for tp, stretch in unread.items():
                stretch.add(fetched.get(tp, ()), self._consumer.position(tp))


@contextmanager
def open_history(
    kafka: Kafka, topic: str, first: TopicPosition | None, end: TopicPosition | None
) -> Iterator[TopicHistory]:
    """What a topic holds from `first` (None: its oldest record) up to and without `end` (None: its newest).

    Raises KafkaUnreachableError, and TopicsError for an unknown topic and for what Kafka refuses, also while reading.
    """
    check_reachable(kafka)
    try:
        consumer = KafkaConsumer(**client_options(kafka), **_TUNING)
        try:
            yield TopicHistory(consumer, _stretches(consumer, topic, first, end))
        finally:
            consumer.close(autocommit=False)
    except OffsetOutOfRangeError as error:
        raise TopicsError(f"topic {topic}: records were removed (retention) before they were read") from error
    except KafkaError as error:
        raise TopicsError(f"topic {topic} can't be read: {error}") from error


def _stretches(
    consumer: KafkaConsumer, topic: str, first: TopicPosition | None, end: TopicPosition | None
) -> dict[TopicPartition, _PartitionRange]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        close = get_close_matches(topic, consumer.topics())
        raise TopicsError(f"topic {topic} doesn't exist" + (f"; did you mean {' or '.join(close)}?" if close else ""))
    consumer.assign([TopicPartition(topic, partition) for partition in sorted(partitions)])
    highest = _ends(consumer)
    starts = _starts(consumer, first, highest)
    stops = _stops(consumer, end, starts, highest)
    first_ms = first.ms if isinstance(first, AtTime) else None
    end_ms = end.ms if isinstance(end, AtTime) else None
    stretches = {
        tp: _PartitionRange(start, stops[tp], first_ms, end_ms, position=start)
        for tp, start in starts.items()
        if start < stops[tp]
    }
    for tp, stretch in stretches.items():
        consumer.seek(tp, stretch.start)
    return stretches


def _ends(consumer: KafkaConsumer) -> _Offsets:
    """Where each assigned partition ends: its high watermark, by a fetch near the end."""
    assigned = consumer.assignment()
    for tp, offset in consumer.end_offsets(list(assigned)).items():
        consumer.seek(tp, offset)
    deadline = time.monotonic() + SILENCE_TIMEOUT
    while unknown := [tp for tp in assigned if consumer.highwater(tp) is None]:
        if time.monotonic() > deadline:
            raise TopicsError(_silence_message(unknown))
        consumer.poll(_POLL_MS)
    return {tp: consumer.highwater(tp) for tp in assigned}


def _starts(consumer: KafkaConsumer, first: TopicPosition | None, highest: _Offsets) -> _Offsets:
    lowest: dict[TopicPartition, int] = consumer.beginning_offsets(list(highest))
    match first:
        case AtOffset(offset):
            return {tp: max(offset, low) for tp, low in lowest.items()}
        case AtTime(ms):
            found = consumer.offsets_for_times(dict.fromkeys(highest, ms))
            return {tp: max(found[tp].offset, low) if found[tp] else highest[tp] for tp, low in lowest.items()}
    return lowest


def _stops(consumer: KafkaConsumer, end: TopicPosition | None, starts: _Offsets, highest: _Offsets) -> _Offsets:
    match end:
        case AtOffset(offset):
            return {tp: min(offset, high) for tp, high in highest.items()}
        case AtTime(ms):
            found = consumer.offsets_for_times(dict.fromkeys(highest, ms))
            # An answer that isn't beyond the start may be the embedded broker's 0: then the stamps have to tell.
            beyond = {tp: at.offset for tp, at in found.items() if at and at.offset > starts[tp]}
            return {tp: min(beyond.get(tp, high), high) for tp, high in highest.items()}
    return highest


def _silence_message(unanswered: Sequence[TopicPartition] | Mapping[TopicPartition, Any]) -> str:
    partitions = ", ".join(str(tp.partition) for tp in sorted(unanswered))
    topic = next(iter(unanswered)).topic
    return (
        f"Kafka has sent nothing of topic {topic}, partition {partitions}, for {SILENCE_TIMEOUT:.0f} s; is it still up?"
    )
