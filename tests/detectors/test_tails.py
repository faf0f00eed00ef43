"""Beyond the baseline's range: values are told apart by magnitude, exactly and additively, and no test sees it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.decision.battery import Battery
from driftline.detectors.summaries.codes import MAGNITUDES, Grid, Kind, magnitude_edges, magnitudes
from driftline.detectors.summaries.distribution import Distribution, distribution
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.detectors.summaries.sketch import Sketch

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(FINITE, st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-30, 1e30, -7.0]))
LAYOUT = Layout(
    (
        Signal("amount", Kind.NUMERIC, Grid(np.array([0.0, 1.0])), True, 0.5, 1.0, (-1.0, 2.0)),
        Signal("old", Kind.NUMERIC, Grid(np.array([0.0])), True),
        Signal("age", Kind.NUMERIC, Grid(np.array([5.0, 10.0])), True, 7.0, 3.0, (3.0, 17.0)),
    )
)
WITHOUT = Layout(tuple(replace(signal, range=None) for signal in LAYOUT.signals))


def sketch(rows: list[list[float]], layout: Layout = LAYOUT) -> Sketch:
    values = np.array(rows, float).reshape(-1, 3)
    return layout.sketch(layout.encode(values, []), values)


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_a_value_lies_between_the_edges_of_its_cell(values: list[float]) -> None:
    array = np.array(sorted(values))
    cells = magnitudes(array)
    low, high = magnitude_edges(cells)
    assert ((cells >= 0) & (cells < MAGNITUDES)).all()
    assert (np.diff(cells) >= 0).all()
    # To the last bit of an edge, which is a power of 2 or a root of one.
    room = np.abs(array) * 1e-15
    assert ((low - room <= array) & (array <= high + room)).all()


def test_cells_follow_each_other_by_a_fifth_and_are_the_same_on_either_side_of_0() -> None:
    cells = np.arange(MAGNITUDES)
    low, high = magnitude_edges(cells)
    assert (low[1:] == high[:-1]).all()
    assert (low == -high[::-1]).all()
    positive = low[MAGNITUDES // 2 + 1 : -1]
    assert positive[1:] / positive[:-1] == pytest.approx(2**0.25)
    one, *others = magnitudes(np.array([1.0, 2.0, 4.0, 2.0**63])).tolist()
    assert others == [one + 4, one + 8, one + 252]


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_tails_add_however_the_events_are_cut(rows: list[list[float]], cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [sketch(rows[first:last]) for first, last in pairwise(bounds)]
    assert reduce(add, parts) == reduce(add, parts[::-1]) == Sketch.total(parts) == sketch(rows)


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=30))
def test_tails_count_each_value_beyond_a_range_once_and_change_nothing_else(rows: list[list[float]]) -> None:
    whole, bare = sketch(rows), sketch(rows, WITHOUT)
    assert replace(whole, tails=bare.tails) == bare
    for column, (signal, side) in {0: (0, 0), 1: (0, 1), 2: (2, 0), 3: (2, 1)}.items():
        low, high = LAYOUT.signals[signal].range
        own = [row[signal] for row in rows if math.isfinite(row[signal])]
        beyond = [value for value in own if (value > high if side else value < low)]
        cells, counts = LAYOUT.tail(whole, signal, side)
        assert (np.repeat(cells, counts) == np.sort(magnitudes(np.array(beyond, float)))).all(), column
    assert (np.diff(whole.tails[0]) > 0).all()


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=30))
def test_evidence_does_not_depend_on_tails(rows: list[list[float]]) -> None:
    whole, bare = sketch(rows), sketch(rows, WITHOUT)
    one, other = (
        Battery(layout, found.counts).evidence(found.counts[None], found.counts, found.counts[None])
        for layout, found in ((LAYOUT, whole), (WITHOUT, bare))
    )
    assert np.array_equal(one, other)


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_quantiles_lie_between_the_extremes_and_rise(values: list[float]) -> None:
    found = distribution(LAYOUT, sketch([[0.0, 0.0, value] for value in values]), 2)
    assert found is not None
    quantiles = np.array([found.quantile(share) for share in np.linspace(0, 1, 21)])
    assert np.isfinite(quantiles).all()
    assert np.diff(quantiles / 2).min() >= -1e-12 * np.abs(quantiles / 2).max()
    assert np.nextafter(min(values), np.finfo(float).min) <= quantiles[0]
    assert quantiles[-1] <= max(values)
    assert found.counts.sum() == pytest.approx(len(values))


def test_a_median_far_beyond_the_range_is_known_to_a_tenth() -> None:
    rng = np.random.default_rng(1)
    for scale in (1e-9, 1e-3, 3.0, 100.0, 1e6, 1e15):
        values = rng.lognormal(size=999) * 100 * scale
        found = distribution(LAYOUT, sketch([[0.0, 0.0, value] for value in values]), 2)
        assert found is not None
        if not 3 <= np.median(values) <= 17:
            assert found.quantile(0.5) == pytest.approx(np.median(values), rel=0.1)


def test_signals_without_a_range_or_values_have_no_distribution() -> None:
    rows = [[math.nan, 3.0, 1.0]]
    assert distribution(LAYOUT, sketch(rows), 0) is None
    assert distribution(LAYOUT, sketch(rows), 1) is None
    assert distribution(LAYOUT, sketch(rows), 2) is not None


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=8))
def test_the_share_up_to_a_value_is_that_of_an_even_spread(cells: list[tuple[int, int, int]]) -> None:
    low, width, counts = (np.array(each, float) for each in zip(*cells, strict=True))
    found = Distribution(low, low + width, counts)
    for at in range(-60, 70):
        shares = [
            (at >= start) if not wide else min(max((at - start) / wide, 0), 1)
            for start, wide in zip(low, width, strict=True)
        ]
        assert found.share_up_to(at) == pytest.approx(np.dot(shares, counts) / counts.sum())
        both = found.share_up_to(abs(at)) - found.share_up_to(np.nextafter(-abs(at), -math.inf))
        assert found.magnitude().share_up_to(abs(at)) == pytest.approx(both, abs=1e-9)
