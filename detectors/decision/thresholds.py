"""Thresholds: how much evidence raises an alarm, given a rate of false alarms and the baseline's own dependence.

1. The bound. A model is allowed `rate` false alarms per event. A check that comes after c new events may spend rate·c,
   shared evenly (union bound) over its W windows and the T columns of evidence, so that under independence

       threshold = ln(W·T / (rate·c))    nats.

2. Dependence. Neighbouring events are rarely independent (daily and weekly cycles), so windows of a drift-free stream
   differ by more than chance. The baseline says by how much: it is cut into time-ordered blocks, and its own windows of
   each length n are compared with the rest of it. The same is done with a null sample: the same blocks, filled with
   independent events of the same distribution. The ratio of the baseline's evidence to the null sample's is the design
   effect (Kish 1965): n events carry no more information than n / effect independent ones, and their evidence is too
   large by that factor.

       threshold(n) = max(effect(n) · ln(W·T / (rate·c)), largest evidence among the baseline's own windows of n)

A union bound over overlapping windows is generous: at 22 signals it spends about 3 nats more than needed, some 10 % of
delay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.battery import Battery
from driftline.detectors.summaries.layout import Layout

# A length is measured only if the baseline holds four windows of it side by side; longer windows use the figures of the
# longest one measured.
_MIN_WINDOWS = 4
# Standard errors by which a mean exceeds its expectation in 5 % of cases. A smaller excess is chance, not dependence.
_CHANCE = 1.65
# Nats added to both sides of the ratio: a code that hardly ever occurs shows so little evidence on both sides that the
# bare ratio would mean nothing.
_SMOOTHING = 0.1
# Windows drawn from the null sample at each length: their mean evidence is known to a tenth; with half as many, to a
# seventh.
_SHUFFLES = 128
# Counts in one call of the battery, 1 MB: the intermediate results then stay in the processor's second-level cache.
# With four times as many it takes two thirds longer; with a quarter, numpy's fixed cost per call shows.
_STRIP = 1 << 17


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Dependence:
    """How far the evidence of the baseline's own windows exceeds that of independent events, by window length.

    lengths: (L,) events of the windows measured, ascending. effect: (L, T) >= 1, design effect of each column.
    floor: (L, T) nats, the largest evidence of the baseline's own windows up to that length.
    """

    lengths: FloatArray
    effect: FloatArray
    floor: FloatArray

    @classmethod
    def none(cls, n_columns: int) -> Dependence:
        """No dependence: assumes independent events, for a baseline whose order in time is lost."""
        return cls(np.ones(1), np.ones((1, n_columns)), np.zeros((1, n_columns)))

    @classmethod
    def of(cls, battery: Battery, blocks: IntArray) -> Dependence:
        """Compare windows of a baseline's time-ordered blocks (P, C) with the rest of it, or with their past."""
        # Seeded: the same baseline gives the same thresholds.
        events, rng = battery.layout.events(blocks).mean(), np.random.default_rng(0)
        # As floats, which hold counts exactly, sums over blocks take a hundredth of the time.
        null_sample, measured, width = _null_sample(battery.layout, blocks, rng).astype(float), [], 1
        while len(blocks) // width >= _MIN_WINDOWS:
            evidence, null = _in_order(battery, blocks, width), _in_random_order(battery, null_sample, width, rng)
            measured.append((events * width, _effect(evidence[::width], null), evidence.max(0)))
            width *= 2
        if not measured:
            return cls.none(len(battery.columns))
        lengths, effects, floors = (np.array(each) for each in zip(*measured, strict=True))
        # Longer windows are never trusted more than shorter ones: dependence does not fade with length.
        return cls(lengths, np.maximum(np.maximum.accumulate(effects), 1.0), np.maximum.accumulate(floors))

    def threshold(self, n: IntArray, bound: float | FloatArray) -> FloatArray:
        """Threshold in nats (w, T) of windows of n (w,) events, if independent events need `bound` nats, or (T,)."""
        nearest = np.searchsorted(self.lengths, n * math.sqrt(0.5), side="left").clip(max=len(self.lengths) - 1)
        return np.asarray(np.maximum(self.effect * bound, self.floor)[nearest])


def _null_sample(layout: Layout, blocks: IntArray, rng: np.random.Generator) -> IntArray:
    """Blocks (P, C) of the same sizes and the same distribution, filled with independent events."""
    sizes, shares = layout.events(blocks), blocks.sum(0) / blocks.sum()
    signals = (np.flatnonzero(layout.signal_of_column == s) for s in range(len(layout.signals)))
    null_sample = np.zeros_like(blocks)
    for columns in signals:
        null_sample[:, columns] = rng.multinomial(sizes, shares[columns] / shares[columns].sum())
    return null_sample


def _in_order(battery: Battery, blocks: IntArray, width: int) -> FloatArray:
    """Evidence (P - width + 1, T) of all windows of `width` consecutive blocks."""
    sums = np.concatenate([np.zeros_like(blocks[:1]), np.cumsum(blocks, axis=0)])
    window, past = sums[width:] - sums[:-width], sums[:-width]
    return _evidence(battery, window, past, sums[-1])


def _in_random_order(battery: Battery, blocks: FloatArray, width: int, rng: np.random.Generator) -> FloatArray:
    """Evidence (_SHUFFLES, T) of windows of `width` random blocks, each with a past of 0 or more other blocks."""
    order = rng.permuted(np.tile(np.arange(len(blocks)), (_SHUFFLES, 1)), axis=1)
    until = width + np.linspace(0, len(blocks) - width, _SHUFFLES)[:, None]
    window, past = (
        (chosen.astype(float) @ blocks).astype(np.int64)
        for chosen in (order < width, (order >= width) & (order < until))
    )
    return _evidence(battery, window, past, blocks.sum(0).astype(np.int64))


def _evidence(battery: Battery, window: IntArray, past: IntArray, total: IntArray) -> FloatArray:
    """Evidence (w, T) of windows (w, C) against their past (w, C), or against the rest of `total` (C,)."""
    strip = max(_STRIP // window.shape[1], 1)
    strips = [slice(first, first + strip) for first in range(0, len(window), strip)]
    return np.concatenate([
        battery.evidence(window[rows], past[rows] if battery.against_past else total - window[rows], past[rows])
        for rows in strips
    ])  # fmt: skip


def _effect(own: FloatArray, null: FloatArray) -> FloatArray:
    """Ratio (T,) of the mean evidence `own` (N, T) of N windows side by side to that of the null sample (., T)."""
    own, null = _uncut(own), _uncut(null)
    expected = null.mean(0) + _CHANCE * null.std(0) / math.sqrt(len(own))
    return np.asarray((own.mean(0) + _SMOOTHING) / (expected + _SMOOTHING))


def _uncut(evidence: FloatArray) -> FloatArray:
    """Evidence without the ln 2 subtracted for two sides, where it is positive: so that two means can be compared."""
    return np.where(evidence > 0, evidence + math.log(2), 0.0)


def independence_bound(rate: float, events: int, windows: int, columns: int) -> float:
    """Threshold in nats at which a check after `events` new events spends rate·events false alarms, at most 1.

    The share is split evenly over `windows` windows and `columns` columns of evidence.
    """
    # A check raises at most one false alarm, so no more than one can be granted.
    return math.log(windows * columns / min(rate * events, 1.0))
