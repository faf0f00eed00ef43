"""Neyman's smooth test: a shape has changed that has the same level and the same spread.

Legendre polynomials of orders 1 and 2 of a mid-rank are `level` and `spread`; those of orders 3 and 4 see values that
lean to one side and values in two humps, which Kolmogorov-Smirnov is slow to see (Neyman, Skandinavisk
Aktuarietidskrift 20, 1937; Rayner & Best, Smooth Tests of Goodness of Fit, 1989). Sums of them are additive, as those
of counts are. The evidence is that of the farther of the two orders, less ln 4 for two sides of both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray

#: The orders of the polynomials.
ORDERS: Final = (3, 4)
# What is left of a polynomial, in its own variance, where a signal has too few values for its order.
_NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class Smooth:
    """What the test asks of a signal.

    shares: (size,) of its regular codes among themselves, in their order. dispersion: φ >= 1 of each order (2,), by
    how much sums vary more in long windows than those of independent events.
    """

    shares: FloatArray
    dispersion: FloatArray = field(default_factory=lambda: np.ones(len(ORDERS)))

    @cached_property
    def matrix(self) -> FloatArray:
        """The number that each regular code has in each order (size, 2): of mean 0 and variance 1, and not correlated.

        0 if there are too few codes for an order.
        """
        rank = 2 * np.cumsum(self.shares) - self.shares - 1
        found = [np.ones(len(rank))]
        for order in range(1, ORDERS[-1] + 1):
            own = np.polynomial.legendre.Legendre.basis(order)(rank)
            size = self.shares @ own**2
            for other in found:
                own = own - (self.shares @ (own * other)) * other
            left = self.shares @ own**2
            found.append(own / np.sqrt(left) if left > _NOTHING * size else np.zeros(len(rank)))
        return np.column_stack([found[order] for order in ORDERS])
