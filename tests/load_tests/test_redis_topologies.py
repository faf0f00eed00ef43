"""The Redis of a chaos run with sentinels and as a cluster, on real servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis as sync_redis

from load_tests.harness.redis_topologies import (
    REDIS_ERRORS,
    client,
    connect_to,
    move_slot,
    redis_cluster,
    redis_with_sentinels,
)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_sentinels_promote_a_replica_of_a_primary_that_died(tmp_path: Path) -> None:
    with redis_with_sentinels(tmp_path, "everysec") as servers, connect_to(servers.url) as redis:
        redis.set("key", "value")
        wait_until(lambda: redis.wait(2, 1000) == 2)
        (died,) = servers.primaries()
        died.kill()
        assert not servers.is_whole()
        wait_until(lambda: written(redis))
        assert servers.primaries() != [died]
        assert redis.get("key") == b"value"


def written(redis: sync_redis.Redis) -> bool:
    with suppress(*REDIS_ERRORS):
        return bool(redis.set("after", "1"))
    return False


def test_a_slot_moves_with_all_its_keys_and_meanwhile_they_are_here_and_there(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, "everysec") as servers, connect_to(servers.url) as redis:
        keys = [f"{{tag}}:{i}" for i in range(20)]
        for key in keys:
            redis.set(key, key)
        primaries = [client(node) for node in servers.primaries()]
        source = next(each for each in primaries if each.dbsize())
        target, *others = (each for each in primaries if each is not source)
        steps = move_slot(source, target, others)
        next(steps)
        assert (source.dbsize(), target.dbsize()) == (19, 1)
        assert [redis.get(key) for key in keys] == [key.encode() for key in keys]
        assert list(steps) == []
        assert (source.dbsize(), target.dbsize()) == (0, 20)
        assert [redis.get(key) for key in keys] == [key.encode() for key in keys]
        for each in primaries:
            each.close()
