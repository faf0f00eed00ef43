"""The clock of one partition of a predictions topic: up to which time it is read, as its ticks say. Pure.

    events come         the time of its runs: the largest lower quartile so far
    read to its end     advances as fast as the wall clock, once nothing came for as long as a pane may last
    behind, or events   stands still: what was read is not published yet, or not all was read
    in an open run

So it never says a time whose panes may still come, and never jumps to the wall clock: a history that is produced sixty
times as fast keeps its own time. It advances only up to when Kafka was asked for the end of the log, so a
worker that was paused says nothing of the time of its pause before it has asked again. An owner that has not asked yet
says what the last one said, and loses none of the time since. A partition is behind if it has not read, when Kafka is
asked again, what was there at the last question: of a busy one, more has come by the time of any answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftline.stream.panes.tick import Progress

# ms for which the others wait at most for a partition to which nothing comes: longer, its events are old.
_WAITED_FOR = 3_600_000


@dataclass
class SourceClock:
    """The clock of a partition. All other times than `time` are the wall clock's; all are epoch ms.

    time: that of the last tick, None before the first. at: when that was so. came: when the last events were read, 0
    if that is not known; an owner hands on these three. pause: how long nothing must have come. is_idle: whether, as of
    the last tick, all is read and published, and nothing came for as long as the partition is behind: what is minutes
    late is no silence if it pauses for seconds.
    """

    pause: int
    time: int | None = None
    at: int = 0
    came: int = 0
    is_idle: bool = False
    _at_end: int = 0
    _behind: bool = False

    def events_came(self, now: int) -> None:
        """Note that events were read."""
        self.came = now

    def asked_for_end(self, reached: bool, asked: int) -> None:
        """Note whether all was read that the log held when Kafka was asked for its end."""
        self._behind = not reached
        if reached:
            self._at_end = max(self._at_end, asked)
            self.came = self.came or asked

    @property
    def is_at_end(self) -> bool:
        """Whether all was read that the log held when Kafka was asked last."""
        return self._at_end > 0 and not self._behind

    def advance(self, progress: Progress, is_open: bool, now: int) -> int | None:
        """The time up to which the partition is read, for a tick; None if it has never held an event.

        progress: of the published runs. is_open: whether events were read that are not published.
        """
        known = [each for each in (self.time, progress.time) if each is not None]
        self.is_idle = False
        if is_open or self._behind:
            self.at = now
        elif self._at_end > self.at:
            quiet_from = max(self.at, self.came + self.pause)
            if self._at_end > quiet_from and progress.newest is not None:
                known += [progress.newest, *([] if self.time is None else [self.time + self._at_end - quiet_from])]
                behind = self._at_end - max(known)
                self.is_idle = self._at_end - self.came > min(behind, _WAITED_FOR)
            self.at = self._at_end
        elif not self.at:
            self.at = now
        self.time = max(known, default=None)
        return self.time
