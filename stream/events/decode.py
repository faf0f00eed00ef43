"""The fast reader: decodes a batch of messages into columns, in a few microseconds an event.

Plain events, which are nearly all, take the fast path: msgspec parses each one straight into a struct made from its
model's fields and the mapping, and the structs are transposed into columns. A message that no struct accepts, for
whatever reason, is read by `parse_event` and `tabulate`. So this module decides the speed and never the meaning: a
struct must accept nothing that the exact reader understands differently.

The structs of all models form one union, tagged by the model's name. Each is a tree in the shape of the message:

    mapping: id: request.id              row ─┬─ request ── id: str | int
    fields:  features.amount (number)         ├─ ts: datetime | int | float
             features.geo.land (text)         └─ features ─┬─ amount: float | None
                                                           ├─ geo ── land: str | bool | int | float | None
                                                           └─ "geo.land": None   (a guard: the same name spelt flat)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from itertools import combinations
from operator import attrgetter, or_
from types import NoneType
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import NODEFAULT, Meta, Struct

from driftline.stream.events.columns import Columns, Field, tabulate
from driftline.stream.events.event import MAX_NAME, Event, Rejection, as_text
from driftline.stream.events.mapping import NATIVE, EventMapping
from driftline.stream.events.parse import MAX_BYTES, MAX_EPOCH_MS, MIN_EPOCH_MS, EventError, epoch_ms, parse_event

_ID = Annotated[str, Meta(min_length=1)] | int
_MILLISECONDS = Meta(ge=MIN_EPOCH_MS, le=MAX_EPOCH_MS)
_TIME = datetime | Annotated[int, _MILLISECONDS] | Annotated[float, _MILLISECONDS]
_NUMBER, _TEXT = float, str | bool | int | float
_NOTHING = Annotated[int, Meta(gt=0, lt=0)]
# What parsing a message can raise: msgspec's own errors and that of bad UTF-8 are ValueErrors, a LookupError is a model
# without a struct.
_REFUSALS = (ValueError, LookupError, RecursionError)
# Rows of a model that are transposed at a time: with 20 fields they take half a megabyte and still are in cache.
# Four times as many take a fifth longer, by cache misses; a quarter as many do, too, by calls of numpy.
_PART = 512

_Parse = Callable[[bytes], Struct]
_Rows = tuple[list[int], list[Struct]]


class Decoded(NamedTuple):
    """A decoded batch: columns by known model, (position, event) pairs by unknown model, and the rejected messages."""

    known: dict[str, Columns]
    unknown: dict[str, list[tuple[int, Event]]]
    rejections: list[Rejection]


class Decoder:
    """Decodes batches of messages.

    fields: by known model, in the order of the columns to make. max_bytes: a larger message is rejected.
    """

    def __init__(
        self, fields: Mapping[str, Sequence[Field]], mapping: EventMapping = NATIVE, max_bytes: int = MAX_BYTES
    ) -> None:
        self._fields, self._mapping, self._max_bytes = dict(fields), mapping, max_bytes
        plans = [plan for model, own in fields.items() if (plan := _plan(model, own, mapping))]
        self._plans = {plan.row: plan for plan in plans}
        self._parse = _parser(plans, mapping)

    def decode(self, batch: Sequence[bytes | None]) -> Decoded:
        """The events of a batch. No message makes this raise."""
        known, refused = self._parse_plain(batch)
        events, rejections = self._read_exactly(batch, sorted(refused))
        for model in [model for model in events if model in self._fields]:
            exact = tabulate(self._fields[model], events.pop(model))
            known[model] = known[model].merge(exact) if model in known else exact
        return Decoded(known, events, rejections)

    def _parse_plain(self, batch: Sequence[bytes | None]) -> tuple[dict[str, Columns], list[int]]:
        """The columns of the events that a struct accepts, by model, and the positions of all other messages."""
        parts, refused = self._parse_parts(batch)
        known = {}
        for model, own in parts.items():
            columns = Columns.concatenate(own)
            # msgspec cannot be made to refuse years before 1970 and after 9999.
            sane = (columns.ts >= 0) & (columns.ts <= MAX_EPOCH_MS)
            if not sane.all():
                refused += columns.position[~sane].tolist()
                columns = columns.select(np.flatnonzero(sane))
            if columns.ids:
                known[model] = columns
        return known, refused

    def _parse_parts(self, batch: Sequence[bytes | None]) -> tuple[dict[str, list[Columns]], list[int]]:
        """By model, columns of at most `_PART` events each; and the positions of refused messages."""
        rows: dict[type[Struct], _Rows] = defaultdict(lambda: ([], []))
        parts: dict[str, list[Columns]] = defaultdict(list)
        refused = []
        parse, limit = self._parse, self._max_bytes
        for position, data in enumerate(batch):
            if data is None or len(data) > limit:
                refused.append(position)
                continue
            try:
                row = parse(data)
            except _REFUSALS:
                refused.append(position)
            else:
                positions, own = rows[type(row)]
                positions.append(position)
                own.append(row)
                if len(own) == _PART:
                    self._transpose(type(row), rows, parts)
        for kind in list(rows):
            self._transpose(kind, rows, parts)
        return parts, refused

    def _transpose(self, kind: type[Struct], rows: dict[type[Struct], _Rows], parts: dict[str, list[Columns]]) -> None:
        plan = self._plans[kind]
        parts[plan.model].append(plan.columns(*rows.pop(kind)))

    def _read_exactly(
        self, batch: Sequence[bytes | None], positions: Sequence[int]
    ) -> tuple[dict[str, list[tuple[int, Event]]], list[Rejection]]:
        events: dict[str, list[tuple[int, Event]]] = {}
        rejections = []
        for position in positions:
            try:
                event = parse_event(batch[position], self._mapping, self._max_bytes)
                events.setdefault(event.model, []).append((position, event))
            except EventError as error:
                rejections.append(Rejection(position, str(error)))
        return events, rejections


class _Leaf(NamedTuple):
    """One value of a message. name: its signal, "id" or "ts"; None for a guard."""

    name: str | None
    type: Any
    default: Any


@dataclass(slots=True)
class _Branch:
    """One object of a message: its values and objects by key."""

    required: bool = False
    children: dict[str, _Branch | _Leaf] = field(default_factory=dict)

    def branch(self, path: Sequence[str], required: bool) -> _Branch:
        """The branch at a path, created if missing. Raises ValueError if there is a leaf on the path."""
        node = self
        for key in path:
            child = node.children.setdefault(key, _Branch())
            if isinstance(child, _Leaf):
                raise ValueError(f"{child.name} is a value and an object")
            child.required |= required
            node = child
        return node

    def add_leaf(self, path: Sequence[str], leaf: _Leaf) -> None:
        """Add a leaf at a path. Raises ValueError if something is there already."""
        home = self.branch(path[:-1], leaf.default is NODEFAULT)
        if home.children.setdefault(path[-1], leaf) is not leaf:
            raise ValueError(f"{leaf.name} is twice in the tree, or a value and an object")

    def guard(self, keys: Sequence[str]) -> None:
        """Refuse a message that spells a signal's nested keys flat, {"a.b": ..} for {"a": {"b": ..}}."""
        for first, last in combinations(range(len(keys) + 1), 2):
            if last - first > 1:
                self.branch(keys[:first], False).children[".".join(keys[first:last])] = _Leaf(None, None, None)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to read the plain events of one model: the struct `row`, and the tree it was made from."""

    model: str
    fields: tuple[Field, ...]
    tree: _Branch
    row: type[Struct]

    def columns(self, positions: Sequence[int], rows: Sequence[Struct]) -> Columns:
        """The columns of parsed rows."""
        values = dict(_transposed(self.tree, rows))
        ids, times = list(map(str, values["id"])), _times(values["ts"])
        own = [values[each.name] if each.numeric else _texts(values[each.name]) for each in self.fields]
        return Columns.of(self.fields, positions, times, ids, own, [])


def _plan(model: str, fields: Sequence[Field], mapping: EventMapping) -> _Plan | None:
    """The plan of a model; None if no struct can describe its events, so that the exact reader reads them all.

    That is the case if the model's name is too long, it has no fields, a signal is both a value and an object, or a key
    contains a quote, a backslash or a control character.
    """
    if len(model) > MAX_NAME:
        return None
    tag = (None, None) if "." in mapping.model else (mapping.model, model)
    try:
        tree = _tree(fields, mapping)
        return _Plan(model, tuple(fields), tree, _struct(tree, *tag))
    except ValueError:
        return None


def _tree(fields: Sequence[Field], mapping: EventMapping) -> _Branch:
    tree = _Branch()
    tree.add_leaf(mapping.id.split("."), _Leaf("id", _ID, NODEFAULT))
    tree.add_leaf(mapping.ts.split("."), _Leaf("ts", _TIME, NODEFAULT))
    parts = {each.name.split(".")[0] for each in fields}
    # An event must hold at least one of the parts: a plain one must hold these.
    required = {"features"} & parts or parts
    if not parts or not parts <= mapping.monitored.keys():
        raise ValueError(f"a signal's name starts with one of {', '.join(mapping.monitored)}")
    # Even if no feature is monitored, `features` must be an object.
    tree.branch(mapping.features.split("."), "features" in required)
    for each in fields:
        part, *keys = each.name.split(".")
        home = mapping.monitored[part].split(".")
        tree.add_leaf([*home, *keys], _leaf(each, part in required and not keys))
        if keys:
            tree.branch(home, part in required).guard(keys)
    return tree


def _leaf(of: Field, required: bool) -> _Leaf:
    kind = _NUMBER if of.numeric else _TEXT
    return _Leaf(of.name, kind, NODEFAULT) if required else _Leaf(of.name, kind | None, np.nan if of.numeric else None)


def _struct(branch: _Branch, tag_field: str | None = None, tag: str | None = None) -> type[Struct]:
    fields = []
    for index, (key, child) in enumerate(branch.children.items()):
        if isinstance(child, _Leaf):
            kind, how = child.type, msgspec.field(name=key, default=child.default)
        else:
            kind = _struct(child)
            how = msgspec.field(name=key) if child.required else msgspec.field(name=key, default_factory=kind)
        fields.append((f"f{index}", kind, how))
    # Rows hold no cycles, so they need no garbage collection.
    return msgspec.defstruct("Row", fields, kw_only=True, gc=False, tag_field=tag_field, tag=tag)


def _parser(plans: Sequence[_Plan], mapping: EventMapping) -> _Parse:
    """The function that parses a message into its model's struct, or raises one of `_REFUSALS`."""
    if not plans:
        return _refuse
    if "." not in mapping.model:
        # A single struct would accept a message without the tag: so there is another one, which accepts nothing.
        no_model = msgspec.defstruct("NoModel", [("no", _NOTHING)], tag_field=mapping.model, tag="")
        return msgspec.json.Decoder(reduce(or_, [no_model, *(plan.row for plan in plans)])).decode
    # A union finds its member by a key of the message itself; a name that lies deeper is looked up first.
    parsers = {plan.model: msgspec.json.Decoder(plan.row).decode for plan in plans}
    envelope, path = _Branch(), mapping.model.split(".")
    envelope.add_leaf(path, _Leaf("model", str, NODEFAULT))
    open_envelope, model = msgspec.json.Decoder(_struct(envelope)).decode, attrgetter(".".join(["f0"] * len(path)))
    return lambda data: parsers[model(open_envelope(data))](data)


def _refuse(_: bytes) -> Struct:
    raise LookupError("no model has a struct")


def _transposed(branch: _Branch, rows: Sequence[Struct]) -> Iterator[tuple[str | None, Sequence[Any]]]:
    """The name and the column of each leaf."""
    columns = zip(*map(msgspec.structs.astuple, rows), strict=True)
    for child, column in zip(branch.children.values(), columns, strict=False):
        if isinstance(child, _Leaf):
            yield child.name, column
        else:
            yield from _transposed(child, column)


def _times(column: Sequence[datetime | float]) -> Sequence[int]:
    return column if set(map(type, column)) == {int} else list(map(epoch_ms, column))  # type: ignore[return-value]


def _texts(column: Sequence[Any]) -> list[str | None]:
    return list(column) if set(map(type, column)) <= {str, NoneType} else [as_text(value) for value in column]
