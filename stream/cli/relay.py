"""`driftline relay`: sending alerts to receivers."""

from __future__ import annotations

from typing import Annotated

import typer

from driftline.stream.cli.terminal import CommandError, ConfigFile, read_config

app = typer.Typer()

RECEIVERS = ("pagerduty", "alertmanager", "slack", "webhook", "stdout")


def receiver_names(to: list[str] | None) -> list[str]:
    """The names in the values of an option --to, each one once. Raises BadParameter."""
    names = list(dict.fromkeys(name for each in to or () for name in each.split(",")))
    for name in names:
        if name not in RECEIVERS:
            raise typer.BadParameter(f"expected {', '.join(RECEIVERS[:-1])} or {RECEIVERS[-1]}, got {name!r}")
    return names


@app.command(name="relay", epilog="Example: driftline relay --to pagerduty --to slack -c driftline.yaml")
def relay_command(
    to: Annotated[
        list[str],
        typer.Option(
            callback=receiver_names, metavar="RECEIVER", help=f"One of {', '.join(RECEIVERS)}. Repeat for several."
        ),
    ],
    config: ConfigFile = None,
) -> None:
    """Send alerts to PagerDuty, Alertmanager, Slack or a webhook until stopped.

    Secrets come from environment variables; `relay` in the configuration names them.

    Exit code 0: stopped by SIGTERM or SIGINT. 1: an error; start it again. 2: it could not start.
    """
    # Kafka's and Redis' clients take half a second to import, which no other command should pay.
    from driftline.stream.alerts.build import CONFIG
    from driftline.stream.ops.secrets import MissingSecretError
    from driftline.stream.relay.relay import run

    try:
        run(read_config(config), to, str(config.resolve()) if config else CONFIG[1])
    except MissingSecretError as error:
        raise CommandError(str(error)) from error
