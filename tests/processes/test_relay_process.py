"""The relay as a process, on Kafka: killed, and with a receiver down. And what it sends to a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from driftline.stream.demo.servers import Server
from driftline.stream.paging.grouping import GroupingRules
from tests.harness.alertmanagers import amtool, firing, notified
from tests.harness.relay_bench import Bench, run_scenario
from tests.harness.relay_site import Site, site
from tests.harness.services import ROUTING_KEY, Service, answer, cloud_event

__all__ = ["site"]


@pytest.mark.slow
def test_a_relay_killed_between_send_and_commit_and_with_a_receiver_down_loses_and_doubles_nothing(site: Site) -> None:
    pagerduty, webhook = site.services["pagerduty"], site.services["webhook"]
    site.publish(cloud_event(1), b"no alert", cloud_event(2, mode="replay"), cloud_event(1, key="churn"))
    with site.relay("pagerduty", "webhook") as relay:
        # PagerDuty has the request when the relay dies: it has neither written to Redis nor committed.
        pagerduty.script.append(answer(202, b"", before=relay.process.kill))
        relay.wait_for(lambda: relay.process.poll() is not None, alive=False)
    assert len(pagerduty.requests) == 1

    with site.relay("pagerduty", "webhook") as relay:
        relay.wait_for(lambda: {"fraud/a1", "churn/a1"} <= pagerduty.pages.keys())
        relay.wait_for(lambda: len({each.json["id"] for each in webhook.accepted}) == 1 and len(webhook.accepted) >= 2)

        # PagerDuty is down; the webhook is not delayed.
        pagerduty.down = True
        site.publish(cloud_event(2, "updated"), cloud_event(3, "resolved"), cloud_event(4, incident="b2"))
        relay.wait_for(lambda: webhook.accepted[-1].json["data"]["incident_id"] == "b2")
        relay.wait_for(lambda: pagerduty.refused_connections > 3)
        assert len(pagerduty.open) == 2
        pagerduty.down = False
        relay.wait_for(lambda: pagerduty.open == {"churn/a1", "fraud/b2"})
        sent = len(pagerduty.requests), len(webhook.requests)

        # A late duplicate of a resolved incident pages nobody, and the last offset is committed.
        site.publish(cloud_event(1))
        relay.wait_for(lambda: relay.logs().count("it is stale, seq 3 is settled") == 2)
        relay.wait_for(lambda: site.committed("pagerduty") == site.committed("webhook") == 8)
        assert relay.stop() == 0
    assert pagerduty.pages == {"fraud/a1": 1, "churn/a1": 1, "fraud/b2": 1}
    assert (len(pagerduty.requests), len(webhook.requests)) == sent
    assert {dead_letter["offset"] for dead_letter in site.dead_letters()} == {"1"}
    assert ROUTING_KEY not in relay.logs()


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_heartbeat_is_sent_only_while_alerts_would_be_delivered(site: Site) -> None:
    heartbeat, webhook = site.services["heartbeat"], site.services["webhook"]
    with site.relay("webhook", "stdout") as relay:
        relay.wait_for(lambda: len(heartbeat.accepted) >= 2)
        webhook.script.append(answer(410))
        site.publish(cloud_event(1))
        relay.wait_for(lambda: "no heartbeat: webhook refused the last alert" in relay.logs())
        count = len(heartbeat.accepted)
        relay.wait_for(lambda: relay.logs().count("no heartbeat") >= 3)
        assert len(heartbeat.accepted) <= count + 1
        site.publish(cloud_event(2, "updated", commands=["driftline explain a1 -c driftline.yaml"]))
        relay.wait_for(lambda: len(heartbeat.accepted) > count + 1)
        assert relay.stop() == 0
    assert [dead_letter["reason"] for dead_letter in site.dead_letters()] == ["webhook: 127.0.0.1 answers 410"]
    lines = [json.loads(line) for line in relay.logs().splitlines() if line.startswith("{")]
    assert [line["data"]["seq"] for line in lines][-1] == 2
    assert lines[-1]["data"]["commands"] == [f"driftline explain a1 -c {site.deployment.path}"]


# --- a real Alertmanager


def test_a_real_alertmanager_groups_updates_and_resolves_the_alerts_of_killed_relays(
    redis_server: Server, alertmanager: Server, receiver: Service
) -> None:
    def has(*expected: tuple[str, str, str]) -> Callable[[], bool]:
        return lambda: set(expected) <= set(notified(receiver))

    async def scenario(bench: Bench) -> None:
        async def until(seen: Callable[[], bool]) -> None:
            """Refresh, as a relay does between two alerts."""
            for _ in range(100):
                await bench.dispatcher().refresh(healthy=True)
                if await asyncio.to_thread(seen):
                    return
                await asyncio.sleep(0.2)
            raise AssertionError(f"not seen; firing: {firing(alertmanager)}; notified: {notified(receiver)}")

        first = cloud_event(1), cloud_event(2, incident="b2"), cloud_event(1, key="churn")
        await bench.deliver(*first)
        await bench.deliver(*first)  # killed before the commit
        await until(lambda: len(firing(alertmanager)) == len(notified(receiver)) == 3)
        (watchdog,) = amtool(alertmanager, "alert", "query", "alertname=DriftlineWatchdog")
        assert watchdog["labels"]["severity"] == "none"

        # Alertmanager keeps alerts in memory alone; only a relay can send them again.
        alertmanager.stop()
        alertmanager.start()
        assert firing(alertmanager) == {}
        await bench.deliver(cloud_event(3, "updated", title="worse"), cloud_event(2, "resolved", key="churn"))
        same = "fraud: amount ×100 since 14:05"
        await until(lambda: firing(alertmanager) == {"fraud/a1/warning": "worse", "fraud/b2/warning": same})
        await until(has(("churn/a1", "warning", "resolved")))

        await bench.deliver(cloud_event(4, "resolved", incident="b2"), cloud_event(5, "updated", severity="critical"))
        await until(has(("fraud/b2", "warning", "resolved"), ("fraud/a1", "critical", "firing")))
        assert list(firing(alertmanager)) == ["fraud/a1/critical"]
        await bench.deliver(cloud_event(6, "resolved"), cloud_event(1), cloud_event(5, "updated"))
        await until(has(("fraud/a1", "critical", "resolved")))
        await bench.deliver(cloud_event(1), cloud_event(5, "updated"))
        await bench.dispatcher().refresh(healthy=True)
        assert firing(alertmanager) == {}

    run_scenario(redis_server, "alertmanager", [f"http://{alertmanager.address}"], scenario)
    # Each fired once and was resolved once: a duplicate would have made it fire again.
    assert sorted(notified(receiver)) == [
        ("churn/a1", "warning", "firing"), ("churn/a1", "warning", "resolved"),
        ("fraud/a1", "critical", "firing"), ("fraud/a1", "critical", "resolved"),
        ("fraud/a1", "warning", "firing"), ("fraud/a1", "warning", "resolved"),
        ("fraud/b2", "warning", "firing"), ("fraud/b2", "warning", "resolved"),
    ]  # fmt: skip


def test_a_real_alertmanager_accepts_alerts_with_broken_links(redis_server: Server, alertmanager: Server) -> None:
    followed = ["https://wiki/a?b=c#d", "https://wiki:80/%20", "http://[::1]/ä", "https://wiki"]
    dropped = [
        "https://wiki/100%",
        "https://wiki:port/",
        "https://[::1/",
        "https:///",
        "http://wiki/\x7f",
        "ftp://wiki",
    ]

    async def scenario(bench: Bench) -> None:
        alerts = [cloud_event(1, key=f"m{n}", links=[link]) for n, link in enumerate([*followed, *dropped])]
        await bench.deliver(*alerts)
        assert bench.dead_letters == []

    run_scenario(redis_server, "alertmanager", [f"http://{alertmanager.address}"], scenario)
    shown = amtool(alertmanager, "alert", "query", "alertname=ModelDrift")
    assert len(shown) == len(followed) + len(dropped)
    assert {each["generatorURL"] for each in shown if each.get("generatorURL")} == set(followed)


def test_a_real_alertmanager_gets_an_outage_as_one_alert_that_keeps_its_labels(
    redis_server: Server, alertmanager: Server, receiver: Service
) -> None:
    many = [f"m{i:02}" for i in range(50)]

    async def scenario(bench: Bench) -> None:
        bench.rules = GroupingRules(outage_models=5, outage_window=600)
        await bench.deliver(*(cloud_event(1, key=model) for model in many[:40]))
        await bench.deliver(*(cloud_event(1, key=model) for model in many))
        (summary,) = firing(alertmanager).values()
        assert summary.startswith("50 models drift at once")
        await bench.deliver(*(cloud_event(2, "resolved", key=model) for model in many))
        for _ in range(100):
            if len(notified(receiver)) == 2:
                break
            await bench.dispatcher().refresh(healthy=True)
            await asyncio.sleep(0.2)

    run_scenario(redis_server, "alertmanager", [f"http://{alertmanager.address}"], scenario)
    assert firing(alertmanager) == {}
    assert [status for *_, status in notified(receiver)] == ["firing", "resolved"]
