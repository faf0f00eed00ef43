"""Reading prediction events from files, as the JSON bytes that a topic would carry, so that one decoder serves both.

    *.csv, *.csv.gz                       a header, then one event per row
    *.parquet                             one event per row; needs the extra `parquet`
    any other name, "-" (standard input)  one JSON object per line; gzip is recognised by its first bytes, not by name

Events are not checked here: a malformed line is passed on, and the decoder rejects it with a reason. A fault of the
file itself raises InputError. The position of an event is its index among the events of all files in the order given;
blank lines do not count.

In a table the columns id, ts, model, version, prediction, score, label and weight are the event's own, `tags.NAME` is a
tag, and every other column, `features.NAME` or plain NAME, is a feature. A row without `id` gets its number, from 1.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import orjson

STDIN = "-"

_ENVELOPE = frozenset({"id", "ts", "model", "version", "prediction", "score", "label", "weight"})
_SECTIONS = frozenset({"features", "tags"})
_TEXT = frozenset({"id", "model", "version"})
_BOOLEANS = {"true": True, "false": False}
_EXACT = 2**53  # a float64 holds every integer below this; larger numbers are read as floats

_GZIP = b"\x1f\x8b"
_UTF8_BOM = b"\xef\xbb\xbf"
# First bytes of formats that are not lines of JSON; without this table each of their "lines" would be rejected.
_FOREIGN = {
    b"\x28\xb5\x2f\xfd": "Zstandard; unpack it first, as in: zstd -dc FILE | driftline … -",
    b"\xfd7zXZ": "xz; unpack it first, as in: xz -dc FILE | driftline … -",
    b"BZh": "bzip2; unpack it first, as in: bzip2 -dc FILE | driftline … -",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"PAR1": "Parquet; give it a name that ends in .parquet (standard input cannot be Parquet)",
}


class InputError(Exception):
    """A file cannot be read as events; the text names the file, the line if there is one, and the remedy."""


def total_bytes(paths: Sequence[str]) -> int | None:
    """Size of all files in bytes, for a progress bar; None if standard input is among them.

    Raises InputError for a path that is missing, a directory or empty.
    """
    sizes = [_size(path) for path in paths]
    return None if STDIN in paths else sum(sizes)


def read_messages(
    paths: Sequence[str],
    *,
    model: str | None = None,
    ts: str | None = None,
    on_progress: Callable[[int], None] | None = None,
    chunk: int = 10_000,
) -> Iterator[list[bytes]]:
    """The events of all files, in order, as lists of 1 to `chunk` JSON objects; a list never spans two files.

    model, ts: for table rows that have none. on_progress: called with the bytes read so far, of `total_bytes`. Raises
    InputError; for missing and empty files, before the first event.
    """
    sizes = [_size(path) for path in paths]
    defaults = {name: text for name, text in (("model", model), ("ts", ts)) if text is not None}
    rows, done = _Rows(defaults, count(1)), 0
    for path, size in zip(paths, sizes, strict=True):
        read = None
        for events, read in _batches(path, rows, chunk):
            yield events
            if on_progress:
                on_progress(done + read)
        if read is None:
            raise InputError(f"{path}: holds no events; leave it out")
        done += size


def _size(path: str) -> int:
    if path == STDIN:
        return 0
    file = Path(path)
    if not file.exists():
        raise InputError(f"{path}: no such file")
    if file.is_dir():
        raise InputError(f"{path}: is a directory; name the files in it")
    size = file.stat().st_size
    if file.is_file() and not size:  # a pipe has no size, but may hold events
        raise InputError(f"{path}: is empty; leave it out")
    return size


def _batches(path: str, rows: _Rows, chunk: int) -> Iterator[tuple[list[bytes], int]]:
    """Lists of events, each with the bytes of this file read so far."""
    name = path.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _parquet_batches(path, rows, chunk)
        return
    with _open(path) as file:
        lines = _lines(path, _unpacked(path, file))
        events = _csv_events(path, lines, rows) if name.endswith(".csv") else _jsonl_events(lines)
        while batch := list(islice(events, chunk)):
            yield batch, file.tell() if file.seekable() else 0


@contextmanager
def _open(path: str) -> Iterator[io.BufferedReader]:
    try:
        raw: Any = sys.stdin.buffer if path == STDIN else io.FileIO(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    file = io.BufferedReader(raw)
    try:
        yield file
    finally:
        file.detach() if path == STDIN else file.close()  # standard input must stay open


def _unpacked(path: str, file: io.BufferedReader) -> io.BufferedReader:
    head = file.peek(8)
    for magic, remedy in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{path}: is {remedy}")
    # GzipFile finds line ends in Python, a buffer on top of it in C: measured 1.1 and 0.7 µs a line of 300 bytes.
    return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=file))) if head.startswith(_GZIP) else file


def _lines(path: str, stream: io.BufferedReader) -> Iterator[bytes]:
    number = 0
    try:
        for number, line in enumerate(stream, 1):
            yield line.removeprefix(_UTF8_BOM) if number == 1 else line
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{path}: after line {number}: {error}; the file is cut off or damaged, copy it again"
        ) from None


def _jsonl_events(lines: Iterable[bytes]) -> Iterator[bytes]:
    return filter(None, map(bytes.strip, lines))


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a column of a table belongs: in the event itself ("") or in one of its sections."""

    section: str
    key: str
    is_text: bool  # "007" is a name, not the number 7


def _column(title: str) -> _Column:
    section, _, key = title.partition(".")
    if section in _SECTIONS and key:
        return _Column(section, key, is_text=section == "tags")
    return _Column("" if title in _ENVELOPE else "features", title, is_text=title in _TEXT)


def _columns(path: str, titles: Iterable[str]) -> list[_Column]:
    columns: list[_Column] = []
    for position, title in enumerate(map(str.strip, titles), 1):
        column = _column(title)
        if not title or title.startswith("__index_level_"):  # a row number rises, which would page as drift
            raise InputError(f"{path}: column {position} looks like pandas' index; write the file with index=False")
        if column in columns:
            raise InputError(f"{path}: column {position} is a second {title!r}; rename it or leave it out")
        if title in _SECTIONS:
            raise InputError(f"{path}: column {title!r} holds no fields; make it columns {title}.NAME")
        columns.append(column)
    return columns


@dataclass(frozen=True, slots=True)
class _Rows:
    """Makes events of rows; `defaults` hold the model and time of rows that have none, `numbers` the ids."""

    defaults: Mapping[str, str]
    numbers: Iterator[int]

    def event(self, cells: Iterable[tuple[_Column, object]]) -> bytes:
        event: dict[str, Any] = {"id": str(next(self.numbers)), **self.defaults}
        for column, value in cells:
            (event.setdefault(column.section, {}) if column.section else event)[column.key] = value
        return orjson.dumps(event, default=_plain, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z)


def _number(value: float) -> object:
    """The value, or the literal NaN, Infinity or -Infinity, for which orjson would write null."""
    return value if math.isfinite(value) else orjson.Fragment(json.dumps(value))


def _plain(value: object) -> object:
    """A value that orjson cannot write: a decimal as a number, anything else (bytes, a duration) as text."""
    return float(value) if isinstance(value, Decimal) else str(value)


def _csv_events(path: str, lines: Iterable[bytes], rows: _Rows) -> Iterator[bytes]:
    reader = csv.reader(_decoded(path, lines), strict=True)
    try:
        columns = _columns(path, next(reader, []))
        for row in filter(None, reader):
            if len(row) != len(columns):
                raise csv.Error(f"{len(row)} fields, but the header has {len(columns)}")
            cells = zip(columns, row, strict=True)
            yield rows.event((column, _csv_value(column, cell)) for column, cell in cells if cell)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}; correct or delete it") from None


def _decoded(path: str, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            where = f"line {number}, byte {error.start + 1}"
            raise InputError(f"{path}: {where}: not UTF-8; save the file as UTF-8") from None


def _csv_value(column: _Column, cell: str) -> object:
    # Python reads "18_24" as 1824.0, but in a CSV file it is an age bracket.
    if column.is_text or "_" in cell:
        return cell
    try:
        number = float(cell)
    except ValueError:
        return _BOOLEANS.get(cell.lower(), cell)
    is_integer = cell.lstrip("+-").isdecimal() and abs(number) < _EXACT
    return int(number) if is_integer else _number(number)


def _parquet_batches(path: str, rows: _Rows, chunk: int) -> Iterator[tuple[list[bytes], int]]:
    try:
        from pyarrow import ArrowException, Table
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow; install it with: pip install 'driftline[parquet]'") from None
    size, read = Path(path).stat().st_size, 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(chunk):
                read += batch.num_rows
                events = _parquet_events(path, Table.from_batches([batch]).flatten(), rows)
                yield events, size * read // file.metadata.num_rows
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; the file is cut off or damaged, copy it again") from None


def _parquet_events(path: str, table: Any, rows: _Rows) -> list[bytes]:
    """The events of a pyarrow.Table in which each field of a struct is a column STRUCT.FIELD."""
    columns = _columns(path, table.column_names)
    return [rows.event(_present(columns, row)) for row in zip(*map(_python_values, table.columns), strict=True)]


def _python_values(values: Any) -> list[object]:
    from pyarrow import timestamp, types

    if types.is_timestamp(values.type):  # Python has no nanoseconds
        values = values.cast(timestamp("us"), safe=False)
    return cast(list[object], values.to_pylist())


def _present(columns: list[_Column], row: tuple[object, ...]) -> Iterator[tuple[_Column, object]]:
    for column, value in zip(columns, row, strict=True):
        if value is None:
            if column.section == "features":
                yield column, None
        elif column.is_text:
            yield column, str(value)
        else:
            yield column, _number(value) if isinstance(value, float) else value
