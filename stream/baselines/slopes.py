"""How much the signals of a baseline vary by themselves, at all times alike: the widths of those without phases. Pure.

They are derived from the baseline's blocks, whose order must be that of the traffic, and kept beside them. The slope of
a signal is how many of its events say as much as one independent event. Signals whose slope the baseline is too short
to tell are left out, and judged as all were before there were slopes (`decision.thresholds`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.likeness import Likeness
from driftline.detectors.decision.reference import History, Reference
from driftline.detectors.decision.widths import Widths
from driftline.detectors.statistics.functionals import Functionals
from driftline.detectors.statistics.long_run import FEWEST, LongRun, long_run
from driftline.detectors.summaries.layout import Layout
from driftline.stream.baselines.encoding import array_file
from driftline.stream.baselines.figures import codes_of_columns, figures_hash, known_figures, run_figures, runs_from

#: Raised whenever the same blocks give other figures; then what an earlier Driftline derived is not used.
SLOPES_VERSION: Final = 1
#: The file of the figures, of the signals one after another.
SLOPES_FILE: Final = "slopes.npy"

#: Blocks of live events that tell the slopes where a baseline cannot: a third of them has 5,000 events, or 128
#: independent ones of AR(1) 0.95.
LIVE_BLOCKS: Final = 60
#: Events of one of them at least, which is of whole checks: AR(1) 0.95 forgets in 60.
LIVE_BLOCK: Final = 250
#: Events that count for an independent one until the slopes are known: AR(1) 0.9 has 19, sessions of 20 have 20.
PROVISIONAL: Final = 20
#: What that means, in words.
AT_FIRST: Final = (
    f"until {LIVE_BLOCKS * LIVE_BLOCK:,} live events have shown how they depend on each other, {PROVISIONAL} count for "
    "one, and only large changes page"
)

# Events of a block, whose sums show how events depend on each other, and blocks at least and at most, as of `cycles`.
_BLOCK, _FEWEST_BLOCKS, _MOST_BLOCKS = 100, 64, 2048
# Parts of a variance that are kept, which is known to some per cent: the sums of another machine, or of another numpy,
# differ in their last bits, and the same events shall make the same baseline.
_PARTS = 2**12
# Windows of 25 independent events that a baseline must hold of a signal, by whether it is ordered. Categories have many
# rare codes: those of sessions of 20 events paged 18 times on 50,000 events, or 42 windows, where 8 were promised.
_WINDOWS = {True: 4, False: 100}


@dataclass(frozen=True, eq=False)
class Slopes:
    """The long-run variances of signals without regard to the time.

    blocks: from how many they are known. block: events of one. runs: by signal and family, one signal at least.
    """

    blocks: int
    block: float
    runs: Mapping[str, tuple[LongRun, ...]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slopes) and self.facts() == other.facts()

    __hash__ = None  # type: ignore[assignment]

    def select(self, names: Collection[str]) -> Slopes | None:
        """What belongs to signals with these names; None if there is none of them."""
        kept = {name: runs for name, runs in self.runs.items() if name in names}
        return replace(self, runs=kept) if kept else None

    def has(self, others: Slopes) -> bool:
        """Whether it knows all signals of others."""
        return others.runs.keys() <= self.runs.keys()

    def fits(self, layout: Layout, total: IntArray) -> bool:
        """Whether there is a variance of all that is asked of each of its signals. total: as in `likeness`."""
        signals = ((s, own.name) for s, own in enumerate(layout.signals) if own.name in self.runs)
        asked = {name: _asked(layout, s, total)[1].families for s, name in signals}
        sizes = {name: [own.stop - own.start for own in families] for name, families in asked.items()}
        return sizes == {name: [run.variance.shape[1] for run in runs] for name, runs in self.runs.items()}

    def likeness(self, layout: Layout, signal: int, total: IntArray) -> Likeness:
        """What the windows of a signal, by its index, are compared with. total: counts (C,) of the baseline."""
        reference, functionals = _asked(layout, signal, total)
        runs = self.runs[layout.signals[signal].name]
        widths = Widths.known(reference, functionals, self.block, np.ones((1, len(runs))), runs, runs)
        return Likeness(reference, functionals, widths)

    def file(self) -> bytes:
        """The .npy file."""
        return array_file(np.concatenate([run_figures(runs) for runs in self.runs.values()])[None], "<f8")

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        says = {"version": SLOPES_VERSION, "blocks": self.blocks, "block": self.block, "signals": [*self.runs]}
        return {**says, "hash": figures_hash(says, self.file())}


def slopes_of(layout: Layout, codes: IntArray, doubled: Collection[int] = ()) -> Slopes | None:
    """The slopes of events in order, from their columns (n, S); None if they tell none.

    doubled: signals, by their index, of which some rows stand in for others. They know less than as many independent
    events, so that their variance counts as it is measured, even if it might be by chance.
    """
    number, place = _number(len(codes), len(codes)), codes_of_columns(layout)
    if not number:
        return None
    block = np.arange(len(codes)) * number // len(codes)
    each = ((place[codes[:, s]], len(own)) for s, own in enumerate(layout.columns))
    found = _slopes(
        layout, number, (np.bincount(block * k + own, minlength=number * k).reshape(number, k) for own, k in each)
    )
    names = {layout.signals[s].name for s in doubled}
    return found and replace(
        found, runs={name: _as_measured(runs) if name in names else runs for name, runs in found.runs.items()}
    )


def slopes_of_blocks(layout: Layout, blocks: IntArray) -> Slopes | None:
    """The slopes of blocks (P, C) in the order of time; None if they tell none."""
    number = _number(int(layout.events(blocks).sum()), len(blocks))
    if not number:
        return None
    starts = np.arange(number) * len(blocks) // number
    return _slopes(layout, number, (np.add.reduceat(blocks[:, own], starts, axis=0) for own in layout.columns))


def slopes_of_stretches(layout: Layout, stretches: IntArray, total: IntArray) -> Slopes:
    """The slopes of live events, from their counts (J, P, C) in J stretches of P blocks.

    Each stretch varies around its own mean, and of the J variances the middle one counts. total: counts (C,) of the
    baseline, which say what is asked for.
    """
    events = layout.events(stretches).astype(float)
    block, runs = float(events.mean()), {}
    for s, signal in enumerate(layout.signals):
        functionals = _asked(layout, s, total)[1]
        sums = stretches[..., layout.columns[s]] @ functionals.matrix
        usual = events[..., None] * (sums.sum(1, keepdims=True) / events.sum(1)[:, None, None])
        series = (sums - usual) * np.sqrt(block / events)[..., None]
        runs[signal.name] = tuple(_middle(series[..., family]) for family in functionals.families)
    return Slopes(stretches.shape[1], block, runs)


def constant_slopes(layout: Layout, total: IntArray, slope: float, block: float) -> Slopes:
    """Slopes that are the same for all signals and windows. block: events of a block."""
    runs = {}
    for s, signal in enumerate(layout.signals):
        reference, functionals = _asked(layout, s, total)
        families = functionals.families
        independent = Widths.known(reference, functionals, block, np.ones((1, len(families))), (), ()).independent
        variance = (independent * slope * block)[None]
        runs[signal.name] = tuple(LongRun(np.array([1]), variance[:, own], 1, short=False) for own in families)
    return Slopes(1, block, runs)


def _middle(series: FloatArray) -> LongRun:
    """The middle of the long-run variances of stretches (J, P, F)."""
    each = [long_run(own) for own in series]
    lag, short = (int(np.median([getattr(run, name) for run in each])) for name in ("lag", "short"))
    variance = np.median([run.variance for run in each], axis=0)
    return _rounded(LongRun(each[0].lengths, np.asarray(variance), lag, bool(short)))


def _number(events: int, most: int) -> int:
    """Blocks in which events are counted, at most `most`; 0 if they are too few to see an order in time."""
    number = min(max(events // _BLOCK, _FEWEST_BLOCKS), _MOST_BLOCKS, most)
    return number if number >= FEWEST else 0


def _slopes(layout: Layout, number: int, blocks: Iterator[IntArray]) -> Slopes | None:
    """The slopes of signals, from the counts (P, K) of each in P = `number` blocks."""
    runs, events = {}, 0.0
    for signal, own in zip(layout.signals, blocks, strict=True):
        likeness, events = Likeness.of(History.steady(own), signal.size, signal.ordered), float(own.sum())
        if not likeness.widths.calm[0].short and likeness.judges(events / _WINDOWS[signal.ordered]):
            runs[signal.name] = tuple(_rounded(run) for run in likeness.widths.calm)
    return Slopes(number, events / number, runs) if runs else None


def _as_measured(runs: tuple[LongRun, ...]) -> tuple[LongRun, ...]:
    return tuple(replace(run, lag=max(run.lag, 1)) for run in runs)


def _rounded(run: LongRun) -> LongRun:
    mantissa, exponent = np.frexp(run.variance)
    return replace(run, variance=np.ldexp(np.round(mantissa * _PARTS) / _PARTS, exponent))


def slopes_from(facts: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout, total: IntArray) -> Slopes | None:
    """The slopes in files by name, of which the manifest states `facts`. total: counts (C,) of all of the baseline.

    None if another version derived them, or if one that does not know them has copied the facts without the file.

    Raises ValueError, KeyError or TypeError if they are damaged, or belong to another layout.
    """
    figures = known_figures(facts, files, SLOPES_FILE, SLOPES_VERSION)
    if figures is None:
        return None
    blocks, block = int(facts["blocks"]), float(facts["block"])
    known = {signal.name: s for s, signal in enumerate(layout.signals)}
    if not (blocks >= FEWEST and 0 < block < np.inf):
        raise ValueError("the slopes are such as nothing can have")
    runs = {name: runs_from(figures, _asked(layout, known[name], total)[1], blocks) for name in facts["signals"]}
    if not runs or figures.rest.size:
        raise ValueError("the slopes do not match the signals")
    return Slopes(blocks, block, runs)


def _asked(layout: Layout, signal: int, total: IntArray) -> tuple[Reference, Functionals]:
    """What is expected of a signal, and what is asked of it."""
    own, reference = layout.signals[signal], Reference(total[layout.columns[signal]][None].astype(float))
    return reference, Functionals(reference.pooled, own.size, own.ordered)
