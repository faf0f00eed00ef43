"""How small a change of each signal is seen, by the thresholds and widths that its judge has. Pure.

A change of a signal moves the shares of its codes. What the tests find of it is computed from the counts that n changed
events are expected to have: at least half of all changes as large are found in n events, and the rest a little later.

    ordered    shares tilted, p·e^(θz): values keep their places and trade frequency; a normal distribution is shifted
    nominal    the commonest value loses a part of its share to all others
    any        values are missing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.summaries.codes import Grid, Kind, Special
from driftline.detectors.summaries.layout import Layout
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.resolution import WINDOWS

# Changes that are tried: of a mean in σ, and of a share; each a twelfth more than the last.
_SHIFTS = np.geomspace(0.01, 10.0, 87)
_SHARES = np.geomspace(0.0005, 1.0, 96)
_NO_TIMES: FloatArray = np.zeros((0, 0))


@dataclass(frozen=True)
class Sight:
    """The smallest changes that are seen of one signal, one for each horizon; None where none is.

    name, kind: of the signal. shift: of the mean of an ordered signal, in its σ. share: of the commonest value of a
    nominal one, as a share of all events. missing: further events without a value, as a share of all.
    """

    name: str
    kind: str
    shift: tuple[float | None, ...]
    share: tuple[float | None, ...]
    missing: tuple[float | None, ...]


def sights(judge: Judge, horizons: Sequence[float], rate: float) -> list[Sight]:
    """What is seen of each signal within horizons, in events from the change on. rate: false alarms per event.

    The baseline of the judge has no phases: blocks and horizons do not say at which times their events come.
    """
    layout = judge.baseline.layout
    changes = (_tilted(judge, 1), _tilted(judge, -1), _lost(judge), _missing(judge))
    found = np.array([[_smallest(judge, each, round(n), rate) for n in horizons] for each in changes])
    shifts, shares, missing = found[:2].max(0), found[2], found[3]
    return [
        Sight(
            signal.name,
            signal.kind.value,
            _figures(shifts[:, s]) if signal.ordered else (),
            _figures(shares[:, s]) if signal.kind is not Kind.CONSTANT and not signal.ordered else (),
            _figures(missing[:, s]),
        )
        for s, signal in enumerate(layout.signals)
    ]


def _figures(column: FloatArray) -> tuple[float | None, ...]:
    return tuple(float(each) if np.isfinite(each) else None for each in column)


@dataclass(frozen=True)
class _Changes:
    """Changes of all signals at once, which do not see each other: shares (r, C), and how large each is (r, S)."""

    shares: FloatArray
    sizes: FloatArray


def _smallest(judge: Judge, changes: _Changes, n: int, rate: float) -> FloatArray:
    """The smallest change (S,) of each signal that reaches a threshold in n events; infinite if none does."""
    battery, layout = judge.battery, judge.baseline.layout
    if n < judge.config.clock:
        return np.full(len(layout.signals), np.inf)
    windows = len(judge.config.windows) or WINDOWS
    bound = judge.weights.bound(rate, judge.config.clock, windows, battery)
    # Expected counts are no whole numbers, which the statistics do not ask for.
    counts: Any = n * changes.shares
    past = np.broadcast_to(judge.baseline.total.counts, counts.shape)
    threshold = judge.dependence.threshold(np.full(len(counts), n), bound)
    if judge.alike:
        evidence = judge.alike.evidence(counts, lambda: past, _NO_TIMES)
        threshold = judge.alike.thresholds(threshold, rate, judge.config.clock)
    else:
        evidence = battery.evidence(counts, judge.baseline.total.counts, past)
    over = (evidence >= threshold) & ~_too_small(judge, evidence, evidence / threshold, counts)
    seen = np.zeros((len(counts), len(layout.signals)), bool)
    tests = judge.alike or battery
    for test in np.flatnonzero(battery.against_past | ~tests.uses_past):
        seen[:, tests.signal_of[test]] |= over[:, test]
    return np.asarray(np.where(seen, changes.sizes, np.inf).min(0))


def _too_small(judge: Judge, evidence: FloatArray, ratio: FloatArray, counts: Any) -> BoolArray:
    """Which evidence (r, T) is of a change that pages nobody."""
    if judge.least is None:
        return np.zeros(ratio.shape, bool)
    tests, total, columns = judge.alike or judge.battery, judge.baseline.total.counts, judge.baseline.layout.columns
    reference = {s: total[None, own] for s, own in enumerate(columns)}
    return judge.least.small(
        tests.columns, evidence, ratio, counts, lambda test, _: reference[int(tests.signal_of[test])], least=1
    )


def _tilted(judge: Judge, direction: int) -> _Changes:
    """The mean of each ordered signal moves up (1) or down (-1)."""
    layout, shares = judge.baseline.layout, np.tile(_shares(judge), (len(_SHIFTS), 1))
    sizes = np.full((len(shares), len(layout.signals)), np.inf)
    for s in range(layout.n_ordered):
        own = _regular(layout, s)
        z = _places(layout.signals[s].coder, shares[0, own])
        if z is None:
            continue
        for row, theta in enumerate(direction * _SHIFTS):
            tilted = shares[0, own] * np.exp(theta * z - np.abs(theta * z).max())
            shares[row, own] = tilted * shares[0, own].sum() / tilted.sum()
            sizes[row, s] = abs(float((tilted / tilted.sum()) @ z))
    return _Changes(shares, sizes)


def _places(coder: Any, shares: FloatArray) -> FloatArray | None:
    """Where each code of a grid lies, in σ from the mean; None if its values do not vary."""
    if not isinstance(coder, Grid) or not len(coder.cuts) or not shares.sum():
        return None
    middles = (coder.cuts[1:] + coder.cuts[:-1]) / 2
    first, last = coder.cuts[0], coder.cuts[-1]
    beyond = (last - first) / max(2 * len(coder.cuts), 1)
    places = np.concatenate([[first - beyond], middles, [last + beyond]])
    weights = shares / shares.sum()
    mean = weights @ places
    deviation = np.sqrt(weights @ (places - mean) ** 2)
    return np.asarray((places - mean) / deviation) if deviation > 0 else None


def _lost(judge: Judge) -> _Changes:
    """The commonest value of each nominal signal loses a part of its share to the others, by their shares."""
    layout, shares = judge.baseline.layout, np.tile(_shares(judge), (len(_SHARES), 1))
    sizes = np.full((len(shares), len(layout.signals)), np.inf)
    for s in range(layout.n_ordered, len(layout.signals)):
        own = _regular(layout, s)
        before = shares[0, own].copy()
        common = int(before.argmax())
        others = np.arange(len(before)) != common
        for row, lost in enumerate(_SHARES):
            if lost < before[common] and before[others].sum() > 0:
                after = before + lost * np.where(others, before, 0) / before[others].sum()
                after[common] = before[common] - lost
                shares[row, own], sizes[row, s] = after, lost
    return _Changes(shares, sizes)


def _missing(judge: Judge) -> _Changes:
    """More values of each signal are missing."""
    layout, before = judge.baseline.layout, _shares(judge)
    shares = (1 - _SHARES)[:, None] * before
    for s in range(len(layout.signals)):
        shares[:, layout.special_column(s, Special.MISSING)] += _SHARES
    return _Changes(shares, np.tile(_SHARES[:, None], (1, len(layout.signals))))


def _shares(judge: Judge) -> FloatArray:
    total = judge.baseline.total
    return np.asarray(total.counts / max(total.n, 1))


def _regular(layout: Layout, s: int) -> IntArray:
    """The columns of the regular codes of a signal."""
    return np.arange(layout.starts[s], layout.starts[s] + layout.sizes[s])
