"""The process `driftline worker`: from its configuration to a worker that works."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from driftline.stream.config.sections import Config
from driftline.stream.kafka.client import FailedConnections, RefusedWrites
from driftline.stream.ops.http import listen
from driftline.stream.ops.logging import configure_logging
from driftline.stream.ops.memory import give_memory_back
from driftline.stream.ops.readiness import wait_until_ready
from driftline.stream.ops.secrets import check_secrets
from driftline.stream.retry import Waits
from driftline.stream.sources.baselines import load_baselines, load_versions
from driftline.stream.sources.calendars import load_calendars
from driftline.stream.sources.schemas import schema_loader
from driftline.stream.worker.faust.app import run_worker
from driftline.stream.worker.judge_log import log_useless
from driftline.stream.worker.worker import Loaded, Worker


def run(read: Callable[[], Config], folder: Path) -> NoReturn:
    """Wait for the servers, then work until SIGTERM or SIGINT.

    read: reads the configuration, now and at each SIGHUP. Paths in it are relative to `folder`. Raises
    MissingSecretError before it waits.
    """
    give_memory_back()
    asked = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: asked.set())  # which otherwise ends a worker that has no partition yet
    config = read()
    check_secrets(config)
    configure_logging(config.worker.log)
    baselines, versions = load_baselines(config, folder), load_versions(config, folder)
    log_useless(config, baselines, versions)
    schemas, calendars = schema_loader(config.schemas, folder), load_calendars(config, folder)
    waits, listener = waits_without_end(), listen(config.worker.http)
    wait_until_ready(config, waits, listener)

    def reload() -> Loaded:
        again = read()
        return (
            again,
            load_baselines(again, folder),
            load_versions(again, folder),
            load_calendars(again, folder).for_model,
        )

    worker = Worker(config, baselines, schemas, waits, listener, reload, calendars.for_model, versions, asked)
    worker.watchdog.start()
    run_worker(worker.app)


def waits_without_end() -> Waits:
    """The waits of this process, a worker: from here on it waits for servers without end."""
    waits = Waits()
    waits.without_end()
    RefusedWrites(waits).watch()
    FailedConnections(waits).watch()
    return waits
