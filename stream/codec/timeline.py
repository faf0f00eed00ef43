"""A model's timeline in parts (`stream.judge.timeline`). Pure.

    timeline                    which stretches there are, and which are open: among the parts of the state
    hour:N:ERA, day:N:ERA       a stretch: among the parts of the state while it is open, then among the stored ones
    layout:ERA                  what the stretches of an era are compared with; among the stored ones
    outcome_…                   the same of outcomes

Workers write the stored ones and never read them: whoever draws a timeline does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import orjson

from driftline.detectors.decision.phases import CYCLES
from driftline.detectors.decision.reference import Reference as PhaseCounts
from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.shape import Shape
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.encoding import COUNTS, counts_file, read_array, signal_from_json, signal_to_json
from driftline.stream.baselines.outcomes import OutcomeReference
from driftline.stream.baselines.usual import Phased, Usual
from driftline.stream.baselines.watched import Signals
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.codec.outcomes import PackedTable
from driftline.stream.codec.panes import PackedSketch
from driftline.stream.events.times import time_zone
from driftline.stream.judge.outcome_state import OutcomesState
from driftline.stream.judge.state import ModelState, TrackState
from driftline.stream.judge.timeline import Era, OutcomeEra, Reference, Span, Stretch, Timeline
from driftline.stream.outcomes.coding import Coding, coding_from
from driftline.stream.outcomes.tasks import NumbersTask

_Part = Stretch | Era
#: How the names of the parts of a timeline of outcomes begin.
OUTCOME = "outcome_"


class _PackedReference(Stored, frozen=True):
    """A Reference. layout: JSON of its signals, about: of its facts. baseline: content hash.

    usual: the .npy file of a `Usual`, or empty. timezone: of `Phased`. phased: by index of the signals with phases, the
    .npy files of their counts by phase.
    """

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"usual": 3, "timezone": 3, "phased": 3})

    signals: Signals
    layout: bytes
    total: PackedSketch
    about: bytes
    baseline: str
    usual: bytes = b""
    timezone: str = ""
    phased: tuple[tuple[int, bytes], ...] = ()


class _PackedEra(Stored, frozen=True):
    """An OutcomeEra. coding: JSON of its facts. blocks: tables of the reference, in the order of time."""

    coding: bytes
    blocks: tuple[PackedTable, ...]


_TABLE, _ERA = msgspec.msgpack.Decoder(PackedTable), msgspec.msgpack.Decoder(_PackedEra)
_SPAN, _STRETCH = msgspec.msgpack.Decoder(Span), msgspec.msgpack.Decoder(PackedSketch)
_REFERENCE = msgspec.msgpack.Decoder(_PackedReference)


class Frames(NamedTuple):
    """What becomes of the stored parts: what to write, by name, and the names of those to delete."""

    write: dict[str, bytes]
    delete: tuple[str, ...] = ()


def timeline_parts(timeline: Timeline, of: str = "") -> dict[str, tuple[Any, ...]]:
    """The values that its parts in a model's state are made of, see `stream.codec.state`. of: "" or `OUTCOME`."""
    return {f"{of}timeline": (timeline.span,), **{of + name: (each,) for name, each in timeline.open.items()}}


def pack_span(part: tuple[Span]) -> bytes:
    """What there is of a timeline."""
    return frame(b"N", part[0])


def pack_stretch(part: tuple[Stretch]) -> bytes:
    """An hour or a day."""
    content = part[0].content
    if isinstance(content, OutcomeTable):
        return frame(b"Z", PackedTable.of(content), least=3)
    return frame(b"D", PackedSketch.of(content))


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


def with_timeline(outcomes: OutcomesState | None, parts: Mapping[str, bytes]) -> OutcomesState | None:
    """Outcomes with the timeline of them that is in the same parts of a state. Raises FormatError or KeyError."""
    if outcomes is None or f"{OUTCOME}timeline" not in parts:
        return outcomes
    span = read_span(parts[f"{OUTCOME}timeline"])

    def stretch(kind: str, number: int) -> Stretch:
        return Stretch(number, unpack_table(parts[f"{OUTCOME}{kind}:{number}:{span.era}"]))

    hours = tuple(stretch("hour", number) for number in span.hours)
    return msgspec.structs.replace(
        outcomes, timeline=Timeline(span, hours, None if span.day < 0 else stretch("day", span.day))
    )


def unpack_table(part: bytes) -> OutcomeTable:
    """The outcomes of an hour or a day. Raises FormatError."""
    return unframe(b"Z", part, _TABLE).unpack()


def checked_table(coding: Coding, table: OutcomeTable) -> OutcomeTable:
    """The table, if that coding can have made it. Raises FormatError."""
    cells, values = table.cells
    if cells.max(initial=-1) >= coding.size:
        raise FormatError(f"a table of outcomes has a cell {cells.max()}, and its layout has {coding.size}")
    # Errors of numbers have a sign.
    if values.min(initial=1) < 1 and not isinstance(coding.task, NumbersTask):
        raise FormatError(f"a table of outcomes counts {values.min()} in a cell")
    return table


def unpack_outcome_era(part: bytes) -> OutcomeEra:
    """How the outcomes of an era are coded, and what they are compared with. Raises FormatError."""
    packed = unframe(b"A", part, _ERA)
    try:
        coding = coding_from(orjson.loads(packed.coding))
        blocks = [checked_table(coding, each.unpack()) for each in packed.blocks]
        return OutcomeEra(coding, OutcomeReference.of_tables(coding, blocks) if blocks else None)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise FormatError(f"the reference of a timeline of outcomes is damaged: {error}") from error


def _pack_outcome_era(era: OutcomeEra) -> bytes:
    coding, reference = era.coding, era.reference
    blocks = () if reference is None else reference.blocks
    tables = tuple(PackedTable.of(OutcomeTable.of(coding.name, 0, 0, row)) for row in blocks)
    return frame(b"A", _PackedEra(orjson.dumps(coding.facts, option=orjson.OPT_SORT_KEYS), tables), least=3)


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
        usual = Usual.of_file(packed.usual, len(layout.signals)) if packed.usual else None
        phased = _unpack_phased(packed, layout, total)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"the layout of a timeline is damaged: {error}") from error
    return Reference(Baseline(layout, total, about, packed.baseline, None, usual=usual), packed.signals, phased)


def _unpack_phased(packed: _PackedReference, layout: Layout, total: Sketch) -> Phased | None:
    """What is expected by phase. Raises ValueError if it is not of the events that the reference has in all."""
    if not packed.phased:
        return None
    time_zone(packed.timezone)
    found = {}
    for s, file in packed.phased:
        counts = read_array(file, *COUNTS).astype(np.int64)
        if not 0 <= s < len(layout.signals) or len(counts) not in CYCLES:
            raise ValueError(f"a signal {s} with {len(counts)} phases cannot be")
        if not np.array_equal(counts.sum(0), total.counts[layout.columns[s]]):
            raise ValueError(f"signal {s} has other events by phase than in all")
        found[s] = PhaseCounts(counts.astype(float))
    return Phased(packed.timezone, found)


def pack_reference(reference: Reference) -> bytes:
    """What the stretches of an era are compared with."""
    coarse = reference.coarse
    layout = orjson.dumps([signal_to_json(each) for each in coarse.layout.signals])
    about = orjson.dumps(dict(coarse.about), option=orjson.OPT_SORT_KEYS)
    total, usual, phased = PackedSketch.of(coarse.total), coarse.usual, reference.phased
    packed = _PackedReference(
        reference.signals, layout, total, about, coarse.arrays_hash,
        usual.file() if usual else b"",
        phased.timezone if phased else "",
        _by_phase(phased) if phased else (),
    )  # fmt: skip
    return frame(b"G", packed)


def _by_phase(phased: Phased) -> tuple[tuple[int, bytes], ...]:
    return tuple((s, counts_file(each.counts.astype(np.int64))) for s, each in phased.signals.items())


def timeline_frames(old: ModelState | None, new: ModelState, prefix_of: Callable[[str], str]) -> Frames:
    """What becomes of the stored parts of a model's timelines. prefix_of: how the names of a track's parts begin."""
    before, after = ({} if state is None else _timelines(state, prefix_of) for state in (old, new))
    write, delete = dict[str, bytes](), list[str]()
    for prefix in dict.fromkeys((*before, *after)):
        known, own = before.get(prefix), after.get(prefix)
        write |= {prefix + name: _pack(each) for name, each in _new_parts(known, own)}
        delete += [prefix + name for name in _gone(known, own)]
    return Frames(write, tuple(delete))


def _timelines(state: ModelState, prefix_of: Callable[[str], str]) -> dict[str, Timeline]:
    """The timelines of a model and of its outcomes, by the beginning of the names of their parts."""
    found = dict[str, Timeline | None]()
    tracks: dict[str, ModelState | TrackState] = {"": state, **state.tracks}
    for track, own in tracks.items():
        found[prefix_of(track)] = own.judge.timeline if own.judge else None
        found[prefix_of(track) + OUTCOME] = own.outcomes.timeline if own.outcomes else None
    return {prefix: each for prefix, each in found.items() if each is not None}


def _new_parts(old: Timeline | None, new: Timeline | None) -> Iterator[tuple[str, _Part]]:
    known: Mapping[str, _Part] = old.unstored if old else {}
    return ((name, each) for name, each in (new.unstored if new else {}).items() if known.get(name) is not each)


def _gone(old: Timeline | None, new: Timeline | None) -> Iterator[str]:
    if old is None or (new is not None and old.span == new.span):
        return iter(())
    return old.span.gone(new.span if new else None)


def _pack(part: _Part) -> bytes:
    if isinstance(part, Stretch):
        return pack_stretch((part,))
    return _pack_outcome_era(part) if isinstance(part, OutcomeEra) else pack_reference(part)


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


def all_parts(timeline: Timeline) -> dict[str, bytes]:
    """All parts of a timeline of which nothing is stored yet, by name."""
    return {name: _pack(each) for name, each in (*timeline.unstored.items(), *timeline.open.items())}


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
