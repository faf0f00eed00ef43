"""Signals with `guarantee: proven`: judged by bets alone, whose false alarms are bounded without a tail. Pure.

`detectors.statistics.bets` has the evidence and what it supposes. A check tests windows of whole panes, at least
`clock` events each. With a share s of a rate of false alarms per event, an alarm at

    ln(1 / (rate s clock))  nats

then comes after 1 / (rate s) events or more on average: the sum over all windows grows by 1 a pane at most, and there
are 1 / (rate s clock) panes of `clock` events in these. Half of s is for the values, the rest for the special codes
alike. A signal has the share of the tests of the battery that its bets replace, where each has one by its weight.

After a release only later events count: what bets would have won has decided when it came. The order of the baseline is
not asked for, nor are slopes learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.statistics.bets import Bets
from driftline.detectors.statistics.registry import STATISTICS
from driftline.detectors.summaries.codes import Special
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.weights import Weights

#: How many times the events of its alarm show the end of a drift. Twice as many would show one that goes on twice over,
#: but an alarm may come early by luck: 12 weak drifts of 100,000 events ended 5 times, and by four times as many twice
#: (`load_tests.bench.lasting --guarantee proven`).
QUIET_GROWTH: Final = 4
# The part of a signal's share that its values have.
_OF_VALUES = 0.5
# Nats below which no threshold is, however many pages are allowed: a ratio to less means nothing.
_FAINTEST = 1.0


@dataclass(frozen=True)
class Proven:
    """The bets on some signals of a baseline.

    signals: their indices in the layout. clock: events of a pane at least. weights: by which signals share false pages.
    """

    baseline: Baseline
    battery: Battery
    weights: Weights
    signals: frozenset[int]
    clock: int

    @classmethod
    def stated(cls, baseline: Baseline, battery: Battery, weights: Weights, config: ModelConfig) -> Self | None:
        """The bets that a configuration states; None if there are none, or if the reference is the past."""
        names = enumerate(each.name for each in baseline.layout.signals)
        signals = frozenset(s for s, name in names if config.signals.is_proven(name))
        return cls(baseline, battery, weights, signals, config.clock) if signals and not battery.against_past else None

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the evidence matrix, in order."""
        own = STATISTICS["bets"].columns(self.battery.layout)
        return tuple(Column("bets", *column) for column in own if column[0] in self.signals)

    @cached_property
    def shares(self) -> FloatArray:
        """The share of the false pages (S,) that each signal has; 0 of those that are judged by other tests."""
        own = self.weights.of[self.battery.signal_of]
        shares = np.bincount(self.battery.signal_of, own / own.sum(), len(self.weights.of))
        return np.where(np.isin(np.arange(len(shares)), [*self.signals]), shares, 0.0)

    def evidence(self, sums: IntArray) -> FloatArray:
        """Evidence (w, P) of windows with counts (w, C)."""
        found = [bets.won(sums[:, codes].astype(float)) for bets, codes in self._bets]
        return np.maximum(np.hstack(found), 0.0)

    def thresholds(self, rate: float) -> FloatArray:
        """Thresholds (P,) in nats. rate: false alarms per event of the model."""
        parts = np.array([
            self.shares[each.signal] * (_OF_VALUES if each.special is None else (1 - _OF_VALUES) / len(Special))
            for each in self.columns
        ])  # fmt: skip
        return np.asarray(np.maximum(-np.log(rate * self.clock * parts), _FAINTEST))

    @cached_property
    def _bets(self) -> list[tuple[Bets, IntArray]]:
        """The bets on each signal, and its columns of counts."""
        layout, cycles = self.battery.layout, self.baseline.cycles
        by_phase = {each.name: each.likeness.reference.counts for each in cycles.signals} if cycles else {}
        found = []
        for s in sorted(self.signals):
            signal, codes = layout.signals[s], layout.columns[s]
            counts = by_phase.get(signal.name, self.baseline.total.counts[None, codes].astype(float))
            found.append((Bets(counts, signal.size, signal.ordered), codes))
        return found
