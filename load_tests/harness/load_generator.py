"""Fills a topic at a steady rate, with drifts at known places: an event's number decides whether it drifts.

Events are sent in rounds with one event of each model; round n goes to partition n modulo the number of partitions.
So a model's pane fills in `pane · models · partitions / rate` seconds, in all partitions at about the same time, and
the offset of every event is known before it is sent.

    model 0   ......####........####......        #: one feature lies 8 sigma higher
    model 1   ..........####........####..        a drift begins at any place of a pane: the gaps are random, seeded
"""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from aiokafka import AIOKafkaProducer

from driftline.stream.config.sections import Kafka
from load_tests.harness.oracle import EPOCH

#: The feature that drifts, and by how many sigma: one pane decides, wherever in it the drift begins.
DRIFTING, SHIFT = "feature_0", 8.0
# Distinct events, which are repeated. The baseline is built from the same ones: others would differ from it by chance,
# repetitions would make that difference significant, and signals without a drift would rightly alarm.
_POOL = 5_000
# Seconds between two batches of a partition, as short as a producer's linger, and bytes of a batch.
_TICK, _BATCH = 0.01, 900_000
# Lengths in panes: of a drift, so that one to two panes of every partition hold it, and of the calm after it, so that a
# window of twice the alarm's events without a drifted one closes the incident.
_DRIFT, _CALM = 1.5, 3.0
#: Mean panes from one drift of a model to its next: each begins at a random place of a pane.
CYCLE = _DRIFT + _CALM + 0.5


class Plant(NamedTuple):
    """A planted drift of a model: the first drifted round, and the first calm round after it."""

    model: int
    first: int
    end: int


@dataclass(frozen=True)
class Traffic:
    """rate: events/s of all models together. pane: events of a model after which its pane ends."""

    rate: float
    models: int = 5
    partitions: int = 4
    features: int = 20
    pane: int = 1000

    @property
    def pane_seconds(self) -> float:
        """Seconds that a pane takes to fill."""
        return self.pane * self.models * self.partitions / self.rate

    @property
    def pane_rounds(self) -> int:
        """Rounds in which every partition fills one pane."""
        return self.pane * self.partitions

    def rounds(self, seconds: float) -> int:
        """The number of rounds that are due after `seconds`."""
        return int(seconds * self.rate / self.models)

    def place(self, model: int, round_: int) -> tuple[int, int]:
        """Partition and offset of a model's event of a round."""
        return round_ % self.partitions, round_ // self.partitions * self.models + model

    def round(self, partition: int, offset: int) -> int:
        """The round of the event at an offset."""
        return offset // self.models * self.partitions + partition


@dataclass
class Appended:
    """When a partition's records were appended: ascending offsets of the first records of batches, and epoch ms."""

    first: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)

    def add(self, first: int, at: int) -> None:
        """Record a batch. first: offset of its first record; at: epoch ms."""
        self.first.append(first)
        self.at.append(at)

    def when(self, offset: int) -> int:
        """When the record at this offset was appended, in epoch ms."""
        return self.at[bisect_right(self.first, offset) - 1]


@dataclass(frozen=True)
class SentTraffic:
    """What was sent, in how many seconds. late: the largest delay of a record in seconds after it was due."""

    events: int
    seconds: float
    late: float
    appended: Sequence[Appended]


def plants(traffic: Traffic, warm: int, count: int, seed: int = 1) -> list[Plant]:
    """`count` drifts of each model, the first after `warm` rounds, models in turn. Sorted by their first round."""
    rng, length = np.random.default_rng(seed), traffic.pane_rounds
    drift, found = round(_DRIFT * length), []
    for model in range(traffic.models):
        at = warm + round(model * CYCLE * length / traffic.models)
        for _ in range(count):
            at += int(rng.integers(length))
            found.append(Plant(model, at, at + drift))
            at += drift + round(_CALM * length)
    return sorted(found, key=lambda plant: plant.first)


def rounds_for(traffic: Traffic, planted: Sequence[Plant]) -> int:
    """The number of rounds to send, so that the recovery from the last drift is noticed."""
    return max((plant.end for plant in planted), default=0) + round(_CALM * traffic.pane_rounds)


async def fill(
    traffic: Traffic,
    planted: Sequence[Plant],
    rounds: int,
    kafka: Kafka,
    topic: str,
    on_progress: Callable[[float], None] = lambda _: None,
) -> SentTraffic:
    """Send `rounds` rounds, each when it is due, in batches per partition. on_progress: gets the events sent so far."""
    pool = _Pool(traffic, planted)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        acks="all",
        max_batch_size=1 << 20,
        max_request_size=4 << 20,
        enable_idempotence=kafka.idempotent,
    )
    async with producer:
        began = time.monotonic()
        senders = [_Sender(traffic, pool, producer, topic, each, began) for each in range(traffic.partitions)]
        reporting = asyncio.ensure_future(_report(senders, traffic.models, on_progress))
        await asyncio.gather(*(each.send(rounds) for each in senders))
        reporting.cancel()
    late = max(each.late for each in senders)
    return SentTraffic(rounds * traffic.models, time.monotonic() - began, late, [each.appended for each in senders])


def numeric_events(features: int, models: int, count: int) -> Iterator[bytes]:
    """`count` events of models in turn, one a millisecond of event time, four decimals a feature."""
    rng = np.random.default_rng(1)
    for first in range(0, count, 10_000):
        rows = np.round(rng.normal(size=(min(10_000, count - first), features)), 4).tolist()
        for i, row in enumerate(rows, first):
            values = {f"feature_{j}": value for j, value in enumerate(row)}
            model = f"model-{i % models}"
            event = {"id": f"event-{i}", "ts": EPOCH + i, "model": model, "features": values, "score": row[0]}
            yield json.dumps(event, separators=(",", ":")).encode()


def sample(features: int) -> list[bytes]:
    """The calm events of model-0."""
    return list(numeric_events(features, 1, _POOL))


class _Pool:
    """The events that are sent, by row and model, calm and drifted."""

    def __init__(self, traffic: Traffic, planted: Sequence[Plant]) -> None:
        names = [f'"model-{model}"'.encode() for model in range(traffic.models)]
        events = sample(traffic.features)
        self._calm, self._drifted = (
            [[event.replace(b'"model-0"', name) for name in names] for event in rows]
            for rows in (events, map(drifted, events))
        )
        self._partitions = traffic.partitions
        self._edges = [
            [edge for plant in planted if plant.model == model for edge in plant[1:]] for model in range(traffic.models)
        ]

    def round(self, n: int) -> list[bytes]:
        """The events of a round."""
        # Each partition sends all rows, and starts at another one.
        lap, partition = divmod(n, self._partitions)
        row = (lap + partition * _POOL // self._partitions) % _POOL
        calm = self._calm[row]
        drifting = [model for model, edges in enumerate(self._edges) if bisect_right(edges, n) % 2]
        if not drifting:
            return calm
        return [self._drifted[row][model] if model in drifting else value for model, value in enumerate(calm)]


def drifted(message: bytes) -> bytes:
    """The event with its drifting feature shifted."""
    event = json.loads(message)
    event["features"][DRIFTING] += SHIFT
    return json.dumps(event, separators=(",", ":")).encode()


@dataclass
class _Sender:
    """Sends one partition's rounds: partition, partition + partitions, ..."""

    traffic: Traffic
    pool: _Pool
    producer: AIOKafkaProducer
    topic: str
    partition: int
    began: float
    sent: int = 0
    late: float = 0.0
    appended: Appended = field(default_factory=Appended)

    async def send(self, rounds: int) -> None:
        at = self.partition
        while at < rounds:
            elapsed = time.monotonic() - self.began
            due = min(self.traffic.rounds(elapsed), rounds)
            if at < due:
                self.late = max(self.late, elapsed - at * self.traffic.models / self.traffic.rate)
                at = await self._batch(at, due)
            await asyncio.sleep(_TICK)

    async def _batch(self, at: int, due: int) -> int:
        """Send the rounds that are due, up to the size of a batch; the next round to send."""
        batch, now = self.producer.create_batch(), time.time_ns() // 1_000_000
        while at < due and batch.size() < _BATCH:
            for value in self.pool.round(at):
                batch.append(timestamp=now, key=None, value=value)
            self.sent += 1
            at += self.traffic.partitions
        done = await (await self.producer.send_batch(batch, self.topic, partition=self.partition))
        self.appended.add(done.offset, now if done.timestamp_type == 0 else done.timestamp)
        return at


async def _report(senders: Sequence[_Sender], models: int, on_progress: Callable[[float], None]) -> None:
    while True:
        on_progress(sum(each.sent for each in senders) * models)
        await asyncio.sleep(0.5)
