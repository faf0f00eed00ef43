"""How different traffic is from its reference, for people: sizes of differences, and which sizes are usual. Pure.

`stream.baselines.usual` measures them. A signal with phases is compared with what the reference expects at the same
times, every other one with all of it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.statistics.effect_sizes import jensen_shannon
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.usual import Groups, Phased, Phases, Usual, usual_of

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
# Quantiles of a standard normal variable: 0.95, of what is usual, and 0.999, since a change is looked for in many parts
# of the traffic.
_NORMAL, _SURE = 1.6449, 3.0902
# Few events a group reach more: simulated for 2 to 16 equal groups and 20 to 400 events, 1 + 0.4 k / n times as
# much, to 6 %.
_FEW = 0.4


def size_in_words(difference: float | None) -> str:
    """A difference in words; "unknown" if it is not known.

    >>> size_in_words(0.05), size_in_words(0.5), size_in_words(None)
    ('as usual', 'strongly different', 'unknown')
    """
    return "unknown" if difference is None else LEVELS[int(np.searchsorted(BOUNDS, difference, side="right"))]


class Sizes:
    """Sizes of differences from one baseline, for all of its signals (S) at once.

    phased: what it expects by phase. Without a word of the baseline on what is usual by phase, all times are alike.
    """

    def __init__(self, baseline: Baseline, phased: Phased | None = None) -> None:
        self._baseline, self._layout = baseline, baseline.layout
        self._groups = Groups(self._layout, baseline.total.counts)
        self._reference, self._n = self._groups.counts(baseline.total.counts[None])[0], baseline.total.n
        self._phased = phased if baseline.usual else None

    @property
    def knows_usual(self) -> bool:
        """Whether it is known how different the baseline's own stretches are; if not, chance alone is usual."""
        return (self._baseline.usual or self._pooled) is not None

    def phases(self, stretches: list[tuple[int, int, int]]) -> Phases:
        """The events of stretches by phase, as `of` takes them. stretches: start and end, epoch ms, and events."""
        return self._phased.phases(stretches) if self._phased and stretches else {}

    def of(self, counts: IntArray, phases: Phases) -> FloatArray:
        """The sizes (W, S) of differences of counts (W, C) from the baseline. phases: of all of them, or none."""
        expected = self._reference
        if self._phased and phases:
            expected = self._phased.expected(self._groups, expected, phases)
        return self._groups.sizes(self._groups.counts(counts), expected)

    def levels(self, counts: IntArray, events: IntArray, phases: Phases) -> IntArray:
        """Which of `LEVELS` counts (W, C) of `events` (W,) have, by signal (W, S); -1 where these are too few."""
        return self._levels(counts, events, phases, self._baseline.usual or self._pooled)

    def own(self, stretches: int) -> tuple[IntArray, IntArray]:
        """The reference's blocks in time order, added up to about this many stretches: `levels` (W, S), events (W,).

        All are compared with all of it, as no baseline has the times of its blocks. None if it has no order or its
        blocks were not kept.
        """
        blocks = self._blocks
        if len(blocks) < 2:
            return np.empty((0, len(self._layout.signals)), np.int64), np.empty(0, np.int64)
        ends = np.linspace(0, len(blocks), min(stretches, len(blocks)) + 1).astype(int)
        counts = np.add.reduceat(blocks, ends[:-1])
        events = self._layout.events(counts)
        return self._levels(counts, events, {}, self._pooled), events

    def compare(self, before: Sketch, after: Sketch, s: int) -> tuple[float, bool | None]:
        """The size of a signal's difference between two samples, and whether it is one.

        It is one if it is at least "slightly different", and more than chance reaches once in a thousand times. None:
        either sample is too small to say.
        """
        own = self._groups.span(s)
        old, new = (self._groups.counts(each.counts[None])[:, own] for each in (before, after))
        if min(before.n, after.n) < FEWEST:
            return 0.0, None
        size = float(jensen_shannon(new, old)[0, 0])
        filled = np.count_nonzero(old + new)
        return size, size >= max(BOUNDS[0], float(_chance(np.array([filled]), after.n, before.n, _SURE)[0]))

    def _levels(self, counts: IntArray, events: IntArray, phases: Phases, usual: Usual | None) -> IntArray:
        sizes = self.of(counts, phases)
        # Whatever all stretches of the baseline do, few events reach as much by chance.
        chance = _chance(self._filled, events[:, None], self._worth(events, phases), _NORMAL)
        if usual:
            chance = np.maximum(chance, np.array([usual.at(n) for n in events.tolist()]).reshape(chance.shape))
        levels = np.where(sizes <= chance, 0, np.searchsorted(BOUNDS, sizes, side="right"))
        return np.where(events[:, None] < FEWEST, -1, levels)

    def _worth(self, events: IntArray, phases: Phases) -> FloatArray:
        """Events (W, S) of a sample that would tell as well what is expected as the baseline does."""
        worth = np.full((len(events), len(self._layout.signals)), float(self._n))
        for s, own in self._phased.signals.items() if self._phased and phases else ():
            worth[:, s] = own.size(phases[len(own.counts)])
        return worth

    @cached_property
    def _blocks(self) -> IntArray:
        empty = np.empty((0, self._layout.width), np.int64)
        return self._baseline.blocks if self._baseline.read_blocks is not None else empty

    @cached_property
    def _pooled(self) -> Usual | None:
        """The usual sizes of stretches that are compared with all times."""
        return usual_of(self._layout, self._blocks)

    @cached_property
    def _filled(self) -> IntArray:
        """How many groups of each signal the reference has (S,)."""
        return np.asarray(np.add.reduceat((self._reference > 0).astype(np.int64), self._groups.signals))


def _chance(filled: IntArray, events: int | IntArray, others: int | FloatArray, quantile: float) -> FloatArray:
    """The size that two samples of one distribution reach by chance, by their numbers of filled groups.

    The divergence of samples of n and m is about χ² (1/n + 1/m) / 8 nats, with a degree of freedom less than there are
    groups; its quantile by Wilson and Hilferty (PNAS 17, 1931), from that of a standard normal variable.
    """
    freedom = np.maximum(filled - 1, 1)
    reached = freedom * (1 - 2 / (9 * freedom) + quantile * np.sqrt(2 / (9 * freedom))) ** 3
    n, m = np.maximum(events, 1), np.maximum(others, 1)
    bits = reached * (1 / n + 1 / m) / (8 * np.log(2))
    return np.asarray(np.sqrt(bits) * (1 + _FEW * filled / n))
