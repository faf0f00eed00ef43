"""The relay as a process, on Kafka: killed, and with a pager down. And what it tells a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from stream.embedded import Server, free_port
from tests.brokers import Broker
from tests.deployment import Deployment, WorkerProcess, deploy
from tests.relay_bench import Bench, play
from tests.services import ROUTING_KEY, Service, answer, cloud_event, fake


@dataclass
class Site:
    """A relay's surroundings: topics, ledger, services."""

    deployment: Deployment
    services: dict[str, Service]

    def relay(self, *targets: str, name: str = "relay") -> WorkerProcess:
        arguments = [part for target in targets for part in ("--to", target)]
        command = [sys.executable, "-m", "stream.cli", "relay", *arguments, "-c", str(self.deployment.path)]
        environment = {
            "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
            "WEBHOOK_URL": self.services["webhook"].url,
            "HEARTBEAT_URL": self.services["heartbeat"].url,
        }
        return self.deployment.worker(name, command, **environment)

    def publish(self, *values: bytes) -> None:
        kafka, topic = self.deployment.broker.kafka, self.deployment.config.topics.alerts
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        for value in values:
            producer.send(topic, value, key=b"fraud").get(30)
        producer.close()

    def committed(self, target: str) -> int | None:
        """The offset at which the group of a target goes on."""
        config = self.deployment.config
        group, tp = f"{config.worker.group}-relay-{target}", TopicPartition(config.topics.alerts, 0)
        consumer = KafkaConsumer(bootstrap_servers=config.kafka.bootstrap, group_id=group, enable_auto_commit=False)
        offset: int | None = consumer.committed(tp)
        consumer.close(autocommit=False)
        return offset

    def dead_letters(self) -> list[dict[str, str]]:
        records = self.deployment.read(f"{self.deployment.config.topics.alerts}.dlq")
        return [{name: value.decode() for name, value in record.headers} for record in records]


@pytest.fixture
def site(broker: Broker, redis_server: Server, tmp_path: Path) -> Iterator[Site]:
    with fake("pagerduty") as pagerduty, fake("webhook") as webhook, fake("heartbeat") as heartbeat:
        services = {"pagerduty": pagerduty, "webhook": webhook, "heartbeat": heartbeat}
        relay = {
            "timeout_seconds": 2,
            "longest_pause_seconds": 0.2,
            "heartbeat_url_env": "HEARTBEAT_URL",
            "heartbeat_seconds": 1,
            "pagerduty": {"url": pagerduty.url},
        }
        yield Site(deploy(tmp_path, broker, redis_server.address, {"relay": relay}), services)
        assert pagerduty.violations + webhook.violations == []


def test_killed_between_send_and_commit_and_with_a_pager_down_it_loses_and_doubles_nothing(site: Site) -> None:
    pagerduty, webhook = site.services["pagerduty"], site.services["webhook"]
    site.publish(cloud_event(1), b"no alert", cloud_event(2, mode="replay"), cloud_event(1, key="churn"))
    with site.relay("pagerduty", "webhook") as relay:
        # PagerDuty has the request when the relay dies: it has neither written its ledger nor committed.
        pagerduty.script.append(answer(202, b"", before=relay.process.kill))
        relay.wait_for(lambda: relay.process.poll() is not None, alive=False)
    assert len(pagerduty.requests) == 1

    with site.relay("pagerduty", "webhook") as relay:
        relay.wait_for(lambda: {"fraud/a1", "churn/a1"} <= pagerduty.pages.keys())
        relay.wait_for(lambda: len({each.json["id"] for each in webhook.taken}) == 1 and len(webhook.taken) >= 2)

        # PagerDuty is down; the webhook is not held up.
        pagerduty.down = True
        site.publish(cloud_event(2, "updated"), cloud_event(3, "resolved"), cloud_event(4, incident="b2"))
        relay.wait_for(lambda: webhook.taken[-1].json["data"]["incident_id"] == "b2")
        relay.wait_for(lambda: pagerduty.refused_connections > 3)
        assert len(pagerduty.open) == 2
        pagerduty.down = False
        relay.wait_for(lambda: pagerduty.open == {"churn/a1", "fraud/b2"})
        sent = len(pagerduty.requests), len(webhook.requests)

        # A late duplicate of what is resolved finds nobody awake, and the end is committed.
        site.publish(cloud_event(1))
        relay.wait_for(lambda: relay.words().count("it is stale, seq 4 has been told") == 2)
        relay.wait_for(lambda: site.committed("pagerduty") == site.committed("webhook") == 8)
        assert relay.stop() == 0
    assert pagerduty.pages == {"fraud/a1": 1, "churn/a1": 1, "fraud/b2": 1}
    assert (len(pagerduty.requests), len(webhook.requests)) == sent
    assert {letter["offset"] for letter in site.dead_letters()} == {"1"}
    assert ROUTING_KEY not in relay.words()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_the_heartbeat_beats_only_while_alerts_would_be_delivered(site: Site) -> None:
    heartbeat, webhook = site.services["heartbeat"], site.services["webhook"]
    with site.relay("webhook", "stdout") as relay:
        relay.wait_for(lambda: len(heartbeat.taken) >= 2)
        webhook.script.append(answer(410))
        site.publish(cloud_event(1))
        relay.wait_for(lambda: "no heartbeat: webhook refused the last alert" in relay.words())
        beats = len(heartbeat.taken)
        relay.wait_for(lambda: relay.words().count("no heartbeat") >= 3)
        assert len(heartbeat.taken) <= beats + 1
        site.publish(cloud_event(2, "updated"))
        relay.wait_for(lambda: len(heartbeat.taken) > beats + 1)
        assert relay.stop() == 0
    assert [letter["reason"] for letter in site.dead_letters()] == ["webhook: 127.0.0.1 answers 410"]
    lines = [json.loads(line) for line in relay.words().splitlines() if line.startswith("{")]
    assert [line["data"]["seq"] for line in lines][-1] == 2


# --- a real Alertmanager

_CONFIG = """
route: {{receiver: page, group_by: [model], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: page
    webhook_configs: [{{url: "{url}", send_resolved: true}}]
"""


@pytest.fixture
def receiver() -> Iterator[Service]:
    """Whom Alertmanager notifies."""
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
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as said:
            return bool(said.status == 200)
    except OSError:
        return False


def amtool(server: Server, *arguments: str) -> Any:
    """What amtool sees."""
    command = ["amtool", f"--alertmanager.url=http://{server.address}", "-o", "json", *arguments]
    return json.loads(run(command, capture_output=True, check=True).stdout)


def firing(server: Server) -> dict[str, str]:
    """Summaries by incident and severity."""
    found = [each for each in amtool(server, "alert", "query") if each["labels"]["alertname"] == "ModelDrift"]
    labels = [(each["labels"]["incident"], each["labels"]["severity"]) for each in found]
    assert len(set(labels)) == len(labels)
    return {"/".join(label): each["annotations"]["summary"] for label, each in zip(labels, found, strict=True)}


def notified(receiver: Service) -> list[tuple[str, str, str]]:
    """(incident, severity, status) whenever the status was another than in the notification before."""
    told: dict[tuple[str, str], list[str]] = {}
    for request in receiver.requests:
        for each in request.json["alerts"]:
            if each["labels"]["alertname"] == "ModelDrift":
                told.setdefault((each["labels"]["incident"], each["labels"]["severity"]), []).append(each["status"])
    return [(*which, status) for which, statuses in told.items() for status, _ in groupby(statuses)]


def test_a_real_alertmanager_groups_updates_and_resolves_what_killed_relays_tell_it(
    redis_server: Server, alertmanager: Server, receiver: Service
) -> None:
    def has(*told: tuple[str, str, str]) -> Callable[[], bool]:
        return lambda: set(told) <= set(notified(receiver))

    async def scenario(bench: Bench) -> None:
        async def until(seen: Callable[[], bool]) -> None:
            """As a relay between two alerts: tell again what lasts."""
            for _ in range(100):
                await bench.courier().refresh(well=True)
                if await asyncio.to_thread(seen):
                    return
                await asyncio.sleep(0.2)
            raise AssertionError(f"not seen; firing: {firing(alertmanager)}; notified: {notified(receiver)}")

        first = cloud_event(1), cloud_event(2, incident="b2"), cloud_event(1, key="churn")
        await bench.carry(*first)
        await bench.carry(*first)  # killed before the commit
        await until(lambda: len(firing(alertmanager)) == len(notified(receiver)) == 3)
        (watchdog,) = amtool(alertmanager, "alert", "query", "alertname=DriftlineWatchdog")
        assert watchdog["labels"]["severity"] == "none"

        # Alertmanager keeps alerts in memory alone; only a relay can tell it again.
        alertmanager.stop()
        alertmanager.start()
        assert firing(alertmanager) == {}
        await bench.carry(cloud_event(3, "updated", title="worse"), cloud_event(2, "resolved", key="churn"))
        same = "fraud: amount ×100 since 14:05"
        await until(lambda: firing(alertmanager) == {"fraud/a1/warning": "worse", "fraud/b2/warning": same})
        await until(has(("churn/a1", "warning", "resolved")))

        await bench.carry(cloud_event(4, "resolved", incident="b2"), cloud_event(5, "updated", severity="critical"))
        await until(has(("fraud/b2", "warning", "resolved"), ("fraud/a1", "critical", "firing")))
        assert list(firing(alertmanager)) == ["fraud/a1/critical"]
        await bench.carry(cloud_event(6, "resolved"), cloud_event(1), cloud_event(5, "updated"))
        await until(has(("fraud/a1", "critical", "resolved")))
        await bench.carry(cloud_event(1), cloud_event(5, "updated"))
        await bench.courier().refresh(well=True)
        assert firing(alertmanager) == {}

    play(redis_server, "alertmanager", [f"http://{alertmanager.address}"], scenario)
    # Each fired once and was resolved once: a duplicate would have made it fire again.
    assert sorted(notified(receiver)) == [
        ("churn/a1", "warning", "firing"), ("churn/a1", "warning", "resolved"),
        ("fraud/a1", "critical", "firing"), ("fraud/a1", "critical", "resolved"),
        ("fraud/a1", "warning", "firing"), ("fraud/a1", "warning", "resolved"),
        ("fraud/b2", "warning", "firing"), ("fraud/b2", "warning", "resolved"),
    ]  # fmt: skip
