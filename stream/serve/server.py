"""`driftline serve`: the pages over HTTP, read-only.

| path                  |                                                                     |
|-----------------------|---------------------------------------------------------------------|
| /                     | open incidents, models, resolved incidents, Driftline itself        |
| /incidents/ID         | one incident, or one alert, by its id or the beginning of it        |
| /models?name=NAME     | one model                                                           |
| /models?name=NAME&signal=SIGNAL | one signal of it over time                                |
| /api/incidents, /api/incidents/ID, /api/models, /api/signals?name=NAME, /api/outcomes?name=NAME | the same as JSON |
| /changes              | server-sent events: one whenever a page would look otherwise        |
| /health               | 200 while Redis and Kafka answer, 503 otherwise; needs no token     |
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from driftline.stream.alerts.feedback import incident_rows, page_counts
from driftline.stream.alerts.find import AmbiguousIdError, FoundAlert, may_be_id
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.timeline import OUTCOME
from driftline.stream.config.sections import Config
from driftline.stream.kafka.admin import TopicsError
from driftline.stream.kafka.client import KafkaUnreachableError
from driftline.stream.ops.http import listen
from driftline.stream.ops.logging import configure_logging
from driftline.stream.ops.secrets import check_secrets
from driftline.stream.reports.page.alert import alert_page
from driftline.stream.results.timelines import SPANS, Span
from driftline.stream.serve.access import Access
from driftline.stream.serve.live import Live, TooManySearchesError
from driftline.stream.serve.pages import model_page, overview_page
from driftline.stream.serve.signals import (
    OutcomesRead,
    SignalMap,
    Views,
    outcome_rows,
    signal_page,
    signal_rows,
    span_since,
)
from driftline.stream.state.client import StoreError
from driftline.stream.text.printable import printable

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Browsers that wait for changes at a time: each holds a connection; more than a large team has open.
_WATCHERS = 500
# s after which a page is fetched anew without news: how long ago something was passes, too. It also shows proxies that
# the connection lives.
_AT_LEAST_EVERY = 30.0
# What is shown of signals over time if nothing else is asked for.
_SPAN = "7d"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def run(config: Config) -> None:
    """Serve the pages until SIGTERM or SIGINT. Raises MissingSecretError, or OSError if the port cannot be had."""
    check_secrets(config)
    configure_logging(config.worker.log)
    access = Access.of(config.serve, os.environ)
    asyncio.run(_serve(config, access))


async def _serve(config: Config, access: Access) -> None:
    live, ended = Live(config), asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    listener = listen(config.serve.http, "pages")
    try:
        async with live.reading():
            # Handlers are cancelled when a reader leaves, so that none keeps its place among the watchers.
            runner = web.AppRunner(
                application(live, access), access_log=None, shutdown_timeout=1.0, handler_cancellation=True
            )
            await runner.setup()
            await web.SockSite(runner, listener).start()
            await ended.wait()
            await runner.cleanup()
    finally:
        listener.close()


def application(live: Live, access: Access) -> web.Application:
    """The pages as an application of aiohttp."""
    site = _Site(live)
    made = web.Application(middlewares=[_guard(access)])
    made.add_routes(
        [
            web.get("/", site.overview),
            web.get("/incidents/{id}", site.incident),
            web.get("/models", site.model),
            web.get("/api/incidents", site.incidents_json),
            web.get("/api/incidents/{id}", site.incident_json),
            web.get("/api/models", site.models_json),
            web.get("/api/signals", site.signals_json),
            web.get("/api/outcomes", site.outcomes_json),
            web.get("/changes", site.changes),
            web.get("/health", site.health),
            web.get("/live", site.live),
            web.get("/ready", site.ready),
        ]
    )
    return made


def _guard(access: Access) -> Any:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check(access, request)
            answer = await handler(request)
        except web.HTTPException as refused:
            refused.headers.update(_HEADERS)
            raise
        if not answer.prepared:
            answer.headers.update(_HEADERS)
        return answer

    return guard


# What needs no token: it says nothing of models.
_OPEN = frozenset({"/health", "/live", "/ready"})


def _check(access: Access, request: web.Request) -> None:
    if not access.allows_host(request.host):
        raise web.HTTPMisdirectedRequest(text=f"not served as {printable(request.host)}: see serve.public_url\n")
    if request.path not in _OPEN and not access.allows(request.headers.get("Authorization", "")):
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="Driftline", charset="UTF-8"'})


class _Site:
    """The handlers."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._watchers = 0
        self._views = Views()

    async def overview(self, request: web.Request) -> web.Response:
        first = request.query.get("first", "0")
        if not (first.isascii() and first.isdigit() and len(first) < 10):
            raise web.HTTPBadRequest(text="first: expected a whole number\n")
        wanted = request.query.get("model", "")
        live = self._live
        return _html(overview_page(live.now, live.config, time.time(), wanted, int(first)), self._status)

    async def incident(self, request: web.Request) -> web.Response:
        found = await self._found(request)
        allowed = self._live.config.for_model(found.alert.model).allowed
        alert, shown = found.alert, None
        if alert.about == "model":
            shown = await self._view(alert.model, alert.details.version or "", span_since(alert, time.time()))
        view, places = (shown.view, shown.places) if shown else (None, {})
        return _html(await asyncio.to_thread(alert_page, alert, found.incident, allowed, "/", view, places))

    async def model(self, request: web.Request) -> web.Response:
        live, name = self._live, request.query.get("name", "")
        shown, wanted = await self._signals(request), request.query.get("signal")
        if wanted is not None:
            signal = next((each for each in shown.view.signals if each.name == wanted), None) if shown else None
            if shown is None or signal is None:
                raise web.HTTPNotFound(text=f"nothing is known over time of a signal {printable(wanted)}\n")
            return _html(await asyncio.to_thread(signal_page, shown, signal), self._status)
        page = await asyncio.to_thread(model_page, live.now, live.config, time.time(), name, shown)
        if page is None:
            raise web.HTTPNotFound(text=f"no worker remembers a model {printable(name)}\n")
        return _html(page, self._status)

    async def signals_json(self, request: web.Request) -> web.Response:
        shown = await self._signals(request)
        if shown is None:
            raise web.HTTPNotFound(text="nothing is known over time of such a model\n")
        return _json(await asyncio.to_thread(signal_rows, shown), self._status)

    async def outcomes_json(self, request: web.Request) -> web.Response:
        shown = await self._signals(request)
        if shown is None or shown.outcomes is None:
            raise web.HTTPNotFound(text="no outcome is known over time of such a model\n")
        return _json(await asyncio.to_thread(outcome_rows, shown.outcomes), self._status)

    async def _signals(self, request: web.Request) -> SignalMap | None:
        """The signals over time that a request asks for; None if there are none."""
        asked, track = request.query.get("span", _SPAN), request.query.get("version", "")
        span = next((each for each in SPANS if each.name == asked), None)
        if span is None:
            raise web.HTTPBadRequest(text=f"span: expected one of {', '.join(each.name for each in SPANS)}\n")
        return await self._view(request.query.get("name", ""), track, span)

    async def _view(self, model: str, track: str, span: Span) -> SignalMap | None:
        if known := self._views.known(model, track, span):
            return known
        try:
            read = await self._live.timeline(model, track, span)
            if read is None:
                return None
            own = [each for each in self._live.now.incidents if each.newest.model == model]
            outcomes = await self._outcomes(model, read.track, span)
            return await asyncio.to_thread(self._views.make, model, track, span, read, own, outcomes)
        except (StoreError, FormatError) as error:
            log.warning("the timeline of %s cannot be read: %s", printable(model), error)
            return None

    async def _outcomes(self, model: str, track: str, span: Span) -> OutcomesRead | None:
        """What is stored of the outcomes of a track; None without any that can be read. Raises StoreError."""
        live = self._live
        try:
            read = await live.timeline(model, track, span, OUTCOME)
        except FormatError as error:
            log.warning("the outcomes of %s over time cannot be read: %s", printable(model), error)
            return None
        labels = next((each.labels for each in live.now.models if each.name == model), None)
        return None if read is None else OutcomesRead(read, live.config.for_model(model), labels)

    async def incidents_json(self, _: web.Request) -> web.Response:
        known, now = self._live.now, datetime.now(UTC)
        counts = page_counts(self._live.config, known.recent, known.feedback, now)
        return _json(incident_rows(known.incidents, counts, known.feedback, now), self._status)

    async def incident_json(self, request: web.Request) -> web.Response:
        found = await self._found(request)
        return web.Response(body=found.line, content_type="application/json")

    async def models_json(self, _: web.Request) -> web.Response:
        live = self._live
        return _json([each.row(live.config) for each in live.now.models], self._status)

    async def changes(self, request: web.Request) -> web.StreamResponse:
        if self._watchers >= _WATCHERS:
            raise web.HTTPServiceUnavailable(text="too many pages are open\n")
        answer = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        self._watchers += 1
        try:
            await answer.prepare(request)
            turn = await self._live.changed(-1, 0.0)
            while True:
                turn = await self._live.changed(turn, _AT_LEAST_EVERY)
                await answer.write(b"data: changed\n\n")
        except ConnectionError:
            return answer
        finally:
            self._watchers -= 1

    async def health(self, _: web.Request) -> web.Response:
        failures = {what: each.reason for what, each in self._live.now.failures.items()}
        status = "waiting" if failures else "ok"
        return _json({"status": status, "unreadable": failures}, self._status)

    async def live(self, _: web.Request) -> web.Response:
        return _json({"status": "ok"}, 200)

    async def ready(self, _: web.Request) -> web.Response:
        """Whether there is something to show, be it from before a server was lost."""
        is_known = self._live.now.at > 0
        return _json({"status": "ok" if is_known else "starting"}, 200 if is_known else 503)

    @property
    def _status(self) -> int:
        """Of a page that shows what the servers said last."""
        return 503 if self._live.now.failures else 200

    async def _found(self, request: web.Request) -> FoundAlert:
        wanted = request.match_info["id"]
        if not may_be_id(wanted):
            raise web.HTTPBadRequest(text="expected an id such as 3f9a21c47be0d512, or its first characters\n")
        try:
            found = await self._live.explain(wanted)
        except AmbiguousIdError as error:
            raise web.HTTPConflict(text=f"several alerts have ids that begin so:\n{printable(str(error))}\n") from error
        except TooManySearchesError:
            raise web.HTTPServiceUnavailable(text="too many searches of the alerts topic are waiting\n") from None
        except (KafkaUnreachableError, TopicsError) as error:
            raise web.HTTPServiceUnavailable(
                text=f"the alerts topic cannot be searched: {printable(str(error))}\n"
            ) from error
        if found is None:
            raise web.HTTPNotFound(text="no alert and no incident has this id\n")
        return found


def _html(page: str, status: int = 200) -> web.Response:
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8")


def _json(content: object, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
