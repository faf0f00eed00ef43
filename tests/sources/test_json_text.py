"""JSON in files: lines, pretty-printed objects, arrays, and what is broken among them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.sources.files import read_messages
from driftline.stream.sources.json_text import split_objects
from tests.sources.reading import events, messages, write

OBJECTS: list[Any] = [
    {"id": 1, "features": {"a": [{"b": "}"}, "{"], "quote": 'a "b" \\'}},
    {"id": 2, "features": {}},
    {"id": 3, "empty": {}},
]


@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_arrays_are_read_compact_and_pretty(tmp_path: Path, indent: Any, encoding: str, end: str) -> None:
    text = json.dumps(OBJECTS, indent=indent).replace("\n", end)
    assert events(write(tmp_path / "a.json", f"{end} {text}".encode(encoding))) == OBJECTS


@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
@pytest.mark.parametrize("between", ["\n", "\n\n", "", " ", ",\n"])
@pytest.mark.parametrize("name", ["a.json", "a.txt", "a"])
def test_objects_are_read_over_several_lines_and_without_a_line_end(
    tmp_path: Path, indent: Any, between: str, name: str
) -> None:
    text = between.join(json.dumps(each, indent=indent) for each in OBJECTS)
    assert events(write(tmp_path / name, text)) == OBJECTS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@given(
    objects=st.lists(st.dictionaries(st.text(), JSON), min_size=1),
    indent=st.sampled_from([None, 1, 4]),
    size=st.integers(1, 50),
    ascii_only=st.booleans(),
)
def test_any_array_is_split_at_its_objects_wherever_its_blocks_end(
    objects: list[Any], indent: int | None, size: int, ascii_only: bool
) -> None:
    text = json.dumps(objects, indent=indent, ensure_ascii=ascii_only).encode()
    blocks = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(map(json.loads, split_objects(blocks))) == objects


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('{"a": 1}\n{"b": 2\n{"c": 3}', ['{"a": 1}', '{"b": 2', '{"c": 3}']),
        ('[\n {"a": {\n },\n {"b": 2}\n]', ['{"a": {\n }', '{"b": 2}']),
        ('[\n {"a": "cut,\n {"b": 2}\n]', ['{"a": "cut', '{"b": 2}']),
        ('[{"a": 1}}, 7, {"b": 2}]', ['{"a": 1}', "}, 7", '{"b": 2}']),
        ('[1, "x"]', ['1, "x"']),
        ("[]", []),
        ('[{"a": 1}, {"b"', ['{"a": 1}', '{"b"']),
    ],
)
def test_what_is_broken_is_passed_on_and_what_follows_is_read(text: str, pieces: list[str]) -> None:
    assert [piece.decode() for piece in split_objects([text.encode()])] == pieces


def test_a_first_line_that_is_cut_off_does_not_hide_the_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": 1, "feat\n{"id": 2}\n{"id": 3}\n')
    assert messages(path) == [b'{"id": 1, "feat', b'{"id": 2}', b'{"id": 3}']
    path = write(tmp_path / "rotated.jsonl", '"x": 1}}\n{"id": 2}\n')
    assert messages(path) == [b'"x": 1}}', b'{"id": 2}']


def test_a_large_array_is_read_with_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.write(b"[")
        file.writelines(b'{"id": %d, "features": {"x": "%s"}},' % (i, b"y" * 1000) for i in range(20_000))
        file.write(b'{"id": -1}]')
    tracemalloc.start()
    try:
        assert sum(len(batch) for batch in read_messages([str(path)], chunk=100)) == 20_001
        assert tracemalloc.get_traced_memory()[1] < 6 * 2**20  # of 21 MB
    finally:
        tracemalloc.stop()


def test_titles_in_brackets_are_a_table(tmp_path: Path) -> None:
    assert events(write(tmp_path / "a.csv", "[id],[x]\n1,2\n"))[0]["features"] == {"[id]": 1, "[x]": 2}
