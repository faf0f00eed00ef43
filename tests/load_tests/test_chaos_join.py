"""The join by definition of chaos runs is that of the judges, and the verdict notices what is wrong with labels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from msgspec import structs

from driftline.detectors.outcomes.table import OutcomeTable
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.config.outcomes import Outcomes
from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.waiting import Counts, Waiting
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.outcomes.halves import LabelHalves, Stubs, texts_of
from driftline.stream.outcomes.ids import hash_ids
from driftline.stream.panes.pane import Range
from driftline.stream.state.client import connect
from load_tests.chaos.join import Prediction, join
from load_tests.chaos.labels import CLOSED, KEEP, LABELLED, OUTCOMES, PLACES, SETTLED, SLOT, Label, LateLabels
from load_tests.chaos.naive import NoEventError, Reading, read_label
from load_tests.chaos.outcome import Era, Labels, Log, Outcome, Record, Verdict
from load_tests.chaos.traffic import BETWEEN_BURSTS, EventTime, Sent, closing, traffic
from load_tests.chaos.verdict import judge_run
from load_tests.harness.deployment import unique
from load_tests.harness.oracle import EPOCH
from tests.harness.driver import Driver, topics_with
from tests.harness.labelled import baseline_of, messages
from tests.judge.test_waiting import CODING

MINUTE = 60_000
BOUNDS = Outcomes(labels="topic", wait="20m", slot="1m", keep="10m")


def reading(id_: str, ts: int, label: str = "") -> Reading:
    return Reading("m", ts, {}, "", label, id_)


def drawn(seed: int) -> tuple[list[Reading], list[Reading]]:
    """Predictions of some ids, and labels around all bounds."""
    rng = np.random.default_rng(seed)
    predictions = [reading(f"p{rng.integers(40)}", int(rng.integers(120)) * 30_000) for _ in range(60)]
    lags = [-10, 0, 1, 2, 20, 21, 30, 31]
    labels = [
        reading(
            each.id,
            max(0, each.ts + int(rng.choice(lags)) * MINUTE + int(rng.integers(-1, 2))),
            str(rng.choice(["fine", "fraud"])),
        )
        for each in predictions
        for _ in range(int(rng.integers(3)))
    ]
    return predictions, labels


def seen(table: OutcomeTable) -> int:
    """How many predictions it has, with a label or without one."""
    return table.odd + int(CODING.task.seen(table.row(CODING.size)).sum())


@pytest.mark.parametrize("seed", range(40))
def test_the_join_by_definition_is_that_of_the_judges_in_any_order(seed: int) -> None:
    predictions, labels = drawn(seed)
    rng, bounds, waiting = np.random.default_rng(seed), Bounds.of(BOUNDS), Waiting()
    halves = [(True, each) for each in predictions] + [(False, each) for each in labels]
    for n, i in enumerate(rng.permutation(len(halves)).tolist()):
        is_prediction, each = halves[i]
        keys, ts, run = hash_ids([each.id]), np.array([each.ts]), Range(0, n, n + 1)
        if is_prediction:
            waiting = waiting.expect("", Stubs(keys, ts, texts_of(["fine"]), np.array([0.5])), run, bounds)
        else:
            waiting = waiting.learn(LabelHalves(keys, ts, texts_of([each.label])), run, bounds)
    waiting, slots = waiting.close(EPOCH, bounds, lambda _: CODING)
    expected = join([Prediction("", each.id, each.ts, each) for each in predictions], labels, BOUNDS)
    found = waiting.counts._replace(unmatched=0)
    assert found == Counts(**{name: expected.counts[name] for name in Counts._fields})
    assert sum(pane.content.n + pane.content.odd for slot in slots for pane in slot[""]) == found.joined > 20
    times = [(pane.first_ts, pane.last_ts) for slot in slots for pane in slot[""]]
    rows = iter(expected.outcomes[""])
    for (first, last), slot in zip(times, slots, strict=True):
        own = [next(rows).ts for _ in range(sum(seen(each.content) for each in slot[""]))]
        assert (own[0], own[-1]) == (first, last)


# ---- the verdict

_CONFIG = """
panes: {{events: 50, seconds: 0.1}}
worker: {{group: {group}}}
models: {{fraud: {{clock: 50, false_alarms_per_event: 1.0e-4, outcomes:
  {{labels: topic, learn: 500, wait: 20m, slot: 1m, keep: 10m}}}}}}
"""
HOUR = 3_600_000
GIVEN = baseline_of(messages(1500, seed=1))
Logs = dict[int, list[bytes | None]]


def logs(n: int = 240) -> tuple[Logs, Logs]:
    """Predictions of two partitions, and labels of two others: late, corrected, doubled, of nobody, and none."""
    rng, rows, labels = np.random.default_rng(7), list[bytes | None](), list[tuple[int, bytes | None]]()
    for i, row in enumerate(map(orjson.loads, messages(n, seed=3))):
        label, at = row.pop("label"), row["ts"] + int(rng.exponential(90_000))
        rows += [orjson.dumps(row)] * (1 + (i % 30 == 0))
        document = {"id": row["id"], "model": "fraud", "ts": at, "label": label}
        own = [document] * (1 + (i % 20 == 1))
        own += [document | {"label": "fine", "ts": at + 30_000 + 25 * MINUTE * (i % 2)}] if i % 10 == 2 else []
        own += [document | {"id": f"nobody-{i}"}] if i % 40 == 3 else []
        labels += [(each["ts"], orjson.dumps(each)) for each in own if i % 7]
        labels += [(at, b"{")] if i % 80 == 4 else []
    labels.sort(key=lambda each: each[0])
    own_labels = [each for _, each in labels]
    return ends({0: rows[::2], 1: rows[1::2]}, 1, 32 * MINUTE), ends(
        {0: own_labels[::2], 1: own_labels[1::2]}, 0, 32 * MINUTE
    )


def ends(log: Logs, predictions: int, later: int) -> Logs:
    """The logs with a record at the end of each that says how late it is."""
    for partition, own in log.items():
        end = {
            "id": f"end-{partition}-{later}",
            "ts": EPOCH + later,
            "model": "other" if predictions else "fraud",
            "score": 0.5,
            "label": "fine",
        }
        own.append(orjson.dumps(end))
    return log


def stragglers(predictions: Logs, labels: Logs) -> tuple[Logs, Logs]:
    known, label = predictions[0][3], orjson.loads(labels[1][3] or b"")
    new = orjson.dumps(orjson.loads(known or b"") | {"id": "new"})
    return {0: [known, new], 1: [new]}, {0: [orjson.dumps(label)], 1: [orjson.dumps(label | {"label": "fine"})]}


async def work(url: str, group: str) -> tuple[Any, Outcome]:
    """A run of a worker that meets no fault."""
    config = parse_config(_CONFIG.format(group=group))
    names, client = config.topics, connect(Redis(url=url))
    predictions, labels = logs()
    topics = topics_with(config, predictions, labels)
    driver = Driver(config, {"fraud": GIVEN}, client, topics, fetch_size=40)
    driver.sketch.tick_every = driver.labels.tick_every = 0.0
    await driver.assign()
    await read_all(driver)
    late: dict[str, dict[int, range]] = {names.predictions: {}, names.labels: {}}
    for name, own in zip(late, stragglers(predictions, labels), strict=True):
        for partition, log in own.items():
            first = len(topics[name][partition])
            late[name][partition] = range(first, first + len(log))
            topics[name][partition] += [OutgoingRecord(name, None, each) for each in log]
    for name, is_event in ((names.predictions, 1), (names.labels, 0)):
        for partition, end in ends({0: [], 1: []}, is_event, 3 * HOUR).items():
            topics[name][partition] += [OutgoingRecord(name, None, each) for each in end]
    await read_all(driver)
    states = {}
    async for key in client.scan_iter(match=f"{group}:{{judge/*:model:*"):
        states[key.decode().partition(":model:")[2]] = {
            n.decode(): part for n, part in (await client.hgetall(key)).items()
        }
    await client.aclose()

    def records(topic: str) -> list[Record]:
        own = sorted(topics[topic].items())
        return [Record(each.value, 0, dict(each.headers), p, at) for p, log in own for at, each in enumerate(log)]

    def log(topic: str) -> dict[int, Log]:
        return {p: {at: each.value for at, each in enumerate(own)} for p, own in topics[topic].items()}

    era = Era(log(names.predictions), records(names.panes), records(f"{names.predictions}.dlq"))
    of_labels = Labels(names.labels, log(names.labels), records(f"{names.labels}.dlq"), late)
    return config, Outcome([era], records(names.alerts), records(f"{names.panes}.dlq"), states, of_labels)


async def read_all(driver: Driver) -> None:
    """Read both topics to their ends, and judge all that comes of it."""
    while any(
        [
            await each
            for partition in range(2)
            for each in (driver.sketch_next(partition), driver.labels_next(partition))
        ]
    ):
        await driver.send_ticks(time.time_ns() // 1_000_000)
        await judge_all(driver)
    for _ in range(3):  # open runs are idle, then closed, then published
        await asyncio.sleep(0.15)
        await driver.sketch.close_idle()
        await driver.labels.close_idle()
    await driver.send_ticks(time.time_ns() // 1_000_000)
    await judge_all(driver)


async def judge_all(driver: Driver) -> None:
    while any([await driver.judge_next(partition) for partition in range(2)]):
        pass


@pytest.fixture(scope="module")
def ran(redis_server: Server) -> tuple[Any, Outcome]:
    return asyncio.run(work(f"redis://{redis_server.address}", unique("group")))


def verdict_on(config: Any, outcome: Outcome) -> Verdict:
    return judge_run(config, {"fraud": GIVEN}, ["fraud", "other"], outcome, ticks=False)


def test_a_run_without_faults_is_equal(ran: tuple[Any, Outcome]) -> None:
    verdict = verdict_on(*ran)
    assert (verdict.mismatches, verdict.lost, verdict.doubled) == ([], 0, 0)
    figures = {name.removeprefix("labels: "): n for name, n in verdict.figures.items() if name.startswith("labels: ")}
    assert figures.pop("unjudged") == 0
    assert min(figures.values()) > 0, figures


def changed(outcome: Outcome, **changes: Any) -> Outcome:
    """The outcome with another labels topic, or without records of the panes topic."""
    assert outcome.labels is not None
    return replace(outcome, labels=outcome.labels._replace(**changes))


def place_of(outcome: Outcome, label: Callable[[dict[str, Any]], bool]) -> tuple[int, int]:
    """Where the first label lies that is so, and has a prediction that was joined."""
    assert outcome.labels is not None
    for partition, log in outcome.labels.log.items():
        for at, value in log.items():
            if value and value != b"{" and label(orjson.loads(value)):
                return partition, at
    raise LookupError


def with_label(outcome: Outcome, change: Callable[[dict[str, Any]], Any], ts: int | None = None) -> Outcome:
    """The outcome, had a label been another one; None: none at all, a message that is no label."""
    assert outcome.labels is not None
    partition, at = place_of(outcome, lambda each: each["id"] == "e-8" and ts in (None, each["ts"]))
    after = change(orjson.loads(outcome.labels.log[partition][at] or b""))
    value = b"{" if after is None else orjson.dumps(after)
    log = {**outcome.labels.log, partition: {**outcome.labels.log[partition], at: value}}
    return changed(outcome, log=log)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda _: None, 1),
        (lambda each: each | {"label": "fine" if each["label"] == "fraud" else "fraud"}, 0),
        (lambda each: each | {"ts": each["ts"] + 40 * MINUTE}, 1),
        (lambda each: each | {"id": "nobody"}, 1),
        (lambda each: each | {"id": "e-9"}, 1),
    ],
)
def test_a_label_that_counted_otherwise_than_it_should_is_noticed(
    ran: tuple[Any, Outcome], change: Callable[[dict[str, Any]], Any], lost: int
) -> None:
    config, outcome = ran
    verdict = verdict_on(config, with_label(outcome, change))
    assert any("outcomes of fraud" in each or "what became of" in each for each in verdict.mismatches)
    assert any(each.startswith("labels of fraud in ") for each in verdict.mismatches)
    assert verdict.doubled == lost, "the judge has joined what should not be"


def test_what_was_left_out_of_panes_states_or_dead_letters_is_noticed(ran: tuple[Any, Outcome]) -> None:
    config, outcome = ran
    assert outcome.labels is not None
    (era,) = outcome.eras
    of_labels = era.about(outcome.labels.topic).panes
    pane = next(each for each, _ in replace(era, panes=of_labels).published())
    left = replace(outcome, eras=[replace(era, panes=[each for each in era.panes if each != pane])])
    verdict = verdict_on(config, left)
    assert verdict.lost > 0
    assert any("labels that lie in no pane" in each for each in verdict.mismatches)
    twice = replace(outcome, eras=[replace(era, panes=[*era.panes, pane])])
    assert verdict_on(config, twice).mismatches == []
    without = changed(outcome, dead_letters=outcome.labels.dead_letters[1:])
    assert any("is no event (not JSON)" in each for each in verdict_on(config, without).mismatches)
    fewer = changed(outcome, stragglers={name: {} for name in outcome.labels.stragglers})
    assert any("what became of" in each for each in verdict_on(config, fewer).mismatches)


def test_labels_of_a_history_in_another_order_are_noticed(ran: tuple[Any, Outcome]) -> None:
    """Of equal sums: two neighbouring tables, each with an outcome of the other."""
    config, outcome = ran
    parts = outcome.model_states["fraud"]
    state = restore_state(parts, GIVEN)
    assert state.outcomes is not None
    rows = state.outcomes.history.rows
    newest = (*rows[0][:-2], rows[0][-1], rows[0][-2])
    history = replace(state.outcomes.history, rows=(newest, *rows[1:]))
    swapped = structs.replace(state, outcomes=structs.replace(state.outcomes, history=history))
    states = {**outcome.model_states, "fraud": state_delta(None, swapped).write}
    verdict = verdict_on(config, replace(outcome, model_states=states))
    assert any(each.startswith("outcomes of fraud, ") for each in verdict.mismatches)
    assert (verdict.lost, verdict.doubled) == (0, 0)


@pytest.mark.parametrize("message", [None, b"{", b"[]", b'{"id":"1","ts":1767225600000,"model":"m","label":[1]}'])
def test_what_is_no_label_is_none_to_the_second_reader(message: bytes | None) -> None:
    with pytest.raises(NoEventError):
        read_label(message, EPOCH)


# ---- the traffic


def test_labels_are_late_and_one_partition_is_three_days_behind() -> None:
    time, late = EventTime(), LateLabels(1)
    source, sent = traffic(1, 40_000, time, labels=True), list[Sent]()
    labels = [late.first()]
    while burst := [each for each, _ in zip(source, range(2000), strict=False)]:
        sent += [*burst, *late.add(burst)]
        labels.append(late.due(EPOCH + time.passed))
        time.passed += BETWEEN_BURSTS
    end = EPOCH + time.passed
    rest = [late.last(end + CLOSED), late.stragglers(), late.last(end + SETTLED)]
    assert {each.model for each in sent if each.truth} == set(LABELLED)
    behind = [sum(each.place == 1 for each in own) for own in labels]
    assert behind[4:14] == [0] * 10, "three days"
    assert max(behind) > 5 * sorted(behind)[-4]
    made = {each.truth.id: each.truth.ts for each in sent if each.truth}
    for place in range(PLACES):
        own = [each for group in (*labels, rest[0], rest[2]) for each in group if each.place == place]
        times = [each.ts for each in own if each.ts >= made.get(id_of(each), 0) - KEEP]
        assert max(np.maximum.accumulate(times) - times) < SLOT, "but for what is of no prediction"
    ids = {id_of(each) for own in labels for each in own}
    assert len(made.keys() - ids) > 1000, "some have none"
    assert len(ids - made.keys()) > 100, "some are of nobody"
    assert len(closing(3, end)) == 3
    assert OUTCOMES["slot"] == "3h"


def id_of(label: Label) -> str:
    return str(orjson.loads(label.value)["id"]) if label.value and label.value[:2] == b'{"' else ""
