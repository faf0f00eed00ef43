"""The relay as a process with groups and silences: killed, replaced by another one; its metrics and its health."""

from __future__ import annotations

import json
import re
import time

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from driftline.stream.cli.main import app
from driftline.stream.kafka.admin import ensure_topics, open_admin
from driftline.stream.schemas.topics import Topic
from tests.harness.relay_site import Site, site
from tests.harness.services import SUCCESS, answer, cloud_event, stamp

__all__ = ["site"]

MANY = [f"m{i:02}" for i in range(50)]
pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)


def driftline(site: Site, *arguments: str) -> str:
    shown = CliRunner().invoke(app, [*arguments, "-c", str(site.deployment.path)], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    return shown.output


def figures(text: str) -> dict[str, float]:
    """The metrics of the target pagerduty, and those of the relay."""
    found = re.findall(r'^driftline_relay_(\w+)(?:\{target="pagerduty"\})? ([\d.e+]+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.mark.slow
def test_a_killed_relay_pages_once_for_an_outage_and_keeps_silenced_incidents(site: Site) -> None:
    pagerduty = site.services["pagerduty"]
    name = driftline(site, "silence", "add", "--match", "model=risk", "--for", "1h", "--comment", "x", "--by", "ann")
    earlier = stamp(time.time() - 1200)  # too long before the outage to be part of it
    site.publish(*(cloud_event(1, key=model) for model in MANY), cloud_event(1, key="risk", emitted_at=earlier))
    with site.relay("pagerduty") as relay:
        pagerduty.script.append(answer(202, b"", before=relay.process.kill))
        relay.wait_for(lambda: relay.process.poll() is not None, alive=False)
    with site.relay("pagerduty", name="second") as relay:
        relay.wait_for(lambda: len(pagerduty.pages) == 1)
        relay.wait_for(lambda: site.committed("pagerduty") == 51)
        values = figures(relay.get("/metrics").body)
        assert values.items() >= {"delivered_total": 1, "silenced": 1, "grouped": 50, "waiting": 0, "well": 1}.items()
        assert values["heartbeat_timestamp_seconds"] > 0
        health = relay.get("/health")
        assert (health.status, json.loads(health.body)["status"]) == (200, "ok")
        relay.kill()
    assert len(pagerduty.requests) == 2, "sent again, under the same page"
    assert list(pagerduty.pages.values()) == [1]
    driftline(site, "silence", "end", name.split()[1].rstrip(":"))
    with site.relay("pagerduty", name="third") as relay:
        relay.wait_for(lambda: "risk/a1" in pagerduty.open)
        site.publish(*(cloud_event(2, "resolved", key=model) for model in (*MANY, "risk")))
        relay.wait_for(lambda: not pagerduty.open)
        pagerduty.down = True
        site.publish(cloud_event(3, incident="b2"), b"no alert")
        relay.wait_for(lambda: figures(relay.get("/metrics").body)["retried_total"] > 2)
        values = figures(relay.get("/metrics").body)
        assert (values["waiting"], values["dead_letters_total"]) == (1, 1)
        assert values["oldest_waiting_seconds"] > 0
        pagerduty.down = False
        relay.wait_for(lambda: len(pagerduty.open) == 1)
        assert relay.stop() == 0
    assert list(pagerduty.pages.values()) == [1, 1, 1]


def test_a_standby_relay_takes_over_and_sends_the_resolution(site: Site) -> None:
    pagerduty = site.services["pagerduty"]
    site.publish(cloud_event(1))
    with site.relay("pagerduty", name="first") as first, site.relay("pagerduty", name="second") as second:
        for relay in (first, second):
            relay.wait_for(lambda relay=relay: "partitions of the alerts topic" in relay.logs())
        first.wait_for(lambda: pagerduty.open == {"fraud/a1"})
        site.publish(cloud_event(1, key="churn"))
        first.wait_for(lambda: len(pagerduty.open) == 2)
        assert first.stop() == 0
        site.publish(cloud_event(2, "resolved"), cloud_event(2, "resolved", key="churn"))
        second.wait_for(lambda: not pagerduty.open)
        assert second.stop() == 0
    assert pagerduty.pages == {"fraud/a1": 1, "churn/a1": 1}


def test_one_relay_reads_all_partitions_and_the_other_stands_by(site: Site) -> None:
    pagerduty, deployment = site.services["pagerduty"], site.deployment
    topic = f"{deployment.config.topics.alerts}.three"  # as a broker makes it that creates topics by itself
    deployment.path.write_text(deployment.path.read_text().replace(deployment.config.topics.alerts, topic))
    with open_admin(deployment.broker.kafka) as admin:
        ensure_topics(admin, [Topic(topic, 3, 1, {}), Topic(f"{topic}.dlq", 1, 1, {})])
    with site.relay("pagerduty", name="first") as first, site.relay("pagerduty", name="second") as second:
        for relay in (first, second):
            relay.wait_for(lambda relay=relay: "partitions of the alerts topic" in relay.logs())
        first.wait_for(lambda: any("reads 3 partitions" in relay.logs() for relay in (first, second)))
        producer = KafkaProducer(bootstrap_servers=deployment.config.kafka.bootstrap)
        for partition, model in enumerate(MANY[:3]):
            producer.send(topic, cloud_event(1, key=model), partition=partition).get(30)
        producer.close()
        first.wait_for(lambda: len(pagerduty.open) == 3)
        assert first.stop() == second.stop() == 0
    assert list(pagerduty.pages.values()) == [1, 1, 1]


def test_a_slow_receiver_gets_the_newest_step(site: Site) -> None:
    pagerduty = site.services["pagerduty"]
    pagerduty.otherwise = SUCCESS["pagerduty"]._replace(seconds=1.5)
    site.publish(*(cloud_event(1, key=model) for model in MANY[:4]))
    with site.relay("pagerduty") as relay:
        relay.wait_for(lambda: len(pagerduty.requests) == 1)
        site.publish(cloud_event(2, "updated", key=MANY[3], title="worse"))
        relay.wait_for(lambda: site.committed("pagerduty") == 5)
        assert relay.stop() == 0
    assert pagerduty.requests[-1].json["payload"]["summary"] == "worse"
    assert list(pagerduty.pages.values()) == [1, 1, 1, 1]
    assert len(pagerduty.requests) == 4


def test_health_says_why_a_relay_is_unhealthy(site: Site) -> None:
    pagerduty = site.services["pagerduty"]
    pagerduty.script.append(answer(403))
    site.publish(cloud_event(1))
    with site.relay("pagerduty") as relay:
        relay.wait_for(lambda: relay.get("/health").status == 503 and "refused" in relay.get("/health").body)
        health = json.loads(relay.get("/health").body)
        assert health["status"] == "ailing"
        assert health["reason"].startswith("pagerduty refused the last alert: 127.0.0.1 answers 403")
        assert figures(relay.get("/metrics").body)["refused_total"] == 1
        assert relay.stop() == 0


def test_every_page_links_to_its_incident_where_the_pages_are_served(site: Site) -> None:
    config = json.loads(site.deployment.path.read_text())
    config["serve"] = {"public_url": "https://drift.example.com"}
    site.deployment.path.write_text(json.dumps(config))
    site.publish(cloud_event(1, incident="a1b2c3d4"))
    with site.relay("pagerduty") as relay:
        relay.wait_for(lambda: site.services["pagerduty"].open == {"fraud/a1b2c3d4"})
        assert relay.stop() == 0
    (request,) = site.services["pagerduty"].requests
    assert json.loads(request.body)["links"] == [
        {"href": "https://drift.example.com/incidents/a1b2c3d4", "text": "Driftline"},
        {"href": "https://wiki.example/fraud", "text": "Runbook"},
    ]
