"""`driftline models`: what the workers remember, and forgetting while a worker runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from kafka import KafkaProducer

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.state import state_delta
from driftline.stream.demo.servers import Server
from driftline.stream.judge.state import ModelState
from driftline.stream.kafka.client import client_options
from driftline.stream.panes.pane import Source
from driftline.stream.state.client import connect
from driftline.stream.state.store import Store
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.oracle import baseline_of, interleave, messages
from tests.harness.brokers import Broker
from tests.harness.command_line import Run


@pytest.fixture
def here(broker: Broker, redis_server: Server, tmp_path: Path) -> Deployment:
    sections = {
        "panes": {"events": 50, "seconds": 0.5},
        "defaults": {"learn_events": 200, "clock": 1000},
        "models": {"given": {"baseline": "given.driftline"}, "warm": {"learn_events": 5000}},
    }
    (tmp_path / "given.driftline").write_bytes(encode_baseline(baseline_of("given")))
    return deploy(tmp_path, broker, redis_server.address, sections)


def produce(here: Deployment, log: list[bytes]) -> None:
    producer = KafkaProducer(**client_options(here.broker.kafka), linger_ms=5)
    for value in log:
        producer.send(here.config.topics.predictions, value)
    producer.flush()
    producer.close()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_models_are_listed_and_one_that_learned_is_forgotten_while_a_worker_runs(here: Deployment, run: Run) -> None:
    config = ("-c", str(here.path))
    assert "has judged anything yet" in run("models", *config).out

    def listed() -> dict[str, dict[str, object]]:
        rows = map(json.loads, run("models", *config, "--json").out.splitlines())
        return {row["model"]: row for row in rows}

    produce(here, interleave(*(messages(model, 400) for model in ("given", "learns", "warm"))))
    with here.worker() as worker:
        worker.wait_for(lambda: sum(int(str(each["events"])) for each in listed().values()) == 400 + 200 + 400)
        found = listed()
        assert {name: row["baseline"] for name, row in found.items()} == {
            "given": "given", "learns": "learned", "warm": "learning",
        }  # fmt: skip
        assert found["warm"]["learn_events"] == 5000
        assert all(str(row["last_seen"]).endswith("Z") for row in found.values())
        assert "learning 400 of 5,000" in run("models", *config).words

        assert "gives given a baseline" in run("models", "forget", "given", *config).err
        assert "did you mean 'learns'?" in run("models", "forget", "learn", *config).err
        done = run("models", "forget", "learns", "warm", *config)
        assert (done.code, done.out) == (0, "forgotten: learns, warm\n")
        assert listed().keys() == {"given"}
        assert worker.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_without_a_worker_the_request_waits_in_the_log(here: Deployment, run: Run) -> None:
    config = ("-c", str(here.path))
    produce(here, messages("warm", 100))
    with here.worker() as worker:
        worker.wait_for(lambda: "warm" in run("models", *config).out)
        assert worker.stop() == 0
    asked = run("models", "forget", "warm", *config)
    assert asked.code == 0
    assert "have yet to read it: warm" in asked.err
    with here.worker() as worker:  # which may go on to remember what came after the request
        worker.wait_for(
            lambda: "forgotten, on request or because others need their room: 1 models (warm)" in worker.logs()
        )
        assert worker.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_every_partition_that_remembers_a_model_is_asked_to_forget_it(
    broker: Broker, redis_server: Server, tmp_path: Path, run: Run
) -> None:
    """As after the panes topic got more partitions."""
    here = deploy(tmp_path, broker, redis_server.address, {"topics": {"partitions": 2}})

    async def remember() -> None:
        client = connect(here.config.redis)
        for partition in range(2):
            judge = await Store(client, here.config.worker.group).claim_judge(here.config.topics.panes, partition)
            await judge.commit(1, {"warm": state_delta(None, ModelState({Source(0): 10}))}, seen={"warm": 1})
        await client.aclose()

    asyncio.run(remember())
    assert run("models", "forget", "warm", "-c", str(here.path)).code == 0
    assert [(each.partition, each.key) for each in here.read(here.config.topics.panes)] == [(0, b"warm"), (1, b"warm")]
