"""The decoder: a batch of messages to columns, in a few microseconds an event.

Plain events, nearly all, take the short cut: msgspec parses each, once, straight into a struct made from its model's
fields and the mapping, and the structs are transposed into columns. A message that the structs refuse, for whatever
reason, is read exactly, by `parse_event` and `tabulate`. So speed is decided here and meaning is not: a struct must
accept nothing that the exact reading understands in another way.

The structs of all models form one union, told apart by the model's name. Each is a tree in the shape of the message:

    mapping: id: request.id              row ─┬─ request ── id: str | int
    fields:  features.amount (number)         ├─ ts: datetime | int | float
             features.geo.land (text)         └─ features ─┬─ amount: float | None
                                                           ├─ geo ── land: str | bool | int | float | None
                                                           └─ "geo.land": None   (a guard: the same name, spelt flat)
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
# What a message can make msgspec raise: its own errors and that of bad UTF-8 are ValueErrors. A LookupError is a model
# without a struct.
_REFUSALS = (ValueError, LookupError, RecursionError)
# Rows of a model that are turned into columns at a time: of 20 fields they take half a megabyte, and are still in the
# processor's cache. Four times as many cost a fifth more; a quarter, that much in calls of numpy.
_PART = 512

_Parse = Callable[[bytes], Struct]
_Rows = tuple[list[int], list[Struct]]


class Decoded(NamedTuple):
    """A batch: columns by known model, (position, event) pairs by unknown model, and what is no event."""

    known: dict[str, Columns]
    unknown: dict[str, list[tuple[int, Event]]]
    rejections: list[Rejection]


class Decoder:
    """Decodes batches of messages.

    fields: by known model, in the order wanted of its columns. max_bytes: a larger message is rejected.
    """

    def __init__(
        self, fields: Mapping[str, Sequence[Field]], mapping: EventMapping = NATIVE, max_bytes: int = MAX_BYTES
    ) -> None:
        self._fields, self._mapping, self._max_bytes = dict(fields), mapping, max_bytes
        plans = [plan for model, own in fields.items() if (plan := _plan(model, own, mapping))]
        self._plans = {plan.row: plan for plan in plans}
        self._parse = _parser(plans, mapping)

    def decode(self, batch: Sequence[bytes | None]) -> Decoded:
        """The events of a batch. Nothing in a message makes it raise."""
        known, refused = self._parse_plain(batch)
        events, rejections = self._read_exactly(batch, sorted(refused))
        for model in [model for model in events if model in self._fields]:
            exact = tabulate(self._fields[model], events.pop(model))
            known[model] = known[model].merge(exact) if model in known else exact
        return Decoded(known, events, rejections)

    def _parse_plain(self, batch: Sequence[bytes | None]) -> tuple[dict[str, Columns], list[int]]:
        """Columns of the events that structs accept, and the positions of all other messages."""
        parts, refused = self._parse_parts(batch)
        known = {}
        for model, own in parts.items():
            columns = Columns.concatenate(own)
            # The years before 1970 and after 9999, which msgspec cannot be told to refuse.
            sane = (columns.ts >= 0) & (columns.ts <= MAX_EPOCH_MS)
            if not sane.all():
                refused += columns.position[~sane].tolist()
                columns = columns.select(np.flatnonzero(sane))
            if columns.ids:
                known[model] = columns
        return known, refused

    def _parse_parts(self, batch: Sequence[bytes | None]) -> tuple[dict[str, list[Columns]], list[int]]:
        """By model, columns of at most `_PART` events each."""
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
                    self._turn(type(row), rows, parts)
        for kind in list(rows):
            self._turn(kind, rows, parts)
        return parts, refused

    def _turn(self, kind: type[Struct], rows: dict[type[Struct], _Rows], parts: dict[str, list[Columns]]) -> None:
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
    """One value of a message; `name` is that of its signal, "id" or "ts", and None for a guard."""

    name: str | None
    type: Any
    default: Any


@dataclass(slots=True)
class _Branch:
    """One object of a message, by key."""

    required: bool = False
    children: dict[str, _Branch | _Leaf] = field(default_factory=dict)

    def branch(self, path: Sequence[str], required: bool) -> _Branch:
        """The branch at a path, grown if need be; ValueError where a leaf is in the way."""
        node = self
        for key in path:
            child = node.children.setdefault(key, _Branch())
            if isinstance(child, _Leaf):
                raise ValueError(f"{child.name} is a value and an object")
            child.required |= required
            node = child
        return node

    def plant(self, path: Sequence[str], leaf: _Leaf) -> None:
        """Put a leaf at a path; ValueError where something is already."""
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
    """How one model's plain events are read: the struct `row` and the tree it was made from."""

    model: str
    fields: tuple[Field, ...]
    tree: _Branch
    row: type[Struct]

    def columns(self, positions: Sequence[int], rows: Sequence[Struct]) -> Columns:
        """Columns of parsed rows."""
        values = dict(_transposed(self.tree, rows))
        ids, times = list(map(str, values["id"])), _times(values["ts"])
        own = [values[each.name] if each.numeric else _texts(values[each.name]) for each in self.fields]
        return Columns.of(self.fields, positions, times, ids, own, [])


def _plan(model: str, fields: Sequence[Field], mapping: EventMapping) -> _Plan | None:
    """None where no struct can describe a model's events, so that all are read exactly.

    That is: a model's name that is too long, no fields, a signal that is both a value and an object, or a quote, a
    backslash or a control character in a key.
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
    tree.plant(mapping.id.split("."), _Leaf("id", _ID, NODEFAULT))
    tree.plant(mapping.ts.split("."), _Leaf("ts", _TIME, NODEFAULT))
    parts = {each.name.split(".")[0] for each in fields}
    # An event holds at least one of them; so that it surely does, plain ones hold these.
    required = {"features"} & parts or parts
    if not parts or not parts <= mapping.monitored.keys():
        raise ValueError(f"a signal's name starts with one of {', '.join(mapping.monitored)}")
    # Even with none of them monitored, features must be an object.
    tree.branch(mapping.features.split("."), "features" in required)
    for each in fields:
        part, *keys = each.name.split(".")
        home = mapping.monitored[part].split(".")
        tree.plant([*home, *keys], _leaf(each, part in required and not keys))
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
    # Rows hold no cycles, so the garbage collector need not look at them.
    return msgspec.defstruct("Row", fields, kw_only=True, gc=False, tag_field=tag_field, tag=tag)


def _parser(plans: Sequence[_Plan], mapping: EventMapping) -> _Parse:
    """What makes a message a row of its model's struct, or raises."""
    if not plans:
        return _refuse
    if "." not in mapping.model:
        # A struct that is alone would take a message without the key: so there is one more, which takes nothing.
        nobody = msgspec.defstruct("Nobody", [("no", _NOTHING)], tag_field=mapping.model, tag="")
        return msgspec.json.Decoder(reduce(or_, [nobody, *(plan.row for plan in plans)])).decode
    # A union knows its members by a key of the message itself; where the name lies deeper, it is looked up first.
    parsers = {plan.model: msgspec.json.Decoder(plan.row).decode for plan in plans}
    envelope, path = _Branch(), mapping.model.split(".")
    envelope.plant(path, _Leaf("model", str, NODEFAULT))
    open_envelope, model = msgspec.json.Decoder(_struct(envelope)).decode, attrgetter(".".join(["f0"] * len(path)))
    return lambda data: parsers[model(open_envelope(data))](data)


def _refuse(_: bytes) -> Struct:
    raise LookupError("no model has a struct")


def _transposed(branch: _Branch, rows: Sequence[Struct]) -> Iterator[tuple[str | None, Sequence[Any]]]:
    """The leaves' names and columns."""
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
