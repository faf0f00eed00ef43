"""What is known of the messages of a topic, as frames. Pure.

T           all but its fields: it changes with every tick
T/fields    up to a thousand names, which change seldom
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import msgspec

from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.judge.incidents import Incident
from driftline.stream.judge.schema import Counts, SchemaState, Unread


class _PackedSchema(Stored, frozen=True):
    """A SchemaState. Fields are stored by position. risen: its `since`. fields: only as of before they were apart."""

    begun: int
    at: int
    risen: int
    usual: tuple[int, int]
    recent: tuple[int, int]
    causes: dict[str, int]
    score: float
    fields: tuple[tuple[str, str], ...]
    unread: tuple[int, int]
    incidents: tuple[Incident, ...]
    last_seq: int
    in_row: int
    read_at: int

    @classmethod
    def of(cls, state: SchemaState) -> Self:
        return cls(
            begun=state.begun,
            at=state.at,
            risen=state.since,
            usual=state.usual,
            recent=state.recent,
            causes=dict(state.causes),
            score=state.score,
            fields=(),
            unread=state.unread,
            incidents=(*state.incidents.values(),),
            last_seq=state.last_seq,
            in_row=state.in_row,
            read_at=state.read_at,
        )

    def unpack(self) -> SchemaState:
        """The state. Raises FormatError for a number that it cannot have."""
        usual, recent, unread = Counts(*self.usual), Counts(*self.recent), Unread(*self.unread)
        least = min(*usual, *recent, *unread, *self.causes.values(), self.last_seq, self.in_row)
        more = any(each.rejected > each.read for each in (usual, recent))
        if least < 0 or more or not math.isfinite(self.score):
            raise FormatError("what is known of a topic's messages has a number that it cannot have")
        return SchemaState(
            begun=self.begun,
            at=self.at,
            since=self.risen,
            usual=usual,
            recent=recent,
            causes=self.causes,
            score=self.score,
            fields=self.fields,
            unread=unread,
            incidents={each.scope: each for each in self.incidents},
            last_seq=self.last_seq,
            in_row=self.in_row,
            read_at=self.read_at,
        )


class _PackedFields(Stored, frozen=True):
    """Unwatched fields by model."""

    fields: tuple[tuple[str, str], ...]


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_SCHEMA, _FIELDS = msgspec.msgpack.Decoder(_PackedSchema), msgspec.msgpack.Decoder(_PackedFields)


def pack_schema(topic: str, state: SchemaState, stored: tuple[tuple[str, str], ...] | None = None) -> dict[str, bytes]:
    """The frames of a state, by name. stored: its fields as they are stored, which need not be again; None: unknown."""
    fields = {} if stored == state.fields else {_fields_of(topic): frame(b"U", _PackedFields(state.fields))}
    return {topic: frame(b"M", _PackedSchema.of(state)), **fields}


def unpack_schema(topic: str, frames: Mapping[str, bytes]) -> SchemaState | None:
    """The state in frames of `pack_schema`; None if there are none. Raises FormatError for anything else."""
    if topic not in frames:
        return None
    state, fields = unframe(b"M", frames[topic], _SCHEMA).unpack(), frames.get(_fields_of(topic))
    return state if fields is None else msgspec.structs.replace(state, fields=unframe(b"U", fields, _FIELDS).fields)


def _fields_of(topic: str) -> str:
    return f"{topic}/fields"  # no topic has a slash in its name
