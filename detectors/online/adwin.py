"""ADWIN: adaptive windowing over an exponential histogram of moments, with its cut bound as evidence in nats.

Bifet & Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing" (SIAM Data Mining 2007). The window W holds
the values since the last change. Every bucket boundary of the histogram cuts it in two, W = W0 W1:

     oldest  [8][8]  [4][4]  [2][2]  [1][1]  newest
        n0 values, mean0   ^   n1 values, mean1

While some cut shows |mean0 - mean1| > eps, a change is detected and the oldest bucket dropped, where

    eps = sqrt(2/m * var(W) * d) + 2/(3m) * d,      1/m = 1/n0 + 1/n1,      d = ln(2 / delta')

is a Bernstein bound: without a change, a cut exceeds it with a probability of about 2 exp(-d) = delta'. Solved for d,
the same formula gives the evidence of a cut in nats (`cut_evidence`), which ADWIN compares with ln(2 / delta').

How `semantics="paper"`, the default, differs from the paper:

- delta' = delta / k for k cuts. The paper tests all n - 1 cuts with delta / n; the buckets leave k of them, so this is
  the same union bound with a smaller eps. As in the paper, delta bounds the false alarms of one check, not of a stream.
- ADWIN checks every `clock` values, not at every value, because the scan is what costs time. It does not test cuts with
  fewer than `min_window_length` values on a side, nor windows of up to `grace_period` values: their variance is not yet
  reliable.

As in the paper, the bound holds for values in [0, 1], which is not checked: use ranks, errors or rates. On raw
heavy-tailed values false alarms have no bound, and one huge value hides the changes after it. Also as in the paper,
buckets are dropped only until no cut shows a change: old values may stay in the window, and later checks detect the
same change again.

How `semantics="river"` differs from that, to detect at the same values as River 0.26.1:

- delta' = delta / ln(n). That divisor is less than the number k of cuts, about M log2(n / M), so delta is no strict
  bound.
- 1/m uses n0 - min_window_length + 1 and n1 - min_window_length + 1 for n0 and n1: eps grows towards both ends.
- At the value after a detection the whole window is dropped, including W1, and the clock starts over.
- Every boundary is a cut, as above; before its Rust core, River left out the last bucket of every row.

How both differ from River: `variance` is the variance, not the sum of squares; `n_detections` counts all detections,
while River resets it after each; and values that are no numbers are skipped, while one NaN turns River's mean and
variance into NaN, so that no comparison is ever true again.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fabs, log
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.online.detector import Detector
from driftline.detectors.parameters import at_least
from driftline.detectors.snapshots import check_version
from driftline.detectors.statistics.cut import cut_evidence
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram

Semantics = Literal["paper", "river"]

SNAPSHOT_VERSION = 1
# Larger values are skipped, as infinities are: the square of a difference times two window lengths must stay finite, or
# the variance becomes inf and no later cut shows a change. With 1e150, a window of 100,000 values overflows.
LARGEST = 1e100


class Moments(NamedTuple):
    """Count, sum and centred sum of squares of some values; adding merges exactly (Chan, Golub & LeVeque 1979).

    Units: `total` and `mean` those of the values, `m2` and `variance` their square. `Moments()` is the neutral element.

    >>> Moments(2, 3.0, 0.5) + Moments(1, 3.0, 0.0)
    Moments(n=3, total=6.0, m2=2.0)
    """

    n: int = 0
    total: float = 0.0
    m2: float = 0.0

    def __add__(self, other: Moments, /) -> Moments:  # type: ignore[override]
        n0, total0, squares0 = self
        n1, total1, squares1 = other
        if not n0 or not n1:
            return self if n0 else other
        n, gap = n0 + n1, total0 / n0 - total1 / n1
        return Moments(n, total0 + total1, squares0 + squares1 + n0 * n1 * gap * gap / n)

    @property
    def mean(self) -> float:
        """The mean; 0.0 when empty."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """The population variance; 0.0 when empty."""
        return self.m2 / self.n if self.n else 0.0


class ADWIN(Detector):
    """ADWIN on one stream of numbers, with the interface of River's drift detectors. The module describes the test.

    Parameters; raises ValueError if one is out of range:

    - `delta` in (0, 1): the probability of a false alarm in one check;
    - `clock` >= 1: values from one check to the next;
    - `max_buckets` >= 2: M of the exponential histogram;
    - `min_window_length` >= 1: cuts with fewer values on a side are not tested;
    - `grace_period` >= 0: windows of at most this many values are not tested;
    - `semantics`: "paper" or "river".

    Memory: up to `clock` values and M * (log2(n / M + 1) + 1) buckets of three numbers for a window of n. Time: O(1)
    amortised per value, and O(M log n) per check.

    >>> from random import Random
    >>> detector, random = ADWIN(), Random(42).random
    >>> for index in range(2000):
    ...     detector.update(random() < (0.2 if index < 1000 else 0.5))
    ...     if detector.drift_detected:
    ...         print(index, detector.width, round(detector.estimation, 2))
    1087 256 0.3
    1183 288 0.39
    """

    def __init__(
        self,
        delta: float = 0.002,
        *,
        clock: int = 32,
        max_buckets: int = 5,
        min_window_length: int = 5,
        grace_period: int = 10,
        semantics: Semantics = "paper",
    ) -> None:
        if not isinstance(delta, (int, float)) or not 0.0 < delta < 1.0:
            raise ValueError(f"delta must be a number in (0, 1), got {delta!r}")
        if semantics not in get_args(Semantics):
            raise ValueError(f"semantics must be 'paper' or 'river', got {semantics!r}")
        self.delta = float(delta)
        self.clock = at_least(1, "clock", clock)
        self.max_buckets = at_least(2, "max_buckets", max_buckets)
        self.min_window_length = at_least(1, "min_window_length", min_window_length)
        self.grace_period = at_least(0, "grace_period", grace_period)
        self.semantics: Semantics = semantics
        self.n_detections = 0
        self.n_skipped = 0
        self.drift_detected = False
        self._forget()

    def _forget(self) -> None:
        self._window = Moments()
        self._histogram: ExponentialHistogram[Moments] = ExponentialHistogram(self.max_buckets)
        self._recent: list[Moments] = []

    def update(self, x: float) -> None:
        """Add one value; `drift_detected` is then True if the value completed a check and the check found a change.

        A value that is no finite number (NaN, inf, None, a string) or lies beyond 1e100 is only counted in `n_skipped`:
        the detections are those of the stream without it.
        """
        if self.drift_detected:
            self.drift_detected = False
            if self.semantics == "river":
                self._forget()
        try:
            usable = fabs(x) <= LARGEST
        except (TypeError, ValueError, OverflowError):
            usable = False
        if not usable:
            self.n_skipped += 1
            return
        item = Moments(1, float(x), 0.0)
        self._window += item
        self._recent.append(item)
        if len(self._recent) == self.clock:
            self._check()

    @property
    def width(self) -> int:
        """Number of values in the window."""
        return self._window.n

    @property
    def total(self) -> float:
        """The sum of the values in the window."""
        return self._window.total

    @property
    def estimation(self) -> float:
        """The mean of the values in the window; 0.0 when it is empty."""
        return self._window.mean

    @property
    def variance(self) -> float:
        """The population variance of the values in the window; 0.0 when it is empty."""
        return self._window.variance

    def clone(self) -> ADWIN:
        """A new detector with the same parameters, that has seen no value."""
        return ADWIN(self.delta, **self._options())

    def snapshot(self) -> dict[str, Any]:
        """Parameters and state as plain data that JSON keeps exactly."""
        return {
            "version": SNAPSHOT_VERSION,
            "delta": self.delta,
            "options": self._options(),
            "window": list(self._window),
            "recent": [item.total for item in self._recent],
            "ladder": self._histogram.snapshot(list),
            "n_detections": self.n_detections,
            "n_skipped": self.n_skipped,
            "drift_detected": self.drift_detected,
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> ADWIN:
        """The detector of a snapshot; it continues as the original would. Raises ValueError for an unknown version."""
        check_version("ADWIN", snapshot, SNAPSHOT_VERSION)
        detector = cls(snapshot["delta"], **snapshot["options"])
        detector._window = Moments(*snapshot["window"])
        detector._recent = [Moments(1, value, 0.0) for value in snapshot["recent"]]
        detector._histogram = ExponentialHistogram.restore(snapshot["ladder"], lambda bucket: Moments(*bucket))
        detector.n_detections = snapshot["n_detections"]
        detector.n_skipped = snapshot["n_skipped"]
        detector.drift_detected = snapshot["drift_detected"]
        return detector

    def _facts(self) -> dict[str, Any]:
        return {"delta": f"{self.delta:g}", "width": self.width, "mean": f"{self.estimation:.4g}"}

    def _options(self) -> dict[str, Any]:
        names = ("clock", "max_buckets", "min_window_length", "grace_period", "semantics")
        return {name: getattr(self, name) for name in names}

    def _check(self) -> None:
        """Drop the oldest bucket as long as some cut shows a change."""
        self._histogram = self._histogram.extend(self._recent)
        self._recent = []
        if self.width <= self.grace_period:
            return
        while self._shows_change():
            self.drift_detected = True
            self._histogram = self._histogram.drop_oldest()
            self._window = sum(self._histogram, Moments())
        self.n_detections += self.drift_detected

    def _shows_change(self) -> bool:
        """Whether the evidence of some cut exceeds ln(2 / delta')."""
        sizes, totals, _ = zip(*self._histogram, strict=True)
        if len(sizes) < 2:
            return False
        n0 = np.array(sizes[:-1], np.float64).cumsum()
        n1 = self.width - n0
        sums = np.array((self.total, *totals[:-1]))
        mean0 = sums[1:].cumsum() / n0
        # Subtracted one by one, as in River: on 1e15 plus noise, rounding decides, and it depends on the order.
        mean1 = np.subtract.accumulate(sums)[1:] / n1
        evidence = cut_evidence(self._tested(n0), mean0, self._tested(n1), mean1, self.variance)
        return bool(evidence.max() > self._threshold(cuts=n0.size))

    def _threshold(self, cuts: int) -> float:
        """ln(2 / delta') in nats."""
        if self.semantics == "river":
            return log(2.0 * log(self.width) / self.delta)
        return log(2.0 * cuts / self.delta)

    def _tested(self, sizes: FloatArray) -> FloatArray:
        """The sizes used in the bound: not positive, so not tested, for a side shorter than `min_window_length`."""
        if self.semantics == "river":
            return sizes - (self.min_window_length - 1)
        return np.where(sizes < self.min_window_length, 0.0, sizes)
