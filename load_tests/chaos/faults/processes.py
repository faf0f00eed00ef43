"""Faults of a server's process: it is killed, stopped or paused, or may write nothing; then it runs again."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from driftline.stream.demo.servers import Server
from load_tests.chaos.schedule import Fault
from load_tests.chaos.site import Site

#: Which server a fault hits.
Pick = Callable[[Site, Fault], Server]
Cause = Callable[[Site, Fault], AbstractContextManager[None]]


def killed(pick: Pick) -> Cause:
    """SIGKILL."""
    return _ended(pick, Server.kill)


def stopped(pick: Pick) -> Cause:
    """SIGTERM: it ends cleanly."""
    return _ended(pick, Server.stop)


def _ended(pick: Pick, end: Callable[[Server], None]) -> Cause:
    @contextmanager
    def cause(site: Site, fault: Fault) -> Iterator[None]:
        server = pick(site, fault)
        end(server)
        yield
        server.start()

    return cause


def paused(pick: Pick) -> Cause:
    """SIGSTOP: it keeps its connections and answers nothing; then SIGCONT."""

    @contextmanager
    def cause(site: Site, fault: Fault) -> Iterator[None]:
        process = pick(site, fault).process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        yield
        process.send_signal(signal.SIGCONT)

    return cause


def disk_full(pick: Pick) -> Cause:
    """No file of the process can grow, as on a full disk. A server that ends for that reason is started again."""

    @contextmanager
    def cause(site: Site, fault: Fault) -> Iterator[None]:
        server = pick(site, fault)
        _limit_files(server, 1)
        yield
        if server.process is not None and server.process.poll() is None:
            _limit_files(server, resource.RLIM_INFINITY)
        else:
            server.start()

    return cause


def _limit_files(server: Server, size: int) -> None:
    """Let no file of a process grow beyond a size, bytes. A write beyond it fails: Python ignores SIGXFSZ, and with it
    the processes that it starts."""
    assert server.process is not None
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def no_limits() -> str:
    """Why the files of a running process cannot be limited here."""
    return "" if sys.platform == "linux" else "only Linux limits the files of a running process"
