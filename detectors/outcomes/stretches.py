"""The stretches of a series of outcomes in which they are worse than a reference: since when, until when, and why.

All stretches of neighbouring slots are compared at once, T (T + 1) / 2 of T slots, and each by three tests; so a report
needs evidence beyond ln of their number over `FALSE`, times the design effect of the reference's own windows.
The strongest stretch comes first, and lasts to the end of the series unless it clearly ended before; what lies before
and after it is searched by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from driftline.detectors.outcomes.compare import Comparison, Split, Tally

#: Chance that a series in which nothing changes has a stretch that is reported.
FALSE = 0.01
#: Slots at most: all stretches of more would take minutes.
SLOTS = 256
# Nats by which a stretch that lasts until the end may have less evidence than one that ends before: odds of 150 to 1.
_LASTS = 5.0
# Stretches that are reported; what needs more is a restless series, of which the table says more.
_MOST = 5


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slots [first, last) of a series. evidence, threshold: nats by test, as `Comparison.TESTS`; split: of the mean
    loss. labels: by how much more of its rows have label 1 than such rows of the reference had."""

    first: int
    last: int
    n: int
    evidence: tuple[float, ...]
    threshold: tuple[float, ...]
    split: Split
    labels: float

    @property
    def reported(self) -> tuple[str, ...]:
        """The tests that have enough evidence."""
        pairs = zip(Comparison.TESTS, self.evidence, self.threshold, strict=True)
        return tuple(test for test, own, needed in pairs if own > needed)


def stretches(slots: Tally, comparison: Comparison, better: bool = False) -> list[Stretch]:
    """The stretches of slots (T, S) that are worse than the reference, or better, in the order of time."""
    count = slots.n.shape[0]
    if not count:
        return []
    bound = math.log(count * (count + 1) / 2 * len(comparison.TESTS) / FALSE)
    found = sorted(_search(slots, comparison, better, bound, 0, count), key=lambda each: each.first)
    return [_stretch(slots, comparison, better, bound, *ends) for ends in _joined(found)][:_MOST]


def is_worse(window: Tally, comparison: Comparison) -> bool:
    """Whether a single stretch (S,), chosen beforehand, is worse than the reference, or has other labels."""
    bound = math.log(len(comparison.TESTS) / FALSE)
    return bool(_stretch(Tally(window.sums[:, None]), comparison, False, bound, 0, 1).reported)


def _joined(found: list[Stretch]) -> list[tuple[int, int]]:
    """First and last slots; stretches that touch, as of something that becomes worse in steps, are one."""
    ends: list[tuple[int, int]] = []
    for each in found:
        first = ends.pop()[0] if ends and ends[-1][1] == each.first else each.first
        ends.append((first, each.last))
    return ends


def _search(
    slots: Tally, comparison: Comparison, better: bool, bound: float, first: int, last: int
) -> Iterator[Stretch]:
    best = _strongest(slots, comparison, better, bound, first, last)
    if best is None:
        return
    yield best
    yield from _search(slots, comparison, better, bound, first, best.first)
    yield from _search(slots, comparison, better, bound, best.last, last)


def _strongest(
    slots: Tally, comparison: Comparison, better: bool, bound: float, first: int, last: int
) -> Stretch | None:
    best, most = None, 1.0
    for end in range(first + 1, last + 1):
        windows = Tally(slots.sums[:, first:end]).suffixes()
        threshold = comparison.dependence.threshold(windows.n.sum(-1).astype(np.int64), bound)
        rows = np.flatnonzero((comparison.most_evidence(windows, better) > most * threshold).any(-1))
        if not rows.size:
            continue
        over = (comparison.evidence(Tally(windows.sums[:, rows]), better) / threshold[rows]).max(-1)
        strongest = int(over.argmax())
        if over[strongest] > most:
            best, most = (first + int(rows[strongest]), end), float(over[strongest])
    if best is None:
        return None
    own, whole = (_stretch(slots, comparison, better, bound, best[0], end) for end in (best[1], last))
    return whole if _lasts(own, whole, comparison) else own


def _lasts(own: Stretch, whole: Stretch, comparison: Comparison) -> bool:
    """Whether a stretch may as well last until the end, as `whole` does."""
    strongest = int(np.argmax(np.array(own.evidence) / own.threshold))
    less = own.evidence[strongest] - whole.evidence[strongest]
    return less < _LASTS * comparison.effect(whole.n)[strongest] and bool(whole.reported)


def _stretch(slots: Tally, comparison: Comparison, better: bool, bound: float, first: int, last: int) -> Stretch:
    window = Tally(slots.sums[:, first:last].sum(1))
    n = round(float(window.n.sum()))
    evidence = comparison.evidence(Tally(window.sums[:, None]), better)[0]
    threshold = comparison.dependence.threshold(np.array([n]), bound)[0]
    return Stretch(
        first, last, n, tuple(evidence.tolist()), tuple(threshold.tolist()),
        comparison.split(window), comparison.excess_labels(window),
    )  # fmt: skip
