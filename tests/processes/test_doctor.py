"""`driftline doctor` against servers that are set up well, and wrongly in one way each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis as sync_redis
from typer.testing import CliRunner

from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.cli.main import app
from driftline.stream.demo.servers import Server, free_port
from driftline.stream.events.parse import EventReader
from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.schemas.topics import wanted_topics
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.oracle import messages
from load_tests.harness.servers import real_redis
from tests.harness.brokers import Broker
from tests.harness.services import ROUTING_KEY, fake

embedded = pytest.mark.parametrize("broker", ["embedded"], indirect=True)
LOG = messages("fraud", 1200)


class Result(NamedTuple):
    """Exit code, and the levels and lines by check."""

    code: int
    levels: dict[str, set[str]]
    text: str


def doctor(deployment: Deployment, *options: str, environment: Mapping[str, str] | None = None) -> Result:
    arguments = ["doctor", "-c", str(deployment.path), "--json", *options]
    ended = CliRunner().invoke(app, arguments, env=dict(environment or {}), catch_exceptions=False)
    levels: dict[str, set[str]] = {}
    findings = json.loads(ended.stdout)["findings"]
    for each in findings:
        levels.setdefault(each["check"], set()).add(each["level"])
    return Result(ended.exit_code, levels, "\n".join(f"{each['message']}; {each['remedy']}" for each in findings))


@pytest.fixture(scope="module")
def durable_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with real_redis(tmp_path_factory.mktemp("durable"), fsync="always") as server:
        yield server


def site(
    tmp_path: Path, broker: Broker, redis: Server, topics: bool = True, sections: Mapping[str, Any] | None = None
) -> Deployment:
    """A deployment with a baseline of fraud, and events of it on the predictions topic."""
    reader = EventReader()
    events = [event for message in LOG for event in reader.read(message).events]
    (tmp_path / "fraud.driftline").write_bytes(encode_baseline(build_baseline(events, {"model": "fraud"})))
    models = {"fraud": {"baseline": "fraud.driftline"}}
    deployment = deploy(tmp_path, broker, redis.address, {"models": models, **(sections or {})}, topics)
    if topics:
        deployment.produce({0: LOG})
    return deployment


def test_a_sound_installation_is_ok_in_every_check(tmp_path: Path, broker: Broker, durable_redis: Server) -> None:
    with fake("pagerduty") as service:
        deployment = site(tmp_path, broker, durable_redis, sections={"relay": {"pagerduty": {"url": service.url}}})
        result = doctor(deployment, "--page", environment={"PAGERDUTY_ROUTING_KEY": ROUTING_KEY})
        assert list(service.pages.values()) == [1]
        assert service.open == set()
    names = (
        "configuration",
        "baselines",
        "redis",
        "level",
        "codecs",
        "kafka",
        "topics",
        "rights",
        "traffic",
        "pagerduty",
    )
    assert result.levels == {name: {"ok"} for name in names}, result.text
    assert result.code == 0
    assert "1,000 events in the newest 1,000 messages, none refused" in result.text


@embedded
def test_without_page_nothing_is_sent_and_each_finding_is_a_line(
    tmp_path: Path, broker: Broker, durable_redis: Server
) -> None:
    with fake("pagerduty") as service:
        deployment = site(tmp_path, broker, durable_redis, sections={"relay": {"pagerduty": {"url": service.url}}})
        ended = CliRunner().invoke(
            app, ["doctor", "-c", str(deployment.path)], env={"PAGERDUTY_ROUTING_KEY": ROUTING_KEY}
        )
        assert service.requests == []
    assert ended.exit_code == 0
    assert "ok      baselines: fraud\n" in ended.stdout
    assert "ok      pagerduty: its secrets are set, and 127.0.0.1 resolves\n" in ended.stdout


@embedded
def test_a_group_at_the_first_level_and_a_calendar_that_cannot_be_read_are_said(
    tmp_path: Path, broker: Broker, durable_redis: Server
) -> None:
    deployment = site(tmp_path, broker, durable_redis, sections={"defaults": {"calendar": {"files": ["none.ics"]}}})
    with sync_redis.Redis.from_url(deployment.config.redis.url) as client:
        client.hset(f"{deployment.config.worker.group}:bound", "topics.predictions", "predictions")
    result = doctor(deployment)
    assert (result.levels["level"], result.levels["configuration"]) == ({"warning"}, {"error"})
    assert "the group is at format level 1 of 3: traffic, topics and versions are not judged" in result.text
    assert f"run: driftline upgrade finish -c {deployment.path}" in result.text
    assert "defaults.calendar: " in result.text


@embedded
def test_a_group_at_a_level_that_only_a_newer_version_can_do_is_an_error(
    tmp_path: Path, broker: Broker, durable_redis: Server
) -> None:
    deployment = site(tmp_path, broker, durable_redis)
    with sync_redis.Redis.from_url(deployment.config.redis.url) as client:
        client.hset(
            f"{deployment.config.worker.group}:bound", mapping={"topics.predictions": "predictions", "level": 9}
        )
    result = doctor(deployment)
    assert (result.code, result.levels["level"]) == (1, {"error"})
    assert "the group is at format level 9, and this version can do 3 at most" in result.text


@embedded
def test_a_redis_without_persistence_is_a_warning(tmp_path: Path, broker: Broker, redis_server: Server) -> None:
    result = doctor(site(tmp_path, broker, redis_server))
    assert (result.code, result.levels["redis"]) == (0, {"warning"})
    assert "Redis keeps no append-only file, so a restart loses all state; set its appendonly to yes" in result.text


@embedded
def test_a_redis_that_leaves_writes_to_the_system_or_evicts_keys_is_said(tmp_path: Path, broker: Broker) -> None:
    lazy = real_redis(tmp_path / "lazy", fsync="no")
    with lazy as server:
        result = doctor(site(tmp_path, broker, server))
    assert "set its appendfsync to everysec or always" in result.text
    command = [*lazy.command, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"]
    with replace(lazy, command=command, port=lazy.port) as server:
        evicting = doctor(site(tmp_path, broker, server))
    assert (evicting.code, "error" in evicting.levels["redis"]) == (1, True)
    assert "allkeys-lru, to noeviction" in evicting.text


@embedded
def test_a_wrong_password_is_an_error_that_does_not_show_it(tmp_path: Path, broker: Broker) -> None:
    with real_redis(tmp_path / "locked", fsync="always") as locked:
        with sync_redis.Redis(port=locked.port) as client:
            client.config_set("requirepass", "right")
        url = {"url": f"redis://{locked.address}", "password_env": "REDIS_PASSWORD"}
        deployment = site(tmp_path, broker, locked, sections={"redis": url})
        assert doctor(deployment, environment={"REDIS_PASSWORD": "right"}).code == 0
        result = doctor(deployment, environment={"REDIS_PASSWORD": "a-wrong-one"})
    assert (result.code, result.levels["redis"], result.levels["kafka"]) == (1, {"error"}, {"ok"})
    assert "Redis refuses the login of redis.url and redis.password_env" in result.text
    assert "a-wrong-one" not in result.text


@embedded
def test_unreachable_servers_hide_no_other_check(tmp_path: Path, broker: Broker, durable_redis: Server) -> None:
    kafka = {"bootstrap": f"127.0.0.1:{free_port()}"}
    redis = {"url": f"redis://127.0.0.1:{free_port()}"}
    result = doctor(site(tmp_path, broker, durable_redis, False, {"kafka": kafka, "redis": redis}), "--to", "stdout")
    assert result.code == 1
    assert {name for name, found in result.levels.items() if "error" in found} == {
        "redis", "level", "kafka", "topics", "rights", "traffic",
    }  # fmt: skip
    assert result.levels["baselines"] == result.levels["stdout"] == {"ok"}
    assert "Kafka can't be reached at" in result.text
    assert "not checked, because of what is wrong with kafka" in result.text


@embedded
def test_missing_and_wrong_topics_are_errors_with_the_remedy(
    tmp_path: Path, broker: Broker, durable_redis: Server
) -> None:
    deployment = site(tmp_path, broker, durable_redis, topics=False)
    absent = doctor(deployment)
    assert (absent.code, absent.levels["topics"]) == (1, {"error", "warning"})
    assert "does not exist; create it with `driftline topics create`" in absent.text
    topics = deployment.config.topics
    wrong = {"cleanup.policy": "compact", "max.message.bytes": "16777216"}
    with open_admin(broker.kafka) as admin:
        ensure_topics(
            admin,
            [replace(each, settings=wrong) if each.name == topics.panes else each for each in wanted_topics(topics)],
        )
    compacted = doctor(deployment)
    assert (compacted.code, compacted.levels["topics"]) == (1, {"ok", "error"})
    assert f"set the cleanup.policy of {topics.panes} to delete" in compacted.text
    assert "the predictions topic is empty" in compacted.text


@embedded
def test_a_configuration_that_does_not_fit_the_traffic_is_said(
    tmp_path: Path, broker: Broker, durable_redis: Server
) -> None:
    deployment = site(tmp_path, broker, durable_redis, sections={"defaults": {"signals": {"exclude": ["amount"]}}})
    (tmp_path / "fraud.driftline").unlink()
    result = doctor(deployment)
    assert (result.code, result.levels["baselines"]) == (1, {"error"})
    assert "fraud.driftline: No such file or directory; `driftline baseline build` makes one" in result.text
    assert "`amount` matches no signal of model fraud; did you mean `features.amount`?" in result.text


def test_a_configuration_that_is_not_valid_is_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from driftline.stream.cli.main import main

    (tmp_path / "bad.yaml").write_text("kafka: {bootstrap: 1}")
    monkeypatch.setattr("sys.argv", ["driftline", "doctor", "-c", str(tmp_path / "bad.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
