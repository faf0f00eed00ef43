"""Events, and their columns: n events of a model turned on their side, a matrix of floats and a list per text signal.

What becomes of a value of a signal:

    value              numeric signal       text signal (categorical, boolean, text constant)
    null, absent       missing              missing
    12, 12.5           itself               "12", "12.5"
    Infinity, 1e999    an infinity          "inf"
    NaN                Special.NAN          Special.NAN
    "N/A"              Special.INVALID      itself
    true               Special.INVALID      "true"
    [..], {..}         Special.INVALID      Special.INVALID

Never a silent 0, never a number made of a string. No I/O, no clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detectors.summaries.codes import FloatArray, IntArray, Special

# Characters of a name, a model's or a signal's; a longer one names none. Without a bound, a message of 1 MiB, half of
# it one key and half 50,000 values under it, would make names of 25 GB.
MAX_NAME = 255
# Characters: enough of a value to recognise it in a log line.
_SHOWN = 60
# Half a character: from an escape such as "\ud800" alone, and in place of each byte that is no UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Event:
    """One prediction.

    ts: epoch milliseconds. signals: every value of `features`, `prediction` and `score` under its dotted name, as
    parsed; an object is {}, and its values have names of their own. A name given twice has the later value.
    """

    id: str
    ts: int
    model: str
    version: str | None
    signals: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """How one signal is read: `name` ("features.amount", "score"), and whether its values are floats or text."""

    name: str
    numeric: bool


class Rejection(NamedTuple):
    """A message that is no event: its position in the batch, and why."""

    position: int
    reason: str


class Defect(NamedTuple):
    """A value that counts under a special code, NAN or INVALID. position: that of its event in the batch."""

    position: int
    signal: str
    code: Special
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """n events of one model, in the order of their batch.

    position: (n,) index in the batch. ts: (n,) epoch milliseconds. ids: n.
    numeric: (n, numeric fields) in the fields' order, NaN where missing or defective.
    texts: a list of n for each text field, None where missing or defective.
    defects: by position; each names the code that stands in for "missing".
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
        """From one sequence of n values a field: floats and None, or text and None."""
        pairs = list(zip(fields, values, strict=True))
        numbers = _matrix([column for field, column in pairs if field.numeric], len(ids))
        texts = [list(column) for field, column in pairs if not field.numeric]
        return cls(np.asarray(position, np.int64), np.asarray(ts, np.int64), ids, numbers.T, texts, defects)

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        """The events of one or more parts, one after the other."""
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

    def placed(self, places: IntArray) -> Columns:
        """The same events, with the place of each message for its position in the batch."""
        defects = [defect._replace(position=int(places[defect.position])) for defect in self.defects]
        return replace(self, position=places[self.position], defects=defects)

    def part(self, first: int, last: int) -> Columns:
        """The events in rows [first, last), not copied. Positions must rise."""
        position = self.position[first:last]
        return Columns(
            position,
            self.ts[first:last],
            self.ids[first:last],
            self.numeric[first:last],
            [text[first:last] for text in self.texts],
            self._defects_at(position),
        )

    def take(self, rows: IntArray) -> Columns:
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
        both = Columns.joined([self, other])
        return both.take(np.argsort(both.position))

    def _defects_at(self, position: IntArray) -> list[Defect]:
        kept = set(position.tolist()) if self.defects else set()
        return sorted((defect for defect in self.defects if defect.position in kept), key=_by_position)


class Unfit(ValueError):
    """A value that its signal cannot take, and the special code it counts under."""

    def __init__(self, code: Special, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def tabulate(fields: Sequence[Field], events: Sequence[tuple[int, Event]]) -> Columns:
    """The columns of one model's events, given with their positions, in that order."""
    defects: list[Defect] = []
    values = [[_cell(field, position, event, defects) for position, event in events] for field in fields]
    positions, times = [position for position, _ in events], [event.ts for _, event in events]
    ids = [event.id for _, event in events]
    return Columns.of(fields, positions, times, ids, values, sorted(defects, key=_by_position))


def infer_fields(events: Iterable[Event]) -> list[Field]:
    """How to read each signal that has a value in the events, by first appearance.

    Numeric, if it is more often a number than text or a boolean. A signal that is only ever null, an object or an array
    has nothing to monitor and is left out.
    """
    votes: dict[str, int] = {}
    for event in events:
        for name, value in event.signals.items():
            if isinstance(value, str | int | float):
                votes[name] = votes.get(name, 0) + (1 if is_number(value) else -1)
    return [Field(name, lead > 0) for name, lead in votes.items() if is_unicode(name) and len(name) <= MAX_NAME]


def as_number(value: Any) -> float | None:
    """A parsed JSON value of a numeric signal; None if missing, Unfit if it is none."""
    if value is None:
        return None
    if not is_number(value):
        raise Unfit(Special.INVALID, f"expected number, got {shown(value)}")
    if value != value:
        raise Unfit(Special.NAN, "NaN")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_text(value: Any) -> str | None:
    """A parsed JSON value of a text signal; None if missing, Unfit if it is none."""
    if value is None or isinstance(value, str):
        return _unicode(value)
    if isinstance(value, dict | list):
        raise Unfit(Special.INVALID, f"expected text, got {shown(value)}")
    if value != value:
        raise Unfit(Special.NAN, "NaN")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def is_number(value: Any) -> bool:
    """Whether a parsed JSON value is a number; true and false are none."""
    return type(value) is float or type(value) is int


def is_unicode(text: str) -> bool:
    """Whether a parsed JSON string can be written as UTF-8 again."""
    return not _SURROGATE.search(text)


def shown(value: Any) -> str:
    """A parsed JSON value as a reason quotes it, in at most 60 characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _unicode(text: str | None) -> str | None:
    if text is not None and not is_unicode(text):
        raise Unfit(Special.INVALID, f"not valid Unicode: {shown(text)}")
    return text


def _cell(field: Field, position: int, event: Event, defects: list[Defect]) -> float | str | None:
    value = event.signals.get(field.name)
    try:
        return as_number(value) if field.numeric else as_text(value)
    except Unfit as unfit:
        defects.append(Defect(position, field.name, unfit.code, f"{field.name}: {unfit}"))
        return None


def _matrix(columns: Sequence[Sequence[float | None]], n: int) -> FloatArray:
    """One row for each column of n floats, with NaN for None."""
    shape = len(columns), n
    try:
        return np.fromiter(chain.from_iterable(columns), np.float64, len(columns) * n).reshape(shape)
    except TypeError:  # a None is among them: np.array knows it, but takes longer
        return np.array(columns, np.float64).reshape(shape)


def _by_position(defect: Defect) -> int:
    return defect.position
