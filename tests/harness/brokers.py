"""Fixtures with real servers, started once per test run: both Kafka-compatible brokers, and a Redis.

Without java or mvn the tests on Apache Kafka are skipped, saying so; with the environment variable CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.stream.demo.servers import Server, ServerError, embedded_broker
from load_tests.harness.deployment import Broker, unique
from load_tests.harness.servers import apache_kafka, real_redis

__all__ = ["Broker", "broker", "redis_server", "unique"]
_START = {"embedded": embedded_broker, "kafka": apache_kafka}


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Both brokers in turn. Tests share them: use names of your own (`unique`) for topics and groups."""
    directory = tmp_path_factory.mktemp(request.param)
    with _prepared(request.param, directory) as server:
        yield Broker(server, idempotent=request.param == "kafka")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Debian's redis-server, or else the embedded Valkey; in memory. Flush it or use keys of your own."""
    with real_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def _prepared(kind: str, directory: Path) -> Server:
    try:
        return _START[kind](directory)
    except ServerError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
