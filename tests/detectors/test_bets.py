"""Bets win nothing in the mean while nothing changes, whatever the distribution, and much once it does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detectors.arrays import FloatArray
from driftline.detectors.statistics.bets import DOUBT, Bets
from driftline.detectors.summaries.codes import Special

CODES = len(Special)
# Shares of regular codes: even bins, heavy ties, one value, nearly one value, and bins that are hardly ever filled.
LAWS = {
    "bins": np.full(64, 1 / 64),
    "ties": np.array([0.4, 0.3, 0.2, 0.08, 0.02]),
    "constant": np.ones(1),
    "rare": np.array([0.999, 0.001]),
    "tail": np.arange(1, 41) ** -2.5,
}


def law(name: str, missing: float = 0.02) -> FloatArray:
    """The shares of all codes: some events have no value."""
    shares = LAWS[name] / LAWS[name].sum()
    return np.concatenate([shares * (1 - missing), [missing], np.zeros(CODES - 1)])


def mean_of_one_event(bets: Bets, shares: FloatArray) -> FloatArray:
    """The mean of K (1 + special codes,) in a window of one event with these shares (K,)."""
    return np.asarray(shares @ np.exp(bets.won(np.eye(len(shares)))))


@st.composite
def baselines(draw: st.DrawFn) -> tuple[FloatArray, int, bool]:
    size, phases = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    counts = st.lists(st.integers(0, 50), min_size=size + CODES, max_size=size + CODES)
    return (
        np.array([draw(counts) for _ in range(phases)], float) + np.eye(phases, size + CODES),
        size,
        draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(baselines(), st.data())
def test_events_as_the_baseline_has_them_in_any_mixture_of_its_phases_win_nothing_in_the_mean(
    baseline: tuple[FloatArray, int, bool], data: st.DataObject
) -> None:
    counts, size, ordered = baseline
    shares = counts / counts.sum(1, keepdims=True)
    mix = np.array([data.draw(st.floats(0.01, 1)) for _ in shares])
    assert mean_of_one_event(Bets(counts, size, ordered), mix @ shares / mix.sum()).max() <= 1 + 1e-9


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("events", [100, 2000])
def test_of_baselines_of_independent_events_hardly_any_lets_its_own_distribution_win(
    name: str, ordered: bool, events: int
) -> None:
    shares, rng = law(name), np.random.default_rng(1)
    drawn = rng.multinomial(events, shares, size=300).astype(float)
    winning = [mean_of_one_event(Bets(each[None], len(LAWS[name]), ordered), shares).max() > 1 for each in drawn]
    # With 99 of 100 as promised, 9 or more of 300 have a chance of 0.004.
    assert sum(winning) <= 8, f"{sum(winning) / 300:.1%} of baselines, {DOUBT:.0%} promised"


@pytest.mark.parametrize("name", ["bins", "ties", "rare"])
def test_what_windows_of_panes_have_won_at_most_reaches_a_height_after_as_many_panes_on_average(name: str) -> None:
    height = 6.0
    assert run_lengths(name, law(name), height).mean() >= height
    assert run_lengths(name, law(name, missing=0.2), height).mean() < height / 2


def run_lengths(name: str, shares: FloatArray, height: float, runs: int = 50, most: int = 40) -> FloatArray:
    """Panes of 10 (runs,), at most `most`, until the mean of what all bets have won in some window reaches a height.

    The bets know the distribution that `name` has as nearly as 10 million events tell it.
    """
    bets = Bets(law(name)[None] * 1e7, len(LAWS[name]), ordered=True)
    drawn, lengths = np.random.default_rng(7).multinomial(10, shares, size=(runs, most)), np.full(runs, float(most))
    for run, counts in enumerate(drawn):
        for now in range(1, most + 1):
            windows = np.cumsum(counts[:now][::-1], axis=0).astype(float)
            if np.exp(bets.won(windows)).mean(1).max() >= height:
                lengths[run] = now
                break
    return lengths


@pytest.mark.parametrize(
    ("name", "ordered", "column"), [("bins", True, 0), ("ties", True, 0), ("ties", False, 0), ("bins", True, 1)]
)
def test_a_window_of_a_change_wins_the_more_the_longer_it_is(name: str, ordered: bool, column: int) -> None:
    size = len(LAWS[name])
    usual, changed = law(name), law(name, missing=0.02 if column == 0 else 0.1)
    if column == 0:
        changed[: size // 2] *= 0.6
        changed[:size] *= 0.98 / changed[:size].sum()
    bets = Bets(20_000 * usual[None], size, ordered)
    windows = np.array([500, 2000, 8000])[:, None] * changed
    nats = bets.won(windows)[:, column]
    assert (np.diff(nats) > 0).all()
    assert nats[-1] > 30
    others = np.delete(bets.won(windows), column, axis=1)
    assert others.max() < math.log(2)


def test_what_is_not_known_wins_nothing() -> None:
    never = np.zeros((1, 4 + CODES))
    never[0, 4 + Special.MISSING] = 1000
    window = np.zeros((1, 4 + CODES))
    window[0, :4] = 100
    values, *codes = Bets(never, 4, ordered=True).won(window)[0].tolist()
    assert values <= 0
    assert codes[Special.MISSING] > 20  # that values come at all is news


def test_values_seen_once_let_expect_values_not_seen_before() -> None:
    counts = np.zeros((1, 30 + CODES))
    counts[0, :30] = [1000, *[1] * 29]
    window = np.zeros((1, 30 + CODES))
    window[0, [0, 30 + Special.UNSEEN]] = 95, 5
    often, once = counts.copy(), counts
    often[0, 1:30] = 2
    seldom, none = (Bets(each, 30, ordered=False).won(window)[0, 1 + Special.UNSEEN] for each in (once, often))
    assert seldom < 1 < 3 < none
