"""Faults of the relay and of its pager."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site


@contextmanager
def _kill(site: Site, _fault: Fault) -> Iterator[None]:
    site.relay.send(signal.SIGKILL)
    yield


@contextmanager
def _freeze(site: Site, _fault: Fault) -> Iterator[None]:
    site.relay.send(signal.SIGSTOP)
    yield
    site.relay.send(signal.SIGCONT)


@contextmanager
def _leave(site: Site, _fault: Fault) -> Iterator[None]:
    site.pager.close()
    yield
    site.pager.open()


KINDS = (
    Kind("relay SIGKILL", "relay", _kill),
    # Beyond its session of 6 s, so that it has to join again.
    Kind("relay SIGSTOP, then SIGCONT", "relay", _freeze, seconds=(7.0, 11.0)),
    Kind("pager away", "pager", _leave, seconds=(1.0, 8.0)),
)
