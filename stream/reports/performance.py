"""How well a model does, on a terminal: a line a period, a chart over time, and sentences. Edge: rich."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.stream.outcomes.performance import Performance, Period
from driftline.stream.outcomes.periods import By, shown
from driftline.stream.outcomes.requirements import Answer
from driftline.stream.outcomes.sentences import (
    change_sentence,
    coverage_sentences,
    estimate_sentences,
    figure_text,
    metric_name,
    metric_text,
    required_sentence,
    verdict_sentence,
)
from driftline.stream.outcomes.tasks import BinaryTask
from driftline.stream.reports.scan import line
from driftline.stream.text.printable import printable

# Lines of the table; --json has all.
_PERIODS = 40
# Characters of the chart over time, and the least span of a share that it shows: noise must not look like a fall.
_LINE, _SPAN = 60, 0.1
# Characters of the columns that are always there, and of each further one.
_MAIN, _FURTHER = 52, 14
_ANSWERS = {Answer.MET: "green", Answer.UNSURE: "yellow", Answer.NOT_MET: "bold red"}
# Classes whose recall is shown.
_CLASSES = 3


def print_performance(console: Console, found: Performance) -> None:
    """Print the table by period, the chart, and what is known of changes, labels and estimates."""
    console.print(_table(console, found))
    if (more := len(found.periods) - _PERIODS) > 0:
        console.print(Text(f"and {more:,} earlier ones; --json has all", style="dim"))
    _print_chart(console, found)
    for sentence in (*coverage_sentences(found), *estimate_sentences(found), *found.notes):
        console.print(Text(printable(sentence), style="dim"), soft_wrap=True)
    for change in found.changes:
        console.print(
            Text(printable(change_sentence(found, change)), style="red" if change.worse else "green"), soft_wrap=True
        )
    for required in found.required:
        console.print(Text(printable(required_sentence(required)), style=_ANSWERS[required.answer]), soft_wrap=True)
    style = "bold red" if found.is_worse else "yellow" if found.is_unclear else "green"
    console.print(Text(printable(verdict_sentence(found)), style=style), soft_wrap=True)


def _table(console: Console, found: Performance) -> Table:
    by = found.by
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    has_estimate = found.total.estimate is not None
    metrics = columns(found, (console.width - _MAIN - _FURTHER * has_estimate) // _FURTHER)
    for heading in ("rows from" if by is None else f"{by} (UTC)", "labelled"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "labelled" else "left")
    for metric, of in metrics:
        table.add_column(Text(printable(metric_name(metric, of))), no_wrap=True, overflow="ellipsis")
    if has_estimate:
        table.add_column("estimated", no_wrap=True)
    for period in found.periods[-_PERIODS:]:
        table.add_row(*_row(found, period, metrics, has_estimate))
    return table


def columns(found: Performance, room: int) -> list[tuple[str, str]]:
    """The metrics of the table: the main one, and as many as there is room for of those that a task is read by."""
    task = found.task
    if isinstance(task, BinaryTask):
        more = [("cost", ""), ("recall", task.classes[1]), ("precision", task.classes[1]), ("auc", "")]
    elif task.main == "accuracy":
        more = [("recall", name) for name in task.classes[:_CLASSES]]
    else:
        more = [("rmse", ""), ("bias", "")]
    known = [each for each in more if each in found.total.metrics]
    return [(task.main, ""), *known[: max(room, 1)]]


def _row(found: Performance, period: Period, metrics: list[tuple[str, str]], has_estimate: bool) -> list[Text]:
    style = "red" if is_worse(found, period) else ""
    start = f"{period.start + 1:,}" if found.by is None else shown(period.start, found.by)
    main, *others = metrics
    cells = [start, f"{period.labelled:,}", figure_text(main[0], period.metrics[main])]
    cells += [metric_text(each[0], period.metrics[each].value) for each in others]
    if has_estimate:
        estimate = period.estimate.metrics.get(("accuracy", "")) if period.estimate else None
        cells.append(metric_text("accuracy", estimate.value if estimate else None))
    return [Text(cell, style=style) for cell in cells]


def is_worse(found: Performance, period: Period) -> bool:
    """Whether a period begins in a stretch that is worse than the reference."""
    return any(
        each.worse and each.since <= period.start and (each.until is None or period.start < each.until)
        for each in found.changes
    )


def _print_chart(console: Console, found: Performance) -> None:
    main = found.task.main
    values = [each.metrics[main, ""].value for each in found.periods]
    known = [each for each in values if each is not None]
    if len(known) < 2:
        return
    least = _SPAN if main == "accuracy" else 0.0
    first, last = found.periods[0].start, found.periods[-1].start
    ends = ("first", "last") if found.by is None else (shown(first, found.by), shown(last, By(found.by)))
    chart = line(values, min(_LINE, max(console.width - 40, 10)), least)
    text = f"{metric_name(main)} {metric_text(main, min(known))} to {metric_text(main, max(known))}"
    console.print(Text(f"{ends[0]} {chart} {ends[1]}  {text}"), soft_wrap=True)
