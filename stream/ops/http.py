"""Serves GET /health, /live, /ready and /metrics, for workers and relays."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Info, ProcessCollector, generate_latest

from driftline.stream.retry import Waits

log = logging.getLogger(__name__)

#: Ports after the configured one that are tried while another process has it: more workers than anyone starts on one
#: machine from one configuration.
FURTHER_PORTS = 100
# The servers that a worker or relay may wait for; each has a time series from the start.
_SERVERS = ("Kafka", "Redis")


def own_registry() -> CollectorRegistry:
    """A registry with the version of this process, and its processor time, memory and open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    Info("driftline_build", "The version that runs", registry=registry).info({"version": version("driftline")})
    return registry


class Health(NamedTuple):
    """What /health answers: the status in a word, the reason unless it is "ok", and further fields."""

    status: str
    reason: str | None
    more: dict[str, Any]


# Statuses with which /health answers 200; it answers 503 with all others.
_HEALTHY = frozenset({"ok", "degraded"})
# Statuses with which /live answers 503: a restart helps no other process, least of all one that waits for a server.
_DEAD = frozenset({"stalled"})


def listen(address: str, what: str = "health and metrics") -> socket.socket:
    """A socket that listens on host:port, or on the next free one of the FURTHER_PORTS after it; port 0: on any.

    what: is served there.

    So several workers of one configuration run on one machine. Raises OSError if no port is free.
    """
    host, _, port = address.rpartition(":")
    for candidate in range(int(port), int(port) + FURTHER_PORTS + 1):
        try:
            listener = _bound(host.strip("[]"), candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate in (int(port) + FURTHER_PORTS, 65535):
                raise
        else:
            break
    taken = listener.getsockname()[1]
    if port not in ("0", str(taken)):
        log.warning("port %s is in use: %s on port %d instead", port, what, taken)
    log.info("%s on http://%s:%d", what, host, taken)
    return listener


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def waiting_health(waits: Waits, more: dict[str, Any]) -> Health:
    """What /health answers while this process waits for servers; the process must wait for one."""
    waiting = {
        server: {
            "error": wait.error,
            "since": datetime.fromtimestamp(wait.since, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - wait.since),
            "attempts": wait.attempts,
        }
        for server, wait in waits.current().items()
    }
    reasons = [f"{server} for {each['seconds']} s: {each['error']}" for server, each in sorted(waiting.items())]
    return Health("waiting", f"waits for {'; '.join(reasons)}", {**more, "waiting_for": waiting})


def register_waits(registry: CollectorRegistry, waits: Waits) -> None:
    """Add the gauge of what a process waits for to its metrics."""
    gauge = Gauge(
        "driftline_waiting_seconds",
        "Since when a server does not answer, or refuses; 0 if nothing waits for it",
        ["server"],
        registry=registry,
    )

    for server in _SERVERS:
        gauge.labels(server).set_function(partial(_seconds, waits, server))


def _seconds(waits: Waits, server: str) -> float:
    wait = waits.current().get(server)
    return 0.0 if wait is None else time.time() - wait.since


@asynccontextmanager
async def serve_waits(listener: socket.socket, waits: Waits) -> AsyncIterator[None]:
    """Serve /health and /metrics of a process that has not started yet, because it waits for its servers."""
    registry = own_registry()
    register_waits(registry, waits)

    def health() -> Health:
        return waiting_health(waits, {}) if waits.current() else Health("starting", "it asks its servers", {})

    async with serve_http(listener, registry, health):
        yield


@asynccontextmanager
async def serve_http(
    listener: socket.socket, registry: CollectorRegistry, health: Callable[[], Health]
) -> AsyncIterator[None]:
    """Serve /health, /live, /ready and /metrics on a socket until the context ends. The socket goes on to listen.

    /ready answers as /health does; /live fails only where a restart helps.
    """

    async def get_health(request: web.Request) -> web.Response:
        status, reason, more = health()
        is_fine = status not in _DEAD if request.path == "/live" else status in _HEALTHY
        return web.json_response({"status": status, "reason": reason, **more}, status=200 if is_fine else 503)

    async def get_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    asked = [web.get(path, get_health) for path in ("/health", "/live", "/ready")]
    application.add_routes([*asked, web.get("/metrics", get_metrics)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listener.dup()).start()
        yield
    finally:
        await runner.cleanup()
