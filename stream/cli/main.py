"""The command line: reads arguments, connects the parts, prints, and turns errors into one line and an exit code.

Exit codes of every command: 0 done or nothing found, 1 drift or errors found, 2 it could not run, or saw too little to
say that there is nothing.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, NoReturn

import orjson
import typer
from rich.text import Text

from driftline.stream.baselines.baseline import BaselineError
from driftline.stream.cli import (
    baseline,
    demo,
    doctor,
    incidents,
    inspect,
    models,
    relay,
    replay,
    resume,
    scan,
    schema,
    silence,
    topics,
    upgrade,
)
from driftline.stream.cli.terminal import EXIT_FAILED, EXIT_FOUND, CommandError, err, out, read_config, read_text
from driftline.stream.config.diagnostics import ConfigError, render_diagnostics
from driftline.stream.config.load import check_config
from driftline.stream.judge.promise import promises
from driftline.stream.reports.promise import print_promises
from driftline.stream.sources.baselines import baseline_remarks, read_baselines
from driftline.stream.sources.calendars import CalendarError, calendar_remarks
from driftline.stream.sources.inputs import InputError
from driftline.stream.text.printable import printable_lines

app = typer.Typer(
    name="driftline",
    help="Pages a team when a model's live traffic has really changed: which signal, since when, how much.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for group in (
    baseline,
    demo,
    doctor,
    incidents,
    inspect,
    models,
    relay,
    replay,
    resume,
    scan,
    schema,
    silence,
    topics,
    upgrade,
):
    app.add_typer(group.app)


def main() -> None:
    """Entry point of the console script."""
    if sys.__stderr__:  # which a caller may have closed
        faulthandler.enable(sys.__stderr__)  # the log of a process that a native library ends says where it was
    try:
        app()
    except (InputError, BaselineError, CalendarError, CommandError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ConfigError as error:
        err.print(render_diagnostics(error), markup=False, highlight=False, soft_wrap=True)
        _exit_failed(str(error))


def _fail(reason: str) -> NoReturn:
    err.print(Text.assemble(("error: ", "red"), reason), soft_wrap=True)
    _exit_failed(reason)


def _exit_failed(reason: str) -> NoReturn:
    """Exit; a program that asked for JSON gets the reason as such."""
    if "--json" in sys.argv:
        typer.echo(orjson.dumps({"error": printable_lines(reason)}))
    sys.exit(EXIT_FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(installed_version("driftline"))
        raise typer.Exit


@app.callback(epilog="Examples:\n\ndriftline demo\n\ndriftline replay live.jsonl.gz --baseline fraud.driftline")
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Pages a team when a model's live traffic has really changed: which signal, since when, how much."""


@app.command(epilog="Example: driftline worker -c driftline.yaml")
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

    run(partial(read_config, config), config.parent)


@app.command(epilog="Example: driftline check driftline.yaml")
def check(
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration file (YAML).", exists=True)],
) -> None:
    """Check a configuration file; for each error, print its line, its column and a suggestion.

    Of a valid one, print how many false pages it promises of each model, by the traffic of its baseline file.

    Exit code 0: valid. 1: something is wrong.
    """
    diagnostics = check_config(
        read_text(path),
        str(path),
        lambda config: [*baseline_remarks(config, path.parent), *calendar_remarks(config, path.parent)],
    )
    if diagnostics:
        out.print(render_diagnostics(diagnostics), markup=False, highlight=False, soft_wrap=True)
    else:
        out.print(Text.assemble(f"{path}: ", ("ok", "green")))
    if not any(each.severity == "error" for each in diagnostics):
        config = read_config(path)
        print_promises(out, promises(config, read_baselines(config, path.parent)[0]))
    raise typer.Exit(EXIT_FOUND if any(each.severity == "error" for each in diagnostics) else 0)


if __name__ == "__main__":
    main()
