"""`driftline baseline accept` beside a running worker: nothing is lost, nobody is paged, and other incidents go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.demo.servers import Server
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import baseline_of, events_counted, messages
from tests.harness.brokers import Broker

RELOADED = "the configuration was loaded again"
AMOUNT, SCORE = "features.amount", "score"


def drifting(first: int, end: int) -> list[bytes]:
    """Events of a model whose amount drifts from 1,000 on, and its score as well."""
    rows = [orjson.loads(each) for each in messages("given", end - first, first, drift=(1000, 1 << 60))]
    for i, row in enumerate(rows, first):
        row["score"] += 3.0 * (i >= 1000)
    return [orjson.dumps(row) for row in rows]


def accept(deployment: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "driftline",
        "baseline",
        "accept",
        *arguments,
        "-c",
        str(deployment.path),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def steps(deployment: Deployment) -> dict[str, list[tuple[str, str | None]]]:
    """By signal, what became of its incidents."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    for alert in deployment.alerts():
        data = alert["data"]
        found.setdefault(data["labels"]["signal"], []).append((data["status"], data["resolution"]))
    return found


def incident_of(deployment: Deployment, signal_: str) -> str:
    return next(a["data"]["incident_id"] for a in deployment.alerts() if a["data"]["labels"]["signal"] == signal_)


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_an_accepted_incident_ends_without_a_page_and_the_other_one_of_the_model_goes_on(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    sections = {
        "panes": {"events": 50, "seconds": 0.5},
        "defaults": {"incidents": {"page_per": "signal"}},
        "models": {"given": {"baseline": "given.driftline", "clock": 50}},
    }
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    file, parent = tmp_path / "given.driftline", baseline_of("given")
    file.write_bytes(encode_baseline(parent))

    def counted() -> int:
        return sum(events_counted(parts, None) for parts in deployment.model_states().values())

    def feed(worker: WorkerProcess, first: int, end: int) -> None:
        deployment.produce({0: drifting(first, end)})
        worker.wait_for(lambda: counted() == end)

    with deployment.worker() as worker:
        feed(worker, 0, 2000)
        worker.wait_for(lambda: len(steps(deployment)) == 2)
        incident = incident_of(deployment, AMOUNT)
        code, short = accept(deployment, incident)
        assert code == 2
        assert "events since then, and 2,000 are needed" in short["error"]
        feed(worker, 2000, 3500)
        code, dry = accept(deployment, incident, "--dry-run")
        assert (code, dry["written"], file.read_bytes()) == (0, False, encode_baseline(parent))
        code, done = accept(deployment, incident, "--by", "dana")
        assert (code, done["written"], done["by"], done["events"]) == (0, True, "dana", 2000)
        code, again = accept(deployment, incident)
        assert code == 2
        assert "was accepted already, by dana" in again["error"]
        deployment.produce({0: drifting(3500, 3700)})  # traffic goes on while it takes effect
        worker.process.send_signal(signal.SIGHUP)
        worker.wait_for(lambda: RELOADED in worker.logs())
        feed(worker, 3700, 5000)
        worker.wait_for(lambda: steps(deployment)[AMOUNT][-1] == ("resolved", "accepted"))
        assert worker.stop() == 0
    assert steps(deployment) == {AMOUNT: [("firing", None), ("resolved", "accepted")], SCORE: [("firing", None)]}
    assert counted() == 5000
    assert deployment.read(f"{deployment.config.topics.panes}.dlq") == []
    new = decode_baseline(file.read_bytes())
    assert new.about["accepted"]["incident"] == incident
    assert new.about["accepted"]["parent"] == parent.content_hash
    assert decode_baseline(Path(done["former"]).read_bytes()).content_hash == parent.content_hash
    code, closed = accept(deployment, incident)
    assert (code, closed["error"]) == (2, f"incident {incident} is closed: accepted")
