"""Thresholds: how much evidence is too much, given the false alarms that are bearable and the baseline's own unrest.

1. The bound. A model is allowed `rate` false alarms per event. A test time that comes after c events may spend rate·c,
   shared evenly (union bound) over its W windows and T tests, so that under independence

       threshold = ln(W·T / (rate·c))    nats.

2. Dependence. Neighbouring events are rarely independent (daily and weekly cycles), so windows of a drift-free stream
   differ by more than chance. The baseline says by how much: cut into time-ordered blocks, its own windows of each
   length n are tested against the rest of it. So are windows of its twin: the same blocks filled with independent
   events of the same distribution, in random order. How many times as much evidence the baseline shows is its design
   effect (Kish 1965): n events tell no more than n / effect independent ones, and evidence is as many times too large.

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

# A length is measured only where the baseline holds four windows of it side by side; longer ones take its figures.
_MIN_WINDOWS = 4
# Standard errors by which a mean exceeds its expectation in 5 % of cases: less than that is chance, not dependence.
_CHANCE = 1.65
# Nats added to both sides of a ratio: what hardly ever occurs shows no evidence whose ratio would mean anything.
_HARDLY_ANY = 0.1
# Windows of the twin at each length: they know their mean evidence to a tenth, half as many to a seventh.
_SHUFFLES = 128
# Counts that are tested at a time, 1 MB: what is computed from them then stays in the processor's second cache. At four
# times as many it takes two thirds longer; at a quarter, numpy's fixed cost of a call shows.
_STRIP = 1 << 17


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Dependence:
    """What the baseline's own windows show among themselves.

    lengths: (L,) events of the windows measured, rising. effect: (L, T) >= 1, design effect. floor: (L, T) nats.
    """

    lengths: FloatArray
    effect: FloatArray
    floor: FloatArray

    @classmethod
    def none(cls, n_tests: int) -> Dependence:
        """Independence taken on trust: for a baseline whose order is lost."""
        return cls(np.ones(1), np.ones((1, n_tests)), np.zeros((1, n_tests)))

    @classmethod
    def of(cls, battery: Battery, blocks: IntArray) -> Dependence:
        """Of a baseline's time-ordered blocks (P, C), for windows against the rest of it or against their past."""
        # Seeded: the same baseline gives the same thresholds.
        events, rng = battery.layout.events(blocks).mean(), np.random.default_rng(0)
        # As floats, which hold counts exactly, sums over blocks take a hundredth of the time.
        twin, measured, width = _null_sample(battery.layout, blocks, rng).astype(float), [], 1
        while len(blocks) // width >= _MIN_WINDOWS:
            evidence, usual = _in_order(battery, blocks, width), _in_random_order(battery, twin, width, rng)
            measured.append((events * width, _effect(evidence[::width], usual), evidence.max(0)))
            width *= 2
        if not measured:
            return cls.none(len(battery.tests))
        lengths, effects, floors = (np.array(each) for each in zip(*measured, strict=True))
        # Longer windows are never trusted more than shorter ones: dependence does not fade with length.
        return cls(lengths, np.maximum(np.maximum.accumulate(effects), 1.0), np.maximum.accumulate(floors))

    def threshold(self, n: IntArray, bound: float) -> FloatArray:
        """Nats (w, T) that windows of n (w,) events must reach where independent data need `bound` nats."""
        nearest = np.searchsorted(self.lengths, n * math.sqrt(0.5), side="left").clip(max=len(self.lengths) - 1)
        return np.asarray(np.maximum(self.effect * bound, self.floor)[nearest])


def _null_sample(layout: Layout, blocks: IntArray, rng: np.random.Generator) -> IntArray:
    """The blocks (P, C) as independent events would fill them."""
    sizes, shares = layout.events(blocks), blocks.sum(0) / blocks.sum()
    signals = (np.flatnonzero(layout.signal_of_column == s) for s in range(len(layout.signals)))
    twin = np.zeros_like(blocks)
    for columns in signals:
        twin[:, columns] = rng.multinomial(sizes, shares[columns] / shares[columns].sum())
    return twin


def _in_order(battery: Battery, blocks: IntArray, width: int) -> FloatArray:
    """Evidence (P - width + 1, T) of all windows of `width` blocks."""
    sums = np.concatenate([np.zeros_like(blocks[:1]), np.cumsum(blocks, axis=0)])
    window, past = sums[width:] - sums[:-width], sums[:-width]
    return _evidence(battery, window, past, sums[-1])


def _in_random_order(battery: Battery, blocks: FloatArray, width: int, rng: np.random.Generator) -> FloatArray:
    """Evidence (_SHUFFLES, T) of windows of `width` blocks, and pasts of any number of others, drawn at random."""
    order = rng.permuted(np.tile(np.arange(len(blocks)), (_SHUFFLES, 1)), axis=1)
    until = width + np.linspace(0, len(blocks) - width, _SHUFFLES)[:, None]
    window, past = (
        (chosen.astype(float) @ blocks).astype(np.int64)
        for chosen in (order < width, (order >= width) & (order < until))
    )
    return _evidence(battery, window, past, blocks.sum(0).astype(np.int64))


def _evidence(battery: Battery, window: IntArray, past: IntArray, total: IntArray) -> FloatArray:
    """Evidence (w, T) of windows (w, C) against their past (w, C) or the rest of `total` (C,)."""
    strip = max(_STRIP // window.shape[1], 1)
    strips = [slice(first, first + strip) for first in range(0, len(window), strip)]
    return np.concatenate([
        battery.evidence(window[rows], past[rows] if battery.against_past else total - window[rows], past[rows])
        for rows in strips
    ])  # fmt: skip


def _effect(own: FloatArray, usual: FloatArray) -> FloatArray:
    """How many times as much as `usual` (., T) the evidence `own` (N, T) of N windows side by side is (T,)."""
    own, usual = _uncut(own), _uncut(usual)
    expected = usual.mean(0) + _CHANCE * usual.std(0) / math.sqrt(len(own))
    return np.asarray((own.mean(0) + _HARDLY_ANY) / (expected + _HARDLY_ANY))


def _uncut(evidence: FloatArray) -> FloatArray:
    """Evidence before ln 2 was taken off for two sides, where anything was left of it: so it can be compared."""
    return np.where(evidence > 0, evidence + math.log(2), 0.0)


def independence_bound(rate: float, events: int, windows: int, tests: int) -> float:
    """Nats at which a test time after `events` events spends its share of `rate` false alarms per event."""
    # More than one false alarm a test time cannot be granted: there is at most one.
    return math.log(windows * tests / min(rate * events, 1.0))
