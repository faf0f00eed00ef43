"""Lets a group go on from logs that are not those its state was made of: `driftline resume`.

What is kept: models' states, open incidents, outboxes. What moves: the offset at which a partition goes on, and up to
which offset each model has consumed it. Panes that wait to be judged are skipped if the predictions topic moves: their
offsets are those of the old log, and would let the judge drop events of the new one as known. If that of labels does,
panes of its log before become dead letters, so that those of predictions between them are judged; if it has another
name now, they are judged, too.

Rule 1: every partition is claimed first, so a worker that comes back from a pause can write no more to Redis.
Rule 2: the facts are bound last. A worker that starts meanwhile is refused, and what was moved in part is moved again.
Rule 3: Kafka still takes the panes that such a worker had not sent yet. They name the log before: judges refuse them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from driftline.stream.config.sections import Topics
from driftline.stream.kafka.logs import Log
from driftline.stream.panes.pane import Source
from driftline.stream.state.level import level_of
from driftline.stream.state.store import Store
from driftline.stream.worker.continuity import READ, Facts, is_another, resumed

#: A partition: its topic and its number.
Place = tuple[str, int]


class Move(NamedTuple):
    """A partition that resumes at another offset. read_to: up to where it was read before."""

    topic: str
    partition: int
    read_to: int
    log: Log
    to: int
    reason: str
    effect: str

    def __str__(self) -> str:
        return (
            f"{self.topic}, partition {self.partition}: read to offset {self.read_to}, {self.reason}; it has offsets "
            f"{self.log.begin} to {self.log.end}. It resumes at offset {self.to}: {self.effect}"
        )


@dataclass(frozen=True)
class Situation:
    """What is stored of a group and what Kafka has.

    new_cluster: whether the topics have moved to another cluster. last_seals: where the runs begin that were sealed
    last; if their worker ended before it had published their panes, nothing can make these again from another log.
    """

    topics: Topics
    bound: Facts
    present: Facts
    positions: Mapping[Place, int]
    logs: Mapping[Place, Log]
    new_cluster: bool = False
    last_seals: Mapping[Place, int] = field(default_factory=dict)

    @property
    def is_refused(self) -> bool:
        """Whether workers are refused, if nothing else is: the group is bound to other ids than Kafka has."""
        return self.new_cluster or any(is_another(name, self.bound, self.present) for name in READ)

    def moves(self, at: str) -> list[Move]:
        """What has to move, to the `begin` or the `end` of its log; empty if workers can go on."""
        predictions = list(self._moves("predictions", at))
        panes = list(self._moves("panes", at))
        labels = self._moves("labels", at) if "topics.labels" in self.present else ()
        return [
            *predictions,
            *labels,
            *panes,
            *(self._unjudged({move.partition for move in panes}) if predictions else ()),
        ]

    def _moves(self, name: str, at: str) -> Iterator[Move]:
        again = self.new_cluster or is_another(name, self.bound, self.present)
        for topic, partition, read_to, log in self._stored(getattr(self.topics, name)):
            to, reason = getattr(log, at), "the topic was created again" if again else "the log is shorter now"
            if log.end < read_to or (again and (read_to or to)):
                kept = range(0) if again else range(to, log.end)
                effect = _effect(name, log, to, again) + self._doubt(name, topic, partition, read_to, kept)
                yield Move(topic, partition, read_to, log, to, reason, effect)

    def _doubt(self, name: str, topic: str, partition: int, read_to: int, kept: range) -> str:
        """What else may be lost of a partition of predictions or labels. kept: offsets that are read again."""
        start = self.last_seals.get((topic, partition), read_to)
        start = kept.stop if start in kept else start
        what = "labels" if name == "labels" else "events"
        lost = f"; {what} of offsets {start} to {read_to - 1} are lost if a worker ended before it published them"
        return lost if start < read_to else ""

    def _unjudged(self, moved: set[int]) -> Iterator[Move]:
        for topic, partition, read_to, log in self._stored(self.topics.panes):
            if partition not in moved and read_to < log.end:
                unread = log.end - read_to
                effect = f"{unread} panes that wait to be judged are skipped, and their events and labels are lost"
                yield Move(topic, partition, read_to, log, log.end, "with panes of the log before", effect)

    def _stored(self, topic: str) -> Iterator[tuple[str, int, int, Log]]:
        for place in sorted({*self.positions, *self.logs}):
            if place[0] == topic:
                yield *place, self.positions.get(place, 0), self.logs.get(place, Log(0, 0))


def _effect(name: str, log: Log, to: int, again: bool) -> str:
    count = log.end - log.begin
    if to == log.end and count:
        return f"its {count} records are not read"
    if name == "panes":
        return f"its {count} records are read; panes that were not judged, and are not there any more, are lost"
    if name == "labels":
        return f"its {count} labels are read; those that were read before are repeated, or come too late"
    if again:
        return f"its {count} records are read; of the old topic, records not read by then are lost"
    return f"its {count} records are read; those that were counted before count again"


async def move(store: Store, situation: Situation, moves: list[Move]) -> None:
    """Move the stored positions, and bind the group to what Kafka has. Raises StoreError, such as FencedError."""
    topics, targets = situation.topics, {(each.topic, each.partition): each.to for each in moves}
    level = level_of(situation.bound)
    inputs = {"predictions": topics.predictions, "labels": topics.labels}
    sketchers = {
        (topic, p): await store.claim_sketch(topic, p, level)
        for topic in inputs.values()
        for p in _partitions(situation, topic)
    }
    judges = {p: await store.claim_judge(topics.panes, p, level) for p in _partitions(situation, topics.panes)}
    moved = {place: to for place, to in targets.items() if place[0] != topics.panes}
    sources = {Source(each, "" if topic == topics.predictions else topic): to for (topic, each), to in moved.items()}
    for partition, judge in judges.items():
        await judge.move(targets.get((topics.panes, partition), judge.next_offset or 0), sources)
    for place, to in moved.items():
        await sketchers[place].move(to)
    kept = {"topics.panes": situation.bound.get("topics.panes", situation.present["topics.panes"])}
    again = [name for name, topic in inputs.items() if any(place[0] == topic for place in moved)]
    counted = {fact: times for name in again for fact, times in resumed(situation.bound, name).items()}
    await store.rebind({**situation.present, **kept, **counted})


def _partitions(situation: Situation, topic: str) -> list[int]:
    """All that were read, and all that may be moved."""
    return sorted(partition for name, partition in {*situation.positions, *situation.logs} if name == topic)
