"""Predictions that wait for their labels, and labels that came: what is remembered of both, and the join. Pure.

    slot of prediction time   [a, b)   ticks of both topics pass its cut-off ──► predictions ⋈ labels ──► outcomes
    its cut-off               a slot's length after 99 of 100 of its predictions have a label; b + wait at most

A join is a function of sets: which of two topics, or of their partitions, was read first does not matter. Of the labels
of a prediction up to the cut-off, the one of the latest time counts, of equal times the larger text; of several
predictions with one id, the earliest. So labels that come sorted by class, or the frequent class first, are judged in
the order of their predictions, and nothing is counted twice. What comes later is counted as late, and not applied.

Too many predictions are sampled by the bits of their keys, their labels alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import add, is_
from typing import Generic, NamedTuple, Self, TypeVar

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from driftline.detectors.arrays import BoolArray, IntArray
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.stream.judge.slots import Bounds, Joined, Taken, join_slot
from driftline.stream.outcomes.coding import Coding
from driftline.stream.outcomes.halves import Half, LabelHalves, Stubs
from driftline.stream.outcomes.ids import KEY_BITS, Keys
from driftline.stream.outcomes.index import Index
from driftline.stream.panes.pane import Pane, Range

H = TypeVar("H", bound=Half)

# Rows of a part at most, if it is made of several panes: a model with few events would have a part for each.
_PART = 256
#: How the predictions of a track become those of its task; None while the track has no reference.
CodingOf = Callable[[str], Coding | None]


class Counts(NamedTuple):
    """What became of predictions and labels so far.

    joined: predictions with a label. unlabelled: without one when their slot closed. unjudged: of tracks that had no
    reference. doubled: with the id of an earlier prediction. overdue: that came after their slot had closed. corrected:
    whose label changed before. repeated: labels that say again what another one says. late: labels after the cut-off.
    unmatched: of ids that no prediction has.
    """

    joined: int = 0
    unlabelled: int = 0
    unjudged: int = 0
    doubled: int = 0
    overdue: int = 0
    corrected: int = 0
    repeated: int = 0
    late: int = 0
    unmatched: int = 0

    @property
    def in_words(self) -> str:
        """The counts as a line; what did not happen is left out."""
        rest = {
            "without a label in time": self.unlabelled,
            "of versions without a reference": self.unjudged,
            "sent again": self.doubled,
            "after their slot was judged": self.overdue,
        }
        labels = {
            "corrected": self.corrected, "repeated": self.repeated, "too late": self.late,
            "of unknown ids": self.unmatched,
        }  # fmt: skip
        parts = [f"{self.joined:,} predictions with a label", *(f"{n:,} {what}" for what, n in rest.items() if n)]
        of_labels = [f"{n:,} {what}" for what, n in labels.items() if n]
        return ", ".join(parts) + (f"; labels: {', '.join(of_labels)}" if of_labels else "")

    def plus(self, **more: int) -> Counts:
        """The counts after more of these."""
        return self._replace(**{name: getattr(self, name) + n for name, n in more.items()})


class Part(Struct, Generic[H], frozen=True, eq=False):
    """Halves of one or more panes, the unit that is stored. runs: of each pane, its run and how many rows it has."""

    number: int
    runs: tuple[tuple[Range, int], ...]
    half: H
    first: int
    last: int

    @classmethod
    def of(cls, number: int, runs: tuple[tuple[Range, int], ...], half: H) -> Self:
        """The part of at least one row."""
        return cls(number, runs, half, int(half.ts.min()), int(half.ts.max()))

    def without(self, before: int) -> Self | None:
        """The part without its rows of earlier times, epoch ms, if these are more than half of them."""
        kept = self.half.ts >= before
        return self if 2 * int(kept.sum()) >= len(kept) else self.sampled(kept)

    def sampled(self, kept: BoolArray) -> Self | None:
        """The part with some of its rows (n,); None if there are none."""
        if not kept.any():
            return None
        owner = np.repeat(np.arange(len(self.runs)), [n for _, n in self.runs])
        left = np.bincount(owner[kept], minlength=len(self.runs)).tolist()
        runs = tuple((run, n) for (run, _), n in zip(self.runs, left, strict=True) if n)
        return type(self).of(self.number, runs, self.half.take(kept))


class Halves(Struct, Generic[H], frozen=True, eq=False):
    """Halves of one kind. parts: by their numbers, which rise. number: of the next part. index: of their rows."""

    parts: tuple[Part[H], ...] = ()
    number: int = 0
    index: Index = Index()

    @classmethod
    def of(cls, parts: tuple[Part[H], ...], number: int) -> Self:
        """The halves in these parts."""
        if not parts:
            return cls((), number)
        columns = zip(*((each.half.keys, *each.half.indexed) for each in parts), strict=True)
        return cls(parts, number, Index().add(*map(np.concatenate, columns)))

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(len(each.half) for each in self.parts)

    def add(self, half: H, run: Range) -> Self:
        """The halves with those of a pane."""
        if not len(half):
            return self
        index, runs = self.index.add(half.keys, *half.indexed), ((run, len(half)),)
        last = self.parts[-1] if self.parts else None
        if last is None or len(last.half) + len(half) > _PART or not last.half.fits(half):
            parts = (*self.parts, Part.of(self.number, runs, half))
            return replace(self, parts=parts, number=self.number + 1, index=index)
        both = Part.of(last.number, last.runs + runs, last.half + half)
        return replace(self, parts=(*self.parts[:-1], both), index=index)

    def between(self, first: int, end: int) -> Iterator[tuple[Part[H], IntArray]]:
        """The parts with rows of a time, epoch ms, and the numbers of these rows."""
        for part in self.parts:
            if part.first < end and part.last >= first:
                (rows,) = ((part.half.ts >= first) & (part.half.ts < end)).nonzero()
                if len(rows):
                    yield part, rows

    def oldest(self, first: int) -> int | None:
        """The earliest time from one on, epoch ms; None if there is none."""
        found = None
        for part in self.parts:
            if part.last >= first and (found is None or part.first < found):
                own = part.first if part.first >= first else int(part.half.ts[part.half.ts >= first].min())
                found = own if found is None else min(found, own)
        return found

    def without(self, before: int) -> Self:
        """The halves without parts that are older, or are so for the most part: a wrong clock keeps no others."""
        rests = (each if each.first >= before else each.without(before) for each in self.parts)
        parts = tuple(each for each in rests if each is not None)
        if all(map(is_, parts, self.parts)) and len(parts) == len(self.parts):
            return self
        left = replace(self, parts=parts)
        return type(self).of(parts, self.number) if len(self.index) > 2 * left.rows else left

    def sampled(self, halvings: int) -> Self:
        """The halves whose keys begin with as many bits that are 0."""
        found = (each.sampled(_is_sampled(each.half.keys, halvings)) for each in self.parts)
        return type(self).of(tuple(each for each in found if each is not None), self.number)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in memory, without their index."""
        return sum(column.nbytes for part in self.parts for column in part.half.columns)


class Waiting(Struct, frozen=True, eq=False):
    """The halves of a model. stubs: by track.

    closed: the time, epoch ms, before which all slots are closed. settled: that before which the labels without a
    prediction are counted as unmatched. tried: up to when both topics were read when slots were last looked at.
    halvings: n where one in 2^n predictions is kept.
    """

    stubs: Mapping[str, Halves[Stubs]] = field(default_factory=dict)
    labels: Halves[LabelHalves] = Halves()
    closed: int = 0
    settled: int = 0
    tried: int = 0
    halvings: int = 0
    counts: Counts = Counts()

    def expect(self, track: str, stubs: Stubs, run: Range, bounds: Bounds) -> Waiting:
        """What is remembered with the predictions of a track in a pane."""
        stubs = _sample(stubs, self.halvings)
        own, counts = self.stubs.get(track, Halves()), self.counts
        if (overdue := stubs.ts < self.closed).any():
            places, found = own.index.find(stubs.keys[overdue])
            doubled = len(np.unique(places)) if found else 0
            counts = counts.plus(doubled=doubled, overdue=int(overdue.sum()) - doubled)
            stubs = stubs.take(~overdue)
        added = replace(self, stubs={**self.stubs, track: own.add(stubs, run)}, counts=counts)
        return added._bounded(bounds)

    def learn(self, labels: LabelHalves, run: Range, bounds: Bounds) -> Waiting:
        """What is remembered with the labels of a pane."""
        labels = _sample(labels, self.halvings)
        known, late = self._known(labels.keys, labels.ts, bounds)
        unmatched = int(((labels.ts < self.settled) & ~known).sum())
        counts = self.counts.plus(late=late, unmatched=unmatched)
        return replace(self, labels=self.labels.add(labels, run), counts=counts)._bounded(bounds)

    def _known(self, keys: Keys, ts: IntArray, bounds: Bounds) -> tuple[BoolArray, int]:
        """Whether each label (n,) has a prediction, and for how many predictions of closed slots they come too late."""
        known, late = np.zeros(len(keys), bool), 0
        for own in self.stubs.values():
            places, found = own.index.find(keys)
            if found:
                theirs = bounds.belongs(ts[places], found[0])
                known[places[theirs]] = True
                closed = theirs & (found[0] < self.closed)
                late += int((closed & ~_are_doubled(places, found[0], bounds)).sum()) if closed.any() else 0
        return known, late

    def _bounded(self, bounds: Bounds) -> Waiting:
        """What is remembered, in as many rows as there may be."""
        waiting, most = self, bounds.most
        if max(len(self.labels.index), sum(len(each.index) for each in self.stubs.values())) <= most:
            return self  # nearly always, and much faster: indexes hold all rows, and some that are left out
        while max(waiting.labels.rows, sum(each.rows for each in waiting.stubs.values())) > most:
            halvings = waiting.halvings + 1
            stubs = {track: each.sampled(halvings) for track, each in waiting.stubs.items()}
            waiting = replace(waiting, halvings=halvings, stubs=stubs, labels=waiting.labels.sampled(halvings))
        return waiting

    @property
    def rows(self) -> int:
        """How many predictions and labels are remembered."""
        return self.labels.rows + sum(own.rows for own in self.stubs.values())

    def is_due(self, until: int, bounds: Bounds) -> bool:
        """Whether slots are to be looked at when both topics are read up to a time, epoch ms."""
        return until // bounds.slot > self.tried // bounds.slot

    def close(
        self, until: int, bounds: Bounds, coding_of: CodingOf
    ) -> tuple[Waiting, list[dict[str, list[Pane[OutcomeTable]]]]]:
        """What is left when both topics are read up to a time, epoch ms, and the outcomes of each slot by track."""
        waiting, slots = replace(self, tried=until), list[dict[str, list[Pane[OutcomeTable]]]]()
        while (joined := waiting._next(until, bounds, coding_of)) is not None:
            counts = waiting.counts.plus(**joined.counts)
            waiting = replace(waiting, closed=joined.end, counts=counts)
            slots += [joined.panes] if joined.panes else []
        return waiting._settled(until, bounds)._without_old(until, bounds), slots

    def _next(self, until: int, bounds: Bounds, coding_of: CodingOf) -> Joined | None:
        """The earliest slot that is open, joined; None if it has to wait."""
        oldest = [each for own in self.stubs.values() if (each := own.oldest(self.closed)) is not None]
        start = min(oldest) // bounds.slot * bounds.slot if oldest else None
        if start is None or until < bounds.grace(start + bounds.slot):
            return None
        first = max(start, self.closed)
        taken = {
            track: Taken.of(own.between(first, start + bounds.slot), coding_of(track), own.index, first, bounds.keep)
            for track, own in sorted(self.stubs.items())
        }
        return join_slot(taken, self.labels.index, start, until, bounds)

    def _settled(self, until: int, bounds: Bounds) -> Waiting:
        """Count the labels for which no prediction came, nor will."""
        end, unmatched = until - bounds.keep - bounds.slot, 0
        if end <= self.settled:
            return self
        for part, rows in self.labels.between(self.settled, end):
            known, _ = self._known(part.half.keys[rows], part.half.ts[rows], bounds)
            unmatched += int((~known).sum())
        return replace(self, settled=end, counts=self.counts.plus(unmatched=unmatched))

    def _without_old(self, until: int, bounds: Bounds) -> Waiting:
        stubs = {track: own.without(min(self.closed, until - bounds.stubs)) for track, own in self.stubs.items()}
        return replace(
            self,
            stubs={track: own for track, own in stubs.items() if own.parts},
            labels=self.labels.without(until - bounds.labels),
        )

    @property
    def pending(self) -> int:
        """How many predictions wait for their label."""
        open_parts = (part for own in self.stubs.values() for part in own.parts if part.last >= self.closed)
        return sum(int((part.half.ts >= self.closed).sum()) for part in open_parts)

    def newest(self, track: str, n: int) -> Stubs | None:
        """The n newest predictions of a track that wait for their label, or somewhat more; None if none does."""
        found, rows = list[Stubs](), 0
        for part in reversed(self.stubs.get(track, Halves()).parts):
            if rows < n and part.last >= self.closed:
                found.append(part.half.take(part.half.ts >= self.closed))
                rows += len(found[-1])
        return reduce(add, reversed(found)) if found else None

    @property
    def oldest(self) -> int | None:
        """The time of the earliest of these, epoch ms; None without."""
        return min((each for own in self.stubs.values() if (each := own.oldest(self.closed)) is not None), default=None)

    @property
    def nbytes(self) -> int:
        """Bytes of all halves in memory, without their indexes."""
        return self.labels.nbytes + sum(own.nbytes for own in self.stubs.values())


def _are_doubled(places: IntArray, ts: IntArray, bounds: Bounds) -> BoolArray:
    """Which predictions of these times (n,) have the id of an earlier one, as a join leaves them out.

    places: (n,) by label, each with all the predictions of its id.
    """
    order = np.lexsort((ts, places))
    place, at = places[order], ts[order]
    earliest = np.minimum(at - bounds.keep, at // bounds.slot * bounds.slot)
    doubled = np.zeros(len(ts), bool)
    doubled[order[1:]] = (place[1:] == place[:-1]) & (at[:-1] >= earliest[1:])
    return doubled


def _sample(half: H, halvings: int) -> H:
    """The rows whose keys begin with as many bits that are 0."""
    return half.take(_is_sampled(half.keys, halvings)) if halvings else half


def _is_sampled(keys: Keys, halvings: int) -> BoolArray:
    """Whether each key (n,) begins with as many bits that are 0, at least one."""
    return np.asarray(keys >> np.uint64(KEY_BITS - halvings) == 0)
