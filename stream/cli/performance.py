"""`driftline performance`: how well a model does, by its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from driftline.detectors.outcomes.metrics import Costs
from driftline.stream.cli.replay import check_order, place_of
from driftline.stream.cli.tables import Files, Topic
from driftline.stream.cli.terminal import (
    EXIT_FAILED,
    EXIT_FOUND,
    ConfigFile,
    command_line,
    err,
    hint,
    out,
    print_json,
    read_config,
    topic_of,
)
from driftline.stream.config.sections import Config
from driftline.stream.outcomes.facts import performance_facts
from driftline.stream.outcomes.performance import Performance, Wishes
from driftline.stream.outcomes.periods import By
from driftline.stream.outcomes.requirements import Requirement
from driftline.stream.reports.performance import print_performance
from driftline.stream.scan.outcomes import Evaluated, Tables, Topics, evaluate, evaluate_topics
from driftline.stream.text.printable import printable

app = typer.Typer()

_COSTS = {"fp": "false_positive", "fn": "false_negative"}


def _column(help_: str) -> typer.models.OptionInfo:
    return _option("COLUMN", f"{help_}; guessed by default.")


def _option(metavar: str, help_: str, *names: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, help=help_)
    return option


Column = str | None
Several = list[str] | None
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="TABLE|kafka://TOPIC",
        help="JSON, CSV, Parquet or Avro files with predictions, or one topic of the configured Kafka.",
    ),
]
Reference = Annotated[
    Several,
    _option(
        "TABLE",
        "Labelled predictions to compare with; by default the first quarter of TABLE. Repeat for more files.",
        "--reference",
        "-r",
    ),
]
ReferenceLabel = Annotated[
    Column, _option("COLUMN", "Column with the true outcome of --reference, if it is another one there.")
]
LabelSources = Annotated[
    Several,
    _option("FILE|kafka://TOPIC", "Labels by id, late, doubled or corrected as they came. Repeat for more files."),
]
Positive = Annotated[str | None, _option("CLASS", "The class that a high score means; by default, as scores say.")]
CostOptions = Annotated[
    Several, _option("fp=N", "What an error costs: fp=1, fn=50. Repeat for both; shown by prediction.")
]
Bounds = Annotated[
    Several,
    _option("METRIC>=N", "Fail if a metric misses a bound: recall>=0.8, precision@yes>=0.5, mae<=20. Repeat."),
]
From = Annotated[
    str | None,
    typer.Option("--from", help="Of a topic, skip earlier records: a Kafka timestamp (RFC 3339), or offset:N."),
]


@app.command(
    name="performance",
    epilog="Examples:\n\ndriftline performance june.csv --label churned --prediction decision --score p --by day\n\n"
    "driftline performance predictions.jsonl.gz --labels chargebacks.csv --id order_id --reference training.csv\n\n"
    "driftline performance kafka://predictions --labels kafka://labels -c driftline.yaml --from 2026-01-31T00:00:00Z",
)
def performance_command(
    context: typer.Context,
    table: Sources,
    label: Annotated[Column, _column("Column with the true outcome, of TABLE or --labels")] = None,
    prediction: Annotated[Column, _column("Column with what the model predicts")] = None,
    score: Annotated[Column, _column("Column with the model's score")] = None,
    time: Annotated[Column, _column("Column with the time of each row")] = None,
    reference: Reference = None,
    reference_label: ReferenceLabel = None,
    labels: LabelSources = None,
    id_: Annotated[Column, _option("COLUMN", "Column with the id in both; guessed by default.", "--id")] = None,
    by: Annotated[By | None, typer.Option(help="Period of a line; by default one that fits.")] = None,
    positive: Positive = None,
    cost: CostOptions = None,
    require: Bounds = None,
    model: Annotated[str | None, typer.Option(help="Model to evaluate, where TABLE holds several.")] = None,
    config: ConfigFile = None,
    from_: From = None,
    to: Annotated[str | None, typer.Option("--to", help="Of a topic, stop before this time or offset.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Show how often a model is right and since when it is less so: by the mix of its scores, or by concept drift.

    Exit code 0: no worse than the reference, or all that is required is met. 1: worse or missed. 2: failed, or unclear.
    """
    if reference_label is not None and not reference:
        raise typer.BadParameter("--reference-label names a column of --reference; name that too")
    parts = {"ts": time, "prediction": prediction, "score": score, "label": label, "id": id_}
    given = {part: column for part, column in parts.items() if column is not None}
    settings, wishes = read_config(config), Wishes(by, positive, _costs(cost), _required(require))
    command, before = command_line(context, "json"), _files(reference)
    if (topic := topic_of(table)) is not None:
        if given:
            raise typer.BadParameter("the columns of a topic are those of `mapping` in the configuration")
        logs = _logs(settings, config.parent if config else Path(), topic, labels, from_, to)
        evaluated = evaluate_topics(Topics(settings, *logs, before, reference_label, model), wishes)
    else:
        _check_tables(labels, from_, to)
        tables = Tables(Files(table), before, reference_label, _files(labels), given, settings, model, command)
        evaluated = evaluate(tables, wishes)
    if json:
        print_json(_facts(evaluated, command))
    else:
        _print_columns(evaluated)
        print_performance(out, evaluated.performance)
    raise typer.Exit(_exit_code(evaluated.performance))


def _check_tables(labels: list[str] | None, from_: str | None, to: str | None) -> None:
    """Refuse what is for topics. Raises BadParameter."""
    if from_ or to:
        raise typer.BadParameter("--from and --to are for topics")
    if topic_of(labels or []) is not None:
        raise typer.BadParameter(
            "--labels: predictions of a table have labels of a table; save those of the topic as a file, or evaluate "
            "the topic of the predictions"
        )


def _facts(evaluated: Evaluated, command: str) -> dict[str, Any]:
    return {
        "model": evaluated.model, **performance_facts(evaluated.performance), "columns": evaluated.columns,
        "notes": list(evaluated.notes), "command": command,
    }  # fmt: skip


def _exit_code(found: Performance) -> int:
    if found.fails:
        return EXIT_FOUND
    return EXIT_FAILED if found.is_unlabelled or (found.is_unclear and not found.required) else 0


def _files(paths: list[str] | None) -> Files | None:
    return Files(paths) if paths else None


def _logs(
    settings: Config, folder: Path, topic: str, labels: list[str] | None, from_: str | None, to: str | None
) -> tuple[Topic, Topic | None]:
    """The topics to read: of predictions, a part; of labels, all that came from that part's beginning on."""
    first, end = place_of(from_, "--from"), place_of(to, "--to")
    if type(first) is type(end):
        check_order(first, end)
    label_topic = topic_of(labels or [])
    if labels and label_topic is None:
        raise typer.BadParameter("--labels: predictions of a topic have labels of a topic, kafka://TOPIC")
    # Labels come after their predictions; offsets of one topic say nothing of another.
    label_first = None if from_ is None or from_.startswith("offset:") else first
    label_log = None if label_topic is None else Topic(settings, folder, label_topic, label_first)
    return Topic(settings, folder, topic, first, end), label_log


def _required(options: list[str] | None) -> list[Requirement]:
    """What is required of metrics. Raises BadParameter."""
    try:
        return list(map(Requirement.parse, options or []))
    except ValueError as error:
        raise typer.BadParameter(f"--require: {error}") from None


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
    parts = ", ".join(f"{'time' if part == 'ts' else part} {path}" for part, path in evaluated.columns.items())
    hint(f"columns: {parts}")
    for note in evaluated.notes:
        err.print(Text(printable(note), style="yellow"), soft_wrap=True)
