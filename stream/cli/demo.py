"""`driftline demo`: the whole of it at work, without Docker."""

from __future__ import annotations

from typing import Annotated

import typer

from driftline.stream.cli.terminal import CommandError, kafka_in_words, out

app = typer.Typer()


@app.command(name="demo", epilog="Example: driftline demo --keep")
def demo_command(
    seed: Annotated[int, typer.Option(min=0, help="Of the synthetic traffic.")] = 7,
    keep: Annotated[bool, typer.Option("--keep", help="Leave servers and worker running afterwards, to play.")] = False,
) -> None:
    """Watch Driftline at work: a broker, a store and a worker on this machine, and synthetic traffic in which four
    things go wrong. Takes a minute, needs no Docker; afterwards everything is gone.

    Exit code 0: the four planted faults were paged, and nothing else. 1: not so. 2: it could not run.
    """
    with kafka_in_words():
        from driftline.stream.demo.run import run
        from driftline.stream.demo.servers import ServerError

        try:
            code = run(seed, keep, out)
        except ServerError as error:
            raise CommandError(str(error)) from error
    raise typer.Exit(code)
