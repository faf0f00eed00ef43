"""Which fields of the events a baseline does not watch, and why. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.summaries.codes import Kind
from driftline.stream.baselines.categories import is_scattered
from driftline.stream.events.columns import Columns, Field
from driftline.stream.events.event import MAX_NAME, Event, is_unicode

#: Fields that are named at most: with names of 255 characters they take 260 kB. Who has more of them has keys that are
#: values, such as `{"user_17": null}`, and a thousand show that.
MAX_FIELDS = 1000
# Values below which nothing looks like an identifier: of fewer, the rows of a small table may all differ by chance.
_FEW = 100
# Share of different values from which a text is an identifier. Random ids and free text are near 1; a name that returns
# once in ten events, which is the rarest that a category can show, is at 0.9.
_DISTINCT = 0.95
#: Values below which a field of `_FEW` events and more says nothing: with fewer, no share of a category and no rank can
#: be told from chance. An id in a name makes a field with one.
RARE = 5


class Why(StrEnum):
    """Why a field is not watched. The first eight are facts of a baseline; live events add the others.

    RARE, SURPLUS: see `Choice`. There may be as many such names as values, so they are counted and not named.
    FEW: all fields of a model that has no baseline yet.
    """

    NULL = "null"
    ARRAY = "array"
    OBJECT = "object"
    EXCLUDED = "excluded"
    IDENTIFIER = "identifier"
    NAME = "name"
    RARE = "rare"
    SURPLUS = "surplus"
    NEW = "new"
    FILLED = "filled"
    FEW = "few-events"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which names of a sample get signals.

    kept: those that do. rare: those with a value in fewer than `RARE` events. surplus: the others, which are too many.
    """

    kept: frozenset[str]
    rare: frozenset[str]
    surplus: frozenset[str]

    @property
    def counts(self) -> dict[str, int]:
        """How many names are left out, by reason, as plain data; {} if none is."""
        counts = {Why.RARE.value: len(self.rare), Why.SURPLUS.value: len(self.surplus)}
        return {why: count for why, count in counts.items() if count}


def choose_names(events: Sequence[Event], selects: Callable[[str], bool], wanted: Collection[str], most: int) -> Choice:
    """The `most` names that have a value in most events, of those that `selects` accepts; ties go by name.

    wanted: names that the configuration gives a kind; they come first, and are never rare.
    """
    counts = Counter(
        name for event in events for name, value in event.signals.items() if isinstance(value, str | int | float)
    )
    names = [name for name in counts if is_unicode(name) and len(name) <= MAX_NAME and selects(name)]
    least = RARE if len(events) >= _FEW else 1
    rare = frozenset(name for name in names if counts[name] < least and name not in wanted)
    ranked = sorted(frozenset(names) - rare, key=lambda name: (name not in wanted, -counts[name], name))
    return Choice(frozenset(ranked[:most]), rare, frozenset(ranked[most:]))


def identifiers(fields: Sequence[Field], columns: Columns, kinds: Mapping[str, Kind]) -> set[str]:
    """The fields, read into `columns` in time order, that look like identifiers and have no kind in `kinds`.

    Nearly each of their values is another one, or rare: as categories they would be unseen, and a number that counts
    up has left its baseline by the next event.
    """
    numeric, texts = ([each.name for each in fields if each.numeric is wanted] for wanted in (True, False))
    found = {name for name, values in zip(numeric, columns.numeric.T, strict=True) if _counts_up(values)}
    found |= {name for name, values in zip(texts, columns.texts, strict=True) if _differ(values)}
    return found - kinds.keys()


def unwatched_fields(events: Iterable[Event], choice: Choice, ids: Collection[str]) -> dict[str, str]:
    """Why each field of the events that is not watched is not: a `Why` by name, of at most `MAX_FIELDS`.

    Rare and surplus names are left out. ids: the fields that look like identifiers.
    """
    watched, counted = choice.kept - frozenset(ids), choice.rare | choice.surplus
    seen: dict[str, Why] = {}
    for event in events:
        for name, value in event.signals.items():
            if name not in watched and name not in counted and (name not in seen or seen[name] is Why.NULL):
                seen[name] = _why(name, value, ids)
    parents = {name.rpartition(".")[0] for name in {*seen, *watched}}
    named = {name: why for name, why in seen.items() if why is not Why.OBJECT or name not in parents}
    return {name: named[name].value for name in sorted(named)[:MAX_FIELDS]}


def _why(name: str, value: Any, ids: Collection[str]) -> Why:
    if not is_unicode(name):
        return Why.NAME
    if name in ids:
        return Why.IDENTIFIER
    if isinstance(value, str | int | float):
        return Why.EXCLUDED
    return Why.ARRAY if isinstance(value, list) else Why.OBJECT if isinstance(value, dict) else Why.NULL


def _counts_up(values: FloatArray) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) >= _FEW and bool((finite[1:] > finite[:-1]).all() and (finite == np.floor(finite)).all())


def _differ(values: Sequence[str | None]) -> bool:
    known = [value for value in values if value is not None]
    return len(known) >= _FEW and (len(set(known)) >= _DISTINCT * len(known) or is_scattered(values))
