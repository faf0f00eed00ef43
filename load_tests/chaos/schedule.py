"""The faults of a chaos run and their times: a pure function of the seed and of the kinds to choose from.

Kinds are shuffled and dealt like cards: every kind of fault comes once before any comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from load_tests.chaos.site import Site

Fsync = Literal["always", "everysec"]
#: one: a Kafka broker and a Redis. The others have three brokers, or a Redis with sentinels, or a Redis cluster.
Topology = Literal["one", "brokers", "sentinel", "cluster"]
#: What a fault hits, or another happening. One server has one fault at a time; workers may have several.
Subject = Literal["worker", "redis", "kafka", "relay", "pager", "traffic", "configuration"]

TOPOLOGIES: tuple[Topology, ...] = get_args(Topology)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault, as a row of the table `load_tests.chaos.kinds`.

    cause: a context manager; the fault begins when it is entered, and ends when it is left. seconds: how long that is,
    from and to. delay: seconds by which bytes are delayed; of a power cut, seconds of Redis's last writes that are
    lost. topologies, fsync: where it is possible. bursts: of traffic that are released around it. obstacle: why this
    machine cannot cause it, empty if it can.
    """

    name: str
    subject: Subject
    cause: Callable[[Site, Fault], AbstractContextManager[None]]
    seconds: tuple[float, float] = (0.0, 0.0)
    delay: tuple[float, float] = (0.0, 0.0)
    topologies: Sequence[Topology] = TOPOLOGIES
    fsync: Sequence[Fsync] = get_args(Fsync)
    bursts: int = 2
    obstacle: Callable[[], str] = str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. victim: the index of the worker or server among those that run then, modulo their number.

    seconds: how long it lasts. delay: see `Kind`. pause: seconds from its beginning to the next fault, at least.
    alone: whether the next fault waits until the workers have recovered. together: whether the next one begins with it.
    """

    kind: Kind
    victim: int
    seconds: float
    pause: float
    delay: float
    alone: bool
    together: bool


# Seconds between two faults: after 0.2 the next one hits during recovery from the last one, after 6 mostly later.
_PAUSE = (0.2, 6.0)
# The part of faults that begin together with the next one.
_TOGETHER = 0.15


def schedule(seed: int, count: int, kinds: Sequence[Kind]) -> list[Fault]:
    """`count` faults of these kinds."""
    rng = np.random.default_rng([seed, 0xFA])
    return [_fault(kind, rng) for kind, _ in zip(_dealt(kinds, rng), range(count), strict=False)]


def _dealt(kinds: Sequence[Kind], rng: np.random.Generator) -> Iterator[Kind]:
    while True:
        for i in rng.permutation(len(kinds)):
            yield kinds[i]


def _fault(kind: Kind, rng: np.random.Generator) -> Fault:
    seconds, delay, pause = (float(rng.uniform(*each)) for each in (kind.seconds, kind.delay, _PAUSE))
    victim, alone, together = int(rng.integers(1 << 16)), bool(rng.integers(2)), bool(rng.random() < _TOGETHER)
    alone = alone and not together and kind.subject != "traffic"  # which goes on beside other faults
    return Fault(kind, victim, seconds, pause, delay, alone, together)
