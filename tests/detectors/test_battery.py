"""The battery, column by column, against raw samples, scipy and the detectors' own functions for one signal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.statistics.categorical import categorical_evidence, rate_evidence
from driftline.detectors.statistics.cut import cut_evidence
from driftline.detectors.statistics.ks import ks_evidence
from driftline.detectors.summaries.codes import Categories, Grid, Kind, Special
from driftline.detectors.summaries.layout import Layout, Signal
from tests.harness.traffic import Batch

CATEGORIES = ("a", "b", "c", "d")
N_REFERENCE, N_PAST, SIZES = 3000, 900, (40, 400)


def draw(rng: np.random.Generator, n: int, shift: float = 0.0) -> Batch:
    """Two numeric signals, one of them full of ties, a nominal one and a boolean one, each with missing values."""
    shares = [0.5, 0.2 - shift / 4, 0.2 + 0.15 * shift, 0.05, 0.05, shift / 10]
    return {
        "x": np.where(rng.random(n) < 0.05, np.nan, rng.normal(shift, 1 + shift, n)),
        "ties": rng.poisson(2 + shift, n).astype(float),
        "category": rng.choice([*CATEGORIES, None, "new"], n, p=shares),
        "flag": rng.choice(["false", "true"], n, p=[0.3, 0.7]),
    }


RNG = np.random.default_rng(7)
REFERENCE, PAST = draw(RNG, N_REFERENCE), draw(RNG, N_PAST, 0.1)
WINDOWS = [draw(RNG, n, shift) for n in SIZES for shift in (0.0, 0.4)]


def layout_of(*names: str) -> Layout:
    """A layout in which every value of every sample has a code of its own, so that nothing is lost by counting."""
    everything = np.concatenate([batch["x"] for batch in (REFERENCE, PAST, *WINDOWS)])
    signals = {
        "x": Signal("x", Kind.NUMERIC, Grid.fit(everything, max_distinct=len(everything)), numeric=True),
        "ties": Signal("ties", Kind.NUMERIC, Grid.fit(np.arange(20.0)), numeric=True),
        "category": Signal("category", Kind.CATEGORICAL, Categories(CATEGORIES), numeric=False),
        "flag": Signal("flag", Kind.BOOLEAN, Categories(("false", "true")), numeric=False),
    }
    return Layout.of([signals[name] for name in names])


def counts(layout: Layout, batch: Batch) -> np.ndarray:
    names = [signal.name for signal in layout.signals]
    values = [batch[names[s]] for s in layout.numeric]
    texts = [batch[names[s]].tolist() for s in layout.nominal]
    matrix = np.column_stack([*values, np.empty((len(batch["x"]), 0))])
    return layout.sketch(layout.encode(matrix, texts), matrix).counts


def finite(batch: Batch, name: str) -> np.ndarray:
    return batch[name][np.isfinite(batch[name])]


def ranks(batch: Batch, name: str) -> np.ndarray:
    """Mid-ranks of a window's values in the reference: the share below plus half the share equal."""
    reference, values = finite(REFERENCE, name), finite(batch, name)[:, None]
    return ((reference < values).mean(1) + (reference <= values).mean(1)) / 2


ALL = layout_of("x", "ties", "category", "flag")
BATTERY = Battery(ALL, counts(ALL, REFERENCE))
MATRIX = np.stack([counts(ALL, window) for window in WINDOWS])
PASTS = np.broadcast_to(counts(ALL, PAST), MATRIX.shape)
EVIDENCE = BATTERY.evidence(MATRIX, BATTERY.baseline, PASTS)
COLUMNS = dict(zip(BATTERY.columns, EVIDENCE.T, strict=True))
SIGNALS = {signal.name: s for s, signal in enumerate(ALL.signals)}


def column(statistic: str, name: str, special: Special | None = None) -> np.ndarray:
    return COLUMNS[Column(statistic, SIGNALS[name], special)]


@pytest.mark.parametrize("name", ["x", "ties"])
def test_ks_is_the_two_sample_statistic_of_the_raw_values(name: str) -> None:
    samples = [finite(window, name) for window in WINDOWS]
    d = [stats.ks_2samp(sample, finite(REFERENCE, name)).statistic for sample in samples]
    expected = ks_evidence(d, [len(sample) for sample in samples], len(finite(REFERENCE, name)))
    assert column("ks", name) == pytest.approx(expected, rel=1e-9)
    assert column("ks", name)[-1] > 5


@pytest.mark.parametrize("name", ["x", "ties"])
def test_level_and_spread_compare_mid_ranks_in_the_reference(name: str) -> None:
    m, middle = len(finite(REFERENCE, name)), ranks(REFERENCE, name)
    for row, window in enumerate(WINDOWS):
        own = ranks(window, name)
        effective = len(own) * m / (len(own) + m)
        level = 6 * effective * (own.mean() - middle.mean()) ** 2 - math.log(2)
        difference = ((own - 0.5) ** 2).mean() - ((middle - 0.5) ** 2).mean()
        spread = effective * difference**2 / (1 / 90 + abs(difference) / 9) - math.log(2)
        assert column("level", name)[row] == pytest.approx(max(level, 0), abs=1e-9)
        assert column("spread", name)[row] == pytest.approx(max(spread, 0), abs=1e-9)
    assert column("level", "x")[-1] > 10
    assert column("spread", "x")[-1] > 5


@pytest.mark.parametrize("name", ["x", "ties"])
def test_adwin_tests_the_cut_between_past_and_window(name: str) -> None:
    past = ranks(PAST, name)
    for row, window in enumerate(WINDOWS):
        own = ranks(window, name)
        both = np.concatenate([past, own])
        expected = cut_evidence(len(past), past.mean(), len(own), own.mean(), both.var())
        assert column("adwin", name)[row] == pytest.approx(max(expected - math.log(2), 0), abs=1e-9)


@pytest.mark.parametrize("name", ["category", "flag"])
def test_chi2_counts_known_values_only(name: str) -> None:
    known = ALL.signals[SIGNALS[name]].coder.values
    for row, window in enumerate(WINDOWS):
        own, other = ([np.sum(batch[name] == value) for value in known] for batch in (window, REFERENCE))
        expected = categorical_evidence(np.array([own]), np.array(other), np.array([0]))
        assert column("chi2", name)[row] == pytest.approx(expected.item(), abs=1e-9)


def test_chi2_agrees_with_scipy_where_every_cell_is_frequent() -> None:
    own, other = ([np.sum(batch["category"] == value) for value in CATEGORIES] for batch in (WINDOWS[-1], REFERENCE))
    p = stats.chi2_contingency([own, other], correction=False).pvalue
    assert column("chi2", "category")[-1] == pytest.approx(-math.log(p) - math.log(2), rel=1e-9)
    assert column("chi2", "category")[-1] > 5


def test_rates_are_shares_of_all_events() -> None:
    for (name, special), wanted in {
        ("x", Special.MISSING): lambda batch: np.isnan(batch["x"]),
        ("category", Special.MISSING): lambda batch: batch["category"] == None,  # noqa: E711 # elementwise
        ("category", Special.UNSEEN): lambda batch: batch["category"] == "new",
    }.items():
        k, k_ref = [wanted(window).sum() for window in WINDOWS], wanted(REFERENCE).sum()
        expected = rate_evidence(k, [len(window["x"]) for window in WINDOWS], k_ref, N_REFERENCE)
        assert column("rate", name, special) == pytest.approx(expected, abs=1e-9)
    assert column("rate", "category", Special.UNSEEN)[-1] > 10
    assert not column("rate", "x", Special.POS_INF).any()


def test_there_is_a_column_for_every_statistic_and_each_names_its_signal() -> None:
    ordered, nominal, every = 2, 2, 4
    assert EVIDENCE.shape == (len(WINDOWS), 4 * ordered + nominal + 6 * every)
    assert len(set(BATTERY.columns)) == len(BATTERY.columns)
    assert BATTERY.signal_of.tolist() == [each.signal for each in BATTERY.columns]
    assert (EVIDENCE >= 0).all()
    assert np.isfinite(EVIDENCE).all()


def test_a_mid_rank_is_the_share_below_and_half_its_own() -> None:
    layout = layout_of("ties")
    baseline = np.zeros(layout.width, np.int64)
    zero, one, two = (int(layout.encode(np.array([[value]]), [])[0, 0]) for value in (0.0, 1.0, 2.0))
    baseline[[zero, one, two]] = 5, 3, 2
    midranks = Battery(layout, baseline).midranks
    assert midranks[[zero, one, two]].tolist() == [0.25, 0.65, 0.9]
    # A value between two known ones ranks between them, a value beyond them at the end.
    assert midranks[[zero - 1, one - 1, two + 1]].tolist() == [0.0, 0.5, 1.0]


def test_every_column_uses_the_past_if_it_is_the_reference_and_otherwise_only_adwin() -> None:
    past = Battery(ALL, BATTERY.baseline, against_past=True)
    assert past.uses_past.all()
    assert [each.statistic for each, uses in zip(BATTERY.columns, BATTERY.uses_past, strict=True) if uses] == [
        "adwin"
    ] * 2
    evidence = dict(zip(past.columns, past.evidence(MATRIX, PASTS, PASTS).T, strict=True))
    d = [stats.ks_2samp(finite(window, "x"), finite(PAST, "x")).statistic for window in WINDOWS]
    sizes = [len(finite(window, "x")) for window in WINDOWS]
    assert evidence[Column("ks", 0)] == pytest.approx(ks_evidence(d, sizes, len(finite(PAST, "x"))), rel=1e-9)
    assert evidence[Column("adwin", 0)] == pytest.approx(column("adwin", "x"))
    # Ranks of values in the baseline are not uniform in the past: Hoeffding's bounds, not the uniform's.
    past_ranks = ranks(PAST, "x")
    for row, window in enumerate(WINDOWS):
        own = ranks(window, "x")
        effective = len(own) * len(past_ranks) / (len(own) + len(past_ranks))
        level = 2 * effective * (own.mean() - past_ranks.mean()) ** 2 - math.log(2)
        spread = 32 * effective * (((own - 0.5) ** 2).mean() - ((past_ranks - 0.5) ** 2).mean()) ** 2 - math.log(2)
        assert evidence[Column("level", 0)][row] == pytest.approx(max(level, 0), abs=1e-9)
        assert evidence[Column("spread", 0)][row] == pytest.approx(max(spread, 0), abs=1e-9)


@pytest.mark.parametrize("names", [("x", "ties"), ("x",), ("category", "flag"), ("flag",)])
def test_with_only_ordered_or_only_nominal_signals_the_columns_are_the_same(names: tuple[str, ...]) -> None:
    layout = layout_of(*names)
    battery = Battery(layout, counts(layout, REFERENCE))
    windows = np.stack([counts(layout, window) for window in WINDOWS])
    evidence = battery.evidence(windows, battery.baseline, np.broadcast_to(counts(layout, PAST), windows.shape))
    for each, own in zip(battery.columns, evidence.T, strict=True):
        assert own == pytest.approx(column(each.statistic, layout.signals[each.signal].name, each.special), abs=1e-9)


@pytest.mark.parametrize("against_past", [False, True])
def test_an_empty_side_is_no_evidence(against_past: bool) -> None:
    battery = Battery(ALL, BATTERY.baseline, against_past)
    nothing = np.zeros_like(MATRIX)
    assert not battery.evidence(nothing, BATTERY.baseline, PASTS).any()
    assert not battery.evidence(MATRIX, nothing, nothing).any()
