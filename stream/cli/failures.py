"""How a command ends that could not run: one line that says why and what helps, and exit code 2."""

from __future__ import annotations

import sys
from typing import NoReturn

import orjson
import typer
from rich.text import Text

from driftline.stream.baselines.baseline import BaselineError
from driftline.stream.cli.terminal import EXIT_FAILED, CommandError, err
from driftline.stream.config.diagnostics import ConfigError, render_diagnostics
from driftline.stream.sources.calendars import CalendarError
from driftline.stream.sources.inputs import InputError
from driftline.stream.text.printable import printable_lines


def exit_if_expected(error: Exception) -> None:
    """Print why a command could not run, and exit; do nothing about an error that is a fault of Driftline."""
    match error:
        case InputError() | BaselineError() | CalendarError() | CommandError():
            _fail(str(error))
        case OSError():
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        case ConfigError():
            err.print(render_diagnostics(error), markup=False, highlight=False, soft_wrap=True)
            _exit_failed(str(error))


def _fail(reason: str) -> NoReturn:
    err.print(Text.assemble(("error: ", "red"), reason), soft_wrap=True)
    _exit_failed(reason)


def _exit_failed(reason: str) -> NoReturn:
    print_error_if_json(reason)
    sys.exit(EXIT_FAILED)


def print_error_if_json(reason: str) -> None:
    """Print why a command could not run for a program that asked for JSON."""
    if "--json" in sys.argv:
        typer.echo(orjson.dumps({"error": printable_lines(reason)}))
