"""Fixtures for all tests."""

from tests.brokers import broker, redis_server

__all__ = ["broker", "redis_server"]
