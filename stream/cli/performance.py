"""`driftline performance`: how well a model does, by its labels."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from driftline.detectors.outcomes.metrics import Costs
from driftline.stream.cli.tables import Files
from driftline.stream.cli.terminal import EXIT_FOUND, ConfigFile, command_line, err, out, print_json, read_config
from driftline.stream.outcomes.facts import performance_facts
from driftline.stream.outcomes.performance import Wishes
from driftline.stream.outcomes.periods import By
from driftline.stream.reports.performance import print_performance
from driftline.stream.scan.outcomes import Evaluated, Tables, evaluate
from driftline.stream.text.printable import printable

app = typer.Typer()

_COSTS = {"fp": "false_positive", "fn": "false_negative"}


@app.command(
    name="performance",
    epilog="Examples:\n\ndriftline performance june.csv --label churned --prediction decision --score p --by day\n\n"
    "driftline performance predictions.jsonl.gz --labels chargebacks.csv --id order_id --reference training.csv",
)
def performance_command(
    table: Annotated[
        list[str], typer.Argument(metavar="TABLE...", help="JSON, CSV, Parquet or Avro files with predictions.")
    ],
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with the true outcome, of TABLE or --labels; guessed by default."),
    ] = None,
    prediction: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with what the model predicts; guessed by default.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the model's score; guessed by default.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with the time of each row; guessed by default.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="TABLE",
            help="Labelled predictions to compare with; by default the first quarter of TABLE. Repeat for more files.",
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Labels by id, late, doubled or corrected as they came. Repeat for more files."
        ),
    ] = None,
    id_: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="Column with the id in both; guessed by default."),
    ] = None,
    by: Annotated[By | None, typer.Option(help="Period of a line; by default one that fits.")] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="CLASS", help="The class that a high score means; by default, as scores say.")
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(metavar="fp=N", help="What an error costs: fp=1, fn=50. Repeat for both; shown by prediction."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to evaluate, where TABLE holds several.")] = None,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Show how often a model is right and since when it is less so: by the mix of its scores, or by concept drift.

    Exit code 0: no worse than the reference. 1: worse. 2: failed.
    """
    parts = {"ts": time, "prediction": prediction, "score": score, "label": label, "id": id_}
    options = {
        **{f"--{'time' if part == 'ts' else part}": each for part, each in parts.items()}, "--reference": reference,
        "--labels": labels, "--by": by, "--positive": positive, "--cost": cost, "--model": model, "-c": config,
    }  # fmt: skip
    tables = Tables(
        Files(table), Files(reference) if reference else None, Files(labels) if labels else None,
        {part: column for part, column in parts.items() if column is not None}, read_config(config), model,
        command_line("performance", table, options),
    )  # fmt: skip
    evaluated = evaluate(tables, Wishes(by, positive, _costs(cost)))
    if json:
        columns = {part: each.value for part, each in evaluated.found.proposal.fields.items()}
        print_json({
            "model": evaluated.model, **performance_facts(evaluated.performance), "columns": columns,
            "notes": list(evaluated.notes), "command": tables.command,
        })  # fmt: skip
    else:
        _print_columns(evaluated)
        print_performance(out, evaluated.performance)
    raise typer.Exit(EXIT_FOUND if evaluated.performance.is_worse else 0)


def _costs(options: list[str] | None) -> Costs | None:
    """The costs of errors. Raises BadParameter."""
    if not options:
        return None
    given = dict[str, float]()
    for option in options:
        name, _, value = option.partition("=")
        try:
            given[_COSTS[name]] = float(value)
        except (KeyError, ValueError):
            raise typer.BadParameter(f"--cost: expected fp=NUMBER or fn=NUMBER, got {option!r}") from None
    return Costs(**given)


def _print_columns(evaluated: Evaluated) -> None:
    fields = evaluated.found.proposal.fields
    names = ("id", "ts", "prediction", "score", "label")
    parts = ", ".join(f"{'time' if each == 'ts' else each} {fields[each].value}" for each in names if each in fields)
    err.print(Text(printable(f"columns: {parts}"), style="dim"), soft_wrap=True)
    for note in evaluated.notes:
        err.print(Text(printable(note), style="yellow"), soft_wrap=True)
