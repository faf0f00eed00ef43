"""How much of a signal has changed, as a share: a change too small to matter is significant, too, of enough events.

| tests                            | share                                                                        |
|----------------------------------|------------------------------------------------------------------------------|
| ks, level, spread, smooth, adwin | Kolmogorov-Smirnov distance: of the values, those that moved past some value |
| bins of numbers                  | of the values, those at one place: by how much its share has changed         |
| chi2, bins of categories, rate   | by how much the share of one category, or of a special code, has changed     |

All are parts of the events or values, so one unit serves numbers and categories. No mean of ranks differs by more than
the distance, and a shift of a normal signal by d σ has a distance of 0.4 d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.statistics.bins import Bins


@dataclass(frozen=True)
class Moved:
    """Counts (w, K) of one signal in w windows and in their references, (w, K) or (1, K): `size` regular codes first.

    Counts may be any numbers that are in proportion, as expected ones. Shares are 0 where a side is empty.
    """

    counts: Any
    reference: Any
    size: int

    def code(self, special: int) -> FloatArray:
        """By how much the share (w,) of a special code has changed."""
        new, old = (_shares(each)[:, self.size + special] for each in (self.counts, self.reference))
        return np.asarray(np.abs(new - old))

    def distance(self) -> FloatArray:
        """Kolmogorov-Smirnov distance (w,) of the regular values, which have an order."""
        return np.asarray(np.abs(self._difference.cumsum(axis=1)).max(axis=1, initial=0.0))

    def value(self) -> FloatArray:
        """The largest change (w,) of the share of one of the regular values."""
        return np.asarray(np.abs(self._difference).max(axis=1, initial=0.0))

    def bin(self, bins: Bins) -> FloatArray:
        """The largest change (w,) of the share of a bin among the regular values."""
        return np.asarray(np.abs(bins.merged(self._difference)).max(axis=1))

    @property
    def _difference(self) -> FloatArray:
        new, old = (np.asarray(each)[:, : self.size] for each in (self.counts, self.reference))
        both = (new.sum(axis=1, keepdims=True) > 0) & (old.sum(axis=1, keepdims=True) > 0)
        return np.asarray((_shares(new) - _shares(old)) * both)


def _shares(counts: Any) -> FloatArray:
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300))
