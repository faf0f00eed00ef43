"""A real Prometheus Alertmanager, queried with amtool, and the receiver that it notifies."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from driftline.stream.demo.servers import Server, free_port
from tests.harness.services import Service, fake

_CONFIG = """
route: {{receiver: page, group_by: [model], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: page
    webhook_configs: [{{url: "{url}", send_resolved: true}}]
"""


@pytest.fixture
def receiver() -> Iterator[Service]:
    """The service that Alertmanager notifies."""
    with fake("heartbeat") as service:
        yield service


@pytest.fixture
def alertmanager(tmp_path: Path, receiver: Service) -> Iterator[Server]:
    binary = shutil.which("prometheus-alertmanager")
    if binary is None:
        pytest.skip("prometheus-alertmanager isn't on the PATH: apt-get install prometheus-alertmanager")
    settings, port = tmp_path / "alertmanager.yml", free_port()
    settings.write_text(_CONFIG.format(url=receiver.url))
    command = [
        binary, f"--config.file={settings}", f"--storage.path={tmp_path / 'storage'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with Server("alertmanager", command, port, tmp_path / "alertmanager.log", _is_ready) as server:
        yield server


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def amtool(server: Server, *arguments: str) -> Any:
    """The JSON that an amtool command prints."""
    command = ["amtool", f"--alertmanager.url=http://{server.address}", "-o", "json", *arguments]
    return json.loads(run(command, capture_output=True, check=True).stdout)


def firing(server: Server) -> dict[str, str]:
    """The summaries of firing alerts, by incident and severity."""
    found = [each for each in amtool(server, "alert", "query") if each["labels"]["alertname"] == "ModelDrift"]
    labels = [(each["labels"]["incident"], each["labels"]["severity"]) for each in found]
    assert len(set(labels)) == len(labels)
    return {"/".join(label): each["annotations"]["summary"] for label, each in zip(labels, found, strict=True)}


def notified(receiver: Service) -> list[tuple[str, str, str]]:
    """(incident, severity, status) of each notification with another status than the one before."""
    statuses: dict[tuple[str, str], list[str]] = {}
    for request in receiver.requests:
        for each in request.json["alerts"]:
            if each["labels"]["alertname"] == "ModelDrift":
                statuses.setdefault((each["labels"]["incident"], each["labels"]["severity"]), []).append(each["status"])
    return [(*which, status) for which, each in statuses.items() for status, _ in groupby(each)]
