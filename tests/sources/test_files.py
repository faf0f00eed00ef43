"""Files in, JSON bytes out: how the cells of a table are read, and where an error places a fault."""

from __future__ import annotations

import gzip
import json
import math
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.config.files import FileOptions
from driftline.stream.sources.files import describe_format, read_messages, total_bytes
from driftline.stream.sources.inputs import InputError

LINES = [b'{"id":"%d","features":{"x":%d}}' % (i, i) for i in range(25)]


def messages(*paths: Path, **options: Any) -> list[bytes]:
    return [event for events in read_messages([str(path) for path in paths], **options) for event in events]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def csv_events(tmp_path: Path, text: str | bytes, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(event) for event in messages(write(tmp_path / "events.csv", text), **options)]


def parquet_events(tmp_path: Path, table: pa.Table, **options: Any) -> list[dict[str, Any]]:
    path = tmp_path / "events.parquet"
    pq.write_table(table, path)
    return [json.loads(event) for event in messages(path, **options)]


# Lines of JSON


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n  \n"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_are_passed_on_unchanged_except_blank_ones(tmp_path: Path, end: bytes, pack: Any) -> None:
    assert messages(write(tmp_path / "any.name", pack(end.join(LINES)))) == LINES


@given(st.lists(st.binary().filter(lambda line: b"\n" not in line and line.strip() == line != b"")))
def test_no_line_of_bytes_is_lost_or_refused(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    lines = [b'{"first":"line"}', *lines]
    assert messages(write(tmp_path_factory.mktemp("any") / "events.jsonl", b"\n".join(lines))) == lines


def test_a_byte_order_mark_is_not_part_of_the_first_event(tmp_path: Path) -> None:
    assert messages(write(tmp_path / "windows.jsonl", b"\xef\xbb\xbf" + LINES[0])) == LINES[:1]


def test_gzip_members_written_one_after_another_are_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", b"".join(gzip.compress(line + b"\n") for line in LINES))
    assert messages(path) == LINES


def test_lists_have_the_requested_size_and_do_not_span_files(tmp_path: Path) -> None:
    paths = [str(write(tmp_path / name, b"\n".join(LINES))) for name in ("a.jsonl", "b.jsonl")]
    assert [len(events) for events in read_messages(paths, chunk=10)] == [10, 10, 5, 10, 10, 5]


@pytest.mark.parametrize("chunk", [5, 7, 1000])
def test_progress_rises_to_the_total(tmp_path: Path, chunk: int) -> None:
    paths = [write(tmp_path / "a.jsonl", b"\n".join(LINES)), write(tmp_path / "b.gz", gzip.compress(b"\n".join(LINES)))]
    pq.write_table(pa.table({"x": range(25)}), tmp_path / "c.parquet")
    paths.append(tmp_path / "c.parquet")
    seen: list[int] = []
    messages(*paths, chunk=chunk, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == total_bytes([str(path) for path in paths])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_and_a_named_pipe_are_read(tmp_path: Path, pack: Any) -> None:
    script = (
        "from driftline.stream.sources.files import *; "
        "print(*[e.decode() for l in read_messages(['-', *ARGS]) for e in l], sep='\\n')"
    )
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = [sys.executable, "-c", script.replace("ARGS", repr([str(fifo)]))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(pack(b"\n".join(LINES)))
        process.stdin.close()
        fifo.write_bytes(pack(b"\n".join(LINES)))
        assert process.stdout.read().splitlines() == LINES + LINES
    assert total_bytes(["-"]) is None


# CSV


def test_csv_columns_are_placed_in_the_event(tmp_path: Path) -> None:
    text = (
        "id,ts,model,version,prediction,score,label,weight,tags.country,amount,features.age\n"
        "007,2026-01-01T00:00:00Z,fraud,2,1,0.25,UP,2,49,12.5,30\n"
    )
    assert csv_events(tmp_path, text) == [
        {
            "id": "007",
            "ts": "2026-01-01T00:00:00Z",
            "model": "fraud",
            "version": "2",
            "prediction": 1,
            "score": 0.25,
            "label": "UP",
            "weight": 2,
            "tags": {"country": "49"},
            "features": {"amount": 12.5, "age": 30},
        }
    ]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("12.50", 12.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("9" * 30, 1e30),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("1e999", math.inf),
        ("True", True),
        ("false", False),
        ("N/A", "N/A"),
        ("18_24", "18_24"),  # an age bracket; Python's float() reads 1824
        ("12,5", "12,5"),
        ("0x10", "0x10"),
        ('say ""hi""', 'say "hi"'),
        ("two\nlines", "two\nlines"),
    ],
)
def test_a_csv_cell_becomes_the_value_it_looks_like(tmp_path: Path, cell: str, value: object) -> None:
    (event,) = csv_events(tmp_path, f'x,y\n"{cell}",1\n')
    assert event["features"]["x"] == value
    assert type(event["features"]["x"]) is type(value)


def test_nan_stays_nan_and_an_empty_cell_is_missing(tmp_path: Path) -> None:
    (event,) = csv_events(tmp_path, "id,score,x,y,tags.country\na,,nan,,\n")
    assert math.isnan(event["features"].pop("x"))
    assert event == {"id": "a", "features": {}}


def test_rows_without_id_and_model_get_their_number_and_the_default_model(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "x\n1\n\n2\n")
    two = write(tmp_path / "two.csv.gz", gzip.compress(b"model,x\nown,3\n,4\n"))
    events = [json.loads(event) for event in messages(one, two, model="given")]
    assert [(event["id"], event["model"]) for event in events] == [
        ("1", "given"),
        ("2", "given"),
        ("3", "own"),
        ("4", "given"),
    ]
    assert "model" not in json.loads(messages(one)[0])


# Parquet


def test_parquet_gives_the_event_that_csv_gives(tmp_path: Path) -> None:
    text = "id,model,score,prediction,tags.country,amount,kind\n1,fraud,0.5,UP,de,12.5,a\n2,fraud,0.75,DOWN,fr,inf,b\n"
    table = pa.table(
        {
            "id": [1, 2],
            "model": ["fraud", "fraud"],
            "score": [0.5, 0.75],
            "prediction": ["UP", "DOWN"],
            "tags": [{"country": "de"}, {"country": "fr"}],
            "amount": [12.5, math.inf],
            "features": [{"kind": "a"}, {"kind": "b"}],
        }
    )
    assert parquet_events(tmp_path, table) == csv_events(tmp_path, text)


def test_parquet_keeps_nan_and_null_of_features_apart(tmp_path: Path) -> None:
    nan, null = parquet_events(tmp_path, pa.table({"x": [math.nan, None], "score": [math.nan, None]}))
    assert math.isnan(nan["features"]["x"])
    assert math.isnan(nan["score"])
    assert null == {"id": "2", "score": None, "features": {"x": None}}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1767225600123456789], pa.timestamp("ns", tz="America/New_York")),
        pa.array([datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)]),
        pa.array([datetime(2026, 1, 1, 2, 0, 0, 123456, timezone(timedelta(hours=2)))]),
    ],
)
def test_parquet_timestamps_become_rfc_3339_in_utc(tmp_path: Path, column: pa.Array) -> None:
    (event,) = parquet_events(tmp_path, pa.table({"ts": column, "x": [1]}))
    assert event["ts"] == "2026-01-01T00:00:00.123456Z"


def test_parquet_values_without_a_json_type_become_numbers_or_text(tmp_path: Path) -> None:
    table = pa.table({"price": [Decimal("1.25")], "id": [b"\xc3\xa9"], "prediction": [date(1970, 1, 2)]})
    (event,) = parquet_events(tmp_path, table)
    assert event == {"id": "é", "features": {"price": 1.25}, "prediction": 1}


def test_small_and_empty_parquet_row_groups_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": range(25)}), tmp_path / "groups.parquet", row_group_size=4)
    events = [json.loads(event) for event in messages(tmp_path / "groups.parquet", chunk=3)]
    assert [(event["id"], event["features"]["x"]) for event in events] == [(str(i + 1), i) for i in range(25)]


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", b"PAR1")
    script = (
        "import sys; sys.modules['pyarrow'] = None; "
        "from driftline.stream.sources.files import *; next(read_messages(['a.parquet']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (
        "InputError: a.parquet: Parquet needs pyarrow; install it with: pip install 'driftline[parquet]'" in done.stderr
    )


# A fault of a file is reported with file, line and remedy


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty; leave it out"),
        ("a.jsonl", b"\n \n", "holds no events; leave it out"),
        # Without a time in them: workers of the test run must agree on the names of these cases.
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "holds no events; leave it out"),
        ("a.jsonl", b"\x28\xb5\x2f\xfd rest", "is Zstandard; unpack it first"),
        ("a.gz", gzip.compress(b"PAR1 rest", mtime=0), "is Parquet, which is read from files only"),
        ("a.jsonl", '{"id":"1"}'.encode("utf-16-le"), "is no text; if it is UTF-16, write in the configuration"),
        ("a.xls", b"\xd0\xcf\x11\xe0\0\0\0\0", "is no text"),
        ("a.zip", b"PK\x03\x04 rest", "is a zip archive; unpack it first"),
        (
            "a.gz",
            gzip.compress(LINES[0], mtime=0)[:-9],
            "after event 0: Compressed file ended before the end-of-stream marker",
        ),
        ("a.gz", gzip.compress(b"1\n2\n", mtime=0) + b"junk", "after event 0: Not a gzipped file"),
        ("a.csv", b"x,y\n", "holds no events"),
        (
            "a.csv",
            b'x,y\n1,"2\n3,4\n',
            "line 2: unexpected end of data (in a quote that opens here and goes on to line 3)",
        ),
        ("a.csv", b'x\n"a"b\n', "line 2: ',' expected after '\"'"),
        ("a.csv", b"x\n" + b"1" * 200_000, "line 2: field larger than field limit"),
        ("a.csv", b"x\n1\n\xff\n", "line 3: not UTF-8; save the file as UTF-8, or name its encoding"),
        ("a.csv", b"x,y,x\n1,2,3\n", "column 3 is a second 'x'; rename it or leave it out"),
        ("a.csv", b"x,features.x\n1,2\n", "column 2 is a second 'features.x'"),
        ("a.parquet", b"PAR1PAR1", "the file is cut off or damaged, copy it again"),
    ],
)
def test_a_broken_file_is_an_input_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InputError) as error:
        messages(path, chunk=1)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_the_format_of_a_damaged_file_is_an_input_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gz", gzip.compress(LINES[0], mtime=0)[:12])
    with pytest.raises(InputError, match=r"at its beginning: .*the file is cut off or damaged, copy it again"):
        describe_format(str(path), FileOptions())


def test_events_before_the_cut_are_read_and_the_error_names_its_line(tmp_path: Path) -> None:
    packed = gzip.compress(b"\n".join(b"%d" % i for i in range(100_000)))
    path = write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2])
    seen: list[bytes] = []

    def read() -> None:
        for events in read_messages([str(path)], chunk=1):
            seen.extend(events)

    with pytest.raises(InputError) as error:
        read()
    assert len(seen) > 10_000
    assert f"after event {len(seen)}: " in str(error.value)


@pytest.mark.parametrize(("name", "message"), [("missing.jsonl", "no such file"), ("", "is a directory")])
def test_a_path_that_is_not_a_file_is_refused_before_anything_is_read(tmp_path: Path, name: str, message: str) -> None:
    good = write(tmp_path / "good.jsonl", b"\n".join(LINES))
    with pytest.raises(InputError, match=message):
        next(read_messages([str(good), str(tmp_path / name)]))
    with pytest.raises(InputError, match=message):
        total_bytes(["-", str(tmp_path / name)])
