"""Predictions that wait and labels as bytes: beside a pane's sketch, as a pane of labels, and in a state. Pure.

    waiting           what is known of both but their rows: how far slots are closed, counts; see `Waiting`
    stub:N:TRACK      the N-th part of the predictions of a track
    label:N           the N-th part of the labels

A column is stored as the bytes of its rows by their place, the lowest of all first, since neighbours are alike in the
higher ones, and compressed; times by their distances. Keys look random and stay as they are. A prediction of 22 takes
some 20 bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.detectors.arrays import IntArray
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.events.times import MAX_EPOCH_MS
from driftline.stream.judge.waiting import Counts, Halves, Part, Waiting
from driftline.stream.outcomes.halves import Half, LabelHalves, Stubs
from driftline.stream.panes.pane import Range

# Of zlib: at 6, a pane takes three times as long to save a tenth of its bytes.
_EFFORT = 1
_KEY, _NUMBER, _TIME, _CODE = np.dtype("<u8"), np.dtype("<f8"), np.dtype("<i8"), np.dtype("<u4")


class PackedTexts(Stored, frozen=True):
    """Texts, packed. names: the different ones, sorted. codes: of each row, 0 for none, else the place of its name."""

    names: tuple[str, ...]
    codes: bytes

    @classmethod
    def of(cls, texts: npt.NDArray[np.object_]) -> Self:
        """The texts, packed."""
        names = sorted({each for each in texts.tolist() if each is not None})
        places = {name: place for place, name in enumerate(names, 1)}
        codes = np.array([places.get(each, 0) for each in texts.tolist()], _CODE)
        return cls(tuple(names), _packed(codes))

    def unpack(self, n: int) -> npt.NDArray[np.object_]:
        """The n texts. Raises FormatError if there can be none such."""
        codes, names = _unpacked(self.codes, _CODE, n), np.array([None, *self.names], object)
        if codes.max(initial=0) >= len(names):
            raise FormatError("a half has a text that it does not name")
        return np.asarray(names[codes])


class PackedStubs(Stored, frozen=True):
    """Stubs, packed."""

    keys: bytes
    ts: bytes
    prediction: PackedTexts | bytes
    score: bytes

    @classmethod
    def of(cls, stubs: Stubs) -> Self:
        """The stubs, packed."""
        prediction: Any = stubs.prediction
        packed = PackedTexts.of(prediction) if prediction.dtype == object else _packed(prediction.astype(_NUMBER))
        return cls(_keys(stubs.keys), _times(stubs.ts), packed, _packed(stubs.score.astype(_NUMBER)))

    def unpack(self) -> Stubs:
        """The stubs. Raises FormatError if there can be none such."""
        keys, prediction = _unpacked_keys(self.keys), self.prediction
        n = len(keys)
        values = prediction.unpack(n) if isinstance(prediction, PackedTexts) else _unpacked(prediction, _NUMBER, n)
        return Stubs(keys, _unpacked_times(self.ts, n), values, _unpacked(self.score, _NUMBER, n))


class PackedLabels(Stored, frozen=True):
    """Labels, packed."""

    keys: bytes
    ts: bytes
    label: PackedTexts

    @classmethod
    def of(cls, labels: LabelHalves) -> Self:
        """The labels, packed."""
        return cls(_keys(labels.keys), _times(labels.ts), PackedTexts.of(labels.label))

    def unpack(self) -> LabelHalves:
        """The labels. Raises FormatError if there can be none such."""
        keys = _unpacked_keys(self.keys)
        label = self.label.unpack(len(keys))
        if any(each is None for each in label.tolist()):
            raise FormatError("a label has no text")
        return LabelHalves(keys, _unpacked_times(self.ts, len(keys)), label)


class _PackedStubPart(Stored, frozen=True):
    """A part of predictions. runs: see `Part`."""

    runs: tuple[tuple[Range, int], ...]
    half: PackedStubs


class _PackedLabelPart(Stored, frozen=True):
    """A part of labels."""

    runs: tuple[tuple[Range, int], ...]
    half: PackedLabels


class _PackedWaiting(Stored, frozen=True):
    """A Waiting without its parts. stubs: by track, the number of the next part and how many there are."""

    closed: int
    settled: int
    tried: int
    halvings: int
    counts: tuple[int, ...]
    stubs: dict[str, tuple[int, int]]
    labels: tuple[int, int]


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_LABELS, _WAITING = msgspec.msgpack.Decoder(PackedLabels), msgspec.msgpack.Decoder(_PackedWaiting)
_STUB_PART, _LABEL_PART = msgspec.msgpack.Decoder(_PackedStubPart), msgspec.msgpack.Decoder(_PackedLabelPart)


def pack_labels(labels: LabelHalves) -> bytes:
    """The frame of a pane's labels."""
    return frame(b"Y", PackedLabels.of(labels), least=3)


def unpack_labels(data: bytes) -> LabelHalves:
    """The labels in a frame of `pack_labels`. Raises FormatError for anything else."""
    return unframe(b"Y", data, _LABELS).unpack()


def is_labels(data: bytes) -> bool:
    """Whether a frame may be one of `pack_labels`."""
    return data[:1] == b"Y"


def waiting_parts(waiting: Waiting) -> dict[str, tuple[Any, ...]]:
    """The values that each part is made of."""
    parts: dict[str, tuple[Any, ...]] = {"waiting": (waiting,)}
    for track, own in waiting.stubs.items():
        parts |= {f"stub:{part.number}:{track}": (part,) for part in own.parts}
    return parts | {f"label:{part.number}": (part,) for part in waiting.labels.parts}


def pack_waiting(part: tuple[Any, ...]) -> bytes:
    """The frame of the part `waiting`."""
    waiting: Waiting = part[0]
    stubs = {track: (own.number, len(own.parts)) for track, own in sorted(waiting.stubs.items())}
    labels = waiting.labels.number, len(waiting.labels.parts)
    facts = waiting.closed, waiting.settled, waiting.tried, waiting.halvings, tuple(waiting.counts)
    return frame(b"V", _PackedWaiting(*facts, stubs, labels), least=3)


def pack_part(part: tuple[Any, ...]) -> bytes:
    """The frame of a part of halves."""
    own: Part[Any] = part[0]
    if isinstance(own.half, Stubs):
        return frame(b"J", _PackedStubPart(own.runs, PackedStubs.of(own.half)), least=3)
    return frame(b"K", _PackedLabelPart(own.runs, PackedLabels.of(own.half)), least=3)


def unpack_waiting(parts: Mapping[str, bytes]) -> Waiting | None:
    """What waits in the parts of a model's state; None if nothing. Raises FormatError, KeyError or ValueError."""
    if "waiting" not in parts:
        return None
    head = unframe(b"V", parts["waiting"], _WAITING)
    stubs: dict[str, list[Part[Stubs]]] = {track: [] for track in head.stubs}
    labels = list[Part[LabelHalves]]()
    for name, data in parts.items():
        kind, _, rest = name.partition(":")
        if kind == "stub":
            number, _, track = rest.partition(":")
            stubs[track].append(_part(int(number), unframe(b"J", data, _STUB_PART)))
        elif kind == "label":
            labels.append(_part(int(rest), unframe(b"K", data, _LABEL_PART)))
    return Waiting(
        {track: _halves(own, *head.stubs[track]) for track, own in stubs.items()},
        _halves(labels, *head.labels),
        head.closed,
        head.settled,
        head.tried,
        head.halvings,
        Counts(*head.counts),
    )


def read_counts(part: bytes) -> Counts:
    """What became of predictions and labels, by the part `waiting`. Raises FormatError."""
    return Counts(*unframe(b"V", part, _WAITING).counts)


def _part(number: int, packed: _PackedStubPart | _PackedLabelPart) -> Part[Any]:
    half: Half = packed.half.unpack()
    rows = [n for _, n in packed.runs]
    if len(half) != sum(rows) or min(rows, default=0) < 1:
        raise FormatError(f"part {number} of what waits for a join does not have the rows of its runs")
    return Part.of(number, packed.runs, half)


def _halves(parts: list[Part[Any]], number: int, count: int) -> Halves[Any]:
    if len(parts) != count:
        raise FormatError(f"{count} parts wait for a join, and {len(parts)} are stored")
    return Halves.of(tuple(sorted(parts, key=lambda part: part.number)), number)


def _keys(keys: npt.NDArray[np.uint64]) -> bytes:
    return keys.astype(_KEY).tobytes()


def _unpacked_keys(data: bytes) -> npt.NDArray[np.uint64]:
    if len(data) % _KEY.itemsize:
        raise FormatError(f"{len(data)} bytes are no keys")
    return np.frombuffer(data, _KEY).astype(np.uint64)


def _times(ts: IntArray) -> bytes:
    return _packed(np.diff(ts, prepend=0).astype(_TIME))


def _unpacked_times(data: bytes, n: int) -> IntArray:
    ts = np.cumsum(_unpacked(data, _TIME, n)).astype(np.int64)
    if ts.min(initial=0) < 0 or ts.max(initial=0) > MAX_EPOCH_MS:
        raise FormatError("a half has a time that no event can have")
    return ts


def _packed(column: npt.NDArray[Any]) -> bytes:
    """The bytes of a column (n,), those of one place in all numbers together, compressed."""
    places = column.view(np.uint8).reshape(len(column), column.dtype.itemsize).T
    return zlib.compress(places.tobytes(), _EFFORT)


def _unpacked(data: bytes, kind: np.dtype[Any], n: int) -> npt.NDArray[Any]:
    """The n numbers in bytes of `_packed`. Raises FormatError for anything else."""
    unpacker, size = zlib.decompressobj(), n * kind.itemsize
    try:
        # No more than that: few bytes may unpack to very many.
        plain = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise FormatError(f"a column is damaged: {error}") from None
    if len(plain) != size:
        raise FormatError(f"a column of {n} rows has {len(plain)} bytes, not {size}")
    places = np.frombuffer(plain, np.uint8).reshape(kind.itemsize, n)
    return np.ascontiguousarray(places.T).reshape(-1).view(kind).astype(kind.newbyteorder("="))
