"""`driftline inspect` on a topic: which records it reads, and that its configuration replays the topic."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import fastavro
import pytest

from driftline.stream.sources.topic_history import Newest, open_history
from tests.harness.brokers import Broker
from tests.harness.topic_tools import START_MS, Sent, Site, driftline

SCHEMA = {
    "type": "record",
    "name": "Scored",
    "fields": [{"name": "happened", "type": "long"}, {"name": "amount", "type": "double"}],
}


def newest(site: Site, records: int) -> dict[int, list[int]]:
    with open_history(site.config.kafka, site.predictions, Newest(records), None) as history:
        return {
            partition: [int(offset) for batch in log for offset in batch.offsets]
            for partition, log in history.logs().items()
        }


def test_the_newest_records_are_shared_and_a_short_partition_leaves_its_share_to_others(
    broker: Broker, tmp_path: Path
) -> None:
    site = Site.on(broker, tmp_path, partitions=3)
    site.send(site.predictions, [Sent(0, b"x")] * 100 + [Sent(1, b"x")] * 4)

    assert newest(site, 30) == {0: list(range(74, 100)), 1: [0, 1, 2, 3]}
    assert newest(site, 1000) == {0: list(range(100)), 1: [0, 1, 2, 3]}
    assert sum(map(len, newest(site, 1).values())) == 1


def test_what_is_written_for_a_topic_replays_it(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, chance = Site.on(broker, tmp_path), random.Random(3)
    events = [{"when": START_MS + 1000 * i, "amount": chance.gauss(5 * (i >= 9000), 1)} for i in range(12_000)]
    site.send(site.predictions, [Sent(0, json.dumps(event).encode()) for event in events])
    topic, written = f"kafka://{site.predictions}", tmp_path / "written.yaml"

    assert driftline("inspect", topic, "-c", site.path, "-o", written, "--events", 2000) == 0
    assert "newest 2,000 records" in capsys.readouterr().out
    assert driftline("replay", topic, "-c", written) == 1
    assert "features.amount" in capsys.readouterr().out


def test_frames_are_inspected_with_the_schemas_of_a_folder(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, chance = Site.on(broker, tmp_path), random.Random(3)
    rows = [{"happened": START_MS + 1000 * i, "amount": chance.gauss(0, 1)} for i in range(300)]
    site.send(site.predictions, [Sent(0, frame(17, row)) for row in rows])
    topic = f"kafka://{site.predictions}"

    assert driftline("inspect", topic, "-c", site.path) == 2
    assert "schema 17" in " ".join(capsys.readouterr().out.split())

    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "17.avsc").write_text(json.dumps(SCHEMA))
    given = json.loads(site.path.read_text()) | {"schemas": {"folder": "schemas"}}
    site.path.write_text(json.dumps(given))

    assert driftline("inspect", topic, "-c", site.path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schemas"] == [17]
    assert facts["mapping"]["ts"]["value"] == "happened"
    assert facts["signals"] == ["features.amount"]


def frame(schema: int, row: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, SCHEMA, row)
    return b"\0" + schema.to_bytes(4, "big") + stream.getvalue()
