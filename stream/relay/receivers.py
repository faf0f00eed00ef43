"""The targets of the relay: what an alert becomes there; addresses and secrets from configuration and environment."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Protocol

import msgspec
from yarl import URL

from driftline.stream.alerts.read import CompleteAlert
from driftline.stream.config.relay import Relay
from driftline.stream.paging.receivers.alertmanager import Entry, follow, is_past, to_send, took, watchdog
from driftline.stream.paging.receivers.registry import INTEGRATIONS, Integration
from driftline.stream.paging.receivers.request import Access, json_request
from driftline.stream.relay.http import Http, ReceiverUnavailableError, RequestRefusedError
from driftline.stream.state.notification_log import NotificationLog

RECEIVERS = ("pagerduty", "alertmanager", "slack", "webhook", "stdout")
# Entries of Alertmanager in one request: some 5 kB each.
_TOGETHER = 100
# s. A member that has not answered by then hears of it at the next refresh, if another one has taken it. Members answer
# within milliseconds; a dead one delays every page by so much.
_PROMPT = 0.5


class MissingSecretError(RuntimeError):
    """An environment variable that the configuration names is missing, or can't be what it should be."""


class Receiver(Protocol):
    """Where alerts go."""

    @property
    def interval(self) -> float | None:
        """Seconds between two calls of `refresh`; None: it needs none."""

    async def deliver(self, alert: CompleteAlert, raw: bytes) -> None:
        """Deliver one alert, whose record is `raw`; twice must have the effect of once.

        RequestRefusedError, ReceiverUnavailableError.
        """

    async def refresh(self, well: bool) -> None:
        """Send again what is still firing. well: whether every receiver of the relay takes alerts.

        RequestRefusedError, ReceiverUnavailableError.
        """


@dataclass(frozen=True)
class HttpReceiver:
    """A service that takes one request for each alert."""

    pager: Integration
    access: Access
    http: Http
    interval: float | None = None

    async def deliver(self, alert: CompleteAlert, raw: bytes) -> None:
        """See `Receiver`."""
        await self.http.post(self.pager.request(alert, raw, self.access, datetime.now(UTC)), self.pager.took)

    async def refresh(self, well: bool) -> None:
        """Nothing lasts here but what the service keeps itself."""


@dataclass(frozen=True)
class AlertmanagerReceiver:
    """The members of one Alertmanager cluster. What they hold is in the ledger, so that any relay can tell it again."""

    members: Sequence[Access]
    http: Http
    ledger: NotificationLog
    interval: float | None

    async def deliver(self, alert: CompleteAlert, raw: bytes) -> None:  # noqa: ARG002 # as every target
        """See `Receiver`."""
        now = datetime.now(UTC)
        changed = follow(alert, await self.ledger.entries(), now)
        await self._post(list(changed.values()), now)
        await self.ledger.hold(changed)

    async def refresh(self, well: bool) -> None:
        """Tell again what fires or ended just now, and that the relay is well."""
        now = datetime.now(UTC)
        held = await self.ledger.entries()
        alive = [watchdog(self.ledger.namespace, now)] if well else []
        told = [*alive, *held.values()]
        for start in range(0, len(told), _TOGETHER):
            await self._post(told[start : start + _TOGETHER], now)
        if held:
            await self.ledger.hold({}, gone=[name for name, entry in held.items() if is_past(entry, now)])

    async def _post(self, entries: Sequence[Entry], now: datetime) -> None:
        """One member that takes them is enough; the others hear of them at the next refresh."""
        body = to_send(entries, now)
        posts = [asyncio.create_task(self._failure(each, body)) for each in self.members]
        failures = []
        try:
            await asyncio.wait(posts, timeout=_PROMPT)
            for post in asyncio.as_completed(posts):
                if (failure := await post) is None:
                    return
                failures.append(failure)
        finally:
            for late in posts:
                late.cancel()
        raise next((each for each in failures if not isinstance(each, RequestRefusedError)), failures[0])

    async def _failure(self, member: Access, body: bytes) -> RequestRefusedError | ReceiverUnavailableError | None:
        """Why a member has not taken it; None if it has."""
        try:
            await self.http.post(json_request(member, body), took)
        except (RequestRefusedError, ReceiverUnavailableError) as error:
            return error
        return None


@dataclass(frozen=True)
class StdoutReceiver:
    """One line of JSON for each alert: its CloudEvent."""

    stream: BinaryIO
    interval: float | None = None

    async def deliver(self, alert: CompleteAlert, raw: bytes) -> None:  # noqa: ARG002 # as every target
        """See `Receiver`."""
        line = msgspec.json.format(raw, indent=-1) + b"\n"
        await asyncio.to_thread(self._write, line)  # who reads it may be slow, and must hold up no other target

    async def refresh(self, well: bool) -> None:
        """Nothing lasts here."""

    def _write(self, line: bytes) -> None:
        self.stream.write(line)
        self.stream.flush()


def read_accesses(relay: Relay, names: Sequence[str], environment: Mapping[str, str]) -> dict[str, list[Access]]:
    """Addresses and secrets of the named targets; MissingSecretError."""

    def secret(name: str | None) -> str:
        value = environment.get(name, "").strip() if name else ""
        if name and not (value and value.isascii() and value.isprintable()):
            raise MissingSecretError(
                f"the environment variable {name} is {'not set' if not value else 'no plain text'}"
            )
        return value

    def url(name: str) -> str:
        value = secret(name)
        try:
            good = value.startswith(("http://", "https://")) and URL(value).host
        except ValueError:
            good = None
        if not good:
            raise MissingSecretError(f"the environment variable {name} is no URL such as https://pager.example/hook")
        return value

    found: dict[str, Callable[[], list[Access]]] = {
        "pagerduty": lambda: [Access(relay.pagerduty.url, key=secret(relay.pagerduty.routing_key_env))],
        "alertmanager": lambda: [
            Access(f"{each.rstrip('/')}/api/v2/alerts", authorization=secret(relay.alertmanager.authorization_env))
            for each in relay.alertmanager.urls
        ],
        "slack": lambda: [Access(url(relay.slack.webhook_url_env))],
        "webhook": lambda: [
            Access(
                url(relay.webhook.url_env),
                secret(relay.webhook.signing_key_env),
                secret(relay.webhook.authorization_env),
            )
        ],
        "stdout": list,
        "heartbeat": lambda: [Access(url(relay.heartbeat_url_env))] if relay.heartbeat_url_env else [],
    }
    return {name: found[name]() for name in (*names, "heartbeat")}


def open_receiver(name: str, accesses: Sequence[Access], relay: Relay, http: Http, ledger: NotificationLog) -> Receiver:
    """The target of this name."""
    if name == "stdout":
        return StdoutReceiver(sys.stdout.buffer)
    if name == "alertmanager":
        return AlertmanagerReceiver(accesses, http, ledger, relay.alertmanager.resend_seconds)
    (access,) = accesses
    return HttpReceiver(INTEGRATIONS[name], access, http)
