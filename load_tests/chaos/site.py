"""The site of a chaos run: servers behind proxies, a fleet of workers, traffic, and the watch.

                 ┌─ proxy ─ Redis          producer, watch and verdict reach the servers
workers, 2 to 5 ─┤                         without the proxies
                 └─ proxy ─ Kafka
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis as sync_redis

from driftline.stream.demo.servers import Server, free_port
from load_tests.chaos.producers import Traffic
from load_tests.chaos.schedule import Fault, Fsync, Kind, Subject
from load_tests.chaos.shapes import write_schemas
from load_tests.chaos.traffic import PARTITIONS, Sent, write_baselines
from load_tests.chaos.workers import Fleet, Watch
from load_tests.harness.append_only_file import AppendOnlyFile
from load_tests.harness.deployment import Broker, Deployment, deploy
from load_tests.harness.servers import apache_kafka, real_redis
from load_tests.harness.tcp_proxy import TcpProxy

# Workers at the start.
WORKERS = 3
# Seconds after which a dead worker's partitions move: the least that brokers accept.
SESSION = 6


@dataclass
class _Active:
    """A fault that has begun. due: when it ends, by the monotonic clock."""

    fault: Fault
    due: float
    cause: AbstractContextManager[None]


@dataclass
class Site:
    """Everything that runs. proxies: between workers and servers, by server. cut_bytes: what each power cut removed."""

    deployment: Deployment
    kafka: Server
    redis: Server
    proxies: Mapping[Subject, TcpProxy]
    fleet: Fleet
    producer: Traffic
    watch: Watch
    file: AppendOnlyFile
    cut_bytes: list[int] = field(default_factory=list)
    _active: list[_Active] = field(default_factory=list)

    def begin(self, fault: Fault) -> None:
        """Begin a fault. Recovery counts from here if it hits a worker, as others take over, otherwise from its end."""
        if fault.kind.subject == "worker":
            self.watch.begin_recovery(fault)
        cause = fault.kind.cause(self, fault)
        cause.__enter__()
        self._active.append(_Active(fault, time.monotonic() + fault.seconds, cause))

    def end_due(self) -> None:
        """End the faults that have lasted long enough. Returns when a server that was stopped runs again."""
        for each in [each for each in self._active if each.due <= time.monotonic()]:
            self._active.remove(each)
            each.cause.__exit__(None, None, None)
            if each.fault.kind.subject != "worker":
                self.watch.begin_recovery(each.fault)

    def is_free(self, kind: Kind) -> bool:
        """Whether what this kind of fault hits is not hit by another one. A worker always is: there are several."""
        return kind.subject == "worker" or all(each.fault.kind.subject != kind.subject for each in self._active)

    def is_quiet(self) -> bool:
        """Whether no fault lasts."""
        return not self._active

    def behind(self) -> int:
        """How many messages are appended and not sketched."""
        return sum(self.producer.appended) - sum(self.watch.now.sealed)

    def wait_for(self, moment: Callable[[], bool], seconds: float) -> None:
        """Wait for a moment, at most for `seconds`."""
        deadline = time.monotonic() + seconds
        while not moment() and time.monotonic() < deadline:
            time.sleep(0.01)
            with suppress(sync_redis.RedisError):
                self.watch.read_progress()


@contextmanager
def open_site(directory: Path, fsync: Fsync, traffic: Iterator[Sent], burst: int) -> Iterator[Site]:
    """Start servers and proxies and make a deployment; no worker has started yet. burst: messages in one."""
    with ExitStack() as stack:
        port = free_port()
        kafka_proxy = stack.enter_context(TcpProxy(port))
        kafka = stack.enter_context(apache_kafka(directory / "kafka", proxied=(port, kafka_proxy.port)))
        redis = real_redis(directory / "redis", fsync=fsync)
        # One file, which the power cut shortens.
        redis = stack.enter_context(replace(redis, command=[*redis.command, "--auto-aof-rewrite-percentage", "0"]))
        redis_proxy = stack.enter_context(TcpProxy(redis.port))
        deployment = deploy(
            directory, Broker(kafka, idempotent=True), redis_proxy.address, _sections(directory, kafka_proxy)
        )
        fleet = Fleet(deployment)
        stack.callback(fleet.kill)
        producer = Traffic(kafka.address, deployment.config.topics.predictions, traffic, burst)
        proxies: dict[Subject, TcpProxy] = {"kafka": kafka_proxy, "redis": redis_proxy}
        for proxy in proxies.values():
            proxy.open()
        watch, file = Watch(fleet, redis.address), AppendOnlyFile(redis)
        yield Site(deployment, kafka, redis, proxies, fleet, producer, watch, file)


def _sections(directory: Path, kafka_proxy: TcpProxy) -> dict[str, dict[str, Any]]:
    return {
        "kafka": {"bootstrap": kafka_proxy.address},
        "topics": {"partitions": PARTITIONS},
        "panes": {"events": 250, "seconds": 1.0},
        "defaults": {"learn_events": 500, "incidents": {"recovery": "0s", "cooldown": "0s"}},
        "models": write_baselines(directory),
        "schemas": write_schemas(directory),
        "worker": {"session_seconds": SESSION, "watchdog_seconds": 30},
    }
