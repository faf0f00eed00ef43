"""Scripts are sent by name, and in full to a server that does not know them; on any kind of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from driftline.stream.state.client import StoreError
from driftline.stream.state.fencing import NEXT_EPOCH, fenced
from driftline.stream.state.scripts import Script
from driftline.stream.state.store import Store
from tests.harness.brokers import unique
from tests.harness.redis_servers import on_every_redis, redis_url

__all__ = ["redis_url"]


def new_script() -> Script:
    """A script that no server has seen: it counts in KEYS[1] and answers the count."""
    return Script(f"-- {unique('script')}\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])")


async def times_sent(store: Store, command: str) -> int:
    """How often the server has carried out a command without an error."""
    stats = (await store.client.info("commandstats")).get(f"cmdstat_{command}", {})
    return int(stats.get("calls", 0)) - int(stats.get("failed_calls", 0))


@asynccontextmanager
async def synced_to_disk(store: Store) -> AsyncIterator[None]:
    """Lets the server have an append-only file that it syncs at every write."""
    await store.client.config_set("appendonly", "yes")
    await store.client.config_set("appendfsync", "always")
    try:
        yield
    finally:
        await store.client.config_set("appendonly", "no")
        await store.client.config_set("appendfsync", "no")


@on_every_redis
async def test_a_script_is_sent_in_full_only_once(store: Store) -> None:
    script, key = new_script(), f"{store.namespace}:count"
    before = await times_sent(store, "eval")
    assert [await script.run(store.client, [key], 2) for _ in range(3)] == [2, 4, 6]
    assert await times_sent(store, "eval") == before + 1


@on_every_redis
async def test_a_server_that_has_lost_its_scripts_is_sent_them_again(store: Store) -> None:
    script, key = new_script(), f"{store.namespace}:count"
    for count, run in enumerate((script.run, script.run, script.run_durably, script.run_durably), 1):
        await store.client.script_flush()
        assert await run(store.client, [key], 1) == count
        assert await store.client.script_exists(script.sha) == [True]


@on_every_redis
async def test_a_durable_run_waits_for_the_disk_whether_or_not_the_server_knows_the_script(store: Store) -> None:
    script, key = new_script(), f"{store.namespace}:count"
    async with synced_to_disk(store):
        before = await times_sent(store, "waitaof")
        assert [await script.run_durably(store.client, [key], 1) for _ in range(2)] == [1, 2]
        assert await times_sent(store, "waitaof") == before + 3  # the first time also after the name alone


@on_every_redis
async def test_an_error_in_a_script_is_raised_and_not_tried_in_full(store: Store) -> None:
    script = Script(f"-- {unique('script')}\nreturn redis.call('INCRBY', KEYS[1], 'no number')")
    for run in (script.run, script.run_durably):
        with pytest.raises(StoreError, match=r"Redis refuses: .*not an integer"):
            await run(store.client, [f"{store.namespace}:count"])


@on_every_redis
async def test_a_fenced_script_writes_only_under_the_newest_epoch(store: Store) -> None:
    owner, write = f"{store.namespace}:owner", fenced("redis.call('HSET', KEYS[1], 'value', ARGV[2])\nreturn {'ok'}")
    claim = Script(f"return {NEXT_EPOCH}")
    assert await write.run(store.client, [owner], 1, "early") == [b"fenced", b"none"]
    first, second = [await claim.run(store.client, [owner]) for _ in range(2)]
    assert await write.run(store.client, [owner], first, "late") == [b"fenced", b"2"]
    assert await write.run(store.client, [owner], second, "mine") == [b"ok"]
    assert await store.client.hget(owner, "value") == b"mine"
