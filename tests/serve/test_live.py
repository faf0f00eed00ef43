"""How often the servers are read, and what is shown of one that does not answer."""

from __future__ import annotations

import asyncio

from driftline.stream.config.sections import Config
from driftline.stream.serve import live
from driftline.stream.serve.live import Live, Now
from driftline.stream.state.client import StoreError


def test_the_pause_after_a_failed_reading_does_not_grow_with_how_long_it_took() -> None:
    async def third(fails: bool) -> float:
        """When the third of readings that take 0.1 s begins, s after the first."""
        loop, begun, done = asyncio.get_running_loop(), list[float](), asyncio.Event()

        async def read() -> Now:
            begun.append(loop.time())
            if len(begun) == 3:
                done.set()
            await asyncio.sleep(0.1)
            if fails:
                raise StoreError("Redis is away")
            return Now()

        task = asyncio.create_task(Live(Config())._again("incidents", read, 0.01, 5.0, asyncio.Event()))
        await done.wait()
        task.cancel()
        return begun[2] - begun[0]

    assert asyncio.run(third(fails=True)) < 2 * (1 + live._SHARE) * 0.1 <= asyncio.run(third(fails=False))
