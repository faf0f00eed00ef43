"""Driftline as users run it: a configuration with topics and a group of its own, and workers in their own processes.

deployment = deploy(tmp_path, broker, redis_server, {"topics": {"partitions": 4}})
deployment.produce({0: messages})
with deployment.worker() as worker:
    worker.wait_for(lambda: deployment.sealed() == expected)
    assert worker.stop() == 0
assert deployment.model_states() == ...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.error import HTTPError
from uuid import uuid4

import redis as sync_redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.serializer import Serializer

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.levels import NEWEST
from driftline.stream.codec.panes import read_message
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Kafka
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.kafka.client import client_options
from driftline.stream.schemas.topics import wanted_topics
from driftline.stream.sources.baselines import load_baselines, load_versions
from load_tests.harness.oracle import Parts, Replay
from load_tests.harness.redis_topologies import connect_to
from load_tests.harness.ticks_heard import HeardWith, TicksHeard

#: Seconds to wait for anything. A worker takes 2 s to start and the embedded broker up to 10 s to let it join; a busy
#: machine takes several times as long.
TIMEOUT = 90.0
# s that an answer may take: a worker that starts imports and connects meanwhile.
_ANSWER = 30.0


def unique(name: str) -> str:
    """The name with a random suffix, so that nothing else has it."""
    return f"{name}-{uuid4().hex[:8]}"


class AnyProducer(KafkaProducer):
    """Appends records without key and with any value, None too; kafka-python itself requires one of the two."""

    _NOTHING = object()

    class _Plain(Serializer):
        def serialize(self, _topic: str, _headers: Any, data: Any) -> bytes | None:
            return None if data is AnyProducer._NOTHING else data

    def __init__(self, **settings: Any) -> None:
        super().__init__(value_serializer=self._Plain(), **settings)

    def append(self, topic: str, partition: int, value: bytes | None) -> Any:
        """Append a record; the future of its metadata."""
        return self.send(topic, self._NOTHING if value is None else value, partition=partition)


@dataclass(frozen=True)
class Broker:
    """A running broker. `idempotent`: whether aiokafka's idempotent producer works on it. others: of its cluster."""

    server: Server
    idempotent: bool
    others: Sequence[Server] = ()

    @property
    def kafka(self) -> Kafka:
        return Kafka(bootstrap=",".join(each.address for each in (self.server, *self.others)))


@dataclass
class Deployment:
    """One configuration file, and the topics and Redis keys under its names."""

    path: Path
    broker: Broker
    config: Config

    def worker(self, name: str = "worker", command: Sequence[str] = (), **environment: str) -> WorkerProcess:
        """A worker that is not started yet. command: run instead of `driftline worker`."""
        arguments = list(command) or [sys.executable, "-m", "driftline", "worker", "-c", str(self.path)]
        return WorkerProcess(arguments, self.path.parent / f"{name}.log", environment)

    def pages(self, **environment: str) -> WorkerProcess:
        """`driftline serve`, not started yet; the configuration says on which address."""
        arguments = [sys.executable, "-m", "driftline", "serve", "-c", str(self.path)]
        return WorkerProcess(arguments, self.path.parent / "pages.log", environment, "pages")

    def reload(self) -> Deployment:
        """The deployment with its configuration file read again."""
        return replace(self, config=parse_config(self.path.read_text(), str(self.path)))

    # ---- Kafka

    def create_topics(self) -> None:
        with open_admin(self.broker.kafka) as admin:
            ensure_topics(admin, wanted_topics(self.config.topics))

    def produce(self, logs: Mapping[int, Iterable[bytes | None]], topic: str | None = None) -> None:
        """Append messages to the partitions of a topic, by default predictions, and wait for their acknowledgement."""
        producer = AnyProducer(**client_options(self.broker.kafka), linger_ms=5, max_request_size=1 << 20)
        sent = [
            producer.append(topic or self.config.topics.predictions, partition, value)
            for partition, values in logs.items()
            for value in values
        ]
        for each in sent:
            each.get(TIMEOUT)
        producer.close()

    def read(self, topic: str) -> list[Any]:
        """All records of a topic, sorted by partition and offset."""
        return sorted(self.scan(topic), key=lambda record: (record.partition, record.offset))

    def scan(self, topic: str) -> Iterator[Any]:
        """All records of a topic; those of one partition come in the order of its log."""
        with self._consumer(topic) as (consumer, partitions):
            deadline = time.monotonic() + TIMEOUT
            # The embedded broker's end offsets are wrong, its high watermark is right.
            while any(
                consumer.highwater(tp) is None or consumer.position(tp) < consumer.highwater(tp) for tp in partitions
            ):
                assert time.monotonic() < deadline, f"{topic} can't be read to its end"
                for records in consumer.poll(200, max_records=10_000).values():
                    yield from records
                    deadline = time.monotonic() + TIMEOUT

    def ends(self, topic: str) -> dict[int, int]:
        """The end offset of each partition of a topic. Wrong on the embedded broker."""
        with self._consumer(topic) as (consumer, partitions):
            return {tp.partition: end for tp, end in sorted(consumer.end_offsets(partitions).items())}

    @contextmanager
    def _consumer(self, topic: str) -> Iterator[tuple[Any, list[Any]]]:
        consumer = KafkaConsumer(**client_options(self.broker.kafka), auto_offset_reset="earliest", group_id=None)
        partitions = [TopicPartition(topic, each) for each in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        try:
            yield consumer, partitions
        finally:
            consumer.close()

    def alerts(self) -> list[dict[str, Any]]:
        """All alerts on the alerts topic, in the order of publication."""
        return [json.loads(record.value) for record in self.read(self.config.topics.alerts)]

    # ---- what is expected

    @property
    def baselines(self) -> dict[str, Baseline]:
        return load_baselines(self.config, self.path.parent)

    @property
    def versions(self) -> dict[str, dict[str, Baseline]]:
        return load_versions(self.config, self.path.parent)

    def replay(self, level: int = NEWEST) -> Replay:
        """A replay of all messages on the predictions topic, as by a group at a format level, with its ticks so far."""
        replay = Replay(self.config, self.baselines, level, self.heard())
        for partition, log in groupby(self.read(self.config.topics.predictions), attrgetter("partition")):
            records = list(log)
            first = records[0].offset
            assert [record.offset for record in records] == list(range(first, first + len(records)))
            replay.read(partition, [record.value for record in records], first)
        return replay

    def heard(self) -> HeardWith:
        """The ticks on the panes topic so far, as a replay takes them: a worker sends them every 10 s."""
        heard = TicksHeard(self.config)
        for record in self.read(self.config.topics.panes):
            heard.read(record.partition, read_message(record.value))
        return heard.heard

    # ---- Redis

    @property
    def store(self) -> sync_redis.Redis | sync_redis.RedisCluster:
        return connect_to(self.config.redis.url)

    def model_states(self) -> dict[str, Parts]:
        """The stored parts of every model's state."""
        with self.store as client:
            keys = sorted(client.scan_iter(match=f"{self.config.worker.group}:{{judge/*:model:*", count=1000))
            stored = {key.decode().partition(":model:")[2]: client.hgetall(key) for key in keys}
        assert len(stored) == len(keys), "a model has one state"
        return {model: {name.decode(): part for name, part in parts.items()} for model, parts in stored.items()}

    def sealed(self) -> dict[int, int]:
        """The end of the last sealed run, by partition of the predictions topic."""
        with self.store as client:
            keys = list(client.scan_iter(match=f"{self.config.worker.group}:{{sketch/*", count=1000))
            ends = {int(key.decode().rpartition("/")[2].rstrip("}")): client.hget(key, "end") for key in keys}
        return {partition: int(end) for partition, end in sorted(ends.items()) if end is not None}


class WorkerEndedError(AssertionError):
    """A worker ended while something was still expected of it; the message shows the end of its log."""


class Response(NamedTuple):
    """Status and body of an HTTP response."""

    status: int
    body: str


@dataclass
class WorkerProcess:
    """A worker process. As a context manager it is started on entry, and killed on exit if it still runs.

    serves: what its HTTP server is called in the log.
    """

    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    serves: str = "health and metrics"

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                env={**_environment(), **self.environment},
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM and wait for the end; the exit code."""
        self.process.terminate()
        return self.process.wait(TIMEOUT)

    def logs(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def wait_for(
        self, condition: Callable[[], Any], alive: bool = True, progress: Callable[[], Any] = lambda: None
    ) -> None:
        """Poll until the condition holds. alive: whether the worker must run meanwhile.

        progress: differs between two looks TIMEOUT apart as long as the worker gets on.

        WorkerEndedError if it ends; AssertionError with the end of the log after TIMEOUT without progress.
        """
        deadline, reached = time.monotonic() + TIMEOUT, None
        while not condition():
            if alive:
                self.check_running()
            if time.monotonic() > deadline:
                before, reached = reached, progress()
                if reached == before:
                    raise AssertionError(
                        f"the condition does not hold after {TIMEOUT:.0f} s without progress; the end of {self.log}:\n"
                        f"{self.last_lines()}"
                    )
                deadline = time.monotonic() + TIMEOUT
            time.sleep(0.05)

    def check_running(self) -> None:
        """Raises WorkerEndedError if the worker has ended."""
        code = self.process.poll()
        if code is not None:
            raise WorkerEndedError(f"a worker ended with exit code {code}; the end of {self.log}:\n{self.last_lines()}")

    def last_lines(self) -> str:
        """The last 40 lines of the log."""
        return "\n".join(self.logs().splitlines()[-40:])

    @property
    def address(self) -> str:
        """The address of its HTTP server, read from the log."""
        self.wait_for(lambda: f"{self.serves} on http://" in self.logs())
        return self.logs().partition(f"{self.serves} on http://")[2].split()[0].strip('",}')

    def get(self, path: str, **headers: str) -> Response:
        """Request a path of its HTTP server. OSError when it does not answer."""
        request = urllib.request.Request(f"http://{self.address}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER) as answer:
                return Response(answer.status, answer.read().decode())
        except HTTPError as error:
            with error:
                return Response(error.code, error.read().decode())


def deploy(
    directory: Path, broker: Broker, redis: str, sections: Mapping[str, Mapping[str, Any]], topics: bool = True
) -> Deployment:
    """Write a configuration with unique names, changed by `sections`, and create its topics. redis: host:port."""
    names = {name: unique(name) for name in ("predictions", "labels", "panes", "alerts")}
    own: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap": broker.server.address, "idempotent": broker.idempotent},
        "redis": {"url": f"redis://{redis}/0"},
        "topics": {**names, "partitions": 1},
        "worker": {"group": unique("group"), "http": "127.0.0.1:0", "session_seconds": 6, "watchdog_seconds": 60},
    }
    merged = {name: {**own.get(name, {}), **sections.get(name, {})} for name in {**own, **sections}}
    path = directory / "driftline.yaml"
    path.write_text(json.dumps(merged, indent=1))
    deployment = Deployment(path, broker, parse_config(path.read_text(), str(path)))
    if topics:
        deployment.create_topics()
    return deployment


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("FAUST_", "DRIFTLINE_"))}
