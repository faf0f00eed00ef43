"""`driftline check`: a configuration file without its servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from driftline.stream.cli.terminal import EXIT_FOUND, out, read_config, read_text
from driftline.stream.config.diagnostics import render_diagnostics
from driftline.stream.config.load import check_config
from driftline.stream.judge.promise import promises
from driftline.stream.reports.promise import print_promises
from driftline.stream.sources.baselines import baseline_remarks, read_baselines
from driftline.stream.sources.calendars import calendar_remarks

app = typer.Typer()


@app.command(name="check", epilog="Example: driftline check driftline.yaml")
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
