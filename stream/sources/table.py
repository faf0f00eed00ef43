"""Tables: which part of an event each column holds, and rows as the JSON that a topic would carry.

With the native kind of mapping, columns named as the paths of id, ts, model, version, prediction, score, label and
weight are the event's own, `tags.NAME` is a tag, and every other column, `features.NAME` or plain NAME, is a feature. A
column `features` or `tags` holds a whole object, or one written as JSON. A dot in a name leads to an object in it.

A column without a title, or with the one that pandas gives to an index, is left out: row numbers only ever rise.
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

_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
_OWN = ("id", "ts", "model", "version", "prediction", "score", "label", "weight")
_TEXT = ("id", "model", "version")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its position, from 0, its title, and where its values belong in the event.

    kind: "text" for names ("007" is not the number 7), "time" for the event's time, "object" for all features or tags.
    """

    index: int
    title: str
    keys: Keys
    kind: Literal["text", "time", "object", "value"]


class EventWriter:
    """Makes events of the rows of all tables; those without an id get their number, from 1.

    model, ts: of the rows that have none.
    """

    def __init__(self, mapping: EventMapping, model: str | None = None, ts: str | None = None) -> None:
        self.mapping = mapping
        given = ((mapping.model, model), (mapping.ts, ts))
        self._given = [(_keys(path), text) for path, text in given if text is not None and _is_path(path)]
        self._id, self._numbers = _keys(mapping.id) if _is_path(mapping.id) else None, count(1)

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
    named = list(_named(map(str.strip, titles), mapping, note))
    features = {_keys(_feature(title, mapping)) for _, title in named}
    columns = [_column(index, title, mapping, features) for index, title in named]
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


def _named(titles: Iterable[str], mapping: EventMapping, note: OnNote) -> Iterator[tuple[int, str]]:
    """Position and title of every column but an index."""
    for index, title in enumerate(titles):
        if _INDEX.fullmatch(title) and title not in _own(mapping):
            field = f"column {index + 1}" + (f", {title!r}" if title else "")
            note(Note(field, "is left out: it has no title of its own, as row numbers that pandas writes"))
        else:
            yield index, title


def _own(mapping: EventMapping) -> dict[str, str]:
    """The path of each part that is an event's own."""
    return {part: getattr(mapping, part, part) for part in _OWN}


def _column(index: int, title: str, mapping: EventMapping, features: set[Keys]) -> Column:
    own = _own(mapping)
    for part, path in own.items():
        if title == path:
            kind: Literal["text", "time", "value"] = "text" if part in _TEXT else "time" if part == "ts" else "value"
            return Column(index, title, _keys(path), kind)
    if title in (mapping.features, "tags"):
        return Column(index, title, _keys(title), "object")
    if title.startswith("tags."):
        return Column(index, title, ("tags", title.removeprefix("tags.")), "text")
    keys = _keys(_feature(title, mapping))
    inside_another = any(keys[:end] in features for end in range(1, len(keys)))
    nested = (_feature(title, mapping),) if inside_another or not all(keys) else keys
    return Column(index, title, (*_keys(mapping.features), *nested), "value")


def _feature(title: str, mapping: EventMapping) -> str:
    return title.removeprefix(f"{mapping.features}.") or title


def _check_apart(source: str, columns: Iterable[Column]) -> None:
    seen: set[Keys] = set()
    for column in columns:
        if column.keys in seen:
            place = f"column {column.index + 1}"
            raise InputError(f"{source}: {place} is a second {column.title!r}; rename it or leave it out")
        seen.add(column.keys)


def _is_path(path: str) -> bool:
    return not path.startswith(("$", "="))


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
