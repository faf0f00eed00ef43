"""Windowed Kolmogorov-Smirnov on one stream of numbers, with the interface of River's drift detectors.

Three choices of the samples compared; D is the largest distance between their empirical distribution functions:

    a baseline, all windows     ──────────[─────[───[──[─[[now    each suffix of the stream with the baseline
    a baseline, a window        ────────────────[─────────]now    the last `window` values with the baseline
    no baseline                 ──────────│─────│───│──│─││now    at each cut, the values after it with those before

dos Reis, Flach, Matwin & Batista (KDD 2016) keep both samples in a treap, O(log n) per value. Here a value becomes its
code in the baseline's grid and codes are counted, O(1) per value after one binary search. With up to 256 distinct
values in the baseline, D is the same number; with more it is the maximum over the grid's cuts, at most 1/bins smaller.
Without a baseline the grid is fitted to the first values; differences among values beyond all of them are not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite, log
from typing import Any

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.online.detector import Detector
from driftline.detectors.parameters import at_least
from driftline.detectors.snapshots import check_version
from driftline.detectors.statistics.ks import ks_evidence, ks_statistic
from driftline.detectors.summaries.codes import BINS, Grid
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram

SNAPSHOT_VERSION = 1
# Values that the grid is fitted to without a baseline: more than MAX_DISTINCT, so that continuous values get quantiles,
# eight values to each. With half as many, every value would keep a code of its own, at eight times the memory.
_WARMUP = 512


@dataclass(frozen=True, slots=True, eq=False)
class CountedSample:
    """A baseline as counts (K,) of the codes of its grid. Raises ValueError if their number differs or all are 0."""

    grid: Grid
    counts: IntArray

    def __post_init__(self) -> None:
        if self.counts.shape != (self.grid.size,) or self.counts.min() < 0 or not self.counts.any():
            raise ValueError(f"baseline counts must be {self.grid.size} numbers of at least 0, and not all 0")

    @classmethod
    def of(cls, values: Iterable[Any], bins: int = BINS) -> CountedSample:
        """Count the finite numbers among the values. Raises ValueError if there is none."""
        sample = np.array([float(value) for value in values if _is_usable(value)])
        if not sample.size:
            raise ValueError("baseline must hold at least one finite number")
        grid = Grid.fit(sample, bins)
        return cls(grid, np.bincount(grid.encode(sample), minlength=grid.size))


@dataclass(slots=True, eq=False)
class _Pinned:
    """The last `window` codes in a ring, and how often each of 0 .. size occurs; O(1) per code.

    ring: (window,) codes, oldest at index `oldest`. At first every place holds the code `size`, which means free.
    """

    ring: IntArray
    size: int
    oldest: int = 0
    counts: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.bincount(self.ring, minlength=self.size + 1)

    def slide(self, codes: IntArray) -> None:
        """Replace the oldest codes by new ones."""
        codes = codes[-self.ring.size :]
        places = (self.oldest + np.arange(codes.size)) % self.ring.size
        self.counts += np.bincount(codes, minlength=self.size + 1)
        self.counts -= np.bincount(self.ring[places], minlength=self.size + 1)
        self.ring[places] = codes
        self.oldest = (self.oldest + codes.size) % self.ring.size

    def windows(self) -> IntArray:
        """The counts as one window (1, K), or none (0, K) while places are free."""
        return self.counts[None, :-1][: int(self.counts[-1] == 0)]

    def codes(self) -> list[int]:
        """The codes, oldest first."""
        codes: list[int] = np.roll(self.ring, -self.oldest).tolist()
        return codes


class WindowedKS(Detector):
    """Windowed KS on one stream. The module shows which samples are compared.

    baseline: numbers, or a `CountedSample`; None compares the recent past with the past before it.
    window: length of a pinned window in values, tested once it is full; needs a baseline. None tests every suffix.
    alpha: false alarms per value, in (0, 1/clock). clock: values between checks. bins: quantiles of the grid.
    max_buckets: M of the exponential histogram. warmup: values to fit the grid to if there is no baseline, before any
    check. Raises ValueError for other values.

    A check of w windows alarms when the evidence of one of them, 2 D² nm/(n+m) - ln 2 nats, reaches

        threshold = ln(w / (alpha * clock)).

    By the union bound a check raises at most alpha * clock false alarms, so independent values raise at most alpha each
    on average over baselines; fewer in practice, since windows overlap.

    After an alarm the history is dropped and, without a baseline, the grid: a new warm-up begins. `evidence`,
    `threshold`, `statistic` (D) and `width` (values in the window) are those of the strongest window of the last check.
    Values that are no finite numbers (None, NaN, infinities, text) are only counted in `n_skipped`.

    Memory after n values: those since the last check, and M (log2(n / (clock M) + 1) + 1) vectors of K <= max(513,
    3 bins) counts; for a pinned window, its codes and one such vector.

    >>> import random
    >>> rng = random.Random(12345)
    >>> stream = rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000)
    >>> for detector in WindowedKS([0, 1] * 500, clock=1), WindowedKS([0, 1] * 500, window=100), WindowedKS():
    ...     for index, value in enumerate(stream):
    ...         detector.update(value)
    ...         if detector.drift_detected:
    ...             print(index, detector.width, round(detector.statistic, 2))
    ...             break
    1009 10 1.0
    1055 100 0.56
    1023 32 0.75
    """

    def __init__(
        self,
        baseline: Iterable[Any] | CountedSample | None = None,
        *,
        window: int | None = None,
        alpha: float = 1e-6,
        clock: int = 32,
        bins: int = BINS,
        max_buckets: int = 5,
        warmup: int = _WARMUP,
    ) -> None:
        self.clock = at_least(1, "clock", clock)
        self.bins = at_least(2, "bins", bins)
        self.max_buckets = at_least(2, "max_buckets", max_buckets)
        self.warmup = at_least(2, "warmup", warmup)
        self.window = None if window is None else at_least(1, "window", window)
        if not isinstance(alpha, (int, float)) or not 0 < alpha < 1 / clock:
            raise ValueError(f"alpha must be a number in (0, 1/clock = {1 / clock:g}), got {alpha!r}")
        if window is not None and baseline is None:
            raise ValueError("window needs a baseline: without one, every cut of the past is judged")
        self.alpha = float(alpha)
        if not (baseline is None or isinstance(baseline, CountedSample)):
            baseline = CountedSample.of(baseline, bins)
        self.baseline = baseline
        self.evidence = self.statistic = self.threshold = 0.0
        self.width = self.n_detections = self.n_skipped = 0
        self.drift_detected = False
        self._forget()

    def _forget(self) -> None:
        self._grid = None if self.baseline is None else self.baseline.grid
        self._recent: list[float] = []
        self._histogram: ExponentialHistogram[IntArray] = ExponentialHistogram(self.max_buckets)
        self._pinned = None
        if self.baseline is not None and self.window is not None:
            size = self.baseline.grid.size
            self._pinned = _Pinned(np.full(self.window, size), size)

    def update(self, x: float) -> None:
        """Add one value; `drift_detected` is then True if the value completed a check and the check found a change."""
        self.drift_detected = False
        if not _is_usable(x):
            self.n_skipped += 1
            return
        self._recent.append(float(x))
        if len(self._recent) >= (self.warmup if self._grid is None else self.clock):
            self._check()

    def clone(self) -> WindowedKS:
        """A new detector with the same parameters and baseline that has seen no value."""
        return WindowedKS(self.baseline, **self._options())

    def snapshot(self) -> dict[str, Any]:
        """Parameters and state as plain data that JSON keeps exactly."""
        return {
            "version": SNAPSHOT_VERSION,
            "options": self._options(),
            "baseline": None if self.baseline is None else self.baseline.counts.tolist(),
            "cuts": None if self._grid is None else self._grid.cuts.tolist(),
            "recent": list(self._recent),
            "ladder": self._histogram.snapshot(lambda counts: counts.tolist()),
            "pinned": None if self._pinned is None else self._pinned.codes(),
            "seen": {name: getattr(self, name) for name in _SEEN},
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> WindowedKS:
        """The detector of a snapshot; it continues as the original would. Raises ValueError for an unknown version."""
        check_version("WindowedKS", snapshot, SNAPSHOT_VERSION)
        grid = None if snapshot["cuts"] is None else Grid(np.array(snapshot["cuts"], np.float64))
        counts = snapshot["baseline"]
        baseline = None if grid is None or counts is None else CountedSample(grid, np.array(counts, np.int64))
        detector = cls(baseline, **snapshot["options"])
        detector._grid = grid
        detector._recent = list(snapshot["recent"])
        detector._histogram = ExponentialHistogram.restore(
            snapshot["ladder"], lambda bucket: np.array(bucket, np.int64)
        )
        if grid is not None and snapshot["pinned"] is not None:
            detector._pinned = _Pinned(np.array(snapshot["pinned"], np.int64), grid.size)
        for name in _SEEN:
            setattr(detector, name, snapshot["seen"][name])
        return detector

    def _facts(self) -> dict[str, Any]:
        against = "its own past" if self.baseline is None else f"{int(self.baseline.counts.sum()):,} values"
        window = "every suffix" if self.window is None else f"the last {self.window:,} values"
        return {"alpha": f"{self.alpha:g}", "window": window, "against": against}

    def _options(self) -> dict[str, Any]:
        names = ("window", "alpha", "clock", "bins", "max_buckets", "warmup")
        return {name: getattr(self, name) for name in names}

    def _check(self) -> None:
        """Count the values since the last check, then test every window."""
        values = np.array(self._recent)
        self._recent = []
        if self._grid is None:
            self._grid = Grid.fit(values, self.bins)
        codes = self._grid.encode(values)
        if self._pinned is not None:
            self._pinned.slide(codes)
        else:
            panes = (codes[start : start + self.clock] for start in range(0, len(codes), self.clock))
            self._histogram = self._histogram.extend(np.bincount(pane, minlength=self._grid.size) for pane in panes)
        windows, reference = self._windows()
        if len(windows):
            self._test(windows, reference)

    def _windows(self) -> tuple[IntArray, IntArray]:
        """Counts (w, K) of the windows to test, shortest first, and of their references, (K,) or (w, K)."""
        if self.baseline is not None and self._pinned is not None:
            return self._pinned.windows(), self.baseline.counts
        suffixes = np.cumsum(list(self._histogram)[::-1], axis=0)
        if self.baseline is not None:
            return suffixes, self.baseline.counts
        return suffixes[:-1], suffixes[-1] - suffixes[:-1]

    def _test(self, windows: IntArray, reference: IntArray) -> None:
        d, n, m = ks_statistic(windows, reference)
        evidence = ks_evidence(d, n, m)
        strongest = int(evidence.argmax())
        self.evidence, self.statistic = float(evidence[strongest, 0]), float(d[strongest, 0])
        self.width = int(n[strongest, 0])
        self.threshold = log(len(windows) / (self.alpha * self.clock))
        self.drift_detected = self.evidence >= self.threshold
        if self.drift_detected:
            self.n_detections += 1
            self._forget()


# Attributes that an update sets for the caller to read; they do not affect later checks.
_SEEN = ("evidence", "statistic", "threshold", "width", "n_detections", "n_skipped", "drift_detected")


def _is_usable(x: object) -> bool:
    """Whether x is a finite number; text is not, even "1.5"."""
    try:
        return isfinite(x)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
