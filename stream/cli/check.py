"""`driftline check`: a configuration file without its servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from driftline.stream.cli.terminal import EXIT_FOUND, AsJson, out, print_json, read_config, read_text
from driftline.stream.config.diagnostics import Diagnostic, render_diagnostics
from driftline.stream.config.load import check_config
from driftline.stream.judge.promise import Promise, promises
from driftline.stream.judge.shares import Share, shares_of_baseline
from driftline.stream.reports.promise import print_promises
from driftline.stream.sources.baselines import baseline_remarks, read_baselines
from driftline.stream.sources.calendars import calendar_remarks

app = typer.Typer()


@app.command(name="check", epilog="Example: driftline check driftline.yaml")
def check(
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration file (YAML).", exists=True)],
    json: AsJson = False,
) -> None:
    """Check a configuration file; for each error, print its line, its column and a suggestion.

    Of a valid one, print how many false pages it promises of each model, by the traffic of its baseline file.

    Exit code 0: valid. 1: something is wrong. 2: it cannot be read.
    """
    diagnostics = check_config(
        read_text(path),
        str(path),
        lambda config: [*baseline_remarks(config, path.parent), *calendar_remarks(config, path.parent)],
    )
    is_valid, promised = not any(each.severity == "error" for each in diagnostics), list[Promise]()
    shares: dict[str, tuple[Share, ...]] = {}
    if is_valid:
        config = read_config(path)
        baselines = read_baselines(config, path.parent)[0]
        promised = promises(config, baselines)
        shares = {name: shares_of_baseline(each, config.for_model(name)) for name, each in baselines.items()}
    if json:
        print_json({"valid": is_valid} | _facts(diagnostics, promised, shares))
    else:
        if diagnostics:
            out.print(render_diagnostics(diagnostics), markup=False, highlight=False, soft_wrap=True)
        else:
            out.print(Text.assemble(f"{path}: ", ("ok", "green")))
        print_promises(out, promised, shares)
    raise typer.Exit(0 if is_valid else EXIT_FOUND)


def _facts(
    diagnostics: Sequence[Diagnostic], promised: Sequence[Promise], shares: Mapping[str, Sequence[Share]]
) -> dict[str, Any]:
    places = [{"line": each.span.line, "column": each.span.column} for each in diagnostics]
    words = [{"severity": each.severity, "message": each.message, "help": each.help} for each in diagnostics]
    return {
        "diagnostics": [said | where for said, where in zip(words, places, strict=True)],
        "promises": [asdict(each) for each in promised],
        "shares": {name: [asdict(each) for each in own] for name, own in shares.items() if own},
    }
