"""How to reach Redis or Valkey: a client of the configuration's `redis` section, calls with retries, start-up checks.

redis://  rediss://                     one server
redis+sentinel://  rediss+sentinel://   the primary that the sentinels name; the sentinels are asked without login
redis+cluster://  rediss+cluster://     a cluster, from any of its nodes
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import unquote

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,
    TryAgainError,
)

from driftline.stream.config.sections import Redis as RedisConfig
from driftline.stream.retry import patiently
from driftline.stream.text.phrases import counted

Client = Redis | RedisCluster

# Most connections of a worker, which makes a few dozen calls at once; and the s that a call may take, or wait for a
# connection: in 10 s a commit of 10 MB passes a slow network, at half of it a busy server looks dead.
_CONNECTIONS, _SECONDS = 32, 10.0
# A cluster's client fails where the other ones wait for a connection: so it may have one per partition.
_CLUSTER_CONNECTIONS = 4000
# s. Even in another data centre TCP and TLS shake hands within 1.
_CONNECT_SECONDS = 3.0
_TRANSIENT = (
    ConnectionError,
    TimeoutError,
    ReadOnlyError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    TryAgainError,
    AskError,  # and MovedError: a slot has moved while a pipeline was under way
    RedisClusterException,
)
# How Redis begins a refusal of writes that passes by itself or when somebody helps: too few replicas, a snapshot that
# failed, a script of another client that runs for long. It answers so before it has changed anything.
_PASSING = ("NOREPLICAS", "MISCONF", "BUSY")
# The oldest version that the tests run on. Valkey reports itself as Redis 7.2.
_OLDEST_VERSION = (7, 0)
_WAITAOF_VERSION = (7, 2)


class StoreError(RuntimeError):
    """Redis, or what is stored there, cannot be used; the message says why, and holds no password."""


class RedisUnreachableError(StoreError):
    """Redis did not answer, or refuses at the moment."""


def connect(redis: RedisConfig) -> Client:
    """A client, to be closed with `aclose`. It contacts nothing before its first call, and does not retry.

    Raises StoreError if a password or a certificate that the configuration names is missing.
    """
    address = _Address.of(redis)
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return RedisCluster(
            startup_nodes=nodes, max_connections=_CLUSTER_CONNECTIONS, ssl=address.tls, **address.options
        )
    return Redis.from_pool(_pool(address))


def check_named(redis: RedisConfig) -> None:
    """Raise StoreError if a password or a certificate that the configuration names is missing."""
    _Address.of(redis)


async def call_redis(command: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a client's command answers, called again while the error may pass, see `stream.retry.patiently`.

    The command may be carried out twice, when an answer is lost. Raises StoreError if Redis refuses it, and
    RedisUnreachableError after some 10 s of retries, unless this process waits without end.
    """
    return await patiently("Redis", RedisUnreachableError, call_once, command, *args, **options)


async def check_server(client: Client, replicas: int = 0) -> list[ServerFinding]:
    """What is wrong with the server, or with any primary of the cluster; does not retry.

    replicas: on how many replicas' disks some writes are to be. Raises StoreError if the server refuses,
    RedisUnreachableError if it does not answer.
    """
    cluster = isinstance(client, RedisCluster)
    answer = await call_once(client.info, **({"target_nodes": RedisCluster.PRIMARIES} if cluster else {}))
    infos = [answer] if "redis_version" in answer else answer.values()
    return list(dict.fromkeys(chain.from_iterable(server_findings(info, cluster, replicas) for info in infos)))


class ServerFinding(NamedTuple):
    """What is wrong with a server. One with an error must not be used."""

    severity: Literal["error", "warning"]
    message: str


def server_findings(info: Mapping[str, Any], cluster: bool, replicas: int = 0) -> list[ServerFinding]:
    """What is wrong with a server according to its INFO. cluster: whether the client is one for clusters.

    replicas: how many are to have what must be durable on their disks.
    """
    version, policy = str(info.get("redis_version", "0.0")), str(info.get("maxmemory_policy", "noeviction"))
    evicts = policy.startswith("allkeys") and bool(info.get("maxmemory"))
    errors = {
        f"Redis {version} is too old: 7.0 or newer, or Valkey, is needed": _numbers(version) < _OLDEST_VERSION,
        "Redis is a cluster: write redis+cluster:// in redis.url": info.get("redis_mode") == "cluster" and not cluster,
        "Redis is a replica, which takes no writes: name its primary in redis.url": info.get("role") == "slave",
        f"redis.replicas needs Redis 7.2 or newer, which has WAITAOF; this is {version}": (
            replicas > 0 and _numbers(version) < _WAITAOF_VERSION
        ),
        "redis.replicas needs an append-only file: set the appendonly of Redis and its replicas to yes": (
            replicas > 0 and not info.get("aof_enabled")
        ),
        f"Redis deletes state when memory is short: set its maxmemory-policy, {policy}, to noeviction": evicts,
    }
    following = int(info.get("connected_slaves", replicas))
    numbers = f"Redis has {counted(following, 'replica')} and redis.replicas is {replicas}"
    warnings = {
        f"Redis has maxmemory-policy {policy}: set it to noeviction": policy != "noeviction" and not evicts,
        f"{numbers}, so a failover may lose the end of an idle run and its events: set it to {following}": (
            following > replicas
        ),
        f"{numbers}, so takeovers and idle runs wait: start the others, or set it to {following}": following < replicas,
        "Redis keeps no append-only file, so a restart loses all state: set its appendonly to yes": (
            not info.get("aof_enabled")
        ),
    }
    return [
        *(ServerFinding("error", message) for message, wrong in errors.items() if wrong),
        *(ServerFinding("warning", message) for message, wrong in warnings.items() if wrong),
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


async def call_once(command: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a client's command answers. Does not retry; raises the errors of `call_redis`."""
    try:
        return await command(*args, **options)
    except AttributeError as error:
        if not _is_closed_meanwhile(error):
            raise
        raise RedisUnreachableError("Redis does not answer: the connection was closed by another call") from error
    except (RedisError, RedisClusterException) as error:
        if isinstance(error, AuthenticationError | AuthorizationError):
            raise StoreError(f"Redis refuses the login of redis.url and redis.password_env: {error}") from error
        if isinstance(error, _TRANSIENT):
            raise RedisUnreachableError(f"Redis does not answer: {error}") from error
        if isinstance(error, OutOfMemoryError) or str(error).startswith(_PASSING):
            raise RedisUnreachableError(f"Redis refuses at the moment: {error}") from error
        raise StoreError(f"Redis refuses: {error}") from error


def _is_closed_meanwhile(error: AttributeError) -> bool:
    """Whether a cluster's client closed a connection just before it wrote to it, as it does when a primary changes."""
    return error.obj is None and error.name == "writelines"


def _pool(address: _Address) -> BlockingConnectionPool:
    limits: dict[str, Any] = {"max_connections": _CONNECTIONS, "timeout": _SECONDS, "db": address.db}
    if address.kind == "sentinel":
        options = {name: value for name, value in address.options.items() if name not in ("username", "password")}
        sentinels = Sentinel(address.nodes, sentinel_kwargs={**options, "ssl": address.tls})  # type: ignore[no-untyped-call]
        return _SentinelPool(address.master, sentinels, ssl=address.tls, **address.options, **limits)  # type: ignore[no-untyped-call]
    ((host, port),) = address.nodes
    connection = SSLConnection if address.tls else Connection
    return BlockingConnectionPool(connection_class=connection, host=host, port=port, **address.options, **limits)


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Waits for a connection where Sentinel's own pool fails, and also closes those to the sentinels."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


@dataclass(frozen=True, repr=False)
class _Address:
    """The parts of a URL. nodes: hosts and ports. options: keyword arguments of every connection."""

    kind: str
    tls: bool
    nodes: list[tuple[str, int]]
    master: str
    db: int
    options: Mapping[str, Any]

    @classmethod
    def of(cls, redis: RedisConfig) -> Self:
        scheme, _, rest = redis.url.partition("://")
        login, _, location = rest.rpartition("@")
        hosts, _, path = location.partition("/")
        tls, kind = scheme.startswith("rediss"), scheme.partition("+")[2]
        master, _, db = path.partition("/") if kind == "sentinel" else ("", "", path)
        nodes = [_node(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",")]
        return cls(kind, tls, nodes, master, int(db or 0), _options(redis, login, tls))


def _node(address: str, default: int) -> tuple[str, int]:
    """Host and port of "host", "host:port" or "[v6]:port"."""
    bracket = address.rfind("]") + 1
    host, _, port = address[bracket:].partition(":")
    return address[:bracket].strip("[]") or host, int(port or default)


def _options(redis: RedisConfig, login: str, tls: bool) -> dict[str, Any]:
    user, _, password = login.partition(":")
    options: dict[str, Any] = {
        "username": unquote(user) or None,
        "password": unquote(password) or _from_environment(redis.password_env),
        "socket_timeout": _SECONDS,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    if tls and redis.ca_file:
        if not os.access(redis.ca_file, os.R_OK):
            raise StoreError(f"redis.ca_file: cannot read {redis.ca_file}")
        options["ssl_ca_certs"] = redis.ca_file
    return options


def _from_environment(name: str | None) -> str | None:
    if name is not None and name not in os.environ:
        raise StoreError(f"redis.password_env: there is no environment variable {name}")
    return os.environ[name] if name else None
