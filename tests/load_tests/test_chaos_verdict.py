"""The verdict on a chaos run notices whatever is removed from, added to or changed in a correct outcome."""

from __future__ import annotations

import asyncio
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from driftline.detectors.summaries import codes
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.panes import PaneMessage, pack_tick, read_message
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Redis
from driftline.stream.demo.servers import Server
from driftline.stream.events import columns, decode, structs
from driftline.stream.events.parse import parse_event
from driftline.stream.events.unreadable import Unreadable
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.outcomes.coding import Coding
from driftline.stream.panes.tick import Tick
from driftline.stream.state.client import connect
from load_tests.chaos.naive import MAX_BATCH
from load_tests.chaos.outcome import Era, Outcome, Record, Verdict
from load_tests.chaos.verdict import judge_run
from load_tests.harness.deployment import unique
from load_tests.harness.oracle import baseline_of, interleave, messages
from tests.harness import labelled
from tests.harness.driver import Driver, topics_with

_CONFIG = """
panes: {{events: 50, seconds: 0.1}}
defaults: {{learn_events: 100, false_alarms_per_event: 0.001}}
models: {{given: {{}}, spread: {{}}, learns: {{clock: 100000}}}}
worker: {{group: {group}}}
limits: {{newcomers: 1}}
"""
NAN = b'{"id":"nan","ts":1767225600000,"model":"given","features":{"amount":NaN,"country":"at"},"score":1}'
ODD = b'{"id":"odd","ts":1767225600000,"model":"given","features":{"amount":"N/A","country":"at"},"score":1}'
BASELINES = {model: baseline_of(model) for model in ("given", "spread")}


LOGS: dict[int, list[bytes | None]] = {
    0: [
        *interleave(messages("given", 500, drift=(200, 300)), messages("spread", 500, drift=(200, 300))),
        b"{",
        ODD,
        NAN,
        *(messages(guest, 1)[0] for guest in ("guest-1", "guest-2", "guest-3")),
    ],
    1: [*interleave(messages("spread", 500, 500), messages("learns", 500))],
}


async def work(
    config: Config,
    url: str,
    logs: dict[int, list[bytes | None]] = LOGS,
    ticks: bool = False,
    other: Baseline | None = None,
    versions: Versions = NO_VERSIONS,
    baselines: Mapping[str, Baseline] = BASELINES,
) -> Outcome:
    """The outcome of a worker that meets no fault.

    ticks: whether it sends one after each fetch. other: a baseline that it is given in the middle of the traffic.
    versions: the baselines of versions that have their own.
    """
    client = connect(Redis(url=url))
    topics = topics_with(config, logs)
    driver = Driver(config, baselines, client, topics, fetch_size=_PORTION if ticks else 70, versions=versions)
    await read_all(driver, ticks, other)
    while not closed(topics, logs):
        await driver.sketch.close_idle()
        await asyncio.sleep(0.02)
    if ticks:
        await driver.send_ticks(0)
    await judge_all(driver)
    model_states = {}
    async for key in client.scan_iter(match=f"{config.worker.group}:{{judge/*:model:*"):
        parts = await client.hgetall(key)
        model_states[key.decode().partition(":model:")[2]] = {name.decode(): part for name, part in parts.items()}
    await client.aclose()

    def records(topic: str) -> list[Record]:
        return [
            Record(each.value, 0, dict(each.headers), partition, offset)
            for partition, log in sorted(topics[topic].items())
            for offset, each in enumerate(log)
        ]

    names = config.topics
    dead_letters, pane_dead_letters = (records(f"{each}.dlq") for each in (names.predictions, names.panes))
    predictions = {partition: dict(enumerate(log)) for partition, log in logs.items()}
    era = Era(predictions, records(names.panes), dead_letters)
    return Outcome([era], records(names.alerts), pane_dead_letters, model_states)


async def read_all(driver: Driver, ticks: bool, other: Baseline | None) -> None:
    """Read the predictions topic to its end, and judge what comes of it."""
    await driver.assign()
    driver.sketch.tick_every = 0.0
    if other is not None or driver.versions:
        await driver.announce()
    rounds, partitions = 0, sorted(driver.topics[driver.config.topics.predictions])
    while any([await driver.sketch_next(partition) for partition in partitions]):
        rounds += 1
        if other is not None and rounds == 5:
            await driver.reload({**BASELINES, other.model: other}, driver.versions)
        if ticks:
            await driver.send_ticks(0)
        await judge_all(driver)


async def judge_all(driver: Driver) -> None:
    """Judge all panes that are published."""
    while any([await driver.judge_next(partition) for partition in range(2)]):
        pass


def closed(topics: dict[str, dict[int, list[OutgoingRecord]]], logs: dict[int, list[bytes | None]]) -> bool:
    """Whether the last runs of all partitions are published."""
    said = [read_message(each.value or b"") for log in topics["driftline.panes"].values() for each in log]
    panes = [each.run for each in said if isinstance(each, PaneMessage)]
    return {(run.partition, run.end) for run in panes} >= {(partition, len(log)) for partition, log in logs.items()}


# Portions of a log, six hours apart; messages of a partition in each; those in which a model is missing.
_PORTIONS, _PORTION, _STOPPED = 30, 40, range(11, 22)


def days() -> dict[int, list[bytes | None]]:
    """A log of days, in which model `given` stops for more than two, and has a drift after that."""

    def moved(message: bytes, hours: int) -> bytes:
        event = orjson.loads(message)
        return orjson.dumps(event | {"ts": event["ts"] + hours * 3_600_000})

    def own(model: str, first: int) -> list[bytes | None]:
        log = messages(model, 20 * _PORTIONS, first, drift=(440, 520))
        return [moved(each, 6 * (i // 20)) for i, each in enumerate(log)]

    given, (spread, rest, others) = own("given", 0), (own("spread", each * 20 * _PORTIONS) for each in range(3))
    # A topic of which much cannot be read is no sign that a model is silent; a few such messages are in every topic.
    odd = [b"{" if i % 90 == 89 else others[i] if i // 20 in _STOPPED else each for i, each in enumerate(given)]
    return {0: [*interleave(odd, spread)], 1: [*interleave(rest, own("learns", 0))]}  # type: ignore[type-var]


@pytest.fixture(scope="module")
def ticked(config: Config, redis_server: Server) -> tuple[Config, Outcome]:
    """A run with ticks, in which a model stops and starts again."""
    own = config.model_copy(update={"worker": config.worker.model_copy(update={"group": unique("group")})})
    return own, asyncio.run(work(own, f"redis://{redis_server.address}", days(), ticks=True))


@pytest.fixture(scope="module")
def config() -> Config:
    return parse_config(_CONFIG.format(group=unique("group")))


@pytest.fixture(scope="module")
def outcome(config: Config, redis_server: Server) -> Outcome:
    return asyncio.run(work(config, f"redis://{redis_server.address}"))


def verdict_on(config: Config, outcome: Outcome, ticks: bool = False) -> Verdict:
    return judge_run(config, BASELINES, ["spread"], outcome, ticks=ticks)


def test_a_run_without_faults_is_equal_and_what_is_published_twice_counts_once(
    config: Config, outcome: Outcome
) -> None:
    verdict = verdict_on(config, outcome)
    assert verdict.mismatches == []
    assert (verdict.lost, verdict.doubled) == (0, 0)
    assert verdict.figures["alerts"] == len(outcome.alerts) > 0
    assert verdict.figures | {"events": 2005, "dead letters": 3, "models": 3} == verdict.figures
    assert verdict.figures | {"models without a baseline": 3, "panes without room": 2} == verdict.figures
    (era,) = outcome.eras
    twice = replace(
        with_era(outcome, panes=[*era.panes, *era.panes], dead_letters=[*era.dead_letters, *era.dead_letters]),
        alerts=[*outcome.alerts, *outcome.alerts],
    )
    verdict = verdict_on(config, twice)
    assert verdict.mismatches == []
    assert verdict.figures["panes published again"] == len(era.panes)


def test_a_model_that_stops_and_starts_again_is_absent_once_by_both_replays(ticked: tuple[Config, Outcome]) -> None:
    config, outcome = ticked
    verdict = verdict_on(config, outcome, ticks=True)
    assert verdict.mismatches == []
    assert verdict.figures["ticks"] > 2 * _PORTIONS
    told = [orjson.loads(each.value or b"")["data"] for each in outcome.alerts]
    of_traffic = [(each["component"], each["status"]) for each in told if each["class"] == "absence"]
    assert of_traffic == [("given", "firing"), ("given", "resolved")]
    assert len(told) > 2, "drifts are numbered among them"


@pytest.mark.parametrize("case", ["other events", "a signal less"])
def test_a_run_in_which_a_baseline_was_exchanged_is_equal_and_keeps_what_both_watch(
    config: Config, redis_server: Server, case: str
) -> None:
    own = config.model_copy(update={"worker": config.worker.model_copy(update={"group": unique("group")})})
    after = baseline_of("given", "other") if case == "other events" else without_country(BASELINES["given"])
    outcome = asyncio.run(work(own, f"redis://{redis_server.address}", other=after))
    now, before = {**BASELINES, "given": after}, [BASELINES["given"]]
    verdict = judge_run(own, now, ["spread"], outcome, exchanged=before, ticks=False)
    assert verdict.mismatches == []
    assert (verdict.lost, verdict.doubled, verdict.figures["baselines exchanged"]) == (0, 0, 1)
    panes = [read_message(each.value or b"") for each in outcome.eras[0].panes]
    used = {each.baseline for each in panes if isinstance(each, PaneMessage) and each.model == "given"}
    assert used >= {BASELINES["given"].content_hash, after.content_hash}
    wrong = judge_run(own, {**BASELINES}, ["spread"], outcome, exchanged=[after]).mismatches
    assert any(each.startswith("the newest reference of given: ") for each in wrong)
    if case == "a signal less":
        event = orjson.dumps(orjson.loads(messages("given", 501)[-1]))
        lost = judge_run(own, now, ["spread"], with_message(outcome, 0, 1000, event), exchanged=before)
        assert (lost.lost, lost.doubled) == (2, 0), "of the signals that both baselines watch"


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_run_in_which_a_version_was_rolled_out_is_equal_and_counts_it_in_its_own_cells(
    config: Config, redis_server: Server, exchanged: bool
) -> None:
    own = config.model_copy(update={"worker": config.worker.model_copy(update={"group": unique("group")})})
    versions = {"given": {"2.0": without_country(BASELINES["given"])}}
    after = baseline_of("given", "other") if exchanged else None
    outcome = asyncio.run(work(own, f"redis://{redis_server.address}", rolled_out(), other=after, versions=versions))
    now, before = (BASELINES | {"given": after}, [BASELINES["given"]]) if after else (BASELINES, [])
    verdict = judge_run(own, now, ["spread"], outcome, exchanged=before, ticks=False, versions=versions)
    assert verdict.mismatches == []
    assert (verdict.lost, verdict.doubled) == (0, 0)
    tracks = [tracks_of(each) for each in outcome.eras[0].panes]
    assert {True, False} <= {"2.0" in each for each in tracks}
    assert {"2.0"} in tracks
    event = orjson.dumps(orjson.loads(messages("given", 501)[-1]) | {"version": "2.0"})
    lost = judge_run(own, now, ["spread"], with_message(outcome, 0, 1000, event), exchanged=before, versions=versions)
    assert (lost.lost, lost.doubled) == (2, 0), "amount and score, as the version's baseline has no country"


def rolled_out() -> dict[int, list[bytes | None]]:
    """The log of a model whose events say a version: none, then every other one, then all."""
    version = {"version": "2.0"}
    own = [orjson.loads(each) for each in messages("given", 500, drift=(200, 300))]
    own = [each | version if i >= 400 or (i >= 100 and i % 2) else each for i, each in enumerate(own)]
    return {**LOGS, 0: [*interleave([orjson.dumps(each) for each in own], messages("spread", 500))]}


def tracks_of(record: Record) -> set[str]:
    """The versions that a pane counts."""
    message = read_message(record.value or b"")
    return set(message.baselines) if isinstance(message, PaneMessage) else set()


def without_country(baseline: Baseline) -> Baseline:
    """A baseline of the same events, had they no country."""
    events = [orjson.loads(each) for each in messages(f"{baseline.model} before ", 2000)]
    for event in events:
        event["model"] = baseline.model
        del event["features"]["country"]
    parsed = [parse_event(orjson.dumps(event)) for event in events]
    return build_baseline(parsed, {"model": baseline.model}, BuildSettings(blocks=16))


def test_a_tick_that_lay_elsewhere_or_was_lost_is_noticed(ticked: tuple[Config, Outcome]) -> None:
    config, outcome = ticked
    (era,) = outcome.eras
    panes = [each for each in era.panes if isinstance(read_message(each.value or b""), PaneMessage)]
    verdict = verdict_on(config, with_era(outcome, panes=panes))
    for topic in ("predictions topic", "panes topic"):
        wrong = f"the state of given is not that of a replay of the {topic}: "
        assert any(each.startswith(wrong) for each in verdict.mismatches)
    assert any(each.startswith("alert, by the predictions topic, ") for each in verdict.mismatches)


def _with_ticks(change: Callable[[int, Tick], Tick | None]) -> Callable[[Sequence[Record]], list[Record]]:
    """Panes among which each tick, of which it gets the number, says something else, or is lost."""

    def changed(panes: Sequence[Record]) -> list[Record]:
        records = []
        for number, (record, message) in enumerate(Era({}, panes, []).messages()):
            other = change(number, message) if isinstance(message, Tick) else message
            if other is not None:
                own = record if other is message else record._replace(value=pack_tick(other))  # type: ignore[arg-type]
                records.append(own)
        return records

    return changed


def _ticks_first(panes: Sequence[Record]) -> list[Record]:
    """Each partition's ticks before its panes."""
    is_pane = {id(record): not isinstance(message, Tick) for record, message in Era({}, panes, []).messages()}
    return sorted(panes, key=lambda record: (record.partition, is_pane[id(record)]))


_WEEK = 7 * 86_400_000
SPOILED_TICKS: dict[str, tuple[Callable[[Sequence[Record]], list[Record]], str]] = {
    "ticks that overtake panes": (_ticks_first, "before the pane of "),
    "a partition without ticks": (_with_ticks(lambda _, tick: tick if tick.partition else None), "is read to 0"),
    "a tick beyond the log": (_with_ticks(lambda _, tick: replace(tick, read_to=10**6)), "the log ends at "),
    "records counted twice": (_with_ticks(lambda _, tick: replace(tick, read=2 * tick.read)), "counts beyond those"),
    "rejections that are not counted": (_with_ticks(lambda _, tick: replace(tick, rejected={})), "counts beyond those"),
    "a time of the wall clock": (_with_ticks(lambda _, tick: replace(tick, time=10**13)), "is ahead of all events"),
    "times that fall": (
        _with_ticks(lambda n, tick: replace(tick, time=tick.time - _WEEK * (n > 50))),
        "before it was read to",
    ),
}


@pytest.mark.parametrize("case", SPOILED_TICKS)
def test_a_tick_that_says_something_else_is_noticed(ticked: tuple[Config, Outcome], case: str) -> None:
    config, outcome = ticked
    spoil, word = SPOILED_TICKS[case]
    spoiled = with_era(outcome, panes=spoil(outcome.eras[0].panes))
    assert any(word in each for each in verdict_on(config, spoiled, ticks=True).mismatches)


def test_a_tick_that_comes_late_is_no_mismatch(ticked: tuple[Config, Outcome]) -> None:
    """A worker that was away sends it; a successor has sent others meanwhile. Judges take it as said."""
    config, outcome = ticked
    records = list(outcome.eras[0].panes)
    last = next(at for at in reversed(range(len(records))) if records[at].partition == 0)
    messages = outcome.eras[0].messages()
    ticks = [(record, each) for record, each in messages if isinstance(each, Tick) and record.partition == 0]
    newest = {each.partition: each.time for _, each in ticks}
    # A successor that has published less again has the time of the owner before.
    late = [record._replace(value=pack_tick(replace(each, time=newest[each.partition]))) for record, each in ticks]
    again = [*records[: last + 1], *late, *records[last + 1 :]]
    verdict = verdict_on(config, with_era(outcome, panes=again), ticks=True)
    assert not [each for each in verdict.mismatches if "tick" in each]
    assert verdict.figures["ticks that came late"] > 0


def with_era(outcome: Outcome, **changes: Any) -> Outcome:
    """The outcome with another content of its only era."""
    return replace(outcome, eras=[replace(outcome.eras[0], **changes)])


def with_message(outcome: Outcome, partition: int, offset: int, value: bytes | None) -> Outcome:
    """The outcome, had this message been on the topic."""
    predictions = outcome.eras[0].predictions
    return with_era(outcome, predictions={**predictions, partition: {**predictions[partition], offset: value}})


def test_a_lost_event_is_noticed(config: Config, outcome: Outcome) -> None:
    event = orjson.dumps(orjson.loads(messages("given", 501)[-1]))
    verdict = verdict_on(config, with_message(outcome, 0, 1000, event))
    assert (verdict.lost, verdict.doubled) == (3, 0)
    assert "events counted of given: 502, expected 503" in verdict.mismatches
    assert any("the pane of given in (Range(partition=0" in each for each in verdict.mismatches)


def test_a_doubled_event_is_noticed(config: Config, outcome: Outcome) -> None:
    verdict = verdict_on(config, with_message(outcome, 1, 10, b"{"))
    assert (verdict.lost, verdict.doubled) == (0, 3)
    assert "events counted of spread: 1000, expected 999" in verdict.mismatches
    assert "the message at (1, 10) is no event (not JSON); its dead letter says: ''" in verdict.mismatches


def test_a_changed_event_is_noticed(config: Config, outcome: Outcome) -> None:
    event = orjson.loads(outcome.eras[0].predictions[0][4] or b"")
    event["features"]["amount"] += 1.0
    verdict = verdict_on(config, with_message(outcome, 0, 4, orjson.dumps(event)))
    assert (verdict.lost, verdict.doubled) == (1, 1)
    assert any(each.startswith("the pane of given in (Range(partition=0, start=0") for each in verdict.mismatches)
    assert any(
        each.startswith("the state of given is not that of a replay of the predictions") for each in verdict.mismatches
    )


def _other(record: Record) -> Record:
    alert = orjson.loads(record.value or b"")
    alert["data"]["title"] += "!"
    return record._replace(value=orjson.dumps(alert))


def _renamed(record: Record) -> Record:
    alert = orjson.loads(record.value or b"")
    alert["id"] = alert["data"]["id"] = "other"
    return record._replace(value=orjson.dumps(alert))


def _later(record: Record) -> Record:
    alert = orjson.loads(record.value or b"")
    alert["data"]["seq"] += 1
    return record._replace(value=orjson.dumps(alert))


SPOILED: dict[str, tuple[Callable[[Outcome], Outcome], str]] = {
    "an alert lost": (lambda outcome: replace(outcome, alerts=outcome.alerts[1:]), "is missing"),
    "an alert invented": (
        lambda outcome: replace(outcome, alerts=[*outcome.alerts, _renamed(outcome.alerts[0])]),
        "is not expected",
    ),
    "an alert with other content": (lambda outcome: replace(outcome, alerts=[*map(_other, outcome.alerts)]), "differs"),
    "an alert published again with other content": (
        lambda outcome: replace(outcome, alerts=[*outcome.alerts, _other(outcome.alerts[0])]),
        "published again",
    ),
    "a dead letter lost": (
        lambda outcome: with_era(outcome, dead_letters=outcome.eras[0].dead_letters[1:]),
        "the message at (0, 1000) is no event",
    ),
    "a dead letter of a pane": (
        lambda outcome: replace(outcome, pane_dead_letters=outcome.eras[0].dead_letters[:1]),
        "the dead letter of the pane at (0, 1000) is not expected",
    ),
    "a dead letter of a pane without room lost": (
        lambda outcome: replace(outcome, pane_dead_letters=outcome.pane_dead_letters[1:]),
        "the dead letter of the pane at",
    ),
    "alerts in another order": (
        lambda outcome: replace(outcome, alerts=[_later(outcome.alerts[0]), *outcome.alerts]),
        "number of earlier ones of its model",
    ),
    "a state of an unknown model": (
        lambda outcome: replace(
            outcome, model_states={**outcome.model_states, "nobody": outcome.model_states["given"]}
        ),
        "nobody has a state, but no pane",
    ),
    "a state lost": (
        lambda outcome: replace(outcome, model_states={**outcome.model_states, "given": {}}),
        "counted of given: 0",
    ),
    "the last pane lost": (lambda outcome: with_era(outcome, panes=outcome.eras[0].panes[:-1]), "was not published"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_whatever_else_is_spoiled_is_noticed(config: Config, outcome: Outcome, case: str) -> None:
    spoil, word = SPOILED[case]
    mismatches = verdict_on(config, spoil(outcome)).mismatches
    assert any(word in each for each in mismatches), mismatches


def test_a_pane_that_resume_announced_as_skipped_and_that_was_judged_is_noticed(
    config: Config, outcome: Outcome
) -> None:
    (era,) = outcome.eras
    pane = next(each for each in era.panes if b"spread" in (each.value or b""))
    verdict = verdict_on(config, with_era(outcome, skipped={(pane.partition, pane.offset)}))
    assert any(each.startswith("events counted of spread: 1000, expected ") for each in verdict.mismatches)
    assert verdict.figures["panes skipped"] == 1
    assert verdict.doubled > 0


def test_a_skipped_pane_may_have_been_refused_before_by_a_worker_that_could_not_commit_it(
    config: Config, outcome: Outcome
) -> None:
    (era,) = outcome.eras
    headers = era.dead_letters[0].headers
    refused = {(int(headers["partition"]), int(headers["offset"]))}
    spoiled = with_era(replace(outcome, pane_dead_letters=[era.dead_letters[0], *outcome.pane_dead_letters]))
    complaint = "the dead letter of the pane at (0, 1000) is not expected"
    assert any(complaint in each for each in verdict_on(config, spoiled).mismatches)
    assert not any(complaint in each for each in verdict_on(config, with_era(spoiled, skipped=refused)).mismatches)


def test_a_pane_that_may_be_lost_as_resume_announced_is_no_mismatch_but_what_it_changed_is(
    config: Config, outcome: Outcome
) -> None:
    (era,) = outcome.eras
    run = PaneMessage.from_bytes(era.panes[-1].value or b"").run
    lost = [each for each in era.panes if PaneMessage.from_bytes(each.value or b"").run != run]
    verdict = verdict_on(config, with_era(outcome, panes=lost, doubtful={run.partition: range(run.start, run.end)}))
    assert not any("was not published" in each for each in verdict.mismatches)
    assert any(each.startswith("events counted of ") for each in verdict.mismatches), "it was judged, so it is not lost"
    assert verdict.doubled > 0


def test_several_runs_may_be_lost_at_once_as_resume_announced(config: Config, outcome: Outcome) -> None:
    """They were sealed together, and only their panes would have said where each of them ends."""
    (era,) = outcome.eras
    runs = sorted({PaneMessage.from_bytes(each.value or b"").run for each in era.panes})[-4:]
    kept = [each for each in era.panes if PaneMessage.from_bytes(each.value or b"").run not in runs]
    lost = range(runs[0].start, runs[-1].end)
    verdict = verdict_on(config, with_era(outcome, panes=kept, doubtful={runs[0].partition: lost}))
    assert {run.partition for run in runs} == {1}
    assert not any("a run that the rule ends" in each for each in verdict.mismatches)


def test_a_batch_that_is_passed_over_ends_no_run_however_large_it_is(config: Config, redis_server: Server) -> None:
    """The run begins with it: counted among the bytes that end a run, it would end it at once."""
    own = config.model_copy(update={"worker": config.worker.model_copy(update={"group": unique("group")})})
    bomb = Unreadable(0, 1, "it is larger than limits.batch_bytes")
    outcome = asyncio.run(work(own, f"redis://{redis_server.address}", {0: [bomb, *messages("given", 60)]}))
    verdict = verdict_on(own, with_message(outcome, 0, 0, bytes(MAX_BATCH + 1)))
    assert verdict.mismatches == []
    assert verdict.figures | {"events": 60, "dead letters": 1} == verdict.figures


def test_positions_that_resume_did_not_move_are_noticed(config: Config, outcome: Outcome) -> None:
    (era,) = outcome.eras
    verdict = verdict_on(config, replace(outcome, eras=[replace(era, resumed={1: 0}), Era({}, [], [])]))
    wrong = {each for each in verdict.mismatches if each.endswith("is not that of a replay of the panes topic: head")}
    assert {each.split()[3] for each in wrong} == {"spread", "learns"}, "the models that lie on partition 1"


def test_a_run_that_was_cut_at_two_offsets_is_noticed(config: Config, outcome: Outcome) -> None:
    """A successor that does not know where the idle timeout ended a run cuts so; the judge drops the second pane."""
    panes = [PaneMessage.from_bytes(each.value or b"") for each in outcome.eras[0].panes]
    at = max(i for i, each in enumerate(panes) if each.run.partition == 0)
    (run,) = panes[at].packed.ranges
    shorter = replace_range(panes[at], run._replace(end=run.end - 1))
    verdict = verdict_on(config, with_era(outcome, panes=[*outcome.eras[0].panes, Record(shorter.to_bytes())]))
    assert any("overlap" in each for each in verdict.mismatches)


def test_a_run_may_end_behind_the_last_message_where_a_transaction_was_committed(
    config: Config, outcome: Outcome
) -> None:
    panes = []
    for record in outcome.eras[0].panes:
        pane = PaneMessage.from_bytes(record.value or b"")
        at_end = pane.run.end == len(LOGS[pane.run.partition])
        longer = replace_range(pane, pane.run._replace(end=pane.run.end + 1)) if at_end else pane
        panes.append(record._replace(value=longer.to_bytes()))
    verdict = verdict_on(config, with_era(outcome, panes=panes))
    assert not [each for each in verdict.mismatches if "is not expected" in each or "was not published" in each]


def test_a_run_that_is_longer_than_the_rule_allows_is_noticed(config: Config, outcome: Outcome) -> None:
    """Two runs of a partition published as one: nothing is lost, yet neither the log nor the timeout cut them so."""
    longer = replace_config(config, events=25)
    verdict = verdict_on(longer, outcome)
    assert any("a run that the rule ends" in each for each in verdict.mismatches)


def replace_range(message: PaneMessage, run: object) -> PaneMessage:
    return PaneMessage(
        message.model,
        message.baseline,
        message.topic,
        type(message.packed)(message.packed.first_ts, message.packed.last_ts, (run,), message.packed.content),  # type: ignore[arg-type]
    )


def replace_config(config: Config, events: int) -> Config:
    return config.model_copy(update={"panes": config.panes.model_copy(update={"events": events})})


# Faults of the reader and the coder, which workers and replay share: what each replaces, and words of the mismatch.


def _without_nan(read: Callable[..., Any]) -> Callable[..., Any]:
    """NaN as a missing value."""

    def as_number(value: Any, flag: bool = False) -> float | None:
        return None if value != value else read(value, flag)

    return as_number


def _in_the_next_cell(encode: Callable[..., Any]) -> Callable[..., Any]:
    return lambda grid, values: np.where((codes := encode(grid, values)) == 3, 4, codes)


def _twice(read: Callable[..., Any]) -> Callable[..., Any]:
    """Events of one model that only the exact reader understands, twice."""

    def read_exactly(*arguments: Any) -> Any:
        events, rejections = read(*arguments)
        doubled = sorted(events.get(("given", None), []) * 2, key=itemgetter(0))
        return {**events, **({("given", None): doubled} if doubled else {})}, rejections

    return read_exactly


def _without_the_shortest(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Messages of one byte are neither read nor refused."""

    def parse_plain(decoder: Any, batch: Any, *arguments: Any) -> Any:
        known, refused = parse(decoder, batch, *arguments)
        return known, [position for position in refused if len(batch[position]) > 1]

    return parse_plain


def _a_second_later(times: Callable[..., Any]) -> Callable[..., Any]:
    return lambda column, rule: [each + 1000 for each in times(column, rule)]


FAULTS: dict[str, tuple[str, Callable[[Callable[..., Any]], Callable[..., Any]], str]] = {
    "a NaN that is dropped": (f"{columns.__name__}.as_number", _without_nan, "has a defective value, and no dead"),
    "a wrong cell": (f"{codes.__name__}.Grid.encode", _in_the_next_cell, "values of given in too many"),
    "rows twice": (f"{decode.__name__}.Decoder._read_exactly", _twice, "events counted of given: 504, expected 502"),
    "a message dropped": (
        f"{decode.__name__}.Decoder._parse_plain",
        _without_the_shortest,
        "(not JSON); its dead letter",
    ),
    "other times": (f"{structs.__name__}._times", _a_second_later, "times of the pane of given in"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_worker_and_replay_share_is_noticed_by_the_second_reader(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    place, spoil, words = FAULTS[fault]
    config = parse_config(_CONFIG.format(group=unique("group")))
    monkeypatch.setattr(place, spoil(pkgutil.resolve_name(place)))
    mismatches = verdict_on(config, asyncio.run(work(config, f"redis://{redis_server.address}"))).mismatches
    assert any(words in each for each in mismatches), mismatches
    own = ("events counted of", "values of", "times of the pane", "the event at", "the message at")
    # A model that learns is read by the exact reader, which does not have each of these faults; for how long, differs.
    others = [each for each in mismatches if " of learns " not in each]
    assert [each for each in others if not each.startswith(own)] == [], "the replay has the same fault"


# ---- labels in events

LABELLED = {"fraud": labelled.baseline_of(labelled.messages(2000, seed=1))}
_MAYBE = labelled.messages(30, seed=3, first=1400, label="maybe")
_UNLABELLED = labelled.messages(30, seed=4, first=1430, label=None)
_MALFORMED = labelled.messages(30, seed=5, first=1460, label=["fraud"])
# The last ones of each kind are no outcomes: of no class, without a label, and of a wrong type.
LABELS: dict[int, list[bytes | None]] = {
    0: [*labelled.messages(1400, seed=2, concept=lambda i: i > 500), *_MAYBE, *_UNLABELLED, *_MALFORMED]
}


def labels_config() -> Config:
    return parse_config(f"{labelled.CONFIG % ''}\nworker: {{group: {unique('group')}}}")


@pytest.fixture(scope="module")
def labels(redis_server: Server) -> tuple[Config, Outcome]:
    """A run of a model whose events have labels, which cease to follow its scores."""
    own = labels_config()
    return own, asyncio.run(work(own, f"redis://{redis_server.address}", LABELS, baselines=LABELLED))


def test_a_run_with_labels_is_equal_and_each_of_them_is_counted(labels: tuple[Config, Outcome]) -> None:
    config, outcome = labels
    verdict = judge_run(config, LABELLED, [], outcome, ticks=False)
    assert verdict.mismatches == []
    assert verdict.figures | {"outcomes": 1460, "dead letters": 30} == verdict.figures
    assert "outcomes" in {orjson.loads(each.value or b"")["data"]["class"] for each in outcome.alerts}


@pytest.mark.parametrize("times", [0, 2])
def test_a_table_of_outcomes_that_was_published_never_or_twice_is_noticed(
    labels: tuple[Config, Outcome], times: int
) -> None:
    config, outcome = labels
    (era,) = outcome.eras
    place = len(era.panes) // 2
    pane = PaneMessage.from_bytes(era.panes[place].value or b"")
    ((track, table),) = pane.packed.outcomes
    twice = type(table).of(table.unpack() + table.unpack())
    packed = msgspec.structs.replace(pane.packed, outcomes=((track, twice),) if times else ())
    spoiled = era.panes[place]._replace(value=msgspec.structs.replace(pane, packed=packed).to_bytes())
    panes = [*era.panes[:place], spoiled, *era.panes[place + 1 :]]
    mismatches = judge_run(config, LABELLED, [], with_era(outcome, panes=panes), ticks=False).mismatches
    assert any("was published with other content" in each for each in mismatches)
    assert any("is not that of a replay of the panes topic: outcome" in each for each in mismatches)


def _first_twice(count: Callable[..., Any]) -> Callable[..., Any]:
    """The outcomes of some events twice."""
    return lambda coding, columns, fields: (
        table + table if (table := count(coding, columns, fields)) and "e-700" in columns.ids else table
    )


def _first_never(count: Callable[..., Any]) -> Callable[..., Any]:
    """The outcomes of some events never."""
    return lambda coding, columns, fields: None if "e-700" in columns.ids else count(coding, columns, fields)


def _other_class(codes: Callable[..., Any]) -> Callable[..., Any]:
    """Labels of no class as those of the first."""
    return lambda coding, texts: np.maximum(codes(coding, texts), 0)


OUTCOME_FAULTS: dict[str, tuple[str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "counted twice": ("count", _first_twice),
    "not counted": ("count", _first_never),
    "counted as another class": ("_codes", _other_class),
}


@pytest.mark.parametrize("fault", OUTCOME_FAULTS)
def test_outcomes_that_worker_and_replay_count_wrongly_are_noticed_by_the_second_reader(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    name, spoil = OUTCOME_FAULTS[fault]
    monkeypatch.setattr(Coding, name, spoil(getattr(Coding, name)))
    config = labels_config()
    outcome = asyncio.run(work(config, f"redis://{redis_server.address}", LABELS, baselines=LABELLED))
    verdict = judge_run(config, LABELLED, [], outcome, ticks=False)
    assert verdict.mismatches, "the replay has the same fault"
    assert [
        each for each in verdict.mismatches if not each.startswith("outcomes of fraud in too many or too few")
    ] == []
    assert verdict.lost + verdict.doubled > 0
