"""A power cut for Redis: its append-only file loses what was written last."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from driftline.stream.demo.servers import Server

# Seconds between two samples of the file's size, and for how long samples are kept.
_INTERVAL, _WINDOW = 0.01, 3.0


class AppendOnlyFile(threading.Thread):
    """Records how Redis's append-only file grows, so that a power cut can remove what was written last.

    With `everysec`, the writes of the last second may not be on disk. A SIGKILL alone loses none of them.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(name="append-only file", daemon=True)
        self._server, self.done = server, threading.Event()
        self._folder = server.log.parent / "appendonlydir"
        self._sizes: deque[tuple[float, int]] = deque(maxlen=round(_WINDOW / _INTERVAL))

    def run(self) -> None:
        """Sample the size until `done` is set."""
        while not self.done.wait(_INTERVAL):
            with suppress(OSError, ValueError):  # Redis has not created the file yet
                self._sizes.append((time.monotonic(), self._file().stat().st_size))

    def _file(self) -> Path:
        return max(self._folder.glob("*.incr.aof"))

    def cut(self, seconds: float) -> int:
        """Send SIGKILL to Redis and remove what it wrote within the last `seconds`; the number of bytes removed."""
        since = time.monotonic() - seconds
        self._server.kill()
        size = self._file().stat().st_size
        kept = next((size for at, size in reversed(self._sizes) if at <= since), size)
        os.truncate(self._file(), kept)
        return size - kept
