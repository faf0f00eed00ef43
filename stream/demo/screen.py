"""What a person sees of the demo: live on a terminal, as plain lines elsewhere. Edge: prints.

✓ what is set up                       printed once, stays
planted, alerts, put right             printed as they happen, stay
━━━━━━████━━━━░░░░──  figures, signals the live part, renewed below them
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from driftline.stream.demo.scenario import CONSEQUENCES, MODEL, RATE, Phase, Scenario
from driftline.stream.demo.site import Figures, Site
from driftline.stream.demo.verdict import Arrival, Row, Verdict
from driftline.stream.reports import replay as report

# s between two renewals of the live part, and between two plain lines without a terminal.
_RENEWAL, _LINE = 0.2, 5.0
_INDENT = 2


class Screen:
    """Shows a demo as it goes on."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._console, self._scenario = console, scenario
        self._signals = [name if name in CONSEQUENCES else f"features.{name}" for name in scenario.block(0)]
        self._drifting, self._recovered = dict[str, str](), set[str]()
        self._alerts, self._shown, self._rate = 0, 0.0, 0.0
        self._figures: Figures | None = None
        self._live: Live | None = None

    def begin(self) -> None:
        """Say what this is."""
        self._console.print(
            Text.assemble(
                ("driftline demo", "bold"),
                ": real servers and a real worker, ",
                ("synthetic traffic", "bold yellow"),
                f" of a made-up model, {MODEL}. Four things will go wrong, one after another, and be put right again.",
            )
        )

    def done(self, what: str) -> None:
        """Say that a part is ready."""
        self._console.print(Text.assemble((" ✓ ", "green"), what))

    @contextmanager
    def live(self) -> Iterator[None]:
        """While it lasts, `show` renews the live part; without a terminal it prints lines."""
        self._shown = time.monotonic()
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def phase(self, phase: Phase) -> None:
        """A phase begins."""
        seconds = f"{phase.start / RATE:5.1f} s  "
        if phase.fault:
            told = Text.assemble((f"planted: {phase.fault.name}", "bold yellow"), f"  {phase.fault.told}")
        else:
            told = Text("put right: healthy traffic again" if phase.start else "healthy traffic", style="cyan")
        self._console.print(Text.assemble((seconds, "dim"), told))

    def alert(self, arrival: Arrival) -> None:
        """An alert has come."""
        self._alerts += 1
        report.print_alert(self._console, arrival.data)
        if arrival.status == "resolved":
            self._recovered |= self._drifting.keys()
            self._drifting.clear()
            return
        for each in arrival.data.evidence.signals:
            self._drifting[each.signal] = each.change.headline

    def show(self, fed: int, figures: Figures | None) -> None:
        """How things stand after `fed` events."""
        self._take(figures)
        if time.monotonic() - self._shown < (_RENEWAL if self._live else _LINE):
            return
        self._shown = time.monotonic()
        if self._live:
            self._live.update(self._picture(fed), refresh=True)
        else:
            self._console.print(Text.assemble((f"{fed / RATE:5.1f} s  ", "dim"), self._counts(fed)))

    def _take(self, figures: Figures | None) -> None:
        old = self._figures
        if figures and old and figures.at > old.at:
            self._rate = (figures.read - old.read) / (figures.at - old.at)
        self._figures = figures or old

    def _counts(self, fed: int) -> str:
        worker, alerts = "", f"{self._alerts} alerts"
        if each := self._figures:
            worker = f"read {self._rate:,.0f}/s, lag {each.lag:,}, {each.panes:,} panes; "
            alerts += f", {each.incidents} open"
        return f"fed {fed:,}; {worker}{alerts}"

    def _picture(self, fed: int) -> RenderableType:
        phase = self._scenario.phase(fed - 1)
        now = Text.assemble("now: ", (phase.fault.told, "yellow") if phase.fault else ("healthy traffic", "cyan"))
        title = f"{MODEL} (synthetic)  {fed / RATE:.0f} of {self._scenario.events / RATE:.0f} s"
        counts = Text(self._counts(fed), style="dim")
        parts: list[RenderableType] = [self._timeline(fed), now, counts, self._table(phase)]
        return Group(Rule(Text(title), style="dim"), *(Padding(part, (0, _INDENT)) for part in parts))

    def _timeline(self, fed: int) -> Text:
        """The scenario as a bar as wide as the screen: faults thick, what is to come dim."""
        line, width = Text(no_wrap=True), self._console.width - 2 * _INDENT
        for cell in range(width):
            index = cell * self._scenario.events // width
            fault = self._scenario.phase(index).fault
            colour = "bright_black" if index > fed else "yellow" if fault else "cyan"
            line.append("█" if fault else "━", colour)
        return line

    def _table(self, phase: Phase) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for signal in self._signals:
            table.add_row(Text(signal.removeprefix("features.")), self._state(signal, phase))
        return table

    def _state(self, signal: str, phase: Phase) -> Text:
        if signal in self._drifting:
            return Text(f"▲ drifts: {self._drifting[signal]}", style="bold red")
        if phase.fault and phase.fault.signal == signal:
            return Text("● fault planted, not yet paged", style="yellow")
        return Text("● recovered", style="green") if signal in self._recovered else Text("● as usual", style="dim")


def print_verdict(console: Console, verdict: Verdict) -> None:
    """The planted faults and what became of each, and the verdict."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    headings = ("planted", "named first", "paged after", "events", "start error", "resolved")
    for heading in ("", *headings):
        left = heading in ("", *headings[:2])
        table.add_column(heading, justify="left" if left else "right", no_wrap=left)
    for row in verdict.rows:
        table.add_row(*_cells(row))
    console.print(Rule("planted and paged", style="dim"), table)
    for stray in verdict.strays:
        console.print(Text(f"✗ paged, but not planted: {stray}", style="red"))
    caught = sum(row.problem is None for row in verdict.rows)
    told = f"{caught} of {len(verdict.rows)} planted faults paged, each as an incident of its own; "
    told += f"{len(verdict.strays)} other findings" if verdict.strays else "nothing else paged"
    console.print(Text(told, style="bold red" if verdict.exit_code else "bold green"))


def _cells(row: Row) -> list[Text]:
    planted, page, resolved = row.planted, row.page, row.resolved
    name = Text(planted.fault.name)
    if row.problem or page is None:
        return [Text("✗", style="red"), name, Text(row.problem or "", style="red")]
    end = f"{(resolved.at - planted.ended) / 1000:.1f} s" if resolved else "open"
    figures = (
        f"{(page.at - planted.started) / 1000:.1f} s",
        f"{page.fed - planted.start:,}",
        f"{row.start_error:+.1f} s",
        end,
    )
    return [Text("✓", style="green"), name, Text(page.signals[0].removeprefix("features.")), *map(Text, figures)]


def print_invitation(console: Console, site: Site) -> None:
    """What runs on, and what to try with it."""
    config, driftline = site.config_path, Path(sys.executable).with_name("driftline")
    places = {
        "broker": site.broker.address,
        "store": f"redis://{site.store.address}/0",
        "worker": f"pid {site.worker.process.pid}" if site.worker.process else "",
        "figures": f"http://{site.worker.address}/metrics",
        "configuration": str(config),
    }
    commands = (
        f"{driftline} replay kafka://{site.config.topics.predictions} -c {config}",
        f"{driftline} topics show -c {config}",
        f"{driftline} baseline show {config.parent / f'{MODEL}.driftline'}",
        f"curl http://{site.worker.address}/metrics",
    )
    console.print(Rule("everything runs on", style="dim"))
    for name, place in places.items():
        console.print(Text(f"{name:14} {place}"), soft_wrap=True)
    console.print("try, in another terminal:")
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)
    console.print(f"Ctrl-C here, or kill {os.getpid()}, ends it all and removes the files", style="bold")
