"""How much the functionals of a signal vary where nothing has changed, by window length and by phase.

The variance of a functional f in a window of w blocks is

    calm(w) w · Σ_h (N_h / n) ω_h u_h            n = Σ N_h events, N_h of them in phase h

- calm(w): the long-run variance of the baseline's residuals (`statistics.long_run`), at least that of independent
  events, and just that where neighbours are not correlated and it is no larger than by chance.
- ω_h: the variance of f among the shares of phase h, over its mean: hours differ in spread as well as in level.
- u_h, the excess: in some hours one day is not as another; an evening's peak moves. A phase whose whole visits vary
  more than its share of calm(w) lets them, over cycles and neighbouring phases, is restless. u_h is by how much,
  enlarged so that a tail of e^-12 holds for a variance that is known from so few visits (Student). Blocks are divided
  by √u before calm(w) is measured, so that restless hours do not blind the calm ones. All functionals of a family share
  u: a code that moves moves the others.

A window of a cycle or more has all hours in it, and days may be alike though hours are not. Its variance is then also
known without u, from residuals as they are:

    whole(w) w · max(Σ_h (N_h / n) ω_h u_h / Σ_h π_h ω_h u_h, 1)      π_h: shares of the phases in the baseline

and the smaller of the two holds. Without it, 3 points of a share of 16 categories took 2 to 3 times as many events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray
from driftline.detectors.decision.reference import History, Reference, mixed
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.long_run import LongRun, long_run
from driftline.detectors.statistics.quantiles import chi2_quantile, normal_quantile, student_quantile

# Probability that a calm signal has a restless phase by chance.
_CHANCE = 0.01
# Tail for which the variance of a restless phase is enlarged, one-sided: about the thresholds of a page a month.
_TAIL = np.exp(-12) / 2
# A phase's variance is not below this share of the mean one, nor is a family's usual excess: that would be chance.
_LEAST = 0.1
_RUNS = ("calm", "whole")
# Expected variance of a visit, in events, below which it tells nothing of a functional.
_TELLING = 0.5


@dataclass(frozen=True, eq=False)
class Widths:
    """The variances of F functionals of one signal.

    block: events of a block. independent: (F,) variance of an event, if it were independent of others. shape: ω (H, F).
    excess: u (H, F) >= 1. mix: π (H,). calm, whole: by family, as `Functionals.families`. cycle: events of a cycle, or
    infinity without phases.
    """

    block: float
    independent: FloatArray
    shape: FloatArray
    excess: FloatArray
    mix: FloatArray
    calm: tuple[LongRun, ...]
    whole: tuple[LongRun, ...]
    cycle: float

    @classmethod
    def of(cls, history: History, functionals: Functionals) -> Widths:
        """The widths that a baseline shows."""
        reference, block = history.reference, float(history.phases.sum(1).mean())
        series = history.residuals @ functionals.matrix
        whole = tuple(long_run(series[:, family]) for family in functionals.families)
        start = cls.known(reference, functionals, block, np.ones((len(reference.events), len(whole))), whole, whole)
        if len(reference.events) == 1 or history.cycles < 2:
            return start
        visits, events = history.of_visits() @ functionals.matrix, history.visits.sum(2)
        excess, calm = np.ones((len(reference.events), len(whole))), []
        for f, (family, own) in enumerate(zip(functionals.families, whole, strict=True)):
            variance = events[..., None] * start.independent[family] * start.shape[:, family]
            slope = np.maximum(own.variance / (start.independent[family] * block), 1.0)
            length = np.searchsorted(own.lengths, events / block).clip(max=len(own.lengths) - 1)
            measured, excess[:, f] = _excess(
                visits[..., family], variance * slope[length], variance >= _TELLING, events > 0
            )
            of_block = np.sqrt(history.phases @ measured / history.phases.sum(1))
            calm.append(long_run(series[:, family] / of_block[:, None]))
        cycle = block * len(series) / history.cycles
        return cls.known(reference, functionals, block, excess, tuple(calm), whole, cycle)

    @classmethod
    def known(
        cls,
        reference: Reference,
        functionals: Functionals,
        block: float,
        excess: FloatArray,
        calm: tuple[LongRun, ...],
        whole: tuple[LongRun, ...],
        cycle: float = np.inf,
    ) -> Widths:
        """The widths of a reference, from what was measured. excess: by family (H, families)."""
        mix = reference.events / reference.events.sum()
        by_phase = variances(reference.shares, functionals.matrix)
        # What was never seen may be once in twice as many events as there were.
        independent = np.maximum(mix @ by_phase, 0.25 / reference.events.sum())
        shape = np.maximum(by_phase / independent, _LEAST)
        lengths = [family.stop - family.start for family in functionals.families]
        return cls(block, independent, shape, np.repeat(excess, lengths, axis=1), mix, calm, whole, cycle)

    @classmethod
    def joined(cls, several: Sequence[Widths]) -> Widths:
        """The widths of all functionals of signals with one baseline and the same phases."""
        first = several[0]
        independent, shape, excess = (
            np.concatenate([getattr(each, name) for each in several], axis=-1)
            for name in ("independent", "shape", "excess")
        )
        calm, whole = (tuple(chain.from_iterable(getattr(each, name) for each in several)) for name in _RUNS)
        return cls(first.block, independent, shape, excess, first.mix, calm, whole, first.cycle)

    def variance(self, phases: FloatArray) -> FloatArray:
        """Variance (w, F) of the functionals in windows (w, H) of events by phase, each with at least one event."""
        n, each = phases.sum(1, keepdims=True), self._by_phase
        of_window = mixed(phases, each) / n
        longer = np.searchsorted(self.calm[0].lengths, n[:, 0] / self.block).clip(max=len(self._calm) - 1)
        calm, long = n * self._calm[longer] * of_window, n[:, 0] >= self.cycle
        if long.any():
            whole = n[long] * self._whole[longer[long]] * np.maximum(of_window[long] / (self.mix @ each), 1.0)
            calm[long] = np.minimum(calm[long], whole)
        return np.asarray(calm)

    def slope(self, phases: FloatArray) -> FloatArray:
        """How many events (w, F) say as much as one independent event, in windows (w, H); at least 1 without phases."""
        return np.asarray(self.variance(phases) / (phases.sum(1, keepdims=True) * self.independent))

    def restless(self, phases: FloatArray) -> FloatArray:
        """By how much the excess (w, F) of windows (w, H) is more than that of all of the baseline, at least 1.

        Without phases it is 1 (1, F) whatever the windows.
        """
        if len(self.mix) == 1:
            return np.ones((1, self.excess.shape[1]))
        of_window = mixed(phases, self.excess) / phases.sum(1, keepdims=True)
        return np.asarray(np.maximum(of_window / (self.mix @ self.excess), 1.0))

    @property
    def longest(self) -> FloatArray:
        """How much more functionals (F,) vary in the longest windows than those of independent events, at least 1."""
        return np.asarray(self._whole[-1] / self.independent)

    @cached_property
    def _by_phase(self) -> FloatArray:
        """Variance (H, F) in each phase, over that of all."""
        return self.shape * self.excess

    @cached_property
    def _calm(self) -> FloatArray:
        return self._long_run(self.calm)

    @cached_property
    def _whole(self) -> FloatArray:
        return self._long_run(self.whole)

    def _long_run(self, families: tuple[LongRun, ...]) -> FloatArray:
        """Long-run variance (L, F) of an event, by length of the window."""
        variance = np.hstack([each.variance for each in families]) / self.block
        chance = np.concatenate([np.full(each.variance.shape[1], each.independent_up_to) for each in families])
        return np.where(variance <= chance * self.independent, self.independent, np.maximum(variance, self.independent))


def variances(shares: FloatArray, matrix: FloatArray) -> FloatArray:
    """Variance (H, F) of functionals (K, F), 0 for all other codes, of one event of each phase (H, K)."""
    mean = shares @ matrix
    return np.maximum(shares @ (matrix * matrix) - mean * mean, 0.0)


def _excess(
    visits: FloatArray, variance: FloatArray, telling: BoolArray, visited: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """How much more than usual each phase varies (H,): as measured, and as far as it may be.

    visits, variance: (C, H, F) residuals of whole visits, and their variance in a calm signal. telling: which of them
    count. visited: (C, H).
    """
    ratio = np.where(telling, visits**2 / np.maximum(variance, 1e-12), 0.0)
    number = _with_neighbours(telling.sum(0).astype(float))
    mean = _with_neighbours(ratio.sum(0)) / np.maximum(number, 1)
    usual = np.array(
        [np.median(each[some]) if (some := own > 0).any() else 1.0 for each, own in zip(mean.T, number.T, strict=True)]
    )
    mean = np.where(number > 0, mean / np.maximum(usual, _LEAST), 0.0)
    bar = chi2_quantile(_CHANCE / (3 * len(mean)), number) / np.maximum(number, 1)
    measured = np.where(mean > bar, mean, 1.0).max(1, initial=1.0)
    dof = np.maximum(2 * _with_neighbours(visited.sum(0)[:, None])[:, 0] / (2 * _reach(len(mean)) + 1), 4)
    enlarged = measured * (student_quantile(_TAIL, dof) / normal_quantile(_TAIL)) ** 2
    wide = np.where(measured > 1, enlarged, 1.0)
    reach = _reach(len(wide))
    return measured, np.maximum.reduce([np.roll(wide, by) for by in range(-reach, reach + 1)])


def _with_neighbours(each: FloatArray) -> FloatArray:
    """Sums (H, F) over each phase and those within an hour of it."""
    reach = _reach(len(each))
    return np.asarray(sum(np.roll(each, by, axis=0) for by in range(-reach, reach + 1)))


def _reach(phases: int) -> int:
    """Phases of an hour: what moves from day to day moves by as much, whatever the phases."""
    return 2 if phases == 48 else 1
