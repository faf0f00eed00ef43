"""Floors that nothing is held to are named, as silence would be taken for an all-clear."""

from __future__ import annotations

from functools import cache

import orjson

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.floors import unjudged_outcomes
from tests.harness.labelled import baseline_of, configured, messages


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
