"""Ticks through both stages of the worker, over lists and a real Redis: what is sent, received and kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftline.stream.codec.panes import PaneMessage, pack_tick, read_message, unpack_tick
from driftline.stream.codec.state import state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.pane import SLOT_MS
from driftline.stream.panes.tick import Marks, Tick
from driftline.stream.sources.calendars import load_calendars
from driftline.stream.state.fencing import FencedError
from driftline.stream.state.models import ModelIndex
from driftline.stream.state.store import Store
from load_tests.harness.oracle import EPOCH, baseline_of, messages
from tests.harness.brokers import unique
from tests.harness.driver import Crash, Driver
from tests.judge.test_absence import NONE, NOW, known
from tests.worker.test_stages import Bench, play

HOUR = 3_600_000
_CONFIG = """
panes: {{events: 10, seconds: 0.1}}
defaults: {{clock: 20, false_alarms_per_event: 0.001, incidents: {{hold: 1h, recovery: 1h, cooldown: 0s}}}}
worker: {{group: {group}}}
"""
# What Kafka was asked at, long after the events were read.
ASKED = 4_000_000_000_000


def bench(server: Server, drift: tuple[int, int] = (200, 400)) -> Bench:
    this = Bench(f"redis://{server.address}", [*messages("given", 400, drift=drift)], {"given": baseline_of("given")})
    this.config = parse_config(_CONFIG.format(group=unique("group")))
    return this


def ticks(this: Bench, partition: int = 0) -> list[Tick]:
    found = (read_message(each.value or b"") for each in this.topics[this.config.topics.panes].get(partition, []))
    return [each for each in found if isinstance(each, Tick)]


async def judge_all(driver: Driver) -> None:
    while any([await driver.judge_next(partition) for partition in range(driver.panes_partitions)]):
        pass


def inject(this: Bench, tick: Tick) -> None:
    """Put a tick on every partition of the panes topic."""
    for partition in (0, 1):
        log = this.topics[this.config.topics.panes].setdefault(partition, [])
        log.append(OutgoingRecord(this.config.topics.panes, None, pack_tick(tick), (), partition))


def statuses(this: Bench) -> list[str]:
    return [each["data"]["status"] for each in this.alerts()]


def run(server: Server, scenario: Any, **settings: Any) -> None:
    play(bench(server, **settings), scenario)


def test_a_group_of_the_first_level_sends_no_ticks_and_stores_nothing_of_them(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver(level=1)
        await driver.work()
        await driver.send_ticks(ASKED)
        assert ticks(this) == []
        key = f"{this.config.worker.group}:{{sketch/{this.config.topics.predictions}/0}}"
        assert set(await this.client.hkeys(key)) == {b"version", b"epoch", b"claimed", b"start", b"end", b"ends"}

    run(redis_server, scenario)


def test_a_tick_goes_to_every_partition_behind_the_panes_that_it_speaks_of(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver()
        await driver.work()
        await driver.send_ticks(0)
        first, second = ticks(this, 0), ticks(this, 1)
        assert first == second
        (tick,) = first
        assert (tick.topic, tick.partition, tick.of, tick.read) == (this.config.topics.predictions, 0, 1, tick.read_to)
        published = [
            read_message(each.value or b"") for log in this.topics[this.config.topics.panes].values() for each in log
        ]
        runs = [each.run.end for each in published if isinstance(each, PaneMessage)]
        assert tick.read_to == max(runs)
        assert tick.time == EPOCH + max(runs) - 18, "the lower quartile of the run before the last"

    run(redis_server, scenario)


def test_the_next_owner_says_no_less_and_counts_each_record_once(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        this.log[100:100] = [b"{", None]
        this.append([])
        for crash_at in (9, 17, 30, 31, 44, None):
            driver = this.driver(crash_at=crash_at, fetch_size=30)
            with contextlib.suppress(Crash):
                driver.sketch.tick_every = 0.0
                await driver.assign()
                while await driver.sketch_next():
                    await driver.send_ticks(0)
        said = ticks(this)
        assert [each.time for each in said] == sorted(each.time for each in said)
        assert len({each.read_to for each in said}) > 5
        assert all(each.read == each.read_to for each in said)
        assert sum(said[-1].rejected.values()) == 2

    run(redis_server, scenario)


async def quiet(this: Bench) -> Driver:
    """A driver that has read and published all events, and sends a tick whenever it is asked to."""
    driver = this.driver()
    await driver.work()
    driver.sketch.tick_every = 0.0
    await asyncio.sleep(0.11)  # as long as a pane may last
    for _ in range(2):
        await driver.sketch.close_idle()
        await asyncio.sleep(0.05)
    return driver


def test_time_goes_on_where_only_messages_come_that_cannot_be_read(redis_server: Server) -> None:
    """Some always come between the question where the log ends and its answer."""

    async def scenario(this: Bench) -> None:
        driver = await quiet(this)
        start = time.time_ns() // 1_000_000 + HOUR
        for second in range(0, 60_000, 10_000):
            this.append([b"{"])
            await driver.send_ticks(start + second)
            await driver.sketch_next()
        times = [each.time for each in ticks(this)]
        assert np.diff(times)[1:].tolist() == [10_000] * 4

    run(redis_server, scenario)


def test_time_stands_still_while_what_was_there_at_a_question_is_not_read_by_the_next(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = await quiet(this)
        start = time.time_ns() // 1_000_000 + HOUR
        this.append([b"{"])
        for second in range(0, 60_000, 10_000):
            await driver.send_ticks(start + second)
        assert len({each.time for each in ticks(this)}) == 1

    run(redis_server, scenario)


def test_a_worker_that_has_lost_its_partition_sends_no_tick(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        paused, owner = this.driver(), this.driver(level=2)
        await paused.work()
        await owner.assign()
        with pytest.raises(FencedError):
            await paused.send_ticks(ASKED)
        assert ticks(this) == []

    run(redis_server, scenario)


def test_ticks_report_what_is_held_although_no_further_event_comes(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver()
        await driver.work()
        assert statuses(this) == []
        inject(this, Tick(this.config.topics.predictions, 0, 1, 400, EPOCH + 400))
        await judge_all(driver)
        assert statuses(this) == []
        inject(this, Tick(this.config.topics.predictions, 0, 1, 400, EPOCH + 2 * HOUR))
        await judge_all(driver)
        (alert,) = this.alerts()
        assert alert["data"]["status"] == "firing"

    run(redis_server, scenario)


def test_a_model_that_has_stopped_has_an_open_incident_in_the_metric_and_in_the_list(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        stopped, group, panes = known(), this.config.worker.group, this.config.topics.panes
        stopped.pass_time(6, NONE)
        judge = await Store(this.client, group).claim_judge(panes, 0)
        await judge.commit(0, {"fraud": state_delta(None, stopped.state)}, seen={"fraud": 1})
        (listed,) = await ModelIndex(this.client, group, panes).read()
        assert (listed.name, listed.open_incidents) == ("fraud", 1)
        driver = this.driver()
        await driver.assign()
        assert driver.open_incidents == 1

    run(redis_server, scenario)


_HOLIDAY = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//planned work//
BEGIN:VEVENT
UID:1
DTSTAMP:20240101T000000Z
DTSTART:{day}
DTEND:{next_day}
END:VEVENT
END:VCALENDAR
"""


@pytest.mark.parametrize("closed_at_first", [True, False])
def test_a_calendar_file_that_has_changed_is_in_effect_once_the_configuration_is_loaded_again(
    redis_server: Server, tmp_path: Path, closed_at_first: bool
) -> None:
    """As at SIGHUP: the same line of the configuration, another file."""

    async def scenario(this: Bench) -> None:
        this.config = parse_config(_CONFIG.format(group=this.config.worker.group).replace("hold: 1h, ", ""))
        config = parse_config("defaults: {calendar: {files: [holidays.ics]}}")
        today = datetime.fromtimestamp(NOW * SLOT_MS / 1000, UTC)

        async def load(day: datetime) -> None:
            days = {"day": f"{day:%Y%m%dT%H%M%SZ}", "next_day": f"{day + timedelta(days=1):%Y%m%dT%H%M%SZ}"}
            (tmp_path / "holidays.ics").write_text(_HOLIDAY.format(**days))
            await driver.reload({}, calendar_of=load_calendars(config, tmp_path, today).for_model)

        judge = await Store(this.client, this.config.worker.group).claim_judge(this.config.topics.panes, 0)
        await judge.commit(0, {"fraud": state_delta(None, known().state)}, seen={"fraud": 1})
        driver = this.driver()
        await driver.assign()
        found = []
        for slot, closed in ((6, closed_at_first), (12, not closed_at_first)):
            await load(today if closed else today + timedelta(days=300))
            inject(this, Tick(this.config.topics.predictions, 0, 1, 400, (NOW + slot) * SLOT_MS))
            await judge_all(driver)
            found.append([each["data"]["class"] for each in this.alerts()])
        assert found == ([[], ["absence"]] if closed_at_first else [["absence"], ["absence"]])

    run(redis_server, scenario)


async def judged_with(this: Bench, crashes: np.random.Generator | None) -> tuple[Any, ...]:
    """The states, marks and alerts after panes and three ticks; crashes: where judges die meanwhile."""
    sketching = this.driver()
    await sketching.assign()
    while await sketching.sketch_next():
        pass
    for hours in (1, 3, 2):
        inject(this, Tick(this.config.topics.predictions, 0, 1, 400, EPOCH + hours * HOUR, read=hours))
    for _ in range(12) if crashes else ():
        driver = this.driver(crash_at=int(crashes.integers(4, 30)), late=bool(crashes.integers(2)))
        with contextlib.suppress(Crash):
            await this.judge(driver)
    last = this.driver()
    await this.judge(last)
    marks = [await (await last.judge._take_over(partition)).record.marks() for partition in (0, 1)]
    return await this.states(), marks, {each["id"]: each for each in this.alerts()}


@pytest.mark.parametrize("seed", range(3))
def test_after_any_crashes_states_marks_and_alerts_are_those_of_a_judge_that_never_died(
    redis_server: Server, seed: int
) -> None:
    found = []

    async def whole(this: Bench) -> None:
        found.append(await judged_with(this, None))

    async def broken(this: Bench) -> None:
        found.append(await judged_with(this, np.random.default_rng(seed)))

    run(redis_server, whole)
    run(redis_server, broken)
    assert found[0] == found[1]
    states, marks, alerts = found[0]
    assert states
    assert len(alerts) == 1
    assert [Marks().after(*map(unpack_tick, each)).time_of("predictions") for each in marks] == [EPOCH + 3 * HOUR] * 2


def test_the_ticks_of_another_topic_are_kept_and_make_no_model_older(redis_server: Server) -> None:
    async def scenario(this: Bench) -> None:
        driver = this.driver()
        await driver.work()
        inject(this, Tick("others", 0, 1, 0, EPOCH + 2 * HOUR))
        await judge_all(driver)
        assert this.dead_panes() == []
        assert statuses(this) == []

    run(redis_server, scenario)
