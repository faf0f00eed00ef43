"""Labels joined to predictions by id. Pure.

The result is a function of the two sets, not of their order: of several labels of a prediction, the one of the latest
time counts, of equal times the larger text; of several predictions with one id, the earliest. All others are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftline.stream.outcomes.rows import Labels, Rows

# Shares of the delays that are said: half of the labels and nearly all came within these.
_DELAYS = (50, 95)


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of predictions and labels.

    labels: read. matched: predictions that have one. corrected: whose label changed. repeated: labels that say again
    what another one said. unmatched: labels of ids that no prediction has. doubled: predictions with the id of an
    earlier one, which are left out. delay: milliseconds within which half of the labels came and 95 of 100; None
    without times.
    """

    labels: int
    matched: int
    corrected: int
    repeated: int
    unmatched: int
    doubled: int
    delay: tuple[int, int] | None


def join(rows: Rows, labels: Labels) -> tuple[Rows, Joined]:
    """The predictions with their labels; one that has none keeps the label of its own row."""
    places, kept = _first_by_id(rows)
    found: dict[int, list[tuple[int, str]]] = {}
    unmatched = 0
    for id_, ts, label in zip(labels.ids, labels.ts.tolist(), labels.label, strict=True):
        place = places.get(id_)
        if place is None:
            unmatched += 1
        else:
            found.setdefault(place, []).append((ts, label))
    truth, corrected = list(rows.label), 0
    for place, own in found.items():
        truth[place] = max(own)[1]
        corrected += len({each for _, each in own}) > 1
    several = sum(len(own) - len({each for _, each in own}) for own in found.values())
    joined = Joined(
        len(labels.ids), len(found), corrected, several, unmatched, len(rows) - len(kept),
        _delays(rows, labels, found),
    )  # fmt: skip
    return rows.with_labels(truth).take(np.array(kept, np.int64)), joined


def _first_by_id(rows: Rows) -> tuple[dict[str, int], list[int]]:
    """The earliest row of each id, and all of these in the order of the rows."""
    places: dict[str, int] = {}
    ts = rows.ts.tolist()
    for row, id_ in enumerate(rows.ids):
        before = places.setdefault(id_, row)
        if before != row and _order(rows, ts, row) < _order(rows, ts, before):
            places[id_] = row
    return places, sorted(places.values())


def _order(rows: Rows, ts: list[int], row: int) -> tuple[int, str, float]:
    score = float(rows.score[row])
    return ts[row], rows.prediction[row] or "", score if score == score else -1.0


def _delays(rows: Rows, labels: Labels, found: dict[int, list[tuple[int, str]]]) -> tuple[int, int] | None:
    if not labels.timed or not found:
        return None
    first = np.array([min(own)[0] - int(rows.ts[place]) for place, own in found.items()])
    half, most = np.percentile(first, _DELAYS, method="higher").tolist()
    return int(half), int(most)
