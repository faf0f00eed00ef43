"""A calibration on a terminal and as JSON: what is promised, what history would have paged, what is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.stream.judge.calibration import HORIZONS, Calibration
from driftline.stream.judge.sight import Sight
from driftline.stream.text.phrases import listed
from driftline.stream.text.printable import printable

# Pages and signals that are listed.
_PAGES, _SIGNALS = 10, 5


def print_calibration(console: Console, found: Calibration) -> None:
    """Print what is known of a model before it is live."""
    console.print(Text(f"promised of {printable(found.promise.model)}: {found.promise}"), soft_wrap=True)
    for line in (*map(str, found.shares), *found.unpromised, *_replayed(found)):
        console.print(Text(printable(line)), soft_wrap=True)
    if found.by_phase:
        line = f"compared by phase, and neither replayed nor measured here: {listed(found.by_phase)}"
        console.print(Text(printable(line)), soft_wrap=True)
    if found.promise.pace is not None and not found.seen:
        return
    if not found.seen:
        console.print(
            Text("what is seen within a day is not known, as no times say how many events come a day"), soft_wrap=True
        )
        return
    console.print(
        Text("the smallest change that is seen at least every other time, by time since its begin:"), soft_wrap=True
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("signal", "", *(f"1 {name}" for name in HORIZONS), "missing, 1 day"):
        table.add_column(heading, overflow="fold")
    for each in found.seen:
        table.add_row(*(Text(printable(cell)) for cell in (each.name.removeprefix("features."), *_cells(each))))
    console.print(table)


def calibration_json(found: Calibration) -> dict[str, Any]:
    """The calibration as plain data; a change that is not seen is null."""
    pages = None if found.pages is None else [asdict(each) for each in found.pages]
    seen = [
        {"signal": each.name, "kind": each.kind}
        | {what: dict(zip(HORIZONS, getattr(each, what), strict=True)) for what in _CHANGES if getattr(each, what)}
        for each in found.seen
    ]
    promise = asdict(found.promise) | {"pages": found.promise.pages}
    return {
        "promise": promise,
        "days": found.days,
        "own_pages": pages,
        "not_replayed": found.why,
        "seen": seen,
        "by_phase": [*found.by_phase],
        "unpromised": [*found.unpromised],
        "shares": [asdict(each) for each in found.shares],
    }


_CHANGES = ("shift", "share", "missing")


def _replayed(found: Calibration) -> Iterator[str]:
    if found.pages is None:
        yield f"what its own history would have paged is not known: {found.why}"
        return
    count = f"{len(found.pages)} page{'s' * (len(found.pages) != 1)}" if found.pages else "no page"
    days = f"{found.days:.3g} days" if found.days else "its time"
    pages = found.promise.data
    allowed = "" if pages is None or not found.days else f", {pages * found.days / 30:.2g} allowed"
    yield (
        f"its own history, each quarter against the others, in steps of {found.block:,} events: "
        f"{count} in {days}{allowed}"
    )
    for page in found.pages[:_PAGES]:
        names = ", ".join(page.signals[:_SIGNALS]) + (", …" if len(page.signals) > _SIGNALS else "")
        yield f"  {_time(page.at)}{' or so' if found.interpolated else ''}, since {_time(page.since)}: {names}"
    if len(found.pages) > _PAGES:
        yield f"  and {len(found.pages) - _PAGES} more"
    if found.pages:
        yield (
            "  if the model was well then, live traffic will bring false pages, too; if it was not, cut that time out "
            "of the history: driftline baseline build --exclude FROM..TO"
        )


def _cells(sight: Sight) -> list[str]:
    missing = dict(zip(HORIZONS, map(_points, sight.missing), strict=True))["day"]
    if sight.shift:
        return ["mean", *("not seen" if each is None else f"{each:.2g} σ" for each in sight.shift), missing]
    if sight.share:
        return ["commonest", *map(_points, sight.share), missing]
    return ["constant", *[""] * len(HORIZONS), missing]


def _points(share: float | None) -> str:
    return "not seen" if share is None else f"{100 * share:.2g} points"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
