"""Array types, and sums over the columns of each signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: `starts` of columns that belong to one signal: it begins at column 0.
ONE_SIGNAL: IntArray = np.zeros(1, np.int64)
ONE_SIGNAL.flags.writeable = False


def sum_by_signal(columns: npt.NDArray[Any], starts: IntArray) -> npt.NDArray[Any]:
    """Sums (..., S) over the columns (..., C) of each signal, which go from its start in `starts` (S,) to the next."""
    return np.asarray(np.add.reduceat(columns, starts, axis=-1))
