"""CSV as many tools write it: delimiters, line ends, encodings, decimal marks, and what is refused or noted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.config.files import FileOptions
from driftline.stream.events.mapping import EventMapping
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.sources.csv_rows import find_delimiter
from driftline.stream.sources.inputs import InputError
from tests.sources.reading import events, messages, noted, write

ROWS = [["id", "x", "note"], ["a", "1.5", "one"], ["b", "2.5", 'say "two"'], ["c", "3.5", "line¶break"]]
EVENTS = [
    {"id": "a", "features": {"x": 1.5, "note": "one"}},
    {"id": "b", "features": {"x": 2.5, "note": 'say "two"'}},
    {"id": "c", "features": {"x": 3.5, "note": "line¶break"}},
]


def table(rows: list[list[str]], delimiter: str = ",", end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
    """The rows as csv.writer writes them, with a line end for each ¶; before Python 3.13, it quotes only its own."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(
        [cell.replace("¶", end) for cell in row] for row in rows
    )
    return text.getvalue()


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a"])
def test_a_table_is_read_whatever_its_delimiter_line_ends_encoding_and_name(
    tmp_path: Path, delimiter: str, end: str, encoding: str, name: str
) -> None:
    read = events(write(tmp_path / name, table(ROWS, delimiter, end).encode(encoding)))
    assert json.loads(json.dumps(read).replace(json.dumps(end)[1:-1], "¶")) == EVENTS


# Text that means itself: no number, no boolean, no decimal comma, nothing missing.
WORDS = st.text(st.sampled_from("abc ,;\t|\"'¶é\u2028"), min_size=1).map(lambda text: f"w{text}")


@given(
    rows=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1),
    delimiter=st.sampled_from(",;\t|:^~"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_rows_of_any_dialect_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    end: str,
    quoting: int,
    encoding: str,
) -> None:
    text = table([["x", "y", "z"], *map(list, rows)], delimiter, end, quoting)
    path = write(tmp_path_factory.mktemp("any") / "a.csv", text.encode(encoding))
    read = events(path, options=FileOptions(delimiter=delimiter))
    assert [tuple(event["features"].values()) for event in read] == [
        tuple(cell.replace("¶", end) for cell in row) for row in rows
    ]


@given(
    rows=st.lists(st.tuples(st.integers(), st.sampled_from(["red", "blue"])), min_size=1),
    delimiter=st.sampled_from(",;\t|"),
)
def test_the_delimiter_of_plain_rows_is_found(rows: list[tuple[int, str]], delimiter: str) -> None:
    assert find_delimiter(table([["x", "y"], *([str(x), y] for x, y in rows)], delimiter).splitlines()) == delimiter


@pytest.mark.parametrize(
    ("lines", "delimiter"),
    [
        (["x", "1", "2"], ","),
        (["id;price", "1;2,5", "2;3,5"], ";"),
        (["id,genres", "1,a|b", "2,c|d"], ","),
        (["a,b,c", "1,2,3", "1;2", "4,5,6"], ","),
        (['"a;b",c', '"1;2",3'], ","),
        ([], ","),
    ],
)
def test_the_delimiter_is_that_with_which_rows_fit_the_header(lines: list[str], delimiter: str) -> None:
    assert find_delimiter(lines) == delimiter


def test_other_delimiters_and_encodings_are_read_if_they_are_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id:x\n1:é\n".encode("latin-1"))
    assert events(path, options=FileOptions(delimiter=":", encoding="latin-1")) == [{"id": "1", "features": {"x": "é"}}]


def test_a_decimal_comma_is_read_if_it_is_given_and_groups_are_never_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "w;x;y;z\n1,5;-2;1.234,5;1.234\n")
    options = FileOptions(decimal=",")
    assert events(path, options=options)[0]["features"] == {"w": 1.5, "x": -2, "y": "1.234,5", "z": "1.234"}
    assert noted(path, options=options).keys() == {"y", "z"}


@pytest.mark.parametrize(
    "text", ["id;x\n1;2,5\n", "id\tx\n1\t2,5\n", "id|x\n1|0,125\n", "id;x\n1;2,604\n", "id;x\n1;,5\n"]
)
def test_a_file_that_seems_to_use_decimal_commas_is_refused_until_it_is_said(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=r"a.csv: line 2: column 'x': .* say in the configuration .* \{decimal: ','\}"):
        messages(path)
    assert isinstance(events(path, options=FileOptions(decimal=","))[0]["features"]["x"], float)
    assert isinstance(events(path, options=FileOptions(decimal="."))[0]["features"]["x"], str)


def test_cells_that_look_like_numbers_but_are_text_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'x,y,z,when,ip,code\n"2,604",26.8 %,$12,2026-01-01,10.0.0.1,A1\n"1,0",,$3,,,B2\n')
    reason = "cells such as {!r} are read as text, though they look like numbers"
    assert noted(path) == {
        "x": f"2 {reason.format('2,604')}",
        "y": f"1 {reason.format('26.8 %')}",
        "z": f"2 {reason.format('$12')}",
    }


def test_two_stray_quotes_do_not_make_one_cell_of_the_rows_between_them(tmp_path: Path) -> None:
    lines = ["id,x,note"] + [f"{n},{n / 8},a" for n in range(60)]
    lines[20], lines[45] = '19,1,"a', '44,1,"'
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"a.csv: line 21: rows of the table lie in one cell \(in a quote"):
        events(tmp_path / "a.csv")


def test_a_cell_of_many_lines_is_a_cell(tmp_path: Path) -> None:
    poem = "\n".join(f"line {n}, and more" for n in range(30))
    (tmp_path / "a.csv").write_text(f'id,x,note,more\n1,2,"{poem}",3\n')
    (event,) = events(tmp_path / "a.csv")
    assert event["features"]["note"] == poem


@pytest.mark.parametrize("rows", [1, 20_000])
def test_a_quote_that_does_not_close_is_named_by_the_line_where_it_opens(tmp_path: Path, rows: int) -> None:
    path = write(
        tmp_path / "a.csv", 'id,ts,model,x\n\n1,1767225600,m,a\n2,1767225600,m,"b\n' + "3,1767225600,m,c\n" * rows
    )
    with pytest.raises(InputError, match=r"a.csv: line 4: .* \(in a quote that opens here and goes on to line \d+\)"):
        messages(path)


def test_a_ragged_row_is_rejected_with_its_line_and_the_others_count(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,ts,model,x\n1,1767225600,m,"two\nlines"\n1,2\n2,1767225600,m,3\n')
    first, ragged, last = messages(path)
    reader = EventReader()
    assert [event.id for good in (first, last) for event in reader.read(good, None).events] == ["1", "2"]
    with pytest.raises(EventError, match="line 4: 2 cells, but the header has 4"):
        reader.read(ragged, None)


def test_row_numbers_of_pandas_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ",id,Unnamed: 0,x\n0,a,0,1\n1,b,1,2\n")
    assert [event["features"] for event in events(path)] == [{"x": 1}, {"x": 2}]
    assert noted(path).keys() == {"column 1", "column 3, 'Unnamed: 0'"}


def test_a_column_that_is_empty_in_every_row_is_noted(tmp_path: Path) -> None:
    assert noted(write(tmp_path / "a.csv", "x,y,z\n1,,\n2,3,\n")) == {"z": "is empty in every row"}


def test_a_note_of_several_files_is_given_once(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, ",x\n0,1\n") for name in ("a.csv", "b.csv")]
    notes: list[object] = []
    messages(*paths, on_note=notes.append)
    assert len(notes) == 1


def test_the_line_of_a_byte_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    rows = [b"x,y"] + [b"1,%d" % row for row in range(5000)]
    rows[3210] = b"1,\xe9"
    with pytest.raises(InputError, match=r"line 3211: not UTF-8; .* `files: \{encoding: latin-1\}`"):
        messages(write(tmp_path / "a.csv", b"\r\n".join(rows)))


# Columns and the mapping


def test_columns_are_found_at_the_paths_of_the_mapping(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "request.id,timestamp,inputs.a,b\n007,1767225600,1,2\n")
    mapping = EventMapping(id="request.id", ts="timestamp", features="inputs", model="about.model")
    assert events(path, mapping=mapping, model="m") == [
        {"request": {"id": "007"}, "about": {"model": "m"}, "timestamp": 1767225600, "inputs": {"a": 1, "b": 2}}
    ]


def test_features_that_are_the_rest_of_a_row_stay_beside_its_other_parts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,timestamp,geo.lat,x\n007,1767225600,1.5,2\n")
    mapping = EventMapping(id="user", ts="timestamp", features="rest", model="=m")
    (message,) = messages(path, mapping=mapping)
    (event,) = EventReader(mapping).read(message, None).events
    assert (event.id, event.ts, event.model) == ("007", 1767225600000, "m")
    assert {name: value for name, value in event.signals.items() if value != {}} == {
        "features.geo.lat": 1.5,
        "features.x": 2,
    }


def test_a_name_with_a_dot_is_a_field_unless_a_column_has_the_name_in_front_of_it(tmp_path: Path) -> None:
    (event,) = events(write(tmp_path / "a.csv", "geo.lat,a,a.b,.5,v1.\n1,2,3,4,5\n"))
    assert event["features"] == {"geo": {"lat": 1}, "a": 2, "a.b": 3, ".5": 4, "v1.": 5}


def test_a_part_inside_a_column_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "request,request.id\n1,2\n")
    with pytest.raises(InputError, match=r"column 'request\.id' lies inside column 'request'; rename one of them"):
        messages(path, mapping=EventMapping(id="request.id", features="rest"))


@pytest.mark.parametrize("cell", ['"{""y"": 1, ""z"": NaN}"'])
def test_a_column_of_all_features_holds_json(tmp_path: Path, cell: str) -> None:
    (event,) = messages(write(tmp_path / "a.csv", f"features,x\n{cell},2\n"))
    assert b'"features":{"x":2,"y":1,"z":NaN}' in event


def test_a_column_of_all_features_without_json_is_rejected_by_the_decoder(tmp_path: Path) -> None:
    (message,) = messages(write(tmp_path / "a.csv", "ts,model,features\n1767225600,m,nonsense\n"))
    with pytest.raises(EventError, match="features: expected object, got 'nonsense'"):
        EventReader().read(message, None)


def test_a_time_with_a_format_stays_text(tmp_path: Path) -> None:
    (event,) = events(write(tmp_path / "a.csv", "ts,x\n01012026,1\n"), mapping=EventMapping(format="%d%m%Y"))
    assert event["ts"] == "01012026"


def test_features_may_lie_where_tags_lie_by_default(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,ts,model,tags.age,x\n1,2026-01-01,m,7,2\n")
    (event,) = events(path, mapping=EventMapping(features="tags"))
    assert event["tags"] == {"age": 7, "x": 2}
