"""Types of arrays, and sums over the columns of each signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def sum_by_signal(columns: npt.NDArray[Any], starts: IntArray) -> npt.NDArray[Any]:
    """Sums (..., S) of the columns (..., C) of each signal; signal s has those from starts[s] to the next start."""
    return np.asarray(np.add.reduceat(columns, starts, axis=-1))
