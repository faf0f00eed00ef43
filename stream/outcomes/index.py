"""Rows by 64-bit key, in sorted runs: cheap to add to, and never changed. Pure.

A log-structured merge tree (O'Neil et al. 1996): a run is merged with the next smaller one once it is half as long, so
n rows are in log2(n) runs at most, and each row is moved as often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import IntArray
from driftline.stream.outcomes.ids import Keys

_Column = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Rows by key. runs: longest first; of each, keys that rise and, in their order, the other columns of its rows."""

    runs: tuple[tuple[Keys, tuple[_Column, ...]], ...] = ()

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self.runs)

    def add(self, keys: Keys, *columns: _Column) -> Self:
        """The index with more rows, whose columns are those of all others."""
        if not len(keys):
            return self
        runs = [*self.runs, _sorted(keys, columns)]
        while len(runs) > 1 and len(runs[-2][0]) < 2 * len(runs[-1][0]):
            (keys, own), (others, their) = runs.pop(), runs.pop()
            both = [np.concatenate(pair) for pair in zip(their, own, strict=True)]
            runs.append(_sorted(np.concatenate([others, keys]), both))
        return type(self)(tuple(runs))

    def find(self, keys: Keys) -> tuple[IntArray, list[_Column]]:
        """The rows (m,) of keys (n,): to which of these each belongs, and the columns."""
        places, found = list[IntArray](), list[list[_Column]]()
        for own, columns in self.runs:
            first, end = own.searchsorted(keys, "left"), own.searchsorted(keys, "right")
            times = end - first
            if not np.count_nonzero(times):
                continue  # most runs, if a few keys are asked for
            place = np.repeat(np.arange(len(keys)), times)
            # The rows of a key follow each other: its first one, and as many more as there are.
            rows = np.arange(len(place)) + np.repeat(first - (np.cumsum(times) - times), times)
            places.append(place)
            found.append([column[rows] for column in columns])
        if not places:
            return np.empty(0, np.int64), []
        return np.concatenate(places), [np.concatenate(own) for own in zip(*found, strict=True)]


def _sorted(keys: Keys, columns: Any) -> tuple[Keys, tuple[_Column, ...]]:
    order = np.argsort(keys, kind="stable")
    return keys[order], tuple(column[order] for column in columns)
