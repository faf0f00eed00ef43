"""What a chaos run leaves behind, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from load_tests.harness.oracle import Parts

Log = Sequence[bytes | None]


class Record(NamedTuple):
    """What is looked at of a record of an output topic. timestamp: epoch ms."""

    value: bytes | None
    timestamp: int = 0
    headers: Mapping[str, bytes] = {}


@dataclass(frozen=True)
class Left:
    """What a run left behind. predictions: by partition, from offset 0 on. memories: stored parts, by model.

    panes: partition after partition, each in the order of its log. letters, pane_letters: dead ones of either topic.
    """

    predictions: Mapping[int, Log]
    panes: Sequence[Record]
    alerts: Sequence[Record]
    letters: Sequence[Record]
    pane_letters: Sequence[Record]
    memories: Mapping[str, Parts]


@dataclass
class Verdict:
    """wrongs: what is wrong, in words. lost, doubled: values of signals counted too seldom, or too often.

    figures: how many of what there were.
    """

    wrongs: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    figures: dict[str, int] = field(default_factory=dict)

    def expect(self, what: str, found: object, expected: object) -> None:
        """Note it, if these are not equal."""
        if found != expected:
            self.wrongs.append(f"{what}: {shown(found)}, expected {shown(expected)}")


def shown(value: object) -> str:
    """A value, and not more of it than a person reads."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."
