"""What is derived from a baseline's blocks and kept beside them, so that whoever judges need not read them. Pure.

That is how far the evidence of the baseline's own windows exceeds that of independent events, for either reference, and
a hash of each signal. Deriving it takes some tenths of a second, and the blocks some megabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.decision.thresholds import Dependence
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.encoding import array_file, canonical_json, read_array, signal_to_json

#: Raised whenever the same blocks give other figures, or the columns of the battery change: then what an earlier
#: Driftline derived is not used but derived anew.
DERIVED_VERSION = 1
# File of the dependence on either reference: a row for each length, with the length, the effects and the floors.
_FILES = {False: "dependence_baseline.npy", True: "dependence_past.npy"}
#: The names of the files.
DERIVED_FILES = tuple(_FILES.values())


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """What is derived from a baseline's blocks.

    dependence: by whether windows are compared with the past. signal_hashes: by the name of a signal.
    """

    dependence: Mapping[bool, Dependence]
    signal_hashes: Mapping[str, str]

    @classmethod
    def of(cls, layout: Layout, blocks: IntArray, total: Sketch) -> Self:
        """What is derived from these blocks."""
        batteries = {against_past: Battery(layout, total.counts, against_past) for against_past in _FILES}
        dependence = {against_past: Dependence.of(battery, blocks) for against_past, battery in batteries.items()}
        return cls(dependence, signal_hashes(layout, blocks, total))

    def select(self, layout: Layout, kept: Sequence[int]) -> Derived:
        """What belongs to the signals `kept` of a layout; they keep their figures."""
        columns = [i for i, column in enumerate(_columns(layout)) if column.signal in kept]
        chosen = {
            against_past: replace(each, effect=each.effect[:, columns], floor=each.floor[:, columns])
            for against_past, each in self.dependence.items()
        }
        names = [layout.signals[s].name for s in kept]
        return Derived(chosen, {name: self.signal_hashes[name] for name in names})

    def files(self) -> dict[str, bytes]:
        """The .npy files, by name."""
        return {
            name: array_file(np.column_stack([own.lengths, own.effect, own.floor]), "<f8")
            for name, own in ((name, self.dependence[against_past]) for against_past, name in _FILES.items())
        }

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        hashes = dict(self.signal_hashes)
        return {"version": DERIVED_VERSION, "hash": _hash(hashes, self.files()), "signal_hashes": hashes}


def derived_from(facts: Mapping[str, Any], files: Mapping[str, bytes], layout: Layout) -> Derived:
    """What was derived, from the manifest's facts of it and its files by name.

    Raises ValueError, KeyError or TypeError if they are damaged, or belong to another layout.
    """
    hashes = {str(name): str(of) for name, of in facts["signal_hashes"].items()}
    if facts["hash"] != _hash(hashes, files) or set(hashes) != {signal.name for signal in layout.signals}:
        raise ValueError("what was derived does not match its hash")
    return Derived({past: _dependence(files[name], layout) for past, name in _FILES.items()}, hashes)


def signal_hashes(layout: Layout, blocks: IntArray, total: Sketch) -> dict[str, str]:
    """By name, a hash of all that decides how a signal is judged: its codes, and their counts in blocks (P, C).

    Signals with equal hashes in two baselines are judged alike. The range is not part of it, since it says only which
    values a sketch tells apart; how far is far, the extremes say.
    """
    found = {}
    for s, signal in enumerate(layout.signals):
        own = np.flatnonzero(layout.signal_of_column == s)
        moments = [index for index, of in enumerate(layout.numeric) if of == s]
        arrays = (
            array_file(blocks[:, own], "<u4"),
            array_file(total.sums[:, moments], "<i8"),
            array_file(total.extremes[:, moments], "<f8"),
        )
        plain = canonical_json(signal_to_json(replace(signal, range=None)))
        found[signal.name] = hashlib.sha256(b"".join([plain, *arrays])).hexdigest()
    return found


def _columns(layout: Layout) -> tuple[Column, ...]:
    """The columns of the evidence of a layout's signals, which depend on no counts."""
    return Battery(layout, np.zeros(layout.width, np.int64)).columns


def _dependence(file: bytes, layout: Layout) -> Dependence:
    figures = read_array(file, "<f8")
    columns = len(_columns(layout))
    if figures.shape[1] != 1 + 2 * columns or not len(figures) or not np.isfinite(figures).all():
        raise ValueError("what was derived does not match the signals")
    return Dependence(figures[:, 0], figures[:, 1 : 1 + columns], figures[:, 1 + columns :])


def _hash(hashes: Mapping[str, str], files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"".join([canonical_json(hashes), *(files[name] for name in DERIVED_FILES)])).hexdigest()
