"""A TCP proxy in front of a server: closed it refuses connections, open it forwards bytes, frozen it does neither.

It can also delay bytes while it is open; closing it cuts its connections. Some clients can be cut off, or frozen, while
it serves the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

# Seconds to wait for the port: a connection that got it as its local port is rarely open for longer.
_TIMEOUT = 10.0


#: Which clients are meant: whether the local port of a client's connection is one of theirs.
Whose = Callable[[int], bool]


def everyone(_port: int) -> bool:
    return True


def nobody(_port: int) -> bool:
    return False


@dataclass(eq=False)
class _Connection:
    """port: the client's. flowing: not set while the connection is frozen."""

    port: int
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    flowing: asyncio.Event = field(default_factory=asyncio.Event)


class TcpProxy:
    """A proxy that binds a port on loopback at once and is closed until `open`. Runs in a thread of its own.

    target: the server's port. delay: seconds by which each chunk of up to 64 KiB is delayed, in either direction.
    """

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self._target = target
        self._socket = _bind(0)
        self._port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._refused = self._frozen = nobody
        self._held: list[bytes] = []

    @property
    def port(self) -> int:
        return self._port

    @property
    def held(self) -> bytes:
        """The bytes that the frozen proxy holds back."""
        return b"".join(self._held)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._socket.close()

    def open(self) -> None:
        """Accept connections and forward bytes, those of all clients."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def close(self) -> None:
        """Cut all connections and refuse new ones."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()

    def shut_out(self, whose: Whose) -> None:
        """Cut the connections of some clients, and end new ones at once, until `open`."""
        asyncio.run_coroutine_threadsafe(self._cut(whose), self._loop).result()

    def freeze(self, whose: Whose = everyone) -> None:
        """Stop forwarding bytes of some clients until `open`: their connections get neither answer nor error."""
        asyncio.run_coroutine_threadsafe(self._freeze(whose), self._loop).result()

    async def _open(self) -> None:
        self._refused = self._frozen = nobody
        self._held.clear()
        for each in self._connections:
            each.flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, sock=self._socket.dup())

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket.close()
            self._socket = await _rebind(self._port)
        await self._cut(everyone)

    async def _freeze(self, whose: Whose) -> None:
        self._frozen = whose
        for each in self._connections:
            if whose(each.port):
                each.flowing.clear()

    async def _cut(self, whose: Whose) -> None:
        self._refused = whose
        cut = {each for each in self._connections if whose(each.port)}
        for each in cut:
            for writer in each.writers:
                writer.transport.abort()
            each.flowing.set()
        while cut & self._connections:  # noqa: ASYNC110 # every connection would have to maintain an Event
            await asyncio.sleep(0.01)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is down
            writer.transport.abort()
            return
        if self._refused(port):
            writer.transport.abort()
            back.transport.abort()
            return
        connection = _Connection(port, (writer, back))
        if not self._frozen(port):
            connection.flowing.set()
        self._connections.add(connection)
        await asyncio.gather(self._copy(reader, back, connection), self._copy(there, writer, connection))
        self._connections.remove(connection)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, of: _Connection) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not of.flowing.is_set():
                    self._held.append(data)
                await of.flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.close()


async def _rebind(port: int) -> socket.socket:
    """Bind the port that was just closed. Another connection may have got it as its local port in the meantime."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            return _bind(port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def _bind(port: int) -> socket.socket:
    """A port that is bound, but not listened on: connections are refused, and no other program gets it."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved
