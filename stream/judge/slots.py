"""One slot of prediction time: its predictions, their labels, its cut-off, and its outcomes. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.stream.config.outcomes import Outcomes
from driftline.stream.outcomes.coding import Coding
from driftline.stream.outcomes.ids import Keys
from driftline.stream.outcomes.index import Index
from driftline.stream.panes.pane import Pane, Range

#: The share of a slot's predictions whose labels it waits for: some are never labelled, and would cost every slot the
#: longest wait.
COMPLETE: Final = 0.99
#: Outcomes of a table at most, as of a default pane: how dependent outcomes are is learned from tables in their order,
#: and a slot of a busy model would be a single one.
PIECE: Final = 250
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Bounds:
    """For how long halves wait for each other, ms, and how many predictions do.

    slot: of prediction time. wait: from a slot's end to its cut-off at most. keep: by which a label may be earlier than
    its prediction, or later than `wait` and still be known as late; and a prediction be after one with the same id.
    """

    wait: int
    slot: int
    keep: int
    most: int

    @classmethod
    def of(cls, config: Outcomes) -> Self:
        """What the configuration says."""
        wait, slot, keep = (round(1000 * each) for each in (config.wait, config.slot, config.keep))
        return cls(wait, slot, keep, config.max_pending)

    def grace(self, time: int) -> int:
        """When nothing older than a time is expected any more: a slot's length later."""
        return time + self.slot

    def belongs(self, label: IntArray, prediction: IntArray) -> BoolArray:
        """Whether labels and predictions of these times (n,), epoch ms, may belong together."""
        lag = label - prediction
        return np.asarray((lag >= -self.keep) & (lag <= self.wait + self.keep))

    @property
    def stubs(self) -> int:
        """For how long a prediction is remembered: until its latest label is settled, and that was noticed."""
        return self.wait + 2 * self.keep + 4 * self.slot

    @property
    def labels(self) -> int:
        """For how long a label is: until the last slot that it may belong to is closed."""
        return self.wait + self.keep + 3 * self.slot


@dataclass(frozen=True, slots=True, eq=False)
class _Predicted:
    """What n predictions are to a coding, without one 0, and their scores. run: the number of each one's in `runs`."""

    predicted: FloatArray
    score: FloatArray
    run: IntArray
    runs: tuple[Range, ...]

    @classmethod
    def of(cls, parts: Sequence[tuple[Any, IntArray]], coding: Coding | None) -> Self:
        """In these rows of parts, one at least."""
        columns, runs = list[tuple[npt.NDArray[Any], ...]](), list[Range]()
        for part, rows in parts:
            prediction, score = part.half.prediction[rows], part.half.score[rows]
            predicted = coding.predicted(prediction, score) if coding else np.zeros(len(rows))
            owner = np.searchsorted(np.cumsum([n for _, n in part.runs]), rows, "right") + len(runs)
            columns.append((predicted, score, owner))
            runs += [run for run, _ in part.runs]
        predicted, score, run = map(np.concatenate, zip(*columns, strict=True))
        return cls(predicted, score, run, tuple(runs))

    def first_of_each(self, keys: Keys, ts: IntArray) -> IntArray:
        """The rows with the earliest prediction of each key; of several at one time, one that the rows alone decide."""
        partition, start = (np.array([getattr(each, name) for each in self.runs]) for name in ("partition", "start"))
        order = np.lexsort((start[self.run], partition[self.run], self.score, self.predicted, ts, keys))
        return np.asarray(order[np.append(True, np.diff(keys[order]) != 0)])


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """The predictions (n,) of a track in a slot, each id once.

    parts: those with the slot's rows, and these. rows: (n,) which of all these rows. coding: None if the track has no
    reference. doubled: how many were left out.
    """

    parts: Sequence[tuple[Any, IntArray]]
    rows: IntArray
    keys: Keys
    ts: IntArray
    coding: Coding | None
    doubled: int = 0

    @classmethod
    def of(
        cls, parts: Iterable[tuple[Any, IntArray]], coding: Coding | None, index: Index, start: int, keep: int
    ) -> Self:
        """The predictions in these rows of parts, see `Halves.between`.

        index: of all of the track. start: of the slot, epoch ms. keep: see `Bounds`.
        """
        own, none = list(parts), np.empty(0, np.int64)
        if not own:
            return cls((), none, none.astype(np.uint64), none, coding)
        keys, ts = (np.concatenate([getattr(part.half, name)[rows] for part, rows in own]) for name in ("keys", "ts"))
        kept = keys.argsort()
        if len(keys) > 1 and not (np.diff(keys[kept]) != 0).all():
            kept = _Predicted.of(own, coding).first_of_each(keys, ts)
        kept = kept[~_has_earlier(keys[kept], ts[kept], index, start, keep)]
        return cls(own, kept, keys[kept], ts[kept], coding, len(keys) - len(kept))

    def panes(self, coding: Coding, rows: list[int], labels: list[str]) -> list[Pane[OutcomeTable]]:
        """The outcomes of these rows (m,) with their labels, and the other predictions, as they follow each other.

        Each pane has some hundred outcomes, if there are that many.
        """
        found, known = np.full(len(self.keys), None, object), np.zeros(len(self.keys), bool)
        found[rows], known[rows] = labels, True
        order, all_rows = np.lexsort((self.keys, self.ts)), _Predicted.of(self.parts, coding)
        labelled = np.flatnonzero(known[order])
        pieces = np.array_split(labelled, math.ceil(len(rows) / PIECE)) if len(rows) else []
        parts = np.split(order, [int(each[0]) for each in pieces[1:]])
        return [self._pane(coding, all_rows, own, found[own].tolist()) for own in parts if len(own)]

    def _pane(self, coding: Coding, of: _Predicted, rows: IntArray, labels: list[str | None]) -> Pane[OutcomeTable]:
        ts, own = self.ts[rows], self.rows[rows]
        runs = [of.runs[run] for run in {*of.run[own].tolist()}]
        table = coding.outcomes(ts, of.predicted[own], of.score[own], labels)
        return Pane(table, int(ts.min()), int(ts.max()), _union(runs))


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """A slot that is joined. end: epoch ms. panes: its outcomes by track, of those that have predictions."""

    end: int
    panes: dict[str, list[Pane[OutcomeTable]]]
    counts: Mapping[str, int]


def join_slot(taken: Mapping[str, Taken], labels: Index, start: int, until: int, bounds: Bounds) -> Joined | None:
    """The outcomes of a slot, of all labels that are known; None if its cut-off has not passed.

    taken: its predictions by track. until: up to when both topics are read, epoch ms.
    """
    end = start + bounds.slot
    found = {track: _Labels.of(own, labels, bounds) for track, own in taken.items()}
    first = np.concatenate([np.empty(0, np.int64), *(each.first for each in found.values())])
    cutoff = _cutoff(first, end, bounds)
    if until < bounds.grace(cutoff):
        return None
    counts, panes = Counter(doubled=sum(each.doubled for each in taken.values())), dict[str, list[Pane[OutcomeTable]]]()
    for track, own in taken.items():
        rows, texts, more = found[track].until(cutoff)
        counts.update(more)
        if own.coding is None:
            counts["unjudged"] += len(own.keys)
            continue
        counts.update(joined=len(rows), unlabelled=len(own.keys) - len(rows))
        if len(own.keys):
            panes[track] = own.panes(own.coding, rows, texts)
    return Joined(end, panes, counts)


@dataclass(frozen=True, slots=True, eq=False)
class _Labels:
    """The labels (m,) of n predictions. place: to which of these each belongs. first: (n,) time of each one's first."""

    place: IntArray
    ts: IntArray
    label: npt.NDArray[np.object_]
    first: IntArray

    @classmethod
    def of(cls, taken: Taken, labels: Index, bounds: Bounds) -> Self:
        first = np.full(len(taken.keys), _NEVER)
        place, found = labels.find(taken.keys)
        if not found:
            return cls(place, place, place.astype(object), first)
        ts, label = found
        own = bounds.belongs(ts, taken.ts[place])
        np.minimum.at(first, place[own], ts[own])
        return cls(place[own], ts[own], label[own], first)

    def until(self, cutoff: int) -> tuple[list[int], list[str], dict[str, int]]:
        """The predictions (k,) that have a label by then, that of each, and how many are corrected, repeated, late."""
        known = self.ts <= cutoff
        last, said = dict[int, tuple[int, str]](), set[tuple[int, str]]()
        for place, ts, label in zip(*(own[known].tolist() for own in (self.place, self.ts, self.label)), strict=True):
            last[place] = max(last.get(place, (ts, label)), (ts, label))
            said.add((place, label))
        labels = Counter(place for place, _ in said)
        counts = {
            "corrected": sum(n > 1 for n in labels.values()),
            "repeated": int(known.sum()) - len(said),
            "late": int((~known).sum()),
        }
        return [*last], [label for _, label in last.values()], counts


def _cutoff(first: IntArray, end: int, bounds: Bounds) -> int:
    """The cut-off of a slot that ends at `end`, epoch ms. first: (n,) time of the first label of each prediction."""
    needed = math.ceil(COMPLETE * len(first))
    complete = int(np.partition(first, needed - 1)[needed - 1]) if needed else end
    latest = end + bounds.wait
    # The last hundredth follows: without a while for it, one label in a hundred would be late though all come.
    return latest if complete >= latest else min(max(bounds.grace(complete), end), latest)


def _has_earlier(keys: Keys, ts: IntArray, index: Index, start: int, keep: int) -> BoolArray:
    """Whether each prediction (n,) has the id of one before the slot."""
    known, (places, found) = np.zeros(len(keys), bool), index.find(keys)
    if found:
        known[places[(found[0] < start) & (found[0] >= ts[places] - keep)]] = True
    return known


def _union(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """One range for each partition, sorted, that holds all of these."""
    merged = dict[int, Range]()
    for each in ranges:
        own = merged.get(each.partition, each)
        merged[each.partition] = Range(each.partition, min(own.start, each.start), max(own.end, each.end))
    return tuple(merged[partition] for partition in sorted(merged))
