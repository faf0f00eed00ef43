"""The store: writes are fenced, atomic and idempotent, on any kind of Redis."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.levels import NEWEST
from driftline.stream.codec.state import StateDelta, restore_state, state_delta
from driftline.stream.panes.pane import Source
from driftline.stream.state import store as store_module
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.incident_index import IncidentIndex, IndexedAlerts
from driftline.stream.state.store import NewerError, StateMismatchError, Store, version_of
from driftline.stream.state.values import DecidedAlert, OutboxAlert, Seal
from tests.harness.histories import MODEL, baseline, history
from tests.harness.redis_servers import contents, on_every_redis, redis_url
from tests.harness.services import cloud_event

__all__ = ["redis_url"]
TOPIC, PANES = "predictions", "driftline.panes"
AN_ALERT = DecidedAlert(b"an alert", "i-1")


def delta(**parts: bytes) -> StateDelta:
    return StateDelta(parts)


# Seals


@on_every_redis
async def test_a_seal_follows_the_last_one(store: Store) -> None:
    record = await store.claim_sketch(TOPIC, 3)
    assert await record.read_seal() is None
    for start, *ends in ((7, 500), (500, 501), (501, 600, 700, 2**53 + 1)):
        await record.seal(start, *ends)
        assert await record.read_seal() == Seal(start, tuple(ends))
    for start, end in ((500, 600), (2**53, 2**53 + 9), (2**53 + 2, 2**53 + 9)):
        with pytest.raises(StateMismatchError, match=r"sketch/predictions/3.*stored position is 9007199254740993"):
            await record.seal(start, end)
    for none in ((2**53 + 1,), (2**53 + 1, 2**53 + 1), (2**53 + 1, 2**53 + 9, 2**53 + 9), (-1, 5)):
        with pytest.raises(ValueError, match="no runs"):
            await record.seal(*none)
    assert await record.read_seal() == Seal(501, (600, 700, 2**53 + 1))


@on_every_redis
async def test_a_seal_of_version_1_holds_one_run(store: Store) -> None:
    record = await store.claim_sketch(TOPIC, 3)
    await store.client.hset(record.key, mapping={"version": 1, "start": 7, "end": 500})
    assert await (await store.claim_sketch(TOPIC, 3)).read_seal() == Seal(7, (500,))


@on_every_redis
async def test_a_seal_written_twice_is_written_once(store: Store) -> None:
    record = await store.claim_sketch(TOPIC, 0)
    await record.seal(0, 500)
    await record.seal(0, 500)
    assert await record.read_seal() == Seal(0, (500,))
    with pytest.raises(StateMismatchError):
        await record.seal(0, 400)


@on_every_redis
async def test_a_seal_can_be_waited_for_until_it_is_on_disk(store: Store) -> None:
    """These servers keep no append-only file and report that: then there is nothing to wait for."""
    record = await store.claim_sketch(TOPIC, 0)
    for start, end in ((0, 500), (0, 500), (500, 501)):
        await record.seal(start, end, durable=True)
        assert await record.read_seal() == Seal(start, (end,))
    with pytest.raises(StateMismatchError):
        await record.seal(500, 600, durable=True)
    await store.claim_sketch(TOPIC, 0)
    with pytest.raises(FencedError):
        await record.seal(501, 600, durable=True)


@on_every_redis
async def test_partitions_have_seals_and_epochs_of_their_own(store: Store) -> None:
    first, second = await store.claim_sketch(TOPIC, 0), await store.claim_sketch(TOPIC, 1)
    await first.seal(0, 10)
    await second.seal(5, 6)
    assert (await first.read_seal(), await second.read_seal()) == (Seal(0, (10,)), Seal(5, (6,)))
    assert (first.epoch, second.epoch, (await store.claim_sketch(TOPIC, 1)).epoch) == (1, 1, 2)


# Fencing


@on_every_redis
async def test_an_owner_that_was_replaced_writes_nothing_more(store: Store) -> None:
    """A zombie: paused past its session, it wakes up and continues where it was."""
    sketcher, judge = await store.claim_sketch(TOPIC, 0), await store.claim_judge(PANES, 0)
    await sketcher.seal(0, 10)
    await judge.commit(5, {MODEL: delta(head=b"1")}, [AN_ALERT])

    await store.claim_sketch(TOPIC, 0)
    successor = await store.claim_judge(PANES, 0)
    assert successor.next_offset == 5
    before = await contents(store)
    with pytest.raises(FencedError, match="another worker took over, with epoch 2"):
        await sketcher.seal(10, 20)
    with pytest.raises(FencedError):
        await judge.commit(6, {MODEL: delta(head=b"2")}, [DecidedAlert(b"another", "i-2")])
    with pytest.raises(FencedError):
        await judge.confirm_published(1)
    assert await contents(store) == before
    await successor.commit(6, {MODEL: delta(head=b"2")})


@on_every_redis
async def test_a_redis_that_lost_everything_refuses_every_owner(store: Store) -> None:
    sketcher, judge = await store.claim_sketch(TOPIC, 0), await store.claim_judge(PANES, 0)
    await judge.commit(5, {})
    for key in await store.keys():
        await store.client.delete(key)
    with pytest.raises(FencedError, match="epoch none"):
        await sketcher.seal(0, 20)
    with pytest.raises(FencedError, match="epoch none"):
        await judge.commit(6, {})
    assert await store.keys() == []


# Commits


@on_every_redis
async def test_a_commit_changes_offset_states_and_outbox_at_once(store: Store) -> None:
    judge = await store.claim_judge(PANES, 2)
    assert (judge.next_offset, await judge.models(), await judge.state_parts("a")) == (None, [], {})
    new = {
        "a": StateDelta({"head": b"1", "bucket:0": b"\0\xff"}, replace_all=True),
        "b": StateDelta({"head": b"1"}, replace_all=True),
    }
    await judge.commit(0, new, [DecidedAlert(b"first", "i-1"), DecidedAlert(b"second", "i-1", resolved=True)])
    await judge.commit(
        9,
        {"a": StateDelta({"head": b"2", "bucket:5": b""}, delete=("bucket:0", "never there"))},
        [DecidedAlert(b"third", "i-2")],
    )

    after = await store.claim_judge(PANES, 2)
    assert (after.next_offset, await after.models()) == (9, ["a", "b"])
    assert await after.state_parts("a") == {"head": b"2", "bucket:5": b""}
    assert await after.state_parts("b") == {"head": b"1"}
    assert await after.outbox() == [OutboxAlert(1, b"first"), OutboxAlert(2, b"second"), OutboxAlert(3, b"third")]
    await after.commit(10, {"a": StateDelta({"head": b"3"}, replace_all=True)})
    assert await after.state_parts("a") == {"head": b"3"}


@on_every_redis
async def test_a_commit_written_twice_is_written_once(store: Store) -> None:
    """Its answer was lost, so the client sends it again."""
    judge = await store.claim_judge(PANES, 0)
    await judge.commit(5, {"a": delta(head=b"1")}, [AN_ALERT])
    before = await contents(store)
    judge.next_offset = None
    await judge.commit(5, {"a": delta(head=b"1")}, [AN_ALERT])
    assert await contents(store) == before
    assert judge.next_offset == 5


@on_every_redis
async def test_a_commit_goes_forward_from_where_the_store_is(store: Store) -> None:
    judge = await store.claim_judge(PANES, 0)
    await judge.commit(5, {})
    for backward in (5, 4, 0):
        with pytest.raises(ValueError, match="must go forward"):
            await judge.commit(backward, {})
    await judge.commit(8, {"a": delta(head=b"8")})
    # A Redis that syncs every second and dies has lost the last second, so the next delta would miss changes.
    await store.client.hset(judge.key, "next", 5)
    before = await contents(store)
    with pytest.raises(StateMismatchError, match="stored position is 5, so Redis has lost writes"):
        await judge.commit(9, {"a": delta(head=b"9")}, [AN_ALERT])
    assert await contents(store) == before


@on_every_redis
async def test_the_outbox_is_emptied_in_order_and_only_of_what_was_published(store: Store) -> None:
    judge = await store.claim_judge(PANES, 0)
    assert await judge.outbox() == []
    await judge.commit(1, {}, [DecidedAlert(b"%d" % i, "i-1") for i in range(1, 6)])
    assert await judge.outbox(limit=2) == [OutboxAlert(1, b"1"), OutboxAlert(2, b"2")]
    await judge.confirm_published(2)
    await judge.confirm_published(2)
    await judge.confirm_published(1)
    assert (await judge.outbox())[0] == OutboxAlert(3, b"3")
    await judge.commit(2, {}, [DecidedAlert(b"6", "i-1")])
    with pytest.raises(StateMismatchError):
        await judge.confirm_published(7)
    await judge.confirm_published(5)
    assert await judge.outbox() == [OutboxAlert(6, b"6")]
    await judge.confirm_published(6)
    assert await judge.outbox() == []


# Alerts kept for people


async def indexed(store: Store, partition: int = 0) -> tuple[list[bytes], list[bytes]]:
    """The alerts kept of open incidents, and the recent ones."""
    kept = (await IncidentIndex(store.client, store.namespace, PANES).read())[partition]
    return sorted(kept.open), kept.recent


@on_every_redis
async def test_the_newest_alert_of_an_incident_is_kept_until_it_is_resolved(store: Store) -> None:
    """
    i-1   fires ─── updated ─────────── resolved
    i-2             fires  ──────────────────────
    """
    judge = await store.claim_judge(PANES, 0)
    assert await indexed(store) == ([], [])
    await judge.commit(1, {}, [DecidedAlert(b"1 fires", "i-1")])
    assert await indexed(store) == ([b"1 fires"], [b"1 fires"])
    await judge.commit(2, {}, [DecidedAlert(b"1 updated", "i-1"), DecidedAlert(b"2 fires", "i-2")])
    assert await indexed(store) == ([b"1 updated", b"2 fires"], [b"2 fires", b"1 updated", b"1 fires"])
    await judge.commit(3, {})
    await judge.confirm_published(3)
    await judge.commit(4, {}, [DecidedAlert(b"1 resolved", "i-1", resolved=True)])
    assert await indexed(store) == ([b"2 fires"], [b"1 resolved", b"2 fires", b"1 updated", b"1 fires"])


@on_every_redis
async def test_an_incident_that_begins_and_ends_in_one_commit_is_recent_and_not_open(store: Store) -> None:
    judge = await store.claim_judge(PANES, 0)
    await judge.commit(1, {}, [DecidedAlert(b"fires", "i-1"), DecidedAlert(b"resolved", "i-1", resolved=True)])
    assert await indexed(store) == ([], [b"resolved", b"fires"])


@on_every_redis
async def test_an_incident_that_came_back_is_listed_once(store: Store) -> None:
    def alert(seq: int, status: str) -> DecidedAlert:
        return DecidedAlert(cloud_event(seq, status, "i-1", "fraud"), "i-1", resolved=status == "resolved")

    judge, index = await store.claim_judge(PANES, 0), IncidentIndex(store.client, store.namespace, PANES)
    steps = ["firing", "resolved", "updated", "resolved"]
    await judge.commit(1, {}, [alert(seq, status) for seq, status in enumerate(steps[:3], 1)])
    assert [(each.open, each.newest.seq) for each in await index.incidents(await index.read())] == [(True, 3)]
    await judge.commit(2, {}, [alert(4, "resolved")])
    assert [(each.open, each.newest.seq) for each in await index.incidents(await index.read())] == [(False, 4)]


@on_every_redis
async def test_the_newest_hundred_alerts_are_kept_and_those_of_all_open_incidents(store: Store) -> None:
    judge = await store.claim_judge(PANES, 0)
    for i in range(8):
        await judge.commit(i, {}, [DecidedAlert(b"%d" % (30 * i + j), f"i-{i}") for j in range(30)])
    opened, recent = await indexed(store)
    assert recent == [b"%d" % i for i in range(239, 139, -1)]
    assert set(opened) == {b"%d" % (30 * i + 29) for i in range(8)}


@on_every_redis
async def test_the_index_reads_every_partition_and_bears_missing_keys(store: Store) -> None:
    """After a Driftline that kept no alerts, the keys are missing; that is no error, and the next commit makes them."""
    index = IncidentIndex(store.client, store.namespace, PANES)
    assert await index.read() == []
    judges = [await store.claim_judge(PANES, partition) for partition in range(3)]
    await judges[2].commit(1, {}, [AN_ALERT])
    assert await index.read() == [
        IndexedAlerts(0, [], []),
        IndexedAlerts(1, [], []),
        IndexedAlerts(2, [b"an alert"], [b"an alert"]),
    ]
    assert await IncidentIndex(store.client, store.namespace, "other panes").read() == []


@on_every_redis
async def test_a_learned_baseline_can_be_loaded_by_the_sketchers(store: Store) -> None:
    assert await store.load_learned(MODEL) is None
    assert await store.learned_models() == set()
    await store.save_learned(MODEL, encode_baseline(baseline()))
    assert await store.load_learned(MODEL) == encode_baseline(baseline())
    assert await store.learned_models() == {MODEL}


@on_every_redis
async def test_the_state_of_a_newer_driftline_is_left_alone(store: Store) -> None:
    judge = await store.claim_judge(PANES, 0)
    newest = version_of(NEWEST)
    await store.client.hset(judge.key, "version", newest + 1)
    before = await contents(store)
    with pytest.raises(
        NewerError, match=f"newer Driftline, in version {newest + 1}; this one writes {newest}: upgrade"
    ):
        await store.claim_judge(PANES, 0)
    assert await contents(store) == before


@on_every_redis
async def test_a_model_may_have_any_name(store: Store) -> None:
    judge = await store.claim_judge(PANES, 0)
    names = sorted(["a", "a:b", "{a}", "}{", "*?[a-z]\\", "mödel ☃", "a\nb", ":model:", "x" * 5000])
    await judge.commit(1, {name: StateDelta({"head": name.encode()}, replace_all=True) for name in names})
    assert await judge.models() == names
    assert [(await judge.state_parts(name))["head"].decode() for name in names] == names


# What offsets depend on


@on_every_redis
async def test_the_facts_bound_first_stay_and_new_ones_are_added(store: Store) -> None:
    first = {"topics.predictions": TOPIC, "topics.panes": "panes with 4 partitions"}
    assert await store.bound() == {}
    assert await store.bind(first) == first
    assert await store.bind({"topics.panes": "panes with 8 partitions", "cluster": "c"}) == {**first, "cluster": "c"}
    assert await store.bound() == {**first, "cluster": "c"}
    assert await Store(store.client, f"{store.namespace}x").bound() == {}


# Other logs


@on_every_redis
async def test_moved_positions_are_where_the_next_owners_go_on_and_models_keep_all_else(store: Store) -> None:
    run = history(learned=True)
    sketcher, judge = await store.claim_sketch(TOPIC, 0), await store.claim_judge(PANES, 3)
    await sketcher.seal(0, 40, 70)
    await judge.commit(9, {MODEL: state_delta(None, run.states[-1])}, [AN_ALERT])
    assert await store.positions() == {(TOPIC, 0): 70, (PANES, 3): 9}
    assert run.states[-1].consumed

    mover, judge_mover = await store.claim_sketch(TOPIC, 0), await store.claim_judge(PANES, 3)
    await mover.move(5)
    await judge_mover.move(2, {**dict.fromkeys(run.states[-1].consumed, 5), Source(99): 1})
    assert await store.positions() == {(TOPIC, 0): 5, (PANES, 3): 2}
    for late in (sketcher.seal(70, 80), judge.commit(10, {}), sketcher.move(0), judge.move(0, {})):
        with pytest.raises(FencedError):
            await late

    owner, judge = await store.claim_sketch(TOPIC, 0), await store.claim_judge(PANES, 3)
    assert (await owner.read_seal(), judge.next_offset) == (Seal(5, ()), 2)
    state = restore_state(await judge.state_parts(MODEL), None)
    assert state.consumed == dict.fromkeys(run.states[-1].consumed, 5)
    moved = structs.replace(run.states[-1], consumed=state.consumed)
    assert state_delta(None, state) == state_delta(None, moved)
    assert [each.message for each in await judge.outbox()] == [AN_ALERT.message]
    await owner.seal(5, 30)
    await judge.commit(3, {})


# The table of keys


def documented() -> list[tuple[Callable[[str], Any], str]]:
    """For each row of the module's table: a matcher of its key without the namespace, and its type."""
    rows = re.findall(r"^\| NS:(\S+) +\| (\w+) +\|", store_module.__doc__ or "", re.MULTILINE)
    patterns = [re.escape(key).replace("T", "[^/]+").replace("P", r"\d+").replace("M", ".+") for key, _ in rows]
    return [(re.compile(pattern, re.DOTALL).fullmatch, kind) for pattern, (_, kind) in zip(patterns, rows, strict=True)]


@on_every_redis
async def test_every_key_is_in_the_table_and_none_is_left_over(store: Store) -> None:
    other = Store(store.client, f"{store.namespace}x")
    await other.claim_sketch(TOPIC, 0)
    run = history(learned=True)
    judge, sketcher = await store.claim_judge(PANES, 0), await store.claim_sketch(TOPIC, 0)
    await sketcher.seal(0, 1)
    for offset, (old, new) in enumerate(zip([None, *run.states], run.states, strict=False)):
        states, marks = {MODEL: state_delta(old, new)}, {f"{TOPIC}/0": b"a tick"}
        records, topics = {MODEL: b"a reference"}, {TOPIC: b"a schema"}
        await judge.commit(offset, states, [AN_ALERT], {MODEL: offset}, marks, records, topics)
    await store.save_learned("gone", b"...")
    await store.drop_learned("gone")
    await store.save_learned(MODEL, b"...")
    await store.bind({"topics.predictions": TOPIC})

    keys, rows = await store.keys(), documented()
    assert len(keys) == len(rows) == 15
    for matches, kind in rows:
        (key,) = [key for key in keys if matches(key.removeprefix(f"{store.namespace}:"))]
        assert (await store.client.type(key)).decode() == kind
        assert await store.client.ttl(key) == -1
    assert await judge.state_parts(MODEL) == state_delta(None, run.states[-1]).write
