"""EDetector: a mean in [0, 1] has changed, with a bound on false alarms that needs no assumption on the distribution.

Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (New England Journal of
Statistics in Data Science 2, 2024). Before the change, every value x in [0, 1] has the mean m, given all values before
it; nothing else is assumed, neither a distribution nor that values are identically distributed. Then a bet

    L(x) = 1 + λ (x - m),    -1/(1 - m) < λ < 1/m

is never negative, and 1 in the mean. Somebody who bets anew at each value, and lets all bets run, owns

    M_n = (M_{n-1} + 1) L(x_n)                                  (Shiryaev-Roberts, e-SR)

and M_n - n is a martingale. So the first n at which a mixture of such M over several λ reaches 1/α is at least 1/α in
the mean, by optional stopping: that is the average run length to a false alarm. Within n values one comes with a
probability of at most α n, by Doob's inequality.

How it differs from the paper: of its bets, those of Waudby-Smith & Ramdas ("Estimating means of bounded random
variables by betting", JRSS B 86, 2024), as they are simplest; λ is a power of a half of its limit, all with the same
weight, since nobody knows the size of a change before. At an alarm it begins again.

Values whose mean moves by itself, given those before, are not covered: under AR(1) it alarms as others do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from driftline.detectors.online.detector import Detector
from driftline.detectors.snapshots import check_version

Direction = Literal["both", "up", "down"]

SNAPSHOT_VERSION = 1
# Bets on either side, from a half of the limit of λ to 1/1024 of it. The last is the best one for coins whose mean
# moves by 0.0005, which takes 30 million values to see by its growth rate; nobody waits for what more would see.
_BETS = 10
# The smallest mean and alpha: a bet on 1/m that has nearly reached 20/α stays a finite number.
_LEAST = 1e-150


class EDetector(Detector):
    """An e-detector on one stream of values in [0, 1], with the interface of River's drift detectors.

    Parameters; raises ValueError if one is out of range, or a mean or an alpha below 1e-150:

    - `mean` in (0, 1): the mean of the values before a change;
    - `alpha` in (0, 1): the average run length to a false alarm is at least 1 / alpha;
    - `direction`: "both", "up" or "down", the changes of the mean that are looked for.

    Memory: 20 numbers. Time: O(1) per value.

    >>> from random import Random
    >>> detector, random = EDetector(0.2, alpha=1e-6), Random(42).random
    >>> detector.update_many(random() < (0.2 if index < 1000 else 0.5) for index in range(1100))
    [1037, 1094]
    >>> detector
    EDetector(mean=0.2, alpha=1e-06, direction='both', evidence=1.5, detections=2, skipped=0)
    """

    def __init__(self, mean: float, *, alpha: float = 1e-6, direction: Direction = "both") -> None:
        for name, value in (("mean", mean), ("alpha", alpha)):
            if not isinstance(value, (int, float)) or not _LEAST <= value < 1.0:
                raise ValueError(f"{name} must be a number in (0, 1), and at least {_LEAST}, got {value!r}")
        if direction not in get_args(Direction):
            raise ValueError(f"direction must be 'both', 'up' or 'down', got {direction!r}")
        self.mean = float(mean)
        self.alpha = float(alpha)
        self.direction: Direction = direction
        self.n_detections = 0
        self.n_skipped = 0
        self.drift_detected = False
        parts = 0.5 ** np.arange(1, _BETS + 1)
        up, down = parts / self.mean, -parts / (1 - self.mean)
        self._bets = np.concatenate({"both": (up, down), "up": (up,), "down": (down,)}[direction])
        self._owned = np.zeros(len(self._bets))

    def _facts(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "alpha": self.alpha,
            "direction": f"'{self.direction}'",
            "evidence": f"{self.evidence:.1f}",
        }

    def update(self, x: float) -> None:
        """Add one value; `drift_detected` is then True if it raised an alarm, after which all bets begin again.

        A value that is no number in [0, 1] (NaN, None, 1.5, a string) is only counted in `n_skipped`, as no bound holds
        for it: the alarms are those of the stream without it.
        """
        self.drift_detected = False
        try:
            usable = 0.0 <= x <= 1.0
        except (TypeError, ValueError, ArithmeticError):
            usable = False
        if not usable:
            self.n_skipped += 1
            return
        self._owned = (self._owned + 1.0) * (1.0 + self._bets * (float(x) - self.mean))
        if self._owned.mean() >= 1.0 / self.alpha:
            self.drift_detected = True
            self.n_detections += 1
            self._owned = np.zeros(len(self._bets))

    @property
    def evidence(self) -> float:
        """The logarithm of what the bets own, in nats: an alarm comes at -ln alpha. 0.0 at the beginning."""
        return math.log(max(float(self._owned.mean()), 1.0))

    def clone(self) -> EDetector:
        """A new detector with the same parameters, that has seen no value."""
        return EDetector(self.mean, alpha=self.alpha, direction=self.direction)

    def snapshot(self) -> dict[str, Any]:
        """Parameters and state as plain data that JSON keeps exactly."""
        return {
            "version": SNAPSHOT_VERSION,
            "mean": self.mean,
            "alpha": self.alpha,
            "direction": self.direction,
            "owned": self._owned.tolist(),
            "n_detections": self.n_detections,
            "n_skipped": self.n_skipped,
            "drift_detected": self.drift_detected,
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> EDetector:
        """The detector of a snapshot; it continues as the original would. Raises ValueError for an unknown version."""
        check_version("EDetector", snapshot, SNAPSHOT_VERSION)
        detector = cls(snapshot["mean"], alpha=snapshot["alpha"], direction=snapshot["direction"])
        owned = np.array(snapshot["owned"], float)
        if owned.shape != detector._owned.shape or not (owned >= 0).all():
            raise ValueError("EDetector snapshot does not hold what its bets own")
        detector._owned = owned
        detector.n_detections = snapshot["n_detections"]
        detector.n_skipped = snapshot["n_skipped"]
        detector.drift_detected = snapshot["drift_detected"]
        return detector
