"""Faults of the network between workers and servers, caused by the proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from load_tests.chaos.schedule import Fault, Kind, Subject
from load_tests.chaos.site import Site
from load_tests.harness.tcp_proxy import TcpProxy, Whose

Cause = Callable[[Site, Fault], AbstractContextManager[None]]


def _all(server: Subject, begin: Callable[[TcpProxy, Fault], None], end: Callable[[TcpProxy], None]) -> Cause:
    """A fault of all connections to a server."""

    @contextmanager
    def cause(site: Site, fault: Fault) -> Iterator[None]:
        for proxy in site.proxies(server):
            begin(proxy, fault)
        yield
        for proxy in site.proxies(server):
            end(proxy)

    return cause


def _of_one_worker(server: Subject, begin: Callable[[TcpProxy, Whose], None]) -> Cause:
    """A fault of one worker's connections to a server."""

    @contextmanager
    def cause(site: Site, fault: Fault) -> Iterator[None]:
        slot = site.fleet.slot(fault.victim)
        for proxy in site.proxies(server):
            begin(proxy, lambda port: site.fleet.holds_port(slot, port))
        yield
        for proxy in site.proxies(server):
            proxy.open()

    return cause


def _cut(proxy: TcpProxy, _fault: Fault) -> None:
    proxy.close()


def _delay(proxy: TcpProxy, fault: Fault) -> None:
    proxy.delay = fault.delay


def _hurry(proxy: TcpProxy) -> None:
    proxy.delay = 0.0


def _kinds(server: Subject) -> Sequence[Kind]:
    return (
        Kind(f"{server} connections cut", server, _all(server, _cut, TcpProxy.open), seconds=(0.0, 4.0)),
        # More than a network between data centres does.
        Kind(f"{server} delayed", server, _all(server, _delay, _hurry), seconds=(2.0, 6.0), delay=(0.02, 0.3)),
        # Beyond a worker's session of 6 s. What it wrote before the fault arrives when others own its partitions.
        Kind(f"worker cut off from {server}", "worker", _of_one_worker(server, TcpProxy.shut_out), seconds=(5.0, 15.0)),
        Kind(f"worker frozen to {server}", "worker", _of_one_worker(server, TcpProxy.freeze), seconds=(7.0, 12.0)),
    )


KINDS = (*_kinds("redis"), *_kinds("kafka"))
