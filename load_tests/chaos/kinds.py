"""Every kind of fault of a chaos run: what it hits, how it is caused, how long it lasts, and where it is possible.

A new kind is a row in a table of `load_tests/chaos/faults/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from load_tests.chaos.faults import baselines, kafka, logs, network, redis, relay, resume, traffic, workers
from load_tests.chaos.schedule import Fsync, Kind, Topology

KINDS: Sequence[Kind] = (
    *workers.KINDS,
    *redis.KINDS,
    *kafka.KINDS,
    *network.KINDS,
    *relay.KINDS,
    *logs.KINDS,
    *resume.KINDS,
    *traffic.KINDS,
    *baselines.KINDS,
)


# What there is only while labels have a topic of their own, and what only while not: `driftline resume` skips labels
# that wait to be judged, and does not say which.
_WITH_LABELS, _WITHOUT_LABELS = "partitions added to labels", "predictions created again"


def chosen(patterns: Sequence[str], topology: Topology, fsync: Fsync, labels: bool = False) -> list[Kind]:
    """The kinds that match one of the patterns (such as `redis*`) and are possible there and on this machine.

    labels: whether labels come by themselves. Raises ValueError if there are none.
    """
    kinds = [kind for kind in matching(patterns) if topology in kind.topologies and fsync in kind.fsync]
    other = _WITHOUT_LABELS if labels else _WITH_LABELS
    kinds = [kind for kind in kinds if not kind.obstacle() and kind.name != other]
    if not kinds:
        raise ValueError(f"no kind of fault that matches {', '.join(patterns)} is possible with --topology {topology}")
    return kinds


def matching(patterns: Sequence[str]) -> list[Kind]:
    """The kinds that match one of the patterns. Raises ValueError for a pattern that matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(kind.name, pattern) for kind in KINDS):
            known = "\n".join(kind.name for kind in KINDS)
            raise ValueError(f"no kind of fault matches {pattern!r}; there are:\n{known}")
    return [kind for kind in KINDS if any(fnmatchcase(kind.name, pattern) for pattern in patterns)]
