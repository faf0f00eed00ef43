"""Keeps a worker on the logs that its group's state was made of, and partitions panes as the group began.

    takeover ──► bind: cluster, topics ──► positions against begins and ends ──► records
    each fetch: its end, and whether what it left out was removed        each 2 s: ids and ends of all topics

The rules are in `stream.worker.continuity`; this asks Kafka and Redis what they need.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from faust.types import TP

from driftline.stream.config.sections import Config
from driftline.stream.kafka.client import KafkaUnreachableError, call_kafka
from driftline.stream.kafka.logs import ClusterClient, ClusterFacts, Log, read_logs
from driftline.stream.kafka.record import OutgoingRecord, partition_of
from driftline.stream.state.store import Store
from driftline.stream.state.values import ResumePosition
from driftline.stream.worker import continuity
from driftline.stream.worker.continuity import LogChangedError
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.metrics import Metrics
from driftline.stream.worker.ticks import TickFacts

log = logging.getLogger(__name__)

# s for which a topic may be missing. A Kafka that has just come back leaves topics out for a moment.
_MISSING_FOR = 10.0


class LogGuard:
    """Checks what a worker reads; all checks raise LogChangedError."""

    def __init__(self, config: Config, store: Store, metrics: Metrics) -> None:
        self._kafka, self._topics, self._store, self._metrics = config.kafka, config.topics, store, metrics
        labels = {config.topics.labels} if config.labelled_by("topic") else set[str]()
        self._read = {config.topics.predictions, config.topics.panes, *labels}
        self._cluster = ClusterClient(config.kafka, self._read)
        self._bound: Mapping[str, str] = {}
        self._read_to: dict[TP, int] = {}
        self._all_seen = time.monotonic()
        self._idle_partitions = 0
        self._partitions = dict[str, int]()

    def facts_of(self, topic: str) -> TickFacts | None:
        """What ticks of a topic need to know; None until the group is bound, and Kafka has had the topic."""
        partitions = self._partitions.get(topic, 0) if self._bound else 0
        return TickFacts(partitions, continuity.panes_partitions(self._bound)) if partitions else None

    async def bind(self) -> None:
        """Bind the group to what Kafka has, or check that it is bound to that."""
        cluster = await call_kafka(self._facts)
        self._note_partitions(cluster)
        present = continuity.group_facts(self._topics, cluster)
        continuity.check_group(self._store.namespace, await self._store.bound(), present)
        self._bound = await self._store.bind(present)
        # Another worker, on another cluster, may have been faster.
        continuity.check_group(self._store.namespace, self._bound, present)
        self._note_added(continuity.panes_partitions(present) - continuity.panes_partitions(self._bound))

    def _note_partitions(self, facts: ClusterFacts) -> None:
        # Without one of them, `check_topics` ends the worker.
        self._partitions |= {name: topic.partitions for name, topic in facts.topics.items()}

    def _note_added(self, idle: int) -> None:
        if idle > self._idle_partitions:
            log.warning(
                "topic %s has %d partitions more than when this group began: they stay idle, so that no model moves",
                self._topics.panes,
                idle,
            )
        self._idle_partitions = idle

    async def _facts(self) -> ClusterFacts:
        facts = await asyncio.to_thread(self._cluster.facts)
        if self._topics.panes not in facts.topics:  # for a moment after Kafka has come back
            raise KafkaUnreachableError(f"Kafka has no topic {self._topics.panes}")
        return facts

    async def take_over(self, positions: Mapping[TP, ResumePosition]) -> dict[TP, int]:
        """Check positions against the logs before anything is read, and count what was removed unread.

        Returns where the logs begin.
        """
        self._read_to = {tp: at.read_to for tp, at in positions.items()}
        logs = await call_kafka(asyncio.to_thread, read_logs, self._kafka, list(positions))
        for (topic, partition), each in logs.items():
            tp = TP(topic, partition)
            continuity.check_log(topic, partition, self._read_to[tp], each)
            self._count_removed(tp, self._read_to[tp], each)
        return {TP(*place): each.begin for place, each in logs.items()}

    def release(self) -> None:
        """Forget the positions of partitions that are given up."""
        self._read_to = {}

    async def check_fetch(self, fetch: Fetch, begins: Callable[[TP], Awaitable[Mapping[TP, int]]]) -> None:
        """Check that fetched records belong to the log that was read. begins: asks Kafka where partitions begin."""
        tp, read_to = fetch.tp, self._read_to.get(fetch.tp, 0)
        if not fetch.records:
            return
        if fetch.highwater is not None:
            continuity.check_log(tp.topic, tp.partition, read_to, Log(0, fetch.highwater))
        if fetch.first_offset > read_to > 0:  # or markers of transactions, or what compaction has removed
            begin = (await begins(tp))[tp]
            self._count_removed(tp, read_to, Log(min(begin, fetch.first_offset), fetch.first_offset))
        self._read_to[tp] = max(read_to, fetch.next_offset)

    def _count_removed(self, tp: TP, read_to: int, log_now: Log) -> None:
        if count := continuity.removed_unread(read_to, log_now):
            log.warning(
                "topic %s, partition %d: the records from offset %d to %d were removed before they were read",
                *tp,
                read_to,
                log_now.begin,
            )
            self._metrics.removed(tp, count)
            self._read_to[tp] = log_now.begin

    def read_to(self) -> Mapping[TP, int]:
        """Up to which offset each partition has been read, for `check_ends`."""
        return dict(self._read_to)

    def check_ends(self, read_to: Mapping[TP, int], ends: Mapping[TP, int]) -> None:
        """Check that no log is shorter than it was. read_to: from before `ends` were asked for."""
        for tp, end in ends.items():
            continuity.check_log(tp.topic, tp.partition, read_to.get(tp, 0), Log(0, end))

    async def check_topics(self) -> None:
        """Check that the topics are still the same ones. Raises KafkaUnreachableError if Kafka does not say."""
        facts = await asyncio.to_thread(self._cluster.facts)
        missing = self._read - facts.topics.keys()
        if not missing:
            self._all_seen = time.monotonic()
            self._note_partitions(facts)
            present = continuity.group_facts(self._topics, facts)
            continuity.check_group(self._store.namespace, self._bound or present, present)
        elif time.monotonic() - self._all_seen > _MISSING_FOR:
            raise LogChangedError(f"topic {' and '.join(sorted(missing))} was deleted under this worker")

    async def close(self) -> None:
        """Disconnect from Kafka, once it has answered what it is being asked."""
        await asyncio.to_thread(self._cluster.close)

    @property
    def logs(self) -> dict[str, str]:
        """By topic of events or labels, a name of the log that the group is bound to, see `continuity.log_of`."""
        named = {self._topics.predictions: "predictions", self._topics.labels: "labels"}
        return {topic: continuity.log_of(self._bound, name) for topic, name in named.items()}

    def place(self, record: OutgoingRecord) -> OutgoingRecord:
        """A record with its partition, if it is a pane: that of its model since the group began."""
        if record.topic != self._topics.panes or record.key is None:
            return record
        return record._replace(partition=partition_of(record.key, continuity.panes_partitions(self._bound)))
