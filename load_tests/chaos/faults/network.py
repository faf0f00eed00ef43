"""Faults of the network between workers and servers, caused by the proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from load_tests.chaos.schedule import Fault, Kind, Subject
from load_tests.chaos.site import Site

Cause = Callable[[Site, Fault], AbstractContextManager[None]]


def _cut(server: Subject) -> Cause:
    @contextmanager
    def cause(site: Site, _fault: Fault) -> Iterator[None]:
        site.proxies[server].close()
        yield
        site.proxies[server].open()

    return cause


def _slow(server: Subject) -> Cause:
    @contextmanager
    def cause(site: Site, fault: Fault) -> Iterator[None]:
        site.proxies[server].delay = fault.delay
        yield
        site.proxies[server].delay = 0.0

    return cause


# Seconds by which a chunk of bytes is delayed: more than a network between data centres does.
_DELAY = (0.02, 0.3)

KINDS = (
    Kind("redis connections cut", "redis", _cut("redis"), seconds=(0.0, 4.0)),
    Kind("kafka connections cut", "kafka", _cut("kafka"), seconds=(0.0, 4.0)),
    Kind("redis delayed", "redis", _slow("redis"), seconds=(2.0, 6.0), delay=_DELAY),
    Kind("kafka delayed", "kafka", _slow("kafka"), seconds=(2.0, 6.0), delay=_DELAY),
)
