"""The site of a chaos run: servers behind proxies, a fleet of workers, traffic, and the watch.

                 ┌─ proxy ─ each node of Redis     traffic and verdict reach Kafka without the proxies,
workers, 2 to 5 ─┤                                 the watch also a Redis with a single node
relay ───────────┴─ proxy ─ each node of Kafka
  └─ pager
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driftline.stream.baselines.baseline import Baseline
from load_tests.chaos.labels import LateLabels
from load_tests.chaos.outcome import Era, Log, Record
from load_tests.chaos.pager import Pager
from load_tests.chaos.producers import LabelTopic, Traffic
from load_tests.chaos.relay import SETTINGS, Relay
from load_tests.chaos.schedule import Fault, Fsync, Kind, Subject, Topology
from load_tests.chaos.shapes import write_schemas
from load_tests.chaos.traffic import PARTITIONS, EventTime, Sent, write_baselines
from load_tests.chaos.workers import Fleet, Watch
from load_tests.harness.append_only_file import AppendOnlyFile
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.kafka_topologies import Brokers, kafka_brokers
from load_tests.harness.redis_topologies import (
    REDIS_ERRORS,
    RedisServers,
    one_redis,
    redis_cluster,
    redis_with_sentinels,
)
from load_tests.harness.tcp_proxy import TcpProxy

#: Makes the messages of a run, of events whose time that says.
Messages = Callable[[EventTime], Iterator[Sent]]
# Workers at the start.
WORKERS = 3
# Seconds after which a dead worker's partitions move: the least that brokers accept.
SESSION = 6
# Seconds after the end of a fault within which another Redis may still be promoted, which lacks the last writes.
_FAILOVER = 15.0


@dataclass
class _Active:
    """A fault that has begun. due: when it ends, by the monotonic clock."""

    fault: Fault
    due: float
    cause: AbstractContextManager[None]
    measured: bool


@dataclass
class Site:
    """Everything that runs.

    file: of a Redis with a single node. cut_bytes: what each power cut removed. mismatches: what a fault has found
    wrong, in sentences. eras: that have ended. exchanged: baselines that the configuration gave before others.
    stragglers: see `load_tests.chaos.outcome.Labels`.
    """

    deployment: Deployment
    kafka: Brokers
    redis: RedisServers
    fleet: Fleet
    producer: Traffic
    watch: Watch
    file: AppendOnlyFile
    relay: Relay
    cut_bytes: list[int] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)
    eras: list[Era] = field(default_factory=list)
    exchanged: list[Baseline] = field(default_factory=list)
    stragglers: dict[str, dict[int, range]] = field(default_factory=dict)
    _active: list[_Active] = field(default_factory=list)

    def begin(self, fault: Fault) -> None:
        """Begin a fault. Recovery counts from here if it hits a worker, as others take over, otherwise from its end."""
        measured = fault.alone and self.is_quiet()
        if fault.kind.subject == "worker":
            self.watch.begin_recovery(fault, measured)
        if fault.kind.subject == "redis" and self.redis.replicas:
            self.relay.interrupt(fault.seconds + _FAILOVER)
        cause = fault.kind.cause(self, fault)
        cause.__enter__()
        self._active.append(_Active(fault, time.monotonic() + fault.seconds, cause, measured))

    def end_due(self) -> None:
        """End the faults that have lasted long enough. Returns when a server that was stopped runs again."""
        for each in [each for each in self._active if each.due <= time.monotonic()]:
            self._active.remove(each)
            each.cause.__exit__(None, None, None)
            if each.fault.kind.subject != "worker":
                self.watch.begin_recovery(each.fault, each.measured)

    def is_free(self, kind: Kind) -> bool:
        """Whether what this kind of fault hits is whole again. A worker always is: there are several."""
        if kind.subject == "worker":
            return True
        if any(each.fault.kind.subject == kind.subject for each in self._active):
            return False
        return kind.subject != "redis" or self.redis.is_whole()

    def proxies(self, server: Subject) -> Sequence[TcpProxy]:
        """The proxies between workers and Kafka or Redis."""
        return (self.kafka if server == "kafka" else self.redis).proxies

    def is_quiet(self) -> bool:
        """Whether no fault lasts."""
        return not self._active

    @property
    def pager(self) -> Pager:
        return self.relay.pager

    def era(self, predictions: Mapping[int, Log], **more: Any) -> Era:
        """The era that ends now, with what is on the topics and was not there when the last one ended."""
        topics, old = self.deployment.config.topics, self.eras

        def new(topic: str, known: Iterable[Record]) -> list[Record]:
            places = {(each.partition, each.offset) for each in known}
            found = records(self.deployment, topic)
            return [each for each in found if (each.partition, each.offset) not in places]

        panes = new(topics.panes, (record for era in old for record in era.panes))
        dead_letters = new(f"{topics.predictions}.dlq", (record for era in old for record in era.dead_letters))
        return Era(predictions, panes, dead_letters, **more)

    def behind(self) -> int:
        """How many messages are appended and not sketched."""
        return sum(self.producer.appended) - sum(self.watch.now.sealed)

    def wait_for(self, moment: Callable[[], bool], seconds: float) -> bool:
        """Wait for a moment, at most for `seconds`; whether it came.

        Other faults end meanwhile: the moment may not come before.
        """
        deadline = time.monotonic() + seconds
        while not (came := moment()) and time.monotonic() < deadline:
            time.sleep(0.01)
            self.end_due()
            with suppress(*REDIS_ERRORS):
                self.watch.read_progress()
        return came


def records(deployment: Deployment, topic: str) -> list[Record]:
    """All records of an output topic."""
    return [
        Record(each.value, each.timestamp, dict(each.headers), each.partition, each.offset)
        for each in deployment.read(topic)
    ]


@contextmanager
def open_site(
    directory: Path,
    topology: Topology,
    fsync: Fsync,
    messages: Messages,
    burst: int,
    pager: Pager,
    labels: LateLabels | None = None,
) -> Iterator[Site]:
    """Start servers and proxies and make a deployment; no worker has started yet.

    burst: messages in one. labels: those that come by themselves, None if events hold all.
    """
    with ExitStack() as stack:
        kafka = stack.enter_context(kafka_brokers(directory / "kafka", _BROKERS.get(topology, 1)))
        redis = stack.enter_context(_REDIS.get(topology, one_redis)(directory / "redis", fsync))
        deployment = deploy(directory, kafka.broker, "", _sections(directory, kafka, redis, labels is not None))
        fleet, relay = Fleet(deployment), Relay(deployment, pager)
        for each in (fleet.kill, relay.kill, pager.close):
            stack.callback(each)
        pager.open()
        kafka_at, topic, time = kafka.broker.kafka.bootstrap, deployment.config.topics.predictions, EventTime()
        apart = LabelTopic(kafka_at, deployment.config.topics.labels, labels) if labels else None
        producer = Traffic(kafka_at, topic, messages(time), burst, time, apart)
        watch, file = Watch(fleet, relay, redis.direct), AppendOnlyFile(redis.nodes[0])
        yield Site(deployment, kafka, redis, fleet, producer, watch, file, relay)


_BROKERS: Mapping[Topology, int] = {"brokers": 3}
_REDIS = {"sentinel": redis_with_sentinels, "cluster": redis_cluster}


def _sections(directory: Path, kafka: Brokers, redis: RedisServers, labels: bool) -> dict[str, dict[str, Any]]:
    return {
        "kafka": {"bootstrap": kafka.bootstrap},
        "redis": {"url": redis.url, "replicas": redis.replicas},
        "topics": {"partitions": PARTITIONS, "replication": len(kafka.nodes)},
        "panes": {"events": 250, "seconds": 1.0},
        "defaults": {
            "learn_events": 500,
            "incidents": {"recovery": "0s", "cooldown": "0s"},
            "outcomes": {"labels": "event", "learn": 500, "floors": {"recall": 0.6}},
        },
        "models": write_baselines(directory, labels),
        "schemas": write_schemas(directory),
        "worker": {"session_seconds": SESSION, "watchdog_seconds": 30},
        # So few that guests crowd each other out: one partition of the panes topic sees a guest every 4000 messages.
        "limits": {"newcomers": 5},
        "relay": SETTINGS,
    }
