"""A pane, the unit of counting and judging: one model's events in one run of offsets. `cutter` shows where runs end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from msgspec import Struct

from driftline.detectors.outcomes.table import OutcomeTable
from driftline.detectors.summaries.exponential_histogram import Additive
from driftline.stream.outcomes.halves import Stubs

T = TypeVar("T", bound=Additive)

#: Milliseconds of a slot of `Pane.slots`: the period of ticks, and the unit of time in which traffic is judged.
SLOT_MS: Final = 10_000


class Source(NamedTuple):
    """A partition of a topic with events. topic: "" for the predictions topic."""

    partition: int
    topic: str = ""


class Range(NamedTuple):
    """Contiguous offsets of one partition of the predictions topic, end exclusive."""

    partition: int
    start: int
    end: int


class Pane(Struct, Generic[T], frozen=True):
    """One model's events in one run, or in several runs added up as older + newer.

    content: their sketch or, while the model has no baseline, the events themselves. first_ts, last_ts: times of the
    first and the last event in log order, epoch ms. ranges: one per partition, sorted; none of another topic's events.
    slots: how many of the events there are in each slot of event time, by its number (epoch ms // SLOT_MS), sorted;
    none where they are not counted. In the history of a judge they are half hours of the local week, see
    `stream.judge.alike`, or none. outcomes: those of the events with labels by track, sorted; none of tracks without a
    label, and none in the sum of panes, since a judge keeps outcomes by themselves. stubs: of the events that wait for
    a label by track, sorted; none of events that are kept as such, and none in the sum, either.
    """

    content: T
    first_ts: int
    last_ts: int
    ranges: tuple[Range, ...]
    slots: tuple[tuple[int, int], ...] = ()
    outcomes: tuple[tuple[str, OutcomeTable], ...] = ()
    stubs: tuple[tuple[str, Stubs], ...] = ()

    def __add__(self, newer: Pane[T]) -> Pane[T]:
        merged = {each.partition: each for each in self.ranges}
        for each in newer.ranges:
            old = merged.get(each.partition, each)
            merged[each.partition] = Range(each.partition, min(old.start, each.start), max(old.end, each.end))
        ranges = tuple(merged[partition] for partition in sorted(merged))
        slots = _sum_of_slots(self.slots, newer.slots)
        return Pane(self.content + newer.content, self.first_ts, newer.last_ts, ranges, slots)


def _sum_of_slots(
    older: tuple[tuple[int, int], ...], newer: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int], ...]:
    if not (older and newer):
        return older or newer
    counts = Counter(dict(older))
    counts.update(dict(newer))
    return tuple(sorted(counts.items()))


class Run(NamedTuple):
    """A run that has ended: its offsets, end exclusive, and its panes by model; none if it holds no valid event.

    baselines: the content hash of the baseline of each pane that is a sketch, by model. time: the lower quartile of the
    events' times, epoch ms; None without an event. read: how many records it has. rejected: how often these were
    refused, messages and rows, by cause. versions: by model, the content hashes of the baselines of its versions.
    """

    start: int
    end: int
    panes: dict[str, Pane[Any]]
    baselines: Mapping[str, str] = MappingProxyType({})
    time: int | None = None
    read: int = 0
    rejected: Mapping[str, int] = MappingProxyType({})
    versions: Mapping[str, Mapping[str, str]] = MappingProxyType({})
