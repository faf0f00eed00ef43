"""What a replay makes of the answers of Kafka."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from kafka import TopicPartition
from kafka.record import MemoryRecords

from driftline.stream.events.unreadable import Unreadable
from driftline.stream.sources.topic_batches import unpack_within

TP = TopicPartition("predictions", 0)
EVENTS = 50


def batch() -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 20,
    )  # fmt: skip
    for n in range(EVENTS):
        builder.append(n, 1_000, None, b"%d" % n, [])
    return bytes(builder.build())


def test_a_replay_believes_no_offset_beyond_the_end_of_the_log() -> None:
    consumer: Any = SimpleNamespace(
        _fetcher=SimpleNamespace(_append=None, _next_partition_records=None), highwater={TP: EVENTS}.get
    )
    unpack_within(consumer, 1 << 20)
    answer = struct.pack(">q", 1 << 40) + batch()[8:]
    first, second = (consumer._fetcher.PartitionRecords(0, TP, MemoryRecords(answer)) for _ in range(2))
    assert (first.take(), first.next_fetch_offset) == ([], 0), "it may have been damaged on the wire"
    (instead,) = second.take()
    assert isinstance(instead.value, Unreadable)
    assert (instead.value.start, instead.value.end, second.next_fetch_offset) == (0, EVENTS, EVENTS)
