"""Apache Kafka with one broker or with three, each behind a proxy, which it advertises to the clients of the proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from driftline.stream.demo.servers import START_TIMEOUT, Server, ServerError, free_port, kafka_answers
from load_tests.harness.deployment import Broker
from load_tests.harness.servers import KAFKA_HEAP, kafka_node
from load_tests.harness.tcp_proxy import TcpProxy

# For `-Xmx`, of one of three.
_HEAP = "256m"


@dataclass(frozen=True)
class Brokers:
    """The nodes of a cluster, and the proxy in front of each."""

    nodes: Sequence[Server]
    proxies: Sequence[TcpProxy]

    @property
    def broker(self) -> Broker:
        """How tools reach the brokers: without the proxies."""
        return Broker(self.nodes[0], idempotent=True, others=self.nodes[1:])

    @property
    def bootstrap(self) -> str:
        """How workers reach the brokers: through the proxies."""
        return ",".join(each.address for each in self.proxies)


@contextmanager
def kafka_brokers(directory: Path, count: int) -> Iterator[Brokers]:
    """1 or 3 brokers. With 3, a topic may have 3 replicas, of which 2 must have a record before it is acknowledged."""
    with ExitStack() as stack:
        ports, controllers = ([free_port() for _ in range(count)] for _ in range(2))
        behind = [free_port() for _ in range(count)]
        proxies = [stack.enter_context(TcpProxy(port)) for port in behind]
        nodes = []
        for i, (port, own, proxy) in enumerate(zip(ports, behind, proxies, strict=True), 1):
            folder = directory / f"broker-{i}" if count > 1 else directory
            heap = _HEAP if count > 1 else KAFKA_HEAP
            nodes.append(kafka_node(folder, i, controllers, port, (own, proxy.port), heap))
        for node in nodes:
            node.ready = _at_once  # it answers only once most of them run
            stack.enter_context(node)
        _wait_for(nodes)
        for node in nodes:
            node.ready = kafka_answers
        for proxy in proxies:
            proxy.open()
        yield Brokers(nodes, proxies)


def _at_once(_port: int) -> bool:
    return True


def _wait_for(nodes: Sequence[Server]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not all(kafka_answers(node.port) for node in nodes):
        if time.monotonic() > deadline:
            tails = "\n".join(node.log_tail() for node in nodes)
            raise ServerError(f"the brokers do not answer within {START_TIMEOUT:.0f} s:\n{tails}")
        time.sleep(0.1)
