"""A target: one parser of foreign bytes, what writes valid inputs for it, and the only errors it may raise."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

Damage = Callable[[bytes, random.Random], bytes]


class WrongError(AssertionError):
    """A parser accepted an input and made something else of it than a second, naive reading does."""


@dataclass(frozen=True)
class Target:
    """A parser.

    name: for people and for --targets. write: a valid input. read: parses an input and uses what came out, as the
    component does that gets it; a valid input must pass. refusals: what `read` may raise for any other input, and
    nothing else. damage: changes the structure of a valid input, as a program would, and keeps its checksums valid.
    words: texts that mean something to the parser. seconds: of processor time that one input may take. growth: MB by
    which memory may grow once a tenth of the inputs is read: the allocator's noise, and caches that are full by then.
    """

    name: str
    write: Callable[[random.Random], bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    damage: Damage | None = None
    words: tuple[bytes, ...] = ()
    seconds: float = 5.0
    growth: float = 30.0
