"""Events as columns: one row per event, a matrix of floats, a list per text signal, and the defects of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.detectors.summaries.codes import Special
from driftline.stream.events.event import MAX_NAME, Event, UnfitValueError, as_number, as_text, is_number, is_unicode


@dataclass(frozen=True, slots=True)
class Field:
    """How to read one signal: its `name` ("features.amount", "score"), and whether its values are floats or text."""

    name: str
    numeric: bool


class Defect(NamedTuple):
    """A value that counts under the special code NAN or INVALID. position: of its event in the batch."""

    position: int
    signal: str
    code: Special
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """n events of one model, in the order of their batch.

    position: (n,) index in the batch. ts: (n,) epoch milliseconds. ids: n of them.
    numeric: (n, numeric fields) in the order of the fields, NaN where missing or defective.
    texts: a list of n per text field, None where missing or defective.
    defects: in order of position; the code of each replaces "missing".
    """

    position: IntArray
    ts: IntArray
    ids: list[str]
    numeric: FloatArray
    texts: list[list[str | None]]
    defects: list[Defect]

    @classmethod
    def of(
        cls,
        fields: Sequence[Field],
        position: npt.ArrayLike,
        ts: npt.ArrayLike,
        ids: list[str],
        values: Iterable[Sequence[Any]],
        defects: list[Defect],
    ) -> Columns:
        """Columns from one sequence of n values per field: floats and None, or text and None."""
        pairs = list(zip(fields, values, strict=True))
        numbers = _matrix([column for field, column in pairs if field.numeric], len(ids))
        texts = [list(column) for field, column in pairs if not field.numeric]
        return cls(np.asarray(position, np.int64), np.asarray(ts, np.int64), ids, numbers.T, texts, defects)

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Columns:
        """The events of one or more parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.position for part in parts]),
            np.concatenate([part.ts for part in parts]),
            list(chain.from_iterable(part.ids for part in parts)),
            np.concatenate([part.numeric.T for part in parts], axis=1).T,
            [list(chain.from_iterable(texts)) for texts in zip(*(part.texts for part in parts), strict=True)],
            list(chain.from_iterable(part.defects for part in parts)),
        )

    def with_positions(self, positions: IntArray) -> Columns:
        """The same events, with `positions[i]` (an offset, say) for each position i in the batch."""
        defects = [defect._replace(position=int(positions[defect.position])) for defect in self.defects]
        return replace(self, position=positions[self.position], defects=defects)

    def slice(self, first: int, last: int) -> Columns:
        """The events in rows [first, last), without copying arrays. Positions must rise."""
        position = self.position[first:last]
        return Columns(
            position,
            self.ts[first:last],
            self.ids[first:last],
            self.numeric[first:last],
            [text[first:last] for text in self.texts],
            self._defects_at(position),
        )

    def select(self, rows: IntArray) -> Columns:
        """The events in these rows, in this order."""
        position, picks = self.position[rows], rows.tolist()
        return Columns(
            position,
            self.ts[rows],
            [self.ids[row] for row in picks],
            self.numeric[rows],
            [[text[row] for row in picks] for text in self.texts],
            self._defects_at(position),
        )

    def merge(self, other: Columns) -> Columns:
        """The events of both, by position."""
        both = Columns.concatenate([self, other])
        return both.select(np.argsort(both.position))

    def _defects_at(self, position: IntArray) -> list[Defect]:
        kept = set(position.tolist()) if self.defects else set()
        return sorted((defect for defect in self.defects if defect.position in kept), key=_by_position)


def tabulate(fields: Sequence[Field], events: Sequence[tuple[int, Event]]) -> Columns:
    """The columns of one model's events, given with their positions in the batch."""
    defects: list[Defect] = []
    values = [[_cell(field, position, event, defects) for position, event in events] for field in fields]
    positions, times = [position for position, _ in events], [event.ts for _, event in events]
    ids = [event.id for _, event in events]
    return Columns.of(fields, positions, times, ids, values, sorted(defects, key=_by_position))


def infer_fields(events: Iterable[Event]) -> list[Field]:
    """How to read each signal that has a value in the events, in order of first appearance.

    A signal is numeric if it is more often a number than text or a boolean. One that is only ever null, an object or an
    array has nothing to monitor and is left out.
    """
    votes: dict[str, int] = {}
    for event in events:
        for name, value in event.signals.items():
            if isinstance(value, str | int | float):
                votes[name] = votes.get(name, 0) + (1 if is_number(value) else -1)
    return [Field(name, lead > 0) for name, lead in votes.items() if is_unicode(name) and len(name) <= MAX_NAME]


def _cell(field: Field, position: int, event: Event, defects: list[Defect]) -> float | str | None:
    value = event.signals.get(field.name)
    try:
        return as_number(value) if field.numeric else as_text(value)
    except UnfitValueError as unfit:
        defects.append(Defect(position, field.name, unfit.code, f"{field.name}: {unfit}"))
        return None


def _matrix(columns: Sequence[Sequence[float | None]], n: int) -> FloatArray:
    """One row per column of n floats, with NaN for None."""
    shape = len(columns), n
    try:
        return np.fromiter(chain.from_iterable(columns), np.float64, len(columns) * n).reshape(shape)
    except TypeError:  # there is a None: np.array accepts it, but is slower
        return np.array(columns, np.float64).reshape(shape)


def _by_position(defect: Defect) -> int:
    return defect.position
