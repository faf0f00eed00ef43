"""Serves GET /health and /metrics, for workers and relays."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

log = logging.getLogger(__name__)


@asynccontextmanager
async def serve_http(
    address: str, registry: CollectorRegistry, unhealthy: str, health: Callable[[], tuple[str | None, dict[str, Any]]]
) -> AsyncIterator[None]:
    """Serve /health and /metrics on host:port until the context ends; port 0 takes any free one.

    health: returns the reason why the process is unhealthy (None if it is healthy), and further fields of the answer.
    unhealthy: what /health calls the status of an unhealthy process; it then answers 503.
    """

    async def get_health(_: web.Request) -> web.Response:
        reason, more = health()
        body = {"status": "ok" if reason is None else unhealthy, "reason": reason, **more}
        return web.json_response(body, status=200 if reason is None else 503)

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
