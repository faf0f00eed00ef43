"""Redis in the ways in which it is deployed, each node behind a proxy: one server, one with sentinels, a cluster.

one         a primary without replicas
sentinel    a primary, 2 replicas and 3 sentinels, of which 2 must agree on a failover
cluster     3 primaries with a replica each

Nodes announce the ports of their proxies: workers, sentinels and replicas come through them, the cluster bus does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis as sync_redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from driftline.stream.demo.servers import Fsync, Server, free_port, redis_answers
from load_tests.harness.servers import real_redis
from load_tests.harness.tcp_proxy import TcpProxy

Client = sync_redis.Redis
#: What a client raises. That of a cluster has an error of its own when no node answers.
REDIS_ERRORS = (sync_redis.RedisError, sync_redis.RedisClusterException)

# Seconds after which a node that does not answer is replaced: a busy machine of two cores may need one to answer.
_DOWN = 2.0
# Seconds that servers have to find each other.
_TIMEOUT = 60.0
_SENTINELS, _QUORUM = 3, 2
# A primary that no replica has followed for some seconds takes no writes, so that a failover loses little.
_REPLICATED = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "3"]


@dataclass(frozen=True)
class RedisServers:
    """url: how workers reach the nodes, through the proxies. direct: how the tools do, with a single node without them.

    replicas: of each primary. sentinels: none but in that topology.
    """

    url: str
    direct: str
    nodes: Sequence[Server]
    proxies: Sequence[TcpProxy]
    replicas: int
    sentinels: Sequence[Server] = ()

    def primaries(self) -> list[Server]:
        """The nodes that run and are primaries."""
        return [node for node in self.nodes if _replication(node).get("role") == "master"]

    def secondaries(self) -> list[Server]:
        """The nodes that run and are replicas."""
        return [node for node in self.nodes if _replication(node).get("role") == "slave"]

    def configure(self, **settings: str) -> None:
        """CONFIG SET on every node; a dash in a name is an underscore here."""
        for node in self.nodes:
            with client(node) as redis:
                for name, value in settings.items():
                    redis.config_set(name.replace("_", "-"), value)

    def is_whole(self) -> bool:
        """Whether every node runs and all replicas follow: then no single fault loses what two nodes hold."""
        found = [_replication(node) for node in self.nodes]
        primaries = [each for each in found if each.get("role") == "master"]
        following = sum(_is_online(each) for info in primaries for each in info.values())
        return len(primaries) * (1 + self.replicas) == len(self.nodes) == len(primaries) + following


def _is_online(replica: object) -> bool:
    """Whether a value of INFO describes a replica that follows."""
    return isinstance(replica, dict) and replica.get("state") == "online"


def client(node: Server) -> sync_redis.Redis:
    """A client of one node, which does not come through its proxy."""
    return sync_redis.Redis(port=node.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def connect_to(url: str, **options: Any) -> sync_redis.Redis | sync_redis.RedisCluster:
    """A client of a `redis.url` of any kind, without login."""
    address = urlsplit(url)
    nodes = [(host, int(port)) for host, _, port in (each.partition(":") for each in address.netloc.split(","))]
    if address.scheme == "redis+cluster":
        startup = [sync_redis.cluster.ClusterNode(*node) for node in nodes]
        return sync_redis.RedisCluster(startup_nodes=startup, **options)
    if address.scheme == "redis+sentinel":
        return Sentinel(nodes, **options).master_for(address.path.split("/")[1], **options)
    return sync_redis.Redis.from_url(url, **options)


def _replication(node: Server) -> dict[str, Any]:
    """What INFO says about replication, nothing if the node does not answer."""
    try:
        with client(node) as redis:
            return dict(redis.info("replication"))
    except REDIS_ERRORS:
        return {}


@contextmanager
def one_redis(directory: Path, fsync: Fsync) -> Iterator[RedisServers]:
    """One primary without replicas."""
    with ExitStack() as stack:
        node = stack.enter_context(_node(directory, fsync))
        proxy = _proxy(stack, node)
        yield RedisServers(f"redis://{proxy.address}/0", f"redis://{node.address}/0", [node], [proxy], replicas=0)


@contextmanager
def redis_with_sentinels(directory: Path, fsync: Fsync) -> Iterator[RedisServers]:
    """A primary, 2 replicas and 3 sentinels."""
    with ExitStack() as stack:
        plain = [_node(directory / f"node-{i}", fsync) for i in range(3)]
        proxies = [_proxy(stack, node) for node in plain]
        first = proxies[0].port
        nodes = [
            stack.enter_context(_announcing(node, proxy.port, None if proxy.port == first else first))
            for node, proxy in zip(plain, proxies, strict=True)
        ]
        sentinels = [
            stack.enter_context(_sentinel(nodes[0].command[0], directory / f"sentinel-{i}", first))
            for i in range(_SENTINELS)
        ]
        url = f"redis+sentinel://{','.join(each.address for each in sentinels)}/main/0"
        servers = RedisServers(url, url, nodes, proxies, 2, sentinels)
        _wait_until(lambda: servers.is_whole() and all(_knows_all(each) for each in sentinels))
        yield servers


@contextmanager
def redis_cluster(directory: Path, fsync: Fsync) -> Iterator[RedisServers]:
    """3 primaries with a replica each."""
    with ExitStack() as stack:
        plain = [_node(directory / f"node-{i}", fsync) for i in range(6)]
        proxies = [_proxy(stack, node) for node in plain]
        buses = [free_port() for _ in plain]
        nodes = [
            stack.enter_context(_member(node, proxy.port, bus))
            for node, proxy, bus in zip(plain, proxies, buses, strict=True)
        ]
        _form_cluster(nodes, buses)
        url = f"redis+cluster://{','.join(each.address for each in proxies)}"
        servers = RedisServers(url, url, nodes, proxies, 1)
        _wait_until(servers.is_whole)
        yield servers


def move_slot(source: Client, target: Client, others: Sequence[Client]) -> Iterator[None]:
    """Move the slot of some key from one primary to another: yields once, when one of its keys has moved."""
    key = source.randomkey()
    slot = source.cluster("KEYSLOT", key)
    ids = {each: each.execute_command("CLUSTER MYID") for each in (source, target)}
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
    port = target.connection_pool.connection_kwargs["port"]
    source.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 5000)
    yield
    while keys := source.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
        source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
    for each in (target, source, *others):
        each.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])


def _node(directory: Path, fsync: Fsync) -> Server:
    server = real_redis(directory, fsync=fsync)
    # One append-only file, which the power cut shortens.
    return replace(server, command=[*server.command, "--auto-aof-rewrite-percentage", "0"])


def _proxy(stack: ExitStack, node: Server) -> TcpProxy:
    proxy = stack.enter_context(TcpProxy(node.port))
    proxy.open()
    return proxy


def _announcing(node: Server, port: int, primary: int | None) -> Server:
    """A node with a file, in which it keeps what the sentinels make of it. primary: its port, of a replica."""
    binary, *options = node.command
    path = node.log.parent / "redis.conf"
    lines = ["replica-announce-ip 127.0.0.1", f"replica-announce-port {port}"]
    lines += [f"replicaof 127.0.0.1 {primary}"] if primary else []
    path.write_text("".join(f"{line}\n" for line in lines))
    return replace(node, command=[binary, str(path), *options, *_REPLICATED])


def _sentinel(binary: str, directory: Path, primary: int) -> Server:
    directory.mkdir(parents=True)
    port, path = free_port(), directory / "sentinel.conf"
    path.write_text(
        f"bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {primary} {_QUORUM}\n"
        f"sentinel down-after-milliseconds main {_DOWN * 1000:.0f}\n"
        f"sentinel failover-timeout main 5000\nsentinel parallel-syncs main 2\n"
    )
    command = [binary, str(path), "--sentinel", "--dir", str(directory)]
    return Server("sentinel", command, port, directory / "sentinel.log", redis_answers)


def _knows_all(sentinel: Server) -> bool:
    with client(sentinel) as redis:
        (main,) = redis.sentinel_masters().values()
        return (main["num-slaves"], main["num-other-sentinels"]) == (2, _SENTINELS - 1)


def _member(node: Server, port: int, bus: int) -> Server:
    options = {
        "cluster-enabled": "yes",
        "cluster-port": bus,
        "cluster-node-timeout": round(_DOWN * 1000),
        "cluster-allow-replica-migration": "no",
        "cluster-announce-ip": "127.0.0.1",
        "cluster-announce-port": port,
        "cluster-announce-bus-port": bus,
    }
    flat = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return replace(node, command=[*node.command, *flat])


def _form_cluster(nodes: Sequence[Server], buses: Sequence[int]) -> None:
    """Let the nodes meet; the first half gets the slots, each of the others follows one of them."""
    with ExitStack() as stack:
        clients = [stack.enter_context(client(node)) for node in nodes]
        primaries, followers = clients[: len(nodes) // 2], clients[len(nodes) // 2 :]
        bounds = [16384 * i // len(primaries) for i in range(len(primaries) + 1)]
        for each, (first, end) in zip(primaries, pairwise(bounds), strict=True):
            each.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for epoch, each in enumerate(clients, 1):
            each.execute_command("CLUSTER SET-CONFIG-EPOCH", epoch)
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        _wait_until(lambda: all(_has_heard_of(each, len(nodes)) for each in clients))
        for primary, follower in zip(primaries, followers, strict=True):
            follower.execute_command("CLUSTER REPLICATE", primary.execute_command("CLUSTER MYID"))
        _wait_until(lambda: all(each.cluster("INFO")["cluster_state"] == "ok" for each in clients))


def _has_heard_of(node: sync_redis.Redis, count: int) -> bool:
    found = node.cluster("NODES").values()
    return len(found) == count and not any("handshake" in each["flags"] for each in found)


def _wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the Redis servers do not find each other within {_TIMEOUT:.0f} s")
        time.sleep(0.1)
