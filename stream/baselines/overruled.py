"""Slopes that live events overrule: a baseline's rows were shuffled or sampled, and its times do not say so. Pure.

Such a baseline looks as if its events were nearly independent. The means x and y of two neighbouring blocks of m live
events tell what it has wrong: m (x - y)² / 2 is the variance of an event in sums over a block, slope included. Of all
these, the largest fifth is left out, in which steps in the level are, and the mean of the others is divided by what it
is of independent normal events (`_OF_REST`). It is compared with the variance of the same live events if they were
independent: a drift in spread, or in a share, is no dependence.

Differences see no drift in the level: a step is in one of them, and a slow drift in none. The middle one of the
variances in three stretches, as `stream.judge.live_slopes` has it where nothing else is known, sees them. A drift of
1 σ that grows through all blocks makes it 15 times as large, and one that begins in the first stretch and ends in the
second 400 times. A baseline that is right would be blind by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.long_run import LongRun
from driftline.detectors.summaries.layout import Layout
from driftline.stream.baselines.slopes import Slopes
from driftline.stream.text.phrases import listed
from driftline.stream.text.printable import printable

# The share of the differences that counts, and the mean of these, of independent normal sums over one of all.
_KEPT, _OF_REST = 0.8, 0.4446
# Standard error of a slope, from 60 blocks (200,000 simulated series of independent normal sums). It is added, as by
# `statistics.long_run`.
_ERROR = 0.27
# How many times larger a family's slope must be than the baseline's: that of a code alone, 5.5 standard errors; the
# middle one of a shape, whose error is 0.17, 5.9.
_CODE, _SHAPE = 2.5, 2.0
# Events with a code that a block must have in the mean, for the code to tell anything.
_TELLING = 2.0


def doubt(times: Mapping[str, float]) -> str:
    """What live events say of a baseline that they overrule, in words. times: by signal, of `overruled_slopes`."""
    largest = sorted(times, key=lambda name: (-times[name], name))
    shown = listed([f"{printable(name)}: {times[name]:.2g} times as much" for name in largest])
    return f"live events depend on each other more than the baseline says ({shown}); were its rows shuffled or sampled?"


def overruled_slopes(
    slopes: Slopes, layout: Layout, blocks: IntArray, total: IntArray
) -> tuple[Slopes, dict[str, float]]:
    """The slopes of live events (P, C) in blocks where they are clearly larger; and how many times, by signal.

    slopes: those of the baseline. total: counts (C,) of the baseline.
    """
    block = float(layout.events(blocks).mean())
    runs, times = {}, {}
    for s, signal in enumerate(layout.signals):
        if signal.name not in slopes.runs:
            continue
        likeness = slopes.likeness(layout, s, total)
        functionals, widths = likeness.functionals, likeness.widths
        own, telling = _live(functionals, blocks[:, layout.columns[s]])
        usual = np.maximum(widths.slope(np.array([[block]]))[0], 1.0)
        found = [_family(own[f], usual[f], telling[f]) for f in functionals.families]
        if any(ratio for ratio, _ in found):
            times[signal.name] = round(max(ratio for ratio, _ in found), 2)
            runs[signal.name] = tuple(
                LongRun(np.array([1]), (each * widths.independent[f] * block)[None], int(ratio > 0), short=False)
                for f, (ratio, each) in zip(functionals.families, found, strict=True)
            )
    return Slopes(1, block, runs), times


def raised(slopes: Slopes, live: Slopes) -> Slopes:
    """The slopes of a baseline, where live events overrule them the larger ones."""
    by = slopes.block / live.block

    def larger(run: LongRun, other: LongRun) -> LongRun:
        variance = np.maximum(run.variance, other.variance * by)
        return replace(run, variance=variance, lag=max(run.lag, other.lag))

    both = {name: tuple(map(larger, slopes.runs[name], own)) for name, own in live.runs.items()}
    return replace(slopes, runs={**slopes.runs, **both})


def _live(functionals: Functionals, counts: IntArray) -> tuple[FloatArray, BoolArray]:
    """The slopes (F,) in blocks of these counts (P, K), and which of them tell anything."""
    matrix, events = functionals.matrix, counts.sum(1, keepdims=True).astype(float)
    shares = counts.sum(0) / events.sum()
    independent = np.maximum(shares @ matrix**2 - (shares @ matrix) ** 2, 0.0)
    telling = independent * events.mean() >= _TELLING * np.abs(matrix).max(0) ** 2
    steps = np.diff(counts @ matrix / events, axis=0) ** 2 / (1 / events[1:] + 1 / events[:-1])
    kept = np.sort(steps, axis=0)[: round(_KEPT * len(steps))]
    return kept.mean(0) / _OF_REST / np.where(telling, independent, 1.0), telling & (independent > 0)


def _family(live: FloatArray, usual: FloatArray, telling: BoolArray) -> tuple[float, FloatArray]:
    """How many times as large the live slopes (f,) of a family are as usual; 0 and no slopes if not clearly larger."""
    if not telling.any():
        return 0.0, np.zeros(len(live))
    ratio = float(np.median((live / usual)[telling]))
    if ratio < (_SHAPE if len(live) > 1 else _CODE):
        return 0.0, np.zeros(len(live))
    # One alone errs more than the middle one, and rare codes tell nothing.
    return ratio, np.maximum(np.where(telling, live, 0.0), ratio * usual) * (1 + _ERROR)
