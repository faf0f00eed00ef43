"""A topic whose messages cannot be read, or have new fields, is one incident, and its silent models are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from driftline.stream.alerts.build import build_topic_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.codec.frames import FormatError, frame
from driftline.stream.codec.schema import _PackedSchema, pack_schema, unpack_schema
from driftline.stream.config.incidents import Incidents
from driftline.stream.judge.incidents import Step
from driftline.stream.judge.schema import SchemaJudge, SchemaState, Unread
from driftline.stream.panes.tick import Tick
from tests.judge.test_absence import FULL, HOUR, NONE, SLOT_MS, known, reported

START, TICK, DAY = 1_700_000_000_000, 10_000, 86_400_000


@dataclass
class Topic:
    """A topic of some partitions, each with a tick every 10 s, and the steps of its incidents so far."""

    partitions: int = 1
    state: SchemaState | None = None
    now: int = START
    judge: SchemaJudge = field(default_factory=lambda: SchemaJudge("predictions", Incidents()))
    steps: list[Step] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    stored_fields: tuple[tuple[str, str], ...] | None = None

    def __post_init__(self) -> None:
        self.ticks: dict[int, Tick] = {}
        self.pass_ticks(1, read=0)

    def pass_ticks(
        self, times: int, read: int = 100, rejected: int = 0, fields: tuple[str, ...] = (), only: int | None = None
    ) -> list[Step]:
        """The steps of `times` ticks of each partition, with `read` messages each; rejected of `only`, or of all."""
        before = len(self.steps)
        for _ in range(times):
            self.now += TICK
            for number in range(self.partitions):
                old = self.ticks.get(number)
                refused = (old.rejected.get("not JSON", 0) if old else 0) + (rejected if only in (None, number) else 0)
                tick = Tick(
                    "predictions", number, self.partitions, 0, self.now, (old.read if old else 0) + read,
                    {"not JSON": refused}, tuple(("fraud", name) for name in fields),
                )  # fmt: skip
                self.state, steps = self.judge.judge(self.state, old, tick, self.now)
                self.stored |= pack_schema("predictions", self.state, self.stored_fields)
                self.stored_fields = self.state.fields
                assert unpack_schema("predictions", self.stored) == self.state
                self.ticks[number] = tick
                self.steps += steps
        return self.steps[before:]

    @property
    def alerts(self) -> list[IncidentAlert]:
        return [build_topic_alert(self.judge, each, mode="live", emitted_at=each.at) for each in self.steps]

    @property
    def titles(self) -> list[str]:
        return [each.data.title for each in self.alerts]


def severities(steps: list[Step]) -> Iterator[tuple[str, str]]:
    for step in steps:
        yield step.status.value, step.incident.severity


def test_a_topic_that_turns_into_avro_is_one_critical_incident_until_it_is_read_again() -> None:
    topic = Topic(partitions=3)
    assert topic.pass_ticks(100) == []
    (fired,) = topic.pass_ticks(6, rejected=100)
    assert [*severities([fired])] == [("firing", "critical")]
    assert fired.findings[0].kind == "schema"
    assert topic.pass_ticks(1000, rejected=100) == []
    (resolved,) = topic.pass_ticks(40)
    assert resolved.resolution == "recovered"
    assert topic.titles == [
        "predictions: rejected 0 % → 100 %, nothing can be read (not JSON) since 2023-11-14 22:30 UTC",
        "predictions: its messages are read as usual again",
    ]
    assert "critical: nothing can be read" in topic.alerts[0].data.description.splitlines()


@pytest.mark.parametrize("left", [50, 30, 10, 3])
def test_a_topic_of_which_some_still_cannot_be_read_has_not_recovered(left: int) -> None:
    topic = Topic(judge=SchemaJudge("predictions", Incidents(recovery="0s")))
    topic.pass_ticks(100)
    topic.pass_ticks(60, rejected=100)
    topic.pass_ticks(200, rejected=left)
    assert [each.status for each in topic.steps if each.status == "resolved"] == []
    assert topic.state
    assert topic.state.unreadable.until > topic.now
    (resolved,) = topic.pass_ticks(10)
    assert resolved.resolution == "recovered"


def test_a_tick_with_the_last_messages_that_could_be_read_does_not_hide_that_there_are_no_more() -> None:
    topic = Topic()
    topic.pass_ticks(100)
    topic.pass_ticks(1, rejected=50)
    steps = topic.pass_ticks(6, rejected=100)
    assert steps[-1].incident.severity == "critical"


def test_an_incident_of_a_part_that_becomes_one_of_all_keeps_its_evidence() -> None:
    topic = Topic()
    topic.pass_ticks(100)
    (fired,) = topic.pass_ticks(6, rejected=50)
    (updated,) = topic.pass_ticks(6, rejected=100)
    assert [*severities([fired, updated])] == [("firing", "warning"), ("updated", "critical")]
    (first, last) = (step.findings[0] for step in (fired, updated))
    assert last.evidence == first.evidence >= last.threshold > 0


def test_one_partition_of_eight_that_cannot_be_read_is_a_warning() -> None:
    topic = Topic(partitions=8)
    topic.pass_ticks(100)
    (fired,) = topic.pass_ticks(20, rejected=100, only=5)
    assert [*severities([fired])] == [("firing", "warning")]


def test_ten_messages_a_day_that_cannot_be_read_are_told_on_that_day() -> None:
    topic = Topic()
    for _ in range(400):
        topic.pass_ticks(1, read=1)
        topic.now += DAY // 10
    steps: list[Step] = []
    for _ in range(10):
        steps += topic.pass_ticks(1, read=1, rejected=1)
        topic.now += DAY // 10
    assert steps[0].status == "firing"
    assert steps[-1].incident.severity == "critical"


@pytest.mark.parametrize("rejected", [0, 1, 30])
def test_a_share_that_is_as_always_is_no_incident(rejected: int) -> None:
    topic = Topic(partitions=2)
    assert topic.pass_ticks(3000, rejected=rejected) == []


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_a_share_that_was_higher_than_the_first_messages_showed_is_no_incident(share: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        topic = Topic()
        for rejected in rng.binomial(10, share, 200).tolist():
            topic.pass_ticks(1, read=10, rejected=rejected)
        assert topic.steps == []


def test_a_burst_of_seconds_is_no_incident() -> None:
    topic = Topic(partitions=2)
    topic.pass_ticks(100)
    assert topic.pass_ticks(1, rejected=100) == []
    assert topic.pass_ticks(100) == []


def test_a_share_that_has_been_higher_for_a_week_is_the_usual_one() -> None:
    topic = Topic()
    topic.pass_ticks(100)
    topic.pass_ticks(20, rejected=30)
    topic.now += 8 * DAY
    assert [each.resolution for each in topic.pass_ticks(1, rejected=30)] == ["replaced"]
    assert topic.pass_ticks(100, rejected=30) == []


def test_a_new_field_is_told_once_and_expected_after_a_day() -> None:
    topic = Topic()
    topic.pass_ticks(1, fields=("old",))
    topic.now += 2 * DAY
    (fired,) = topic.pass_ticks(5, fields=("old", "promo"))
    assert topic.titles == ["predictions: fields new: promo of fraud since 2023-11-16 22:13 UTC"]
    assert fired.findings[0].kind == "schema"
    assert topic.pass_ticks(5) == [], "a worker that starts again has sampled nothing yet"
    topic.now += DAY
    assert [each.resolution for each in topic.pass_ticks(5, fields=("old", "promo"))] == ["replaced"]


def test_fields_of_the_first_day_are_learned() -> None:
    topic = Topic()
    assert topic.pass_ticks(5, fields=("a",)) + topic.pass_ticks(5, fields=("a", "b")) == []


def test_a_partition_that_is_heard_for_the_first_time_brings_no_rejections_of_its_past() -> None:
    topic = Topic()
    topic.pass_ticks(100)
    topic.partitions = 2
    topic.ticks.pop(1, None)
    topic.state, steps = topic.judge.judge(
        topic.state, None, Tick("predictions", 1, 2, 0, topic.now, 9000, {"not JSON": 8000}), topic.now
    )
    assert steps == []
    assert topic.pass_ticks(10) == []


def test_a_model_whose_messages_cannot_be_read_is_not_absent_and_one_that_stays_away_is_afterwards() -> None:
    model = known()
    for _ in range(30):
        model.now += 1
        model.state, steps = model.monitor.tick(
            model.state, model.now * SLOT_MS, model.now * SLOT_MS, Unread(10_000, 1 << 62)
        )
        assert steps == []
    assert [*reported(model.pass_time(30, NONE))] == [("firing", "critical", None)]


def test_a_model_that_returns_with_the_topic_is_never_reported() -> None:
    model = known()
    for _ in range(30):
        model.now += 1
        model.state, _ = model.monitor.tick(
            model.state, model.now * SLOT_MS, model.now * SLOT_MS, Unread(10_000, 1 << 62)
        )
    assert model.pass_time(HOUR, FULL) == []


def test_fewer_rejections_than_events_are_missing_explain_no_absence() -> None:
    model = known()
    model.now += 30
    _, steps = model.monitor.tick(model.state, model.now * SLOT_MS, model.now * SLOT_MS, Unread(20, 1 << 62))
    assert [*reported(steps)] == [("firing", "critical", None)]


def test_rejections_are_counted_as_unread_from_the_first_one_on_and_until_the_topic_is_read_again() -> None:
    topic = Topic()
    topic.pass_ticks(100)
    assert topic.state
    assert topic.state.unreadable == Unread()
    topic.pass_ticks(1, rejected=100)
    assert topic.state.unreadable.messages == 99
    topic.pass_ticks(9, rejected=100)
    assert 990 <= topic.state.unreadable.messages <= 1000
    topic.pass_ticks(50)
    assert topic.state.unreadable.until <= topic.now


def test_damaged_bytes_are_refused() -> None:
    state = SchemaState(1, 2, 3, last_seq=-1)
    with pytest.raises(FormatError):
        unpack_schema("predictions", pack_schema("predictions", state))


def test_fields_are_stored_once_and_not_with_each_tick() -> None:
    topic = Topic()
    topic.pass_ticks(1, fields=tuple(f"a field with a long name {i}" for i in range(500)))
    assert topic.state
    assert len(topic.stored["predictions/fields"]) > 10_000
    again = pack_schema("predictions", topic.state, topic.state.fields)
    assert [*again] == ["predictions"]
    assert len(again["predictions"]) < 200
    assert [*pack_schema("predictions", topic.state)] == ["predictions", "predictions/fields"], "not known as stored"


def test_what_was_stored_while_fields_were_not_apart_is_read() -> None:
    state = SchemaState(1, 2, 3, fields=(("fraud", "channel"),))
    old = _PackedSchema(1, 2, 3, (0, 0), (0, 0), {}, 0.0, state.fields, (0, 0), (), 0, 0, 0)
    assert unpack_schema("predictions", {"predictions": frame(b"M", old)}) == state


def test_nothing_is_known_of_a_topic_before_its_first_tick() -> None:
    assert unpack_schema("predictions", {}) is None
