"""How different traffic is from its reference, for people: sizes of differences, and which sizes are usual. Pure.

The size is the Jensen-Shannon distance (`detectors.statistics.effect_sizes`) of a few groups of codes: the tenths of
the reference or its commonest values, and each special code. With all codes, some hundred events would look different
from any reference, by chance. No alarm depends on it.

Traffic swings by day, week and season, and so does a reference. What 19 of 20 stretches of the reference itself reach,
each compared with the rest of it, is usual.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.statistics.effect_sizes import jensen_shannon
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline

#: Differences in words, from the usual one up. They begin at `BOUNDS`: at normal distributions that lie 1/4, 1/2, 1 and
#: 2 σ apart, as `driftline explain` says.
LEVELS: Final = (
    "as usual", "slightly different", "clearly different", "strongly different", "nothing like the reference"
)  # fmt: skip
BOUNDS: Final = (0.1, 0.2, 0.4, 0.7)
#: What is said instead of a level where there is no verdict.
NOT_JUDGED: Final = "not judged"
#: Events below which a stretch says nothing: two for each of ten groups.
FEWEST: Final = 20
# Groups of the regular codes of a signal.
_GROUPS = 10
# The share of the reference's own stretches that are usual. Quantiles of a standard normal variable: of that share, and
# of 0.999, since a change is looked for in many parts of the traffic.
_USUAL, _NORMAL, _SURE = 0.95, 1.6449, 3.0902
# Few events a group reach more: simulated for 2 to 16 equal groups and 20 to 400 events, 1 + 0.4 k / n times as
# much, to 6 %.
_FEW = 0.4
# Stretches of the reference that are compared with the rest of it, at least, whatever their length.
_STRETCHES = 8


def size_in_words(difference: float | None) -> str:
    """A difference in words; "unknown" if it is not known.

    >>> size_in_words(0.05), size_in_words(0.5), size_in_words(None)
    ('as usual', 'strongly different', 'unknown')
    """
    return "unknown" if difference is None else LEVELS[int(np.searchsorted(BOUNDS, difference, side="right"))]


class Sizes:
    """Sizes of differences from one baseline, for all of its signals (S) at once."""

    def __init__(self, baseline: Baseline) -> None:
        self._layout, self._total = baseline.layout, baseline.total.counts
        groups = [_groups(self._layout, self._total, s) for s in range(len(self._layout.signals))]
        self._order = np.concatenate([columns for signal in groups for columns in signal])
        lengths = [len(columns) for signal in groups for columns in signal]
        self._starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._signals = np.concatenate([[0], np.cumsum(list(map(len, groups)))[:-1]]).astype(np.int64)
        self._reference, self._n = self._grouped(self._total[None])[0], baseline.total.n
        self._usual: dict[int, FloatArray] = {}
        self._baseline = baseline

    def of(self, counts: IntArray) -> FloatArray:
        """The sizes (W, S) of differences of counts (W, C) from the baseline."""
        return np.asarray(jensen_shannon(self._grouped(counts), self._reference, self._signals))

    def levels(self, counts: IntArray, events: IntArray) -> IntArray:
        """Which of `LEVELS` counts (W, C) of `events` (W,) have, by signal (W, S); -1 where these are too few."""
        sizes = self.of(counts)
        usual = np.stack([self.usual(n) for n in events.tolist()]) if len(events) else sizes
        levels = np.where(sizes <= usual, 0, np.searchsorted(BOUNDS, sizes, side="right"))
        return np.where(events[:, None] < FEWEST, -1, levels)

    def own(self, stretches: int) -> tuple[IntArray, IntArray]:
        """The reference's blocks in time order, added up to about this many stretches: counts (W, C), events (W,).

        None if it has no order or its blocks were not kept.
        """
        blocks = self._blocks
        if len(blocks) < 2:
            return np.empty((0, self._layout.width), np.int64), np.empty(0, np.int64)
        ends = np.linspace(0, len(blocks), min(stretches, len(blocks)) + 1).astype(int)
        counts = np.add.reduceat(blocks, ends[:-1])
        return counts, self._layout.events(counts)

    def usual(self, events: int) -> FloatArray:
        """The size (S,) that 19 of 20 stretches of this many events stay below if nothing has changed."""
        blocks = len(self._blocks)
        length = round(events * blocks / max(self._n, 1))
        rounded = max(1, min(2 ** round(np.log2(max(length, 1))), blocks // _STRETCHES * 2))
        if rounded not in self._usual:
            self._usual[rounded] = self._usual_of(rounded)
        return np.maximum(self._usual[rounded], _chance(self._filled, events, self._n, _NORMAL))

    def compare(self, before: Sketch, after: Sketch, s: int) -> tuple[float, bool | None]:
        """The size of a signal's difference between two samples, and whether it is one.

        It is one if it is at least "slightly different", and more than chance reaches once in a thousand times. None:
        either sample is too small to say.
        """
        groups = slice(self._signals[s], self._signals[s + 1] if s + 1 < len(self._signals) else None)
        old, new = (self._grouped(each.counts[None])[0, groups] for each in (before, after))
        if min(before.n, after.n) < FEWEST:
            return 0.0, None
        size = float(jensen_shannon(new[None], old)[0, 0])
        filled = np.array([np.count_nonzero(old + new)])
        return size, size >= max(BOUNDS[0], float(_chance(filled, after.n, before.n, _SURE)[0]))

    @cached_property
    def _blocks(self) -> IntArray:
        empty = np.empty((0, self._layout.width), np.int64)
        return self._baseline.blocks if self._baseline.read_blocks is not None else empty

    @cached_property
    def _own(self) -> IntArray:
        """Sums of the grouped blocks up to each (P + 1, G)."""
        grouped = self._grouped(self._blocks)
        return np.concatenate([np.zeros((1, grouped.shape[1]), np.int64), np.cumsum(grouped, 0)])

    def _usual_of(self, length: int) -> FloatArray:
        """The size (S,) that 19 of 20 stretches of `length` blocks of the reference stay below."""
        if len(self._blocks) < _STRETCHES:
            return np.zeros(len(self._signals))
        first = np.arange(0, len(self._blocks) - length + 1, max(length // 2, 1))
        own = self._own[first + length] - self._own[first]
        sizes = jensen_shannon(own, self._reference[None] - own, self._signals)
        return np.asarray(np.quantile(sizes, _USUAL, axis=0))

    @cached_property
    def _filled(self) -> IntArray:
        """How many groups of each signal the reference has (S,)."""
        return np.asarray(np.add.reduceat((self._reference > 0).astype(np.int64), self._signals))

    def _grouped(self, counts: IntArray) -> IntArray:
        return np.asarray(np.add.reduceat(counts[:, self._order], self._starts, axis=1))


def _chance(filled: IntArray, events: int, others: int, quantile: float) -> FloatArray:
    """The size that two samples of one distribution reach by chance, by their numbers of filled groups.

    The divergence of samples of n and m is about χ² (1/n + 1/m) / 8 nats, with a degree of freedom less than there are
    groups; its quantile by Wilson and Hilferty (PNAS 17, 1931), from that of a standard normal variable.
    """
    freedom = np.maximum(filled - 1, 1)
    reached = freedom * (1 - 2 / (9 * freedom) + quantile * np.sqrt(2 / (9 * freedom))) ** 3
    bits = reached * (1 / max(events, 1) + 1 / max(others, 1)) / (8 * np.log(2))
    return np.asarray(np.sqrt(bits) * (1 + _FEW * filled / max(events, 1)))


def _groups(layout: Layout, total: IntArray, s: int) -> list[IntArray]:
    """The columns of each group of a signal's codes."""
    start, size = int(layout.starts[s]), int(layout.sizes[s])
    columns, counts = np.arange(start, start + size), total[start : start + size]
    if layout.signals[s].ordered and counts.any():
        filled = np.cumsum(counts) / counts.sum()
        ends = np.unique(np.searchsorted(filled, np.arange(1, _GROUPS) / _GROUPS - 1e-9)) + 1
        regular = [each for each in np.split(columns, ends[ends < size]) if len(each)]
    else:
        order = np.argsort(-counts, kind="stable")
        common, rest = order[: _GROUPS - 1], order[_GROUPS - 1 :]
        regular = [columns[[each]] for each in common] + ([columns[rest]] if len(rest) else [])
    return [*regular, *(np.array([layout.special_column(s, each)]) for each in Special)]
