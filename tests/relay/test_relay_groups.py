"""Groups, silences and minimum severities through a real dispatcher and Redis, with kills where they hurt."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition

from driftline.stream.config.lineage import upstream
from driftline.stream.demo.servers import Server
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.silences import Matcher, Silence
from driftline.stream.relay.consumer import AlertConsumer
from driftline.stream.state.fencing import FencedError
from tests.harness.relay_bench import Bench, on_bench, settle, until
from tests.harness.services import Service, answer, cloud_event, fake, stamp

WAIT = 0.3
RULES = GroupingRules(
    group_wait=WAIT, outage_models=5, outage_window=600, upstream=upstream({"churn": ["fraud"], "ltv": ["churn"]})
)
MANY = [f"m{i:02}" for i in range(50)]


@pytest.fixture
def pagerduty() -> Iterator[Service]:
    with fake("pagerduty") as service:
        yield service


@pytest.fixture
def webhook() -> Iterator[Service]:
    with fake("webhook") as service:
        yield service


class AlwaysHealthy:
    healthy = True


async def silence(bench: Bench, matcher: str, seconds: float = 3600, start: float = 0) -> None:
    now = datetime.now(UTC)
    times = now + timedelta(seconds=start), now + timedelta(seconds=start + seconds)
    await bench.silences.store.add(Silence(matcher, (Matcher.parse(matcher),), *times, "ann", "test"))
    await bench.silences.read()


async def waited(bench: Bench, *values: bytes) -> None:
    """A relay reads these and is killed; after the wait, another one sends everything due."""
    await bench.deliver(*values)
    await asyncio.sleep(WAIT)
    dispatcher = bench.dispatcher()
    await dispatcher.step()
    await settle(dispatcher)


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_fifty_models_are_one_page_for_every_service(redis_server: Server, kind: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.rules = RULES
        await waited(bench, *(cloud_event(1, key=model) for model in MANY))
        assert len(service.requests) == 1
        await bench.deliver(*(cloud_event(2, "resolved", key=model) for model in MANY[:49]))
        assert len(service.requests) == 1
        await bench.deliver(cloud_event(2, "resolved", key=MANY[49]))
        await bench.deliver(*(cloud_event(1, key=model) for model in MANY))  # late duplicates
        await asyncio.sleep(WAIT)
        await bench.deliver(cloud_event(2, "resolved", key=MANY[49]))

    with fake(kind) as service:
        on_bench(redis_server, [service], scenario)
        assert len(service.accepted) == 2
        assert b"50 models drift at once since" in service.accepted[0].body
        if kind == "pagerduty":
            assert list(service.pages.values()) == [1]
            assert service.open == set()
        if kind == "alertmanager":
            (fired,), (ended,) = (each.json for each in service.accepted)
            assert fired["labels"] == ended["labels"]
            assert fired["labels"]["model"] == "several models"
            assert ended["endsAt"] < stamp(datetime.now(UTC).timestamp() + 1)


def test_a_cascade_is_one_page_that_names_its_origin_and_is_open_as_long_as_the_cascade(
    redis_server: Server, pagerduty: Service
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.rules = RULES
        await waited(bench, cloud_event(1, key="churn"), cloud_event(1))
        await waited(bench, cloud_event(1, key="ltv"))
        await bench.deliver(cloud_event(2, "resolved"), cloud_event(2, "resolved", key="churn"))
        assert pagerduty.open == {"fraud/a1"}
        await bench.deliver(cloud_event(2, "resolved", key="ltv"))

    on_bench(redis_server, [pagerduty], scenario)
    summaries = [each.json["payload"]["summary"] for each in pagerduty.accepted]
    assert summaries == [
        "fraud: amount ×100 since 14:05; also downstream: churn",
        "fraud: amount ×100 since 14:05; also downstream: churn, ltv",
        "fraud has recovered; still open downstream: ltv",
        "fraud: amount ×100 since 14:05; also recovered downstream: churn, ltv",
    ]
    assert pagerduty.pages == {"fraud/a1": 1}
    assert pagerduty.open == set()


def test_the_alert_of_a_group_is_a_cloud_event_like_any_other(redis_server: Server, webhook: Service) -> None:
    old = stamp(time.time() - 60)

    async def scenario(bench: Bench) -> None:
        bench.rules = RULES
        await waited(bench, *(cloud_event(1, key=model, extra={"a": 1}) for model in MANY[:5]))
        bench.rules = replace(RULES, outage_window=0)
        await waited(bench, cloud_event(1, extra={"a": 1}, emitted_at=old), cloud_event(1, key="churn", emitted_at=old))

    on_bench(redis_server, [webhook], scenario)
    outage, cascade = (json.loads(each.body) for each in webhook.accepted)
    for event in (outage, cascade):
        assert event.keys() >= {"specversion", "id", "source", "type", "datacontenttype", "data"}
        assert event["id"] == event["data"]["id"]
        assert event["data"].keys() >= set(json.loads(cloud_event(1))["data"])
    assert cascade["data"]["extra"] == {"a": 1}, "an unknown field is passed on"


# --- kills


def test_a_kill_between_delivery_and_log_sends_a_group_again_under_the_same_page(
    redis_server: Server, pagerduty: Service
) -> None:
    pagerduty.script.append(answer(202, seconds=0.5))

    async def scenario(bench: Bench) -> None:
        bench.rules = RULES
        await bench.deliver(*(cloud_event(1, key=model) for model in MANY[:6]))
        await asyncio.sleep(WAIT)
        killed = asyncio.create_task(bench.deliver(cloud_event(1, key=MANY[6])))
        await until(lambda: len(pagerduty.requests) == 1)  # PagerDuty has it, but the relay does not know
        killed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killed
        # When the next relay decides, the first incident has recovered, and others have come.
        await waited(bench, cloud_event(2, "resolved", key=MANY[0]), *(cloud_event(1, key=each) for each in MANY[6:9]))
        assert len(pagerduty.open) == 1
        await bench.deliver(*(cloud_event(2, "resolved", key=each) for each in MANY[1:9]))

    on_bench(redis_server, [pagerduty], scenario)
    assert list(pagerduty.pages.values()) == [1]
    assert pagerduty.open == set()


def test_a_kill_between_delivery_and_log_leaves_an_incident_on_its_own_page(
    redis_server: Server, pagerduty: Service
) -> None:
    pagerduty.script.append(answer(202, seconds=0.5))

    async def scenario(bench: Bench) -> None:
        bench.rules = RULES
        await bench.deliver(cloud_event(1, key=MANY[0]))
        await asyncio.sleep(WAIT)
        dispatcher = bench.dispatcher()
        killed = asyncio.create_task(dispatcher.step())
        await until(lambda: len(pagerduty.requests) == 1)
        killed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killed
        await waited(bench, *(cloud_event(1, key=each) for each in MANY[1:9]))
        await bench.deliver(*(cloud_event(2, "resolved", key=each) for each in MANY[:9]))

    on_bench(redis_server, [pagerduty], scenario)
    assert len(pagerduty.pages) == 2
    assert f"{MANY[0]}/a1" in pagerduty.pages
    assert pagerduty.open == set()


def test_a_relay_that_was_replaced_writes_nothing_any_more(redis_server: Server, webhook: Service) -> None:
    async def scenario(bench: Bench) -> None:
        dead = await bench.deliver(cloud_event(1))
        await bench.deliver(cloud_event(2, "resolved"))
        dead.receive(record := bench.records(cloud_event(1, key="churn"))[0])
        with pytest.raises(FencedError):
            await settle(dead)
        await bench.deliver(record.value)

    on_bench(redis_server, [webhook], scenario)
    assert [each.json["data"]["component"] for each in webhook.accepted] == ["fraud", "fraud", "churn"]


def test_the_request_in_flight_is_finished_before_another_relay_takes_over(
    redis_server: Server, webhook: Service
) -> None:
    webhook.script.append(answer(204, seconds=0.5))

    async def scenario(bench: Bench) -> None:
        dispatcher = bench.dispatcher(cloud_event(1))
        here = AlertConsumer(None, dispatcher, AlwaysHealthy(), longest_pause=0.1)
        await here.on_partitions_assigned([TopicPartition("alerts", 0)])
        sending = asyncio.create_task(here._step())
        await until(lambda: len(webhook.requests) == 1)
        await here.on_partitions_revoked([])
        assert dispatcher.counts["delivered"] == 1
        await bench.deliver(cloud_event(1))
        await sending

    on_bench(redis_server, [webhook], scenario)
    assert len(webhook.requests) == 1


def test_a_relay_that_loses_its_partition_while_it_decides_sends_nothing(
    redis_server: Server, webhook: Service
) -> None:
    async def scenario(bench: Bench) -> None:
        loser = bench.dispatcher(cloud_event(1))
        await loser.step()
        loser.receive(bench.records(cloud_event(1, key="churn"))[0])
        deciding = asyncio.create_task(loser.step())
        await asyncio.sleep(0)  # it asks Redis
        loser.release()
        await bench.deliver()  # another one takes over
        await deciding
        assert loser.idle

    on_bench(redis_server, [webhook], scenario)
    assert [each.json["data"]["component"] for each in webhook.accepted] == ["fraud"]


# --- silences


def test_a_silenced_incident_outlives_relays_and_is_sent_when_the_silence_ends(
    redis_server: Server, pagerduty: Service
) -> None:
    async def scenario(bench: Bench) -> None:
        await silence(bench, "model=~fraud|risk", seconds=1.5)
        dispatcher = await bench.deliver(cloud_event(1), cloud_event(1, key="churn"), cloud_event(1, key="risk"))
        assert dispatcher.idle, "the offsets behind a silenced incident need not wait"
        assert dispatcher.pending() == {"waiting": 0, "silenced": 2, "grouped": 0}
        await bench.deliver(cloud_event(2, "updated", severity="critical"), cloud_event(2, "resolved", key="risk"))
        assert pagerduty.open == {"churn/a1"}
        later = await bench.deliver()
        await later.step()
        assert pagerduty.open == {"churn/a1"}
        await asyncio.sleep(1.5)
        await later.step()
        assert pagerduty.open == {"churn/a1", "fraud/a1"}
        await bench.deliver(cloud_event(3, "resolved"), cloud_event(1, key="risk"))  # a late duplicate

    on_bench(redis_server, [pagerduty], scenario)
    assert pagerduty.pages == {"churn/a1": 1, "fraud/a1": 1}
    assert [each.json["payload"]["severity"] for each in pagerduty.accepted] == ["warning", "critical", "warning"]
    assert pagerduty.open == {"churn/a1"}


def test_an_incident_reported_before_a_silence_is_resolved_within_it(redis_server: Server, pagerduty: Service) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1))
        await silence(bench, "signal=features.amount")
        await bench.deliver(cloud_event(2, "updated"))
        await bench.deliver(cloud_event(3, "resolved"))

    on_bench(redis_server, [pagerduty], scenario)
    assert [each.json["event_action"] for each in pagerduty.accepted] == ["trigger", "resolve"]


def test_a_maintenance_window_begins_at_its_start(redis_server: Server, pagerduty: Service) -> None:
    async def scenario(bench: Bench) -> None:
        await silence(bench, "class=data-drift", start=0.5)
        await bench.deliver(cloud_event(1))
        await asyncio.sleep(0.5)
        await bench.deliver(cloud_event(1, key="churn"))
        assert pagerduty.open == {"fraud/a1"}
        await bench.silences.store.end("class=data-drift")
        await bench.silences.read()
        await (dispatcher := bench.dispatcher()).step()
        assert dispatcher.idle
        assert pagerduty.open == {"fraud/a1", "churn/a1"}

    on_bench(redis_server, [pagerduty], scenario)


def test_an_incident_below_a_receivers_minimum_severity_is_held_back_until_it_rises(
    redis_server: Server, pagerduty: Service
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.rules = GroupingRules(min_severity="error")
        await bench.deliver(cloud_event(1), cloud_event(1, severity="info", key="churn"))
        await bench.deliver(cloud_event(2, "updated", severity="error"), cloud_event(2, "resolved", key="churn"))
        await bench.deliver(cloud_event(3, "resolved"))

    on_bench(redis_server, [pagerduty], scenario)
    assert [(each.json["event_action"], each.json["dedup_key"]) for each in pagerduty.accepted] == [
        ("trigger", "fraud/a1"),
        ("resolve", "fraud/a1"),
    ]
