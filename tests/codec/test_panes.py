"""Panes as bytes: what comes back, what it costs, and what is refused."""

from __future__ import annotations

import json
import math
import random
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import Categories, Grid, Kind
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.codec.events import pack_events, unpack_events
from driftline.stream.codec.frames import FormatError, frame, unframe
from driftline.stream.codec.panes import (
    PackedPane,
    PackedSketch,
    PaneMessage,
    pack_tick,
    read_message,
)
from driftline.stream.events.event import Event
from driftline.stream.events.limits import MessageLimits
from driftline.stream.events.parse import EventReader, parse_event
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.panes.tick import Tick
from tests.harness.histories import baseline, events
from tests.harness.traffic import baseline_of, draw

RUN = Range(3, 100, 160)
LAYOUTS = [
    Layout((Signal("flag", Kind.CONSTANT, Categories(("x",)), numeric=False),)),
    Layout.of(
        [
            Signal("amount", Kind.NUMERIC, Grid(np.linspace(0, 1, 40)), numeric=True),
            Signal("country", Kind.CATEGORICAL, Categories(("at", "ch")), numeric=False),
            Signal("age", Kind.NUMERIC, Grid(np.array([30.0])), numeric=True, center=30, spread=10),
        ]
    ),
    Layout.of(
        [
            Signal("zip", Kind.NUMERIC, Grid(np.array([0.1])), numeric=True),
            Signal("country", Kind.CATEGORICAL, Categories(("at", "ch")), numeric=False),
            Signal("price", Kind.NUMERIC, Grid(np.array([0.1])), numeric=True, range=(0.0, 0.3)),
        ]
    ),
    Layout((Signal("wide", Kind.NUMERIC, Grid(np.arange(70_000.0)), numeric=True),)),
]


@st.composite
def sketches(draw: st.DrawFn) -> tuple[Layout, Sketch]:
    """A sketch of up to 300 events, or of 2^k times as many."""
    layout, n = draw(st.sampled_from(LAYOUTS)), draw(st.sampled_from([0, 1, 5, 300]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = rng.choice([-math.inf, -1e300, -0.5, 0.0, 0.3, 31.0, 1e5, math.nan], (n, len(layout.numeric)))
    texts = [rng.choice(["at", "ch", "fr", "x"], n).tolist() for _ in layout.nominal]
    sketch = layout.sketch(layout.encode(values, texts), values)
    for _ in range(draw(st.sampled_from([0, 8, 30]))):
        sketch = sketch + sketch
    return layout, sketch


def message(content: Any, hash_: str = "f00d") -> PaneMessage:
    return PaneMessage.of("fraud", hash_, "predictions", Pane(content, 10**12, 10**12 + 5, (RUN,)))


@given(sketches())
def test_a_pane_comes_back_and_equal_panes_are_equal_bytes(case: tuple[Layout, Sketch]) -> None:
    layout, sketch = case
    data = message(sketch).to_bytes()
    back = PaneMessage.from_bytes(data)
    assert (back.model, back.baseline, back.topic, back.run) == ("fraud", "f00d", "predictions", RUN)
    pane = back.pane(layout)
    assert pane == Pane(sketch, 10**12, 10**12 + 5, (RUN,))
    assert pane.content.counts.dtype == np.int64
    assert pane.content + layout.empty() == sketch
    assert message(pane.content).to_bytes() == data


@given(sketches())
def test_counts_take_the_shorter_of_two_forms(case: tuple[Layout, Sketch]) -> None:
    layout, sketch = case
    packed = PackedSketch.of(sketch)
    size = next(size for size in (1, 2, 4, 8) if sketch.counts.max() < 256**size)
    every, some = size * layout.width, (size + (2 if layout.width <= 65536 else 4)) * np.count_nonzero(sketch.counts)
    assert len(packed.columns) + len(packed.counts) == min(every, some)


def test_what_a_pane_of_twenty_features_costs() -> None:
    batch = draw(np.random.default_rng(1), 5000)
    reference = baseline_of(batch)
    names = list(batch)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*batch.values(), strict=True)]
    made = [Event(str(i), 10**12, "m", None, row) for i, row in enumerate(rows)]
    sizes = {n: len(message(reference.sketch_events(made[:n])).to_bytes()) for n in (10, 500, 5000)}
    assert sizes[10] < 1600
    assert sizes[500] < 3000
    assert sizes[5000] < 4500


# Events


def event_json() -> st.SearchStrategy[dict[str, Any]]:
    text = st.text(st.characters(categories=["L", "N", "Cs"]), max_size=5)
    leaves = st.none() | st.booleans() | st.floats() | st.integers() | text | st.just(10**4000)
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
    return st.fixed_dictionaries(
        {"id": st.sampled_from(["a", 7]), "ts": st.just(10**12), "model": st.just("fraud")},
        optional={"features": st.dictionaries(text, values), "score": values, "version": text, "prediction": values},
    ).filter(lambda event: any(event.get(part) is not None for part in ("features", "score", "prediction")))


def plain(event: Any) -> Any:
    """An event so that NaN equals NaN, 1 is not 1.0, and the order of its names counts."""
    emptied = {k: type(v)() if isinstance(v, dict | list) else v for k, v in event.signals.items()}
    return repr((event.id, event.ts, event.model, event.version, emptied))


@given(st.lists(event_json(), min_size=1, max_size=5))
def test_events_come_back_whatever_json_brought(documents: list[dict[str, Any]]) -> None:
    sent = tuple(parse_event(json.dumps(document).encode()) for document in documents)
    back = PaneMessage.from_bytes(message(sent, "").to_bytes()).pane(None)
    assert list(map(plain, back.content)) == list(map(plain, sent))
    assert pack_events(back.content) == pack_events(sent)


def test_an_event_nested_as_deeply_as_can_be_parsed_can_be_packed() -> None:
    deep = b'{"id":1,"ts":1000000000000,"model":"m","score":1,"features":{"x":' + b"[" * 198 + b"]" * 198 + b"}}"
    (back,) = unpack_events(pack_events(list(EventReader(limits=MessageLimits(depth=200)).read(deep).events)))
    assert back.signals["features.x"] == []


def test_names_are_written_once_for_all_events_that_have_the_same() -> None:
    packed = pack_events(events(1, 0, 100))
    assert packed.count(b"features.amount") == packed.count(b"features.country") == 1


# Refusals

SKETCH_BYTES = message(baseline().sketch_events(events(5, 0, 60))).to_bytes()
EVENT_BYTES = message(events(5, 0, 2), "").to_bytes()


def sealed(kind: bytes, content: bytes) -> bytes:
    """A frame with a right checksum, whatever it holds."""
    return kind + b"\1" + zlib.crc32(content).to_bytes(4, "little") + content


def read(data: bytes) -> None:
    back = PaneMessage.from_bytes(data)
    back.pane(baseline().layout if back.baseline else None)


@pytest.mark.parametrize("data", [SKETCH_BYTES, EVENT_BYTES], ids=["sketch", "events"])
def test_no_changed_byte_and_no_lost_one_goes_unnoticed(data: bytes) -> None:
    read(data)
    flip = random.Random(1)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ flip.randrange(1, 256)]) + data[at + 1 :]
        for wrong in (changed, data[:at], data[:at] + data[at + 1 :]):
            with pytest.raises(FormatError):
                read(wrong)


@given(st.binary(max_size=60), st.sampled_from([b"P", b"E", b"B", b"H", b""]))
def test_foreign_bytes_are_refused_even_with_a_right_checksum(data: bytes, kind: bytes) -> None:
    with pytest.raises(FormatError):
        read(data)
    if kind:
        framed = sealed(kind, data)
        with pytest.raises(FormatError):
            PaneMessage.from_bytes(framed).pane(baseline().layout)
        with pytest.raises(FormatError):
            unpack_events(framed)


def test_a_newer_format_says_so() -> None:
    with pytest.raises(FormatError, match="format version 4, this Driftline reads up to 3"):
        read(SKETCH_BYTES[:1] + b"\4" + SKETCH_BYTES[2:])


GOOD = PackedSketch.of(baseline().sketch_events(events(5, 0, 3)))
DENSE = PackedSketch.of(baseline().sketch_events(events(5, 0, 2000)))


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (GOOD, None),
        (DENSE, None),
        (msgspec.structs.replace(GOOD, n=4), "does not count each"),
        (msgspec.structs.replace(GOOD, columns=GOOD.columns[:-1]), "column numbers"),
        (msgspec.structs.replace(GOOD, columns=GOOD.columns[2:] + GOOD.columns[:2]), "rising"),
        (msgspec.structs.replace(GOOD, columns=GOOD.columns[:-2] + b"\xff\xff"), "below"),
        (msgspec.structs.replace(GOOD, columns=b"\0\0" * 10**6), "rising"),
        (msgspec.structs.replace(GOOD, counts=GOOD.counts + b"\0"), "counts"),
        (msgspec.structs.replace(GOOD, counts=b""), "counts"),
        (msgspec.structs.replace(GOOD, sums=GOOD.sums[:-1]), "moments"),
        (msgspec.structs.replace(GOOD, extremes=b""), "moments"),
        (msgspec.structs.replace(DENSE, counts=DENSE.counts[:-2]), "counts"),
        (msgspec.structs.replace(DENSE, counts=b"\xff" * 8 * baseline().layout.width), "does not count each"),
        (msgspec.structs.replace(DENSE, n=-1), "does not count each"),
    ],
)
def test_a_sketch_that_does_not_add_up_is_refused(packed: PackedSketch, reason: str | None) -> None:
    if reason is None:
        assert packed.unpack(baseline().layout).n == packed.n
        return
    with pytest.raises(FormatError, match=reason):
        packed.unpack(baseline().layout)


FAR_VALUES = np.array([[0.1, 9.0], [0.1, -9.0]])
FAR = PackedSketch.of(LAYOUTS[2].sketch(LAYOUTS[2].encode(FAR_VALUES, [["at", "at"]]), FAR_VALUES))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"tail_cells": b"", "tail_counts": b""}, None),
        ({"tail_cells": b""}, "beyond the ranges"),
        ({"tail_counts": b""}, "counts"),
        ({"tail_counts": b"\1"}, "counts"),
        ({"tail_counts": b"\0\1"}, "beyond the ranges"),
        ({"tail_counts": b"\3\1"}, "beyond the ranges"),
        ({"tail_cells": FAR.tail_cells[:-1]}, "rising"),
        ({"tail_cells": FAR.tail_cells[4:] + FAR.tail_cells[:4]}, "rising"),
        ({"tail_cells": FAR.tail_cells[:4] + b"\xff" * 4}, "rising"),
    ],
)
def test_what_lies_beyond_the_range_has_to_add_up(changes: dict[str, bytes], reason: str | None) -> None:
    packed = msgspec.structs.replace(FAR, **changes)
    if reason is None:
        assert packed.unpack(LAYOUTS[2]).n == 2
        return
    with pytest.raises(FormatError, match=reason):
        packed.unpack(LAYOUTS[2])


def test_a_sketch_within_the_ranges_is_a_frame_of_version_1() -> None:
    """So that workers of both versions can share a group, and what is stored does not change."""
    layout = LAYOUTS[2]
    for price, version in ((0.2, 1), (9.0, 2)):
        values = np.array([[0.1, price]])
        data = message(layout.sketch(layout.encode(values, [["at"]]), values)).to_bytes()
        assert data[1] == version


@pytest.mark.parametrize("ranges", [(), (RUN, RUN), (Range(0, 5, 5),), (Range(0, -1, 5),), (Range(-1, 0, 5),)])
def test_a_published_pane_is_of_one_run(ranges: tuple[Range, ...]) -> None:
    packed = PackedPane.of(Pane(events(5, 0, 2), 1, 2, ranges))
    with pytest.raises(FormatError, match="one run"):
        PaneMessage.from_bytes(frame(b"P", PaneMessage("m", "", "t", packed)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pane_of_another_baseline_does_not_fit(layout: Layout) -> None:
    with pytest.raises(FormatError):
        PaneMessage.from_bytes(SKETCH_BYTES).pane(layout)


def test_a_sketch_is_not_taken_for_events_nor_events_for_a_sketch() -> None:
    with pytest.raises(FormatError, match="expected a pane of events, got one of a sketch"):
        PaneMessage.from_bytes(SKETCH_BYTES).pane(None)
    with pytest.raises(FormatError, match="expected a pane of a sketch, got one of events"):
        PaneMessage.from_bytes(EVENT_BYTES).pane(baseline().layout)


@pytest.mark.parametrize(
    "content",
    [
        None, [], ["m", [], [["a", 1, None, 0, []]]], ["m", [["x"]], [["a", 1, None, 0, []]]],
        ["m", [["x"]], [["a", "1", None, 0, [1]]]], ["m", [["x"]], [["a", 1, None, -2, [1]]]], {"m": 1},
    ],
)  # fmt: skip
def test_events_that_do_not_add_up_are_refused(content: Any) -> None:
    text = json.dumps(content).encode()
    with pytest.raises(FormatError):
        unpack_events(sealed(b"E", text))


def test_a_frame_of_another_kind_or_type_is_refused() -> None:
    with pytest.raises(FormatError, match="expected a frame of kind H"):
        unframe(b"H", SKETCH_BYTES, msgspec.msgpack.Decoder(PaneMessage))
    with pytest.raises(FormatError, match="unexpected content"):
        unframe(b"P", SKETCH_BYTES, msgspec.msgpack.Decoder(int))


TICKS = st.builds(
    Tick,
    topic=st.text(max_size=20),
    partition=st.integers(0, 7),
    of=st.integers(8, 9),
    read_to=st.integers(0, 1 << 62),
    time=st.integers(0, 1 << 42),
    read=st.integers(0, 1 << 62),
    rejected=st.dictionaries(st.text(max_size=20), st.integers(0, 1 << 62), max_size=5),
    unwatched=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=3).map(tuple),
    log=st.text(max_size=9),
    idle=st.booleans(),
)


@given(TICKS)
def test_a_tick_comes_back(tick: Tick) -> None:
    assert read_message(pack_tick(tick)) == tick


def test_equal_ticks_are_equal_bytes_in_whatever_order_causes_were_met() -> None:
    first, second = (Tick("events", 0, 1, 5, 7, rejected=each) for each in ({"ts": 1, "id": 2}, {"id": 2, "ts": 1}))
    assert pack_tick(first) == pack_tick(second)


def test_only_the_tick_of_an_idle_partition_needs_a_reader_of_version_2() -> None:
    assert [pack_tick(Tick("events", 0, 1, 5, 7, idle=idle))[1] for idle in (False, True)] == [1, 2]


def test_an_older_judge_makes_one_dead_letter_of_a_tick() -> None:
    with pytest.raises(FormatError, match="expected a frame of kind P, got b'T"):
        PaneMessage.from_bytes(pack_tick(Tick("events", 0, 1, 5, 7)))


@pytest.mark.parametrize(
    "tick",
    [
        Tick("events", 8, 8, 5, 7),
        Tick("events", -1, 8, 5, 7),
        Tick("events", 0, 8, -5, 7),
        Tick("events", 0, 8, 5, -7),
        Tick("events", 0, 8, 5, 1 << 60),
        Tick("events", 0, 8, 5, 7, rejected={"ts": -1}),
    ],
)
def test_a_tick_that_cannot_be_is_refused(tick: Tick) -> None:
    with pytest.raises(FormatError, match="a tick of partition"):
        read_message(pack_tick(tick))
