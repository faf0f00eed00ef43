"""Frames: the envelope of everything that is stored in Redis or sent between the stages. Pure.

    | kind, 1 byte | version, 1 byte | CRC-32, 4 bytes | msgpack, or JSON for events |

    kind   P a pane's message   H the head of a model's state   B one bucket of it   I its incidents   E events
           L its layout   C counts of its traffic   W what is learned of them   F a request to forget a model
           T a tick   S the progress of a partition   R what a model is compared with   M the messages of a topic
           N a timeline   D an hour or a day of it   G the layout of some of them
           O the head of its outcomes   Q one bucket of them   X what they are compared with, learned of the first
           V the head of what waits for a join   J predictions that do   K labels that do   Y a pane of labels
           Z outcomes of an hour or a day   A how some of them are coded   U the fields of a topic's messages
           s the slopes that live events have shown

The CRC is that of the content, started with the version less one.

A frame has the least version whose readers understand it. A field that came with a later version is the last of its
struct and has a default, and a writer leaves it out at its default: so a frame without anything new has the bytes that
the first version wrote, workers of both versions share a group, and a reader reads every version up to its own.

Bytes that are damaged, of a newer version or of another kind raise `FormatError`. No length in them is trusted, and
nothing is unpickled or evaluated.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

import msgspec

VERSION = 3
_FRAME_BYTES = 6

T = TypeVar("T")


class FormatError(ValueError):
    """The bytes do not hold the expected value: they are damaged, of a newer Driftline, or of another kind."""


class Stored(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A struct stored as an array, since names would take more room than most values: the order of fields is fixed.

    since: the version that brought each field, by name, where it is not the first.
    """

    since: ClassVar[Mapping[str, int]] = MappingProxyType({})


def frame(kind: bytes, value: Any, least: int = 1) -> bytes:
    """A msgpack frame of the value, of the least version whose readers understand it.

    least: that of what is stored by the names of its fields, of which a reader passes over those that it does not know.
    """
    plain, version = _trimmed(value)
    return envelope(kind, msgspec.msgpack.encode(plain), max(version, least))


def unframe(kind: bytes, data: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """The value in a msgpack frame. Raises FormatError unless it is of this kind and the decoder's type."""
    try:
        return decoder.decode(open_envelope(kind, data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"unexpected content: {error}") from error


def envelope(kind: bytes, content: bytes, version: int = 1) -> bytes:
    """A frame of content that is encoded already."""
    return b"%b%c%b%b" % (kind, version, _checksum(content, version), content)


def open_envelope(kind: bytes, data: bytes) -> bytes:
    """The content of a frame. Raises FormatError unless it is whole and of this kind, in a version that is read."""
    if data[:1] != kind or len(data) < _FRAME_BYTES:
        raise FormatError(f"expected a frame of kind {kind.decode()}, got {data[:_FRAME_BYTES]!r}")
    if not 1 <= data[1] <= VERSION:
        raise FormatError(
            f"format version {data[1]}, this Driftline reads up to {VERSION}; was it written by a newer Driftline?"
        )
    content = data[_FRAME_BYTES:]
    if _checksum(content, data[1]) != data[2:_FRAME_BYTES]:
        raise FormatError("damaged: the checksum does not match")
    return content


def _checksum(content: bytes, version: int) -> bytes:
    # Started with the version, so that one that is damaged shows; with 0 for the first, as its frames always were.
    return zlib.crc32(content, version - 1).to_bytes(4, "little")


def _trimmed(value: Any) -> tuple[Any, int]:
    """The value with its structs as lists that end before the later fields at their defaults, and its version."""
    if isinstance(value, Stored):
        kept, inner = _kept(value), _inner(type(value))
        # A state has thousands of numbers: what can hold no struct is not looked through.
        parts = [_trimmed(getattr(value, name)) if name in inner else (getattr(value, name), 1) for name in kept]
        versions = (max(version, value.since.get(name, 1)) for name, (_, version) in zip(kept, parts, strict=True))
        return [plain for plain, _ in parts], max(versions, default=1)
    if type(value) in (tuple, list):
        parts = [_trimmed(each) for each in value]
        return [plain for plain, _ in parts], max((version for _, version in parts), default=1)
    if type(value) is dict:
        pairs = {key: _trimmed(each) for key, each in value.items()}
        return {key: plain for key, (plain, _) in pairs.items()}, max((v for _, v in pairs.values()), default=1)
    return value, 1


@cache
def _inner(kind: type[Stored]) -> frozenset[str]:
    """The names of the fields whose types hold structs."""
    return frozenset(name for name, hint in get_type_hints(kind).items() if _holds_struct(hint))


def _holds_struct(hint: Any) -> bool:
    return (isinstance(hint, type) and issubclass(hint, Stored)) or any(map(_holds_struct, get_args(hint)))


def _kept(value: Stored) -> tuple[str, ...]:
    """The names of the fields that are written."""
    names, defaults = value.__struct_fields__, value.__struct_defaults__
    while defaults and names[-1] in value.since and getattr(value, names[-1]) == defaults[-1]:
        names, defaults = names[:-1], defaults[:-1]
    return names
