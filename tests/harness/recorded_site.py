"""A worker and a relay on topics and keys of fixed names, and all that they leave there, written down and put back.

with open_site(folder, broker.address, redis.address, plan) as site:
    site.restore(lines)
    with site.process("worker") as worker, site.process("relay", *TO) as relay:
        site.feed(records)
        site.settle(panes=7, processes=(worker, relay))
    site.snapshot()                     # lines: records of all topics, keys of Redis, offsets of the groups

Formats alone are known here: names of topics, of keys in Redis and of options of the command line.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import redis as sync_redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.structs import OffsetAndMetadata

from load_tests.harness.deployment import TIMEOUT, WorkerProcess
from tests.harness.services import ROUTING_KEY, Service, fake

RECORDINGS = Path(__file__).parents[1] / "recordings"
DRIFTLINE = (sys.executable, "-m", "driftline")
GROUP, TARGETS = "recorded", ("webhook", "pagerduty")
TO = ("--to", "webhook", "--to", "pagerduty")
#: All topics that something is written to, with their partitions.
TOPICS = {
    "predictions": 2, "predictions.dlq": 1, "panes": 2, "panes.dlq": 1, "alerts": 1, "alerts.dlq": 1,
}  # fmt: skip
_DAY = 86_400
#: The table of severities that was the default when the recordings were made. The recordings say what became of alerts
#: under it; what the default table makes of them is tested with the table (`tests/judge`).
SEVERITY = [{"of": "data-quality", "effect": 0.5, "severity": "error"}, {"severity": "warning"}]

Line = dict[str, Any]


# Files


def read_lines(name: str) -> list[Line]:
    """The lines of a recording, each a JSON object."""
    return [orjson.loads(line) for line in gzip.decompress((RECORDINGS / name).read_bytes()).splitlines()]


def write_lines(name: str, lines: Iterable[bytes]) -> None:
    """A recording that is the same file when it holds the same lines: gzip notes no time."""
    content = b"".join(line + b"\n" for line in lines)
    (RECORDINGS / name).write_bytes(gzip.compress(content, 9, mtime=0))


def packed(content: bytes | None) -> Any:
    """Bytes in JSON: text where they are text, so that people can read it and it takes less room."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def unpacked(plain: Any) -> bytes | None:
    """The bytes that were packed."""
    if isinstance(plain, dict):
        return base64.b64decode(plain["base64"])
    return None if plain is None else str(plain).encode()


def bare(alert: Mapping[str, Any]) -> bytes:
    """An alert without the two texts that people may word anew; the order of its fields counts."""
    return orjson.dumps({**alert, "data": {**alert["data"], "title": "", "description": ""}})


# Kafka


class Tail:
    """Reads all topics, and remembers what it has read."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, fetch_max_wait_ms=20
        )
        self._all = [TopicPartition(topic, each) for topic, count in TOPICS.items() for each in range(count)]
        self._consumer.assign(self._all)
        self._consumer.seek_to_beginning(*self._all)
        self.records: dict[TopicPartition, list[Any]] = {tp: [] for tp in self._all}

    def read(self) -> None:
        """What has come since."""
        for tp, records in self._consumer.poll(20, max_records=10_000).items():
            self.records[tp] += records

    def counts(self, topic: str) -> list[int]:
        """Records read so far, by partition."""
        return [len(self.records[TopicPartition(topic, each)]) for each in range(TOPICS[topic])]

    def lines(self) -> Iterator[Line]:
        """All records, read to the end, by partition and offset."""
        # The embedded broker's end offsets are wrong, its high watermark is right.
        ended = dict.fromkeys(self._all, False)
        deadline = time.monotonic() + TIMEOUT
        while not all(ended.values()):
            assert time.monotonic() < deadline, f"not read to the end: {[tp for tp in ended if not ended[tp]]}"
            self.read()
            waters = {tp: self._consumer.highwater(tp) for tp in self._all}
            ended = {tp: end is not None and self._consumer.position(tp) >= end for tp, end in waters.items()}
        for tp, records in self.records.items():
            for record in records:
                yield {
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "offset": record.offset,
                    "timestamp": record.timestamp,
                    "key": packed(record.key),
                    "value": packed(record.value),
                    "headers": [[name, packed(value)] for name, value in record.headers],
                }

    def close(self) -> None:
        self._consumer.close()


def append(bootstrap: str, lines: Sequence[Line]) -> None:
    """Put records where they were; AssertionError where the offset is another one."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    sent = [
        producer.send(
            line["topic"],
            unpacked(line["value"]),
            unpacked(line["key"]),
            [(name, unpacked(value)) for name, value in line["headers"]],
            line["partition"],
            line["timestamp"],
        )
        for line in lines
    ]
    places = [each.get(TIMEOUT).offset for each in sent]
    producer.close()
    assert places == [line["offset"] for line in lines]


# Redis, by ordinary commands: a dump of one version is not for another

_READ: Mapping[str, Callable[[Any, str], list[Any]]] = {
    "string": lambda client, key: [packed(client.get(key))],
    "hash": lambda client, key: [[packed(f), packed(v)] for f, v in sorted(client.hgetall(key).items())],
    "list": lambda client, key: list(map(packed, client.lrange(key, 0, -1))),
    "set": lambda client, key: sorted(map(packed, client.smembers(key))),
}
_WRITE: Mapping[str, Callable[[Any, str, list[Any]], object]] = {
    "string": lambda client, key, content: client.set(key, unpacked(content[0])),
    "hash": lambda client, key, content: client.hset(key, mapping={unpacked(f): unpacked(v) for f, v in content}),
    "list": lambda client, key, content: client.rpush(key, *map(unpacked, content)),
    "set": lambda client, key, content: client.sadd(key, *map(unpacked, content)),
}


def _keys(client: Any) -> Iterator[Line]:
    """Every key by its logical type, with how long it lives, in days; None: for good.

    Without what workers report of themselves and of what is not watched: it holds the time, and no state.
    """
    for key in sorted(
        key.decode() for key in client.scan_iter(count=1000) if not key.endswith((b":unwatched", b":workers"))
    ):
        kind, lives = client.type(key).decode(), client.ttl(key)
        content = _READ[kind](client, key)
        yield {"redis": key, "type": kind, "lives": None if lives < 0 else round(lives / _DAY), "content": content}


# The site


@dataclass
class Site:
    """Servers, services, a configuration; and what reads along."""

    path: Path
    bootstrap: str
    redis: Any
    services: Mapping[str, Service]
    tail: Tail
    groups: Mapping[str, Any]

    def process(self, command: str, *arguments: str) -> WorkerProcess:
        """`driftline COMMAND`, not started yet."""
        log = self.path.parent / f"{command}.log"
        environment = {"PAGERDUTY_ROUTING_KEY": ROUTING_KEY, "WEBHOOK_URL": self.services["webhook"].url}
        return WorkerProcess([*DRIFTLINE, command, *arguments, "-c", str(self.path)], log, environment)

    def create_topics(self) -> None:
        """As they were, by another way than Driftline's."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        admin.create_topics({topic: {"num_partitions": n, "replication_factor": 1} for topic, n in TOPICS.items()})
        admin.close()

    def feed(self, lines: Sequence[Line]) -> None:
        append(self.bootstrap, lines)

    def settle(self, panes: int, processes: Sequence[WorkerProcess]) -> None:
        """Wait until that many panes are there, and all of them are judged and all alerts published and settled.

        processes: the worker and, if it runs, the relay.
        """
        for process in processes:
            process.wait_for(lambda: self._settled(panes, relayed=len(processes) > 1))

    def _settled(self, panes: int, relayed: bool) -> bool:
        self.tail.read()
        there, (alerts,) = self.tail.counts("panes"), self.tail.counts("alerts")
        judges = [self.redis.hmget(judge(each), "next", "sent") for each in range(TOPICS["panes"])]
        read = [self.committed(group)[0] or 0 for group in self.groups if group != GROUP] if relayed else [alerts]
        return (
            sum(there) >= panes
            and [int(following or 0) for following, _ in judges] == there
            and sum(int(sent or 0) for _, sent in judges) == alerts
            and not any(self.redis.llen(f"{judge(each)}:outbox") for each in range(TOPICS["panes"]))
            and set(read) == {alerts}
        )

    def acknowledged(self) -> bool:
        """Whether the workers' group has committed all that there is."""
        ends = [end for topic in ("predictions", "panes") for end in self.tail.counts(topic)]
        return self.committed(GROUP) == ends

    def committed(self, group: str) -> list[int | None]:
        """Where a group goes on, by partition of its topics."""
        return [self.groups[group].committed(tp) for tp in _read_by(group)]

    def snapshot(self) -> list[Line]:
        """Everything that lies on the servers."""
        offsets = [
            {"group": group, "topic": tp.topic, "partition": tp.partition, "offset": offset}
            for group in self.groups
            for tp, offset in zip(_read_by(group), self.committed(group), strict=True)
        ]
        return [*self.tail.lines(), *_keys(self.redis), *offsets]

    def sent(self) -> list[Line]:
        """What each receiver has accepted, in order: the body, and by which id a webhook's receiver knows it."""
        return [
            {"service": name, "id": each.headers.get("webhook-id"), "body": packed(each.body)}
            for name, service in self.services.items()
            for each in service.accepted
        ]

    def restore(self, lines: Sequence[Line]) -> None:
        """Put all that a snapshot has on empty servers; the topics are there."""
        append(self.bootstrap, [line for line in lines if "value" in line])
        for line in lines:
            if "redis" in line:
                _WRITE[line["type"]](self.redis, line["redis"], line["content"])
                if line["lives"] is not None:
                    self.redis.expire(line["redis"], line["lives"] * _DAY)
            elif "group" in line and line["offset"] is not None:
                tp = TopicPartition(line["topic"], line["partition"])
                self.groups[line["group"]].assign([tp])
                self.groups[line["group"]].commit({tp: OffsetAndMetadata(line["offset"], "", -1)})


@contextmanager
def open_site(folder: Path, bootstrap: str, redis: str, plan: Mapping[str, Any], idempotent: bool) -> Iterator[Site]:
    """A site whose configuration is that of the plan, with these addresses; baselines lie beside it."""
    for file in RECORDINGS.glob("worker_*.driftline"):
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "driftline.yaml"
    with fake("webhook") as webhook, fake("pagerduty") as pagerduty:
        addresses = {"BOOTSTRAP": bootstrap, "REDIS": f"redis://{redis}/0", "PAGERDUTY": pagerduty.url}
        plan["config"]["defaults"]["incidents"]["severity"] = SEVERITY
        text = json.dumps(plan["config"]).replace('"IDEMPOTENT"', json.dumps(idempotent))
        path.write_text(re.sub('"(BOOTSTRAP|REDIS|PAGERDUTY)"', lambda found: json.dumps(addresses[found[1]]), text))
        groups = {
            group: KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
            for group in (GROUP, *(f"{GROUP}-relay-{target}" for target in TARGETS))
        }
        host, port = redis.split(":")
        tail, services = Tail(bootstrap), {"webhook": webhook, "pagerduty": pagerduty}
        with sync_redis.Redis(host=host, port=int(port)) as client:
            try:
                yield Site(path, bootstrap, client, services, tail, groups)
            finally:
                tail.close()
                for consumer in groups.values():
                    consumer.close(autocommit=False)
        assert webhook.violations + pagerduty.violations == []


def judge(partition: int) -> str:
    """The key of the judge of a partition of the panes topic."""
    return f"{GROUP}:{{judge/panes/{partition}}}"


def _read_by(group: str) -> list[TopicPartition]:
    topics = ("predictions", "panes") if group == GROUP else ("alerts",)
    return [TopicPartition(topic, each) for topic in topics for each in range(TOPICS[topic])]
