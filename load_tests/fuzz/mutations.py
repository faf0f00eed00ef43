"""Damage done to an input: to its document, as programs do it, or to its bytes, as networks and disks do it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

Path = list[Any]

JUNK: list[Callable[[random.Random], Any]] = [
    lambda _: None,
    lambda _: True,
    lambda _: "",
    lambda _: [],
    lambda _: {},
    lambda _: [[]],
    lambda _: math.nan,
    lambda _: math.inf,
    lambda _: "\ud800",
    lambda _: "\u202e\x00<b>",
    lambda _: "N/A",
    lambda r: r.choice([-1, 0, 2**53 + 1, 2**63, 10**400, -(10**25)]),
    lambda r: r.choice([2**31, 2**63 - 1, -(2**63), 10**15]),
    lambda r: r.choice([1e-300, 1e300, -0.0, 0.1]),
    lambda r: "x" * r.choice([1, 255, 256, 5000]),
    lambda r: [r.random() for _ in range(r.choice([1, 2, 3, 2000]))],
    lambda r: {f"k{n}": n for n in range(r.choice([1, 3, 300]))},
    lambda r: nested(r.choice([3, 50, 400])),
    lambda r: str(r.uniform(-9, 9)) + r.choice(["", " ", "\n", "\x1d", "\u2003", "_0", "e5", "\u0661"]),
    lambda r: {"name": "x", "shape": [r.choice([-1, 0, 1, 2, 10**9, 10**400])], "data": [1]},
]
# Bytes that open, close, separate or end something in some format.
SIGNS = (b'"', b"{", b"[", b"]", b"}", b",", b":", b"\n", b"\x00", b"\xff", b"1", b"-", b"\\u0000", b"\xc0\x80")
# What a length, a count or an offset is overwritten with.
LENGTHS = (0, 1, -1, 2**15, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"d": value}
    return value


def places(document: Any) -> list[Path]:
    """The path of every node but the root."""
    found = list[Path]()
    waiting: list[tuple[Path, Any]] = [([], document)]
    while waiting:
        path, node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in items:
            found.append([*path, key])
            waiting.append(([*path, key], inner))
    return found


def at(document: Any, path: Path) -> Any:
    """The node at a path."""
    for key in path:
        document = document[key]
    return document


def damage_document(document: Any, rng: random.Random) -> None:
    """Replace, delete, double or move one node of a document in place."""
    if not (paths := places(document)):
        return
    path = rng.choice(paths)
    home, key, kind = at(document, path[:-1]), path[-1], rng.randrange(5)
    if isinstance(home[key], bytes) and kind:
        home[key] = damage_bytes(home[key], rng)
    elif kind <= 2:
        home[key] = rng.choice(JUNK)(rng)
    elif kind == 3:
        del home[key]
    elif isinstance(home, list):
        home.insert(rng.randrange(len(home) + 1), home[key])
    else:
        home[f"{key}{rng.choice(['', '.x', ' ', '2'])}"] = home[key]


def damage_json(data: bytes, rng: random.Random) -> bytes:
    """A JSON document with some of its nodes damaged."""
    document = json.loads(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        damage_document(document, rng)
    return encode(document)


def damage_bytes(data: bytes, rng: random.Random, words: Sequence[bytes] = (), other: bytes = b"") -> bytes:
    """Damage bytes in one or a few places. words: that may come into them; other: an input whose end may come."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if not damaged:
            break
        rng.choice(_DAMAGES)(damaged, rng, words, other)
    return bytes(damaged)


def _overwrite(data: bytearray, rng: random.Random, words: Sequence[bytes], _: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    new = rng.choice([b"", rng.randbytes(1), rng.randbytes(2), rng.choice(SIGNS), rng.choice(words or SIGNS)])
    data[at : at + rng.choice([0, 1, 1, 3, 40])] = new


def _flip(data: bytearray, rng: random.Random, *_: object) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _truncate(data: bytearray, rng: random.Random, *_: object) -> None:
    del data[rng.randrange(len(data)) :]


def _repeat(data: bytearray, rng: random.Random, *_: object) -> None:
    at, size = rng.randrange(len(data)), rng.choice([1, 8, 100, 1000])
    data[at:at] = data[at : at + size] * rng.choice([1, 1, 2, 50])


def _set_length(data: bytearray, rng: random.Random, *_: object) -> None:
    size, order = rng.choice([1, 2, 4, 8]), rng.choice(["big", "little"])
    at, mask = rng.randrange(len(data)), (1 << (8 * size)) - 1
    data[at : at + size] = (rng.choice(LENGTHS) & mask).to_bytes(size, order)  # type: ignore[arg-type]


def _splice(data: bytearray, rng: random.Random, _: Sequence[bytes], other: bytes) -> None:
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other) + 1) :]


_DAMAGES: list[Callable[[bytearray, random.Random, Sequence[bytes], bytes], None]] = [
    _overwrite, _overwrite, _flip, _truncate, _repeat, _set_length, _splice,
]  # fmt: skip


def encode(document: Any) -> bytes:
    """The JSON of a document; of one too deep for Python's encoder, that of a deeper one."""
    try:
        return json.dumps(document).encode()
    except RecursionError:
        return b'{"id": ' + b'{"d": ' * 5000
