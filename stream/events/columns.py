"""Events as columns: one row per event, a matrix of floats, a list per text signal, and the defects of values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Special
from driftline.stream.events.event import (
    MAX_NAME,
    Event,
    UnfitValueError,
    as_number,
    as_text,
    as_weight,
    is_number,
    is_numeral,
    is_unicode,
)

# Different values up to which texts with a decimal point may be codes, such as versions.
_FEW = 20
#: Names of the values of an event that are no signals. Tags have the names "tags.…", like features.
VERSION, LABEL, WEIGHT, TAGS = "version", "label", "weight", "tags"


@dataclass(frozen=True, slots=True)
class Field:
    """How to read one signal: its `name` ("features.amount", "score"), and whether its values are floats or text.

    In the same way, how to read a value that is no signal: `VERSION`, `LABEL`, `WEIGHT` or a tag ("tags.land").

    flag: whether true and 1, false and 0, are the same values. whole: of text, whether 1 and 1.0 are.
    """

    name: str
    numeric: bool
    flag: bool = False
    whole: bool = False


#: How a label is read: as text, since it is compared with the names of classes.
LABEL_FIELD: Final = Field(LABEL, numeric=False, whole=True)


class Defect(NamedTuple):
    """A value that counts under the special code NAN or INVALID. row: of its event in the columns."""

    row: int
    signal: str
    code: Special
    reason: str


class Columns(Struct, frozen=True, eq=False):
    """n events of one model, in the order of their batch.

    position: (n,) index of the message in the batch; equal for the events of one message. ts: (n,) epoch milliseconds.
    ids: n of them.
    numeric: (n, numeric fields) in the order of the fields, NaN where missing or defective.
    texts: a list of n per text field, None where missing or defective.
    defects: in order of their rows; the code of each replaces "missing".
    extras: by name, a list of n values that are no signals: floats or text, None where missing or defective.
    """

    position: IntArray
    ts: IntArray
    ids: list[str]
    numeric: FloatArray
    texts: list[list[str | None]]
    defects: list[Defect]
    extras: Mapping[str, list[Any]] = MappingProxyType({})

    @classmethod
    def of(
        cls,
        fields: Sequence[Field],
        position: npt.ArrayLike,
        ts: npt.ArrayLike,
        ids: list[str],
        values: Iterable[Sequence[Any]],
        defects: list[Defect],
        extras: Mapping[str, list[Any]],
    ) -> Columns:
        """Columns from one sequence of n values per field: floats and None, or text and None."""
        pairs = list(zip(fields, values, strict=True))
        numbers = _matrix([column for field, column in pairs if field.numeric], len(ids))
        texts = [list(column) for field, column in pairs if not field.numeric]
        return cls(np.asarray(position, np.int64), np.asarray(ts, np.int64), ids, numbers.T, texts, defects, extras)

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Columns:
        """The events of one or more parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        names = dict.fromkeys(name for part in parts for name in part.extras)
        return cls(
            np.concatenate([part.position for part in parts]),
            np.concatenate([part.ts for part in parts]),
            list(chain.from_iterable(part.ids for part in parts)),
            np.concatenate([part.numeric.T for part in parts], axis=1).T,
            [list(chain.from_iterable(texts)) for texts in zip(*(part.texts for part in parts), strict=True)],
            [
                defect._replace(row=first + defect.row)
                for first, part in zip(_starts(parts), parts, strict=True)
                for defect in part.defects
            ],
            {
                # What is asked for of events may change while a run is open.
                name: list(chain.from_iterable(part.extras.get(name) or [None] * len(part.ids) for part in parts))
                for name in names
            },
        )

    def with_positions(self, positions: IntArray) -> Columns:
        """The same events, with `positions[i]` (an offset, say) for each position i in the batch."""
        return replace(self, position=positions[self.position])

    def slice(self, first: int, last: int) -> Columns:
        """The events in rows [first, last), without copying arrays."""
        return Columns(
            self.position[first:last],
            self.ts[first:last],
            self.ids[first:last],
            self.numeric[first:last],
            [text[first:last] for text in self.texts],
            self._defects(first, last),
            {name: values[first:last] for name, values in self.extras.items()},
        )

    def _defects(self, first: int, last: int) -> list[Defect]:
        """The defects in rows [first, last)."""
        begin, end = (bisect_left(self.defects, row, key=_by_row) for row in (first, last))
        return [each._replace(row=each.row - first) for each in self.defects[begin:end]]

    def select(self, rows: IntArray) -> Columns:
        """The events in these rows, in this order."""
        picks = rows.tolist()
        places = {row: place for place, row in enumerate(picks)} if self.defects else {}
        kept = [each._replace(row=places[each.row]) for each in self.defects if each.row in places]
        return Columns(
            self.position[rows],
            self.ts[rows],
            [self.ids[row] for row in picks],
            self.numeric[rows],
            [[text[row] for row in picks] for text in self.texts],
            sorted(kept, key=_by_row),
            {name: [values[row] for row in picks] for name, values in self.extras.items()},
        )

    def merge(self, other: Columns) -> Columns:
        """The events of both, by position."""
        both = Columns.concatenate([self, other])
        return both.select(np.argsort(both.position, kind="stable"))


def tabulate(fields: Sequence[Field], events: Sequence[tuple[int, Event]], extras: Sequence[Field] = ()) -> Columns:
    """The columns of one model's events, given with the positions of their messages in the batch.

    extras: which of the events' extras to keep.
    """
    defects: list[Defect] = []
    rows = [event for _, event in events]
    values = [[_cell(each, row, event.signals, defects) for row, event in enumerate(rows)] for each in fields]
    kept: dict[str, list[Any]] = {
        each.name: [_cell(each, row, event.extras, defects) for row, event in enumerate(rows)] for each in extras
    }
    if VERSION in kept:
        kept[VERSION] = [event.version for event in rows]
    positions, times = [position for position, _ in events], [event.ts for _, event in events]
    ids = [event.id for _, event in events]
    return Columns.of(fields, positions, times, ids, values, sorted(defects, key=_by_row), kept)


def infer_fields(events: Iterable[Event], names: Container[str] | None = None) -> list[Field]:
    """How to read each signal that has a value in the events, in order of first appearance; of `names` alone, if given.

    A signal is numeric if it is more often a number than text or a boolean, or if its texts all spell numbers that look
    measured (`_Votes`). One that is only ever null, an object or an array has nothing to monitor and is left out.
    """
    votes: dict[str, _Votes] = {}
    for event in events:
        for name, value in event.signals.items():
            if isinstance(value, str | int | float) and (names is None or name in names):
                votes.setdefault(name, _Votes()).add(value)
    return [Field(name, own.numeric) for name, own in votes.items() if is_unicode(name) and len(name) <= MAX_NAME]


@dataclass(slots=True)
class _Votes:
    """What a signal's values look like.

    Texts that spell numbers are codes as often as amounts: "01067" is a postcode and "4.2" a version. They are taken
    for amounts if no other text is among them and more than `_FEW` different ones have a decimal point.
    """

    numbers: int = 0
    texts: int = 0
    numerals: int = 0
    fractions: set[str] = field(default_factory=set)

    def add(self, value: str | float) -> None:
        if is_number(value):
            self.numbers += 1
            return
        self.texts += 1
        if isinstance(value, str) and is_numeral(value):
            self.numerals += 1
            if "." in value and len(self.fractions) <= _FEW:
                self.fractions.add(value)

    @property
    def numeric(self) -> bool:
        measured = self.numerals == self.texts and len(self.fractions) > _FEW
        return measured or self.numbers > self.texts


def _starts(parts: Sequence[Columns]) -> Iterable[int]:
    """The first row of each part when they are concatenated."""
    return accumulate((len(part.ids) for part in parts[:-1]), initial=0)


def _cell(field: Field, row: int, values: Mapping[str, Any], defects: list[Defect]) -> float | str | None:
    try:
        return _read(field, values.get(field.name))
    except UnfitValueError as unfit:
        defects.append(Defect(row, field.name, unfit.code, f"{field.name}: {unfit}"))
        return None


def _read(field: Field, value: Any) -> float | str | None:
    """A parsed JSON value as its field has it. Raises UnfitValueError."""
    if field.name == WEIGHT:
        return as_weight(value)
    return as_number(value, field.flag) if field.numeric else as_text(value, field.flag, field.whole)


def _matrix(columns: Sequence[Sequence[float | None]], n: int) -> FloatArray:
    """One row per column of n floats, with NaN for None."""
    shape = len(columns), n
    try:
        return np.fromiter(chain.from_iterable(columns), np.float64, len(columns) * n).reshape(shape)
    except TypeError:  # there is a None: np.array accepts it, but is slower
        return np.array(columns, np.float64).reshape(shape)


def _by_row(defect: Defect) -> int:
    return defect.row
