"""Fixtures for all tests, and what tests need that not every machine has: real data in ../shared/data."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.harness.alertmanagers import alertmanager, receiver
from tests.harness.brokers import broker, redis_server

__all__ = ["alertmanager", "broker", "receiver", "redis_server", "shared_data"]

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

# The same examples on every run and machine; a shared machine's pauses are no failures.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not SHARED_DATA.is_dir() and item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason="needs ../shared/data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of the Electricity stream; tests that use it are marked `shared`."""
    return SHARED_DATA
