"""A replay of the panes topic repeats what the live judges have decided, to the byte."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest

from driftline.stream.alerts.build import encode_alert
from driftline.stream.codec.panes import pack_tick
from driftline.stream.codec.state import state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.tick import Tick
from driftline.stream.replay.panes import PanesRecord, PanesReplay, records_of, replay_panes
from driftline.stream.replay.pipeline import LogBatch
from load_tests.harness.oracle import EPOCH, baseline_of, interleave, messages
from tests.harness.brokers import unique
from tests.worker.test_stages import Bench, play
from tests.worker.test_ticks import HOUR, inject, judge_all

# `learns` has no baseline; `others` finds no room, as the one place is taken.
_CONFIG = """
panes: {{events: 10, seconds: 0.1}}
defaults: {{learn_events: 100, clock: 20, false_alarms_per_event: 0.001, incidents: {{hold: 1h, recovery: 1h}}}}
worker: {{group: {group}, unknown_models: 1}}
limits: {{newcomers: 1}}
"""


def bench(server: Server, allowed: str = "false_alarms_per_event: 0.001") -> Bench:
    log = interleave(
        messages("given", 400, drift=(200, 300)), messages("learns", 400, drift=(250, 400)), messages("others", 400)
    )
    this = Bench(f"redis://{server.address}", [*log], {"given": baseline_of("given")})
    text = _CONFIG.replace("false_alarms_per_event: 0.001", allowed)
    this.config = parse_config(text.format(group=unique("group")))
    return this


def logs(this: Bench, step_ms: int) -> dict[int, list[LogBatch]]:
    """The panes topic as it is read from Kafka."""
    topic = this.topics[this.config.topics.panes]
    return {
        partition: [LogBatch(at, [each.value for each in log], step_ms * at)]
        for partition, log in topic.items()
        if len(at := np.arange(len(log)))
    }


def as_lines(alerts: Any) -> dict[str, bytes]:
    return {each.id: encode_alert(each) for each in alerts}


@pytest.mark.parametrize(
    "allowed",
    [
        "false_alarms_per_event: 0.001",
        "false_pages: 10 per day",
        "false_alarms_per_event: 0.001, signals: {{rules: {{'*': {{guarantee: proven}}}}}}",
    ],
)
def test_alerts_states_and_dead_letters_are_those_of_the_live_judges(redis_server: Server, allowed: str) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver(step_ms=7, panes_partitions=1)
        await driver.assign()
        for hours in range(6):
            for _ in range(3):
                await driver.sketch_next()
            inject(this, Tick(this.config.topics.predictions, 0, 1, 0, EPOCH + hours * HOUR))
            await judge_all(driver)
        inject(this, Tick(this.config.topics.predictions, 0, 1, 0, EPOCH + 20 * HOUR))
        this.forget("learns")
        this.topics[this.config.topics.panes][0].append(OutgoingRecord("", b"given", b"no pane"))
        await judge_all(driver)
        own, alerts = PanesReplay(this.config, this.baselines), []
        for record in records_of(logs(this, step_ms=7)):
            alerts += own.read(record)
        published = this.published(this.config.topics.alerts)
        assert sorted(as_lines(alerts).values()) == sorted(each.value or b"" for each in published)
        assert {"firing", "resolved"} <= {each.data.status for each in alerts}
        metric = partial(driver.metrics.registry.get_sample_value, labels={"model": "given"})
        fired = [each for each in alerts if (each.data.status, each.data.component) == ("firing", "given")]
        assert metric("driftline_pages_total") == len(fired) >= 1
        promised = metric("driftline_pages_promised") or 0.0
        assert promised == 300 if "false_pages" in allowed else promised > 0.1
        stored = {model: state_delta(None, each) for model, each in own.states.items()}
        assert {model: each.write for model, each in stored.items()} == await this.states()
        timelines = {model: each.timelines.write for model, each in stored.items() if each.timelines.write}
        assert timelines == await this.states("timeline")
        assert {"given", "others"} >= timelines.keys() >= {"given"}
        dead = sorted((int(offset), reason.decode()) for offset, reason in this.dead_panes())
        assert sorted((offset, reason) for (_, offset), reason in own.refused.items()) == dead
        assert any("limits.newcomers" in reason for _, reason in dead)

    play(bench(redis_server, allowed), scenario)


def test_what_was_judged_is_counted_and_why_the_rest_was_not_is_said(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver(panes_partitions=1)
        await driver.work()
        seen: list[str] = []
        result = replay_panes(
            this.config, list(this.baselines.values()), logs(this, 0), lambda alert: seen.append(alert.id)
        )
        assert seen == [each.id for each in result.alerts]
        assert 2 * 390 < result.events < 2 * 400
        assert set(result.counts) == {"given", "learns"}
        assert any("others" in remark for remark in result.remarks)
        assert any("no ticks" in remark for remark in result.remarks)
        assert not any("first panes" in remark for remark in result.remarks)
        ((offsets, values, stamps),) = logs(this, 0)[0]
        rest = {0: [LogBatch(offsets[1:], values[1:], stamps[1:])]}
        late = replay_panes(this.config, list(this.baselines.values()), rest, lambda _: None)
        assert any("the first panes of partitions 0 are gone" in remark for remark in late.remarks)

    play(bench(redis_server), scenario)


def test_a_forgotten_model_that_returns_is_judged_alike_in_batches_of_any_size(redis_server: Server) -> None:
    """Its traffic is learned from the first tick after its first event on, as nothing is known of it before."""

    async def scenario(this: Bench) -> None:
        this.config = parse_config(_CONFIG.replace("100", "1000").format(group=unique("group")))
        driver = this.driver(step_ms=7, panes_partitions=1)
        await driver.work()
        this.forget("learns")
        inject(this, Tick(this.config.topics.predictions, 0, 1, 0, EPOCH + HOUR))
        this.append(messages("learns", 200, first=400))
        while await driver.sketch_next():
            pass
        inject(this, Tick(this.config.topics.predictions, 0, 1, 0, EPOCH + 2 * HOUR))
        await judge_all(driver)
        own = PanesReplay(this.config, this.baselines)
        for record in records_of(logs(this, step_ms=7)):
            own.read(record)
        stored = {model: state_delta(None, each).write for model, each in own.states.items()}
        assert stored == await this.states()
        assert own.states["learns"].traffic
        assert own.states["learns"].traffic.counts.until == (EPOCH + 2 * HOUR) // 10_000

    play(bench(redis_server), scenario)


def test_a_history_goes_on_in_the_log_that_a_group_was_resumed_with(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver(panes_partitions=1)
        await driver.work()
        own, panes = PanesReplay(this.config, this.baselines), [each for each in this.panes() if each.model == "given"]
        again = [(log, each) for log in ("a/0", "b/1") for each in panes]
        for offset, (log, each) in enumerate([*again, ("a/0", panes[-1])]):
            own.read(PanesRecord(0, offset, offset, msgspec.structs.replace(each, log=log).to_bytes()))
            if offset == len(panes):
                before = own.events["given"]
        assert own.states["given"].judge
        assert own.states["given"].judge.end == own.events["given"] > before + 300
        assert own.refused.keys() == {(0, 2 * len(panes))}
        (reason,) = own.refused.values()
        assert "driftline resume" in reason

    play(bench(redis_server), scenario)


def test_the_records_of_partitions_are_in_the_order_of_their_timestamps() -> None:
    batches = {0: [LogBatch(np.arange(3), [b"a", b"c", b"d"], np.array([1, 3, 3]))],
               1: [LogBatch(np.arange(2), [b"b", b"e"], np.array([2, 9]))]}  # fmt: skip
    assert [each.value for each in records_of(batches)] == [b"a", b"b", b"c", b"d", b"e"]


def test_a_replay_sees_when_another_baseline_took_effect(redis_server: Server) -> None:
    """The live group had loaded it under traffic; a replay has the former one, and finds that of the record."""

    async def scenario(this: Bench) -> None:
        after = this.baselines["given"].select_signals(lambda name: name != "features.country")
        driver = this.driver(fetch_size=40, panes_partitions=1, step_ms=7)
        await driver.announce()
        await driver.assign()
        for number in range(30):
            if number == 9:
                await driver.reload({"given": after})
            await driver.sketch_next()
            await driver.judge_next()
        known = {after.content_hash: after}
        own, alerts = PanesReplay(this.config, this.baselines, lambda _model, hash_: known.get(hash_)), []
        for record in records_of(logs(this, step_ms=7)):
            alerts += own.read(record)
        published = this.published(this.config.topics.alerts)
        assert sorted(as_lines(alerts).values()) == sorted(each.value or b"" for each in published)
        state = own.states["given"]
        assert state.judge
        assert state.judge.baseline == after.content_hash
        delta = state_delta(None, state)
        assert (delta.write, delta.timelines.write) == (
            (await this.states())["given"],
            (await this.states("timeline"))["given"],
        )
        assert {"layout:0", "layout:1"} <= delta.timelines.write.keys()

    play(bench(redis_server), scenario)


def test_a_topic_that_is_empty_at_first_has_no_news_once_events_come() -> None:
    """Its workers say that its partitions are empty: what the first events have is learned, and not new."""
    config, sent = parse_config(""), list[Tick]()
    topic, fields = config.topics.predictions, (("m", "features.x"),)
    empty = [Tick(topic, partition, 2, 0, 0, idle=True) for partition in (0, 1)]
    for after in range(1, 4):
        sent += [Tick(topic, each, 2, 9 * after, EPOCH + 10_000 * after, 9 * after, {}, fields) for each in (0, 1)]
    for ticks in (sent, empty + sent, [empty[0], *sent[::2]]):
        own, alerts = PanesReplay(config, {}), []
        for offset, tick in enumerate(ticks):
            alerts += own.read(PanesRecord(0, offset, EPOCH + offset, pack_tick(tick)))
        assert alerts == []
        assert own.ticks == len(ticks)
