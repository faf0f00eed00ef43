"""Ticks of a running worker: a model that falls silent is judged, and its history is repeated from the panes topic."""

from __future__ import annotations

from pathlib import Path

import orjson
from typer.testing import CliRunner

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.cli.main import app
from driftline.stream.codec.panes import read_message
from driftline.stream.demo.servers import Server
from driftline.stream.panes.tick import Tick
from load_tests.harness.deployment import deploy
from load_tests.harness.oracle import EPOCH, baseline_of, messages
from tests.harness.brokers import Broker

# The drift is held for longer than its events reach: they take half a second.
SECTIONS = {
    "panes": {"seconds": 1.0},
    "defaults": {"incidents": {"hold": "12s", "recovery": "0s", "cooldown": "0s"}},
    "models": {"given": {"baseline": "given.driftline"}},
}


def test_a_drift_that_its_model_ends_with_is_reported_and_the_panes_topic_repeats_it(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    (tmp_path / "given.driftline").write_bytes(encode_baseline(baseline_of("given")))
    deployment = deploy(tmp_path, broker, redis_server.address, SECTIONS)
    topics, again = deployment.config.topics, tmp_path / "again.jsonl"
    deployment.produce({0: messages("given", 1500, drift=(1000, 1500))})
    with deployment.worker() as first:
        first.wait_for(deployment.model_states)
        first.kill()
    with deployment.worker() as worker:
        worker.wait_for(deployment.alerts)
        assert worker.stop() == 0
    ticks = [each for record in deployment.read(topics.panes) if isinstance(each := read_message(record.value), Tick)]
    assert {each.partition for each in ticks} == {0}, "the others never held an event"
    assert all(each.read == each.read_to <= 1500 for each in ticks)
    assert EPOCH + 12_000 < max(each.time for each in ticks) < EPOCH + 120_000, "it never jumps to the wall clock"
    config = str(tmp_path / "driftline.yaml")
    source = f"kafka://{topics.panes}"
    result = CliRunner().invoke(app, ["replay", source, "--from-panes", "-c", config, "--alerts", str(again)])
    assert result.exit_code == 1, result.output
    published = {orjson.dumps(each) for each in deployment.alerts()}
    assert {orjson.dumps(orjson.loads(line)) for line in again.read_bytes().splitlines()} == published
