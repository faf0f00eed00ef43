"""The faults of a chaos run and their times: a pure function of the seed.

Kinds are shuffled and dealt like cards: every kind of fault comes once before any comes twice.
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
    """One fault. victim: the index of the worker among those that run then, modulo their number.

    seconds: how long a server is down, a worker is stopped, or connections are refused or delayed. pause: seconds from
    its beginning (of a server's fault: its end) to the next fault. delay: seconds by which bytes are delayed; of a
    power cut, seconds of Redis's last writes that are lost. alone: whether the next fault waits until the workers have
    recovered.
    """

    kind: Kind
    victim: int
    seconds: float
    pause: float
    delay: float
    alone: bool


# Seconds that a fault lasts, from and to. A worker must be stopped beyond its session of 6 s to be replaced. A server
# that is down for longer than its clients retry (Redis: 10 s) ends the workers, which is designed but slow to test.
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
# Seconds between two faults: after 0.2 the next one hits during recovery from the last one, after 6 mostly later.
_PAUSE = (0.2, 6.0)
# Seconds by which a chunk of bytes is delayed: more than a network between data centres does. For a power cut, seconds
# of writes that are lost: up to one with everysec.
_DELAY = {Kind.REDIS_SLOW: (0.02, 0.3), Kind.KAFKA_SLOW: (0.02, 0.3), Kind.REDIS_POWER_CUT: (0.3, 1.0)}


def schedule(seed: int, count: int, fsync: Fsync) -> list[Fault]:
    """`count` faults. With fsync "always" there is no power cut: it would lose no more than SIGKILL does."""
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
