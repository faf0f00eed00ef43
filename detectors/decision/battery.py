"""The battery: all statistics of all windows of a model in one call, in one unit.

A statistic compares one signal in a window with the same signal in a reference and returns *evidence*, -ln p in nats:
how surprising the window would be had nothing changed. Because the unit is the same, one threshold serves them all.

| name   | of                  | against   | statistic                                       | quickest to see        |
|--------|---------------------|-----------|-------------------------------------------------|------------------------|
| ks     | each ordered signal | reference | two-sample Kolmogorov-Smirnov distance of codes | any shape              |
| level  | each ordered signal | reference | difference of mean ranks (Mann-Whitney)         | a shift                |
| spread | each ordered signal | reference | difference of squared ranks' mean (Mood)        | a change of scale      |
| chi2   | each nominal signal | reference | chi-square over known values, or a rare one's   | shares moving          |
| rate   | each special code   | reference | exact tail bound of one share                   | missing, unseen, ...   |
| adwin  | each ordered signal | past      | ADWIN's cut bound on rank means                 | a step, baseline or no |

The reference is the baseline or, for a model without a trustworthy one, the past: everything before the window. ADWIN
always compares with the past.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.statistics.categorical import categorical_evidence, rate_evidence
from driftline.detectors.statistics.cut import cut_evidence
from driftline.detectors.statistics.ks import ks_evidence, ks_statistic
from driftline.detectors.statistics.ranks import RankMoments, level_evidence, rank_moments, spread_evidence
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout


class Column(NamedTuple):
    """A column of the evidence matrix: the statistic, the signal (its index in the layout), the special code if any."""

    statistic: str
    signal: int
    special: Special | None = None


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
        everything = range(len(self.layout.signals))
        ordered, nominal = everything[: self.layout.n_ordered], everything[self.layout.n_ordered :]
        return (
            *(Column(statistic, s) for statistic in ("ks", "level", "spread") for s in ordered),
            *(Column("chi2", s) for s in nominal),
            *(Column("rate", s, special) for s in everything for special in Special),
            *(Column("adwin", s) for s in ordered),
        )

    @cached_property
    def signal_of(self) -> IntArray:
        """Signal index of each column (T,)."""
        return np.array([column.signal for column in self.columns])

    @cached_property
    def uses_past(self) -> BoolArray:
        """Which columns compare a window with the past (T,)."""
        return np.array([self.against_past or column.statistic == "adwin" for column in self.columns])

    @cached_property
    def midranks(self) -> FloatArray:
        """Mid-rank in [0, 1] of each ordered code in the baseline (ordered,): the share below plus half its own."""
        counts, starts = self.baseline[: self.layout.ordered], self._starts
        sizes = self.layout.sizes[: self.layout.n_ordered]
        below = np.cumsum(counts) - counts
        below -= np.repeat(below[starts], sizes)
        totals = np.repeat(np.maximum(np.add.reduceat(counts, starts), 1), sizes) if counts.size else counts
        return np.asarray((below + counts / 2) / totals, float)

    def evidence(self, window: IntArray, reference: IntArray, past: IntArray) -> FloatArray:
        """Evidence in nats (w, T) of windows (w, C), given their reference (C,) or (w, C) and their past (w, C)."""
        ranks = self._ranks(window[:, : self.layout.ordered]) if self.layout.n_ordered else None
        return np.hstack(
            [
                *self._ordered(window, reference, ranks),
                self._chi2(window, reference),
                self._rates(window, reference),
                self._adwin(ranks, past),
            ]
        )

    def _ordered(self, window: IntArray, reference: IntArray, ranks: RankMoments | None) -> tuple[FloatArray, ...]:
        """Evidence of ks, level and spread, each (w, ordered signals)."""
        if ranks is None:
            return (np.empty((len(window), 0)),)
        own, other = window[:, : self.layout.ordered], np.atleast_2d(reference)[:, : self.layout.ordered]
        reference_ranks = self._ranks(other)
        distance = ks_evidence(*ks_statistic(own, reference[..., : self.layout.ordered], self._starts))
        uniform = not self.against_past
        level, spread = (of(ranks, reference_ranks, uniform) for of in (level_evidence, spread_evidence))
        return distance, level, spread

    def _chi2(self, window: IntArray, reference: IntArray) -> FloatArray:
        starts = self.layout.starts[self.layout.n_ordered :] - self.layout.ordered
        if not starts.size:
            return np.empty((len(window), 0))
        span = slice(self.layout.ordered, self.layout.regular)
        return categorical_evidence(window[..., span], reference[..., span], starts)

    def _rates(self, window: IntArray, reference: IntArray) -> FloatArray:
        special = slice(self.layout.regular, self.layout.width)
        k, k_ref = window[:, special], np.broadcast_to(reference, window.shape)[:, special]
        n = self.layout.events(window)[:, None]
        n_ref = np.broadcast_to(self.layout.events(reference), len(window))[:, None]
        out = np.zeros(k.shape)
        # Most special codes never occur; their evidence is 0 without computing it.
        seen = k.any(axis=0) | k_ref.any(axis=0)
        out[:, seen] = rate_evidence(k[:, seen], n, k_ref[:, seen], n_ref)
        return out

    def _adwin(self, new: RankMoments | None, past: IntArray) -> FloatArray:
        if new is None:
            return np.empty((len(past), 0))
        old = self._ranks(past[:, : self.layout.ordered])
        n = np.maximum(old.n + new.n, 1)
        mean = (old.sum + new.sum) / n
        variance = np.maximum((old.squares + new.squares) / n - mean * mean, 0.0)
        # The bound holds for each direction of change; p is twice as large.
        return np.maximum(cut_evidence(old.n, old.mean, new.n, new.mean, variance) - math.log(2), 0.0)

    def _ranks(self, counts: IntArray) -> RankMoments:
        return rank_moments(counts, self.midranks, self._starts)

    @property
    def _starts(self) -> IntArray:
        return self.layout.starts[: self.layout.n_ordered]
