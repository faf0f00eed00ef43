"""Tables of outcomes: they add, and every metric follows from them as scikit-learn computes it from the rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from driftline.detectors.outcomes.binary import BinaryLayout
from driftline.detectors.outcomes.classes import ClassesLayout
from driftline.detectors.outcomes.coverage import reweighted
from driftline.detectors.outcomes.estimate import Calibration, isotonic
from driftline.detectors.outcomes.intervals import Figure, mean, share
from driftline.detectors.outcomes.metrics import (
    Costs,
    binary_calibration,
    binary_metrics,
    class_metrics,
    number_metrics,
)
from driftline.detectors.outcomes.numbers import LIMIT, NumbersLayout

BOTH = ("no", "yes")


def binary_rows(n: int, seed: int, values: int = 256):
    """Predictions, labels and scores of n rows; scores take that many values."""
    draw = np.random.default_rng(seed)
    score = draw.integers(0, values, n) / (values - 1)
    label = (draw.random(n) < 0.2 + 0.6 * score).astype(np.int64)
    return (score > 0.65).astype(np.int64), label, score


def one_table(layout, *rows):
    return layout.tables(np.zeros(len(rows[0]), np.int64), 1, *rows)[0]


@pytest.mark.parametrize("seed", range(5))
def test_rates_of_two_classes_are_those_of_scikit_learn_exactly(seed: int) -> None:
    prediction, label, score = binary_rows(3000, seed)
    found = binary_metrics(layout := BinaryLayout.fit(score), one_table(layout, prediction, label, score), BOTH)

    assert found["accuracy", ""].value == reference.accuracy_score(label, prediction)
    assert found["f1", ""].value == pytest.approx(reference.f1_score(label, prediction), abs=1e-15)
    for code, name in enumerate(BOTH):
        assert found["recall", name].value == reference.recall_score(label, prediction, pos_label=code)
        assert found["precision", name].value == reference.precision_score(label, prediction, pos_label=code)
    (tn, fp), _ = reference.confusion_matrix(label, prediction)
    assert found["false_positive_rate", ""].value == fp / (fp + tn)


@pytest.mark.parametrize("values", [2, 10, 256])
def test_auc_and_losses_of_few_score_values_are_those_of_scikit_learn(values: int) -> None:
    prediction, label, score = binary_rows(4000, 1, values)
    found = binary_metrics(layout := BinaryLayout.fit(score), one_table(layout, prediction, label, score), BOTH)

    assert found["auc", ""].value == pytest.approx(reference.roc_auc_score(label, score), abs=1e-9)
    assert found["brier", ""].value == pytest.approx(reference.brier_score_loss(label, score), abs=1e-9)
    assert found["log_loss", ""].value == pytest.approx(reference.log_loss(label, score), abs=1e-8)
    assert found["score_bias", ""].value == pytest.approx(float(score.mean() - label.mean()), abs=1e-9)


def test_auc_of_continuous_scores_is_near() -> None:
    draw = np.random.default_rng(3)
    label = draw.integers(0, 2, 20_000)
    score = 1 / (1 + np.exp(-draw.normal(label, 1)))
    prediction = (score > 0.5).astype(np.int64)
    found = binary_metrics(layout := BinaryLayout.fit(score), one_table(layout, prediction, label, score), BOTH)

    assert found["auc", ""].value == pytest.approx(reference.roc_auc_score(label, score), abs=1e-4)


def test_scores_that_are_no_probabilities_have_an_auc_and_no_losses() -> None:
    prediction, label, score = binary_rows(1000, 2)
    margin = np.rint(40 * score) - 20
    found = binary_metrics(layout := BinaryLayout.fit(margin), one_table(layout, prediction, label, margin), BOTH)

    assert found["auc", ""].value == pytest.approx(reference.roc_auc_score(label, margin), abs=1e-9)
    assert not {("brier", ""), ("log_loss", ""), ("ece", "")} & found.keys()


def test_the_curve_of_calibration_is_that_of_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve

    prediction, label, score = binary_rows(5000, 4, 20)
    layout = BinaryLayout.fit(score)
    curve = binary_calibration(layout, one_table(layout, prediction, label, score))
    true, predicted = calibration_curve(label, score, n_bins=10)

    assert [each.share.value for each in curve] == pytest.approx(true.tolist(), abs=1e-9)
    assert [each.score for each in curve] == pytest.approx(predicted.tolist(), abs=1e-9)


def test_lift_counts_the_tenth_with_the_highest_scores_and_costs_are_those_given() -> None:
    score = np.arange(100) / 100
    label = (score >= 0.8).astype(np.int64)
    prediction = (score >= 0.7).astype(np.int64)
    layout = BinaryLayout.fit(score)
    found = binary_metrics(layout, one_table(layout, prediction, label, score), BOTH, Costs(2.0, 50.0))

    assert found["lift", ""].value == pytest.approx(5.0)
    assert found["cost", ""].value == pytest.approx(10 * 2.0 / 100)


def test_a_lost_score_counts_for_rates_and_for_nothing_else() -> None:
    prediction, label, score = binary_rows(2000, 5)
    layout = BinaryLayout.fit(score)
    some = score.copy()
    some[::10], some[1::10] = np.nan, 7.5
    known = np.isfinite(some) & (some <= 1)
    found = binary_metrics(layout, one_table(layout, prediction, label, some), BOTH)

    whole = binary_metrics(layout, one_table(layout, prediction, label, score), BOTH)
    assert found["accuracy", ""] == whole["accuracy", ""]
    assert found["auc", ""].value == pytest.approx(reference.roc_auc_score(label[known], score[known]), abs=1e-9)


def test_metrics_of_many_classes_are_those_of_scikit_learn_and_the_pool_confuses_nothing() -> None:
    draw = np.random.default_rng(6)
    label = draw.integers(0, 40, 6000)
    prediction = np.where(draw.random(6000) < 0.6, label, draw.integers(0, 40, 6000))
    layout, names = ClassesLayout.fit(32, np.full(1, np.nan)), [f"c{code}" for code in range(32)]
    pooled = np.minimum(prediction, 32), np.minimum(label, 32), (prediction == label).astype(np.int64)
    found = class_metrics(layout, one_table(layout, *pooled, np.full(6000, np.nan)), names)

    assert found["accuracy", ""].value == reference.accuracy_score(label, prediction)
    for code, name in enumerate(names):
        own = {"labels": [code], "average": "macro"}
        assert found["recall", name].value == reference.recall_score(label, prediction, **own)
        assert found["precision", name].value == reference.precision_score(label, prediction, **own)


def test_errors_of_a_regression_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(7)
    label = draw.gamma(2.0, 300.0, 5000)
    prediction = label + draw.normal(5, 40, 5000)
    layout = NumbersLayout.fit(prediction, label)
    found = number_metrics(layout, one_table(layout, prediction, label))

    assert found["mae", ""].value == pytest.approx(reference.mean_absolute_error(label, prediction), rel=1e-6)
    assert found["rmse", ""].value == pytest.approx(reference.root_mean_squared_error(label, prediction), rel=1e-6)
    assert found["bias", ""].value == pytest.approx(float(np.mean(prediction - label)), rel=1e-5)


def test_one_absurd_error_is_counted_as_cut_and_leaves_the_others_their_digits() -> None:
    label = np.zeros(1001)
    prediction = np.concatenate([np.full(1000, 1.0), [1e300]])
    layout = NumbersLayout.fit(prediction[:1000], label[:1000])
    cells = one_table(layout, prediction, label)

    assert layout.clipped(cells) == 1
    assert number_metrics(layout, cells)["mae", ""].value == pytest.approx((1000 + LIMIT) / 1001)


rows_of_outcomes = st.lists(
    st.tuples(st.booleans(), st.sampled_from([-1, 0, 1]), st.one_of(st.floats(0, 1), st.just(math.nan))),
    min_size=1, max_size=40,
)  # fmt: skip


@given(rows_of_outcomes, st.randoms(use_true_random=False), st.integers(1, 6))
def test_rows_in_any_order_and_any_parts_give_the_same_bytes(rows, random, parts: int) -> None:
    layouts = BinaryLayout.fit(np.linspace(0, 1, 300)), ClassesLayout.fit(2, np.linspace(0, 1, 300))
    for layout in layouts:
        whole = total(layout, rows, np.zeros(len(rows), np.int64), 1)
        shuffled = random.sample(rows, len(rows))
        group = np.array([random.randrange(parts) for _ in shuffled])
        assert total(layout, shuffled, group, parts).tobytes() == whole.tobytes()


def total(layout, rows, group, groups):
    prediction, label = (np.array([int(row[i]) for row in rows]) for i in (0, 1))
    right = [(prediction == label).astype(np.int64)] if isinstance(layout, ClassesLayout) else []
    score = np.array([row[2] for row in rows])
    return layout.tables(group, groups, prediction, label, *right, score).sum(0)


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=2, max_size=30),
    st.randoms(use_true_random=False),
)
def test_errors_add_in_any_order(rows, random) -> None:
    layout = NumbersLayout.fit(np.arange(100.0), np.zeros(100))
    both = [np.array(each) for each in zip(*rows, strict=True)]
    shuffled = [np.array(each) for each in zip(*random.sample(rows, len(rows)), strict=True)]
    group = np.array([random.randrange(3) for _ in rows])

    assert layout.tables(group, 3, *shuffled).sum(0).tobytes() == one_table(layout, *both).tobytes()


def test_intervals_hold_the_truth_in_nineteen_of_twenty_cases() -> None:
    draw = np.random.default_rng(8)
    held = {"accuracy": 0, "auc": 0, "f1": 0, "brier": 0, "lift": 0}
    prediction, label, score = binary_rows(400_000, 9, 50)
    layout = BinaryLayout.fit(score)
    truth = binary_metrics(layout, one_table(layout, prediction, label, score), BOTH)
    for _ in range(400):
        own = draw.integers(0, len(score), 300)
        found = binary_metrics(layout, one_table(layout, prediction[own], label[own], score[own]), BOTH)
        for name in held:
            held[name] += found[name, ""].low <= truth[name, ""].value <= found[name, ""].high

    assert all(364 <= each <= 396 for each in held.values()), held


def test_intervals_of_nothing_and_of_dependent_rows() -> None:
    assert share(0, 0) == Figure(None) == mean(0.0, 0.0, 0)
    assert share(90, 100, effect=9.0).low < share(90, 100).low
    assert mean(5.0, 25.0, 1) == Figure(5.0, n=1)


def test_an_estimate_from_scores_is_what_labels_show_if_they_still_follow_scores() -> None:
    prediction, label, score = binary_rows(50_000, 10, 100)
    layout = BinaryLayout.fit(score)
    calibration = Calibration.of(layout, one_table(layout, prediction, label, score))
    draw = np.random.default_rng(11)
    later = np.rint(99 * draw.beta(5, 2, 20_000)) / 99
    truth = (draw.random(20_000) < 0.2 + 0.6 * later).astype(np.int64)
    predicted = (later > 0.65).astype(np.int64)
    without = one_table(layout, predicted, np.full(20_000, -1), later)
    found = calibration.estimate(without, BOTH)
    realised = binary_metrics(layout, one_table(layout, predicted, truth, later), BOTH)

    for name in (("accuracy", ""), ("auc", ""), ("recall", "yes"), ("precision", "yes"), ("f1", "")):
        assert found.metrics[name].value == pytest.approx(realised[name].value, abs=0.015), name
    assert found.metrics["accuracy", ""].low < realised["accuracy", ""].value < found.metrics["accuracy", ""].high
    assert found.unknown < 0.01


def test_shares_that_rise_with_the_score_are_those_of_isotonic_regression() -> None:
    from sklearn.isotonic import IsotonicRegression

    draw = np.random.default_rng(12)
    rows = draw.integers(0, 30, 60).astype(float)
    hits = np.floor(rows * draw.random(60))
    known = rows > 0
    codes = np.arange(60)
    fitted = IsotonicRegression().fit(codes[known], hits[known] / rows[known], sample_weight=rows[known])

    assert isotonic(hits, rows) == pytest.approx(fitted.predict(np.clip(codes, *codes[known][[0, -1]])), abs=1e-12)


def test_accuracy_of_the_labelled_part_is_weighted_as_all_predictions_are() -> None:
    # Nine of ten easy rows have labels, and one of ten hard ones.
    seen, n, right = np.array([1000.0, 1000.0]), np.array([900.0, 100.0]), np.array([855.0, 60.0])
    found = reweighted(seen, n, right)

    assert found.value == pytest.approx((0.95 + 0.6) / 2)
    assert found.low < (0.95 + 0.6) / 2 < found.high
    dark = reweighted(np.array([1000.0, 1000.0]), np.array([900.0, 0.0]), np.array([855.0, 0.0]))
    assert dark.low < 0.5
    assert dark.high > 0.97
