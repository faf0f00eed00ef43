"""Tables: which part of an event each column holds, and rows as the JSON that a topic would carry.

The names of columns are paths of the mapping. Those of id, ts, model, version, prediction, score, label and weight are
the event's own, `tags.NAME` is a tag, and every other column, `features.NAME` or plain NAME, is a feature. A column
`features` or `tags` holds a whole object, or one written as JSON.

A column without a title, or with the one that pandas gives to an index, is left out: row numbers only ever rise. Where
types say that the index holds times, its column is `index`.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any, Literal

import orjson

from driftline.stream.events.mapping import EventMapping
from driftline.stream.sources.inputs import InputError, Note, OnNote

# What a converter returns for a cell that holds nothing.
ABSENT = object()

Keys = tuple[str, ...]
Converter = Callable[[Any], object]
Kind = Literal["text", "time", "object", "value"]

#: The title of an index of pandas that has no name.
INDEX_LEVEL = re.compile(r"__index_level_\d+__")
_INDEX = re.compile(rf"|Unnamed: \d+|{INDEX_LEVEL.pattern}")
_KINDS: dict[str, Kind] = {
    "id": "text", "model": "text", "version": "text", "ts": "time",
    "prediction": "value", "score": "value", "label": "value", "weight": "value",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its position, from 0, its title, and where its values belong in the event.

    kind: "text" for names ("007" is not the number 7), "time" for the event's time, "object" for all features or tags.
    """

    index: int
    title: str
    keys: Keys
    kind: Kind


class EventWriter:
    """Makes events of the rows of all tables; those without an id get their number, from 1.

    model, ts: of the rows that have none.
    """

    def __init__(self, mapping: EventMapping, model: str | None = None, ts: str | None = None) -> None:
        self.mapping = mapping
        given = ((mapping.path("model"), model), (mapping.path("ts"), ts))
        self._given = [(path, text) for path, text in given if path and text is not None]
        self._id, self._numbers = mapping.path("id"), count(1)

    def new_event(self) -> dict[str, Any]:
        """An event with what the next row may leave out."""
        event: dict[str, Any] = {}
        if self._id:
            _place(event, self._id, str(next(self._numbers)))
        for keys, text in self._given:
            _place(event, keys, text)
        return event


class RowWriter:
    """Makes events of the rows of one table, given the converter of each column."""

    def __init__(self, writer: EventWriter, columns: Iterable[tuple[Column, Converter]]) -> None:
        self._new_event = writer.new_event
        sections: dict[Keys, list[tuple[int, str, Converter]]] = defaultdict(list)
        self._objects: list[tuple[int, Keys, Converter]] = []
        for column, convert in columns:
            if column.kind == "object":
                self._objects.append((column.index, column.keys, convert))
            else:
                sections[column.keys[:-1]].append((column.index, column.keys[-1], convert))
        self._sections = list(sections.items())

    def write(self, row: Sequence[Any]) -> bytes:
        """The event of a row."""
        event = self._new_event()
        for home, cells in self._sections:
            values = {key: value for at, key, convert in cells if (value := convert(row[at])) is not ABSENT}
            if values:
                _at(event, home).update(values)
        for at, keys, convert in self._objects:
            _add(event, keys, convert(row[at]))
        return orjson.dumps(event, default=_plain, option=orjson.OPT_UTC_Z)


def plan_columns(source: str, titles: Iterable[str], mapping: EventMapping, note: OnNote) -> list[Column]:
    """The columns of a table that are read. Raises InputError, which names the file and the column."""
    plan = _Plan(mapping)
    named = list(plan.named(map(str.strip, titles), note))
    features = {plan.feature(title) for _, title in named}
    columns = [plan.column(index, title, features) for index, title in named]
    _check_apart(source, columns)
    return columns


def opened(value: object) -> object:
    """The object in a JSON text; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return _finite(json.loads(value))
    except ValueError:
        return value


def number(value: float) -> object:
    """The value, or the literal NaN, Infinity or -Infinity, for which orjson would write null."""
    return value if math.isfinite(value) else orjson.Fragment(json.dumps(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return number(value) if isinstance(value, float) else value


class _Plan:
    """The places of the event's own parts."""

    def __init__(self, mapping: EventMapping) -> None:
        kinds = _KINDS | ({"ts": "text"} if mapping.format else {})
        self._own = {path: kinds[part] for part in kinds if (path := mapping.path(part)) is not None}
        self._features = mapping.path("features") or ()
        tags = mapping.path("tags") or ()
        # A path of the features may lie in the tags, or be the same.
        self._tags = tags if self._features[: len(tags)] != tags else None

    def named(self, titles: Iterable[str], note: OnNote) -> Iterator[tuple[int, str]]:
        """Position and title of every column but an index."""
        for index, title in enumerate(titles):
            if _INDEX.fullmatch(title) and _keys(title) not in self._own:
                field = f"column {index + 1}" + (f", {title!r}" if title else "")
                note(
                    Note(
                        field,
                        "is left out: it has no title, as row numbers of pandas; give it one to read it",
                    )
                )
            else:
                yield index, title

    def feature(self, title: str) -> Keys:
        """The keys of a feature below the features' object."""
        keys = _keys(title)
        home = len(self._features)
        return keys[home:] if keys[:home] == self._features and len(keys) > home else keys

    def column(self, index: int, title: str, features: set[Keys]) -> Column:
        """The place of a column; a dot in its title does not nest if a column has the name in front of the dot."""
        keys = _keys(title)
        if kind := self._own.get(keys):
            return Column(index, title, keys, kind)
        if keys in (self._features, self._tags):
            return Column(index, title, keys, "object")
        if self._tags and keys[: len(self._tags)] == self._tags:
            return Column(index, title, (*self._tags, ".".join(keys[len(self._tags) :])), "text")
        feature = self.feature(title)
        if not all(feature) or any(feature[:end] in features for end in range(1, len(feature))):
            feature = (".".join(feature),)
        return Column(index, title, (*self._features, *feature), "value")


def _check_apart(source: str, columns: Sequence[Column]) -> None:
    seen: dict[Keys, Column] = {}
    for column in columns:
        if column.keys in seen:
            place = f"column {column.index + 1}"
            raise InputError(f"{source}: {place} is a second {column.title!r}; rename it or leave it out")
        seen[column.keys] = column
    for column in columns:
        outer = next((seen[key] for end in range(len(column.keys)) if (key := column.keys[:end]) in seen), None)
        if outer and outer.kind != "object":
            raise InputError(
                f"{source}: column {column.title!r} lies inside column {outer.title!r}; rename one of them"
            )


def _keys(path: str) -> Keys:
    return tuple(path.split("."))


def _at(event: dict[str, Any], keys: Keys) -> dict[str, Any]:
    for key in keys:
        event = event.setdefault(key, {})
    return event


def _place(event: dict[str, Any], keys: Keys, value: object) -> None:
    _at(event, keys[:-1])[keys[-1]] = value


def _add(event: dict[str, Any], keys: Keys, value: object) -> None:
    """Add the fields of an object at a path. What is no object replaces it, so that the decoder rejects the event."""
    if isinstance(value, dict):
        _at(event, keys).update(value)
    elif value is not ABSENT:
        _place(event, keys, value)


def _plain(value: object) -> object:
    """A value that orjson cannot write: a decimal as a number, anything else as text."""
    return float(value) if isinstance(value, Decimal) else str(value)
