"""Values in another unit: the factor and the share are found from counts, and nothing else is taken for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.statistics.rescaling import Rescaling, rescaling
from driftline.detectors.summaries.codes import Grid, Kind
from driftline.detectors.summaries.distribution import Distribution, distribution
from driftline.detectors.summaries.layout import Layout, Signal

SHAPES = {
    "normal": lambda rng, n: rng.normal(10, 2, n),
    "centred": lambda rng, n: rng.normal(0, 1, n),
    "narrow": lambda rng, n: rng.normal(10, 0.1, n),
    "lognormal": lambda rng, n: rng.lognormal(3, 1, n),
    "exponential": lambda rng, n: rng.exponential(5, n),
    "negative": lambda rng, n: -rng.gamma(3, 2, n) - 1,
    "whole": lambda rng, n: rng.integers(5, 100, n).astype(float),
    "grades": lambda rng, n: rng.choice([1.0, 2.0, 5.0], n),
}


def layout_of(reference: np.ndarray) -> Layout:
    grid = Grid.fit(reference)
    low, high = float(reference.min()), float(reference.max())
    spread = float(np.abs(reference).max()) or 1.0
    signal = Signal("x", Kind.NUMERIC, grid, True, float(np.median(reference)), spread, (low, high))
    return Layout((signal,))


def found(layout: Layout, values: np.ndarray) -> Distribution:
    column = values[:, None]
    return distribution(layout, layout.sketch(layout.encode(column, []), column), 0)


def judged(reference: np.ndarray, live: np.ndarray) -> Rescaling | None:
    layout = layout_of(reference)
    growth = (live**2).mean() / (reference**2).mean()
    return rescaling(found(layout, reference), found(layout, live), float(growth))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.1, 0.43, 1.0])
@pytest.mark.parametrize("factor", [60, 100, 1000, 1e6])
def test_a_share_in_a_smaller_unit_is_told_with_its_factor(shape: str, share: float, factor: float) -> None:
    rng = np.random.default_rng(1)
    live = SHAPES[shape](rng, 6000)
    live[rng.random(6000) < share] *= factor
    told = judged(SHAPES[shape](rng, 5000), live)
    assert told is not None
    assert told.factor == pytest.approx(factor, rel=0.15)
    assert told.share == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("shape", ["normal", "narrow", "lognormal", "negative", "whole", "grades"])
@pytest.mark.parametrize("share", [0.1, 0.43, 1.0])
@pytest.mark.parametrize("factor", [1 / 60, 1 / 100, 1 / 1000])
def test_a_share_in_a_larger_unit_is_told_where_values_keep_away_from_0(
    shape: str, share: float, factor: float
) -> None:
    rng = np.random.default_rng(2)
    live = SHAPES[shape](rng, 6000)
    live[rng.random(6000) < share] *= factor
    told = judged(SHAPES[shape](rng, 5000), live)
    assert told is not None
    assert told.factor == pytest.approx(factor, rel=0.15)
    assert told.share == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_other_change_is_taken_for_one_of_unit(shape: str) -> None:
    rng = np.random.default_rng(3)
    reference, live = SHAPES[shape](rng, 5000), SHAPES[shape](rng, 2000)
    others, half, far = [live], rng.random(2000) < 0.4, 8 * reference.std()
    if shape != "narrow":  # there, one value and a narrow distribution are one
        others += [np.full(2000, 777.0), np.where(half, 9_999.0, live)]
    if shape not in ("narrow", "grades"):  # with few values, moving and scaling are one
        others += [live + far / 3, np.where(half, live + far, live)]
    for other in others:
        told = judged(reference, other)
        assert told is None or told.factor < 5, other


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.none() | st.floats(0, math.inf),
)
def test_whatever_the_values_a_rescaling_is_a_factor_and_a_share(
    reference: list[float], live: list[float], growth: float | None
) -> None:
    layout = layout_of(np.array(reference * 3))
    told = rescaling(found(layout, np.array(reference)), found(layout, np.array(live * 20)), growth)
    assert told is None or (told.factor > 0 and 0 < told.share <= 1)
