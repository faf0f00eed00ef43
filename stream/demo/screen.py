"""The demo's output: a live view on a terminal, plain lines elsewhere. Edge: prints.

✓ a step of the setup                  printed once, stays
planted faults, alerts, fixed faults   printed as they happen, stay
━━━━━━████━━━━░░░░──  metrics, signals the live view, refreshed below them
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from driftline.stream.demo.scenario import (
    CONCEPT,
    CONSEQUENCES,
    FAULTS,
    LABELLED,
    MODEL,
    OUTAGE,
    RATE,
    STOP,
    STOPPING,
    Fault,
    Phase,
    Scenario,
)  # fmt: skip
from driftline.stream.demo.site import WORKERS, Site, WorkerMetrics
from driftline.stream.demo.verdict import FaultResult, ReceivedAlert, Verdict
from driftline.stream.reports import replay as report
from driftline.stream.text.phrases import counted

# s between two refreshes of the live view, and between two plain lines without a terminal.
_REFRESH, _LINE_INTERVAL = 0.2, 5.0
_INDENT = 2
# A model or topic, and one of its signals.
_Row = tuple[str, str]
_OTHERS = [(each.component, each.signal) for each in (STOP, CONCEPT, FAULTS[-1])]


class Screen:
    """Prints the progress of a demo."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._console, self._scenario = console, scenario
        own = [name if name in CONSEQUENCES else f"features.{name}" for name in scenario.block(0)]
        self._rows = [*((MODEL, name) for name in own), *_OTHERS]
        self._drifting, self._recovered = dict[_Row, str](), set[_Row]()
        self._going_on = dict[str, Fault]()
        self._alerts, self._shown = 0, 0.0
        self._rate = _Rate()
        self._metrics: Sequence[WorkerMetrics | None] = ()
        self._live: Live | None = None

    def begin(self) -> None:
        """Print what the demo does."""
        self._console.print(
            Text.assemble(
                ("driftline demo", "bold"),
                f": real servers, {WORKERS} real workers, ",
                ("synthetic traffic", "bold yellow"),
                f" of three fictitious models, {MODEL}, {STOPPING} and {LABELLED}. Seven faults are planted, and all "
                "but two fixed again; each must be paged, and resolved. A worker is killed, too, which must page "
                "nobody.",
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
        fault, fixed = phase.fault, phase.fixed
        if fault:
            self._going_on[fault.name] = fault
            what = Text.assemble((f"planted: {fault.name}", "bold yellow"), f"  {fault.description}")
        elif fixed:
            del self._going_on[fixed.name]
            what = Text(f"fixed: {fixed.name}", style="cyan")
        else:
            what = Text("healthy traffic", style="cyan")
        self._console.print(Text.assemble((f"{phase.start / RATE:5.1f} s  ", "dim"), what))

    def alert(self, alert: ReceivedAlert) -> None:
        """Print an alert."""
        self._alerts += 1
        report.print_alert(self._console, alert.data)
        component = alert.data.component
        if alert.status == "resolved":
            over = {row for row in self._drifting if row[0] == component}
            self._recovered |= over
            self._drifting = {row: what for row, what in self._drifting.items() if row not in over}
            return
        for each in alert.data.evidence.signals:
            self._drifting[component, each.signal] = each.change.headline

    def show(self, sent: int, metrics: Sequence[WorkerMetrics | None]) -> None:
        """Show the state after `sent` events."""
        self._metrics = metrics
        self._rate.update(metrics)
        if time.monotonic() - self._shown < (_REFRESH if self._live else _LINE_INTERVAL):
            return
        self._shown = time.monotonic()
        if self._live:
            self._live.update(self._picture(sent), refresh=True)
        else:
            self._console.print(Text.assemble((f"{sent / RATE:5.1f} s  ", "dim"), self._counts(sent)))

    def _counts(self, sent: int) -> str:
        known = [each for each in self._metrics if each]
        lag, incidents = sum(each.lag for each in known), sum(each.incidents for each in known)
        workers = f"{len(known)} of {WORKERS} workers read {self._rate.value:,.0f}/s, lag {lag:,}"
        return f"sent {sent:,}; {workers}; {counted(self._alerts, 'alert')}, {counted(incidents, 'incident')} open"

    def _picture(self, sent: int) -> RenderableType:
        faults = "; ".join(each.description for each in self._going_on.values())
        now = Text.assemble("now: ", (faults, "yellow") if faults else ("healthy traffic", "cyan"))
        title = f"synthetic traffic  {sent / RATE:.0f} of {self._scenario.events / RATE:.0f} s"
        counts = Text(self._counts(sent), style="dim")
        parts: list[RenderableType] = [self._timelines(sent), now, counts, self._table()]
        return Group(Rule(Text(title), style="dim"), *(Padding(part, (0, _INDENT)) for part in parts))

    def _timelines(self, sent: int) -> Table:
        """A bar for each model, and for the worker that is killed."""
        scenario, table = self._scenario, Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        own = [each for each in scenario.phases if each.fault]
        bars = {MODEL: own, STOPPING: [scenario.stop, own[-1]], LABELLED: [scenario.concept]}
        bars |= {f"worker {WORKERS}": [scenario.outage]}
        for name, phases in bars.items():
            table.add_row(Text(name), self._timeline(phases, sent))
        return table

    def _timeline(self, phases: Sequence[Phase], sent: int) -> Text:
        """The scenario as a bar as wide as the screen: faults thick, the future dim."""
        line, width = Text(no_wrap=True), self._console.width - 2 * _INDENT - len(MODEL) - 2
        for cell in range(width):
            index = cell * self._scenario.events // width
            fault = any(each.start <= index < each.end for each in phases)
            colour = "bright_black" if index > sent else "yellow" if fault else "cyan"
            line.append("█" if fault else "━", colour)
        return line

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            component, signal = row
            name = signal.removeprefix("features.")
            table.add_row(Text(name if component == MODEL else f"{component}: {name}"), self._state(row))
        return table

    def _state(self, row: _Row) -> Text:
        if row in self._drifting:
            return Text(f"▲ {self._drifting[row]}", style="bold red")
        if row in {(each.component, each.signal) for each in self._going_on.values()}:
            return Text("● fault planted, not yet paged", style="yellow")
        return Text("● recovered", style="green") if row in self._recovered else Text("● healthy", style="dim")


class _Rate:
    """Events that all workers read in a second, between the last two different answers. value: so far."""

    def __init__(self) -> None:
        self.value, self._at = 0.0, time.monotonic()
        self._before: Sequence[WorkerMetrics | None] = ()

    def update(self, metrics: Sequence[WorkerMetrics | None]) -> None:
        """Take the newest metrics of each worker, None of one that does not answer."""
        if metrics is self._before:
            return
        now, pairs = time.monotonic(), zip(self._before, metrics, strict=False)
        more = sum(max(new.read - old.read, 0) for old, new in pairs if old and new)
        self.value, self._at, self._before = more / (now - self._at), now, metrics


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print the result of every planted fault, the false pages, and the verdict."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    headings = ("planted fault", "first signal", "paged after", "events", "start error", "resolved after")
    for heading in ("", *headings):
        left = heading in ("", *headings[:2])
        table.add_column(heading, justify="left" if left else "right", no_wrap=left)
    for result in verdict.results:
        table.add_row(_mark(result.problem), Text(result.planted.fault.name), *_found(result))
    table.add_row(
        _mark(verdict.downtime_problem), Text(OUTAGE.name), Text("" if verdict.downtime_problem else "paged nobody")
    )
    _print_heading(console, "planted faults and pages")
    console.print(table)
    problems = {each.planted.fault.name: each.problem for each in verdict.results}
    for name, problem in (problems | {OUTAGE.name: verdict.downtime_problem}).items():
        if problem:
            console.print(Text(f"✗ {name}: {problem}", style="red"))
    for false_page in verdict.false_pages:
        console.print(Text(f"✗ false page: {false_page}", style="red"))
    caught = sum(result.problem is None for result in verdict.results)
    console.print(
        Text(
            f"{caught} of {len(verdict.results)} planted faults paged, each as an incident of its own; "
            f"{_away(verdict)}; {len(verdict.false_pages) or 'no'} false page{'s' * (len(verdict.false_pages) != 1)}",
            style="bold red" if verdict.exit_code else "bold green",
        )
    )


def _print_heading(console: Console, heading: str) -> None:
    """A line across the terminal; in a pipe, which is as wide as its longest line may be, the heading alone."""
    console.print(Rule(heading, style="dim") if console.is_terminal else Text(heading))


def _mark(problem: str | None) -> Text:
    return Text("✗", style="red") if problem else Text("✓", style="green")


def _found(result: FaultResult) -> list[Text]:
    """The cells of a fault that was paged as it must be."""
    planted, page, resolved = result.planted, result.page, result.resolved
    if result.problem or page is None:
        return []
    end = f"{(resolved.at - planted.ended) / 1000:.1f} s" if resolved else "not fixed"
    signal = page.signals[0].removeprefix("features.")
    error = "–" if result.start_error is None else f"{result.start_error:+.1f} s"
    cells = signal, f"{result.delay:.1f} s", f"{page.sent - planted.start:,}", error, end
    return list(map(Text, cells))


def _away(verdict: Verdict) -> str:
    """What a worker's downtime has shown."""
    if (seconds := verdict.downtime.seconds) is None:
        return "the killed worker did not return"
    whom = "may have paged" if verdict.false_pages else "paged nobody"
    return f"a worker that was down for {seconds:.0f} s {whom}"


def print_invitation(console: Console, site: Site) -> None:
    """Print what keeps running, and commands to try."""
    config, driftline = site.config_path, Path(sys.executable).with_name("driftline")
    places = {
        "broker": site.broker.address,
        "store": f"redis://{site.store.address}/0",
        **{each.name: f"pid {each.process.pid}" for each in site.workers if each.process},
        "metrics": f"http://{site.workers[0].address}/metrics",
        "configuration": str(config),
    }
    commands = (
        f"{driftline} replay kafka://{site.config.topics.predictions} -c {config}",
        f"{driftline} incidents --past -c {config}",
        f"{driftline} topics show -c {config}",
        f"{driftline} baseline show {config.parent / f'{MODEL}.driftline'}",
        f"curl http://{site.workers[0].address}/metrics",
    )
    _print_heading(console, "still running")
    for name, place in places.items():
        console.print(Text(f"{name:18} {place}"), soft_wrap=True)
    console.print("try, in another terminal:")
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)
    console.print(f"Ctrl-C here, or kill {os.getpid()}, stops everything and removes the files", style="bold")
