"""Unpacking in batches gives the same records as aiokafka does one by one, and the same next fetch offset."""

from __future__ import annotations

import asyncio
import gc
import struct
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.kafka.record import Record
from driftline.stream.worker.faust.batches import KeptRecords, unpack_in_batches

TP = TopicPartition("predictions", 0)
ABORT, COMMIT = struct.pack(">hh", 0, 0), struct.pack(">hh", 0, 1)
_CONTROL = 1 << 5  # bit of a batch's attributes
# Bytes of a batch's header before its checksum, and before what that covers.
_CHECKSUM_AT, _COVERED_FROM = 17, 21


@dataclass(frozen=True)
class Batch:
    """The content of a batch, `gap` offsets after the one before. marker: the key that makes it a control batch."""

    values: tuple[bytes | None, ...]
    gap: int = 0
    producer: int = -1
    gzip: bool = False
    marker: bytes | None = None

    def to_bytes(self, offset: int) -> bytes:
        batch = DefaultRecordBatchBuilder(
            magic=2, compression_type=int(self.gzip), is_transactional=self.producer >= 0,
            producer_id=self.producer, producer_epoch=0, base_sequence=0, batch_size=1 << 20,
        )  # fmt: skip
        for n, value in enumerate(self.values):
            batch.append(n, 1_000 + n, self.marker or b"key", value, [("header", b"h")])
        return _at(offset, bytes(batch.build()), control=self.marker is not None)


def _at(offset: int, batch: bytes, control: bool) -> bytes:
    """A batch moved to an offset and, if wanted, turned into a control batch, with a valid checksum."""
    attributes = int.from_bytes(batch[_COVERED_FROM : _COVERED_FROM + 2]) | (_CONTROL if control else 0)
    covered = attributes.to_bytes(2) + batch[_COVERED_FROM + 2 :]
    return struct.pack(">q", offset) + batch[8:_CHECKSUM_AT] + struct.pack(">I", calc_crc32c(covered)) + covered


def log_of(batches: Iterable[Batch]) -> tuple[bytes, list[tuple[int, int]], int]:
    """The bytes of a log, the producers and first offsets of its aborted transactions, and where it ends."""
    content, aborted, opened, offset = b"", [], dict[int, int](), 0
    for batch in batches:
        offset += batch.gap
        content += batch.to_bytes(offset)
        if batch.marker is None:
            opened.setdefault(batch.producer, offset)
        elif (first := opened.pop(batch.producer, None)) is not None and batch.marker == ABORT:
            aborted.append((batch.producer, first))
        offset += len(batch.values)
    return content, aborted, offset


def whole_before(content: bytes, offset: int) -> int:
    """Bytes of the batches at the start of a log that end at or before an offset."""
    at = 0
    while at < len(content):
        start, length = struct.unpack_from(">qi", content, at)
        if start + struct.unpack_from(">i", content, at + 23)[0] + 1 > offset:
            break
        at += 12 + length
    return at


def unread(
    content: bytes, aborted: list[tuple[int, int]], fetch_offset: int, kind: type[MemoryRecords] = KeptRecords
) -> PartitionRecords:
    return PartitionRecords(TP, kind(content), aborted, fetch_offset, None, None, True, READ_COMMITTED)


def result_of(records: PartitionRecords, topics: frozenset[str] = frozenset({TP.topic})) -> Any:
    """What a fetcher holds after an answer with these records."""

    async def receive() -> bool:
        fetcher._records[TP] = FetchResult(TP, assignment=None, partition_records=records, backoff=0)
        return True

    fetcher = SimpleNamespace(_records={}, _proc_fetch_request=receive, fetched_records=receive)
    unpack_in_batches(SimpleNamespace(_fetcher=fetcher), topics, 1 << 20)
    assert asyncio.run(fetcher._proc_fetch_request()) is True
    return fetcher._records[TP]


def in_batches(records: PartitionRecords) -> Any:
    """The batches in them. The result is returned too, which they refer to weakly."""
    batches = (result := result_of(records))._partition_records
    batches.result = result
    return batches


def contents(records: Iterable[Record | ConsumerRecord[Any, Any]]) -> list[tuple[Any, ...]]:
    return [(each.offset, each.timestamp, each.timestamp_type, each.key, each.value) for each in records]


VALUES = st.lists(st.one_of(st.none(), st.binary(max_size=8)), min_size=1, max_size=5).map(tuple)
DATA = st.builds(Batch, VALUES, gap=st.integers(0, 3), producer=st.integers(-1, 2), gzip=st.booleans())
MARKERS = st.builds(
    Batch, st.just((b"",)), st.integers(0, 1), producer=st.integers(0, 2), marker=st.sampled_from([ABORT, COMMIT])
)
LOGS = st.lists(st.one_of(DATA, MARKERS), min_size=1, max_size=12)


@given(LOGS, st.integers(0, 60))
def test_batches_give_the_same_records_and_next_offset_as_one_by_one(log: list[Batch], fetch_offset: int) -> None:
    """Gaps, aborted and committed transactions, markers, compressed batches that begin before the fetch offset."""
    content, aborted, _ = log_of(log)
    content = content[whole_before(content, fetch_offset) :]  # a broker does not send what ends before the offset
    theirs = unread(content, aborted, fetch_offset, MemoryRecords)
    ours = in_batches(unread(content, aborted, fetch_offset))
    lists, drained = ours.take()
    assert drained
    assert contents(chain.from_iterable(lists)) == contents(theirs)
    assert ours.next_fetch_offset == theirs.next_fetch_offset
    assert all(lists), "a list holds at least one record"


def test_an_aborted_transaction_is_left_out_and_a_committed_one_is_not() -> None:
    log = [Batch((b"a",), producer=1), Batch((b"b",), producer=2), Batch((b"",), producer=1, marker=ABORT),
           Batch((b"",), producer=2, marker=COMMIT), Batch((b"c",), producer=1)]  # fmt: skip
    content, aborted, end = log_of(log)
    ours = in_batches(unread(content, aborted, 0))
    assert [each.value for each in chain.from_iterable(ours.take()[0])] == [b"b", b"c"]
    assert ours.next_fetch_offset == end


def test_records_in_the_format_before_kafka_0_11_are_read_too() -> None:
    old = LegacyRecordBatchBuilder(magic=1, compression_type=1, batch_size=1 << 20)
    for n in range(5):
        old.append(n, 1_000 + n, b"key", b"%d" % n)
    content = struct.pack(">q", 4) + bytes(old.build())[8:]  # a broker stores a batch with its last offset
    theirs, ours = unread(content, [], 2, MemoryRecords), unread(content, [], 2)
    assert contents(chain.from_iterable(in_batches(ours).take()[0])) == contents(theirs)


def test_a_damaged_batch_ends_the_fetch_after_the_good_ones_and_is_fetched_again() -> None:
    content, aborted, _ = log_of([Batch((b"good",)), Batch((b"bad",))])
    ours = in_batches(unread(content[:-1] + b"\xff", aborted, 0))
    lists, drained = ours.take()
    assert [each.value for each in chain.from_iterable(lists)] == [b"good"]
    assert (drained, ours.next_fetch_offset) == (True, 1)


def test_a_worker_believes_no_offset_beyond_the_end_of_the_log() -> None:
    content, _, end = log_of([Batch((b"a", b"b"))])
    assignment = SimpleNamespace(state_value={TP: SimpleNamespace(highwater=end)}.get)

    async def receive() -> bool:
        records = unread(struct.pack(">q", 1 << 40) + content[8:], [], 0)
        fetcher._records[TP] = FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)
        return True

    fetcher = SimpleNamespace(_records={}, _proc_fetch_request=receive, fetched_records=receive)
    unpack_in_batches(SimpleNamespace(_fetcher=fetcher), {TP.topic}, 1 << 20)
    for offsets in ([], [end - 1]):  # it may have been damaged on the wire, at first
        asyncio.run(fetcher._proc_fetch_request())
        batches = fetcher._records[TP]._partition_records
        assert [each.offset for each in chain.from_iterable(batches.take()[0])] == offsets
        assert batches.next_fetch_offset == (end if offsets else 0)


def test_other_topics_are_left_as_they_are() -> None:
    records = unread(*log_of([Batch((b"a",))])[:2], 0)
    assert [each.value for each in unread(*log_of([Batch((b"a",)), Batch((b"b",))])[:2], 0)] == [b"a", b"b"]
    assert result_of(records, frozenset({"panes"}))._partition_records is records


def test_a_fetch_that_was_read_is_freed_at_once() -> None:
    """The bytes of each fetch once stayed until the garbage collector ran, which it hardly ever does in a worker."""
    first, records = (unread(Batch((b"a", b"b")).to_bytes(0), [], 0) for _ in range(2))
    other = in_batches(first)
    gone = weakref.ref(records)
    gc.disable()
    try:
        result = FetchResult(TP, assignment=None, partition_records=records, backoff=0)
        type(other).replace(result, records, other._unpacker)
        assert len(result._partition_records.take()[0]) == 1
        del records, result
        assert gone() is None
    finally:
        gc.enable()


def test_what_a_call_returns_is_unpacked_within_the_bound_and_the_rest_waits_for_the_next() -> None:
    log = [Batch((b"0" * 400_000,), gzip=True) for _ in range(5)]
    ours = in_batches(unread(*log_of(log)[:2], 0))
    lists, drained = ours.take()
    assert (len(lists), drained, ours.next_fetch_offset) == (3, False, 3), "the bound is 1 MiB"
    assert ours.take() == ([], False), "another partition has used it up"
    ours._unpacker.left = 1 << 20
    lists, drained = ours.take()
    assert (len(lists), drained, ours.next_fetch_offset) == (2, True, 5)
