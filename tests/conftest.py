"""Fixtures for all tests, and what tests need that not every machine has: data in ../shared."""

from __future__ import annotations

import os

# Numpy reads it when it is imported. With more threads, the small matrix products of the tests take four times the
# processor time, and the cores are busy with other tests anyway.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import socket
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import settings
from kafka.net.inet import KafkaNetSocket

from tests.harness.alertmanagers import alertmanager, receiver
from tests.harness.brokers import broker, redis_server

__all__ = ["alertmanager", "broker", "receiver", "redis_server", "shared_cases", "shared_data"]

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
SHARED_CASES = SHARED_DATA.parent / "cases"

# The same examples on every run and machine; a shared machine's pauses are no failures.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


class ForgottenSocket(socket.socket):
    """A socket that its last reference closes without a warning, which would fail whatever test runs then.

    For kafka-python 3.0 alone: it forgets a socket whose connecting fails or is cancelled.
    """

    def __del__(self) -> None:
        self.close()


KafkaNetSocket.socket = lambda _proxy, *kind: ForgottenSocket(*kind)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not SHARED_DATA.is_dir() and item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason="needs ../shared"))
    items[:] = spread(items)


def spread(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests with those on a broker, which mostly wait, spread evenly among the modules of the others.

    So the processes that share the tests do not all wait at the same time, nor compute at the same time.
    """
    waiting = [item for item in items if "broker" in getattr(item, "fixturenames", ())]
    others = [item for item in items if item not in waiting]
    place = {item: (i + 0.5) / len(waiting) for i, item in enumerate(waiting)}
    before = 0
    for _, tests in groupby(others, lambda item: item.path):
        module = list(tests)
        place |= dict.fromkeys(module, before / len(others))
        before += len(module)
    return sorted(items, key=place.__getitem__)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of the Electricity stream; tests that use it are marked `shared`."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The directory of inputs as people have them, one folder per situation; tests that use it are marked `shared`."""
    return SHARED_CASES
