"""What production does to logs: topics created again, cut and extended, another cluster, aborted transactions."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka import TopicPartition

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.panes import PaneMessage, read_message
from driftline.stream.codec.state import restore_state
from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import Server, embedded_broker
from driftline.stream.kafka.admin import ensure_topics, group_members, open_admin
from driftline.stream.schemas.topics import wanted_topics
from driftline.stream.sources.topic_history import open_history
from driftline.stream.state.client import connect
from driftline.stream.state.store import Store
from driftline.stream.worker.log_guard import LogGuard
from driftline.stream.worker.metrics import Metrics
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy, unique
from load_tests.harness.oracle import baseline_of, messages
from tests.harness.brokers import Broker
from tests.harness.topic_tools import driftline

on_kafka = pytest.mark.parametrize("broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
# Panes of 50 events that no clock ends, of models with a baseline.
SECTIONS = {"panes": {"events": 50, "seconds": None}, "models": {"a": {"baseline": "a.driftline"}}}
MADE_AGAIN = "was deleted and created again since this group has read it"


@pytest.fixture
def here(broker: Broker, redis_server: Server, tmp_path: Path) -> Deployment:
    (tmp_path / "a.driftline").write_bytes(encode_baseline(baseline_of("a")))
    return deploy(tmp_path, broker, redis_server.address, SECTIONS)


def read(here: Deployment, name: str, sealed: int) -> None:
    """Let a worker read and judge a log of `sealed` events, and stop it."""
    with here.worker(name) as worker:
        worker.wait_for(lambda: here.sealed() == {0: sealed})
        worker.wait_for(lambda: events_of(here) == sealed)
        assert worker.stop() == 0


def create_again(here: Deployment, topic: str) -> None:
    with open_admin(here.broker.kafka) as admin:
        admin.delete_topics([topic])
        deadline = time.monotonic() + 30
        while topic in admin.list_topics() and time.monotonic() < deadline:
            time.sleep(0.05)
    here.create_topics()


def ends(worker: WorkerProcess) -> str:
    """Its log, once it has ended by itself."""
    worker.wait_for(lambda: worker.process.poll() is not None, alive=False)
    assert worker.process.returncode == 1
    return worker.logs()


@on_kafka
@pytest.mark.parametrize("again", [100, 900])
def test_a_topic_created_again_ends_a_worker_that_starts_however_long_it_is(here: Deployment, again: int) -> None:
    here.produce({0: messages("a", 500)})
    read(here, "before", 500)
    states = here.model_states()
    create_again(here, here.config.topics.predictions)
    here.produce({0: messages("a", again)})
    with here.worker("after") as worker:
        logs = ends(worker)
    assert f"topic {here.config.topics.predictions} {MADE_AGAIN}" in logs
    assert "run: driftline resume -c driftline.yaml" in logs
    assert (here.sealed(), here.model_states()) == ({0: 500}, states)


def test_a_topic_created_again_ends_a_worker_that_reads_it(here: Deployment) -> None:
    here.produce({0: messages("a", 500)})
    with here.worker() as worker:
        worker.wait_for(lambda: here.sealed() == {0: 500})
        create_again(here, here.config.topics.predictions)
        assert MADE_AGAIN in ends(worker)


@on_kafka
def test_a_topic_that_is_deleted_ends_a_worker_that_reads_it(here: Deployment) -> None:
    here.produce({0: messages("a", 500)})
    with here.worker() as worker:
        worker.wait_for(lambda: here.sealed() == {0: 500})
        with open_admin(here.broker.kafka) as admin:
            admin.delete_topics([here.config.topics.predictions])
        assert f"topic {here.config.topics.predictions} was deleted under this worker" in ends(worker)


@on_kafka
def test_a_log_that_is_shorter_than_what_was_read_of_it_ends_a_worker(here: Deployment) -> None:
    """As after a restore from an older copy, or an unclean election: the topic has its id, and fewer records."""
    here.produce({0: messages("a", 500)})
    read(here, "before", 500)
    with here.store as client:
        seal = {"start": 600, "end": 700, "ends": "700"}
        client.hset(f"{here.config.worker.group}:{{sketch/{here.config.topics.predictions}/0}}", mapping=seal)
    with here.worker("after") as worker:
        assert "partition 0: it ends before offset 700, up to which this group has read it" in ends(worker)


@on_kafka
def test_records_that_were_removed_unread_are_counted_and_the_worker_goes_on(here: Deployment) -> None:
    predictions = here.config.topics.predictions
    here.produce({0: messages("a", 500)})
    read(here, "before", 500)
    here.produce({0: messages("a", 500, first=500)})
    with open_admin(here.broker.kafka) as admin:
        admin.delete_records({TopicPartition(predictions, 0): 650})
    with here.worker("after") as worker:
        worker.wait_for(lambda: here.sealed() == {0: 1000})
        health, metrics = json.loads(worker.get("/health").body), worker.get("/metrics").body
        assert (health["status"], health["removed_unread"]) == ("ok", 150)
        assert f'driftline_records_removed_unread_total{{partition="0",topic="{predictions}"}} 150.0' in metrics
        assert "the records from offset 500 to 650 were removed before they were read" in worker.logs()
        assert worker.stop() == 0


@on_kafka
def test_another_cluster_with_the_same_group_is_refused(here: Deployment, tmp_path: Path) -> None:
    here.produce({0: messages("a", 500)})
    read(here, "production", 500)
    before = stored(here)
    with embedded_broker(tmp_path / "staging") as staging:
        config = json.loads(here.path.read_text())
        config["kafka"] = {"bootstrap": staging.address, "idempotent": False}
        here.path.write_text(json.dumps(config))
        other = Deployment(here.path, Broker(staging, idempotent=False), here.config).reload()
        other.create_topics()
        other.produce({0: messages("a", 900)})
        with other.worker("staging") as worker:
            logs = ends(worker)
    assert "belongs to Kafka cluster ZHJpZnRsaW5lLXRlc3RzMA, and kafka.bootstrap leads to cluster tansu_cluster" in logs
    assert "driftline resume -c driftline.yaml --new-cluster" in logs
    assert stored(here) == before


def stored(here: Deployment) -> dict[bytes, bytes]:
    """All that Redis holds of a group."""
    with here.store as client:
        return {key: client.dump(key) for key in client.scan_iter(match=f"{here.config.worker.group}:*", count=1000)}


@on_kafka
def test_partitions_added_to_the_panes_topic_stay_idle_and_no_model_moves(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    models = [f"m{i}" for i in range(8)]
    sections = {**SECTIONS, "topics": {"partitions": 2}, "models": {m: {"baseline": f"{m}.driftline"} for m in models}}
    for model in models:
        (tmp_path / f"{model}.driftline").write_bytes(encode_baseline(baseline_of(model)))
    here = deploy(tmp_path, broker, redis_server.address, sections)
    panes = here.config.topics.panes

    def send(first: int) -> None:
        here.produce({0: [line for model in models for line in messages(model, 100, first=first)]})

    def add_partitions(count: int) -> None:
        with open_admin(broker.kafka) as admin:
            admin.create_partitions({panes: count})

    send(0)
    with here.worker("before") as worker:
        worker.wait_for(lambda: here.sealed().get(0) == 800)
        add_partitions(5)
        worker.wait_for(lambda: "3 partitions more than when this group began: they stay idle" in worker.logs())
        send(100)
        worker.wait_for(lambda: here.sealed().get(0) == 1600)
        assert worker.stop() == 0
    add_partitions(7)
    send(200)
    with here.worker("after") as worker:
        worker.wait_for(lambda: here.sealed().get(0) == 2400)
        worker.wait_for(lambda: here.model_states() == here.replay().model_states())
        assert worker.logs().count("5 partitions more than when this group began") == 1
        assert worker.stop() == 0
    assert {record.partition for record in here.read(panes)} == {0, 1}


@contextmanager
def transaction(here: Deployment, commits: bool = False) -> Iterator[Callable[[list[bytes]], None]]:
    """A transaction on the predictions topic, open until the block ends, and then aborted or committed."""
    producer = Producer({"bootstrap.servers": here.broker.server.address, "transactional.id": unique("writer")})
    producer.init_transactions(30)
    producer.begin_transaction()

    def send(values: list[bytes]) -> None:
        for value in values:
            producer.produce(here.config.topics.predictions, value, partition=0)
        assert producer.flush(30) == 0

    yield send
    (producer.commit_transaction if commits else producer.abort_transaction)(30)


def history(here: Deployment) -> list[bytes]:
    with open_history(here.broker.kafka, here.config.topics.predictions, None, None) as topic:
        return [value for batch in topic.logs()[0] for value in batch.messages if value is not None]


@on_kafka
def test_records_of_aborted_transactions_count_neither_in_a_worker_nor_in_a_replay(here: Deployment) -> None:
    log = messages("a", 300)
    here.produce({0: log[:100]})
    with transaction(here) as send:
        send(messages("a", 70, first=1000))
        assert history(here) == log[:100], "and it does not wait for the transaction"
    here.produce({0: log[100:]})
    with transaction(here) as send:
        send(messages("a", 70, first=2000))
    assert history(here) == log
    with here.worker() as worker:
        # The marker that ends the first transaction has an offset too.
        worker.wait_for(lambda: here.sealed() == {0: 371})
        assert worker.stop() == 0
    sent = [read_message(record.value) for record in here.read(here.config.topics.panes)]
    assert sum(isinstance(each, PaneMessage) for each in sent) == 6


@on_kafka
@pytest.mark.parametrize("ends", ["committed", "aborted"])
def test_an_idle_run_ends_although_the_log_ends_with_what_is_no_record(
    broker: Broker, redis_server: Server, tmp_path: Path, ends: str
) -> None:
    """The last offset is that of a marker: a worker that takes over waited for a record there, which never comes."""
    here = deploy(tmp_path, broker, redis_server.address, {"panes": {"events": 50, "seconds": 0.5}})
    if ends == "committed":
        with transaction(here, commits=True) as send:
            send(messages("a", 70))
    else:
        here.produce({0: messages("a", 70)})
        with transaction(here) as send:
            send(messages("a", 300, first=1000))
    with here.worker() as worker:
        worker.wait_for(lambda: here.sealed() == {0: 70})
        assert worker.stop() == 0
    here.produce({0: messages("a", 30, first=70)})
    with here.worker("after") as worker:
        worker.wait_for(lambda: sum(here.sealed().values()) > 100)
        assert worker.stop() == 0


def test_a_takeover_waits_until_kafka_knows_the_panes_topic(broker: Broker, redis_server: Server) -> None:
    """A Kafka that has just come back may leave a topic out for a moment; seen in a chaos run."""
    names = {name: unique(name) for name in ("predictions", "labels", "panes", "alerts")}
    config = parse_config(
        json.dumps(
            {
                "kafka": {"bootstrap": broker.server.address},
                "redis": {"url": f"redis://{redis_server.address}/0"},
                "topics": {**names, "partitions": 3},
                "worker": {"group": unique("group")},
            }
        )
    )

    def create_later() -> None:
        time.sleep(1.5)
        with open_admin(broker.kafka) as admin:
            ensure_topics(admin, wanted_topics(config.topics))

    async def scenario() -> dict[str, str]:
        store = Store(connect(config.redis), config.worker.group)
        later = threading.Thread(target=create_later)
        later.start()
        await LogGuard(config, store, Metrics()).bind()
        later.join()
        try:
            return await store.bound()
        finally:
            await store.client.aclose()

    assert asyncio.run(scenario())["topics.panes"] == f"{config.topics.panes} with 3 partitions"


# What `driftline resume` does about it


def events_of(here: Deployment) -> int:
    """How many events of the model are in its history."""
    states = here.model_states()
    if not states:
        return 0
    state = restore_state(states["a"], here.baselines["a"])
    return (
        0 if state.judge is None else state.judge.seen + (state.judge.pending.content.n if state.judge.pending else 0)
    )


def open_incidents(here: Deployment) -> set[bytes]:
    with here.store as client:
        keys = client.scan_iter(match=f"{here.config.worker.group}:{{judge/*:open", count=1000)
        return {incident for key in keys for incident in client.hkeys(key)}


@on_kafka
def test_resume_lets_workers_read_a_topic_created_again_and_keeps_incidents(
    here: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    here.produce({0: messages("a", 1000, drift=(500, 2000))})
    with here.worker("before") as worker:
        worker.wait_for(lambda: open_incidents(here))
        worker.wait_for(lambda: events_of(here) == 1000)
        assert driftline("resume", "-c", here.path) == 2
        assert "1 workers of group" in capsys.readouterr().err.replace("\n", " ")
        assert worker.stop() == 0
    incidents = open_incidents(here)
    assert driftline("resume", "-c", here.path) == 0
    assert "can go on" in capsys.readouterr().out
    create_again(here, here.config.topics.predictions)
    here.produce({0: messages("a", 200, first=1000, drift=(500, 2000))})

    before = stored(here)
    assert driftline("resume", "-c", here.path) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "partition 0: read to offset 1000, the topic was created again; it has offsets 0 to 200. It resumes at"
        in printed
    )
    assert stored(here) == before, "nothing is done without --yes"
    assert driftline("resume", "-c", here.path, "--yes") == 0
    assert driftline("resume", "-c", here.path) == 0
    assert open_incidents(here) == incidents
    with here.worker("after") as worker:
        worker.wait_for(lambda: here.sealed() == {0: 200})
        worker.wait_for(lambda: events_of(here) == 1200)
        assert worker.stop() == 0


@on_kafka
def test_a_topic_of_labels_created_again_ends_a_worker_until_resume_lets_it_read_that(
    broker: Broker, redis_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.driftline").write_bytes(encode_baseline(baseline_of("a")))
    models = {"a": {"baseline": "a.driftline", "outcomes": {"labels": "topic"}}}
    here = deploy(tmp_path, broker, redis_server.address, {**SECTIONS, "models": models})
    labels, rows = here.config.topics.labels, messages("a", 300)
    read = (json.loads(each) for each in rows)
    written = [json.dumps({"id": row["id"], "ts": row["ts"], "model": "a", "label": "x"}).encode() for row in read]
    here.produce({0: rows})
    here.produce({0: written[:200]}, labels)
    with here.worker("before") as worker:
        worker.wait_for(lambda: labels_known(here) == 200)
        create_again(here, labels)
        assert f"topic {labels} {MADE_AGAIN}" in ends(worker)
    here.produce({0: written[200:]}, labels)
    deadline = time.monotonic() + 30  # Kafka counts the worker that has ended until its session expires
    while (code := driftline("resume", "-c", here.path, "--yes")) == 2 and time.monotonic() < deadline:
        time.sleep(1.0)
    assert code == 0, capsys.readouterr().err
    moved = " ".join(capsys.readouterr().out.split())
    assert f"{labels}, partition 0: read to offset 200, the topic was created again" in moved
    with here.worker("after") as worker:
        worker.wait_for(lambda: labels_known(here) == 300)
        assert worker.stop() == 0

    renamed = unique("labels")
    here.path.write_text(here.path.read_text().replace(labels, renamed))
    here = here.reload()
    here.create_topics()
    with here.worker("refused") as worker:
        assert f"topics.labels was {labels} and is {renamed} now" in ends(worker)
    deadline = time.monotonic() + 30
    while (code := driftline("resume", "-c", here.path, "--yes")) == 2 and time.monotonic() < deadline:
        time.sleep(1.0)
    assert code == 0, capsys.readouterr().err
    with here.worker("renamed") as worker:
        worker.wait_for(lambda: worker.get("/health").status == 200)
        assert labels_known(here) == 300
        assert worker.stop() == 0


def labels_known(here: Deployment) -> int:
    """How many labels wait for their predictions, or have met them."""
    states = here.model_states()
    state = restore_state(states["a"], here.baselines["a"]) if states else None
    return state.waiting.labels.rows if state and state.waiting else 0


@on_kafka
def test_a_pane_of_the_old_log_that_arrives_after_resume_is_a_dead_letter(here: Deployment) -> None:
    """From a worker that was cut off from Kafka when it had to send it. Its offsets are beyond those of the new log."""
    here.produce({0: messages("a", 500)})
    read(here, "before", 500)
    create_again(here, here.config.topics.predictions)
    here.produce({0: messages("a", 200, first=500)})
    assert driftline("resume", "-c", here.path, "--yes") == 0
    late = here.read(here.config.topics.panes)[-1]
    producer = Producer({"bootstrap.servers": here.broker.server.address})
    producer.produce(late.topic, late.value, late.key, late.partition, headers=late.headers)
    assert producer.flush(30) == 0
    with here.worker("after") as worker:
        worker.wait_for(lambda: events_of(here) == 700)
        assert worker.stop() == 0
    (dead,) = here.read(f"{late.topic}.dlq")
    assert dead.value == late.value
    assert dict(dead.headers)["reason"].startswith(b"a pane of another log of topic")


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_resume_does_nothing_if_kafka_does_not_say_whether_workers_run(
    here: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driftline("resume", "-c", here.path, "--yes") == 2
    assert "Kafka does not say whether group" in capsys.readouterr().err.replace("\n", " ")
    assert stored(here) == {}


@on_kafka
def test_resume_at_the_end_reads_only_what_comes_from_then_on(here: Deployment) -> None:
    here.produce({0: messages("a", 500)})
    read(here, "before", 500)
    create_again(here, here.config.topics.predictions)
    here.produce({0: messages("a", 170)})
    assert driftline("resume", "-c", here.path, "--at", "end", "--yes") == 0
    with here.worker("after") as worker:
        worker.wait_for(lambda: "took over 2 partitions" in worker.logs())
        here.produce({0: messages("a", 100, first=500)})
        worker.wait_for(lambda: here.sealed() == {0: 270})
        worker.wait_for(lambda: events_of(here) == 600)
        assert worker.stop() == 0


@on_kafka
def test_resume_skips_panes_that_a_panes_topic_created_again_has_lost(here: Deployment) -> None:
    here.produce({0: messages("a", 500)})
    read(here, "before", 500)
    create_again(here, here.config.topics.panes)
    with here.worker("refused") as worker:
        assert f"topic {here.config.topics.panes} {MADE_AGAIN}" in ends(worker)
    eventually_empty(here)
    assert driftline("resume", "-c", here.path, "--yes") == 0
    here.produce({0: messages("a", 100, first=500)})
    with here.worker("after") as worker:
        worker.wait_for(lambda: events_of(here) == 600)
        assert worker.stop() == 0


def eventually_empty(here: Deployment) -> None:
    """Wait until Kafka has forgotten a worker that ended by itself."""
    with open_admin(here.broker.kafka) as admin:
        deadline = time.monotonic() + 30
        while group_members(admin, here.config.worker.group) and time.monotonic() < deadline:
            time.sleep(0.2)


@on_kafka
def test_resume_moves_a_group_to_another_cluster_only_if_it_is_told_to(
    here: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """The group comes from another cluster: its facts say so."""
    here.produce({0: messages("a", 500)})
    read(here, "before", 500)
    with here.store as client:
        client.hset(f"{here.config.worker.group}:bound", "cluster", "another")
    assert driftline("resume", "-c", here.path, "--yes") == 2
    assert "belongs to Kafka cluster another" in capsys.readouterr().err.replace("\n", " ")
    assert driftline("resume", "-c", here.path, "--new-cluster", "--at", "end", "--yes") == 0
    here.produce({0: messages("a", 100, first=500)})
    with here.worker("after") as worker:
        worker.wait_for(lambda: events_of(here) == 600)
        assert worker.stop() == 0
