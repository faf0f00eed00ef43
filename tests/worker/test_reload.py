"""A worker that is asked to load its configuration again."""

from __future__ import annotations

import asyncio
import threading

from driftline.stream.config.load import parse_config
from driftline.stream.judge.absence import every_day
from driftline.stream.worker.worker import Loaded, Worker


def test_who_asks_while_the_configuration_is_read_is_not_forgotten() -> None:
    config, asked, loads = parse_config(""), threading.Event(), list[int]()

    def reload() -> Loaded:
        loads.append(len(loads))
        if loads == [0]:
            asked.set()
        return config, {}, {}, every_day

    async def scenario() -> None:
        worker = Worker(config, {}, reload=reload, asked=asked)
        asked.set()
        for _ in range(3):
            await worker._reload_if_asked()

    asyncio.run(scenario())
    assert loads == [0, 1]
