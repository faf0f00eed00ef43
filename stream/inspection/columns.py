"""What the columns of a sample hold: the kind of each, what is missing, how many values differ, which of them.

A column is a path through objects that ends at a value: {"user": {"age": 7}} has the column user.age. No I/O, no clock.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

from driftline.stream.events.event import MAX_NAME, is_number, is_numeral, is_unicode

#: Columns that are described; messages whose keys are ids would have any number of them.
MAX_COLUMNS = 2000
# Texts that say "missing", in lower case. "unknown" is not among them: it may be a category.
_NULLS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", "\\n", "<na>", "missing"})
_TRUTHS = frozenset({"true", "false"})
# Of the values of a column that are no numbers, the share up to which it is numeric all the same, with faults.
_FEW = 0.05
_TOP = 3
# Values from which on "rises by 1" says something.
_ENOUGH = 20
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}|[0-9a-f]{16,64}", re.IGNORECASE)


class ColumnKind(StrEnum):
    """What most values of a column are."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    CONSTANT = "constant"
    ARRAY = "array"
    OBJECT = "object"
    EMPTY = "all null"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of n documents.

    path: dotted. reachable: whether a mapping can name it, which it cannot if a key contains a dot or is empty.
    present: values that are neither null nor spell it, of `total`. distinct: different ones. repeats: whether one
    occurs twice. numerals: whether its numbers are texts. odd: the first text among its numbers, if there is one, and
    how many there are. nulls: texts that spell "missing", and how often. low, high: of its numbers. top: the most
    common values as text, each with its count. values: those present, in order.
    """

    path: str
    kind: ColumnKind
    total: int
    present: int
    distinct: int
    reachable: bool = True
    numerals: bool = False
    odd: str | None = None
    odd_count: int = 0
    nulls: Mapping[str, int] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    top: Sequence[tuple[str, int]] = ()
    values: Sequence[Any] = field(default=(), repr=False)

    @property
    def missing(self) -> float:
        """The share of documents in which the column has no value."""
        return 1 - self.present / self.total

    @property
    def is_unique(self) -> bool:
        """Whether every document has a value, and no two the same."""
        return self.distinct == self.total

    @property
    def is_scalar(self) -> bool:
        """Whether its values are numbers, texts or truths."""
        return self.kind not in (ColumnKind.ARRAY, ColumnKind.OBJECT, ColumnKind.EMPTY)

    @property
    def is_name(self) -> bool:
        """Whether each of its values can be an id or the name of a model."""
        return all(map(_is_name, self.values))

    @property
    def is_whole(self) -> bool:
        """Whether all its values are integers."""
        return self.kind is ColumnKind.NUMERIC and all(float(value).is_integer() for value in _numbers(self.values))

    @property
    def is_number(self) -> bool:
        """Whether most of its values are numbers; a constant may be one."""
        return self.low is not None

    @property
    def is_fraction(self) -> bool:
        """Whether its values are numbers, and not all of them integers."""
        return self.is_number and not self.is_whole

    @property
    def is_counter(self) -> bool:
        """Whether its values are integers that rise by 1, as the numbers of rows do."""
        if not self.is_whole or len(self.values) < _ENOUGH:
            return False
        numbers = list(_numbers(self.values))
        return len(numbers) == self.total and all(b - a == 1 for a, b in pairwise(numbers))

    @property
    def is_token(self) -> bool:
        """Whether its values are UUIDs or hashes."""
        return bool(self.values) and all(isinstance(value, str) and _UUID.fullmatch(value) for value in self.values)

    @property
    def is_share(self) -> bool:
        """Whether its numbers lie between 0 and 1 and are not only these two."""
        if self.kind is not ColumnKind.NUMERIC or self.low is None or self.high is None:
            return False
        return self.low >= 0 and self.high <= 1 and not self.is_whole


def describe_columns(documents: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of the documents, in order of first appearance; the first 2000 of them."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for document in documents:
        for keys, value in _leaves(document, ()):
            if keys in found or len(found) < MAX_COLUMNS:
                found.setdefault(keys, []).append(value)
    inner = {keys[:depth] for keys in found for depth in range(1, len(keys))}
    return [
        _column(keys, values, len(documents))
        for keys, values in found.items()
        if keys not in inner or any(value is not None and value != {} for value in values)
    ]


def _leaves(branch: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in branch.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _column(keys: tuple[str, ...], values: Sequence[Any], total: int) -> Column:
    filled = [value for value in values if value is not None]
    spelled = Counter(value for value in filled if isinstance(value, str) and value.strip().lower() in _NULLS)
    present = [value for value in filled if not (isinstance(value, str) and value in spelled)]
    path, reachable = ".".join(keys), all(key and "." not in key and is_unicode(key) for key in keys)
    scalars = [value for value in present if not isinstance(value, dict | list)]
    if len(scalars) < len(present) or not present:
        kind = ColumnKind.EMPTY if not present else _container(present)
        return Column(path, kind, total, len(present), 0, reachable, nulls=spelled)
    counts = Counter(map(_as_text, present))
    numbers = list(_numbers(present))
    numeric = len(numbers) >= (1 - _FEW) * len(present)
    odd = [text for value in present if not _is_numeric(value) for text in [_as_text(value)]] if numeric else []
    return Column(
        path, _kind(counts, numeric), total, len(present), len(counts), reachable,
        numerals=numeric and any(isinstance(value, str) for value in present if _is_numeric(value)),
        odd=odd[0] if odd else None, odd_count=len(odd), nulls=spelled,
        low=min(numbers) if numeric else None, high=max(numbers) if numeric else None,
        top=counts.most_common(_TOP), values=present,
    )  # fmt: skip


def _container(values: Sequence[Any]) -> ColumnKind:
    return ColumnKind.ARRAY if any(isinstance(value, list) for value in values) else ColumnKind.OBJECT


def _kind(counts: Counter[str], numeric: bool) -> ColumnKind:
    if len(counts) == 1 and counts.total() > 1:
        return ColumnKind.CONSTANT
    if numeric:
        return ColumnKind.NUMERIC
    return ColumnKind.BOOLEAN if {text.lower() for text in counts} <= _TRUTHS else ColumnKind.CATEGORICAL


def _is_numeric(value: Any) -> bool:
    return is_numeral(value) if isinstance(value, str) else is_number(value) and math.isfinite(_float(value))


def _numbers(values: Iterable[Any]) -> Iterator[float]:
    return (_float(value) for value in values if _is_numeric(value))


def _is_name(value: Any) -> bool:
    return 0 < len(value) <= MAX_NAME and is_unicode(value) if isinstance(value, str) else _is_numeric(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
