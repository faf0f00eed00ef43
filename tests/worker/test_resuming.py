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
from driftline.stream.codec.state import state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Redis
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.logs import Log
from driftline.stream.panes.tick import is_same_log
from driftline.stream.replay.panes import PanesReplay, records_of
from driftline.stream.state.client import Client, connect
from driftline.stream.state.store import Store
from driftline.stream.worker.continuity import Facts, log_of
from driftline.stream.worker.resuming import Situation, move
from load_tests.harness.oracle import baseline_of, events_counted, messages
from tests.harness.brokers import unique
from tests.harness.driver import Driver, Topics, topics_with
from tests.replay.test_panes import logs
from tests.worker.test_labels import LabelBench, replayed
from tests.worker.test_stages import Bench, play

_CONFIG = "panes: {{events: 50, seconds: null}}\nmodels: {{a: {{}}}}\nworker: {{group: {group}}}"
BASELINES = {"a": baseline_of("a", format_version=1)}


async def judge_all(driver: Driver) -> None:
    while any([await driver.judge_next(partition) for partition in range(driver.panes_partitions)]):
        pass


def driver_of(config: Config, client: Client, topics: Topics, facts: Facts) -> Driver:
    """A worker of a group that is bound to these facts."""
    driver = Driver(config, BASELINES, client, topics)
    driver.sketch.log = log_of(facts)
    driver.judge.logs = {config.topics.predictions: log_of(facts)}
    return driver


async def resume(config: Config, client: Client, topics: Topics, bound: Facts, present: Facts) -> Facts:
    """What the command does after the predictions topic was created again, or cut; the facts bound then."""
    names, store = config.topics, Store(client, config.worker.group)
    read = [each for each in (names.predictions, names.labels, names.panes) if each in topics]
    ends = {(topic, p): len(log) for topic in read for p, log in topics[topic].items()}
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


def test_a_topic_of_labels_created_again_is_read_from_its_begin_and_labels_of_the_old_one_that_come_late_are_not(
    redis_server: Server,
) -> None:
    async def scenario(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        names, half = this.config.topics, {p: log[: len(log) // 2] for p, log in this.labels_log.items()}
        facts = {"topics.predictions": names.predictions, "topics.panes": f"{names.panes} with 2 partitions"}
        bound, present = ({**facts, "topics.labels": names.labels, "topics.labels.id": each} for each in ("a", "b"))
        this.topics = topics_with(this.config, this.predictions_log, half)
        driver = reading_labels(this, bound)
        await driver.assign()
        while any([await driver.labels_next(each) for each in half]):
            pass
        (log,) = [each for each in this.topics[names.panes].values() if each]
        late = log.pop()
        await this.judge_all(driver)
        rows = (await this.state("fraud")).waiting.labels.rows  # type: ignore[union-attr]
        this.topics[names.labels] = topics_with(this.config, {}, this.labels_log)[names.labels]
        now = await resume(this.config, this.client, this.topics, bound, present)
        assert (now["topics.labels.id"], now["resumed.labels"], "resumed" in now) == ("b", "1", False)
        log.append(late)
        await this.work(reading_labels(this, now))
        state = await this.state("fraud")
        direct = replayed(this.config, this.baselines, this.predictions_log, this.labels_log)
        assert state.waiting is not None
        assert direct.waiting is not None
        assert state.waiting.counts.joined == direct.waiting.counts.joined
        assert state.waiting.counts.repeated == direct.waiting.counts.repeated + rows
        (reason,) = {reason for _, reason in this.dead_panes()}
        assert reason.startswith(f"a pane of another log of topic {names.labels} than the group reads".encode())
        log.remove(late)  # before the first of the new log, a replay can't know that the group had left the old one
        again = PanesReplay(this.config, this.baselines)
        for record in records_of(logs(this, step_ms=0)):
            again.read(record)
        assert {model: state_delta(None, each).write for model, each in again.states.items()} == await this.states()
        assert again.refused == {}

    play(LabelBench(redis_server, given=True), scenario)


def reading_labels(this: LabelBench, facts: Facts) -> Driver:
    """A worker of a group that is bound to these facts."""
    driver = this.driver()
    driver.labels.log = log_of(facts, "labels")
    driver.judge.logs = {this.config.topics.labels: log_of(facts, "labels")}
    return driver


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
