"""The verdict on the ticks of a chaos run, by what the second reader has counted on the predictions topic. Pure.

    predictions, partition 3   event 0   refused 1   event 2   event 3 ...
    panes, each partition      pane 0-2   tick: read to 2, 2 records, 1 rejected   pane 2-4   tick ...

But for its time, a tick is a function of the log before `read_to`: so its counts must be those of the log, and the
panes of all events before `read_to` must lie before it. A tick of a worker that was away or has just taken over may
come late: then it says no more than one before it. Of two others, the later one says no less.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from driftline.stream.codec.panes import PaneMessage
from driftline.stream.panes.tick import Tick
from load_tests.chaos.count import Counted, Place
from load_tests.chaos.outcome import Era, Log, Outcome, Record, Verdict

# ms by which the clocks of Kafka and of a worker may differ, on one machine.
_SLACK = 1000


def check_ticks(verdict: Verdict, counted: Counted, outcome: Outcome, expected: bool, may_fall: bool = False) -> None:
    """Compare all ticks with the predictions topic, and with the panes among which they lie.

    expected: whether the group sends ticks. may_fall: whether Redis has lost its last writes, and with them the time
    that a tick has said.
    """
    event_times = {place: ts for own in counted.times.values() for place, ts in own.items()}
    began = min((record.timestamp for era in outcome.eras for record in era.panes), default=0)
    logs: dict[int, _Log] = {}
    said = _Said(verdict, may_fall)
    for number, era in enumerate(outcome.eras):
        said.begin_era(_published(era))
        for partition, log in era.predictions.items():
            former = logs[partition].newest if partition in logs else 0
            logs[partition] = _Log.of(log, (number, partition), event_times, counted.refused, former)
        for record, message in era.messages():
            if isinstance(message, PaneMessage):
                said.check_pane(record, message, number, counted.times.get(message.model, {}))
            elif isinstance(message, Tick) and not (era.resumed and message.read_to > logs[message.partition].end):
                said.check_tick(record, message, logs[message.partition], record.timestamp - began + _SLACK)
    if expected:
        _check_newest(verdict, said, logs)
    verdict.add({"ticks that came late": said.late})


def _published(era: Era) -> dict[int, list[tuple[int, int]]]:
    """By partition, when a run was published, epoch ms, and the largest end of one so far."""
    ends: dict[int, list[tuple[int, int]]] = {}
    for record, pane in era.published():
        ends.setdefault(pane.run.partition, []).append((record.timestamp, pane.run.end))
    return {partition: list(accumulate(sorted(each), _farther)) for partition, each in ends.items()}


def _farther(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return other[0], max(one[1], other[1])


@dataclass(frozen=True, slots=True)
class _Log:
    """The log of a partition.

    offsets: of its records. By how many of these were read: rejected, those that are no events, and times, the largest
    time of an event so far, epoch ms. last: offset of the last event, -1 without any.
    """

    offsets: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=lambda: [0])
    times: list[int] = field(default_factory=lambda: [0])
    last: int = -1

    @classmethod
    def of(
        cls,
        log: Log,
        where: tuple[int, int],
        event_times: Mapping[Place, int],
        refused: Mapping[Place, str],
        former: int,
    ) -> _Log:
        """The log of (era, partition). former: the largest time of an event in the era before."""
        rejected, times, last = [0], [former], -1
        for offset in sorted(log):
            place = (*where, offset)
            rejected.append(rejected[-1] + (place in refused))
            times.append(max(times[-1], event_times.get(place, 0)))
            last = offset if place in event_times else last
        return cls(sorted(log), rejected, times, last)

    @property
    def end(self) -> int:
        """The offset behind the last record."""
        return self.offsets[-1] + 1 if self.offsets else 0

    @property
    def newest(self) -> int:
        """The largest time of an event, epoch ms."""
        return self.times[-1]

    def read(self, offset: int) -> int:
        """How many records lie before an offset."""
        return bisect_left(self.offsets, offset)


class _Counts(NamedTuple):
    read: int
    rejected: int


@dataclass
class _Said:
    """What the ticks of an era have said so far. read_to, time: the most, by partition of panes and of predictions."""

    verdict: Verdict
    may_fall: bool
    late: int = 0
    read_to: dict[tuple[int, int], int] = field(default_factory=dict)
    panes_in: set[int] = field(default_factory=set)
    _time: dict[tuple[int, int], int] = field(default_factory=dict)
    _before: dict[int, _Counts] = field(default_factory=dict)
    _published: set[tuple[str, int, int]] = field(default_factory=set)
    _eras: int = 0
    _ends: Mapping[int, Sequence[tuple[int, int]]] = field(default_factory=dict)

    def begin_era(self, ends: Mapping[int, Sequence[tuple[int, int]]]) -> None:
        """Forget what was said of logs that are gone. ends: see `_published`."""
        self.read_to, self._time, self._before, self._published, self._ends = {}, {}, {}, set(), ends
        self._eras += 1

    def check_pane(self, record: Record, pane: PaneMessage, era: int, times: Mapping[Place, int]) -> None:
        """Check that no tick has said before a pane that it was published."""
        partition, start, end = pane.run
        self.panes_in.add(record.partition)
        read_to = self.read_to.get((record.partition, partition), 0)
        if start < read_to and (pane.model, partition, start) not in self._published:
            events = (offset for offset in range(start, min(end, read_to)) if (era, partition, offset) in times)
            if (first := next(events, None)) is not None:
                self.verdict.mismatches.append(
                    f"a tick said that partition {partition} is read to {read_to} before the pane of {pane.model} in "
                    f"{pane.run} was published, which has the event at {first}"
                )
        self._published.add((pane.model, partition, start))

    def check_tick(self, record: Record, tick: Tick, log: _Log, passed: int) -> None:
        """Check what a tick says. passed: ms since the first record, by which a time may be ahead of all events."""
        what = f"the tick at {record.partition, record.offset} of partition {tick.partition}, read to {tick.read_to}"
        if tick.read_to > log.end:
            self.verdict.mismatches.append(f"{what}: the log ends at {log.end}")
        read = log.read(tick.read_to)
        before = _Counts(tick.read - read, sum(tick.rejected.values()) - log.rejected[read])
        # `driftline resume` does not say how many of the former log were counted.
        known = before if self._eras > 1 and min(before) >= 0 else _Counts(0, 0)
        self.verdict.expect(
            f"{what}: counts beyond those of its log", before, self._before.setdefault(tick.partition, known)
        )
        # A new owner of the partition has the time of the one before, who had published more.
        ends = self._ends.get(tick.partition, ())
        count = bisect_right(ends, record.timestamp, key=itemgetter(0))
        newest = log.times[log.read(max(tick.read_to, ends[count - 1][1] if count else 0))]
        if tick.time > newest + passed:
            self.verdict.mismatches.append(f"{what}: its time {tick.time} is ahead of all events, {newest}")
        self._check_order(what, (record.partition, tick.partition), tick)

    def _check_order(self, what: str, where: tuple[int, int], tick: Tick) -> None:
        read_to, time = self.read_to.get(where, 0), self._time.get(where, 0)
        late = tick.read_to <= read_to and tick.time <= time
        self.late += late and (tick.read_to, tick.time) != (read_to, time)
        if not (late or self.may_fall or (tick.read_to >= read_to and tick.time >= time)):
            self.verdict.mismatches.append(
                f"{what}, at time {tick.time}: one before it was read to {read_to}, at time {time}"
            )
        self.read_to[where], self._time[where] = max(read_to, tick.read_to), max(time, tick.time)


def _check_newest(verdict: Verdict, said: _Said, logs: Mapping[int, _Log]) -> None:
    """Check that in each partition of the panes topic that has panes, the newest ticks speak of all events."""
    for partition, log in logs.items():
        for panes in sorted(said.panes_in):
            read_to = said.read_to.get((panes, partition), 0)
            if read_to <= log.last:
                verdict.mismatches.append(
                    f"partition {partition} has an event at {log.last}, and the newest tick in partition {panes} of "
                    f"the panes topic is read to {read_to}"
                )
