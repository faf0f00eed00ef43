"""Watching the worker: /health, /metrics, and a watchdog that ends a process that stands still."""

from __future__ import annotations

import logging
import os
import threading
import time

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream.metrics import Metrics

log = logging.getLogger(__name__)

STALLED_EXIT = 3


class Watchdog:
    """Ends the process when records wait and none was processed for `patience` seconds, or its event loop stands still.

    It runs in a thread: a stalled loop could not end itself. Faust's consumers are known to stall without a word.
    """

    def __init__(self, metrics: Metrics, patience: float) -> None:
        self._metrics, self._patience = metrics, patience
        self._beaten = time.monotonic()

    def beat(self) -> None:
        """The event loop is alive."""
        self._beaten = time.monotonic()

    def stalled(self) -> str | None:
        """Why the worker counts as stalled; None if it does not."""
        now = time.monotonic()
        if now - self._beaten > self._patience:
            return f"the event loop stood still for {now - self._beaten:.0f} s"
        waiting, idle = sum(self._metrics.lag.values()), now - self._metrics.last_progress
        if waiting and idle > self._patience:
            return f"{waiting} records wait and none was processed for {idle:.0f} s"
        return None

    def start(self) -> None:
        """Watch from now on."""
        self.beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while (reason := self.stalled()) is None:
            time.sleep(min(self._patience / 10, 5.0))
        log.critical("watchdog: %s; exiting to be started again", reason)
        logging.shutdown()
        os._exit(STALLED_EXIT)


async def serve(address: str, metrics: Metrics, watchdog: Watchdog) -> None:
    """Answer /health and /metrics on host:port until the process ends."""

    async def health(_: web.Request) -> web.Response:
        reason = watchdog.stalled()
        lag = sum(metrics.lag.values())
        body = {"status": "ok" if reason is None else "stalled", "reason": reason, "lag": lag}
        return web.json_response(body, status=200 if reason is None else 503)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    host, _, port = address.rpartition(":")
    application = web.Application()
    application.add_routes([web.get("/health", health), web.get("/metrics", scrape)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    log.info("health and metrics on http://%s", address)
