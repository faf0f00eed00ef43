"""The end of a drift: how much likelier the newest events are as the baseline has them than as the drift had them.

A drift keeps its own level, the counts from its onset up to a moment r. For the events since r, the log of the ratio of
the likelihoods "baseline : level of the drift" is, in nats and divided by the slope as all evidence is,

| test               | ratio                                                                                   |
|--------------------|-----------------------------------------------------------------------------------------|
| of shape           | μ (μ - 2x) / 2 Var: x is the sum of the functional's residuals, μ what the drift expects |
| chi2               | the same, (1 - p) times, summed over codes expected often enough                         |
| rate, bins, ks     | (k ln (E/λ) + (n - k) ln ((n - E) / (n - λ))) / φ: λ is what the drift expects           |

Its maximum over r is Page's CUSUM (Biometrika 41, 1954) of "the drift goes on" against "it is over", whose level is
known better the longer the drift lasts. While a drift lasts, no single r ever has a ratio of h or more but with a
chance of e^-h (Wald). So of panes of m events, h = -ln(`FALSE` m) is a false end in 1 / `FALSE` events. Less is needed
for what was no drift at all: a third of the evidence that all events from the onset to r have against the baseline. It
grows as long as a drift lasts, and soon is more than 3 h; what alarmed by chance is over as soon as it looks so.

A baseline of few events errs, and traffic differs from it by as much for ever. What alarmed by that and by chance
together is as likely in the newest events as it was, and so would never end. But the evidence of all events since the
onset falls, as chance is used up; that of a drift that lasts falls by d nats with a chance of e^-d, once (Wald, again).
So it is over, too, once this is less by a third than the alarm had (`has_faded`).

The level is taken a standard error nearer to the baseline, as the window that alarms shows more than there is; it is
known better the longer the drift lasts. Var is the larger of the variances in the baseline and in the drift, by shares:
a drift that spreads values, or fills a rare code, must not look over by chance. ks, bins and smooth ask the cut, the
bin or the order at which the drift is widest; the values up to a cut are a share of the regular ones. At other times of
a cycle, a drift is expected to add as many events to a rate as it did, or to divide it by the same factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.decision.likeness import CELLS, Likeness
from driftline.detectors.decision.reference import mixed
from driftline.detectors.decision.widths import variances
from driftline.detectors.statistics.deviations import INDEPENDENT

#: False ends per event of a drift that lasts.
FALSE: Final = 1e-6
# Share of a drift's own evidence that shows its end.
_SHARE = 1 / 3
# An event that nobody has seen yet is worth half of one.
_UNSEEN = 0.5


@dataclass(frozen=True)
class Recovery:
    """The newest windows of a signal, each beside the drift before it. w windows, K codes, H phases.

    test: one of the signal's, which found the drift. code: that of a rate, special ones last. counts, drift: (w, K) of
    each window, and of the drift up to it. phases, before: the same by phase (w, H). Both have at least one event in
    each row.
    """

    signal: Likeness
    test: str
    code: int
    counts: FloatArray
    phases: FloatArray
    drift: FloatArray
    before: FloatArray

    @cached_property
    def evidence(self) -> FloatArray:
        """Nats (w,) by which each window is likelier as the baseline has it."""
        own = {
            "ks": self._cut, "rate": self._rate, "bins": self._bins, "smooth": self._smooth, "chi2": self._nominal,
        }  # fmt: skip
        return np.asarray(own.get(self.test, self._ordered)())

    def surplus(self, pane: float) -> FloatArray:
        """Nats (w,) by which the evidence exceeds what shows the end of a drift, of panes of `pane` events."""
        return np.asarray(self.evidence - np.minimum(needed(pane), _SHARE * self._own))

    @cached_property
    def _own(self) -> FloatArray:
        """The evidence (w,) of the drift."""
        column = self.signal.tests.index(self.test)
        column += self.code - self.signal.functionals.size if self.test == "rate" else 0
        return np.asarray(self.signal.evidence(self.drift, self.before)[:, column])

    @cached_property
    def _known(self) -> FloatArray:
        """The share (w,) of the drift's level that is taken for true: evidence is half of its square, in errors."""
        return np.asarray(np.maximum(1 - 1 / np.sqrt(2 * np.maximum(self._own, 0.5)), 0.0))

    def _ordered(self) -> FloatArray:
        at = slice(0, 1) if self.test == "level" else slice(1, 2)
        asked, level = (each @ self.signal.functionals.matrix[:, at] for each in (self._residual, self._of_drift))
        ratio = self._ratio(asked, level, (self._variance * self._wider)[:, at])
        return np.where(self._n >= INDEPENDENT * self._slope[:, at], ratio, 0.0)[:, 0]

    def _cut(self) -> FloatArray:
        functionals = self.signal.functionals
        if not functionals.cuts.size:
            return np.zeros(len(self.counts))
        counts, expected, drift, usual = (
            each[:, : functionals.size] for each in (self.counts, self._expected, self.drift, self._usual)
        )
        n, lasted = (np.maximum(each.sum(1), _UNSEEN) for each in (counts, drift))
        # Values that go missing move no cut.
        likely, before = (m[:, None] * _shares_below(each) for m, each in ((n, expected), (lasted, usual)))
        below, drifted = counts.cumsum(1), drift.cumsum(1)
        at = np.abs(drifted - before).argmax(1)[:, None]
        own = (np.take_along_axis(each, at, axis=1)[:, 0] for each in (below, likely, drifted, before))
        slow = self._slope[:, 2 : 2 + functionals.cuts.size].max(1)
        ratio = self._of_share(*own, dispersion=np.maximum(slow, 1.0), n=n, lasted=lasted)
        return np.where(self._n[:, 0] >= INDEPENDENT * slow, ratio, 0.0)

    def _nominal(self) -> FloatArray:
        size = self.signal.functionals.size
        expected, slow = self._expected[:, :size], np.maximum(self._slope[:, :size], 1.0)
        often = expected > CELLS * slow
        asked, level = self._residual[:, :size], self._of_drift[:, :size]
        wide, weights = (self._variance * self._wider)[:, :size], np.where(often, 1 - expected / self._n, 0.0)
        # Of many codes that are measured at once, as much of their distance as chance has is none.
        own = self.signal.widths.variance(self.before)[:, :size]
        distance = (weights * level**2 / own).sum(1, keepdims=True)
        real = np.maximum(1 - (often.sum(1, keepdims=True) - 1) / np.maximum(distance, 1e-9), 0.0)
        return np.asarray((weights * self._ratio(asked, real * level, wide)).sum(1))

    def _smooth(self) -> FloatArray:
        smooth, own, codes = self.signal.smooth, self.signal.alone.smoothed, slice(self.signal.functionals.size)
        if smooth is None or own is None:
            return np.zeros(len(self.counts))
        expected, variance = own.expected[..., 0].T, own.variance[..., 0].T
        asked = self.counts[:, codes] @ smooth.matrix - mixed(self.phases, expected)
        level = self.drift[:, codes] @ smooth.matrix - mixed(self.before, expected)
        usual = np.maximum(mixed(self.before, variance), 1e-9)
        wider = self._wider_of(smooth.matrix, usual / self._lasted)
        slow, size = smooth.dispersion * self.signal.widths.restless(self.phases)[:, :1], self._size
        wide = mixed(self.phases, variance) * wider * slow * ((self._n + size) / size)
        at = (level**2 / (usual * smooth.dispersion)).argmax(1)[:, None]
        ratio = np.where(self._n >= own.least[:, 0] * slow, self._ratio(asked, level, wide), 0.0)
        return np.asarray(np.take_along_axis(ratio, at, axis=1)[:, 0])

    def _bins(self) -> FloatArray:
        binned, widths = self.signal.alone.binned, self.signal.widths
        if binned is None:
            return np.zeros(len(self.counts))
        counts, drift = (binned.merged(each) for each in (self.counts, self.drift))
        expected, usual = (mixed(each, binned.shares) for each in (self.phases, self.before))
        at = ((drift - usual) ** 2 / (binned.dispersion * np.maximum(usual, 1e-12))).argmax(1)[:, None]
        dispersion = binned.dispersion * widths.restless(self.phases)[:, :1]
        *each, slow = (
            np.take_along_axis(own, at, axis=1)[:, 0] for own in (counts, expected, drift, usual, dispersion)
        )
        return self._of_share(*each, dispersion=slow, n=self._n[:, 0], lasted=self._lasted[:, 0])

    def _rate(self) -> FloatArray:
        code = self.code
        slow = self._slope[:, self.signal.functionals.matrix.shape[1] - (self.counts.shape[1] - code)]
        own = (each[:, code] for each in (self.counts, self._expected, self.drift, self._usual))
        dispersion, n, lasted = np.maximum(slow, 1.0), self._n[:, 0], self._lasted[:, 0]
        return self._of_share(*own, dispersion=dispersion, n=n, lasted=lasted)

    def _of_share(
        self,
        k: FloatArray,
        expected: FloatArray,
        drift: FloatArray,
        usual: FloatArray,
        *,
        dispersion: FloatArray,
        n: FloatArray,
        lasted: FloatArray,
    ) -> FloatArray:
        """Ratios (w,) of k events of n. drift, usual: those of `lasted` of the drift, and as many as are expected."""
        size = self._size[:, 0]
        share, before = (drift + _UNSEEN) / (lasted + 2 * _UNSEEN), usual / lasted
        more = self._known * (share - before)
        fewer = np.minimum(1 + more / np.maximum(before, share), 1.0)
        least, most = n * _UNSEEN / (size + 2 * _UNSEEN), n * (1 - _UNSEEN / (lasted + 2 * _UNSEEN))
        likely = np.clip(expected, least, most)
        drifted = np.minimum(likely * fewer + n * np.maximum(more, 0.0), most)
        nats = k * np.log(likely / drifted) + (n - k) * np.log((n - likely) / (n - drifted))
        return np.asarray(nats / dispersion)

    def _ratio(self, asked: FloatArray, level: FloatArray, variance: FloatArray) -> FloatArray:
        """Ratios (w, F) of sums over windows. level: the same sums over the drift."""
        mean = self._known[:, None] * level * self._n / self._lasted
        return np.asarray(mean * (mean - 2 * asked) / (2 * np.maximum(variance, 1e-12)))

    @cached_property
    def _n(self) -> FloatArray:
        return np.asarray(self.phases.sum(1, keepdims=True))

    @cached_property
    def _lasted(self) -> FloatArray:
        """Events (w, 1) of the drift."""
        return np.asarray(self.before.sum(1, keepdims=True))

    @cached_property
    def _size(self) -> FloatArray:
        """Events (w, 1) that the reference is worth."""
        return self.signal.reference.size(self.phases)[:, None]

    @cached_property
    def _expected(self) -> FloatArray:
        return self.signal.reference.expected(self.phases)

    @cached_property
    def _residual(self) -> FloatArray:
        return np.asarray(self.counts - self._expected)

    @cached_property
    def _usual(self) -> FloatArray:
        """As many (w, K) as are expected in the drift's stead."""
        return self.signal.reference.expected(self.before)

    @cached_property
    def _of_drift(self) -> FloatArray:
        return np.asarray(self.drift - self._usual)

    @cached_property
    def _variance(self) -> FloatArray:
        """Variance (w, F) of the functionals in windows, with what the reference is uncertain of."""
        return np.asarray(self.signal.widths.variance(self.phases) * ((self._n + self._size) / self._size))

    @cached_property
    def _slope(self) -> FloatArray:
        return self.signal.widths.slope(self.phases)

    @cached_property
    def _wider(self) -> FloatArray:
        """`_wider_of` the signal's functionals, whose variance is at least that which `widths` knows."""
        widths = self.signal.widths
        least = mixed(self.before, widths.shape) * widths.independent / self._lasted
        return self._wider_of(self.signal.functionals.matrix, least)

    def _wider_of(self, matrix: FloatArray, least: FloatArray) -> FloatArray:
        """How much more functionals (w, F) vary in the drift than is expected at its times, and than `least`, or 1."""
        codes = slice(len(matrix))
        now, usual = (variances(each[:, codes] / self._lasted, matrix) for each in (self.drift, self._usual))
        return np.asarray(np.maximum(now / np.maximum(usual, least), 1.0))


def _shares_below(expected: FloatArray) -> FloatArray:
    """The share (w, size) of what is expected of regular codes that is up to each of them."""
    below = expected.cumsum(1)
    return np.asarray(below / np.maximum(below[:, -1:], 1e-300))


def has_faded(at_alarm: float, now: float) -> bool:
    """Whether all events since the onset of a drift have so much less evidence, in nats, than those of its alarm had.

    >>> has_faded(12.0, 7.9), has_faded(12.0, 8.1)
    (True, False)
    """
    return now < (1 - _SHARE) * at_alarm


def needed(pane: float) -> float:
    """Nats that show the end of a drift at most, of panes of `pane` events."""
    return -math.log(min(FALSE * pane, 1.0))
