"""The pipeline over whole logs: the same messages give the same alerts, however they are cut and mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pytest

from driftline.stream.alerts.build import build_alert, encode_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.events.event import values_of
from driftline.stream.events.parse import parse_event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range, Source
from driftline.stream.replay.pipeline import Pipeline
from load_tests.harness.oracle import as_json, interleave, messages

# One event a millisecond, so incidents resolve as soon as they recover.
SECTIONS = {
    "panes": {"events": 100, "seconds": None},
    "defaults": {"learn_events": 700, "incidents": {"recovery": "0s", "cooldown": "0s"}},
}
CONFIG = Config.model_validate(SECTIONS)
# 3000 events; in 1000 of them, in the middle, the amount is 2 σ higher.
FRAUD = messages("fraud", 3000, drift=(1500, 2500))
CHURN = messages("churn", 3000, drift=(2000, 3000))


def baseline_of(log: Sequence[bytes], **options: Any) -> Baseline:
    events = [parse_event(message) for message in log]
    return build_baseline(events, {"model": events[0].model}, BuildSettings(**options))


@dataclass
class Result:
    alerts: list[IncidentAlert]
    pipeline: Pipeline

    @property
    def lines(self) -> bytes:
        return b"\n".join(map(encode_alert, self.alerts))

    def of(self, model: str) -> list[dict[str, Any]]:
        return [as_json(each)["data"] for each in self.alerts if each.data.component == model]

    def reported(self, model: str = "fraud") -> list[tuple[str, list[str]]]:
        return [(each["status"], [s["signal"] for s in each["evidence"]["signals"]]) for each in self.of(model)]


def run(
    log: Sequence[bytes | None],
    *baselines: Baseline,
    config: Config = CONFIG,
    chunks: Sequence[int] = (1000,),
) -> Result:
    """Run the log through a pipeline, in chunks of these lengths in turn."""
    pipeline = Pipeline(config, {each.model: each for each in baselines})
    sketcher, alerts, at, turn = pipeline.sketcher(0, 0), [], 0, 0
    while at < len(log):
        part = log[at : at + chunks[turn % len(chunks)]]
        runs = sketcher.consume(np.arange(at, at + len(part)), part).runs
        alerts += [message for each in runs for message in pipeline.judge(each)]
        at, turn = at + len(part), turn + 1
    return Result(alerts + pipeline.judge(sketcher.close(at)), pipeline)


GIVEN = baseline_of(messages("fraud", 3000, first=10_000))


def configured(**model: Any) -> Config:
    return Config.model_validate({**SECTIONS, "models": {"fraud": model}})


def test_a_drift_is_reported_with_its_offsets_and_its_start() -> None:
    result = run(FRAUD, GIVEN)
    assert result.reported() == [("firing", ["features.amount"]), ("resolved", ["features.amount"])]
    fired, resolved = result.of("fraud")
    (evidence,) = fired["evidence"]["signals"]
    (offsets,) = evidence["offsets"]
    assert 1400 <= offsets["start"] <= 1500 < offsets["end"] <= 1700
    assert evidence["since"] == fired["starts_at"] == f"2026-01-01T00:00:01.{offsets['start'] - 1000}Z"
    assert fired["evidence"]["baseline"] == GIVEN.content_hash
    assert (fired["seq"], resolved["seq"]) == (1, 2)
    assert fired["incident_id"] == resolved["incident_id"]
    assert fired["ends_at"] is None
    assert fired["starts_at"] < resolved["ends_at"] == resolved["emitted_at"]


def test_the_same_log_gives_the_same_bytes_twice() -> None:
    assert run(FRAUD, GIVEN).lines == run(FRAUD, GIVEN).lines != b""


@pytest.mark.parametrize("baselines", [(GIVEN,), ()], ids=["given", "learned"])
@pytest.mark.parametrize("chunks", [[4000], [1], [99, 1, 101], [650, 3, 40]], ids=str)
def test_any_chunking_gives_the_same_alerts(chunks: list[int], baselines: tuple[Baseline, ...]) -> None:
    log = FRAUD[:2000]
    assert run(log, *baselines, chunks=chunks).lines == run(log, *baselines).lines != b""


@pytest.mark.parametrize("chunk", [1, 37, 4000])
@pytest.mark.parametrize("learn", [700, 651])
def test_a_model_without_a_baseline_learns_from_exactly_its_first_events(learn: int, chunk: int) -> None:
    """Even if the last of them is inside a pane of 100, and whatever else is in the same chunk."""
    config = Config.model_validate({"panes": {"events": 100, "seconds": None}, "defaults": {"learn_events": learn}})
    result = run(FRAUD[:1400], config=config, chunks=[chunk])
    learned = result.pipeline.states["fraud"].learned
    assert learned is not None
    expected = build_baseline([parse_event(message) for message in FRAUD[:learn]], {"learned": True})
    assert learned.content_hash == expected.content_hash
    assert learned.about["rows"] == learn
    assert learned.about["learned"] is True
    state = result.pipeline.states["fraud"].judge
    assert state.seen + (state.pending.content.n if state.pending else 0) == 1400 - learn


@pytest.mark.parametrize("chunk", [1, 37, 4000])
def test_a_warm_up_ends_early_when_its_events_hold_too_many_values(chunk: int) -> None:
    """It must not fill memory, and a model that logs documents still gets a baseline."""
    limits = {"sample_values": 10_000}
    config = Config.model_validate({"panes": {"events": 100, "seconds": None}, "limits": limits})
    rows = [orjson.loads(message) for message in FRAUD[:1400]]
    for row in rows:
        row["features"]["note"] = f"{row['id']} " * 400
    result = run([orjson.dumps(row) for row in rows], config=config, chunks=[chunk])
    learned = result.pipeline.states["fraud"].learned
    assert learned is not None
    assert 100 <= learned.total.n < 1000
    events = [parse_event(orjson.dumps(row)) for row in rows[: learned.total.n]]
    cut = [
        replace(each, signals=dict(each.signals, **{"features.note": each.signals["features.note"][:1000]}))
        for each in events
    ]
    assert sum(map(values_of, cut[:-1])) < 10_000 <= sum(map(values_of, cut))
    reason = result.pipeline.monitors["fraud"].shortened_by(learned)
    facts, remedy = reason.split("; ")
    assert facts == f"learn_events is 5,000, but {learned.total.n:,} events hold 10,000 values"
    assert remedy == "for more, raise limits.sample_values"


def test_a_warm_up_never_ends_with_less_than_a_hundred_events() -> None:
    config = Config.model_validate({"panes": {"events": 100, "seconds": None}, "limits": {"sample_values": 10_000}})
    rows = [orjson.loads(message) for message in FRAUD[:400]]
    for row in rows:
        row["features"] |= {f"f{i}": 1.5 for i in range(500)}
    learned = run([orjson.dumps(row) for row in rows], config=config).pipeline.states["fraud"].learned
    assert learned.total.n == 100


def test_a_learned_baseline_gives_the_alerts_that_the_same_given_baseline_gives_for_the_rest() -> None:
    learned = run(FRAUD)
    baseline = learned.pipeline.states["fraud"].learned
    given = run(FRAUD[700:], baseline)
    assert (
        learned.reported() == given.reported() == [("firing", ["features.amount"]), ("resolved", ["features.amount"])]
    )
    assert [each["starts_at"] for each in learned.of("fraud")] == [each["starts_at"] for each in given.of("fraud")]
    assert learned.pipeline.counts["fraud"].learned_from == 700


def test_a_model_with_too_few_events_is_still_warming_up() -> None:
    result = run(FRAUD[:300] + CHURN[:900])
    assert result.pipeline.counts["fraud"].too_few == 300
    assert result.pipeline.counts["churn"].learned_from == 700


@pytest.mark.parametrize("features", [{"a": None}, {"a": {"b": None}}, {"a": []}])
def test_events_without_values_neither_stop_the_pipeline_nor_fill_the_sample(features: dict[str, Any]) -> None:
    """A model that sent only nulls once stopped the pipeline for all models, after `learn_events` of them."""
    row = {"id": "1", "ts": 1_767_225_600_000, "model": "empty", "features": features}
    result = run(interleave([orjson.dumps(row)] * 3000, FRAUD))
    assert len(result.pipeline.states["empty"].sample) < 700
    assert result.reported()[0] == ("firing", ["features.amount"])


def test_two_models_in_one_log_are_independent() -> None:
    """The models' panes end together, so they are cut elsewhere than alone; the findings are the same."""
    both = run(interleave(FRAUD, CHURN), GIVEN)
    assert both.reported("fraud") == run(FRAUD, GIVEN).reported("fraud")
    assert both.reported("churn") == run(CHURN).reported("churn") == [("firing", ["features.amount"])]
    # The alerts are equal to the byte if only the other model's values differ: its drift has no influence.
    calm = run(interleave(FRAUD, messages("churn", 3000)), GIVEN)
    assert calm.of("fraud") == both.of("fraud")
    assert calm.of("churn") == []


def test_messages_that_are_no_events_change_nothing_but_offsets() -> None:
    bad: list[bytes | None] = [b"", None, b"{", b'{"id": 1}', b"\xff", b"[]"]
    log = [message for i, good in enumerate(FRAUD) for message in ([good, bad[i % 6]] if i % 50 == 0 else [good])]
    assert run(log, GIVEN).reported() == run(FRAUD, GIVEN).reported()


@pytest.mark.parametrize("known", [("fraud",), ("fraud", "churn"), ()])
def test_an_event_without_a_model_is_rejected(known: tuple[str, ...]) -> None:
    """With a single known model, events without a model once counted as its own."""
    row = orjson.loads(FRAUD[0])
    nameless = [{**row, "model": name} for name in (None, "", [])] + [{k: v for k, v in row.items() if k != "model"}]
    sketcher = Pipeline(CONFIG, {model: baseline_of(messages(model, 500)) for model in known}).sketcher(0, 0)
    rejections = sketcher.consume(np.arange(4), [orjson.dumps(each) for each in nameless]).rejections
    assert [each.reason.partition(":")[0] for each in rejections] == ["model"] * 4


def test_a_pane_that_comes_twice_counts_once() -> None:
    """Rewound and published again, as after a crash: runs that start before the delivered offset are dropped."""
    events = [parse_event(message) for message in FRAUD]
    monitor = Monitor("fraud", ModelConfig(), GIVEN)

    def pane(start: int, partition: int = 0) -> Pane[Any]:
        part = events[start : start + 100]
        return Pane(GIVEN.sketch_events(part), part[0].ts, part[-1].ts, (Range(partition, start, start + 100),))

    def play(starts: Sequence[int]) -> tuple[ModelState, list[Any]]:
        state, all_steps = ModelState(), []
        for start in starts:
            state, steps = monitor.judge(state, pane(start))
            all_steps += steps
        return state, all_steps

    once, steps_once = play(range(0, 3000, 100))
    again, steps_again = play([*range(0, 1500, 100), *range(0, 1800, 100), *range(1700, 3000, 100), 0, 2900])
    assert steps_once == steps_again != []
    assert again.consumed == once.consumed == {Source(0): 3000}
    assert again.judge.seen == once.judge.seen == 3000
    # The same offsets of another partition are other events.
    assert monitor.judge(once, pane(0, partition=1))[0].consumed == {Source(0): 3000, Source(1): 100}


def test_the_same_offsets_of_another_topic_are_other_events() -> None:
    """They were once dropped in silence, as known."""
    events = [parse_event(message) for message in FRAUD]
    monitor = Monitor("fraud", ModelConfig(), GIVEN)

    def pane(start: int) -> Pane[Any]:
        part = events[start : start + 100]
        return Pane(GIVEN.sketch_events(part), part[0].ts, part[-1].ts, (Range(0, start, start + 100),))

    state, _ = monitor.judge(ModelState(), pane(500))
    for start in (0, 100, 0):
        state, _ = monitor.judge(state, pane(start), "more")
    assert state.consumed == {Source(0): 600, Source(0, "more"): 200}
    assert state.judge.seen == 300


def test_an_alert_of_another_topics_events_gives_no_offsets() -> None:
    """Those that it gives are of the predictions topic."""
    events = [parse_event(message) for message in FRAUD]
    monitor, state, alerts = Monitor("fraud", ModelConfig(), GIVEN), ModelState(), []
    for start in range(0, 3000, 100):
        part = events[start : start + 100]
        pane = Pane(GIVEN.sketch_events(part), part[0].ts, part[-1].ts, (Range(0, start, start + 100),))
        state, steps = monitor.judge(state, pane, "more")
        alerts += [build_alert(monitor, step, mode="live", topic="predictions", emitted_at=0) for step in steps]
    assert alerts
    assert all(not each.offsets for alert in alerts for each in alert.data.evidence.signals)


@pytest.mark.parametrize(
    ("signals", "selected"),
    [
        ({"include": ["features.*"]}, {"features.amount", "features.country"}),
        ({"exclude": ["features.amount"]}, {"features.country", "score"}),
        ({"include": ["features.*", "score"], "exclude": ["*.c*"]}, {"features.amount", "score"}),
    ],
)
def test_only_selected_signals_are_monitored_with_a_given_or_a_learned_baseline(
    signals: dict[str, Any], selected: set[str]
) -> None:
    for baselines in ((GIVEN,), ()):
        result = run(FRAUD, *baselines, config=configured(signals=signals))
        state = result.pipeline.states["fraud"]
        baseline = result.pipeline.monitors["fraud"].baseline(state)
        assert {signal.name for signal in baseline.layout.signals} == selected
        found = {signal for _, names in result.reported() for signal in names}
        assert found == {"features.amount"} & selected


def test_configured_kinds_apply_to_a_learned_baseline() -> None:
    result = run(FRAUD[:800], config=configured(kinds={"score": "categorical"}))
    kinds = {each.name: each.kind.value for each in result.pipeline.states["fraud"].learned.layout.signals}
    assert kinds == {"features.amount": "numeric", "features.country": "categorical", "score": "categorical"}


def test_pinned_windows_apply_to_the_model_that_they_are_configured_for() -> None:
    pinned = run(FRAUD, GIVEN, config=configured(windows=["2000 events"]))
    assert pinned.reported()[0] == ("firing", ["features.amount"])
    (evidence,) = pinned.of("fraud")[0]["evidence"]["signals"]
    assert 2000 <= evidence["events"] < 2600
    seconds = run(FRAUD, GIVEN, config=configured(windows=["2s"]))
    assert seconds.reported()[0] == ("firing", ["features.amount"])
    assert 2000 <= seconds.of("fraud")[0]["evidence"]["signals"][0]["events"] < 2600


def test_a_model_judged_against_its_own_past_needs_no_matching_baseline() -> None:
    odd = baseline_of(messages("fraud", 1000, drift=(0, 1000)))
    assert run(FRAUD[:1000], odd).reported()[0][0] == "firing"
    against_past = run(FRAUD, odd, config=configured(reference="past"))
    assert [status for status, _ in against_past.reported()] == ["firing", "resolved", "updated", "resolved"]
    assert against_past.of("fraud")[0]["evidence"]["signals"][0]["against"] == "past"


def test_late_and_future_events_do_not_change_what_is_found() -> None:
    config = Config.model_validate({"panes": {"events": 100, "seconds": 0.1}})
    shuffled = [*FRAUD]
    for i in range(50, 3000, 400):
        late = orjson.loads(shuffled[i]) | {"ts": 1_767_225_600_000 - 5_000_000}
        future = orjson.loads(shuffled[i + 7]) | {"ts": "2099-01-01T00:00:00Z"}
        shuffled[i], shuffled[i + 7] = orjson.dumps(late), orjson.dumps(future)
    assert run(shuffled, GIVEN, config=config).reported() == run(FRAUD, GIVEN, config=config).reported()
