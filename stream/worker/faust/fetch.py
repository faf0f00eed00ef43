"""A fetch: what a worker's stages receive as one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faust.types import TP

from driftline.stream.kafka.record import Record


@dataclass(frozen=True, slots=True)
class Fetch:
    """The records that one fetch brought of one partition, oldest first.

    Offsets rise and may have gaps (compaction, transaction markers). There are none if all that was read are markers
    and records of aborted transactions. `highwater`: the partition's end offset when fetched, so
    `highwater - next_offset` is the lag; None when the broker didn't say. `assignment_id`: under which assignment it
    was fetched. `position`: offset up to which the log was read, markers included; 0: up to the last record.
    """

    tp: TP
    records: Sequence[Record]
    highwater: int | None
    assignment_id: int = 0
    position: int = 0

    @property
    def first_offset(self) -> int:
        return int(self.records[0].offset)

    @property
    def next_offset(self) -> int:
        """One past the last record or, without one, past what was read."""
        return int(self.records[-1].offset) + 1 if self.records else self.position
