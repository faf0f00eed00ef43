"""Tries a receiver as the relay would use it: its secrets and addresses, and a test page that resolves again.

Nothing is read from or written to Kafka and Redis, so a running relay notices nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.request
from collections.abc import Mapping, Sequence

from yarl import URL

from driftline.stream.alerts.build import encode_alert
from driftline.stream.alerts.read import read_complete_alert
from driftline.stream.alerts.trial import trial_alerts
from driftline.stream.checks.finding import Finding
from driftline.stream.config.relay import Relay
from driftline.stream.config.sections import Config
from driftline.stream.ops.secrets import MissingSecretError
from driftline.stream.paging.receivers.request import Endpoint
from driftline.stream.relay.http import Http, ReceiverUnavailableError, RequestRefusedError, open_session
from driftline.stream.relay.receivers import Entries, open_receiver, read_endpoints
from driftline.stream.relay.secrets import secrets_of

HEARTBEAT = "heartbeat"


def configured_receivers(relay: Relay) -> list[str]:
    """The receivers that have a section of their own in the configuration."""
    return [
        name for name in ("pagerduty", "alertmanager", "slack", "webhook", "stdout") if name in relay.model_fields_set
    ]


def check_receiver(relay: Relay, name: str, environment: Mapping[str, str]) -> list[Finding]:
    """Whether the secrets of a receiver, or of the heartbeat, are set, and its addresses have hosts that resolve."""
    try:
        endpoints = _endpoints(relay, name, environment)
    except MissingSecretError as error:
        return [Finding(name, "error", str(error), "set it where the relay runs, and here for this check")]
    faults = [Finding(name, "error", *fault) for each in endpoints if (fault := _unresolved(each))]
    hosts = ", ".join(sorted({str(URL(each.url).host) for each in endpoints}))
    return faults or [Finding(name, "ok", f"its secrets are set, and {hosts} resolves" if hosts else "needs nothing")]


def try_page(config: Config, name: str, environment: Mapping[str, str]) -> list[Finding]:
    """Send a test page to a receiver, and resolve it. Raises MissingSecretError."""
    try:
        asyncio.run(_page(config, name, _endpoints(config.relay, name, environment)))
    except RequestRefusedError as error:
        return [Finding(name, "error", f"the test page was refused: {error}", "check the secret and the URL")]
    except ReceiverUnavailableError as error:
        return [Finding(name, "error", f"the test page was not accepted: {error}", "check the URL and the network")]
    return [Finding(name, "ok", "a test page was accepted, and resolved again; look whether it arrived")]


def _endpoints(relay: Relay, name: str, environment: Mapping[str, str]) -> Sequence[Endpoint]:
    """The endpoints of one receiver alone, so that no other one's fault is taken for its own."""
    if name == HEARTBEAT:
        return read_endpoints(relay, [], environment)[HEARTBEAT]
    return read_endpoints(relay.model_copy(update={"heartbeat_url_env": None}), [name], environment)[name]


def _unresolved(endpoint: Endpoint) -> tuple[str, str] | None:
    """What is wrong with the host of an endpoint, and what helps. Behind a proxy, only that one must resolve it."""
    host = URL(endpoint.url).host
    if urllib.request.getproxies():
        return None
    try:
        socket.getaddrinfo(host, URL(endpoint.url).port)
    except OSError as error:
        return f"its host {host} does not resolve: {error.strerror}", "check the URL, and the DNS of this machine"
    return None


async def _page(config: Config, name: str, endpoints: Sequence[Endpoint]) -> None:
    async with open_session(config.relay) as session:
        http = Http(session, secrets_of({name: endpoints}))
        receiver = open_receiver(name, endpoints, config.relay, http, config.worker.group)
        held: Entries = {}
        for alert in trial_alerts(config.topics.predictions, int(time.time() * 1000)):
            raw = encode_alert(alert)
            held = await receiver.deliver(read_complete_alert(raw), raw, held)
