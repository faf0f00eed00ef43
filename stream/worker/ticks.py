"""The ticks of a partition of the predictions topic, as records for every partition of the panes topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from driftline.stream.codec.panes import pack_tick
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.panes.tick import Tick
from driftline.stream.text.printable import printable

# Fields that a tick names at most, and characters of a name. A kB and a half in all, as much as a pane.
_FIELDS, _NAME = 20, 80


class TickFacts(NamedTuple):
    """What ticks need to know: the number of partitions of predictions and of panes."""

    predictions: int
    panes: int


def new_fields(found: Iterable[Unwatched]) -> tuple[tuple[str, str], ...]:
    """Models and their fields that are new, of those that no signal watches, as a tick names them."""
    return tuple(sorted({(_short(each.model), _short(each.field)) for each in found if each.is_change})[:_FIELDS])


def tick_records(topic: str, tick: Tick, partitions: int) -> list[OutgoingRecord]:
    """A tick for each partition of the panes topic."""
    value = pack_tick(tick)
    return [OutgoingRecord(topic, None, value, (), partition) for partition in range(partitions)]


def _short(name: str) -> str:
    return printable(name)[:_NAME]
