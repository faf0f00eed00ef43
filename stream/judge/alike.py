"""Like with like: windows of signals compared with what is expected of them, as far as they vary by themselves. Pure.

Signals with phases are compared with what the baseline expects at their own times. A pane of the history counts its
events by half hour of the local week, in `slots`: that is all it takes, as what is expected of a window is the mixture
of the phases that its events have. Of signals with slopes alone, all times are one phase. `detectors.decision.likeness`
has the evidence, `detectors.decision.hazard` the thresholds. ADWIN's test is left out: the past has other phases than
the window, and its bound takes events for independent. Signals with `guarantee: proven` are judged by neither, but by
`stream.judge.proven`. Far values (`detectors.decision.far`) are tested whatever is known of a signal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.decision.battery import Battery, Column, signal_of, uses_past
from driftline.detectors.decision.binned import bins_of_values
from driftline.detectors.decision.far import Far
from driftline.detectors.decision.hazard import shares, threshold
from driftline.detectors.decision.likeness import Likeness, Likenesses
from driftline.detectors.decision.phases import HALF_HOURS, in_phases
from driftline.detectors.decision.release import Recovery
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.bins import Dispersions
from driftline.stream.baselines.cycles import Cycles, CyclicSignal
from driftline.stream.baselines.slopes import Slopes
from driftline.stream.judge.incidents import Cycle
from driftline.stream.judge.proven import Proven
from driftline.stream.judge.weights import Weights
from driftline.stream.judge.windows import suffix_sums
from driftline.stream.panes.pane import SLOT_MS, Pane

_SLOTS_OF_HALF_HOUR = 1_800_000 // SLOT_MS
# Share of the false pages for the rates of codes that the baseline has not seen.
_RARE = 0.1
_NONE: IntArray = np.zeros((0, 0), np.int64)


class _Group(NamedTuple):
    """Signals with the same phases, by their index.

    codes: their columns of counts. columns: of evidence, in the order of the tests.
    """

    phases: int
    signals: Mapping[int, Likeness]
    likenesses: Likenesses
    codes: IntArray
    columns: IntArray


@dataclass(frozen=True)
class Alike:
    """Judges the signals of a baseline of which some have phases, slopes, bets, or a range.

    battery: of all of them. bins: of those whose single bins are tested, and that have the smooth test. proven: those
    that are judged by bets. far: those whose far values are tested. These have columns of their own, after those of the
    battery. weights: by which signals share the false pages. provisional: whether the slopes are, until live events
    show them. overruled: by signal whose slope live events have overruled, how many times larger theirs is. newest:
    whether rates of codes that the baseline does not have share a part of the false pages of their own, and single
    values of nominal signals are tested; not so below format level 3.
    """

    baseline: Baseline
    cycles: Cycles | None
    slopes: Slopes | None
    bins: Dispersions | None
    battery: Battery
    weights: Weights
    proven: Proven | None = None
    far: Far | None = None
    provisional: bool = False
    overruled: Mapping[str, float] = field(default_factory=dict)
    newest: bool = True

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the evidence matrix, in order."""
        own = sorted({**self._steady, **self._cyclic}.items())
        finer = (Column(test, s) for s, each in own for test in each.tests if test in ("bins", "smooth"))
        far, proven = (each.columns if each else () for each in (self.far, self.proven))
        return (*self.battery.columns, *finer, *far, *proven)

    @cached_property
    def signal_of(self) -> IntArray:
        """Signal index of each column (T,)."""
        return signal_of(self.columns)

    @cached_property
    def uses_past(self) -> BoolArray:
        """Which columns compare a window with the past (T,)."""
        return uses_past(self.columns)

    @cached_property
    def _signals(self) -> dict[int, CyclicSignal]:
        """The signals with phases, by their index."""
        known = self.cycles.by_name if self.cycles else {}
        signals = enumerate(self.battery.layout.signals)
        return {s: known[each.name] for s, each in signals if each.name in known and s not in self._bet_on}

    @property
    def _bet_on(self) -> frozenset[int]:
        """The signals that are judged by bets, by their index."""
        return self.proven.signals if self.proven else frozenset()

    @cached_property
    def _steady(self) -> dict[int, Likeness]:
        """What the signals with slopes, but no phases, are compared with, by their index."""
        layout, slopes = self.battery.layout, self.slopes
        if slopes is None:
            return {}
        others = self._signals.keys() | self._bet_on
        own = (s for s, each in enumerate(layout.signals) if each.name in slopes.runs and s not in others)
        return {s: self._binned(s, slopes.likeness(layout, s, self.baseline.total.counts)) for s in own}

    @cached_property
    def _cyclic(self) -> dict[int, Likeness]:
        """What the signals with phases are compared with, by their index."""
        return {s: self._binned(s, each.likeness) for s, each in self._signals.items()}

    def _binned(self, signal: int, likeness: Likeness) -> Likeness:
        """What a signal is compared with, and its finer tests; those of an ordered one need a history in order."""
        layout, total = self.battery.layout, self.baseline.total.counts
        own = layout.signals[signal]
        if own.name in self.overruled:
            return likeness
        # Of two values chi-square sees as much.
        if not own.ordered and own.size > 2 and self.newest:
            bins = bins_of_values(total[layout.columns[signal][: own.size]], likeness.widths)
            return replace(likeness, bins=bins if bins.tested.size else None)
        if self.bins is None:
            return likeness
        of = layout, signal, total
        return replace(likeness, bins=self.bins.bins(*of), smooth=self.bins.smooth(*of))

    @cached_property
    def _groups(self) -> list[_Group]:
        groups, index = [], {column: c for c, column in enumerate(self.columns)}
        by_phases = {1: self._steady} if self._steady else {}
        for s, each in self._signals.items():
            by_phases.setdefault(each.phases, {})[s] = self._cyclic[s]
        for phases, own in sorted(by_phases.items()):
            columns = [index[column] for s, each in own.items() for column in _columns(s, each)]
            codes = np.concatenate([self.battery.layout.columns[s] for s in own])
            groups.append(_Group(phases, own, Likenesses(tuple(own.values())), codes, np.array(columns)))
        return groups

    @cached_property
    def _others(self) -> tuple[Battery, IntArray, IntArray] | None:
        """The tests of all other signals, their columns of counts and of evidence; None if there are none."""
        layout, judged = self.battery.layout, self._signals.keys() | self._steady.keys() | self._bet_on
        kept = [s for s in range(len(layout.signals)) if s not in judged]
        if not kept:
            return None
        codes = np.flatnonzero(np.isin(layout.signal_of_column, kept))
        own = Layout(tuple(layout.signals[s] for s in kept))
        return Battery(own, self.battery.baseline[codes]), codes, np.flatnonzero(np.isin(self.battery.signal_of, kept))

    def half_hours(self, panes: Sequence[Pane[Sketch]]) -> FloatArray:
        """Events (w, 336) by half hour of the local week in each suffix of these panes; (w, 0) if none has phases."""
        if self.cycles is None:
            return np.zeros((len(panes), 0))
        halves = np.zeros((len(panes), HALF_HOURS))
        for row, pane in zip(halves, panes, strict=True):
            # Panes that earlier versions kept did not count theirs, or not all of them.
            at, events = np.array(pane.slots or by_half_hour(pane, self.cycles).slots, np.int64).T
            row[at] = events * (pane.content.n / events.sum())
        return np.asarray(np.cumsum(halves[::-1], axis=0)[::-1])

    def far_in(self, panes: Sequence[Pane[Sketch]]) -> IntArray:
        """How many values (w, R) of each signal that is tested for it are far in each suffix of these panes."""
        return suffix_sums([*self.far.counts([pane.content for pane in panes])]) if self.far else _NONE

    def evidence(
        self, sums: IntArray, past: Callable[[], IntArray], halves: FloatArray, far: IntArray | None = None
    ) -> FloatArray:
        """Evidence (w, T) of windows with counts (w, C), and events by half hour (w, 336).

        past: gives counts (w, C) before each window, which only signals without phases, slopes or bets are compared
        with. far: far values (w, R); None: there are none.
        """
        evidence = np.zeros((len(sums), len(self.columns)))
        for phases, _, likenesses, codes, columns in self._groups:
            events = (
                in_phases(halves, phases) if phases > 1 else self.battery.layout.events(sums)[:, None].astype(float)
            )
            evidence[:, columns] = likenesses.evidence(sums[:, codes].astype(float), events)
        if self._others is not None:
            battery, codes, columns = self._others
            evidence[:, columns] = battery.evidence(sums[:, codes], battery.baseline, past()[:, codes])
        if self.far and far is not None:
            evidence[:, self._of_far] = self.far.evidence(far, self.battery.layout.events(sums)[:, None])
        if self.proven:
            evidence[:, -len(self.proven.columns) :] = self.proven.evidence(sums)
        return evidence

    def recovery(
        self, test: Column, sums: IntArray, halves: FloatArray, onset: int, rows: IntArray, fresh: int
    ) -> FloatArray | None:
        """Nats (r,) by which suffixes, `rows` of all, show more than it takes that a drift up to them is over.

        test: what found the drift. sums, halves: as in `evidence`. onset: the suffix with which the drift begins; all
        of `rows` are shorter. fresh: events since the last check. None if nothing here judges that signal by this test.
        """
        group = next((each for each in self._groups if test.signal in each.signals), None)
        if group is None or test.statistic not in group.signals[test.signal].tests:
            return None
        likeness, codes = group.signals[test.signal], self.battery.layout.columns[test.signal]
        counts = sums[:, codes].astype(float)
        phases = in_phases(halves, group.phases) if group.phases > 1 else counts.sum(1, keepdims=True)
        code = 0 if test.special is None else likeness.functionals.size + test.special
        own, before = counts[onset] - counts[rows], phases[onset] - phases[rows]
        return Recovery(likeness, test.statistic, code, counts[rows], phases[rows], own, before).surplus(fresh)

    def thresholds(self, thresholds: FloatArray, rate: float, fresh: int) -> FloatArray:
        """Thresholds (w, T) in nats: those given of the battery's columns, but for signals with phases or slopes.

        rate: false alarms per event of the model. fresh: events since the last check.
        """
        more, (columns, places, tests) = len(self.columns) - thresholds.shape[1], self._stated
        thresholds = np.hstack([thresholds, np.empty((len(thresholds), more))])
        rest = rate * (1 - self._proven.sum())
        thresholds[:, columns] = np.array([threshold(test, rest, fresh, 1, among) for test, among in tests])[places]
        if self.proven:
            # Tests that their bets replace have no evidence.
            thresholds[:, np.isin(self.signal_of, [*self._bet_on])] = np.inf
            thresholds[:, -len(self.proven.columns) :] = self.proven.thresholds(rate)
        return thresholds

    @cached_property
    def _stated(self) -> tuple[IntArray, IntArray, list[tuple[str, float]]]:
        """The columns (c,) whose thresholds follow from the rate, and the test of each (c,) among those that differ."""
        columns = np.concatenate([*(group.columns for group in self._groups), self._of_far])
        # Far values are tested as rates are, of which one is hardly ever seen.
        names = ("rate" if (name := self.columns[c].statistic) == "far" else name for c in columns)
        each = [*zip(names, self._tested[columns].tolist(), strict=True)]
        tests = sorted({*each})
        return columns, np.array([tests.index(one) for one in each], np.int64), tests

    @cached_property
    def _of_far(self) -> IntArray:
        """The columns of far values."""
        return np.array([c for c, column in enumerate(self.columns) if column.statistic == "far"], np.int64)

    @cached_property
    def _proven(self) -> FloatArray:
        """The share of the false pages (S,) that each signal has that is judged by bets."""
        return self.proven.shares if self.proven else np.zeros(len(self.weights.of))

    @cached_property
    def _tested(self) -> FloatArray:
        """Among how many tests (T,) what bets leave of the rate is shared, as each test has it.

        Signals share it by weight, and the tests of each have its part by their shares. Rates of special codes that the
        baseline does not have are nearly all there are, and hardly ever alarm by chance. They share a tenth among
        themselves, and far values with them.
        """
        columns, layout, of = self.columns, self.battery.layout, self.signal_of
        weights = self.weights.of[of]
        if not self.newest:
            return np.asarray(weights[~np.isin(of, [*self._bet_on])].sum() / weights)
        known = np.array([
            each.statistic != "far"
            if each.special is None
            else self.battery.baseline[layout.special_column(each.signal, each.special)] > 0
            for each in columns
        ])  # fmt: skip
        asked, rare = shares(each.statistic for each in columns), (self._worth * weights)[~known].sum()
        of_signal = np.bincount(of[known], (self._worth * asked)[known], len(self.weights.of))
        common = self.weights.of[of_signal > 0].sum() * of_signal[of] / asked
        return np.asarray(np.where(known, common / (1 - _RARE), rare / _RARE) / weights)

    @cached_property
    def _worth(self) -> FloatArray:
        """How much of its share each column (T,) spends; none of those that are not made."""
        worth = np.zeros(len(self.columns))
        worth[self._of_far] = 1
        for group in self._groups:
            worth[group.columns] = group.likenesses.worth
        if self._others is not None:
            worth[self._others[2]] = 1
        return worth

    @cached_property
    def shares(self) -> FloatArray:
        """The share of the false pages (S,) that each signal has."""
        own = np.divide(self._worth, self._tested, out=np.zeros(len(self.columns)), where=self._worth > 0)
        of_tests = np.bincount(self.signal_of, own, len(self.battery.layout.signals))
        return np.asarray(self._proven + of_tests * (1 - self._proven.sum()), float)

    def of_slope(self, signal: int) -> dict[str, Any]:
        """What a change of a signal, by its index, says of the slope by which it is judged."""
        if self.provisional and signal in self._steady:
            return {"provisional": True}
        times = self.overruled.get(self.battery.layout.signals[signal].name)
        return {} if times is None else {"slope_ratio": times}

    def cycle(self, signal: int) -> Cycle | None:
        """What cycle a signal, by its index, is compared in; None if in none."""
        own = self._signals.get(signal)
        return Cycle(own.phases, self.cycles.timezone) if own and self.cycles else None

    def usual(self, signal: int, halves: FloatArray) -> FloatArray | None:
        """What is expected of the codes (w, K) of a signal in windows (w, 336); None of one without phases."""
        own = self._signals.get(signal)
        return None if own is None else own.likeness.reference.expected(in_phases(halves, own.phases))

    def expected(self, signal: int, halves: FloatArray) -> Sketch:
        """What is expected of a signal with phases in a window (336,), in as many events as the baseline has in these.

        Only the columns of that signal are those that are expected. Extremes are those of all times.
        """
        own, total, layout = self._signals[signal], self.baseline.total, self.battery.layout
        phases, reference = in_phases(halves[None], own.phases), own.likeness.reference
        events = int(reference.events[phases[0] > 0].sum()) or int(reference.events.sum())
        scale = events / phases.sum()
        counts, sums = total.counts.copy(), total.sums.copy()
        counts[layout.columns[signal]] = np.rint(reference.expected(phases)[0] * scale)
        if layout.signals[signal].numeric:
            known = reference.events > 0
            # As with counts, all times stand for phases that the baseline has not seen.
            mean = np.where(
                known,
                own.sums / np.where(known, reference.events, 1),
                own.sums.sum(1, keepdims=True) / reference.events.sum(),
            )
            sums[:, layout.numeric.index(signal)] = np.rint(mean @ phases[0] * scale)
        return Sketch(events, counts, sums, total.extremes)


def _columns(signal: int, likeness: Likeness) -> Iterator[Column]:
    """The columns of evidence of a signal, in the order of its tests."""
    yield from (Column(test, signal) for test in likeness.tests if test != "rate")
    yield from (Column("rate", signal, special) for special in Special)


def by_half_hour(pane: Pane[Any], cycles: Cycles) -> Pane[Any]:
    """The pane as the history holds it: its slots are half hours of the local week."""
    counts = Counter[int]()
    for slot, events in _slots(pane):
        counts[cycles.half_hour(slot * (SLOT_MS // 1000))] += events
    return structs.replace(pane, slots=tuple(sorted(counts.items())))


def _slots(pane: Pane[Any]) -> Iterable[tuple[int, int]]:
    """The slots of a pane's events and how many each has; if the pane does not say, as if they came evenly."""
    if not isinstance(pane.content, Sketch):
        return [(event.ts // SLOT_MS, 1) for event in pane.content]
    if pane.slots:
        return pane.slots
    first, last = sorted((pane.first_ts // SLOT_MS, pane.last_ts // SLOT_MS))
    # After a week it has all phases, and all alike.
    slots = range(first, last + 1, _SLOTS_OF_HALF_HOUR)[:HALF_HOURS]
    return [(slot, max(pane.content.n // len(slots), 1)) for slot in slots]
