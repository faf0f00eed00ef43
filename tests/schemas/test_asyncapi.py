"""The AsyncAPI document: that of the code, valid to AsyncAPI's own schema, and true of what workers really send."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from driftline.stream.cli.main import app
from driftline.stream.codec.panes import PaneMessage, ReferenceMessage
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config, Redis
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.schemas.asyncapi import document, document_text
from driftline.stream.schemas.topics import wanted_topics
from driftline.stream.state.client import connect
from load_tests.harness.oracle import baseline_of, messages
from tests.harness.brokers import unique
from tests.harness.driver import Driver, topics_with

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = document(Config())
#: The message of the panes topic that a frame's first letter says.
KINDS = {b"P": "pane", b"T": "tick", b"R": "reference", b"F": "forget"}
SPECS = "@asyncapi/specs@6.11.1"


@pytest.fixture(scope="session")
def specification() -> dict[str, Any]:
    """AsyncAPI's schema of its documents, from the package that AsyncAPI publishes; kept for the next time."""
    cache = Path(os.environ.get("DRIFTLINE_CACHE", Path.home() / ".cache" / "driftline"))
    kept = cache / f"asyncapi-{SPECS.rpartition('@')[2]}-3.0.0.json"
    if not kept.exists():
        _fetch(cache, kept)
    found: dict[str, Any] = json.loads(kept.read_text("utf-8"))
    return found


def _fetch(cache: Path, kept: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("AsyncAPI's schema comes as a package of npm, which is not on the PATH")
    fresh = cache / f"asyncapi.{os.getpid()}"
    fresh.mkdir(parents=True, exist_ok=True)
    try:
        pack = ["npm", "pack", SPECS, "--silent", "--fetch-retries=1", "--fetch-timeout=30000"]
        done = subprocess.run(pack, cwd=fresh, capture_output=True, text=True, timeout=90, check=False)
        if done.returncode:
            pytest.skip(f"AsyncAPI's schema can't be fetched: npm pack {SPECS} ends with {done.returncode}")
        with tarfile.open(next(fresh.glob("*.tgz"))) as archive:
            schema = archive.extractfile("package/schemas/3.0.0.json")
            assert schema
            (fresh / "schema.json").write_bytes(schema.read())
        (fresh / "schema.json").replace(kept)
    except subprocess.TimeoutExpired:
        pytest.skip("AsyncAPI's schema can't be fetched: npm does not end")
    finally:
        shutil.rmtree(fresh)


def at(place: str) -> Any:
    """What a reference of the document means."""
    found: Any = DOCUMENT
    for key in place.removeprefix("#/").split("/"):
        found = found[key]
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(each)


def test_the_published_document_is_that_of_the_code() -> None:
    published = (DOCS / "asyncapi.yaml").read_text("utf-8")
    assert published == document_text(Config()), "run: .venv/bin/driftline schema asyncapi > docs/asyncapi.yaml"
    assert yaml.safe_load(published) == DOCUMENT


def test_it_keeps_the_specification(specification: dict[str, Any]) -> None:
    assert list(Draft7Validator(specification).iter_errors(DOCUMENT)) == []


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("#/asyncapi", "2.6.0"),
        ("#/channels/alerts/bindings/kafka/partitions", 0),
        ("#/channels/alerts/bindings/kafka/topicConfiguration/cleanup.policy", ["forget"]),
        ("#/operations/sketch/action", "subscribe"),
        ("#/components/messages/alert/contentType", 7),
        ("#/components/messages/alert/payload", "anything"),
        ("#/components/schemas/AlertData/type", "thing"),
    ],
)
def test_the_specification_would_tell_of_a_mistake(place: str, wrong: Any, specification: dict[str, Any]) -> None:
    *path, last = place.removeprefix("#/").split("/")
    broken: Any = copy.deepcopy(DOCUMENT)
    node = broken
    for key in path:
        node = node[key]
    assert last in node
    node[last] = wrong
    assert not Draft7Validator(specification).is_valid(broken)


def test_every_reference_leads_somewhere_and_everything_is_used() -> None:
    used = set(references(DOCUMENT))
    assert all(at(place) for place in used)
    parts = {f"#/components/{kind}/{name}" for kind, each in DOCUMENT["components"].items() for name in each}
    assert parts <= used


@pytest.mark.parametrize("text", ["", "topics: {predictions: p, alerts: a, partitions: 9, retention_hours: null}"])
def test_its_channels_are_the_configured_topics_as_they_are_made(text: str) -> None:
    config = parse_config(text)
    for channel, topic in zip(
        sorted(document(config)["channels"].values(), key=lambda each: str(each["address"])),
        sorted(wanted_topics(config.topics), key=lambda each: each.name),
        strict=True,
    ):
        kafka = channel["bindings"]["kafka"]
        assert channel["address"] == kafka["topic"] == topic.name
        assert (kafka["partitions"], kafka["replicas"]) == (topic.partitions, topic.replication)
        said = {name: ",".join(v) if isinstance(v, list) else str(v) for name, v in kafka["topicConfiguration"].items()}
        assert said == topic.settings


def test_whoever_shares_work_does_so_in_the_configured_group() -> None:
    operations = document(parse_config("worker: {group: blue.green}"))["operations"]
    groups = {
        name: each["bindings"]["kafka"]["groupId"]["pattern"] for name, each in operations.items() if "bindings" in each
    }
    assert groups.keys() == {"sketch", "judge", "relayAlerts"}
    assert re.fullmatch(groups["judge"], "blue.green")
    assert re.fullmatch(groups["relayAlerts"], "blue.green-relay-pagerduty")


def test_what_workers_send_is_what_the_document_says(redis_server: Server) -> None:
    """Both stages over lists and a real Redis, some records being no events and no panes: values, headers and keys."""
    config = parse_config(
        "panes: {events: 10, seconds: null}\n"
        "defaults: {clock: 20, false_alarms_per_event: 0.001}\n"
        f"worker: {{group: {unique('group')}}}"
    )
    log = [*messages("given", 600, drift=(200, 600)), b"no event", None, b'{"id": 1}']
    topics = topics_with(config, {0: log})
    topics[config.topics.panes][1] = [OutgoingRecord(config.topics.panes, b"given", b"no pane")]

    async def work() -> None:
        client = connect(Redis(url=f"redis://127.0.0.1:{redis_server.port}/0"))
        driver = Driver(config, {"given": baseline_of("given")}, client, topics)
        await driver.announce()
        await driver.work()
        await driver.send_ticks(4_000_000_000_000)
        await client.aclose()

    asyncio.run(work())
    del topics[config.topics.predictions], topics[config.topics.panes][1][0]
    sent = {name: [each for own in partitions.values() for each in own] for name, partitions in topics.items()}
    assert all(sent.values())
    for channel in DOCUMENT["channels"].values():
        for each in sent.get(channel["address"], ()):
            kinds = [at(message["$ref"]) for message in channel["messages"].values()]
            (said,) = (
                kinds if len(kinds) == 1 else (said for said in kinds if said["name"] == KINDS[(each.value or b"")[:1]])
            )
            assert_said(each, said)


def assert_said(sent: OutgoingRecord, said: dict[str, Any]) -> None:
    headers = {name: value.decode() for name, value in sent.headers}
    rules = said.get("headers", {"properties": {}})
    Draft7Validator(rules).validate(headers)
    assert headers.keys() <= rules["properties"].keys()
    if said["name"] == "alert":
        event = json.loads(sent.value or b"")
        Draft7Validator({**said["payload"], "components": DOCUMENT["components"]}).validate(event)
        assert sent.key == event["data"]["alert_key"].encode()
    if said["name"] == "tick":
        assert sent.key is None
    if said["name"] == "reference":
        assert sent.key == ReferenceMessage.from_bytes(sent.value or b"").model.encode()
    if said["name"] == "pane":
        assert (sent.value or b"")[:2] in (b"P\x01", b"P\x02")
        assert sent.key == PaneMessage.from_bytes(sent.value or b"").model.encode()


def test_the_command_prints_what_is_published_and_the_topics_of_a_configuration(tmp_path: Path) -> None:
    run = CliRunner().invoke
    for name in ("alert", "event", "label"):
        assert run(app, ["schema", name]).stdout == (DOCS / f"{name}.schema.json").read_text("utf-8")
    assert run(app, ["schema", "asyncapi"]).stdout == (DOCS / "asyncapi.yaml").read_text("utf-8")
    (tmp_path / "c.yaml").write_text("topics: {alerts: pages}\nkafka: {bootstrap: 'a:1,b:2'}")
    document = yaml.safe_load(run(app, ["schema", "asyncapi", "-c", str(tmp_path / "c.yaml")]).stdout)
    assert document["channels"]["alerts"]["address"] == "pages"
    assert [each["host"] for each in document["servers"].values()] == ["a:1", "b:2"]
    assert run(app, ["schema", "nonsense"]).exit_code == 2
