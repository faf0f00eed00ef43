"""How well a model does by its rows: the table, the reference, since when it is worse and what that comes from."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from driftline.detectors.outcomes.metrics import Costs
from driftline.stream.outcomes.choose import OutcomesError
from driftline.stream.outcomes.facts import performance_facts
from driftline.stream.outcomes.performance import Performance, Wishes, concatenated, performance
from driftline.stream.outcomes.periods import By, fitting, shown, starts
from driftline.stream.outcomes.rows import Rows
from driftline.stream.outcomes.sentences import change_sentence, coverage_sentences, verdict_sentence
from tests.detectors.test_outcomes_change import following
from tests.harness.outcomes import START, STEP, outcomes

REFERENCE = outcomes(10_000, 1)
BEFORE, FROM = outcomes(4000, 2, 10_000), START + 14_000 * STEP


def live(**change: float) -> Rows:
    return concatenated(BEFORE, outcomes(4000, 3, 14_000, **change))


@pytest.fixture(scope="module")
def concept() -> Performance:
    return performance(live(concept=0.4), REFERENCE, Wishes(By.DAY))


def test_concept_drift_is_named_with_its_start_and_its_share_of_the_change(concept: Performance) -> None:
    (change,) = [each for each in concept.changes if each.worse]
    sentence = change_sentence(concept, change)

    assert concept.is_worse
    assert abs(change.since - FROM) < 2 * 86_400_000
    assert change.until is None
    assert re.match(r"since \d Apr 2026", sentence)
    assert "because labels no longer follow scores (concept drift)" in sentence or "none of it from the mix" in sentence
    assert verdict_sentence(concept).endswith(": worse")


def test_a_mix_of_harder_scores_is_named_as_such() -> None:
    found = performance(live(mix=1.5), REFERENCE, Wishes(By.DAY))
    (change,) = found.changes

    assert "from the mix of scores" in change_sentence(found, change)
    assert "labels follow scores as before" in change_sentence(found, change)
    assert change.stretch.split.mix > 5 * abs(change.stretch.split.concept)


def test_nothing_is_said_where_nothing_changes_and_the_first_quarter_serves_as_reference() -> None:
    found = performance(concatenated(REFERENCE, live()), None, Wishes())

    assert found.changes == []
    assert found.own_reference
    assert found.reference_rows == 4500
    assert verdict_sentence(found).endswith(": no worse")


def stages(*stages: tuple[int, float]) -> Rows:
    """Rows of stages, each of a length and a share by which its labels are pulled away from the scores."""
    rows = outcomes(0, 0)
    for number, (n, pull) in enumerate(stages):
        rows = concatenated(rows, outcomes(n, 50 + number, len(rows), concept=pull))
    return rows


@pytest.mark.parametrize("timed", [True, False])
def test_a_fall_within_the_first_quarter_does_not_hide_itself(timed: bool) -> None:
    found = performance(stages((1500, 0), (8500, 0.8)), None, Wishes(), timed=timed)
    (change,) = found.changes

    assert found.settled
    assert found.reference_rows == 1250
    assert abs((change.since - START) / STEP - 1500 if timed else change.since - 1500) < 200
    assert change.until is None
    assert verdict_sentence(found).endswith(": worse")


def test_first_rows_that_never_settle_are_no_reference_and_give_no_verdict() -> None:
    found = performance(stages((600, 0), (600, 0.6), (1200, 1.2), (7200, 0.9)), None, Wishes())

    assert not found.settled
    assert not found.fails
    assert found.is_unclear
    assert "no verdict, as these first rows differ too much among themselves; name others with --reference" in (
        verdict_sentence(found)
    )


def test_intervals_that_lie_apart_are_never_an_all_clear(concept: Performance) -> None:
    silent = replace(concept, changes=[])

    assert not concept.is_unclear
    assert silent.is_unclear
    assert "no verdict, as it is worse, but the reference itself varies too much" in verdict_sentence(silent)


@pytest.mark.parametrize("follow", [0.0, 0.8, 0.95])
def test_first_rows_in_which_nothing_changes_are_the_reference_as_they_are(follow: float) -> None:
    for seed in range(3):
        draw = np.random.default_rng(seed)
        prediction, label, score = following(20_000, draw, follow)
        spelt = [list(map(str, each.tolist())) for each in (prediction, label)]
        ids = list(map(str, range(20_000)))
        found = performance(Rows(ids, START + np.arange(20_000) * STEP, spelt[0], score, spelt[1]), None, Wishes())

        assert found.reference_rows == 5000
        assert not found.is_worse
        assert not found.is_unclear


def test_a_first_quarter_that_knows_little_of_its_dependence_is_not_taken_at_its_word() -> None:
    """By the mean of what its windows show, all seven of these seeds of 0 to 39 were called worse."""
    worse = 0
    for seed in (12, 13, 15, 25, 27, 35, 39):
        prediction, label, score = following(6000, np.random.default_rng(seed), 0.95)
        spelt = [list(map(str, each.tolist())) for each in (prediction, label)]
        rows = Rows(list(map(str, range(6000))), START + np.arange(6000) * STEP, spelt[0], score, spelt[1])
        worse += performance(rows, None, Wishes()).is_worse
    assert worse <= 1


def test_the_table_says_by_day_what_a_direct_count_says(concept: Performance) -> None:
    rows = live(concept=0.4)
    right = np.array([a == b for a, b in zip(rows.prediction, rows.label, strict=True)])
    day = rows.ts // 86_400_000
    for period in concept.periods:
        own = day == period.start // 86_400_000
        assert period.labelled == period.seen == own.sum()
        assert period.metrics["accuracy", ""].value == right[own].sum() / own.sum()
    assert sum(period.seen for period in concept.periods) == len(rows)


def test_the_order_of_the_rows_changes_nothing(concept: Performance) -> None:
    rows = live(concept=0.4)
    shuffled = rows.take(np.random.default_rng(4).permutation(len(rows)))

    assert performance_facts(performance(shuffled, REFERENCE, Wishes(By.DAY))) == performance_facts(concept)


def test_labels_of_easy_rows_alone_are_said_and_weighted_as_all_predictions_are() -> None:
    rows = live()
    partly = rows.with_labels([
        label if score < 0.25 or number % 8 == 0 else None
        for number, (label, score) in enumerate(zip(rows.label, rows.score.tolist(), strict=True))
    ])  # fmt: skip
    found, whole = (performance(each, REFERENCE, Wishes()) for each in (partly, rows))
    truth = whole.total.metrics["accuracy", ""].value
    raw, alike = found.total.metrics["accuracy", ""], found.total.reweighted

    assert raw.value > truth + 0.03
    assert alike.low < truth < alike.high
    assert abs(alike.value - truth) < 0.025
    said = " ".join(coverage_sentences(found))
    assert "of 8,000 predictions have a label" in said
    assert "% have one" in said
    assert "weighted as all predictions are" in said


def test_scores_alone_say_what_accuracy_should_be_and_miss_concept_drift(concept: Performance) -> None:
    last = concept.periods[-2]

    assert last.estimate.metrics["accuracy", ""].value > last.metrics["accuracy", ""].value + 0.03


def test_scores_without_predictions_and_scores_of_the_predicted_class_are_understood() -> None:
    rows = live()
    bare = replace(rows, prediction=[None] * len(rows))
    flags = replace(
        rows, score=np.where(np.array(rows.prediction) == "fraud", rows.score, 1 - rows.score),
    )  # fmt: skip
    whole, of_scores, of_class = (performance(each, None, Wishes()) for each in (rows, bare, flags))

    assert whole.task.classes == of_scores.task.classes == ("fine", "fraud")
    assert of_scores.total.metrics["accuracy", ""] == whole.total.metrics["accuracy", ""]
    assert "a score above 0.5 counts as fraud" in of_scores.notes[0]
    assert of_class.total.metrics["auc", ""].value == pytest.approx(whole.total.metrics["auc", ""].value, abs=1e-3)
    assert "the score is that of the predicted class" in of_class.notes[0]


def test_true_1_and_1_0_are_the_same_class() -> None:
    rows = live()
    spelt = replace(
        rows,
        prediction=["true" if each == "fraud" else "false" for each in rows.prediction],
        label=["1.0" if each == "fraud" else "0.0" for each in rows.label],
    )
    found = performance(spelt, None, Wishes(positive="true"))

    assert found.task.classes == ("0", "1")
    assert (
        found.total.metrics["accuracy", ""].value
        == performance(rows, None, Wishes()).total.metrics["accuracy", ""].value
    )


def test_labels_that_name_no_predicted_class_are_refused_with_both_named() -> None:
    rows = live()
    with pytest.raises(OutcomesError, match=r"predictions are fine, fraud; labels are no, yes; name the columns"):
        performance(replace(rows, label=["yes" if each == "fraud" else "no" for each in rows.label]), None, Wishes())
    with pytest.raises(OutcomesError, match="0 labels, and at least 20 are needed"):
        performance(rows.with_labels([None] * len(rows)), None, Wishes())
    bare = replace(rows, prediction=[None] * len(rows))
    for each in (rows, bare):
        with pytest.raises(OutcomesError, match="there is no class 'Fraud'; there are fine, fraud"):
            performance(each, None, Wishes(positive="Fraud"))


def test_what_is_said_of_two_classes_is_refused_where_there_are_others() -> None:
    ids, ts, nan = [str(each) for each in range(300)], START + np.arange(300) * STEP, np.full(300, np.nan)
    numbers, names = [str(each / 3) for each in range(300)], [f"c{each % 3}" for each in range(300)]
    for texts, positive, what in ((numbers, "1", "numbers"), (names, "c1", "of 3 classes")):
        rows = Rows(ids, ts, texts, nan, texts)
        with pytest.raises(OutcomesError, match=f"--positive needs two classes, and the predictions are {what}"):
            performance(rows, None, Wishes(positive=positive))
        with pytest.raises(OutcomesError, match=f"--cost needs two classes, and the predictions are {what}"):
            performance(rows, None, Wishes(costs=Costs(1, 1)))


def test_costs_are_shown_by_prediction() -> None:
    rows = live()
    found = performance(rows, None, Wishes(costs=Costs(1.0, 50.0)))
    missed = sum(a == "fine" and b == "fraud" for a, b in zip(rows.prediction, rows.label, strict=True))
    wrong = sum(a == "fraud" and b == "fine" for a, b in zip(rows.prediction, rows.label, strict=True))

    assert found.total.metrics["cost", ""].value == pytest.approx((wrong + 50 * missed) / len(rows))


def test_a_regression_is_compared_by_its_errors() -> None:
    draw = np.random.default_rng(5)
    prediction = draw.gamma(3.0, 100.0, 12_000)
    noise = draw.normal(0, 20, 12_000) * np.where(np.arange(12_000) < 9000, 1, 1.5)
    texts = [[repr(each) for each in own.tolist()] for own in (prediction, prediction + noise)]
    ids, ts = [str(each) for each in range(12_000)], START + np.arange(12_000) * STEP
    rows = Rows(ids, ts, texts[0], np.full(12_000, np.nan), texts[1])
    found = performance(rows, None, Wishes())
    (change,) = found.changes
    mae = np.abs(noise).mean()

    assert found.task.name == "regression"
    assert found.total.metrics["mae", ""].value == pytest.approx(mae, rel=1e-6)
    assert abs(change.since - rows.ts[9000]) < 3 * 86_400_000
    assert "labels no longer follow predictions" in change_sentence(found, change)


def test_many_classes_are_compared_and_the_rare_ones_are_one() -> None:
    draw = np.random.default_rng(6)
    label = draw.geometric(0.1, 12_000)
    hit = draw.random(12_000) < np.where(np.arange(12_000) < 9000, 0.8, 0.6)
    prediction = np.where(hit, label, draw.geometric(0.1, 12_000))
    rows = Rows(
        [str(each) for each in range(12_000)], START + np.arange(12_000) * STEP, [f"c{each}" for each in prediction],
        np.full(12_000, np.nan), [f"c{each}" for each in label],
    )  # fmt: skip
    found = performance(rows, None, Wishes())

    assert found.task.name == "multiclass"
    assert len(found.task.classes) == 32
    assert "classes are rare, and counted as one" in found.notes[0]
    assert found.total.metrics["accuracy", ""].value == np.mean(prediction == label)
    assert [each.worse for each in found.changes] == [True]


def test_rows_without_times_are_told_by_their_numbers() -> None:
    rows = concatenated(REFERENCE, live(concept=0.5))
    untimed = replace(rows, ts=np.zeros(len(rows), np.int64))
    found = performance(untimed, None, Wishes(), timed=False)
    (change,) = [each for each in found.changes if each.worse]

    assert found.by is None
    assert abs(change.since - 14_000) < 400
    assert change_sentence(found, change).startswith("since row 1")


def test_few_rows_have_a_table_and_no_comparison() -> None:
    found = performance(outcomes(300, 7), None, Wishes())

    assert found.reference is None
    assert "nothing to compare it with" in verdict_sentence(found)
    assert not found.is_worse
    assert found.is_unclear


@pytest.mark.parametrize(("days", "by"), [(0.5, By.HOUR), (20, By.DAY), (200, By.WEEK), (1500, By.MONTH)])
def test_the_period_fits_the_span(days: float, by: By) -> None:
    assert fitting(np.arange(START, START + int(days * 86_400_000), 3_600_000)) is by


def test_periods_begin_on_the_hour_the_day_monday_and_the_first() -> None:
    ts = np.array([START + 3 * 86_400_000 + 5_000_000])
    found = {by: shown(int(starts(ts, by)[0]), by) for by in By}

    assert found == {
        By.HOUR: "4 Jan 2026 01:00", By.DAY: "4 Jan 2026", By.WEEK: "29 Dec 2025", By.MONTH: "Jan 2026",
    }  # fmt: skip
