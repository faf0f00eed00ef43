"""A model's timeline as a view that pages draw, like the history of a replay. Pure.

    parts in Redis ──read_timeline──► Timelines ──view──► ModelView

Stretches of another era are shown in the newest one's codes, as far as its signals are judged alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np

from driftline.detectors.arrays import BoolArray
from driftline.detectors.decision.battery import Column
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.projection import Projection
from driftline.detectors.summaries.shape import Shape
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.alerts.find import ListedIncident
from driftline.stream.alerts.read import ReadSignal
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.timeline import StoredTimeline, unpack_reference, unpack_stretch
from driftline.stream.judge.incidents import SEVERITIES
from driftline.stream.judge.timeline import Reference
from driftline.stream.panes.history import Bin
from driftline.stream.results.episodes import Episode
from driftline.stream.results.overview import ModelView, View

_HOUR, _DAY, _HOURS = 3_600_000, 86_400_000, 24


class Span(NamedTuple):
    """A stretch of time that is shown. length: of all of it, each: of a square, ms."""

    name: str
    words: str
    length: int
    each: int

    @property
    def by_day(self) -> bool:
        """Whether it is made of days."""
        return self.each >= _DAY


#: What may be shown, the shortest first.
SPANS: Final = (
    Span("2d", "2 days", 2 * _DAY, _HOUR),
    Span("7d", "7 days", 7 * _DAY, 2 * _HOUR),
    Span("60d", "60 days", 60 * _DAY, _DAY),
    Span("400d", "400 days", 400 * _DAY, 7 * _DAY),
)


class _Known(NamedTuple):
    """The sketch of a stretch in the newest codes, and which signals (S,) it says nothing of."""

    sketch: Sketch
    absent: BoolArray

    @classmethod
    def total(cls, parts: Sequence[_Known]) -> _Known:
        """That of some stretches together."""
        if len(parts) == 1:
            return parts[0]
        absent = np.logical_or.reduce([each.absent for each in parts])
        return cls(Sketch.total([each.sketch for each in parts]), absent)


class _AlertFinding(NamedTuple):
    """What an alert says of a finding."""

    test: Column
    against_past: bool
    events: int
    evidence: float
    threshold: float


@dataclass
class Timelines:
    """The timeline of one track of a model.

    reference: of its newest era. kind: of its stretches, hour or day. until: the end of its newest hour, epoch ms.
    """

    reference: Reference
    kind: str
    known: Mapping[int, _Known]
    until: int

    @property
    def length(self) -> int:
        """The length of a stretch, ms."""
        return _HOUR if self.kind == "hour" else _DAY

    def bins(self, each: int) -> tuple[list[Bin], BoolArray]:
        """Stretches of `each` ms, and which signals (W, S) each says nothing of."""
        factor = each // self.length
        parts = groupby(sorted(self.known), key=lambda number: number // factor)
        merged = {at: _Known.total([self.known[number] for number in own]) for at, own in parts}
        bins = [Bin(number * each, each, known.sketch) for number, known in merged.items()]
        return bins, np.stack([known.absent for known in merged.values()])


def read_timeline(stored: StoredTimeline, kind: str) -> Timelines | None:
    """A stored timeline in the codes of its newest era; None if it is empty. Raises FormatError."""
    references = {era: unpack_reference(part) for era, part in sorted(stored.layouts.items())}
    if not references:
        return None
    newest = references[max(references)]
    onto = {era: _projection(each, newest) for era, each in references.items()}
    known = defaultdict[int, list[_Known]](list)
    for each in sorted(stored.stretches, key=lambda each: each[:3]):
        if each.era not in onto:
            continue  # the layout of an era that ended meanwhile
        projection = onto[each.era]
        sketch = unpack_stretch(each.number, each.part, projection.old).content
        if references[each.era].signals != newest.signals:
            sketch = projection.sketch(sketch)
        number = each.number // _HOURS if kind == "day" and each.kind == "hour" else each.number
        known[number].append(_Known(sketch, projection.absent))
    merged = {number: _Known.total(parts) for number, parts in known.items()}
    hours = [each.number + 1 for each in stored.stretches if each.kind == "hour"]
    until = _HOUR * max(hours, default=(max(merged, default=0) + 1) * _HOURS)
    return Timelines(newest, kind, merged, until) if merged else None


def _projection(old: Reference, new: Reference) -> Projection:
    known = {(each.name, each.hash): s for s, each in enumerate(old.signals)}
    sources = [known.get((each.name, each.hash)) for each in new.signals]
    return Projection(Shape(old.signals), new.coarse.layout, sources)


def view_of(
    timelines: Timelines,
    model: str,
    track: str,
    span: Span,
    tracks: Sequence[str],
    incidents: Iterable[ListedIncident],
) -> ModelView:
    """The view of a timeline. incidents: of the model; those of another one of `tracks` are left out."""
    fine, _ = timelines.bins(timelines.length)
    bins, unknown = timelines.bins(span.each)
    baseline, until = timelines.reference.coarse, timelines.until
    view = View(model, track, baseline, fine, bins, unknown=unknown, phased=timelines.reference.phased, until=until)
    others = {*tracks} - {track}
    own = (each for each in incidents if each.newest.details.version not in others)
    return view.build(_episodes(baseline, own))


def _episodes(baseline: Baseline, incidents: Iterable[ListedIncident]) -> Mapping[str, Sequence[Episode]]:
    """The drifts that alerts report, by signal."""
    indices, found = {each.name: s for s, each in enumerate(baseline.layout.signals)}, dict[str, list[Episode]]()
    for incident in incidents:
        newest = incident.newest
        until = None if incident.open or newest.ends_at is None else round(newest.ends_at.timestamp() * 1000)
        for signal in incident.signals:
            since = _since(signal)
            if signal.name in indices and not signal.is_count and since is not None:
                severity = newest.severity if newest.severity in SEVERITIES else "warning"
                episode = Episode(_finding(signal, indices[signal.name]), since, severity, until)
                found.setdefault(signal.name, []).append(episode)
    return {name: sorted(own, key=lambda each: each.since) for name, own in found.items()}


def _since(signal: ReadSignal) -> int | None:
    try:
        return round(datetime.fromisoformat(signal.since).timestamp() * 1000)
    except ValueError:
        return None


def _finding(signal: ReadSignal, s: int) -> _AlertFinding:
    special = Special.__members__.get((signal.code or "").upper())
    test = Column(signal.test, s, special)
    evidence, threshold = signal.evidence_nats or 0.0, signal.threshold_nats or 0.0
    return _AlertFinding(test, signal.against == "past", signal.events, evidence, threshold)
