"""Fake receivers on loopback: they check the rules of each service, answer by script, and remember. And test alerts.

with fake("pagerduty") as service:
    service.script += [answer(429, retry_after="1"), answer(500), NO_ANSWER]     # then the documented success
    ...
    assert service.violations == []
    assert service.pages == {"fraud/a1": 1}
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from aiohttp import web

PAGERDUTY_LIMIT = 512_000
ROUTING_KEY = "R0UT1NGKEY" + "0" * 22

# Alerts


def alert_data(
    seq: int, status: str = "firing", incident: str = "a1", key: str = "fraud", **fields: Any
) -> dict[str, Any]:
    """The data of an alert, by default emitted just now, for a drift that began a minute ago."""
    now = time.time()
    return {
        "id": f"{incident}-{seq}",
        "alert_key": key,
        "incident_id": incident,
        "seq": seq,
        "status": status,
        "severity": "warning",
        "title": f"{key}: amount ×100 since 14:05",
        "description": "features.amount: mean 3 → 300",
        "starts_at": stamp(now - 60),
        "ends_at": stamp(now) if status == "resolved" else None,
        "emitted_at": stamp(now),
        "source": f"/driftline/models/{key}",
        "component": key,
        "group": key,
        "class": "data-drift",
        "labels": {"model": key},
        "evidence": {"signals": [{"signal": "features.amount", "test": "ks", "evidence_nats": 40.1, "events": 350}]},
        "links": [{"href": "https://wiki.example/fraud", "text": "Runbook"}],
        "mode": "live",
        **fields,
    }


def cloud_event(*args: Any, **fields: Any) -> bytes:
    """The record of an alert; see `alert_data`."""
    data = alert_data(*args, **fields)
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": data["id"],
            "source": "/driftline",
            "type": "driftline.alert.v1",
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


# The rules that each service documents; each function returns those violated


def pagerduty_violations(body: bytes, headers: Mapping[str, str]) -> list[str]:
    event = json.loads(body)
    payload, summary = event.get("payload", {}), event.get("payload", {}).get("summary", "")
    rules = {
        "content type": headers.get("Content-Type") == "application/json",
        "body too large": len(body) <= PAGERDUTY_LIMIT,
        "routing_key": len(event.get("routing_key", "")) == 32,
        "event_action": event.get("event_action") in ("trigger", "acknowledge", "resolve"),
        "dedup_key": 1 <= len(event.get("dedup_key", "")) <= 255,
        "summary": isinstance(summary, str) and 1 <= len(summary) <= 1024,
        "source": isinstance(payload.get("source"), str) and payload["source"] != "",
        "severity": payload.get("severity") in ("critical", "error", "warning", "info"),
        "links": all(link["href"].startswith("http") and link["text"] for link in event.get("links", [])),
        "details": isinstance(payload.get("custom_details", {}), dict),
    }
    return [rule for rule, kept in rules.items() if not kept]


def slack_violations(body: bytes, headers: Mapping[str, str]) -> list[str]:
    message = json.loads(body)
    blocks = message.get("blocks", [])
    texts = [block["text"] for block in blocks if "text" in block]
    texts += [element for block in blocks for element in block.get("elements", [])]
    limits = {"plain_text": 150, "mrkdwn": 3000}
    rules = {
        "content type": headers.get("Content-Type") == "application/json",
        "text": 1 <= len(message.get("text", "")) <= 4000,
        "blocks": 1 <= len(blocks) <= 50,
        "block type": all(block["type"] in ("header", "section", "context") for block in blocks),
        "header": all(block["text"]["type"] == "plain_text" for block in blocks if block["type"] == "header"),
        "length": all(1 <= len(text["text"]) <= limits[text["type"]] for text in texts),
        "obeyed": not any(code in each["text"] for each in texts if each["type"] == "mrkdwn" for code in ("<!", "<@")),
    }
    return [rule for rule, kept in rules.items() if not kept]


def webhook_violations(body: bytes, headers: Mapping[str, str]) -> list[str]:
    event = json.loads(body)
    rules = {
        "content type": headers.get("Content-Type", "").startswith("application/cloudevents+json"),
        "cloud event": event.get("specversion") == "1.0" and {"id", "source", "type"} <= event.keys(),
        "webhook-id": 1 <= len(headers.get("webhook-id", "")) <= 100,
        "webhook-timestamp": abs(int(headers.get("webhook-timestamp", "0")) - time.time()) < 300,
    }
    return [rule for rule, kept in rules.items() if not kept]


VIOLATIONS: Mapping[str, Callable[[bytes, Mapping[str, str]], list[str]]] = {
    "pagerduty": pagerduty_violations,
    "slack": slack_violations,
    "webhook": webhook_violations,
    "alertmanager": lambda body, _: [] if isinstance(json.loads(body), list) else ["not a list"],
    "heartbeat": lambda *_: [],
}

# Answers


class Answer(NamedTuple):
    """An answer of a service, sent after `seconds`; `before` is called when the request has come."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    seconds: float = 0.0
    before: Callable[[], object] = lambda: None


def answer(status: int, body: bytes = b"", retry_after: str | None = None, **more: Any) -> Answer:
    return Answer(status, body, {} if retry_after is None else {"Retry-After": retry_after}, **more)


NO_ANSWER = Answer(seconds=60)
SUCCESS = {
    "pagerduty": answer(202, b'{"status":"success","message":"Event processed","dedup_key":"k"}'),
    "slack": answer(200, b"ok"),
    "webhook": answer(204),
    "alertmanager": answer(200),
    "heartbeat": answer(200, b"OK"),
}


class Received(NamedTuple):
    """A request: when it came (monotonic s), its content, and the status of the answer."""

    at: float
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A running service. script: the next answers; when there are none, `otherwise`, or the documented success.

    down: connections are cut without an answer. poison: a request with these bytes is always answered with 500.
    """

    kind: str
    port: int = 0
    script: deque[Answer] = field(default_factory=deque)
    otherwise: Answer | None = None
    down: bool = False
    poison: bytes | None = None
    requests: list[Received] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    refused_connections: int = 0
    # PagerDuty's state: number of pages by dedup_key, and which are open.
    pages: Counter[str] = field(default_factory=Counter)
    open: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> list[Received]:
        """The requests that were answered with success."""
        return [each for each in self.requests if each.status < 300]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.down:
            self.refused_connections += 1
            assert request.transport
            request.transport.abort()
            return web.Response()
        violations = VIOLATIONS[self.kind](body, request.headers) if request.method == "POST" else []
        self.violations += violations
        reply = self.script.popleft() if self.script else self.otherwise or SUCCESS[self.kind]
        reply = answer(400, "; ".join(violations).encode()) if violations else reply
        reply = answer(500) if self.poison and self.poison in body else reply
        self.requests.append(Received(time.monotonic(), dict(request.headers), body, reply.status))
        if self.kind == "pagerduty" and reply.status < 300:
            self._count_page(json.loads(body))
        reply.before()
        await asyncio.sleep(reply.seconds)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    def _count_page(self, event: dict[str, Any]) -> None:
        """Count a page if it is not open, also when it was resolved before."""
        key = event["dedup_key"]
        if event["event_action"] == "trigger":
            self.pages[key] += key not in self.open
            self.open.add(key)
        else:
            self.open.discard(key)


@contextmanager
def fake(kind: str) -> Iterator[Service]:
    """Run a service on a loopback port, in a thread of its own."""
    service, ready, loop = Service(kind), threading.Event(), asyncio.new_event_loop()

    async def serve() -> web.AppRunner:
        application = web.Application(client_max_size=16 << 20)
        application.router.add_route("*", "/{path:.*}", service.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        service.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return runner

    async def end(runner: web.AppRunner) -> None:
        await runner.cleanup()
        unanswered = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unanswered:
            task.cancel()
        await asyncio.gather(*unanswered, return_exceptions=True)

    def work() -> None:
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(end(runner))
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield service
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
