"""An answer is lost after a write was done: the write is made again, and Redis holds what one write leaves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from driftline.stream.codec.levels import NEWEST
from driftline.stream.codec.state import StateDelta
from driftline.stream.paging.notifications import Notifications
from driftline.stream.paging.silences import Matcher, Silence
from driftline.stream.state import level, notification_log, owned_hash, partition_scripts, references, silences
from driftline.stream.state.client import Client, call_redis
from driftline.stream.state.level import GroupLevel
from driftline.stream.state.notification_log import NotificationLog
from driftline.stream.state.references import StoredBaselines
from driftline.stream.state.scripts import Argument, Script
from driftline.stream.state.silences import SilenceStore
from driftline.stream.state.store import Store
from driftline.stream.state.values import DecidedAlert
from tests.harness.redis_servers import on_every_redis, redis_url

__all__ = ["redis_url"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
# The command that reads a key of a type, and its arguments.
_READ: dict[str, tuple[str, Any]] = {
    "hash": ("hgetall", ()),
    "list": ("lrange", (0, -1)),
    "set": ("smembers", ()),
    "string": ("get", ()),
    "zset": ("zrange", (0, -1, False, True)),
}


async def everything(client: Client, namespace: str) -> dict[str, Any]:
    """What a namespace holds, by key, without epochs."""
    found = {}
    for key in await Store(client, namespace).keys():
        command, arguments = _READ[(await client.type(key)).decode()]
        value = await getattr(client, command)(key, *arguments)
        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name != b"epoch"}
            if b"claimed" in value:  # "EPOCH LEVEL"
                value[b"claimed"] = value[b"claimed"].split()[1]
        found[key.replace(namespace, "")] = value
    return found


async def use_every_script(client: Client, namespace: str) -> None:
    """A short life of a group: a sketcher, a judge, its baselines and its level, a relay and a silence."""
    own = Store(client, namespace)
    await GroupLevel(own).begin()
    sketch, judge = await own.claim_sketch("predictions", 0), await own.claim_judge("panes", 0)
    await sketch.seal(0, 10)
    await sketch.seal(10, 20, 30, durable=True)
    alerts = [DecidedAlert(b"one", "a"), DecidedAlert(b"two", "b"), DecidedAlert(b"three", "a", resolved=True)]
    await judge.commit(5, {"m": StateDelta({"head": b"1", "bucket:0": b"x"})}, alerts)
    await judge.commit(7, {"m": StateDelta({"bucket:1": b"y"}, delete=("bucket:0",))}, alerts[1:2])
    assert [each.message for each in await judge.outbox()] == [b"one", b"two", b"three", b"two"]
    await judge.confirm_published(2)
    await judge.confirm_published(3)
    await sketch.note_tick(10**12, 10**12 + 9, 10**12 + 5)
    await sketch.move(40)
    for generation in range(1, 12):
        await StoredBaselines(client, namespace).use("m", generation, {f"hash {generation}": lambda: b"a file"})
    await StoredBaselines(client, namespace).sync(11, ["m"])
    await GroupLevel(own).raise_to(NEWEST, fence=True)
    log = NotificationLog(client, namespace, "pagerduty")
    _, ownership = await log.take_over()
    await log.settle(ownership, "m", 3)
    await log.settle(ownership, "m", 2)
    await log.save(ownership, Notifications(sent_seqs={"m": 3, "n": 4}, entries={"m/a1/info": {}, "m/a1/warning": {}}))
    await log.save(ownership, Notifications(sent_seqs={"n": 5}, entries={"m/a1/warning": {}}))
    await call_redis(client.hset, f"{namespace}:relay:pagerduty:desk", "revision", "0")
    await log.save(ownership, Notifications(sent_seqs={"n": 6}))
    ends = NOW + timedelta(days=4000)
    await SilenceStore(client, namespace).add(Silence("s", (Matcher.parse("model=m"),), NOW, ends, "ann", "test"))


@on_every_redis
async def test_a_write_made_twice_leaves_what_one_leaves(store: Store) -> None:
    once, twice = f"{store.namespace}-once", f"{store.namespace}-twice"
    await use_every_script(store.client, once)
    run, durably = Script._run, Script._run_durably
    made, synced = set[Script](), set[Script]()

    async def doubled(script: Script, client: Client, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        made.add(script)
        await run(script, client, keys, args)  # its answer is lost
        return await run(script, client, keys, args)

    async def durably_doubled(script: Script, client: Client, keys: Sequence[str], *args: Any) -> Any:
        made.add(script)
        synced.add(script)
        await durably(script, client, keys, *args)
        return await durably(script, client, keys, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Script, "_run", doubled)
        patch.setattr(Script, "_run_durably", durably_doubled)
        await use_every_script(store.client, twice)
    assert await everything(store.client, twice) == await everything(store.client, once)
    others = {references._REACH, references._REWRITE, level._RAISE, level._SET}
    assert synced >= others, "whoever acts on what these have written may outlive a power cut of Redis"
    assert scripts() - made == {partition_scripts.MOVE_JUDGE}, (
        "each script is repeated, but one that needs a real state"
    )


def scripts() -> set[Script]:
    """Every script that workers and relays run."""
    modules = (partition_scripts, level, references, notification_log, owned_hash, silences)
    return {each for module in modules for each in vars(module).values() if isinstance(each, Script)}
