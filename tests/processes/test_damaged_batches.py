"""Batches that a disk has damaged, and bombs of a producer, on a real Kafka: a worker reads what is around them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka.admin import ConfigResource, ConfigResourceType

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.servers import Server
from driftline.stream.kafka.admin import open_admin
from driftline.stream.replay.run import ReplayResult, replay
from driftline.stream.sources.topic_history import open_history
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import baseline_of, messages
from tests.harness.brokers import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("broker", ["kafka"], indirect=True)]

EVENTS, MEGABYTE = 300, 1 << 20
#: Megabytes of zeros that fit into a record of 1 MB, by codec; unpacked without a bound, each takes several times that.
BOMBS = {"gzip": 150, "snappy": 16, "lz4": 150, "zstd": 150}


@pytest.fixture
def deployment(broker: Broker, redis_server: Server, tmp_path: Path) -> Deployment:
    (tmp_path / "a.driftline").write_bytes(encode_baseline(baseline_of("a")))
    sections: dict[str, Any] = {
        "panes": {"events": 50, "seconds": None},
        "models": {"a": {"baseline": "a.driftline"}},
        "limits": {"batch_bytes": 4 * MEGABYTE},
    }
    return deploy(tmp_path, broker, redis_server.address, sections)


def send(deployment: Deployment, codec: str, values: list[bytes]) -> None:
    """Append values to partition 0 of the predictions topic, in one batch of a client that shares no code with ours."""
    producer = Producer({
        "bootstrap.servers": deployment.broker.server.address, "compression.type": codec, "linger.ms": 500,
        "message.max.bytes": 900_000_000, "queue.buffering.max.kbytes": 2_000_000,
    })  # fmt: skip
    failed = list[Any]()
    for value in values:
        producer.produce(
            deployment.config.topics.predictions, value, partition=0,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )  # fmt: skip
    assert producer.flush(60) == 0
    assert failed == []


def dead_letters(deployment: Deployment) -> list[dict[str, str]]:
    records = deployment.read(f"{deployment.config.topics.predictions}.dlq")
    return [{name: value.decode() for name, value in record.headers} for record in records]


def replayed(deployment: Deployment) -> ReplayResult:
    """What a replay of the topic says."""
    config, topic = deployment.config, deployment.config.topics.predictions
    with open_history(config.kafka, topic, None, None, config.limits.batch_bytes) as history:
        return replay(config, list(deployment.baselines.values()), history.logs(), lambda _: None)


def most_memory(worker: WorkerProcess) -> int:
    """The largest resident memory that the process has had, in megabytes."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def accepted(worker: WorkerProcess) -> int:
    try:
        page = worker.get("/metrics").body
    except OSError:  # while it starts, another server hands over to this one
        return 0
    found = re.search(r"^driftline_accepted_events_total ([0-9.]+)", page, re.MULTILINE)
    return int(float(found[1])) if found else 0


def batches(log: Path) -> Iterator[tuple[int, int, int]]:
    """The place in a segment, the first offset and the length of each batch."""
    data, at = log.read_bytes(), 0
    while at + 61 <= len(data) and (length := struct.unpack_from(">i", data, at + 8)[0]) > 0:
        yield at, struct.unpack_from(">q", data, at)[0], 12 + length
        at += 12 + length


def damage(log: Path, offset: int, change: Callable[[bytearray], None]) -> None:
    """Change the batch that begins at an offset, behind Kafka's back."""
    place, length = next((at, length) for at, start, length in batches(log) if start == offset)
    with log.open("r+b") as file:
        file.seek(place)
        content = bytearray(file.read(length))
        change(content)
        file.seek(place)
        file.write(content)


def flip_last(content: bytearray) -> None:
    content[-1] ^= 0xFF


@pytest.mark.slow
def test_a_worker_and_a_replay_pass_over_bombs_and_a_damaged_batch(deployment: Deployment, broker: Broker) -> None:
    log, sent, expected = messages("a", EVENTS * 6), 0, dict[int, str]()
    for codec, megabytes in BOMBS.items():
        send(deployment, codec, log[sent : sent + EVENTS])
        sent += EVENTS
        expected[sent + len(expected)] = (
            f"batch: its {codec} data take more than {4 * MEGABYTE} bytes unpacked; raise limits.batch_bytes"
        )
        send(deployment, codec, [b"0" * (megabytes * MEGABYTE)])
    (segment,) = broker.server.log.parent.rglob(f"{deployment.config.topics.predictions}-0/*.log")
    send(deployment, "none", log[sent : sent + EVENTS])
    last = max(start for _, start, _ in batches(segment))
    damaged = range(last, sent + len(expected) + EVENTS)
    expected[last] = "batch: its checksum is wrong, twice: the log is damaged"
    send(deployment, "none", log[sent + EVENTS :])
    damage(segment, last, flip_last)
    events, end = len(log) - len(damaged), len(log) + len(BOMBS)
    with deployment.worker() as worker:
        worker.wait_for(lambda: accepted(worker) == events)
        worker.wait_for(lambda: deployment.sealed()[0] > damaged.stop)
        assert most_memory(worker) < 300
        page = worker.get("/metrics").body
        assert f'driftline_limited_total{{limit="batch_bytes"}} {len(BOMBS)}.0' in page
        passed_over = f'{{partition="0",topic="{deployment.config.topics.predictions}"}} {len(BOMBS) + len(damaged)}.0'
        assert f"driftline_records_passed_over_total{passed_over}" in page
        assert worker.stop() == 0
    letters = dead_letters(deployment)
    assert {int(each["offset"]): each["reason"] for each in letters} == expected
    assert [(int(each["offset"]), int(each["end"])) for each in letters if "checksum" in each["reason"]] == [
        (damaged.start, damaged.stop)
    ]
    result = replayed(deployment)
    assert (result.events, result.rejected.total) == (events, len(expected))
    assert end == damaged.stop + EVENTS


def test_a_dead_letter_fits_a_topic_that_takes_little(deployment: Deployment, broker: Broker) -> None:
    topic = f"{deployment.config.topics.predictions}.dlq"
    with open_admin(broker.kafka) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "3000"})])
    send(deployment, "none", [b"?" * 500_000, b'{"id": ["' + b"x" * 500_000, *messages("a", 100)])
    with deployment.worker() as worker:
        worker.wait_for(lambda: accepted(worker) == 100)
        worker.wait_for(lambda: len(dead_letters(deployment)) == 2)
        assert worker.stop() == 0
    records = deployment.read(topic)
    assert all(0 < len(each.value) < 3000 for each in records)
    assert [each["cut"] for each in dead_letters(deployment)] == ["from 500000 bytes", "from 500009 bytes"]
