"""Values far beyond all that a baseline has: a wrong unit, a sentinel, garbage, however slow the signal is.

Tests of shape wait for independent events, of which a signal that follows a season has a few in a year, and ranks do
not say how far away a value is. So the values are counted that lie beyond the range of the baseline by more than its
width, and their count is tested like that of a special code (`statistics.clumps`): by the lesser of G / φ and of the
bound for clumps of dispersion φ. They are expected as often as if the baseline had one clump of them in its m events,
for whatever the distribution, the next of M clumps is beyond all others with a chance of 1 / M:

    E = φ n / m        of n events

φ is `CLUMP`, and not the slope of the signal: by that, the slow signals which need this test would wait as long as they
do for the others. Neither an order of the baseline nor slopes are asked for. What it costs: of signals that stay at
one value for 100 events, and whose values have a tail of Pareto 1.5, two in five page once in 400,000 events; those of
sessions of 20, one in 100; of independent values and AR(1) 0.95, none (10,000 rows, 1e-5 an event for 20 signals).
Half of the width lets AR(1) 0.999 page in one of 8, all of it in one of 150.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.battery import Column
from driftline.detectors.statistics.clumps import clumped_evidence, g_evidence
from driftline.detectors.summaries.codes import MAGNITUDES, magnitudes
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch

#: Dispersion φ of far values: sessions of 20 events have 20.
CLUMP: Final = 20.0
_LARGEST = np.finfo(float).max


@dataclass(frozen=True, eq=False)
class Far:
    """Far values of the numeric signals of a baseline.

    total: all of the baseline. without: signals, by their index, that are not tested.
    """

    layout: Layout
    total: Sketch
    without: frozenset[int] = frozenset()

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the evidence matrix, in order."""
        return tuple(Column("far", self.layout.ranged[index]) for index in self._tested)

    def counts(self, sketches: Sequence[Sketch]) -> IntArray:
        """How many values (p, R) of each column are far in each of p sketches."""
        found = np.zeros((len(sketches), len(self.layout.ranged)), np.int64)
        if tails := [each.tails for each in sketches]:
            cells, number = np.hstack(tails)
            place, cell = np.divmod(cells, MAGNITUDES)
            index, above = np.divmod(place, 2)
            low, high = self._cells[:, index]
            far = np.flatnonzero(np.where(above, cell > high, cell < low))
            row = np.repeat(np.arange(len(tails)), [each.shape[1] for each in tails])
            np.add.at(found, (row[far], index[far]), number[far])
        return found[:, self._tested]

    def evidence(self, counts: IntArray, n: IntArray) -> FloatArray:
        """Evidence (w, R) in nats, at least 0, of windows with these counts (w, R) among n (w, 1) events."""
        evidence, (rows, columns) = np.zeros(counts.shape), np.nonzero(counts)
        k, events, size = counts[rows, columns], n[rows, 0], max(self.total.n, 1)
        expected = CLUMP * events / size
        ratio = g_evidence(k, events, CLUMP, size) / CLUMP
        clumped = clumped_evidence(k, expected, CLUMP * (1 + events / size))
        evidence[rows, columns] = np.where(k > expected, np.minimum(ratio, clumped), 0.0)
        return evidence

    @cached_property
    def ends(self) -> FloatArray:
        """Lowest and highest values (2, ranged) that are not far, in the signals' units, to a cell of `magnitudes`."""
        low, high = self.total.extremes[:, np.searchsorted(self.layout.numeric, self.layout.ranged)]
        some = low <= high
        with np.errstate(over="ignore", invalid="ignore"):
            widened = np.where(some, [low - (high - low), high + (high - low)], [[-np.inf], [np.inf]])
        return np.clip(widened, -_LARGEST, _LARGEST)

    @cached_property
    def _cells(self) -> IntArray:
        """The cells of `ends`."""
        return magnitudes(self.ends)

    @cached_property
    def _tested(self) -> IntArray:
        """The signals that are tested, by their place among those with a range."""
        return np.array([i for i, s in enumerate(self.layout.ranged) if s not in self.without], np.int64)
