"""Chooses the task of a model by its predictions and labels, and codes its rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from driftline.detectors.arrays import BoolArray, FloatArray, IntArray
from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.classes import MOST_CLASSES, ClassesLayout
from driftline.detectors.outcomes.metrics import Costs
from driftline.detectors.outcomes.numbers import NumbersLayout
from driftline.stream.events.event import FALSE, FLAGS, TRUE, is_numeral
from driftline.stream.outcomes.rows import Rows, as_class
from driftline.stream.outcomes.tasks import BinaryTask, ClassesTask, CodedRows, NumbersTask, Task
from driftline.stream.text.phrases import listed

# Where a model gives scores alone, they are cut here.
_CUT = 0.5
# How the two values of a flag are shown.
_FLAG = {FALSE: "0", TRUE: "1"}
#: Labels of fewer rows say nothing.
LEAST_LABELS = 20


class OutcomesError(ValueError):
    """The rows cannot be evaluated; the text says why, and what helps."""


@dataclass(frozen=True)
class Chosen:
    """A task and the rows as it counts them. kept: the indices (n,) of the rows that have a prediction. notes: what a
    reader should know. is_confidence, by_score: see `Coding`."""

    task: Task
    rows: CodedRows
    kept: IntArray
    notes: tuple[str, ...]
    is_confidence: bool = False
    by_score: bool = False


def choose(rows: Rows, is_reference: BoolArray, positive: str | None = None, costs: Costs | None = None) -> Chosen:
    """The task of these rows. is_reference: (n,), those by which layouts are fitted.

    positive: the class that a high score means. Raises OutcomesError.
    """
    labels = sum(each is not None for each in rows.label)
    if labels < LEAST_LABELS:
        raise OutcomesError(f"{labels:,} labels, and at least {LEAST_LABELS} are needed; name the column with --label")
    rows, positive = _normalised(rows, positive)
    notes = list[str]()
    if all(each is None for each in rows.prediction):
        return _of_scores(rows, is_reference, positive, costs, notes)
    kept = np.flatnonzero([each is not None for each in rows.prediction])
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept):,} rows have no prediction and are left out")
    rows, is_reference = rows.take(kept), is_reference[kept]
    if _are_numbers(rows):
        _refuse("numbers", positive, costs)
        return _numbers(rows, is_reference, kept, notes)
    return _classes(rows, is_reference, kept, positive, costs, notes)


def _normalised(rows: Rows, positive: str | None) -> tuple[Rows, str | None]:
    """The rows, and a class, with classes spelt alike: true, 1 and "1.0" where these are all, numbers as numbers."""
    prediction, label = [as_class(each) for each in rows.prediction], [as_class(each) for each in rows.label]
    texts = {each.lower() for each in (*prediction, *label) if each is not None}
    if texts <= FLAGS.keys() and not texts <= {"0", "1"}:
        prediction, label = ([each and _FLAG[FLAGS[each.lower()]] for each in own] for own in (prediction, label))
        positive = _FLAG[FLAGS[positive.lower()]] if positive and positive.lower() in FLAGS else positive
    return replace(rows, prediction=prediction, label=label), as_class(positive)


def _are_numbers(rows: Rows) -> bool:
    """Whether predictions and labels are numbers, and too many different ones to be classes."""
    own = [{each for each in column if each is not None} for column in (rows.prediction, rows.label)]
    return all(len(each) > MOST_CLASSES and all(map(is_numeral, each)) for each in own)


def _refuse(what: str, positive: str | None, costs: Costs | None) -> None:
    """Refuse what is said of two classes, where there are not two."""
    for option, value in (("--positive", positive), ("--cost", costs)):
        if value is not None:
            raise OutcomesError(f"{option} needs two classes, and the predictions are {what}; leave it out")


def _check_positive(positive: str | None, names: Sequence[str]) -> None:
    if positive is not None and positive not in names:
        raise OutcomesError(f"--positive: there is no class {positive!r}; there are {listed(names)}")


def _values(column: Sequence[str | None]) -> FloatArray:
    return np.array([np.nan if each is None else float(each) for each in column])


def _numbers(rows: Rows, is_reference: BoolArray, kept: IntArray, notes: list[str]) -> Chosen:
    prediction, label = _values(rows.prediction), _values(rows.label)
    layout = NumbersLayout.fit(prediction[is_reference], label[is_reference])
    coded = CodedRows(rows.ts, prediction, label, rows.score, (prediction == label).astype(np.int64))
    return Chosen(NumbersTask(layout), coded, kept, tuple(notes))


def _of_scores(
    rows: Rows, is_reference: BoolArray, positive: str | None, costs: Costs | None, notes: list[str]
) -> Chosen:
    """Rows with scores alone: the prediction is the class that the score means, from one half on."""
    if not np.isfinite(rows.score).any():
        raise OutcomesError("the rows have neither predictions nor scores; name one with --prediction or --score")
    names = sorted({each for each in rows.label if each is not None})
    if len(names) != 2:
        raise OutcomesError(f"scores without predictions need labels of two classes, and there are {len(names)}")
    _check_positive(positive, names)
    true = positive or _higher(rows.label, rows.score, names)
    false = next(each for each in names if each != true)
    notes.append(f"there are no predictions: a score above {_CUT} counts as {true}")
    prediction = [None if each != each else true if each > _CUT else false for each in rows.score.tolist()]
    kept = np.flatnonzero([each is not None for each in prediction])
    rows = replace(rows, prediction=prediction).take(kept)
    return replace(_classes(rows, is_reference[kept], kept, true, costs, notes), by_score=True)


def _higher(column: Sequence[str | None], score: FloatArray, names: Sequence[str]) -> str:
    """The class whose rows have the higher scores on average."""
    known = np.isfinite(score)
    means = [
        (float(score[own].mean()) if own.any() else -np.inf, name)
        for name in names
        for own in [known & np.array([each == name for each in column])]
    ]
    return max(means)[1]


def _classes(
    rows: Rows, is_reference: BoolArray, kept: IntArray, positive: str | None, costs: Costs | None, notes: list[str]
) -> Chosen:
    counts = Counter(each for column in (rows.prediction, rows.label) for each in column if each is not None)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    predicted, true = ({each for each in column if each is not None} for column in (rows.prediction, rows.label))
    if not predicted & true:
        raise OutcomesError(
            f"no label is the name of a predicted class: predictions are {listed(sorted(predicted))}; labels are "
            f"{listed(sorted(true))}; name the columns with --prediction and --label"
        )
    _check_positive(positive, names)
    if len(names) == 2:
        return _binary(rows, is_reference, kept, names, positive, costs, notes)
    _refuse(f"of {len(names)} classes", positive, costs)
    known = names[:MOST_CLASSES]
    if len(known) < len(names):
        notes.append(f"{len(names) - len(known):,} of {len(names):,} classes are rare, and counted as one")
    coded = _coded(rows, known)
    return Chosen(
        ClassesTask(ClassesLayout.fit(len(known), coded.score[is_reference]), tuple(known)), coded, kept, tuple(notes)
    )


def _binary(
    rows: Rows,
    is_reference: BoolArray,
    kept: IntArray,
    names: Sequence[str],
    positive: str | None,
    costs: Costs | None,
    notes: list[str],
) -> Chosen:
    score, is_confidence = rows.score, False
    true = positive or _positive(rows, names)
    false = next(each for each in names if each != true)
    coded = _coded(rows, (false, true))
    known = np.isfinite(score)
    if known.any() and len(np.unique(coded.prediction[known])) == 2:
        is_confidence = bool((score[known] >= _CUT).all() and (score[known] <= 1).all())
    if is_confidence:
        notes.append(f"the score is that of the predicted class; where this is {false}, 1 less it is that of {true}")
        coded = replace(coded, score=np.where(coded.prediction == 1, score, 1 - score))
    layout = BinaryLayout.fit(coded.score[is_reference])
    return Chosen(BinaryTask(layout, (false, true), costs), coded, kept, tuple(notes), is_confidence)


def _positive(rows: Rows, names: Sequence[str]) -> str:
    """The class that a high score means; without scores, 1 or the rarer label."""
    known = np.isfinite(rows.score)
    low = bool(known.any() and (rows.score[known] < _CUT).any())
    if low:
        return _higher(rows.prediction, rows.score, names)
    if set(names) == {"0", "1"}:
        return "1"
    counts = Counter(rows.label)
    return min(names, key=lambda name: (counts[name], name))


def _coded(rows: Rows, classes: Sequence[str]) -> CodedRows:
    codes: dict[str | None, int] = {name: code for code, name in enumerate(classes)} | {None: -1}
    prediction, label = (
        np.array([codes.get(each, len(classes)) for each in own], float) for own in (rows.prediction, rows.label)
    )
    right = np.array([a == b for a, b in zip(rows.prediction, rows.label, strict=True)], np.int64)
    return CodedRows(rows.ts, prediction, label, rows.score, right)
