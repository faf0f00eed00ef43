"""One target's way through the alerts topic: read, let the courier deliver, commit what is settled. Edge: aiokafka.

Rule 1: delivery begins when all that the topic holds has been read, since only then it is known what is superseded.
Rule 2: an offset is committed when everything before it is settled, and never after its partition was taken away.
Rule 3: reading goes on while a target is down: a retry tells the newest, and the group keeps its member.
Rule 4: one relay reads all partitions, however many there are, since one alone may write the target's desk.
        Without a partition nothing is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import CommitFailedError, IllegalStateError

from driftline.stream.relay.dispatcher import Dispatcher
from driftline.stream.relay.http import patiently

log = logging.getLogger(__name__)

# s that a look for new records takes while there are none: how late a stop is noticed.
_LOOK = 0.5


class Health(Protocol):
    """Whether every target takes alerts."""

    well: bool


class _StoppedError(Exception):
    """The relay was asked to stop while it waited for a pager."""


class OneReader(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """Gives all partitions to one member of the group; the others stand by."""

    name = "one-reader"

    @classmethod
    def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, ConsumerProtocolMemberAssignment]:
        """What each member reads."""
        reader = min(members)
        nothing = ConsumerProtocolMemberAssignment(cls.version, [], b"")
        given: dict[str, ConsumerProtocolMemberAssignment] = super().assign(cluster, {reader: members[reader]})
        return dict.fromkeys(members, nothing) | given


class AlertConsumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """One target's way through the topic: reads, lets the courier deliver, commits what is settled."""

    def __init__(self, consumer: AIOKafkaConsumer, courier: Dispatcher, health: Health, longest: float) -> None:
        self.consumer, self.courier, self._health, self._longest = consumer, courier, health, longest
        self._read: dict[TopicPartition, int] = {}
        self._stopping = self._owns = False
        self._telling = asyncio.Lock()

    async def start(self, topic: str) -> None:
        """Connect. Started before it subscribes, a consumer does not wait here for its turn in the group."""
        await self.consumer.start()
        self.consumer.subscribe([topic], listener=self)

    async def run(self) -> None:
        """Work until `stop` is called."""
        try:
            while not self._stopping:
                await self._look(_LOOK)
                if await self._caught_up():
                    await self._settle()
        except _StoppedError:
            log.info("%s: stops with undelivered alerts; they come again", self.courier.name)

    def stop(self) -> None:
        """End soon; a request on its way is waited for."""
        self._stopping = True

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002 # aiokafka's
        """What is not committed comes again, here or elsewhere. It must not be committed after this."""
        self._owns = False
        async with self._telling:  # what is on its way must not overtake what the next relay tells
            self._read.clear()
            self.courier.forget()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Nothing to prepare: a new owner goes on at what is committed."""
        self._owns = bool(assigned)
        log.info("%s: reads %d partitions of the alerts topic", self.courier.name, len(assigned))

    async def _settle(self) -> None:
        while self._owns and not self._stopping:
            await patiently(self._longest, self._look_for)(self._step)  # time alone may make something due
            if self.courier.idle:
                break
            await self._look(0)  # a slow target must not look dead to the group, and shall be told the newest
        read = dict(self._read)
        if not read or self._stopping:
            return
        self._read.clear()
        try:
            await self.consumer.commit(read)
        except (CommitFailedError, IllegalStateError):
            log.info("%s: the group has moved on; some alerts come again, and are known", self.courier.name)

    async def _step(self) -> None:
        async with self._telling:
            if self._owns:
                await self.courier.step()

    async def _look_for(self, seconds: float) -> None:
        """Read on for so long, at least once: the next try shall tell the newest."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while True:
            await self._look(min(max(end - clock(), 0.0), _LOOK))
            if self._stopping:
                raise _StoppedError
            if clock() >= end:
                return

    async def _look(self, seconds: float) -> None:
        """Read what there is, or comes within so long; tell again what lasts."""
        for tp, records in (await self.consumer.getmany(timeout_ms=int(seconds * 1000))).items():
            for record in records:
                self.courier.take(record)
            self._read[tp] = records[-1].offset + 1
        if self.consumer.assignment():
            await self.courier.refresh(self._health.well)

    async def _caught_up(self) -> bool:
        """Whether all that the topic holds has been read: only then is it known what is superseded."""
        try:
            ends = {tp: self.consumer.highwater(tp) for tp in self.consumer.assignment()}
            return all([end is not None and await self.consumer.position(tp) >= end for tp, end in ends.items()])
        except (IllegalStateError, AssertionError):  # the partition was taken away just now
            return False
