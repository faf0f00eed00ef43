"""Batches that a producer or a disk has damaged: passed over by workers and replays alike, in bounded memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import count

import lz4.frame
import pytest
from aiokafka.codec import snappy_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.events.unreadable import Unreadable
from driftline.stream.kafka.batches import BatchReader
from driftline.stream.kafka.codecs import zstd
from driftline.stream.kafka.record import Record

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
LIMIT = 1 << 20
VALUES = [b'{"id": %d, "score": 0.5}' % n for n in range(50)]


def batch(codec: str, values: list[bytes], start: int = 0) -> bytes:
    """A batch as a producer makes it."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=CODECS[codec], is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 30,
    )  # fmt: skip
    for n, value in enumerate(values):
        builder.append(n, 1_000 + n, None, value, [])
    return struct.pack(">q", start) + bytes(builder.build())[8:]


def with_records(data: bytes, records: bytes) -> bytes:
    """A batch with other bytes for its records, and the length and the checksum that belong to them."""
    covered = data[21:61] + records
    return (
        data[:8]
        + struct.pack(">i", 49 + len(records))
        + data[12:17]
        + struct.pack(">I", calc_crc32c(covered))
        + covered
    )


def read(data: bytes, reader: BatchReader | None = None, position: int = 0, limit: int = LIMIT) -> list[Record]:
    """All records of a log, fetched as a consumer does: from where the last answer led, until nothing comes."""
    reader, records, tries = reader or BatchReader(), list[Record](), count()
    while position < end_of(data) and next(tries) < 20:
        for each in reader.batches("partition", data[where(data, position) :], position, end_of(data)):
            records += [record for record in each.records(limit) if record.offset >= position]
            position = each.next_offset
    return records


def starts(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The place, first offset and end offset of each batch."""
    at = 0
    while at < len(data):
        start, length = struct.unpack_from(">qi", data, at)
        yield at, start, start + struct.unpack_from(">i", data, at + 23)[0] + 1
        at += 12 + length


def where(data: bytes, position: int) -> int:
    return next(at for at, _, end in starts(data) if end > position)


def end_of(data: bytes) -> int:
    return max(end for _, _, end in starts(data))


def bomb(codec: str) -> bytes:
    return batch(codec, [b"0" * (8 * LIMIT)])


def garbage(codec: str) -> bytes:
    whole = batch(codec, VALUES)
    return with_records(whole, bytes(7 * n % 251 for n in range(len(whole) - 61)))


def truncated(codec: str) -> bytes:
    whole = batch(codec, VALUES)
    return with_records(whole, whole[61:-9])


def wrong_checksum(codec: str) -> bytes:
    whole = batch(codec, VALUES)
    return whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]


DAMAGES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "bomb": (bomb, "; raise limits.batch_bytes"),
    "garbage": (garbage, "damaged"),
    "truncated": (truncated, "damaged"),
    "wrong checksum": (wrong_checksum, "batch: its checksum is wrong, twice: the log is damaged"),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_batch_that_cannot_be_read_is_passed_over_once_and_names_its_offsets(codec: str, damage: str) -> None:
    if (codec, damage) == ("none", "bomb"):
        pytest.skip("what is not compressed is as large as it is")
    make, reason = DAMAGES[damage]
    good, bad = batch(codec, VALUES, 100), make(codec)
    middle = end_of(good)
    bad = struct.pack(">q", middle) + bad[8:]
    after = batch("none", VALUES, end_of(bad))
    records = read(good + bad + after, position=100)
    assert [each.value for each in records[:50]] == [each.value for each in records[51:]] == VALUES
    instead = records[50].value
    assert isinstance(instead, Unreadable)
    assert (instead.start, instead.end) == (middle, end_of(bad)) == (150, records[50].offset + 1)
    assert instead.reason.startswith("batch: ")
    assert instead.reason.endswith(reason)


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_is_read_whatever_its_codec(codec: str) -> None:
    assert [each.value for each in read(batch(codec, VALUES))] == VALUES


def test_a_checksum_that_is_right_the_second_time_costs_nothing() -> None:
    reader, whole = BatchReader(), batch("none", VALUES)
    assert list(reader.batches("p", wrong_checksum("none"), 0)) == []
    (again,) = reader.batches("p", whole, 0)
    assert [each.value for each in again.records(LIMIT)] == VALUES


def test_the_end_of_a_damaged_batch_is_where_the_next_one_begins() -> None:
    bad, after = bytearray(batch("none", VALUES)), batch("none", VALUES, 50)
    bad[23:27] = (1 << 30).to_bytes(4)  # the distance of its last offset
    reader = BatchReader()
    assert list(reader.batches("p", bytes(bad) + after, 0, 100)) == []
    first, second = reader.batches("p", bytes(bad) + after, 0, 100)
    assert (first.next_offset, second.next_offset) == (50, 100)
    assert list(reader.batches("p", bytes(bad), 0, 70)) == []
    assert [each.next_offset for each in reader.batches("p", bytes(bad), 0, 70)] == [70], "no further than the log"


@pytest.mark.parametrize("bit", [7, 13, 31, 62])
@pytest.mark.parametrize("is_last", [False, True])
def test_a_flipped_bit_in_an_offset_moves_no_consumer_past_what_follows(bit: int, is_last: bool) -> None:
    """The checksum does not cover the offset."""
    bad = struct.pack(">q", 50 ^ (1 << bit)) + batch("none", VALUES)[8:]
    after = b"" if is_last else batch("none", VALUES, 100)
    reader, end = BatchReader(), 100 if is_last else 150
    assert list(reader.batches("p", bad + after, 50, end)) == [], "it may have been damaged on the wire"
    (instead,), *others = (each.records(LIMIT) for each in reader.batches("p", bad + after, 50, end))
    assert isinstance(instead.value, Unreadable)
    assert (instead.value.start, instead.value.end, instead.offset) == (50, 100, 99)
    assert instead.value.reason == "batch: its offset is wrong, twice: the log is damaged"
    assert [[record.offset for record in records] for records in others] == ([] if is_last else [[*range(100, 150)]])


@pytest.mark.parametrize("bit", [12, 63])
def test_a_batch_that_would_end_before_what_was_asked_for_stops_no_consumer(bit: int) -> None:
    bad, reader = (5000 ^ (1 << bit)).to_bytes(8) + batch("none", VALUES)[8:], BatchReader()
    assert list(reader.batches("p", bad, 5000, 5050)) == []
    ((instead,),) = (each.records(LIMIT) for each in reader.batches("p", bad, 5000, 5050))
    assert isinstance(instead.value, Unreadable)
    assert (instead.value.start, instead.value.end) == (5000, 5050)


def test_an_offset_that_is_right_the_second_time_costs_nothing() -> None:
    """Also when the log has grown between the end of the log that a broker names and what it sends."""
    reader, whole = BatchReader(), batch("none", VALUES, 100)
    assert list(reader.batches("p", struct.pack(">q", 1 << 40) + whole[8:], 100, 150)) == []
    (again,) = reader.batches("p", whole, 100, 150)
    assert [each.value for each in again.records(LIMIT)] == VALUES
    assert list(reader.batches("q", whole, 100, 120)) == []
    (again,) = reader.batches("q", whole, 100, 150)
    assert [each.value for each in again.records(LIMIT)] == VALUES


def test_a_misplaced_batch_that_comes_again_before_what_follows_costs_nothing_of_that() -> None:
    """A broker finds it instead of the next one, as long as it looks for that from the same place of its index."""
    bad, after = struct.pack(">q", 1 << 40) + batch("none", VALUES)[8:], batch("none", VALUES, 50)
    for position in (50, 70):
        reader = BatchReader()
        assert list(reader.batches("p", bad + after, position, 100)) == []
        (only,) = reader.batches("p", bad + after, position, 100)
        assert [each.offset for each in only.records(LIMIT)] == [*range(50, 100)]


@pytest.mark.parametrize("highwater", [None, -1])
def test_a_broker_may_not_say_where_a_log_ends(highwater: int | None) -> None:
    (whole,) = BatchReader().batches("p", batch("none", VALUES, 1 << 40), 7, highwater)
    assert whole.next_offset == (1 << 40) + 50


def test_a_marker_that_compaction_has_emptied_ends_no_consumer() -> None:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=1, producer_id=7, producer_epoch=0, base_sequence=0,
        batch_size=1 << 10,
    )  # fmt: skip
    builder.append(0, 1_000, struct.pack(">hh", 0, 0), b"", [])
    whole = bytearray(builder.build()[:61])
    whole[22] |= 1 << 5  # a control batch
    whole[57:61] = bytes(4)  # its records
    (empty,) = BatchReader().batches("p", with_records(bytes(whole), b""), 0)
    assert (empty.is_abort, empty.next_offset) == (False, 1)


def test_an_unknown_codec_is_passed_over() -> None:
    whole = bytearray(batch("none", VALUES))
    whole[22] |= 6
    (instead,) = read(with_records(bytes(whole), bytes(whole[61:])))
    assert isinstance(instead.value, Unreadable)
    assert instead.value.reason == "batch: it is compressed in a codec that is unknown"


@pytest.mark.parametrize(
    "record",
    [b"\x0c\0\0\0\x01\x01\0", bytes([0xFE, 0xFF, 0x0F, 0, 0, 0, 1, 1, 0x80, 0x80, 0x40]) + b"\0\x01" * (1 << 19)],
    ids=["many empty records", "one record of many headers"],
)
def test_small_records_that_make_large_objects_are_bounded_too(record: bytes) -> None:
    records = record * ((8 << 20) // len(record))
    data = with_records(batch("zstd", VALUES), zstd.compress(records))
    (instead,) = read(data, limit=16 << 20)
    assert isinstance(instead.value, Unreadable)
    assert instead.value.reason.endswith("; raise limits.batch_bytes")


@given(st.sampled_from(list(CODECS)), st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_no_damage_makes_the_reader_raise_or_stop(codec: str, place: int, change: int, repaired: bool) -> None:
    """Any byte of a batch, also behind a checksum that a hostile producer has made right."""
    whole = bytearray(batch(codec, VALUES))
    whole[place % len(whole)] ^= change
    data = with_records(bytes(whole), bytes(whole[61:])) if repaired else bytes(whole)
    reader = BatchReader()
    first, second = (list(reader.batches("p", data, 0, 1000)) for _ in range(2))
    assert second, "after the second answer at the latest, the consumer moves on"
    for each in first + second:
        assert each.records(LIMIT)
        assert each.next_offset > 0


PROGRAM = """
import json, resource, sys
from driftline.stream.kafka.batches import BatchReader
from driftline.stream.kafka.codecs import unpack
with open(sys.argv[1], "rb") as file:
    data = file.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(batch,) = BatchReader().batches("p", data, 0)
(record,) = batch.records(16 << 20)
print(json.dumps([record.value.reason, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10]))
"""
_MEGABYTES = 400


def zeros(codec: str) -> bytes:
    """`_MEGABYTES` of zeros, compressed: about one megabyte with gzip, and far less with zstd."""
    piece, each = bytes(1 << 20), range(_MEGABYTES)
    if codec == "snappy":
        return snappy_encode(piece * _MEGABYTES, xerial_compatible=False)
    if codec == "gzip":
        pack = zlib.compressobj(wbits=31)
        return b"".join(pack.compress(piece) for _ in each) + pack.flush()
    if codec == "lz4":
        return lz4.frame.compress(piece * _MEGABYTES)
    packer = zstd.ZstdCompressor()
    return b"".join(packer.compress(piece) for _ in each) + packer.flush()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_bomb_takes_no_more_memory_than_the_limit(codec: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("bomb") / "batch"
    file.write_bytes(with_records(batch(codec, VALUES), zeros(codec)))
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True)
    reason, grown = json.loads(ran.stdout)
    assert reason.endswith("more than 16777216 bytes unpacked; raise limits.batch_bytes")
    assert grown < 80, f"{grown} MiB"
