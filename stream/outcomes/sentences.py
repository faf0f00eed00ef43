"""What became of a model's outcomes, in sentences: since when they are worse, and whether labels still follow scores.

Names of classes come from traffic; each way of showing text escapes them in its own way. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from driftline.detectors.outcomes.intervals import Figure
from driftline.stream.outcomes.choose import LEAST_LABELS
from driftline.stream.outcomes.performance import Change, Performance, Required
from driftline.stream.outcomes.tasks import BinaryTask
from driftline.stream.text.phrases import DAY, counted, moment

_NAMES = {
    "accuracy": "accuracy", "recall": "recall", "precision": "precision", "false_positive_rate": "false positive rate",
    "f1": "F1", "base_rate": "share of labels", "auc": "AUC", "lift": "lift of the top 10 %", "log_loss": "log loss",
    "brier": "Brier score", "score_bias": "mean score less labels", "ece": "calibration error (ECE)",
    "cost": "cost a prediction", "mae": "mean absolute error", "rmse": "RMSE", "bias": "bias", "too_high": "too high",
}  # fmt: skip
_SHARES = frozenset(
    {"accuracy", "recall", "precision", "false_positive_rate", "f1", "base_rate", "ece", "too_high", "score_bias"}
)
# A part of a change below this many points, or this share of an error, is none.
_POINT, _SHARE_OF_ERROR = 0.005, 0.02
# Below this, coverage of a tenth of the scores is so far from that of all that it is named.
_FAR = 0.5
_FEW = 0.05


def metric_name(metric: str, of: str = "") -> str:
    """A metric in words: "recall of UP"."""
    name = _NAMES[metric]
    return f"{name} of {of}" if of else name


def metric_text(metric: str, value: float | None) -> str:
    """A value of a metric: shares as percentages."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if metric in _SHARES else f"{value:.4g}"


def figure_text(metric: str, figure: Figure) -> str:
    """A figure with its interval."""
    value = metric_text(metric, figure.value)
    if figure.value is None or figure.low is None or figure.high is None:
        return value
    low, high = (metric_text(metric, each).removesuffix(" %") for each in (figure.low, figure.high))
    return f"{value} ({low} to {high})"


def _start(at: int, timed: bool) -> str:
    """A start as text: a minute in UTC, its day alone at midnight, or the number of a row."""
    return moment(at, 0 if at % DAY else DAY) if timed else f"row {at + 1:,}"


class ChangeParts(NamedTuple):
    """A stretch of worse or better outcomes in words: when, what it is, and what it comes from."""

    when: str
    what: str
    cause: str


def change_parts(found: Performance, change: Change) -> ChangeParts:
    """What a stretch of worse or better outcomes is, since when, and what it comes from."""
    since, timed = _start(change.since, found.by is not None), found.by is not None
    when = f"since {since}" if change.until is None else f"from {since} until {_start(change.until, timed)}"
    if change.stretch.reported == ("labels",):
        return ChangeParts(when, "labels no longer follow scores (concept drift)", _labels(found, change))
    return ChangeParts(when, _loss(found, change), _cause(found, change))


def change_sentence(found: Performance, change: Change) -> str:
    """The same in a sentence."""
    when, what, cause = change_parts(found, change)
    return f"{when}: {what}{':' if change.stretch.reported == ('labels',) else ';'} {cause}"


def _loss(found: Performance, change: Change) -> str:
    split, main = change.stretch.split, found.task.main
    is_share = main == "accuracy"
    before, after = ((1 - each if is_share else each) for each in (split.before, split.after))
    values = f"{metric_name(main)} {metric_text(main, after)}, {_reference(found)} {metric_text(main, before)}"
    return f"{values} ({_points(found, split.after - split.before)})"


def _points(found: Performance, loss: float) -> str:
    """A change of the loss, as one of the metric with its sign."""
    if found.task.main == "accuracy":
        return f"{-100 * loss:+.1f} points"
    return f"{loss:+.4g}"


def _cause(found: Performance, change: Change) -> str:
    split = change.stretch.split
    least = _POINT if found.task.main == "accuracy" else _SHARE_OF_ERROR * max(split.before, 1e-300)
    covered = f"{_points(found, split.coverage)} as other predictions have labels, "
    return (covered if abs(split.coverage) >= least else "") + _by_mix_or_concept(found, change, least)


def _by_mix_or_concept(found: Performance, change: Change, least: float) -> str:
    split, reported = change.stretch.split, change.stretch.reported
    of = "scores" if isinstance(found.task, BinaryTask) and found.task.layout.scores.grid else "predictions"
    mix, concept = _points(found, split.mix), _points(found, split.concept)
    if "concept" not in reported and abs(split.concept) < abs(split.mix):
        rest = "" if abs(split.concept) < least else f", {concept} besides"
        return f"{mix} from the mix of {of}{rest}: labels follow {of} as before"
    follows = "no longer follow" if change.worse else "follow"
    closer = "" if change.worse else " more closely"
    proof = "" if "concept" in reported else ", though the reference has too few rows of this kind to be sure of it"
    if abs(split.mix) < least:
        return f"none of it from the mix of {of}: labels {follows} {of}{closer}{proof} (concept drift)"
    return f"{mix} from the mix of {of}, {concept} because labels {follows} {of}{closer}{proof} (concept drift)"


def _labels(found: Performance, change: Change) -> str:
    name = found.task.classes[-1]
    return (
        f"{100 * change.stretch.labels:+.1f} points of labels "
        f"{name} where scores are the same; {metric_name(found.task.main)} has not clearly changed"
    )


def _reference(found: Performance) -> str:
    return "at first" if found.own_reference else "in the reference"


def verdict_sentence(found: Performance) -> str:
    """What came out, in one line."""
    main = found.task.main
    now = f"{metric_name(main)} {figure_text(main, found.total.metrics[main, ''])}"
    if found.reference is None:
        return f"{now}; nothing to compare it with: it takes 500 labelled rows in --reference, or 1,000 in the table"
    before = figure_text(main, found.reference[main, ""])
    what = f"{now}; {_reference(found)} {before}"
    if found.is_worse:
        lasting = any(each.worse and each.until is None for each in found.changes)
        return f"{what}: {'worse' if lasting else 'was worse for a time'}"
    if found.is_unlabelled:
        n = found.total.labelled
        few = f"only {n} of its predictions {'has' if n == 1 else 'have'}" if n else "none of its predictions has"
        return f"{what}: no verdict, as {few} a label, and it takes {LEAST_LABELS}"
    if not found.settled:
        return f"{what}: no verdict, as these first rows differ too much among themselves; name others with --reference"
    if found.is_unclear:
        remedy = "; name another reference with --reference" if found.own_reference else ""
        return f"{what}: no verdict, as it is worse, but the reference itself varies too much to be sure{remedy}"
    return f"{what}: no worse"


def required_sentence(required: Required) -> str:
    """Whether something required is met."""
    requirement, (metric, of) = required.requirement, required.name
    bound = f"{'at least' if requirement.least else 'at most'} {metric_text(metric, requirement.value)}"
    figure = figure_text(metric, required.figure)
    return f"{metric_name(metric, of)} {figure}, {bound} required: {required.answer}"


def coverage_sentences(found: Performance) -> Iterator[str]:
    """What part of the predictions has labels, and of which scores."""
    total, joined = found.total, found.joined
    share = total.labelled / max(total.seen, 1)
    if joined is not None:
        parts = {
            "of unknown ids": joined.unmatched, "that repeat another": joined.repeated,
            "of predictions whose label changed": joined.corrected, "of ids that were predicted twice": joined.doubled,
        }  # fmt: skip
        reported = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
        yield f"{counted(joined.labels, 'label')}{f' ({reported})' if reported else ''}"
        if joined.labels and joined.unmatched > joined.labels / 2:
            yield "more than half of the labels have the id of no prediction: the ids of the two files do not match"
        if joined.delay is not None:
            half, most = map(_duration, joined.delay)
            yield f"labels come after {half} (half of them) to {most} (95 %)"
    if share < 1:
        yield f"{100 * share:.1f} % of {total.seen:,} predictions have a label"
        for each in found.coverage:
            own = each.labelled / each.seen
            if own < _FAR * share or own > share / _FAR:
                yield f"of scores from {each.low:.3g} to {each.high:.3g}, {100 * own:.1f} % have one"
        alike = total.reweighted
        if alike is not None and alike.value is not None:
            yield f"weighted as all predictions are, accuracy would be {figure_text('accuracy', alike)}"


def _duration(milliseconds: int) -> str:
    """A duration in its largest unit that is not below 1, as in "1.5 days"."""
    units = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000))
    name, length = next((each for each in units if abs(milliseconds) >= each[1]), units[-1])
    value = f"{milliseconds / length:.3g}"
    return f"{value} {name}{'s' * (value != '1')}"


def estimate_sentences(found: Performance) -> Iterator[str]:
    """What scores alone say of the accuracy, and what that cannot know."""
    estimate = found.total.estimate
    if estimate is None or not estimate.metrics:
        return
    yield (
        f"by its scores alone, accuracy should be {figure_text('accuracy', estimate.metrics['accuracy', ''])}; such an "
        "estimate cannot see that labels no longer follow scores"
    )
    if estimate.unknown > _FEW:
        yield f"{100 * estimate.unknown:.0f} % of the predictions have scores that the reference hardly has"
