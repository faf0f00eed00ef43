"""Versions with baselines of their own, from the log through both stages and Redis to the alerts, beside a replay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

import orjson
import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.levels import FIRST
from driftline.stream.codec.state import HeadFacts
from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import Server
from driftline.stream.events.parse import parse_event
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Source
from driftline.stream.panes.tick import Tick
from driftline.stream.replay.panes import PanesReplay, records_of
from driftline.stream.state.models import ModelIndex
from load_tests.harness.oracle import EPOCH, Replay, alert_bodies, messages
from tests.harness.brokers import unique
from tests.replay.test_panes import as_lines, logs
from tests.worker.test_stages import Bench, Scenario, play
from tests.worker.test_ticks import HOUR, inject, judge_all

_CONFIG = """
panes: {{events: 20, seconds: 0.1}}
defaults: {{learn_events: 100, clock: 20, false_alarms_per_event: 1.0e-6, incidents: {{recovery: 30s}}}}
worker: {{group: {group}}}
"""
# By how much the amounts of a version are higher: each has been trained anew, on other prices.
_PRICES = {"4.2": 0.0, "5.0": 4.0, "6.0": -4.0}
_OLD, _NEW = "4.2", "5.0"


def event(message: bytes, version: str) -> bytes:
    row = orjson.loads(message) | {"version": version}
    row["features"]["amount"] += _PRICES[version]
    return orjson.dumps(row)


def rollout(n: int, version: Callable[[int], str], drift: tuple[int, int] = (0, 0)) -> list[bytes]:
    """n events of versions; the amounts of the second are 2 sigma too high in `drift`."""
    plain, drifting = messages("fraud", n), messages("fraud", n, drift=drift)
    return [event((drifting if version(i) == _NEW else plain)[i], version(i)) for i in range(n)]


def gradual(i: int) -> str:
    """From event 200 on every third one is of the new version, and from event 500 on all are."""
    return _NEW if i >= 500 or (i >= 200 and i % 3 == 0) else _OLD


def mixed(i: int) -> str:
    return _NEW if i % 2 else _OLD


@cache
def baseline(version: str) -> Baseline:
    rows = [event(each, version) for each in messages(f"fraud before {version}", 2000)]
    parsed = [parse_event(orjson.dumps(orjson.loads(row) | {"model": "fraud"})) for row in rows]
    return build_baseline(parsed, {"model": "fraud", "version": version}, BuildSettings(blocks=16))


def given(*versions: str) -> Versions:
    return {"fraud": {version: baseline(version) for version in versions}}


def on_a_bench(log: list[bytes]) -> Callable[[Scenario], Callable[[Server], None]]:
    """A test of an async scenario over a log."""

    def decorate(scenario: Scenario) -> Callable[[Server], None]:
        def test(redis_server: Server) -> None:
            this = Bench(f"redis://{redis_server.address}", [*log], {})
            this.config = parse_config(_CONFIG.format(group=unique("group")))
            this.append([])
            play(this, scenario)

        test.__doc__ = scenario.__doc__
        return test

    return decorate


async def worked(this: Bench, versions: Versions, **changes: Any) -> ModelState:
    driver = this.driver(versions=versions, **changes)
    await driver.announce()
    await driver.work()
    return await this.state("fraud")


async def check(this: Bench, versions: Versions, baselines: dict[str, Baseline] | None = None) -> None:
    """Compare Redis and the alerts with the replay of the log."""
    replay = Replay(this.config, baselines or {}, versions=versions)
    replay.read(0, this.log)
    assert await this.states() == replay.model_states()
    assert alert_bodies(this.alerts()) == alert_bodies(replay.alerts)


@on_a_bench(rollout(800, gradual))
async def test_a_rollout_under_traffic_pages_nobody_and_equals_the_replay(this: Bench) -> None:
    state = await worked(this, given(_OLD, _NEW))
    assert [*state.tracks] == [_OLD, _NEW]
    ends = {version: each.judge.end for version, each in state.tracks.items() if each.judge}
    assert ends == {_OLD: 400, _NEW: 400}
    assert (this.alerts(), this.dead_panes()) == ([], [])
    await check(this, given(_OLD, _NEW))
    (listed,) = await ModelIndex(this.client, this.config.worker.group, this.config.topics.panes).read()
    assert (listed.name, listed.facts) == ("fraud", HeadFacts(judged=sum(ends.values())))


@on_a_bench(rollout(800, mixed, drift=(400, 800)))
async def test_a_version_that_drifts_is_named_and_equals_the_replay(this: Bench) -> None:
    await worked(this, given(_OLD, _NEW))
    (alert,) = this.alerts()
    assert alert["data"]["title"].startswith("fraud v5.0: amount ")
    assert "features.amount of v5.0: " in alert["data"]["description"]
    evidence = alert["data"]["evidence"]
    assert (evidence["version"], evidence["baseline"]) == (_NEW, baseline(_NEW).content_hash)
    assert {each["version"] for each in evidence["signals"]} == {_NEW}
    assert alert["data"]["alert_key"] == "fraud"
    await check(this, given(_OLD, _NEW))


def test_the_log_says_once_that_a_version_has_learned_its_own_baseline(
    redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(this: Bench) -> None:
        await worked(this, given(_OLD))
        said = [each.message for each in caplog.records if "learned from" in each.message]
        assert said == [f"model fraud: the baseline of version {_NEW} is learned from its first 100 events"]

    with caplog.at_level("INFO"):
        on_a_bench(rollout(400, mixed))(scenario)(redis_server)


@on_a_bench(rollout(800, mixed, drift=(400, 800)))
async def test_a_version_without_a_baseline_learns_its_own(this: Bench) -> None:
    state = await worked(this, given(_OLD))
    assert state.tracks[_NEW].learned
    assert state.learned is None
    (alert,) = this.alerts()
    assert {each["version"] for each in alert["data"]["evidence"]["signals"]} == {_NEW}
    await check(this, given(_OLD))


@on_a_bench(rollout(600, gradual))
async def test_other_versions_are_judged_by_the_baseline_of_the_model(this: Bench) -> None:
    this.baselines = {"fraud": baseline(_OLD)}
    state = await worked(this, given(_NEW))
    assert [*state.tracks] == [_NEW]
    assert state.judge
    assert state.judge.baseline == baseline(_OLD).content_hash
    assert this.alerts() == []
    await check(this, given(_NEW), {"fraud": baseline(_OLD)})


@pytest.mark.parametrize("step", ["hset", "sadd", 12, 25, 60, 100])
def test_after_a_crash_the_tracks_end_where_the_replay_does(redis_server: Server, step: int | str) -> None:
    async def scenario(this: Bench) -> None:
        versions = given(_OLD, _NEW)
        await this.driver(versions=versions).announce()
        await this.crash(versions=versions, crash_at=step)
        await worked(this, versions)
        await check(this, versions)

    on_a_bench(rollout(400, mixed, drift=(200, 400)))(scenario)(redis_server)


@on_a_bench(rollout(800, gradual))
async def test_a_line_for_the_new_version_is_picked_up_under_traffic(this: Bench) -> None:
    """As every week, with a model that is trained anew: one new line, and SIGHUP."""
    driver = this.driver(versions=given(_OLD), fetch_size=40, panes_partitions=1)
    await driver.announce()
    await driver.assign()
    for number in range(40):
        if number == 4:
            await driver.reload({}, given(_OLD, _NEW))
        await driver.sketch_next()
        await driver.judge_next()
    await judge_all(driver)
    assert (this.alerts(), this.dead_panes()) == ([], [])
    state = await this.state("fraud")
    assert [*state.tracks] == [_OLD, _NEW]
    ends = [each.judge.end for each in state.tracks.values() if each.judge]
    assert (ends, sum(ends)) == ([400, 400 - 800 + state.consumed[Source(0)]], state.consumed[Source(0)])


@on_a_bench(rollout(800, mixed))
async def test_a_model_with_one_baseline_gets_baselines_of_versions_under_traffic(this: Bench) -> None:
    this.baselines = {"fraud": baseline(_OLD)}
    driver = this.driver(fetch_size=40, panes_partitions=1)
    await driver.announce()
    await driver.assign()
    for number in range(40):
        if number == 4:
            await driver.reload({"fraud": baseline(_OLD)}, given(_NEW))
        await driver.sketch_next()
        await driver.judge_next()
    await judge_all(driver)
    state = await this.state("fraud")
    assert this.dead_panes() == []
    assert sum(each.end for each in state.judges) == state.consumed[Source(0)]
    assert [*state.tracks] == [_NEW]


@pytest.mark.parametrize("after", ["nothing", "baselines of versions"])
def test_a_baseline_taken_out_under_traffic_judges_all_that_was_counted_in_it(redis_server: Server, after: str) -> None:
    """The open run still counts in it when the judges hear that the model has none any more."""
    versions = given(_OLD, _NEW) if after == "baselines of versions" else {}

    async def scenario(this: Bench) -> None:
        this.baselines = {"fraud": baseline(_OLD)}
        judges = [state.judge async for state in reloaded(this, {}, versions)]
        own = baseline(_OLD).content_hash
        counted = sum(each.run.end - each.run.start for each in this.panes() if each.baselines == {"": own})
        judged = max(each.end for each in judges if each and each.baseline == own)
        assert (judged, counted) == (140, 140), "132 had been read at the exchange, and a run has 20"
        state = await this.state("fraud")
        assert state.learned or state.tracks.keys() == {_OLD, _NEW}
        check_replay(this, {"fraud": baseline(_OLD)})

    on_a_bench(rollout(800, mixed))(scenario)(redis_server)


@pytest.mark.parametrize("kept", [(), (_OLD,)])
def test_a_version_taken_out_under_traffic_is_judged_in_all_that_was_counted(
    redis_server: Server, kept: tuple[str, ...]
) -> None:
    async def scenario(this: Bench) -> None:
        ends = list[int]()
        async for state in reloaded(this, given(_OLD, _NEW), given(*kept)):
            judge = state.tracks[_NEW].judge if _NEW in state.tracks else None
            ends += [judge.end] if judge is not None and judge.baseline == baseline(_NEW).content_hash else []
        assert max(ends) == 70, "every second one of the 140 events of the runs that began before the exchange"
        check_replay(this, {}, given(_OLD, _NEW))

    on_a_bench(rollout(800, mixed))(scenario)(redis_server)


async def reloaded(this: Bench, before: Versions, after: Versions) -> AsyncIterator[ModelState]:
    """The states after each record while the baselines of versions are exchanged, and that of the model taken out."""
    driver = this.driver(versions=before, fetch_size=33, panes_partitions=1)
    await driver.announce()
    await driver.assign()
    for number in range(25):
        if number == 4:
            await driver.reload({}, after)
        driver.fetch_size = 33
        await driver.sketch_next()
        driver.fetch_size = 1
        while await driver.judge_next():
            if await this.states():
                yield await this.state("fraud")
    assert this.dead_panes() == []


def check_replay(this: Bench, baselines: dict[str, Baseline], versions: Versions = NO_VERSIONS) -> None:
    """Judge the panes topic again: no record is refused, and the alerts are the same."""
    known = {each.content_hash: each for each in map(baseline, (_OLD, _NEW))}
    own, alerts = PanesReplay(this.config, baselines, lambda _, hash_: known.get(hash_), versions=versions), []
    for record in records_of(logs(this, step_ms=0)):
        alerts += own.read(record)
    assert own.refused == {}
    published = this.published(this.config.topics.alerts)
    assert sorted(as_lines(alerts).values()) == sorted(each.value or b"" for each in published)


@on_a_bench(rollout(300, mixed))
async def test_the_first_level_knows_no_versions(this: Bench) -> None:
    await this.driver(versions=given(_OLD, _NEW), level=FIRST).work()
    assert all(each.to_bytes()[1] == 1 for each in this.panes())
    state = await this.state("fraud")
    assert state.tracks == {}
    assert state.learned
    repeated = PanesReplay(this.config, {}, versions=given(_OLD, _NEW))
    for record in records_of(logs(this, step_ms=7)):
        repeated.read(record)
    assert repeated.states["fraud"].tracks == {}
    assert repeated.states["fraud"].judge


@on_a_bench(rollout(800, mixed, drift=(400, 600)))
async def test_a_replay_of_the_panes_topic_repeats_the_tracks(this: Bench) -> None:
    driver = this.driver(versions=given(_OLD), step_ms=7, panes_partitions=1)
    await driver.announce()
    await driver.assign()
    for hours in range(6):
        for _ in range(3):
            await driver.sketch_next()
        inject(this, Tick(this.config.topics.predictions, 0, 1, 0, EPOCH + hours * HOUR))
        await judge_all(driver)
    own, alerts = PanesReplay(this.config, {}, versions=given(_OLD)), []
    for record in records_of(logs(this, step_ms=7)):
        alerts += own.read(record)
    published = this.published(this.config.topics.alerts)
    assert sorted(as_lines(alerts).values()) == sorted(each.value or b"" for each in published)
    assert alerts
    assert own.states["fraud"].tracks.keys() == {_OLD, _NEW}
