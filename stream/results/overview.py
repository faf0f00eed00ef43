"""What a replay found, signal by signal, the worst first: the one source of what terminals, pages and programs show.

Every figure comes from the sketches that were judged. Sizes are those since the drift began, to the end of the log or
of the drift: the alert itself says how large it was when it was found. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.usual import Phased, Phases
from driftline.stream.judge.changes import Change, describe
from driftline.stream.panes.history import Bin, History
from driftline.stream.replay.run import Record
from driftline.stream.results.episodes import Episode, episodes_of, worst
from driftline.stream.results.figures import Figure, choose_figure
from driftline.stream.results.sizes import BOUNDS, LEVELS, NOT_JUDGED, Sizes

#: Stretches of time that a map or a small line shows at most; more squares than these are narrower than a finger.
STRETCHES = 120
# Events in a stretch on average, at least: half as many again as say anything (`sizes.FEWEST`).
_EACH = 30
# Stretches with fewer events, as a part of the median, are cut off: a few hours of a week are no week.
_PARTIAL = 0.25
# Later than any time, epoch ms.
FOREVER = 2**62
# Stretches of the reference at most: it is shown for comparison.
_REFERENCE_STRETCHES = 30
# From when to when, epoch ms; None: to the end.
_Period = tuple[int, int | None]


@dataclass(frozen=True)
class SignalView:
    """One signal.

    episodes: its drifts; none if it is as usual. choose: gives its figure, which takes a millisecond; describe: the
    whole change. after: the events since its worst drift began, or all. difference: the size of that, as `Sizes`
    measures it; level: the same as an index of `LEVELS`, 0 if the signal is as usual. levels: by stretch of time, -1
    where there are too few events; before: the same of the reference's own stretches. judged: whether there is a
    verdict: a signal that was not judged is not as usual. groups_of: the text whose rare values it counts in groups.
    """

    name: str
    index: int
    kind: str
    episodes: tuple[Episode, ...]
    choose: Callable[[], Figure]
    after: Sketch
    difference: float
    level: int
    levels: tuple[int, ...]
    before: tuple[int, ...]
    describe: Callable[[], Change]
    judged: bool = True
    groups_of: str | None = None

    @cached_property
    def figure(self) -> Figure:
        """The figure that shows its change best, before and `after`."""
        return self.choose()

    @cached_property
    def change(self) -> Change:
        """The change with all of its figures."""
        return self.describe()

    @property
    def episode(self) -> Episode | None:
        """The drift that the signal is shown by."""
        return worst(self.episodes)

    @property
    def is_open(self) -> bool:
        """Whether it drifts at the end."""
        return any(each.open for each in self.episodes)

    @property
    def size(self) -> str:
        """The size of its change in words."""
        return LEVELS[self.level] if self.judged or self.episodes else NOT_JUDGED

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """Sort key: what still drifts first, then what has, then by size and by start."""
        began = self.episode.since if self.episode else 0
        return not self.is_open, not self.episodes, -self.level, began

    @property
    def short(self) -> str:
        """Its name without the part that nearly all names have."""
        return self.name.removeprefix("features.")


@dataclass(frozen=True)
class ModelView:
    """One model, or one version of it that is judged by itself.

    bins: its events by time, at most `STRETCHES` of them. signals: the worst first. timed: whether events have times;
    if not, bins is one. own_events: of the reference's stretches. by_phase: whether some signals are compared with the
    same hours of the reference. knows_usual: as of `Sizes`.
    """

    model: str
    track: str
    baseline: Baseline
    timed: bool
    bins: tuple[Bin, ...]
    signals: tuple[SignalView, ...]
    own_events: tuple[int, ...] = ()
    by_phase: bool = False
    knows_usual: bool = False

    @property
    def layout(self) -> Layout:
        """Where the sketches have what."""
        return self.baseline.layout

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.model} {self.track}" if self.track else self.model

    @cached_property
    def events(self) -> int:
        """Number of its events."""
        return sum(each.sketch.n for each in self.bins)

    @property
    def most(self) -> int:
        """The most events in one stretch of time."""
        return max((each.sketch.n for each in self.bins), default=0)

    @property
    def judged(self) -> bool:
        """Whether there is a verdict; if not, what has not drifted is not as usual."""
        return all(each.judged for each in self.signals)

    @property
    def changed(self) -> list[SignalView]:
        """The signals that have drifted, the worst first."""
        return [each for each in self.signals if each.episodes]

    @property
    def usual(self) -> list[SignalView]:
        """The other signals: as usual, or not judged."""
        return [each for each in self.signals if not each.episodes]

    @cached_property
    def _series(self) -> dict[str, list[float | None]]:
        return {}

    def series(self, signal: SignalView) -> list[float | None]:
        """The figure of a signal in each stretch of time; None where there are no values, or too few events."""
        if signal.name not in self._series:
            self._series[signal.name] = [
                None if level < 0 else signal.figure.of(self.layout, each.sketch)
                for each, level in zip(self.bins, signal.levels, strict=True)
            ]
        return self._series[signal.name]


@dataclass(frozen=True)
class Overview:
    """Everything that a replay found. models: those with the most severe changes first."""

    models: tuple[ModelView, ...] = ()

    @property
    def changed(self) -> list[SignalView]:
        """The signals of all models that have drifted."""
        return [signal for model in self.models for signal in model.changed]


def overview(record: Record, *, timed: bool = True, unjudged: Collection[str] = ()) -> Overview:
    """What a replay found. timed: whether its events have times of their own. unjudged: models without a verdict."""
    views = [_recorded(record, model, track, timed, model not in unjudged) for model, track in sorted(record.histories)]
    return Overview(tuple(sorted(views, key=lambda each: (each.signals[0].rank, each.name))))


def _recorded(record: Record, model: str, track: str, timed: bool, judged: bool) -> ModelView:
    """The view of one track of a model that was replayed."""
    history: History = record.histories[model, track]
    fine = history.bins()
    bins = history.bins(max(min(STRETCHES, sum(each.sketch.n for each in fine) // _EACH), 1))
    baseline = record.references[model, track]
    phased = Phased.of(baseline.cycles, baseline.layout)
    view = View(model, track, baseline, fine, bins, timed, judged, phased=phased)
    return view.build(episodes_of(record, model, track))


@dataclass
class View:
    """Builds the view of one track of a model.

    fine: all of its stretches of time. bins: the same as they are shown. unknown: stretches and signals (W, S) of which
    nothing is known; None: no such ones. phased: what the baseline expects by phase. until: where traffic ends, epoch
    ms, if not with the last stretch.
    """

    model: str
    track: str
    baseline: Baseline
    fine: Sequence[Bin]
    bins: Sequence[Bin]
    timed: bool = True
    judged: bool = True
    unknown: BoolArray | None = None
    phased: Phased | None = None
    until: int = FOREVER
    _since: dict[_Period, Sketch] = field(default_factory=dict)
    _differences: dict[_Period, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.battery = Battery(self.baseline.layout, self.baseline.total.counts)

    @cached_property
    def _sizes(self) -> Sizes:
        return Sizes(self.baseline, self.phased)

    @cached_property
    def _phases(self) -> Phases:
        """The events of the fine stretches by phase."""
        if self.phased is None or not self.timed:
            return {}
        return self._sizes.phases([(each.start, min(each.end, self.until), each.sketch.n) for each in self.fine])

    def build(self, episodes: Mapping[str, Sequence[Episode]]) -> ModelView:
        """The view, with the drifts of each signal by its name."""
        events = np.array([each.sketch.n for each in self.bins])
        starts = np.searchsorted([each.start for each in self.fine], [each.start for each in self.bins])
        phases = {number: np.add.reduceat(each, starts) for number, each in self._phases.items()}
        levels = self._sizes.levels(np.stack([each.sketch.counts for each in self.bins]), events, phases)
        levels[events < _PARTIAL * np.median(events)] = -1
        if self.unknown is not None:
            levels[self.unknown] = -1
        alike = round(self.baseline.total.n / max(float(np.median(events)), 1.0))
        before, own_events = self._sizes.own(min(max(alike, 1), _REFERENCE_STRETCHES) if self.timed else 1)
        signals = [
            self._signal(s, self._ended(episodes.get(each.name, ()), levels[:, s]), levels[:, s], before[:, s])
            for s, each in enumerate(self.baseline.layout.signals)
        ]
        ranked = tuple(sorted(signals, key=lambda each: each.rank))
        return ModelView(
            self.model, self.track, self.baseline, self.timed, tuple(self.bins), ranked, tuple(own_events.tolist()),
            bool(self._phases), self._sizes.knows_usual,
        )  # fmt: skip

    def _ended(self, episodes: Sequence[Episode], levels: IntArray) -> tuple[Episode, ...]:
        """The episodes, where those of signals that have recovered end with the last stretch that was different."""
        return tuple(replace(each, until=self._end(each, levels)) if each.recovered else each for each in episodes)

    def _end(self, episode: Episode, levels: IntArray) -> int:
        until = FOREVER if episode.until is None else episode.until
        different = (
            each.end for each, level in zip(self.bins, levels, strict=True) if level > 0 and each.start < until
        )
        return max(min(max(different, default=0), until), episode.since)

    def _signal(self, s: int, episodes: tuple[Episode, ...], levels: IntArray, own: IntArray) -> SignalView:
        signal, shown = self.baseline.layout.signals[s], worst(episodes)
        test = shown.finding.test if shown else Column("ks" if signal.ordered else "chi2", s)
        period = (0, None) if shown is None else (shown.since, shown.until)
        after, before, difference = self._events_of(period), self._before(shown), float(self._difference(period)[s])
        level = 0 if shown is None else max(int(np.searchsorted(BOUNDS, difference, side="right")), 1)
        return SignalView(
            signal.name, s, signal.kind.value, episodes,
            partial(choose_figure, self.baseline.layout, test, before, after),
            after, difference, level, tuple(levels.tolist()), tuple(own.tolist()),
            partial(describe, self.battery, test, before, after), self.judged, signal.groups_of,
        )  # fmt: skip

    def _before(self, episode: Episode | None) -> Sketch:
        """What the events of an episode are compared with: the baseline, or what came before."""
        if episode is None or not episode.finding.against_past:
            return self.baseline.total
        earlier = [each.sketch for each in self.fine if each.end <= episode.since]
        return Sketch.total(earlier) if earlier else self.baseline.total

    def _events_of(self, period: _Period) -> Sketch:
        """The events of a period, as exactly as the bins tell; each sum is made once."""
        if period not in self._since:
            self._since[period] = Sketch.total([self.fine[row].sketch for row in self._rows_of(*period)])
        return self._since[period]

    def _difference(self, period: _Period) -> FloatArray:
        """The sizes (S,) of the differences of a period's events from the baseline."""
        if period not in self._differences:
            rows = self._rows_of(*period)
            phases = {number: each[rows].sum(0, keepdims=True) for number, each in self._phases.items()}
            self._differences[period] = self._sizes.of(self._events_of(period).counts[None], phases)[0]
        return self._differences[period]

    def _rows_of(self, since: int, until: int | None) -> list[int]:
        """The fine stretches of a period."""
        reached = [row for row, each in enumerate(self.fine) if until is None or each.start < until]
        inside = [row for row in reached if self.fine[row].start + self.fine[row].length // 2 >= since]
        return inside or reached[-1:] or [len(self.fine) - 1]
