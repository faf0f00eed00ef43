"""A watchdog that ends a stalled worker, and the worker's /health and /metrics."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from socket import socket

from driftline.stream.ops.http import Health, register_waits, serve_http, waiting_health
from driftline.stream.retry import Waits
from driftline.stream.worker.faust.app import REBALANCE_TIMEOUT
from driftline.stream.worker.intake import Intake
from driftline.stream.worker.metrics import Metrics

log = logging.getLogger(__name__)

STALLED_EXIT = 3
# s to write the last log line. A process that waited for a log that nobody reads any more would never end.
_LAST_LOG_SECONDS = 2.0


class Watchdog:
    """Ends the process after `patience` seconds in which work was due and none was done, or the lag was not known.

    It runs in a thread, because a stalled event loop could not end itself. Faust's consumers are known to stall without
    a log line. While a server does not answer or refuses (`waits`), no work is due: a restart would not help.
    """

    def __init__(self, metrics: Metrics, patience: float, waits: Waits) -> None:
        self._metrics, self._patience, self.waits = metrics, patience, waits
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._assigned_at = self._lag_known_at = time.monotonic()
        self._loop_alive_at: float | None = None
        self._rebalancing_since: float | None = None
        self._taking_over_since: float | None = None
        self._working, self._done_at = set[str](), dict[str, float]()

    def start(self) -> None:
        """Begin to watch, unless it does already."""
        if not self._thread.is_alive():
            self._assigned_at = self._lag_known_at = time.monotonic()
            self._thread.start()

    def loop_alive(self) -> None:
        """Report that the event loop runs, and that the first assignment has come."""
        self._loop_alive_at = time.monotonic()

    @contextmanager
    def taking_over(self) -> Iterator[None]:
        """Report that the partitions of a new assignment are taken over, until the context ends; then work is due.

        A takeover that another rebalance cuts off goes on with the next one.
        """
        self._rebalancing_since = None
        self._taking_over_since = self._taking_over_since or time.monotonic()
        yield
        self._taking_over_since = None
        self._assigned_at = time.monotonic()

    def rebalancing(self) -> None:
        """Report that no partition is this worker's, as Kafka moves them."""
        self._rebalancing_since = self._rebalancing_since or time.monotonic()

    def lag_known(self) -> None:
        """Report that the metrics show how much work there is: none is due of topics without a lag."""
        self._lag_known_at = now = time.monotonic()
        self._rebalancing_since = self._taking_over_since = None
        lag = self._metrics.lag_by_topic()
        self._done_at |= {topic: now for topic in lag if not lag[topic] and topic not in self._working}

    @contextmanager
    def working(self, topic: str) -> Iterator[None]:
        """Report that records of a topic are in work, until the context ends."""
        self._working.add(topic)
        self._done_at[topic] = time.monotonic()
        try:
            yield
        finally:
            self._working.discard(topic)
            self._done_at[topic] = time.monotonic()

    def stalled(self, patience: float) -> str | None:
        """The reason why the worker has been stalled for more than `patience` seconds; None if it has not."""
        now = time.monotonic()
        for reason, since in self._signs():
            if now - since > patience:
                return f"{reason} for {now - since:.0f} s"
        return None

    @property
    def _waited_until(self) -> float:
        """When this process last waited for a server: now if it does (monotonic clock)."""
        return time.monotonic() if self.waits.current() else self.waits.ended_at

    def _signs(self) -> Iterator[tuple[str, float]]:
        """What would be wrong if it lasted, and since when (monotonic clock)."""
        due_at = max(self._assigned_at, self._waited_until)
        reached_at = max(due_at, self.waits.unreachable_at)
        if self._loop_alive_at is None:
            yield "Kafka did not say what share of the topics is this worker's", reached_at
            return
        yield "the event loop stood still", self._loop_alive_at
        if self._taking_over_since is not None:
            yield "its partitions were not taken over", max(self._taking_over_since, reached_at)
            return
        if self._rebalancing_since is not None:
            yield "a rebalance did not end", max(self._rebalancing_since + REBALANCE_TIMEOUT, reached_at)
            return
        yield "Kafka did not say where its topics end", max(self._lag_known_at, reached_at)
        lag = self._metrics.lag_by_topic()
        for topic in sorted({*lag, *self._working}):
            if lag.get(topic) or topic in self._working:
                since = max(self._done_at.get(topic, 0.0), due_at)
                yield f"records of topic {topic} waited and none was done", since

    @property
    def unhealthy(self) -> str | None:
        """The reason that /health reports, at half of the patience; None if the worker is healthy."""
        return self.stalled(self._patience / 2)

    def _watch(self) -> None:
        while (reason := self.stalled(self._patience)) is None:
            time.sleep(min(self._patience / 10, 5.0))
        end = threading.Timer(_LAST_LOG_SECONDS, os._exit, [STALLED_EXIT])
        end.daemon = True
        end.start()
        log.critical("watchdog: %s; exiting to be started again", reason)
        logging.shutdown()
        os._exit(STALLED_EXIT)


@asynccontextmanager
async def serve_worker_http(
    listener: socket, metrics: Metrics, watchdog: Watchdog, intake: Intake
) -> AsyncIterator[None]:
    """Serve /health and /metrics of a worker until the context exits; see `serve_http`."""

    def health() -> Health:
        figures = {"lag": sum(metrics.lag_by_topic().values()), "removed_unread": metrics.removed_unread}
        more = {**figures, "level": metrics.level, "no_room": metrics.no_room.fields(), **intake.fields()}
        # A restart helps a stalled worker. It does not help one that waits for a server, or whose messages are no
        # events, but those watch nothing, and somebody must look: so all answer 503.
        if reason := watchdog.unhealthy:
            return Health("stalled", reason, more)
        if watchdog.waits.current():
            return waiting_health(watchdog.waits, more)
        if reason := intake.failure:
            return Health("unhealthy", reason, more)
        reason = intake.degradation
        return Health("degraded" if reason else "ok", reason, more)

    register_waits(metrics.registry, watchdog.waits)
    async with serve_http(listener, metrics.registry, health):
        yield
