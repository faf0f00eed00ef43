"""One partition of predictions, or of labels, while a worker owns it: its open run, its progress and its clock."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from driftline.stream.panes.label_sketcher import LabelSketcher
from driftline.stream.panes.pane import Run
from driftline.stream.panes.sketcher import Sketched, Sketcher
from driftline.stream.panes.source_clock import SourceClock
from driftline.stream.panes.tick import Progress
from driftline.stream.state.store import SketchPartition
from driftline.stream.worker.faust.fetch import Fetch

_OFFSET, _VALUE, _TIMESTAMP = attrgetter("offset"), attrgetter("value"), attrgetter("timestamp")


class RereadError(RuntimeError):
    """Records that the open run already holds came again. The run is not sealed, so the next owner counts them once."""


class Closing(NamedTuple):
    """A run closed by the idle timeout, while its seal is on the way to Redis's disk."""

    run: Run
    sealed: asyncio.Task[None]


@dataclass
class OwnedPartition:
    """One partition of the predictions topic, or of the labels topic, that this worker owns.

    sealed: end of the last sealed run, None before the first. last_fetch, last_event: when records and when events last
    came (monotonic clock).
    horizon: end of the log when the first records came, None before that. read_to: offset up to which the log was read,
    with what has no records: it may end with the marker of a transaction. progress: by all published runs. known: up to
    where the runs of earlier owners reach. ticked: when the last tick was sent (monotonic clock). asked: where the log
    ended when Kafka was asked, and when that was (epoch ms), until it is read so far.
    """

    record: SketchPartition
    sketcher: Sketcher | LabelSketcher
    sealed: int | None
    progress: Progress
    clock: SourceClock
    known: int
    ticked: float = -math.inf
    last_fetch: float = 0.0
    last_event: float = 0.0
    horizon: int | None = None
    read_to: int = 0
    asked: tuple[int, int] | None = None
    closing: Closing | None = None

    def push(self, fetch: Fetch) -> Sketched:
        """The runs that end in these records, and what could not be read of them."""
        cutter = self.sketcher.cutter
        if self.sealed is None and not cutter.end:
            cutter.start = fetch.first_offset  # a log that retention has cut does not begin at 0
        if self.horizon is None:
            self.horizon = fetch.highwater or 0
        if fetch.first_offset < cutter.end:
            raise RereadError(f"offset {fetch.first_offset} of {fetch.tp} came after {cutter.end - 1}")
        self.read_to = max(fetch.position, fetch.next_offset)
        offsets = np.fromiter(map(_OFFSET, fetch.records), np.int64, len(fetch.records))
        timestamps = np.fromiter(map(_TIMESTAMP, fetch.records), np.int64, len(fetch.records))
        sketched = self.sketcher.consume(offsets, list(map(_VALUE, fetch.records)), timestamps)
        if sketched.events:
            self.last_event = time.monotonic()
        if sketched.events and self.read_to > self.known:
            self.clock.events_came(_now())
        return sketched

    def is_idle(self, timeout: float) -> bool:
        """Whether the open run holds records and got none, or events and got no further one, for `timeout` seconds.

        Where all records are rejected from some moment on, the events before it must not wait for 25,000 of them.
        Not before the end that an earlier owner may have given it: its next records are in the log and will come.
        """
        cutter = self.sketcher.cutter
        past_others = cutter.start >= (self.sealed or 0) and self.read_to >= (self.horizon or 0)
        last = self.last_event if cutter.holds_events else self.last_fetch
        waits = cutter.end > cutter.start and time.monotonic() - last >= timeout
        return past_others and waits and self.closing is None

    def close(self, progress: bytes) -> None:
        """End the open run. Its panes wait for its seal; records need not wait until the next run ends."""
        run = self.sketcher.close(self.sketcher.cutter.end)
        seal = self.record.seal(run.start, run.end, durable=True, progress=progress)
        self.closing = Closing(run, asyncio.create_task(seal))
        self.sealed = run.end

    def published(self, runs: Iterable[Run]) -> None:
        """Note that the panes of runs are acknowledged."""
        for run in runs:
            self.progress = self.progress.after(run, _now())

    def asked_for_end(self, end: int, asked: int) -> None:
        """Note where the log ended when Kafka was asked, epoch ms.

        While records come, there are more by the time of the answer. So it is behind if, by the next question, it has
        not read what was there at the last one.
        """
        self._reach()
        if self.asked is not None:
            self.clock.asked_for_end(reached=False, asked=asked)
            return
        self.asked = end, asked
        self._reach()

    def _reach(self) -> None:
        """Note it if all is read that was there when Kafka was asked."""
        if self.asked is not None and self.read_to >= self.asked[0]:
            self.clock.asked_for_end(reached=True, asked=self.asked[1])
            self.asked = None

    def advance(self) -> int | None:
        """The time for a tick; None if the partition has none."""
        self._reach()
        is_open = self.closing is not None or self.sketcher.cutter.holds_events
        return self.clock.advance(self.progress, is_open, _now())

    @property
    def is_empty(self) -> bool:
        """Whether all was read that the log held when Kafka was asked, and no event is on its way or was published."""
        is_open = self.closing is not None or self.sketcher.cutter.holds_events
        return self.progress.time is None and not is_open and self.clock.is_at_end

    @property
    def read_so_far(self) -> Progress:
        """The progress for a tick: by the published runs and, if it holds no event, the open one.

        Such a run may grow for hours, and time passes meanwhile: without its rejections, models would seem silent.
        """
        cutter = self.sketcher.cutter
        if self.closing is not None or cutter.holds_events or cutter.end <= max(cutter.start, self.progress.read_to):
            return self.progress
        return self.progress.after(self.sketcher.so_far)

    def abandon_closing(self) -> None:
        """Give up the run that waits for its seal: the next owner of the partition ends or publishes it."""
        if self.closing is not None:
            self.closing.sealed.add_done_callback(lambda task: task.cancelled() or task.exception())
            self.closing.sealed.cancel()


def _now() -> int:
    """The wall clock, epoch ms."""
    return time.time_ns() // 1_000_000
