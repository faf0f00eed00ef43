"""Workers as users run them, on both brokers: what goes in, what comes out, and what they report."""

from __future__ import annotations

import gzip
import json
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.cli.main import app
from driftline.stream.codec.panes import PaneMessage, read_message
from driftline.stream.codec.state import restore_state
from driftline.stream.demo.servers import Server
from driftline.stream.events.parse import EventError, parse_event
from driftline.stream.kafka.admin import open_admin
from driftline.stream.replay.run import as_single_partition, replay
from load_tests.harness.deployment import Deployment, deploy
from load_tests.harness.oracle import alert_bodies, as_json, baseline_of, events_counted, messages
from load_tests.harness.tcp_proxy import TcpProxy
from tests.harness.brokers import Broker

SHARED = Path(__file__).parents[3] / "shared" / "data"
# 60 runs of 250, the first incident in the 30th. As the log ends where a run does, nothing waits for the next event.
ROWS = 60 * 250


def rows(name: str) -> list[bytes]:
    return gzip.decompress((SHARED / f"electricity_{name}.jsonl.gz").read_bytes()).splitlines()


@pytest.fixture(scope="session")
def electricity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baseline file of the Electricity stream."""
    path = tmp_path_factory.mktemp("electricity") / "electricity.driftline"
    events = [parse_event(row) for row in rows("baseline")]
    path.write_bytes(encode_baseline(build_baseline(events, {"model": "electricity"})))
    return path


GIVEN = {"models": {"given": {"baseline": "given.driftline"}}}


def write_baseline(folder: Path) -> None:
    (folder / "given.driftline").write_bytes(encode_baseline(baseline_of("given")))


def counted(deployment: Deployment) -> dict[str, int]:
    """Events in the stored states, by model."""
    baselines = deployment.baselines
    return {model: events_counted(parts, baselines.get(model)) for model, parts in deployment.model_states().items()}


def metrics(text: str) -> dict[str, float]:
    """Samples without labels, and sums over those of one name with labels."""
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            bare = name.partition("{")[0]
            samples[bare] = samples.get(bare, 0.0) + float(value)
    return samples


@pytest.mark.shared
def test_electricity_keyed_by_model_gives_the_alerts_of_the_file_replay(
    broker: Broker, redis_server: Server, tmp_path: Path, electricity: Path
) -> None:
    sections = {"panes": {"seconds": None}, "models": {"electricity": {"baseline": str(electricity)}}}
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    live = rows("live")[:ROWS]
    from_file = replay(
        deployment.config, list(deployment.baselines.values()), {0: as_single_partition([live])}, lambda _: None
    )
    deployment.produce({0: live})
    with deployment.worker() as worker:
        worker.wait_for(lambda: counted(deployment) == {"electricity": ROWS})
        worker.wait_for(lambda: len(deployment.alerts()) >= len(from_file.alerts))
        assert alert_bodies(deployment.alerts()) == alert_bodies(map(as_json, from_file.alerts))
        assert len(from_file.alerts) >= 2
        alert = deployment.alerts()[0]
        assert alert["data"]["mode"] == "live"
        assert alert["time"] == alert["data"]["emitted_at"] > "2026"


@pytest.mark.shared
def test_electricity_keyed_by_event_gives_one_incident_with_the_same_signals(
    broker: Broker, redis_server: Server, tmp_path: Path, electricity: Path
) -> None:
    sections = {
        "topics": {"partitions": 4},
        "panes": {"seconds": None},
        "models": {"electricity": {"baseline": str(electricity)}},
    }
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    by_key: dict[int, list[bytes]] = {partition: [] for partition in range(4)}
    for row in rows("live")[:ROWS]:
        by_key[zlib.crc32(json.loads(row)["id"].encode()) % 4].append(row)
    whole_runs = sum(len(log) // 250 * 250 for log in by_key.values())
    with deployment.worker("one") as one, deployment.worker("two") as two:
        for worker in (one, two):
            worker.wait_for(lambda worker=worker: "took over 4 partitions" in worker.logs())
        deployment.produce(by_key)
        one.wait_for(lambda: counted(deployment) == {"electricity": whole_runs})
        one.wait_for(deployment.alerts)
        read = [metrics(worker.get("/metrics").body)["driftline_events_total"] for worker in (one, two)]
    first = min(deployment.alerts(), key=lambda alert: alert["data"]["seq"])["data"]
    assert first["status"] == "firing"
    signals = {each["signal"] for each in first["evidence"]["signals"]}
    assert signals >= {"features.vicprice", "features.vicdemand", "features.transfer"}
    assert sum(read) == sum(map(len, by_key.values()))
    assert min(read) > 0


def test_a_worker_waits_for_its_servers_and_logs_for_which(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    with TcpProxy(redis_server.port) as redis, TcpProxy(broker.server.port) as kafka:
        sections = {"kafka": {"bootstrap": kafka.address}, "panes": {"seconds": 0.5}, **GIVEN}
        deployment = deploy(tmp_path, broker, redis.address, sections, topics=False)
        write_baseline(tmp_path)
        with deployment.worker() as worker:
            worker.wait_for(lambda: "Redis is not ready: Redis does not answer" in worker.logs())
            worker.wait_for(lambda: f"Kafka is not ready: Kafka can't be reached at {kafka.address}" in worker.logs())
            worker.wait_for(lambda: "trying again in 2 s" in worker.logs())
            kafka.open()
            topic = deployment.config.topics.predictions
            worker.wait_for(
                lambda: f"topic {topic} doesn't exist: create it with `driftline topics cr" in worker.logs()
            )
            deployment.create_topics()
            deployment.produce({0: messages("given", 500)})
            redis.open()
            worker.wait_for(lambda: counted(deployment) == {"given": 500})
            # Redis becomes unreachable and comes back while the worker runs.
            redis.close()
            deployment.produce({0: messages("given", 500, first=500)})
            worker.wait_for(lambda: worker.logs().count("Redis does not answer") > 2)
            redis.open()
            worker.wait_for(lambda: counted(deployment) == {"given": 1000})
            assert worker.stop() == 0


def test_a_worker_that_waits_can_be_stopped(broker: Broker, tmp_path: Path) -> None:
    with TcpProxy(0) as redis:
        deployment = deploy(tmp_path, broker, redis.address, {}, topics=False)
        with deployment.worker() as worker:
            worker.wait_for(lambda: "Redis is not ready" in worker.logs())
            assert worker.stop() == 0
            assert "Traceback" not in worker.logs()


# One message of each kind that is no event; the reasons are tested with stream.events.parse.
MALFORMED: list[bytes | None] = [
    None,
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"nul",
    b"\xff\xfe\x00",
    b"[" * 5000,
    b'{"ts": 1767225600000, "model": "given", "score": 1}',
    b'{"id": "", "ts": 1767225600000, "model": "given", "score": 1}',
    b'{"id": {}, "ts": 1767225600000, "model": "given", "score": 1}',
    b'{"id": "1", "model": "given", "score": 1}',
    b'{"id": "1", "ts": 20260101, "model": "given", "score": 1}',
    b'{"id": "1", "ts": "yesterday", "model": "given", "score": 1}',
    b'{"id": "1", "ts": 1e300, "model": "given", "score": 1}',
    b'{"id": "1", "ts": NaN, "model": "given", "score": 1}',
    b'{"id": "1", "ts": 1767225600000, "score": 1}',
    b'{"id": "1", "ts": 1767225600000, "model": true, "score": 1}',
    b'{"id": "1", "ts": 1767225600000, "model": "\\ud800", "score": 1}',
    b'{"id": "1", "ts": 1767225600000, "model": "given"}',
    b'{"id": "1", "ts": 1767225600000, "model": "given", "features": [1]}',
]
# An event with a value of a wrong type counts, and is copied.
ODD = b'{"id": "1", "ts": 1767225600000, "model": "given", "features": {"amount": "N/A", "country": []}, "score": 1}'


def reason(message: bytes | None) -> str:
    with pytest.raises(EventError) as bad:
        parse_event(message)
    return str(bad.value)


def test_ten_thousand_malformed_messages_become_dead_letters_and_the_good_ones_are_counted(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    deployment = deploy(tmp_path, broker, redis_server.address, {"panes": {"seconds": 0.5}, **GIVEN})
    write_baseline(tmp_path)
    good = messages("given", 2000)
    log: list[bytes | None] = []
    for i, message in enumerate(good):
        log += [message, *(MALFORMED[(5 * i + j) % len(MALFORMED)] for j in range(5))]
    log += [ODD] * 100
    reasons = {value: (reason(value), b"false") for value in MALFORMED}
    odd = "features.amount: expected number, got 'N/A'; features.country: expected text, got an array"
    reasons[ODD] = (odd, b"true")
    with deployment.worker() as worker:
        deployment.produce({0: log})
        worker.wait_for(lambda: counted(deployment) == {"given": 2100})
        dead_letters = deployment.read(f"{deployment.config.topics.predictions}.dlq")
        assert worker.process.poll() is None
        values = metrics(worker.get("/metrics").body)
    expected = {offset: (value, *reasons[value]) for offset, value in enumerate(log) if value in reasons}
    assert len(expected) == 10_100
    found = {}
    for each in dead_letters:
        headers = dict(each.headers)
        assert (headers["topic"].decode(), headers["partition"]) == (deployment.config.topics.predictions, b"0")
        found[int(headers["offset"])] = (each.value, headers["reason"].decode(), headers["counted"])
    assert found == expected
    assert len(dead_letters) == len(found), "nothing has crashed, so nothing is sent twice"
    assert values["driftline_events_total"] == len(log)
    assert values["driftline_dead_letters_total"] == 10_200, "the odd ones have two reasons each"


def test_every_row_of_a_message_counts_once_also_after_a_crash_and_a_bad_row_is_named(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    sections = {"mapping": {"preset": "instances"}, "panes": {"events": 30, "seconds": 0.5}, **GIVEN}
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    write_baseline(tmp_path)
    log, rows, bad = [], 0, set()
    for n, message in enumerate(messages("given", 3000)):
        event = json.loads(message)
        size = 1 + n % 7
        instances: list[Any] = [event["features"]] * size
        if n % 100 == 50:
            instances[size // 2] = []
            bad.add(n)
        log.append(
            json.dumps({name: event[name] for name in ("id", "ts", "model")} | {"instances": instances}).encode()
        )
        rows += size - (n in bad)
    with deployment.worker() as worker:
        deployment.produce({0: log[:2000]})
        worker.wait_for(lambda: counted(deployment).get("given", 0) > 2000)
        worker.kill()
    deployment.produce({0: log[2000:]})
    with deployment.worker() as worker:
        worker.wait_for(lambda: counted(deployment) == {"given": rows})
        dead_letters = deployment.read(f"{deployment.config.topics.predictions}.dlq")
    found = {int(headers["offset"]): headers for headers in (dict(each.headers) for each in dead_letters)}
    assert found.keys() == bad
    for offset, headers in found.items():
        size = 1 + offset % 7
        alone = size == 1
        assert headers["counted"] == (b"false" if alone else b"true")
        assert (b"row 0: " if alone else f"row {size // 2}: ".encode()) in headers["reason"]


# The program `driftline`, which names at its end each socket that is still open.
NAMES_OPEN_SOCKETS = """
import atexit, gc, runpy, socket

def name():
    for each in gc.get_objects():
        if isinstance(each, socket.socket) and each.fileno() != -1:
            print("still open:", each)

gc.freeze = lambda: None  # it would hide what was made before
atexit.register(name)
runpy.run_module("driftline", run_name="__main__", alter_sys=True)
"""


def test_a_worker_reports_its_health_and_stops_on_a_signal(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    sections = {"worker": {"log": "json"}, "panes": {"seconds": 0.5}, **GIVEN}
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    write_baseline(tmp_path)
    deployment.produce({0: [*messages("given", 1000, drift=(300, 1000)), b"{"]})
    command = [sys.executable, "-c", NAMES_OPEN_SOCKETS, "worker", "-c", str(deployment.path)]
    warnings = "ignore,default::ResourceWarning,default::RuntimeWarning"
    with deployment.worker("worker", command, PYTHONWARNINGS=warnings) as worker:
        worker.wait_for(deployment.alerts)
        worker.wait_for(lambda: counted(deployment) == {"given": 1000})
        worker.wait_for(lambda: json.loads(worker.get("/health").body)["lag"] == 0)
        health, samples = worker.get("/health"), metrics(worker.get("/metrics").body)
        assert (health.status, json.loads(health.body)["status"]) == (200, "ok")
        started = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - started < 10
    assert "still open" not in worker.logs()
    (record,) = deployment.read(deployment.config.topics.alerts)
    assert (record.key, dict(record.headers)) == (b"given", {"content-type": b"application/cloudevents+json"})
    assert {name: samples[f"driftline_{name}"] for name in FIGURES} == FIGURES
    assert {name.removeprefix("driftline_") for name, value in samples.items() if value > 0} >= POSITIVE
    for line in worker.logs().splitlines():
        assert {"ts", "level", "logger", "message"} <= json.loads(line).keys(), line
    for word in ("Traceback", "Warning", "error"):
        assert word not in worker.logs()
    if broker.server.name == "embedded broker":
        return  # its description of a group cannot be read
    with open_admin(broker.kafka) as admin:
        assert not admin.describe_groups([deployment.config.worker.group])[deployment.config.worker.group]["members"]


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_worker_that_reads_no_event_is_unhealthy_and_names_what_it_does_not_watch_once_it_does(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    deployment = deploy(tmp_path, broker, redis_server.address, {"panes": {"seconds": 0.5}, **GIVEN})
    write_baseline(tmp_path)
    log = messages("given", 300)
    deployment.produce({0: [line.replace(b'"ts"', b'"time"') for line in log[:150]]})

    def health() -> dict[str, Any]:
        return dict(json.loads(worker.get("/health").body))

    with deployment.worker() as worker:
        worker.wait_for(lambda: health()["status"] == "unhealthy")
        assert worker.get("/health").status == 503
        reason = health()["reason"]
        assert reason.startswith("none of the last 150 messages is an event; most are rejected for ts")
        assert "did you mean `time`? add `mapping: {ts: time}`" in reason
        deployment.produce({0: [line.replace(b'"amount"', b'"new": 1, "amount"') for line in log]})
        worker.wait_for(lambda: health()["status"] == "degraded")
        assert worker.get("/health").status == 200
        worker.wait_for(lambda: health()["unwatched"])
        (field,) = health()["unwatched"]
        assert {key: field[key] for key in ("model", "field", "why")} == {
            "model": "given", "field": "features.new", "why": "new"
        }  # fmt: skip
        page = worker.get("/metrics").body
        assert 'driftline_unwatched_fields{model="given",reason="new"} 1.0' in page
        assert 'driftline_rejected_total{reason="ts: missing"} 150.0' in page
        assert "driftline_accepted_events_total 300.0" in page
        shown = CliRunner().invoke(app, ["incidents", "-c", str(deployment.path), "--json"])
        assert json.loads(shown.output.splitlines()[-1]) == {"state": "unwatched", **field}


FIGURES = {"events_total": 1001, "dead_letters_total": 1, "alerts_total": 1, "incidents_open": 1, "lag_records": 0}
POSITIVE = {
    "bytes_total", "panes_total", "judge_seconds_count", "commit_seconds_count", "state_written_bytes_total",
    "last_progress_timestamp_seconds",
}  # fmt: skip


def test_a_model_learns_its_baseline_from_several_partitions(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    sections = {"topics": {"partitions": 3}, "panes": {"seconds": 0.5, "events": 50}, "defaults": {"learn_events": 300}}
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    events = messages("learns", 900)

    def panes() -> list[PaneMessage]:
        found = (read_message(record.value) for record in deployment.read(deployment.config.topics.panes))
        return [each for each in found if isinstance(each, PaneMessage)]

    with deployment.worker() as worker:
        deployment.produce({partition: events[partition:600:3] for partition in range(3)})
        worker.wait_for(lambda: counted(deployment) == {"learns": 600})
        deployment.produce({partition: events[600 + partition :: 3] for partition in range(3)})
        worker.wait_for(lambda: counted(deployment) == {"learns": 900})
        assert worker.stop() == 0
    learned = restore_state(deployment.model_states()["learns"], None).learned
    assert learned is not None
    assert learned.total.n == 300
    assert {each.baseline for each in panes()} == {"", learned.content_hash}
    assert {each.run.partition for each in panes() if each.baseline} == {0, 1, 2}


def test_the_command_line_of_faust_runs_the_same_worker(broker: Broker, redis_server: Server, tmp_path: Path) -> None:
    deployment = deploy(tmp_path, broker, redis_server.address, {"panes": {"seconds": 0.5}, **GIVEN})
    write_baseline(tmp_path)
    deployment.produce({0: messages("given", 1000, drift=(300, 1000))})
    command = [str(Path(sys.executable).with_name("faust")), "-A", "driftline.stream.worker.faust_app", "worker"]
    with deployment.worker("faust", command, DRIFTLINE_CONFIG=str(deployment.path)) as worker:
        worker.wait_for(lambda: counted(deployment) == {"given": 1000})
        worker.wait_for(deployment.alerts)
        assert worker.stop() == 0
