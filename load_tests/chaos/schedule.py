"""What goes wrong in a chaos run, and when: a pure function of the seed.

A schedule is dealt from a pack of cards: every kind of fault comes once before any comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

Fsync = Literal["always", "everysec"]


class Kind(StrEnum):
    """A kind of fault."""

    KILL = "worker SIGKILL"
    TERM = "worker SIGTERM"
    ADD = "worker added"
    REMOVE = "worker removed"
    FREEZE = "worker SIGSTOP, then SIGCONT"
    REDIS_KILL = "redis SIGKILL"
    REDIS_POWER_CUT = "redis power cut"
    KAFKA_KILL = "kafka SIGKILL"
    KAFKA_TERM = "kafka SIGTERM"
    REDIS_CUT = "redis connections cut"
    KAFKA_CUT = "kafka connections cut"
    REDIS_SLOW = "redis delayed"
    KAFKA_SLOW = "kafka delayed"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. victim: which of the workers there are then, modulo their number.

    seconds: how long it lasts: a server is away, a worker stands still, connections are refused or delayed.
    pause: seconds from its beginning (of a server's fault: its end) to the next one. delay: s that bytes are held back;
    or how many seconds of what Redis has written last a power cut takes. alone: whether the next one waits until the
    workers have recovered.
    """

    kind: Kind
    victim: int
    seconds: float
    pause: float
    delay: float
    alone: bool


# Seconds that a fault lasts, from and to. A worker must stand still beyond its session of 6 s to be replaced. A server
# that stays away for longer than its clients insist (Redis: 10 s) ends the workers, which is designed but slow to test.
_SECONDS = {
    Kind.FREEZE: (7.0, 11.0),
    Kind.REDIS_KILL: (0.0, 3.0),
    Kind.REDIS_POWER_CUT: (0.0, 2.0),
    Kind.KAFKA_KILL: (0.0, 3.0),
    Kind.KAFKA_TERM: (0.0, 3.0),
    Kind.REDIS_CUT: (0.0, 4.0),
    Kind.KAFKA_CUT: (0.0, 4.0),
    Kind.REDIS_SLOW: (2.0, 6.0),
    Kind.KAFKA_SLOW: (2.0, 6.0),
}
# Seconds between two faults: 0.2 brings the next one into the recovery from the last one, 6 lets most of them end.
_PAUSE = (0.2, 6.0)
# Seconds that a chunk of bytes is held back: more than a network between data centres does. And of what a power cut
# takes: with everysec, up to one.
_DELAY = {Kind.REDIS_SLOW: (0.02, 0.3), Kind.KAFKA_SLOW: (0.02, 0.3), Kind.REDIS_POWER_CUT: (0.3, 1.0)}


def schedule(seed: int, count: int, fsync: Fsync) -> list[Fault]:
    """`count` faults. With fsync "always", Redis has no power cut: it would lose nothing more than by SIGKILL."""
    rng = np.random.default_rng([seed, 0xFA])
    kinds = [kind for kind in Kind if kind is not Kind.REDIS_POWER_CUT or fsync == "everysec"]
    return [_fault(kind, rng) for kind, _ in zip(_dealt(kinds, rng), range(count), strict=False)]


def _dealt(kinds: list[Kind], rng: np.random.Generator) -> Iterator[Kind]:
    while True:
        for i in rng.permutation(len(kinds)):
            yield kinds[i]


def _fault(kind: Kind, rng: np.random.Generator) -> Fault:
    seconds = rng.uniform(*_SECONDS.get(kind, (0.0, 0.0)))
    delay = rng.uniform(*_DELAY.get(kind, (0.0, 0.0)))
    victim, pause, alone = rng.integers(1 << 16), rng.uniform(*_PAUSE), rng.integers(2)
    return Fault(kind, int(victim), float(seconds), float(pause), float(delay), bool(alone))
