"""Files of events in every format, as `replay`, `baseline build` and `inspect` read them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
from collections.abc import Callable
from functools import cached_property
from typing import Any

import fastavro
import pyarrow
from pyarrow import parquet

from driftline.stream.config.files import FileOptions
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import EventMapping, Origin
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.inspection.inspect import Message, Source, inspect_messages, prove
from driftline.stream.sources.files import describe_format, read_messages
from driftline.stream.sources.inputs import InputError
from load_tests.fuzz import avro
from load_tests.fuzz.messages import table
from load_tests.fuzz.mutations import damage_bytes
from load_tests.fuzz.target import Target

FLAT = EventMapping(features="rest", model="=m", id="$record", ts="ts")
PACKERS: tuple[Callable[[bytes], bytes], ...] = (bytes, bytes, gzip.compress, bz2.compress, lzma.compress)
CSV_WORDS = (
    b'"',
    b'""',
    b"\n",
    b"\r",
    b";",
    b"\t",
    b"1,5",
    b"NaN",
    b"1e999",
    b"\xef\xbb\xbf",
    b"\x00",
    b"PAR1",
    b"\xff\xfe",
)
JSON_WORDS = (b"{", b"}", b"[", b"]", b'"', b"\n", b"NaN", b"\xef\xbb\xbf", b"\\", b"Obj\x01")


def targets() -> list[Target]:
    """Files of every format."""
    native, flat = _Reader(EventMapping()), _Reader(FLAT)
    return [
        Target("file-csv", _write_csv, flat.read, (InputError,), _damage_inner, CSV_WORDS),
        Target("file-json", _write_json, flat.read, (InputError,), _damage_inner, JSON_WORDS),
        Target("file-parquet", _write_parquet, flat.read, (InputError,)),
        Target("file-avro", _write_avro, native.read, (InputError,), words=(b"Obj\x01", b"avro.schema", b"deflate")),
    ]


class _Reader:
    """Reads a file by its path, its events by the exact reader, and proposes a configuration for it."""

    def __init__(self, mapping: EventMapping) -> None:
        self._mapping, self._reader = mapping, EventReader(mapping)

    @cached_property
    def _file(self) -> int:
        """A file in memory, of which nothing is left when the process has ended, however it ends."""
        return os.memfd_create("events")

    def read(self, data: bytes) -> None:
        """Raises InputError if the file cannot be read, or holds no event."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, data, 0)
        path = f"/proc/self/fd/{self._file}"
        describe_format(path, FileOptions())
        batches = read_messages([path], mapping=self._mapping, ts="2026-01-31T00:00:00Z", chunk=100)
        messages = [
            Message(Origin("t", 0, at), each) for at, each in enumerate(each for batch in batches for each in batch)
        ]
        events = sum(self._is_event(each) for each in messages)
        found = inspect_messages(messages, Source(), Config())
        prove(found, messages, Source(), Config())
        if not events:
            raise InputError("no event")

    def _is_event(self, message: Message) -> bool:
        try:
            self._reader.read(message.data, message.origin)
        except EventError:
            return False
        return True


def _rows(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {"ts": f"2026-01-31T00:00:{second:02}Z", **row} for second, row in enumerate(table(rng, rng.choice([3, 20])))
    ]


def _packed(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(PACKERS)(data)


def _damage_inner(data: bytes, rng: random.Random) -> bytes:
    """Damage what is packed, and pack it again."""
    unpack, pack = _UNPACKERS.get(data[:2], (bytes, bytes))
    return pack(damage_bytes(unpack(data), rng, CSV_WORDS))


_UNPACKERS: dict[bytes, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": (gzip.decompress, gzip.compress),
    b"BZ": (bz2.decompress, bz2.compress),
    b"\xfd7": (lzma.decompress, lzma.compress),
}


def _write_csv(rng: random.Random) -> bytes:
    rows, out = _rows(rng), io.StringIO()
    writer = csv.writer(out, delimiter=rng.choice(",;\t|"))
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return _packed(out.getvalue().encode(), rng)


def _write_json(rng: random.Random) -> bytes:
    rows = _rows(rng)
    lines = [json.dumps(row, indent=rng.choice([None, 1])) for row in rows]
    return _packed(rng.choice([json.dumps(rows), "\n".join(lines)]).encode(), rng)


def _write_parquet(rng: random.Random) -> bytes:
    rows, out = _rows(rng), io.BytesIO()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    moments = pyarrow.array(
        range(len(rows)), pyarrow.timestamp(rng.choice(["s", "us", "ns"]), rng.choice([None, "UTC"]))
    )
    odd = {"place": pyarrow.array([{"a": 1, "b": [1.5]}] * len(rows)), "moment": moments}
    parquet.write_table(pyarrow.table(columns | odd), out, compression=rng.choice(["none", "snappy", "zstd", "gzip"]))
    return out.getvalue()


def _write_avro(rng: random.Random) -> bytes:
    out, documents = io.BytesIO(), [avro.document(rng, number) for number in range(rng.choice([1, 5]))]
    fastavro.writer(out, avro.SCHEMA, documents, codec=rng.choice(["null", "deflate"]))
    return out.getvalue()
