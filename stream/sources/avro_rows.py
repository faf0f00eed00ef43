"""Avro object container files: a record per event, with the schema in the file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any, cast

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from driftline.stream.events.frames import FrameError, RecordReader
from driftline.stream.sources.inputs import InputError

#: The first bytes of such a file.
AVRO = b"Obj\x01"

# Bytes of one header or block. Writers make blocks of 16 kB to 16 MB. Without a limit, a damaged length would have as
# much memory allocated as it says.
_LARGEST = 256 << 20

# What fastavro raises for a damaged file, an unknown codec and a schema that is none.
_DAMAGES = (
    EOFError, LookupError, TypeError, ValueError, OverflowError, RecursionError, SchemaParseException,
    SchemaResolutionError,
)  # fmt: skip


class _Bounded:
    """A stream of which nothing larger than `_LARGEST` can be read at once."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """The next bytes. Raises ValueError if that is more than a block has."""
        if not 0 <= size <= _LARGEST:
            raise ValueError(f"a length of {size} bytes")
        return self._stream.read(size)

    def tell(self) -> int:
        """The place in the stream."""
        return self._stream.tell()


def avro_events(path: str, stream: io.BufferedReader) -> Iterator[bytes]:
    """The records of a file as JSON, read like the payloads of frames. Raises InputError."""
    read = 0
    try:
        blocks: Any = fastavro.block_reader(cast(IO[bytes], _Bounded(stream)))
        reader = RecordReader(blocks.metadata["avro.schema"])
        for block in blocks:
            for document in reader.read(block.bytes_.read(), block.num_records):
                yield json.dumps(document).encode()
                read += 1
    except FrameError as error:
        raise InputError(f"{path}: its schema {error}") from None
    except _DAMAGES as error:
        reason = f"{type(error).__name__} {error}" if str(error) else type(error).__name__
        raise InputError(
            f"{path}: after event {read}: {reason}; the file is cut off or damaged, copy it again"
        ) from None
