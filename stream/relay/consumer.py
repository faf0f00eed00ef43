"""The alert consumer of one receiver: reads the alerts topic, lets the dispatcher deliver, commits what is settled.

Rule 1: delivery begins when everything in the topic has been read, since only then is it known what is superseded.
Rule 2: an offset is committed when everything before it is settled, and never after its partition was revoked.
Rule 3: reading continues while a receiver is down: a retry sends the newest step, and the group keeps its member.
Rule 4: one relay reads all partitions, however many there are, since only one may write a receiver's notifications.
        Without a partition the consumer does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaTimeoutError

from driftline.stream.kafka.client import call_kafka
from driftline.stream.relay.dispatcher import Dispatcher
from driftline.stream.relay.http import retry_delivery

log = logging.getLogger(__name__)

# s that a poll waits for new records: how late a stop is noticed.
_POLL = 0.5
# s for one attempt to commit, which takes milliseconds. A relay that is asked to end must notice that Kafka is gone,
# and then takes 3 s to close its connections: all of it in the 10 s that orchestrators allow.
_COMMIT_SECONDS = 4.0


class Health(Protocol):
    """Whether every receiver accepts alerts."""

    healthy: bool


class _StoppedError(Exception):
    """The relay was asked to stop while it waited for a receiver."""


class SingleReaderAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """Assigns all partitions to one member of the group; the others stand by."""

    name = "one-reader"  # members of all versions must offer the same name

    @classmethod
    def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The partitions of each member."""
        reader = min(members)
        nothing = ConsumerProtocolMemberAssignment(cls.version, [], b"")
        assigned: dict[str, ConsumerProtocolMemberAssignment] = super().assign(cluster, {reader: members[reader]})
        return dict.fromkeys(members, nothing) | assigned


class AlertConsumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Reads the alerts topic for one receiver. longest_pause: seconds between two tries, at most."""

    def __init__(
        self, consumer: AIOKafkaConsumer, dispatcher: Dispatcher, health: Health, longest_pause: float
    ) -> None:
        self.consumer, self.dispatcher = consumer, dispatcher
        self._health, self._longest_pause = health, longest_pause
        self._read: dict[TopicPartition, int] = {}
        self._stopping = self._owns_partitions = False
        self._sending = asyncio.Lock()

    async def start(self, topic: str) -> None:
        """Connect. A consumer that starts before it subscribes does not wait here for the group's rebalance."""
        await call_kafka(self.consumer.start)
        self.consumer.subscribe([topic], listener=self)

    async def run(self) -> None:
        """Read and deliver until `stop` is called."""
        try:
            while not self._stopping:
                await self._poll(_POLL)
                if await self._caught_up():
                    await self._deliver()
        except _StoppedError:
            log.info("%s: stops with undelivered alerts, which are read again later", self.dispatcher.name)

    def stop(self) -> None:
        """End `run` soon, after the request in flight."""
        self._stopping = True

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002 # aiokafka's
        """Drop what is not committed: it is read again, here or elsewhere, and must not be committed from now on."""
        self._owns_partitions = False
        async with self._sending:  # the request in flight must not overtake those of the next relay
            self._read.clear()
            self.dispatcher.release()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Nothing to prepare: a new owner resumes at the committed offset."""
        self._owns_partitions = bool(assigned)
        log.info("%s: reads %d partitions of the alerts topic", self.dispatcher.name, len(assigned))

    async def _deliver(self) -> None:
        """Send everything that is due, then commit what was read."""
        while self._owns_partitions and not self._stopping:
            await retry_delivery(self._longest_pause, self._poll_for)(self._step)  # time alone may make something due
            if self.dispatcher.idle:
                break
            await self._poll(0)  # a slow receiver gets the newest step, and the group must not think this member dead
        read = dict(self._read)
        if not read or self._stopping:
            return
        self._read.clear()
        try:
            await call_kafka(self._commit, read)
        except (CommitFailedError, IllegalStateError):
            log.info("%s: the group has rebalanced; some alerts are read and dropped again", self.dispatcher.name)

    async def _commit(self, read: Mapping[TopicPartition, int]) -> None:
        """Adds a limit to aiokafka's commit, which tries for ever and reports no error while Kafka is away."""
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await self.consumer.commit(read)
        except TimeoutError:
            raise KafkaTimeoutError(f"no answer to a commit within {_COMMIT_SECONDS:g} s") from None

    async def _step(self) -> None:
        async with self._sending:
            if self._owns_partitions:
                await self.dispatcher.step()

    async def _poll_for(self, seconds: float) -> None:
        """Keep reading for so long, at least once, so that the next try sends the newest step. Raises _StoppedError."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while True:
            await self._poll(min(max(end - clock(), 0.0), _POLL))
            if self._stopping:
                raise _StoppedError
            if clock() >= end:
                return

    async def _poll(self, seconds: float) -> None:
        """Read the records that are there or arrive within so long; refresh what is still firing."""
        read = await call_kafka(partial(self.consumer.getmany, timeout_ms=int(seconds * 1000)))
        for tp, records in read.items():
            for record in records:
                self.dispatcher.receive(record)
            self._read[tp] = records[-1].offset + 1
        async with self._sending:
            if self._owns_partitions:
                await self.dispatcher.refresh(self._health.healthy)

    async def _caught_up(self) -> bool:
        """Whether everything in the topic has been read: only then is it known what is superseded."""
        try:
            ends = {tp: self.consumer.highwater(tp) for tp in self.consumer.assignment()}
            return all([end is not None and await self.consumer.position(tp) >= end for tp, end in ends.items()])
        except (IllegalStateError, AssertionError):  # the partition was revoked just now
            return False
