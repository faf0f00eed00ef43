"""What is known of the messages of a topic, as a frame. Pure."""

from __future__ import annotations

import math
from typing import Self

import msgspec

from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.judge.incidents import Incident
from driftline.stream.judge.schema import Counts, SchemaState, Unread


class _PackedSchema(Stored, frozen=True):
    """A SchemaState. Fields are stored by position. risen: its `since`."""

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
            fields=state.fields,
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


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_SCHEMA = msgspec.msgpack.Decoder(_PackedSchema)


def pack_schema(state: SchemaState) -> bytes:
    """The frame of a state."""
    return frame(b"M", _PackedSchema.of(state))


def unpack_schema(data: bytes) -> SchemaState:
    """The state in a frame of `pack_schema`. Raises FormatError for anything else."""
    return unframe(b"M", data, _SCHEMA).unpack()
