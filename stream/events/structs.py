"""The structs that msgspec parses plain events into, made from the fields of a model and the mapping.

The structs of all models form one union, tagged by the model's name. Each is a tree in the shape of the message:

    mapping: id: request.id              row ─┬─ request ── id: str | int
    fields:  features.amount (number)         ├─ ts: datetime | int | float
             features.geo.land (text)         └─ features ─┬─ amount: float | None
                                                           ├─ geo ── land: str | bool | int | float | None
                                                           └─ "geo.land": None   (a guard: the same name spelt flat)

A struct must accept nothing that the exact reader understands differently.
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
from typing import Annotated, Any, NamedTuple, cast

import msgspec
import numpy as np
from msgspec import NODEFAULT, Meta, Struct

from driftline.stream.events.columns import VERSION, WEIGHT, Columns, Field
from driftline.stream.events.event import MAX_NAME, as_text, as_version
from driftline.stream.events.mapping import EventMapping, Origins
from driftline.stream.events.parse import record_id
from driftline.stream.events.times import MILLISECONDS, MIN_EPOCH, TimeRule

_ID = Annotated[str, Meta(min_length=1)] | int
_NUMBER, _TEXT = float, str | bool | int | float
# Of values that are no signals; they may all be missing.
_VERSION, _WEIGHT = str | int | float | None, Annotated[float, Meta(ge=0)] | None
_NOTHING = Annotated[int, Meta(gt=0, lt=0)]
#: What parsing a message can raise: msgspec's own errors and that of bad UTF-8 are ValueErrors, a LookupError says that
#: a model has no struct.
REFUSALS = (ValueError, LookupError, RecursionError)
_Parse = Callable[[bytes], Struct]


class _Leaf(NamedTuple):
    """One value of a message. name: its field, "id" or "ts"; None for a guard."""

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
class Plan:
    """How to read the plain events of one model: the struct `row`, and the tree it was made from.

    version: the only one whose events are read in this way; None: that of all for which there is no other plan.
    """

    model: str
    version: str | None
    fields: tuple[Field, ...]
    extras: tuple[Field, ...]
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
            values[each.name] if each.numeric else _texts(values[each.name], each, self.nulls) for each in self.fields
        ]
        extras = {each.name: self._extra(each, values[each.name]) for each in self.extras}
        return Columns.of(self.fields, positions, times, ids, own, [], extras)

    def _extra(self, of: Field, column: Sequence[Any]) -> list[Any]:
        if of.name == VERSION:
            return _versions(column)
        return list(column) if of.numeric else _texts(column, of, self.nulls)


def plan_of(
    model: str,
    fields: Sequence[Field],
    mapping: EventMapping,
    extras: Sequence[Field] = (),
    version: str | None = None,
) -> Plan | None:
    """The plan of a model; None if no struct can describe its events, so that the exact reader reads them all.

    That is the case if a message holds many events, or no part of one but features; if the model's name is too long or
    it has no fields; if a signal is both a value and an object; or if a key contains a quote, a backslash or a control
    character.
    """
    if not any(mapping.path(part) for part in ("id", "ts", "model", "features")):
        return None
    if mapping.rows or len(model) > MAX_NAME or mapping.constant_model not in (None, model):
        return None
    try:
        tree = _tree(fields, extras, mapping)
        row = _struct(tree, *_tag(model, mapping))
        return Plan(
            model, version, tuple(fields), tuple(extras), tree, row, mapping.time_rule, frozenset(mapping.nulls)
        )
    except ValueError:
        return None


def _tag(model: str, mapping: EventMapping) -> tuple[str, str] | tuple[None, None]:
    """The key of a message that holds its model's name, and the name; None if no key of the message itself does."""
    path = mapping.path("model")
    return (path[0], model) if path is not None and len(path) == 1 else (None, None)


def _tree(fields: Sequence[Field], extras: Sequence[Field], mapping: EventMapping) -> _Branch:
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
    for each in extras:
        home, inner = mapping.extra_path(each.name)
        tree.add_leaf([*home, *inner], _extra_leaf(each))
        if inner:
            tree.branch(home, False).guard(inner)
    return tree


def _time_type(rule: TimeRule) -> Any:
    least = Meta(ge=MIN_EPOCH if rule.unit == "auto" else 0)
    return Annotated[int, least] | Annotated[float, least] | (str if rule.format else datetime)


def _leaf(of: Field, required: bool) -> _Leaf:
    kind = _NUMBER if of.numeric else _TEXT
    return _Leaf(of.name, kind, NODEFAULT) if required else _Leaf(of.name, kind | None, np.nan if of.numeric else None)


def _extra_leaf(of: Field) -> _Leaf:
    kinds = {VERSION: _VERSION, WEIGHT: _WEIGHT}
    return _Leaf(of.name, kinds.get(of.name, (_NUMBER if of.numeric else _TEXT) | None), None)


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


def parser(plans: Sequence[Plan], mapping: EventMapping) -> _Parse:
    """The function that parses a message into the struct of its plan, or raises one of `REFUSALS`.

    A message of a model with plans for versions is parsed twice, first into a struct that holds only its version.
    """
    by_model: dict[str, list[Plan]] = defaultdict(list)
    for plan in plans:
        by_model[plan.model].append(plan)
    told_apart = {model for model, own in by_model.items() if any(plan.version is not None for plan in own)}
    first = {model: _versioned(model, mapping) if model in told_apart else by_model[model][0].row for model in by_model}
    parse = _parser_by_model(first, mapping)
    if not told_apart:
        return parse
    version = _only_value(mapping.extra_path(VERSION)[0])
    parsers = {
        first[model]: {
            plan.version: msgspec.json.Decoder(plan.row).decode
            for plan in by_model[model]
            if plan.version == as_version(plan.version)  # no event has another
        }
        for model in told_apart
    }

    def parse_twice(data: bytes) -> Struct:
        found = parse(data)
        if (own := parsers.get(type(found))) is None:
            return found
        value = version(found)
        return (own.get(value) or own.get(as_version(value)) or own[None])(data)

    return parse_twice


def _versioned(model: str, mapping: EventMapping) -> type[Struct]:
    """A struct of a model's messages that holds only their version."""
    tree = _Branch()
    tree.add_leaf(mapping.extra_path(VERSION)[0], _Leaf(VERSION, _VERSION, None))
    return _struct(tree, *_tag(model, mapping))


def _parser_by_model(rows: Mapping[str, type[Struct]], mapping: EventMapping) -> _Parse:
    """The function that parses a message into the struct of its model."""
    path = mapping.path("model")
    if not rows or (path is None and mapping.constant_model is None):
        return _refuse
    if path is None:
        return msgspec.json.Decoder(next(iter(rows.values()))).decode
    if len(path) == 1:
        # A single struct would accept a message without the tag: so there is another one, which accepts nothing.
        no_model = msgspec.defstruct("NoModel", [("no", _NOTHING)], tag_field=path[0], tag="")
        return msgspec.json.Decoder(reduce(or_, [no_model, *rows.values()])).decode
    # A union finds its member by a key of the message itself; a name that lies deeper is looked up first.
    parsers = {model: msgspec.json.Decoder(row).decode for model, row in rows.items()}
    envelope = _Branch()
    envelope.add_leaf(path, _Leaf("model", str, NODEFAULT))
    open_envelope, model = msgspec.json.Decoder(_struct(envelope)).decode, _only_value(path)
    return lambda data: parsers[model(open_envelope(data))](data)


def _only_value(path: Sequence[str]) -> Callable[[Struct], Any]:
    """The value in a struct that has no other, at this path."""
    return attrgetter(".".join(["f0"] * len(path)))


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


def _versions(column: Sequence[str | float | None]) -> list[str | None]:
    if set(map(type, column)) == {str}:  # they are few
        known = {value: as_version(value) for value in set(column)}
        return [known[value] for value in column]
    return list(map(as_version, column))


def _texts(column: Sequence[Any], of: Field, nulls: frozenset[str]) -> list[str | None]:
    if nulls:
        column = [None if value in nulls else value for value in column]
    if set(map(type, column)) <= {str, NoneType} and not of.flag:
        return list(column)
    return [as_text(value, of.flag, of.whole) for value in column]
