"""Labels that come for a part of the predictions, and for another part than before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import orjson
import pytest

from driftline.detectors.outcomes.compare import Comparison, Tally, of_coverage, split, stratified, unstratified
from driftline.stream.alerts.build import build_alert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.judge.incidents import OUTCOMES, Step
from driftline.stream.judge.outcome_figures import newest_figures
from driftline.stream.outcomes.halves import Stubs
from driftline.stream.replay.pipeline import Pipeline
from tests.harness.labelled import baseline_of, configured, messages, ran

CHANGES, EVENTS = 3000, 6000


def withheld(log: Sequence[bytes], first: int, of_easy: float, seed: int = 0) -> list[bytes]:
    """The log without labels of a share of the easy cases from one event on."""
    draw = np.random.default_rng([seed, 5])
    rows = [orjson.loads(each) for each in log]
    for row in rows[first:]:
        if row["score"] < 0.2 and draw.random() < of_easy:
            del row["label"]
    return [*map(orjson.dumps, rows)]


@cache
def baseline(of_easy: float = 0.0) -> Baseline:
    return baseline_of(withheld(messages(8000, seed=1), 0, of_easy))


def steps(pipeline: Pipeline) -> list[Step]:
    return [step for _, step in pipeline.steps if step.incident.scope == OUTCOMES]


def accuracy(log: Sequence[bytes]) -> float:
    rows = [row for row in map(orjson.loads, log) if "label" in row]
    return sum(row["label"] == row["prediction"] for row in rows) / len(rows)


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_cease_to_come_for_easy_cases_page_nobody(seed: int) -> None:
    log = withheld(messages(EVENTS, seed=10 + seed), CHANGES, 0.9)
    assert accuracy(log[CHANGES:]) < accuracy(log[:CHANGES]) - 0.06
    assert not steps(ran(log, configured(), baseline()))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("before", "now"), [(0.9, 0.9), (0.0, 0.9), (0.9, 0.0)])
def test_a_reference_may_have_labels_for_another_part_than_the_traffic(seed: int, before: float, now: float) -> None:
    log = withheld(messages(EVENTS, seed=20 + seed), 0, now)
    assert not steps(ran(log, configured(), baseline(before)))


def test_concept_drift_is_seen_beside_it_and_each_has_its_part() -> None:
    log = withheld(messages(EVENTS, seed=3, concept=lambda i: 0.8 * (i >= CHANGES)), CHANGES, 0.9)
    pipeline = ran(log, configured(), baseline())
    step = steps(pipeline)[0]
    (finding,) = step.findings
    outcome = finding.outcome
    assert outcome is not None
    assert outcome.after - outcome.before == pytest.approx(outcome.mix + outcome.concept + outcome.coverage)
    assert outcome.coverage < -0.03 < abs(outcome.mix) - 0.03
    assert outcome.concept < -0.1
    data = build_alert(pipeline.monitors["fraud"], step, mode="live", topic="t", emitted_at=step.at).data
    assert " by label coverage, " in data.title
    assert " by concept drift) since " in data.title
    (evidence,) = data.evidence.signals
    assert evidence.outcome.coverage == round(outcome.coverage, 6)


def test_figures_say_how_much_is_labelled_and_how_right_the_model_is_on_all() -> None:
    log = withheld(messages(EVENTS, seed=4), 0, 0.8)
    pipeline = ran(log, configured(), baseline())
    monitor, state = pipeline.monitors["fraud"], pipeline.states["fraud"]
    figures = monitor.figures(state, "")
    newest = [orjson.loads(each) for each in log[-2500:]]
    assert figures["labelled"] == pytest.approx(sum("label" in row for row in newest) / len(newest), abs=0.05)
    everything = accuracy(messages(EVENTS, seed=4))
    assert figures["accuracy"] < everything - 0.03
    assert figures["weighted_accuracy"] == pytest.approx(everything, abs=0.025)
    assert figures["estimated_accuracy"] == pytest.approx(everything, abs=0.025)


def test_before_any_label_the_scores_of_what_waits_say_how_right_the_model_should_be() -> None:
    known = baseline()
    assert known.coding is not None
    draw, n = np.random.default_rng(3), 2000
    for low, high in ((0.0, 0.1), (0.4, 0.6)):
        score = draw.uniform(low, high, n)
        prediction = np.where(score > 0.5, "fraud", "fine").astype(object)
        waiting = Stubs(np.arange(n).astype(np.uint64), np.arange(n), prediction, score)
        figures = newest_figures(None, known.coding, known.outcomes, waiting)
        assert figures["estimated_accuracy"] == pytest.approx(np.maximum(score, 1 - score).mean(), abs=0.06)
        assert "labelled" not in figures


def test_without_labels_for_a_part_nothing_is_corrected() -> None:
    draw = np.random.default_rng(5)
    n, m = draw.integers(20, 50, 30), draw.integers(50, 90, 30)
    window, reference = (Tally.of(each, draw.binomial(each, 0.3), draw.binomial(each, 0.3)) for each in (n, m))
    assert of_coverage(window, reference) == (0.0, 0.0)
    assert unstratified(window, reference) == pytest.approx(stratified(window.total(), reference.total()))


def test_what_other_labelled_rows_account_for_is_a_part_of_its_own() -> None:
    # One row in ten of the easy stratum has a label, and all of the hard one; losses are those of the reference.
    reference = Tally.of(np.array([900.0, 100.0]), np.array([90.0, 50.0]), np.array([90.0, 50.0]))
    n, seen = np.array([90.0, 100.0]), np.array([900.0, 100.0])
    window = Tally.of(n, n * [0.1, 0.5], n * [0.1, 0.5], seen=seen)
    parts = split(window, reference)
    assert (parts.mix, parts.concept) == pytest.approx((0.0, 0.0))
    assert parts.coverage == pytest.approx(parts.after - parts.before) == pytest.approx(59 / 190 - 0.14)
    assert unstratified(window, reference) == pytest.approx(0.0)
    assert stratified(window.total(), reference.total()) > 5


def test_quiet_series_with_labels_for_a_part_are_as_rarely_worse_as_their_evidence_says() -> None:
    draw, strata = np.random.default_rng(8), np.linspace(0.05, 0.5, 12)
    comparison = Comparison.of(_blocks(draw, strata, 64, np.ones(12)), np.array([0]))
    evidence = np.concatenate(
        [comparison.worse(_blocks(draw, strata, 1000, np.linspace(0.05, 1.0, 12)))[:, 0] for _ in range(20)]
    )
    for nats in (3, 5, 7):
        assert (evidence > nats).mean() < 2 * np.exp(-nats)


def _blocks(draw: np.random.Generator, strata: np.ndarray, count: int, labelled: np.ndarray) -> Tally:
    """Blocks (count, S), of which a share of each stratum has a label."""
    seen = draw.multinomial(500, np.full(len(strata), 1 / len(strata)), count)
    n = draw.binomial(seen, labelled)
    wrong = draw.binomial(n, strata)
    return Tally.of(n, wrong, wrong, seen=seen)


def test_the_outcomes_of_a_baseline_say_which_of_its_rows_have_none() -> None:
    known = baseline(0.9)
    assert known.outcomes is not None
    task = known.outcomes.coding.task
    assert int(task.seen(known.outcomes.total).sum()) == 8000
    labelled = sum("label" in orjson.loads(each) for each in withheld(messages(8000, seed=1), 0, 0.9))
    assert known.outcomes.n == labelled
    assert replace(known.outcomes).hash == known.outcomes.hash
