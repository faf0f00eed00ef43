"""Serves GET /health and /metrics, for workers and relays."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

log = logging.getLogger(__name__)


class Health(NamedTuple):
    """What /health answers: the status in a word, the reason unless it is "ok", and further fields."""

    status: str
    reason: str | None
    more: dict[str, Any]


# Statuses with which /health answers 200; it answers 503 with all others.
_HEALTHY = frozenset({"ok", "degraded"})


@asynccontextmanager
async def serve_http(address: str, registry: CollectorRegistry, health: Callable[[], Health]) -> AsyncIterator[None]:
    """Serve /health and /metrics on host:port until the context ends; port 0 takes any free one."""

    async def get_health(_: web.Request) -> web.Response:
        status, reason, more = health()
        body = {"status": status, "reason": reason, **more}
        return web.json_response(body, status=200 if status in _HEALTHY else 503)

    async def get_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    host, _, port = address.rpartition(":")
    application = web.Application()
    application.add_routes([web.get("/health", get_health), web.get("/metrics", get_metrics)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        log.info("health and metrics on http://%s:%d", host, runner.addresses[0][1])
        yield
    finally:
        await runner.cleanup()
