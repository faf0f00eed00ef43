"""The output of a replay, and a baseline as tables. Edge: rich.

Names, values and reasons from traffic are printed as `Text`, never as markup, and on one line: a signal may be called
"[/b]" or hold a line break.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD, Box
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Categories, Grid, Special
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.alerts.build import iso
from driftline.stream.alerts.schema import AlertData, Evidence, SignalEvidence
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.remarks import baseline_remarks
from driftline.stream.judge.changes import bars
from driftline.stream.judge.incidents import Status
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.replay.run import ReplayResult
from driftline.stream.replay.verdict import Outcome, Verdict
from driftline.stream.text.phrases import counted
from driftline.stream.text.printable import printable

_WIDTH = 16
_COLOURS = {"firing": "red", "updated": "yellow", "resolved": "green"}
_LEFT = ("signal", "kind", "distribution")
# On a terminal with fewer columns, the table of signals leaves out some figures and the prefix that most names have.
_WIDE, _ONLY_WIDE = 100, ("codes", "min", "max")
# Fields that are not watched: as many as leave the summary of a wide model on one screen.
_SHOWN_UNWATCHED = 10


def print_alert(console: Console, data: AlertData[Evidence], verbose: bool = False) -> None:
    """Print an alert: its incident, its start, and each signal's change; on a terminal, in a frame.

    verbose: with the evidence in nats, the test, and where the window begins in the log.
    """
    status = "REOPENED" if data.reopened else data.status.upper()
    title = Text.assemble((status, "bold"), " ", printable(data.component))
    facts = (f"since {data.starts_at}", f"incident {data.incident_id}", data.severity, data.kind)
    head = Text(printable("  ·  ".join(facts)), style="dim")
    lines = (
        [Text(printable(data.title))]
        if data.status is Status.RESOLVED
        else [_signal(each, verbose) for each in data.evidence.signals]
    )
    if console.is_terminal:
        console.print(Panel(Group(head, *lines), title=title, title_align="left", border_style=_COLOURS[data.status]))
    else:
        console.print(title, Padding(Group(head, *lines), (0, 0, 1, 2), expand=False), sep="\n")


def _signal(each: SignalEvidence, verbose: bool) -> Group:
    """A signal's change, and below it since when, and the evidence."""
    figures = _evidence(each) if verbose else f"since {each.since[:16]}Z, {each.events:,} events"
    version = f" of version {each.version}" if each.version else ""
    change = Text.assemble((printable(each.signal), "bold"), printable(version), "  ", printable(each.change.headline))
    return Group(change, Padding(Text(printable(figures), style="dim"), (0, 0, 0, 2), expand=False))


def _evidence(each: SignalEvidence) -> str:
    offsets = ", ".join(f"{where.start:,} (partition {where.partition})" for where in each.offsets)
    test = f"{each.test} {each.code}" if each.code else each.test
    where = (f"since {each.since[:16]}Z", *([f"from offset {offsets}"] if offsets else []), f"{each.events:,} events")
    # Counts of traffic and of messages have neither offsets nor a distribution, and some tests of them no nats.
    evidence = [f"{test} {each.evidence_nats:.1f} > {each.threshold_nats:.1f} nats"] if each.threshold_nats else []
    effect = [f"PSI {each.change.psi:.2f}"] if offsets else []
    return "; ".join((", ".join(where), *evidence, *effect))


def print_summary(
    console: Console, result: ReplayResult, verdict: Verdict, seconds: float, of_files: bool = False
) -> None:
    """Print the end of a replay: what was read, what was watched and what was not, and the verdict.

    of_files: whether records have no offsets, and are counted from 1.
    """
    rate = result.events / seconds if seconds else 0.0
    console.print(f"{counted(result.events, 'event')} in {seconds:.1f} s ({rate:,.0f}/s)")
    for problem in _problems(result, verdict, of_files):
        console.print(Text(printable(f"  {problem}"), style="yellow"))
    for model, events in result.learned.items():
        console.print(Text(f"  {printable(model)}: its baseline was learned from its first {events:,} events"))
    signals = sum(map(len, result.watched.values()))
    console.print(
        f"watched {counted(signals, 'signal')} of {counted(len(result.watched), 'model')}, "
        f"judged {result.judged:,} of {result.read:,} events{_rest(result)}"
    )
    for model, counts in result.labels.items():
        console.print(Text(printable(f"  {model}: {counts.in_words}")), soft_wrap=True)
    print_unwatched(console, result.unwatched)
    _print_verdict(console, result, verdict)


def print_unwatched(console: Console, fields: Sequence[Unwatched], shown: int = _SHOWN_UNWATCHED) -> None:
    """Print which fields are not watched and why, those that changed since the baseline first and in yellow."""
    if fields:
        console.print("not watched:")
    for each in sorted(fields, key=lambda each: not each.is_change)[:shown]:
        style = "yellow" if each.is_change else "dim"
        line = printable(f"  {each.model}  {each.field}: {each.detail}")
        console.print(Text(line, style=style), soft_wrap=True)
    if len(fields) > shown:
        console.print(f"  and {len(fields) - shown:,} more; --json has all")


def _problems(result: ReplayResult, verdict: Verdict, of_files: bool) -> Iterator[str]:
    for cause in result.rejected.causes():
        # The verdict has the example and what helps, if it is about these.
        is_said = any(each.endswith(cause.summary) for each in verdict.shortfalls)
        example = "" if is_said else f", such as: {cause.example}"
        first = "" if cause.offset is None else f" (the first {cause.where(of_files)})"
        yield f"{cause.times:,} × rejected for {cause.place}{example}{first}"
    for place, count in result.defects.most_common():
        yield f"{count:,} × {place}, such as: {result.examples[place]}"


def _rest(result: ReplayResult) -> str:
    """What became of the events that were not judged."""
    rest = {
        "rejected": result.rejected.total,
        "learned from": sum(result.learned.values()),
        "of models with too few events": sum(each.too_few for each in result.counts.values()),
        "too few for another evaluation": sum(each.not_due for each in result.counts.values()),
        "without a value": sum(each.dropped for each in result.counts.values()),
    }
    parts = ", ".join(f"{count:,} {what}" for what, count in rest.items() if count)
    return f" ({parts})" if parts else ""


def _print_verdict(console: Console, result: ReplayResult, verdict: Verdict) -> None:
    for shortfall in verdict.shortfalls:
        console.print(Text(printable(f"too little was judged: {shortfall}"), style="yellow"), soft_wrap=True)
    newest = Counter({alert.data.incident_id: alert.data.status for alert in result.alerts}.values())
    fired, resolved = newest.total(), newest[Status.RESOLVED]
    summary = f"{counted(fired, 'incident')}, {resolved} resolved, {fired - resolved} still open"
    text, style = {
        Outcome.DRIFT: (summary, "red"),
        Outcome.NO_DRIFT: ("no drift", "green"),
        Outcome.TOO_LITTLE: ("no verdict", "red"),
    }[verdict.outcome]
    console.print(text, style=style)


def print_baseline(console: Console, baseline: Baseline) -> None:
    """Print a baseline: its facts, then every signal with its figures and a small histogram."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    blocks = len(baseline.blocks) if baseline.read_blocks else 0
    about = {**baseline.about, "content_hash": baseline.content_hash, "blocks": blocks}
    for name, value in about.items():
        text = iso(value) if name.startswith("time_") else _as_text(value)
        facts.add_row(Text(printable(name), style="dim"), Text(printable(text)))
    console.print(facts)
    rows = [_signal_row(baseline.layout, baseline.total, s) for s in range(len(baseline.layout.signals))]
    for remark in baseline_remarks(baseline):
        console.print(Text(printable(remark)))
    console.print(_signal_table(rows, wide=console.width >= _WIDE, box=SIMPLE_HEAD if console.is_terminal else None))


def _signal_table(rows: list[dict[str, str]], wide: bool, box: Box | None) -> Table:
    headings = [heading for heading in rows[0] if wide or heading not in _ONLY_WIDE]
    table = Table(box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        left = heading in _LEFT
        # Figures keep their digits; names and distributions make room.
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left, overflow="ellipsis")
    for row in rows:
        name = row["signal"] if wide else row["signal"].removeprefix("features.")
        table.add_row(*(Text(printable({**row, "signal": name}[heading])) for heading in headings))
    return table


def _signal_row(layout: Layout, total: Sketch, s: int) -> dict[str, str]:
    signal, moments = layout.signals[s], layout.summary(total, s)
    missing = total.counts[layout.special_column(s, Special.MISSING)] / max(total.n, 1)
    four = (moments.mean, moments.deviation, moments.low, moments.high) if moments else ()
    figures = [f"{value:.4g}" for value in four] or [""] * 4
    codes = total.counts[layout.starts[s] : layout.starts[s] + layout.sizes[s]]
    return {
        "signal": signal.name,
        "kind": signal.kind.value,
        "codes": str(signal.coder.size),
        "missing": f"{100 * missing:.2f} %" if missing else "",
        **dict(zip(("mean", "σ", "min", "max"), figures, strict=True)),
        "distribution": _distribution(signal.coder, codes),
    }


def _distribution(coder: Grid | Categories, codes: IntArray) -> str:
    """A histogram of at most 16 characters, or the most common values."""
    if isinstance(coder, Grid):
        return bars(_heights(coder, codes).tolist())
    top = sorted(zip(codes, coder.values, strict=True), key=lambda pair: -pair[0])[:3]
    total = max(int(codes.sum()), 1)
    more = f" +{len(coder.values) - 3}" if len(coder.values) > 3 else ""
    return ", ".join(f"{value} {100 * count / total:.0f} %" for count, value in top) + more


def _heights(grid: Grid, codes: IntArray) -> FloatArray:
    """Events in 16 intervals of equal width from the 1st to the 99th percentile, or at each of up to 16 values."""
    if np.count_nonzero(codes) <= _WIDTH:
        return codes[codes > 0].astype(float)
    below = np.cumsum(codes)[:-1]
    with np.errstate(all="ignore"):
        low, high = np.interp(codes.sum() * np.array([0.01, 0.99]), below, grid.cuts)
        edges = np.linspace(low, high, _WIDTH + 1)
        return np.asarray(np.nan_to_num(np.diff(np.interp(edges, grid.cuts, below))))


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
