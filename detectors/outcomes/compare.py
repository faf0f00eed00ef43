"""Whether a window of outcomes is worse than a reference, and why: the mix of its rows, or what they mean.

Rows that are alike, in score and prediction, form a stratum. If only the mix of strata moves, each stratum is as often
wrong as before, and accuracy changes as the mix lets expect. If labels no longer follow scores (concept drift), strata
themselves are wrong more often, or have another share of labels. The test within strata is that of Mantel and Haenszel
(J. Natl. Cancer Inst. 22, 1959) for counts, and the same with pooled variances for errors of a regression:

    z = Σ (x - n X / N)  /  √ Σ n m S² / N        x of n rows in the window, X of N = n + m in both, S² their variance

It depends on additive counts alone, and no stratum that one side lacks counts.

Labels may come for a part of the predictions, and for another part than before: of hard cases alone, say. Then the mean
loss of labelled rows changes though the model is right as often. By how much, the reference's losses by stratum tell:
weighted with the labelled rows they give another mean than weighted with all. The test of the loss does not count that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.decision.thresholds import Dependence
from driftline.detectors.statistics.categorical import chi2_evidence

#: Rows of the reference that a stratum needs at least; neighbours are joined until it has them. Few rows say little of
#: how often they are wrong, and with fewer than 20 the split by mix would be that of chance.
LEAST_ROWS = 30
Counts = IntArray | FloatArray
_HALF_LOG_TAU = 0.9189385332046727
# As in `decision.thresholds`: windows of a length that are needed, and standard errors by which a mean is chance.
_MIN_WINDOWS, _CHANCE = 4, 1.65
# Windows from which a design effect is known to half of itself or so (1.65 √(2 / 16) = 0.58), and may be as much larger
# as chance allows. Of fewer, the upper end would hide real changes.
_ENOUGH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Rows of strata: sums (5, ..., S) of the labelled rows, of their losses, of the squares, of labels that are 1, and
    of all rows, labelled or not.

    Where labels are not two classes, the fourth is 0.
    """

    sums: FloatArray

    @classmethod
    def of(
        cls, n: Counts, loss: Counts, squares: Counts, labels: Counts | None = None, seen: Counts | None = None
    ) -> Tally:
        """From the sums (..., S). seen: of all rows, by default the labelled ones."""
        ones = np.zeros_like(n) if labels is None else labels
        return cls(np.stack([n, loss, squares, ones, n if seen is None else seen]).astype(float))

    @property
    def n(self) -> FloatArray:
        """Rows (..., S)."""
        return np.asarray(self.sums[0])

    @property
    def loss(self) -> FloatArray:
        """Sums of losses (..., S)."""
        return np.asarray(self.sums[1])

    @property
    def squares(self) -> FloatArray:
        """Sums of squared losses (..., S)."""
        return np.asarray(self.sums[2])

    @property
    def labels(self) -> FloatArray:
        """Rows with label 1 (..., S)."""
        return np.asarray(self.sums[3])

    @property
    def seen(self) -> FloatArray:
        """Rows (..., S), labelled or not."""
        return np.asarray(self.sums[4])

    def total(self) -> Tally:
        """All strata as one."""
        return Tally(self.sums.sum(-1, keepdims=True))

    def joined(self, starts: IntArray) -> Tally:
        """Strata joined to groups, which begin at `starts`."""
        return Tally(np.add.reduceat(self.sums, starts, axis=-1))

    def suffixes(self) -> Tally:
        """Of blocks (B, S) that follow each other, the sums (B, S) from each to the end."""
        return Tally(np.cumsum(self.sums[:, ::-1], axis=1)[:, ::-1])


class Split(NamedTuple):
    """A change of the mean loss: by the mix of strata, by which rows of them have labels, and within them.

    unknown: share of rows in strata without reference, which count as the reference does on average.
    """

    before: float
    after: float
    mix: float
    coverage: float
    concept: float
    unknown: float


def groups(reference: FloatArray, boundaries: IntArray, least: int = LEAST_ROWS) -> IntArray:
    """Starts of groups of neighbouring strata with at least `least` rows of the reference (S,) each.

    No group reaches over a boundary. A part between boundaries with fewer rows is one group.
    """
    starts: list[int] = []
    for first, last in zip(boundaries, [*boundaries[1:], len(reference)], strict=True):
        own, have = [int(first)], 0.0
        for stratum in range(int(first), int(last)):
            if have >= least and reference[stratum:last].sum() >= least:
                own.append(stratum)
                have = 0.0
            have += float(reference[stratum])
        starts += own
    return np.array(starts)


def stratified(window: Tally, reference: Tally) -> FloatArray:
    """z (w,) of windows (w, S) against the reference (S,) or (w, S): above 0 where losses are larger within strata."""
    return _z(window.n, window.loss, window.squares, reference.n, reference.loss, reference.squares)


def unstratified(window: Tally, reference: Tally) -> FloatArray:
    """z (w,) of windows as in `stratified`, of all strata together, but for what other labelled rows account for."""
    own, rest = window.total(), reference.total()
    shift, doubt = of_coverage(window, reference)
    n, m = own.n[..., 0], rest.n[..., 0]
    x, squares = own.loss[..., 0] - n * shift, own.squares[..., 0] + rest.squares[..., 0]
    some, X = np.maximum(n + m, 1.0), x + rest.loss[..., 0]
    excess = np.where(m > 0, x - n * X / some, 0.0)
    variance = n * m / some * np.maximum(squares - X * X / some, 0.0) / np.maximum(n + m - 1, 1.0) + n * n * doubt
    return np.where(variance > 0, excess / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)


def stratified_labels(window: Tally, reference: Tally) -> FloatArray:
    """z (w,) of windows as in `stratified`: above 0 where more labels are 1 within strata."""
    return _z(window.n, window.labels, window.labels, reference.n, reference.labels, reference.labels)


def _z(n: FloatArray, x: FloatArray, xx: FloatArray, m: FloatArray, y: FloatArray, yy: FloatArray) -> FloatArray:
    N, X = n + m, x + y
    some = np.maximum(N, 1.0)
    excess = np.where(m > 0, x - n * X / some, 0.0)
    variance = n * m / some * np.maximum(xx + yy - X * X / some, 0.0) / np.maximum(N - 1, 1.0)
    total = variance.sum(-1)
    return np.where(total > 0, excess.sum(-1) / np.sqrt(np.where(total > 0, total, 1.0)), 0.0)


def split(window: Tally, reference: Tally) -> Split:
    """How the mean loss of a window (S,) differs from the reference (S,), in three parts that add up."""
    n, before = window.n.sum(), float(_mean(reference.loss, reference.n).item())
    after = float(window.loss.sum() / max(n, 1))
    expected, coverage = float(window.n @ usual_loss(reference) / max(n, 1)), float(of_coverage(window, reference)[0])
    unknown = float(window.n[reference.n == 0].sum() / max(n, 1))
    return Split(before, after, expected - before - coverage, coverage, after - expected, unknown)


def usual_loss(reference: Tally) -> FloatArray:
    """The mean loss (..., S) in each stratum of a reference; in those without rows, that of all."""
    before = _mean(reference.loss, reference.n)
    return np.where(reference.n > 0, reference.loss / np.maximum(reference.n, 1), before)


def of_coverage(window: Tally, reference: Tally) -> tuple[FloatArray, FloatArray]:
    """By how much the mean loss of windows (..., S) changes as other rows have labels than in the reference, and the
    variance of that, since the reference (S,) or (..., S) has few rows. Both (...).

    Each stratum is taken to lose as in the reference. A window without labels changes nothing.
    """
    usual = usual_loss(reference)
    # What a row of each stratum counts for, by labels, less what it counts for by all rows.
    weights = _shares(window.n) - _shares(window.seen) - (_shares(reference.n) - _shares(reference.seen))
    weights = np.where(window.n.sum(-1, keepdims=True) > 0, weights, 0.0)
    spread = np.maximum(reference.squares / np.maximum(reference.n, 1) - usual**2, 0.0) / np.maximum(reference.n, 1)
    return (weights * usual).sum(-1), (weights**2 * spread).sum(-1)


def _mean(sums: FloatArray, n: FloatArray) -> FloatArray:
    """The mean (..., 1) of all strata (..., S)."""
    return np.asarray(sums.sum(-1, keepdims=True) / np.maximum(n.sum(-1, keepdims=True), 1))


def _shares(n: FloatArray) -> FloatArray:
    return np.asarray(n / np.maximum(n.sum(-1, keepdims=True), 1))


def worse_evidence(z: FloatArray) -> FloatArray:
    """Evidence in nats, at least 0, that a loss is larger: -ln of the one-sided p of a standard normal z."""
    return np.where(z > 0, chi2_evidence(z * z, 1) + math.log(2), 0.0)


def other_evidence(z: FloatArray) -> FloatArray:
    """Evidence in nats, at least 0, that a share is another one: -ln of the two-sided p of a standard normal z."""
    return chi2_evidence(z * z, 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares windows with a reference by three tests: the loss, the loss within strata, the labels within strata.

    starts: the groups of strata. reference: (G,) in these. dependence: of the reference's own windows.
    """

    starts: IntArray
    reference: Tally
    dependence: Dependence

    TESTS: ClassVar = ("loss", "concept", "labels")

    @classmethod
    def of(cls, blocks: Tally, boundaries: IntArray) -> Comparison:
        """Compare with the sum of blocks (B, S), which follow each other in time."""
        starts = groups(blocks.n.sum(0), boundaries)
        own = blocks.joined(starts)
        total = Tally(own.sums.sum(1))
        return cls(starts, total, _dependence(own, total))

    def evidence(self, windows: Tally, better: bool = False) -> FloatArray:
        """Evidence (w, 3) in nats that windows (w, S) are worse, or better; of labels, that they are others."""
        return _evidence(self._zs(windows, better))

    def worse(self, windows: Tally) -> FloatArray:
        """Evidence (w, 2) in nats that windows (w, S) are worse: by the loss, and by the loss within strata."""
        return worse_evidence(self._zs(windows, False)[..., :2])

    def most_evidence(self, windows: Tally, better: bool = False) -> FloatArray:
        """What no evidence (w, 3) exceeds, by less than 2 nats too large: quick to compute.

        Birnbaum's bound of a normal tail (Ann. Math. Stat. 13, 1942): Q(z) >= φ(z) z / (1 + z²).
        """
        z = self._zs(windows, better)
        z[..., 2] = np.abs(z[..., 2])
        np.maximum(z, 1.0, out=z)
        return np.asarray(z * z / 2 + _HALF_LOG_TAU + np.log(z + 1 / z))

    def _zs(self, windows: Tally, better: bool) -> FloatArray:
        z = _zs(windows.joined(self.starts), self.reference)
        return z * np.array([-1.0, -1.0, 1.0]) if better else z

    def effect(self, n: int) -> FloatArray:
        """The design effects (3,) of windows of n rows."""
        bare = replace(self.dependence, floor=np.zeros_like(self.dependence.floor))
        return np.asarray(bare.threshold(np.array([n]), 1.0)[0])

    def split(self, window: Tally) -> Split:
        """The change of the mean loss of a window (S,)."""
        return split(window.joined(self.starts), self.reference)

    def excess_labels(self, window: Tally) -> float:
        """By how much the share of label 1 in a window (S,) exceeds that among such rows of the reference."""
        own, known = window.joined(self.starts), self.reference.n > 0
        usual = self.reference.labels / np.maximum(self.reference.n, 1)
        return float((own.labels - own.n * usual)[known].sum() / max(own.n[known].sum(), 1))


def _zs(own: Tally, reference: Tally) -> FloatArray:
    return np.stack(
        [unstratified(own, reference), stratified(own, reference), stratified_labels(own, reference)],
        axis=-1,
    )


def _evidence(z: FloatArray) -> FloatArray:
    return np.concatenate([worse_evidence(z[..., :2]), other_evidence(z[..., 2:])], axis=-1)


def _dependence(blocks: Tally, total: Tally) -> Dependence:
    """How far the evidence of the reference's own windows exceeds that of independent rows."""
    lengths, effects, floors, width = list[float](), list[FloatArray](), list[FloatArray](), 1
    count = blocks.n.shape[0]
    while count // width >= _MIN_WINDOWS:
        own = _windows(blocks, width)
        rest = Tally(total.sums[:, None] - own.sums)
        z = _zs(own, rest)
        effects.append(_effect(z[::width] ** 2))
        floors.append(_evidence(z).max(0))
        lengths.append(float(total.n.sum()) * width / count)
        width *= 2
    if not lengths:
        return Dependence.none(len(Comparison.TESTS))
    effect = np.maximum(np.maximum.accumulate(np.array(effects)), 1.0)
    return Dependence(np.array(lengths), effect, np.maximum.accumulate(np.array(floors)))


def _effect(squares: FloatArray) -> FloatArray:
    """The design effects (3,) that squares (k, 3) of z of windows side by side show; below 1 if that may be chance.

    Where dependence is shown, and the windows are enough to say how much, the upper end of what they allow: a change is
    reported if it is one under each dependence that the reference does not rule out.
    """
    mean, doubt = squares.mean(0), _CHANCE * math.sqrt(2 / len(squares))
    low = mean / (1 + doubt)
    return np.asarray(np.where(low > 1, mean * (1 + doubt), low)) if len(squares) >= _ENOUGH else low


def _windows(blocks: Tally, width: int) -> Tally:
    """All windows (B - width + 1, G) of `width` blocks that follow each other."""
    ends = np.cumsum(np.concatenate([np.zeros_like(blocks.sums[:, :1]), blocks.sums], axis=1), axis=1)
    return Tally(ends[:, width:] - ends[:, :-width])
