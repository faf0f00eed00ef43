"""The fetch transport under real Faust workers, on the embedded broker and on Apache Kafka.

One record is a number as text, padded to 100 bytes: value n lies in partition n mod 3, at offset n div 3.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP, Message
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.kafka.client import client_options
from driftline.stream.schemas.topics import Topic
from driftline.stream.worker.faust.app import WorkerSettings, build_app
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.faust.transport import AssignedHook, FetchConsumer
from tests.harness.brokers import Broker, unique
from tests.harness.worker_process import Plan, Worker

PARTITIONS = 3
N = 9_000


@pytest.fixture
def worker(broker: Broker, tmp_path: Path) -> Worker:
    """A worker that is not started yet, on topics of its own."""
    plan = Plan(
        bootstrap=broker.server.address,
        group=unique("group"),
        predictions=unique("predictions"),
        panes=unique("panes"),
        notes=str(tmp_path / "notes"),
        idempotent=broker.idempotent,
    )
    make_topics(broker, plan)
    return Worker(plan)


def make_topics(broker: Broker, plan: Plan, partitions: int = PARTITIONS) -> None:
    with open_admin(broker.kafka) as admin:
        settings = {"cleanup.policy": "delete"}
        ensure_topics(admin, [Topic(name, partitions, 1, settings) for name in (plan.predictions, plan.panes)])


def produce(broker: Broker, topic: str, numbers: Iterable[int]) -> None:
    producer = KafkaProducer(**client_options(broker.kafka), linger_ms=5)
    for n in numbers:
        producer.send(topic, value=str(n).ljust(100).encode(), partition=n % PARTITIONS)
    producer.flush()
    producer.close()


def expected(numbers: range) -> dict[int, list[str]]:
    """By partition, the values of `numbers` in the order of the log."""
    return {partition: [str(n) for n in numbers if n % PARTITIONS == partition] for partition in range(PARTITIONS)}


def committed(broker: Broker, plan: Plan) -> dict[int, int | None]:
    consumer = KafkaConsumer(**client_options(broker.kafka), group_id=plan.group, enable_auto_commit=False)
    offsets = {p: consumer.committed(TopicPartition(plan.predictions, p)) for p in range(PARTITIONS)}
    consumer.close()
    return offsets


def count(values: dict[int, list[str]]) -> int:
    return sum(len(of_partition) for of_partition in values.values())


def test_every_record_comes_once_in_order_by_fetches_and_the_next_worker_resumes(
    broker: Broker, worker: Worker
) -> None:
    produce(broker, worker.plan.predictions, range(N))
    with worker:
        worker.wait_for(lambda: len(worker.notes("pane")) == len(worker.notes("fetch")) and count(worker.values()) == N)
        assert worker.stop() == 0
    assert worker.values() == expected(range(N))
    fetches = worker.notes("fetch")
    assert len(fetches) < N / 100, "whole fetches, not single records"
    assert sorted(pane["value"] for pane in worker.notes("pane")) == sorted(
        f"{fetch['partition']} {fetch['first']} {fetch['first'] + len(fetch['values'])}" for fetch in fetches
    ), "each pane was published once, and came record by record"
    assert committed(broker, worker.plan) == dict.fromkeys(range(PARTITIONS), N // PARTITIONS)

    produce(broker, worker.plan.predictions, range(N, N + 300))
    with worker.again(notes=worker.plan.notes + "2") as second:
        second.wait_for(lambda: count(second.values()) == 300)
        assert second.stop() == 0
    assert second.values() == expected(range(N, N + 300))


def test_a_group_whose_leader_found_no_partitions_gets_them_soon(broker: Broker, worker: Worker) -> None:
    """This happens when Kafka comes back just as the leader joins; here the topics do not exist yet."""
    if not broker.idempotent:
        pytest.skip("the embedded broker creates a topic when it is asked for one")
    late = worker.again(predictions=unique("predictions"), panes=unique("panes"))
    with late:
        late.wait_for(lambda: "No partition metadata for topic" in late.log())
        make_topics(broker, late.plan)
        produce(broker, late.plan.predictions, range(300))
        late.wait_for(lambda: count(late.values()) == 300)
    assert late.values() == expected(range(300))


def test_records_of_an_aborted_transaction_are_not_delivered(broker: Broker, worker: Worker) -> None:
    """Its records stay in the log, so the offsets have a gap: 0 to 99, then 202 to 301."""
    if not broker.idempotent:
        pytest.skip("the embedded broker delivers the records of aborted transactions")
    topic = worker.plan.predictions
    producer = KafkaProducer(**client_options(broker.kafka), transactional_id=unique("transaction"))
    producer.init_transactions()
    for numbers, end in (
        (range(100), producer.commit_transaction),
        (range(1000, 1100), producer.abort_transaction),
        (range(100, 200), producer.commit_transaction),
    ):
        producer.begin_transaction()
        for n in numbers:
            producer.send(topic, value=str(n).encode(), partition=0)
        producer.flush()
        end()
    producer.close()
    with worker:
        worker.wait_for(lambda: len(worker.notes("done")) > 0 and count(worker.values()) == 200)
        assert worker.stop() == 0
    assert worker.values() == {0: [str(n) for n in range(200)]}
    assert committed(broker, worker.plan)[0] == 302, "one past the last record"


@pytest.mark.slow
def test_a_fetch_that_fails_ends_the_worker_is_not_committed_and_comes_again(broker: Broker, worker: Worker) -> None:
    produce(broker, worker.plan.predictions, range(N))
    with worker.again(fails_at="6000") as failing:
        assert failing.process.wait(60) == 1
    assert "planned failure at 6000" in failing.log()

    done = {
        p: max((note["next"] for note in failing.notes("done") if note["partition"] == p), default=0) for p in range(3)
    }
    for partition, offset in committed(broker, worker.plan).items():
        assert (offset or 0) <= done[partition]
    assert done[0] <= 2000, "value 6000 lies at offset 2000 of partition 0"

    with worker.again(notes=worker.plan.notes + "2") as second:
        second.wait_for(lambda: (second.values().get(0) or [""])[-1] == str(N - 3))
    assert "6000" in second.values()[0]


def test_the_hook_says_where_to_resume_before_anything_is_delivered(
    broker: Broker, worker: Worker, tmp_path: Path
) -> None:
    """Against Kafka's committed offsets the store is behind in one partition, ahead in one, silent on the third."""
    produce(broker, worker.plan.predictions, range(N))
    with worker:
        worker.wait_for(lambda: count(worker.values()) == N)
        assert worker.stop() == 0

    store = tmp_path / "store"
    store.mkdir()
    (store / "0").write_text("1234")
    (store / "1").write_text(str(N // PARTITIONS + 50))
    produce(broker, worker.plan.predictions, range(N, N + 300))
    with worker.again(notes=worker.plan.notes + "2", store=str(store), hook_seconds=2.0) as second:
        second.wait_for(lambda: count(second.values()) == (N + 300) // 3 - 1234 + 50 + 100)
        assert second.stop() == 0
    everything = expected(range(N + 300))
    assert second.values() == {0: everything[0][1234:], 1: everything[1][-50:], 2: everything[2][-100:]}
    assert second.notes("assigned", "fetch")[0]["what"] == "assigned"
    assert committed(broker, worker.plan) == dict.fromkeys(range(PARTITIONS), (N + 300) // 3), (
        "acknowledgements continue after the seek"
    )


def test_a_failing_hook_ends_the_worker_before_anything_is_delivered(
    broker: Broker, worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "0").write_text("not a number")
    produce(broker, worker.plan.predictions, range(300))
    with worker.again(store=str(tmp_path)) as failing:
        assert failing.process.wait(60) == 1
    assert failing.notes("assigned", "fetch") == []


@pytest.mark.slow
def test_workers_that_come_and_go_see_every_record_once(broker: Broker, worker: Worker, tmp_path: Path) -> None:
    """
    worker a  ├── all three partitions ──┤├── some ──┤├─ SIGTERM
    worker b                       ├─ joins ─┤├─ the others ─┤├── all ──
    """
    store = tmp_path / "store"
    store.mkdir()
    # Nothing is committed to Kafka in time: only the hook knows where to resume.
    first = worker.again(store=str(store), commit_interval=600.0, hook_seconds=0.5, fetch_seconds=0.05)
    second = first.again(notes=worker.plan.notes + "2")
    with trickle(broker, worker.plan.predictions) as sent, first:
        first.wait_for(lambda: len(first.notes("done")) > 3)
        with second:
            second.wait_for(lambda: len(second.notes("done")) > 3)
            assert first.stop() == 0
            second.wait_for(lambda: len({note["partition"] for note in second.notes("done")}) == PARTITIONS)
            total = sent()
            second.wait_for(lambda: count(first.values()) + count(second.values()) >= total)
            assert second.stop() == 0

    delivered = {p: first.values().get(p, []) + second.values().get(p, []) for p in range(PARTITIONS)}
    assert {p: sorted(values, key=int) for p, values in delivered.items()} == expected(range(total))
    assert len(first.notes("assigned")) >= 2, "a rebalance happened while it worked"
    for before, after in pairwise(first.notes("fetch", "done", "revoked")):
        assert (before["what"], after["what"]) != ("fetch", "revoked"), (
            "a fetch is finished before its partition is released"
        )
    for values in (*first.values().values(), *second.values().values()):
        assert values == sorted(values, key=int)


@pytest.mark.slow
def test_a_worker_that_had_no_partition_for_hours_takes_over(broker: Broker, worker: Worker) -> None:
    """By default, a member that fetches nothing for 1000 s leaves the group, and does not come back."""
    plan = replace(worker.plan, predictions=unique("predictions"), panes=unique("panes"), idle=36_000.0)
    make_topics(broker, plan, partitions=1)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(replace(plan, notes=f"{plan.notes}{n}"))) for n in range(3)]
        workers[0].wait_for(lambda: any("with empty assignment" in each.log() for each in workers))
        (spare,) = (each for each in workers if "with empty assignment" in each.log())
        time.sleep(4.0)  # two heartbeats and more, in which it could leave
        for each in workers:
            if each is not spare:
                assert each.stop() == 0
        produce(broker, plan.predictions, range(0, 900, PARTITIONS))
        spare.wait_for(lambda: count(spare.values()) == 300)


class _Unconnected(FetchConsumer):
    """A consumer without servers, with one partition assigned."""

    def assignment(self) -> set[TP]:
        return {TP("predictions", 0)}

    async def seek_to_committed(self) -> dict[TP, int]:
        return {}

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        pass


@asynccontextmanager
async def unconnected(hook: AssignedHook | None = None) -> AsyncIterator[_Unconnected]:
    settings = WorkerSettings(fetch_topics=frozenset({"predictions"}))
    app = build_app(settings, hook)
    cast(Any, app.transport).Consumer = _Unconnected
    consumer = cast(_Unconnected, app.consumer)
    yield consumer
    consumer._thread.thread_loop.close()  # of a thread that was never started


async def revoke(consumer: FetchConsumer) -> None:
    with suppress(Exception):  # without a group, Faust has nothing to revoke
        await consumer.on_partitions_revoked({TP("predictions", 0)})


async def assign(consumer: FetchConsumer) -> None:
    with suppress(Exception):
        await consumer.on_partitions_assigned({TP("predictions", 0)})


async def taken_over(consumer: FetchConsumer) -> None:
    """Begin a takeover if there is something to take over, and wait for the last one."""
    await consumer.perform_seek()
    if consumer._seeking is not None:
        await asyncio.wait({consumer._seeking})


def test_a_fetch_of_an_earlier_assignment_is_stale_although_the_group_has_the_same_generation() -> None:
    """A member that joins a group again without leading it, because Kafka was away, keeps its generation."""

    async def scenario() -> None:
        async with unconnected() as consumer:
            tp = TP("predictions", 0)
            record = ConsumerRecord("predictions", 0, 7, 0, 0, None, b"{}", None, 0, 2, ())

            def fetched() -> Message:
                return consumer._to_message(tp, Fetch(tp, [record], None, consumer.assignment_id or 0))

            await assign(consumer)
            before = fetched()
            assert not consumer.is_stale(before)
            await revoke(consumer)
            assert consumer.is_stale(before)
            await assign(consumer)
            assert consumer.is_stale(before)
            assert not consumer.is_stale(fetched())

    asyncio.run(scenario())


def test_nothing_is_positioned_for_an_assignment_that_has_ended_or_not_begun() -> None:
    """Taking over partitions that another worker owns by now would fence it off."""
    asked = 0

    async def positions(assigned: frozenset[TP]) -> Mapping[TP, int]:
        nonlocal asked
        asked += 1
        if asked == 2:
            await revoke(consumer)
            await assign(consumer)
            raise RuntimeError("the result does not matter any more")
        if asked == 3:
            asyncio.get_running_loop().call_later(0.1, lambda: asyncio.create_task(revoke(consumer)))
            await asyncio.Event().wait()
        return dict.fromkeys(assigned, 5)

    async def scenario() -> None:
        nonlocal consumer
        async with unconnected(positions) as consumer:
            await assign(consumer)
            await taken_over(consumer)
            assert consumer.positioned
            await revoke(consumer)
            await taken_over(consumer)
            assert asked == 1, "no partition is assigned"
            await assign(consumer)
            await taken_over(consumer)
            assert asked == 2
            assert not consumer.positioned, "another assignment replaced this one"
            await taken_over(consumer)
            assert asked == 3
            assert not consumer.positioned, "the assignment was revoked, and the wait ended"
            await assign(consumer)
            await taken_over(consumer)
            assert consumer.positioned

    consumer: FetchConsumer
    asyncio.run(scenario())


def test_a_takeover_may_take_as_long_as_a_server_is_away_and_nothing_is_read_meanwhile() -> None:
    """Faust would give up on it after 40 s, and read nothing."""
    back = asyncio.Event()

    async def positions(assigned: frozenset[TP]) -> Mapping[TP, int]:
        await back.wait()
        return dict.fromkeys(assigned, 5)

    async def scenario() -> None:
        async with unconnected(positions) as consumer:
            await assign(consumer)
            await consumer.perform_seek()
            assert await consumer._getmany(None, 1.0) == {}
            assert not consumer.positioned
            assert consumer.settled is None, "positions do not show a lag yet"
            back.set()
            await taken_over(consumer)
            assert consumer.positioned
            assert consumer.settled == consumer.assignment_id

    asyncio.run(scenario())


def test_work_that_waits_for_a_server_is_given_up_when_its_partitions_are_revoked_and_other_work_is_finished() -> None:
    async def scenario() -> None:
        async with unconnected() as consumer:
            await assign(consumer)
            tp = TP("predictions", 0)
            following = consumer._to_message(tp, Fetch(tp, [], None, consumer.assignment_id or 0))
            waiting = asyncio.create_task(consumer.finish(asyncio.sleep(60)))
            working = asyncio.create_task(consumer.finish(asyncio.sleep(0.5)))
            giving_up = asyncio.create_task(consumer.give_up_waiting())
            assert await working, "no server is waited for"
            assert not waiting.done()
            assert not consumer.is_stale(following)
            with consumer.transport.waits.call("Redis") as wait:
                wait.failed("NOREPLICAS")
                async with asyncio.timeout(5):
                    assert not await waiting
            assert consumer.is_stale(following), "its records must not be counted without those before them"
            giving_up.cancel()

    asyncio.run(scenario())


def test_a_worker_that_ends_finishes_the_work_that_has_begun_and_begins_no_more() -> None:
    async def scenario() -> None:
        async with unconnected() as consumer:
            begun = asyncio.create_task(consumer.finish(asyncio.sleep(0.2)))
            await asyncio.sleep(0)
            await consumer.end()
            assert begun.done()
            assert await begun
            assert not await consumer.finish(asyncio.sleep(60))

    asyncio.run(scenario())


@contextmanager
def trickle(broker: Broker, topic: str) -> Iterator[Callable[[], int]]:
    """Produce some 3000 records a second in the background; the call ends it and returns how many they were."""
    done = threading.Event()
    batches = itertools.count()

    def send() -> int:
        for batch in batches:
            produce(broker, topic, range(batch * 300, (batch + 1) * 300))
            if done.wait(0.1):
                break
        return (batch + 1) * 300

    def finish() -> int:
        done.set()
        return sending.result()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        try:
            yield finish
        finally:
            done.set()
