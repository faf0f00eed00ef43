"""What a file or topic holds, as tables on a terminal. Edge: rich.

Names and values from traffic are printed as `Text`, never as markup, and on one line.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftline.stream.inspection.columns import Column, ColumnKind
from driftline.stream.inspection.inspect import Inspection
from driftline.stream.text.phrases import counted
from driftline.stream.text.printable import printable

# Columns that are shown; a person reads no more, and --json has all.
_SHOWN = 60
# On a terminal with fewer columns, the table leaves out some figures.
_WIDE = 100
_LONGEST = 24  # characters of a value
_MARKS = {"feature": "", "not monitored": "yellow", "left out": "yellow"}


def print_inspection(console: Console, found: Inspection) -> None:
    """Print what a sample holds: its format, the mapping, every column, and what cannot be read."""
    console.print(Text.assemble((found.source.where, "bold"), *_about(found)))
    tables = [_mapping_table(found)] if found.proposal.fields else []
    tables += [_column_table(found, wide=console.width >= _WIDE)] if found.columns else []
    for table in tables:
        table.box = SIMPLE_HEAD if console.is_terminal else None
        console.print(Padding(table, (1, 0, 0, 0), expand=False))
    if (more := len(found.columns) - _SHOWN) > 0:
        console.print(Text(f"and {more:,} more columns; --json shows all", style="dim"))
    console.print()
    for note in (*_faults(found), *found.notes):
        bullet = Table.grid(padding=(0, 1))
        bullet.add_row(Text("•", style="yellow"), Text(printable(note)))
        console.print(bullet)
    if found.problem:
        console.print(Text.assemble(("cannot be read: ", "red"), found.problem))
    else:
        console.print(Text(found.outcome, style="green"))


def _about(found: Inspection) -> Iterable[str]:
    first = "" if found.source.is_whole else "newest " if found.source.is_topic else "first "
    yield f"; {first}{counted(found.records, 'record')}"
    if found.shape:
        yield f"; messages of the kind {found.shape.preset} ({found.shape.why})"
    if found.schemas:
        yield f"; schema-registry frames of schema {', '.join(map(str, found.schemas))}"


def _mapping_table(found: Inspection) -> Table:
    table = _table()
    table.add_column("mapping", no_wrap=True)
    table.add_column("is", overflow="fold")
    table.add_column("because", overflow="fold", style="dim")
    for part, choice in found.proposal.fields.items():
        value = ", ".join(map(repr, choice.value)) if isinstance(choice.value, list) else str(choice.value)
        others = f" (or {', '.join(choice.others[:3])})" if choice.others else ""
        table.add_row(Text(part), Text(printable(value), style="bold"), Text(printable(choice.why + others)))
    return table


def _column_table(found: Inspection, wide: bool) -> Table:
    table = _table()
    longest = max(len(printable(column.path)) for column in found.columns[:_SHOWN])
    table.add_column("column", overflow="fold", min_width=min(longest, _LONGEST))
    table.add_column("kind", no_wrap=True)
    has_missing = any(column.missing for column in found.columns)
    if has_missing:
        table.add_column("missing", justify="right", no_wrap=True)
    if wide:
        table.add_column("distinct", justify="right", no_wrap=True)
    table.add_column("values", overflow="ellipsis", no_wrap=True)
    table.add_column("read as", no_wrap=True, min_width=len("not monitored"))
    for column in islice(found.columns, _SHOWN):
        use = found.use(column)
        cells = [
            printable(column.path),
            "time" if use == "ts" else _kind(column),
            *([_share(column.missing)] if has_missing else []),
        ]
        cells += [f"{column.distinct:,}" if column.is_scalar else ""] if wide else []
        table.add_row(*map(Text, cells), Text(_values(column)), Text(use, style=_MARKS.get(use, "cyan")))
    return table


def _table() -> Table:
    return Table(show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))


def _kind(column: Column) -> str:
    return f"{column.kind} in text" if column.numerals and column.kind is ColumnKind.NUMERIC else str(column.kind)


def _share(missing: float) -> str:
    return "" if not missing else f"{100 * missing:.1f} %" if missing >= 0.001 else "<0.1 %"


def _values(column: Column) -> str:
    if column.kind is ColumnKind.NUMERIC:
        digits = 15 if column.is_whole else 4
        return f"{column.low:.{digits}g} to {column.high:.{digits}g}"
    if column.distinct > column.present / 2 > 1:
        return f"such as {_short(column.top[0][0])}"
    return ", ".join(
        _short(value) if column.kind is ColumnKind.CONSTANT else f"{_short(value)} {100 * count / column.present:.0f} %"
        for value, count in column.top
    )


def _short(value: str) -> str:
    text = printable(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _faults(found: Inspection) -> Iterable[str]:
    for fault in found.faults:
        yield f"{fault.count:,} × {fault.reason} ({', '.join(fault.places)}{', …' if fault.count > 3 else ''})"
    for column in found.columns:
        if column.odd_count:
            yield f"{column.path}: {column.odd_count:,} values are no numbers, such as {column.odd!r}"
