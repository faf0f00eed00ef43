"""A TCP proxy in front of a server: closed it refuses connections, open it forwards bytes, frozen it does neither.

It can also delay bytes while it is open; closing it cuts its connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

# Seconds to wait for the port: a connection that got it as its local port is rarely open for longer.
_TIMEOUT = 10.0


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
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
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
        """Accept connections and forward bytes."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def close(self) -> None:
        """Cut all connections and refuse new ones."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()

    def freeze(self) -> None:
        """Stop forwarding: connections get neither answer nor error."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    async def _open(self) -> None:
        self._flowing.set()
        self._held.clear()
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, sock=self._socket.dup())

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket.close()
            self._socket = await _rebind(self._port)
        for writer in self._writers:
            writer.transport.abort()
        self._flowing.set()
        while self._writers:  # noqa: ASYNC110 # every connection would have to maintain an Event
            await asyncio.sleep(0.01)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is down
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        self._writers -= {writer, back}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not self._flowing.is_set():
                    self._held.append(data)
                await self._flowing.wait()
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
