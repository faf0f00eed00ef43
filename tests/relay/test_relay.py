"""The dispatcher against services that fail in every documented way, with kills at every point."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from driftline.stream.alerts.build import build_alert, encode_alert
from driftline.stream.alerts.read import read_complete_alert
from driftline.stream.config.relay import Relay
from driftline.stream.demo.servers import Server
from driftline.stream.ops.secrets import MissingSecretError
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.receivers.request import Endpoint, Request
from driftline.stream.relay.dispatcher import Dispatcher
from driftline.stream.relay.http import Http, ReceiverUnavailableError, retry_after_seconds, retry_delivery
from driftline.stream.relay.receivers import StdoutReceiver, read_endpoints
from driftline.stream.relay.secrets import secrets_of
from driftline.stream.state.client import StoreError
from driftline.stream.state.notification_log import NotificationLog
from tests.harness.relay_bench import HOOK, Bench, on_bench, record, settle, until
from tests.harness.services import NO_ANSWER, ROUTING_KEY, Answer, Service, answer, cloud_event, fake, stamp
from tests.harness.topic_tools import driftline
from tests.judge.test_absence import FULL, NONE, known


@pytest.fixture
def pagerduty() -> Iterator[Service]:
    with fake("pagerduty") as service:
        yield service


@pytest.fixture
def slack() -> Iterator[Service]:
    with fake("slack") as service:
        yield service


@pytest.fixture
def webhook() -> Iterator[Service]:
    with fake("webhook") as service:
        yield service


# --- what is sent


def test_an_incident_is_one_page_that_closes_itself(redis_server: Server, pagerduty: Service) -> None:
    async def scenario(bench: Bench) -> None:
        for value in (cloud_event(1), cloud_event(2, "updated"), cloud_event(3, "resolved")):
            await bench.deliver(value)

    on_bench(redis_server, [pagerduty], scenario)
    assert [each.json["event_action"] for each in pagerduty.accepted] == ["trigger", "trigger", "resolve"]
    assert pagerduty.pages == {"fraud/a1": 1}
    assert pagerduty.open == set()


def test_a_model_that_stops_rings_and_is_closed_when_its_traffic_returns(
    redis_server: Server, pagerduty: Service
) -> None:
    """From the judge's ticks to the pager: the alerts are those that a worker would publish."""
    model = known()
    steps = [*model.pass_time(6, NONE), *model.pass_time(6, FULL)]
    values = [
        encode_alert(build_alert(model.monitor, each, mode="live", topic="predictions", emitted_at=_now()))
        for each in steps
    ]

    async def scenario(bench: Bench) -> None:
        for value in values:
            await bench.deliver(value)

    on_bench(redis_server, [pagerduty], scenario)
    rang, closed = (each.json for each in pagerduty.accepted)
    assert [rang["event_action"], closed["event_action"]] == ["trigger", "resolve"]
    assert rang["payload"]["severity"] == "critical"
    assert "fraud: traffic stopped (no event, " in rang["payload"]["summary"]
    assert rang["payload"]["class"] == "absence"
    assert rang["dedup_key"] == closed["dedup_key"]
    assert rang["dedup_key"].startswith("fraud/traffic/")
    assert pagerduty.open == set()


def _now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_only_live_alerts_are_sent(redis_server: Server, kind: str) -> None:
    async def scenario(bench: Bench) -> None:
        modes = ["replay", "test", "", "LIVE", "live "]
        dispatcher = await bench.deliver(*(cloud_event(n, mode=mode, key=mode) for n, mode in enumerate(modes)))
        assert dispatcher.idle
        assert bench.dead_letters == []

    with fake(kind) as service:
        on_bench(redis_server, [service], scenario)
        assert service.requests == []


def test_stale_alerts_and_late_duplicates_are_dropped(redis_server: Server, pagerduty: Service) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1), cloud_event(2, "updated"))
        await bench.deliver(cloud_event(2, "updated"), cloud_event(1))
        await bench.deliver(cloud_event(3, "resolved"))
        # Duplicates of the trigger, long after: each would page again.
        await bench.deliver(cloud_event(1))
        await bench.deliver(cloud_event(2, "updated"), cloud_event(1))
        # Another alert_key has seqs of its own, and a later incident has a higher seq.
        await bench.deliver(cloud_event(1, key="churn"), cloud_event(4, incident="b2"))

    on_bench(redis_server, [pagerduty], scenario)
    assert [each.json["payload"]["custom_details"]["seq"] for each in pagerduty.accepted] == [2, 3, 1, 4]
    assert pagerduty.pages == {"fraud/a1": 1, "churn/a1": 1, "fraud/b2": 1}


async def dumped(log: NotificationLog) -> dict[bytes, bytes]:
    """What Redis has of a notification log now."""
    return {key: await log.client.dump(key) for key in await log.client.keys(f"{log.namespace}:relay:*")}


async def lose(log: NotificationLog, kept: dict[bytes, bytes]) -> None:
    """Let Redis lose what was written after `kept` was dumped, as in a power cut."""
    await log.client.delete(*await log.client.keys(f"{log.namespace}:relay:*"))
    for key, value in kept.items():
        await log.client.restore(key, 0, value)


async def receive(bench: Bench, dispatcher: Dispatcher, *values: bytes) -> None:
    """Settle these records with a dispatcher that is there already."""
    for each in bench.records(*values):
        dispatcher.receive(each)
    await settle(dispatcher)


def test_what_redis_loses_of_the_notification_log_is_not_sent_again(redis_server: Server, webhook: Service) -> None:
    """Not by the relay that has sent it nor, once that one has noted something else, by the next one."""

    async def scenario(bench: Bench) -> None:
        log, dispatcher = bench.notification_log, await bench.deliver(cloud_event(1))
        kept = await dumped(log)
        await receive(bench, dispatcher, cloud_event(2, "resolved"))
        await lose(log, kept)
        await receive(bench, dispatcher, cloud_event(2, "resolved"), cloud_event(3, incident="b2"))
        await bench.deliver(cloud_event(2, "resolved"), cloud_event(3, incident="b2"))

    on_bench(redis_server, [webhook], scenario)
    assert [each.json["id"] for each in webhook.accepted] == ["a1-1", "a1-2", "b2-3"]


@pytest.mark.parametrize("notes", ["a page", "a refresh"])
def test_what_redis_loses_of_alertmanagers_entries_is_written_anew(redis_server: Server, notes: str) -> None:
    """So the next relay sends again what fires, and nothing that has ended."""

    async def scenario(bench: Bench) -> None:
        log, dispatcher = bench.notification_log, await bench.deliver(cloud_event(1))
        kept = await dumped(log)
        await receive(bench, dispatcher, cloud_event(2, "resolved"), cloud_event(1, key="churn"))
        await lose(log, kept)
        if notes == "a page":
            await receive(bench, dispatcher, cloud_event(1, key="ads"))
        else:
            await dispatcher.refresh(healthy=False)
        await bench.dispatcher().refresh(healthy=False)

    with fake("alertmanager") as service:
        on_bench(redis_server, [service], scenario)
        ends = {each["labels"]["incident"]: each["endsAt"] for each in service.accepted[-1].json}
    assert set(ends) == {"fraud/a1", "churn/a1"} | ({"ads/a1"} if notes == "a page" else set())
    assert [name for name, end in ends.items() if datetime.fromisoformat(end) < datetime.now(UTC)] == ["fraud/a1"]


def test_a_superseded_step_is_never_sent(redis_server: Server, webhook: Service) -> None:
    async def scenario(bench: Bench) -> None:
        over = [cloud_event(1), cloud_event(2, "updated"), cloud_event(3, "resolved")]
        await bench.deliver(*over, cloud_event(4, incident="b2"), cloud_event(5, "updated", incident="b2"))

    on_bench(redis_server, [webhook], scenario)
    assert [each.json["id"] for each in webhook.accepted] == ["b2-5"]


def test_a_relay_that_starts_on_an_old_topic_reports_open_incidents_and_no_history(
    redis_server: Server, webhook: Service
) -> None:
    old = stamp(time.time() - 7200)

    async def scenario(bench: Bench) -> None:
        history = [
            cloud_event(seq, status, incident=f"old-{n}", emitted_at=old)
            for n in range(5)
            for seq, status in ((2 * n + 1, "firing"), (2 * n + 2, "resolved"))
        ]
        await bench.deliver(*history, cloud_event(11, incident="open", emitted_at=old))
        # Its end is sent however late it is read, because its start was.
        await bench.deliver(cloud_event(12, "resolved", incident="open", emitted_at=old))

    on_bench(redis_server, [webhook], scenario)
    assert [each.json["id"] for each in webhook.accepted] == ["open-11", "open-12"]


def test_a_record_that_is_not_an_alert_becomes_a_dead_letter_and_delays_nothing(
    redis_server: Server, webhook: Service
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver(b"\x00garbage", cloud_event(1), None)
        assert [dead_letter.partition("no alert")[0] for dead_letter in bench.dead_letters] == ["0: ", "2: "]

    on_bench(redis_server, [webhook], scenario)
    assert len(webhook.accepted) == 1


# --- services that fail


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_a_temporary_failure_is_retried_until_it_has_passed(redis_server: Server, kind: str) -> None:
    failures = [answer(status) for status in (302, 408, 425, 429, 500, 502)] + [answer(503, b"<html>"), NO_ANSWER]
    garbage = answer(200, b"<html>Welcome to the hotel's network</html>")

    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1))
        assert bench.dead_letters == []

    with fake(kind) as service:
        service.script += failures if kind == "webhook" else [*failures, garbage]
        expected = len(service.script) + 1
        on_bench(redis_server, [service], scenario)
        assert len(service.requests) == expected
        assert service.pages == ({"fraud/a1": 1} if kind == "pagerduty" else {})


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(redis_server: Server, slack: Service, form: str) -> None:
    later = datetime.now(UTC) + timedelta(seconds=3)
    header = "1" if form == "seconds" else later.strftime("%a, %d %b %Y %H:%M:%S GMT")
    slack.script.append(answer(429, b"rate_limited", retry_after=header))

    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1))

    on_bench(redis_server, [slack], scenario)
    first, second = slack.requests
    if form == "seconds":
        assert second.at - first.at >= 1.0
    else:
        assert time.time() >= int(later.timestamp())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("", 0), ("soon", 0), ("nan", 0), ("-5", 0), ("17", 17), ("1.5", 1.5), ("1e400", 3600),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30), ("Sat, 31 Jan 2026 12:00:30", 0), ("Sat, 31 Jan 2020 12:00:30 GMT", 0),
    ],
)  # fmt: skip
def test_a_retry_after_that_makes_no_sense_is_ignored(header: str | None, seconds: float) -> None:
    assert retry_after_seconds(header, datetime(2026, 1, 31, 12, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_a_refused_alert_is_sent_once_and_becomes_a_dead_letter(
    redis_server: Server, slack: Service, status: int
) -> None:
    slack.script.append(answer(status, b"no_service\n\x1b[31m for " + HOOK.encode()))

    async def scenario(bench: Bench) -> None:
        dispatcher = await bench.deliver(cloud_event(1))
        assert bench.dead_letters == [f"0: slack: 127.0.0.1 answers {status}: no_service [31m for ***"]
        assert (
            dispatcher.unhealthy_reason()
            == f"slack refused the last alert: 127.0.0.1 answers {status}: no_service [31m for ***"
        )
        dispatcher.receive(record(1, cloud_event(2, "updated")))
        await settle(dispatcher)
        assert dispatcher.unhealthy_reason() is None
        slack.script.append(answer(status))
        dispatcher.receive(record(2, cloud_event(3, "updated")))
        await settle(dispatcher)
        assert dispatcher.unhealthy_reason()
        dispatcher.release()
        assert dispatcher.unhealthy_reason() is None, "it sends nothing any more; the relay that took over knows"

    on_bench(redis_server, [slack], scenario)
    assert [each.status for each in slack.requests] == [status, 200, status]


def test_a_dead_letter_is_not_produced_again_after_a_kill(redis_server: Server, slack: Service) -> None:
    slack.script.append(answer(400))

    async def scenario(bench: Bench) -> None:
        for _ in range(2):  # it was killed before the commit
            await bench.deliver(cloud_event(1))
        assert len(bench.dead_letters) == 1

    on_bench(redis_server, [slack], scenario)
    assert len(slack.requests) == 1


def test_pauses_grow_up_to_the_longest_with_jitter() -> None:
    async def pauses(tries: int) -> list[float]:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == tries:
                raise StopAsyncIteration

        async def fail() -> None:
            raise ReceiverUnavailableError("down")

        with pytest.raises(StopAsyncIteration):
            await retry_delivery(60, sleep)(fail)
        return slept

    runs = [asyncio.run(pauses(12)) for _ in range(40)]
    highest = [max(run[n] for run in runs) for n in range(12)]
    assert all(high <= min(2.0**n, 60) for n, high in enumerate(highest))
    assert highest[11] > 40
    assert all(later > sooner / 2 for sooner, later in pairwise(highest))
    assert len({run[5] for run in runs}) == 40


def test_while_a_receiver_is_down_nothing_is_lost_or_doubled(redis_server: Server, pagerduty: Service) -> None:
    pagerduty.down = True

    async def scenario(bench: Bench) -> None:
        dispatcher = bench.dispatcher(cloud_event(1), cloud_event(1, key="churn"))
        settling = asyncio.create_task(settle(dispatcher))
        await until(lambda: pagerduty.refused_connections > 1)
        dispatcher.receive(record(2, cloud_event(2, "updated", severity="critical")))
        dispatcher.receive(record(3, cloud_event(2, "resolved", key="churn")))
        dispatcher.receive(record(4, cloud_event(1, key="risk")))
        await until(lambda: pagerduty.refused_connections > 5)
        assert pagerduty.requests == []
        pagerduty.down = False
        await settling

    on_bench(redis_server, [pagerduty], scenario)
    # The drift of churn ended before PagerDuty was back: it pages nobody.
    assert pagerduty.pages == {"fraud/a1": 1, "risk/a1": 1}
    assert len(pagerduty.accepted) == 3
    assert [each.json["payload"]["severity"] for each in pagerduty.accepted if "fraud" in each.json["dedup_key"]] == [
        "critical"
    ]


def test_what_ends_while_a_receiver_is_down_is_never_mentioned(redis_server: Server, pagerduty: Service) -> None:
    pagerduty.otherwise = answer(503)

    async def scenario(bench: Bench) -> None:
        dispatcher = bench.dispatcher(cloud_event(1), cloud_event(1, key="churn"))
        settling = asyncio.create_task(settle(dispatcher))
        await until(lambda: len(pagerduty.requests) > 3)
        dispatcher.receive(record(2, cloud_event(2, "resolved")))
        await until(lambda: len(pagerduty.requests) > 6)
        pagerduty.otherwise = None
        await settling
        await bench.deliver(cloud_event(2, "resolved", key="churn"))

    on_bench(redis_server, [pagerduty], scenario)
    assert [(each.json["event_action"], each.json["dedup_key"]) for each in pagerduty.accepted] == [
        ("trigger", "churn/a1"),
        ("resolve", "churn/a1"),
    ]


@pytest.mark.parametrize(("failure", "end_sent"), [(NO_ANSWER, True), (answer(502), True), (answer(503), False)])
def test_the_end_is_sent_when_a_receiver_may_have_accepted_the_start_without_an_answer(
    redis_server: Server, pagerduty: Service, failure: Answer, end_sent: bool
) -> None:
    pagerduty.script.append(failure)

    async def scenario(bench: Bench) -> None:
        dispatcher = bench.dispatcher(cloud_event(1))
        with pytest.raises(ReceiverUnavailableError):
            await dispatcher.step()
        dispatcher.receive(record(1, cloud_event(2, "resolved")))
        await settle(dispatcher)

    on_bench(redis_server, [pagerduty], scenario)
    assert [each.json["event_action"] for each in pagerduty.requests[1:]] == (["resolve"] if end_sent else [])


async def critical_page_is_sent(bench: Bench, service: Service, seconds: float, requests: int) -> asyncio.Task[None]:
    """A critical alert, read when `requests` of a thousand others are sent, is sent within one answer and a second.

    seconds: that an answer takes. Returns the task that sends the rest.
    """
    dispatcher = bench.dispatcher(*(cloud_event(1, key=f"m{i:03}") for i in range(1000)))
    settling = asyncio.create_task(settle(dispatcher))
    await until(lambda: len(service.requests) == requests)
    dispatcher.receive(record(1000, cloud_event(1, severity="critical")))
    came = time.monotonic()
    await until(lambda: service.requests[-1].json["dedup_key"] == "fraud/a1")
    assert time.monotonic() - came < seconds + 1
    return settling


@pytest.mark.parametrize("seconds", [0.5, pytest.param(5.0, marks=pytest.mark.slow)])
def test_a_critical_page_overtakes_a_thousand_others_at_a_slow_receiver(
    redis_server: Server, pagerduty: Service, seconds: float
) -> None:
    pagerduty.otherwise = answer(202, b'{"status": "success"}', seconds=seconds)

    async def scenario(bench: Bench) -> None:
        settling = await critical_page_is_sent(bench, pagerduty, seconds, requests=2)
        settling.cancel()
        with suppress(asyncio.CancelledError):
            await settling

    on_bench(redis_server, [pagerduty], scenario, timeout=2 * seconds)
    assert sum(each.json["dedup_key"] == "fraud/a1" for each in pagerduty.requests) == 1


@pytest.mark.parametrize("seconds", [0.5, pytest.param(5.0, marks=pytest.mark.slow)])
def test_a_critical_model_that_comes_while_the_page_of_a_storm_is_sent_rings_on_a_page_of_its_own(
    redis_server: Server, pagerduty: Service, seconds: float
) -> None:
    """As an update of the storm's page it would ring nobody."""
    pagerduty.otherwise = answer(202, b'{"status": "success"}', seconds=seconds)

    async def scenario(bench: Bench) -> None:
        bench.rules = GroupingRules(outage_models=5, outage_window=600)
        await (await critical_page_is_sent(bench, pagerduty, seconds, requests=1))

    on_bench(redis_server, [pagerduty], scenario, timeout=2 * seconds)
    storm, rung = (each.json for each in pagerduty.requests[:2])
    assert storm["dedup_key"].startswith("outage-")
    assert (rung["dedup_key"], rung["event_action"], rung["payload"]["severity"]) == ("fraud/a1", "trigger", "critical")


def test_an_alert_that_is_never_accepted_delays_no_other_and_is_given_up_in_the_end(
    redis_server: Server, slack: Service
) -> None:
    slack.poison = b"poison"

    async def scenario(bench: Bench) -> None:
        bench.give_up = 2.0
        dispatcher = bench.dispatcher(cloud_event(1, key="poison"), cloud_event(1), cloud_event(2, incident="b2"))
        settling = asyncio.create_task(settle(dispatcher))
        await until(lambda: len(slack.accepted) == 2)
        assert not bench.dead_letters
        await settling
        assert [dead_letter.partition(" after ")[0] for dead_letter in bench.dead_letters] == ["0: slack: given up"]

    on_bench(redis_server, [slack], scenario)


# --- kills


def test_a_kill_between_delivery_and_log_pages_once(redis_server: Server, pagerduty: Service) -> None:
    pagerduty.script.append(answer(202, seconds=0.5))

    async def scenario(bench: Bench) -> None:
        killed = asyncio.create_task(bench.deliver(cloud_event(1)))
        await until(lambda: len(pagerduty.requests) == 1)  # PagerDuty has it, but the relay does not know
        killed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killed
        await bench.deliver(cloud_event(1))

    on_bench(redis_server, [pagerduty], scenario)
    assert len(pagerduty.accepted) == 2
    assert pagerduty.pages == {"fraud/a1": 1}


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_a_kill_between_log_and_commit_sends_nothing_twice(redis_server: Server, kind: str) -> None:
    values = [cloud_event(1), cloud_event(2, incident="b2"), cloud_event(1, "resolved", key="churn")]

    async def scenario(bench: Bench) -> None:
        await bench.deliver(*values)
        await bench.deliver(*values)

    with fake(kind) as service:
        on_bench(redis_server, [service], scenario)
        assert len(service.requests) == 3


# --- several Alertmanagers


def test_one_alertmanager_of_a_cluster_is_enough_and_the_others_get_the_alert_later(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        dispatcher = await bench.deliver(cloud_event(1), cloud_event(1, "resolved", key="churn"))
        assert down.requests == []
        down.down = False
        await dispatcher.refresh(healthy=True)
        await dispatcher.refresh(healthy=True)  # too soon
        await (later := bench.dispatcher()).refresh(healthy=False)  # another relay, after this one was killed
        assert later.idle

    with fake("alertmanager") as down, fake("alertmanager") as up:
        down.down = True
        on_bench(redis_server, [down, up], scenario)
        refreshed, unhealthy = down.requests
        assert [entry["labels"]["alertname"] for entry in refreshed.json] == [
            "DriftlineWatchdog", "ModelDrift", "ModelDrift",
        ]  # fmt: skip
        assert [entry["labels"]["incident"] for entry in unhealthy.json] == ["fraud/a1", "churn/a1"]
        assert len(up.requests) == 4


def test_a_thousand_firing_entries_delay_a_page_by_one_answer(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1))
        notifications, ownership = await bench.notification_log.take_over()
        (entry,) = notifications.entries.values()
        many = {**notifications.entries, **{f"m{i}/a1/warning": entry for i in range(999)}}
        await bench.notification_log.save(ownership, replace(notifications, entries=many))
        await bench.dispatcher().refresh(healthy=False)

    with fake("alertmanager") as service:
        on_bench(redis_server, [service], scenario)
        assert [len(each.json) for each in service.requests] == [1, 1000]


def test_an_alertmanager_that_never_answers_does_not_delay_the_others(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.harness.relay_bench.TIMEOUT", 50.0)

    async def scenario(bench: Bench) -> None:
        await asyncio.wait_for(bench.deliver(cloud_event(1), cloud_event(1, key="churn")), 30)

    with fake("alertmanager") as hung, fake("alertmanager") as up:
        hung.otherwise = NO_ANSWER
        on_bench(redis_server, [hung, up], scenario)
        assert len(up.accepted) == 2


def test_when_every_alertmanager_is_down_the_alert_waits(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        settling = asyncio.create_task(bench.deliver(cloud_event(1)))
        await until(lambda: first.refused_connections > 2)
        assert not settling.done()
        first.down = False
        await settling

    with fake("alertmanager") as first, fake("alertmanager") as second:
        first.down = second.down = True
        on_bench(redis_server, [first, second], scenario)
        assert len(first.accepted) == 1


def test_an_ended_entry_is_forgotten_after_a_while(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.stream.paging.receivers.alertmanager._AFTER_THE_END", timedelta(0))

    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1), cloud_event(1, "resolved", key="churn"))
        await asyncio.sleep(0.01)
        await bench.dispatcher().refresh(healthy=True)
        assert sorted((await bench.notification_log.take_over())[0].entries) == ["fraud/a1/warning"]

    with fake("alertmanager") as service:
        on_bench(redis_server, [service], scenario)


# --- the notification log


def test_every_key_of_the_notification_log_is_documented_and_has_a_time_to_live(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1), cloud_event(1, "resolved", key="churn"))
        client, namespace = bench.notification_log.client, bench.notification_log.namespace
        _, ownership = await bench.notification_log.take_over()
        await bench.notification_log.settle(ownership, "churn", 0)
        assert await client.get(f"{namespace}:relay:alertmanager:seq:churn") == b"1", "it never falls"
        lives = {key.decode(): await client.ttl(key) async for key in client.scan_iter(f"{namespace}:*")}
        short = f"{namespace}:relay:alertmanager:"
        days = {name.removeprefix(short): -(-life // 86_400) for name, life in lives.items()}
        guard = f"guard:{{{short}entries}}"
        assert days == {"desk": 400, "entries": 400, guard: 400, "seq:churn": 30}

    with fake("alertmanager") as service:
        on_bench(redis_server, [service], scenario)


def test_unreadable_notifications_are_reported_by_their_key_with_what_to_do(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        key = f"{bench.notification_log.namespace}:relay:webhook:desk"
        await bench.notification_log.client.hset(key, "case:fraud/a1", b"{}")
        with pytest.raises(StoreError, match=f"{key} in Redis can't be read.*delete the key"):
            await bench.deliver(cloud_event(1))

    with fake("webhook") as service:
        on_bench(redis_server, [service], scenario)
    assert service.requests == []


def test_an_incident_whose_page_is_missing_is_reported_by_the_key_too(redis_server: Server, webhook: Service) -> None:
    async def scenario(bench: Bench) -> None:
        key = f"{bench.notification_log.namespace}:relay:webhook:desk"
        await bench.deliver(cloud_event(1))
        await bench.notification_log.client.hdel(key, "page:fraud/a1")
        with pytest.raises(
            StoreError, match=f"{key} in Redis can't be read: the page of the incident fraud/a1 is missing"
        ):
            await bench.deliver(cloud_event(2, "updated"))

    on_bench(redis_server, [webhook], scenario)


def test_unreadable_entries_of_alertmanager_are_reported_by_their_key_too(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        key = f"{bench.notification_log.namespace}:relay:alertmanager:entries"
        for entry in (
            b"[]",
            b"\xff",
            b"[" * 100_000,
            b"{}",
            b'{"labels": {"incident": "fraud/a1", "severity": "bad"}}',
        ):
            await bench.notification_log.client.hset(key, "fraud/a1", entry)
            with pytest.raises(StoreError, match=f"{key} in Redis can't be read.*delete the key"):
                await bench.deliver(cloud_event(1))

    with fake("alertmanager") as service:
        on_bench(redis_server, [service], scenario)
    assert service.requests == []


# --- secrets and stdout


def test_no_log_line_has_a_secret(redis_server: Server, slack: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    slack.script += [answer(500, b"hook failed: " + HOOK.encode()), answer(403)]

    async def scenario(bench: Bench) -> None:
        await bench.deliver(cloud_event(1))
        slack.down, bench.give_up = True, 0.3
        await bench.deliver(cloud_event(2, "updated"))

    on_bench(redis_server, [slack], scenario)
    assert "hook failed: ***" in caplog.text
    assert [line for line in caplog.messages if HOOK in line] == []


@pytest.mark.parametrize(
    "answer_text",
    ["bad sig abc%2Fdefgh", "bad sig abc/defgh", "GET /hook%20/x?sig=abc%2Fdefgh", "no token tokentoken", "u:passw0rd"],
)
def test_no_part_of_a_secret_is_repeated(answer_text: str) -> None:
    endpoint = Endpoint("https://u:passw0rd@pager.example/hook%20/x?sig=abc%2Fdefgh", authorization="Bearer tokentoken")

    async def ask(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            await Http(session, secrets_of({"webhook": [endpoint]})).post(Request(url, b"", {}), lambda *_: False)

    with fake("heartbeat") as service:
        service.script.append(answer(500, answer_text.encode()))
        with pytest.raises(ReceiverUnavailableError) as failure:
            asyncio.run(ask(service.url))
    shown = str(failure.value)
    assert "***" in shown
    assert [word for word in ("abc/defgh", "abc%2Fdefgh", "tokentoken", "passw0rd") if word in shown] == []


def test_a_slow_reader_of_standard_output_delays_nothing_else() -> None:
    reader, writer = os.pipe()

    async def scenario(out: StdoutReceiver, raw: bytes) -> bytes:
        delivering = asyncio.create_task(out.deliver(read_complete_alert(cloud_event(1)), raw, {}))
        await asyncio.sleep(0.1)
        assert not delivering.done(), "the pipe is full, and the relay continues"
        read = b""
        while not read.endswith(b"\n"):
            read += os.read(reader, 1 << 20)
        await delivering
        return read

    raw = b'{"a":"' + b"x" * 1_000_000 + b'"}'
    with os.fdopen(writer, "wb") as stream, os.fdopen(reader, "rb"):
        assert asyncio.run(scenario(StdoutReceiver(stream), raw)) == raw + b"\n"


@pytest.mark.parametrize(
    ("target", "environment", "reason"),
    [
        ("pagerduty", {}, "PAGERDUTY_ROUTING_KEY is not set"),
        ("pagerduty", {"PAGERDUTY_ROUTING_KEY": " "}, "PAGERDUTY_ROUTING_KEY is not set"),
        ("pagerduty", {"PAGERDUTY_ROUTING_KEY": "a\r\nb"}, "PAGERDUTY_ROUTING_KEY is not printable ASCII"),
        ("slack", {"SLACK_WEBHOOK_URL": "hooks.slack.example/T0"}, "SLACK_WEBHOOK_URL is not a URL"),
        ("slack", {"SLACK_WEBHOOK_URL": "https://"}, "SLACK_WEBHOOK_URL is not a URL"),
        ("slack", {"SLACK_WEBHOOK_URL": "https://hooks.slack.example:x/T0"}, "SLACK_WEBHOOK_URL is not a URL"),
        ("webhook", {"WEBHOOK_URL": "https://[::1/T0"}, "WEBHOOK_URL is not a URL"),
        ("webhook", {}, "WEBHOOK_URL is not set"),
    ],
)
def test_a_missing_or_malformed_secret_is_named(target: str, environment: dict[str, str], reason: str) -> None:
    with pytest.raises(MissingSecretError, match=reason):
        read_endpoints(Relay(), [target], environment)


def test_the_command_says_why_it_cannot_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAGERDUTY_ROUTING_KEY", raising=False)
    assert driftline("relay", "--to", "pagerduty,slack") == 2
    assert "PAGERDUTY_ROUTING_KEY is not set" in capsys.readouterr().err
    assert driftline("relay", "--to", "pager") == 2
    assert "expected pagerduty, alertmanager, slack, webhook or stdout, got 'pager'" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )
    path = tmp_path / "driftline.yaml"
    path.write_text(f"relay: {{pagerduty: {{routing_key_env: {ROUTING_KEY}}}}}")
    assert driftline("relay", "--to", "pagerduty", "-c", path) == 2
    assert ROUTING_KEY not in capsys.readouterr().err
