"""Decompression under a bound, in the four codecs of Kafka.

A megabyte can hold gigabytes. So no more is unpacked than was allowed, and nothing is believed that the compressed data
say of their size, unless it is too much already.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cramjam
import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The stream of blocks in which Java's snappy writes: its mark, and the bytes of mark and versions.
_XERIAL, _XERIAL_HEADER = b"\x82SNAPPY\x00", 16
_LENGTH = 4  # bytes of the length before each block
# Bytes unpacked at once. Most batches take less; room for as much as is allowed would cost more than unpacking it.
_PIECE = 1 << 20


class TooLargeError(ValueError):
    """Data take more bytes unpacked than is allowed."""


class UnknownCodecError(ValueError):
    """There is no codec of this number."""


def unpack(codec: int, data: memoryview, most: int) -> bytes:
    """The data, unpacked. codec: its number in Kafka's format. Raises TooLargeError beyond `most` bytes.

    Raises UnknownCodecError, or whatever the codec's library raises, for data that are damaged.
    """
    if codec not in _CODECS:
        raise UnknownCodecError(f"codec {codec}")
    unpacked: bytes = _CODECS[codec](data, most)
    if len(unpacked) > most:
        raise TooLargeError
    return unpacked


def _gzip(data: memoryview, most: int) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(data)) as file:
        return _read(file.read, most)


def _snappy(data: memoryview, most: int) -> bytes:
    if data[: len(_XERIAL)] != _XERIAL:
        return _snappy_block(data, most)
    blocks, at = [], _XERIAL_HEADER
    while at < len(data):
        size = int.from_bytes(data[at : at + _LENGTH])
        block = data[at + _LENGTH : at + _LENGTH + size]
        if len(block) < size:
            raise EOFError
        blocks.append(_snappy_block(block, most))
        most, at = most - len(blocks[-1]), at + _LENGTH + size
    return b"".join(blocks)


def _snappy_block(block: memoryview, most: int) -> bytes:
    # The library makes room for as much as the block says, and writes no more than that.
    if cramjam.snappy.decompress_raw_len(block) > most:
        raise TooLargeError
    return bytes(cramjam.snappy.decompress_raw(block))


def _lz4(data: memoryview, most: int) -> bytes:
    frame, left = lz4.frame.LZ4FrameDecompressor(), [data]

    def read(size: int) -> bytes:
        if frame.eof:
            return b""
        part: bytes = frame.decompress(left.pop() if left else b"", size)
        if not part and not frame.eof:
            raise EOFError
        return part

    return _read(read, most)


def _zstd(data: memoryview, most: int) -> bytes:
    with zstd.ZstdFile(BytesIO(data)) as file:
        return _read(file.read, most)


def _read(read: Callable[[int], bytes], most: int) -> bytes:
    """What a function returns piece by piece, until nothing comes or it is more than `most` bytes."""
    parts, size = [], 0
    while size <= most and (part := read(_PIECE)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


_CODECS: dict[int, Callable[[memoryview, int], Any]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
#: Names by number.
CODEC_NAMES = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
