"""Avro files as events."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest

from driftline.stream.config.files import FileOptions
from driftline.stream.sources.files import describe_format, read_messages
from driftline.stream.sources.inputs import InputError

SCHEMA = {
    "type": "record",
    "name": "Scored",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": ["null", "double"]},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}},
        {"name": "shop", "type": {"type": "record", "name": "Shop", "fields": [{"name": "land", "type": "string"}]}},
    ],
}


def write(path: Path, records: int, codec: str = "deflate") -> Path:
    rows = [
        {"id": f"r{i}", "at": 1767225600000 + i, "amount": None if i % 5 == 0 else i / 2, "price": Decimal("12.34"),
         "shop": {"land": "de"}}
        for i in range(records)
    ]  # fmt: skip
    with path.open("wb") as file:
        fastavro.writer(file, SCHEMA, rows, codec=codec, sync_interval=500)
    return path


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(message) for batch in read_messages([str(path)]) for message in batch]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_the_records_of_an_avro_file_are_events_whatever_its_codec_and_name(tmp_path: Path, codec: str) -> None:
    read = events(write(tmp_path / "events.bin", 300, codec))

    assert len(read) == 300
    assert read[7] == {"id": "r7", "at": 1767225600007, "amount": 3.5, "price": 12.34, "shop": {"land": "de"}}
    assert describe_format(str(tmp_path / "events.bin"), FileOptions()) == "Avro"


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avro", 300)
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(InputError, match=r"a\.avro: after event \d+: .*cut off or damaged"):
        events(path)


def test_a_schema_that_contains_itself_is_refused(tmp_path: Path) -> None:
    tree = {"type": "record", "name": "Tree", "fields": [{"name": "inner", "type": ["null", "Tree"]}]}
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, tree, [{"inner": None}])

    with pytest.raises(InputError, match="a type that contains itself"):
        events(tmp_path / "a.avro")


def test_more_records_than_bytes_are_refused(tmp_path: Path) -> None:
    nothing = {"type": "record", "name": "Nothing", "fields": [{"name": "x", "type": "null"}]}
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, nothing, [{"x": None}] * 100)

    with pytest.raises(InputError, match="100 records in 0 bytes"):
        events(tmp_path / "a.avro")


def test_a_length_of_many_gigabytes_allocates_none_of_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avro", 300)
    head = path.read_bytes().partition(b"avro.codec")[0]
    path.write_bytes(head + b"avro.codec" + b"\xfe" * 8 + b"\x01" + b"null")

    with pytest.raises(InputError, match=r"a\.avro: after event 0: .*damaged"):
        events(path)


@pytest.mark.parametrize("header", [b"", b"\x02\x16avro.schema\x04{}\x00" + bytes(16), b"\xff\xff\xff"])
def test_a_damaged_header_is_no_traceback(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "a.avro").write_bytes(b"Obj\x01" + header)

    with pytest.raises(InputError):
        events(tmp_path / "a.avro")
