"""A model's state in parts, so that a commit writes only what changed. Pure.

    head            what every pane changes: offsets consumed, events seen, starts, the pending pane; lists the parts
    bucket:START    one bucket of the history; START: events seen before it, so that a merge keeps the older name
    layout          the signals of the history, so that it can be read without its baseline; from level 2 on
    incidents       by scope, while there are any
    traffic, rates  what is known of its traffic, see `stream.codec.traffic`; from the first tick on
    block:I, slopes what live events say of slopes, see `stream.codec.slopes`; from level 3 on
    events:I        the I-th hundred of the events kept for the warm-up, until the model has a baseline
    learned         the baseline made of them, a .driftline file
    timeline, hour:N:ERA, day:N:ERA   what is open of its timeline, see `stream.codec.timeline`; from level 3 on, and
                    with outcome_ before each of that of its outcomes
    outcomes, …     its outcomes, see `stream.codec.outcomes`; from the first one on, from level 3 on
    waiting, …      predictions and labels that wait for each other, see `stream.codec.halves`; from level 3 on
    track:V:PART    the same parts of the track of version V, its own head among them; % and : escaped; from level 2 on

A part is made of immutable values, so it has changed exactly if it is made of other objects: deltas compare with `is`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import is_
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.shape import Shape
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.baselines.watched import Signals
from driftline.stream.codec.events import pack_events, unpack_events
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.codec.halves import pack_part, pack_waiting, unpack_waiting, waiting_parts
from driftline.stream.codec.incidents import pack_incidents, unpack_incidents
from driftline.stream.codec.outcomes import (
    outcome_parts,
    pack_outcome,
    pack_outcomes,
    pack_reference,
    unpack_outcomes,
)
from driftline.stream.codec.panes import PackedPane, PackedSketch
from driftline.stream.codec.slopes import live_slopes_facts, live_slopes_parts, pack_slopes, unpack_live_slopes
from driftline.stream.codec.timeline import (
    OUTCOME,
    Frames,
    pack_span,
    pack_stretch,
    timeline_frames,
    timeline_parts,
    unpack_timeline,
    with_timeline,
)
from driftline.stream.codec.traffic import pack_rates, pack_traffic, traffic_parts, unpack_traffic
from driftline.stream.events.event import values_of
from driftline.stream.judge.state import JudgeState, ModelState, TrackState
from driftline.stream.panes.pane import Pane, Source

# Events in one part: a commit writes fewer than this again.
_CHUNK = 100

Parts = dict[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class StateDelta:
    """What a commit writes for a model: parts by name, and names of parts to delete.

    replace_all: delete every stored part first, those of timelines, too. Without a part to write after that, the model
    is forgotten. timelines: what becomes of the parts of its timelines, which are stored by themselves.
    """

    write: dict[str, bytes]
    delete: tuple[str, ...] = ()
    replace_all: bool = False
    timelines: Frames = Frames({})


class _PackedState(Stored, frozen=True):
    """A JudgeState without its buckets. incidents, layout: whether there is a part. blocks, overruled: of slopes."""

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"layout": 2, "blocks": 3, "overruled": 3})

    seen: int
    reference_start: list[int]
    past_start: list[int]
    pending: PackedPane | None
    history: dict[str, Any]
    incidents: bool
    layout: bool = False
    blocks: int = 0
    overruled: dict[str, float] | None = None


class _Head(Stored, frozen=True):
    """The head part. Fields are stored by position.

    consumed: of the predictions topic, by partition. events: how many are kept for the warm-up. baseline: content hash
    of the baseline of `state`; "" without a state. elsewhere: consumed of other topics: topic, partition, end. tracks:
    versions with parts of their own. incidents: whether there is a part of them where there is no `state`.
    """

    since: ClassVar[Mapping[str, int]] = MappingProxyType({"elsewhere": 2, "clock": 2, "tracks": 2, "incidents": 2})

    consumed: dict[int, int]
    last_seq: int
    events: int
    learned: bool
    baseline: str
    state: _PackedState | None
    elsewhere: tuple[tuple[str, int, int], ...] = ()
    clock: int = 0
    tracks: tuple[str, ...] = ()
    incidents: bool = False


# Made while the module is imported, since threads restore states: see `stream.codec.panes`.
_HEAD, _BUCKET = msgspec.msgpack.Decoder(_Head), msgspec.msgpack.Decoder(PackedPane)
_LAYOUT = msgspec.msgpack.Decoder(Signals)


class HeadFacts(NamedTuple):
    """Facts of a model's state, all empty of one that was forgotten.

    sample: events in the warm-up. learned: whether it has a baseline. judged: events since. blocks, overruled: slopes.
    """

    sample: int = 0
    learned: bool = False
    judged: int = 0
    blocks: int = 0
    overruled: Mapping[str, float] = MappingProxyType({})


#: The delta of a model of which nothing is remembered.
FORGET = StateDelta({}, replace_all=True)


def state_delta(old: ModelState | None, new: ModelState) -> StateDelta:
    """The delta from the stored state `old` to `new`; from anything, if `old` is None or unreadable."""
    anew = old is None or old.unreadable
    before, after = {} if old is None or anew else _parts(old), _parts(new)
    changed = {name: _pack(name, part) for name, part in after.items() if not _same(before.get(name), part)}
    head = frame(b"H", _head(new))
    timelines = timeline_frames(None if anew else old, new, _prefix)
    gone = tuple(sorted(before.keys() - after.keys()))
    return StateDelta({"head": head, **changed}, gone, replace_all=anew, timelines=timelines)


def restore_state(parts: Mapping[str, bytes], given: Baseline | None) -> ModelState:
    """The state in its stored parts; the initial state if there are none.

    given: a baseline that the state may belong to. It reads the history of a state without a layout; if that belongs to
    another one, it is lost, and the state says that it is unreadable. Raises FormatError if a part is damaged or
    missing.
    """
    if not parts:
        return ModelState()
    try:
        state = _restore(parts, given)
    except FormatError:
        raise
    except KeyError as missing:
        raise FormatError(f"part {missing} of a model's state is missing") from None
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        raise FormatError(f"a model's state is damaged: {error}") from error
    if not state.unreadable and _parts(state).keys() != parts.keys() - {"head"}:
        raise FormatError("the parts of a model's state do not match its head")
    return state


def _consumed(head: _Head) -> dict[Source, int]:
    return {Source(partition): end for partition, end in head.consumed.items()} | {
        Source(partition, topic): end for topic, partition, end in head.elsewhere
    }


def _by_topic(consumed: Mapping[Source, int]) -> dict[str, Any]:
    """The fields of a head that say what is consumed."""
    return {
        "consumed": {source.partition: end for source, end in consumed.items() if not source.topic},
        "elsewhere": tuple((topic, partition, end) for (partition, topic), end in consumed.items() if topic),
    }


def read_head(head: bytes) -> HeadFacts:
    """What a head part says of a model. Raises FormatError."""
    state = (stored := unframe(b"H", head, _HEAD)).state
    pending = state.pending.content if state and state.pending else None
    judged = (state.seen if state else 0) + (pending.n if isinstance(pending, PackedSketch) else 0)
    return HeadFacts(stored.events, stored.learned, judged, *((state.blocks, state.overruled or {}) if state else ()))


def heads_of_versions(head: bytes) -> list[str]:
    """The names of the head parts of versions that a model judges by themselves. Raises FormatError."""
    return [f"{prefix}head" for prefix in prefixes_of(head).values() if prefix]


def prefixes_of(head: bytes) -> dict[str, str]:
    """How the names of the parts of each track begin, by track. Raises FormatError."""
    return {track: _prefix(track) for track in ("", *unframe(b"H", head, _HEAD).tracks)}


def move_consumed(head: bytes, offsets: Mapping[Source, int]) -> bytes:
    """A head part whose events of these partitions are consumed up to other offsets.

    Partitions of which nothing was consumed stay so. Raises FormatError.
    """
    consumed = _consumed(stored := unframe(b"H", head, _HEAD))
    moved = {source: offset for source, offset in offsets.items() if source in consumed}
    return frame(b"H", msgspec.structs.replace(stored, **_by_topic(consumed | moved)))


def _head(state: ModelState) -> _Head:
    return _Head(
        **_by_topic(state.consumed),
        last_seq=state.last_seq,
        events=len(state.sample),
        learned=state.learned is not None,
        baseline=state.judge.baseline if state.judge else "",
        state=None if state.judge is None else _pack_state(state.judge, bool(state.incidents)),
        clock=state.clock,
        tracks=tuple(state.tracks),
        incidents=state.judge is None and bool(state.incidents),
    )


def _pack_state(state: JudgeState, incidents: bool) -> _PackedState:
    starts = {id(bucket): start for start, bucket in _buckets(state)}
    return _PackedState(
        seen=state.seen,
        reference_start=state.reference_start.tolist(),
        past_start=state.past_start.tolist(),
        pending=None if state.pending is None else PackedPane.of(state.pending),
        history=state.history.snapshot(lambda bucket: starts[id(bucket)]),
        incidents=incidents,
        layout=state.portable,
        **live_slopes_facts(state.live_slopes),
    )


def _restore(parts: Mapping[str, bytes], given: Baseline | None) -> ModelState:
    head = unframe(b"H", parts["head"], _HEAD)
    learned = decode_baseline(parts["learned"]) if head.learned else None
    chunks = (unpack_events(parts[f"events:{i}"]) for i in range(-(-head.events // _CHUNK)))
    sample = tuple(chain.from_iterable(chunks))
    traffic = unpack_traffic(parts["traffic"], parts["rates"]) if "traffic" in parts else None
    tracks = {version: _restore_track(parts, version) for version in head.tracks}
    has_incidents = head.incidents if head.state is None else head.state.incidents
    incidents = unpack_incidents(parts["incidents"]) if has_incidents else {}
    kept = ModelState(
        _consumed(head),
        sample,
        learned,
        None,
        head.last_seq,
        incidents,
        clock=head.clock,
        traffic=traffic,
        tracks=tracks,
        outcomes=with_timeline(unpack_outcomes(parts), parts),
        waiting=unpack_waiting(parts),
    )
    if head.state is None:
        return msgspec.structs.replace(kept, values=sum(map(values_of, sample)))
    signals = _signals(head, parts, [each for each in (given, learned) if each])
    state = None if signals is None else _unpack_state(head, head.state, parts, signals)
    return msgspec.structs.replace(kept, judge=state, unreadable=state is None)


def _restore_track(parts: Mapping[str, bytes], version: str) -> TrackState:
    prefix = _prefix(version)
    own = {name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)}
    state = _restore(own, None)
    if state.unreadable:
        raise FormatError(f"there is no layout of the history of version {version!r}")
    return TrackState(state.sample, state.learned, state.judge, state.values, state.outcomes)


def _prefix(version: str) -> str:
    """How the names of a track's parts begin."""
    if not version:
        return ""
    escaped = version.replace("%", "%25").replace(":", "%3A")
    return f"track:{escaped}:"


def _alone(track: TrackState) -> ModelState:
    """A model that has nothing but this track."""
    return ModelState(sample=track.sample, learned=track.learned, judge=track.judge, outcomes=track.outcomes)


def _signals(head: _Head, parts: Mapping[str, bytes], baselines: Iterable[Baseline]) -> Signals | None:
    """The signals of a stored history; None if neither a part nor one of the baselines has them."""
    if head.state and head.state.layout:
        return unframe(b"L", parts["layout"], _LAYOUT)
    return next((each.watched for each in baselines if each.content_hash == head.baseline), None)


def _unpack_state(head: _Head, state: _PackedState, parts: Mapping[str, bytes], signals: Signals) -> JudgeState:
    shape = Shape(signals)

    def bucket(start: int) -> Pane[Sketch]:
        return unframe(b"B", parts[f"bucket:{start}"], _BUCKET).unpack(shape)

    return JudgeState(
        head.baseline,
        signals,
        reference_start=_starts(state.reference_start, signals),
        past_start=_starts(state.past_start, signals),
        seen=state.seen,
        history=ExponentialHistogram.restore(state.history, bucket),
        pending=None if state.pending is None else state.pending.unpack(shape),
        portable=state.layout,
        timeline=unpack_timeline(parts, signals),
        live_slopes=unpack_live_slopes(parts, shape, state.blocks, state.overruled),
    )


def _starts(stored: list[int], signals: Signals) -> IntArray:
    if len(stored) != len(signals):
        raise FormatError(f"a model's state has {len(stored)} starts, but {len(signals)} signals")
    return np.array(stored, np.int64)


def _parts(state: ModelState) -> Parts:
    """The values that each part but the head is made of."""
    hundreds = range(0, len(state.sample), _CHUNK)
    parts: Parts = {f"events:{first // _CHUNK}": state.sample[first : first + _CHUNK] for first in hundreds}
    if state.learned is not None:
        parts["learned"] = (state.learned,)
    if state.traffic is not None:
        parts |= traffic_parts(state.traffic)
    if state.judge is not None:
        parts |= {f"bucket:{start}": (bucket,) for start, bucket in _buckets(state.judge)}
        parts |= {"layout": (state.judge.signals,)} if state.judge.portable else {}
        parts |= timeline_parts(state.judge.timeline) if state.judge.timeline else {}
        parts |= live_slopes_parts(state.judge.live_slopes) if state.judge.live_slopes else {}
    if state.incidents:
        parts["incidents"] = tuple(state.incidents.values())
    if state.outcomes is not None:
        parts |= outcome_parts(state.outcomes)
        parts |= timeline_parts(state.outcomes.timeline, OUTCOME) if state.outcomes.timeline else {}
    if state.waiting is not None:
        parts |= waiting_parts(state.waiting)
    for version, track in state.tracks.items():
        parts |= {_prefix(version) + name: part for name, part in {**_parts(_alone(track)), "head": (track,)}.items()}
    return parts


def _buckets(state: JudgeState) -> Iterator[tuple[int, Pane[Sketch]]]:
    """The buckets of the history, oldest first, each with the number of events seen before it."""
    buckets = list(state.history)
    start = state.seen - sum(bucket.content.n for bucket in buckets)
    for bucket in buckets:
        yield start, bucket
        start += bucket.content.n


def _same(old: tuple[Any, ...] | None, new: tuple[Any, ...]) -> bool:
    return old is not None and len(old) == len(new) and all(map(is_, old, new))


_PACK: Mapping[str, Callable[[tuple[Any, ...]], bytes]] = {
    "head": lambda part: frame(b"H", _head(_alone(*part))),
    **dict.fromkeys(("bucket", "block"), lambda part: frame(b"B", PackedPane.of(*part))),
    "slopes": pack_slopes,
    "incidents": pack_incidents,
    "layout": lambda part: frame(b"L", part[0]),
    "timeline": pack_span,
    "hour": pack_stretch,
    "day": pack_stretch,
    "outcomes": pack_outcomes,
    "outcome": pack_outcome,
    "outcomes_reference": pack_reference,
    "outcome_timeline": pack_span,
    "outcome_hour": pack_stretch,
    "outcome_day": pack_stretch,
    "waiting": pack_waiting,
    "stub": pack_part,
    "label": pack_part,
    "traffic": pack_traffic,
    "rates": pack_rates,
    "events": pack_events,
    "learned": lambda part: encode_baseline(part[0]),
}


def _pack(name: str, part: tuple[Any, ...]) -> bytes:
    if name.startswith("track:"):
        name = name.split(":", 2)[2]
    return _PACK[name.partition(":")[0]](part)
