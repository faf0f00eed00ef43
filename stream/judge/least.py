"""The least change that pages: windows that show a smaller one have no evidence. Pure.

With enough events, any change is significant, however small it is, and no two months are alike. `signals.rules` says
how much of a signal must have changed (`detectors.statistics.moved`). What has no evidence can neither raise an alarm
nor hold one: a drift that has become smaller than that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.decision.battery import Column
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.moved import Moved
from driftline.detectors.summaries.layout import Layout
from driftline.stream.config.signals import SignalRule, Signals

# Standard errors by which a change counts as smaller than it looks. With none, the windows of a change of 0.6 of the
# least one look large enough by chance once in some 30 independent ones; with two, once in 1,000. What is at least 1.8
# times as large takes no longer for it.
_ERRORS = 2.0


@dataclass(frozen=True)
class Least:
    """The least changes of the signals of a baseline.

    rules: by the index of the signal. total: counts (C,), of which bins are made.
    """

    layout: Layout
    rules: Sequence[SignalRule]
    total: IntArray
    _bins: dict[int, Bins] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout, signals: Signals, total: IntArray) -> Least:
        """What a configuration asks of the signals of a baseline."""
        return cls(layout, [signals.rule(each.name) for each in layout.signals], total)

    def share(self, column: Column) -> float:
        """The share of the events or values that a test must find changed."""
        rule, of_number = self.rules[column.signal], self.layout.signals[column.signal].ordered
        return rule.min_distance if of_number and column.special is None else rule.min_share

    def small(
        self,
        columns: Sequence[Column],
        evidence: FloatArray,
        ratio: FloatArray,
        sums: IntArray,
        reference: Callable[[int, IntArray], FloatArray | IntArray],
        least: float,
    ) -> BoolArray:
        """Which evidence (w, T) of windows with counts (w, C) is of a change that is too small to page.

        columns: of evidence. ratio: (w, T) of evidence to threshold; where it is below `least`, nothing is looked at.
        reference: gives counts (r, K) or (1, K) of a test's signal that some of the windows are compared with.
        """
        small = np.zeros(ratio.shape, bool)
        for test in np.flatnonzero(ratio.max(axis=0) >= least).tolist():
            column, rows = columns[test], np.flatnonzero(ratio[:, test] >= least)
            counts = sums[np.ix_(rows, self.layout.columns[column.signal])]
            # Evidence is half of the square of a change in its errors.
            known = 1 - _ERRORS / np.sqrt(2 * np.maximum(evidence[rows, test], _ERRORS))
            small[rows, test] = self._moved(column, counts, reference(test, rows)) * known < self.share(column)
        return small

    def _moved(self, column: Column, counts: IntArray, reference: FloatArray | IntArray) -> FloatArray:
        each = Moved(counts, reference, int(self.layout.sizes[column.signal]))
        if column.special is not None:
            return each.code(column.special)
        if not self.layout.signals[column.signal].ordered:
            return each.value()
        return each.bin(self._bins_of(column.signal)) if column.statistic == "bins" else each.distance()

    def _bins_of(self, signal: int) -> Bins:
        own = self.layout.columns[signal][: self.layout.sizes[signal]]
        return self._bins.setdefault(signal, Bins(self.total[own]))
