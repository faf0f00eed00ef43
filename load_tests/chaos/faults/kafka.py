"""Faults of Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from load_tests.chaos.schedule import Fault, Kind
from load_tests.chaos.site import Site


@contextmanager
def _kill(site: Site, _fault: Fault) -> Iterator[None]:
    site.kafka.kill()
    yield
    site.kafka.start()


@contextmanager
def _terminate(site: Site, _fault: Fault) -> Iterator[None]:
    site.kafka.stop()
    yield
    site.kafka.start()


KINDS = (
    Kind("kafka SIGKILL", "kafka", _kill, seconds=(0.0, 3.0)),
    Kind("kafka SIGTERM", "kafka", _terminate, seconds=(0.0, 3.0)),
)
