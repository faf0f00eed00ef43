"""What `driftline explain` and `driftline incidents` print. Edge: rich.

What traffic brought is printed as `Text`, never as markup, on one line and without characters that steer a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftline.stream.alerts.explain import (
    Picture,
    Row,
    effects,
    figures,
    lasted,
    picture,
    quiet_command,
    remark,
    replay_command,
    verdict,
)
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import Number, ReadAlert, ReadMember, ReadSignal

STYLES = {"firing": "red", "updated": "yellow", "resolved": "green"}
# Characters of the longest bar and of a label: two bars, their figures and the label fill 78 of 80.
_BAR, _LABEL = 18, 22
# Signals named of an incident in a list.
_NAMED = 5
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_explanation(console: Console, told: ReadAlert, incident: Sequence[ReadAlert], rate: float | None) -> None:
    """All that an alert says. incident: its incident's alerts, by `seq`. rate: see `stream.alerts.explain.verdict`."""
    console.print(
        Text.assemble((told.status.upper(), f"bold {STYLES[told.status]}"), "  ", (plain(told.title), "bold"))
    )
    console.print(_facts(told))
    if len(incident) > 1 or told.status != "firing":
        _section(console, "Course of the incident", _course(told, incident))
    for signal in told.signals:
        _section(console, plain(signal.name), _signal(signal, rate))
    members = [*told.details.members, *told.details.downstream]
    if members:
        _section(console, "Incidents it speaks of", _members(members))
    if not told.signals and told.description:
        _section(console, "Description", *(Text(plain(line)) for line in told.description.splitlines()))
    advice = _advice(told)
    if advice.row_count:
        _section(console, "What to do", advice)


def print_incidents(console: Console, incidents: Iterable[ListedIncident], now: datetime) -> None:
    """A table of incidents. now: until when open ones have lasted."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 1, 0))
    for heading in ("state", "model", "since (UTC)"):
        table.add_column(heading, overflow="fold", max_width=_LABEL)
    table.add_column("signals", overflow="fold")
    for each in incidents:
        told = each.newest
        state, detail = ("open", each.phase) if each.open else ("resolved", plain(told.resolution or ""))
        table.add_row(
            Text.assemble(
                (state, STYLES[told.status]), *(f"\n{line}" for line in (detail, plain(told.severity)) if line)
            ),
            Text(f"{plain(told.model)}\n{plain(told.details.version or '')}"),
            Text(f"{stamp(told.starts_at)}\n{lasted(told.starts_at, told.ends_at or now)}"),
            Text.assemble(*_drifts(each), (f"incident {plain(told.incident_id)}\nalert    {plain(told.id)}", "dim")),
        )
    console.print(table)


def _drifts(each: ListedIncident) -> Iterator[str]:
    for signal in each.signals[:_NAMED]:
        yield f"{plain(signal.name.removeprefix('features.'))} {plain(signal.change.headline)}\n"
    if len(each.signals) > _NAMED:
        yield f"and {len(each.signals) - _NAMED} more\n"


def _section(console: Console, name: str, *parts: RenderableType) -> None:
    console.print(Text(f"\n{name}", style="bold"))
    console.print(Padding(Group(*parts), (0, 0, 0, 2)))


def _facts(told: ReadAlert) -> Table:
    evidence = told.details
    facts = {
        "model": " ".join(filter(None, (told.model, evidence.version))),
        "severity": told.severity,
        "class": told.kind,
        "since": f"{stamp(told.starts_at)}{_for(told)}",
        "until": " ".join(filter(None, (stamp(told.ends_at), told.resolution and f"({told.resolution})"))),
        "told": f"{stamp(told.emitted_at)}, seq {told.seq}",
        "incident": told.incident_id,
        "alert": told.id,
        "mode": "" if told.mode == "live" else told.mode,
        "topic": evidence.topic,
        "likely origin": ", ".join(evidence.likely_origin),
    }
    return _pairs((name, fact) for name, fact in facts.items() if fact)


def _for(told: ReadAlert) -> str:
    duration = lasted(told.starts_at, told.ends_at)
    return f", for {duration}" if duration else ""


def _course(told: ReadAlert, incident: Sequence[ReadAlert]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if incident and incident[0].status != "firing":
        table.add_row(
            Text("…"), "", Text("what came before is no longer kept there; the alerts topic has it", style="dim")
        )
    for each in incident:
        mark = "bold" if each.id == told.id else ""
        what = f"{each.status} ({plain(each.severity)})" if each.severity else each.status
        table.add_row(
            Text(stamp(each.emitted_at), style=mark),
            Text(what, style=STYLES[each.status]),
            Text(plain(each.title), style=mark),
        )
    return table


def _members(members: Iterable[ReadMember]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for each in members:
        table.add_row(*(Text(plain(cell)) for cell in (each.model, each.status, each.incident, each.title)))
    return table


def _signal(signal: ReadSignal, rate: float | None) -> Group:
    since = f"since {signal.since or 'unknown'}, in {signal.events:,} events, compared with the {signal.against}"
    drawn = picture(signal)
    parts: list[RenderableType] = [
        Text(plain(signal.change.headline), style="yellow"),
        Text(plain(since), style="dim"),
        Text(plain(verdict(signal, rate))),
        Text(),
        _figures(figures(signal)),
        Text(),
        *([_bars(drawn), Text()] if drawn else ()),
        _effects(effects(signal)),
        *([Text(remark(signal), style="dim")] if remark(signal) else ()),
        *([Text(), _offsets(signal)] if signal.offsets else ()),
    ]
    return Group(*parts)


def _figures(rows: Iterable[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column()
    for side in ("before", "after"):
        table.add_column(side, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def _effects(rows: Iterable[Row]) -> Table:
    return _pairs((row.name, f"{row.before}, {row.after}") for row in rows)


def _offsets(signal: ReadSignal) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("partition", "first offset", "up to", "offsets"):
        table.add_column(heading, justify="right")
    for each in signal.offsets:
        table.add_row(str(each.partition), f"{each.start:,}", f"{each.end:,}", f"{each.end - each.start:,}")
    return table


def _bars(drawn: Picture) -> Table:
    """A line for each bin: its bar before and its bar after, in the same scale."""
    top = max((share or 0.0 for share in (*drawn.before, *drawn.after)), default=0.0) or 1.0
    table = Table(box=None, pad_edge=False)
    table.add_column("share of events", justify="right", no_wrap=True, max_width=_LABEL, overflow="ellipsis")
    for side in ("before", "after"):
        table.add_column(side, no_wrap=True, width=_BAR)
        table.add_column(justify="right", no_wrap=True)
    for label, *shares in zip(*drawn, strict=True):
        cells = (Text(cell) for share in shares for cell in (_bar(share, top), _share(share)))
        table.add_row(Text(plain(label)), *cells)
    return table


def _bar(share: Number, top: float) -> str:
    eighths = round(8 * _BAR * (share or 0.0) / top)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _share(share: Number) -> str:
    return "?" if share is None else f"{100 * share:.1f} %"


def _advice(told: ReadAlert) -> Table:
    replay = replay_command(told)
    rows = [("read", each) for each in told.addresses()]
    rows += [("see it again", replay)] if replay else []
    if told.status != "resolved":
        rows += [("keep quiet", quiet_command(told))] if told.model else []
        rows.append(("wait", "it resolves itself when its signals look like their reference again"))
    return _pairs(rows)


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(plain(value)))
    return table


def stamp(moment: datetime | None) -> str:
    """A time as people read it, in UTC; "" if it is not known."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def plain(text: str) -> str:
    """On one line, and without what could steer a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
