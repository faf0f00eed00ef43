"""A model's memory in parts, so that a commit writes what changed and no more. Pure.

    head            what every pane changes: delivered, events seen, floors, rung, and which parts there are
    bucket:START    one bucket of the ladder; START: events seen before it, so a merge keeps the older one's name
    incidents       by scope, while there are any
    events:I        the I-th hundred of the events kept for learning, while there is no baseline
    learned         the baseline made of them, a .driftline file

A part is a function of values that never change, so "changed" means "other objects": diffs compare with `is`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import is_
from typing import Any

import msgspec
import numpy as np

from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.layout import Layout
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.codec.panes import FormatError, PackedPane, frame, pack_events, unframe, unpack_events
from driftline.stream.judge.incidents import Incident
from driftline.stream.judge.state import JudgeState, ModelState
from driftline.stream.panes.pane import Pane

# Events in one part: what a commit may write again of what it wrote before, because the last part was not full.
_CHUNK = 100

Parts = dict[str, tuple[Any, ...]]


class BaselineChangedError(FormatError):
    """The memory was made against another baseline than the one given: its sketches mean nothing here.

    anew: with what to begin again: what was delivered, learned, how far alerts are numbered, and the incidents to end.
    """

    def __init__(self, anew: ModelState) -> None:
        super().__init__("this memory was made against another baseline")
        self.anew = anew


@dataclass(frozen=True, slots=True)
class StateDelta:
    """What to write for a model: parts by name, and names of parts to delete. fresh: first delete all stored."""

    write: dict[str, bytes]
    delete: tuple[str, ...] = ()
    fresh: bool = False


class _State(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    seen: int
    base_floor: list[int]
    past_floor: list[int]
    rung: PackedPane | None
    ladder: dict[str, Any]
    incidents: bool


class _Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """baseline: content hash of what the state was made against, "" without a state. events: kept for learning."""

    delivered: dict[int, int]
    alerts: int
    events: int
    learned: bool
    baseline: str
    state: _State | None


def diff(old: ModelState | None, new: ModelState, given: Baseline | None) -> StateDelta:
    """What turns the stored `old` into `new`; None: whatever is stored. given: as in `Monitor`."""
    before, after = {} if old is None else _parts(old), _parts(new)
    changed = {name: _pack(name, part) for name, part in after.items() if not _same(before.get(name), part)}
    head = frame(b"H", _head(new, given))
    return StateDelta({"head": head, **changed}, tuple(sorted(before.keys() - after.keys())), fresh=old is None)


def load(parts: Mapping[str, bytes], given: Baseline | None) -> ModelState:
    """The state in its stored parts; {} gives the empty one.

    FormatError if a part is damaged or missing; BaselineChangedError if it was made against another baseline.
    """
    if not parts:
        return ModelState()
    try:
        memory = _load(parts, given)
    except FormatError:
        raise
    except KeyError as missing:
        raise FormatError(f"a memory's part {missing} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise FormatError(f"a damaged memory: {error}") from error
    if _parts(memory).keys() != parts.keys() - {"head"}:
        raise FormatError("a memory's parts do not fit its head")
    return memory


def read_incidents(part: bytes) -> dict[str, Incident]:
    """By scope, the incidents in the part of that name; FormatError."""
    return {each.scope: each for each in unframe(b"I", part, tuple[Incident, ...])}


def _head(memory: ModelState, given: Baseline | None) -> _Head:
    learned, state = memory.learned, memory.state
    baseline = given or learned if state else None
    return _Head(
        delivered=dict(memory.delivered),
        alerts=memory.alerts,
        events=len(memory.sample),
        learned=learned is not None,
        baseline=baseline.content_hash if baseline else "",
        state=None if state is None else _pack_state(state),
    )


def _pack_state(state: JudgeState) -> _State:
    starts = {id(bucket): start for start, bucket in _buckets(state)}
    return _State(
        seen=state.seen,
        base_floor=state.base_floor.tolist(),
        past_floor=state.past_floor.tolist(),
        rung=None if state.rung is None else PackedPane.of(state.rung),
        ladder=state.ladder.snapshot(lambda bucket: starts[id(bucket)]),
        incidents=bool(state.incidents),
    )


def _load(parts: Mapping[str, bytes], given: Baseline | None) -> ModelState:
    head = unframe(b"H", parts["head"], _Head)
    learned = decode_baseline(parts["learned"]) if head.learned else None
    chunks = (unpack_events(parts[f"events:{i}"]) for i in range(-(-head.events // _CHUNK)))
    sample = tuple(chain.from_iterable(chunks))
    if head.state is None:
        return ModelState(head.delivered, sample, learned, None, head.alerts)
    baseline = given or learned
    if baseline is None or baseline.content_hash != head.baseline:
        over = tuple(read_incidents(parts["incidents"]).values()) if head.state.incidents else ()
        raise BaselineChangedError(ModelState(head.delivered, learned=learned, alerts=head.alerts, over=over))
    state = _unpack_state(head.state, parts, baseline.layout)
    return ModelState(head.delivered, sample, learned, state, head.alerts)


def _unpack_state(state: _State, parts: Mapping[str, bytes], layout: Layout) -> JudgeState:
    def bucket(start: int) -> Pane[Sketch]:
        return unframe(b"B", parts[f"bucket:{start}"], PackedPane).unpack(layout)

    return JudgeState(
        base_floor=np.array(state.base_floor, np.int64),
        past_floor=np.array(state.past_floor, np.int64),
        seen=state.seen,
        ladder=ExponentialHistogram.restore(state.ladder, bucket),
        rung=None if state.rung is None else state.rung.unpack(layout),
        incidents=read_incidents(parts["incidents"]) if state.incidents else {},
    )


def _parts(memory: ModelState) -> Parts:
    """What each part but the head is made of."""
    hundreds = range(0, len(memory.sample), _CHUNK)
    parts: Parts = {f"events:{first // _CHUNK}": memory.sample[first : first + _CHUNK] for first in hundreds}
    if memory.learned is not None:
        parts["learned"] = (memory.learned,)
    if memory.state is not None:
        parts |= {f"bucket:{start}": (bucket,) for start, bucket in _buckets(memory.state)}
        parts |= {"incidents": tuple(memory.state.incidents.values())} if memory.state.incidents else {}
    return parts


def _buckets(state: JudgeState) -> Iterator[tuple[int, Pane[Sketch]]]:
    """The ladder's buckets, oldest first, with the events seen before each."""
    buckets = list(state.ladder)
    start = state.seen - sum(bucket.content.n for bucket in buckets)
    for bucket in buckets:
        yield start, bucket
        start += bucket.content.n


def _same(old: tuple[Any, ...] | None, new: tuple[Any, ...]) -> bool:
    return old is not None and len(old) == len(new) and all(map(is_, old, new))


_PACK: Mapping[str, Callable[[tuple[Any, ...]], bytes]] = {
    "bucket": lambda part: frame(b"B", PackedPane.of(*part)),
    "incidents": lambda part: frame(b"I", part),
    "events": pack_events,
    "learned": lambda part: encode_baseline(part[0]),
}


def _pack(name: str, part: tuple[Any, ...]) -> bytes:
    return _PACK[name.partition(":")[0]](part)
