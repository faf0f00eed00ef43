"""The site of a chaos run: servers behind proxies, a fleet of workers, traffic, and the watch.

                 ┌─ proxy ─ Redis          producer, watch and verdict reach the servers
workers, 2 to 5 ─┤                         without the proxies
                 └─ proxy ─ Kafka
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import redis as sync_redis

from driftline.stream.demo.servers import Server, free_port
from load_tests.chaos.schedule import Fault, Fsync, Kind
from load_tests.chaos.traffic import PARTITIONS, Sent, write_baselines
from load_tests.chaos.workers import Fleet, Watch
from load_tests.harness.append_only_file import AppendOnlyFile
from load_tests.harness.deployment import AnyProducer, Broker, Deployment, deploy
from load_tests.harness.servers import apache_kafka, real_redis
from load_tests.harness.tcp_proxy import TcpProxy

# Workers at the start, at least, and at most.
WORKERS, _FEWEST, _MOST = 3, 2, 5
# Seconds after which a dead worker's partitions move: the least that brokers accept.
SESSION = 6
# Seconds to wait for the worst moment for a fault. Workers fall behind right after a burst, or not at all. The idle
# timeout ends runs a second after a burst; but workers that recover from the fault before may need most of a minute.
_UNTIL_BEHIND, _UNTIL_IDLE_RUN_ENDED = 5.0, 60.0


@dataclass
class Producer(threading.Thread):
    """Appends the traffic in bursts: during one, workers are busy; after it, partitions are idle.

    appended: by partition, the end of what Kafka has acknowledged.
    """

    kafka: str
    topic: str
    traffic: Iterator[Sent]
    burst: int
    appended: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    error: Exception | None = None
    _bursts: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _hurry: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(name="producer", daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def release_burst(self) -> None:
        """Release one more burst."""
        self._bursts.release()

    def release_rest(self) -> None:
        """Release the rest."""
        self._hurry.set()
        self._bursts.release()

    def run(self) -> None:
        """Append everything, whatever happens to Kafka meanwhile; an error is kept in `error`."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 # the main thread raises it
            self.error = error

    def _run(self) -> None:
        producer = AnyProducer(
            bootstrap_servers=self.kafka,
            acks="all",
            enable_idempotence=True,
            linger_ms=20,
            batch_size=1 << 17,
            delivery_timeout_ms=300_000,
            max_block_ms=300_000,
        )
        while burst := list(islice(self.traffic, self.burst)):
            if not self._hurry.is_set():
                self._bursts.acquire()
            for message in burst:
                sent = producer.append(self.topic, message.partition, message.value)
                sent.add_callback(self._acknowledged)
            producer.flush()
        producer.close()

    def _acknowledged(self, where: Any) -> None:
        self.appended[where.partition] = max(self.appended[where.partition], where.offset + 1)


@dataclass
class Site:
    """Everything that runs. cut_bytes: bytes that each power cut removed."""

    deployment: Deployment
    kafka: Server
    redis: Server
    kafka_proxy: TcpProxy
    redis_proxy: TcpProxy
    fleet: Fleet
    watch: Watch
    file: AppendOnlyFile
    cut_bytes: list[int] = field(default_factory=list)

    def apply(self, fault: Fault, producer: Producer) -> None:
        """Cause a fault. Returns when a server that was stopped runs again."""
        self.watch.begin_fault(fault.alone)
        match fault.kind:
            case Kind.REDIS_KILL:
                _restart(self.redis, self.redis.kill, fault.seconds)
            case Kind.REDIS_POWER_CUT:
                self._power_cut(fault, producer)
            case Kind.KAFKA_KILL:
                _restart(self.kafka, self.kafka.kill, fault.seconds)
            case Kind.KAFKA_TERM:
                _restart(self.kafka, self.kafka.stop, fault.seconds)
            case Kind.REDIS_CUT | Kind.REDIS_SLOW:
                self._disturb(self.redis_proxy, fault)
            case Kind.KAFKA_CUT | Kind.KAFKA_SLOW:
                self._disturb(self.kafka_proxy, fault)
            case _:
                self._apply_to_worker(fault, producer)

    def _apply_to_worker(self, fault: Fault, producer: Producer) -> None:
        workers = len(self.fleet.slots)
        match fault.kind:
            case Kind.KILL:
                self.fleet.send(fault.victim, signal.SIGKILL)
            case Kind.TERM:
                self.fleet.send(fault.victim, signal.SIGTERM, signal.SIGCONT)
            case Kind.FREEZE:
                # While it is behind; otherwise it would have nothing to write when it wakes.
                behind = producer.burst / 2
                self._wait_for(lambda: sum(producer.appended) - sum(self.watch.now.sealed) > behind, _UNTIL_BEHIND)
                frozen = self.fleet.send(fault.victim, signal.SIGSTOP)
                self.watch.schedule(fault.seconds, partial(frozen.process.send_signal, signal.SIGCONT))
            case _:
                grows = workers <= _FEWEST or (fault.kind is Kind.ADD and workers < _MOST)
                self.fleet.add() if grows else self.fleet.remove(fault.victim)

    def _disturb(self, proxy: TcpProxy, fault: Fault) -> None:
        """Cut connections or delay bytes, for a while."""
        if fault.kind in (Kind.REDIS_CUT, Kind.KAFKA_CUT):
            proxy.close()
            self.watch.schedule(fault.seconds, proxy.open)
        else:
            proxy.delay = fault.delay
            self.watch.schedule(fault.seconds, partial(setattr, proxy, "delay", 0.0))

    def _power_cut(self, fault: Fault, producer: Producer) -> None:
        """Cut the power at the worst moment: the idle timeout has just ended a run."""
        before = self.watch.now.sealed
        producer.release_burst()
        self._wait_for(lambda: self._idle_run_ended(before, producer), _UNTIL_IDLE_RUN_ENDED)
        _restart(self.redis, lambda: self.cut_bytes.append(self.file.cut(fault.delay)), fault.seconds)

    def _idle_run_ended(self, before: Sequence[int], producer: Producer) -> bool:
        ends = zip(before, self.watch.now.sealed, producer.appended, strict=True)
        return any(old < end == appended for old, end, appended in ends)

    def _wait_for(self, moment: Callable[[], bool], seconds: float) -> None:
        """Wait for a moment, at most for `seconds`."""
        deadline = time.monotonic() + seconds
        while not moment() and time.monotonic() < deadline:
            time.sleep(0.01)
            with suppress(sync_redis.RedisError):
                self.watch.read_progress()


def _restart(server: Server, end: Any, seconds: float) -> None:
    end()
    time.sleep(seconds)
    server.start()


@contextmanager
def open_site(directory: Path, fsync: Fsync) -> Iterator[Site]:
    """Start servers and proxies and make a deployment; no worker has started yet."""
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
        watch, file = Watch(fleet, redis.address), AppendOnlyFile(redis)
        for proxy in (kafka_proxy, redis_proxy):
            proxy.open()
        yield Site(deployment, kafka, redis, kafka_proxy, redis_proxy, fleet, watch, file)


def _sections(directory: Path, kafka_proxy: TcpProxy) -> dict[str, dict[str, Any]]:
    return {
        "kafka": {"bootstrap": kafka_proxy.address},
        "topics": {"partitions": PARTITIONS},
        "panes": {"events": 250, "seconds": 1.0},
        "defaults": {"learn_events": 500, "incidents": {"recovery": "0s", "cooldown": "0s"}},
        "models": write_baselines(directory),
        "worker": {"session_seconds": SESSION, "watchdog_seconds": 30},
    }


def count_bursts(schedule: Sequence[Fault]) -> int:
    """How many bursts a schedule releases: two for each fault, and one more for each power cut."""
    return 2 * len(schedule) + sum(each.kind is Kind.REDIS_POWER_CUT for each in schedule)


def count_kinds(schedule: Sequence[Fault]) -> dict[str, int]:
    """The number of faults of each kind."""
    return dict(sorted(Counter(str(each.kind) for each in schedule).items()))
