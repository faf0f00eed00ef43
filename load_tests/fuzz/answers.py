"""Answers of receivers and of schema registries, from the first byte of HTTP on."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from driftline.stream.config.relay import Relay
from driftline.stream.paging.receivers import alertmanager
from driftline.stream.paging.receivers.registry import INTEGRATIONS
from driftline.stream.paging.receivers.request import Endpoint, json_request
from driftline.stream.relay.http import Http, ReceiverUnavailableError, RequestRefusedError, open_session
from driftline.stream.sources.schemas import SchemaRegistry, SchemasUnavailableError
from load_tests.fuzz import avro
from load_tests.fuzz.target import Target

WORDS = (
    b"\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"HTTP/1.1 ",
    b"Retry-After: ", b"Location: http://127.0.0.1:1/\r\n", b"Set-Cookie: a=b\r\n", b"\r\n\r\n",
    b"Connection: upgrade\r\n",
)  # fmt: skip
_BODIES = {
    "pagerduty": (202, b'{"status": "success", "dedup_key": "a"}'),
    "slack": (200, b"ok"),
    "webhook": (204, b""),
    "alertmanager": (200, b""),
}
_ACCEPTED = {name: each.is_accepted for name, each in INTEGRATIONS.items()} | {"alertmanager": alertmanager.is_accepted}


def targets() -> list[Target]:
    """Receivers, each with its own idea of success, and registries."""
    refusals = (RequestRefusedError, ReceiverUnavailableError)
    receivers = [
        Target(f"answer-{name}", _writer(status, body), _Client(_poster(name)).read, refusals, None, WORDS)
        for name, (status, body) in _BODIES.items()
    ]
    registry = _Client(lambda url: SchemaRegistry(url).fetch(avro.SCHEMA_ID))
    return [
        *receivers,
        Target("answer-registry", _write_schema, registry.read, (SchemasUnavailableError,), None, WORDS),
    ]


def _answer(status: int, body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def _writer(status: int, body: bytes) -> Callable[[random.Random], bytes]:
    return lambda rng: _answer(status, body, rng.choice(["", "Retry-After: 5\r\n", "Content-Type: text/html\r\n"]))


def _write_schema(rng: random.Random) -> bytes:
    body = json.dumps({"schema": avro.TEXT}).encode()
    if rng.random() < 0.5:
        return _answer(200, body)
    return _answer(200, gzip.compress(body), "Content-Encoding: gzip\r\n")


def _poster(name: str) -> Callable[[str], Awaitable[None]]:
    async def post(url: str) -> None:
        async with open_session(Relay(timeout_seconds=1.0)) as session:
            await Http(session, ["s3cret"]).post(json_request(Endpoint(url), b"{}"), _ACCEPTED[name])

    return post


class _Client:
    """Calls a server that answers a connection with the bytes of an input, and closes it."""

    def __init__(self, call: Callable[[str], Awaitable[object]]) -> None:
        self._call = call

    def read(self, data: bytes) -> None:
        """Call the server."""
        asyncio.run(self._exchange(data))

    async def _exchange(self, data: bytes) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError):  # the client may go first
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            await self._call(f"http://{host}:{port}")
