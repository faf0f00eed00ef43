"""Record batches as a producer sends them and a broker stores them, opened as workers and replays do."""

from __future__ import annotations

import random
import struct

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from driftline.stream.events.unreadable import Unreadable
from driftline.stream.kafka.batches import BatchReader
from load_tests.fuzz.mutations import damage_bytes
from load_tests.fuzz.target import Target, WrongError

# Bytes that the records of one batch may take, and where a batch's length, checksum and records are.
_LIMIT, _LENGTH_AT, _CHECKSUM_AT, _COVERED_AT = 4 << 20, 8, 17, 21
_HEAD = struct.Struct(">qi")
# Answers that are read of one log: each damaged batch is fetched twice.
_ANSWERS = 20


class PassedOverError(Exception):
    """A batch was passed over, as damaged ones are."""


def targets() -> list[Target]:
    """Batches of every codec."""
    return [Target("batch", _write, _read, (PassedOverError,), _damage)]


def _write(rng: random.Random) -> bytes:
    batches, start = b"", 0
    for _ in range(rng.choice([1, 1, 3])):
        builder = DefaultRecordBatchBuilder(
            magic=2, compression_type=rng.randrange(5), is_transactional=0, producer_id=-1, producer_epoch=-1,
            base_sequence=-1, batch_size=1 << 30,
        )  # fmt: skip
        count = rng.choice([1, 5, 50])
        for number in range(count):
            value = rng.choice([b'{"id": 1}', None, rng.randbytes(100), b"0" * rng.choice([0, 10**4, 10**5])])
            builder.append(number, 1000 + number, rng.choice([None, b"key"]), value, [("header", b"1")])
        batches += struct.pack(">q", start) + bytes(builder.build())[8:]
        start += count
    return batches


def _damage(data: bytes, rng: random.Random) -> bytes:
    """A first batch with other content under a length and a checksum that fit."""
    end = 12 + struct.unpack_from(">i", data, _LENGTH_AT)[0]
    covered = damage_bytes(data[_COVERED_AT:end], rng)
    length = struct.pack(">i", _COVERED_AT - 12 + len(covered))
    return data[:8] + length + data[12:_CHECKSUM_AT] + struct.pack(">I", calc_crc32c(covered)) + covered + data[end:]


def _read(data: bytes) -> None:
    """Read a log to its end, answer by answer. Raises PassedOverError if a batch of it cannot be read."""
    reader, position, at, passed_over = BatchReader(), 0, 0, False
    for _ in range(_ANSWERS):
        for batch in reader.batches("partition", data[at:], position):
            records = batch.records(_LIMIT)
            passed_over |= any(isinstance(each.value, Unreadable) for each in records)
            if batch.next_offset < position:
                raise WrongError(f"offset {batch.next_offset} follows {position}")
            if batch.size > _LIMIT + len(data):
                raise WrongError(f"a batch of {batch.size} bytes was opened")
            position, size = batch.next_offset, _HEAD.size + _HEAD.unpack_from(data, at)[1]
            at = len(data) if batch.header is None else at + size
    if passed_over or not position:
        raise PassedOverError
