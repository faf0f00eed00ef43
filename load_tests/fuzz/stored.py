"""What Driftline writes for itself, and others may write too: panes on their topic, model states and baselines.

Most damage keeps checksums valid: whoever may write can compute them. What is accepted is used as a worker uses it.
"""

from __future__ import annotations

import io
import json
import random
import warnings
import zipfile
import zlib
from functools import cache, cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.alerts.build import build_alert, encode_alert
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.incidents import unpack_incidents
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import move_consumed, restore_state, state_delta
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.events.parse import parse_event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range, Source
from load_tests.fuzz.mutations import at, damage_bytes, damage_document, damage_json, places
from load_tests.fuzz.target import Target
from load_tests.harness.oracle import baseline_of, messages

MODEL, PANE, PANES = "m", 60, 40
CONFIG = ModelConfig(clock=100, learn_events=250, incidents=Incidents(recovery="1m", cooldown="10m"))
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Kind, version and checksum.
_FRAME = 6
# How msgpack begins lists, maps and bytes that claim more than there is, and a NaN.
_LENGTHS = (
    b"\x91",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x7f\xff\xff\xff",
    b"\xc6\x7f\xff\xff\xff",
    b"\xcb\x7f\xf8" + bytes(6),
)


def targets() -> list[Target]:
    """Panes of sketches and of events, model states, baseline files."""
    given, learned = _History(baseline()), _History(None)
    return [
        Target("pane-sketch", given.write_pane, given.judge, (FormatError,), damage_frame, _LENGTHS),
        Target("pane-events", learned.write_pane, learned.judge, (FormatError,), damage_frame, _LENGTHS),
        Target("state-given", given.write_state, given.restore, (FormatError,), damage_parts, _LENGTHS),
        Target("state-learned", learned.write_state, learned.restore, (FormatError,), damage_parts, _LENGTHS),
        Target("baseline", _write_baseline, _read_baseline, (BaselineError,), damage_archive, seconds=20.0),
    ]


@cache
def baseline() -> Baseline:
    """The baseline of the model before it drifts."""
    return baseline_of(MODEL)


@cache
def _events() -> tuple[Event, ...]:
    drift = (PANE * PANES // 2, PANE * PANES)
    return tuple(map(parse_event, messages(MODEL, PANE * PANES, drift=drift, step=1000)))


class _History:
    """A model that drifts: its panes, and the state before each. They are made when first asked for."""

    def __init__(self, given: Baseline | None) -> None:
        self._given, self._monitor = given, Monitor(MODEL, CONFIG, given)

    @cached_property
    def _panes(self) -> list[PaneMessage]:
        hash_ = self._given.content_hash if self._given else ""
        return [PaneMessage.of(MODEL, hash_, "predictions", _pane(self._given, number)) for number in range(PANES)]

    @cached_property
    def _states(self) -> list[ModelState]:
        states = [ModelState()]
        for number in range(PANES):
            states.append(self._monitor.judge(states[-1], _pane(self._given, number))[0])
        return states

    def write_pane(self, rng: random.Random) -> bytes:
        """A pane of the history."""
        return rng.choice(self._panes).to_bytes()

    def judge(self, data: bytes) -> None:
        """Judge a pane at several points of the history. Raises FormatError."""
        message = PaneMessage.from_bytes(data)
        pane = message.pane(self._given.layout if self._given else None)
        for state in self._states[:: PANES // 4]:
            self._go_on(state, pane)

    def write_state(self, rng: random.Random) -> bytes:
        """The parts of a state by name, as a msgpack map."""
        return msgspec.msgpack.encode(state_delta(None, rng.choice(self._states)).write)

    def restore(self, data: bytes) -> None:
        """Restore a state, and judge the next pane. Raises FormatError."""
        try:
            parts = msgspec.msgpack.decode(data, type=dict[str, bytes])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FormatError("no parts") from error
        if parts:
            move_consumed(parts.get("head", b""), {Source(0): 7})
        state = restore_state(parts, self._given)
        if state.incidents:
            unpack_incidents(parts["incidents"])
        self._go_on(state, _pane(self._given, PANES - 1))

    def _go_on(self, state: ModelState, pane: Pane[Any]) -> None:
        """Judge a pane, build the alerts, store the state and restore it, as a worker does."""
        after, steps = self._monitor.judge(replace(state, consumed={}), pane)
        for step in steps:
            encode_alert(build_alert(self._monitor, step, mode="live", topic="predictions", emitted_at=0))
        restore_state(state_delta(None, after).write, self._given)


def _pane(given: Baseline | None, number: int) -> Pane[Any]:
    events = _events()[number * PANE : (number + 1) * PANE]
    content: Any = given.sketch_events(events) if given else events
    return Pane(content, events[0].ts, events[-1].ts, (Range(0, number * PANE, number * PANE + PANE),))


# --- damage that keeps checksums valid


def damage_frame(data: bytes, rng: random.Random) -> bytes:
    """A frame with other content under a checksum that fits."""
    content = data[_FRAME:]
    if rng.random() < 0.2:
        return _framed(data, damage_bytes(content, rng, _LENGTHS))
    try:
        document = json.loads(content) if data[:1] == b"E" else msgspec.msgpack.decode(content)
        for _ in range(rng.choice([1, 1, 2])):
            _damage_within(document, rng)
        encoded = json.dumps(document).encode() if data[:1] == b"E" else msgspec.msgpack.encode(document)
    except (ValueError, OverflowError, RecursionError, TypeError, IndexError, KeyError, msgspec.MsgspecError):
        return _framed(data, damage_bytes(content, rng))
    return _framed(data, encoded)


def _damage_within(document: Any, rng: random.Random) -> None:
    """Damage a document, or one of the frames in it."""
    frames = [path for path in places(document) if _is_frame(at(document, path))]
    if not frames or rng.random() < 0.3:
        damage_document(document, rng)
        return
    *home, key = rng.choice(frames)
    at(document, home)[key] = damage_frame(at(document, [*home, key]), rng)


def _is_frame(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) > _FRAME and value[:2] in (b"E\x01", b"B\x01")


def _framed(data: bytes, content: bytes) -> bytes:
    return data[:2] + zlib.crc32(content).to_bytes(4, "little") + content


def damage_parts(data: bytes, rng: random.Random) -> bytes:
    """The parts of a state, one of them damaged, left out or put in the place of another."""
    parts = msgspec.msgpack.decode(data, type=dict[str, bytes])
    name = rng.choice(list(parts))
    if rng.random() < 0.8:
        parts[name] = (damage_archive if name == "learned" else damage_frame)(parts[name], rng)
    elif rng.random() < 0.5:
        del parts[name]
    else:
        parts[name] = rng.choice(list(parts.values()))
    return msgspec.msgpack.encode(parts)


# --- baseline files


def _write_baseline(rng: random.Random) -> bytes:
    """A baseline, or one as extreme as its checks allow, whose content hash is right."""
    kept = baseline()
    if rng.random() < 0.5:
        return encode_baseline(kept)
    blocks = kept.blocks * rng.choice([1, 2, 10**4])
    sums, extremes = (
        kept.total.sums * rng.choice([0, -1, 1, 2**40]),
        kept.total.extremes * rng.choice([0.0, 1.0, 1e300]),
    )
    counts = blocks.sum(0)
    return encode_baseline(Baseline.of(kept.layout, blocks, Sketch(0, counts, sums, extremes), kept.about))


def _read_baseline(data: bytes) -> None:
    """Read a baseline, and judge a pane against it."""
    found = decode_baseline(data)
    monitor = Monitor(MODEL, CONFIG, found)
    state = ModelState()
    for number in range(2):
        state, _ = monitor.judge(state, _pane(found, PANES - 2 + number))


def damage_archive(data: bytes, rng: random.Random) -> bytes:
    """A zip archive of which one member is damaged, renamed, doubled or left out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(6)
    if kind < 4:
        content = damage_json(content, rng) if name.endswith(".json") and kind else damage_bytes(content, rng)
    members[at : at + 1] = [[(name, content)], [], [(name, content)] * 2][max(0, kind - 3)]
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w", rng.choice(_PACKED)) as archive:
        for each in members:
            archive.writestr(*each)
    return out.getvalue()
