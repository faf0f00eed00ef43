"""Unpacks the records of a fetch a batch at a time, for aiokafka 0.14.

Why: aiokafka makes a `ConsumerRecord` of every record and hands it through three generator steps. That is two thirds of
what a fetch costs, and more than the JSON of an event with 20 features. Its inner record, parsed in C, has all that a
stage needs. And it unpacks whatever a batch holds, and ends the consumer at a batch that is damaged.

This replaces `PartitionRecords._unpack_records`. As there, control batches and those of aborted transactions are left
out, and the next fetch begins after the last batch, whatever was left out. `stream.kafka.batches` opens the batches.
What one call of the consumer returns, of all partitions together, ends with the batch that exceeds `max_bytes`; what
has not been unpacked waits for the next call.
It uses private parts of aiokafka, so its version is pinned exactly.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from driftline.stream.kafka.batches import Batch, BatchReader
from driftline.stream.kafka.record import Record


class KeptRecords(MemoryRecords):  # type: ignore[misc] # aiokafka has no types
    """aiokafka's record set, which also keeps its bytes and leaves damage in them to `stream.kafka.batches`."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data, self._is_new = data, True

    def has_next(self) -> bool:
        """Adds: at first also if there is no whole batch, for which aiokafka would skip an offset and raise."""
        return bool(super().has_next() or (self._is_new and self.data))

    def next_batch(self) -> Any:
        """Adds: after it, `has_next` is as in aiokafka."""
        self._is_new = False
        return super().next_batch()


class _Unpacker:
    """What the partitions of a consumer share. left: bytes that may be unpacked until the next call."""

    def __init__(self, max_bytes: int) -> None:
        self.reader, self.max_bytes, self.left = BatchReader(), max_bytes, max_bytes


def unpack_in_batches(consumer: AIOKafkaConsumer, topics: Collection[str], max_bytes: int) -> None:
    """Make a started consumer return lists of records of these topics, one list for each batch.

    max_bytes: which the records of a batch may take, see `limits.batch_bytes`.
    """
    aiokafka_fetcher.MemoryRecords = KeptRecords
    fetcher, unpacker = consumer._fetcher, _Unpacker(max_bytes)
    receive, drain = fetcher._proc_fetch_request, fetcher.fetched_records

    # A consumer that waits for records wakes only after this has returned.
    async def receive_batches(*arguments: Any) -> bool:
        received = await receive(*arguments)
        for tp, result in fetcher._records.items():
            unread = getattr(result, "_partition_records", None)
            if tp.topic in topics and isinstance(unread, PartitionRecords):
                _Batches.replace(result, unread, unpacker)
        return bool(received)

    async def drain_within_bound(*arguments: Any, **options: Any) -> Any:
        unpacker.left = unpacker.max_bytes
        return await drain(*arguments, **options)

    fetcher._proc_fetch_request, fetcher.fetched_records = receive_batches, drain_within_bound


class _Batches:
    """Replaces an aiokafka `PartitionRecords` of which nothing has been read, and its result's `getall`."""

    @classmethod
    def replace(cls, result: FetchResult, unread: PartitionRecords, unpacker: _Unpacker) -> None:
        """Make a result return lists of records."""
        result._partition_records = batches = cls(weakref.ref(result), unread, unpacker)
        result.getall = batches.getall

    def __init__(self, result: weakref.ref[FetchResult], unread: PartitionRecords, unpacker: _Unpacker) -> None:
        self._result, self._unread, self._unpacker = result, unread, unpacker
        # The iterator and `unread` refer to each other: the bytes of every fetch would wait for a garbage collection.
        unread._records_iterator = None
        self.next_fetch_offset: int = unread.next_fetch_offset
        self._left = unpacker.reader.batches(
            unread._tp, unread._records.data, self.next_fetch_offset, self._highwater(unread)
        )

    @property
    def _owner(self) -> Any:
        return self._result()

    def _highwater(self, unread: PartitionRecords) -> int | None:
        assignment = self._owner._assignment
        return None if assignment is None else assignment.state_value(unread._tp).highwater

    def getall(self, _max_records: int | None = None) -> list[list[Record]]:
        """Lists of at least one record each, offsets rising, up to the bound; moves the consumer's position."""
        result = self._owner
        if not result.check_assignment(self._unread._tp) or not result.has_more():
            return []
        lists, drained = self.take()
        result._update_position()
        if drained:
            result._partition_records = None
        return lists

    def take(self) -> tuple[list[list[Record]], bool]:
        """The next lists within the bound, and whether there are no more."""
        lists = []
        for batch in self._left if self._unpacker.left > 0 else ():
            records = [] if self._is_skipped(batch) else batch.records(self._unpacker.max_bytes)
            # A batch may begin before the offset that was asked for.
            if records and records[0].offset < self.next_fetch_offset:
                records = [record for record in records if record.offset >= self.next_fetch_offset]
            # The last offsets of a compacted batch may have no records.
            self.next_fetch_offset = batch.next_offset
            if records:
                lists.append(records)
            self._unpacker.left -= batch.size
            if self._unpacker.left <= 0:
                return lists, False
        return lists, self._unpacker.left > 0

    def _is_skipped(self, batch: Batch) -> bool:
        """Whether a batch is a marker, or part of an aborted transaction."""
        if not batch.is_intact:
            return False
        unread, header = self._unread, batch.header
        producer = header.producer_id
        if producer is not None:
            unread._consume_aborted_up_to(header.base_offset)
            if batch.is_abort:
                unread._aborted_producers.discard(producer)
        aborted = header.is_transactional and producer in unread._aborted_producers
        return bool(aborted or header.is_control_batch)
