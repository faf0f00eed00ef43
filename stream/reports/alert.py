"""The output of `driftline explain` and `driftline incidents`. Edge: rich.

Names and values from traffic are printed as `Text`, never as markup, on one line and without control
characters (`stream.text.printable`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftline.stream.alerts.explain import (
    Picture,
    Row,
    duration_text,
    effects,
    feedback_command,
    figures,
    picture,
    remark,
    replay_command,
    silence_command,
    verdict,
)
from driftline.stream.alerts.feedback import Feedback
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import Number, ReadAlert, ReadMember, ReadSignal
from driftline.stream.results.sizes import size_in_words
from driftline.stream.text.printable import printable

STYLES = {"firing": "red", "updated": "yellow", "resolved": "green"}
# Characters of the longest bar and of a label: two bars, their percentages and the label fill 78 of 80 columns.
_BAR_WIDTH, _LABEL_WIDTH = 18, 22
# Signals listed per incident.
_MAX_SIGNALS = 5
_NOTHING: Mapping[str, Feedback] = MappingProxyType({})
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_explanation(
    console: Console,
    alert: ReadAlert,
    incident: Sequence[ReadAlert],
    allowed: str = "",
    verbose: bool = False,
    live: bool = True,
) -> None:
    """Print what an alert says.

    incident: all alerts of its incident, by `seq`. allowed: what the configuration allows; "" if that is unknown.
    verbose: also the evidence, every effect size, and where its windows lie in the topic. live: whether workers have
    published it; what a replay wrote into a file has paged nobody, and is neither silenced nor judged.
    """
    console.print(
        Text.assemble((alert.status.upper(), f"bold {STYLES[alert.status]}"), "  ", (printable(alert.title), "bold"))
    )
    console.print(_facts(alert))
    if len(incident) > 1 or alert.status != "firing":
        _section(console, "History of the incident", _history(alert, incident))
    for signal in alert.signals:
        _section(console, printable(signal.name), _signal(signal, allowed, verbose))
    members = [*alert.details.members, *alert.details.downstream]
    if members:
        _section(console, "Incidents on this page", _members(members))
    if not alert.signals and alert.description:
        _section(console, "Description", *(Text(printable(line)) for line in alert.description.splitlines()))
    advice = _advice(alert, live)
    if advice.row_count:
        _section(console, "What to do", advice)


def print_incidents(
    console: Console, incidents: Iterable[ListedIncident], now: datetime, feedback: Mapping[str, Feedback] = _NOTHING
) -> None:
    """Print a table of incidents. now: the end of the duration of open incidents. feedback: by incident."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 1, 0))
    for heading in ("state", "model or topic", "since (UTC)"):
        table.add_column(heading, overflow="fold", max_width=_LABEL_WIDTH)
    table.add_column("signals", overflow="fold")
    for each in incidents:
        alert = each.newest
        state, detail = ("open", each.phase) if each.open else ("resolved", printable(alert.resolution or ""))
        said = feedback.get(alert.incident_id)
        details = (detail, printable(alert.severity), said.words if said else "")
        table.add_row(
            Text.assemble((state, STYLES[alert.status]), *(f"\n{line}" for line in details if line)),
            Text(f"{printable(alert.model)}\n{printable(alert.details.version or '')}"),
            Text(f"{format_time(alert.starts_at)}\n{duration_text(alert.starts_at, alert.ends_at or now)}"),
            Text.assemble(
                *_drifting_signals(each),
                (f"incident {printable(alert.incident_id)}\nalert    {printable(alert.id)}", "dim"),
            ),
        )
    console.print(table)


def _drifting_signals(each: ListedIncident) -> Iterator[str]:
    for signal in each.signals[:_MAX_SIGNALS]:
        yield f"{printable(signal.name.removeprefix('features.'))} {printable(signal.change.headline)}\n"
    if len(each.signals) > _MAX_SIGNALS:
        yield f"and {len(each.signals) - _MAX_SIGNALS} more\n"


def _section(console: Console, name: str, *parts: RenderableType) -> None:
    console.print(Text(f"\n{name}", style="bold"))
    console.print(Padding(Group(*parts), (0, 0, 0, 2), expand=False))


def _facts(alert: ReadAlert) -> Table:
    evidence = alert.details
    facts = {
        alert.about: " ".join(filter(None, (alert.model, evidence.version))),
        "severity": alert.severity,
        "class": alert.kind,
        "owner": alert.owner,
        "since": f"{format_time(alert.starts_at)}{_duration(alert)}",
        "until": " ".join(filter(None, (format_time(alert.ends_at), alert.resolution and f"({alert.resolution})"))),
        "published": f"{format_time(alert.emitted_at)}, seq {alert.seq}",
        "incident": alert.incident_id,
        "alert": alert.id,
        "mode": "" if alert.mode == "live" else alert.mode,
        "topic": alert.model if alert.about == "topic" else evidence.topic,
        "likely origin": ", ".join(evidence.likely_origin),
    }
    return _pairs((name, fact) for name, fact in facts.items() if fact)


def _duration(alert: ReadAlert) -> str:
    duration = duration_text(alert.starts_at, alert.ends_at)
    return f", for {duration}" if duration else ""


def _history(alert: ReadAlert, incident: Sequence[ReadAlert]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if incident and incident[0].status != "firing":
        table.add_row(Text("…"), "", Text("earlier alerts are missing here; the alerts topic has them", style="dim"))
    for each in incident:
        style = "bold" if each.id == alert.id else ""
        status = f"{each.status} ({printable(each.severity)})" if each.severity else each.status
        table.add_row(
            Text(format_time(each.emitted_at), style=style),
            Text(status, style=STYLES[each.status]),
            Text(printable(each.title), style=style),
        )
    return table


def _members(members: Iterable[ReadMember]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for each in members:
        table.add_row(*(Text(printable(cell)) for cell in (each.model, each.status, each.incident, each.title)))
    return table


def _signal(signal: ReadSignal, allowed: str, verbose: bool) -> Group:
    since = f"since {signal.since or 'unknown'}, in {signal.events:,} events, compared with the {signal.against}"
    chart = picture(signal)
    parts: list[RenderableType] = [
        Text(printable(signal.change.headline), style="yellow"),
        Text(printable(since), style="dim"),
        Text(printable(verdict(signal, allowed, verbose))),
        Text(),
        _figures(figures(signal)),
        Text(),
        *([_bars(chart), Text()] if chart else ()),
        _effects(effects(signal)) if verbose else _size(signal),
        *([Text(remark(signal), style="dim")] if remark(signal) else ()),
        *([Text(), _offsets(signal)] if verbose and signal.offsets else ()),
    ]
    return Group(*parts)


def _figures(rows: Iterable[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column()
    for side in ("before", "after"):
        table.add_column(side, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _size(signal: ReadSignal) -> Table:
    size = size_in_words(signal.change.jensen_shannon)
    return _pairs([] if signal.is_count else [("size of the change", size)])


def _effects(rows: Iterable[Row]) -> Table:
    return _pairs((row.name, f"{row.before}, {row.after}") for row in rows)


def _offsets(signal: ReadSignal) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("partition", "first offset", "end offset", "offsets"):
        table.add_column(heading, justify="right")
    for each in signal.offsets:
        table.add_row(str(each.partition), f"{each.start:,}", f"{each.end:,}", f"{each.end - each.start:,}")
    return table


def _bars(chart: Picture) -> Table:
    """A row per bin: its bar before and its bar after, on the same scale."""
    top = max((share or 0.0 for share in (*chart.before, *chart.after)), default=0.0) or 1.0
    table = Table(box=None, pad_edge=False)
    table.add_column("share of events", justify="right", no_wrap=True, max_width=_LABEL_WIDTH, overflow="ellipsis")
    for side in ("before", "after"):
        table.add_column(side, no_wrap=True, width=_BAR_WIDTH)
        table.add_column(justify="right", no_wrap=True)
    for label, *shares in zip(*chart, strict=True):
        cells = (Text(cell) for share in shares for cell in (_bar(share, top), _share(share)))
        table.add_row(Text(printable(label)), *cells)
    return table


def _bar(share: Number, top: float) -> str:
    eighths = round(8 * _BAR_WIDTH * (share or 0.0) / top)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _share(share: Number) -> str:
    return "?" if share is None else f"{100 * share:.1f} %"


def _advice(alert: ReadAlert, live: bool) -> Table:
    replay = replay_command(alert)
    rows = [("read", each) for each in alert.addresses()]
    rows += [("replay", replay)] if replay else []
    if live and alert.status != "resolved":
        rows += [("silence", silence_command(alert))] if alert.model else []
        rows.append(("wait", "the incident resolves by itself when its signals look like their reference again"))
    answers = (("if it was real", True), ("if it was not", False)) if live else ()
    rows += [(name, command) for name, real in answers if (command := feedback_command(alert, real))]
    return _pairs(rows)


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(printable(value)))
    return table


def format_time(moment: datetime | None) -> str:
    """A time in UTC, to the second; "" if it is unknown."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
