"""`driftline scan`: what changed in a table, compared with another one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn
from rich.text import Text

from driftline.stream.cli.baseline import Kinds, kinds_given
from driftline.stream.cli.replay import EXIT_CODES
from driftline.stream.cli.tables import Files
from driftline.stream.cli.terminal import (
    MAX_REJECTED,
    ConfigFile,
    MaxRejected,
    ReportFile,
    command_line,
    err,
    hint,
    out,
    parse_share,
    print_json,
    print_remarks,
    progress_bar,
    read_config,
)
from driftline.stream.reports import scan as report
from driftline.stream.results.scan import Wishes, scan_facts
from driftline.stream.scan.run import scan
from driftline.stream.text.printable import printable

app = typer.Typer()

_FILE = "JSON, CSV, Parquet or Avro file, also packed (gzip, bzip2, xz)"


def _column(what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar="COLUMN", help=f"Column with {what}; guessed by default.")
    return option


Column = str | None


@app.command(
    name="scan",
    epilog="Examples:\n\ndriftline scan june.csv --reference training.csv\n\n"
    "driftline scan june.parquet --reference training.parquet --time paid_at --prediction decision --report june.html",
)
def scan_command(
    context: typer.Context,
    live: Annotated[list[str], typer.Argument(metavar="LIVE...", help=f"{_FILE}: the rows to look at.")],
    reference: Annotated[
        list[str],
        typer.Option(
            "--reference", "-r", metavar="TRAIN", help=f"{_FILE}: what they should look like. Repeat for more."
        ),
    ],
    time: Annotated[Column, _column("the time of each row")] = None,
    prediction: Annotated[Column, _column("what the model predicts")] = None,
    score: Annotated[Column, _column("the model's score")] = None,
    label: Annotated[Column, _column("the true outcome, which is no feature")] = None,
    id_: Annotated[
        Column, typer.Option("--id", metavar="COLUMN", help="Column with the id of each row; guessed by default.")
    ] = None,
    kind: Kinds = None,
    for_whom: Annotated[
        list[str] | None,
        typer.Option(
            "--for-whom",
            metavar="COLUMN,…",
            help="Name the share of the rows that carries each change, by the values "
            "of these columns, such as a channel or a country.",
        ),
    ] = None,
    page: ReportFile = None,
    config: ConfigFile = None,
    max_rejected: MaxRejected = MAX_REJECTED,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Compare a table with a reference: which columns changed, since when, how much, at a known rate of false alarms.

    Exit code 0: no drift. 1: drift found. 2: failed, or too little was judged to say that nothing drifts.
    """
    parts = {"ts": time, "prediction": prediction, "score": score, "label": label, "id": id_}
    wishes = Wishes(
        read_config(config), {part: column for part, column in parts.items() if column is not None},
        kinds_given(kind), [column for each in for_whom or () for column in each.split(",")],
        parse_share(max_rejected, "--max-rejected"), command_line(context, "page", "json"),
    )  # fmt: skip
    found = scan(Files(live), Files(reference), wishes, _progress)
    if page:
        # Jinja2 takes a tenth of a second to import, which other commands should not pay.
        from driftline.stream.reports.page.page import scan_page

        page.write_text(scan_page(found), "utf-8")
    print_remarks(found.result.remarks)
    if json:
        print_json(scan_facts(found))
    else:
        hint(report.guesses(found))
        for note in found.notes:
            err.print(Text(printable(note), style="yellow"), soft_wrap=True)
        report.print_scan(out, found)
        if page:
            out.print(Text(f"report: {page}"), soft_wrap=True)
    raise typer.Exit(EXIT_CODES[found.verdict.outcome])


def _progress(name: str, length: int) -> AbstractContextManager[Callable[[int], None]]:
    return progress_bar(name, length, MofNCompleteColumn())
