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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from itertools import combinations
from operator import attrgetter, or_
from types import NoneType
from typing import Annotated, Any, NamedTuple, cast

import msgspec
import numpy as np
from msgspec import NODEFAULT, Meta, Struct

from driftline.detectors.arrays import IntArray
from driftline.stream.events.columns import Columns, Field, tabulate
from driftline.stream.events.event import MAX_NAME, Event, Rejection, as_text
from driftline.stream.events.frames import Schema, without_headers
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits
from driftline.stream.events.mapping import NATIVE, EventMapping, Origin
from driftline.stream.events.parse import EventError, EventReader, record_id
from driftline.stream.events.times import MAX_EPOCH_MS, MILLISECONDS, MIN_EPOCH, TimeRule

_ID = Annotated[str, Meta(min_length=1)] | int
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


class Origins(NamedTuple):
    """Where the messages of a batch come from: (n,) offsets of a partition and, from a topic, (n,) Kafka timestamps."""

    topic: str
    partition: int
    offsets: IntArray
    timestamps: IntArray | None = None

    def at(self, position: int) -> Origin:
        """Where one message comes from."""
        stamp = None if self.timestamps is None else int(self.timestamps[position])
        return Origin(self.topic, self.partition, int(self.offsets[position]), stamp)


class Decoded(NamedTuple):
    """A decoded batch: columns by known model, (position, event) pairs by unknown model, and the rejected messages."""

    known: dict[str, Columns]
    unknown: dict[str, list[tuple[int, Event]]]
    rejections: list[Rejection]


class Decoder:
    """Decodes batches of messages.

    fields: by known model, in the order of the columns to make. schemas, limits: see `EventReader`.
    """

    def __init__(
        self,
        fields: Mapping[str, Sequence[Field]],
        mapping: EventMapping = NATIVE,
        schemas: Mapping[int, Schema] | None = None,
        limits: MessageLimits = DEFAULT_LIMITS,
    ) -> None:
        self._fields, self._schemas, self._limits = dict(fields), schemas, limits
        self._reader = EventReader(mapping, schemas, limits)
        plans = [plan for model, own in fields.items() if (plan := _plan(model, own, mapping))]
        self._plans = {plan.row: plan for plan in plans}
        self._parse = _parser(plans, mapping)

    def decode(self, batch: Sequence[bytes | None], origins: Origins | None = None) -> Decoded:
        """The events of a batch. No message makes this raise.

        origins: needed by mappings that take a part of an event from its record.
        """
        plain = without_headers(batch, self._schemas, self._limits.message_bytes) if self._schemas else batch
        try:
            known, refused = self._parse_plain(plain, origins)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 # a fault of ours in one message: the exact reader finds which
            self._reader.failure(error)
            known, refused = {}, list(range(len(batch)))
        events, rejections = self._read_exactly(batch, sorted(refused), origins)
        for model in [model for model in events if model in self._fields]:
            exact = tabulate(self._fields[model], events.pop(model))
            known[model] = known[model].merge(exact) if model in known else exact
        return Decoded(known, events, rejections)

    def _parse_plain(
        self, batch: Sequence[bytes | None], origins: Origins | None = None
    ) -> tuple[dict[str, Columns], list[int]]:
        """The columns of the events that a struct accepts, by model, and the positions of all other messages."""
        parts, refused = self._parse_parts(batch, origins)
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

    def _parse_parts(
        self, batch: Sequence[bytes | None], origins: Origins | None
    ) -> tuple[dict[str, list[Columns]], list[int]]:
        """By model, columns of at most `_PART` events each; and the positions of refused messages."""
        rows: dict[type[Struct], _Rows] = defaultdict(lambda: ([], []))
        parts: dict[str, list[Columns]] = defaultdict(list)
        refused = list[int]()
        for first in range(0, len(batch), _PART):
            positions, own = self._structs(batch, range(first, min(first + _PART, len(batch))), refused)
            for kind in _sort_in(positions, own, rows):
                if len(rows[kind][1]) >= _PART:
                    self._transpose(kind, rows, parts, origins)
        for kind in list(rows):
            self._transpose(kind, rows, parts, origins)
        return parts, refused

    def _structs(
        self, batch: Sequence[bytes | None], positions: range, refused: list[int]
    ) -> tuple[Sequence[int], list[Struct]]:
        """The positions and structs of the messages that a struct accepts; those of others are added to `refused`."""
        structs, out = list[Struct](), list[int]()
        left = iter(self._bounded(batch[positions.start : positions.stop]))
        while len(structs) + len(out) < len(positions):
            try:
                structs.extend(map(self._parse, left))  # if it raises, the structs before it are in the list
            except _REFUSALS:
                out.append(positions[len(structs) + len(out)])
        refused += out
        return _without(positions, out), structs

    def _bounded(self, messages: Sequence[bytes | None]) -> list[bytes]:
        """The messages that certainly are within the limits, and b"", which no struct accepts, for all others.

        What is looked at first is cheap, and settles it for nearly all: counting brackets takes a fifth as long as
        parsing.
        """
        limits, array, object_, nothing = self._limits, b"["[0], b"{"[0], b""
        size, inner = limits.plain_bytes, slice(limits.outer_bytes, None)
        return [
            data
            if data and ((len(data) <= size and array not in data and object_ not in data[inner]) or limits.hold(data))
            else nothing
            for data in messages
        ]

    def _transpose(
        self,
        kind: type[Struct],
        rows: dict[type[Struct], _Rows],
        parts: dict[str, list[Columns]],
        origins: Origins | None,
    ) -> None:
        plan = self._plans[kind]
        parts[plan.model].append(plan.columns(*rows.pop(kind), origins))

    def _read_exactly(
        self, batch: Sequence[bytes | None], positions: Sequence[int], origins: Origins | None
    ) -> tuple[dict[str, list[tuple[int, Event]]], list[Rejection]]:
        events: dict[str, list[tuple[int, Event]]] = {}
        rejections = []
        for position in positions:
            try:
                record = self._reader.read(batch[position], origins and origins.at(position))
            except EventError as error:
                rejections.append(Rejection(position, str(error)))
            else:
                rejections += [Rejection(position, fault.reason, fault.row) for fault in record.faults]
                for event in record.events:
                    events.setdefault(event.model, []).append((position, event))
        return events, rejections


def _without(positions: Sequence[int], others: Sequence[int]) -> Sequence[int]:
    if not others:
        return positions
    out = set(others)
    return [position for position in positions if position not in out]


def _sort_in(
    positions: Sequence[int], structs: Sequence[Struct], rows: dict[type[Struct], _Rows]
) -> Iterable[type[Struct]]:
    """Add structs to the rows of their types, which are returned."""
    kinds = set(map(type, structs))
    if len(kinds) == 1:
        known, own = rows[next(iter(kinds))]
        known.extend(positions)
        own.extend(structs)
        return kinds
    for position, struct in zip(positions, structs, strict=True):
        known, own = rows[type(struct)]
        known.append(position)
        own.append(struct)
    return kinds


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
    time_rule: TimeRule
    nulls: frozenset[str]

    def columns(self, positions: Sequence[int], rows: Sequence[Struct], origins: Origins | None) -> Columns:
        """The columns of parsed rows; what they do not hold comes from their records."""
        values = dict(_transposed(self.tree, rows))
        ids = _spelt(values["id"]) if "id" in values else _record_ids(positions, origins)
        times = _times(values["ts"], self.time_rule) if "ts" in values else _record_times(positions, origins)
        if ids is None or times is None:  # the exact reader says why
            ids, times = [""] * len(rows), [-1] * len(rows)
        own = [
            values[each.name] if each.numeric else _texts(values[each.name], each.flag, self.nulls)
            for each in self.fields
        ]
        return Columns.of(self.fields, positions, times, ids, own, [])


def _plan(model: str, fields: Sequence[Field], mapping: EventMapping) -> _Plan | None:
    """The plan of a model; None if no struct can describe its events, so that the exact reader reads them all.

    That is the case if a message holds many events, or no part of one but features; if the model's name is too long or
    it has no fields; if a signal is both a value and an object; or if a key contains a quote, a backslash or a control
    character.
    """
    if not any(mapping.path(part) for part in ("id", "ts", "model", "features")):
        return None
    if mapping.rows or len(model) > MAX_NAME or mapping.constant_model not in (None, model):
        return None
    tag = (mapping.model, model) if _is_key(mapping.path("model")) else (None, None)
    try:
        tree = _tree(fields, mapping)
        row = _struct(tree, *tag)
        return _Plan(model, tuple(fields), tree, row, mapping.time_rule, frozenset(mapping.nulls))
    except ValueError:
        return None


def _is_key(path: Sequence[str] | None) -> bool:
    return path is not None and len(path) == 1


def _tree(fields: Sequence[Field], mapping: EventMapping) -> _Branch:
    tree = _Branch()
    for name, kind in (("id", _ID), ("ts", _time_type(mapping.time_rule))):
        if path := mapping.path(name):
            tree.add_leaf(path, _Leaf(name, kind, NODEFAULT))
    parts = {each.name.split(".")[0] for each in fields}
    # An event must hold at least one of the parts: a plain one must hold these.
    required = {"features"} & parts or parts
    if not parts or not parts <= mapping.monitored.keys():
        raise ValueError(f"a signal's name starts with one of {', '.join(mapping.monitored)}")
    # Even if no feature is monitored, `features` must be an object.
    tree.branch(mapping.monitored["features"], "features" in required)
    for each in fields:
        part, *keys = each.name.split(".")
        home = mapping.monitored[part]
        if part == "features" and any(tuple(keys[: len(path)]) == path for path in mapping.left_out):
            raise ValueError(f"{each.name} is no feature but another part of the event")
        tree.add_leaf([*home, *keys], _leaf(each, part in required and not keys))
        if keys:
            tree.branch(home, part in required).guard(keys)
    return tree


def _time_type(rule: TimeRule) -> Any:
    least = Meta(ge=MIN_EPOCH if rule.unit == "auto" else 0)
    return Annotated[int, least] | Annotated[float, least] | (str if rule.format else datetime)


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
    path = mapping.path("model")
    if not plans or (path is None and mapping.constant_model is None):
        return _refuse
    if path is None:
        return msgspec.json.Decoder(plans[0].row).decode
    if len(path) == 1:
        # A single struct would accept a message without the tag: so there is another one, which accepts nothing.
        no_model = msgspec.defstruct("NoModel", [("no", _NOTHING)], tag_field=path[0], tag="")
        return msgspec.json.Decoder(reduce(or_, [no_model, *(plan.row for plan in plans)])).decode
    # A union finds its member by a key of the message itself; a name that lies deeper is looked up first.
    parsers = {plan.model: msgspec.json.Decoder(plan.row).decode for plan in plans}
    envelope = _Branch()
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


def _spelt(ids: Sequence[str | int]) -> list[str]:
    return list(map(str, ids)) if set(map(type, ids)) != {str} else cast(list[str], list(ids))


def _record_ids(positions: Sequence[int], origins: Origins | None) -> list[str] | None:
    return None if origins is None else [record_id(origins.at(position)) for position in positions]


def _record_times(positions: Sequence[int], origins: Origins | None) -> Sequence[int] | None:
    return None if origins is None or origins.timestamps is None else origins.timestamps[positions].tolist()


def _times(column: Sequence[datetime | float | str], rule: TimeRule) -> Sequence[int]:
    """Epoch milliseconds; -1 for what is no time."""
    if rule.unit == "auto" and set(map(type, column)) == {int}:
        numbers, (low, high) = cast(Sequence[int], column), MILLISECONDS
        if low <= min(numbers) and max(numbers) < high:
            return numbers
    return rule.column(column)


def _texts(column: Sequence[Any], flag: bool, nulls: frozenset[str]) -> list[str | None]:
    if nulls:
        column = [None if value in nulls else value for value in column]
    if set(map(type, column)) <= {str, NoneType} and not flag:
        return list(column)
    return [as_text(value, flag) for value in column]
