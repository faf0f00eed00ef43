"""Topics of schema-registry frames, as users have them: a worker and a replay read what a registry describes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.servers import Server
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.oracle import Replay, alert_bodies, baseline_of, messages
from tests.events.test_frames import frame, header, record
from tests.harness.brokers import Broker
from tests.harness.registries import Registry, registry
from tests.harness.topic_tools import driftline

EVENTS, DRIFT = 3000, (1500, 3000)
SCHEMA = record(
    ("id", "string"),
    ("ts", {"type": "long", "logicalType": "timestamp-millis"}),
    ("model", "string"),
    ("features", record(("amount", ["null", "double"]), ("country", "Country"), name="Features")),
    ("score", "double"),
    name="Prediction",
)
COUNTRY = {"type": "enum", "name": "Country", "symbols": ["at", "ch"]}
WHOLE = json.loads(json.dumps(SCHEMA).replace('"Country"', json.dumps(COUNTRY)))


def in_frames(log: list[bytes]) -> list[bytes]:
    """The events of a log, every second one in Avro, the others as JSON with a JSON Schema."""
    return [frame(WHOLE, json.loads(row), 1) if i % 2 else header(2) + row for i, row in enumerate(log)]


def fill(site: Registry) -> None:
    site.add(1, SCHEMA, references=[("country", 1)])
    site.add_subject("country", 1, COUNTRY)
    site.add(2, {"type": "object"}, "JSON")


def deployed(folder: Path, broker: Broker, redis: str, url: str | None) -> Deployment:
    (folder / "a.driftline").write_bytes(encode_baseline(baseline_of("a")))
    sections = {"panes": {"events": 50, "seconds": None}, "models": {"a": {"baseline": "a.driftline"}}}
    return deploy(folder, broker, redis, sections | ({"schemas": {"registry": url}} if url else {}))


def replayed(deployment: Deployment, log: list[bytes]) -> Replay:
    """What must follow from the same events as plain JSON."""
    replay = Replay(deployment.config, deployment.baselines, heard=deployment.heard())
    replay.read(0, log)
    return replay


def test_a_worker_reads_frames_as_it_reads_json(broker: Broker, redis_server: Server, tmp_path: Path) -> None:
    log = messages("a", EVENTS, drift=DRIFT)
    with registry() as site:
        fill(site)
        site.script += [503, 503]
        deployment = deployed(tmp_path, broker, redis_server.address, site.url)
        deployment.produce({0: in_frames(log)})
        with deployment.worker() as worker:
            worker.wait_for(lambda: deployment.model_states() == replayed(deployment, log).model_states())
            assert worker.stop() == 0
        expected = replayed(deployment, log)
        assert "answers 503; trying again in" in worker.logs()
    assert alert_bodies(deployment.alerts()) == alert_bodies(expected.alerts)
    assert expected.alerts
    assert deployment.read(f"{deployment.config.topics.predictions}.dlq") == []


def test_a_replay_of_a_topic_reads_frames(
    broker: Broker, redis_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = messages("a", EVENTS, drift=DRIFT)
    with registry() as site:
        fill(site)
        deployment = deployed(tmp_path, broker, redis_server.address, site.url)
        deployment.produce({0: in_frames(log)})
        topic, alerts = f"kafka://{deployment.config.topics.predictions}", tmp_path / "alerts.jsonl"
        assert driftline("replay", topic, "-c", deployment.path, "--alerts", alerts) == 1
        assert len(site.requests) == 3
    found = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert found[0]["data"]["status"] == "firing"
    assert "rejected" not in capsys.readouterr().out


def test_frames_without_a_registry_are_dead_letters_that_say_what_to_configure(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    deployment = deployed(tmp_path, broker, redis_server.address, None)
    deployment.produce({0: in_frames(messages("a", 20))})
    letters = f"{deployment.config.topics.predictions}.dlq"
    with deployment.worker() as worker:
        worker.wait_for(lambda: len(deployment.read(letters)) == 20)
        assert worker.stop() == 0
    headers = {str(value) for each in deployment.read(letters) for _, value in each.headers}
    assert any("schema 1 is needed; name the registry: `schemas: {registry: URL}`" in each for each in headers)


def test_a_registry_that_is_down_ends_a_replay_with_its_name(
    broker: Broker, redis_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with registry() as site:
        url = site.url
    deployment = deployed(tmp_path, broker, redis_server.address, url)
    deployment.produce({0: in_frames(messages("a", 20))})
    assert driftline("replay", f"kafka://{deployment.config.topics.predictions}", "-c", deployment.path) == 2
    assert f"{url} does not answer" in capsys.readouterr().err.replace("\n", " ")
