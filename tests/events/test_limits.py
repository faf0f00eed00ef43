"""Messages at and beyond the limits: what is refused depends on the message alone, whichever reader meets it."""

from __future__ import annotations

import itertools
import json
import logging
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.events.columns import Field
from driftline.stream.events.decode import Decoded, Decoder
from driftline.stream.events.event import Rejection
from driftline.stream.events.frames import parse_schema
from driftline.stream.events.limits import MessageLimits, limit_of
from driftline.stream.events.mapping import NATIVE, EventMapping
from driftline.stream.events.parse import EventError, EventReader

FIELDS = {"m": [Field("score", True)]}
SMALL = MessageLimits(message_bytes=400, depth=5, signals=6)
TOO_DEEP = "too deep: more than 64 objects or arrays in each other; raise limits.depth"


def event(**parts: Any) -> bytes:
    return json.dumps({"id": "a", "ts": 1767225600000, "model": "m", "score": 1.5} | parts).encode()


def nested(levels: int, key: str = "") -> Any:
    """`levels` objects in each other, or arrays without a key."""
    value: Any = 1
    for _ in range(levels):
        value = {key: value} if key else [value]
    return value


def refusal(data: bytes, limits: MessageLimits = MessageLimits(), mapping: EventMapping = NATIVE) -> str | None:  # noqa: B008 # frozen
    """Why both readers refuse a message; None if both read it."""
    try:
        EventReader(mapping, limits=limits).read(data)
        exact = None
    except EventError as error:
        exact = str(error)
    _, _, rejections, _ = Decoder(FIELDS, mapping, limits=limits).decode([data])
    assert [each.reason for each in rejections] == ([] if exact is None else [exact])
    return exact


@pytest.mark.parametrize("key", ["", "k"])
@pytest.mark.parametrize("part", ["features", "unused"])
def test_the_depth_counts_in_parts_that_nobody_uses_too(key: str, part: str) -> None:
    inside = nested(62, key)
    assert refusal(event(**{part: {"a": inside}})) is None
    assert refusal(event(**{part: {"a": [inside]}})) == TOO_DEEP


def test_brackets_in_texts_are_no_depth() -> None:
    assert refusal(event(features={"a": "[{" * 500 + '"\\'})) is None


@pytest.mark.parametrize("frames", [0, 300, 600])
@pytest.mark.parametrize("levels", [64, 200, 700, 900, 1100])
@pytest.mark.parametrize("end", ["]", ""])
def test_the_depth_of_the_call_stack_changes_no_reason(frames: int, levels: int, end: str) -> None:
    data = b'{"id": ' + b"[" * levels + (end * levels).encode() + b"}" * len(end)

    def below(depth: int, call: Callable[[], str | None]) -> str | None:
        return below(depth - 1, call) if depth else call()

    assert below(frames, lambda: refusal(data)) == TOO_DEEP


def test_json_in_a_string_has_a_depth_of_its_own() -> None:
    rows = EventMapping(rows=True)
    assert refusal(event(features=json.dumps([{"a": nested(62)}]), score=None), mapping=rows) is None
    assert refusal(event(features=json.dumps([{"a": nested(63)}]), score=None), mapping=rows) == TOO_DEEP


def test_avro_has_a_depth() -> None:
    item: Any = "int"
    for _ in range(5):
        item = {"type": "array", "items": item}
    fields = [{"name": name, "type": kind} for name, kind in (("id", "int"), ("ts", "long"), ("model", "string"))]
    record = {"type": "record", "name": "R", "fields": [*fields, {"name": "score", "type": item}]}
    schemas = {7: parse_schema(json.dumps(record), "AVRO")}
    data = b"\0\0\0\0\x07" + b"\x02" + b"\xff" * 5 + b"\x0f" + b"\x02m" + b"\x02" * 5 + b"\x02" + b"\0" * 5
    deep = EventReader(NATIVE, schemas, MessageLimits(depth=5))
    with pytest.raises(EventError, match="too deep: more than 5"):
        deep.document(data)
    assert EventReader(NATIVE, schemas, MessageLimits(depth=6)).document(data)["score"] == [[[[[1]]]]]


def test_an_event_holds_as_many_names_as_its_limit_and_no_more() -> None:
    names = {f"f{n}": n for n in range(1998)}
    assert refusal(event(features=names)) is None  # with `features` and `score` themselves
    assert refusal(event(features=names | {"x": 1})) == (
        "too many signals: more than 2000 names in one event; raise limits.signals"
    )
    assert refusal(event(unused=names | {"x": 1, "y": 2})) is None


def test_a_row_with_too_many_names_is_a_fault_of_the_row() -> None:
    wide, narrow = {f"f{n}": n for n in range(9)}, {"f": 1}
    reader = EventReader(EventMapping(rows=True), limits=SMALL)
    read = reader.read(event(features=[wide, narrow], score=None))
    assert [each.id for each in read.events] == ["a#1"]
    assert [(fault.row, limit_of(fault.reason)) for fault in read.faults] == [(0, "signals")]
    with pytest.raises(EventError) as none:
        reader.read(event(features=[wide], score=None))
    assert limit_of(str(none.value)) == "signals"


def test_a_message_that_quotes_a_limit_counts_for_none() -> None:
    assert limit_of(refusal(b'{"id": "a", "ts": "; raise limits.depth"}') or "") is None
    assert limit_of("too large: 9 bytes, and 8 is the most; raise limits.message_bytes") == "message_bytes"


trees = st.recursive(
    st.one_of(st.integers(0, 9), st.sampled_from(["", "[{[{:", "a" * 90])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["", "a", "b:", "c"]), inner),
    max_leaves=12,
)
messages = st.builds(
    lambda features, unused, spaces: event(features=features, unused=unused) + b" " * spaces,
    st.dictionaries(st.sampled_from("abcdefg"), trees, max_size=7),
    trees,
    st.sampled_from([0, 0, 0, 300]),
) | st.sampled_from([event(), b"", b"{" * 9, b"[" * 9 + b"?"])


def accepted(decoded: Decoded, start: int) -> list[int]:
    known = [int(position) for columns in decoded.known.values() for position in columns.position]
    return sorted(start + position for position in known)


@given(st.lists(messages, max_size=6), st.integers(0, 6))
def test_neither_the_reader_nor_the_chunk_decides_what_is_refused(batch: Sequence[bytes], cut: int) -> None:
    reader, decoder, expected = EventReader(limits=SMALL), Decoder(FIELDS, limits=SMALL), list[Rejection]()
    for position, data in enumerate(batch):
        try:
            reader.read(data)
        except EventError as error:
            expected.append(Rejection(position, str(error)))
    whole = decoder.decode(batch)
    assert whole.rejections == expected
    parts = [decoder.decode(batch[:cut]), decoder.decode(batch[cut:])]
    shift = len(batch[:cut])
    assert parts[0].rejections + [each._replace(position=each.position + shift) for each in parts[1].rejections] == (
        expected
    )
    assert accepted(parts[0], 0) + accepted(parts[1], shift) == accepted(whole, 0)


class Broken:
    """A schema with a fault that nobody foresaw."""

    def read(self, frame: bytes) -> bytes:
        return frame[1_000_000]  # type: ignore[return-value]


def test_a_fault_of_the_reader_is_a_dead_letter_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    decoder = Decoder(FIELDS, schemas={7: Broken()})
    frame = b"\0\0\0\0\x07payload"
    with caplog.at_level(logging.ERROR):
        _, _, rejections, _ = decoder.decode([event(), frame, event(), frame])
    assert [each.position for each in rejections] == [1, 3]
    assert all("the reader failed: IndexError at test_limits.py" in each.reason for each in rejections)
    assert len(caplog.records) == 1
    assert "Traceback" in caplog.text


def test_a_fault_of_the_fast_reader_leaves_the_batch_to_the_exact_one(caplog: pytest.LogCaptureFixture) -> None:
    class Batch(list[bytes]):
        """Messages that cannot be sliced, as no caller would hand them over."""

        def __getitem__(self, key: Any) -> Any:
            if isinstance(key, slice):
                raise ArithmeticError
            return super().__getitem__(key)

    known, _, rejections, _ = Decoder(FIELDS).decode(Batch([event(), b"?", event(score=2)]))
    assert known["m"].numeric.T.tolist() == [[1.5, 2.0]]
    assert [each.position for each in rejections] == [1]
    assert "the reader failed" in caplog.text


class Odd:
    """A value that nobody foresaw: it cannot even be compared."""

    def __ne__(self, other: object) -> bool:
        raise ArithmeticError


class Document:
    """A schema of frames that all hold the same event."""

    def __init__(self, prediction: Any) -> None:
        self._prediction = prediction

    def read(self, _: bytes) -> dict[str, Any]:
        return {"id": "a", "ts": 1767225600000, "model": "m", "prediction": self._prediction}


@pytest.mark.parametrize("cut", range(6))
def test_a_value_that_ends_up_in_no_column_is_a_dead_letter_and_costs_no_other_message(
    cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    schemas = {7: Document(Odd()), 8: Document("b"), 9: Document(["c"])}
    decoder = Decoder({"m": [Field("prediction", False)]}, schemas=schemas)
    odd, good, defective = (b"\0\0\0\0" + bytes([number]) for number in schemas)
    batch = [event(prediction="a"), odd, good, defective, odd, b"?"]
    first, second = decoder.decode(batch[:cut]), decoder.decode(batch[cut:])
    assert accepted(first, 0) + accepted(second, cut) == [0, 2, 3]
    assert sum((each.known["m"].texts[0] for each in (first, second) if each.known), list[str | None]()) == [
        "a",
        "b",
        None,
    ]
    refused = [*first.rejections, *(each._replace(position=each.position + cut) for each in second.rejections)]
    assert [each.position for each in refused] == [1, 4, 5]
    assert all("the reader failed: ArithmeticError at test_limits.py" in each.reason for each in refused[:2])
    assert len(caplog.records) == 1


def test_the_head_of_a_message_with_a_fault_of_the_reader_is_refused_too() -> None:
    with pytest.raises(EventError, match="the reader failed: IndexError"):
        EventReader(schemas={7: Broken()}).head(b"\0\0\0\0\x07payload")


@pytest.mark.parametrize("content", ['{"a":0},', "[],", '"a",', "0,"])
def test_the_largest_message_takes_some_eighty_megabytes_and_leaves_nothing(content: str) -> None:
    items = "".join(itertools.repeat(content, ((1 << 20) - 100) // len(content))).rstrip(",")
    data = event(unused=[])[:-3] + f"[{items}]}}".encode()
    reader = EventReader()
    tracemalloc.start()
    try:
        for _ in range(3):
            assert len(reader.read(data).events) == 1
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80 << 20
    assert left < 1 << 20
