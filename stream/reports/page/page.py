"""The report: one HTML page that needs nothing else, no network, no script; for a scan and for a replay. Edge: Jinja2.

Everything that comes from traffic passes Jinja's escaping. The content security policy allows the page's own style
sheet, by its hash, and nothing else at all. The page has no time of its own making, so the same run makes the same
bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from driftline.stream.alerts.explain import (
    Row,
    duration_text,
    effects,
    figures,
    picture,
    remark,
    replay_command,
    silence_command,
)
from driftline.stream.alerts.explain import verdict as test_in_words
from driftline.stream.alerts.read import ReadAlert, ReadSignal
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import Config
from driftline.stream.replay.run import ReplayResult
from driftline.stream.replay.summary import rejected_rows
from driftline.stream.replay.verdict import Outcome, Verdict
from driftline.stream.reports.alert import format_time
from driftline.stream.reports.page import charts, heat, timeline
from driftline.stream.results.overview import ModelView, Overview, SignalView, overview
from driftline.stream.results.scan import Scan
from driftline.stream.results.sentences import (
    advice,
    figure_text,
    kindred,
    least_span,
    moment,
    names,
    number,
    percent,
    rest_looks_usual,
    sentence,
    shown,
    verdict_sentence,
)
from driftline.stream.results.sizes import LEVELS, size_in_words
from driftline.stream.text.phrases import counted
from driftline.stream.text.printable import printable, printable_lines

_DAY = 86_400_000
# Signals with pictures of their own, in all models; drifts of more are a line each. A card takes some 20 kB, a page at
# most 2 MB.
_CARDS = 24
# Changes of a model that are sentences at the top of the page: one screen.
_FINDINGS = 12
# Rows of a map, and lines of signals that are as usual, a model; of more, the names alone.
_ROWS, _LINES = 150, 40
# Bytes of a page, as far as they can be seen beforehand: rows of maps share half of them.
_NAMES = 400


class Guess(NamedTuple):
    """What a column is taken for, and why."""

    part: str
    column: str
    why: str


@dataclass(frozen=True)
class Report:
    """What a page tells, whatever made it.

    kind: what was done, as in "Scan". source, reference: where the events come from. unchecked: sentences. guesses:
    which column is what. configuration: YAML, "" if there is none. command: that repeats it. rate: false alarms per
    event.
    """

    kind: str
    source: str
    reference: str
    overview: Overview
    result: ReplayResult
    verdict: Verdict
    unchecked: Sequence[str]
    command: str
    rate: float
    guesses: Sequence[Guess] = ()
    notes: Sequence[str] = ()
    configuration: str = ""

    @cached_property
    def headline(self) -> str:
        """The verdict on everything, in a sentence or two."""
        if self.verdict.outcome is Outcome.TOO_LITTLE or not self.overview.models:
            return "No verdict: too little was judged."
        changed = [each for each in self.overview.models if each.changed]
        if len(self.overview.models) == 1 or len(changed) == 1:
            return verdict_sentence(changed[0] if changed else self.overview.models[0])
        total = len(self.overview.models)
        if not changed:
            return f"None of {total:,} models has changed."
        listed = ", ".join(printable(each.name) for each in changed[:4]) + (", …" if len(changed) > 4 else "")
        return f"{len(changed):,} of {total:,} models have changed: {listed}."

    @property
    def timed(self) -> bool:
        """Whether anything on the page has a time."""
        return any(each.timed for each in self.overview.models)

    @property
    def chance(self) -> str:
        """How often as much would be found by chance."""
        expected = self.rate * max(self.result.judged, 1)
        often = f"at most one in {1 / expected:,.0f} runs" if expected < 0.5 else "many a run"
        return f"Had nothing changed, {often} over as many rows would report a change by chance."

    @property
    def rejected(self) -> list[dict[str, Any]]:
        """How often rows were rejected, and why."""
        return rejected_rows(self.result.rejected)

    @property
    def special(self) -> list[tuple[str, int, str]]:
        """Values that count as missing, invalid and so on though they are there, how many, and an example."""
        return [(place, count, self.result.examples[place]) for place, count in self.result.defects.most_common()]


def scan_page(scan: Scan) -> str:
    """The report of a scan."""
    fields = scan.found.proposal.fields
    guesses = [Guess("time" if part == "ts" else part, str(each.value), each.why) for part, each in fields.items()]
    report = Report(
        "Scan", scan.found.source.where, scan.baselines[0].about["source"][0] if scan.baselines else "", scan.overview,
        scan.result, scan.verdict, scan.unchecked, scan.wishes.command, scan.config.defaults.false_alarms_per_event,
        guesses, scan.notes, scan.found.configuration or "",
    )  # fmt: skip
    return render(report)


def replay_page(result: ReplayResult, verdict: Verdict, config: Config, source: str, command: str) -> str:
    """The report of a replay that has kept its history."""
    if result.record is None:
        raise ValueError("a replay without a record has nothing to report")
    unchecked = [f"too little was judged: {each}" for each in verdict.shortfalls]
    unchecked += [f"{each.model}: {each.field}: {each.detail}" for each in result.unwatched]
    few = (f"{model}: has no baseline, and {n:,} events" for model, n in result.without_baseline.items())
    rate = config.defaults.false_alarms_per_event
    return render(
        Report("Replay", source, "", overview(result.record), result, verdict, [*unchecked, *few], command, rate)
    )


def render(report: Report) -> str:
    """The page of a report, as HTML."""
    cards = [(model, each) for model in report.overview.models for each in model.changed][:_CARDS]
    return _rendered(
        "report.html.j2", report=report, version=version("driftline"), rows=_ROWS, lines=_LINES, names_shown=_NAMES,
        findings=_FINDINGS,
        with_card={(model.name, each.name) for model, each in cards},
    )  # fmt: skip


def signal_page(model: ModelView, signal: SignalView) -> str:
    """The card of one signal as a page."""
    return _rendered("signal.html.j2", model=model, signal=signal)


class AlertedSignal(NamedTuple):
    """A signal of an alert, for its page."""

    name: str
    headline: str
    against: str
    facts: list[Fact]
    shares: list[charts.Share]
    verdict: str
    figures: list[Row]


def alert_page(alert: ReadAlert, incident: Sequence[ReadAlert], allowed: str) -> str:
    """The page of an alert. incident, allowed: as in `print_explanation`."""
    over = alert.status == "resolved"
    mark = Tag("○", "over", "over") if over else Tag("▲", "open", "error" if alert.severity in _SEVERE else "warn")
    until = f"until {format_time(alert.ends_at)}" if alert.ends_at else ""
    lasted = duration_text(alert.starts_at, alert.ends_at)
    about = [f"severity {alert.severity}", f"since {format_time(alert.starts_at)}", until, lasted and f"for {lasted}"]
    signals = [_alerted(each, allowed) for each in alert.signals]
    return _rendered(
        "alert.html.j2", alert=alert, incident=incident, mark=mark, about=[each for each in about if each],
        signals=signals, todo=_todo(alert), time=format_time, version=version("driftline"),
    )  # fmt: skip


_SEVERE = ("error", "critical")


def _alerted(signal: ReadSignal, allowed: str) -> AlertedSignal:
    chart = picture(signal)
    rows = zip(*chart, strict=True) if chart else ()
    shares = [charts.Share(label, old or 0.0, new or 0.0) for label, old, new in rows]
    facts = [
        Fact("Since", (signal.since or "unknown")[:19].replace("T", " "), ""),
        Fact("How different", size_in_words(signal.change.jensen_shannon), "when it was found"),
        Fact("Events in the window", f"{signal.events:,}", f"compared with the {signal.against}"),
    ]
    figure_rows = [*figures(signal), *effects(signal)]
    return AlertedSignal(
        signal.name.removeprefix("features."), signal.change.headline, signal.against or "reference", facts, shares,
        " ".join(filter(None, (test_in_words(signal, allowed), remark(signal)))), figure_rows,
    )  # fmt: skip


def _todo(alert: ReadAlert) -> list[tuple[str, str]]:
    rows = [("Read", each) for each in alert.addresses()]
    rows += [("See it again", command)] if (command := replay_command(alert)) else []
    return rows + ([("Silence it for two hours", silence_command(alert))] if alert.status != "resolved" else [])


def _rendered(template: str, **values: Any) -> str:
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(style=Markup(style), digest=digest, **values) + "\n"  # noqa: S704 # our own file


@cache
def _style() -> str:
    return (files(__package__) / "report.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "unbroken": unbroken,
        "printable": printable,
        "lines": printable_lines,
        "number": number,
        "percent": percent,
        "shown": shown,
    }
    made.globals |= {
        "charts": charts, "heat": heat, "timeline": timeline, "levels": LEVELS, "sentence": sentence, "when": when,
        "figure": figure_text, "anchor": anchor, "advice": _advice, "counted": counted, "facts": _facts,
        "small": _small, "evidence": evidence, "span": span, "rest_looks_usual": rest_looks_usual, "tag_of": tag_of,
        "manifest": manifest, "groups": finding_groups, "by_time": by_time,
    }  # fmt: skip
    return made


def anchor(model: ModelView, signal: SignalView) -> str:
    """The id of a signal's card: a hash, as names may hold anything."""
    names_of_it = "\0".join((model.model, model.track, signal.name))
    return f"s-{hashlib.sha256(names_of_it.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def unbroken(text: str) -> str:
    """A text whose figures stay on one line with their unit."""
    return text.replace(" %", "\u00a0%")


def when(model: ModelView, signal: SignalView, exact: bool = False) -> str:
    """When the drift of a signal began and ended, in words."""
    episode = signal.episode
    if episode is None or not model.timed:
        return ""
    length = 0 if exact else model.bins[0].length
    since = moment(episode.since, length)
    return f"since {since}" if episode.until is None else f"{since} to about {moment(episode.until, length)}"


def span(model: ModelView) -> str:
    """From when to when the events of a model are."""
    return (
        f"{moment(model.bins[0].start, _DAY)} to {moment(model.bins[-1].end - 1, _DAY)}"
        if model.timed
        else "without times"
    )


class Tag(NamedTuple):
    """The state of a signal: a shape, a word and a class, so that it needs no colour."""

    shape: str
    word: str
    style: str


def tag_of(signal: SignalView, timed: bool) -> Tag:
    """The state of a signal. timed: whether anybody knows when."""
    if not signal.episodes:
        return Tag("✓", "as usual", "ok")
    if not signal.is_open:
        return Tag("○", "over", "over")
    word = "open" if timed else "changed"
    return Tag("▲", word, "error") if signal.level >= 3 else Tag("◆", word, "warn")


class Finding(NamedTuple):
    """A change as a sentence, of one signal or of several alike: the names, what follows them, and when."""

    signals: tuple[SignalView, ...]
    names: str
    says: str
    model: ModelView


def finding_groups(model: ModelView) -> list[Finding]:
    """The changes of a model, the worst first; signals that did the same at the same time are one of them."""
    found = dict[tuple[str, int, int | None], list[SignalView]]()
    length = model.bins[0].length
    for signal in model.changed:
        episode, says = signal.episode, sentence(model, signal)
        if episode is not None:
            plural = _ALIKE.get(kindred(signal))
            end = None if episode.until is None else episode.until // length
            found.setdefault((plural or f"{signal.name} {says}", episode.since // length, end), []).append(signal)
    return [
        Finding(tuple(own), names(own), sentence(model, own[0]) if len(own) == 1 else says, model)
        for (says, *_), own in found.items()
    ]


# What several signals of one sort have in common, as the end of a sentence.
_ALIKE = {"began to change": "began to change in the same stretch of time; in the reference they never did"}


def _advice(model: ModelView, signal: SignalView) -> str:
    since = signal.episode.since if signal.episode and model.timed else None
    return advice(kindred(signal), "" if since is None else moment(since))


class Fact(NamedTuple):
    """A fact of a card: its name, what it is, and a remark."""

    name: str
    value: str
    remark: str


def _facts(model: ModelView, signal: SignalView) -> list[Fact]:
    figure, change, episode = signal.figure, signal.change, signal.episode
    both = f"{figure_text(signal, figure.before)} → {figure_text(signal, figure.after)}"
    facts = [
        Fact("How much", both, figure.what if figure.is_share else "typical value (median)"),
        Fact("How different", signal.size, _scale(signal)),
    ]
    if episode is not None and model.timed:
        until = (
            "still going on at the end"
            if episode.until is None
            else f"until about {moment(episode.until, model.bins[0].length)}"
        )
        facts.insert(0, Fact("Since", moment(episode.since), until))
    share, name = change.after.events / max(model.events, 1), "Rows since then" if model.timed else "Rows"
    rows = f"{percent(share)} of all; the reference has {change.before.events:,}"
    return [*facts, Fact(name, f"{change.after.events:,}", rows)]


def _scale(signal: SignalView) -> str:
    return (
        "",
        "as a shift by a quarter of a σ",
        "as a shift by half a σ",
        "as a shift by one σ",
        "hardly anything in common",
    )[signal.level]


def _small(model: ModelView, signal: SignalView) -> Markup:
    return charts.small_line(model, signal, least_span(model, signal))


def evidence(signal: SignalView) -> list[tuple[str, str]]:
    """What specialists want to know of a finding."""
    episode, change = signal.episode, signal.change
    sizes = [
        ("Jensen-Shannon distance", f"{change.jensen_shannon:.3g}"), ("PSI", f"{change.psi:.3g}"),
        *([] if change.distance is None else [("Kolmogorov-Smirnov distance", f"{change.distance:.3g}")]),
    ]  # fmt: skip
    if episode is None:
        return sizes
    finding = episode.finding
    special = f" of {finding.test.special.name.lower()}" if finding.test.special is not None else ""
    return [
        ("test", f"{finding.test.statistic}{special}, against the {'past' if finding.against_past else 'reference'}"),
        ("evidence", f"{finding.evidence:.1f} nats; the alarm begins at {finding.threshold:.1f}"),
        ("found in", f"a window of {finding.events:,} rows"), ("severity", episode.severity), *sizes,
    ]  # fmt: skip


def by_time(model: ModelView, signal: SignalView) -> list[tuple[str, str, str, str]]:
    """The figure of a signal over time as rows of a table: when, rows, the figure, the size in words."""
    values = model.series(signal)
    return [
        (
            moment(each.start, each.length),
            f"{each.sketch.n:,}",
            figure_text(signal, value),
            heat.level_words(level),
        )
        for each, value, level in zip(model.bins, values, signal.levels, strict=True)
    ]


def manifest(baseline: Baseline) -> list[tuple[str, str]]:
    """The facts of a baseline's manifest."""
    about = {**baseline.about, "content_hash": baseline.content_hash}
    return [
        (
            name.replace("_", " "),
            moment(value) + " UTC" if name.startswith("time_") and isinstance(value, int) else _plain(value),
        )
        for name, value in about.items()
        if name not in ("unwatched", "unwatched_names")
    ]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items() if inner != {}) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
