"""The model's clock: with ticks, neither old events nor wrong clocks move a deadline, and a quiet model has one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.config.incidents import Incidents
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.clock import later
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range
from tests.harness.histories import MODEL, baseline, events

SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000
NOW = 1_767_225_600_000


@dataclass
class Live:
    """One model, as a judge sees it: panes of 100 events, and ticks."""

    incidents: Incidents
    state: ModelState = field(default_factory=ModelState)
    ticks: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        self.monitor = Monitor(MODEL, ModelConfig(clock=100, incidents=self.incidents), baseline())

    def pane(self, at: int, shift: float = 0.0) -> list[str]:
        """Judge a pane of events at a time; what is reported."""
        content, run = baseline().sketch_events(events(3, self.seen, 100, shift)), Range(0, self.seen, self.seen + 100)
        self.seen += 100
        self.state, steps = self.monitor.judge(self.state, Pane(content, at, at, (run,)), ticks=self.ticks)
        return reported(steps)

    def panes(self, count: int, at: int, shift: float = 0.0) -> list[str]:
        return [step for i in range(count) for step in self.pane(at + SECOND * i, shift)]

    def tick(self, at: int) -> list[str]:
        """Let it become a time; what is reported."""
        self.ticks = max(self.ticks, at)
        self.state, steps = self.monitor.tick(self.state, self.ticks)
        return reported(steps)


def reported(steps: list[Step]) -> list[str]:
    return [f"{each.status} {each.at}" for each in steps]


def live(**incidents: str) -> Live:
    """A model that is healthy until `NOW`."""
    own = Live(Incidents(**({"hold": "0s", "recovery": "0s", "cooldown": "0s"} | incidents)))
    assert own.panes(20, NOW - 20 * SECOND) == own.tick(NOW) == []
    return own


def test_predictions_of_last_month_do_not_end_the_hold_of_a_drift() -> None:
    """Judged by the panes alone, it had begun a month ago with the first of the late ones, and fired a second later."""
    own = live(hold="1h")
    assert own.panes(10, NOW - 30 * DAY, shift=3) == []
    assert own.panes(10, NOW + SECOND, shift=3) == []
    assert own.tick(NOW + HOUR - 1) == []
    assert own.tick(NOW + HOUR) == [f"firing {NOW + HOUR}"]


def test_predictions_of_last_month_do_not_end_a_recovery() -> None:
    own = live(recovery="1h")
    assert own.panes(10, NOW, shift=3) == [f"firing {NOW}"]
    assert own.panes(40, NOW - 30 * DAY) == []
    assert own.panes(10, NOW + SECOND) == []
    (resolved,) = own.tick(NOW + 2 * HOUR)
    assert resolved == f"resolved {NOW + 9 * SECOND}", "it recovered when the newest of its panes were those"


def test_a_drift_whose_model_falls_silent_is_reported_when_it_was_held_for_long_enough() -> None:
    own = live(hold="1h")
    assert own.panes(10, NOW, shift=3) == []
    assert [own.tick(NOW + minute * 60 * SECOND) for minute in range(60)] == [[]] * 60
    assert own.tick(NOW + HOUR) == [f"firing {NOW + HOUR}"]


def test_a_model_that_recovers_and_falls_silent_is_resolved_and_its_cooldown_ends() -> None:
    own = live(recovery="1h", cooldown="2h")
    own.panes(10, NOW, shift=3)
    own.panes(40, NOW + 10 * SECOND)
    assert own.tick(NOW + 59 * 60 * SECOND) == []
    assert len(own.tick(NOW + 2 * HOUR)) == 1
    assert own.state.judge
    assert own.state.incidents
    own.tick(NOW + 4 * HOUR)
    assert not own.state.incidents


def test_a_tick_that_changes_nothing_leaves_the_state_as_it_is() -> None:
    own = live(hold="1h")
    own.panes(10, NOW, shift=3)
    before = own.state
    assert own.monitor.tick(before, NOW + SECOND)[0] is before, "or every tick would be a commit for each open incident"


@pytest.mark.parametrize("ahead", [2 * DAY, 365 * DAY])
def test_events_of_a_wrong_clock_put_off_nothing_beyond_the_next_tick(ahead: int) -> None:
    own = live(recovery="1h")
    own.panes(10, NOW, shift=3)
    own.pane(NOW + ahead, shift=3)
    own.tick(NOW + 10 * SECOND)
    own.panes(40, NOW + 10 * SECOND)
    own.tick(NOW + 100 * SECOND)
    assert len(own.tick(NOW + 2 * HOUR)) == 1


@pytest.mark.parametrize("ahead", [2 * DAY, 365 * DAY])
def test_events_of_a_wrong_clock_end_neither_a_hold_nor_a_recovery(ahead: int) -> None:
    own = live(hold="1h", recovery="1h")
    own.panes(10, NOW, shift=3)
    assert own.pane(NOW + ahead, shift=3) == []
    assert own.tick(NOW + HOUR - 1) == []
    assert own.tick(NOW + HOUR) == [f"firing {NOW + HOUR}"]
    assert own.panes(40, NOW + HOUR) + own.pane(NOW + ahead) == []
    assert own.tick(NOW + 2 * HOUR - 1) == []
    assert len(own.tick(NOW + 3 * HOUR)) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(NOW, NOW + DAY // 2))))
def test_a_clock_never_falls_while_panes_and_ticks_are_within_a_day(told: list[tuple[bool, int]]) -> None:
    clock, ticks = NOW, NOW
    for is_tick, at in told:
        ticks = max(ticks, at) if is_tick else ticks
        after = later(clock, ticks, 0 if is_tick else at)
        assert after >= max(clock, at)
        clock = after
