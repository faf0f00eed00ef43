"""The clients of docs/SENDING.md send events, each run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from driftline.stream.events.parse import parse_event
from load_tests.harness.deployment import TIMEOUT, deploy
from tests.harness.brokers import Broker

PAGE = (Path(__file__).parents[2] / "docs/SENDING.md").read_text("utf-8")
CLIENTS = dict(re.findall(r"^## ([^\n]+)\n[^#]*?```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def test_there_are_three() -> None:
    assert list(CLIENTS) == ["confluent-kafka", "aiokafka", "FastAPI, Starlette, any ASGI server"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_what_a_client_sends_is_read_as_an_event(broker: Broker, tmp_path: Path, client: str) -> None:
    here = deploy(tmp_path, broker, "127.0.0.1:1", {})
    topic = here.config.topics.predictions
    script = tmp_path / "client.py"
    script.write_text(CLIENTS[client].replace('"predictions"', f'"{topic}"'), "utf-8")
    environment = {**os.environ, "KAFKA_BOOTSTRAP": broker.server.address}

    subprocess.run([sys.executable, script], env=environment, check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL)

    (record,) = here.read(topic)
    event = parse_event(record.value)
    assert (event.model, event.signals["features.amount"], event.signals["prediction"]) == ("fraud", 12.5, "pass")
