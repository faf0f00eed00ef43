"""Floors are judged with and without a reference; those that nothing is held to are named: silence is an all-clear."""

from __future__ import annotations

from functools import cache

import numpy as np
import orjson
import pytest

from driftline.stream.alerts.build import build_alert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.diagnostics import ConfigError
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.floors import unjudged_outcomes
from driftline.stream.judge.incidents import OUTCOMES, Step
from driftline.stream.replay.pipeline import Pipeline
from tests.harness.labelled import EPOCH, STEP, baseline_of, configured, messages, ran


@cache
def baseline() -> Baseline:
    return baseline_of(messages(3000, seed=1), True)


def of(floors: str) -> ModelConfig:
    return configured(f", floors: {{{floors}}}").for_model("fraud")


def test_floors_of_classes_that_there_are_need_no_remark() -> None:
    own = of("accuracy: 0.5, recall: 0.5, precision@fine: 0.5")
    assert list(unjudged_outcomes(baseline(), own)) == []


def test_a_misspelt_class_is_named_with_those_that_there_are() -> None:
    (remark,) = unjudged_outcomes(baseline(), of("recall: 0.5, precision@frod: 0.5"))
    where, help = str(remark).split(": is not judged; ")
    assert where == "models.fraud.outcomes.floors['precision@frod']"
    assert help == "name a class, as in recall@fine; there are fine, fraud"


def test_labels_that_nothing_can_be_compared_with_are_named() -> None:
    rows = [{**orjson.loads(each), "prediction": None, "score": None} for each in messages(500, seed=1)]
    bare = baseline_of([orjson.dumps(row) for row in rows], False)
    assert bare.coding is None
    (remark,) = unjudged_outcomes(bare, of("recall: 0.5"))
    assert "labels are not judged: the baseline has no prediction and no score" in str(remark)
    assert list(unjudged_outcomes(bare, ModelConfig())) == []


@pytest.mark.parametrize(
    ("floors", "words"),
    [
        ("mae: 3", "the predictions are classes: give the least accuracy, recall, precision or auc"),
        ("recall@frod: 0.5", "there are fine, fraud"),
    ],
)
def test_what_a_classifier_is_not_held_to_is_named_with_what_it_can_be(floors: str, words: str) -> None:
    (remark,) = unjudged_outcomes(baseline(), of(floors))
    assert words in str(remark)


def test_an_area_needs_scores_and_two_classes() -> None:
    without = baseline_of(messages(2000, seed=1, score=None))
    (remark,) = unjudged_outcomes(without, of("auc: 0.7"))
    assert "the baseline has no score" in str(remark)
    three = [
        orjson.dumps(orjson.loads(each) | {"prediction": f"c{i % 3}", "label": f"c{i % 3}"})
        for i, each in enumerate(messages(600, seed=1))
    ]
    (remark,) = unjudged_outcomes(baseline_of(three), of("auc: 0.7"))
    assert "there are more than two classes: name one, as in recall@c0" in str(remark)


@pytest.mark.parametrize(
    ("floors", "words"),
    [
        ("auc: 1.5", "outcomes.floors.auc: expected a share between 0 and 1, got 1.5"),
        ("mae: 0", "outcomes.floors.mae: expected a number above 0, got 0"),
        ("recall: 0", "outcomes.floors.recall: expected a number above 0, got 0"),
        ("rmse: 3", "expected accuracy, auc, recall or precision, of one class as in recall@fraud, or mae"),
    ],
)
def test_a_floor_that_cannot_be_is_refused_with_its_field(floors: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        of(floors)
    assert words in str(error.value)


def steps(pipeline: Pipeline) -> list[Step]:
    return [step for _, step in pipeline.steps if step.incident.scope == OUTCOMES]


def signals(pipeline: Pipeline) -> set[str]:
    return {each.signal for step in steps(pipeline) for each in step.findings}


@pytest.mark.parametrize("with_outcomes", [True, False])
@pytest.mark.parametrize(("floor", "expected"), [(0.7, set()), (0.95, {"floor.auc"})])
def test_an_area_below_its_floor_pages_however_the_model_was_before(
    floor: float, expected: set[str], with_outcomes: bool
) -> None:
    """Labels drawn with the chance of a score from Beta(1, 3) have an area of 0.82."""
    known = baseline_of(messages(3000, seed=1), with_outcomes)
    pipeline = ran(messages(3000, seed=2), configured(f", learn: 1500, floors: {{auc: {floor}}}"), known)
    assert signals(pipeline) == expected
    for step in steps(pipeline):
        data = build_alert(pipeline.monitors["fraud"], step, mode="live", topic="t", emitted_at=step.at).data
        assert ", below its floor of 0.95" in data.title
        (outcome,) = (each.outcome for each in step.findings)
        assert outcome is not None
        assert 0.75 < outcome.after < 0.87


def test_floors_are_judged_while_the_reference_is_still_learned() -> None:
    config = configured(", learn: 100000, floors: {recall: 0.9}")
    first, *_ = steps(ran(messages(4000, seed=6), config, baseline_of(messages(3000, seed=1), False)))
    assert {each.signal for each in first.findings} == {"floor.recall"}
    assert first.at < EPOCH + 1500 * STEP


def test_accuracy_is_not_judged_while_its_reference_is_learned() -> None:
    log = messages(4000, seed=6, concept=lambda i: 0.9 * (i > 2000))
    config = configured(", learn: 100000, floors: {recall: 0.01}")
    assert not steps(ran(log, config, baseline_of(messages(3000, seed=1), False)))


def numbers(n: int, seed: int, spread: float = 1.0, **values: float) -> list[bytes]:
    """Events of a regression, whose errors have a mean of 0.8 times `spread`."""
    rng = np.random.default_rng([seed, 5])
    label = rng.normal(10, 3, n).round(3)
    prediction = (label + spread * rng.normal(size=n)).round(3)
    pairs = zip(prediction.tolist(), label.tolist(), strict=True)
    return [
        orjson.dumps({"id": f"e-{i}", "ts": EPOCH + STEP * i, "model": "fraud", "prediction": p, "label": y, **values})
        for i, (p, y) in enumerate(pairs)
    ]


@pytest.mark.parametrize(("most", "expected"), [(0.85, set()), (0.7, {"floor.mae"})])
def test_a_mean_error_above_the_most_that_is_allowed_pages(most: float, expected: set[str]) -> None:
    known = baseline_of(numbers(3000, seed=1))
    assert list(unjudged_outcomes(known, of(f"mae: {most}"))) == []
    pipeline = ran(numbers(4000, seed=2), configured(f", floors: {{mae: {most}}}"), known)
    assert signals(pipeline) == expected
    for step in steps(pipeline):
        data = build_alert(pipeline.monitors["fraud"], step, mode="live", topic="t", emitted_at=step.at).data
        assert ", above the most allowed, 0.7" in data.title


def test_one_value_that_is_far_off_is_no_mean_above_its_bound() -> None:
    known = baseline_of(numbers(3000, seed=1))
    log = numbers(2000, seed=2)
    log[1000] = orjson.dumps(orjson.loads(log[1000]) | {"prediction": 1e9})
    assert not signals(ran(log, configured(", floors: {mae: 0.9}"), known)) & {"floor.mae"}


def test_numbers_are_held_to_their_mean_error_alone() -> None:
    known = baseline_of(numbers(3000, seed=1))
    (remark,) = unjudged_outcomes(known, of("recall: 0.5"))
    assert str(remark).endswith("the predictions are numbers: give the most of mae")
