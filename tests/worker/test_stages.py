"""Both stages of the worker over lists and a real Redis: after crashes, states and alerts equal the replay's.

steps     1   2   3   4   5   6   7   8   9  10 ...          a step: one record published, or one call to Redis
worker 1  ├───────────────┤ crash, before the step's effect
worker 2           ├──────────────────────┤ crash, after it: the answer is lost
worker 3                       ├──────────────────────────►
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import tracemalloc
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise, permutations
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from faust.types import TP
from prometheus_client import generate_latest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline
from driftline.stream.codec.levels import NEWEST
from driftline.stream.codec.panes import OUT_OF_ORDER, ForgetMessage, PaneMessage, ReferenceMessage, read_message
from driftline.stream.codec.state import restore_state
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Redis
from driftline.stream.demo.servers import Server
from driftline.stream.judge.state import ModelState
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.pane import Source
from driftline.stream.state.client import Client, connect
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.incident_index import IncidentIndex
from driftline.stream.state.store import StateMismatchError
from driftline.stream.worker.configuration import Configuration
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.judge_stage import JudgeSettings
from driftline.stream.worker.owned_partition import RereadError
from driftline.stream.worker.sketch_stage import SketchSettings
from load_tests.harness.oracle import (
    Parts,
    Replay,
    alert_bodies,
    baseline_of,
    event_or_none,
    events_counted,
    interleave,
    messages,
)
from tests.harness.brokers import unique
from tests.harness.driver import Crash, Driver, topics_with

# `given` has a baseline and drifts; `learns` has none, and is evaluated too seldom to need thresholds.
_CONFIG = """
panes: {{events: 10, seconds: 0.1}}
defaults: {{learn_events: 100, clock: 20, false_alarms_per_event: 0.001}}
models: {{learns: {{clock: 1000}}}}
worker: {{group: {group}}}
"""
BAD = [b'{"id": 1', None, b"[]"] * 3


@dataclass
class Bench:
    """A configuration, its topics and its namespace in Redis, for drivers in turn. first: offset of the log."""

    url: str
    log: list[bytes | None]
    baselines: Mapping[str, Baseline] = field(default_factory=lambda: {"given": baseline_of("given")})
    first: int = 0

    def __post_init__(self) -> None:
        self.config: Config = parse_config(_CONFIG.format(group=unique("group")))
        self.topics = topics_with(self.config, {0: self.log})
        self.client: Client = connect(Redis(url=self.url))

    def driver(self, **changes: Any) -> Driver:
        return Driver(self.config, self.baselines, self.client, self.topics, first=self.first, **changes)

    async def crash(self, **changes: Any) -> None:
        """Work until a crash, or until all is read."""
        with contextlib.suppress(Crash):
            await self.driver(**changes).work()

    def append(self, values: Sequence[bytes]) -> None:
        self.log += values
        predictions = self.config.topics.predictions
        self.topics[predictions] = topics_with(self.config, {0: self.log})[predictions]

    def limit(self, **limits: Any) -> None:
        section = self.config.limits.model_validate(self.config.limits.model_dump() | limits)
        self.config = self.config.model_copy(update={"limits": section})

    def forget(self, model: str) -> None:
        """Ask for a model to be forgotten, on every partition, as only one knows the model."""
        topic = self.config.topics.panes
        for log in self.topics[topic].values():
            log.append(OutgoingRecord(topic, model.encode(), ForgetMessage(model).to_bytes()))

    def dead_panes(self) -> list[tuple[bytes, bytes]]:
        """The dead letters of panes, each with its offset and reason."""
        letters = (dict(each.headers) for each in self.published(f"{self.config.topics.panes}.dlq"))
        return [(each["offset"], each["reason"]) for each in letters]

    def published(self, topic: str) -> list[OutgoingRecord]:
        return [each for _, log in sorted(self.topics[topic].items()) for each in log]

    def panes(self) -> list[PaneMessage]:
        values = (each.value or b"" for each in self.published(self.config.topics.panes))
        return [message for message in map(read_message, values) if isinstance(message, PaneMessage)]

    def alerts(self) -> list[dict[str, Any]]:
        return [orjson.loads(each.value or b"") for each in self.published(self.config.topics.alerts)]

    def dead(self, topic: str) -> list[tuple[int, bytes | None]]:
        return [(int(dict(each.headers)["offset"]), each.value) for each in self.published(f"{topic}.dlq")]

    async def judge(self, driver: Driver) -> None:
        """Let a driver judge all panes that there are."""
        await driver.assign()
        while any([await driver.judge_next(partition) for partition in range(driver.panes_partitions)]):
            pass

    async def states(self, kind: str = "model") -> dict[str, Parts]:
        """The parts of models' states or, of kind "timeline", those of their timelines that are closed."""
        found = {}
        async for key in self.client.scan_iter(match=f"{self.config.worker.group}:{{judge/*:{kind}:*"):
            parts = await self.client.hgetall(key)
            found[key.decode().partition(f":{kind}:")[2]] = {name.decode(): part for name, part in parts.items()}
        return found

    async def state(self, model: str) -> ModelState:
        return restore_state((await self.states())[model], self.baselines.get(model))

    async def everything(self) -> dict[bytes, bytes]:
        """All that is on the server, and the length of every topic."""
        keys = [key async for key in self.client.scan_iter(match=f"{self.config.worker.group}:*")]
        lengths = {topic.encode(): str(len(self.published(topic))).encode() for topic in self.topics}
        return lengths | {key: await self.client.dump(key) for key in keys}

    async def check(self) -> None:
        """Compare Redis and the alerts topic with the replay of the log."""
        replay = Replay(self.config, self.baselines)
        replay.read(0, self.log, self.first)
        assert await self.states() == replay.model_states()
        assert alert_bodies(self.alerts()) == alert_bodies(replay.alerts)
        assert replay.alerts
        await self.check_kept(replay.alerts)

    async def check_kept(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Compare the alerts that Redis keeps for people: each once, newest first; of open incidents the last."""
        kept = await IncidentIndex(self.client, self.config.worker.group, self.config.topics.panes).read()
        listed = [[orjson.loads(line) for line in each.recent] for each in kept]
        assert alert_bodies(chain(*listed)) == alert_bodies(alerts)
        for each in listed:
            assert [alert["data"]["seq"] for alert in each] == list(range(len(each), 0, -1)), "of one model in the test"
        newest = {alert["data"]["incident_id"]: alert for alert in alerts}
        unresolved = [alert for alert in newest.values() if alert["data"]["status"] != "resolved"]
        assert alert_bodies(orjson.loads(line) for each in kept for line in each.open) == alert_bodies(unresolved)


def bench(server: Server) -> Bench:
    log: list[bytes | None] = [*interleave(messages("given", 400, drift=(200, 300)), messages("learns", 400))]
    log[50:50] = BAD
    return Bench(f"redis://{server.address}", log)


Scenario = Callable[[Bench], Coroutine[Any, Any, None]]


def play(this: Bench, scenario: Scenario) -> None:
    async def closing() -> None:
        try:
            await scenario(this)
        finally:
            await this.client.aclose()

    asyncio.run(closing())


def on_a_bench(scenario: Scenario) -> Callable[[Server], None]:
    """A test of an async scenario."""

    def test(redis_server: Server) -> None:
        play(bench(redis_server), scenario)

    functools.update_wrapper(test, scenario)
    del test.__wrapped__  # pytest would look for its arguments
    return test


# Crashes


@on_a_bench
async def test_without_a_crash_the_stages_end_where_the_replay_does(this: Bench) -> None:
    await this.driver().work()
    await this.check()
    assert this.dead(this.config.topics.predictions) == [(50 + i, value) for i, value in enumerate(BAD)]
    assert len(this.alerts()) == len(alert_bodies(this.alerts())), "without a crash nothing is published twice"


@on_a_bench
async def test_signals_that_are_judged_by_bets_end_where_the_replay_does(this: Bench) -> None:
    proven = "clock: 20, signals: {{rules: {{'*': {{guarantee: proven}}}}}},"
    this.config = parse_config(_CONFIG.replace("clock: 20,", proven).format(group=unique("group")))
    await this.driver().work()
    await this.check()
    found = [each for alert in this.alerts() for each in alert["data"]["evidence"]["signals"]]
    assert {each["test"] for each in found} == {"bets"}


@pytest.mark.parametrize("seed", range(8))
def test_after_any_crashes_the_stages_end_where_the_replay_does(redis_server: Server, seed: int) -> None:
    rng = np.random.default_rng(seed)

    async def live(this: Bench) -> None:
        for _ in range(6):
            await this.crash(crash_at=int(rng.integers(1, 80)), late=bool(rng.integers(2)))
        await this.driver().work()
        await this.check()
        assert set(this.dead(this.config.topics.predictions)) == {(50 + i, value) for i, value in enumerate(BAD)}

    play(bench(redis_server), live)


@pytest.mark.parametrize("seed", range(8))
def test_work_that_is_given_up_at_any_step_is_done_by_the_same_worker_once_it_has_its_partitions_again(
    redis_server: Server, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    async def live(this: Bench) -> None:
        driver = this.driver(gives_up=True)
        for _ in range(6):
            driver.crash_at, driver.late = driver.steps + int(rng.integers(1, 80)), bool(rng.integers(2))
            with contextlib.suppress(asyncio.CancelledError):
                await driver.work()
            await driver.judge.drain_outboxes()  # as housekeeping may before the partitions are released
            await driver.release()
        driver.crash_at = None
        await driver.work()
        await this.check()
        assert set(this.dead(this.config.topics.predictions)) == {(50 + i, value) for i, value in enumerate(BAD)}

    play(bench(redis_server), live)


@on_a_bench
async def test_a_partition_whose_work_was_given_up_ends_no_idle_run(this: Bench) -> None:
    """Its open run holds records that are in no sealed run: housekeeping comes before the partition is released."""
    driver = this.driver(gives_up=True)
    await driver.assign()
    driver.crash_at = "evalsha"  # the seal
    with contextlib.suppress(asyncio.CancelledError):
        await driver.sketch_next()
    driver.crash_at = None
    before = await this.everything()
    for _ in range(3):
        await asyncio.sleep(0.1)
        await driver.sketch.close_idle()
    assert await this.everything() == before


@on_a_bench
async def test_a_decided_alert_is_published_although_no_further_pane_comes(this: Bench) -> None:
    await this.crash(crash_at=this.config.topics.alerts)
    assert not this.alerts()
    await this.driver().assign()
    assert len(this.alerts()) == 1
    await this.driver().work()
    await this.check()


@on_a_bench
async def test_a_run_that_is_published_again_does_not_end_early(this: Bench) -> None:
    """
    sealed, and then a crash    [───────)[───────)[───────)       10 events each
    halfway, and then idle      [───)                             if this were published and judged before a crash,
    the next worker             [───────)[───────)[───────)       the first run would look as if it had been judged
    """
    await this.crash(crash_at=this.config.topics.panes)
    halfway = this.driver(fetch_size=7)
    await halfway.assign()
    await halfway.sketch_next()
    for _ in range(3):
        await asyncio.sleep(0.1)
        await halfway.sketch.close_idle()
    await halfway.judge_next(0)
    await halfway.judge_next(1)
    await this.driver().work()
    await this.check()


@on_a_bench
async def test_an_idle_run_is_published_only_when_its_seal_is_written(this: Bench) -> None:
    driver = this.driver(fetch_size=7)
    await driver.assign()
    await driver.sketch_next()
    before = await this.everything()
    driver.crash_at = "evalsha"
    await asyncio.sleep(0.1)
    await driver.sketch.close_idle()
    await asyncio.sleep(0.1)
    with pytest.raises(Crash):
        await driver.sketch.close_idle()
    assert await this.everything() == before


@on_a_bench
async def test_the_next_run_waits_for_the_seal_of_an_idle_one(this: Bench) -> None:
    """A model's panes must be in the order of the log: the judge takes a late one for one judged before."""
    driver = this.driver(fetch_size=7)
    await driver.assign()
    await driver.sketch_next()
    await asyncio.sleep(0.1)
    await driver.sketch.close_idle()
    assert not this.panes()
    while await driver.sketch_next():
        pass
    starts = [each.run.start for each in this.panes() if each.model == "given"]
    assert starts[0] == 0
    assert starts == sorted(starts)


@on_a_bench
async def test_no_idle_run_is_closed_before_the_log_of_the_takeover_is_read(this: Bench) -> None:
    """
    published; then Redis forgets the seals   [───────)[───────)[───────)    10 events each
    halfway, and then idle                    [───)                          another run of the same events
    the next worker                                [───────)[───────)        and so on: at the end, some events would
                                                                             be in no run but in one judged in part
    """
    await this.driver().work()
    panes = len(this.panes())
    assert await this.client.delete(f"{this.config.worker.group}:{{sketch/predictions/0}}") == 1
    halfway = this.driver(fetch_size=7, reports_end=True)
    await halfway.assign()
    await halfway.sketch_next()
    for _ in range(3):
        await asyncio.sleep(0.1)
        await halfway.sketch.close_idle()
    assert len(this.panes()) == panes
    this.append(messages("given", 100, 400))
    await this.driver().work()
    replay = Replay(this.config, this.baselines)
    replay.read(0, this.log, this.first)
    assert await this.states() == replay.model_states()


@on_a_bench
async def test_an_idle_run_ends_once_all_was_read_although_markers_are_the_last_offsets(this: Bench) -> None:
    driver = this.driver(fetch_size=7, reports_end=True)
    await driver.assign()
    await driver.sketch_next()
    tp, end = TP("predictions", 0), this.first + 7
    partition = driver.sketch._partitions[0]
    partition.horizon = end + 20
    for position, sealed in ((end + 19, None), (end + 20, end)):
        await driver.sketch.sketch(Fetch(tp, [], end + 20, position=position))
        await asyncio.sleep(0.11)
        await driver.sketch.close_idle()
        assert partition.sealed == sealed


# Taking over


@on_a_bench
async def test_two_workers_with_one_epoch_do_no_harm(this: Bench) -> None:
    """Redis has lost an epoch and gives it out again. Both owners continue from one position, or end."""
    for key in ("{sketch/predictions/0}", "{judge/driftline.panes/0}", "{judge/driftline.panes/1}"):
        await this.client.hset(f"{this.config.worker.group}:{key}", "epoch", "1")
    one, other = this.driver(), this.driver(fetch_size=33)
    await one.assign()
    await one.sketch_next()
    for key in await this.client.keys(f"{this.config.worker.group}:{{*}}"):
        if await this.client.type(key) == b"hash" and await this.client.hexists(key, "epoch"):
            await this.client.hset(key, "epoch", "1")
    await other.assign()
    for _ in range(4):
        for driver in (other, one, one, other):
            with contextlib.suppress(StateMismatchError):
                await driver.sketch_next()
                await driver.judge_next(0)
                await driver.judge_next(1)
    await this.driver().work()
    await this.check()


@on_a_bench
async def test_an_owner_that_was_replaced_writes_nothing_more(this: Bench) -> None:
    zombie, owner = this.driver(), this.driver()
    await zombie.assign()
    await zombie.sketch_next()
    await owner.assign()
    before = await this.everything()
    with pytest.raises(FencedError):
        await zombie.sketch_next()
    (partition,) = this.topics[this.config.topics.panes]
    with pytest.raises(FencedError):
        await zombie.judge_next(partition)
    assert await this.everything() == before
    await owner.work()
    await this.check()


@on_a_bench
async def test_records_that_come_again_into_an_open_run_end_the_worker_before_it_is_sealed(this: Bench) -> None:
    driver = this.driver(fetch_size=7)
    await driver.assign()
    await driver.sketch_next()
    driver._read[TP(this.config.topics.predictions, 0)] = 3
    with pytest.raises(RereadError, match=r"offset 3 of .* came after 6"):
        await driver.sketch_next()
    await this.driver().work()
    await this.check()


@on_a_bench
async def test_housekeeping_and_a_rebalance_at_once_neither_fence_each_other_nor_miscount(this: Bench) -> None:
    """Both write under the epoch they know, and a worker must not fence off its own writes."""
    driver = this.driver(fetch_size=7)
    await driver.assign()
    for order in permutations((driver.assign, driver.sketch.close_idle, driver.judge.drain_outboxes)):
        await driver.sketch_next()
        await asyncio.sleep(0.11)
        await asyncio.gather(*(each() for each in order))
    while await driver.sketch_next():
        pass
    while not this.panes() or this.panes()[-1].run.end < len(this.log):
        await driver.sketch.close_idle()
        await asyncio.sleep(0.01)
    await this.judge(driver)
    counted = {
        model: events_counted(parts, this.baselines.get(model)) for model, parts in (await this.states()).items()
    }
    assert counted == {"given": 400, "learns": 400}
    assert set(this.dead(this.config.topics.predictions)) == {(50 + i, value) for i, value in enumerate(BAD)}


@on_a_bench
async def test_a_log_whose_beginning_was_removed_counts_from_its_first_record_on(this: Bench) -> None:
    this.first = 5000
    await this.driver().work()
    await this.check()
    assert this.panes()[0].run.start == 5000


@on_a_bench
async def test_an_idle_run_ends_without_a_further_event_and_once(this: Bench) -> None:
    driver = this.driver(fetch_size=7)
    await driver.assign()
    await driver.sketch_next()
    assert not this.panes()
    while not this.panes():
        await driver.sketch.close_idle()
        await asyncio.sleep(0.01)
    await driver.sketch.close_idle()
    assert [(each.model, each.run.start, each.run.end) for each in this.panes()] == [("given", 0, 7), ("learns", 0, 7)]


# Baselines


@on_a_bench
async def test_a_learned_baseline_reaches_the_sketchers_although_its_worker_died(this: Bench) -> None:
    await this.driver().work()
    assert await this.client.delete(f"{this.config.worker.group}:learned:learns") == 1
    this.append(messages("learns", 100, first=400))
    await this.driver(fetch_size=30).work()
    learned = (await this.state("learns")).learned
    assert learned is not None
    assert [each.baseline for each in this.panes() if each.model == "learns"][-1] == learned.content_hash
    await this.check()


@on_a_bench
async def test_events_published_after_their_model_has_learned_do_no_harm(this: Bench) -> None:
    """The panes of an idle run wait for its seal, and meanwhile the sketcher may load the baseline."""
    learns = messages("learns", 135)
    this.log.clear()
    this.append(learns[:105])
    driver = this.driver(fetch_size=1000)
    await driver.assign()
    await driver.sketch_next()
    for partition in range(2):
        await driver.judge_next(partition)
    await asyncio.sleep(1.1)
    await driver.sketch.close_idle()
    this.append(learns[105:107])
    await driver.sketch_next()  # loads the baseline, and publishes what had waited
    for until in (127, 135):
        this.append(learns[len(this.log) : until])
        await asyncio.sleep(1.1)
        await driver.sketch_next()
    assert [bool(each.baseline) for each in this.panes()][-4:] == [False, True, True, True]


@on_a_bench
async def test_another_baseline_keeps_positions_and_history_and_continues_the_numbers_of_alerts(this: Bench) -> None:
    await this.driver().work()
    first = this.alerts()
    before = await this.state("given")
    this.baselines = {"given": baseline_of("given", seed="other"), "learns": baseline_of("learns")}
    this.append(interleave(messages("given", 200, 400, drift=(400, 600)), messages("learns", 200, 400)))
    await this.driver().work()
    after = await this.state("given")
    assert before.judge is not None
    assert after.judge is not None
    assert after.judge.end == before.judge.end + 200
    assert after.consumed[Source(0)] > before.consumed[Source(0)]
    assert [each["data"]["seq"] for each in this.alerts()] == list(range(1, len(this.alerts()) + 1))
    assert len(this.alerts()) > len(first)
    assert "accepted" not in {each["data"]["resolution"] for each in this.alerts()}
    assert this.dead_panes() == []


@on_a_bench
async def test_a_baseline_that_is_removed_again_leaves_the_one_that_was_learned(this: Bench) -> None:
    await this.driver().work()
    learned = (await this.state("learns")).learned
    with_files, without = {**this.baselines, "learns": baseline_of("learns")}, this.baselines
    for step, baselines in enumerate((with_files, without)):
        this.baselines = baselines
        this.append(messages("learns", 60, 400 + 60 * step))
        await this.driver(fetch_size=20).work()
    state = await this.state("learns")
    assert learned is not None
    assert state.learned is not None
    assert state.learned.content_hash == learned.content_hash
    assert state.judge is not None
    assert learned.total.n + state.judge.end == 520
    assert not this.dead(this.config.topics.panes)


@on_a_bench
async def test_a_pane_of_another_baseline_is_a_dead_letter(this: Bench) -> None:
    """As during an update, when an old worker sketches and a new one judges."""
    old = this.driver()
    await old.assign()
    await old.sketch_next()
    strange = [each.value for each in this.published(this.config.topics.panes) if each.key == b"given"]
    this.baselines = {"given": baseline_of("given", seed="other")}
    await this.driver().work()
    assert strange
    assert [value for _, value in this.dead(this.config.topics.panes)] == strange


@on_a_bench
async def test_a_pane_whose_predecessor_was_lost_waits_until_both_are_sent_again(this: Bench) -> None:
    """A producer that is new to a broker may have its first batch refused and the next one accepted."""
    first, panes = this.driver(), this.config.topics.panes
    send, refused = first.sketch._publish, list[OutgoingRecord]()

    async def send_but_one(batch: Iterable[OutgoingRecord]) -> None:
        for message in batch:
            if not refused and message.topic == panes:
                refused.append(message)
            else:
                await send([message])
        if refused:
            raise Crash

    first.sketch._publish = send_but_one
    await first.assign()
    with pytest.raises(Crash):
        await first.sketch_next()
    await this.driver().work()
    await this.check()
    dead_letters = this.published(f"{panes}.dlq")
    assert dead_letters
    assert all(dict(each.headers)["reason"].startswith(OUT_OF_ORDER.encode()) for each in dead_letters)


@on_a_bench
async def test_other_panes_are_configured_while_a_seal_is_half_published(this: Bench) -> None:
    first = this.driver()
    await first.assign()
    first.steps, first.crash_at = 0, len(BAD) + 4  # after the dead letters, the seal, and two panes
    with pytest.raises(Crash):
        await first.sketch_next()
    half = {each.run for each in this.panes()}
    assert half
    this.config = this.config.model_copy(update={"panes": this.config.panes.model_copy(update={"events": 30})})
    await this.driver().work()
    runs = sorted({each.run for each in this.panes()})
    assert runs[: len(half)] == sorted(half)
    assert all(older.end == newer.start for older, newer in pairwise(runs))
    states = await this.states()
    total = sum(event_or_none(value) is not None for value in this.log[: runs[-1].end])
    assert sum(events_counted(parts, this.baselines.get(model)) for model, parts in states.items()) == total


@on_a_bench
async def test_a_pane_that_overlaps_what_was_judged_is_a_dead_letter(this: Bench) -> None:
    """It takes a Redis that has lost a seal for good, which somebody should notice."""
    await this.driver().work()
    pane = max((each for each in this.panes() if each.model == "given"), key=lambda each: each.run)
    packed = msgspec.structs.replace(pane.packed, ranges=(pane.run._replace(end=pane.run.end + 1),))
    strange = msgspec.structs.replace(pane, packed=packed).to_bytes()
    topic = this.config.topics.panes
    for log in this.topics[topic].values():
        log.append(OutgoingRecord(topic, b"given", strange))
    before = await this.states()
    await this.driver().work()
    assert await this.states() == before
    assert {value for _, value in this.dead(topic)} == {strange}
    reasons = {dict(each.headers)["reason"] for each in this.published(f"{topic}.dlq")}
    assert any(b"judged before" in reason for reason in reasons)


@on_a_bench
async def test_panes_of_another_topic_are_consumed_beside_those_of_the_predictions_topic(this: Bench) -> None:
    await this.driver().work()
    before, topic = await this.state("given"), this.config.topics.panes
    counted = events_counted((await this.states())["given"], this.baselines["given"])
    panes = [
        msgspec.structs.replace(each, topic="more", log="another") for each in this.panes() if each.model == "given"
    ]
    for _ in range(2):
        for log in this.topics[topic].values():
            if any(each.key == b"given" for each in log):
                log += [OutgoingRecord(topic, b"given", each.to_bytes()) for each in panes]
        driver = this.driver()
        driver.judge.log = "one"
        await driver.work()
        after = await this.state("given")
        assert after.consumed == {**before.consumed, Source(0, "more"): max(each.run.end for each in panes)}
        assert events_counted((await this.states())["given"], this.baselines["given"]) == 2 * counted
    assert not this.dead(topic)


@on_a_bench
async def test_a_flood_of_invented_models_takes_no_more_than_its_share(this: Bench) -> None:
    """A bug that names a model by a UUID must not fill Redis; known models and those that have learned continue."""
    this.limit(newcomers=3)
    this.append([messages(f"bug-{i}", 1)[0] for i in range(40)] + messages("given", 100, first=400))
    driver = this.driver(fetch_size=20, panes_partitions=1)
    await driver.work()
    states = await this.states()
    assert len(states) == 2 + 3
    assert {"given", "learns"} < states.keys()
    dead_letters = this.published(f"{this.config.topics.panes}.dlq")
    assert {each.key for each in dead_letters} == {f"bug-{i}".encode() for i in range(40)} - {
        name.encode() for name in states
    }
    refused = [(each.key or b"").decode() for each in dead_letters]
    assert driver.metrics.no_room.fields() == {"panes": len(refused), "models": refused[-10:]}
    counters = generate_latest(driver.metrics.registry)
    assert b'driftline_dead_letters_total{reason="pane"} %d.0' % len(dead_letters) in counters
    assert b'driftline_limited_total{limit="newcomers"} %d.0' % len(dead_letters) in counters
    assert all(b"raise limits.newcomers" in dict(each.headers)["reason"] for each in dead_letters)
    again = this.driver(panes_partitions=1)
    await again.work()
    assert (await this.states()).keys() == states.keys()


@on_a_bench
async def test_a_real_model_that_begins_in_the_middle_of_a_flood_learns(this: Bench) -> None:
    this.limit(newcomers=3)
    flood = [messages(f"bug-{i}", 1)[0] for i in range(160)]
    this.log.clear()
    this.append(flood[:80] + interleave(flood[80:], messages("real", 80)) + messages("real", 40, first=80))
    await this.driver(fetch_size=20, panes_partitions=1).work()
    assert (await this.state("real")).learned is not None
    assert len(await this.states()) <= 1 + 3


@on_a_bench
async def test_memory_is_flat_while_invented_models_and_names_keep_coming(this: Bench) -> None:
    """Each model has a name of its own, and so has a field of a model that has a baseline and of one that learns."""
    this.limit(newcomers=3, sample_values=10_000)
    driver, held = this.driver(fetch_size=500, panes_partitions=1), list[int]()
    event, topics = orjson.loads(messages("given", 1)[0]), this.topics
    await driver.assign()
    tracemalloc.start()
    try:
        for first in range(0, 4000, 500):
            log = topics[this.config.topics.predictions][0] = [OutgoingRecord("", None, None)] * 3 * first
            for i in range(first, first + 500):
                row = event | {"ts": event["ts"] + 10 * i, "features": event["features"] | {f"user_{i}": 1.5}}
                for model in (f"bug-{i}", "given", "learns"):
                    log.append(OutgoingRecord("", None, orjson.dumps(row | {"model": model, "score": i % 97})))
            while await driver.sketch_next():
                while await driver.judge_next():
                    pass
            for topic in topics.values():  # what Kafka keeps is not the worker's
                for each in topic.values():
                    each[:] = [OutgoingRecord("", None, None)] * len(each)
            gc.collect()
            own = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/driftline/*")])
            held.append(sum(each.size for each in own.statistics("filename")))
    finally:
        tracemalloc.stop()
    learned = (await this.state("learns")).learned
    assert learned is not None
    assert "score" in learned.names
    assert learned.left_out
    assert held[-1] - held[3] < 200_000, held


@on_a_bench
async def test_a_newcomer_that_is_silent_gives_way_with_all_that_was_stored_of_it(this: Bench) -> None:
    this.limit(newcomers=3, newcomer_silence="30s")
    this.log.clear()
    this.append([messages(f"bug-{i}", 1, first=i, step=100)[0] for i in range(100)])
    await this.driver(fetch_size=20, panes_partitions=1, step_ms=20_000).work()
    assert len(await this.states()) == 3
    (key,) = await this.client.keys(f"{this.config.worker.group}:*:seen")
    assert {model.decode() for model in await this.client.hkeys(key)} == (await this.states()).keys()


@pytest.mark.parametrize("seed", range(4))
def test_who_gives_way_is_decided_by_the_log_alone(redis_server: Server, seed: int) -> None:
    """Whatever a fetch brings, and wherever workers die: the states, alerts and dead letters are the same."""
    rng, found = np.random.default_rng(seed), list[Any]()

    def flood(this: Bench) -> None:
        this.limit(newcomers=3, newcomer_silence="15s")
        bugs = [messages(f"bug-{i % 31}", 1, first=i)[0] for i in range(200)]
        this.log[:] = interleave(messages("given", 200, drift=(100, 200)), messages("learns", 200), bugs)

    async def often(this: Bench) -> None:
        flood(this)
        for _ in range(6):
            size, crash_at, late = (int(rng.integers(1, high)) for high in (40, 150, 3))
            await this.crash(panes_partitions=1, step_ms=1000, fetch_size=size, crash_at=crash_at, late=late > 1)
        await this.driver(panes_partitions=1, step_ms=1000, fetch_size=int(rng.integers(5, 40))).work()
        found.append((await this.states(), this.dead_panes()))

    # A crash publishes panes again, at other offsets; so the panes of the second log are judged by one worker, too.
    async def judged_at_once(this: Bench) -> None:
        await often(this)
        topics = this.topics
        for key in await this.client.keys(f"{this.config.worker.group}:{{judge/*"):
            await this.client.delete(key)
        topics[this.config.topics.alerts] = {}
        topics[f"{this.config.topics.panes}.dlq"] = {}
        await this.judge(this.driver(panes_partitions=1, step_ms=1000, fetch_size=1000))
        found.append((await this.states(), this.dead_panes()))

    play(bench(redis_server), judged_at_once)
    (states, dead), (replayed, dead_again) = found
    assert states == replayed
    assert set(dead) == set(dead_again)


@on_a_bench
async def test_a_pane_that_comes_again_does_not_show_that_its_model_is_awake(this: Bench) -> None:
    """A worker that has just taken over must decide what the one decides that has judged all of it."""
    this.limit(newcomers=1, newcomer_silence="15s")
    panes = this.config.panes.model_copy(update={"events": 1, "seconds": None})
    this.config = this.config.model_copy(update={"panes": panes})
    this.log.clear()
    this.append(messages("first", 1))
    await this.driver(panes_partitions=1, step_ms=1000).work()
    published = this.topics[this.config.topics.panes][0]
    published += published * 14
    await this.judge(this.driver(panes_partitions=1, step_ms=1000))
    this.append(messages("second", 1))
    await this.driver(panes_partitions=1, step_ms=1000).work()
    assert (await this.states()).keys() == {"second"}
    assert not this.dead_panes()


@on_a_bench
async def test_models_whose_events_hold_no_value_take_their_share_and_nobody_gives_way_to_them(this: Bench) -> None:
    """Each brings a whole warm-up in one pane, of which no baseline can be learned."""
    this.limit(newcomers=3, unknown_lifetime="1s")
    worker = this.config.worker.model_copy(update={"unknown_models": 1})
    panes = this.config.panes.model_copy(update={"events": 100, "seconds": None})
    this.config = this.config.model_copy(update={"worker": worker, "panes": panes})
    this.log.clear()
    this.append(messages("learns", 100))
    await this.driver(panes_partitions=1, step_ms=1000).work()
    assert (await this.state("learns")).learned is not None
    empty = [orjson.loads(each) | {"score": None, "prediction": None, "features": {}} for each in messages("bug", 100)]
    this.append([orjson.dumps(row | {"model": f"bug-{i}"}) for i in range(6) for row in empty])
    await this.driver(panes_partitions=1, step_ms=1000).work()
    assert (await this.states()).keys() == {"learns", "bug-0", "bug-1", "bug-2"}
    assert all(b"raise limits.newcomers" in reason for _, reason in this.dead_panes())
    assert len(this.dead_panes()) == 3


# Forgetting


@on_a_bench
async def test_a_forgotten_model_learns_another_baseline_and_keeps_the_numbers_of_its_alerts(this: Bench) -> None:
    this.config = this.config.model_copy(update={"models": {}})
    this.log.clear()
    this.append(messages("learns", 400, drift=(200, 400)))
    await this.driver(fetch_size=50).work()
    before = await this.state("learns")
    numbers = [each["data"]["seq"] for each in this.alerts()]
    assert before.learned is not None
    assert this.alerts()[-1]["data"]["status"] != "resolved"
    this.forget("learns")
    driver = this.driver(fetch_size=50)
    await this.judge(driver)
    assert [each["data"]["seq"] for each in this.alerts()] == list(range(1, len(numbers) + 2))
    assert this.alerts()[-1]["data"]["status"] == "resolved"
    assert list((await this.states())["learns"]) == ["head"]
    assert not await this.client.exists(f"{this.config.worker.group}:learned:learns")
    this.append(messages("learns", 300, first=400, drift=(400, 600)))
    for _ in range(6):
        await asyncio.sleep(0.3)
        await driver.sketch_next()
        for partition in range(2):
            await driver.judge_next(partition)
    after = await this.state("learns")
    assert after.learned is not None
    assert after.learned.content_hash != before.learned.content_hash


@on_a_bench
async def test_a_model_that_was_never_reported_leaves_nothing_when_it_is_forgotten(this: Bench) -> None:
    await this.driver().work()
    this.forget("learns")
    this.forget("never seen")
    await this.judge(this.driver())
    assert (await this.states()).keys() == {"given"}
    assert not [key for key in await this.client.keys(f"{this.config.worker.group}:*") if b"learns" in key]
    assert not this.published(f"{this.config.topics.panes}.dlq")


@on_a_bench
async def test_a_model_whose_given_baseline_was_removed_is_forgotten_with_what_it_had_learned(this: Bench) -> None:
    await this.driver().work()
    without = this.baselines
    this.baselines = {**without, "learns": baseline_of("learns")}
    this.append(messages("learns", 60, first=400))
    await this.driver(fetch_size=20).work()
    this.baselines = without
    driver = this.driver()
    this.forget("learns")
    await this.judge(driver)
    assert not [key for key in await this.client.keys(f"{this.config.worker.group}:*") if b"learns" in key]
    this.append(messages("learns", 60, first=460))
    await driver.sketch_next()
    for partition in range(2):
        await driver.judge_next(partition)
    state = await this.state("learns")
    assert state.learned is None
    assert len(state.sample) >= 60, "those of the open run among them"
    assert not this.dead_panes()


@on_a_bench
async def test_a_model_with_a_baseline_of_its_own_is_not_forgotten(this: Bench) -> None:
    await this.driver().work()
    before = await this.states()
    this.forget("given")
    await this.judge(this.driver())
    assert await this.states() == before
    (found,) = this.published(f"{this.config.topics.panes}.dlq")
    assert b"the configuration gives it a baseline" in dict(found.headers)["reason"]


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, 10))
def test_a_crash_anywhere_while_a_model_is_forgotten_changes_nothing(
    redis_server: Server, step: int, late: bool
) -> None:
    async def live(this: Bench) -> None:
        await this.driver().work()
        this.forget("learns")
        driver = this.driver()
        await driver.assign()
        driver.steps, driver.crash_at, driver.late = 0, step, late
        with contextlib.suppress(Crash):
            for partition in range(2):
                await driver.judge_next(partition)
        await this.judge(this.driver())
        assert (await this.states()).keys() == {"given"}
        assert not await this.client.exists(f"{this.config.worker.group}:learned:learns")
        assert not await this.client.sismember(f"{this.config.worker.group}:learned", "learns")

    play(bench(redis_server), live)


@on_a_bench
async def test_sketchers_drop_a_forgotten_baseline_within_a_second_or_two(this: Bench) -> None:
    """What they sketch with it meanwhile is a dead letter; then the model's events are collected again."""
    driver = this.driver(fetch_size=30)
    await driver.work()
    await asyncio.sleep(1.1)
    this.append(messages("learns", 60, first=400))
    await driver.sketch_next()  # loads the baseline
    await driver.sketch_next()
    assert this.panes()[-1].baseline
    before = await this.state("learns")
    assert before.learned is not None
    this.forget("learns")
    for partition in range(2):
        await driver.judge_next(partition)
    for first in range(460, 700, 20):
        await asyncio.sleep(0.25)
        this.append(messages("learns", 20, first=first))
        await driver.sketch_next()
    assert not this.panes()[-1].baseline
    for partition in range(2):
        while await driver.judge_next(partition):
            pass
    state = await this.state("learns")
    assert state.learned is None or state.learned.content_hash != before.learned.content_hash
    reasons = {dict(each.headers)["reason"] for each in this.published(f"{this.config.topics.panes}.dlq")}
    assert all(b"another baseline" in reason or OUT_OF_ORDER.encode() in reason for reason in reasons)


# Dead letters


@on_a_bench
async def test_a_pane_too_large_for_its_topic_is_a_dead_letter_that_names_the_remedy(this: Bench) -> None:
    """A model without a baseline publishes its events with the full names of their values."""
    this.limit(signals=50_000)
    event = orjson.loads(messages("learns", 1)[0])
    wide = [{"x" * 230: {str(i): 1 for i in range(first, first + 45_000)}} for first in (0, 45_000)]
    this.log[:0] = [orjson.dumps(event | {"features": features}) for features in wide]
    this.append([])
    await this.driver().work()
    (found,) = this.published(f"{this.config.topics.panes}.dlq")
    headers = dict(found.headers)
    assert (found.key, found.value, headers["partition"], headers["offset"]) == (b"learns", None, b"0", b"0")
    assert b"lower panes.events, or give the model a baseline" in headers["reason"]
    assert "learns" in await this.states()


@on_a_bench
async def test_the_dead_letter_of_a_record_near_the_size_limit_is_cut_off(this: Bench) -> None:
    """With its headers it would exceed what a broker accepts, and end the worker again and again."""
    this.append([b'{"id": "' + b"x" * 1_040_000])
    await this.driver().work()
    (found,) = [each for each in this.published(f"{this.config.topics.predictions}.dlq") if len(each.value or b"") > 9]
    assert len(found.value or b"") == 900_000
    assert dict(found.headers)["cut"] == b"from 1040008 bytes, and a key of 0"


# References that change


@on_a_bench
async def test_a_baseline_exchanged_under_traffic_pages_nobody_and_loses_nothing(this: Bench) -> None:
    """One worker still counts in the former baseline when another has loaded the new one."""
    before, after = baseline_of("given"), baseline_of("given").select_signals(lambda name: name != "features.country")
    this.log[:] = messages("given", 400)
    this.append([])
    old = this.driver(fetch_size=30)
    await old.announce()
    await old.assign()
    for _ in range(4):
        await old.sketch_next()
    await old.judge_next(0)
    await old.judge_next(1)
    await old.reload({"given": after})
    while await old.sketch_next():
        for partition in range(2):
            await old.judge_next(partition)
    await this.judge(old)
    assert this.dead_panes() == []
    assert this.alerts() == []
    hashes = [each.baseline for each in this.panes()]
    assert {before.content_hash, after.content_hash} <= set(hashes)
    assert hashes[-1] == after.content_hash
    state = await this.state("given")
    assert state.judge
    assert (state.judge.baseline, state.judge.end) == (after.content_hash, state.consumed[Source(0)])


@on_a_bench
async def test_a_pane_that_another_worker_counted_in_a_former_baseline_is_carried_over(this: Bench) -> None:
    this.log[:] = messages("given", 400)
    this.append([])
    before = this.driver()
    await before.announce()
    await before.assign()
    await before.sketch_next()
    this.baselines = {"given": baseline_of("given").select_signals(lambda name: name != "features.country")}
    after = this.driver()
    await after.announce()
    await after.work()
    assert this.dead_panes() == []
    state = await this.state("given")
    assert state.judge
    assert state.judge.baseline == this.baselines["given"].content_hash
    assert state.judge.end == 400


@on_a_bench
async def test_the_configuration_loaded_last_is_in_effect_whoever_judges(this: Bench) -> None:
    """A worker that has only the former file judges by the new one, which it finds in Redis."""
    former, new = this.baselines, {"given": baseline_of("given", seed="other")}
    this.baselines = new
    await this.driver().announce()
    this.baselines = former
    late = this.driver()
    await late.work()
    state = await this.state("given")
    assert state.judge
    assert state.judge.baseline == new["given"].content_hash
    assert this.dead_panes() == []
    await late.announce()
    await this.judge(this.driver())
    this.append(messages("given", 20, 400))
    await this.driver().work()
    state = await this.state("given")
    assert state.judge
    assert state.judge.baseline == former["given"].content_hash, "now that one was loaded last"


@on_a_bench
async def test_a_model_that_no_configuration_gives_a_baseline_any_more_learns_one(this: Bench) -> None:
    await this.driver().announce()
    await this.driver().work()
    this.baselines = {}
    driver = this.driver()
    await driver.announce()
    this.append(messages("given", 200, 400))
    await driver.work()
    state = await this.state("given")
    assert state.learned or state.sample
    assert this.dead_panes() == []


@on_a_bench
async def test_a_model_that_no_configuration_gives_a_baseline_any_more_is_forgotten_on_request(this: Bench) -> None:
    """Without a pane of it since, as one that is out of service sends none."""
    await this.driver().announce()
    await this.driver().work()
    assert (await this.state("given")).has_history
    this.baselines = {}
    driver = this.driver()
    await driver.announce()
    this.forget("given")
    await this.judge(driver)
    assert not (await this.state("given")).has_history
    assert this.dead_panes() == []


@on_a_bench
async def test_a_baseline_that_is_taken_out_again_before_its_first_run_is_not_used(this: Bench) -> None:
    this.log[:] = messages("given", 400)
    this.append([])
    driver = this.driver(fetch_size=35)
    await driver.announce()
    await driver.assign()
    await driver.sketch_next()
    await driver.reload({"given": baseline_of("given", seed="other")})
    await driver.reload({})
    while await driver.sketch_next():
        pass
    assert {each.baseline for each in this.panes()} == {this.baselines["given"].content_hash, ""}


@on_a_bench
async def test_a_configuration_loaded_while_another_is_announced_is_announced_after_it(this: Bench) -> None:
    """A server that does not answer may keep an announcement waiting for long."""
    driver, other = this.driver(), baseline_of("given", seed="other")
    waits, go = asyncio.Event(), asyncio.Event()

    async def publish(records: Iterable[OutgoingRecord]) -> None:
        waits.set()
        await go.wait()
        await driver.publish(records)

    settings = SketchSettings.of(this.config), JudgeSettings.of(this.config)
    configuration = Configuration(settings[0], driver.references, driver.sketch, driver.judge, publish)
    configuration.level = NEWEST
    await driver.assign()
    first = asyncio.create_task(configuration.announce())
    await waits.wait()
    again = asyncio.create_task(configuration.replace(*settings, {"given": other}))
    await asyncio.sleep(0.05)
    go.set()
    await asyncio.gather(first, again)
    records = [read_message(each.value or b"") for each in this.published(this.config.topics.panes)]
    hashes = [each.baselines[""] for each in records if isinstance(each, ReferenceMessage)]
    assert hashes == [this.baselines["given"].content_hash, other.content_hash]
    assert await this.client.hexists(f"{this.config.worker.group}:{{baselines/given}}", other.content_hash)


@on_a_bench
async def test_a_partition_is_taken_over_even_if_a_baseline_in_effect_is_nowhere(this: Bench) -> None:
    """Its panes become dead letters until a worker comes that has it; then the model goes on where it was."""
    given = this.baselines
    before = this.driver()
    await before.announce()
    await before.work()
    parts = (await this.states())["given"]
    await this.client.delete(f"{this.config.worker.group}:{{baselines/given}}")
    this.baselines = {}
    this.append(messages("given", 20, 400))
    await this.driver().work()
    dead = len(this.dead_panes())
    assert dead
    assert all(b"restart a worker that has it" in reason for _, reason in this.dead_panes())
    assert (await this.states())["given"] == parts
    this.baselines = given
    after = this.driver()
    await after.announce()
    await this.judge(after)
    this.append(messages("given", 20, 420))
    await this.driver().work()
    assert len(this.dead_panes()) == dead
    assert (await this.states())["given"] != parts


@on_a_bench
async def test_a_baseline_in_redis_that_cannot_be_read_counts_as_none(this: Bench) -> None:
    before = this.driver()
    await before.announce()
    await before.work()
    key = f"{this.config.worker.group}:{{baselines/given}}"
    await this.client.hset(key, this.baselines["given"].content_hash, b"damaged")
    this.baselines = {}
    this.append(messages("given", 20, 400))
    await this.driver().work()
    assert this.dead_panes()


@on_a_bench
async def test_what_records_name_is_on_disk_before_they_are_sent(this: Bench) -> None:
    """A durable write first asks the server when it syncs."""
    driver = this.driver()
    with recorded(driver) as steps:
        await driver.announce()
    sent = steps.index(this.config.topics.panes)
    assert steps[:sent].count("hset") == 1
    assert "config_get" in steps[steps.index("hset") : sent]


@contextlib.contextmanager
def recorded(driver: Driver) -> Iterator[list[str]]:
    """The names of a driver's steps."""
    steps, step = list[str](), driver.step

    def record(name: str) -> Any:
        steps.append(name)
        return step(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "step", record)
        yield steps


@on_a_bench
async def test_a_baseline_of_the_first_format_is_kept_without_its_blocks(this: Bench) -> None:
    this.baselines = {"given": replace(baseline_of("given", format_version=1), derived=None)}
    await this.driver().announce()
    key = f"{this.config.worker.group}:{{baselines/given}}"
    (content,) = (await this.client.hgetall(key)).values()
    stored = decode_baseline(content)
    assert stored.read_blocks is None
    assert stored.content_hash == this.baselines["given"].content_hash


@on_a_bench
async def test_former_baselines_are_not_kept_in_memory(this: Bench) -> None:
    driver = this.driver()
    await driver.announce()
    await driver.work()
    former = weakref.ref(this.baselines["given"])
    this.baselines = {}
    driver.baselines = {}
    await driver.reload({"given": baseline_of("given", seed="other")})
    this.append(messages("given", 200, 400))
    while await driver.sketch_next():
        pass
    while any([await driver.judge_next(partition) for partition in range(2)]):
        pass
    assert this.dead_panes() == []
    gc.collect()
    assert former() is None
