"""Ticks: the clock as records of the panes topic, "this partition is read up to that time". Pure.

    panes partition   pane  pane  tick  pane  tick  ...        a judge hears how late it is from the log alone
                                   │
                 "partition 3 of 8 of the predictions topic is read to offset 120, and to 12:00:07"

A tick is sent after the panes that it speaks of were acknowledged, so it never overtakes them. What it says stays true
and only grows: a tick that comes twice, late, or from a worker that has lost its partition adds nothing to what a later
one has said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Tick:
    """What a sketcher says of one partition of a predictions topic, once the panes before it are on the panes topic.

    of: how many partitions the topic has. read_to: end of the last run, an offset. time: epoch ms up to which the
    partition is read. read: its records since the group counts them. rejected: how many of these were refused, messages
    and rows, by cause. unwatched: models and their fields that no signal watches, of those that are new. log: Kafka's
    id of the topic, "" if unknown.
    """

    topic: str
    partition: int
    of: int
    read_to: int
    time: int
    read: int = 0
    rejected: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    unwatched: tuple[tuple[str, str], ...] = ()
    log: str = ""
