"""A Kafka transport for Faust 0.15.3 that delivers whole fetches instead of single records.

Why: Faust spends two asyncio tasks and one Event on every message, which caps an agent that does nothing at some
12,000 events/s, where aiokafka alone fetches 240,000. Here one message is a `Fetch`: all records that one fetch brought
of one partition.

    consumer thread: aiokafka fetches ─► {partition: records}
    event loop:      {partition: [Fetch]} ─► Faust's queue ─► agent ─► ack of the fetch's last offset ─► commit

Rule 1: no record is delivered in an assignment before its partitions have been positioned (`perform_seek`).
Rule 2: an agent receives the records of a partition in order, and acknowledges them in order. It receives nothing that
was fetched under an earlier assignment. Assignments are numbered from 1.
Rule 3: offsets committed to Kafka are a hint; the assigned-hook says where to resume.
Rule 4: work is finished before its partition is released, unless this worker waits for a server: then it is given up at
once, and its records come again. A wait may outlast the group's patience, and without that the worker could not rejoin.
What was fetched after it is not begun: its records would be counted without those before them.

Each override below says what it adds or replaces. They use private parts of Faust, so its version is pinned exactly.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT, ConsumerMessage, Message
from mode.utils.futures import notify
from yarl import URL

from driftline.stream.kafka.client import wait_for_acknowledgement
from driftline.stream.retry import Waits
from driftline.stream.worker.faust.batches import unpack_in_batches
from driftline.stream.worker.faust.fetch import Fetch

#: Called with all partitions of a new assignment; returns the offset of the next record to deliver, by partition.
#: A partition that it leaves out resumes at the offset committed to Kafka, or at the oldest record.
AssignedHook = Callable[[frozenset[TP]], Awaitable[Mapping[TP, int]]]

RecordMap = Mapping[TP, list[Any]]

log = logging.getLogger(__name__)

#: ms that a broker may hold back an empty answer to a fetch. A new position has to wait for that answer, and the
#: embedded broker sleeps meanwhile: records came 750 ms late at Faust's 1500. At half, twice the idle requests.
FETCH_WAIT_MS = 100
# s between two looks whether work that must end soon waits for a server.
_LOOK_EVERY = 0.2
# s in which a producer that stops may send what it still holds: what was given up, or nothing.
_FLUSH_SECONDS = 2.0


class FetchConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka, with two settings that Faust has fixed, and batches kept together."""

    consumer: FetchConsumer

    async def on_start(self) -> None:
        """Adds: records of fetch topics come in lists, see `stream.worker.faust.batches`."""
        await super().on_start()
        transport = self.consumer.transport
        unpack_in_batches(self._ensure_consumer(), transport.fetch_topics, transport.batch_bytes)

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        """Adds a shorter long poll, and leaves out records of aborted transactions."""
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._isolation_level = "read_committed"
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Replaces the end of the worker if Kafka refuses a commit, which is a hint (rule 3)."""
        known = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        self.tp_last_committed_at.update(dict.fromkeys(known, time.monotonic()))
        try:
            await self._ensure_consumer().commit(
                {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in known.items()}
            )
        except (KafkaError, IllegalStateError) as error:
            log.info("Kafka has not taken a commit of offsets: %r", error)
            return False
        return True


class FetchConsumer(driver.Consumer):
    """Faust's aiokafka consumer with whole fetches, a hook before the first delivery, and plain acknowledgement."""

    transport: FetchTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fetch_or_seek = asyncio.Lock()
        self.assignment_id: int | None = None  #: None from a revocation to the next assignment
        self._assignments = 0
        self._seeking: asyncio.Future[None] | None = None
        self._positioned: int | None = None
        self._works, self._ends = set[asyncio.Task[None]](), False
        self._reported = dict[TP, int]()  # the position that the last fetch of each partition has named

    def _new_consumer_thread(self) -> FetchConsumerThread:
        """Replaces Faust's thread by ours."""
        return FetchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # ---- assignment

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Adds: stop a takeover, fetch nothing more until the next assignment, and give up work that waits (rule 4)."""
        self.assignment_id = None
        self._stop_seeking()
        giving_up = asyncio.create_task(self.give_up_waiting())
        try:
            await super().on_partitions_revoked(revoked)
        finally:
            giving_up.cancel()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Adds the number of the new assignment."""
        self._assignments += 1
        self.assignment_id = self._assignments
        self._reported.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Replaces what Faust awaits between an assignment and the restart of the flow: it begins a takeover.

        Faust would give up on it after a while without a log line, and read nothing. Until it is done, nothing is
        fetched (rule 1), and the worker remains a member of its group. An error in it ends the worker.
        """
        if self.assignment_id is not None and self.assignment():
            self._stop_seeking()
            self._seeking = self.add_future(self._seek_all(self.assignment_id))

    def _stop_seeking(self) -> None:
        if self._seeking is not None:
            self._seeking.cancel()

    async def _seek_all(self, assignment_id: int) -> None:
        """Position all partitions. The lock keeps a fetch from returning records of the old position after the seek.

        When another assignment begins meanwhile, aiokafka goes to committed offsets by itself, and Faust calls
        `perform_seek` again. Records of a fetch that had begun before are dropped, so every partition must be
        positioned again.
        """
        assigned = frozenset(ensure_TPset(self.assignment()))
        resume = await self.transport.resume_offsets(assigned)
        async with self._fetch_or_seek:
            await _shielded(super().perform_seek())
            oldest = {tp: 0 for tp in assigned if self._committed_offset.get(tp) is None}
            await _shielded(self.seek_wait({**oldest, **resume}))
        if assignment_id == self.assignment_id:
            self._positioned = assignment_id

    @property
    def positioned(self) -> bool:
        """Whether all partitions of the current assignment are where the assigned-hook wants them."""
        return self.assignment_id is not None and self._positioned == self.assignment_id

    @property
    def settled(self) -> int | None:
        """The assignment whose positions mean what was read; None during a takeover, when they are hints (rule 3)."""
        return self.assignment_id if self.positioned or not self.assignment() else None

    # ---- fetching

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        """Adds: nothing before the partitions have been positioned (rule 1)."""
        async with self._fetch_or_seek:
            if not self.positioned:
                await asyncio.sleep(0.05)  # s: Faust calls again at once
                return {}
            return await super()._getmany(active_partitions, timeout)

    async def _wait_next_records(self, timeout: float) -> tuple[RecordMap | None, set[TP] | None]:
        """Replaces the lists of records of fetch topics by lists of one `Fetch`; adds those of what has no record.

        Drops records that came while a rebalance began, where Faust would call `perform_seek`, and so the hook, again.
        """
        fetched, active = await super()._wait_next_records(timeout)
        if fetched is None or not (self.flow_active and self.positioned):
            return None, active
        skipped: dict[TP, list[Any]] = {tp: [] for tp in active or () if tp not in fetched and self._has_skipped(tp)}
        return {tp: self._as_fetch(tp, records) for tp, records in {**fetched, **skipped}.items()}, active

    def _as_fetch(self, tp: TP, records: list[Any]) -> list[Any]:
        if tp.topic not in self.transport.fetch_topics:
            return records
        highwater, position = _unless_revoked(self.highwater, tp), _unless_revoked(self._read_to, tp) or 0
        self._reported[tp] = position
        return [Fetch(TP(*tp), list(chain.from_iterable(records)), highwater, self.assignment_id or 0, position)]

    def _has_skipped(self, tp: TP) -> bool:
        """Whether a partition was read further than its last fetch says: over markers and aborted transactions."""
        if tp.topic not in self.transport.fetch_topics:
            return False
        position = _unless_revoked(self._read_to, tp) or 0
        return self._reported.setdefault(tp, position) < position

    def _read_to(self, tp: TP) -> int | None:
        """Up to which offset records were returned, or left out. It changes in `_getmany` and with a seek alone."""
        subscription = self._thread._ensure_consumer()._subscription
        if not subscription.is_assigned(tp):
            return None
        state = subscription.subscription.assignment.state_value(tp)
        return int(state.position) if state.has_valid_position else None

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        """Wraps a fetch as one message with its last offset, so that its ack covers all of it."""
        if not isinstance(record, Fetch):
            return super()._to_message(tp, record)
        stamp, kind = (record.records[-1].timestamp, record.records[-1].timestamp_type) if record.records else (0, 0)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.next_offset - 1,
            stamp / 1000.0,
            kind,
            headers=None,
            key=None,
            value=record,  # type: ignore[arg-type]  # Faust says bytes, but hands it through untouched
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def is_stale(self, message: Message) -> bool:
        """Whether a message holds a fetch of an earlier assignment; it will not be acknowledged.

        Faust compares the group's generations. But a member that joins again, because Kafka was away, may get the same
        generation; and a fetch that had waited for room in a queue enters it after Faust has cleared the queue.
        """
        fetch: Any = message.value
        stale = isinstance(fetch, Fetch) and fetch.assignment_id != self.assignment_id
        if stale:
            self._unacked_messages.discard(message)
        return stale

    async def ends(self, *partitions: TP) -> Mapping[TP, int]:
        """Where partitions end: where a transaction is open in them.

        The embedded broker answers too low, but says so truly with each fetch.
        """
        asked = await self.highwaters(*partitions)
        consumer = self._thread._ensure_consumer()
        return {tp: max(end, _unless_revoked(consumer.last_stable_offset, tp) or 0) for tp, end in asked.items()}

    # ---- work

    async def finish(self, work: Coroutine[Any, Any, None]) -> bool:
        """Await work. Returns False if it was given up, because it waited for a server when this worker had to go.

        A worker that ends begins no more.
        """
        if self._ends:
            work.close()
            return False
        task = asyncio.create_task(work)
        self._works.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._works.discard(task)
            task.cancel()
        if task.cancelled():
            return False
        task.result()
        return True

    async def end(self) -> None:
        """Begin no more work, and wait for what has begun: without a fetch, Faust would stop the producer under it."""
        self._ends = True
        if self._works:
            await asyncio.wait(self._works)

    async def give_up_waiting(self) -> None:
        """Give up all work while this worker waits for a server (rule 4), until this is cancelled."""
        while True:
            if self._works and self.transport.waits.current():
                log.info("work in flight is given up, as a server does not answer, and done again by the next owner")
                self.assignment_id = None
                for task in self._works:
                    task.cancel()
            await asyncio.sleep(_LOOK_EVERY)

    def drop(self, message: Message) -> None:
        """Forget a message whose work was given up, without an acknowledgement."""
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)

    # ---- back-pressure

    def on_buffer_full(self, tp: TP) -> None:
        """Replaces a pause of the partition, which lasts seconds: a full queue makes the fetcher wait."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Replaces the end of that pause."""

    # ---- acknowledgement

    async def commit(self, *args: Any, **kwargs: Any) -> bool:
        """Adds: no commit after a crash. The consumer thread has ended too, and Faust would wait for it for ever."""
        return False if self.crashed else await super().commit(*args, **kwargs)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Replaces Faust's list of every offset between two messages: it would take a fetch for one long gap."""

    def _new_offset(self, tp: TP) -> int | None:
        """Replaces the search for consecutive offsets, which finds none after a seek past the commit (rule 2)."""
        acked = self._acked[tp]
        if not acked:
            return None
        offset = max(acked) + 1
        acked.clear()
        self._acked_index[tp].clear()
        return offset


class FetchProducer(driver.Producer):
    """Faust's aiokafka producer that can be idempotent without being transactional."""

    transport: FetchTransport

    def _settings_extra(self) -> Mapping[str, Any]:
        """Adds idempotence: Kafka writes a retried send once, and in order. Faust has no setting for it."""
        return {**super()._settings_extra(), "enable_idempotence": self.transport.idempotent}

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        """Adds patience: what was sent is never given up while the worker lives."""
        return wait_for_acknowledgement(super()._new_producer(transactional_id))

    async def on_stop(self) -> None:
        """Adds a limit: what Kafka refuses at the moment would keep the worker from ending."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await super().on_stop()


class FetchTransport(driver.Transport):
    """Set as `app.transport`. Delivers the topics in `fetch_topics` by fetches, all others record by record."""

    Consumer = FetchConsumer
    Producer = FetchProducer

    def __init__(
        self,
        url: list[URL],
        app: AppT,
        *,
        fetch_topics: frozenset[str],
        on_assigned: AssignedHook | None,
        idempotent: bool,
        waits: Waits,
        batch_bytes: int,
    ) -> None:
        super().__init__(url, app)
        self.fetch_topics = fetch_topics
        self.idempotent = idempotent
        self.waits = waits
        self.batch_bytes = batch_bytes
        self._on_assigned = on_assigned

    async def resume_offsets(self, assigned: frozenset[TP]) -> Mapping[TP, int]:
        """Where the assigned-hook wants to resume."""
        return {} if self._on_assigned is None else await self._on_assigned(assigned)


def _unless_revoked(ask: Callable[[TP], int | None], tp: TP) -> int | None:
    """What the client knows of a partition; None also if it was revoked just now, which the client asserts."""
    try:
        return ask(tp)
    except (IllegalStateError, AssertionError):
        return None


async def _shielded(work: Awaitable[None]) -> None:
    """Await work in the consumer thread; a cancellation takes effect once the work is done.

    The thread cannot be cancelled: its late seek to the old position would undo the seek of the next assignment.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
