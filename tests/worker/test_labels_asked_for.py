"""Labels of a topic are asked for while workers run, and predictions may be days apart: no label is lost."""

from __future__ import annotations

import numpy as np
import pytest

from driftline.stream.config.sections import Config
from driftline.stream.demo.servers import Server
from driftline.stream.events.mapping import NATIVE
from driftline.stream.panes.cutter import Cutter, PaneRule
from driftline.stream.panes.sketcher import Sketcher
from driftline.stream.replay.panes import PanesReplay, records_of, replay_panes
from tests.harness.driver import Driver
from tests.harness.labelled import EPOCH, messages
from tests.replay.test_panes import logs
from tests.worker.test_labels import HOUR, LabelBench, baseline
from tests.worker.test_stages import Bench, play


@pytest.mark.parametrize("every", [1, 1000])
def test_predictions_that_are_days_apart_all_wait_for_their_labels(redis_server: Server, every: int) -> None:
    """However rare ticks are: of a backlog, days are read between two. every: fetches before a tick."""

    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        driver = this.driver(fetch_size=50)
        driver.sketch.tick_every = driver.labels.tick_every = 0.0
        await driver.assign()
        fetches = 0
        while await read_all(driver):
            fetches += 1
            if fetches % every == 0:
                await driver.send_ticks(EPOCH)
            await this.judge_all(driver)
        await driver.send_ticks(EPOCH)
        await this.judge_all(driver)
        state = await this.state("fraud")
        assert state.waiting is not None
        counts = state.waiting.counts
        assert counts.joined + counts.unlabelled == 1500
        assert counts.joined > 1200

    play(LabelBench(redis_server, given=True, gap_ms=30 * HOUR), live)


async def read_all(driver: Driver) -> bool:
    """A fetch of each partition of both topics; whether one brought something."""
    predictions = [await driver.sketch_next(partition) for partition in (0, 1)]
    return any([*predictions, *[await driver.labels_next(partition) for partition in (0, 1)]])


def not_yet(config: Config) -> Config:
    """The configuration before it asked for labels of the model, though for those of another."""
    fraud = config.models["fraud"]
    plain = fraud.model_copy(update={"outcomes": config.defaults.outcomes})
    return config.model_copy(update={"models": {"fraud": plain, "other": fraud}})


def test_who_asks_while_workers_run_has_labels_joined_from_then_on(redis_server: Server) -> None:
    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        asked = this.config
        this.config = not_yet(asked)
        driver = this.driver()
        driver.sketch.tick_every = driver.labels.tick_every = 0.0
        await driver.assign()
        for _ in range(4):
            await driver.sketch_next(0)
            await driver.sketch_next(1)
        await this.judge_all(driver)
        assert (await this.state("fraud")).waiting is None
        driver.config = this.config = asked
        await driver.reload(this.baselines)
        while await read_all(driver):
            await driver.send_ticks(EPOCH)
        await this.judge_all(driver)
        state = await this.state("fraud")
        assert state.waiting is not None
        assert 700 < state.waiting.counts.joined < 1000
        assert state.outcomes is not None

    play(LabelBench(redis_server, given=True), live)


def test_a_judge_that_is_not_asked_yet_passes_over_labels_and_uses_those_that_follow(redis_server: Server) -> None:
    """As while workers are restarted one by one: were these dead letters, all after them would be."""

    async def live(this: Bench) -> None:
        assert isinstance(this, LabelBench)
        await this.work(this.driver())
        result = replay_panes(not_yet(this.config), [baseline()], logs(this, step_ms=0), lambda _: None)
        assert result.labels == {}
        assert not [each for each in result.remarks if "not judged" in each]
        own, records = PanesReplay(not_yet(this.config), this.baselines), [*records_of(logs(this, step_ms=0))]
        for record in records[: len(records) // 2]:
            own.read(record)
        again = PanesReplay(this.config, this.baselines)
        again._partitions = own._partitions  # a new worker takes over what the old one has stored
        for record in records[len(records) // 2 :]:
            again.read(record)
        assert again.refused == {}
        waiting = again.state_of("fraud").waiting
        assert waiting is not None
        assert waiting.counts.joined > 200

    play(LabelBench(redis_server, given=True), live)


@pytest.mark.parametrize("labels", ["event", "topic"])
def test_what_is_asked_of_a_run_that_is_open_holds_for_the_events_that_follow(labels: str) -> None:
    log = messages(100, seed=3)
    sketcher = Sketcher("predictions", Cutter(PaneRule(1000, None, 10**6), 0, 0), {"fraud": baseline()}, NATIVE)
    assert sketcher.consume(np.arange(30), log[:30]).runs == []
    sketcher.ask((lambda _: True) if labels == "event" else None, (lambda _: True) if labels == "topic" else None)
    assert sketcher.consume(np.arange(30, 100), log[30:]).runs == []
    pane = sketcher.close(100).panes["fraud"]
    assert pane.content.n == 100
    counted = [table.n for _, table in pane.outcomes] or [len(stubs) for _, stubs in pane.stubs]
    assert counted == [70]
