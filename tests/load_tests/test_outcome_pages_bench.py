"""The benchmark of false pages of outcomes: its models stay as right as they were, and its verdict can fail."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from load_tests.bench.outcome_pages import KINDS, Counted, _messages, customers, pages, remembering


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_as_often_right_at_the_end_as_at_the_beginning(kind: str) -> None:
    rows = [orjson.loads(each) for each in _messages(KINDS[kind], np.random.default_rng(3), 40_000)]
    if "numbers" in kind:
        losses = np.array([abs(row["label"] - row["prediction"]) / row["prediction"] for row in rows])
    else:
        losses = np.array([float(row["label"] != row["prediction"]) for row in rows])
    first, last = np.array_split(losses, 2)
    assert 0.01 < first.mean() < 0.3
    assert last.mean() == pytest.approx(first.mean(), rel=0.25)


def test_draws_follow_each_other_as_their_names_say() -> None:
    draws = remembering(0.8, np.random.default_rng(1), 20_000)
    assert np.corrcoef(draws[1:], draws[:-1])[0, 1] == pytest.approx(0.79, abs=0.03)
    assert np.std(draws) == pytest.approx(1 / np.sqrt(12), rel=0.01)
    again = customers(20, np.random.default_rng(1), 20_000)
    assert np.mean(again[1:] == again[:-1]) == pytest.approx(0.95, abs=0.01)


def test_more_pages_than_promised_are_too_many_where_errors_are_independent() -> None:
    assert Counted("rare", "baseline", 5, 60, 50.0).is_kept
    assert not Counted("rare", "baseline", 5, 70, 50.0).is_kept
    assert Counted("customers", "baseline", 5, 70, 50.0).is_kept
    assert Counted("rare", "learned", 1, 0, 2.0).is_kept


@pytest.mark.parametrize("given", [True, False])
def test_a_run_is_judged(given: bool) -> None:
    assert 0 <= pages("independent", given, seed=1, rows=3000) <= 3
