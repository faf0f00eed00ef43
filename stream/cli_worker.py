"""The commands that run against Kafka and Redis for good: `driftline worker`."""

from __future__ import annotations

import asyncio
from pathlib import Path


from stream.app import run_worker
from stream.config import Config
from stream.logs import configure_logging
from stream.replay import load_baselines
from stream.startup import wait_for_servers
from stream.worker import Worker



def run(config: Config, folder: Path, *, idempotent: bool) -> None:
    """Wait for the servers, then work until SIGTERM or SIGINT."""
    configure_logging(config.worker.log)
    baselines = {each.model: each for each in load_baselines(config, [], folder)}
    asyncio.run(wait_for_servers(config))
    run_worker(Worker(config, baselines, idempotent).app)
