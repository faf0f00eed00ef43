"""A model's traffic stops, falls or rises: an incident of its own, from the tick that shows it to one that ends it.

Traffic has a daily cycle, and is learned for 16 days; a tick comes every 10 s of the time that the test lets pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from driftline.detectors.decision.rates import HOUR
from driftline.detectors.decision.traffic import EVERY_DAY, Calendar
from driftline.stream.alerts.build import build_alert
from driftline.stream.config.absence import Absence
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.absence import TrafficJudge
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.numbers import forget
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range, Source

DAY = 24 * HOUR
BEGIN = 480_000 * HOUR
#: Slot at which the traffic of `known` ends.
NOW = BEGIN + 16 * DAY
CONFIG = ModelConfig()
#: A model that has begun to learn its baseline.
NEW = ModelState({Source(0): 0}, sample=(Event("0", 0, "fraud", "", {"score": 1.0}),))
FULL, HALF, NONE = 100.0, 50.0, 0.0


def expected(slot: int, a_slot: float) -> float:
    return a_slot * (1 - 0.6 * np.cos(2 * np.pi * slot / DAY))


@dataclass
class Model:
    """One model at a slot of time, and the steps of its incidents so far."""

    state: ModelState
    now: int = NOW
    monitor: Monitor = field(default_factory=lambda: Monitor("fraud", CONFIG))
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    steps: list[Step] = field(default_factory=list)

    def pass_time(self, slots: int, a_slot: float, every: int = 1) -> list[Step]:
        """Let time pass with `a_slot` events a slot on average, and a tick after `every` slots; the steps in it."""
        before = len(self.steps)
        for first in range(self.now, self.now + slots, every):
            times = range(first, first + every)
            counts = [(slot, int(self.rng.poisson(expected(slot, a_slot)))) for slot in times]
            self.send(tuple((slot, count) for slot, count in counts if count))
            self.tick(first + every)
        return self.steps[before:]

    def pass_late(self, slots: int, a_slot: float, behind: int) -> list[Step]:
        """As `pass_time`, where events come `behind` slots after their time was complete."""
        before = len(self.steps)
        for slot in range(self.now - behind, self.now - behind + slots):
            count = int(self.rng.poisson(expected(slot, a_slot)))
            self.send(((slot, count),) if count else ())
            self.tick(self.now + 1)
        return self.steps[before:]

    def send(self, slots: tuple[tuple[int, int], ...]) -> None:
        """A pane with events in these slots."""
        if slots:
            end = self.state.consumed.get(Source(0), 0)
            pane = Pane((), 0, 0, (Range(0, end, end + 1),), slots)
            self._take(self.monitor.judge(self.state, pane, until=self.now * SLOT_MS))

    def score(self, slot: int) -> None:
        """A pane with one event, in this slot."""
        end = self.state.consumed.get(Source(0), 0)
        event = Event(str(end), slot * SLOT_MS, "fraud", "", {"score": 1.0})
        pane = Pane((event,), event.ts, event.ts, (Range(0, end, end + 1),), ((slot, 1),))
        self._take(self.monitor.judge(self.state, pane, until=self.now * SLOT_MS))

    def tick(self, until: int, reached: int | None = None) -> None:
        """A tick that says that all partitions are read up to one slot, and the farthest one up to another."""
        self.now = until
        self._take(self.monitor.tick(self.state, (reached or until) * SLOT_MS, until * SLOT_MS))

    def _take(self, judged: tuple[ModelState, list[Step]]) -> None:
        self.state, steps = judged
        self.steps += steps


@cache
def _known(a_slot: float) -> ModelState:
    model = Model(NEW, BEGIN)
    model.tick(BEGIN)
    assert model.pass_time(16 * DAY, a_slot, every=HOUR) == []
    return model.state


def known(a_slot: float = FULL, config: ModelConfig = CONFIG, calendar: Calendar = EVERY_DAY) -> Model:
    """A model of which 16 days are known."""
    return Model(_known(a_slot), monitor=Monitor("fraud", config, calendar=calendar))


def reported(steps: list[Step]) -> Iterator[tuple[str, str, str | None]]:
    for step in steps:
        yield step.status.value, step.incident.severity, step.resolution


def titles(model: Model) -> list[str]:
    return [
        build_alert(model.monitor, step, mode="live", topic="predictions", emitted_at=step.at).data.title
        for step in model.steps
    ]


def described(model: Model, step: Step) -> str:
    return build_alert(model.monitor, step, mode="live", topic="predictions", emitted_at=step.at).data.description


def test_a_model_that_stops_is_a_critical_incident_at_the_next_tick_and_resolved_when_its_traffic_returns() -> None:
    model = known()
    assert model.pass_time(HOUR, FULL) == []
    stopped = model.now
    (fired,) = model.pass_time(30, NONE)
    assert (fired.at, fired.incident.since) == ((stopped + 1) * SLOT_MS, stopped * SLOT_MS)
    (resolved,) = model.pass_time(10, FULL)
    assert resolved.at == (stopped + 31) * SLOT_MS
    assert [*reported([fired, resolved])] == [("firing", "critical", None), ("resolved", "critical", "recovered")]
    assert titles(model) == [
        "fraud: traffic stopped (no event, 45 expected) since 2024-10-20 01:00 UTC",
        "fraud: its traffic is as expected again",
    ]
    assert model.pass_time(HOUR, FULL) == []


def test_a_model_of_ten_events_a_day_is_missed_after_days_and_back_with_its_first_event() -> None:
    model = known(10 / DAY, CONFIG.model_copy(update={"absence": Absence(false_pages=1.0)}))
    (fired,) = model.pass_time(3 * DAY, NONE, every=6)
    assert DAY / 2 < fired.at // SLOT_MS - NOW < 2 * DAY
    model.send(((model.now, 1),))
    model.tick(model.now + 1)
    assert model.steps[-1].resolution == "recovered"


def test_a_tenth_of_the_models_false_pages_is_for_its_traffic() -> None:
    """By the same threshold as of a number of its own; of a rate per event, it has the default."""

    def threshold(allowed: dict[str, Any]) -> float:
        model = known(1.0, ModelConfig.model_validate(allowed))
        (fired,) = model.pass_time(HOUR, NONE)
        return fired.findings[0].threshold

    share = threshold({"false_pages": "5 per month"})
    assert share == threshold({"absence": {"false_pages": 0.5}})
    assert share != threshold({"false_pages": "1 per month"}) == threshold({})
    assert threshold({"false_pages": "5 per month", "absence": {"false_pages": 0.1}}) == threshold({})


def test_a_partition_that_is_behind_is_no_silence() -> None:
    """Its events may be those that are missing: time is complete only when all partitions are read up to it."""
    model = known()
    model.pass_time(6, FULL)
    complete = model.now
    for ahead in range(1, 2 * HOUR):
        model.tick(complete, reached=complete + ahead)
    assert model.steps == []
    model.send(tuple((complete + slot, 40) for slot in range(2 * HOUR)))
    model.tick(complete + 2 * HOUR)
    assert model.steps == []


@pytest.mark.parametrize("odd", [0, 1])
def test_a_clock_that_is_a_day_ahead_leaves_nothing_unknown_although_ticks_are_missed(odd: int) -> None:
    """A tick that does not come, as of a worker that is restarted, is no backlog, also if an hour was to be learned."""
    model, minute = known(), 6
    began = model.now
    for slot in range(began, began + 64 * HOUR, minute):
        own = [(each, int(model.rng.poisson(expected(each, FULL)))) for each in range(slot, slot + minute)]
        model.send((*own, (slot + 30 * HOUR, 1)))
        if slot % HOUR or slot // HOUR % 2 == odd:
            model.tick(slot + minute)
    assert model.steps == []
    assert model.state.traffic is not None
    assert model.state.traffic.counts.unknown[1] <= began


def test_what_one_partition_had_read_before_traffic_is_judged_is_not_known_of_another_that_is_behind() -> None:
    """Its events were judged, and not counted: of those hours, only what comes later from the other is known."""
    judge = TrafficJudge(CONFIG, EVERY_DAY)
    state, _ = judge.judge(None, NOW * SLOT_MS, (NOW + 5 * HOUR) * SLOT_MS, newest=lambda: NOW * SLOT_MS)
    assert state is not None
    assert state.counts.unknown == (0, NOW + 5 * HOUR)


def test_a_model_whose_events_come_minutes_late_is_judged_minutes_later_and_pages_only_when_it_stops() -> None:
    model = known()
    model.pass_late(HOUR, FULL, behind=30)
    began = [*reported(model.steps)]
    assert began[1:] == [("resolved", "critical", "recovered")], "that it began to be late was news"
    assert model.pass_late(3 * HOUR, FULL, behind=30) == []
    stopped = model.now
    (fired,) = model.pass_time(60, NONE)
    assert fired.incident.since == (stopped - 30) * SLOT_MS
    assert fired.at == (stopped - 29) * SLOT_MS, "of what was complete then, five minutes and a bit later"


def test_a_model_that_was_always_late_is_learned_without_gaps() -> None:
    model = Model(NEW, BEGIN)
    model.tick(BEGIN)
    assert model.pass_late(DAY // 2, FULL, behind=250) == []
    assert model.state.traffic is not None
    assert (model.state.traffic.counts.rates.learned, model.state.traffic.counts.rates.longest) == (10 * HOUR, 0)


def test_a_model_whose_events_come_more_than_an_hour_late_is_not_judged_and_learns_nothing() -> None:
    model = known()
    fired, *others, ended = model.pass_late(2 * HOUR, FULL, behind=500)
    assert fired.status is Status.FIRING
    assert (ended.status, ended.resolution) == (Status.RESOLVED, "unwatched")
    assert others == []
    known_before = model.state.traffic.counts.rates.learned
    assert model.pass_late(6 * HOUR, FULL, behind=500) == []
    assert model.state.traffic.counts.rates.learned == known_before


def test_a_few_old_events_delay_no_judgement() -> None:
    """Of a backfill, or of clients that were offline."""
    model = known()
    for slot in range(NOW, NOW + 200):
        model.send(((slot - 300, 1), (slot, 40)))
        model.tick(slot + 1)
    model.send(tuple((slot - 9 * DAY, 100) for slot in range(200)))
    assert model.state.traffic is not None
    assert model.state.traffic.delays.usual == 0


def test_a_worker_that_was_down_for_a_minute_pages_nobody() -> None:
    model = known()
    model.pass_time(6, FULL)
    assert model.pass_time(6, FULL, every=6) == []


def test_half_the_traffic_is_a_warning_and_becomes_critical_when_the_rest_stops() -> None:
    model = known()
    half = model.pass_time(HOUR, HALF)
    stopped = model.pass_time(30, NONE)
    assert [*reported([*half, *stopped])] == [("firing", "warning", None), ("updated", "critical", None)]
    assert "fell to" in titles(model)[0]
    assert model.pass_time(30, FULL)[0].resolution == "recovered"


def test_twice_the_traffic_is_an_incident() -> None:
    model = known()
    (fired,) = model.pass_time(60, 2 * FULL)
    assert fired.findings[0].test.statistic == "many"
    assert "rose to" in titles(model)[0]


def test_two_hundred_times_the_traffic_is_no_stop() -> None:
    model = known(FULL / 10)
    model.pass_time(6, 20 * FULL)
    assert {step.incident.severity for step in model.steps} == {"warning"}
    assert model.steps[0].findings[0].effect > 0.99
    (alert, *_) = (described(model, step) for step in model.steps)
    assert "warning by incidents.severity[3] of fraud" in alert.splitlines()


def test_a_page_of_a_stop_says_what_makes_it_as_severe_as_it_is() -> None:
    model = known()
    (fired,) = model.pass_time(6, NONE)
    assert "critical by absence.stopped of fraud" in described(model, fired).splitlines()
    model = known(config=CONFIG.model_copy(update={"absence": Absence(stopped="warning")}))
    (fired,) = model.pass_time(6, NONE)
    assert "warning by absence.stopped of fraud" in described(model, fired).splitlines()


def test_less_traffic_for_a_week_is_the_new_normal() -> None:
    model = known()
    fired, replaced = model.pass_time(7 * DAY + HOUR, HALF, every=60)
    assert (fired.status, replaced.status, replaced.resolution) == (Status.FIRING, Status.RESOLVED, "replaced")
    assert model.pass_time(DAY, HALF, every=30) == []
    (stopped,) = model.pass_time(30, NONE)
    assert stopped.findings[0].effect == 1


def test_silence_never_becomes_normal() -> None:
    model = known()
    assert len(model.pass_time(9 * DAY, NONE, every=60)) == 1


def test_a_planned_stop_is_not_learned_and_the_hours_of_its_return_are() -> None:
    """A silence holds back its page; the incident is there all the same."""
    model, day = known(), known()
    model.pass_time(HOUR, FULL)
    stopped = model.pass_time(6 * HOUR, NONE, every=6)
    returned = model.pass_time(17 * HOUR, FULL, every=6)
    day.pass_time(DAY, FULL, every=6)
    assert [*reported([*stopped, *returned])] == [("firing", "critical", None), ("resolved", "critical", "recovered")]
    assert model.state.traffic is not None
    assert day.state.traffic is not None
    (rates, usual) = (each.state.traffic.counts.rates for each in (model, day))
    assert usual.learned - rates.learned in (6 * HOUR, 7 * HOUR), "an hour is learned as a whole or not at all"
    assert np.allclose(rates.shapes[2], usual.shapes[2], rtol=0.2)


def test_a_trickle_ends_no_stop() -> None:
    model = known()
    model.pass_time(HOUR, FULL)
    model.pass_time(30, NONE)
    for _ in range(30):
        model.send(((model.now, 1),))
        model.tick(model.now + 1)
    assert [step.status for step in model.steps] == [Status.FIRING]


def test_traffic_that_stops_again_and_again_pages_twice_within_the_cooldown() -> None:
    model = known()
    for _ in range(5):
        model.pass_time(12, NONE)
        model.pass_time(12, FULL)
    assert [step.status for step in model.steps] == [Status.FIRING, Status.RESOLVED, Status.FIRING]
    assert [step.status for step in model.pass_time(2 * HOUR, FULL)] == [Status.RESOLVED]


@pytest.mark.parametrize(("traffic", "said"), [(NONE, True), (HALF, False), (2 * FULL, False)])
def test_a_page_of_a_stop_says_how_it_ends_for_a_model_that_is_taken_out_of_service(traffic: float, said: bool) -> None:
    model = known()
    (fired,) = model.pass_time(60, traffic)
    assert ("set `absence: {false_pages: null}` for it" in described(model, fired)) == said


def test_traffic_is_not_judged_where_no_false_page_is_allowed_and_an_open_incident_ends() -> None:
    model = known()
    model.pass_time(6, NONE)
    model.monitor = Monitor("fraud", CONFIG.model_copy(update={"absence": Absence(false_pages=None)}))
    assert len(model.state.open_incidents) == 1
    (ended,) = model.pass_time(6, NONE)
    assert (ended.status, ended.resolution) == (Status.RESOLVED, "unwatched")
    assert model.state.open_incidents == []
    assert model.state.traffic is None


def test_the_time_of_the_calendar_is_neither_judged_nor_learned() -> None:
    holiday = Calendar(excluded=((NOW + 10, NOW + 10 + DAY),))
    model = known(calendar=holiday)
    model.pass_time(10, FULL)
    assert model.pass_time(DAY, NONE, every=3) == []
    assert model.pass_time(HOUR, FULL) == []
    assert len(model.pass_time(6, NONE)) == 1


@pytest.mark.parametrize("first", [1, 2 * HOUR, 7 * HOUR])
def test_events_that_were_too_far_ahead_of_a_partition_that_is_behind_are_no_silence(first: int) -> None:
    """They came while time stood still, and are left out by the time of then."""
    model, begin, reached = known(), NOW, NOW + 30 * HOUR
    model.send(tuple((slot, round(expected(slot, FULL))) for slot in range(begin, reached)))
    model.tick(begin + first, reached)
    for until in range(begin + first + HOUR, reached, HOUR):
        model.tick(until, reached)
    model.tick(reached)
    assert model.steps == []


def test_until_two_weeks_are_known_a_silence_pages_when_it_is_eight_times_the_longest_so_far() -> None:
    model = Model(NEW, BEGIN)
    model.tick(BEGIN)
    model.pass_time(3 * DAY, FULL, every=30)
    (fired,) = model.pass_time(2 * HOUR, NONE)
    assert (fired.findings[0].test.statistic, fired.findings[0].threshold) == ("gap", 0.0)
    assert "stopped (silent for 1 h, 8 times its longest gap)" in titles(model)[0]
    assert fired.at == (BEGIN + 3 * DAY + HOUR) * SLOT_MS
    assert model.pass_time(6, FULL)[0].resolution == "recovered"


def test_a_pane_that_comes_again_is_counted_once() -> None:
    model = known()
    pane = Pane((), 0, 0, (Range(0, 10**7, 10**7 + 1),), ((NOW, 7),))
    once, _ = model.monitor.judge(model.state, pane)
    twice, _ = model.monitor.judge(once, pane)
    assert once.traffic == twice.traffic != model.state.traffic


def test_events_before_the_first_tick_are_not_counted() -> None:
    """Only a tick says how late it is: a model's first event may be from the year 2100."""
    model = Model(NEW, BEGIN)
    model.send(((BEGIN + 10 * DAY, 5),))
    assert model.state.traffic is None
    model.tick(BEGIN)
    model.send(((BEGIN, 5), (BEGIN + 365 * DAY, 5)))
    assert model.state.traffic is not None
    assert model.state.traffic.counts.pending.sum() == 5


def test_events_that_came_before_the_first_tick_are_no_gap_that_a_model_is_known_by() -> None:
    """The first tick speaks of a partition that is behind: what the others hold was judged, and not counted."""
    model, six_hours = Model(ModelState(), BEGIN), 6 * HOUR
    bursts = range(BEGIN, BEGIN + 3 * DAY, six_hours)
    for burst in bursts[:3]:
        model.score(burst)
    model.tick(bursts[0], reached=bursts[2])
    for before, burst in pairwise(bursts[2:]):
        model.tick(before, reached=burst)
        model.score(burst)
    model.tick(bursts[-1] + 3 * HOUR)
    assert model.state.traffic is not None
    assert model.state.traffic.counts.rates.longest == six_hours - 1


def test_traffic_is_learned_anew_after_weeks_without_a_tick() -> None:
    model = known()
    model.pass_time(6, NONE)
    model.tick(model.now + 15 * DAY)
    assert [step.resolution for step in model.steps] == [None, "unwatched"]
    assert model.state.traffic is not None
    assert model.state.traffic.counts.rates.learned == 0


def test_the_incident_of_a_forgotten_model_ends() -> None:
    model = known()
    model.pass_time(6, NONE)
    _, steps = forget(model.state)
    assert [step.status for step in steps] == [Status.RESOLVED]


def test_a_forgotten_model_is_no_longer_judged_and_takes_no_room() -> None:
    model = known()
    model.pass_time(6, NONE)
    model.state, _ = forget(model.state)
    assert model.state.last_seq
    before = model.state
    model.tick(model.now + 10 * DAY)
    assert model.state is before


def test_nothing_is_stored_at_a_tick_that_changes_nothing() -> None:
    model = known()
    model.pass_time(6, FULL)
    model.send(((model.now, 40),))
    before = model.state
    model.tick(model.now + 1)
    assert model.state is before


@pytest.mark.parametrize("page_per", ["model", "signal"])
def test_the_incident_has_a_key_of_its_own(page_per: str) -> None:
    rules = CONFIG.incidents.model_copy(update={"page_per": page_per})
    model = known(config=CONFIG.model_copy(update={"incidents": rules}))
    (fired,) = model.pass_time(6, NONE)
    data = build_alert(model.monitor, fired, mode="live", topic="predictions", emitted_at=fired.at).data
    assert data.alert_key == "fraud/traffic"
    assert data.labels == {"model": "fraud", "signal": "traffic"}
    assert data.kind == data.evidence.signals[0].kind == "absence"
    assert "put it into `calendar`" in data.description
