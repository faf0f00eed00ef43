"""The ticks of a partition of the predictions topic, as records for every partition of the panes topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from driftline.stream.codec.panes import pack_tick
from driftline.stream.kafka.record import OutgoingRecord
from driftline.stream.panes.coverage import Unwatched
from driftline.stream.panes.tick import Progress, Tick
from driftline.stream.text.printable import printable

# Fields that a tick names at most, and characters of a name. A kB and a half in all, as much as a pane.
_FIELDS, _NAME = 20, 80


class TickFacts(NamedTuple):
    """What ticks need to know: the number of partitions of predictions and of panes, and Kafka's id of predictions."""

    predictions: int
    panes: int
    log: str = ""


def tick_of(
    topic: str, partition: int, facts: TickFacts, progress: Progress, time: int, found: Iterable[Unwatched]
) -> Tick:
    """A partition's tick. found: the fields that are not watched; those that are new are named."""
    fields = sorted({(_short(each.model), _short(each.field)) for each in found if each.is_change})[:_FIELDS]
    return Tick(
        topic,
        partition,
        facts.predictions,
        progress.read_to,
        time,
        progress.read,
        progress.rejected,
        tuple(fields),
        facts.log,
    )


def tick_records(topic: str, tick: Tick, partitions: int) -> list[OutgoingRecord]:
    """A tick for each partition of the panes topic."""
    value = pack_tick(tick)
    return [OutgoingRecord(topic, None, value, (), partition) for partition in range(partitions)]


def _short(name: str) -> str:
    return printable(name)[:_NAME]
