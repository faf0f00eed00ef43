"""Windows of many signals beside what they are compared with: what the evidence of a statistic is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.statistics.ranks import RankMoments, rank_moments
from driftline.detectors.summaries.layout import Layout


@dataclass(frozen=True, eq=False)
class Comparison:
    """Windows, their reference and their past: counts in the C columns of a layout, one row a window.

    midranks: (ordered,) mid-ranks of the ordered codes in the baseline. window, past: (w, C). reference: (C,), or
    (w, C). against_past: the reference is the past, which did not give the mid-ranks. What statistics have in common is
    computed once.
    """

    layout: Layout
    midranks: FloatArray
    window: IntArray
    reference: IntArray
    past: IntArray
    against_past: bool = False

    @property
    def starts(self) -> IntArray:
        """First column of each ordered signal."""
        return self.layout.starts[: self.layout.n_ordered]

    @property
    def ordered(self) -> tuple[IntArray, IntArray]:
        """Counts of the ordered codes in the windows (w, ordered) and in the reference (1 or w, ordered)."""
        own = self.layout.ordered
        return self.window[:, :own], np.atleast_2d(self.reference)[:, :own]

    @cached_property
    def ranks(self) -> RankMoments:
        """Rank moments (w, ordered signals) of the windows."""
        return self._ranks(self.ordered[0])

    @cached_property
    def reference_ranks(self) -> RankMoments:
        """Rank moments (1 or w, ordered signals) of the reference."""
        return self._ranks(self.ordered[1])

    @cached_property
    def past_ranks(self) -> RankMoments:
        """Rank moments (w, ordered signals) of the past."""
        return self._ranks(self.past[:, : self.layout.ordered])

    def _ranks(self, counts: IntArray) -> RankMoments:
        return rank_moments(counts, self.midranks, self.starts)
