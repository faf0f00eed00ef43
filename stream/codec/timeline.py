"""A model's timeline in parts (`stream.judge.timeline`). Pure.

    timeline                    which stretches there are, and which are open: among the parts of the state
    hour:N:ERA, day:N:ERA       a stretch: among the parts of the state while it is open, then among the stored ones
    layout:ERA                  what the stretches of an era are compared with; among the stored ones

Workers write the stored ones and never read them: whoever draws a timeline does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import orjson

from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.shape import Shape
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.encoding import signal_from_json, signal_to_json
from driftline.stream.baselines.watched import Signals
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.codec.panes import PackedSketch
from driftline.stream.judge.timeline import Reference, Span, Stretch, Timeline

_Part = Stretch | Reference


class _PackedReference(Stored, frozen=True):
    """A Reference. layout: JSON of its signals, about: of its facts. baseline: content hash."""

    signals: Signals
    layout: bytes
    total: PackedSketch
    about: bytes
    baseline: str


_SPAN, _STRETCH = msgspec.msgpack.Decoder(Span), msgspec.msgpack.Decoder(PackedSketch)
_REFERENCE = msgspec.msgpack.Decoder(_PackedReference)


class Frames(NamedTuple):
    """What becomes of the stored parts: what to write, by name, and the names of those to delete."""

    write: dict[str, bytes]
    delete: tuple[str, ...] = ()


def timeline_parts(timeline: Timeline) -> dict[str, tuple[Any, ...]]:
    """The values that its parts in a model's state are made of, see `stream.codec.state`."""
    return {"timeline": (timeline.span,), **{name: (each,) for name, each in timeline.open.items()}}


def pack_span(part: tuple[Span]) -> bytes:
    """What there is of a timeline."""
    return frame(b"N", part[0])


def pack_stretch(part: tuple[Stretch]) -> bytes:
    """An hour or a day."""
    return frame(b"D", PackedSketch.of(part[0].sketch))


def unpack_timeline(parts: Mapping[str, bytes], signals: Signals) -> Timeline | None:
    """The timeline in the parts of a model's state with these signals; None without one. Raises FormatError."""
    if "timeline" not in parts:
        return None
    span = unframe(b"N", parts["timeline"], _SPAN)
    shape = _shape(span, signals)

    def stretch(kind: str, number: int) -> Stretch:
        if shape is None:
            raise FormatError("a timeline has a stretch, but no layout of it")
        return unpack_stretch(number, parts[f"{kind}:{number}:{span.era}"], shape)

    hours = tuple(stretch("hour", number) for number in span.hours)
    return Timeline(span, hours, None if span.day < 0 else stretch("day", span.day))


def _shape(span: Span, signals: Signals) -> Shape[Any] | None:
    if not span.sizes:
        return None
    if len(span.sizes) != len(signals) or not all(
        0 < size <= each.size for size, each in zip(span.sizes, signals, strict=True)
    ):
        raise FormatError("a timeline has other signals than the history beside it")
    return Shape(tuple(each._replace(size=size) for each, size in zip(signals, span.sizes, strict=True)))


def unpack_stretch(number: int, part: bytes, shape: Shape[Any]) -> Stretch:
    """An hour or a day in the shape of its era. Raises FormatError."""
    return Stretch(number, unframe(b"D", part, _STRETCH).unpack(shape))


def unpack_reference(part: bytes) -> Reference:
    """What the stretches of an era are compared with. Raises FormatError."""
    packed = unframe(b"G", part, _REFERENCE)
    try:
        layout = Layout(tuple(map(signal_from_json, orjson.loads(packed.layout))))
        about = orjson.loads(packed.about)
        if [each.name for each in layout.signals] != [each.name for each in packed.signals]:
            raise FormatError("the layout of a timeline has other signals than it says")
        total = packed.total.unpack(layout)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"the layout of a timeline is damaged: {error}") from error
    return Reference(Baseline(layout, total, about, packed.baseline, None), packed.signals)


def _pack_reference(reference: Reference) -> bytes:
    coarse = reference.coarse
    layout = orjson.dumps([signal_to_json(each) for each in coarse.layout.signals])
    about = orjson.dumps(dict(coarse.about), option=orjson.OPT_SORT_KEYS)
    total, hash_ = PackedSketch.of(coarse.total), coarse.arrays_hash
    return frame(b"G", _PackedReference(reference.signals, layout, total, about, hash_))


def timeline_frames(
    old: Mapping[str, Timeline], new: Mapping[str, Timeline], prefix_of: Callable[[str], str]
) -> Frames:
    """What becomes of the stored parts of a model's timelines, by track. prefix_of: how the names of a track begin."""
    write, delete = dict[str, bytes](), list[str]()
    for track in dict.fromkeys((*old, *new)):
        before, after, prefix = old.get(track), new.get(track), prefix_of(track)
        write |= {prefix + name: _pack(each) for name, each in _new_parts(before, after)}
        delete += [prefix + name for name in _gone(before, after)]
    return Frames(write, tuple(delete))


def _new_parts(old: Timeline | None, new: Timeline | None) -> Iterator[tuple[str, _Part]]:
    known: Mapping[str, _Part] = old.unstored if old else {}
    return ((name, each) for name, each in (new.unstored if new else {}).items() if known.get(name) is not each)


def _gone(old: Timeline | None, new: Timeline | None) -> Iterator[str]:
    if old is None or (new is not None and old.span == new.span):
        return iter(())
    return old.span.gone(new.span if new else None)


def _pack(part: _Part) -> bytes:
    return pack_stretch((part,)) if isinstance(part, Stretch) else _pack_reference(part)


class StoredStretch(NamedTuple):
    """A stretch as it is stored. kind: hour or day."""

    kind: str
    number: int
    era: int
    part: bytes


class StoredTimeline(NamedTuple):
    """What is stored of a timeline, or some of it. layouts: by era."""

    layouts: dict[int, bytes]
    stretches: list[StoredStretch]


def read_span(part: bytes) -> Span:
    """The part `timeline`. Raises FormatError."""
    return unframe(b"N", part, _SPAN)


def wanted_names(span: Span, kind: str, first: int) -> list[str]:
    """The names of the parts that it takes to draw the hours or the days of a timeline from the `first` on."""
    last = span.newest if kind == "hour" else span.newest // 24
    numbers = range(max(first, span.first_hour if kind == "hour" else span.first_day), last + 1)
    names = [f"{kind}:{number}:{era}" for era in span.eras for number in numbers]
    # What is open is not in its day yet.
    opened = [f"hour:{number}:{span.era}" for number in span.hours] if kind == "day" else []
    return [*names, *opened, *(f"layout:{era}" for era in span.eras)]


def stored_timeline(parts: Mapping[str, bytes]) -> StoredTimeline:
    """A timeline in parts by name, without the prefix of their track."""
    found = StoredTimeline({}, [])
    for name, part in parts.items():
        kind, *numbers = name.split(":")
        if kind == "layout":
            found.layouts[int(numbers[0])] = part
        else:
            found.stretches.append(StoredStretch(kind, int(numbers[0]), int(numbers[1]), part))
    return found
