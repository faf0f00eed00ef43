"""Panes as bytes: how they travel on Kafka between the stages and are stored in Redis. Pure: values to bytes and back.

Each is a frame (`stream.codec.frames`), and equal values give equal bytes.

Counts are a vector of the smallest integers that hold them (1, 2, 4 or 8 bytes, little-endian): of all columns or, if
that is shorter, of the columns that are not 0, with their numbers. A pane of 500 events of 20 features takes 2 to 3 kB.

Events, of models without a baseline, are JSON: `stream.codec.events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.codes import Special
from driftline.detectors.summaries.shape import Shape, SignalShape
from driftline.detectors.summaries.sketch import NO_TAILS, Sketch
from driftline.stream.codec.events import pack_events, unpack_events
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.codec.halves import PackedStubs, is_labels, pack_labels, unpack_labels
from driftline.stream.codec.outcomes import PackedTable
from driftline.stream.events.event import Event
from driftline.stream.events.times import MAX_EPOCH_MS
from driftline.stream.events.unreadable import Unreadable
from driftline.stream.outcomes.halves import LabelHalves
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from driftline.stream.panes.tick import Progress, Tick
from driftline.stream.panes.tracks import Tracks, by_track, is_track

_SIZES = (1, 2, 4, 8)
#: How the reason of a dead letter begins if its pane came before an earlier one of its model.
OUT_OF_ORDER = "before its turn"
Layouts = Mapping[str, Shape[SignalShape]]
# A thousand signals have two million cells beyond their ranges.
_TAIL_CELL = np.dtype("<u4")


class PackedSketch(Stored, frozen=True):
    """A sketch, packed. columns: the numbers of the columns in `counts`; empty: all of them.

    tail_cells, tail_counts: what lies beyond the ranges of its baseline, cells and the count of each.
    """

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"tail_cells": 2, "tail_counts": 2})

    n: int
    columns: bytes
    counts: bytes
    sums: bytes
    extremes: bytes
    tail_cells: bytes = b""
    tail_counts: bytes = b""

    @classmethod
    def of(cls, sketch: Sketch) -> Self:
        """The sketch, packed."""
        filled = np.flatnonzero(sketch.counts)
        columns = filled.astype(_column_type(len(sketch.counts))).tobytes()
        some, every = _narrow(sketch.counts[filled]), _narrow(sketch.counts)
        shortest = (b"", every) if len(every) < len(columns) + len(some) else (columns, some)
        moments = sketch.sums.astype("<i8").tobytes(), sketch.extremes.astype("<f8").tobytes()
        cells, beyond = sketch.tails
        tails = cells.astype(_TAIL_CELL).tobytes(), _narrow(beyond)
        return cls(sketch.n, *shortest, *moments, *tails)

    def unpack(self, layout: Shape[SignalShape]) -> Sketch:
        """The sketch. Raises FormatError if it does not fit the layout."""
        counts, shape = self._counts(layout.width), (2, len(layout.numeric))
        if counts.min() < 0 or (_events_by_signal(layout, counts) != self.n).any():
            raise FormatError(f"a sketch of {self.n} events does not count each event once in every signal")
        try:
            sums, extremes = (np.frombuffer(each, kind) for each, kind in ((self.sums, "<i8"), (self.extremes, "<f8")))
            moments = sums.astype(np.int64).reshape(shape), extremes.astype(float).reshape(shape)
        except ValueError as error:
            raise FormatError(f"a sketch does not hold the moments of {shape[1]} numeric signals") from error
        return Sketch(self.n, counts, *moments, self._tails(layout))

    def _tails(self, layout: Shape[SignalShape]) -> IntArray:
        if not self.tail_cells and not self.tail_counts:
            return NO_TAILS
        cells = _columns(self.tail_cells, _TAIL_CELL, layout.tail_cells)
        counts = _widen(self.tail_counts, max(cells.size, 1))
        if counts.size != cells.size or counts.min() < 1 or counts.max() > self.n:
            raise FormatError(f"a sketch of {self.n} events counts others beyond the ranges of its signals")
        return np.stack([cells, counts])

    def _counts(self, width: int) -> IntArray:
        if self.counts and not self.columns:
            return _widen(self.counts, width)
        counts, columns = np.zeros(width, np.int64), _columns(self.columns, _column_type(width), width)
        if columns.size:
            counts[columns] = _widen(self.counts, columns.size)
        return counts


class PackedTrack(Stored, frozen=True):
    """The sketch of one version in a pane, packed. baseline: content hash of the baseline that lays it out."""

    version: str
    baseline: str
    content: PackedSketch


class PackedPane(Stored, frozen=True):
    """A pane, packed. content: its sketch, or the frame of its events. slots, outcomes: see `Pane`.

    tracks: those of versions, sorted; content is that of the track "" then, and empty if that has no event. Of a topic
    of labels, the content is a frame of these.
    """

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"slots": 2, "tracks": 2, "outcomes": 3, "stubs": 3})

    first_ts: int
    last_ts: int
    ranges: tuple[Range, ...]
    content: PackedSketch | bytes
    slots: tuple[tuple[int, int], ...] = ()
    tracks: tuple[PackedTrack, ...] = ()
    outcomes: tuple[tuple[str, PackedTable], ...] = ()
    stubs: tuple[tuple[str, PackedStubs], ...] = ()

    @classmethod
    def of(cls, pane: Pane[Any], baselines: Mapping[str, str] = MappingProxyType({})) -> Self:
        """The pane, packed. baselines: content hash of that of each version's sketch."""
        parts = dict(by_track(pane.content))
        own = _pack_content(parts.pop("")) if "" in parts else b""
        tracks = (PackedTrack(track, baselines[track], PackedSketch.of(each)) for track, each in parts.items())
        outcomes = tuple((track, PackedTable.of(table)) for track, table in pane.outcomes)
        stubs = tuple((track, PackedStubs.of(each)) for track, each in pane.stubs)
        return cls(pane.first_ts, pane.last_ts, pane.ranges, own, pane.slots, tuple(tracks), outcomes, stubs)

    def unpack(self, layout: Shape[SignalShape] | None, tracks: Layouts = MappingProxyType({})) -> Pane[Any]:
        """The pane: of a sketch in this layout or, if it is None, of events. Raises FormatError otherwise.

        tracks: the layouts of the sketches of versions.
        """
        content: Any = Tracks(self._by_track(layout, tracks)) if self.tracks else _unpack_content(self.content, layout)
        if not all(0 <= slot <= MAX_EPOCH_MS // SLOT_MS and count > 0 for slot, count in self.slots):
            raise FormatError("a pane counts events in slots of time that cannot be")
        if any([track for track, _ in own] != sorted({*dict(own)}) for own in (self.outcomes, self.stubs)):
            raise FormatError("the outcomes of a pane are not sorted by track")
        outcomes = tuple((track, table.unpack()) for track, table in self.outcomes)
        stubs = tuple((track, each.unpack()) for track, each in self.stubs)
        return Pane(content, self.first_ts, self.last_ts, self.ranges, self.slots, outcomes, stubs)

    def _by_track(self, layout: Shape[SignalShape] | None, tracks: Layouts) -> dict[str, Any]:
        versions = [each.version for each in self.tracks]
        if versions != sorted({*versions}) or not all(map(is_track, versions)):
            raise FormatError("the tracks of a pane are not sorted, or not named by versions")
        own = {} if self.content == b"" else {"": _unpack_content(self.content, layout)}
        return own | {each.version: each.content.unpack(tracks[each.version]) for each in self.tracks}


def _pack_content(content: Any) -> PackedSketch | bytes:
    if isinstance(content, LabelHalves):
        return pack_labels(content)
    return PackedSketch.of(content) if isinstance(content, Sketch) else pack_events(content)


def _unpack_content(
    content: PackedSketch | bytes, layout: Shape[SignalShape] | None
) -> Sketch | tuple[Event, ...] | LabelHalves:
    if layout is not None and isinstance(content, PackedSketch):
        return content.unpack(layout)
    if layout is None and isinstance(content, bytes):
        return unpack_labels(content) if is_labels(content) else unpack_events(content)
    expected, got = ("a sketch", "events") if layout else ("events", "a sketch")
    raise FormatError(f"expected a pane of {expected}, got one of {got}")


class PaneMessage(Stored, frozen=True):
    """A published pane: its origin can be read, and the message dropped or deferred, without unpacking the content.

    baseline: content hash of the baseline that lays out the sketch; "" for a pane of events. topic: the predictions
    topic of the offsets. previous_end: end of the model's previous pane if it was sent together with this one, else 0;
    a judge that has not received the previous pane refuses this one, and both are sent again. log: which log of that
    topic, since it may be created again, see `stream.worker.continuity`; "" if that is not known.
    """

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"log": 2})

    model: str
    baseline: str
    topic: str
    packed: PackedPane
    previous_end: int = 0
    log: str = ""

    @classmethod
    def of(
        cls,
        model: str,
        baseline: str,
        topic: str,
        pane: Pane[Any],
        previous_end: int = 0,
        log: str = "",
        tracks: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """The message of a pane of one run. tracks: content hashes of the baselines of versions."""
        return cls(model, baseline, topic, PackedPane.of(pane, tracks), previous_end, log)

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

    @property
    def baselines(self) -> dict[str, str]:
        """Content hash of the baseline of each sketch, by track."""
        tracks = {each.version: each.baseline for each in self.packed.tracks}
        return tracks | ({"": self.baseline} if self.baseline else {})

    def pane(self, layout: Shape[SignalShape] | None, tracks: Layouts = MappingProxyType({})) -> Pane[Any]:
        """The pane. layout: of the baseline whose hash is `baseline`; None for events. Raises FormatError.

        tracks: the layouts of the baselines of versions.
        """
        return self.packed.unpack(layout, tracks)


def check_order(message: PaneMessage, consumed: int) -> None:
    """Raises FormatError if the judge cannot use a pane. consumed: end of the model's last pane of that partition."""
    run = message.run
    if consumed < message.previous_end:
        raise FormatError(
            f"{OUT_OF_ORDER}: the pane before it, up to offset {message.previous_end}, was lost on its way, and both "
            "are sent again; or that is a dead letter too; or the model was forgotten between the two"
        )
    if run.start < consumed < run.end:
        raise FormatError(
            f"a pane of offsets {run.start} to {run.end}, of which those before {consumed} were judged before"
        )


class ForgetMessage(Stored, frozen=True):
    """A request to forget a model, among its panes: it takes effect between those before and those after it."""

    model: str

    @classmethod
    def from_bytes(cls, data: bytes) -> ForgetMessage:
        """The message in these bytes. Raises FormatError for anything else."""
        return unframe(b"F", data, _FORGET)

    def to_bytes(self) -> bytes:
        """The message's bytes."""
        return frame(b"F", self)


class ReferenceMessage(Stored, frozen=True):
    """What a model is compared with from here on, among its panes.

    generation: of the configuration that says so; the newest is in effect. baselines: content hash of the baseline of
    each track; without one, the model learns its own.
    """

    model: str
    generation: int
    baselines: dict[str, str]

    @classmethod
    def from_bytes(cls, data: bytes) -> ReferenceMessage:
        """The message in these bytes. Raises FormatError for anything else."""
        return unframe(b"R", data, _REFERENCE)

    def to_bytes(self) -> bytes:
        """The message's bytes."""
        return frame(b"R", self)

    def yields_to(self, other: ReferenceMessage | None) -> bool:
        """Whether another record is in effect, and stays so."""
        return other is not None and other.generation > self.generation


class _PackedTick(Stored, frozen=True):
    """A tick, packed."""

    topic: str
    partition: int
    of: int
    read_to: int
    time: int
    read: int = 0
    rejected: dict[str, int] = msgspec.field(default_factory=dict)
    unwatched: tuple[tuple[str, str], ...] = ()
    log: str = ""
    idle: bool = False

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"idle": 2})


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


class _PackedProgress(Stored, frozen=True):
    """What is known of a partition up to the start of its last sealed runs, packed."""

    read_to: int
    time: int | None
    newest: int | None
    read: int
    rejected: dict[str, int]


def pack_progress(progress: Progress) -> bytes:
    """The frame of a partition's progress."""
    return frame(b"S", _PackedProgress(*astuple(replace(progress, rejected=dict(progress.rejected)))))


def unpack_progress(data: bytes) -> Progress:
    """The progress in a frame of `pack_progress`. Raises FormatError for anything else."""
    return Progress(*msgspec.structs.astuple(unframe(b"S", data, _PROGRESS)))


def read_message(data: bytes) -> PaneMessage | ForgetMessage | ReferenceMessage | Tick:
    """The message of a record of the panes topic. Raises FormatError."""
    if data[:1] == b"T":
        return unpack_tick(data)
    if data[:1] == b"R":
        return ReferenceMessage.from_bytes(data)
    return ForgetMessage.from_bytes(data) if data[:1] == b"F" else PaneMessage.from_bytes(data)


# Decoders are made while the module is imported: msgspec (0.22) leaves a type half described while it first meets it,
# and two threads that decode it then end the process by SIGSEGV.
_PANE, _FORGET = msgspec.msgpack.Decoder(PaneMessage), msgspec.msgpack.Decoder(ForgetMessage)
_TICK = msgspec.msgpack.Decoder(_PackedTick)
_PROGRESS = msgspec.msgpack.Decoder(_PackedProgress)
_REFERENCE = msgspec.msgpack.Decoder(ReferenceMessage)


def _events_by_signal(layout: Shape[SignalShape], counts: IntArray) -> IntArray:
    regular = np.add.reduceat(counts[: layout.regular], layout.starts)
    return np.asarray(regular + counts[layout.regular :].reshape(-1, len(Special)).sum(1))


def _columns(data: bytes, kind: np.dtype[Any], width: int) -> IntArray:
    """The rising numbers, below `width`, in these bytes."""
    if len(data) % kind.itemsize == 0:
        columns = np.frombuffer(data, kind).astype(np.int64)
        if (np.diff(columns) > 0).all() and columns.max(initial=-1) < width:
            return columns
    raise FormatError(f"the column numbers of a sketch are not rising, or not below {width}")


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
