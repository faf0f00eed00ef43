"""A pager that counts: the receiver of the relay's webhooks in a chaos run. It fails, is slow and goes away.

Answers are drawn by the seed. What it keeps says of each request whether it was accepted, and whether the relay can
have known that.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from load_tests.chaos.outcome import PageRequest

#: Seconds after which the relay stops waiting for an answer.
RELAY_TIMEOUT = 1.0
# How a request is answered, and how often. slow: after the relay has stopped waiting. cut: accepted, and the connection
# is closed without an answer.
_ANSWERS: Mapping[str, float] = {"204": 0.8, "500": 0.06, "429": 0.04, "delayed": 0.04, "slow": 0.02, "cut": 0.04}
_DELAY, _SLOW = 0.3, RELAY_TIMEOUT + 1.0


@dataclass
class Pager:
    """A receiver on a loopback port. requests: all that came, in their order."""

    seed: int
    port: int = 0
    requests: list[PageRequest] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 0x9A])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listen, on the same port as before."""
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pager._answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: Any) -> None:
                """Nothing: the report says how requests were answered."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="pager", daemon=True).start()

    def close(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            how = str(self._rng.choice(list(_ANSWERS), p=list(_ANSWERS.values())))
            self.answers[how] += 1
            accepted, certain = how not in ("500", "429"), how in ("204", "delayed")
            self.requests.append(PageRequest(time.time(), json.loads(body), accepted, certain))
        time.sleep({"delayed": _DELAY, "slow": _SLOW}.get(how, 0.0))
        if how == "cut":
            handler.close_connection = True
            return
        handler.send_response(int(how) if how.isdigit() else 204)
        handler.send_header("Content-Length", "0")
        if how == "429":
            handler.send_header("Retry-After", "1")
        handler.end_headers()
