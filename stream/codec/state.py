"""A model's memory in parts, so that a commit writes what changed and no more. Pure.

    head            what every pane changes: delivered, events seen, floors, rung, and which parts there are
    bucket:START    one bucket of the history; START: events seen before it, so a merge keeps the older one's name
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

    def __init__(self, fresh_state: ModelState) -> None:
        super().__init__("this memory was made against another baseline")
        self.fresh_state = fresh_state


@dataclass(frozen=True, slots=True)
class StateDelta:
    """What to write for a model: parts by name, and names of parts to delete. fresh: first delete all stored."""

    write: dict[str, bytes]
    delete: tuple[str, ...] = ()
    replace_all: bool = False


class _State(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    seen: int
    reference_start: list[int]
    past_start: list[int]
    pending: PackedPane | None
    history: dict[str, Any]
    incidents: bool


class _Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """baseline: content hash of what the state was made against, "" without a state. events: kept for learning."""

    consumed: dict[int, int]
    last_seq: int
    events: int
    learned: bool
    baseline: str
    state: _State | None


def state_delta(old: ModelState | None, new: ModelState, given: Baseline | None) -> StateDelta:
    """What turns the stored `old` into `new`; None: whatever is stored. given: as in `Monitor`."""
    before, after = {} if old is None else _parts(old), _parts(new)
    changed = {name: _pack(name, part) for name, part in after.items() if not _same(before.get(name), part)}
    head = frame(b"H", _head(new, given))
    return StateDelta({"head": head, **changed}, tuple(sorted(before.keys() - after.keys())), replace_all=old is None)


def restore_state(parts: Mapping[str, bytes], given: Baseline | None) -> ModelState:
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


def unpack_incidents(part: bytes) -> dict[str, Incident]:
    """By scope, the incidents in the part of that name; FormatError."""
    return {each.scope: each for each in unframe(b"I", part, tuple[Incident, ...])}


def _head(memory: ModelState, given: Baseline | None) -> _Head:
    learned, state = memory.learned, memory.judge
    baseline = given or learned if state else None
    return _Head(
        consumed=dict(memory.consumed),
        last_seq=memory.last_seq,
        events=len(memory.sample),
        learned=learned is not None,
        baseline=baseline.content_hash if baseline else "",
        state=None if state is None else _pack_state(state),
    )


def _pack_state(state: JudgeState) -> _State:
    starts = {id(bucket): start for start, bucket in _buckets(state)}
    return _State(
        seen=state.seen,
        reference_start=state.reference_start.tolist(),
        past_start=state.past_start.tolist(),
        pending=None if state.pending is None else PackedPane.of(state.pending),
        history=state.history.snapshot(lambda bucket: starts[id(bucket)]),
        incidents=bool(state.incidents),
    )


def _load(parts: Mapping[str, bytes], given: Baseline | None) -> ModelState:
    head = unframe(b"H", parts["head"], _Head)
    learned = decode_baseline(parts["learned"]) if head.learned else None
    chunks = (unpack_events(parts[f"events:{i}"]) for i in range(-(-head.events // _CHUNK)))
    sample = tuple(chain.from_iterable(chunks))
    if head.state is None:
        return ModelState(head.consumed, sample, learned, None, head.last_seq)
    baseline = given or learned
    if baseline is None or baseline.content_hash != head.baseline:
        over = tuple(unpack_incidents(parts["incidents"]).values()) if head.state.incidents else ()
        raise BaselineChangedError(ModelState(head.consumed, learned=learned, last_seq=head.last_seq, superseded=over))
    state = _unpack_state(head.state, parts, baseline.layout)
    return ModelState(head.consumed, sample, learned, state, head.last_seq)


def _unpack_state(state: _State, parts: Mapping[str, bytes], layout: Layout) -> JudgeState:
    def bucket(start: int) -> Pane[Sketch]:
        return unframe(b"B", parts[f"bucket:{start}"], PackedPane).unpack(layout)

    return JudgeState(
        reference_start=np.array(state.reference_start, np.int64),
        past_start=np.array(state.past_start, np.int64),
        seen=state.seen,
        history=ExponentialHistogram.restore(state.history, bucket),
        pending=None if state.pending is None else state.pending.unpack(layout),
        incidents=unpack_incidents(parts["incidents"]) if state.incidents else {},
    )


def _parts(memory: ModelState) -> Parts:
    """What each part but the head is made of."""
    hundreds = range(0, len(memory.sample), _CHUNK)
    parts: Parts = {f"events:{first // _CHUNK}": memory.sample[first : first + _CHUNK] for first in hundreds}
    if memory.learned is not None:
        parts["learned"] = (memory.learned,)
    if memory.judge is not None:
        parts |= {f"bucket:{start}": (bucket,) for start, bucket in _buckets(memory.judge)}
        parts |= {"incidents": tuple(memory.judge.incidents.values())} if memory.judge.incidents else {}
    return parts


def _buckets(state: JudgeState) -> Iterator[tuple[int, Pane[Sketch]]]:
    """The history's buckets, oldest first, with the events seen before each."""
    buckets = list(state.history)
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
