"""The command line: finds the command and turns its errors into one line and an exit code.

Exit codes of every command: 0 done or nothing found, 1 drift or errors found, 2 it could not run, or saw too little to
say that there is nothing.
"""

from __future__ import annotations

import faulthandler
import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from driftline.stream.cli.commands import Commands

app = typer.Typer(
    name="driftline",
    cls=Commands,
    help="Pages a team when a model's live traffic has really changed: which signal, since when, how much.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the console script."""
    if sys.__stderr__:  # which a caller may have closed
        faulthandler.enable(sys.__stderr__)  # the log of a process that a native library ends says where it was
    try:
        app()
    except Exception as error:
        # The errors of all packages take as long to import as a command; one that succeeds need not know them.
        from driftline.stream.cli.failures import exit_if_expected

        exit_if_expected(error)
        raise


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(installed_version("driftline"))
        raise typer.Exit


@app.callback(epilog="Examples:\n\ndriftline demo\n\ndriftline replay live.jsonl.gz --baseline fraud.driftline")
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Pages a team when a model's live traffic has really changed: which signal, since when, how much."""


if __name__ == "__main__":
    main()
