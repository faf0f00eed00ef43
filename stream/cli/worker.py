"""`driftline worker`: both stages on Kafka and Redis."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from driftline.stream.cli.terminal import CommandError, read_config

app = typer.Typer()


@app.command(name="worker", epilog="Example: driftline worker -c driftline.yaml")
def worker(
    config: Annotated[Path, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True)],
) -> None:
    """Monitor the predictions topic until stopped: sketch events, judge models, publish alerts.

    SIGHUP loads the baselines, `defaults` and `models` of the configuration again.

    Exit code 0: stopped by SIGTERM or SIGINT. 1: an error, 3: the watchdog; start it again. 2: it could not start.
    """
    # Nothing of the configuration is read yet, so there is nothing to load again; by default, it ends a process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Faust takes half a second to import, which no other command should pay.
    from driftline.stream.ops.secrets import MissingSecretError
    from driftline.stream.worker.run import run

    try:
        run(partial(read_config, config), config.parent)
    except MissingSecretError as error:
        raise CommandError(str(error)) from error
