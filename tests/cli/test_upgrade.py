"""`driftline upgrade`: what it says of a group's format level, and when it raises it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from driftline.stream.codec.levels import NEWEST
from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server
from driftline.stream.state.client import connect
from driftline.stream.state.level import GroupLevel, WorkerReport
from driftline.stream.state.store import Store
from tests.harness.brokers import unique
from tests.harness.command_line import Run

Change = Callable[[Callable[[Store], Awaitable[object]]], None]


@pytest.fixture
def group() -> str:
    return unique("group")


@pytest.fixture
def config(redis_server: Server, tmp_path: Path, group: str) -> Path:
    path = tmp_path / "driftline.yaml"
    path.write_text(json.dumps({"redis": {"url": f"redis://{redis_server.address}/0"}, "worker": {"group": group}}))
    return path


@pytest.fixture
def change(redis_server: Server, group: str) -> Change:
    """A function that changes what is stored of the group."""

    def run(work: Callable[[Store], Awaitable[object]]) -> None:
        async def with_store() -> None:
            client = connect(Redis(url=f"redis://{redis_server.address}/0"))
            await work(Store(client, group))
            await client.aclose()

        asyncio.run(with_store())

    return run


async def begin_without_levels(store: Store) -> None:
    """A group of a version without levels, one of whose two partitions a worker of this version has taken over."""
    await store.bind({"topics.predictions": "predictions"})
    for partition in range(2):
        await store.claim_sketch("predictions", partition)
    await store.client.hdel(f"{store.namespace}:{{sketch/predictions/1}}", "claimed")
    report = WorkerReport(time.time() - 3, "node-a", "[red]2.0", NEWEST)
    await GroupLevel(store).report("one", report)


def test_a_new_group_is_at_the_newest_level_and_there_is_nothing_to_raise(run: Run, config: Path, group: str) -> None:
    shown = run("upgrade", "-c", str(config))
    assert (shown.code, shown.out) == (
        0,
        f"workers of {group} are at format level {NEWEST}; this version can do {NEWEST}\n",
    )
    done = run("upgrade", "finish", "-c", str(config))
    assert (done.code, done.out) == (0, f"workers of {group} are at format level {NEWEST} already\n")


def test_what_keeps_the_level_from_being_raised_is_named(run: Run, config: Path, group: str, change: Change) -> None:
    change(begin_without_levels)
    older = "topic predictions, partition 1: taken over last by a worker that can do level 1 at most"
    shown = run("upgrade", "-c", str(config))
    assert shown.code == 1
    assert f"workers of {group} are at format level 1; this version can do {NEWEST}" in shown.words
    assert re.search(rf"node-a \[red\]2\.0 {NEWEST} \d+ ", shown.words)
    assert older in shown.out
    assert "upgrade finish" not in shown.out
    facts = json.loads(run("upgrade", "--json", "-c", str(config)).out)
    assert (facts["level"], facts["newest"], facts["older"]) == (1, NEWEST, [older])
    assert [(each["host"], each["level"]) for each in facts["workers"]] == [("node-a", NEWEST)]

    refused = run("upgrade", "finish", "-c", str(config))
    assert refused.code == 2
    assert older in refused.err
    assert "upgrade or stop them and try again" in refused.words
    assert run("upgrade", "-c", str(config)).code == 1


def test_the_level_is_raised_once_every_partition_has_an_owner_that_can_do_it(
    run: Run, config: Path, change: Change
) -> None:
    change(begin_without_levels)
    change(lambda store: store.claim_sketch("predictions", 1))
    shown = run("upgrade", "-c", str(config))
    assert f"once all workers are upgraded, raise it: driftline upgrade finish -c {config}" in shown.out
    done = run("upgrade", "finish", "-c", str(config))
    assert done.code == 0
    for printed in (shown.out, done.out):
        assert "from level 2 on, signals whose baseline has phases" in printed
        assert "are judged by phase: verdicts on them change" in printed
    shown = run("upgrade", "-c", str(config))
    assert (shown.code, "phase" in shown.out) == (0, False)


def test_the_level_is_raised_by_force(run: Run, config: Path, change: Change) -> None:
    change(begin_without_levels)
    done = run("upgrade", "finish", "--force", "-c", str(config))
    assert (done.code, "and use it within seconds" in done.words) == (0, True)
    assert run("upgrade", "-c", str(config)).code == 0
