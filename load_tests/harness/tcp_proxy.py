"""A gate in front of a server: closed it refuses connections, open it passes bytes on, frozen it does neither.

Open, it can also cut the connections that there are, and hold bytes back for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

# s. A connection that took the port for its own end is rarely open for longer; then the run is not worth going on.
_PATIENCE = 10.0


class TcpProxy:
    """One port on loopback, from the start; closed until it is opened. Runs in a thread of its own.

    delay: seconds that each chunk of bytes, of up to 64 KiB, is held back, in either direction.
    """

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self._target = target
        self._socket = _reserved(0)
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
        """Let connections in, and bytes through."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def close(self) -> None:
        """Cut all connections and refuse further ones."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()

    def freeze(self) -> None:
        """From now on, no connection gets an answer, and none an error."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    async def _open(self) -> None:
        self._flowing.set()
        self._held.clear()
        if self._server is None:
            self._server = await asyncio.start_server(self._pass, sock=self._socket.dup())

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket.close()
            self._socket = await _reserved_again(self._port)
        for writer in self._writers:
            writer.transport.abort()
        self._flowing.set()
        while self._writers:  # noqa: ASYNC110 # an Event would have to be kept true by every passer
            await asyncio.sleep(0.01)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is away
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


async def _reserved_again(port: int) -> socket.socket:
    """The port that was just given up. Within a moment, a connection to somewhere else may have been made from it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return _reserved(port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def _reserved(port: int) -> socket.socket:
    """A port bound and not listened on: who connects is refused, and nobody else gets it."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved
