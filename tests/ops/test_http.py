"""What a process answers to those who ask whether it lives, and whether it works."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from driftline.stream.ops.http import Health, serve_http


@pytest.mark.parametrize(
    ("status", "live", "ready"),
    [
        ("ok", 200, 200),
        ("degraded", 200, 200),
        ("starting", 200, 503),
        ("waiting", 200, 503),  # a restart would not bring the server back
        ("unhealthy", 200, 503),
        ("ailing", 200, 503),
        ("stalled", 503, 503),
    ],
)
def test_a_probe_asks_for_a_restart_only_where_one_helps(status: str, live: int, ready: int) -> None:
    async def asked() -> list[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with (
                serve_http(listener, CollectorRegistry(), lambda: Health(status, None, {})),
                aiohttp.ClientSession() as client,
            ):
                return [(await client.get(address + path)).status for path in ("/live", "/ready", "/health")]

    assert asyncio.run(asked()) == [live, ready, ready]
