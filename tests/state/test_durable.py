"""What must be durable: on whose disks a seal is before it counts, through failovers, moves of slots and full disks."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis

from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Fsync, Server, free_port, redis_answers
from driftline.stream.retry import Waits
from driftline.stream.state import scripts
from driftline.stream.state.client import check_server, connect, server_findings
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.store import Store
from driftline.stream.state.values import DecidedAlert
from load_tests.harness.servers import real_redis
from tests.harness.redis_servers import small_disk


def play(address: str, scenario: Any, replicas: int = 0, waits: Waits | None = None) -> None:
    """Run a scenario on a store, in a process that waits without end."""

    async def run() -> None:
        (waits or Waits()).without_end()
        client = connect(Redis(url=address))
        try:
            async with asyncio.timeout(120):
                await scenario(Store(client, "ns", replicas))
        finally:
            await client.aclose()

    asyncio.run(run())


@contextmanager
def with_options(server: Server, *options: str) -> Iterator[Server]:
    with replace(server, command=[*server.command, *options]) as started:
        yield started


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def attached(server: Server, replica: str = "slave0") -> bool:
    with sync_redis.Redis(port=server.port) as client:
        return client.info("replication").get(replica, {}).get("state") == "online"


@contextmanager
def replicated(directory: Path) -> Iterator[tuple[Server, Server]]:
    """A primary and its replica, which sync their append-only files once a second."""
    with ExitStack() as stack:
        options = ("--repl-diskless-sync-delay", "0")
        primary = stack.enter_context(with_options(real_redis(directory / "a", fsync="everysec"), *options))
        replica_of = ("--replicaof", "127.0.0.1", str(primary.port))
        replica = stack.enter_context(
            with_options(real_redis(directory / "b", fsync="everysec"), *options, *replica_of)
        )
        wait_until(lambda: attached(primary))
        yield primary, replica


def test_a_seal_waits_for_the_disk_of_a_replica_and_says_so(tmp_path: Path) -> None:
    waits = Waits()
    with replicated(tmp_path) as (primary, replica):

        async def scenario(store: Store) -> None:
            sketch = await store.claim_sketch("predictions", 0)
            replica.kill()
            sealing = asyncio.create_task(sketch.seal(0, 10, durable=True))
            await asyncio.to_thread(wait_until, waits.current)
            assert "0 of 1 replicas have synced" in waits.current()["Redis"].error
            assert not sealing.done()
            await asyncio.to_thread(replica.start)
            await sealing
            assert not waits.current()

        play(f"redis://{primary.address}", scenario, replicas=1, waits=waits)


def test_a_replica_that_is_not_promoted_confirms_what_its_old_primary_writes(tmp_path: Path) -> None:
    """So a failover may lose what fewer than all replicas have confirmed: the other one has been promoted."""
    waits = Waits()
    with replicated(tmp_path) as (primary, other), ExitStack() as stack:
        replica_of = ("--replicaof", "127.0.0.1", str(primary.port))
        promoted = stack.enter_context(with_options(real_redis(tmp_path / "c", fsync="everysec"), *replica_of))
        wait_until(lambda: attached(primary, "slave1"))

        async def scenario(store: Store) -> None:
            sketch = await store.claim_sketch("predictions", 0)
            await sketch.seal(0, 10, durable=True)
            with sync_redis.Redis(port=promoted.port) as client:
                client.replicaof("NO", "ONE")
            await (await replace(store, replicas=1).claim_sketch("predictions", 1)).seal(0, 10, durable=True)
            sealing = asyncio.create_task(sketch.seal(10, 20, durable=True))
            await asyncio.to_thread(wait_until, waits.current)
            assert "1 of 2 replicas have synced" in waits.current()["Redis"].error
            assert not sealing.done()
            with sync_redis.Redis(port=promoted.port) as client:
                client.replicaof("127.0.0.1", primary.port)
            await sealing

        play(f"redis://{primary.address}", scenario, replicas=2, waits=waits)
        assert other.process is not None


def test_a_number_of_replicas_other_than_what_the_primary_has_is_warned_of(tmp_path: Path) -> None:
    with replicated(tmp_path) as (primary, _):

        async def scenario(store: Store) -> None:
            assert await check_server(store.client, 1) == []
            (fewer,), (more,) = [await check_server(store.client, replicas) for replicas in (0, 2)]
            assert (fewer.severity, more.severity) == ("warning", "warning")
            assert fewer.message == (
                "Redis has 1 replica and redis.replicas is 0, so a failover may lose the end of an idle run and its "
                "events: set it to 1"
            )
            assert more.message == (
                "Redis has 1 replica and redis.replicas is 2, so takeovers and idle runs wait: start the others, or "
                "set it to 1"
            )

        play(f"redis://{primary.address}", scenario)


def test_a_durable_seal_and_epoch_survive_a_failover_by_sentinel(tmp_path: Path) -> None:
    with replicated(tmp_path) as (primary, replica):
        port, settings = free_port(), tmp_path / "sentinel.conf"
        settings.write_text(
            f"bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n"
        )
        command = [primary.command[0], str(settings), "--sentinel", "--dir", str(tmp_path)]
        with Server("sentinel", command, port, tmp_path / "sentinel.log", redis_answers):
            with sync_redis.Redis(port=port) as sentinel:
                wait_until(lambda: sentinel.sentinel_slaves("main"))

            async def scenario(store: Store) -> None:
                sketch = await store.claim_sketch("predictions", 0)
                await sketch.seal(0, 10, durable=True)
                primary.kill()
                store = replace(store, replicas=0)  # there is no second replica
                again = await store.claim_sketch("predictions", 0)
                assert again.epoch == sketch.epoch + 1, "it was waited for until the replica is the primary"
                seal = await again.read_seal()
                assert seal is not None
                assert seal.ends == (10,)
                with pytest.raises(FencedError):
                    await sketch.seal(10, 20)

            play(f"redis+sentinel://127.0.0.1:{port}/main", scenario, replicas=1)
        assert replica.process is not None


def is_whole(info: dict[str, str]) -> bool:
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", "2")


@contextmanager
def two_primaries(directory: Path) -> Iterator[tuple[Server, Server]]:
    """A cluster of two primaries; the first has all slots."""
    with ExitStack() as stack:
        servers = []
        for name in "ab":
            options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            servers.append(stack.enter_context(with_options(real_redis(directory / name, fsync="everysec"), *options)))
        first, second = servers
        with sync_redis.Redis(port=first.port) as a, sync_redis.Redis(port=second.port) as b:
            a.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            bus = int(second.command[-1])
            a.execute_command("CLUSTER MEET", "127.0.0.1", second.port, bus)
            wait_until(lambda: is_whole(b.cluster("INFO")))
        yield first, second


def test_writes_go_on_while_the_slot_of_a_partition_moves_and_none_is_lost_or_made_twice(tmp_path: Path) -> None:
    with two_primaries(tmp_path) as (first, second):

        async def scenario(store: Store) -> None:
            sketch = await store.claim_sketch("predictions", 0)
            judge = await store.claim_judge("panes", 0)
            moving = asyncio.create_task(asyncio.to_thread(move_slots, first, second, [sketch.key, judge.key]))
            end = 0
            while not moving.done() or end < 300:
                await sketch.seal(end, end + 10, durable=end % 100 == 0)
                await judge.commit(end + 10, {}, [DecidedAlert(str(end).encode(), str(end))])
                end += 10
            await moving
            seal = await sketch.read_seal()
            assert seal is not None
            assert seal.end == end
            alerts = [each.message for each in await judge.outbox(10_000)]
            assert alerts == [str(at).encode() for at in range(0, end, 10)]

        play(f"redis+cluster://{first.address}", scenario)


def move_slots(source: Server, target: Server, keys: list[str]) -> None:
    """Move the slots of keys, key by key, as `redis-cli --cluster reshard` does."""
    with sync_redis.Redis(port=source.port) as a, sync_redis.Redis(port=target.port) as b:
        here, there = a.execute_command("CLUSTER MYID").decode(), b.execute_command("CLUSTER MYID").decode()
        for slot in dict.fromkeys(a.execute_command("CLUSTER KEYSLOT", key) for key in keys):
            b.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", here)
            a.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", there)
            while names := a.execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
                time.sleep(0.05)  # the keys of a partition are apart meanwhile: TRYAGAIN
                a.execute_command("MIGRATE", "127.0.0.1", target.port, names[0], 0, 5000)
            for client in (b, a):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", there)


def test_commits_wait_while_the_disk_of_redis_is_full_and_none_is_lost_or_made_twice(tmp_path: Path) -> None:
    waits = Waits()
    with small_disk(tmp_path / "small", "4m") as disk, real_redis(disk, fsync="everysec") as server:
        ballast = disk / "ballast"

        async def scenario(store: Store) -> None:
            judge = await store.claim_judge("panes", 0)
            ballast.write_bytes(b"x" * (3 << 20))
            committed = 0

            async def commit_all() -> None:
                nonlocal committed
                for i in range(1, 60):
                    await judge.commit(i, {}, [DecidedAlert(str(i).encode() * 10_000, str(i))])
                    committed = i

            committing = asyncio.create_task(commit_all())
            await asyncio.to_thread(wait_until, waits.current)
            assert "MISCONF" in waits.current()["Redis"].error
            before = committed
            await asyncio.sleep(3)
            assert committed == before
            ballast.unlink()
            await committing
            server.kill()
            await asyncio.to_thread(server.start)
            assert [each.position for each in await judge.outbox(1000)] == list(range(1, 60))

        play(f"redis://{server.address}", scenario, waits=waits)


def test_replicas_need_a_redis_that_can_say_what_is_on_their_disks() -> None:
    info = {"redis_version": "7.0.15", "aof_enabled": 0}
    messages = [each.message for each in server_findings(info, False, 1) if each.severity == "error"]
    assert messages == [
        "redis.replicas needs Redis 7.2 or newer, which has WAITAOF; this is 7.0.15",
        "redis.replicas needs an append-only file: set the appendonly of Redis and its replicas to yes",
    ]
    assert server_findings({"redis_version": "7.2.0", "aof_enabled": 1}, False, 1) == []


@pytest.mark.parametrize(
    ("fsync", "rights", "words"),
    [
        ("no", "+@all", r"Redis leaves it to its operating system when to write to disk \(appendfsync no\)"),
        # As Redis before 7.2, which has no such command.
        ("everysec", "-waitaof", r"Redis cannot say what is on its disk"),
    ],
)
def test_a_redis_that_cannot_say_what_is_on_its_disk_is_logged_once_and_keeps_nobody_waiting(
    tmp_path: Path, fsync: Fsync, rights: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    scripts._warn_once.cache_clear()  # once a process: another test may have been the first
    with real_redis(tmp_path, fsync=fsync) as server:
        with sync_redis.Redis(port=server.port) as client:
            client.execute_command("ACL", "SETUSER", "default", rights)

        async def scenario(store: Store) -> None:
            sketch = await store.claim_sketch("predictions", 0)
            started = time.monotonic()
            for end in (10, 20, 30):
                await sketch.seal(end - 10, end, durable=True)
            assert time.monotonic() - started < 1.0

        play(f"redis://{server.address}", scenario)
    assert len(re.findall(words, caplog.text)) == 1
