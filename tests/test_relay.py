"""The relay against services that fail in every documented way, kills at every point, and a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from subprocess import run
from typing import Any

import aiohttp
import pytest
from aiokafka import ConsumerRecord
from kafka import KafkaProducer
from redis.asyncio import Redis

from stream.config_relay import Alertmanager, Relay
from stream.courier import Courier, Record
from stream.delivery import Http, Unavailable, patiently, seconds_asked
from stream.embedded import Server, free_port
from stream.ledger import Ledger
from stream.pagers import Access
from stream.targets import MissingSecret, open_target, read_accesses
from tests.brokers import Broker, unique
from tests.deployment import Deployment, WorkerProcess, deploy
from tests.services import NO_ANSWER, ROUTING_KEY, Service, answer, cloud_event, fake, stamp
from tests.topic_tools import driftline

TIMEOUT = 0.3


def record(offset: int, value: bytes | None) -> Record:
    return ConsumerRecord("alerts", 0, offset, 0, 0, b"fraud", value, None, 5, len(value or b""), ())


@dataclass
class Bench:
    """One target with its ledger, and couriers that come and go."""

    ledger: Ledger
    http: Http
    accesses: dict[str, list[Access]]
    relay: Relay
    letters: list[str] = field(default_factory=list)
    give_up: float = 60.0

    def courier(self, *values: bytes | None) -> Courier:
        """A courier that was just started, and has read these records."""
        name = self.ledger.target
        target = open_target(name, self.accesses[name], self.relay, self.http, self.ledger)
        courier = Courier(name, target, self.ledger, self._bury, self.give_up)
        for offset, value in enumerate(values):
            courier.take(record(offset, value))
        return courier

    async def carry(self, *values: bytes | None) -> Courier:
        """A new courier settles these records."""
        courier = self.courier(*values)
        await settle(courier)
        return courier

    async def _bury(self, record: Record, reason: str) -> None:
        self.letters.append(f"{record.offset}: {reason}")


async def settle(courier: Courier, longest: float = 0.1) -> None:
    while not courier.idle:
        await patiently(longest)(courier.step)


def on_bench(
    redis: Server, services: Sequence[Service], scenario: Callable[[Bench], Awaitable[None]], target: str = ""
) -> None:
    """Run a scenario with services of one kind as the target."""
    environment = {
        "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
        "SLACK_WEBHOOK_URL": f"{services[0].url}/services/T0/B0/hook-secret",
        "WEBHOOK_URL": f"{services[0].url}/hook",
    }
    relay = Relay.model_validate(
        {
            "pagerduty": {"url": f"{services[0].url}/v2/enqueue"},
            "alertmanager": {"urls": [service.url for service in services], "resend_seconds": 1},
        }
    )
    name = target or services[0].kind

    @asynccontextmanager
    async def bench() -> AsyncIterator[Bench]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session, Redis(port=redis.port) as client:
            accesses = read_accesses(relay, [name], environment)
            secrets = [ROUTING_KEY, "/services/T0/B0/hook-secret"]
            yield Bench(Ledger(client, unique("ns"), name), Http(session, secrets), accesses, relay)

    async def play() -> None:
        async with bench() as ready:
            await scenario(ready)

    asyncio.run(play())
    assert [wrong for service in services for wrong in service.violations] == []


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


# --- what leaves


def test_an_incident_is_one_page_that_closes_itself(redis_server: Server, pagerduty: Service) -> None:
    async def scenario(bench: Bench) -> None:
        for value in (cloud_event(1), cloud_event(2, "updated"), cloud_event(3, "resolved")):
            await bench.carry(value)

    on_bench(redis_server, [pagerduty], scenario)
    assert [each.json["event_action"] for each in pagerduty.taken] == ["trigger", "trigger", "resolve"]
    assert pagerduty.pages == {"fraud/a1": 1}
    assert pagerduty.open == set()


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_only_live_alerts_leave(redis_server: Server, kind: str) -> None:
    async def scenario(bench: Bench) -> None:
        modes = ["replay", "test", "", "LIVE", "live "]
        courier = await bench.carry(*(cloud_event(n, mode=mode, key=mode) for n, mode in enumerate(modes)))
        assert courier.idle
        assert bench.letters == []

    with fake(kind) as service:
        on_bench(redis_server, [service], scenario)
        assert service.requests == []


def test_stale_alerts_and_late_duplicates_are_dropped(redis_server: Server, pagerduty: Service) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.carry(cloud_event(1), cloud_event(2, "updated"))
        await bench.carry(cloud_event(2, "updated"), cloud_event(1))
        await bench.carry(cloud_event(3, "resolved"))
        # Duplicates of the trigger, long after: each would page anew.
        await bench.carry(cloud_event(1))
        await bench.carry(cloud_event(2, "updated"), cloud_event(1))
        # Another alert_key has a numbering of its own, and so has another incident a later one.
        await bench.carry(cloud_event(1, key="churn"), cloud_event(4, incident="b2"))

    on_bench(redis_server, [pagerduty], scenario)
    assert [each.json["payload"]["custom_details"]["seq"] for each in pagerduty.taken] == [2, 3, 1, 4]
    assert pagerduty.pages == {"fraud/a1": 1, "churn/a1": 1, "fraud/b2": 1}


def test_what_is_superseded_is_never_sent(redis_server: Server, webhook: Service) -> None:
    async def scenario(bench: Bench) -> None:
        over = [cloud_event(1), cloud_event(2, "updated"), cloud_event(3, "resolved")]
        await bench.carry(*over, cloud_event(4, incident="b2"), cloud_event(5, "updated", incident="b2"))

    on_bench(redis_server, [webhook], scenario)
    assert [each.json["id"] for each in webhook.taken] == ["a1-3", "b2-5"]


def test_a_relay_that_starts_on_an_old_topic_tells_what_is_open_and_no_history(
    redis_server: Server, webhook: Service
) -> None:
    old = stamp(time.time() - 7200)

    async def scenario(bench: Bench) -> None:
        history = [
            cloud_event(seq, status, incident=f"old-{n}", emitted_at=old)
            for n in range(5)
            for seq, status in ((2 * n + 1, "firing"), (2 * n + 2, "resolved"))
        ]
        await bench.carry(*history, cloud_event(11, incident="open", emitted_at=old))
        # Its end is told however late it is read, because its beginning was.
        await bench.carry(cloud_event(12, "resolved", incident="open", emitted_at=old))

    on_bench(redis_server, [webhook], scenario)
    assert [each.json["id"] for each in webhook.taken] == ["open-11", "open-12"]


def test_what_is_no_alert_becomes_a_dead_letter_and_holds_nothing_up(redis_server: Server, webhook: Service) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.carry(b"\x00garbage", cloud_event(1), None)
        assert [letter.partition("no alert")[0] for letter in bench.letters] == ["0: ", "2: "]

    on_bench(redis_server, [webhook], scenario)
    assert len(webhook.taken) == 1


# --- services that fail


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_what_may_pass_is_tried_again_until_it_has_passed(redis_server: Server, kind: str) -> None:
    failures = [answer(500), answer(503, b"<html>"), NO_ANSWER, answer(302), answer(429), answer(502)]
    garbage = answer(200, b"<html>Welcome to the hotel's network</html>")

    async def scenario(bench: Bench) -> None:
        await bench.carry(cloud_event(1))
        assert bench.letters == []

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
        await bench.carry(cloud_event(1))

    on_bench(redis_server, [slack], scenario)
    first, second = slack.requests
    if form == "seconds":
        assert 1.0 <= second.at - first.at < 2.0
    else:
        assert time.time() >= int(later.timestamp())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("", 0), ("soon", 0), ("nan", 0), ("-5", 0), ("17", 17), ("1.5", 1.5), ("1e400", 3600),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30), ("Sat, 31 Jan 2026 12:00:30", 0), ("Sat, 31 Jan 2020 12:00:30 GMT", 0),
    ],
)  # fmt: skip
def test_a_retry_after_that_makes_no_sense_is_none(header: str | None, seconds: float) -> None:
    assert seconds_asked(header, datetime(2026, 1, 31, 12, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_what_is_refused_is_asked_once_and_becomes_a_dead_letter(
    redis_server: Server, slack: Service, status: int
) -> None:
    slack.script.append(answer(status, b"no_service\n\x1b[31m for /services/T0/B0/hook-secret"))

    async def scenario(bench: Bench) -> None:
        courier = await bench.carry(cloud_event(1))
        assert bench.letters == [f"0: slack: 127.0.0.1 answers {status}: no_service [31m for ***"]
        assert courier.trouble() == f"slack refused the last alert: 127.0.0.1 answers {status}: no_service [31m for ***"
        await bench.carry(cloud_event(1))  # it was killed before the commit
        courier.take(record(1, cloud_event(2, "updated")))
        await settle(courier)
        assert courier.trouble() is None

    on_bench(redis_server, [slack], scenario)
    assert [each.status for each in slack.requests] == [status, 200]


def test_pauses_grow_up_to_the_longest_with_jitter() -> None:
    async def pauses(tries: int) -> list[float]:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == tries:
                raise StopAsyncIteration

        async def fail() -> None:
            raise Unavailable("down")

        with pytest.raises(StopAsyncIteration):
            await patiently(60, sleep)(fail)
        return slept

    runs = [asyncio.run(pauses(12)) for _ in range(40)]
    highest = [max(run[n] for run in runs) for n in range(12)]
    assert all(high <= min(2.0**n, 60) for n, high in enumerate(highest))
    assert highest[11] > 40
    assert all(later > sooner / 2 for sooner, later in pairwise(highest))
    assert len({run[5] for run in runs}) == 40


def test_while_a_pager_is_down_nothing_is_lost_or_doubled(redis_server: Server, pagerduty: Service) -> None:
    pagerduty.down = True

    async def scenario(bench: Bench) -> None:
        courier = bench.courier(cloud_event(1), cloud_event(1, key="churn"))
        settling = asyncio.create_task(settle(courier))
        await asyncio.sleep(0.3)
        courier.take(record(2, cloud_event(2, "updated", severity="critical")))
        courier.take(record(3, cloud_event(2, "resolved", key="churn")))
        courier.take(record(4, cloud_event(1, key="risk")))
        await asyncio.sleep(0.3)
        assert pagerduty.requests == []
        assert pagerduty.refused_connections > 3
        pagerduty.down = False
        await settling

    on_bench(redis_server, [pagerduty], scenario)
    # The drift of churn was over before PagerDuty could be told: nobody is woken for it.
    assert pagerduty.pages == {"fraud/a1": 1, "risk/a1": 1}
    assert len(pagerduty.taken) == 3
    assert [each.json["payload"]["severity"] for each in pagerduty.taken if "fraud" in each.json["dedup_key"]] == [
        "critical"
    ]


def test_one_alert_that_is_never_taken_holds_no_other_up_and_is_given_up_in_the_end(
    redis_server: Server, slack: Service
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.give_up = 1.0
        poison = "poison"

        async def only_poison_fails() -> None:
            while not bench.letters:
                head = slack.requests[-1].json["text"] if slack.requests else ""
                slack.otherwise = answer(500) if poison in head or not slack.requests else None
                await asyncio.sleep(0.005)

        watching = asyncio.create_task(only_poison_fails())
        courier = bench.courier(cloud_event(1, key=poison), cloud_event(1), cloud_event(2, incident="b2"))
        slack.otherwise = answer(500)
        settling = asyncio.create_task(settle(courier))
        await asyncio.sleep(0.1)
        await settling
        await watching
        assert len(bench.letters) <= 1

    on_bench(redis_server, [slack], scenario)
    assert {each.json["text"].split(":")[0] for each in slack.taken} >= {"🟡 fraud"}


# --- kills


def test_a_kill_between_send_and_ledger_pages_once(redis_server: Server, pagerduty: Service) -> None:
    pagerduty.script.append(answer(202, b"", seconds=0.2))

    async def scenario(bench: Bench) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.carry(cloud_event(1)), 0.1)
        assert len(pagerduty.requests) == 1, "PagerDuty has it, the relay does not know"
        await bench.carry(cloud_event(1))

    on_bench(redis_server, [pagerduty], scenario)
    assert len(pagerduty.taken) == 2
    assert pagerduty.pages == {"fraud/a1": 1}


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "webhook", "alertmanager"])
def test_a_kill_between_ledger_and_commit_sends_nothing_twice(redis_server: Server, kind: str) -> None:
    values = [cloud_event(1), cloud_event(2, incident="b2"), cloud_event(1, "resolved", key="churn")]

    async def scenario(bench: Bench) -> None:
        await bench.carry(*values)
        await bench.carry(*values)

    with fake(kind) as service:
        on_bench(redis_server, [service], scenario)
        assert len(service.requests) == 3


# --- several Alertmanagers


def test_one_alertmanager_of_a_cluster_is_enough_and_the_others_hear_of_it_later(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        courier = await bench.carry(cloud_event(1), cloud_event(1, "resolved", key="churn"))
        assert down.requests == []
        down.down = False
        await courier.refresh(well=True)
        await courier.refresh(well=True)  # too soon
        await (later := bench.courier()).refresh(well=False)  # another relay, after this one was killed
        assert later.idle

    with fake("alertmanager") as down, fake("alertmanager") as up:
        down.down = True
        on_bench(redis_server, [down, up], scenario)
        refreshed, unwell = down.requests
        assert [entry["labels"]["alertname"] for entry in refreshed.json] == [
            "DriftlineWatchdog", "ModelDrift", "ModelDrift",
        ]  # fmt: skip
        assert [entry["labels"]["incident"] for entry in unwell.json] == ["fraud/a1", "churn/a1"]
        assert len(up.requests) == 4


def test_when_every_alertmanager_is_down_the_alert_waits(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        settling = asyncio.create_task(bench.carry(cloud_event(1)))
        await asyncio.sleep(0.3)
        assert not settling.done()
        first.down = False
        await settling

    with fake("alertmanager") as first, fake("alertmanager") as second:
        first.down = second.down = True
        on_bench(redis_server, [first, second], scenario)
        assert len(first.taken) == 1


def test_what_has_ended_is_forgotten_after_a_while(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.alertmanager._AFTER_THE_END", timedelta(0))

    async def scenario(bench: Bench) -> None:
        await bench.carry(cloud_event(1), cloud_event(1, "resolved", key="churn"))
        await asyncio.sleep(0.01)
        await bench.courier().refresh(well=True)
        assert sorted(await bench.ledger.entries()) == ["fraud/a1/warning"]

    with fake("alertmanager") as service:
        on_bench(redis_server, [service], scenario)


# --- the ledger


def test_every_key_of_the_ledger_is_documented_and_has_a_time_to_live(redis_server: Server) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.carry(cloud_event(1))
        await bench.ledger.told("fraud", 0)
        assert await bench.ledger.seq("fraud") == 1, "it never falls"
        client, namespace = bench.ledger.client, bench.ledger.namespace
        keys = sorted([key.decode() async for key in client.scan_iter(f"{namespace}:*")])
        assert keys == [f"{namespace}:relay:alertmanager:entries", f"{namespace}:relay:alertmanager:seq:fraud"]
        assert all([29 * 86_400 < await client.ttl(key) <= 30 * 86_400 for key in keys])

    with fake("alertmanager") as service:
        on_bench(redis_server, [service], scenario)


# --- secrets and stdout


def test_no_log_line_holds_a_secret(redis_server: Server, slack: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    slack.script += [answer(500, b"hook /services/T0/B0/hook-secret failed"), answer(403, b"hook-secret")]

    async def scenario(bench: Bench) -> None:
        await bench.carry(cloud_event(1))
        slack.down = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.carry(cloud_event(2, "updated")), 0.3)

    on_bench(redis_server, [slack], scenario)
    words = [line for line in caplog.messages if "services/T0" in line]
    assert words == []


@pytest.mark.parametrize(
    ("target", "environment", "reason"),
    [
        ("pagerduty", {}, "PAGERDUTY_ROUTING_KEY is not set"),
        ("pagerduty", {"PAGERDUTY_ROUTING_KEY": " "}, "PAGERDUTY_ROUTING_KEY is not set"),
        ("pagerduty", {"PAGERDUTY_ROUTING_KEY": "a\r\nb"}, "PAGERDUTY_ROUTING_KEY is no plain text"),
        ("slack", {"SLACK_WEBHOOK_URL": "hooks.slack.example/T0"}, "SLACK_WEBHOOK_URL is no URL"),
        ("webhook", {}, "WEBHOOK_URL is not set"),
    ],
)
def test_a_secret_that_is_missing_is_named(target: str, environment: dict[str, str], reason: str) -> None:
    with pytest.raises(MissingSecret, match=reason):
        read_accesses(Relay(), [target], environment)


def test_the_command_says_what_it_cannot_do(
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


# --- the whole, on Kafka


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
        yield Site(deploy(tmp_path, broker, redis_server, {"relay": relay}), services)
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
        assert relay.stop() == 0
    assert pagerduty.pages == {"fraud/a1": 1, "churn/a1": 1, "fraud/b2": 1}
    sent = len(pagerduty.requests), len(webhook.requests)

    # Once more, from where it has committed: a late duplicate finds nobody awake.
    site.publish(cloud_event(1))
    with site.relay("pagerduty", "webhook", name="again") as relay:
        relay.wait_for(lambda: relay.words().count("it is stale, seq 4 has been told") == 2)
        assert relay.stop() == 0
    assert (len(pagerduty.requests), len(webhook.requests)) == sent
    assert {letter["offset"] for letter in site.dead_letters()} == {"1"}
    assert ROUTING_KEY not in relay.words()


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
    """(incident, severity, status) in the order in which Alertmanager told of each for the first time."""
    told = [
        (each["labels"]["incident"], each["labels"]["severity"], each["status"])
        for request in receiver.requests
        for each in request.json["alerts"]
        if each["labels"]["alertname"] == "ModelDrift"
    ]
    return list(dict.fromkeys(told))


def test_a_real_alertmanager_groups_updates_and_resolves_what_a_killed_relay_told_it(
    broker: Broker, redis_server: Server, tmp_path: Path, alertmanager: Server, receiver: Service
) -> None:
    relay_section = {"alertmanager": {"urls": [f"http://{alertmanager.address}"], "resend_seconds": 1}}
    deployment = deploy(tmp_path, broker, redis_server, {"relay": relay_section})
    site = Site(deployment, dict.fromkeys(("webhook", "heartbeat"), receiver))
    site.publish(cloud_event(1), cloud_event(2, incident="b2"), cloud_event(1, key="churn"))
    with site.relay("alertmanager") as relay:
        relay.wait_for(lambda: len(firing(alertmanager)) == 3)
        relay.wait_for(lambda: len(notified(receiver)) == 3)
        watchdogs = [each for each in amtool(alertmanager, "alert", "query", "alertname=DriftlineWatchdog")]
        assert [each["labels"]["severity"] for each in watchdogs] == ["none"]
        relay.kill()

    # Alertmanager keeps alerts in memory alone; only the relay can tell it again, and the incident goes on meanwhile.
    alertmanager.stop()
    alertmanager.start()
    assert firing(alertmanager) == {}
    site.publish(cloud_event(3, "updated", title="worse"), cloud_event(2, "resolved", key="churn"))
    with site.relay("alertmanager") as relay:
        relay.wait_for(
            lambda: (
                firing(alertmanager)
                == {"fraud/a1/warning": "worse", "fraud/b2/warning": "fraud: amount ×100 since 14:05"}
            )
        )
        relay.wait_for(lambda: ("churn/a1", "warning", "resolved") in notified(receiver))
        site.publish(cloud_event(4, "resolved", incident="b2"), cloud_event(5, "updated", severity="critical"))
        relay.wait_for(lambda: list(firing(alertmanager)) == ["fraud/a1/critical"])
        site.publish(cloud_event(6, "resolved"), cloud_event(1), cloud_event(5, "updated"))
        relay.wait_for(lambda: firing(alertmanager) == {})
        relay.wait_for(lambda: ("fraud/a1", "critical", "resolved") in notified(receiver))
        time.sleep(2.5)  # s: two re-sendings, and two intervals of the group
        assert firing(alertmanager) == {}
        assert relay.stop() == 0
    told = notified(receiver)
    assert sorted(told) == sorted(
        (incident, severity, status)
        for incident, severity in (
            ("fraud/a1", "warning"), ("fraud/a1", "critical"), ("fraud/b2", "warning"), ("churn/a1", "warning"),
        )
        for status in ("firing", "resolved")
    )  # fmt: skip


_ = (Alertmanager, partial)
