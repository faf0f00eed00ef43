"""Coarse sketches: a sketch with few codes a signal, so that many of them can be kept for people to look at.

A coarse code is a union of neighbouring codes of an ordered signal, cut at fixed shares of a reference; of a nominal
one, its commonest values keep theirs and all others share one. So a coarse sketch of a sum is the sum of the coarse
sketches, and its layout is one like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Categories, Coder, Grid
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch

# Where the reference is cut: exact for the quantiles that are drawn (5, 25, 50, 75 and 95 %) and for its tenths.
_SHARES = np.array([0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.99])
# Codes of a signal that are kept as they are.
_FEW = len(_SHARES) + 1
# The share of a single code from which on it is cut on both sides: of a frequent value, nothing is said of others.
_FREQUENT = 0.05
# The values of a categorical signal that have no code of their own.
_OTHERS = "other values"


@dataclass(frozen=True)
class Coarsening:
    """What makes sketches of a layout coarse. reference: counts (C,) that say where to cut."""

    fine: Layout
    reference: IntArray

    @cached_property
    def _groups(self) -> list[IntArray]:
        """Per signal, the coarse code (K,) of each of its codes."""
        return [self._group(s) for s in range(len(self.fine.signals))]

    def _group(self, s: int) -> IntArray:
        start, size = int(self.fine.starts[s]), int(self.fine.sizes[s])
        counts = self.reference[start : start + size]
        if size <= _FEW:
            return np.arange(size)
        if self.fine.signals[s].ordered:
            return np.searchsorted(_cuts(counts), np.arange(size))
        order = np.argsort(-counts, kind="stable")
        codes = np.full(size, _FEW - 1)
        codes[np.sort(order[: _FEW - 1])] = np.arange(_FEW - 1)
        return codes

    @cached_property
    def layout(self) -> Layout:
        """The layout of coarse sketches."""
        signals = zip(self.fine.signals, self._groups, strict=True)
        return Layout(tuple(replace(each, coder=_coder(each.coder, codes)) for each, codes in signals))

    @cached_property
    def _columns(self) -> tuple[IntArray, IntArray]:
        """The columns of fine counts in the order of the coarse ones, and where each of these begins."""
        to = np.empty(self.fine.width, np.int64)
        for fine, coarse, codes in zip(self.fine.columns, self.layout.columns, self._groups, strict=True):
            special = np.arange(len(fine) - len(codes)) + int(codes.max()) + 1
            to[fine] = coarse[np.concatenate([codes, special])]
        order = np.argsort(to, kind="stable")
        return order, np.searchsorted(to[order], np.arange(self.layout.width))

    def of_signal(self, signal: int, codes: FloatArray) -> FloatArray:
        """Figures of all codes (w, K) of a signal, summed by its coarse ones."""
        regular = self._groups[signal]
        size = int(regular.max()) + 1
        special = codes.shape[1] - len(regular)
        found = np.zeros((len(codes), size + special))
        np.add.at(found.T, regular, codes[:, : len(regular)].T)
        found[:, size:] = codes[:, len(regular) :]
        return found

    def counts(self, counts: IntArray) -> IntArray:
        """Counts (..., C) of the fine layout in coarse columns."""
        order, starts = self._columns
        return np.asarray(np.add.reduceat(counts[..., order], starts, axis=-1))

    def sketch(self, sketch: Sketch) -> Sketch:
        """The same events in coarse codes; what lies beyond a range is known as well as before."""
        return Sketch(sketch.n, self.counts(sketch.counts), sketch.sums, sketch.extremes, sketch.tails)


def _cuts(counts: IntArray) -> IntArray:
    """The codes that end a coarse one, rising, of an ordered signal with these counts (K,)."""
    total = max(int(counts.sum()), 1)
    last = np.searchsorted(np.cumsum(counts), np.ceil(_SHARES * total)).clip(max=len(counts) - 2)
    frequent = last[counts[last] >= _FREQUENT * total]
    return np.unique(np.concatenate([last, frequent[frequent > 0] - 1]))


def _coder(coder: Coder, codes: IntArray) -> Coder:
    """The coder of a signal whose codes become these (K,)."""
    if len(codes) == codes.max() + 1:
        return coder
    if isinstance(coder, Grid):
        return Grid(coder.cuts[np.flatnonzero(np.diff(codes))])
    kept = [str(value) for value, code in zip(coder.values, codes, strict=True) if code < codes.max()]
    others = _OTHERS
    while others in kept:
        others += "…"
    return Categories((*kept, others))
