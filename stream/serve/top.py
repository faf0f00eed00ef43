"""`driftline top`: incidents, models and Driftline's own health on a terminal, as they are now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.table import Table
from rich.text import Text

from driftline.stream.alerts.feedback import incident_rows, page_counts
from driftline.stream.config.sections import Config
from driftline.stream.reports.page.words import Tag
from driftline.stream.serve.live import Live, Now
from driftline.stream.serve.views import failures, health, incidents, model_of, ordered, remark, verdict
from driftline.stream.text.printable import printable

# s after which the times are shown anew though nothing has changed.
_EVERY = 1.0
_STYLES = {"error": "bold red", "warn": "yellow", "over": "dim", "ok": "green"}
# Lines around the lists: verdict, remark, headings, health.
_AROUND = 14


def run(config: Config, console: Console, once: bool) -> bool:
    """Show what is known until SIGINT, or once; whether all could be read at the end."""
    with suppress(KeyboardInterrupt):
        return asyncio.run(_show(config, console, once))
    return True


def facts(config: Config) -> tuple[dict[str, Any], bool]:
    """What is known now, as JSON values, and whether all could be read."""
    now, at = asyncio.run(_read(config)), datetime.now(UTC)
    counts = page_counts(config, now.recent, now.feedback, at)
    found = {
        "incidents": incident_rows(now.open, counts, now.feedback, at),
        "models": [each.row(config) for each in now.models],
        "health": {each.name: each.value for each in health(now, at.timestamp())},
        "unreadable": {what: each.reason for what, each in now.failures.items()},
    }
    return found, bool(now.at) and not now.failures


async def _read(config: Config) -> Now:
    live = Live(config)
    async with live.reading():
        return live.now


async def _show(config: Config, console: Console, once: bool) -> bool:
    live = Live(config)
    async with live.reading():
        if once:
            console.print(screen(live.now, config, time.time(), None))
            return bool(live.now.at) and not live.now.failures
        with Screen(console=console, screen=True, auto_refresh=False) as shown:
            turn = 0
            while True:
                shown.update(screen(live.now, config, time.time(), console.height), refresh=True)
                turn = await live.changed(turn, _EVERY)


def screen(now: Now, config: Config, at: float, height: int | None) -> RenderableType:
    """What is known. at: s since the epoch. height: lines that there are; None: as many as it takes."""
    room = None if height is None else max((height - _AROUND) // 2, 3)
    return Group(*_parts(now, config, at, room))


def _parts(now: Now, config: Config, at: float, room: int | None) -> Iterator[RenderableType]:
    yield Text(printable(verdict(now, config)), style="bold")
    yield Text(remark(now, at), style="dim")
    for what, _, reason in failures(now):
        yield Text(printable(f"{what} cannot be read: {reason}. This is from before."), style="bold red")
    opened, known = incidents(now.open[:room], at), ordered(now.models)
    if opened:
        yield from _table(
            ("severity", "since (UTC)", "lasts", "incident"),
            ((each.mark, each.since, each.lasted, each.title) for each in opened),
            len(now.open) - len(opened),
            room is not None,
        )
    if known:
        yield from _table(
            ("state", "model", "baseline", "events", "last seen (UTC)"),
            (
                (each.mark, each.name, each.baseline, each.events, each.seen)
                for each in (model_of(stored, config, now.at) for stored in known[:room])
            ),
            len(known) - len(known[:room]),
            room is not None,
        )
    for name, value, more in health(now, at):
        yield Text(printable(f"{name}: {value}{f'  ({more})' if more else ''}"), style="dim")


def _table(
    headings: tuple[str, ...], rows: Iterable[tuple[Tag, *tuple[str, ...]]], left_out: int, fills: bool
) -> Iterator[RenderableType]:
    """fills: whether it is as wide as the screen, so that columns do not move while names come and go."""
    table, rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=fills), list(rows)
    for i, heading in enumerate(headings):
        # Where there is little room, titles and names are cut, nothing else.
        needed = max(len(heading), *(len(f"{row[0].shape} {row[0].word}" if i == 0 else row[i]) for row in rows))
        is_text = heading in ("incident", "model")
        table.add_column(heading, no_wrap=True, ratio=1 if is_text else None, width=None if is_text else needed)
    for mark, *cells in rows:
        state = Text(f"{mark.shape} {printable(mark.word)}", style=_STYLES[mark.style])
        table.add_row(state, *(Text(printable(cell)) for cell in cells))
    yield table
    if left_out > 0:
        yield Text(f"and {left_out:,} more", style="dim")
