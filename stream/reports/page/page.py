"""The report: one HTML page that needs nothing else, no network, no script; for a scan and for a replay. Edge.

The page has no time of its own making, so the same run makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, NamedTuple

from driftline.stream.alerts.build import encode_alert
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import read_alert
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.outcomes.performance import Performance
from driftline.stream.replay.run import ReplayResult
from driftline.stream.replay.summary import rejected_rows
from driftline.stream.replay.verdict import Outcome, Verdict
from driftline.stream.reports.page import outcome_history as history
from driftline.stream.reports.page import outcomes
from driftline.stream.reports.page.outcomes import Fall
from driftline.stream.reports.page.templates import rendered
from driftline.stream.results.outcome_history import OutcomeHistory, replayed_history
from driftline.stream.results.overview import ModelView, Overview, SignalView, overview
from driftline.stream.results.scan import Scan
from driftline.stream.results.segments import Splits
from driftline.stream.results.sentences import verdict_sentence
from driftline.stream.text.phrases import counted
from driftline.stream.text.printable import printable

# Signals with pictures of their own, in all models; drifts of more are a line each. A card takes some 20 kB, a page at
# most 2 MB.
_CARDS = 24
# Models that the heading names.
_NAMED = 4
# Incidents of outcomes, and changes of a model, that are sentences at the top of the page: one screen.
_FALLS, _FINDINGS = 8, 12
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
    which column is what. configuration: YAML, "" if there is none. command: that repeats it. defaults: how models
    are judged. splits: for whom signals changed. histories: how right models were, by name, or name and version.
    """

    kind: str
    source: str
    reference: str
    overview: Overview
    result: ReplayResult
    verdict: Verdict
    unchecked: Sequence[str]
    command: str
    defaults: ModelConfig
    guesses: Sequence[Guess] = ()
    notes: Sequence[str] = ()
    configuration: str = ""
    splits: Splits = field(default_factory=dict)
    performance: Performance | None = None
    histories: Mapping[str, OutcomeHistory] = field(default_factory=dict)

    @cached_property
    def headline(self) -> str:
        """The verdict on everything: whether models are less often right, then whether signals have changed."""
        one = len(self.overview.models) == 1
        said = [outcomes.is_now(self.performance)] if self.performance else []
        said += [printable(history.is_now(each, "" if one else name)) for name, each in self.histories.items()]
        worse = [each for each in said if each]
        more = len(worse) - _NAMED
        rest = [f"Incidents of outcomes are open in {counted(more, 'more model')}."] if more > 0 else []
        return " ".join([*worse[:_NAMED], *rest, self._changed])

    @cached_property
    def falls(self) -> list[tuple[str, Fall]]:
        """Where outcomes are or were worse, what still is first, with the name of the model where there are many."""
        found = [("", each) for each in outcomes.falls(self.performance)] if self.performance else []
        for name, each in self.histories.items():
            found += [("" if len(self.overview.models) == 1 else name, fall) for fall in history.falls(each)]
        return sorted(found, key=lambda each: not each[1].is_open)

    @property
    def _changed(self) -> str:
        if self.verdict.outcome is Outcome.TOO_LITTLE or not self.overview.models:
            return "No verdict: too little was judged."
        changed = [each for each in self.overview.models if each.changed]
        if len(self.overview.models) == 1 or len(changed) == 1:
            return verdict_sentence(changed[0] if changed else self.overview.models[0])
        total = len(self.overview.models)
        if not changed:
            return f"No signal of {total:,} models has changed."
        listed = ", ".join(printable(each.name) for each in changed[:_NAMED]) + (", …" if len(changed) > _NAMED else "")
        return f"Signals of {len(changed):,} of {total:,} models have changed: {listed}."

    @property
    def timed(self) -> bool:
        """Whether anything on the page has a time."""
        return any(each.timed for each in self.overview.models)

    @property
    def chance(self) -> str:
        """How often as much would be found by chance."""
        if self.defaults.false_pages is not None:
            return f"If nothing had changed, at most {self.defaults.allowed} would be reported."
        expected = self.defaults.false_alarms_per_event * max(self.result.judged, 1)
        often = f"fewer than one in {1 / expected:,.0f} such reports" if expected < 0.5 else "many such reports"
        return f"If nothing had changed, {often} would claim a change."

    @property
    def waiting(self) -> int:
        """The last rows, fewer than a check takes; 0 if others were not judged either."""
        rest = self.result.read - self.result.judged - sum(each["count"] for each in self.rejected)
        return rest if 0 < rest < self.defaults.clock else 0

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
        scan.result, scan.verdict, scan.unchecked, scan.wishes.command, scan.config.defaults,
        guesses, scan.notes, scan.found.configuration or "", scan.splits, scan.performance,
    )  # fmt: skip
    return render(report)


def replay_page(result: ReplayResult, verdict: Verdict, config: Config, source: str, command: str) -> str:
    """The report of a replay that has kept its history."""
    unchecked = [f"too little was judged: {each}" for each in verdict.shortfalls]
    unchecked += [f"{each.model}: {each.field}: {each.detail}" for each in result.unwatched]
    few = (f"{model}: has no baseline, and {n:,} events" for model, n in result.without_baseline.items())
    view = overview(result.recorded, unjudged=verdict.unjudged)
    return render(
        Report(
            "Replay", source, "", view, result, verdict, [*unchecked, *few], command, config.defaults,
            histories=_histories(result, config),
        )
    )  # fmt: skip


def _histories(result: ReplayResult, config: Config) -> dict[str, OutcomeHistory]:
    """How right models were, by the name of each, and of its version if that is judged by itself."""
    found, every = dict[str, OutcomeHistory](), result.recorded.outcomes
    for (model, track), timeline in sorted(every.items()):
        others = {other for of, other in every if of == model} - {track}
        incidents = (each for each in _incidents(result) if each.newest.model == model)
        own = [each for each in incidents if each.newest.details.version not in others]
        known = replayed_history(timeline, config.for_model(model), own, result.labels.get(model))
        if known is not None:
            found[f"{model} {track}".strip()] = known
    return found


def _incidents(result: ReplayResult) -> list[ListedIncident]:
    """The incidents that a replay reported, as those are read that workers report."""
    alerts = [read_alert(encode_alert(each)) for each in reversed(result.alerts)]
    newest = {each.incident_id: each for each in reversed(alerts)}
    return [ListedIncident.of(each, alerts) for each in newest.values()]


def render(report: Report) -> str:
    """The page of a report, as HTML."""
    cards = [(model, each) for model in report.overview.models for each in model.changed][:_CARDS]
    return rendered(
        "report.html.j2", report=report, version=version("driftline"), rows=_ROWS, lines=_LINES, names_shown=_NAMES,
        falls=_FALLS, findings=_FINDINGS, splits=report.splits,
        with_card={(model.name, each.name) for model, each in cards},
    )  # fmt: skip


def signal_page(model: ModelView, signal: SignalView, splits: Splits) -> str:
    """The card of one signal as a page."""
    return rendered("signal.html.j2", model=model, signal=signal, splits=splits)
