"""What a chaos run leaves behind, and the verdict on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from driftline.stream.codec.panes import ForgetMessage, PaneMessage, ReferenceMessage, read_message
from driftline.stream.panes.tick import Tick
from load_tests.harness.oracle import Parts

#: What a record of the panes topic says.
Message = PaneMessage | ForgetMessage | ReferenceMessage | Tick
#: The messages of a partition by offset, in their order. Offsets of markers and of aborted transactions are left out.
Log = Mapping[int, bytes | None]


class Record(NamedTuple):
    """The checked part of a record of an output topic. timestamp: epoch ms."""

    value: bytes | None
    timestamp: int = 0
    headers: Mapping[str, bytes] = {}
    partition: int = 0
    offset: int = 0


class PageRequest(NamedTuple):
    """A request to the pager. at: epoch s. event: the CloudEvent. certain: whether the relay got the answer in time."""

    at: float
    event: Mapping[str, Any]
    accepted: bool
    certain: bool

    @property
    def data(self) -> Mapping[str, Any]:
        """The alert."""
        return self.event["data"]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Era:
    """What the workers have read and written until `driftline resume`, or until the end.

    predictions: the log of each partition, as far as it was read. panes: the records of the panes topic, ticks among
    them, partition after partition, each in the order of its log. dead_letters: of the predictions topic. resumed:
    where partitions of the predictions topic resume in the next era. skipped: the records that nobody judges, by
    partition and offset of the panes topic. doubtful: by partition of the predictions topic, the offsets whose panes
    may be lost, since nothing can make them again.
    """

    predictions: Mapping[int, Log]
    panes: Sequence[Record]
    dead_letters: Sequence[Record]
    resumed: Mapping[int, int] = field(default_factory=dict)
    skipped: Collection[tuple[int, int]] = frozenset()
    doubtful: Mapping[int, range] = field(default_factory=dict)

    def messages(self) -> Iterator[tuple[Record, Message]]:
        """The records of the panes topic, and what they say."""
        return ((record, read_message(record.value or b"")) for record in self.panes)

    def published(self) -> Iterator[tuple[Record, PaneMessage]]:
        """The records of panes, and the panes."""
        return ((record, message) for record, message in self.messages() if isinstance(message, PaneMessage))

    def about(self, topic: str, others: bool = False) -> Era:
        """The era with no panes and ticks but those of a topic; or with all others."""
        own = ((record, getattr(message, "topic", "")) for record, message in self.messages())
        return replace(self, panes=[record for record, name in own if (name == topic) != others])


class Labels(NamedTuple):
    """A topic of labels. log: by partition. dead_letters: of it.

    stragglers: by topic and partition, the offsets of what was sent once all slots were closed.
    """

    topic: str
    log: Mapping[int, Log]
    dead_letters: Sequence[Record]
    stragglers: Mapping[str, Mapping[int, range]]


@dataclass(frozen=True)
class Outcome:
    """What a run left on the topics and in Redis.

    pane_dead_letters: of the panes topic. model_states: the stored parts of each model's state. labels: None if no
    model has labels that come by themselves.
    """

    eras: Sequence[Era]
    alerts: Sequence[Record]
    pane_dead_letters: Sequence[Record]
    model_states: Mapping[str, Parts]
    labels: Labels | None = None


@dataclass
class Verdict:
    """mismatches: what differs from the replay, in sentences. figures: counts of panes, alerts, dead letters ...

    lost, doubled: how many values of signals were counted too seldom, and too often.
    """

    mismatches: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    figures: dict[str, int] = field(default_factory=dict)

    def add(self, figures: Mapping[str, int]) -> None:
        """Add to the figures."""
        self.figures |= {name: self.figures.get(name, 0) + count for name, count in figures.items()}

    def expect(self, what: str, found: object, expected: object) -> None:
        """Add a mismatch if the two are not equal."""
        if found != expected:
            self.mismatches.append(f"{what}: {abbreviated(found)}, expected {abbreviated(expected)}")

    def expect_equal_items(self, what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
        """Add a mismatch for every key that is missing, unexpected or has another value."""
        common = found.keys() & expected.keys()
        self.mismatches += [f"{what} {key} is missing" for key in expected.keys() - found.keys()]
        self.mismatches += [f"{what} {key} is not expected" for key in found.keys() - expected.keys()]
        self.mismatches += [f"{what} {key} differs" for key in common if found[key] != expected[key]]


def abbreviated(value: object) -> str:
    """The repr of a value, cut to what a person reads: 200 characters."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."
