"""`driftline relay`: carrying alerts to pagers."""

from __future__ import annotations

from typing import Annotated

import typer

from driftline.stream.cli.terminal import CommandError, ConfigFile, read_config

app = typer.Typer()

_TARGETS = ("pagerduty", "alertmanager", "slack", "webhook", "stdout")


def _names(to: list[str]) -> list[str]:
    names = list(dict.fromkeys(name for each in to for name in each.split(",")))
    for name in names:
        if name not in _TARGETS:
            raise typer.BadParameter(f"expected {', '.join(_TARGETS[:-1])} or {_TARGETS[-1]}, got {name!r}")
    return names


@app.command(name="relay", epilog="Example: driftline relay --to pagerduty --to slack -c driftline.yaml")
def relay_command(
    to: Annotated[
        list[str],
        typer.Option(callback=_names, metavar="TARGET", help=f"One of {', '.join(_TARGETS)}; repeat for several."),
    ],
    config: ConfigFile = None,
) -> None:
    """Carry alerts to pagers until stopped. Secrets come from environment variables, see `relay` in the configuration.

    Exit code 0: stopped by SIGTERM or SIGINT. 1: an error; start it again. 2: it could not start.
    """
    # Kafka's and Redis' clients take half a second to import, which no other command should pay.
    from driftline.stream.relay.receivers import MissingSecretError
    from driftline.stream.relay.relay import run

    try:
        run(read_config(config), to)
    except MissingSecretError as error:
        raise CommandError(str(error)) from error
