"""The fast reader: decodes a batch of messages into columns, in a few microseconds an event.

Plain events, which are nearly all, take the fast path: msgspec parses each one straight into a struct of its model
(`stream.events.structs`), and the structs are transposed into columns. A message that no struct accepts, for whatever
reason, is read by `parse_event` and `tabulate`. So this module decides the speed and never the meaning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from driftline.stream.events.columns import LABEL, LABEL_FIELD, Columns, Field, tabulate
from driftline.stream.events.event import Event, Rejection
from driftline.stream.events.frames import Schema, without_headers
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits
from driftline.stream.events.mapping import NATIVE, EventMapping, Origins
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.events.structs import REFUSALS, parser, plan_of
from driftline.stream.events.times import MAX_EPOCH_MS

# Rows of a model that are transposed at a time: with 20 fields they take half a megabyte and still are in cache.
# Four times as many take a fifth longer, by cache misses; a quarter as many do, too, by calls of numpy.
_PART = 512

_Rows = tuple[list[int], list[Struct]]


# A model and, if others of its events are read differently, a version.
_Kind = tuple[str, str | None]


class Decoded(NamedTuple):
    """A decoded batch: columns by known model, (position, event) pairs by unknown model, and the rejected messages.

    versions: columns by model and version, of versions that are known by themselves.
    """

    known: dict[str, Columns]
    unknown: dict[str, list[tuple[int, Event]]]
    rejections: list[Rejection]
    versions: dict[str, dict[str, Columns]]


class Decoder:
    """Decodes batches of messages.

    fields: by known model, in the order of the columns to make. schemas, limits: see `EventReader`. versions: by model
    and version, the fields of versions that are read by themselves. Events of their other versions are those of a known
    model if `fields` has it, and of an unknown one if not. extras: values that are kept beside the signals, of all
    models: the version, the label, the weight, tags. What is not among them is not decoded. is_labelled: for
    which models the label is kept beside these; None: for none.
    """

    def __init__(
        self,
        fields: Mapping[str, Sequence[Field]],
        mapping: EventMapping = NATIVE,
        schemas: Mapping[int, Schema] | None = None,
        limits: MessageLimits = DEFAULT_LIMITS,
        versions: Mapping[str, Mapping[str, Sequence[Field]]] = MappingProxyType({}),
        extras: Sequence[Field] = (),
        is_labelled: Callable[[str], bool] | None = None,
    ) -> None:
        self._fields: dict[_Kind, Sequence[Field]] = {(model, None): own for model, own in fields.items()}
        self._fields |= {(model, each): own for model, by in versions.items() for each, own in by.items()}
        self._schemas, self._limits, self._extras = schemas, limits, tuple(extras)
        self._is_labelled = is_labelled
        names = [*(each.name for each in extras), *([LABEL] if is_labelled else [])]
        self._reader = EventReader(mapping, schemas, limits, names)
        plans = {
            kind: plan_of(kind[0], own, mapping, self._extras_of(kind[0]), kind[1])
            for kind, own in self._fields.items()
        }
        # All versions of a model, or none: one without a struct must not be read as another.
        exact = {model for (model, _), plan in plans.items() if plan is None}
        self._plans = {plan.row: plan for plan in plans.values() if plan and plan.model not in exact}
        self._parse = parser([*self._plans.values()], mapping)

    def _extras_of(self, model: str) -> tuple[Field, ...]:
        return (*self._extras, LABEL_FIELD) if self._is_labelled and self._is_labelled(model) else self._extras

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
        unknown = dict[str, list[tuple[int, Event]]]()
        for kind, own in events.items():
            if kind not in self._fields:
                unknown[kind[0]] = own
            elif (exact := self._tabulate(kind, own, rejections)).ids:
                known[kind] = known[kind].merge(exact) if kind in known else exact
        rejections.sort(key=attrgetter("position"))
        models = {model: columns for (model, version), columns in known.items() if version is None}
        return Decoded(models, unknown, rejections, _by_version(known))

    def _parse_plain(
        self, batch: Sequence[bytes | None], origins: Origins | None = None
    ) -> tuple[dict[_Kind, Columns], list[int]]:
        """The columns of the events that a struct accepts, and the positions of all other messages."""
        parts, refused = self._parse_parts(batch, origins)
        known = {}
        for kind, own in parts.items():
            columns = Columns.concatenate(own)
            # msgspec cannot be made to refuse years before 1970 and after 9999.
            sane = (columns.ts >= 0) & (columns.ts <= MAX_EPOCH_MS)
            if not sane.all():
                refused += columns.position[~sane].tolist()
                columns = columns.select(np.flatnonzero(sane))
            if columns.ids:
                known[kind] = columns
        return known, refused

    def _parse_parts(
        self, batch: Sequence[bytes | None], origins: Origins | None
    ) -> tuple[dict[_Kind, list[Columns]], list[int]]:
        """Columns of at most `_PART` events each; and the positions of refused messages."""
        rows: dict[type[Struct], _Rows] = defaultdict(lambda: ([], []))
        parts: dict[_Kind, list[Columns]] = defaultdict(list)
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
            except REFUSALS:
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
        parts: dict[_Kind, list[Columns]],
        origins: Origins | None,
    ) -> None:
        plan = self._plans[kind]
        parts[plan.model, plan.version].append(plan.columns(*rows.pop(kind), origins))

    def _read_exactly(
        self, batch: Sequence[bytes | None], positions: Sequence[int], origins: Origins | None
    ) -> tuple[dict[_Kind, list[tuple[int, Event]]], list[Rejection]]:
        events: dict[_Kind, list[tuple[int, Event]]] = {}
        rejections = []
        for position in positions:
            try:
                record = self._reader.read(batch[position], origins and origins.at(position))
            except EventError as error:
                rejections.append(Rejection(position, str(error)))
            else:
                rejections += [Rejection(position, fault.reason, fault.row) for fault in record.faults]
                for event in record.events:
                    events.setdefault(self._kind(event), []).append((position, self._with_extras(event)))
        return events, rejections

    def _with_extras(self, event: Event) -> Event:
        """The event with what is kept of its model alone."""
        if self._is_labelled is None or self._is_labelled(event.model):
            return event
        return replace(event, extras={each.name: event.extras.get(each.name) for each in self._extras})

    def _kind(self, event: Event) -> _Kind:
        own = event.model, event.version
        return own if own in self._fields else (event.model, None)

    def _tabulate(self, kind: _Kind, events: Sequence[tuple[int, Event]], rejections: list[Rejection]) -> Columns:
        """The columns of a model's events; a message for which there can be none is added to `rejections`."""
        try:
            return tabulate(self._fields[kind], events, self._extras_of(kind[0]))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 # a fault of ours in one message: find which
            messages = [list(own) for _, own in groupby(events, key=itemgetter(0))]
            if len(messages) == 1:
                rejections.append(Rejection(events[0][0], self._reader.failure(error)))
                return tabulate(self._fields[kind], [], self._extras_of(kind[0]))
        return Columns.concatenate([self._tabulate(kind, own, rejections) for own in messages])


def _by_version(columns: Mapping[_Kind, Columns]) -> dict[str, dict[str, Columns]]:
    versions: dict[str, dict[str, Columns]] = {}
    for (model, version), own in columns.items():
        if version is not None:
            versions.setdefault(model, {})[version] = own
    return versions


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
