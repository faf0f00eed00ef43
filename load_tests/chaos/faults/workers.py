"""Faults of workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site

# Workers at least, and at most.
_FEWEST, _MOST = 2, 5
# Seconds to wait until workers have fallen behind. They do so right after a burst, or not at all.
_UNTIL_BEHIND = 5.0


@contextmanager
def _kill(site: Site, fault: Fault) -> Iterator[None]:
    site.fleet.send(fault.victim, signal.SIGKILL)
    yield


@contextmanager
def _terminate(site: Site, fault: Fault) -> Iterator[None]:
    site.fleet.send(fault.victim, signal.SIGTERM, signal.SIGCONT)
    yield


@contextmanager
def _add(site: Site, fault: Fault) -> Iterator[None]:
    _change_number(site, fault, grow=len(site.fleet.slots) < _MOST)
    yield


@contextmanager
def _remove(site: Site, fault: Fault) -> Iterator[None]:
    _change_number(site, fault, grow=len(site.fleet.slots) <= _FEWEST)
    yield


def _change_number(site: Site, fault: Fault, grow: bool) -> None:
    site.fleet.add() if grow else site.fleet.remove(fault.victim)


@contextmanager
def _freeze(site: Site, fault: Fault) -> Iterator[None]:
    """While it is behind; otherwise it would have nothing to write when it wakes."""
    site.wait_for(lambda: site.behind() > site.producer.burst / 2, _UNTIL_BEHIND)
    worker = site.fleet.send(fault.victim, signal.SIGSTOP)
    yield
    worker.process.send_signal(signal.SIGCONT)


KINDS = (
    Kind("worker SIGKILL", "worker", _kill),
    Kind("worker SIGTERM", "worker", _terminate),
    Kind("worker added", "worker", _add),
    Kind("worker removed", "worker", _remove),
    # A worker must be stopped beyond its session of 6 s to be replaced.
    Kind("worker SIGSTOP, then SIGCONT", "worker", _freeze, seconds=(7.0, 11.0)),
)
