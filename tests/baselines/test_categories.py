"""Texts with many values: categories are chosen on other rows than are counted, and scattered ones are not watched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import Kind, Special
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.categories import MAX_CATEGORIES, is_open, is_scattered, stand_ins
from driftline.stream.baselines.unwatched import Why
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range

ROWS, NAME = 10_000, "features.x"
Rng = np.random.Generator


def zipf(rng: Rng, n: int) -> np.ndarray:
    shares = np.arange(1, 1001) ** -0.9
    return rng.choice(1000, n, p=shares / shares.sum())


KINDS: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "alike": lambda rng, n: rng.integers(400, size=n),
    "Zipf": zipf,
    "sessions": lambda rng, n: np.repeat(zipf(rng, n // 20 + 1), 20)[:n],
    "some beyond what is seen": lambda rng, n: np.minimum(rng.geometric(0.02, n), 400),
}


def events(values: np.ndarray) -> list[Event]:
    return [Event(str(i), 10**12 + i, "m", None, {NAME: f"v{each}"}) for i, each in enumerate(values.tolist())]


def build(values: np.ndarray, **settings: object) -> Baseline:
    return build_baseline(events(values), {"model": "m"}, BuildSettings(**settings))  # type: ignore[arg-type]


def bias(values: np.ndarray, later: np.ndarray, *, apart: bool) -> float:
    """By how much more the share of what a baseline does not know is among later values."""
    baseline = build(values, apart=apart)
    unseen = baseline.layout.special_column(0, Special.UNSEEN)
    known = baseline.total.counts[unseen] / baseline.total.n
    return float(baseline.sketch_events(events(later)).counts[unseen] / len(later) - known)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unseen_is_as_common_as_the_baseline_says(kind: str) -> None:
    rng = np.random.default_rng(3)
    values, later = KINDS[kind](rng, ROWS), KINDS[kind](rng, ROWS)
    # Sessions of 20 have a twentieth as many independent events.
    error = 4 * np.sqrt(0.25 / ROWS * (20 if kind == "sessions" else 1) * 2.25)
    assert abs(bias(values, later, apart=True)) < error
    if kind == "alike":
        assert bias(values, later, apart=False) > error


@pytest.mark.parametrize("kind", ["alike", "Zipf"])
def test_categories_are_as_common_as_the_baseline_says(kind: str) -> None:
    rng = np.random.default_rng(4)
    found = {}
    for apart in (True, False):
        values, later = KINDS[kind](rng, ROWS), KINDS[kind](rng, 10 * ROWS)
        baseline = build(values, apart=apart)
        known, fresh = baseline.total.counts[:MAX_CATEGORIES], baseline.sketch_events(events(later)).counts
        found[apart] = known.sum() / (fresh[:MAX_CATEGORIES].sum() / 10)
    assert found[True] == pytest.approx(1, abs=0.1)
    assert found[False] > found[True]


def test_each_event_is_counted_once_in_each_block() -> None:
    baseline = build(KINDS["Zipf"](np.random.default_rng(5), ROWS))
    assert baseline.total.n == ROWS
    assert baseline.layout.events(baseline.blocks).sum() == ROWS
    assert (baseline.blocks.sum(0) == baseline.total.counts).all()


@given(st.integers(1000, 30_000))
def test_a_row_that_chooses_is_never_counted(rows: int) -> None:
    chosen = stand_ins(rows)
    counted, times = np.unique(chosen, return_counts=True)
    assert chosen.min() >= 0
    assert 0.85 * rows < len(counted) < 0.89 * rows
    assert times.max() <= 2
    assert (chosen[counted] == counted).all(), "who stands in for others counts for itself, too"
    assert (np.arange(rows) - chosen <= rows / 64 + 1).all()


def test_texts_of_few_values_count_as_they_are() -> None:
    values = np.random.default_rng(6).integers(40, size=ROWS)
    assert not is_open([f"v{each}" for each in values])
    baseline = build(values)
    assert sorted(baseline.total.counts[:40]) == sorted(np.bincount(values))


def test_texts_whose_values_are_nearly_all_rare_are_identifiers_unless_a_kind_is_named() -> None:
    values = np.random.default_rng(7).integers(20_000, size=ROWS)
    assert is_scattered([f"v{each}" for each in values])
    rows = [
        Event(e.id, e.ts, "m", None, {**e.signals, "features.y": float(i % 7)}) for i, e in enumerate(events(values))
    ]
    built = build_baseline(rows, {"model": "m"})
    assert built.unwatched == {NAME: Why.IDENTIFIER}
    assert built.names == {"features.y"}
    watched = build_baseline(rows, {"model": "m"}, BuildSettings(kinds={NAME: Kind.CATEGORICAL}))
    assert NAME in watched.names


def test_an_identifier_that_is_mostly_one_value_is_watched() -> None:
    rng = np.random.default_rng(8)
    values = np.where(rng.random(ROWS) < 0.3, 0, rng.integers(10**9, size=ROWS))
    assert build(values).names == {NAME, f"{NAME} (rare)"}


def test_below_level_3_a_worker_learns_as_it_did() -> None:
    values = KINDS["Zipf"](np.random.default_rng(9), 2000)
    learned = {}
    for level in (2, 3):
        monitor = Monitor("m", ModelConfig(learn_events=2000), **monitor_settings(level))
        pane = Pane(tuple(events(values)), 10**12, 10**12 + 2000, (Range(0, 0, 2000),))
        learned[level] = monitor.judge(ModelState(), pane)[0].learned
    before, after = (build(values, apart=apart).arrays_hash for apart in (False, True))
    assert (learned[2].arrays_hash, learned[3].arrays_hash) == (before, after)  # type: ignore[union-attr]


def test_rows_that_are_counted_twice_do_not_count_for_more_events() -> None:
    baseline = build(KINDS["alike"](np.random.default_rng(10), 5 * ROWS))
    assert baseline.slopes is not None
    widths = baseline.slopes.likeness(baseline.layout, 0, baseline.total.counts).widths
    # A stretch in eight has the weight of two, so that the weights squared are 10 for 8.
    assert 1.15 < float(np.median(widths.slope(np.array([[20_000.0]]))[0, :100])) < 1.7
