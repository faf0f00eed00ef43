"""A partition of the panes topic judged: what a message needs and changes, alone and in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest

from driftline.stream.alerts.build import encode_alert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.frames import FormatError
from driftline.stream.codec.panes import ForgetMessage, PaneMessage, ReferenceMessage
from driftline.stream.codec.state import state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.events.event import Event
from driftline.stream.judge.roster import NoRoomError, Room, Roster
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from driftline.stream.panes.tick import Tick
from driftline.stream.partitions.baselines import KnownBaselines
from driftline.stream.partitions.monitors import Monitors, Rules
from driftline.stream.partitions.panes_judge import Job, Message, PanesJudge
from driftline.stream.partitions.remembered import Changes, Remembered

# Two models may learn a baseline, and two may warm up.
CONFIG = parse_config(
    "panes: {events: 10, seconds: 0.1}\n"
    "defaults: {learn_events: 100, clock: 20, false_alarms_per_event: 0.001, incidents: {hold: 0s, recovery: 1m}}\n"
    "worker: {unknown_models: 2}\n"
    "limits: {newcomers: 2}\n"
)
TOPIC, PANE, EPOCH = CONFIG.topics.predictions, 40, 1_767_225_600_000
MODELS = ("given", "taken", "a", "b", "c", "d")


def events(model: str, start: int, n: int, shift: float = 0.0) -> tuple[Event, ...]:
    """n events from an offset on, one a second; shift: in sigma."""
    rng = np.random.default_rng([start, n, *model.encode()])
    values = rng.normal(shift, 1, (n, 2)).tolist()
    return tuple(
        Event(str(start + i), EPOCH + 1000 * (start + i), model, None, {"features.age": age, "output.score": score})
        for i, (age, score) in enumerate(values)
    )


@cache
def baseline(model: str, first: int = 10**6) -> Baseline:
    return build_baseline(events(model, first, 2000), {"model": model})


def pane(model: str, number: int, shift: float = 0.0, of: Baseline | None = None) -> PaneMessage:
    """The pane of a model in run `number` of the partition. of: the baseline in which it is counted."""
    own = events(model, PANE * number, PANE, shift)
    slots = tuple(zip(*map(list, np.unique([each.ts // SLOT_MS for each in own], return_counts=True)), strict=True))
    counted: Any = own if of is None else of.sketch_events(own)
    run = Range(0, PANE * number, PANE * (number + 1))
    content = Pane(counted, own[0].ts, own[-1].ts, (run,), tuple((int(at), int(n)) for at, n in slots))
    return PaneMessage.of(model, of.content_hash if of else "", TOPIC, content)


def log_of(seed: int, length: int = 150) -> Iterator[Message]:
    """Any messages, among them panes twice and of unknown baselines; `taken` gets a baseline, and loses it."""
    rng = np.random.default_rng(seed)
    for i in range(length):
        number, model = i // 6, str(rng.choice(MODELS))
        shift = 2.0 * (9 <= number < 17)
        match rng.choice(
            ["pane", "tick", "forget", "refer", "again", "unknown"], p=[0.7, 0.15, 0.04, 0.03, 0.04, 0.04]
        ):
            case "pane":
                yield pane(model, number, shift, baseline("given") if model == "given" else None)
            case "tick":
                late = {"no JSON": int(rng.integers(5))}
                yield Tick(TOPIC, 0, 1, PANE * number, EPOCH + 1000 * PANE * number, read=PANE * i, rejected=late)
            case "forget":
                yield ForgetMessage(model)
            case "refer":
                hashes = {"": baseline("taken").content_hash} if rng.random() < 0.6 else {}
                yield ReferenceMessage("taken", int(rng.integers(i + 1)), hashes)
            case "again":
                yield pane(model, max(number - 1, 0), shift, baseline("given") if model == "given" else None)
            case _:
                yield pane(model, number, shift, baseline("other"))


@dataclass
class Judged:
    """A partition judged batch by batch. refused: why messages had no effect, by their number."""

    remembered: Remembered = field(default_factory=lambda: Remembered(0, Roster(Room.of(CONFIG))))
    alerts: list[bytes] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = KnownBaselines({"given": baseline("given")})
        self.known.add("taken", baseline("taken").content_hash, baseline("taken"))
        self.monitors = Monitors(Rules.of(CONFIG), self.known)

    def judge(self, batch: Iterable[tuple[int, Message]], run: Callable[[Job], Any] = lambda job: job.run()) -> None:
        changes = Changes.of(self.remembered)
        for number, message in batch:
            try:
                for job in PanesJudge(self.monitors, changes).judge(message, EPOCH + 500 * number):
                    run(job)
            except (FormatError, NoRoomError) as error:
                self.refused[number] = str(error)
        self.remembered = changes.after()
        self.alerts += map(encode_alert, changes.alerts)

    @property
    def stored(self) -> Any:
        """All that is remembered, comparable."""
        own = self.remembered
        states = {model: state_delta(None, each).write for model, each in sorted(own.states.items())}
        return states, own.roster.copy(), own.marks, own.schema, dict(own.references)


@cache
def judged_at_once(seed: int) -> Judged:
    this = Judged()
    this.judge(enumerate(log_of(seed)))
    return this


def in_batches(messages: Iterable[Message], sizes: Iterable[int]) -> Iterator[list[tuple[int, Message]]]:
    numbered = enumerate(messages)
    for size in sizes:
        if not (batch := [*islice(numbered, size)]):
            return
        yield batch


@pytest.mark.parametrize("seed", range(2))
def test_batches_of_any_size_leave_the_same_and_give_the_same_alerts(seed: int) -> None:
    this, at_once = Judged(), judged_at_once(seed)
    for batch in in_batches(log_of(seed), cycle([1, 1, 1, 7, 2, 20])):
        this.judge(batch)
    assert this.stored == at_once.stored
    assert this.alerts == at_once.alerts
    assert this.refused == at_once.refused
    assert len(this.alerts) > 2
    assert any("limits.newcomers" in each for each in this.refused.values())


@pytest.mark.parametrize("seed", range(2))
def test_a_refused_message_has_no_effect(seed: int) -> None:
    whole, without = judged_at_once(seed), Judged()
    without.judge((number, each) for number, each in enumerate(log_of(seed)) if number not in whole.refused)
    assert without.refused == {}
    assert without.stored == whole.stored
    assert without.alerts == whole.alerts


def test_what_was_remembered_stays_as_it_is_until_the_changes_are_taken() -> None:
    """A worker that gives a batch up judges it again alike, although its monitors have seen more by then."""
    this, messages = Judged(), [*enumerate(log_of(1))]
    for first in range(0, len(messages), 50):
        before, alerts, stored = this.remembered, [*this.alerts], this.stored
        this.judge(messages[first : first + 37])
        this.remembered, this.alerts = before, alerts
        assert this.stored == stored
        this.judge(messages[first : first + 50])
    assert this.stored == judged_at_once(1).stored
    assert this.alerts == judged_at_once(1).alerts


def test_a_job_is_done_once_whoever_does_it() -> None:
    this, results = Judged(), list[Any]()
    this.judge([(0, pane("a", 0))], lambda job: results.extend([job.run(), job.run()]))
    this.judge([(1, pane("b", 0))], lambda _: None)
    assert results[0] is results[1]
    assert this.remembered.states["a"] is results[0][0]
    assert this.remembered.states.keys() == {"a", "b"}


def test_learning_a_baseline_takes_long_and_a_pane_of_a_known_one_does_not() -> None:
    this, jobs = Judged(), list[Job]()
    for number in range(4):
        this.judge([(number, pane("a", number))], jobs.append)
    assert [job.takes_long for job in jobs] == [False, False, True, False]


def test_a_record_needs_its_baselines_and_a_pane_those_of_the_record_and_its_own() -> None:
    this, taken, other = Judged(), baseline("taken"), baseline("other")
    record = ReferenceMessage("taken", 5, {"": taken.content_hash})
    changes = Changes.of(this.remembered)
    judge = PanesJudge(this.monitors, changes)
    assert judge.needs(record) == [taken.content_hash]
    assert judge.needs(pane("taken", 0, of=other)) == [other.content_hash]
    assert [*judge.judge(record, EPOCH)] == []
    assert judge.needs(pane("taken", 0, of=other)) == [taken.content_hash, other.content_hash]
    assert judge.needs(ReferenceMessage("taken", 4, {"": other.content_hash})) == []
    assert judge.needs(ForgetMessage("taken")) == judge.needs(Tick(TOPIC, 0, 1, 0, 0)) == []


def test_a_pane_in_the_baseline_that_its_model_has_learned_needs_nothing() -> None:
    this = Judged()
    this.judge((number, pane("a", number)) for number in range(3))
    learned = this.remembered.states["a"].learned
    assert learned
    message = pane("a", 3, of=learned)
    assert PanesJudge(this.monitors, Changes.of(this.remembered)).needs(message) == []
    this.judge([(3, message)])
    assert this.refused == {}


def test_a_record_holds_in_its_own_partition() -> None:
    """As for a worker, which may own one of both: records are on the partition of their model's panes."""
    this = Judged()
    this.judge([(0, ReferenceMessage("taken", 1, {"": baseline("taken").content_hash}))])
    this.remembered = Remembered(1, Roster(Room.of(CONFIG)))
    this.judge([(1, pane("taken", 0))])
    assert this.remembered.roster.newcomers == {"taken": PANE}


def test_a_model_whose_baseline_is_not_there_is_neither_judged_nor_ticked() -> None:
    this, taken = Judged(), baseline("taken")
    this.judge([(0, ReferenceMessage("taken", 1, {"": taken.content_hash})), (1, pane("taken", 0, of=taken))])
    this.known = this.monitors.baselines = KnownBaselines({"given": baseline("given")})
    jobs = list[Job]()
    this.judge([(2, Tick(TOPIC, 0, 1, PANE, EPOCH)), (3, pane("taken", 1, of=taken))], jobs.append)
    assert jobs == []
    assert this.refused.keys() == {3}
    assert "is not in Redis: restart a worker that has it" in this.refused[3]
