"""A pane, the unit of counting and judging: one model's events in one run of offsets. `cutter` shows where runs end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from driftline.detectors.summaries.exponential_histogram import Additive

T = TypeVar("T", bound=Additive)


class Source(NamedTuple):
    """A partition of a topic with events. topic: "" for the predictions topic."""

    partition: int
    topic: str = ""


class Range(NamedTuple):
    """Contiguous offsets of one partition of the predictions topic, end exclusive."""

    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Pane(Generic[T]):
    """One model's events in one run, or in several runs added up as older + newer.

    content: their sketch or, while the model has no baseline, the events themselves. first_ts, last_ts: times of the
    first and the last event in log order, epoch ms. ranges: one per partition, sorted; none of another topic's events.
    """

    content: T
    first_ts: int
    last_ts: int
    ranges: tuple[Range, ...]

    def __add__(self, newer: Pane[T]) -> Pane[T]:
        merged = {each.partition: each for each in self.ranges}
        for each in newer.ranges:
            old = merged.get(each.partition, each)
            merged[each.partition] = Range(each.partition, min(old.start, each.start), max(old.end, each.end))
        ranges = tuple(merged[partition] for partition in sorted(merged))
        return Pane(self.content + newer.content, self.first_ts, newer.last_ts, ranges)


class Run(NamedTuple):
    """A run that has ended: its offsets, end exclusive, and its panes by model; none if it holds no valid event.

    baselines: the content hash of the baseline of each pane that is a sketch, by model. time: the lower quartile of the
    events' times, epoch ms; None without an event. read: how many records it has. rejected: how often these were
    refused, messages and rows, by cause.
    """

    start: int
    end: int
    panes: dict[str, Pane[Any]]
    baselines: Mapping[str, str] = MappingProxyType({})
    time: int | None = None
    read: int = 0
    rejected: Mapping[str, int] = MappingProxyType({})
