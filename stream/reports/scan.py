"""What a scan found, on a terminal: one line a signal, the worst first. Edge: rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.stream.outcomes.sentences import verdict_sentence as outcomes_say
from driftline.stream.replay.verdict import Outcome
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.results.scan import Scan
from driftline.stream.results.sentences import (
    Kindred,
    kindred,
    least_span,
    shown,
    sides,
    verdict_sentence,
)
from driftline.stream.results.sizes import LEVELS
from driftline.stream.text.phrases import DAY, moment
from driftline.stream.text.printable import printable

_STYLES = ("dim", "yellow", "yellow", "red", "bold red")
# Characters of the small line over time, of a name before it is cut, and of names and figures at least.
_LINE, _NAME, _LEAST = 24, 28, 8
_SHORT_LINE = 10
_BARS = "▁▂▃▄▅▆▇█"
# Lines of signals that are as usual, and of what was not checked; --json has all.
_USUAL, _UNCHECKED = 12, 10
# Characters from which on a line has room for everything.
_WIDE = 120
# Sizes in a narrow terminal, below the word "different".
_SHORT_SIZES = {LEVELS[1]: "slightly", LEVELS[2]: "clearly", LEVELS[3]: "strongly", LEVELS[4]: "entirely"}


def guesses(scan: Scan) -> str:
    """What each column is taken for, on a line."""
    fields = scan.found.proposal.fields
    parts = ", ".join(
        f"{'time' if part == 'ts' else part} {printable(str(choice.value))}"
        for part, choice in fields.items()
        if part in ("id", "ts", "model", "version", "prediction", "score", "label") and _says(str(choice.value))
    )
    left = ", ".join(printable(each.removeprefix("features.")) for each in scan.found.proposal.excluded)
    return f"columns: {parts or 'all are features'}{f'; left out: {left}' if left else ''}"


def _says(value: str) -> bool:
    return not value.startswith(("$", "="))


def print_scan(console: Console, scan: Scan) -> None:
    """Print the verdict, one line a signal, and what was not checked."""
    for model in scan.overview.models:
        console.print(_table(model, console.width))
        if (rest := len(model.usual) - _USUAL) and rest > 0:
            console.print(Text(f"and {rest:,} more {model.usual[0].size}", style="dim"))
        console.print()
    _print_for_whom(console, scan)
    _print_unchecked(console, scan.unchecked)
    if scan.performance is not None:
        console.print(Text(printable(outcomes_say(scan.performance))), soft_wrap=True)
    for line, style in conclusions(scan):
        console.print(Text(line, style=style), soft_wrap=True)


def conclusions(scan: Scan) -> Iterator[tuple[str, str]]:
    """The last lines: a verdict a model, and a style for each."""
    if scan.verdict.outcome is Outcome.TOO_LITTLE:
        yield "no verdict: too little was judged", "red"
        return
    for model in scan.overview.models:
        yield verdict_sentence(model), _style(model)


def _style(model: ModelView) -> str:
    if any(each.is_open for each in model.changed):
        return "bold red"
    return "green" if model.judged else "red"


def _table(model: ModelView, width: int) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    signals = [*model.changed, *model.usual[:_USUAL]]
    rows = [_row(model, signal, wide) for signal in signals]
    period = f"{moment(model.bins[0].start, DAY)} to {moment(model.bins[-1].end - 1, DAY)}"
    headings = ["size" if wide else "different", "since (UTC)", period if wide else "over time"]
    headings = ["", "before → after", *headings[: 3 if model.timed else 1]]
    widths = [max(map(len, column)) for column in zip(headings, *(map(str, row) for row in rows), strict=True)]
    longest = max(len(printable(model.name)), *(len(shown(each.short)) for each in model.signals))
    # In a narrow terminal, names and figures are cut off: what is beside them is short and says most.
    room = max(width - sum(widths[2:]) - 2 * (len(headings) - 1), 2 * _LEAST)
    name = min(longest, _NAME, max(room // 2, room - widths[1]))
    table.add_column(Text(printable(model.name)), overflow="ellipsis", no_wrap=True, min_width=name, max_width=name)
    table.add_column(headings[1], overflow="ellipsis", no_wrap=True, max_width=room - name)
    for heading, least in zip(headings[2:], widths[2:], strict=True):
        table.add_column(heading, no_wrap=True, min_width=least)
    for row in rows:
        table.add_row(*row)
    return table


def _row(model: ModelView, signal: SignalView, wide: bool) -> list[Text]:
    style = _STYLES[signal.level] if signal.episodes else "dim"
    size = signal.size if wide else _SHORT_SIZES.get(signal.size, signal.size)
    size = size if signal.is_open or not signal.episodes else f"{size}, ended"
    cells = [
        Text(shown(signal.short), style=style),
        Text(before_after(model, signal), style=style),
        Text(size, style=style),
    ]
    if model.timed:
        since = moment(signal.episode.since, 0 if wide else DAY) if signal.episode else ""
        width, least = _LINE if wide else _SHORT_LINE, least_span(model, signal)
        over_time = line(model.series(signal), width, least)
        cells += [
            Text(since, style=style),
            Text(over_time, style=style),
        ]
    return cells


def before_after(model: ModelView, signal: SignalView) -> str:
    """The figure of a signal before and after."""
    what, before, after = sides(model, signal)
    if kindred(signal) is Kindred.BEGAN:
        return f"was constant → {after} new"
    return f"{shown(what)} {before} → {after}" if signal.figure.is_share else f"{before} → {after}"


def line(values: Sequence[float | None], width: int, least: float = 0.0) -> str:
    """Values over time as bars from their least to their greatest, blank where there are none.

    least: the span from an empty to a full bar at least; a smaller one lies in its middle.
    """
    groups = [_mean(each) for each in _split(values, width)]
    known = [each for each in groups if each is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    spare = max(least - (high - low), 0.0) / 2
    low, span = low - spare, high - low + 2 * spare
    return "".join(" " if each is None else _BARS[round(7 * (each - low) / span)] if span else "▄" for each in groups)


def _split(values: Sequence[float | None], width: int) -> Iterator[Sequence[float | None]]:
    """The values in at most `width` groups of about the same length."""
    ends = [len(values) * i // min(width, len(values) or 1) for i in range(min(width, len(values)) + 1)]
    return (values[start:end] for start, end in pairwise(ends))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(each / len(known) for each in known) if known else None


def _print_for_whom(console: Console, scan: Scan) -> None:
    if scan.splits:
        console.print("for whom:")
    for model in scan.overview.models:
        for signal in model.changed:
            says = "; ".join(each.says for each in scan.splits.get((model.name, signal.name), ()))
            if says:
                console.print(Text(f"  {shown(signal.short)}: {says}"), soft_wrap=True)
    if scan.splits:
        console.print()


def _print_unchecked(console: Console, lines: Sequence[str]) -> None:
    if lines:
        console.print("not checked:")
    for each in lines[:_UNCHECKED]:
        console.print(Text(f"  {printable(each)}", style="dim"), soft_wrap=True)
    if len(lines) > _UNCHECKED:
        console.print(f"  and {len(lines) - _UNCHECKED:,} more; --json has all")
