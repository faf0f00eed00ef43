"""How far sums deviate from what is expected of them, in standard deviations, if they lean or come of few events."""

from __future__ import annotations

from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray

#: Independent events that a window must be worth, for level, spread and ks. With 12 no drift was seen earlier, and
#: sessions and AR(1) 0.95 paged more often.
INDEPENDENT: Final = 25


def squared_deviations(
    asked: FloatArray, variance: FloatArray, slope: FloatArray, n: FloatArray, skewness: FloatArray
) -> FloatArray:
    """Squares of deviations x / √Var (w, F), less what a skewed sum leans; 0 in short windows.

    asked, variance: of sums (w, F). slope: how many events say as much as an independent one (w, F). n: events (w, 1).
    skewness: of one event (F,).
    """
    deviations, independent = np.abs(asked) / np.sqrt(variance), n / np.maximum(slope, 1.0)
    lean = np.maximum(np.sign(asked) * skewness, 0.0) * (1.5 - 0.5 / np.maximum(slope, 1.0))
    leant = deviations**2 / (1 + deviations * lean / (3 * np.sqrt(independent)))
    return np.where(n >= INDEPENDENT * slope, leant, 0.0)
