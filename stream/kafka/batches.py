"""Opens the record batches that a fetch brings: within a bound, and past those that cannot be read.

    byte    0           8        12       16      17         21           57      61 ...
          ┌───────────┬────────┬────────┬───────┬──────────┬─────┬───────┬────────────────────┐
          │ offset    │ length │ epoch  │ magic │ checksum │ ... │ count │ records, compressed│
          └───────────┴────────┴────────┴───────┴──────────┴─────┴───────┴────────────────────┘

Rule 1: no batch makes this module raise, or its records take much more memory than `max_bytes`.
Rule 2: a batch that cannot be read is passed over: one record stands for all of its offsets; its value is `Unreadable`.
Rule 3: damage may come from the wire instead of the log: a batch with a wrong checksum ends the answer, the next fetch
        begins with it, and it is passed over only then.
Rule 4: the checksum does not cover the offset. A batch that would end before what was asked for, or after the end of
        the log, is damaged too: else one flipped bit would move the consumer past all that follows.
Workers read by aiokafka and replays by kafka-python, so that both pass over the same batches.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.util import decode_varint

from driftline.stream.events.unreadable import Unreadable
from driftline.stream.kafka.codecs import CODEC_NAMES, TooLargeError, UnknownCodecError, unpack
from driftline.stream.kafka.record import Record

log = logging.getLogger(__name__)

_OFFSET_AND_LENGTH = struct.Struct(">qi")
_MAGIC_AT, _ATTRIBUTES_AT, _RECORDS_AT = 16, 21, 61
# Bytes after the length of the smallest batch: the header of a record in the oldest format.
_LEAST = 14
# Where a log ends at the latest: offsets have 63 bits.
_LAST_OFFSET = (1 << 63) - 1
_CODEC_BITS = 0x07
# Bytes of records up to which they are not looked at before they become objects: 4 MiB make at most 300 MB of them.
_HARMLESS = 4 << 20
# Bytes of the objects of a record, and of a header in it: they can be 30 times as large as what they are made from.
_RECORD, _HEADER = 200, 130
# Bytes before the key of a compressed record in the formats 0 and 1, which hold a whole batch as their value.
_LEGACY_KEY_AT, _LEGACY_ATTRIBUTES_AT = {0: 18, 1: 26}, 17


class PassedOver(NamedTuple):
    """Stands for the records of a batch that was passed over; it has the last of their offsets."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None


class Batch:
    """A batch that has not been opened. next_offset: one past its last. size: bytes of its records, once opened.

    header: aiokafka's batch, for its properties; None if its header cannot be read.
    """

    def __init__(self, data: memoryview, header: Any, start: int, next_offset: int, fault: str | None) -> None:
        self.header, self.next_offset, self.size = header, next_offset, 0
        self._data, self._start, self._fault = data, start, fault

    @property
    def is_intact(self) -> bool:
        """Whether what the header says can be believed."""
        return self._fault is None

    @property
    def is_abort(self) -> bool:
        """Whether it is a marker that ends a transaction without effect. Reads the marker, so ask once."""
        # Compaction may leave a batch of a marker without the marker.
        marker = next(self.header, None) if self.header.is_control_batch else None
        return marker is not None and bool(ControlRecord.parse(marker.key) == ABORT_MARKER)

    def records(self, max_bytes: int) -> list[Record]:
        """Its records, or the one that stands for them."""
        self.size = len(self._data)
        if self._fault is not None:
            return [self._passed_over(self._fault)]
        try:
            opened, self.size = _opened(self._data, max_bytes)
            return list(opened)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 # libraries in C and Rust, on foreign bytes
            reason = _reason(error, self._data, max_bytes)
            log.warning("offsets %d to %d: %s: %r", self._start, self.next_offset - 1, reason, error)
            return [self._passed_over(reason)]

    def _passed_over(self, reason: str) -> PassedOver:
        time = 0 if self._fault is not None else getattr(self.header, "max_timestamp", 0)
        message = Unreadable(self._start, self.next_offset, f"batch: {reason}")
        return PassedOver(self.next_offset - 1, time, 0, None, message)


class BatchReader:
    """Splits the answers to the fetches of one consumer into batches.

    Remembers where the last answer of a partition was damaged.
    """

    def __init__(self) -> None:
        self._suspects = dict[Any, int]()

    def batches(self, partition: Any, data: bytes, position: int, highwater: int | None = None) -> Iterator[Batch]:
        """The batches of an answer up to its end, or up to one that must be fetched once more.

        partition: any key for it. position: the offset that was asked for. highwater: where the log ends; None or
        negative if the broker does not say it.
        """
        view, at, log_end = memoryview(data), 0, _LAST_OFFSET if highwater is None or highwater < 0 else highwater
        while len(view) - at >= _OFFSET_AND_LENGTH.size:
            start, length = _OFFSET_AND_LENGTH.unpack_from(view, at)
            stop = at + _OFFSET_AND_LENGTH.size + length
            if at and stop > len(view):
                return  # an answer may end within a batch
            batch = _split_off(view, at, stop, position, log_end)
            if not batch.is_intact and self._suspects.get(partition) != position:
                log.warning("%s: the batch at offset %d arrived damaged; it is fetched once more", partition, start)
                self._suspects[partition] = position
                return
            if batch.is_intact and self._suspects:
                self._suspects.pop(partition, None)
            if batch.next_offset > position:
                yield batch
                position = batch.next_offset
            if batch.header is None:
                return
            at = stop


def _split_off(view: memoryview, at: int, stop: int, position: int, log_end: int) -> Batch:
    start, length = _OFFSET_AND_LENGTH.unpack_from(view, at)
    if length < _LEAST or stop > len(view):
        return Batch(view[at:], None, position, position + 1, "its header is damaged")
    data, header = view[at:stop], None
    try:
        header = DefaultRecordBatch(data) if data[_MAGIC_AT] >= 2 else LegacyRecordBatch(data, data[_MAGIC_AT])
        if header.validate_crc() and header.next_offset > start:
            if position < header.next_offset <= log_end:
                return Batch(data, header, start, header.next_offset, None)
            end = _end_of_misplaced(view, stop, header.next_offset - start, position, log_end)
            return Batch(data, header, position, end, "its offset is wrong, twice: the log is damaged")
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 # as in `records`
        log.warning("the header of the batch at offset %d cannot be read: %r", start, error)
        header = None
    start = start if 0 <= start < log_end else position
    end = _end_of_damaged(view, stop, max(start, position) + 1, header, log_end)
    return Batch(data, header, start, end, "its checksum is wrong, twice: the log is damaged")


def _end_of_misplaced(view: memoryview, stop: int, length: int, position: int, log_end: int) -> int:
    """Where a batch of `length` offsets ends whose own offset is wrong; `position` if it holds none of those asked for.

    A broker that looks for an offset finds such a batch instead of one that follows soon after it.
    """
    following = _start_at(view, stop)
    if following is not None and following <= log_end:
        return max(position, following)
    return max(position + 1, min(position + length, log_end))


def _end_of_damaged(view: memoryview, stop: int, least: int, header: Any, log_end: int) -> int:
    """Where a batch ends whose checksum is wrong: at the next one if it came, else where its header says."""
    claimed = _start_at(view, stop)
    if claimed is None:
        claimed = least if header is None else header.next_offset
    return max(least, min(claimed, log_end))


def _start_at(view: memoryview, at: int) -> int | None:
    """The offset at which the batch at this place begins; None if it did not come."""
    whole = len(view) - at >= _OFFSET_AND_LENGTH.size
    return int(_OFFSET_AND_LENGTH.unpack_from(view, at)[0]) if whole else None


def _opened(data: memoryview, max_bytes: int) -> tuple[Any, int]:
    """What iterates over the records of a batch, and the bytes that they take."""
    magic = data[_MAGIC_AT]
    if magic < 2:
        _check_legacy(data, magic, max_bytes)
        return LegacyRecordBatch(data, magic), len(data)
    attributes = int.from_bytes(data[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 2])
    codec = attributes & _CODEC_BITS
    records = unpack(codec, data[_RECORDS_AT:], max_bytes) if codec else data[_RECORDS_AT:]
    if len(records) > _HARMLESS:
        _check_objects(records, max_bytes)
    if not codec:
        return DefaultRecordBatch(data), len(data)
    plain = (attributes & ~_CODEC_BITS).to_bytes(2)
    header = bytes(data[:_ATTRIBUTES_AT]) + plain + bytes(data[_ATTRIBUTES_AT + 2 : _RECORDS_AT])
    return DefaultRecordBatch(header + records), len(records)


def _check_objects(records: bytes | memoryview, max_bytes: int) -> None:
    """Raises TooLargeError if the objects of records take more than `max_bytes`. Damaged records raise anything."""
    at, size = 0, len(records)
    while at < len(records):
        length, at = _varint(records, at)
        end = at + max(length, 0)
        for _ in range(3):  # attributes, time, offset
            _, at = _varint(records, at)
        for _ in range(2):  # key, value
            length, at = _varint(records, at)
            at += max(length, 0)
        headers, _ = _varint(records, at)
        size, at = size + _RECORD + max(headers, 0) * _HEADER, end
        if size > max_bytes:
            raise TooLargeError


def _varint(records: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it. aiokafka's own function would read past the end."""
    if at >= len(records):
        raise EOFError
    number, after = decode_varint(records, at)
    return int(number), int(after)


def _check_legacy(data: memoryview, magic: int, max_bytes: int) -> None:
    """Raises what `unpack` raises if a batch of an old format is compressed and takes too much."""
    codec = data[_LEGACY_ATTRIBUTES_AT] & _CODEC_BITS
    if codec:
        at = _LEGACY_KEY_AT[magic]
        key = int.from_bytes(data[at : at + 4], signed=True)
        unpack(codec, data[at + 8 + max(key, 0) :], max_bytes)


def _reason(error: Exception, data: memoryview, max_bytes: int) -> str:
    at = _LEGACY_ATTRIBUTES_AT if data[_MAGIC_AT] < 2 else _ATTRIBUTES_AT + 1
    codec = CODEC_NAMES.get(data[at] & _CODEC_BITS)
    if isinstance(error, TooLargeError):
        return f"its {codec} data take more than {max_bytes} bytes unpacked; raise limits.batch_bytes"
    if isinstance(error, UnknownCodecError):
        return "it is compressed in a codec that is unknown"
    return f"its {codec} data or the records in them are damaged" if codec else "its records are damaged"
