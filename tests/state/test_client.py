"""Reaching Redis: every URL, secret logins, calls with retries, servers that are not set up as they should be."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis as sync_redis
from redis.asyncio import RedisCluster
from redis.exceptions import OutOfMemoryError, ResponseError

from driftline.stream import retry
from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server, free_port
from driftline.stream.state import client as client_module
from driftline.stream.state.client import (
    Client,
    RedisUnreachableError,
    ServerFinding,
    StoreError,
    call_once,
    call_redis,
    check_server,
    connect,
    server_findings,
)
from driftline.stream.state.store import Store
from load_tests.harness.servers import real_redis
from tests.harness.redis_servers import on_every_redis, play, redis_url, url

__all__ = ["redis_url"]
PASSWORD = "p@ss/w:rd%#?"
QUICK = (0.01, 0.02)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    """A Redis that no other test uses."""
    with real_redis(tmp_path) as server:
        yield server


async def ping(redis: Redis) -> Any:
    client = connect(redis)
    try:
        return await call_redis(client.ping)
    finally:
        await client.aclose()


# URLs


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://h", {"host": "h", "port": 6379, "db": 0, "username": None, "password": None}),
        ("redis://h:7/3", {"host": "h", "port": 7, "db": 3}),
        ("redis://[::1]:7", {"host": "::1", "port": 7}),
        ("redis://[::1]", {"host": "::1", "port": 6379}),
        (f"redis://:{quote(PASSWORD, safe='')}@h", {"host": "h", "username": None, "password": PASSWORD}),
        ("redis://u%40x:p@h", {"username": "u@x", "password": "p"}),
        ("rediss://h:7", {"host": "h", "port": 7, "ssl_ca_certs": None}),
    ],
)
def test_a_url_says_where_to_go(address: str, expected: dict[str, Any]) -> None:
    options = connect(Redis(url=address)).connection_pool.connection_kwargs
    assert {name: options.get(name) for name in expected} == expected


def test_a_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", PASSWORD)
    options = connect(Redis(url="redis://user@h", password_env="REDIS_PASSWORD")).connection_pool.connection_kwargs
    assert (options["username"], options["password"]) == ("user", PASSWORD)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (Redis(password_env="NOT_SET_ANYWHERE"), "there is no environment variable NOT_SET_ANYWHERE"),
        (Redis(url="rediss://h", ca_file="/not/there.pem"), "cannot read /not/there.pem"),
    ],
)
def test_a_missing_password_or_certificate_is_named(section: Redis, reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        connect(section)


@on_every_redis
async def test_more_calls_than_connections_wait_for_one(store: Store) -> None:
    await asyncio.gather(*(store.save_learned(f"model {i}", b"x" * 10_000) for i in range(200)))
    assert [len(each or b"") for each in await asyncio.gather(*map(store.load_learned, ["model 0", "model 199"]))] == [
        10_000
    ] * 2
    for key in await store.keys():
        await store.client.delete(key)


# Logins


@pytest.fixture
def locked_redis(own_redis: Server) -> Server:
    """A Redis that requires PASSWORD."""
    with sync_redis.Redis(port=own_redis.port) as client:
        client.config_set("requirepass", PASSWORD)
    return own_redis


def test_the_right_password_opens(locked_redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"redis://:{quote(PASSWORD, safe='')}@{locked_redis.address}"
    assert asyncio.run(ping(Redis(url=address)))
    monkeypatch.setenv("REDIS_PASSWORD", PASSWORD)
    assert asyncio.run(ping(Redis(url=url(locked_redis), password_env="REDIS_PASSWORD")))
    assert asyncio.run(ping(Redis(url=f"redis://default@{locked_redis.address}", password_env="REDIS_PASSWORD")))


@pytest.mark.parametrize("login", ["", ":wr0ngsecret@", "nobody:wr0ngsecret@"])
def test_a_wrong_login_is_reported_at_once_and_without_the_password(
    locked_redis: Server, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError, match=r"refuses the login of redis\.url and redis\.password_env: ") as error:
        asyncio.run(ping(Redis(url=f"redis://{login}{locked_redis.address}")))
    assert not isinstance(error.value, RedisUnreachableError)
    shown = f"{error.value!r} {error.value.__cause__!r} {error.value.__context__!r} {caplog.text}"
    assert "wr0ngsecret" not in shown
    assert "trying again" not in shown


def test_no_representation_shows_a_password() -> None:
    for kind, path in (("", ""), ("+sentinel", "/main"), ("+cluster", "")):
        client = connect(Redis(url=f"redis{kind}://:wr0ngsecret@h:7{path}"))
        assert "wr0ngsecret" not in repr(client) + str(client) + repr(Store(client, "ns"))


# TLS

OPENSSL = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]


@asynccontextmanager
async def behind_tls(server: Server, directory: Path) -> AsyncIterator[tuple[int, Path]]:
    """A port that speaks TLS for a Redis, and the certificate of its authority."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    names = ["-addext", "subjectAltName=DNS:localhost", "-out", str(cert), "-keyout", str(key)]
    await asyncio.to_thread(subprocess.run, [*OPENSSL, *names], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, to_writer), copy(to_reader, writer))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listener:
        yield listener.sockets[0].getsockname()[1], cert


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_trusts_the_authorities_named_and_no_others(own_redis: Server, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with behind_tls(own_redis, tmp_path) as (port, authority):
            assert await ping(Redis(url=f"rediss://localhost:{port}", ca_file=str(authority)))
            for section in (
                Redis(url=f"rediss://localhost:{port}"),
                Redis(url=f"rediss://127.0.0.1:{port}", ca_file=str(authority)),
            ):
                client = connect(section)
                with pytest.raises(StoreError, match="certificate"):
                    await check_server(client)
                await client.aclose()

    asyncio.run(scenario())


# Redis down


@pytest.mark.parametrize(
    "address", ["redis://127.0.0.1:{}", "redis+sentinel://127.0.0.1:{}/main", "redis+cluster://127.0.0.1:{}"]
)
def test_an_unreachable_redis_is_logged_and_tried_again(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "_PAUSES", QUICK)
    monkeypatch.setattr(retry, "_ATTEMPTS", 3)
    port = free_port()
    with pytest.raises(RedisUnreachableError, match=f"Redis does not answer: .*{port}"):
        asyncio.run(ping(Redis(url=address.format(port))))
    assert [record.message.rpartition("; ")[2] for record in caplog.records] == [
        "trying again in 0.01 s",
        "trying again in 0.02 s",
    ]


def test_a_call_outlasts_a_restart(own_redis: Server) -> None:
    async def scenario(store: Store) -> None:
        judge = await store.claim_judge("panes", 0)
        own_redis.kill()
        back = asyncio.get_running_loop().run_in_executor(None, own_redis.start)
        assert (await store.claim_judge("panes", 0)).epoch == 1
        await back
        assert judge.epoch == 1

    play(url(own_redis), scenario)


def test_a_write_outlasts_the_loss_of_a_replica_and_is_made_once(
    own_redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(store: Store) -> None:
        await store.claim_judge("panes", 0)
        await store.client.config_set("min-replicas-to-write", 1)
        claim = asyncio.create_task(store.claim_judge("panes", 0))
        await asyncio.sleep(0.3)  # s: three attempts
        await store.client.config_set("min-replicas-to-write", 0)
        assert (await claim).epoch == 2

    play(url(own_redis), scenario)
    assert any(record.message.startswith("Redis refuses at the moment: NOREPLICAS") for record in caplog.records)


@pytest.mark.parametrize(
    "refusal",
    [
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError(
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
        ),
        ResponseError("BUSY Redis is busy running a script."),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    ],
    ids=["NOREPLICAS", "MISCONF", "BUSY", "OOM"],
)
def test_a_refusal_that_may_pass_is_tried_again(refusal: ResponseError) -> None:
    refusals = [refusal] * 2

    async def command() -> str:
        if refusals:
            raise refusals.pop()
        return "done"

    assert asyncio.run(call_redis(command)) == "done"


def test_a_refusal_that_does_not_pass_is_an_error_at_once() -> None:
    async def command() -> None:
        raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")

    with pytest.raises(StoreError, match="Redis refuses: WRONGTYPE"):
        asyncio.run(call_redis(command))


def test_a_redis_that_never_answers_raises_an_error(own_redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_PAUSES", QUICK)
    monkeypatch.setattr(retry, "_ATTEMPTS", 3)
    monkeypatch.setattr(client_module, "_SECONDS", 0.2)

    async def scenario(store: Store) -> None:
        await store.client.client_pause(3000)
        with pytest.raises(RedisUnreachableError, match="Timeout"):
            await store.claim_judge("panes", 0)

    play(url(own_redis), scenario)


@on_every_redis
async def test_a_connection_that_another_call_closes_is_one_that_does_not_answer(store: Store) -> None:
    closed = 0
    for steps in range(30):  # of the event loop, after some of which the connection seems to be open and is not
        await store.client.set("key", "value")
        closing = asyncio.create_task(close_connections(store.client))
        for _ in range(steps):
            await asyncio.sleep(0)
        try:
            assert await call_once(store.client.get, "key") == b"value"
        except RedisUnreachableError as error:
            closed += str(error).endswith("the connection was closed by another call")
        await closing
    assert closed or not isinstance(store.client, RedisCluster)


async def close_connections(client: Client) -> None:
    """As redis-py does when another node has become the primary."""
    if isinstance(client, RedisCluster):
        await asyncio.gather(*(node.disconnect() for node in client.get_nodes()))
    else:
        await client.connection_pool.disconnect()


# Checks of the server


@on_every_redis
async def test_a_server_without_an_append_only_file_is_warned_of(store: Store) -> None:
    (finding,) = await check_server(store.client)
    assert finding == ServerFinding(
        "warning", "Redis keeps no append-only file, so a restart loses all state: set its appendonly to yes"
    )


def test_a_server_that_is_set_up_well_has_no_findings(tmp_path: Path) -> None:
    with real_redis(tmp_path, fsync="everysec") as server:
        assert asyncio.run(findings_of(url(server))) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"},
            ["error: Redis deletes state when memory is short"],
        ),
        ({"maxmemory-policy": "allkeys-lru"}, ["warning: Redis has maxmemory-policy allkeys-lru"]),
        (
            {"maxmemory-policy": "volatile-lru", "maxmemory": "100mb"},
            ["warning: Redis has maxmemory-policy volatile-lru"],
        ),
        ({"maxmemory": "100mb"}, []),
        ({"replicaof": "127.0.0.1 1"}, ["error: Redis is a replica"]),
    ],
)
def test_wrong_settings_of_a_server_are_found(tmp_path: Path, settings: dict[str, str], expected: list[str]) -> None:
    server = real_redis(tmp_path, fsync="everysec")
    server.command = [*server.command, *(word for name in settings for word in (f"--{name}", *settings[name].split()))]
    with server:
        found = [f"{severity}: {message}" for severity, message in asyncio.run(findings_of(url(server)))]
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("version", "fits"),
    [("6.2.14", False), ("7.0.0", True), ("7.2.4", True), ("8.0-rc1", True), ("10.1.0", True), ("?", False)],
)
def test_too_old_versions_are_refused(version: str, fits: bool) -> None:
    errors = [each for each in server_findings({"redis_version": version}, cluster=False) if each.severity == "error"]
    assert bool(errors) is not fits
    assert all(f"Redis {version} is too old: 7.0 or newer" in message for _, message in errors)


def test_a_cluster_is_not_taken_for_one_server() -> None:
    info = {"redis_version": "7.2.0", "redis_mode": "cluster", "aof_enabled": 1}
    assert server_findings(info, cluster=True) == []
    (finding,) = server_findings(info, cluster=False)
    assert finding == ServerFinding("error", "Redis is a cluster: write redis+cluster:// in redis.url")


async def findings_of(address: str) -> list[ServerFinding]:
    client = connect(Redis(url=address))
    try:
        return await check_server(client)
    finally:
        await client.aclose()
