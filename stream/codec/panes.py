"""The wire: panes and memories as bytes, on Kafka between the stages and in Redis. Pure; bytes <-> values.

Every message is a frame. The same value gives the same bytes. Bytes that are damaged, of another version of the format
or of another kind are refused with a `FormatError`. No length in them is trusted, nothing is unpickled or evaluated.

    | kind, 1 byte | version, 1 byte | CRC-32 of the rest, 4 bytes | msgpack, or JSON for events |

Counts are a vector of the smallest integers that hold them (1, 2, 4 or 8 bytes, little-endian): of all columns or, if
that is shorter, of the columns that are not 0, with their numbers. A pane of 500 events of 20 features takes 2 to 3 kB.

Events, of models that have no baseline yet, are JSON, because it alone takes what JSON brought: integers of any length,
lone surrogates. An object or array among the values is emptied: what it holds has names of its own or is not monitored.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.events.event import Event
from driftline.stream.panes.pane import Pane, Range

VERSION = 1
_FRAME_BYTES = 6
_SIZES = (1, 2, 4, 8)

T = TypeVar("T")


class FormatError(ValueError):
    """Bytes that hold no such value: damaged, newer than this Driftline, or of something else."""


class _Struct(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Arrays on the wire: names would take more room than most values."""


class PackedSketch(_Struct, frozen=True):
    """A sketch. columns: numbers of the columns that `counts` speaks of, empty for all of them."""

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
        """The sketch; FormatError if it is none of this layout's."""
        counts, shape = self._counts(layout.width), (2, len(layout.numeric))
        if counts.min() < 0 or (_events_by_signal(layout, counts) != self.n).any():
            raise FormatError(f"a sketch of {self.n} events does not count each of them once in every signal")
        try:
            sums, extremes = (np.frombuffer(each, kind) for each, kind in ((self.sums, "<i8"), (self.extremes, "<f8")))
            return Sketch(self.n, counts, sums.astype(np.int64).reshape(shape), extremes.astype(float).reshape(shape))
        except ValueError as error:
            raise FormatError(f"a sketch's moments are not those of {shape[1]} numeric signals") from error

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
        raise FormatError(f"a sketch's columns are not rising numbers below {width}")


class PackedPane(_Struct, frozen=True):
    """A pane. content: its sketch or, in bytes, its events."""

    first_ts: int
    last_ts: int
    ranges: tuple[Range, ...]
    content: PackedSketch | bytes

    @classmethod
    def of(cls, pane: Pane[Any]) -> Self:
        packed = PackedSketch.of(pane.content) if isinstance(pane.content, Sketch) else pack_events(pane.content)
        return cls(pane.first_ts, pane.last_ts, pane.ranges, packed)

    def unpack(self, layout: Layout | None) -> Pane[Any]:
        """The pane, of a sketch in this layout or, if it is None, of events; FormatError if it is something else."""
        content: Sketch | tuple[Event, ...]
        if layout is not None and isinstance(self.content, PackedSketch):
            content = self.content.unpack(layout)
        elif layout is None and isinstance(self.content, bytes):
            content = unpack_events(self.content)
        else:
            raise FormatError(f"a pane of {'events' if layout else 'a sketch'} where the other was expected")
        return Pane(content, self.first_ts, self.last_ts, self.ranges)


class PaneMessage(_Struct, frozen=True):
    """A pane as it is published. It can be told apart, dropped or put off before its content is unpacked.

    baseline: content hash of the one that its sketch is laid out by; "" for a pane of events.
    topic: the predictions topic that its offsets are of. after: where the model's last pane ended that was sent along
    with this one, before it; 0 for none. Who has not had that one does not take this one: both come again.
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
    def from_bytes(cls, data: bytes) -> Self:
        """The message in these bytes; FormatError if there is none. What the pane holds is looked at by `pane`."""
        message = unframe(b"P", data, cls)
        runs = message.packed.ranges
        if len(runs) != 1 or not 0 <= runs[0].start < runs[0].end or runs[0].partition < 0:
            raise FormatError(f"a pane is of one run of offsets, not of {runs}")
        if not 0 <= message.previous_end <= runs[0].start:
            raise FormatError(f"a pane of {runs[0]} does not come after one that ends at {message.previous_end}")
        return message

    def to_bytes(self) -> bytes:
        """The message's bytes."""
        return frame(b"P", self)

    @property
    def run(self) -> Range:
        """The run of offsets that it sums up."""
        return self.packed.ranges[0]

    def pane(self, layout: Layout | None) -> Pane[Any]:
        """The pane. layout: that of the baseline whose hash is `baseline`, None for events. FormatError."""
        return self.packed.unpack(layout)


class _Events(_Struct, frozen=True):
    """Events of one model. shapes: lists of signal names, each written once; rows: id, ts, version, shape, values."""

    model: str
    shapes: list[list[str]]
    rows: list[tuple[str, int, str | None, int, list[Any]]]


def pack_events(events: Sequence[Event]) -> bytes:
    """One or more events of one model."""
    shapes: dict[tuple[str, ...], int] = {}
    rows = [
        [each.id, each.ts, each.version, shapes.setdefault(tuple(each.signals), len(shapes)), _emptied(each)]
        for each in events
    ]
    return _framed(b"E", json.dumps([events[0].model, list(shapes), rows], separators=(",", ":")).encode())


def unpack_events(data: bytes) -> tuple[Event, ...]:
    """The events that `pack_events` packed; FormatError if it was none."""
    try:
        packed = msgspec.convert(json.loads(_unframed(b"E", data)), _Events)
        return tuple(
            Event(id, ts, packed.model, version, dict(zip(packed.shapes[shape], values, strict=True)))
            for id, ts, version, shape, values in packed.rows
        )
    except FormatError:
        raise
    except (ValueError, IndexError, RecursionError) as error:
        raise FormatError(f"no events: {error}") from error


def frame(kind: bytes, value: Any) -> bytes:
    """A value as a frame of msgpack."""
    return _framed(kind, msgspec.msgpack.encode(value))


def unframe(kind: bytes, data: bytes, expected: type[T]) -> T:
    """The value in a frame of msgpack; FormatError if it has no value of this kind and type."""
    try:
        return msgspec.msgpack.decode(_unframed(kind, data), type=expected)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"not what it should hold: {error}") from error


def _framed(kind: bytes, content: bytes) -> bytes:
    return b"%b%c%b%b" % (kind, VERSION, zlib.crc32(content).to_bytes(4, "little"), content)


def _unframed(kind: bytes, data: bytes) -> bytes:
    if data[:1] != kind or len(data) < _FRAME_BYTES:
        raise FormatError(f"no {kind.decode()} frame: {data[:_FRAME_BYTES]!r}")
    if data[1] != VERSION:
        raise FormatError(f"format {data[1]}, and this Driftline reads {VERSION}: is it older than the one that wrote?")
    content = data[_FRAME_BYTES:]
    if zlib.crc32(content) != int.from_bytes(data[2:_FRAME_BYTES], "little"):
        raise FormatError("damaged: its checksum does not match")
    return content


def _emptied(event: Event) -> list[Any]:
    return [type(value)() if isinstance(value, dict | list) else value for value in event.signals.values()]


def _events_by_signal(layout: Layout, counts: IntArray) -> IntArray:
    regular = np.add.reduceat(counts[: layout.regular], layout.starts)
    return np.asarray(regular + counts[layout.regular :].reshape(-1, len(Special)).sum(1))


def _column_type(width: int) -> np.dtype[Any]:
    return np.dtype("<u2" if width <= 1 << 16 else "<u4")


def _narrow(values: IntArray) -> bytes:
    """Integers, 0 or more, in as few bytes each as the largest needs."""
    largest = int(values.max(initial=0))
    size = next(size for size in _SIZES if largest < 1 << (8 * size))
    return values.astype(f"<u{size}").tobytes()


def _widen(data: bytes, n: int) -> npt.NDArray[np.int64]:
    """The n integers in these bytes."""
    size, rest = divmod(len(data), n)
    if rest or size not in _SIZES:
        raise FormatError(f"{len(data)} bytes are no {n} counts")
    return np.frombuffer(data, f"<u{size}").astype(np.int64)
