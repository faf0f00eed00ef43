"""Predictions and labels as columns, in the form in which they are joined and counted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.stream.events.event import is_numeral

# Beyond it, not every whole number is a double.
_EXACT = 2**53


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """n predictions of a model. ids, prediction, label: n each; None where there is none. ts: (n,) epoch ms.

    score: (n,), NaN where there is none.
    """

    ids: Sequence[str]
    ts: IntArray
    prediction: Sequence[str | None]
    score: FloatArray
    label: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> IntArray:
        """Whether each has a label (n,), as 0 or 1."""
        return np.array([each is not None for each in self.label], np.int64)

    def take(self, rows: IntArray) -> Rows:
        """These rows, in this order."""
        picks = rows.tolist()
        ids, prediction, label = ([own[row] for row in picks] for own in (self.ids, self.prediction, self.label))
        return Rows(ids, self.ts[rows], prediction, self.score[rows], label)

    def with_labels(self, label: Sequence[str | None]) -> Rows:
        """The same predictions with other labels."""
        return replace(self, label=label)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """n labels. ids, label: n each. ts: (n,) when each became known, epoch ms or, without times, in their order."""

    ids: Sequence[str]
    ts: IntArray
    label: Sequence[str]
    timed: bool = True


def as_class(text: str | None) -> str | None:
    """The name of a class. Programs write the class 1 as 1, 1.0 or "1.0", and the label as the prediction does not.

    >>> as_class("1.0"), as_class("01"), as_class("yes")
    ('1', '01', 'yes')
    """
    if text is None or not (text.endswith(("0", ".")) and "." in text) or not is_numeral(text):
        return text
    number = float(text)
    return str(int(number)) if number == int(number) and abs(number) < _EXACT else text
