"""From broken events to the pager: the demo's faults, a worker, a relay that is killed, a real Alertmanager."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from driftline.stream.demo.run import TrafficSender
from driftline.stream.demo.scenario import RATE, Scenario
from driftline.stream.demo.servers import Server
from driftline.stream.demo.site import open_site
from driftline.stream.kafka.produce import Sender, open_producer
from load_tests.harness.deployment import WorkerProcess
from tests.harness.alertmanagers import firing, notified
from tests.harness.services import Service

# s of healthy events after the scenario, so that a busy machine can catch up.
_MORE = 30
_RELAY = """
relay:
  http: 127.0.0.1:0
  grouping: {{group_wait: 0s}} # a minute stands for a day
  alertmanager: {{urls: ["http://{alertmanager}"], resend_seconds: 1}}
"""


def relay(config: Path, name: str) -> WorkerProcess:
    command = [sys.executable, "-m", "driftline", "relay", "--to", "alertmanager", "-c", str(config)]
    return WorkerProcess(command, config.parent / f"{name}.log")


def play(traffic: TrafficSender, until: Callable[[], bool]) -> None:
    """Send the scenario at its rate, and healthy events after its end, until `until()` is true."""
    start = time.monotonic() - traffic.sent / RATE
    while traffic.sent < traffic.scenario.events + _MORE * RATE and not until():
        time.sleep(max(0.0, start + traffic.sent / RATE - time.monotonic()))
        traffic.send_block()


@pytest.mark.demo
def test_faults_are_pages_that_resolve_though_the_relay_is_killed(alertmanager: Server, receiver: Service) -> None:
    def incidents(status: str) -> set[str]:
        return {incident for incident, _, each in notified(receiver) if each == status}

    with open_site(Scenario(14), lambda _: None) as site:
        config = site.config_path
        config.write_text(config.read_text() + _RELAY.format(alertmanager=alertmanager.address))
        topic = site.config.topics.predictions
        with open_producer(site.config.kafka, topic) as producer:
            senders = Sender(producer, topic), Sender(producer, site.config.topics.labels)
            traffic = TrafficSender(Scenario(14), *senders)
            with relay(config, "first") as first:
                play(traffic, lambda: len(incidents("firing")) == 2)
                first.kill()
            with relay(config, "second") as second:
                fixed = len(traffic.scenario.faults) - 2  # before the last one begins; concept drift lasts
                play(traffic, lambda: len(incidents("resolved")) == fixed and len(incidents("firing")) > fixed)
                assert len(incidents("resolved")) == fixed, notified(receiver)
                (lasting,) = incidents("firing") - incidents("resolved")
                assert incidents("resolved") < incidents("firing")
                # Nothing fires twice: an incident's severity may rise once, and then the milder entry ends.
                assert [each.rpartition("/")[0] for each in firing(alertmanager)] == [lasting]
                assert second.stop() == 0
    entries = notified(receiver)
    assert len(entries) == len(set(entries))
