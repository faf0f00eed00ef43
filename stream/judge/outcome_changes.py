"""How a change of outcomes is described: its headline, and which classes are taken for which. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.statistics.effect_sizes import jensen_shannon, psi
from driftline.stream.config.outcomes import AREA, MEAN_ERROR
from driftline.stream.judge.changes import Change, Profile
from driftline.stream.judge.incidents import ERROR
from driftline.stream.judge.outcome_state import OutcomeChange
from driftline.stream.outcomes.tasks import BinaryTask, ClassesTask

# Pairs of prediction and label that a change lists on each side: all of two classes, and room for some of many.
_PAIRS = 6
# The share of outcomes, or of an error, from which a part of a change is named.
_WORTH = 0.001
# Metrics of floors that are no shares of outcomes.
_NO_SHARES = AREA, MEAN_ERROR


def confused(task: BinaryTask | ClassesTask, before: IntArray, after: IntArray) -> tuple[dict[str, float], ...]:
    """The shares of outcomes by prediction and label in two tables (C,), of the pairs that changed most."""
    shares = [table / max(table.sum(), 1) for table in (task.confusion(before), task.confusion(after))]
    names = [*task.classes, _rest(task.classes)]
    most = np.argsort(-np.abs(shares[1] - shares[0]), axis=None, kind="stable")[:_PAIRS]
    pairs = [np.unravel_index(int(each), shares[0].shape) for each in sorted(most.tolist())]
    return tuple({f"{names[p]}, was {names[label]}": float(own[p, label]) for p, label in pairs} for own in shares)


def _rest(classes: Collection[str]) -> str:
    """A name of the classes without a code of their own, which none of the others has."""
    name = "others"
    while name in classes:
        name += " (rest)"
    return name


def described(outcome: OutcomeChange, before: int, after: int, values: tuple[dict[str, float], ...] = ()) -> Change:
    """A change of outcomes in the form of all changes.

    before, after: outcomes of the reference and of the window. values: shares on both sides; () for right and wrong.
    """
    is_share = outcome.metric not in (ERROR, *_NO_SHARES)
    values = values or tuple({"right": each, "wrong": 1 - each} for each in (outcome.before, outcome.after))
    profiles = [
        Profile(n, {}, own) if is_share else Profile(n, {}, {}, mean=value)
        for n, value, own in zip((before, after), (outcome.before, outcome.after), values, strict=True)
    ]
    old, new = (n * np.array([share, 1 - share]) for n, share in ((before, outcome.before), (after, outcome.after)))
    return Change(
        headline=headline(outcome),
        before=profiles[0],
        after=profiles[1],
        psi=float(psi(new[None], old).item()) if is_share else 0.0,
        jensen_shannon=float(jensen_shannon(new[None], old).item()) if is_share else 0.0,
        distance=None,
        wasserstein=None,
    )


def headline(outcome: OutcomeChange) -> str:
    """What happened to a metric, in one line after its name."""
    before, after, mix, concept = outcome.before, outcome.after, outcome.mix, outcome.concept
    if outcome.metric == ERROR:
        others = _by_coverage(f"{outcome.coverage:+.3g}", outcome.coverage / before if before else 0.0)
        parts = f"{mix:+.3g} by the mix of predictions{others}, {concept:+.3g} by concept drift"
        return f"{before:.4g} → {after:.4g} ({after - before:+.3g}: {parts})"
    if outcome.metric in _NO_SHARES:
        where = "above the most allowed," if outcome.metric == MEAN_ERROR else "below its floor of"
        return f"{after:.4g}, {where} {before:.4g}"
    if not mix and not concept:
        return f"{100 * after:.1f} %, below its floor of {100 * before:.3g} %"
    others = _by_coverage(f"{100 * outcome.coverage:+.1f}", outcome.coverage)
    parts = f"{100 * mix:+.1f} by the mix of scores{others}, {100 * concept:+.1f} by concept drift"
    return f"{100 * before:.1f} → {100 * after:.1f} % ({100 * (after - before):+.1f} points: {parts})"


def _by_coverage(text: str, share: float) -> str:
    """The part of a change that is there as other predictions have labels, if it is worth a word."""
    return f", {text} by label coverage" if abs(share) >= _WORTH else ""
