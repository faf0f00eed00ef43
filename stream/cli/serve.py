"""`driftline serve` and `driftline top`: incidents and models in a browser, and on a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from driftline.stream.cli.terminal import (
    EXIT_FAILED,
    AsJson,
    CommandError,
    ConfigFile,
    out,
    print_json,
    read_config,
    reporting_redis_errors,
)

app = typer.Typer()


@app.command(name="serve", epilog="Example: driftline serve -c driftline.yaml")
def serve_command(config: ConfigFile = None) -> None:
    """Show incidents, models and Driftline's own health in a browser until stopped. Only reads Redis and Kafka.

    On this machine anybody may look; beyond it, `serve` in the configuration names the variable with the token.

    Exit code 0: stopped by SIGTERM or SIGINT. 2: it could not start.
    """
    settings = read_config(config)
    # Kafka's and Redis' clients take half a second to import, which no other command should pay.
    from driftline.stream.ops.secrets import MissingSecretError
    from driftline.stream.serve.server import run

    try:
        with reporting_redis_errors():
            run(settings)
    except MissingSecretError as error:
        raise CommandError(str(error)) from error


@app.command(name="top", epilog="Example: driftline top -c driftline.yaml")
def top_command(
    config: ConfigFile = None,
    once: Annotated[bool, typer.Option("--once", help="Print what is known now, and exit.")] = False,
    json: AsJson = False,
) -> None:
    """Show open incidents, models and Driftline's own health on this terminal until Ctrl-C; once where it is none.

    Only reads Redis and Kafka. Exit code 0: shown. 2: Redis or Kafka could not be read.
    """
    settings = read_config(config)
    from driftline.stream.serve.top import facts, run

    with reporting_redis_errors():
        if json:
            found, is_read = facts(settings)
            print_json(found)
        else:
            is_read = run(settings, out, once or not out.is_terminal)
    if not is_read:
        raise typer.Exit(EXIT_FAILED)
