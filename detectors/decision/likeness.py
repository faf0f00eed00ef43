"""Like with like: the evidence of one signal's windows against a baseline that knows its phases and its dependence.

Evidence is in nats, at least 0 and finite. R is a window's residual (`decision.reference`), Var the variance of a
functional of it where nothing has changed (`decision.widths`), s the share M / (n + M) of it that is the window's own,
for n events against a reference worth M.

| test          | evidence                                                                     |
|---------------|------------------------------------------------------------------------------|
| level, spread | (Σ f R)² s / (2 Var f (1 + lean)) - ln 2                                     |
| ks            | the largest |cumulated R|² s / (2 Var (1 + lean)), of the widest cut, - ln 2 |
| chi2          | -ln P(chi-square >= Σ (1 - p) R² s / Var) over codes expected often enough   |
| bins          | as rate, of the strongest of B bins, - ln 2B                                 |
| smooth        | as level, of the farther of orders 3 and 4, - ln 4                           |
| rate          | the lesser of G / φ and of the bound for clumps of dispersion φ, - ln 2      |

A sum of m independent events of skewness γ exceeds z standard deviations with a chance of about
exp(-z²/2 + γ z³ / 6√m) (Cramér 1938); so lean = γ z / 3√m, on the side to which γ leans. Clumps and AR(1) have 1.5 γ
in place of γ. Without it a flag that one event in a hundred has, and the spread of AR(1) 0.95, paged 6 and 2 times as
often.

A window in which events say less than `INDEPENDENT` independent ones has no evidence of shape: its tail is not normal.
A code is expected often enough for chi2 at `CELLS` independent events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Final, NamedTuple

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.decision.binned import Binned
from driftline.detectors.decision.reference import History, Reference, mixed
from driftline.detectors.decision.smoothed import Smoothed
from driftline.detectors.decision.widths import Widths
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.categorical import chi2_evidence
from driftline.detectors.statistics.clumps import clumped_evidence, g_evidence
from driftline.detectors.statistics.deviations import INDEPENDENT, squared_deviations
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.smooth import Smooth

#: Independent events of a code that are expected, for chi2 to count it. With 3, categories in sessions paged 100 times
#: as often as allowed.
CELLS: Final = 5

#: The tests of an ordered signal's shape, which alarm together.
SHAPE: Final = ("ks", "level", "spread")

_TWO_SIDES = math.log(2)


@dataclass(frozen=True, eq=False)
class Likeness:
    """What a signal's windows are compared with. bins; smooth, of an ordered signal: None if not tested."""

    reference: Reference
    functionals: Functionals
    widths: Widths
    bins: Bins | None = None
    smooth: Smooth | None = None

    @classmethod
    def of(cls, history: History, size: int, ordered: bool) -> Likeness:
        """What a baseline's signal with `size` regular codes tells; the codes after them are special."""
        functionals = Functionals(history.reference.pooled, size, ordered)
        return cls(history.reference, functionals, Widths.of(history, functionals))

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """The tests of a signal, in the order of the evidence: of its shape, then of each special code."""
        special = len(self.functionals.shares) - self.functionals.size
        shape = SHAPE if self.functionals.ordered else ("chi2",)
        finer = [name for name, own in (("bins", self.bins), ("smooth", self.smooth)) if own]
        return (*shape, *finer, *["rate"] * special)

    @cached_property
    def worth(self) -> FloatArray:
        """How much of its share each test (T,) spends on alarms that no other raises.

        Of two values ks, level and spread are one test, and of three values two.
        """
        beside_level = (min(max(self.functionals.cuts.size, 1), len(SHAPE)) - 1) / (len(SHAPE) - 1)
        return np.array([beside_level if test in ("ks", "spread") else 1.0 for test in self.tests])

    def judges(self, events: float) -> bool:
        """Whether windows of as many events, at all times of a cycle, are long enough to be judged for their shape."""
        slope = self.widths.slope(self.widths.mix[None] * events)[0, self.functionals.families[0]]
        return bool(events >= INDEPENDENT * slope.max())

    def evidence(self, counts: FloatArray, phases: FloatArray) -> FloatArray:
        """Evidence (w, T) of windows with these counts (w, K) and events by phase (w, H), at least one in each."""
        return self.alone.evidence(counts, phases)

    @cached_property
    def alone(self) -> Likenesses:
        """The signal without others. Kept, as to lay it out takes as long as to judge it."""
        return Likenesses((self,))


class _Places(NamedTuple):
    """Where the codes, the functionals and the tests of several signals lie, one signal after another.

    ordered, nominal, special: columns of codes. of_ordered, of_nominal: the first of each signal among these. weights:
    of the codes in `ordered`, (2, .) for level and spread. regular: shares of these among themselves. cuts, of_cuts,
    nominal_f, special_f: of functionals. level: functionals of level; those of spread follow them. with_cuts: which of
    the ordered signals have cuts. ks, chi2, bins, smooth, rates: columns of tests; those of level and spread follow ks.
    binned, smoothed: the first functional of each signal that has bins, or the smooth test.
    """

    ordered: IntArray
    of_ordered: IntArray
    weights: FloatArray
    regular: FloatArray
    level: IntArray
    cuts: IntArray
    of_cuts: IntArray
    with_cuts: BoolArray
    nominal: IntArray
    of_nominal: IntArray
    nominal_f: IntArray
    special: IntArray
    special_f: IntArray
    ks: IntArray
    chi2: IntArray
    bins: IntArray
    binned: IntArray
    smooth: IntArray
    smoothed: IntArray
    rates: IntArray


@dataclass(frozen=True, eq=False)
class Likenesses:
    """What the windows of several signals are compared with, in one pass: one at least.

    signals: of one baseline, all with the same phases.
    """

    signals: tuple[Likeness, ...]

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """The tests of each signal, one signal after another."""
        return tuple(chain.from_iterable(each.tests for each in self.signals))

    @cached_property
    def worth(self) -> FloatArray:
        """How much of its share each test (T,) spends."""
        return np.concatenate([each.worth for each in self.signals])

    def evidence(self, counts: FloatArray, phases: FloatArray) -> FloatArray:
        """Evidence (w, T) of windows with these counts (w, K) and events by phase (w, H), at least one in each.

        Codes and tests are those of each signal, one signal after another.
        """
        n, size = phases.sum(1, keepdims=True), self.signals[0].reference.size(phases)[:, None]
        expected, variance = mixed(phases, self._shares), self._widths.variance(phases)
        slope = variance / (n * self._widths.independent)
        of_shape = variance * ((n + size) / size)
        evidence, places = np.zeros((len(n), len(self.tests))), self._places
        if places.ordered.size:
            self._ordered(evidence, (counts - expected)[:, places.ordered], of_shape, slope, n)
        if places.nominal.size:
            own = places.nominal
            evidence[:, places.chi2] = self._nominal(counts[:, own], expected[:, own], of_shape, slope, n)
        if self.binned or self.smoothed:
            restless = self._widths.restless(phases)
            if self.binned:
                evidence[:, places.bins] = self.binned.evidence(counts, phases, size, restless[:, places.binned])
            if self.smoothed:
                found = self.smoothed.evidence(counts, phases, size, restless[:, places.smoothed])
                evidence[:, places.smooth] = found
        self._rates(evidence, counts[:, places.special], expected[:, places.special], slope, n, size)
        return np.maximum(evidence, 0.0, out=evidence)

    def _ordered(
        self, evidence: FloatArray, residual: FloatArray, variance: FloatArray, slope: FloatArray, n: FloatArray
    ) -> None:
        """Put in the evidence of ks, level and spread. residual: (w, codes of ordered signals)."""
        places = self._places
        for which, weights in enumerate(places.weights):
            asked, own = np.add.reduceat(residual * weights, places.of_ordered, axis=1), places.level + which
            squares = squared_deviations(asked, variance[:, own], slope[:, own], n, self._skewness[own])
            evidence[:, places.ks + 1 + which] = squares / 2 - _TWO_SIDES
        if not places.cuts.size:
            return
        all_of_them = np.add.reduceat(residual, places.of_ordered, axis=1)
        sizes = np.diff(places.of_ordered, append=residual.shape[1])
        # What is summed up begins at 0 in each signal, since its residuals add up to that.
        below = np.cumsum(residual - np.repeat(all_of_them, sizes, axis=1) * places.regular, axis=1)
        farthest = np.maximum.reduceat(np.abs(below), places.of_ordered, axis=1)[:, places.with_cuts]
        wide, slow = (np.maximum.reduceat(each[:, places.cuts], places.of_cuts, axis=1) for each in (variance, slope))
        skewed = np.maximum.reduceat(np.abs(self._skewness[places.cuts]), places.of_cuts)
        widest = squared_deviations(farthest, wide, slow, n, skewed)
        evidence[:, places.ks[places.with_cuts]] = widest / 2 - _TWO_SIDES

    def _nominal(
        self, counts: FloatArray, expected: FloatArray, variance: FloatArray, slope: FloatArray, n: FloatArray
    ) -> FloatArray:
        """Evidence of chi2 (w, nominal signals)."""
        places = self._places
        often = expected > CELLS * np.maximum(slope[:, places.nominal_f], 1.0)
        parts = (1 - expected / n) * (counts - expected) ** 2 / variance[:, places.nominal_f]
        stat = np.add.reduceat(np.where(often, parts, 0.0), places.of_nominal, axis=1)
        cells = np.add.reduceat(often.astype(np.int64), places.of_nominal, axis=1)
        return chi2_evidence(stat, np.maximum(cells - 1, 0))

    def _rates(
        self,
        evidence: FloatArray,
        counts: FloatArray,
        expected: FloatArray,
        slope: FloatArray,
        n: FloatArray,
        size: FloatArray,
    ) -> None:
        """Put in the evidence of rates."""
        # Most special codes never occur; their evidence is 0 without computing it.
        some = counts.any(axis=0) | expected.any(axis=0)
        k, e = counts[:, some], expected[:, some]
        dispersion = np.maximum(slope[:, self._places.special_f[some]], 1.0)
        ratio = g_evidence(k, n, e * size / n, size) / dispersion
        clumped = clumped_evidence(k, e, dispersion * (1 + n / size))
        evidence[:, self._places.rates[some]] = np.minimum(ratio, clumped) - _TWO_SIDES

    @cached_property
    def _shares(self) -> FloatArray:
        return np.hstack([each.reference.shares for each in self.signals])

    @cached_property
    def _skewness(self) -> FloatArray:
        """Skewness (F,) of the functionals of one event."""
        return np.concatenate([each.functionals.skewness for each in self.signals])

    @cached_property
    def _widths(self) -> Widths:
        return Widths.joined([each.widths for each in self.signals])

    @cached_property
    def binned(self) -> Binned | None:
        """The bins of the signals that have some; None if there are none."""
        own = [(at, each.bins, each.reference) for at, each in self._first_codes if each.bins]
        return Binned.of(own) if own else None

    @cached_property
    def smoothed(self) -> Smoothed | None:
        """What the smooth test asks of the signals that have it; None if there are none."""
        own = [(at, each.smooth, each.reference) for at, each in self._first_codes if each.smooth]
        return Smoothed.of(own) if own else None

    @property
    def _first_codes(self) -> list[tuple[int, Likeness]]:
        """The column of each signal's first code."""
        first = np.cumsum([0, *(len(each.functionals.shares) for each in self.signals)]).tolist()
        return list(zip(first, self.signals, strict=False))

    @cached_property
    def _places(self) -> _Places:
        signals = [each.functionals for each in self.signals]
        codes, functionals, tests = (
            np.concatenate([[0], np.cumsum(lengths)])
            for lengths in (
                [len(each.shares) for each in signals],
                [each.matrix.shape[1] for each in signals],
                [len(each.tests) for each in self.signals],
            )
        )
        every = range(len(signals))
        ordered, nominal = ([s for s in every if signals[s].ordered is wanted] for wanted in (True, False))
        cuts = [s for s in ordered if signals[s].cuts.size]
        shape = [each.families[0].stop for each in signals]
        binned, smoothed = ([s for s in every if self.signals[s].tests.count(test)] for test in ("bins", "smooth"))
        special = [len(each.shares) - each.size for each in signals]
        return _Places(
            ordered=_spans([(codes[s], signals[s].size) for s in ordered]),
            of_ordered=_starts([signals[s].size for s in ordered]),
            weights=np.hstack([np.zeros((2, 0)), *(signals[s].matrix[: signals[s].size, :2].T for s in ordered)]),
            regular=np.concatenate([np.zeros(0), *(signals[s].regular for s in ordered)]),
            level=functionals[ordered],
            cuts=_spans([(functionals[s] + 2, shape[s] - 2) for s in cuts]),
            of_cuts=_starts([shape[s] - 2 for s in cuts]),
            with_cuts=np.array([s in cuts for s in ordered], bool),
            nominal=_spans([(codes[s], signals[s].size) for s in nominal]),
            of_nominal=_starts([signals[s].size for s in nominal]),
            nominal_f=_spans([(functionals[s], signals[s].size) for s in nominal]),
            special=_spans([(codes[s] + signals[s].size, special[s]) for s in every]),
            special_f=_spans([(functionals[s] + shape[s], special[s]) for s in every]),
            ks=tests[ordered],
            chi2=tests[nominal],
            bins=np.array([tests[s] + self.signals[s].tests.index("bins") for s in binned], np.int64),
            binned=functionals[binned],
            smooth=np.array([tests[s] + self.signals[s].tests.index("smooth") for s in smoothed], np.int64),
            smoothed=functionals[smoothed],
            rates=_spans([(tests[s + 1] - special[s], special[s]) for s in every]),
        )


def _spans(spans: Sequence[tuple[int, int]]) -> IntArray:
    """The numbers of spans, each from a first number on and of some length."""
    return np.concatenate([np.zeros(0, np.int64), *(first + np.arange(length) for first, length in spans)])


def _starts(lengths: Sequence[int]) -> IntArray:
    """Where each span begins, one after another."""
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if lengths else np.zeros(0, np.int64)
