"""`driftline worker`: both stages on Kafka and Redis."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from driftline.stream.cli.terminal import read_config
from driftline.stream.config.sections import Config
from driftline.stream.sources.inputs import InputError

app = typer.Typer()


@app.command(name="worker", epilog="Example: driftline worker -c driftline.yaml")
def worker(
    config: Annotated[Path, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True)],
) -> None:
    """Monitor the predictions topic until stopped: sketch events, judge models, publish alerts.

    SIGHUP loads the baselines, `defaults` and `models` of the configuration again.

    Exit code 0: stopped by SIGTERM or SIGINT. 1: an error; start it again. 3: ended by the watchdog; start it again.
    """
    # Nothing of the configuration is read yet, so there is nothing to load again; by default, it ends a process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Faust takes half a second to import, which no other command should pay.
    from driftline.stream.worker.worker import run

    run(partial(_read, config), config.parent)


def _read(path: Path) -> Config:
    """The configuration in a file. Raises InputError if it asks for what workers cannot do, and as `read_config`."""
    config = read_config(path)
    if config.labelled_by("topic") is not None:
        raise InputError(
            f"{path}: outcomes.labels: workers do not read labels of a topic yet, `driftline replay --labels` does; "
            "write `labels: event` if events hold them, or leave it out"
        )
    return config
