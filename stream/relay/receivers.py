"""The receivers of the relay: how each one is sent an alert, and where it is reached.

Promise: delivering an alert twice has the effect of once where the service allows it, since a killed relay sends again.
Addresses come from the configuration, secrets from the environment.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Protocol, TypeAlias

import msgspec
from yarl import URL

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.config.relay import Relay
from driftline.stream.ops.secrets import MissingSecretError
from driftline.stream.paging.receivers.alertmanager import (
    Entry,
    is_accepted,
    is_forgettable,
    request_body,
    updated_entries,
    watchdog,
)
from driftline.stream.paging.receivers.registry import INTEGRATIONS, Integration
from driftline.stream.paging.receivers.request import Endpoint, json_request
from driftline.stream.relay.http import Http, ReceiverUnavailableError, RequestRefusedError
from driftline.stream.text.printable import printable_json

#: What Alertmanager holds, by identity: the relay stores it. Other receivers hold nothing.
Entries: TypeAlias = Mapping[str, Entry]

RECEIVERS = ("pagerduty", "alertmanager", "slack", "webhook", "stdout")
# Entries in one request to Alertmanager: some 5 kB each. New pages wait for each request, so there must be few: with a
# tenth of it, 1000 open incidents would delay a page by ten answers.
_BATCH = 1000
# s. A member that has not answered by then gets the entries at the next refresh, if another one has accepted them.
# Members answer within milliseconds; a dead one delays every page by so much.
_FIRST_ANSWER = 0.5


class Receiver(Protocol):
    """A service that alerts are sent to."""

    @property
    def interval(self) -> float | None:
        """Seconds between two calls of `refresh`; None: it needs no refresh."""

    async def deliver(self, alert: CompleteAlert, raw: bytes, held: Entries) -> Entries:
        """Deliver one alert, whose record is `raw`; returns the entries held then. held: those held until now.

        Raises RequestRefusedError or ReceiverUnavailableError if the service does not accept it.
        """

    async def refresh(self, healthy: bool, held: Entries) -> Entries:
        """Send again what is still firing; returns the entries held then.

        healthy: whether every receiver of the relay accepts alerts. held: those held until now.

        Raises RequestRefusedError or ReceiverUnavailableError if the service does not accept it.
        """


@dataclass(frozen=True)
class HttpReceiver:
    """A service that gets one request for each alert."""

    integration: Integration
    endpoint: Endpoint
    http: Http
    interval: float | None = None

    async def deliver(self, alert: CompleteAlert, raw: bytes, held: Entries) -> Entries:
        """See `Receiver`."""
        request = self.integration.build_request(alert, raw, self.endpoint, datetime.now(UTC))
        await self.http.post(request, self.integration.is_accepted)
        return held

    async def refresh(self, healthy: bool, held: Entries) -> Entries:  # noqa: ARG002 # as every receiver
        """Nothing: the service itself keeps what is firing."""
        return held


@dataclass(frozen=True)
class AlertmanagerReceiver:
    """The members of one Alertmanager cluster. namespace: name of the installation."""

    members: Sequence[Endpoint]
    http: Http
    namespace: str
    interval: float | None

    async def deliver(self, alert: CompleteAlert, raw: bytes, held: Entries) -> Entries:  # noqa: ARG002 # as every one
        """See `Receiver`."""
        now = datetime.now(UTC)
        entries = updated_entries(alert, held, now)
        await self._post(list(entries.values()), now)
        return {**held, **entries}

    async def refresh(self, healthy: bool, held: Entries) -> Entries:
        """Send again what is firing or ended just now, and a sign of life if the relay is healthy."""
        now = datetime.now(UTC)
        alive = [watchdog(self.namespace, now)] if healthy else []
        entries = [*alive, *held.values()]
        for start in range(0, len(entries), _BATCH):
            await self._post(entries[start : start + _BATCH], now)
        return {name: entry for name, entry in held.items() if not is_forgettable(entry, now)}

    async def _post(self, entries: Sequence[Entry], now: datetime) -> None:
        """Send entries to all members. One that accepts them is enough; the others get them at the next refresh."""
        body = request_body(entries, now)
        posts = [asyncio.create_task(self._failure(each, body)) for each in self.members]
        failures = []
        try:
            await asyncio.wait(posts, timeout=_FIRST_ANSWER)
            for post in asyncio.as_completed(posts):
                if (failure := await post) is None:
                    return
                failures.append(failure)
        finally:
            for late in posts:
                late.cancel()
        unavailable = [each for each in failures if isinstance(each, ReceiverUnavailableError)]
        raise max(unavailable, key=lambda each: each.uncertain) if unavailable else failures[0]

    async def _failure(self, member: Endpoint, body: bytes) -> RequestRefusedError | ReceiverUnavailableError | None:
        """Why a member has not accepted the entries; None if it has."""
        try:
            await self.http.post(json_request(member, body), is_accepted)
        except (RequestRefusedError, ReceiverUnavailableError) as error:
            return error
        return None


@dataclass(frozen=True)
class StdoutReceiver:
    """Standard output: one line of JSON for each alert, its CloudEvent."""

    stream: BinaryIO
    interval: float | None = None

    async def deliver(self, alert: CompleteAlert, raw: bytes, held: Entries) -> Entries:  # noqa: ARG002 # as every one
        """See `Receiver`."""
        line = printable_json(msgspec.json.format(raw, indent=-1).decode()).encode() + b"\n"
        await asyncio.to_thread(self._write, line)  # a slow reader must not delay other receivers
        return held

    async def refresh(self, healthy: bool, held: Entries) -> Entries:  # noqa: ARG002 # as every receiver
        """Nothing: a line that was written stays."""
        return held

    def _write(self, line: bytes) -> None:
        self.stream.write(line)
        self.stream.flush()


def read_endpoints(relay: Relay, names: Sequence[str], environment: Mapping[str, str]) -> dict[str, list[Endpoint]]:
    """The endpoints of the named receivers and of the heartbeat. Raises MissingSecretError."""

    def secret(name: str | None) -> str:
        value = environment.get(name, "").strip() if name else ""
        if name and not (value and value.isascii() and value.isprintable()):
            raise MissingSecretError(
                f"the environment variable {name} is {'not set' if not value else 'not printable ASCII'}"
            )
        return value

    def url(name: str) -> str:
        value = secret(name)
        try:
            good = value.startswith(("http://", "https://")) and URL(value).host
        except ValueError:
            good = None
        if not good:
            raise MissingSecretError(f"the environment variable {name} is not a URL such as https://pager.example/hook")
        return value

    found: dict[str, Callable[[], list[Endpoint]]] = {
        "pagerduty": lambda: [Endpoint(relay.pagerduty.url, key=secret(relay.pagerduty.routing_key_env))],
        "alertmanager": lambda: [
            Endpoint(f"{each.rstrip('/')}/api/v2/alerts", authorization=secret(relay.alertmanager.authorization_env))
            for each in relay.alertmanager.urls
        ],
        "slack": lambda: [Endpoint(url(relay.slack.webhook_url_env))],
        "webhook": lambda: [
            Endpoint(
                url(relay.webhook.url_env),
                secret(relay.webhook.signing_key_env),
                secret(relay.webhook.authorization_env),
            )
        ],
        "stdout": list,
        "heartbeat": lambda: [Endpoint(url(relay.heartbeat_url_env))] if relay.heartbeat_url_env else [],
    }
    return {name: found[name]() for name in (*names, "heartbeat")}


def open_receiver(name: str, endpoints: Sequence[Endpoint], relay: Relay, http: Http, namespace: str) -> Receiver:
    """The receiver of this name, one of RECEIVERS. namespace: name of the installation."""
    if name == "stdout":
        return StdoutReceiver(sys.stdout.buffer)
    if name == "alertmanager":
        return AlertmanagerReceiver(endpoints, http, namespace, relay.alertmanager.resend_seconds)
    (endpoint,) = endpoints
    return HttpReceiver(INTEGRATIONS[name], endpoint, http)
