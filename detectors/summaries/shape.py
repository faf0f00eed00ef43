"""The shape of a sketch: which column of a row of counts holds which code of which signal.

    | ordered signals, K codes each | nominal signals, K codes each | 6 special codes for each signal |
    0                          ordered                           regular                            width

A shape reads sketches, and takes no coders for it: so sketches outlive the baseline whose layout counted them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.codes import MAGNITUDES, Special
from driftline.detectors.summaries.sketch import Sketch


class SignalShape(Protocol):
    """What decides where the codes of a signal lie.

    size: number of regular codes. ordered, numeric, range: as in `Signal`.
    """

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def ordered(self) -> bool: ...

    @property
    def numeric(self) -> bool: ...

    @property
    def range(self) -> tuple[float, float] | None: ...


SignalT = TypeVar("SignalT", bound=SignalShape, covariant=True)


@dataclass(frozen=True)
class Shape(Generic[SignalT]):
    """The column of each code of each signal in a sketch's vector.

    signals: at least one, with distinct names, ordered signals first (`Layout.of` sorts them), or ValueError. The
    columns of the value matrix are the numeric signals in this order.
    """

    signals: tuple[SignalT, ...]

    def __post_init__(self) -> None:
        if not self.signals or len({signal.name for signal in self.signals}) != len(self.signals):
            raise ValueError("a layout needs at least one signal, and distinct names")
        if not all(signal.ordered for signal in self.signals[: self.n_ordered]):
            raise ValueError("a layout's ordered signals must come first")

    @cached_property
    def sizes(self) -> IntArray:
        """Number of regular codes of each signal (S,)."""
        return np.array([signal.size for signal in self.signals])

    @cached_property
    def starts(self) -> IntArray:
        """First column of each signal's regular codes (S,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    @cached_property
    def n_ordered(self) -> int:
        """Number of ordered signals; they come first."""
        return sum(signal.ordered for signal in self.signals)

    @cached_property
    def ordered(self) -> int:
        """Number of columns of the ordered signals' codes."""
        return int(self.sizes[: self.n_ordered].sum())

    @cached_property
    def regular(self) -> int:
        """Number of columns of all regular codes."""
        return int(self.sizes.sum())

    @cached_property
    def width(self) -> int:
        """Number of columns, C."""
        return self.regular + len(Special) * len(self.signals)

    @cached_property
    def numeric(self) -> tuple[int, ...]:
        """Signals with float values, in the order of the value matrix's columns."""
        return tuple(s for s, signal in enumerate(self.signals) if signal.numeric)

    @cached_property
    def columns(self) -> tuple[IntArray, ...]:
        """Per signal, the column of each local code (K + 6,)."""
        special = self.regular + len(Special) * np.arange(len(self.signals))[:, None] + np.arange(len(Special))
        return tuple(
            np.concatenate([start + np.arange(size), own])
            for start, size, own in zip(self.starts, self.sizes, special, strict=True)
        )

    @cached_property
    def ranged(self) -> tuple[int, ...]:
        """Signals with a range."""
        return tuple(s for s in self.numeric if self.signals[s].range is not None)

    @property
    def tail_cells(self) -> int:
        """Number of cells beyond the ranges: of each signal with one, those below it, then those above it.

        They are the cells of `magnitudes`, for either side.
        """
        return 2 * MAGNITUDES * len(self.ranged)

    @cached_property
    def signal_of_column(self) -> IntArray:
        """Signal index of each column (C,)."""
        signals = np.arange(len(self.signals))
        return np.concatenate([np.repeat(signals, self.sizes), np.repeat(signals, len(Special))])

    def events(self, counts: IntArray) -> IntArray:
        """Number of events (...) behind counts (..., C): every event has exactly one code of the first signal."""
        special = slice(self.regular, self.regular + len(Special))
        return np.asarray(counts[..., : self.sizes[0]].sum(-1) + counts[..., special].sum(-1))

    def special_column(self, signal: int, special: Special) -> int:
        """Column of one special code of one signal."""
        return self.regular + len(Special) * signal + special

    def tail(self, sketch: Sketch, signal: int, side: int) -> tuple[IntArray, IntArray]:
        """Cells of `magnitudes` and counts (m,) of the values below (0) or above (1) the range of a signal with one."""
        first = (2 * self.ranged.index(signal) + side) * MAGNITUDES
        span = slice(*np.searchsorted(sketch.tails[0], [first, first + MAGNITUDES]))
        return sketch.tails[0, span] - first, sketch.tails[1, span]

    def finite(self, counts: IntArray, signal: int) -> int:
        """Number of events with a regular value of one signal or, for a constant, with another number."""
        start = self.starts[signal]
        regular = int(counts[start : start + self.sizes[signal]].sum())
        return regular + int(counts[self.special_column(signal, Special.UNSEEN)])
