"""Labels of a topic of their own through both stages and Redis: after crashes, outcomes are those of the replays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import orjson
import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.outcomes import outcome_parts, pack_outcome, pack_outcomes
from driftline.stream.codec.panes import read_message
from driftline.stream.codec.state import state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.demo.servers import Server
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.tick import Tick
from driftline.stream.replay.panes import PanesReplay, records_of
from driftline.stream.replay.pipeline import LogBatch, Pipeline, merge_runs
from driftline.stream.state.level import LevelError
from driftline.stream.state.models import ModelIndex
from driftline.stream.worker.worker import Worker
from tests.harness.brokers import unique
from tests.harness.driver import Crash, Driver, topics_with
from tests.harness.labelled import EPOCH, baseline_of, messages
from tests.replay.test_panes import as_lines, logs
from tests.worker.test_stages import Bench, play

_CONFIG = """
panes: {{events: 50}}
worker: {{group: {group}}}
models: {{fraud: {{clock: 50, false_alarms_per_event: 1.0e-4, learn_events: 300, outcomes:
  {{labels: topic, learn: 500, wait: 20m, slot: 1m, keep: 10m}}}}}}
"""
HOUR = 3_600_000
Logs = dict[int, list[bytes]]


@cache
def baseline() -> Baseline:
    return baseline_of(messages(1500, seed=1))


def apart(n: int, seed: int, gap_ms: int = 0) -> tuple[list[bytes], list[bytes]]:
    """Predictions, and their labels some minutes later: of most, a few corrected, doubled, too late or none.

    gap_ms: after each 50 predictions. Hours later, a prediction of another model and a label of nobody let all slots be
    closed.
    """
    rng, rows, labels = np.random.default_rng(seed), list[bytes](), list[tuple[int, dict[str, Any]]]()
    for i, row in enumerate(map(orjson.loads, messages(n, seed=3, concept=lambda i: 0.95 * (i >= n // 2)))):
        row["ts"] += i // 50 * gap_ms
        label, at = row.pop("label"), row["ts"] + int(rng.exponential(120_000))
        rows.append(orjson.dumps(row))
        if rng.random() < 0.05:
            rows.append(rows[-1])
        if rng.random() < 0.9:
            own = [(at, label), *([(at, label)] if rng.random() < 0.05 else [])]
            own += [(at + 30_000, "fine")] if rng.random() < 0.05 else []
            labels += [(ts, {"id": row["id"], "model": "fraud", "label": each}) for ts, each in own]
    labels.sort(key=lambda each: each[0] + rng.integers(0, 50_000))
    written = [orjson.dumps({**label, "ts": ts}) for ts, label in labels]
    written[20:20] = [b"{", orjson.dumps({"id": "e-1", "ts": EPOCH, "model": "fraud"})]
    end = EPOCH + n * 1000 + n // 50 * gap_ms
    for hours in (5, 10, 15):
        last = {"id": f"last-{hours}", "ts": end + hours * HOUR, "model": "fraud", "label": "fine"}
        # Of another model: the end of a replay closes the slots of the last predictions, too.
        row = {"id": f"end-{hours}", "ts": end + hours * HOUR, "model": "end"}
        rows.append(orjson.dumps({**orjson.loads(rows[0]), **row}))
        written.append(orjson.dumps(last))
    return rows, written


def dealt(log: Sequence[bytes], partitions: int) -> dict[int, list[bytes]]:
    return {partition: list(log[partition::partitions]) for partition in range(partitions)}


class LabelBench(Bench):
    """A bench whose labels have a topic of their own, of two partitions; so have the predictions."""

    def __init__(self, server: Server, given: bool, n: int = 1500, gap_ms: int = 0) -> None:
        super().__init__(f"redis://{server.address}", [], {"fraud": baseline()} if given else {})
        self.config = parse_config(_CONFIG.format(group=unique("group")))
        self.rows, self.labels = apart(n, 4, gap_ms)
        self.predictions_log, self.labels_log = dealt(self.rows[:-3], 2), dealt(self.labels[:-3], 2)
        for log, last in ((self.predictions_log, self.rows[-3:]), (self.labels_log, self.labels[-3:])):
            for partition in log:
                log[partition] += last  # each partition's clock is one of its own
        self.topics = topics_with(self.config, self.predictions_log, self.labels_log)

    async def work(self, driver: Driver, order: int = 0) -> None:
        """Read everything, in an order that is drawn, with ticks in between."""
        driver.sketch.tick_every = driver.labels.tick_every = 0.0
        await driver.assign()
        rng, left = np.random.default_rng(order), [("p", 0), ("p", 1), ("l", 0), ("l", 1)]
        while left:
            kind, partition = left[int(rng.integers(len(left)))]
            read = driver.sketch_next if kind == "p" else driver.labels_next
            if not await read(partition):
                left.remove((kind, partition))
            await driver.send_ticks(EPOCH)
            if rng.random() < 0.5:
                await self.judge_all(driver)
        await self.judge_all(driver)

    async def judge_all(self, driver: Driver) -> None:
        while any([await driver.judge_next(partition) for partition in range(driver.panes_partitions)]):
            pass


def replayed(
    config: Config,
    baselines: Mapping[str, Baseline],
    predictions: dict[int, list[bytes]],
    labels: dict[int, list[bytes]],
) -> ModelState:
    """The model's state at the end of a replay of both topics."""
    pipeline = Pipeline(config, baselines)
    for partition, log in labels.items():
        reader = pipeline.label_sketcher(partition, 0)
        for run in (*reader.consume(*batch_of(log)).runs, reader.close(len(log))):
            pipeline.learn(run)
    sketchers = {partition: pipeline.sketcher(partition, 0) for partition in predictions}
    for run in by_time(sketchers, predictions):
        pipeline.judge(run)
        pipeline.tick_after(run)
    pipeline.last_tick()
    return pipeline.states["fraud"]


def batch_of(log: Sequence[bytes]) -> LogBatch:
    return LogBatch(np.arange(len(log)), log)


def by_time(sketchers: Any, log: Logs) -> Iterator[Any]:
    def runs(partition: int) -> Iterator[Any]:
        sketcher = sketchers[partition]
        yield from sketcher.consume(*batch_of(log[partition])).runs
        yield sketcher.close(len(log[partition]))

    return merge_runs(map(runs, sorted(log)))


def packed(state: ModelState) -> dict[str, bytes]:
    """The outcomes of a model as they are stored."""
    assert state.outcomes is not None
    parts = outcome_parts(state.outcomes)
    return {"outcomes": pack_outcomes(parts.pop("outcomes"))} | {
        name: pack_outcome(part) for name, part in parts.items()
    }


@pytest.mark.parametrize("seed", range(3))
def test_after_crashes_anywhere_outcomes_are_those_of_both_replays(redis_server: Server, seed: int) -> None:
    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        rng = np.random.default_rng(seed)
        for _ in range(6):
            await crash(
                this, crash_at=int(rng.integers(1, 120)), late=bool(rng.integers(2)), order=int(rng.integers(99))
            )
        await this.work(this.driver(), order=seed)
        again = PanesReplay(this.config, this.baselines)
        alerts = [alert for record in records_of(logs(this, step_ms=0)) for alert in again.read(record)]
        assert {model: state_delta(None, each).write for model, each in again.states.items()} == await this.states()
        assert as_lines(alerts).keys() == {alert["data"]["id"] for alert in this.alerts()}
        state = await this.state("fraud")
        direct = replayed(this.config, this.baselines, this.predictions_log, this.labels_log)
        assert packed(state) == packed(direct)
        assert state.waiting is not None
        assert direct.waiting is not None
        live_counts, counts = state.waiting.counts, direct.waiting.counts
        assert (live_counts.joined, live_counts.corrected) == (counts.joined, counts.corrected)
        assert counts.joined > 1200
        assert live_counts.repeated == counts.repeated
        assert any(alert["data"]["class"] == "outcomes" for alert in this.alerts())
        reasons = {dict(each.headers)["reason"] for each in this.published(f"{this.config.topics.labels}.dlq")}
        assert b"label: missing" in reasons
        assert len(reasons) == 2

    play(LabelBench(redis_server, given=True), live)


@pytest.mark.parametrize("last", [("p", 1), ("l", 1)])
def test_slots_wait_for_a_partition_of_which_nothing_was_read_yet(redis_server: Server, last: tuple[str, int]) -> None:
    """As at the first start on topics that hold days of events already."""

    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        this.predictions_log[2] = []
        this.labels_log[2] = [b"{"]
        this.topics = topics_with(this.config, this.predictions_log, this.labels_log)
        driver = this.driver()
        driver.sketch.tick_every = driver.labels.tick_every = 0.0
        await driver.assign()
        places = [(kind, each) for kind in "pl" for each in range(3) if (kind, each) != last]
        for kind, each in (*places, last):
            while await (driver.sketch_next if kind == "p" else driver.labels_next)(each):
                await driver.send_ticks(EPOCH)
                await this.judge_all(driver)
        await driver.send_ticks(EPOCH)
        await this.judge_all(driver)
        state = await this.state("fraud")
        direct = replayed(this.config, this.baselines, this.predictions_log, this.labels_log)
        assert packed(state) == packed(direct)
        assert state.waiting is not None
        assert direct.waiting is not None
        # The end of a replay closes the slots of the last predictions, too.
        found, expected = (
            each.counts._replace(unlabelled=0, doubled=0, unmatched=0) for each in (state.waiting, direct.waiting)
        )
        assert found == expected
        assert found.overdue == 0
        assert found.joined > 1200

    play(LabelBench(redis_server, given=True), live)


async def crash(this: LabelBench, order: int, **changes: Any) -> None:
    with suppress(Crash):
        await this.work(this.driver(**changes), order)


def test_a_model_that_learns_its_baseline_has_outcomes_of_its_first_events(redis_server: Server) -> None:
    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        driver = this.driver()
        await this.work(driver)
        again = PanesReplay(this.config, this.baselines)
        assert [alert for record in records_of(logs(this, step_ms=0)) for alert in again.read(record)]
        assert {model: state_delta(None, each).write for model, each in again.states.items()} == await this.states()
        state = await this.state("fraud")
        assert state.waiting is not None
        assert state.waiting.counts.joined > 1200
        read = driver.metrics.registry.get_sample_value
        assert read("driftline_joined", {"model": "fraud", "what": "joined"}) == state.waiting.counts.joined
        index = ModelIndex(this.client, this.config.worker.group, this.config.topics.panes)
        (listed,) = [each for each in await index.read() if each.name == "fraud"]
        assert listed.row(this.config)["labels"]["joined"] == state.waiting.counts.joined
        assert read("driftline_labels_total") == len(this.labels) + 3

    play(LabelBench(redis_server, given=False), live)


def test_a_group_of_an_earlier_level_writes_what_it_wrote_before(redis_server: Server) -> None:
    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        driver = this.driver(level=2)
        await driver.assign()
        while await driver.sketch_next(0):
            pass
        waits = this.published(this.config.topics.panes)
        other = this.config.worker.model_copy(update={"group": unique("group")})
        this.config = this.config.model_copy(update={"models": {}, "worker": other})
        this.topics = topics_with(this.config, this.predictions_log)
        driver = this.driver(level=2)
        await driver.assign()
        while await driver.sketch_next(0):
            pass
        assert waits == this.published(this.config.topics.panes)
        assert waits
        pipeline = Pipeline(parse_config(_CONFIG.format(group="g")), {}, level=2)  # as if SIGHUP had asked for labels
        sketcher = pipeline.sketcher(0, 0)
        for run in (*sketcher.consume(*batch_of(this.rows)).runs, sketcher.close(len(this.rows))):
            pipeline.judge(run)
        assert pipeline.states["fraud"].has_history
        assert pipeline.states["fraud"].waiting is None

    play(LabelBench(redis_server, given=True), live)


def test_a_worker_of_a_group_of_an_earlier_level_refuses_labels_of_a_topic() -> None:
    worker = Worker(parse_config(_CONFIG.format(group=unique("group"))), {"fraud": baseline()})
    with pytest.raises(LevelError, match="needs format level 3; run driftline upgrade finish"):
        worker._use_level(2)
    worker._use_level(3)
    assert worker.label_stage.level == 3


def test_ticks_of_both_topics_are_sent_and_those_of_one_close_nothing(redis_server: Server) -> None:
    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        driver = this.driver()
        driver.sketch.tick_every = 0.0
        await driver.assign()
        while await driver.sketch_next(0) or await driver.sketch_next(1):
            await driver.send_ticks(EPOCH)
        await this.judge_all(driver)
        state = await this.state("fraud")
        assert state.waiting is not None
        assert state.waiting.counts.joined == state.waiting.counts.unlabelled == 0
        assert state.waiting.pending > 1500
        found = [read_message(each.value or b"") for each in this.published(this.config.topics.panes)]
        topics = {each.topic for each in found if isinstance(each, Tick)}
        assert topics == {this.config.topics.predictions}

    play(LabelBench(redis_server, given=True), live)
