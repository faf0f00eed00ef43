"""A small schema registry on loopback: serves Confluent's two paths, answers by script, and remembers requests.

with registry() as site:
    site.add(1, schema)
    site.script += [500, HANG]        # what it answers first, before it serves
"""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

HANG = 0


@dataclass
class Registry:
    """login: what every request must carry; None: nothing. script: statuses of the next answers."""

    login: tuple[str, str] | None = None
    url: str = ""
    script: deque[int] = field(default_factory=deque)
    requests: list[str] = field(default_factory=list)
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def add(self, number: int, schema: Any, kind: str | None = None, references: Any = ()) -> None:
        """Register a schema. references: pairs of subject and version."""
        self.schemas[number] = _answer(schema, kind, references)

    def add_subject(self, subject: str, version: int, schema: Any, references: Any = ()) -> None:
        """Register a schema that others refer to."""
        self.subjects[subject, str(version)] = _answer(schema, None, references)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What a registry answers."""
        self.requests.append(request.raw_path)
        status = self.script.popleft() if self.script else 200
        if status == HANG:
            await asyncio.sleep(1)  # s
        if status != 200:
            return web.json_response(
                {"error_code": status}, status=status, headers={"Location": self.url + "/elsewhere"}
            )
        if self.login and request.headers.get("Authorization") != _basic(*self.login):
            return web.json_response({"error_code": 401}, status=401)
        match = request.match_info
        if "id" in match:
            found = self.schemas.get(int(match["id"]))
        else:
            found = self.subjects.get((match["subject"], match["version"]))
        return web.json_response(found) if found else web.json_response({"error_code": 40403}, status=404)


def _basic(username: str, password: str) -> str:
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _answer(schema: Any, kind: str | None, references: Any) -> dict[str, Any]:
    """As Confluent's registry answers: without a type, the schema is in Avro."""
    answer: dict[str, Any] = {"schema": schema if isinstance(schema, str) else json.dumps(schema)}
    if kind:
        answer["schemaType"] = kind
    if references:
        answer["references"] = [{"name": s, "subject": s, "version": version} for s, version in references]
    return answer


@contextmanager
def registry(login: tuple[str, str] | None = None) -> Iterator[Registry]:
    """A registry in a thread of its own."""
    site, loop, ready = Registry(login), asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/schemas/ids/{id}", site.answer)
        app.router.add_get("/subjects/{subject}/versions/{version}", site.answer)
        app.router.add_get("/elsewhere", site.answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        server = web.TCPSite(runner, "127.0.0.1", 0)
        await server.start()
        site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield site
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
