"""The records of a fetch, unpacked a batch at a time, for aiokafka 0.14.

Why: aiokafka makes a `ConsumerRecord` of every record and hands it through three generator steps. That is two thirds of
what a fetch costs, and more than the JSON of an event with 20 features. Its own record, parsed in C, has all that is
asked for here.

What is replaced: `PartitionRecords._unpack_records`. What holds as there: damaged batches raise, control batches and
those of aborted transactions are left out, and the next fetch goes on behind the last batch, whatever was left out.
It leans on private parts of aiokafka, so its version is pinned exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException

from driftline.stream.kafka.record import Record


def unpack_in_batches(consumer: AIOKafkaConsumer, topics: Collection[str]) -> None:
    """Let a started consumer give lists of records of these topics, one list for each batch."""
    fetcher = consumer._fetcher
    receive = fetcher._proc_fetch_request

    # Whoever waits for records is told of an answer only when this has returned.
    async def receive_batches(*arguments: Any) -> bool:
        told = await receive(*arguments)
        for tp, result in fetcher._records.items():
            unread = getattr(result, "_partition_records", None)
            if tp.topic in topics and isinstance(unread, PartitionRecords):
                result._partition_records = _Batches(unread)
        return bool(told)

    fetcher._proc_fetch_request = receive_batches


class _Batches:
    """Takes the place of aiokafka's `PartitionRecords`, of which nothing has been read."""

    def __init__(self, unread: PartitionRecords) -> None:
        self._unread = unread
        # It refers to `unread`, which refers to it: the bytes of every fetch would wait for a garbage collection.
        unread._records_iterator = None
        self.next_fetch_offset: int = unread.next_fetch_offset

    def __iter__(self) -> Iterator[list[Record]]:
        """Lists of at least one record, offsets rising."""
        unread = self._unread
        while unread._records.has_next():
            batch = unread._records.next_batch()
            if unread._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {unread._tp}")
            # A batch holds also what lies before the offset that was asked for.
            records = [] if self._passed_over(batch) else list(batch)
            if records and records[0].offset < self.next_fetch_offset:
                records = [record for record in records if record.offset >= self.next_fetch_offset]
            # Of a compacted batch the last offsets may have no records.
            self.next_fetch_offset = batch.next_offset
            if records:
                yield records

    def _passed_over(self, batch: Any) -> bool:
        """Whether a batch is a marker, or part of an aborted transaction."""
        unread, producer = self._unread, batch.producer_id
        if producer is not None:
            unread._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and unread._contains_abort_marker(batch):
                unread._aborted_producers.discard(producer)
        aborted = batch.is_transactional and producer in unread._aborted_producers
        return bool(aborted or batch.is_control_batch)
