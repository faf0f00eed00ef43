"""The battery: all statistics of all windows of a model in one call, in one unit.

`statistics.registry` has the table of the statistics. The battery computes those that the counts of a layout tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.statistics.comparison import Comparison
from driftline.detectors.statistics.registry import STATISTICS, Against
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout

_COUNTED = [(each, each.evidence) for each in STATISTICS.values() if each.evidence is not None]


class Column(NamedTuple):
    """A column of the evidence matrix: the statistic, the signal (its index in the layout), the special code if any."""

    statistic: str
    signal: int
    special: Special | None = None


def signal_of(columns: Sequence[Column]) -> IntArray:
    """Signal index of each column (T,)."""
    return np.array([column.signal for column in columns], np.int64)


def uses_past(columns: Sequence[Column]) -> BoolArray:
    """Which columns are of statistics that compare a window with the past (T,)."""
    return np.array([STATISTICS[column.statistic].against is Against.PAST for column in columns], bool)


@dataclass(frozen=True)
class Battery:
    """All statistics of the signals of one layout.

    baseline: (C,) counts, from which the codes get their mid-ranks. against_past: the reference is the past and not the
    baseline. All count matrices have the layout's C columns; windows are rows.
    """

    layout: Layout
    baseline: IntArray
    against_past: bool = False

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the evidence matrix, in order."""
        return tuple(Column(each.name, *column) for each, _ in _COUNTED for column in each.columns(self.layout))

    @cached_property
    def signal_of(self) -> IntArray:
        """Signal index of each column (T,)."""
        return signal_of(self.columns)

    @cached_property
    def uses_past(self) -> BoolArray:
        """Which columns compare a window with the past (T,)."""
        return uses_past(self.columns) | self.against_past

    @cached_property
    def midranks(self) -> FloatArray:
        """Mid-rank in [0, 1] of each ordered code in the baseline (ordered,): the share below plus half its own."""
        counts, starts = self.baseline[: self.layout.ordered], self.layout.starts[: self.layout.n_ordered]
        sizes = self.layout.sizes[: self.layout.n_ordered]
        below = np.cumsum(counts) - counts
        below -= np.repeat(below[starts], sizes)
        totals = np.repeat(np.maximum(np.add.reduceat(counts, starts), 1), sizes) if counts.size else counts
        return np.asarray((below + counts / 2) / totals, float)

    def evidence(self, window: IntArray, reference: IntArray, past: IntArray) -> FloatArray:
        """Evidence in nats (w, T) of windows (w, C), given their reference (C,) or (w, C) and their past (w, C)."""
        each = Comparison(self.layout, self.midranks, window, reference, past, self.against_past)
        return np.hstack([evidence(each) for own, evidence in _COUNTED if any(own.columns(self.layout))])
