"""Reading prediction events from files, as the JSON bytes that a topic would carry, so that one decoder serves both.

The format is recognised by content, the file's name matters only where that says nothing:

    Avro                           begins with Obj: an object container file
    Parquet                        begins with PAR1; needs the extra `parquet`, and a file instead of a pipe
    gzip, bzip2, xz                unpacked; what is in it is recognised in the same way
    JSON                           begins with { or [, or has a name in .json, .jsonl or .ndjson: `json_text`
    CSV                            any other text: a header, then one event per row: `csv_rows`

Events are not checked here: a malformed line is passed on, and the decoder rejects it with a reason. A fault of the
file itself raises InputError. The position of an event is its index among the events of all files in the order given;
blank lines do not count.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

from driftline.stream.config.files import FileOptions
from driftline.stream.events.mapping import NATIVE, EventMapping
from driftline.stream.sources.avro_rows import AVRO, avro_events
from driftline.stream.sources.csv_rows import csv_events, describe_delimiter
from driftline.stream.sources.inputs import InputError, Note, OnNote
from driftline.stream.sources.json_text import json_events, split_objects
from driftline.stream.sources.parquet_rows import parquet_batches
from driftline.stream.sources.table import EventWriter

STDIN = "-"

_UTF8 = "utf-8-sig"  # with or without a byte order mark
_BLOCK = 2**16  # characters

_PARQUET = b"PAR1"
# What text begins with if it is JSON: an object, or an array, though not a title in brackets as some write headers.
_JSON = re.compile(r"\s*(?:$|\{|\[(?!\s*[A-Za-z_]))")
_JSON_NAME = re.compile(r".*\.(?:json|jsonl|ndjson)(?:\.\w+)?", re.IGNORECASE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UNPACKERS: dict[bytes, Callable[[io.BufferedReader], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
_PACKED = {
    b"\x28\xb5\x2f\xfd": "Zstandard; unpack it first, as in: zstd -dc FILE | driftline … -",
    b"PK\x03\x04": "a zip archive; unpack it first",
}
_DAMAGES = (EOFError, OSError, zlib.error, lzma.LZMAError, UnicodeDecodeError)


def total_bytes(paths: Sequence[str]) -> int | None:
    """Size of all files in bytes, for a progress bar; None if standard input is among them.

    Raises InputError for a path that is missing, a directory or empty.
    """
    sizes = [_size(path) for path in paths]
    return None if STDIN in paths else sum(sizes)


def read_messages(
    paths: Sequence[str],
    *,
    mapping: EventMapping = NATIVE,
    options: FileOptions = FileOptions(),  # noqa: B008 # frozen
    model: str | None = None,
    ts: str | None = None,
    on_progress: Callable[[int], None] | None = None,
    on_note: OnNote | None = None,
    chunk: int = 10_000,
) -> Iterator[list[bytes]]:
    """The events of all files, in order, as lists of 1 to `chunk` JSON objects; a list never spans two files.

    model, ts: for table rows that have none. on_progress: called with the bytes read so far, of `total_bytes`. on_note:
    called once with each column that is left out or converted, and why. Raises InputError; for missing and empty files,
    before the first event.
    """
    sizes = [_size(path) for path in paths]
    reader, done = _Reader(options, EventWriter(mapping, model, ts), _once(on_note), chunk), 0
    for path, size in zip(paths, sizes, strict=True):
        read = None
        for events, read in reader.batches(path):
            yield events
            if on_progress:
                on_progress(done + read)
        if read is None:
            raise InputError(
                "standard input: holds no events" if path == STDIN else f"{path}: holds no events; leave it out"
            )
        done += size


def describe_format(path: str, options: FileOptions) -> str:
    """The format of a file in words, as in "CSV with semicolons, UTF-8, packed". Raises InputError."""
    with _open(path) as file, _reporting_damage(path, lambda: "at its beginning"):
        if file.peek(4).startswith(_PARQUET):
            return "Parquet"
        stream = _unpacked(path, file)
        if stream.peek(4).startswith(AVRO):
            return "Avro"
        encoding, is_json = _recognised(path, stream, options)
        packed = "" if stream is file else ", packed"
        with _decoded(stream, encoding) as text:
            kind = "JSON" if is_json else f"CSV with {describe_delimiter(path, text, options)}"
        return f"{kind}, {encoding.removesuffix('-sig').upper()}{packed}"


def _once(on_note: OnNote | None) -> OnNote:
    seen: set[Note] = set()

    def note(each: Note) -> None:
        if on_note and each not in seen:
            seen.add(each)
            on_note(each)

    return note


def _size(path: str) -> int:
    if path == STDIN:
        return 0
    file = Path(path)
    if path.startswith("kafka://"):
        raise InputError(f"{path}: is a topic, and files are read here; save its messages as a file")
    if not file.exists():
        raise InputError(f"{path}: no such file")
    if file.is_dir():
        raise InputError(f"{path}: is a directory; name the files in it")
    size = file.stat().st_size
    if file.is_file() and not size:  # a pipe has no size, but may hold events
        raise InputError(f"{path}: is empty; leave it out")
    return size


class _Reader:
    """Reads files of any format."""

    def __init__(self, options: FileOptions, rows: EventWriter, note: OnNote, chunk: int) -> None:
        self._options, self._rows, self._note, self._chunk = options, rows, note, chunk

    def batches(self, path: str) -> Iterator[tuple[list[bytes], int]]:
        """Lists of events, each with the bytes of this file read so far."""
        with _open(path) as file:
            if file.seekable() and file.peek(4).startswith(_PARQUET):
                yield from parquet_batches(path, self._rows, self._note, self._chunk)
                return
            for events in self._lists(path, self._events(path, file)):
                yield events, file.tell() if file.seekable() else 0

    def _lists(self, path: str, events: Iterator[bytes]) -> Iterator[list[bytes]]:
        read = 0
        while True:
            batch: list[bytes] = []
            with _reporting_damage(path, lambda: f"after event {read + len(batch)}"):  # noqa: B023 # called within
                batch.extend(islice(events, self._chunk))  # if it raises, the events before it are in the list
            if not batch:
                return
            read += len(batch)
            yield batch

    def _events(self, path: str, file: io.BufferedReader) -> Iterator[bytes]:
        stream = _unpacked(path, file)
        if stream.peek(4).startswith(AVRO):
            yield from avro_events(path, stream)
            return
        encoding, is_json = _recognised(path, stream, self._options)
        if is_json and encoding == _UTF8:
            yield from json_events(stream)
            return
        with _decoded(stream, encoding) as text:
            if is_json:
                yield from split_objects(block.encode() for block in iter(lambda: text.read(_BLOCK), ""))
            else:
                yield from csv_events(path, text, self._options, self._rows, self._note)


@contextmanager
def _reporting_damage(path: str, place: Callable[[], str]) -> Iterator[None]:
    """Turn what unpackers and decoders raise for a damaged file into an InputError that names a place in it."""
    try:
        yield
    except _DAMAGES as error:
        raise InputError(f"{path}: {place()}: {error}; the file is cut off or damaged, copy it again") from None


def _recognised(path: str, stream: io.BufferedReader, options: FileOptions) -> tuple[str, bool]:
    """The encoding of a text, and whether it is JSON instead of CSV."""
    head = stream.peek(8)
    if head.startswith(_PARQUET):
        raise InputError(f"{path}: is Parquet, which is read from files only; save it as one, unpacked")
    encoding = _encoding(head, options)
    start = head.decode(encoding, "ignore")
    is_json = bool(_JSON.match(start) or _JSON_NAME.fullmatch(path))
    if "\0" in (start[:2] if is_json else start):
        raise InputError(
            f"{path}: is no text; if it is UTF-16, write in the configuration `files: {{encoding: utf-16-le}}`",
            {"encoding": "utf-16-le"},
        )
    return encoding, is_json


def _encoding(head: bytes, options: FileOptions) -> str:
    if options.encoding is None:
        return "utf-16" if head.startswith(_UTF16) else _UTF8
    return _UTF8 if codecs.lookup(options.encoding).name == "utf-8" else options.encoding


@contextmanager
def _decoded(stream: io.BufferedReader, encoding: str) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(stream, encoding, newline="")
    try:
        yield text
    finally:
        if not stream.closed:  # by a reader that wanted only the first events
            text.detach()  # the stream is closed where it was opened


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
    for magic, remedy in _PACKED.items():
        if head.startswith(magic):
            raise InputError(f"{path}: is {remedy}")
    unpacker = next((unpacker for magic, unpacker in _UNPACKERS.items() if head.startswith(magic)), None)
    # GzipFile finds line ends in Python, a buffer on top of it in C: measured 1.1 and 0.7 µs a line of 300 bytes.
    return io.BufferedReader(cast(io.RawIOBase, unpacker(file))) if unpacker else file
