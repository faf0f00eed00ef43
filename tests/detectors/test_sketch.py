"""Sketches add exactly: however a stretch of traffic is cut and merged, the same bytes come out."""

from __future__ import annotations

import math
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.summaries.codes import Categories, Grid, Kind, Special
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.detectors.summaries.sketch import Sketch

LAYOUT = Layout.of(
    [
        Signal("country", Kind.CATEGORICAL, Categories(("DE", "FR", "IT")), numeric=False),
        Signal("amount", Kind.NUMERIC, Grid(np.array([-1.0, 0.0, 1.0])), numeric=True, center=0.1, spread=0.7),
        Signal("unit", Kind.CONSTANT, Categories((2.0,)), numeric=True, center=2.0, spread=2.0),
        Signal("tiny", Kind.NUMERIC, Grid(np.array([0.0])), numeric=True, center=0.0, spread=5e-324),
        Signal("flag", Kind.BOOLEAN, Categories(("false", "true")), numeric=False),
    ]
)
NOMINAL = Layout.of([Signal("flag", Kind.BOOLEAN, Categories(("false", "true")), numeric=False)])

NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.8e308, -1e300, 2.0]))
TEXTS = st.sampled_from(["DE", "FR", "IT", "XX", "true", "false", None])
EVENTS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, TEXTS, TEXTS), max_size=40)
Events = list[tuple[float, float, float, str | None, str | None]]


def sketch(events: Events) -> Sketch:
    values = np.array([event[:3] for event in events], float).reshape(len(events), 3)
    texts = [[event[3] for event in events], [event[4] for event in events]]
    return LAYOUT.sketch(LAYOUT.encode(values, texts), values)


def parts(events: Events, cuts: list[int]) -> list[Sketch]:
    """Sketches of the events cut at some places."""
    bounds = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    return [sketch(events[first:last]) for first, last in pairwise(bounds)]


@given(EVENTS, EVENTS, EVENTS)
def test_addition_is_associative_and_commutative(a: Events, b: Events, c: Events) -> None:
    x, y, z = sketch(a), sketch(b), sketch(c)
    assert (x + y) + z == x + (y + z)
    assert x + y == y + x


@given(EVENTS)
def test_the_sketch_of_no_events_is_neutral(events: Events) -> None:
    assert sketch(events) + LAYOUT.empty() == sketch(events)
    assert LAYOUT.empty() == sketch([])


@given(EVENTS, st.lists(st.integers(0, 1000), max_size=6), st.randoms(use_true_random=False))
def test_any_partition_merged_in_any_order_gives_the_same_bytes(events: Events, cuts: list[int], random) -> None:
    pieces = parts(events, cuts)
    random.shuffle(pieces)
    while len(pieces) > 1:
        one, other = pieces.pop(random.randrange(len(pieces))), pieces.pop()
        pieces.append(one + other)
    assert pieces == [sketch(events)]


@given(EVENTS.filter(bool), st.lists(st.integers(0, 1000), max_size=6))
def test_stretches_sketched_together_are_those_sketched_alone(events: Events, cuts: list[int]) -> None:
    values = np.array([event[:3] for event in events], float)
    texts = [[event[3] for event in events], [event[4] for event in events]]
    bounds = sorted({0, *(cut % len(events) for cut in cuts), len(events)})
    together = LAYOUT.sketches(LAYOUT.encode(values, texts), values, np.diff(bounds).tolist())
    assert together == [sketch(events[first:last]) for first, last in pairwise(bounds)]


def test_zero_and_minus_zero_are_the_same_extreme() -> None:
    """The numbers are equal, their bytes are not: which is the minimum depends on how numpy iterates over the array."""
    zeros = [(zero, zero, zero, None, None) for zero in (0.0, -0.0)]
    assert sketch(zeros[:1]) == sketch(zeros[1:])


@given(EVENTS)
def test_every_event_counts_once_in_every_signal(events: Events) -> None:
    counts = sketch(events).counts
    by_signal = np.bincount(LAYOUT.signal_of_column, counts, minlength=len(LAYOUT.signals))
    assert set(by_signal) == {len(events)}
    assert LAYOUT.events(counts) == len(events)


def test_events_are_counted_over_many_windows_at_once() -> None:
    counts = np.stack([sketch([(0.0, 2.0, 0.0, "DE", None)] * n).counts for n in (0, 1, 7)])
    assert LAYOUT.events(counts).tolist() == [0, 1, 7]


def test_ordered_signals_come_first_and_every_code_has_a_column_of_its_own() -> None:
    assert [signal.name for signal in LAYOUT.signals] == ["amount", "tiny", "country", "unit", "flag"]
    assert LAYOUT.n_ordered == 2
    assert sorted(np.concatenate(LAYOUT.columns)) == list(range(LAYOUT.width))
    for s, signal in enumerate(LAYOUT.signals):
        assert set(LAYOUT.signal_of_column[LAYOUT.columns[s]]) == {s}
        assert LAYOUT.columns[s][signal.coder.size + Special.UNSEEN] == LAYOUT.special_column(s, Special.UNSEEN)


def test_a_layout_of_no_signals_of_double_names_or_in_another_order_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one signal"):
        Layout.of([])
    with pytest.raises(ValueError, match="distinct names"):
        Layout.of([LAYOUT.signals[0], LAYOUT.signals[0]])
    with pytest.raises(ValueError, match="ordered signals must come first"):
        Layout(LAYOUT.signals[::-1])


@given(st.integers(0, 2**32 - 1), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_a_summary_is_numpys_to_a_thousandth_of_the_spread(seed: int, center: float, spread: float) -> None:
    values = np.random.default_rng(seed).normal(center + spread, 2 * spread, 500)
    signal = Signal("x", Kind.NUMERIC, Grid(np.array([center])), numeric=True, center=center, spread=spread)
    layout = Layout.of([signal])
    summary = layout.summary(layout.sketch(layout.encode(values[:, None], []), values[:, None]), 0)
    assert summary is not None
    assert summary.n == 500
    assert (summary.low, summary.high) == (values.min(), values.max())
    assert summary.mean == pytest.approx(values.mean(), abs=1e-3 * spread)
    assert summary.deviation == pytest.approx(values.std(), abs=2e-3 * spread)


def test_a_summary_is_of_finite_values_and_none_without_one() -> None:
    nan, inf = math.nan, math.inf
    some = sketch([(1.0, 0.0, 2.0, "DE", None), (nan, inf, 5.0, None, None), (inf, 0.0, nan, "DE", None)])
    summaries = {signal.name: LAYOUT.summary(some, s) for s, signal in enumerate(LAYOUT.signals)}
    assert summaries["country"] is None
    assert summaries["flag"] is None
    assert (summaries["amount"].n, summaries["amount"].mean) == (1, pytest.approx(1.0, abs=1e-4))
    assert (summaries["amount"].low, summaries["amount"].high) == (1.0, 1.0)
    # A constant's other numbers are unseen as codes, yet numbers.
    unit = summaries["unit"]
    assert (unit.n, unit.mean, unit.high) == (2, pytest.approx(3.5, abs=1e-4), 5.0)
    assert LAYOUT.summary(LAYOUT.empty(), 0) is None


def test_a_hundred_million_outliers_do_not_overflow_and_their_extremes_stay_true() -> None:
    one = sketch([(-1.7e308, 1.7e308, 1.7e308, None, None)])
    assert int(np.abs(one.sums).max()) * 100_000_000 < 2**63
    assert one.extremes.max() == 1.7e308
    assert one.extremes.min() == -1.7e308
    # 2^20 of them by doubling: the sums stay exact, the mean stays where the outliers are clipped.
    many = reduce(lambda total, _: total + total, range(20), one)
    assert (many.sums == one.sums * 2**20).all()
    assert LAYOUT.summary(many, 0).mean == pytest.approx(LAYOUT.summary(one, 0).mean) == 0.1 - 0.7 * 2**14


def test_a_layout_without_numbers_has_sketches_too() -> None:
    none = np.empty((2, 0))
    two = NOMINAL.sketch(NOMINAL.encode(none, [["true", None]]), none)
    assert two.n == 2
    assert reduce(add, [two] * 3, NOMINAL.empty()) == two + two + two
