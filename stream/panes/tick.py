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
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from driftline.stream.panes.pane import SLOT_MS, Run
from driftline.stream.text.printable import printable

# Causes of rejections that a partition counts apart, and characters of each. They name a part of an event or a fault of
# a format, so a dozen is common; a mapping that leads into other people's keys may give any number.
_CAUSES, _CAUSE_LENGTH = 20, 80
OTHER_CAUSES = "other reasons"
# ms by which the clock of an idle partition may be behind the others for these to wait for it. It is behind by as much
# as its last events were, a pane's time and a tick's; within that, its next events may be on their way.
_WAITED_FOR = 120_000


def is_same_log(one: str, other: str) -> bool:
    """Whether two names may be of one log: an id that was not known may be known later."""
    (one_id, _, moved), (other_id, _, other_moved) = one.partition("/"), other.partition("/")
    return moved == other_moved and (one_id == other_id or not (one_id and other_id))


@dataclass(frozen=True, slots=True)
class Tick:
    """What a sketcher says of one partition of a predictions topic, once the panes before it are on the panes topic.

    of: how many partitions the topic has. read_to: end of the last run, an offset. time: epoch ms up to which the
    partition is read. read: its records since the group counts them. rejected: how many of these were refused, messages
    and rows, by cause. unwatched: models and their fields that no signal watches, of those that are new. log: Kafka's
    id of the topic, "" if unknown. idle: whether it is read to its end, and nothing comes.
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
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a partition of a predictions topic from the runs before `read_to`: a function of its log.

    time: the largest lower quartile of the runs' times so far, epoch ms, of those that the run after them confirms;
    newest: that of the newest run, which may have a wrong clock. Both are None before the first event. read, rejected:
    as in `Tick`.
    """

    read_to: int = 0
    time: int | None = None
    newest: int | None = None
    read: int = 0
    rejected: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def after(self, run: Run, now: int | None = None) -> Progress:
        """The progress once a run has ended. now: the wall clock, epoch ms, which no event is later than."""
        rejected = dict(self.rejected)
        for cause, times in run.rejected.items():
            name = printable(cause)[:_CAUSE_LENGTH]
            name = name if name in rejected or len(rejected) < _CAUSES else OTHER_CAUSES
            rejected[name] = rejected.get(name, 0) + times
        newest, time = self.newest, self.time
        if run.time is not None:
            newest = run.time if now is None else min(run.time, now)
            confirmed = newest if self.newest is None else min(self.newest, newest)
            time = confirmed if self.time is None else max(self.time, confirmed)
        return Progress(run.end, time, newest, self.read + run.read, rejected)


@dataclass(frozen=True, slots=True)
class Marks:
    """The newest that ticks have said, by topic and partition: the largest of each, in whatever order they came."""

    ticks: Mapping[tuple[str, int], Tick] = field(default_factory=lambda: MappingProxyType({}))

    def time_of(self, topic: str) -> int:
        """The largest time of a tick of a topic so far, epoch ms; 0 before the first."""
        return max((each.time for (of, _), each in self.ticks.items() if of == topic), default=0)

    def complete_to(self, topic: str) -> int:
        """The time up to which every partition of a topic is read, epoch ms; 0 before the first tick.

        A partition of which no tick came is left out; so is one that the topic has no more, or that another log had,
        since it would stop the time for ever. One that is idle is not waited for if it is far behind: its last event is
        old, or it never held one, and there is nothing to come. So this falls when it gets events again.
        """
        own, newest = self._of(topic)
        if newest is None:
            return 0
        same = [each for each in own if each.partition < newest.of and newest.log in ("", each.log)]
        busy = min((each.time for each in same if not each.idle), default=newest.time)
        return min((each.time for each in same if each.time >= busy - _WAITED_FOR), default=newest.time)

    def _of(self, topic: str) -> tuple[list[Tick], Tick | None]:
        """The ticks of a topic, and the newest of them."""
        own = [each for (of, _), each in self.ticks.items() if of == topic]
        return own, max(own, key=lambda each: (each.time, each.of, each.log), default=None)

    def _is_heard(self, topic: str) -> bool:
        """Whether a tick of every partition came."""
        own, newest = self._of(topic)
        return newest is not None and sum(each.partition < newest.of for each in own) == newest.of

    def joined_to(self, *topics: str) -> int:
        """`complete_to` of all these topics; 0 while there is a partition of which no tick came.

        It may hold days of events: a first start reads what is there, and some partition is the last one to be begun.
        """
        return min(map(self.complete_to, topics)) if all(map(self._is_heard, topics)) else 0

    def completed_since(self, before: Marks, topic: str) -> int:
        """`complete_to`, if it is in a later slot of time than before; or 0.

        Ticks of all partitions come every 10 s, and most of them say nothing that traffic could be judged by.
        """
        return _if_later(self.complete_to(topic), before.complete_to(topic))

    def joined_since(self, before: Marks, *topics: str) -> int:
        """`joined_to`, if it is in a later slot of time than before; or 0."""
        return _if_later(self.joined_to(*topics), before.joined_to(*topics))

    def after(self, *ticks: Tick) -> Marks:
        """The marks after more ticks; those of a partition of which nothing new is said stay the same objects."""
        marks = dict(self.ticks)
        for tick in ticks:
            place = tick.topic, tick.partition
            joined = _join(marks[place], tick) if place in marks else tick
            if joined != marks.get(place):
                marks[place] = joined
        return Marks(marks)


def _if_later(time: int, before: int) -> int:
    return time if time // SLOT_MS > before // SLOT_MS else 0


def _join(known: Tick, new: Tick) -> Tick:
    """What both ticks of a partition say; of what does not grow, what the one says that has read more."""
    further = max(known, new, key=lambda each: (each.read, each.time, not each.idle, each.of, each.unwatched, each.log))
    causes = sorted({*known.rejected, *new.rejected})
    return replace(
        further,
        read_to=max(known.read_to, new.read_to),
        time=max(known.time, new.time),
        rejected={cause: max(each.rejected.get(cause, 0) for each in (known, new)) for cause in causes},
    )
