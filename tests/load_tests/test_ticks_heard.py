"""What judges have heard of time, by the order of the panes topic."""

from __future__ import annotations

from driftline.stream.codec.panes import PaneMessage
from driftline.stream.config.sections import Config, Topics
from driftline.stream.events.parse import parse_event
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from driftline.stream.panes.tick import Tick
from load_tests.harness.oracle import messages
from load_tests.harness.ticks_heard import Heard, TicksHeard


def pane(model: str, start: int, end: int, before: int = 0) -> PaneMessage:
    event = parse_event(messages(model, 1)[0])
    return PaneMessage.of(model, "", "predictions", Pane((event,), event.ts, event.ts, (Range(0, start, end),)), before)


def tick(partition: int, slot: int, topic: str = "predictions") -> Tick:
    return Tick(topic, partition, 2, 0, slot * SLOT_MS)


def heard(slot: int, until: int) -> Heard:
    return Heard(slot * SLOT_MS, until * SLOT_MS)


def test_a_model_hears_the_ticks_of_its_partition_between_its_panes() -> None:
    own = TicksHeard(Config(topics=Topics(predictions="predictions")))
    log = [
        tick(0, 10),
        pane("a", 0, 5),
        pane("b", 0, 5),
        tick(1, 7),
        tick(0, 12, "labels"),
        pane("a", 5, 9),
        tick(1, 20),
    ]
    for each in log:
        own.read(0, each)
    own.read(1, tick(0, 99))
    first, both, nothing, last = heard(10, 10), heard(10, 7), heard(10, 0), heard(20, 10)
    assert own.heard["a", Range(0, 0, 5)] == [first, nothing, nothing]
    assert own.heard["a", Range(0, 5, 9)] == [both, last]
    assert own.heard["b", Range(0, 0, 5)] == [first, nothing, nothing, last]


def test_a_pane_that_comes_again_or_before_its_turn_is_the_one_that_was_judged() -> None:
    own = TicksHeard(Config(topics=Topics(predictions="predictions")))
    log = [pane("a", 5, 9, 5), tick(0, 1), pane("a", 0, 5), tick(0, 2), pane("a", 5, 9, 5), tick(0, 3), pane("a", 0, 5)]
    for each in log:
        own.read(0, each)
    assert own.heard == {
        ("a", Range(0, 0, 5)): [heard(1, 1), heard(2, 2)],
        ("a", Range(0, 5, 9)): [heard(2, 2), heard(3, 3)],
    }


def test_offsets_that_begin_again_have_ticks_of_their_own_and_the_last_pane_before_hears_those_between() -> None:
    own = TicksHeard(Config(topics=Topics(predictions="predictions")))
    own.read(0, pane("a", 0, 5))
    before = own.heard
    own.resume({0: 0})
    for each in (tick(0, 1), pane("a", 0, 5), tick(0, 2)):
        own.read(0, each)
    assert before == {("a", Range(0, 0, 5)): [Heard(), heard(1, 1)]}
    assert own.heard == {("a", Range(0, 0, 5)): [heard(1, 1), heard(2, 2)]}
