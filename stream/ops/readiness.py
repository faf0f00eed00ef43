"""Waits for Redis and Kafka before a worker or relay starts, and logs what is missing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from socket import socket
from typing import Any

from kafka.errors import KafkaError
from redis.asyncio import RedisCluster

from driftline.stream.config.sections import Config
from driftline.stream.kafka.admin import missing_topics, open_admin, pane_size_problems
from driftline.stream.kafka.client import KafkaUnreachableError
from driftline.stream.ops.http import serve_waits
from driftline.stream.retry import Waits, calling, pauses, retrying
from driftline.stream.state.client import Client, StoreError, check_server, connect
from driftline.stream.state.scripts import Script

log = logging.getLogger(__name__)

# s between attempts: short at first, since servers that start together are ready within seconds, and at most what a
# person who has repaired something would wait.
_PAUSES = (1.0, 2.0, 5.0, 10.0)
# Keys that a cluster is asked to write, so that each of its primaries has some.
_CLUSTER_KEYS = 64
# Writes and leaves nothing; refused if Redis has no memory, too few replicas or a disk that is full.
_WRITE = Script("redis.call('SET', KEYS[1], '')\nreturn redis.call('DEL', KEYS[1])")


class NotReadyError(RuntimeError):
    """A server does not answer, or is not set up as it must be; the message says which, and what to do."""


def wait_until_ready(config: Config, waits: Waits, listener: socket, topics: Sequence[str] | None = None) -> None:
    """Wait as `wait_for_servers` does, in an event loop of its own, and serve /health and /metrics meanwhile.

    waits: those of this process. SIGTERM and SIGINT end the process.
    """

    async def wait() -> None:
        end_on_signals()
        async with serve_waits(listener, waits):
            await wait_for_servers(config, topics)

    asyncio.run(wait())


def end_on_signals() -> None:
    """Let SIGTERM and SIGINT end this process at once, with exit code 0. Only while it has no work in flight.

    Not by a cancellation: a call to a Kafka that does not answer runs in a thread, and may take half a minute. And
    without a handler, process 1 of a container would ignore SIGTERM.
    """
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, os._exit, 0)


async def wait_for_servers(config: Config, topics: Sequence[str] | None = None) -> None:
    """Return when Redis is fit for use and accepts writes, and Kafka has the topics, by default those of a worker.

    Until then, log why not and try again.
    """
    names = _worker_topics(config) if topics is None else topics
    await asyncio.gather(
        _until_ready("Redis", _check_redis, config),
        _until_ready("Kafka", asyncio.to_thread, _check_kafka, config, names),
    )


async def _until_ready(server: str, check: Callable[..., Awaitable[None]], *args: Any) -> None:
    def log_retry(error: BaseException, pause: float) -> None:
        log.warning("%s is not ready: %s; trying again in %g s", server, error, pause)
        wait.failed(error)

    with calling(server) as wait:
        await retrying(NotReadyError, pauses(*_PAUSES), log=log_retry)(check, *args)


async def _check_redis(config: Config) -> None:
    try:
        client = connect(config.redis)
        try:
            findings = await check_server(client, config.redis.replicas)
            if not any(finding.severity == "error" for finding in findings):
                await _check_writes(client, config.worker.group)
        finally:
            await client.aclose()
    except StoreError as error:
        raise NotReadyError(str(error)) from error
    for finding in findings:
        if finding.severity == "error":
            raise NotReadyError(finding.message)
        log.warning("%s", finding.message)


async def _check_writes(client: Client, namespace: str) -> None:
    """Raises StoreError if Redis, or one primary of a cluster, does not accept writes now."""
    keys = [f"{namespace}:write/{i}" for i in range(_CLUSTER_KEYS if isinstance(client, RedisCluster) else 1)]
    for key in keys:
        await _WRITE.run_once(client, [key])


def _worker_topics(config: Config) -> list[str]:
    topics = config.topics
    read = [topics.predictions, *([topics.labels] if config.labelled_by("topic") else []), topics.panes]
    return [*read, topics.alerts, *(f"{name}.dlq" for name in read)]


def _check_kafka(config: Config, names: Sequence[str]) -> None:
    try:
        with open_admin(config.kafka) as admin:
            if not admin.describe_cluster()["brokers"]:  # aiokafka would take that for an answer, and join no group
                raise NotReadyError(f"Kafka at {config.kafka.bootstrap} starts: it has no broker yet")
            missing = missing_topics(admin, names)
            if config.topics.panes in names and not missing:
                missing = pane_size_problems(admin, config.topics.panes)
    except (KafkaUnreachableError, KafkaError, OSError) as error:
        raise NotReadyError(str(error)) from error
    if missing:
        raise NotReadyError("; ".join(missing))
