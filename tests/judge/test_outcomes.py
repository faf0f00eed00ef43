"""Outcomes of events that hold their label: counted exactly, judged by their own reference or their first ones."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.detectors.arrays import IntArray
from driftline.detectors.outcomes.classes import ClassesLayout
from driftline.detectors.outcomes.table import OutcomeTable, rows
from driftline.stream.alerts.build import build_alert, iso
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.judge.incidents import OUTCOMES, Status, Step
from driftline.stream.judge.outcome_changes import confused
from driftline.stream.judge.outcome_state import OutcomesState
from driftline.stream.outcomes.tasks import ClassesTask, CodedRows, NumbersTask
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.replay.pipeline import Pipeline
from tests.harness.labelled import EPOCH, STEP, baseline_of, configured, confusion, messages, ran

FALLS = 3000


def falling(i: int) -> float:
    """Labels cease to follow the scores from event `FALLS` on."""
    return 0.8 * (i >= FALLS)


@cache
def baseline(with_outcomes: bool = True) -> Baseline:
    return baseline_of(messages(4000, seed=1), with_outcomes)


def state_of(pipeline: Pipeline) -> OutcomesState:
    found = pipeline.states["fraud"].outcomes
    assert found is not None
    return found


def tables(pipeline: Pipeline) -> list[OutcomeTable]:
    own = state_of(pipeline)
    return [*(each.content for each in own.history), *([own.pending.content] if own.pending else [])]


def counted(pipeline: Pipeline) -> IntArray:
    """All outcomes that the state holds, by prediction and label."""
    coding = pipeline.monitors["fraud"].baselines(pipeline.states["fraud"])[""].coding
    assert coding is not None
    assert not isinstance(coding.task, NumbersTask)
    return coding.task.confusion(rows(tables(pipeline), coding.size).sum(0))


def steps(pipeline: Pipeline) -> list[Step]:
    return [step for _, step in pipeline.steps if step.incident.scope == OUTCOMES]


@pytest.mark.parametrize("with_outcomes", [True, False])
def test_every_label_is_counted_once_whatever_the_chunks(with_outcomes: bool) -> None:
    log = messages(1200, seed=2)
    for i in range(0, len(log), 7):
        log[i] = orjson.dumps(orjson.loads(log[i]) | {"label": None})
    direct = confusion(log)
    for size in (1, 37, 1200) if with_outcomes else (400,):
        found = counted(ran(log, configured(), baseline(with_outcomes), size=size))
        assert found.tolist() == [[direct[p, label] for label in ("fine", "fraud")] for p in ("fine", "fraud")]


def test_a_concept_that_drifts_is_an_incident_of_outcomes_with_what_it_comes_from() -> None:
    pipeline = ran(messages(5000, seed=3, concept=falling), configured(), baseline())
    (step,) = steps(pipeline)
    (finding,) = step.findings
    assert (step.status, finding.signal, finding.kind) == (Status.FIRING, "accuracy", "outcomes")
    assert EPOCH + STEP * (FALLS - 400) <= finding.since <= step.at <= EPOCH + STEP * (FALLS + 700)
    outcome = finding.outcome
    assert outcome is not None
    assert outcome.after < outcome.before - 0.1
    assert outcome.after - outcome.before == pytest.approx(outcome.mix + outcome.concept)
    assert outcome.concept < 5 * -abs(outcome.mix)
    log = messages(5000, seed=3, concept=falling)
    window = log[: finding.ranges[0].end][-finding.events :]
    for side, rows_ in ((finding.change.before, messages(4000, seed=1)), (finding.change.after, window)):
        shares = {f"{p}, was {label}": n / len(rows_) for (p, label), n in confusion(rows_).items()}
        assert side.values == pytest.approx({"fraud, was fine": 0.0, "fraud, was fraud": 0.0} | shares)
    data = build_alert(pipeline.monitors["fraud"], step, mode="live", topic="t", emitted_at=step.at).data
    assert data.title.startswith("fraud: accuracy ")
    assert "by concept drift" in data.title
    assert (data.kind, data.labels["signal"]) == ("outcomes", OUTCOMES)
    assert "labels no longer follow the scores" in data.description.lower()


def test_without_outcomes_in_the_baseline_the_first_ones_are_what_later_ones_are_compared_with() -> None:
    log = messages(5000, seed=3, concept=falling)
    pipeline = ran(log, configured(", learn: 1500"), baseline(with_outcomes=False))
    (step,) = steps(pipeline)
    assert step.at >= EPOCH + STEP * FALLS
    assert all(each.against_past for each in step.findings)
    assert 1500 <= sum(each.n for each in state_of(pipeline).learned) < 1550


def test_a_model_that_learns_its_baseline_counts_the_labels_of_what_comes_after_it() -> None:
    config = configured(", learn: 500")
    own = config.models["fraud"].model_copy(update={"learn_events": 500})
    config = config.model_copy(update={"models": {"fraud": own}})
    log = messages(1500, seed=4)
    direct = confusion(log[500:])
    found = counted(ran(log, config, size=333))
    assert found.sum() == direct.total() == 1000
    assert found[1, 1] == direct["fraud", "fraud"]


def test_an_incident_of_outcomes_ends_when_the_model_is_right_again() -> None:
    log = messages(9000, seed=5, concept=lambda i: 0.8 * (2000 <= i < 3500))
    statuses = [(each.status, each.resolution) for each in steps(ran(log, configured(), baseline()))]
    assert statuses[0] == (Status.FIRING, None)
    assert statuses[-1] == (Status.RESOLVED, "recovered")


@pytest.mark.parametrize("with_outcomes", [True, False])
def test_a_floor_pages_however_the_model_was_before(with_outcomes: bool) -> None:
    log = messages(6000, seed=6)
    direct = confusion(log)
    recall = direct["fraud", "fraud"] / (direct["fraud", "fraud"] + direct["fine", "fraud"])
    for floor, expected in ((recall - 0.05, set()), (recall + 0.15, {"floor.recall"})):
        config = configured(f", learn: 1500, floors: {{recall: {floor}}}")
        found = steps(ran(log, config, baseline(with_outcomes)))
        assert {each.signal for step in found for each in step.findings} == expected


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_nothing_is_reported_while_nothing_moves_even_if_errors_follow_each_other(correlation: float) -> None:
    known = baseline_of(messages(6000, seed=100, correlation=correlation))
    for seed in range(6):
        assert not steps(ran(messages(6000, seed, correlation=correlation), configured(), known))


odd = st.one_of(
    st.none(), st.text(max_size=3), st.integers(-(10**30), 10**30), st.floats(), st.booleans(), st.just([1]),
    st.just({"a": 1}), st.sampled_from(["fraud", "fine", "Fraud", "x" * 5000, "\ud800"]),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(odd, min_size=1, max_size=60), st.booleans())
def test_no_label_however_odd_stops_anything_and_each_is_counted_as_one_or_as_odd(
    labels: list[Any], with_baseline: bool
) -> None:
    plain = [orjson.loads(each) for each in messages(len(labels), seed=7)]
    log = [json.dumps(row | {"label": label}).encode() for row, label in zip(plain, labels, strict=True)]
    pipeline = ran(log, configured(), baseline(with_baseline))
    given_ = [each for each in labels if each is not None]
    known = sum(each in ("fraud", "fine") for each in given_)
    found = tables(pipeline)
    assert (sum(each.n for each in found), sum(each.odd for each in found)) == (known, len(given_) - known)
    # Every prediction is either an outcome, odd, or without a label.
    coding = baseline(with_baseline).coding
    assert coding is not None
    seen = int(coding.task.seen(rows(found, coding.size)).sum())
    assert seen == len(labels) - (len(given_) - known)


def test_what_is_remembered_of_outcomes_is_stored_in_parts_and_read_again() -> None:
    for known in (baseline(), baseline(with_outcomes=False)):
        pipeline = ran(messages(4000, seed=3, concept=falling), configured(", learn: 700"), known)
        state = pipeline.states["fraud"]
        parts = state_delta(None, state).write
        again = restore_state(parts, known)
        assert state_delta(None, again).write == parts
        assert again.outcomes is not None
        assert [*again.outcomes.history] == [*state_of(pipeline).history]
        assert not state_delta(state, structs.replace(state, last_seq=99)).write.keys() - {"head"}


def test_a_group_at_level_2_counts_no_outcomes() -> None:
    log = messages(1200, seed=2)
    assert ran(log, configured(), baseline(), level=2).states["fraud"].outcomes is None
    plain = [orjson.dumps({k: v for k, v in orjson.loads(each).items() if k != "label"}) for each in log]
    with_labels, without = (
        state_delta(None, ran(each, configured(), baseline(), level=2).states["fraud"]).write for each in (log, plain)
    )
    assert with_labels == without


def test_another_reference_begins_anew_and_ends_what_was_open() -> None:
    log = messages(5000, seed=3, concept=falling)
    pipeline = ran(log, configured(), baseline())
    monitor, state = pipeline.monitors["fraud"], pipeline.states["fraud"]
    other = baseline_of(messages(4000, seed=9))
    renewed = replace(monitor, given=other, _judges={})
    pane = Pane(other.sketch_events(()), EPOCH, EPOCH, (Range(0, len(log), len(log) + 1),))
    after, ended = renewed.judge(state, pane)
    assert after.outcomes is not None
    assert (after.outcomes.seen, [*after.outcomes.history], after.outcomes.learned) == (0, [], ())
    assert after.outcomes.timeline is not None
    assert after.outcomes.timeline.span.era == 1, "what was counted before is kept for people to look at"
    assert [(each.incident.scope, each.resolution) for each in ended if each.incident.scope == OUTCOMES] == [
        (OUTCOMES, "replaced")
    ]


# Rows of the first day, which is not whole; all others have 48, and so has a pane.
_FIRST_DAY = 32


def electricity(folder: Path, name: str) -> list[bytes]:
    """Predictions with their labels, which the training period has in its rows."""
    read = {part: _json_lines(folder / f"electricity_{part}.jsonl.gz") for part in (name, "labels")}
    labels = {row["id"]: row["label"] for row in read["labels"]}
    return [orjson.dumps({"label": labels.get(row["id"]), **row}) for row in read[name]]


def _json_lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as lines:
        return [orjson.loads(line) for line in lines]


@pytest.mark.shared
def test_electricity_is_said_to_be_wrong_since_may_and_each_day_is_counted_exactly(shared_data: Path) -> None:
    live = electricity(shared_data, "live")[_FIRST_DAY:]
    by_day = dict[str, list[bytes]]()
    for message in live:
        by_day.setdefault(orjson.loads(message)["ts"][:10], []).append(message)
    known = baseline_of(electricity(shared_data, "baseline"), model="electricity")
    config = parse_config("panes: {seconds: null, events: 48}\ndefaults: {outcomes: {labels: event}}")
    pipeline = Pipeline(config, {"electricity": known}, keeps_history=True)
    sketcher = pipeline.sketcher(0, 0)
    runs = sketcher.consume(np.arange(len(live)), live).runs
    assert known.coding is not None
    assert not isinstance(known.coding.task, NumbersTask)
    assert len(runs) == len(by_day)
    for run, day in zip(runs, by_day.values(), strict=True):
        ((_, table),) = run.panes["electricity"].outcomes
        direct = confusion(day)
        found, classes = known.coding.task.confusion(table.row(known.coding.size)), known.coding.task.classes
        assert found.tolist() == [[direct[p, label] for label in classes] for p in classes]
        pipeline.judge(run)
    first, *_ = (each for _, each in pipeline.steps if each.incident.scope == OUTCOMES)
    (finding,) = first.findings
    assert "1997-05-01" <= iso(finding.since)[:10] <= "1997-05-11"
    assert "1997-05-05" <= iso(first.at)[:10] <= "1997-05-31"
    assert finding.outcome is not None
    assert finding.outcome.before == pytest.approx(0.822, abs=0.001)
    assert finding.outcome.after < 0.65
    assert finding.outcome.concept < -0.2


def test_of_many_classes_the_pairs_that_changed_most_are_listed_on_both_sides() -> None:
    task = ClassesTask(ClassesLayout.fit(4, np.full(9, np.nan)), ("a", "b", "c", "d"))
    rng, tables = np.random.default_rng(2), []
    for share in (0.1, 0.4):
        prediction = rng.integers(0, 5, 4000)
        label = np.where((rng.random(4000) < share) & (prediction == 1), 4, prediction)
        right, nothing = (prediction == label).astype(np.int64), np.full(4000, np.nan)
        coded = CodedRows(np.arange(4000), prediction.astype(float), label.astype(float), nothing, right)
        tables.append(task.tables(coded, np.zeros(4000, np.int64), 1)[0])
    before, after = confused(task, *tables)
    assert before.keys() == after.keys()
    assert len(before) == 6
    assert before["b, was others"] == pytest.approx(0.02, abs=0.01)
    assert after["b, was others"] == pytest.approx(0.08, abs=0.01)

    taken = ClassesTask(task.layout, ("a", "others", "others (rest)", "d"))
    before, after = confused(taken, *tables)
    assert len(before) == len(after) == 6, "no class has the name of the rest"
    assert after["others, was others (rest) (rest)"] == pytest.approx(0.08, abs=0.01)
