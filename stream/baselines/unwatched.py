"""Which fields of the events a baseline does not watch, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray
from driftline.detectors.summaries.codes import Kind
from driftline.stream.events.columns import Columns, Field
from driftline.stream.events.event import Event, is_unicode

#: Fields that are named at most: with names of 255 characters they take 260 kB. Who has more of them has keys that are
#: values, such as `{"user_17": null}`, and a thousand show that.
MAX_FIELDS = 1000
# Values below which nothing looks like an identifier: of fewer, the rows of a small table may all differ by chance.
_FEW = 100
# Share of different values from which a text is an identifier. Random ids and free text are near 1; a name that returns
# once in ten events, which is the rarest that a category can show, is at 0.9.
_DISTINCT = 0.95


class Why(StrEnum):
    """Why a field is not watched. The first six are facts of a baseline; live events add the others.

    FEW: all fields of a model that has no baseline yet.
    """

    NULL = "null"
    ARRAY = "array"
    OBJECT = "object"
    EXCLUDED = "excluded"
    IDENTIFIER = "identifier"
    NAME = "name"
    NEW = "new"
    FILLED = "filled"
    FEW = "few-events"


def identifiers(fields: Sequence[Field], columns: Columns, kinds: Mapping[str, Kind]) -> set[str]:
    """The fields, read into `columns` in time order, that look like identifiers and have no kind in `kinds`.

    Each of their values is another one: as categories they would always be unseen, and a number that counts up has left
    its baseline by the next event.
    """
    numeric, texts = ([each.name for each in fields if each.numeric is wanted] for wanted in (True, False))
    found = {name for name, values in zip(numeric, columns.numeric.T, strict=True) if _counts_up(values)}
    found |= {name for name, values in zip(texts, columns.texts, strict=True) if _differ(values)}
    return found - kinds.keys()


def unwatched_fields(
    events: Iterable[Event], valued: Collection[str], ids: Collection[str], watched: Collection[str]
) -> dict[str, str]:
    """Why each field of the events that is not watched is not: a `Why` by name, of at most `MAX_FIELDS`.

    valued: the fields with a value. ids: those that look like identifiers.
    """
    seen: dict[str, Why] = {}
    for event in events:
        for name, value in event.signals.items():
            if name not in watched and (name not in seen or seen[name] is Why.NULL):
                seen[name] = _why(name, value, valued, ids)
    parents = {name.rpartition(".")[0] for name in {*seen, *watched}}
    named = {name: why for name, why in seen.items() if why is not Why.OBJECT or name not in parents}
    return {name: named[name].value for name in sorted(named)[:MAX_FIELDS]}


def _why(name: str, value: Any, valued: Collection[str], ids: Collection[str]) -> Why:
    if not is_unicode(name):
        return Why.NAME
    if name in valued:
        return Why.IDENTIFIER if name in ids else Why.EXCLUDED
    return Why.ARRAY if isinstance(value, list) else Why.OBJECT if isinstance(value, dict) else Why.NULL


def _counts_up(values: FloatArray) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) >= _FEW and bool((finite[1:] > finite[:-1]).all() and (finite == np.floor(finite)).all())


def _differ(values: Sequence[str | None]) -> bool:
    known = [value for value in values if value is not None]
    return len(known) >= _FEW and len(set(known)) >= _DISTINCT * len(known)
