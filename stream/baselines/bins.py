"""How much the counts of single bins vary by themselves, and what the smooth test asks for. Pure.

Both tests need that beside a baseline's counts. It is kept for each ordered signal that is judged by its slope or its
phases: `statistics.bins` and `statistics.smooth` have the tests, `decision.binned` how dispersions are measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.binned import dispersions_of_bins, dispersions_of_smooth
from driftline.detectors.decision.reference import History
from driftline.detectors.statistics.bins import Bins
from driftline.detectors.statistics.smooth import ORDERS, Smooth
from driftline.detectors.summaries.layout import Layout
from driftline.stream.baselines.cycles import Cycles, local
from driftline.stream.baselines.encoding import array_file
from driftline.stream.baselines.figures import codes_of_columns, figures_hash, known_figures
from driftline.stream.baselines.slopes import Slopes

#: Raised whenever figures of an earlier Driftline no longer hold; then they are not used.
BINS_VERSION: Final = 1
#: The file of the figures, of the signals one after another.
BINS_FILE: Final = "bins.npy"

# Parts of a dispersion that are kept, as of slopes.
_PARTS = 2**8


@dataclass(frozen=True, eq=False)
class Dispersions:
    """The dispersion of each bin, and of each order of the smooth test (B + 2,), by signal: one signal at least."""

    of: Mapping[str, FloatArray]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dispersions) and self.facts() == other.facts()

    __hash__ = None  # type: ignore[assignment]

    def select(self, names: Collection[str]) -> Dispersions | None:
        """What belongs to signals with these names; None if there is none of them."""
        kept = {name: each for name, each in self.of.items() if name in names}
        return Dispersions(kept) if kept else None

    def bins(self, layout: Layout, signal: int, total: IntArray) -> Bins | None:
        """The bins of a signal, by its index; None if none is tested. total: counts (C,) of the baseline."""
        known = self.of.get(layout.signals[signal].name)
        bins = None if known is None else Bins(_regular(layout, signal, total), known[: -len(ORDERS)])
        return bins if bins and bins.tested.size else None

    def smooth(self, layout: Layout, signal: int, total: IntArray) -> Smooth | None:
        """What the smooth test asks of a signal, as `bins`."""
        known = self.of.get(layout.signals[signal].name)
        return None if known is None else Smooth(_shares(layout, signal, total), known[-len(ORDERS) :])

    def file(self) -> bytes:
        """The .npy file."""
        return array_file(np.concatenate([*self.of.values()])[None], "<f8")

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        says = {"version": BINS_VERSION, "signals": [*self.of]}
        return {**says, "hash": figures_hash(says, self.file())}


def dispersions_of(
    layout: Layout, codes: IntArray, times: IntArray, cycles: Cycles | None, slopes: Slopes | None
) -> Dispersions | None:
    """The dispersions of the signals with phases or slopes, from their events in order; None if none has bins.

    codes: columns (n, S). times: epoch ms (n,), ascending.
    """
    place, total = codes_of_columns(layout), np.bincount(codes.ravel(), minlength=layout.width)
    seconds = local(times // 1000, cycles.timezone) if cycles else times
    block = np.arange(len(codes)) * (slopes.blocks if slopes else 1) // len(codes)

    def histories() -> Iterator[tuple[int, History]]:
        for s, signal in enumerate(layout.signals):
            own, k = place[codes[:, s]], len(layout.columns[s])
            if cycles and (cyclic := cycles.by_name.get(signal.name)):
                yield s, History.of(own, k, seconds, cyclic.phases, cyclic.blocks)
            elif slopes and signal.name in slopes.runs:
                counts = np.bincount(block * k + own, minlength=slopes.blocks * k)
                yield s, History.steady(counts.reshape(slopes.blocks, k))

    return _measured(layout, total, histories())


def dispersions_of_blocks(layout: Layout, blocks: IntArray, slopes: Slopes | None) -> Dispersions | None:
    """The dispersions of the signals with slopes, from blocks (P, C) in the order of time; None if none has bins."""
    if slopes is None:
        return None
    starts = np.arange(slopes.blocks) * len(blocks) // slopes.blocks
    own = (s for s, signal in enumerate(layout.signals) if signal.name in slopes.runs)
    steady = ((s, History.steady(np.add.reduceat(blocks[:, layout.columns[s]], starts, axis=0))) for s in own)
    return _measured(layout, blocks.sum(0), steady)


def _measured(layout: Layout, total: IntArray, histories: Iterable[tuple[int, History]]) -> Dispersions | None:
    found = {}
    for s, history in histories:
        bins = Bins(_regular(layout, s, total))
        if layout.signals[s].ordered and bins.number > 1:
            smooth = dispersions_of_smooth(history, Smooth(_shares(layout, s, total)))
            each = np.append(dispersions_of_bins(history, bins), smooth)
            found[layout.signals[s].name] = np.round(each * _PARTS) / _PARTS
    return Dispersions(found) if found else None


def joined(several: Iterable[Dispersions | None]) -> Dispersions | None:
    """The dispersions of the signals of several, no signal twice; None if there is none."""
    found = {name: each for own in several if own for name, each in own.of.items()}
    return Dispersions(found) if found else None


def dispersions_from(
    facts: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout, total: IntArray
) -> Dispersions | None:
    """The dispersions in files by name, of which the manifest states `facts`. total: counts (C,) of the baseline.

    None if another version derived them, or if one that does not know them has copied the facts without the file.

    Raises ValueError, KeyError or TypeError if they are damaged, or belong to another layout.
    """
    figures = known_figures(facts, files, BINS_FILE, BINS_VERSION)
    if figures is None:
        return None
    known = {signal.name: s for s, signal in enumerate(layout.signals)}
    if not (figures.rest >= 1).all():
        raise ValueError("bins vary as nothing can")
    numbers = {name: Bins(_regular(layout, known[name], total)).number for name in facts["signals"]}
    of = {name: figures.take(number + len(ORDERS)) for name, number in numbers.items()}
    if not of or figures.rest.size:
        raise ValueError("the dispersions of bins do not match the signals")
    return Dispersions(of)


def _regular(layout: Layout, signal: int, total: IntArray) -> IntArray:
    """Counts of the regular codes of a signal."""
    return np.asarray(total[layout.columns[signal][: layout.signals[signal].size]])


def _shares(layout: Layout, signal: int, total: IntArray) -> FloatArray:
    """Shares of the regular codes of a signal among themselves."""
    own = _regular(layout, signal, total)
    return np.asarray(own / max(int(own.sum()), 1))
