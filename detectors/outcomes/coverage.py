"""What accuracy would be if labels came for all predictions alike, though they come for a part of them."""

from __future__ import annotations

import math

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.outcomes.intervals import NOTHING, Figure

_Z = 1.959963984540054


def reweighted(seen: FloatArray, n: FloatArray, right: FloatArray, effect: float = 1.0) -> Figure:
    """The accuracy of all predictions, from strata (S,): each is as often right as its labelled rows, n of them.

    Strata without a label may be always or never right, which the interval allows for.
    """
    total, known = seen.sum(), n > 0
    if not n.sum():
        return NOTHING
    share, accuracy = seen / total, right / np.maximum(n, 1)
    value, dark = float(share[known] @ accuracy[known]), float(share[~known].sum())
    # With one row added that is half right, a stratum of one row is not known exactly.
    smooth = (right + 0.5) / (n + 1)
    half = _Z * math.sqrt(float((share**2 * smooth * (1 - smooth) / (n + 1))[known].sum()) * effect)
    middle = value / (1 - dark) if dark < 1 else value
    return Figure(middle, max(value - half, 0.0), min(value + dark + half, 1.0), round(float(n.sum())))
