"""Asks the servers of an installation what the checks need to know. Nothing is written, created or committed."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aiokafka import codec
from redis.exceptions import RedisError

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.checks.finding import Finding
from driftline.stream.checks.topics import right_findings, topic_findings
from driftline.stream.checks.traffic import read_sample, traffic_findings
from driftline.stream.codec.levels import NEWEST, TICKS
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import Origin
from driftline.stream.kafka.admin import describe_topics, group_operations, open_admin, topic_operations
from driftline.stream.schemas.topics import wanted_topics
from driftline.stream.sources.schemas import schema_loader
from driftline.stream.sources.topic_history import Newest, open_history, with_origins
from driftline.stream.state.client import check_server, connect
from driftline.stream.state.level import GroupLevel, Standing
from driftline.stream.state.store import Store
from driftline.stream.text.phrases import counted

# Messages of the predictions topic that are read: enough to see what most events hold, and read in a second.
_SAMPLE = 1000
# The least of one partition, so that each is looked at.
_LEAST = 10
_CODECS = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}


def probe_redis(config: Config) -> list[Finding]:
    """Whether Redis answers and is fit for the state. Raises StoreError if it does not answer or refuses."""
    return asyncio.run(_probe_redis(config))


async def _probe_redis(config: Config) -> list[Finding]:
    client = connect(config.redis)
    try:
        found = [
            Finding("redis", each.severity, *_divided(each.message))
            for each in await check_server(client, config.redis.replicas)
        ]
        try:
            settings = await client.config_get("append*")
        except RedisError:  # hosted servers often refuse CONFIG
            settings = {}
    finally:
        await client.aclose()
    if settings.get("appendonly") == "yes" and settings.get("appendfsync") == "no":
        message = "Redis leaves the append-only file to the operating system, so a lost machine loses half a minute"
        found.append(Finding("redis", "warning", message, "set its appendfsync to everysec or always"))
    return found or [
        Finding("redis", "ok", "Redis answers, is a primary, evicts nothing and keeps an append-only file")
    ]


def probe_level(config: Config, path: Path) -> list[Finding]:
    """The format level of the group; one that no worker has begun is at the newest, at which it will begin.

    path: of the configuration file.
    """

    async def read() -> Standing:
        client = connect(config.redis)
        try:
            return await GroupLevel(Store(client, config.worker.group)).standing(time.time())
        finally:
            await client.aclose()

    level = asyncio.run(read()).level
    if level < NEWEST:
        without = (
            "timelines are not kept, nor incidents remembered"
            if level >= TICKS
            else "traffic, topics and versions are not judged"
        )
        message = f"the group is at format level {level} of {NEWEST}: {without}"
        command = shlex.join(["driftline", "upgrade", "finish", "-c", str(path)])
        return [Finding("level", "warning", message, f"once all workers are upgraded, run: {command}")]
    if level > NEWEST:
        message = f"the group is at format level {level}, and this version can do {NEWEST} at most"
        return [Finding("level", "error", message, "install a newer version of driftline")]
    return [Finding("level", "ok", f"the group is at format level {level}")]


def _divided(message: str) -> tuple[str, str]:
    """What is wrong, and what helps, of a message "what: help"."""
    wrong, _, remedy = message.partition(": ")
    return wrong, remedy


def probe_kafka(config: Config) -> Iterator[Finding]:
    """Whether Kafka answers. Raises KafkaUnreachableError."""
    with open_admin(config.kafka) as admin:
        brokers = len(admin.describe_cluster()["brokers"])
    yield Finding("kafka", "ok", f"Kafka answers at {config.kafka.bootstrap}, {counted(brokers, 'broker')}")


def probe_topics(config: Config) -> Iterator[Finding]:
    """Whether the topics are as the configuration wants them."""
    wanted = wanted_topics(config.topics)
    with open_admin(config.kafka) as admin:
        found = describe_topics(admin, [topic.name for topic in wanted])
    yield from topic_findings(config, wanted, found)


def probe_rights(config: Config) -> Iterator[Finding]:
    """Whether the login may do what workers and relays do, as far as Kafka says it."""
    names, group = [topic.name for topic in wanted_topics(config.topics)], config.worker.group
    with open_admin(config.kafka) as admin:
        operations, on_group = topic_operations(admin, names), group_operations(admin, group)
    yield from right_findings(config, operations, group, on_group)
    for topic in {config.topics.panes, config.topics.alerts} & operations.keys():
        with open_history(config.kafka, topic, Newest(1), None):  # raises TopicsError if it may not be read
            pass


def probe_codecs() -> Iterator[Finding]:
    """Whether a worker on this machine can read every codec of Kafka."""
    if absent := [name for name, present in _CODECS.items() if not present()]:
        yield Finding("codecs", "error", f"a worker cannot read {', '.join(absent)} here", "reinstall driftline")
    else:
        yield Finding("codecs", "ok", f"a worker can read {', '.join(_CODECS)}")


def probe_traffic(
    config: Config, folder: Path, baselines: Mapping[str, Baseline], versions: Versions = NO_VERSIONS
) -> Iterator[Finding]:
    """Whether the newest events fit the mapping and the baselines. folder: that of the configuration file.

    Raises TopicsError if they cannot be read, SchemasUnavailableError if the schemas of their frames cannot.
    """
    messages = _newest(config, config.topics.predictions)
    loader = schema_loader(config.schemas, folder, attempts=1)
    if loader is not None:
        loader.load_now([message for message, _ in messages])
    sample = read_sample(messages, config, None if loader is None else loader.schemas)
    yield from traffic_findings(config, baselines, sample, versions)


def _newest(config: Config, topic: str) -> Sequence[tuple[bytes | None, Origin]]:
    """The newest messages of a topic, and where they come from."""
    with open_admin(config.kafka) as admin:
        found = describe_topics(admin, [topic])
    partitions = found[topic].partitions if topic in found else 1
    with open_history(config.kafka, topic, Newest(max(_SAMPLE, _LEAST * partitions)), None) as history:
        return list(with_origins(topic, history.logs()))
