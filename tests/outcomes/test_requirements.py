"""What is required of a metric: a bound, a class, and an answer that the interval gives."""

from __future__ import annotations

import pytest

from driftline.detectors.outcomes.intervals import Figure
from driftline.stream.outcomes.choose import OutcomesError
from driftline.stream.outcomes.performance import Wishes, performance
from driftline.stream.outcomes.requirements import Answer, Requirement
from driftline.stream.outcomes.sentences import required_sentence
from tests.harness.outcomes import outcomes


@pytest.mark.parametrize(
    ("text", "low", "high", "answer"),
    [
        ("recall>=0.8", 0.81, 0.9, Answer.MET),
        ("recall>=0.8", 0.7, 0.85, Answer.UNSURE),
        ("recall >= 0.8", 0.6, 0.79, Answer.NOT_MET),
        ("mae<=20", 15, 19.5, Answer.MET),
        ("mae<=20", 15, 25, Answer.UNSURE),
        ("mae<=20", 21, 25, Answer.NOT_MET),
    ],
)
def test_a_bound_is_met_or_missed_by_a_whole_interval(text: str, low: float, high: float, answer: Answer) -> None:
    assert Requirement.parse(text).answer(Figure((low + high) / 2, low, high, 100)) is answer


def test_a_figure_without_rows_is_unsure_and_one_without_interval_is_compared_alone() -> None:
    required = Requirement.parse("ece<=0.05")

    assert required.answer(Figure(None)) is Answer.UNSURE
    assert required.answer(Figure(0.06, n=10)) is Answer.NOT_MET
    assert required.answer(Figure(0.05, n=10)) is Answer.MET


@pytest.mark.parametrize("text", ["recall", "recall>0.8", "recall>=high", ">=0.8", "recall>=0.8>=0.7"])
def test_what_is_no_requirement_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as recall>=0\.8"):
        Requirement.parse(text)


def test_a_missed_bound_fails_a_model_that_is_no_worse_than_before() -> None:
    rows = outcomes(6000, 1)
    wanted = ["accuracy>=0.7", "recall>=0.9", "recall@fine>=0.8"]
    found = performance(rows, None, Wishes(required=[Requirement.parse(each) for each in wanted]))

    assert not found.is_worse
    assert found.fails
    assert [each.answer for each in found.required] == [Answer.MET, Answer.NOT_MET, Answer.MET]
    assert [each.name for each in found.required] == [("accuracy", ""), ("recall", "fraud"), ("recall", "fine")]
    assert required_sentence(found.required[1]).endswith("at least 90.0 % required: not met")


def test_an_unknown_metric_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(OutcomesError, match=r"acuracy>=0.7: there is no such metric; there are accuracy, auc"):
        performance(outcomes(600, 2), None, Wishes(required=[Requirement.parse("acuracy>=0.7")]))
