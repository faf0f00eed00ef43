"""Panes as bytes: how they travel on Kafka between the stages and are stored in Redis. Pure: values to bytes and back.

Every message is a frame, and equal values give equal bytes. Bytes that are damaged, of another format version or of
another kind raise `FormatError`. No length in them is trusted, and nothing is unpickled or evaluated.

    | kind, 1 byte | version, 1 byte | CRC-32 of the rest, 4 bytes | msgpack, or JSON for events |

    kind   P a pane's message   H the head of a model's state   B one bucket of it   I its incidents   E events
           F a request to forget a model   T a tick

Counts are a vector of the smallest integers that hold them (1, 2, 4 or 8 bytes, little-endian): of all columns or, if
that is shorter, of the columns that are not 0, with their numbers. A pane of 500 events of 20 features takes 2 to 3 kB.

Events, of models without a baseline, are JSON, because only JSON holds everything that came as JSON: integers of any
length, lone surrogates. Objects and arrays among the values are emptied: what they hold is a signal of its own or not
monitored.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.events.event import Event
from driftline.stream.events.times import MAX_EPOCH_MS
from driftline.stream.events.unreadable import Unreadable
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.panes.tick import Tick

VERSION = 1
_FRAME_BYTES = 6
_SIZES = (1, 2, 4, 8)

T = TypeVar("T")


class FormatError(ValueError):
    """The bytes do not hold the expected value: they are damaged, of a newer Driftline, or of another kind."""


class _Struct(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A struct stored as an array, since names would take more room than most values: the order of fields is fixed."""


class PackedSketch(_Struct, frozen=True):
    """A sketch, packed. columns: the numbers of the columns in `counts`; empty: all of them."""

    n: int
    columns: bytes
    counts: bytes
    sums: bytes
    extremes: bytes

    @classmethod
    def of(cls, sketch: Sketch) -> Self:
        """The sketch, packed."""
        filled = np.flatnonzero(sketch.counts)
        columns = filled.astype(_column_type(len(sketch.counts))).tobytes()
        some, every = _narrow(sketch.counts[filled]), _narrow(sketch.counts)
        shortest = (b"", every) if len(every) < len(columns) + len(some) else (columns, some)
        return cls(sketch.n, *shortest, sketch.sums.astype("<i8").tobytes(), sketch.extremes.astype("<f8").tobytes())

    def unpack(self, layout: Layout) -> Sketch:
        """The sketch. Raises FormatError if it does not fit the layout."""
        counts, shape = self._counts(layout.width), (2, len(layout.numeric))
        if counts.min() < 0 or (_events_by_signal(layout, counts) != self.n).any():
            raise FormatError(f"a sketch of {self.n} events does not count each event once in every signal")
        try:
            sums, extremes = (np.frombuffer(each, kind) for each, kind in ((self.sums, "<i8"), (self.extremes, "<f8")))
            return Sketch(self.n, counts, sums.astype(np.int64).reshape(shape), extremes.astype(float).reshape(shape))
        except ValueError as error:
            raise FormatError(f"a sketch does not hold the moments of {shape[1]} numeric signals") from error

    def _counts(self, width: int) -> IntArray:
        if self.counts and not self.columns:
            return _widen(self.counts, width)
        counts, columns = np.zeros(width, np.int64), self._columns(width)
        if columns.size:
            counts[columns] = _widen(self.counts, columns.size)
        return counts

    def _columns(self, width: int) -> IntArray:
        kind = _column_type(width)
        if len(self.columns) % kind.itemsize == 0:
            columns = np.frombuffer(self.columns, kind).astype(np.int64)
            if (np.diff(columns) > 0).all() and columns.max(initial=0) < width:
                return columns
        raise FormatError(f"the column numbers of a sketch are not rising, or not below {width}")


class PackedPane(_Struct, frozen=True):
    """A pane, packed. content: its sketch, or the frame of its events."""

    first_ts: int
    last_ts: int
    ranges: tuple[Range, ...]
    content: PackedSketch | bytes

    @classmethod
    def of(cls, pane: Pane[Any]) -> Self:
        """The pane, packed."""
        packed = PackedSketch.of(pane.content) if isinstance(pane.content, Sketch) else pack_events(pane.content)
        return cls(pane.first_ts, pane.last_ts, pane.ranges, packed)

    def unpack(self, layout: Layout | None) -> Pane[Any]:
        """The pane: of a sketch in this layout or, if it is None, of events. Raises FormatError otherwise."""
        content: Sketch | tuple[Event, ...]
        if layout is not None and isinstance(self.content, PackedSketch):
            content = self.content.unpack(layout)
        elif layout is None and isinstance(self.content, bytes):
            content = unpack_events(self.content)
        else:
            expected, got = ("a sketch", "events") if layout else ("events", "a sketch")
            raise FormatError(f"expected a pane of {expected}, got one of {got}")
        return Pane(content, self.first_ts, self.last_ts, self.ranges)


class PaneMessage(_Struct, frozen=True):
    """A published pane: its origin can be read, and the message dropped or deferred, without unpacking the content.

    baseline: content hash of the baseline that lays out the sketch; "" for a pane of events. topic: the predictions
    topic of the offsets. previous_end: end of the model's previous pane if it was sent together with this one, else 0;
    a judge that has not received the previous pane refuses this one, and both are sent again.
    """

    model: str
    baseline: str
    topic: str
    packed: PackedPane
    previous_end: int = 0

    @classmethod
    def of(cls, model: str, baseline: str, topic: str, pane: Pane[Any], previous_end: int = 0) -> Self:
        """The message of a pane of one run."""
        return cls(model, baseline, topic, PackedPane.of(pane), previous_end)

    @classmethod
    def from_bytes(cls, data: bytes) -> PaneMessage:
        """The message in these bytes. Raises FormatError for anything else; `pane` checks the content."""
        if isinstance(data, Unreadable):
            raise FormatError(data.reason)
        message = unframe(b"P", data, _PANE)
        runs = message.packed.ranges
        if len(runs) != 1 or not 0 <= runs[0].start < runs[0].end or runs[0].partition < 0:
            raise FormatError(f"expected a pane of one run of offsets, got {runs}")
        if not 0 <= message.previous_end <= runs[0].start:
            raise FormatError(f"a pane of {runs[0]} overlaps the previous one, which ends at {message.previous_end}")
        return message

    def to_bytes(self) -> bytes:
        """The message's bytes."""
        return frame(b"P", self)

    @property
    def run(self) -> Range:
        """The run of offsets that the pane covers."""
        return self.packed.ranges[0]

    def pane(self, layout: Layout | None) -> Pane[Any]:
        """The pane. layout: of the baseline whose hash is `baseline`; None for events. Raises FormatError."""
        return self.packed.unpack(layout)


class ForgetMessage(_Struct, frozen=True):
    """A request to forget a model, among its panes: it takes effect between those before and those after it."""

    model: str

    @classmethod
    def from_bytes(cls, data: bytes) -> ForgetMessage:
        """The message in these bytes. Raises FormatError for anything else."""
        return unframe(b"F", data, _FORGET)

    def to_bytes(self) -> bytes:
        """The message's bytes."""
        return frame(b"F", self)


class _PackedTick(_Struct, frozen=True):
    """A tick, packed; a field at its default may be left out at the end."""

    topic: str
    partition: int
    of: int
    read_to: int
    time: int
    read: int = 0
    rejected: dict[str, int] = {}
    unwatched: tuple[tuple[str, str], ...] = ()
    log: str = ""


def pack_tick(tick: Tick) -> bytes:
    """The frame of a tick; causes of rejections are sorted, so that equal ticks give equal bytes."""
    return frame(b"T", _PackedTick(*astuple(replace(tick, rejected=dict(sorted(tick.rejected.items()))))))


def unpack_tick(data: bytes) -> Tick:
    """The tick in a frame of `pack_tick`. Raises FormatError for anything else."""
    tick = Tick(*msgspec.structs.astuple(unframe(b"T", data, _TICK)))
    counts = (tick.partition, tick.read_to, tick.time, tick.read, *tick.rejected.values())
    if min(counts) < 0 or tick.partition >= tick.of or tick.time > MAX_EPOCH_MS:
        raise FormatError(f"a tick of partition {tick.partition} of {tick.of} with a number that it cannot have")
    return tick


def read_message(data: bytes) -> PaneMessage | ForgetMessage | Tick:
    """The message of a record of the panes topic. Raises FormatError."""
    if data[:1] == b"T":
        return unpack_tick(data)
    return ForgetMessage.from_bytes(data) if data[:1] == b"F" else PaneMessage.from_bytes(data)


class _Events(_Struct, frozen=True):
    """Events of one model. shapes: distinct lists of signal names. rows: id, ts, version, shape's index, values."""

    model: str
    shapes: list[list[str]]
    rows: list[tuple[str, int, str | None, int, list[Any]]]


# Decoders are made while the module is imported: msgspec (0.22) leaves a type half described while it first meets it,
# and two threads that decode it then end the process by SIGSEGV.
_PANE, _FORGET = msgspec.msgpack.Decoder(PaneMessage), msgspec.msgpack.Decoder(ForgetMessage)
_EVENTS, _TICK = msgspec.msgpack.Decoder(_Events), msgspec.msgpack.Decoder(_PackedTick)


def pack_events(events: Sequence[Event]) -> bytes:
    """The frame of one or more events of one model."""
    shapes: dict[tuple[str, ...], int] = {}
    rows = [
        [each.id, each.ts, each.version, shapes.setdefault(tuple(each.signals), len(shapes)), _emptied(each)]
        for each in events
    ]
    return _framed(b"E", json.dumps([events[0].model, list(shapes), rows], separators=(",", ":")).encode())


def unpack_events(data: bytes) -> tuple[Event, ...]:
    """The events in a frame of `pack_events`. Raises FormatError for anything else."""
    try:
        packed = msgspec.convert(json.loads(_unframed(b"E", data)), _EVENTS.type)
        return tuple(
            Event(id, ts, packed.model, version, dict(zip(packed.shapes[shape], values, strict=True)))
            for id, ts, version, shape, values in packed.rows
        )
    except FormatError:
        raise
    except (ValueError, IndexError, RecursionError) as error:
        raise FormatError(f"expected events: {error}") from error


def frame(kind: bytes, value: Any) -> bytes:
    """A msgpack frame of the value."""
    return _framed(kind, msgspec.msgpack.encode(value))


def unframe(kind: bytes, data: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """The value in a msgpack frame. Raises FormatError unless it is of this kind and the decoder's type."""
    try:
        return decoder.decode(_unframed(kind, data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"unexpected content: {error}") from error


def _framed(kind: bytes, content: bytes) -> bytes:
    return b"%b%c%b%b" % (kind, VERSION, zlib.crc32(content).to_bytes(4, "little"), content)


def _unframed(kind: bytes, data: bytes) -> bytes:
    if data[:1] != kind or len(data) < _FRAME_BYTES:
        raise FormatError(f"expected a frame of kind {kind.decode()}, got {data[:_FRAME_BYTES]!r}")
    if data[1] != VERSION:
        raise FormatError(
            f"format version {data[1]}, this Driftline reads {VERSION}; was it written by a newer Driftline?"
        )
    content = data[_FRAME_BYTES:]
    if zlib.crc32(content) != int.from_bytes(data[2:_FRAME_BYTES], "little"):
        raise FormatError("damaged: the checksum does not match")
    return content


def _emptied(event: Event) -> list[Any]:
    return [type(value)() if isinstance(value, dict | list) else value for value in event.signals.values()]


def _events_by_signal(layout: Layout, counts: IntArray) -> IntArray:
    regular = np.add.reduceat(counts[: layout.regular], layout.starts)
    return np.asarray(regular + counts[layout.regular :].reshape(-1, len(Special)).sum(1))


def _column_type(width: int) -> np.dtype[Any]:
    return np.dtype("<u2" if width <= 1 << 16 else "<u4")


def _narrow(values: IntArray) -> bytes:
    """Non-negative integers, each in as few bytes as the largest needs."""
    largest = int(values.max(initial=0))
    size = next(size for size in _SIZES if largest < 1 << (8 * size))
    return values.astype(f"<u{size}").tobytes()


def _widen(data: bytes, n: int) -> npt.NDArray[np.int64]:
    """The n integers in these bytes."""
    size, rest = divmod(len(data), n)
    if rest or size not in _SIZES:
        raise FormatError(f"{len(data)} bytes do not hold {n} counts")
    return np.frombuffer(data, f"<u{size}").astype(np.int64)
