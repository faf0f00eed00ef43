"""How to reach Redis or Valkey: a client of the configuration's `redis` section, calls with retries, start-up checks.

redis://  rediss://                     one server
redis+sentinel://  rediss+sentinel://   the primary that the sentinels name; they themselves are asked without login
redis+cluster://  rediss+cluster://     a cluster, from any of its nodes
"""

from __future__ import annotations

import logging
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
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ConnectionError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,
    TryAgainError,
)

from driftline.stream.config.sections import Redis as RedisConfig
from driftline.stream.retry import pauses, retrying

log = logging.getLogger(__name__)

Client = Redis | RedisCluster

# Connections a worker opens at most: it runs a few dozen calls at once. One that finds none waits, up to what one may
# take itself: in 10 s a commit of 10 MB passes a slow line; at half of it a busy server looks dead.
_CONNECTIONS, _SECONDS = 32, 10.0
# A cluster's client does not wait for a connection, it fails: so let it have one for each partition there can be.
_CLUSTER_CONNECTIONS = 4000
# s. Even in another data centre TCP and TLS shake hands within 1.
_CONNECT_SECONDS = 3.0
# s between tries, 10 in all: a restart, a failover, the move of a slot take 1 to 5. Half of it would not outlast all.
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.5, 2.0, 2.0, 3.0)
_PASSING = (ConnectionError, TimeoutError, ReadOnlyError, ClusterDownError, TryAgainError, RedisClusterException)
# What the tests run on. Valkey says that it is a Redis 7.2.
_OLDEST = (7, 0)


class StoreError(RuntimeError):
    """Redis, or what is stored there, cannot be used; the message says why, in plain words and without a password."""


class RedisUnreachableError(StoreError):
    """Redis did not answer, however often it was asked."""


def connect(redis: RedisConfig) -> Client:
    """A client, to be closed with `aclose`; nothing is contacted before its first call. StoreError.

    It fails at the first error; `call_redis` retries.
    """
    target = _Target.of(redis)
    if target.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in target.nodes]
        return RedisCluster(startup_nodes=nodes, max_connections=_CLUSTER_CONNECTIONS, ssl=target.tls, **target.options)
    return Redis.from_pool(_pool(target))


async def call_redis(command: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a client's command answers, called again while the error may pass.

    The command may be carried out twice, when an answer is lost. Raises StoreError if Redis refuses it, and
    RedisUnreachableError after some 10 s of retries.
    """
    policy = retrying(RedisUnreachableError, pauses(*_PAUSES), attempts=len(_PAUSES) + 1, log=_log_retry)
    return await policy(_ask, command, *args, **options)


def _log_retry(error: BaseException, pause: float) -> None:
    log.warning("%s; trying again in %g s", error, pause)


async def check_server(client: Client) -> list[ServerFinding]:
    """What is wrong with the server, or with any primary of the cluster; asked once.

    StoreError, RedisUnreachableError.
    """
    cluster = isinstance(client, RedisCluster)
    answer = await _ask(client.info, **({"target_nodes": RedisCluster.PRIMARIES} if cluster else {}))
    infos = [answer] if "redis_version" in answer else answer.values()
    return list(dict.fromkeys(chain.from_iterable(server_findings(info, cluster=cluster) for info in infos)))


class ServerFinding(NamedTuple):
    """What is wrong with a server, in plain words; with an error it must not be used."""

    severity: Literal["error", "warning"]
    message: str


def server_findings(info: Mapping[str, Any], *, cluster: bool) -> list[ServerFinding]:
    """What is wrong with a server, from its INFO. cluster: whether the client is one for clusters."""
    version, policy = str(info.get("redis_version", "0.0")), str(info.get("maxmemory_policy", "noeviction"))
    evicts = policy.startswith("allkeys") and bool(info.get("maxmemory"))
    errors = {
        f"Redis {version} is too old: 7.0 or newer, or Valkey, is needed": _numbers(version) < _OLDEST,
        "Redis is a cluster: write redis+cluster:// in redis.url": info.get("redis_mode") == "cluster" and not cluster,
        "Redis is a replica, which takes no writes: name its primary in redis.url": info.get("role") == "slave",
        f"Redis deletes state when memory is short: set its maxmemory-policy, {policy}, to noeviction": evicts,
    }
    warnings = {
        f"Redis has maxmemory-policy {policy}: set it to noeviction": policy != "noeviction" and not evicts,
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


async def _ask(command: Callable[..., Any], *args: Any, **options: Any) -> Any:
    try:
        return await command(*args, **options)
    except (RedisError, RedisClusterException) as error:
        if isinstance(error, AuthenticationError | AuthorizationError):
            raise StoreError(f"Redis refuses the login of redis.url and redis.password_env: {error}") from error
        if isinstance(error, _PASSING):
            raise RedisUnreachableError(f"Redis does not answer: {error}") from error
        raise StoreError(f"Redis refuses: {error}") from error


def _pool(target: _Target) -> BlockingConnectionPool:
    limits: dict[str, Any] = {"max_connections": _CONNECTIONS, "timeout": _SECONDS, "db": target.db}
    if target.kind == "sentinel":
        asked = {name: value for name, value in target.options.items() if name not in ("username", "password")}
        sentinels = Sentinel(target.nodes, sentinel_kwargs={**asked, "ssl": target.tls})  # type: ignore[no-untyped-call]
        return _SentinelPool(target.master, sentinels, ssl=target.tls, **target.options, **limits)  # type: ignore[no-untyped-call]
    ((host, port),) = target.nodes
    connection = SSLConnection if target.tls else Connection
    return BlockingConnectionPool(connection_class=connection, host=host, port=port, **target.options, **limits)


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Waits for a connection, where Sentinel's own pool fails, and closes those to the sentinels too."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


@dataclass(frozen=True, repr=False)
class _Target:
    """What a URL says. nodes: host and port. options: keyword arguments of any connection."""

    kind: str
    tls: bool
    nodes: list[tuple[str, int]]
    master: str
    db: int
    options: Mapping[str, Any]

    @classmethod
    def of(cls, redis: RedisConfig) -> Self:
        scheme, _, rest = redis.url.partition("://")
        login, _, place = rest.rpartition("@")
        addresses, _, path = place.partition("/")
        tls, kind = scheme.startswith("rediss"), scheme.partition("+")[2]
        master, _, db = path.partition("/") if kind == "sentinel" else ("", "", path)
        nodes = [_node(address, 26379 if kind == "sentinel" else 6379) for address in addresses.split(",")]
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
