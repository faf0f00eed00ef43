"""The group's format level: where it begins, who keeps it from being raised, and whom it refuses from then on."""

from __future__ import annotations

import pytest

from driftline.stream.codec.levels import FIRST, NEWEST
from driftline.stream.state.fencing import NEXT_EPOCH, FencedError
from driftline.stream.state.level import VALID, GroupLevel, LevelError, WorkerReport
from driftline.stream.state.scripts import Script
from driftline.stream.state.store import NewerError, SketchPartition, Store, version_of
from tests.harness.redis_servers import contents, on_every_redis, redis_url

__all__ = ["redis_url"]
TOPIC, PANES = "predictions", "driftline.panes"
# As in the version before there were levels.
CLAIM_BEFORE_LEVELS = Script(f"""
local version = redis.call('HGET', KEYS[1], 'version')
if version and tonumber(version) > tonumber(ARGV[1]) then return {{'newer', version}} end
redis.call('HSET', KEYS[1], 'version', ARGV[1])
return {{'ok', {NEXT_EPOCH}}}
""")


async def claim_before_levels(store: Store, partition: int) -> SketchPartition:
    key = f"{store.namespace}:{{sketch/{TOPIC}/{partition}}}"
    return SketchPartition(store, key, int((await store.run(CLAIM_BEFORE_LEVELS, [key], 2))[0]))


@on_every_redis
async def test_a_new_group_begins_at_the_newest_level(store: Store) -> None:
    level = GroupLevel(store)
    assert (await level.standing(0.0)).level == NEWEST
    assert await level.begin() == await level.begin() == await level.read() == NEWEST


@on_every_redis
async def test_a_group_that_began_without_levels_is_at_the_first(store: Store) -> None:
    level = GroupLevel(store)
    await store.bind({"topics.predictions": TOPIC})
    assert await level.begin() == await level.read() == FIRST
    assert await store.bound() == {"topics.predictions": TOPIC}


@on_every_redis
async def test_a_group_older_than_its_facts_is_at_the_first(store: Store) -> None:
    await claim_before_levels(store, 0)
    assert await GroupLevel(store).begin() == FIRST
    assert await store.bound() == {}


@on_every_redis
async def test_a_level_that_this_version_cannot_do_is_refused_before_anything_is_written(store: Store) -> None:
    level = GroupLevel(store)
    await store.bind({"level": str(NEWEST + 1)})
    before = await contents(store)
    for ask in (level.begin, level.read):
        with pytest.raises(LevelError, match=rf"format level {NEWEST + 1}, and this version can do {NEWEST} at most: "):
            await ask()
    assert (await level.standing(0.0)).level == NEWEST + 1
    assert await contents(store) == before


@on_every_redis
async def test_a_raised_partition_is_refused_to_workers_without_levels_and_no_byte_changes(store: Store) -> None:
    level = GroupLevel(store)
    await store.bind({"topics.predictions": TOPIC})
    sketcher, judge = await store.claim_sketch(TOPIC, 0), await store.claim_judge(PANES, 0)
    assert (await claim_before_levels(store, 1)).epoch == 1
    await store.claim_sketch(TOPIC, 1)
    assert (await level.standing(0.0)).older() == []
    await level.raise_to(NEWEST)
    assert await level.read() == NEWEST
    before = await contents(store)
    for partition in (0, 1):
        with pytest.raises(NewerError, match=f"written by a newer Driftline, in version {version_of(NEWEST)}"):
            await claim_before_levels(store, partition)
    assert await contents(store) == before
    await sketcher.seal(0, 10)  # its owner works on
    await judge.commit(5, {})


@on_every_redis
async def test_a_partition_claimed_at_a_raised_level_is_refused_too(store: Store) -> None:
    await store.claim_sketch(TOPIC, 0, NEWEST)
    with pytest.raises(NewerError):
        await claim_before_levels(store, 0)
    await store.claim_sketch(TOPIC, 0, FIRST)  # by a worker that has not yet heard of the raised level
    with pytest.raises(NewerError):
        await claim_before_levels(store, 0)


@on_every_redis
async def test_an_owner_without_levels_keeps_the_level_from_being_raised(store: Store) -> None:
    level = GroupLevel(store)
    await store.bind({"topics.predictions": TOPIC})
    await store.claim_sketch(TOPIC, 0)
    await store.claim_sketch(TOPIC, 1)
    older = await claim_before_levels(store, 1)
    assert (await level.standing(0.0)).older() == [
        "topic predictions, partition 1: taken over last by a worker that can do level 1 at most"
    ]
    with pytest.raises(LevelError, match=f"partition 1: a worker that cannot do level {NEWEST} has just taken it over"):
        await level.raise_to(NEWEST)
    assert await level.read() == FIRST
    await older.seal(0, 10)


@on_every_redis
async def test_forced_the_raise_fences_off_owners_that_can_do_less_and_no_others(store: Store) -> None:
    level = GroupLevel(store)
    await store.bind({"topics.predictions": TOPIC})
    able, older = await store.claim_sketch(TOPIC, 0), await claim_before_levels(store, 1)
    await level.raise_to(NEWEST, fence=True)
    assert await level.read() == NEWEST
    await able.seal(0, 10)
    with pytest.raises(FencedError):
        await older.seal(0, 10)
    await (await store.claim_sketch(TOPIC, 1, NEWEST)).seal(0, 10)
    assert (await level.standing(0.0)).older() == []


@on_every_redis
async def test_workers_are_seen_for_a_while_with_the_level_that_each_can_do(store: Store) -> None:
    level, key = GroupLevel(store), f"{store.namespace}:workers"
    old, new = WorkerReport(100.0, "b", "0.1", 1), WorkerReport(101.0, "a", "0.2", NEWEST)
    await level.report("one", old)
    await level.report("two", new)
    standing = await level.standing(102.0)
    assert standing.workers == [new, old]
    assert standing.older() == ["a worker of version 0.1 on b can do level 1 at most"]
    assert (await level.standing(100.5 + VALID)).workers == [new]
    await level.report("three", WorkerReport(100.5 + VALID, "c", "0.2", NEWEST))
    assert sorted(await store.client.hkeys(key)) == [b"three", b"two"]
    await level.withdraw("three")
    assert await store.client.hkeys(key) == [b"two"]
    assert 0 < await store.client.ttl(key) <= 3600


@on_every_redis
async def test_reports_that_cannot_be_read_are_left_out(store: Store) -> None:
    mapping = {"odd": b"[1", "text": b'"x"', "deep": b"[" * 100_000, b"\xff": b"{}"}
    await store.client.hset(f"{store.namespace}:workers", mapping=mapping)
    assert (await GroupLevel(store).standing(0.0)).workers == []
