"""Outcomes as bytes: beside a pane's sketch, and as parts of a model's state. Pure.

    outcomes            what every pane changes: outcomes seen, starts, the pending ones; lists the buckets
    outcome:START       one bucket of their history; START: outcomes seen before it
    outcomes_reference  the first outcomes, which later ones are compared with where the baseline has none

Of a table, only the cells that are not 0 are stored, by their distances: of 250 events some 160, in 2 bytes each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import msgspec
import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.judge.outcome_state import OutcomesState
from driftline.stream.panes.pane import Pane, Range

# Cells: a layout has some thousand, and whoever adds tables has room for the last one.
_MOST = 1 << 20
# Bytes of an integer.
_SIZES = (1, 2, 4, 8)


class PackedTable(Stored, frozen=True):
    """A table of outcomes, packed. steps: from each cell that is not 0 to the next. values: what they hold."""

    layout: str
    n: int
    odd: int
    steps: bytes
    values: bytes

    @classmethod
    def of(cls, table: OutcomeTable) -> Self:
        """The table, packed."""
        cells, values = table.cells
        return cls(table.layout, table.n, table.odd, _narrow(np.diff(cells, prepend=0)), _narrow(values))

    def unpack(self) -> OutcomeTable:
        """The table. Raises FormatError if there can be none."""
        steps, values = _widen(self.steps), _widen(self.values)
        cells = np.cumsum(steps)
        if len(steps) != len(values) or (steps[1:] < 1).any() or (steps < 0).any():
            raise FormatError("a table of outcomes does not hold a number for each of its cells")
        # One by one before their sum, which may be any number once it overflows.
        if (steps > _MOST).any() or (cells > _MOST).any():
            raise FormatError(f"a table of outcomes has a cell beyond the {_MOST:,} that any layout may have")
        if min(self.n, self.odd) < 0 or not values.all():
            raise FormatError(f"a table of {self.n} outcomes, {self.odd} odd ones, has a number that it cannot have")
        return OutcomeTable(self.layout, self.n, self.odd, np.stack([cells, values]))


def _narrow(values: IntArray) -> bytes:
    """Signed integers, each in as few bytes as the largest needs, after a byte that says how many."""
    largest = int(np.abs(values).max(initial=0))
    size = next(size for size in _SIZES if largest < 1 << (8 * size - 1))
    return bytes([size]) + values.astype(f"<i{size}").tobytes()


def _widen(data: bytes) -> IntArray:
    if not data or data[0] not in _SIZES or (len(data) - 1) % data[0]:
        raise FormatError(f"{len(data)} bytes are no integers of a table of outcomes")
    return np.frombuffer(data, f"<i{data[0]}", offset=1).astype(np.int64)


class _PackedPane(Stored, frozen=True):
    """Outcomes of one or more panes, packed."""

    first_ts: int
    last_ts: int
    ranges: tuple[Range, ...]
    table: PackedTable

    @classmethod
    def of(cls, pane: Pane[OutcomeTable]) -> Self:
        return cls(pane.first_ts, pane.last_ts, pane.ranges, PackedTable.of(pane.content))

    def unpack(self) -> Pane[OutcomeTable]:
        return Pane(self.table.unpack(), self.first_ts, self.last_ts, self.ranges)


class _Head(Stored, frozen=True):
    """An OutcomesState without its buckets. learned: whether there is a part of what it has learned."""

    layout: str
    reference: str
    seen: int
    starts: dict[str, int]
    pending: _PackedPane | None
    history: dict[str, Any]
    learned: bool


class _Reference(Stored, frozen=True):
    """The tables of the first outcomes, in their order."""

    tables: tuple[PackedTable, ...]


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_HEAD, _BUCKET = msgspec.msgpack.Decoder(_Head), msgspec.msgpack.Decoder(_PackedPane)
_REFERENCE = msgspec.msgpack.Decoder(_Reference)


def outcome_parts(state: OutcomesState) -> dict[str, tuple[Any, ...]]:
    """The values that each part is made of."""
    parts: dict[str, tuple[Any, ...]] = {"outcomes": (state,)}
    parts |= {f"outcome:{start}": (bucket,) for start, bucket in _buckets(state)}
    return parts | ({"outcomes_reference": state.learned} if state.learned else {})


def pack_outcomes(part: tuple[Any, ...]) -> bytes:
    """The frame of the part `outcomes`."""
    state: OutcomesState = part[0]
    starts = {id(bucket): start for start, bucket in _buckets(state)}
    head = _Head(
        layout=state.layout,
        reference=state.reference,
        seen=state.seen,
        starts=dict(sorted(state.starts.items())),
        pending=None if state.pending is None else _PackedPane.of(state.pending),
        history=state.history.snapshot(lambda bucket: starts[id(bucket)]),
        learned=bool(state.learned),
    )
    return frame(b"O", head, least=3)


def pack_outcome(part: tuple[Any, ...]) -> bytes:
    """The frame of a bucket."""
    return frame(b"Q", _PackedPane.of(*part), least=3)


def pack_reference(part: tuple[Any, ...]) -> bytes:
    """The frame of the tables that others are compared with."""
    return frame(b"X", _Reference(tuple(map(PackedTable.of, part))), least=3)


def unpack_outcomes(parts: Mapping[str, bytes]) -> OutcomesState | None:
    """The state in the parts of a model's state; None if there is none. Raises FormatError, KeyError or ValueError."""
    if "outcomes" not in parts:
        return None
    head = unframe(b"O", parts["outcomes"], _HEAD)
    learned = unframe(b"X", parts["outcomes_reference"], _REFERENCE).tables if head.learned else ()

    def bucket(start: int) -> Pane[OutcomeTable]:
        return unframe(b"Q", parts[f"outcome:{start}"], _BUCKET).unpack()

    return OutcomesState(
        head.layout,
        head.reference,
        head.seen,
        head.starts,
        ExponentialHistogram.restore(head.history, bucket),
        None if head.pending is None else head.pending.unpack(),
        tuple(each.unpack() for each in learned),
    )


def _buckets(state: OutcomesState) -> Iterator[tuple[int, Pane[OutcomeTable]]]:
    """The buckets of the history, oldest first, each with the number of outcomes seen before it."""
    start = state.seen - sum(bucket.content.n for bucket in state.history)
    for bucket in state.history:
        yield start, bucket
        start += bucket.content.n
