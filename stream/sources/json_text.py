"""JSON in files: one object per line, objects over several lines or none between them, or an array of objects.

The text of each object is passed on as it stands. What is no object is passed on, too, and the decoder rejects it with
a reason. Memory holds one block and one object, however large an array is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import chain

# Bytes of an object or a line. None that is longer can be an event, see `limits.message_bytes`: what is passed on of it
# is refused as too large. Without a bound, a file without a line end would fill the memory.
_LONGEST = 2**24 + 1
_BLOCK = 64 * 2**10
_BOM = b"\xef\xbb\xbf"
# Between objects: white space, commas, and the brackets of the array.
_BETWEEN = b" \t\r\n,[]"
# Up to the next brace outside strings. A string that is not closed ends with its line, so that the next line counts.
_TO_BRACE = re.compile(rb'[^"{}]*+(?:"(?:[^"\\\n]|\\.)*+["\n][^"{}]*+)*+([{}])')


def json_events(stream: BufferedReader) -> Iterator[bytes]:
    """The objects in UTF-8 text. If the first line holds one object, each line does, and is passed on unparsed."""
    first = stream.readline(_BLOCK).removeprefix(_BOM)
    while first and not first.strip():
        first = stream.readline(_BLOCK)
    line = first.strip()
    if not line.startswith((b"{", b"[")) or list(_Splitter().feed(line)) == [line]:
        return filter(None, map(bytes.strip, chain([first], _lines(stream))))
    return split_objects(chain([first], iter(lambda: stream.read1(_BLOCK), b"")))


def _lines(stream: BufferedReader) -> Iterator[bytes]:
    """The lines of a text; of one that is too long, only the beginning."""
    for line in iter(lambda: stream.readline(_LONGEST), b""):
        yield line
        rest = line
        while len(rest) == _LONGEST and not rest.endswith(b"\n"):
            rest = stream.readline(_LONGEST)


def split_objects(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The text of each object in blocks of JSON text, and what is between them and does not belong there.

    >>> list(split_objects([b'[{"a": "}"},\\n {"b', b'": {}}, 7, {"c": 1']))
    [b'{"a": "}"}', b'{"b": {}}', b'7', b'{"c": 1']
    """
    splitter = _Splitter()
    for block in blocks:
        yield from splitter.feed(block)
    yield from splitter.finish()


class _Splitter:
    """Finds the end of each object by counting braces.

    An object that lacks a brace ends where a later line begins as its own did: with the same indentation and a brace.
    """

    def __init__(self) -> None:
        self._text, self._start, self._at, self._depth = b"\n", 0, 0, 0  # the first line begins, too
        self._line_start: bytes | None = None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The objects that end in this block."""
        self._text, self._at, self._start = self._text[self._start :] + block, self._at - self._start, 0
        while brace := _TO_BRACE.match(self._text, self._at):
            self._at = brace.end()
            if brace[1] == b"{":
                if self._depth and self._line_start and self._text.endswith(self._line_start, 0, self._at):
                    yield from self._cut(self._at - 1)
                if not self._depth:
                    yield from self._begin()
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if not self._depth:
                    yield from self._cut(self._at)
        if len(self._text) - self._start > _LONGEST:
            yield from self.finish()

    def finish(self) -> Iterator[bytes]:
        """What has not ended."""
        self._at = len(self._text)
        yield from self._cut(self._at)

    def _begin(self) -> Iterator[bytes]:
        """Begin an object at the brace that was found; what is before it belongs to none."""
        yield from self._cut(self._at - 1)
        line = self._before[self._before.rfind(b"\n") :]
        self._line_start = line + b"{" if line.startswith(b"\n") and not line.strip() else None

    def _cut(self, end: int) -> Iterator[bytes]:
        """End the current piece."""
        self._before = self._text[self._start : end]
        self._start, self._depth = end, 0
        if piece := self._before.strip(_BETWEEN):
            yield piece
