"""`driftline demo`: all of Driftline on one machine, without Docker."""

from __future__ import annotations

from typing import Annotated

import typer

from driftline.stream.cli.terminal import AsJson, CommandError, err, out, print_json, reporting_kafka_errors

app = typer.Typer()


@app.command(name="demo", epilog="Example: driftline demo --keep")
def demo_command(
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic traffic.")] = 7,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the servers and the workers running afterwards, to try things.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Watch Driftline find seven faults in synthetic traffic, with a broker, a store and two workers here.

    A model stops, another is no longer right, a topic turns into Avro, and a worker that is killed must page nobody.

    Takes two and a half minutes, needs no Docker, and leaves nothing behind.

    Exit code 0: each fault paged in time and resolved, and nothing else. 1: not so. 2: could not run. 130: stopped.
    """
    with reporting_kafka_errors():
        from driftline.stream.demo.run import INTERRUPTED, run
        from driftline.stream.demo.servers import ServerError

        try:
            verdict = run(seed, keep, err if json else out)
        except ServerError as error:
            raise CommandError(str(error)) from error
    if verdict is None:
        raise typer.Exit(INTERRUPTED)
    if json:
        print_json(verdict.facts())
    raise typer.Exit(verdict.exit_code)
