"""`driftline resume` against a worker that comes back: both stages over lists and a real Redis.

old log    ├── read and judged ──┤ last run: sealed, its panes not yet sent
                                 └─ worker 1 is cut off ···························► sends them
resume                                  ├──┤
new log                                      ├── worker 2 reads it from the begin ──────────────►
"""

from __future__ import annotations

import asyncio

import pytest

from driftline.stream.codec.panes import PaneMessage
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Redis
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.logs import Log
from driftline.stream.panes.tick import is_same_log
from driftline.stream.state.client import Client, connect
from driftline.stream.state.store import Store
from driftline.stream.worker.continuity import Facts, log_of
from driftline.stream.worker.resuming import Situation, move
from load_tests.harness.oracle import baseline_of, events_counted, messages
from tests.harness.brokers import unique
from tests.harness.driver import Driver, Topics, topics_with

_CONFIG = "panes: {{events: 50, seconds: null}}\nmodels: {{a: {{}}}}\nworker: {{group: {group}}}"
BASELINES = {"a": baseline_of("a", format_version=1)}


async def judge_all(driver: Driver) -> None:
    while any([await driver.judge_next(partition) for partition in range(driver.panes_partitions)]):
        pass


def driver_of(config: Config, client: Client, topics: Topics, facts: Facts) -> Driver:
    """A worker of a group that is bound to these facts."""
    driver = Driver(config, BASELINES, client, topics)
    driver.sketch.log = driver.judge.log = log_of(facts)
    return driver


async def resume(config: Config, client: Client, topics: Topics, bound: Facts, present: Facts) -> Facts:
    """What the command does after the predictions topic was created again, or cut; the facts bound then."""
    names, store = config.topics, Store(client, config.worker.group)
    ends = {(topic, p): len(log) for topic in (names.predictions, names.panes) for p, log in topics[topic].items()}
    logs = {place: Log(0, end) for place, end in ends.items()}
    situation = Situation(names, bound, present, await store.positions(), logs)
    await move(store, situation, situation.moves("begin"))
    return await store.bound()


async def events_judged(config: Config, client: Client) -> int:
    (key,) = [key async for key in client.scan_iter(match=f"{config.worker.group}:{{judge/*:model:a")]
    parts = {name.decode(): part for name, part in (await client.hgetall(key)).items()}
    return events_counted(parts, BASELINES["a"])


LOGS = {"created again": ("a", "b"), "cut": ("a", "a"), "on a Kafka without ids of topics": ("", "")}


@pytest.mark.parametrize(("old", "new"), LOGS.values(), ids=LOGS)
def test_a_pane_of_the_old_log_that_a_worker_sends_late_lets_no_event_of_the_new_one_drop(
    redis_server: Server, old: str, new: str
) -> None:
    config = parse_config(_CONFIG.format(group=unique("group")))
    names = config.topics
    facts = {"topics.predictions": names.predictions, "topics.panes": f"{names.panes} with 2 partitions"}
    bound, present = ({**facts, **({"topics.predictions.id": each} if each else {})} for each in (old, new))

    async def scenario() -> tuple[int, list[bytes]]:
        client = connect(Redis(url=f"redis://{redis_server.address}/0"))
        topics = topics_with(config, {0: messages("a", 500)})
        before = driver_of(config, client, topics, bound)
        await before.assign()
        while await before.sketch_next():
            pass
        (log,) = topics[names.panes].values()
        late = log.pop()
        await judge_all(before)
        assert await events_judged(config, client) == 450

        topics[names.predictions] = topics_with(config, {0: messages("a", 400, first=1000)})[names.predictions]
        now = await resume(config, client, topics, bound, present)
        log.append(late)
        await driver_of(config, client, topics, now).work()
        try:
            reasons = [dict(each.headers)["reason"] for dead in topics[f"{names.panes}.dlq"].values() for each in dead]
            return await events_judged(config, client), reasons
        finally:
            await client.aclose()

    judged, reasons = asyncio.run(scenario())
    assert judged == 450 + 400
    (reason,) = reasons
    assert reason.startswith(f"a pane of another log of topic {names.predictions} than the group reads".encode())


def test_a_group_at_the_first_level_sends_panes_without_the_name_of_their_log(redis_server: Server) -> None:
    config = parse_config(_CONFIG.format(group=unique("group")))

    async def scenario(level: int) -> set[tuple[int, str]]:
        client = connect(Redis(url=f"redis://{redis_server.address}/0"))
        topics = topics_with(config, {0: messages("a", 200)})
        driver = driver_of(config, client, topics, {"topics.predictions.id": "a"})
        driver.sketch.level = level
        await driver.work()
        await client.aclose()
        panes = [each.value or b"" for log in topics[config.topics.panes].values() for each in log]
        return {(each[1], PaneMessage.from_bytes(each).log) for each in panes}

    assert asyncio.run(scenario(1)) == {(1, "")}
    config = parse_config(_CONFIG.format(group=unique("group")))
    assert asyncio.run(scenario(2)) == {(2, "a/0")}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a/0", "a/0", True),
        ("a/0", "b/0", False),
        ("a/0", "a/1", False),
        ("/0", "a/0", True),  # Kafka said no id at first
        ("/0", "/1", False),
        ("/0", "a/1", False),
    ],
)
def test_logs_differ_by_the_id_of_their_topic_where_known_and_by_how_often_they_were_moved(
    one: str, other: str, same: bool
) -> None:
    assert is_same_log(one, other) is is_same_log(other, one) is same
