"""Redis in every way it is deployed: one server, one behind a sentinel, a cluster; each on loopback, started once."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis

from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server, free_port, redis_answers
from driftline.stream.state.client import connect
from driftline.stream.state.store import Store
from load_tests.harness.servers import real_redis
from tests.harness.brokers import unique


@pytest.fixture(scope="session", params=["single", "sentinel", "cluster"])
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty Redis, of each kind in turn. Tests share them: use a namespace of your own."""
    directory = tmp_path_factory.mktemp(request.param)
    yield from {"single": _single, "sentinel": _sentinel, "cluster": _cluster}[request.param](directory)


def url(server: Server) -> str:
    return f"redis://{server.address}"


def _single(directory: Path) -> Iterator[str]:
    with real_redis(directory) as server:
        yield url(server)


def _sentinel(directory: Path) -> Iterator[str]:
    with real_redis(directory) as server:
        port, settings = free_port(), directory / "sentinel.conf"
        settings.write_text(f"bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {server.port} 1\n")
        command = [server.command[0], str(settings), "--sentinel", "--dir", str(directory)]
        with Server("sentinel", command, port, directory / "sentinel.log", redis_answers) as sentinel:
            yield f"redis+sentinel://127.0.0.1:1,{sentinel.address}/main"


def _cluster(directory: Path) -> Iterator[str]:
    server = real_redis(directory)
    # By default the cluster's bus listens 10,000 above the port, which may be too high.
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with replace(server, command=[*server.command, *options]) as server:
        with sync_redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            while client.cluster("INFO")["cluster_state"] != "ok":
                time.sleep(0.05)
        yield f"redis+cluster://{server.address}"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A folder on a file system of its own, of a size such as "4m". Skips the test if it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def contents(store: Store) -> dict[str, Any]:
    """Everything that is stored, by key."""
    return {key: await store.client.dump(key) for key in await store.keys()}


Scenario = Callable[[Store], Awaitable[None]]


def play(address: str, scenario: Scenario, namespace: str | None = None) -> None:
    """Run a scenario on a store with a namespace of its own."""

    async def with_store() -> None:
        client = connect(Redis(url=address))
        try:
            await scenario(Store(client, namespace or unique("ns")))
        finally:
            await client.aclose()

    asyncio.run(with_store())


def on_every_redis(scenario: Scenario) -> Callable[[str], None]:
    """A test of an async scenario on a store, on every kind of Redis."""

    def test(redis_url: str) -> None:
        play(redis_url, scenario)

    functools.update_wrapper(test, scenario)
    del test.__wrapped__  # pytest would look for its arguments
    return test
