"""Signals over time, as pages show them: the map of a model, the card of a signal, and the charts of an incident."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple
from urllib.parse import urlencode

from driftline.detectors.outcomes.intervals import Figure
from driftline.detectors.outcomes.metrics import Metrics
from driftline.detectors.summaries.codes import Special
from driftline.stream.alerts.find import FoundAlert, ListedIncident
from driftline.stream.alerts.read import ReadAlert
from driftline.stream.codec.frames import FormatError
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.judge.waiting import Counts
from driftline.stream.reports.page.templates import rendered
from driftline.stream.results.outcome_history import OutcomeHistory, Point, outcome_history
from driftline.stream.results.overview import ModelView, SignalView
from driftline.stream.results.sentences import band
from driftline.stream.results.timelines import SPANS, Span, read_timeline, view_of
from driftline.stream.state.client import Client
from driftline.stream.state.timelines import ReadTimeline, TimelineIndex
from driftline.stream.text.printable import printable

log = logging.getLogger(__name__)

# Rows of a map: a screen is filled by 30, and 150 take 300 kB.
_ROWS = 150
# The part of a picture that an incident may take; the rest is what came before.
_BEFORE = 0.75
# s for which a view is shown again: its newest square is an hour, or longer.
_KEPT = 20.0
# Views that are kept: one has some MB.
_VIEWS = 16


class Choice(NamedTuple):
    """A link to another stretch of time, or to another version. current: whether it is what is shown."""

    words: str
    href: str
    current: bool


@dataclass(frozen=True)
class SignalMap:
    """The map of a model, and how right it was; None where no outcome is known."""

    view: ModelView
    span: Span
    versions: Sequence[str]
    outcomes: OutcomeHistory | None = None

    @property
    def spans(self) -> list[Choice]:
        """The stretches of time that may be shown."""
        return [Choice(each.words, self._link(span=each.name), each == self.span) for each in SPANS]

    @property
    def tracks(self) -> list[Choice]:
        """The versions that may be shown, where there are several."""
        if len(self.versions) < 2:
            return []
        return [
            Choice(each or "other versions", self._link(version=each), each == self.view.track)
            for each in self.versions
        ]

    @property
    def places(self) -> dict[str, str]:
        """The pages of the signals, by name."""
        return {each.name: self._link(signal=each.name) for each in self.view.signals}

    @property
    def home(self) -> str:
        """The page of the model."""
        return self._link()

    @property
    def rows(self) -> int:
        """How many signals the map shows."""
        return _ROWS

    def spans_of(self, signal: str) -> list[Choice]:
        """The stretches of time that the page of a signal may show."""
        links = ((each, self._link(span=each.name, signal=signal)) for each in SPANS)
        return [Choice(each.words, link, each == self.span) for each, link in links]

    def _link(self, **changed: str) -> str:
        asked = {"name": self.view.model, "span": self.span.name, "version": self.view.track} | changed
        return "/models?" + urlencode({name: text for name, text in asked.items() if text or name == "name"})


class OutcomesRead(NamedTuple):
    """What was read of the outcomes of a track. labels: what became of those that come by themselves."""

    read: ReadTimeline
    config: ModelConfig
    labels: Counts | None

    def history(self, view: ModelView, span: Span, incidents: Sequence[ListedIncident]) -> OutcomeHistory | None:
        """They over time, beside the signals of the same track; None without any. Raises FormatError."""
        if self.read.track != view.track:
            return None
        others = {*self.read.tracks} - {view.track}
        own = [each for each in incidents if each.newest.details.version not in others]
        return outcome_history(self.read.stored, self.read.kind, span.each, self.config, own, self.labels)


class Views:
    """Makes views of timelines, and keeps the last ones for some seconds."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], tuple[float, SignalMap]] = {}

    def known(self, model: str, track: str, span: Span) -> SignalMap | None:
        """The view, if it was made a moment ago."""
        made, known = self._kept.get((model, track, span.name), (0.0, None))
        return known if time.monotonic() - made < _KEPT else None

    def make(
        self, model: str, track: str, span: Span, read: ReadTimeline, incidents: Sequence[ListedIncident],
        outcomes: OutcomesRead | None = None,
    ) -> SignalMap | None:  # fmt: skip
        """The view of what was read; None if there is nothing. Raises FormatError. It may take half a second."""
        timelines = read_timeline(read.stored, read.kind)
        if timelines is None:
            return None
        view = view_of(timelines, model, read.track, span, read.tracks, incidents)
        made = SignalMap(view, span, read.tracks, _history(outcomes, view, span, incidents))
        self._kept = {**dict([*self._kept.items()][1 - _VIEWS :]), (model, track, span.name): (time.monotonic(), made)}
        return made


def _history(
    outcomes: OutcomesRead | None, view: ModelView, span: Span, incidents: Sequence[ListedIncident]
) -> OutcomeHistory | None:
    """Outcomes over time; None if there are none that can be read: the signals beside them are shown all the same."""
    try:
        return None if outcomes is None else outcomes.history(view, span, incidents)
    except FormatError as error:
        log.warning("the outcomes of %s over time cannot be read: %s", printable(view.model), error)
        return None


def span_since(alert: ReadAlert, at: float) -> Span:
    """The shortest stretch of time that shows what was before an incident, too. at: s since the epoch."""
    lasted = 1000 * (at - alert.starts_at.timestamp()) if alert.starts_at else 0.0
    return next((each for each in SPANS if lasted < _BEFORE * each.length), SPANS[-1])


async def signals_of(client: Client, config: Config, found: FoundAlert, at: float) -> ModelView | None:
    """The signals of an alert's model over time, read once; None if nothing is kept. at: s since the epoch.

    Raises StoreError or FormatError.
    """
    model, track, span = found.alert.model, found.alert.details.version or "", span_since(found.alert, at)
    index = TimelineIndex(client, config.worker.group, config.topics.panes)
    partition = await index.partition_of(model)
    read = None if partition is None else await index.read(model, partition, track, span.length, span.by_day)
    incident = ListedIncident.of(found.incident[-1], found.incident[::-1])
    shown = Views().make(model, track, span, read, [incident]) if read else None
    return shown.view if shown else None


def signal_page(shown: SignalMap, signal: SignalView) -> str:
    """The page of one signal."""
    return rendered("watched.html.j2", "live.js", shown=shown, model=shown.view, signal=signal, splits={},
                    version=version("driftline"))  # fmt: skip


def signal_rows(shown: SignalMap) -> list[dict[str, Any]]:
    """The same as plain JSON data: a row for each signal and stretch of time."""
    view = shown.view
    return [
        {
            "signal": signal.name,
            "start": each.start,
            "end": each.end,
            "events": each.sketch.n,
            "size": None if level < 0 else level,
            "quantiles": None if level < 0 else band(view.layout, each.sketch, signal.index),
            **_shares(view, signal, index),
        }
        for signal in view.signals
        for index, (each, level) in enumerate(zip(view.bins, signal.levels, strict=True))
    ]


def outcome_rows(found: OutcomeHistory) -> list[dict[str, Any]]:
    """How right a model was as plain JSON data: a row for each stretch of time."""
    points = {each.start: each for each in found.points}
    return [
        {
            "start": each.start,
            "end": each.start + found.each,
            "predictions": each.predictions,
            "labelled": each.labelled,
            "metrics": _metrics(points[each.start].metrics) if each.start in points else {},
            "weighted_accuracy": _weighted(points.get(each.start)),
            "expected": points[each.start].expected if each.start in points else None,
        }
        for each in found.coverage
    ]


def _metrics(metrics: Metrics) -> dict[str, dict[str, float | None]]:
    """Metrics by name, those of a class as in "recall@fraud", with their intervals."""
    return {f"{name}@{of}" if of else name: _figure(figure) for (name, of), figure in metrics.items()}


def _weighted(point: Point | None) -> dict[str, float | None] | None:
    return None if point is None or point.weighted is None else _figure(point.weighted)


def _figure(figure: Figure) -> dict[str, float | None]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def _shares(view: ModelView, signal: SignalView, index: int) -> dict[str, float | None]:
    """The shares of values that are not regular."""
    sketch, known = view.bins[index].sketch, signal.levels[index] >= 0
    columns = {each.name.lower(): view.layout.special_column(signal.index, each) for each in Special}
    return {name: float(sketch.counts[at] / sketch.n) if known else None for name, at in columns.items()}
