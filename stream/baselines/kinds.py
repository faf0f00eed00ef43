"""Kinds of signals that somebody named, held against the values that they should fit. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from driftline.detectors.summaries.codes import Kind
from driftline.stream.baselines.baseline import BaselineError
from driftline.stream.events.event import FLAGS, Event, is_number, is_numeral
from driftline.stream.text.phrases import counted

#: Kinds that may be named; that a signal is constant is seen from its values.
NAMED_KINDS = (Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN)
# Share of a signal's values that must fit the kind: the others may be faults of the data.
_ENOUGH = 0.5


def check_kinds(kinds: Mapping[str, Kind], events: Sequence[Event]) -> None:
    """Raises BaselineError for a kind that most values of its signal do not fit: all of them would be invalid."""
    for name, kind in kinds.items():
        values = Counter(
            (type(value), value) for event in events if isinstance(value := event.signals.get(name), str | int | float)
        )
        if (total := values.total()) and _fitting(values, kind) < _ENOUGH * total:
            (_, odd), _ = values.most_common(1)[0]
            raise BaselineError(
                f"{name.removeprefix('features.')}: cannot be {kind.value}: {_words(values, kind)} among "
                f"{counted(total, 'value')}, such as {odd!r}; name another kind, or none"
            )


def _fitting(values: Counter[tuple[type, str | float]], kind: Kind) -> int:
    """How many values a kind fits."""
    if kind is Kind.NUMERIC:
        return sum(n for (_, value), n in values.items() if _is_amount(value))
    if kind is Kind.BOOLEAN:
        flags = sum(n for (_, value), n in values.items() if str(value).lower() in FLAGS)
        return max(flags, sum(n for _, n in values.most_common(2)))
    return values.total()


def _is_amount(value: str | float) -> bool:
    return is_numeral(value) if isinstance(value, str) else is_number(value)


def _words(values: Counter[tuple[type, str | float]], kind: Kind) -> str:
    if kind is Kind.NUMERIC:
        return f"there are {counted(_fitting(values, kind), 'number')}"
    return f"there are {len(values):,} different ones"
