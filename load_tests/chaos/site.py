"""What a chaos run works on: servers behind gates, workers that are started again, traffic, and a look at the progress.

                 ┌─ gate ─ Redis          producer, watch and verdict reach the servers
workers, 1 to 5 ─┤                        without the gates
                 └─ gate ─ Kafka
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

# Workers at first, fewest, and most.
WORKERS, _FEWEST, _MOST = 3, 2, 5
# s. The least that brokers accept: a dead worker's partitions move after so long.
SESSION = 6
# s to wait for the worst moment for a fault. Work in hand comes with a burst, at once or not at all. A second after a
# burst the clock ends runs; but workers that recover from the fault before may need most of a minute to get there.
_IN_WORK, _ENDED_BY_THE_CLOCK = 5.0, 60.0


@dataclass
class Producer(threading.Thread):
    """Appends the traffic in bursts: in one, workers have enough to do to be disturbed; after it, partitions are idle.

    appended: by partition, where what Kafka has acknowledged ends.
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

    def release(self) -> None:
        """Let one more burst go."""
        self._bursts.release()

    def finish(self) -> None:
        """Let the rest go."""
        self._hurry.set()
        self._bursts.release()

    def run(self) -> None:
        """Until all is appended, whatever happens to Kafka meanwhile."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 # told by the main thread
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
    """Everything that runs."""

    deployment: Deployment
    kafka: Server
    redis: Server
    kafka_gate: TcpProxy
    redis_gate: TcpProxy
    fleet: Fleet
    watch: Watch
    file: AppendOnlyFile
    cut_bytes: list[int] = field(default_factory=list)

    def apply(self, fault: Fault, producer: Producer) -> None:
        """Let a fault happen. Returns when a server that was ended is back."""
        self.watch.fault(fault.alone)
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
                self._disturb(self.redis_gate, fault)
            case Kind.KAFKA_CUT | Kind.KAFKA_SLOW:
                self._disturb(self.kafka_gate, fault)
            case _:
                self._to_worker(fault, producer)

    def _to_worker(self, fault: Fault, producer: Producer) -> None:
        workers = len(self.fleet.slots)
        match fault.kind:
            case Kind.KILL:
                self.fleet.send(fault.victim, signal.SIGKILL)
            case Kind.TERM:
                self.fleet.send(fault.victim, signal.SIGTERM, signal.SIGCONT)
            case Kind.FREEZE:
                # With work in hand, or it would have nothing to write when it wakes.
                behind = producer.burst / 2
                self._wait_for(lambda: sum(producer.appended) - sum(self.watch.now.sealed) > behind, _IN_WORK)
                frozen = self.fleet.send(fault.victim, signal.SIGSTOP)
                self.watch.later(fault.seconds, partial(frozen.process.send_signal, signal.SIGCONT))
            case _:
                grows = workers <= _FEWEST or (fault.kind is Kind.ADD and workers < _MOST)
                self.fleet.add() if grows else self.fleet.remove(fault.victim)

    def _disturb(self, gate: TcpProxy, fault: Fault) -> None:
        """Cut connections, or hold back what passes; both end by themselves."""
        if fault.kind in (Kind.REDIS_CUT, Kind.KAFKA_CUT):
            gate.close()
            self.watch.later(fault.seconds, gate.open)
        else:
            gate.delay = fault.delay
            self.watch.later(fault.seconds, partial(setattr, gate, "delay", 0.0))

    def _power_cut(self, fault: Fault, producer: Producer) -> None:
        """At the worst moment: the clock has just ended the run of an idle partition."""
        before = self.watch.now.sealed
        producer.release()
        self._wait_for(lambda: self._idle_run_ended(before, producer), _ENDED_BY_THE_CLOCK)
        _restart(self.redis, lambda: self.cut_bytes.append(self.file.cut(fault.delay)), fault.seconds)

    def _idle_run_ended(self, before: Sequence[int], producer: Producer) -> bool:
        ends = zip(before, self.watch.now.sealed, producer.appended, strict=True)
        return any(old < end == appended for old, end, appended in ends)

    def _wait_for(self, moment: Callable[[], bool], seconds: float) -> None:
        """Wait for the worst moment for a fault; not for longer than so many seconds."""
        deadline = time.monotonic() + seconds
        while not moment() and time.monotonic() < deadline:
            time.sleep(0.01)
            with suppress(sync_redis.RedisError):
                self.watch.look()


def _restart(server: Server, end: Any, seconds: float) -> None:
    end()
    time.sleep(seconds)
    server.start()


@contextmanager
def open_site(directory: Path, fsync: Fsync) -> Iterator[Site]:
    """Servers, gates and a deployment; no worker has started yet."""
    with ExitStack() as stack:
        port = free_port()
        kafka_gate = stack.enter_context(TcpProxy(port))
        kafka = stack.enter_context(apache_kafka(directory / "kafka", proxied=(port, kafka_gate.port)))
        redis = real_redis(directory / "redis", fsync=fsync)
        # One file, for the power cut to shorten.
        redis = stack.enter_context(replace(redis, command=[*redis.command, "--auto-aof-rewrite-percentage", "0"]))
        redis_gate = stack.enter_context(TcpProxy(redis.port))
        deployment = deploy(
            directory, Broker(kafka, idempotent=True), redis_gate.address, _sections(directory, kafka_gate)
        )
        fleet = Fleet(deployment)
        stack.callback(fleet.kill)
        watch, file = Watch(fleet, redis.address), AppendOnlyFile(redis)
        for gate in (kafka_gate, redis_gate):
            gate.open()
        yield Site(deployment, kafka, redis, kafka_gate, redis_gate, fleet, watch, file)


def _sections(directory: Path, kafka_gate: TcpProxy) -> dict[str, dict[str, Any]]:
    return {
        "kafka": {"bootstrap": kafka_gate.address},
        "topics": {"partitions": PARTITIONS},
        "panes": {"events": 250, "seconds": 1.0},
        "defaults": {"learn_events": 500, "incidents": {"recovery": "0s", "cooldown": "0s"}},
        "models": write_baselines(directory),
        "worker": {"session_seconds": SESSION, "watchdog_seconds": 30},
    }


def bursts(schedule: Sequence[Fault]) -> int:
    """How many bursts are released meanwhile: two a fault, and one for an idle run to cut the power at."""
    return 2 * len(schedule) + sum(each.kind is Kind.REDIS_POWER_CUT for each in schedule)


def kinds(schedule: Sequence[Fault]) -> dict[str, int]:
    """How many faults of each kind."""
    return dict(sorted(Counter(str(each.kind) for each in schedule).items()))
