"""A table of outcomes as it travels and is kept: only the cells that are not 0, since a pane fills a tenth of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeTable:
    """The outcomes of some events, in a layout of C cells; tables of one layout add, in any order.

    layout: names the layout. n: outcomes. odd: events with a label that are none, since the label or the prediction
    belongs to no class, or is no number. cells: (2, m), the numbers of the cells that are not 0, rising, and what each
    holds.
    """

    layout: str
    n: int
    odd: int
    cells: IntArray

    @classmethod
    def of(cls, layout: str, n: int, odd: int, row: IntArray) -> OutcomeTable:
        """The table with the cells `row` (C,)."""
        filled = np.flatnonzero(row)
        return cls(layout, n, odd, np.stack([filled, row[filled]]))

    def __add__(self, other: OutcomeTable) -> OutcomeTable:
        """The outcomes of both, which have one layout."""
        size = 1 + max(int(each.cells[0].max(initial=-1)) for each in (self, other))
        row = self.row(size) + other.row(size)
        return OutcomeTable.of(self.layout, self.n + other.n, self.odd + other.odd, row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OutcomeTable):
            return False
        mine, others = ((each.layout, each.n, each.odd) for each in (self, other))
        return mine == others and np.array_equal(self.cells, other.cells)

    __hash__ = None  # type: ignore[assignment]

    def row(self, size: int) -> IntArray:
        """All cells (C,), of which there are `size`. Raises IndexError if that is too few."""
        row = np.zeros(size, np.int64)
        row[self.cells[0]] = self.cells[1]
        return row


def rows(tables: Sequence[OutcomeTable], size: int) -> IntArray:
    """The cells (w, C) of w tables."""
    return np.stack([each.row(size) for each in tables])
