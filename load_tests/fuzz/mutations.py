"""Damage done to a message: to its document, as programs do it, or to its bytes, as networks and disks do it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
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
    lambda r: r.choice([1e-300, 1e300, -0.0, 0.1]),
    lambda r: "x" * r.choice([1, 255, 256, 5000]),
    lambda r: [r.random() for _ in range(r.choice([1, 2, 3, 2000]))],
    lambda r: {f"k{n}": n for n in range(r.choice([1, 3, 300]))},
    lambda r: nested(r.choice([3, 50, 400])),
    lambda r: str(r.uniform(-9, 9)),
    lambda r: {"name": "x", "shape": [r.choice([-1, 0, 1, 2, 10**9, 10**400])], "data": [1]},
]


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"d": value}
    return value


def places(document: Any) -> list[Path]:
    """The path of every node but the root."""
    found, waiting = [], [([], document)]
    while waiting:
        path, node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in items:
            found.append([*path, key])
            waiting.append(([*path, key], inner))
    return found


def damage_document(document: Any, rng: random.Random) -> None:
    """Replace, delete, double or move one node of a document in place."""
    if not (paths := places(document)):
        return
    path = rng.choice(paths)
    home = document
    for key in path[:-1]:
        home = home[key]
    key, kind = path[-1], rng.randrange(5)
    if kind <= 2:
        home[key] = rng.choice(JUNK)(rng)
    elif kind == 3:
        del home[key]
    elif isinstance(home, list):
        home.insert(rng.randrange(len(home) + 1), home[key])
    else:
        home[f"{key}{rng.choice(['', '.x', ' ', '2'])}"] = home[key]


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Overwrite, cut out or insert a few bytes."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(damaged) + 1)
        damaged[at : at + rng.choice([0, 1, 1, 3, 40])] = rng.choice(
            [
                b"",
                rng.randbytes(2),
                rng.randbytes(1),
                b'"',
                b"{",
                b"[",
                b"]",
                b"}",
                b",",
                b"\x00",
                b"\xff",
                b"1",
                b"\\u0000",
            ]
        )
        if not damaged:
            break
    return bytes(damaged)


def encode(document: Any) -> bytes:
    """The JSON of a document; of one too deep for Python's encoder, that of a deeper one."""
    try:
        return json.dumps(document).encode()
    except RecursionError:
        return b'{"id": ' + b'{"d": ' * 5000
