"""A topic that turns into something unreadable, through both stages of the worker over a real Redis."""

from __future__ import annotations

import asyncio
from typing import Any

from driftline.stream.alerts.build import encode_alert
from driftline.stream.demo.servers import Server
from driftline.stream.panes.tick import Tick
from driftline.stream.replay.panes import PanesReplay, records_of
from load_tests.harness.oracle import EPOCH
from tests.replay.test_panes import logs
from tests.worker.test_stages import Bench, play
from tests.worker.test_ticks import bench, inject, judge_all, ticks


def tell(this: Bench, times: range, rejected: int = 0) -> None:
    """Ticks of one partition, every 10 s; from one on, all of its messages are rejected."""
    for at in times:
        refused = {"the message": 100 * (at - times.start + 1)} if rejected else {}
        tick = Tick(this.config.topics.predictions, 0, 1, 0, EPOCH + 10_000 * at, read=100 * at, rejected=refused)
        inject(this, tick)


def test_one_judge_reports_a_topic_that_cannot_be_read_once_also_after_a_takeover(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        this.config = this.config.model_copy(update={"defaults": type(this.config.defaults)()})
        tell(this, range(1, 50))
        for times in (range(50, 52), range(52, 60)):
            driver = this.driver(step_ms=7)
            await driver.assign()
            await judge_all(driver)
            tell(this, range(50, times.stop)[-len(times) :] if times.start == 50 else range(50, 60), rejected=1)
        driver = this.driver(step_ms=7)
        await driver.assign()
        await judge_all(driver)
        assert driver.open_incidents == 1
        (alert,) = this.alerts()
        data: dict[str, Any] = alert["data"]
        assert (data["alert_key"], data["class"], data["severity"]) == (
            f"{this.config.topics.predictions}/rejected", "schema", "critical",
        )  # fmt: skip
        own, alerts = PanesReplay(this.config, this.baselines), []
        for record in records_of(logs(this, step_ms=7)):
            alerts += own.read(record)
        assert [encode_alert(each) for each in alerts] == [
            each.value for each in this.published(this.config.topics.alerts)
        ]

    play(bench(redis_server), scenario)


def test_rejections_behind_the_last_events_are_reported_although_more_keep_coming(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver()
        driver.sketch.tick_every = 0.0
        await driver.work()
        await asyncio.sleep(0.2)  # longer than a pane may last
        for _ in range(2):
            this.append([b"Avro"] * 50)
            while await driver.sketch_next():
                pass
            await driver.sketch.close_idle()
            await asyncio.sleep(1.5)  # its seal is on disk
            await driver.sketch.close_idle()
        this.append([b"Avro"] * 50)
        while await driver.sketch_next():
            pass
        await driver.send_ticks(0)
        assert sum(ticks(this)[-1].rejected.values()) == 150
        assert ticks(this)[-1].read == 550

    play(bench(redis_server), scenario)


def test_a_watched_field_that_vanishes_is_said_once_as_drift_of_its_signal(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        this.config = this.config.model_copy(update={"defaults": type(this.config.defaults)()})
        this.log[200:] = [message.replace(b'"amount"', b'"unused"') for message in this.log[200:] if message]
        this.append([])
        driver = this.driver()
        driver.sketch.tick_every = 0.0
        await driver.work()
        await driver.send_ticks(0)
        await judge_all(driver)
        paged = [each["data"] for each in this.alerts() if each["data"]["status"] == "firing"]
        assert [(each["component"], each["class"]) for each in paged] == [("given", "data-quality")]
        assert paged[0]["evidence"]["signals"][0]["signal"] == "features.amount"

    play(bench(redis_server, drift=(0, 0)), scenario)
