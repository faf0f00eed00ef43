"""A test bench for one receiver of the relay: its log in a real Redis, and dispatchers that are killed and replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import aiohttp
from aiokafka import ConsumerRecord

from driftline.stream.config.relay import Relay
from driftline.stream.config.sections import Redis
from driftline.stream.demo.servers import Server
from driftline.stream.paging.commands import AS_WRITTEN
from driftline.stream.paging.grouping import GroupingRules
from driftline.stream.paging.receivers.request import Endpoint
from driftline.stream.relay.dispatcher import Dispatcher, Record
from driftline.stream.relay.http import Http, retry_delivery
from driftline.stream.relay.receivers import open_receiver, read_endpoints
from driftline.stream.state.client import connect
from driftline.stream.state.notification_log import NotificationLog
from driftline.stream.state.silences import SilenceCache, SilenceStore
from tests.harness.brokers import unique
from tests.harness.services import ROUTING_KEY, Service

#: s within which a service must answer.
TIMEOUT = 1.0
#: The secret part of Slack's URL.
HOOK = "/services/T0/B0/hook-secret"


def record(offset: int, value: bytes | None) -> Record:
    return ConsumerRecord("alerts", 0, offset, 0, 0, b"fraud", value, None, 5, len(value or b""), ())


@dataclass
class Bench:
    """One receiver with its notification log, and dispatchers that come and go."""

    notification_log: NotificationLog
    http: Http
    endpoints: dict[str, list[Endpoint]]
    relay: Relay
    silences: SilenceCache
    rules: GroupingRules = GroupingRules()
    dead_letters: list[str] = field(default_factory=list)
    give_up: float = 60.0

    def dispatcher(self, *values: bytes | None) -> Dispatcher:
        """A new dispatcher that has received these records."""
        name = self.notification_log.receiver
        namespace = self.notification_log.namespace
        receiver = open_receiver(name, self.endpoints[name], self.relay, self.http, namespace)
        dispatcher = Dispatcher(
            name,
            receiver,
            self.notification_log,
            self._send_dead_letter,
            self.give_up,
            self.rules,
            self.silences,
            AS_WRITTEN,
        )
        for each in self.records(*values):
            dispatcher.receive(each)
        return dispatcher

    def records(self, *values: bytes | None) -> list[Record]:
        """The records of these values."""
        return [record(offset, value) for offset, value in enumerate(values)]

    async def deliver(self, *values: bytes | None) -> Dispatcher:
        """Settle these records with a new dispatcher."""
        dispatcher = self.dispatcher(*values)
        await settle(dispatcher)
        return dispatcher

    async def _send_dead_letter(self, record: Record, reason: str) -> None:
        self.dead_letters.append(f"{record.offset}: {reason}")


async def until(happened: Callable[[], bool], patience: float = 30.0) -> None:
    """Wait until something has happened in another task or thread."""
    for _ in range(int(patience / 0.02)):
        if happened():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def settle(dispatcher: Dispatcher, longest_pause: float = 0.1) -> None:
    while not dispatcher.idle:
        await retry_delivery(longest_pause)(dispatcher.step)


def run_scenario(
    redis: Server,
    receiver: str,
    urls: Sequence[str],
    scenario: Callable[[Bench], Awaitable[None]],
    timeout: float = TIMEOUT,
) -> None:
    """Run a scenario with a receiver at these addresses. timeout: s within which it must answer."""
    environment = {
        "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
        "SLACK_WEBHOOK_URL": urls[0] + HOOK,
        "WEBHOOK_URL": f"{urls[0]}/hook",
    }
    relay = Relay.model_validate(
        {"pagerduty": {"url": f"{urls[0]}/v2/enqueue"}, "alertmanager": {"urls": list(urls), "resend_seconds": 1}}
    )

    async def with_bench() -> None:
        client = connect(Redis(url=f"redis://{redis.address}"))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session, aclosing(client):
            endpoints = read_endpoints(relay, [receiver], environment)
            notification_log, http = NotificationLog(client, unique("ns"), receiver), Http(session, [ROUTING_KEY, HOOK])
            silences = SilenceCache(SilenceStore(client, notification_log.namespace))
            await scenario(Bench(notification_log, http, endpoints, relay, silences))

    asyncio.run(with_bench())


def on_bench(
    redis: Server,
    services: Sequence[Service],
    scenario: Callable[[Bench], Awaitable[None]],
    timeout: float = TIMEOUT,
) -> None:
    """Run a scenario with services of one kind, whose documented rules must not be violated. See `run_scenario`."""
    run_scenario(redis, services[0].kind, [service.url for service in services], scenario, timeout)
    assert [each for service in services for each in service.violations] == []
