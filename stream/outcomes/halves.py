"""The two halves of an outcome on their way to each other: a prediction that waits for its label, and a label. Pure.

Neither depends on a baseline: what is a class, and of which code, is decided when they are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from msgspec import Struct, structs

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import shortened
from driftline.stream.events.columns import Columns, Field, tabulate
from driftline.stream.events.event import Event
from driftline.stream.outcomes.ids import Keys, hash_ids

#: Numbers, NaN where there is none, or texts, None where there is none.
Values = FloatArray | npt.NDArray[np.object_]

# How the prediction of an event is read that no baseline reads.
_FIELDS = Field("prediction", numeric=False, whole=True), Field("score", numeric=True)


class Half(Struct, frozen=True, eq=False):
    """Rows (n,) as arrays of one length; keys and ts, epoch ms, are among them."""

    keys: Keys
    ts: IntArray

    def __len__(self) -> int:
        return len(self.keys)

    def __add__(self, newer: Self) -> Self:
        return type(self)(*(np.concatenate(pair) for pair in zip(self.columns, newer.columns, strict=True)))

    @property
    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        """The arrays, in the order of the fields."""
        return structs.astuple(self)

    @property
    def indexed(self) -> tuple[npt.NDArray[Any], ...]:
        """The arrays that are found by key."""
        return (self.ts,)

    def take(self, rows: Any) -> Self:
        """These rows: their numbers, a slice, or whether each is taken."""
        return type(self)(*(each[rows] for each in self.columns))

    def fits(self, newer: Self) -> bool:
        """Whether the rows of both can be those of one half."""
        return all(a.dtype == b.dtype for a, b in zip(self.columns, newer.columns, strict=True))


class Stubs(Half, frozen=True, eq=False):
    """n predictions. prediction: as the baseline that counted them reads it. score: NaN where there is none."""

    prediction: Values
    score: FloatArray

    @classmethod
    def of(cls, columns: Columns, read: Sequence[Field]) -> Self:
        """The stubs of decoded events. read: the fields of the columns."""
        return cls(hash_ids(columns.ids), columns.ts, prediction_of(columns, read), numbers_of(columns, read, "score"))

    @classmethod
    def of_events(cls, events: Sequence[Event]) -> Self:
        """The stubs of events that are not decoded into columns."""
        return cls.of(tabulate(_FIELDS, list(enumerate(events))), _FIELDS)


class LabelHalves(Half, frozen=True, eq=False):
    """n labels. ts: when each became known. label: texts."""

    label: npt.NDArray[np.object_]

    @property
    def indexed(self) -> tuple[npt.NDArray[Any], ...]:
        return self.ts, self.label


def texts_of(texts: Sequence[str | None]) -> npt.NDArray[np.object_]:
    """Texts as an array, as long as they count: no class has a longer name."""
    array = np.empty(len(texts), object)
    array[:] = [shortened(each) if each is not None else None for each in texts]
    return array


def prediction_of(columns: Columns, read: Sequence[Field]) -> Values:
    """The predictions (n,) of decoded events. read: the fields of the columns."""
    texts = [each.name for each in read if not each.numeric]
    if "prediction" in texts:
        return texts_of(columns.texts[texts.index("prediction")])
    return numbers_of(columns, read, "prediction")


def numbers_of(columns: Columns, read: Sequence[Field], name: str) -> FloatArray:
    """The values (n,) of a numeric field; NaN where there is none. read: the fields of the columns."""
    names = [each.name for each in read if each.numeric]
    if name not in names:
        return np.full(len(columns.ids), np.nan)
    return np.ascontiguousarray(columns.numeric[:, names.index(name)])
