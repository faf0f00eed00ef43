"""Frames: without anything new they have the bytes of the first version; with it, readers of that one refuse them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.codec import frames
from driftline.stream.codec.frames import FormatError, Stored, frame, unframe
from driftline.stream.codec.panes import PackedPane, PaneMessage
from driftline.stream.codec.state import _Head
from driftline.stream.judge.incidents import Incident
from tests.harness.recorded_site import read_lines, unpacked


class InnerOne(Stored, frozen=True):
    """As the first version had it."""

    n: int


class OuterOne(Stored, frozen=True):
    """As the first version had it."""

    name: str
    inner: tuple[InnerOne, ...]
    by: dict[int, InnerOne]
    end: int = 0


class Inner(Stored, frozen=True):
    """The same with what the second version added."""

    since: ClassVar[Mapping[str, int]] = {"late": 2, "text": 2}
    n: int
    late: int = 0
    text: str = ""


class Outer(Stored, frozen=True):
    """The same with what the second version added."""

    since: ClassVar[Mapping[str, int]] = {"topics": 2}
    name: str
    inner: tuple[Inner, ...]
    by: dict[int, Inner]
    end: int = 0
    topics: tuple[str, ...] = ()


DECODERS = {each: msgspec.msgpack.Decoder(each) for each in (InnerOne, OuterOne, Inner, Outer)}
INNERS = st.builds(Inner, st.integers(0, 9), st.integers(0, 1), st.sampled_from(["", "x"]))
OUTERS = st.builds(
    Outer,
    st.text(max_size=3),
    st.lists(INNERS, max_size=3).map(tuple),
    st.dictionaries(st.integers(0, 3), INNERS, max_size=2),
    st.integers(0, 1),
    st.lists(st.text(max_size=2), max_size=1).map(tuple),
)


def says_something_new(value: Outer) -> bool:
    return bool(value.topics) or any(each.late or each.text for each in (*value.inner, *value.by.values()))


def as_first_version(value: Outer) -> OuterOne:
    inner = tuple(InnerOne(each.n) for each in value.inner)
    return OuterOne(value.name, inner, {key: InnerOne(each.n) for key, each in value.by.items()}, value.end)


@given(OUTERS)
def test_a_frame_has_the_least_version_whose_readers_understand_it(value: Outer) -> None:
    data = frame(b"H", value)
    assert unframe(b"H", data, DECODERS[Outer]) == value
    if says_something_new(value):
        assert data[1] == 2
        with pytest.raises(FormatError, match="unexpected content"):
            unframe(b"H", data, DECODERS[OuterOne])
    else:
        assert data[1] == 1
        assert data == frame(b"H", as_first_version(value))
        assert data[6:] == msgspec.msgpack.encode(as_first_version(value))


@given(OUTERS)
def test_what_the_first_version_wrote_is_read_with_defaults(value: Outer) -> None:
    old = as_first_version(value)
    back = unframe(b"H", frame(b"H", old), DECODERS[Outer])
    assert not says_something_new(back)
    assert as_first_version(back) == old


def test_a_field_between_new_ones_that_is_at_its_default_is_written() -> None:
    value = Inner(1, 0, "x")
    assert msgspec.msgpack.decode(frame(b"H", value)[6:]) == [1, 0, "x"]
    assert unframe(b"H", frame(b"H", value), DECODERS[Inner]) == value


@pytest.mark.parametrize("value", [Inner(1), Inner(1, 5)])
def test_a_damaged_version_does_not_go_unnoticed(value: Inner) -> None:
    data = frame(b"H", value)
    for version in {0, 1, 2, 3, 255} - {data[1]}:
        with pytest.raises(FormatError):
            unframe(b"H", data[:1] + bytes([version]) + data[2:], DECODERS[Inner])


def recorded_frames() -> Iterator[tuple[bytes, bytes, Any]]:
    """Kind, bytes and type of each msgpack frame on yesterday's panes topic and in yesterday's Redis."""
    kinds = {"head": (b"H", _Head), "bucket": (b"B", PackedPane), "incidents": (b"I", tuple[Incident, ...])}
    for line in read_lines("worker_before.jsonl.gz"):
        value = (unpacked(line.get("value")) or b"") if line.get("topic") == "panes" else b""
        if value.startswith(b"P"):  # one record is none of ours, to become a dead letter
            yield b"P", value, PaneMessage
        if ":model:" in line.get("redis", ""):
            for name, part in line["content"]:
                if found := kinds.get(name.partition(":")[0]):
                    yield found[0], unpacked(part) or b"", found[1]


def test_what_was_recorded_is_written_again_to_the_byte() -> None:
    seen = set()
    for kind, data, expected in recorded_frames():
        assert frame(kind, unframe(kind, data, msgspec.msgpack.Decoder(expected))) == data
        seen.add(kind)
    assert seen == {b"P", b"H", b"B", b"I"}


def test_a_kind_of_frame_is_read_as_one_type_alone() -> None:
    types = defaultdict[str, set[type]](set)
    for path in sorted(Path(frames.__file__).parent.glob("*.py")):
        module = import_module(f"driftline.stream.codec.{path.stem}")
        for kind, decoder in re.findall(r'unframe\(b"(.)", .*?, (_[A-Z_]+)\)', path.read_text()):
            types[kind].add(getattr(module, decoder).type)
    assert len(types) > 20
    assert {kind: each for kind, each in types.items() if len(each) > 1} == {}
