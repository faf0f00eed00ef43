"""The demo's output: a live view on a terminal, plain lines elsewhere. Edge: prints.

✓ a step of the setup                  printed once, stays
planted faults, alerts, fixed faults   printed as they happen, stay
━━━━━━████━━━━░░░░──  metrics, signals the live view, refreshed below them
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

from driftline.stream.demo.scenario import CONSEQUENCES, MODEL, RATE, STOPPING, Phase, Scenario
from driftline.stream.demo.site import Site, WorkerMetrics
from driftline.stream.demo.verdict import FaultResult, ReceivedAlert, Verdict
from driftline.stream.reports import replay as report

# s between two refreshes of the live view, and between two plain lines without a terminal.
_REFRESH, _LINE_INTERVAL = 0.2, 5.0
_INDENT = 2


class Screen:
    """Prints the progress of a demo."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._console, self._scenario = console, scenario
        self._signals = [name if name in CONSEQUENCES else f"features.{name}" for name in scenario.block(0)]
        self._drifting, self._recovered = dict[str, str](), set[str]()
        self._alerts, self._shown, self._rate = 0, 0.0, 0.0
        self._metrics: WorkerMetrics | None = None
        self._live: Live | None = None

    def begin(self) -> None:
        """Print what the demo does."""
        self._console.print(
            Text.assemble(
                ("driftline demo", "bold"),
                ": real servers and a real worker, ",
                ("synthetic traffic", "bold yellow"),
                f" of two fictitious models, {MODEL} and {STOPPING}. Six faults are planted, and all but the last one "
                "fixed again.",
            )
        )

    def done(self, step: str) -> None:
        """Print that a step of the setup is done."""
        self._console.print(Text.assemble((" ✓ ", "green"), step))

    @contextmanager
    def live(self) -> Iterator[None]:
        """During the block, `show` refreshes the live view; without a terminal, `show` prints lines."""
        self._shown = time.monotonic()
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def phase(self, phase: Phase) -> None:
        """Print that a phase begins."""
        seconds = f"{phase.start / RATE:5.1f} s  "
        if phase.fault:
            what = Text.assemble((f"planted: {phase.fault.name}", "bold yellow"), f"  {phase.fault.description}")
        else:
            what = Text(f"fixed: {phase.fixed.name}" if phase.fixed else "healthy traffic", style="cyan")
        self._console.print(Text.assemble((seconds, "dim"), what))

    def alert(self, alert: ReceivedAlert) -> None:
        """Print an alert."""
        self._alerts += 1
        report.print_alert(self._console, alert.data)
        if alert.data.component != MODEL:
            return
        if alert.status == "resolved":
            self._recovered |= self._drifting.keys()
            self._drifting.clear()
            return
        for each in alert.data.evidence.signals:
            self._drifting[each.signal] = each.change.headline

    def show(self, sent: int, metrics: WorkerMetrics | None) -> None:
        """Show the state after `sent` events."""
        self._update_rate(metrics)
        if time.monotonic() - self._shown < (_REFRESH if self._live else _LINE_INTERVAL):
            return
        self._shown = time.monotonic()
        if self._live:
            self._live.update(self._picture(sent), refresh=True)
        else:
            self._console.print(Text.assemble((f"{sent / RATE:5.1f} s  ", "dim"), self._counts(sent)))

    def _update_rate(self, metrics: WorkerMetrics | None) -> None:
        old = self._metrics
        if metrics and old and metrics.at > old.at:
            self._rate = (metrics.read - old.read) / (metrics.at - old.at)
        self._metrics = metrics or old

    def _counts(self, sent: int) -> str:
        worker, alerts = "", f"{self._alerts} alert{'s' * (self._alerts != 1)}"
        if each := self._metrics:
            worker = f"read {self._rate:,.0f}/s, lag {each.lag:,}, {each.panes:,} panes; "
            alerts += f", {each.incidents} open"
        return f"sent {sent:,}; {worker}{alerts}"

    def _picture(self, sent: int) -> RenderableType:
        phase = self._scenario.phase(sent - 1)
        now = Text.assemble(
            "now: ", (phase.fault.description, "yellow") if phase.fault else ("healthy traffic", "cyan")
        )
        title = f"{MODEL} (synthetic)  {sent / RATE:.0f} of {self._scenario.events / RATE:.0f} s"
        counts = Text(self._counts(sent), style="dim")
        parts: list[RenderableType] = [self._timeline(sent), now, counts, self._table(phase)]
        return Group(Rule(Text(title), style="dim"), *(Padding(part, (0, _INDENT)) for part in parts))

    def _timeline(self, sent: int) -> Text:
        """The scenario as a bar as wide as the screen: faults thick, the future dim."""
        line, width = Text(no_wrap=True), self._console.width - 2 * _INDENT
        for cell in range(width):
            index = cell * self._scenario.events // width
            fault = self._scenario.phase(index).fault
            colour = "bright_black" if index > sent else "yellow" if fault else "cyan"
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
            return Text(f"▲ drifting: {self._drifting[signal]}", style="bold red")
        if phase.fault and phase.fault.signal == signal:
            return Text("● fault planted, not yet paged", style="yellow")
        return Text("● recovered", style="green") if signal in self._recovered else Text("● healthy", style="dim")


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print the result of every planted fault, the false pages, and the verdict."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    headings = ("planted fault", "first signal", "paged after", "events", "start error", "resolved after")
    for heading in ("", *headings):
        left = heading in ("", *headings[:2])
        table.add_column(heading, justify="left" if left else "right", no_wrap=left)
    for result in verdict.results:
        table.add_row(*_cells(result))
    console.print(Rule("planted faults and pages", style="dim"), table)
    for false_page in verdict.false_pages:
        console.print(Text(f"✗ false page: {false_page}", style="red"))
    caught = sum(result.problem is None for result in verdict.results)
    summary = f"{caught} of {len(verdict.results)} planted faults paged, each as an incident of its own; "
    summary += f"{len(verdict.false_pages) or 'no'} false page{'s' * (len(verdict.false_pages) != 1)}"
    console.print(Text(summary, style="bold red" if verdict.exit_code else "bold green"))


def _cells(result: FaultResult) -> list[Text]:
    planted, page, resolved = result.planted, result.page, result.resolved
    name = Text(planted.fault.name)
    if result.problem or page is None:
        return [Text("✗", style="red"), name, Text(result.problem or "", style="red")]
    end = f"{(resolved.at - planted.ended) / 1000:.1f} s" if resolved else "open"
    metrics = (
        f"{(page.at - planted.started) / 1000:.1f} s",
        f"{page.sent - planted.start:,}",
        f"{result.start_error:+.1f} s",
        end,
    )
    return [Text("✓", style="green"), name, Text(page.signals[0].removeprefix("features.")), *map(Text, metrics)]


def print_invitation(console: Console, site: Site) -> None:
    """Print what keeps running, and commands to try."""
    config, driftline = site.config_path, Path(sys.executable).with_name("driftline")
    places = {
        "broker": site.broker.address,
        "store": f"redis://{site.store.address}/0",
        "worker": f"pid {site.worker.process.pid}" if site.worker.process else "",
        "metrics": f"http://{site.worker.address}/metrics",
        "configuration": str(config),
    }
    commands = (
        f"{driftline} replay kafka://{site.config.topics.predictions} -c {config}",
        f"{driftline} topics show -c {config}",
        f"{driftline} baseline show {config.parent / f'{MODEL}.driftline'}",
        f"curl http://{site.worker.address}/metrics",
    )
    console.print(Rule("still running", style="dim"))
    for name, place in places.items():
        console.print(Text(f"{name:14} {place}"), soft_wrap=True)
    console.print("try, in another terminal:")
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)
    console.print(f"Ctrl-C here, or kill {os.getpid()}, stops everything and removes the files", style="bold")
