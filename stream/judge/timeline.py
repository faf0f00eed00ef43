"""A model's timeline: coarse counts of its events, or of its outcomes, by hour and by day, for people to look at. Pure.

    open hours (3)     ──►  hours, as many as the configuration says
         └──► open day ──►  days, as many as the configuration says

Nothing is decided by it. Only what is open changes, and is kept in memory: an hour is closed when a pane of the third
hour after it has come, is added to its day then, and is only stored. A pane that comes later than that counts in the
oldest open hour. Hours and days are those of UTC.

Stretches that were counted in the layout of another baseline stay as they are: each has its era, a number that grows
with each baseline, and the era its layout. Whoever draws them shows the signals that are judged alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.coarse import Coarsening
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.outcomes import OutcomeReference
from driftline.stream.baselines.usual import Phased
from driftline.stream.baselines.watched import Signals
from driftline.stream.config.history import History
from driftline.stream.outcomes.coding import Coding
from driftline.stream.panes.pane import SLOT_MS, Pane

HOUR_MS: Final = 3_600_000
_HOURS = 24
# Partitions of a topic that are read side by side are seldom further apart, and a backlog is old traffic either way.
_OPEN = 3
# Eras that are kept: a layout takes 20 to 100 kB, and a baseline a day for 400 days would take as much as all counts.
_ERAS = 8


class Kept(NamedTuple):
    """How many hours and days are kept."""

    hours: int
    days: int

    @classmethod
    def of(cls, history: History) -> Kept:
        """As a configuration says."""
        return cls(history.whole_hours, history.whole_days)


class Reference(NamedTuple):
    """What the stretches of an era are compared with.

    coarse: the baseline, in coarse codes. signals: its own. phased: what it expects by phase, in coarse codes.
    """

    coarse: Baseline
    signals: Signals
    phased: Phased | None = None

    @classmethod
    def of(cls, baseline: Baseline, codes: Coarsening) -> Reference:
        """A baseline, without its blocks."""
        about = {name: fact for name, fact in baseline.about.items() if not name.startswith("unwatched")}
        total, usual = codes.sketch(baseline.total), baseline.usual
        coarse = Baseline(codes.layout, total, about, baseline.content_hash, None, usual=usual)
        phased = Phased.of(baseline.cycles, baseline.layout) if usual else None
        sizes = (each.size for each in codes.layout.signals)
        signals = (each._replace(size=size) for each, size in zip(baseline.watched, sizes, strict=True))
        return cls(coarse, tuple(signals), phased and phased.coarse(codes))


class OutcomeEra(NamedTuple):
    """How the outcomes of an era are coded, and what they are compared with; None while that is learned."""

    coding: Coding
    reference: OutcomeReference | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The cells of a table, and outcomes of the reference: another era, or what has been learned, has others."""
        return self.coding.size, 0 if self.reference is None else self.reference.n


Era = Reference | OutcomeEra


class Span(NamedTuple):
    """What there is of a timeline.

    era: the newest one. newest: the newest hour. first_hour, first_day: the first that are kept. sizes: codes of each
    signal in this era, or `OutcomeEra.sizes`; none before its first pane. hours, day: the numbers of the open
    stretches; -1: none.
    """

    era: int
    newest: int
    first_hour: int
    first_day: int
    sizes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    day: int = -1

    @property
    def eras(self) -> range:
        """The eras that are kept."""
        return range(max(self.era - _ERAS + 1, 0), self.era + 1)

    def until(self, hour: int, kept: Kept) -> Span:
        """The span once there are events of an hour."""
        newest = max(hour, self.newest)
        first_hour = max(self.first_hour, newest - kept.hours + 1)
        first_day = max(self.first_day, newest // _HOURS - kept.days + 1)
        return self._replace(newest=newest, first_hour=first_hour, first_day=first_day)

    def gone(self, after: Span | None) -> Iterator[str]:
        """The names of the parts that there may be, and are not kept any more after a change; None: of any."""
        hours, days = range(self.first_hour, self.newest + 1), range(self.first_day, self.newest // _HOURS + 1)
        if after is None:
            return _names(hours, days, self.eras, self.eras)
        old = range(self.eras.start, min(after.eras.start, self.eras.stop))
        late_hours = range(self.first_hour, min(after.first_hour, hours.stop))
        late_days = range(self.first_day, min(after.first_day, days.stop))
        return chain(_names(late_hours, late_days, self.eras), _names(hours, days, old, old) if old else ())


def _names(hours: range, days: range, eras: range, layouts: range = range(0)) -> Iterator[str]:
    """The names of parts: stretches of eras, and layouts."""
    stretches = chain(product(["hour"], hours), product(["day"], days))
    parts = (_name(kind, number, era) for (kind, number), era in product(stretches, eras))
    return chain(parts, (f"layout:{era}" for era in layouts))


def _name(kind: str, number: int, era: int) -> str:
    return f"{kind}:{number}:{era}"


class Stretch(NamedTuple):
    """An hour or a day by its number since 1970, in UTC, and the coarse sketch of its events, or their outcomes."""

    number: int
    content: Any


class Timeline(Struct, frozen=True):
    """What is kept of it in memory.

    hours: the open ones, rising. day: that of the hours that were closed last. unstored: what was closed, and the
    reference of an era that began, by the names of their parts, until they are stored.
    """

    span: Span
    hours: tuple[Stretch, ...] = ()
    day: Stretch | None = None
    unstored: Mapping[str, Stretch | Era] = field(default_factory=dict)

    @classmethod
    def begin(cls, hour: int, kept: Kept) -> Timeline:
        """One without an event. hour: its first one."""
        return cls(Span(0, hour, hour - kept.hours + 1, hour // _HOURS - kept.days + 1))

    @property
    def open(self) -> dict[str, Stretch]:
        """The open stretches by the names of their parts."""
        era = self.span.era
        hours = {_name("hour", each.number, era): each for each in self.hours}
        return hours | ({} if self.day is None else {_name("day", self.day.number, era): self.day})

    def stored(self) -> Timeline:
        """The timeline once all is stored."""
        return replace(self, unstored={}) if self.unstored else self

    def end_era(self) -> Timeline:
        """The timeline when the baseline changes: everything is closed, and the next pane begins an era."""
        if not self.span.sizes:
            return self
        after = self._close(len(self.hours))._close_day()
        return after._at(self.span._replace(era=self.span.era + 1, sizes=(), hours=(), day=-1))

    def begin_era(self, era: Era, sizes: tuple[int, ...]) -> Timeline:
        """The timeline whose next events are counted in an era, or with more known of it."""
        return replace(self, span=self.span._replace(sizes=sizes))._to_store(f"layout:{self.span.era}", era)

    def add(self, hour: int, content: Any, kept: Kept) -> Timeline:
        """The timeline with more events of an hour."""
        newest = max([hour, *(each.number for each in self.hours[-1:])])
        oldest = newest - _OPEN + 1
        hour = max(hour, oldest)
        after = self._at(self.span.until(newest, kept))._close(sum(each.number < oldest for each in self.hours))
        known = {each.number: each for each in after.hours}
        known[hour] = Stretch(hour, known[hour].content + content if hour in known else content)
        hours, day = tuple(sorted(known)), -1 if after.day is None else after.day.number
        span = after.span._replace(hours=hours, day=day)
        return replace(after, hours=tuple(known[number] for number in hours), span=span)

    def _at(self, span: Span) -> Timeline:
        """The timeline at a later span, without the parts that it does not keep."""
        if span == self.span:
            return self
        unstored = dict(self.unstored)
        for name in self.span.gone(span) if unstored else ():
            unstored.pop(name, None)
        return replace(self, span=span, unstored=unstored)

    def _close(self, count: int) -> Timeline:
        """The timeline with its oldest open hours closed."""
        after = replace(self, hours=self.hours[count:]) if count else self
        for hour in self.hours[:count]:
            if hour.number >= self.span.first_hour:
                after = after._to_store(_name("hour", hour.number, self.span.era), hour)
            after = after._add_to_day(hour)
        return after

    def _add_to_day(self, hour: Stretch) -> Timeline:
        number = hour.number // _HOURS
        if self.day is not None and self.day.number == number:
            return replace(self, day=Stretch(number, self.day.content + hour.content))
        return replace(self._close_day(), day=Stretch(number, hour.content))

    def _close_day(self) -> Timeline:
        if self.day is None:
            return self
        after = replace(self, day=None)
        is_kept = self.day.number >= self.span.first_day
        return after._to_store(_name("day", self.day.number, self.span.era), self.day) if is_kept else after

    def _to_store(self, name: str, part: Stretch | Era) -> Timeline:
        return replace(self, unstored={**self.unstored, name: part})


@dataclass(frozen=True)
class Counter:
    """Counts the panes of one track in its timeline. baseline: that whose layout they have."""

    baseline: Baseline
    kept: Kept

    @cached_property
    def _codes(self) -> Coarsening:
        return Coarsening(self.baseline.layout, self.baseline.total.counts)

    @cached_property
    def _reference(self) -> Reference:
        return Reference.of(self.baseline, self._codes)

    def count(self, timeline: Timeline | None, pane: Pane[Sketch], at: int) -> Timeline:
        """The timeline with one more pane. at: epoch ms."""
        hour = at // HOUR_MS
        timeline = timeline or Timeline.begin(hour, self.kept)
        if not timeline.span.sizes:
            sizes = tuple(each.size for each in self._reference.signals)
            timeline = timeline.begin_era(self._reference, sizes)
        return timeline.add(hour, self._codes.sketch(pane.content), self.kept)


def count_outcomes(timeline: Timeline | None, era: OutcomeEra, table: OutcomeTable, at: int, kept: Kept) -> Timeline:
    """The timeline of a track's outcomes with those of one more pane. at: time of the predictions, epoch ms."""
    hour = at // HOUR_MS
    timeline = timeline or Timeline.begin(hour, kept)
    if timeline.span.sizes != era.sizes:
        timeline = timeline.begin_era(era, era.sizes)
    return timeline.add(hour, table, kept)


def time_of_pane(pane: Pane[Any]) -> int:
    """The median time of its events, epoch ms, which some wrong clocks do not move.

    Of one that does not count them by time, the earlier one of its first and its last event.
    """
    counts = np.cumsum([count for _, count in pane.slots])
    if not len(counts):
        return min(pane.first_ts, pane.last_ts)
    return pane.slots[int(np.searchsorted(counts, (counts[-1] + 1) // 2))][0] * SLOT_MS
