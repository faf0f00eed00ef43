"""Every metric of a table of outcomes, each with an interval of 95 %.

effect: the design effect of neighbouring rows; n of them count as n / effect independent ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.bounds import Areas
from driftline.detectors.outcomes.classes import ClassesLayout
from driftline.detectors.outcomes.intervals import NOTHING, Figure, logit, mapped, mean, share
from driftline.detectors.outcomes.numbers import NumbersLayout

#: Share of the rows, those with the highest scores, whose rate of label 1 is compared with that of all: the lift.
TOP = 0.1
# Groups of equal width in which predicted and true rates are compared (Naeini et al., AAAI 2015).
_CALIBRATION = 10

#: By metric and class; the class is "" where a metric is one of the whole.
Metrics = Mapping[tuple[str, str], Figure]
#: Counted rows, or expected ones.
Counts = IntArray | FloatArray


@dataclass(frozen=True, slots=True)
class Costs:
    """What an error costs: of a predicted 1 that is 0, and of a predicted 0 that is 1."""

    false_positive: float = 0.0
    false_negative: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve of calibration: the mean score of some rows, and the share of them that was so."""

    score: float
    share: Figure


def binary_metrics(
    layout: BinaryLayout, cells: IntArray, classes: Sequence[str], costs: Costs | None = None, effect: float = 1.0
) -> dict[tuple[str, str], Figure]:
    """The metrics of one table (C,). classes: names of 0 and 1."""
    counted = layout.counted(cells)
    found = rates(counted.sum(0), classes, effect)
    if costs is not None:
        found["cost", ""] = _cost(counted.sum(0), costs, effect)
    if layout.scores.grid is None:
        return found
    by_label = counted[:-1].sum(1)
    found["auc", ""] = auc(by_label, effect)
    found["lift", ""] = lift(by_label, effect)
    if layout.scores.probabilities:
        sums, n = layout.losses(cells), float(by_label.sum())
        found["log_loss", ""] = mean(sums.log_loss, sums.log_loss_squared, n, effect)
        found["brier", ""] = mean(sums.brier, sums.brier_squared, n, effect)
        scores, positives = float(layout.score_sums(cells).sum()), float(by_label[:, 1].sum())
        # The variance of score - label is that of its square, the Brier score, less the squared mean.
        found["score_bias", ""] = mean(scores - positives, sums.brier, n, effect)
        found["ece", ""] = _ece(binary_calibration(layout, cells, effect))
    return found


def rates(confusion: Counts, classes: Sequence[str], effect: float = 1.0) -> dict[tuple[str, str], Figure]:
    """The metrics of a table (2, 2) by prediction and label. classes: names of 0 and 1."""
    (tn, fn), (fp, tp) = confusion.tolist()
    overlap = share(tp, tp + fp + fn, effect)
    return {
        ("accuracy", ""): share(tn + tp, float(confusion.sum()), effect),
        **_by_class(confusion, classes, effect),
        ("false_positive_rate", ""): share(fp, fp + tn, effect),
        # F1 rises with the share of true positives among all that are predicted or true.
        ("f1", ""): mapped(overlap, lambda each: 2 * each / (1 + each)),
        ("base_rate", ""): share(fn + tp, float(confusion.sum()), effect),
    }


def _by_class(confusion: Counts, classes: Sequence[str], effect: float) -> dict[tuple[str, str], Figure]:
    """Recall and precision of the first classes of a table (k, k) by prediction and label."""
    right, predicted, true = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    found: dict[tuple[str, str], Figure] = {}
    for code, name in enumerate(classes):
        found["recall", name] = share(float(right[code]), float(true[code]), effect)
        found["precision", name] = share(float(right[code]), float(predicted[code]), effect)
    return found


def auc(by_label: Counts, effect: float = 1.0) -> Figure:
    """The area under the ROC curve of counts (codes, 2) by score code and label; rows of one code are ties.

    Its variance is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), from the counts.
    """
    found = Areas.of(by_label)
    m, n = float(found.m), float(found.n)
    if not n or not m:
        return NOTHING
    return logit(float(found.area), float(found.variance()), round(n + m), min(n, m), effect)


def lift(by_label: Counts, effect: float = 1.0) -> Figure:
    """How many times as often the label is 1 among the `TOP` share of rows with the highest scores as among all.

    by_label: (codes, 2). Of the code in which that share ends, a part counts, as if its rows were in random order.
    """
    counts = by_label[::-1].astype(float)
    n, ends = counts.sum(), np.cumsum(counts.sum(1))
    wanted = n * TOP
    taken = np.clip(wanted - (ends - counts.sum(1)), 0, counts.sum(1))
    with np.errstate(invalid="ignore"):
        hits = float(np.nansum(taken * counts[:, 1] / counts.sum(1)))
    base = float(counts[:, 1].sum()) / max(float(n), 1)
    return mapped(share(hits, float(wanted), effect), lambda each: each / base) if base else NOTHING


def binary_calibration(layout: BinaryLayout, cells: IntArray, effect: float = 1.0) -> list[Point]:
    """The curve of calibration of one table (C,): by tenths of the score, the share of label 1."""
    counted = layout.counted(cells)[:-1].sum(1)
    return _curve(layout.score_sums(cells)[:-1], counted[:, 1], counted.sum(1), effect)


def _curve(score_sums: FloatArray, hits: IntArray, n: IntArray, effect: float) -> list[Point]:
    means = score_sums / np.maximum(n, 1)
    tenth = np.minimum((means * _CALIBRATION).astype(int), _CALIBRATION - 1)
    groups = [(tenth == each) & (n > 0) for each in range(_CALIBRATION)]
    return [
        Point(float(score_sums[own].sum() / n[own].sum()), share(float(hits[own].sum()), float(n[own].sum()), effect))
        for own in groups
        if own.any()
    ]


def _ece(curve: Sequence[Point]) -> Figure:
    """The expected calibration error; it has no interval, as it is above 0 by chance alone."""
    n = sum(each.share.n for each in curve)
    if not n:
        return NOTHING
    return Figure(sum(abs((each.share.value or 0.0) - each.score) * each.share.n for each in curve) / n, n=n)


def _cost(confusion: Counts, costs: Costs, effect: float) -> Figure:
    """The mean cost of a prediction."""
    fp, fn, n = float(confusion[1, 0]), float(confusion[0, 1]), float(confusion.sum())
    total = fp * costs.false_positive + fn * costs.false_negative
    return mean(total, fp * costs.false_positive**2 + fn * costs.false_negative**2, n, effect)


def class_metrics(
    layout: ClassesLayout, cells: IntArray, classes: Sequence[str], effect: float = 1.0
) -> dict[tuple[str, str], Figure]:
    """The metrics of one table (C,). classes: names of those with codes of their own."""
    _, outcomes = layout.strata(cells)
    right, n = float(outcomes[:, 0].sum()), float(outcomes.sum())
    found = {("accuracy", ""): share(right, n, effect), **_by_class(layout.confusion(cells), classes, effect)}
    if layout.scores.grid is not None and layout.scores.probabilities:
        found["ece", ""] = _ece(class_calibration(layout, cells, effect))
    return found


def class_calibration(layout: ClassesLayout, cells: IntArray, effect: float = 1.0) -> list[Point]:
    """The curve of calibration of one table (C,): by tenths of the score of the predicted class, how often it is."""
    _, outcomes = layout.strata(cells)
    by_code = outcomes.reshape(layout.classes + 1, layout.codes, 2).sum(0)[:-1]
    return _curve(layout.score_sums(cells)[:-1], by_code[:, 0], by_code.sum(1), effect)


def number_metrics(layout: NumbersLayout, cells: IntArray, effect: float = 1.0) -> dict[tuple[str, str], Figure]:
    """The metrics of one table (C,)."""
    n, e, absolute, squared, fourth, high = (float(each.sum()) for each in layout.errors(cells))
    return {
        ("mae", ""): mean(absolute, squared, n, effect),
        ("rmse", ""): mapped(mean(squared, fourth, n, effect), lambda each: math.sqrt(max(each, 0.0))),
        ("bias", ""): mean(e, squared, n, effect),
        ("too_high", ""): share(high, n, effect),
    }
