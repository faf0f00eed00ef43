"""The end of a drift is seen as soon as the newest events are likelier without it, and hardly ever while it lasts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from driftline.detectors.decision.likeness import Likeness
from driftline.detectors.decision.reference import History
from driftline.detectors.decision.release import FALSE, Recovery, needed
from load_tests.bench.hazard import likeness

PANE, SIZE = 100, 16
USUAL = np.append(np.ones(SIZE) / SIZE * 0.98, 0.02)
NEVER = np.append(np.full(SIZE, (1 - 1e-5) / SIZE), 1e-5)
EVEN = np.append(np.full(10, 0.0999), 0.001)
# One value and a tail, as of amounts that are mostly 0, and two values; the last one is missing.
ZEROS, MORE = (np.append([1 - p, *np.full(SIZE - 1, p / (SIZE - 1))], 1e-4) / (1 + 1e-4) for p in (0.02, 0.1))
ONCE, RARE, OFTEN = (np.array([1 - p, p, 1e-4]) / (1 + 1e-4) for p in (1e-6, 0.01, 0.05))
HUMPS = USUAL * (1 + 0.25 * np.append(np.polynomial.legendre.Legendre.basis(4)((np.arange(SIZE) + 0.5) / 8 - 1), 0))
HUMPS = np.append(HUMPS[:-1] * 0.98 / HUMPS[:-1].sum(), 0.02)


def of(shares: np.ndarray, *, ordered: bool = True) -> Likeness:
    return likeness(shares, len(shares) - 1, ordered, PANE)


def shifted(by: float) -> np.ndarray:
    """Shares of codes that are moved by a number of standard deviations; the last one is missing."""
    edges = norm.ppf(np.arange(1, SIZE) / SIZE)
    return np.append(np.diff(norm.cdf(edges - by), prepend=0, append=1) * 0.98, 0.02)


def recovery(signal: Likeness, window: np.ndarray, drift: np.ndarray, test: str, code: int = 0) -> Recovery:
    """Of rows (w, K) of counts, without phases."""
    return Recovery(signal, test, code, window, window.sum(1, keepdims=True), drift, drift.sum(1, keepdims=True))


def largest(signal: Likeness, drifted: np.ndarray, seed: int, test: str, code: int = 0) -> np.ndarray:
    """The largest ratio (panes,) at each pane of a drift that lasts, over where the newest events may begin."""
    rng, panes = np.random.default_rng(seed), 240
    sums = np.vstack([np.zeros(len(drifted)), rng.multinomial(PANE, drifted, panes).cumsum(0)]).astype(float)
    first = 40
    return np.array([
        recovery(signal, sums[now] - sums[first:now], sums[first:now], test, code).evidence.max()
        for now in range(first + 1, panes + 1)
    ])  # fmt: skip


# A drift: what is usual, what is then, whether codes are ordered, and by what it is found.
DRIFTS = [
    (USUAL, shifted(0.2), True, "level", 0),
    (USUAL, shifted(0.2), True, "ks", 0),
    (USUAL, np.append(np.full(SIZE, 0.97 / SIZE), 0.03), True, "rate", SIZE),
    (NEVER, np.append(np.full(SIZE, 0.997 / SIZE), 0.003), True, "rate", SIZE),
    (USUAL, np.append(np.full(SIZE, 0.93 / SIZE) + 0.05 * (np.arange(SIZE) == 8), 0.02), True, "bins", 0),
    (USUAL, HUMPS, True, "smooth", 0),
    *((ZEROS, MORE, True, test, 0) for test in ("ks", "level", "spread", "bins")),
    *((RARE, OFTEN, True, test, 0) for test in ("ks", "level", "spread", "bins")),
    *((ONCE, OFTEN, True, test, 0) for test in ("ks", "bins")),
    (EVEN, np.append([0.13, 0.07, *[0.0999] * 8], 0.0008), False, "chi2", 0),
    *((EVEN, np.array([p, *[(0.999 - p) / 9] * 9, 0.001]), False, "bins", 0) for p in (0.05, 0.13)),
]


@pytest.mark.parametrize(("usual", "drifted", "ordered", "test", "code"), DRIFTS)
def test_a_drift_that_lasts_looks_over_no_more_often_than_stated(
    usual: np.ndarray, drifted: np.ndarray, ordered: bool, test: str, code: int
) -> None:
    # The bound of 1 in e^4 panes allows 7.3 of 400; panes side by side share their windows.
    signal, bar = of(usual, ordered=ordered), 4.0
    over = [largest(signal, drifted, seed, test, code) >= bar for seed in range(2)]
    begins = sum(int(each[0]) + int((np.diff(each.astype(int)) > 0).sum()) for each in over)
    assert begins <= 400 * math.exp(-bar) * 1.3


@pytest.mark.parametrize(("usual", "drifted", "ordered", "test", "code"), DRIFTS)
def test_events_after_a_drift_show_its_end_at_the_speed_of_their_divergence(
    usual: np.ndarray, drifted: np.ndarray, ordered: bool, test: str, code: int
) -> None:
    signal, before = of(usual, ordered=ordered), np.round(drifted * 40_000)[None]
    own, other = (np.maximum(each, 1e-12) for each in (usual, drifted))
    nats = (usual * np.log(own / other)).sum()
    events = 12 / nats
    assert recovery(signal, usual[None] * events, before, test, code).evidence[0] == pytest.approx(12, rel=0.45)
    assert recovery(signal, drifted[None] * events, before, test, code).evidence[0] < -6


@given(st.integers(1, 5000), st.integers(0, 100), st.integers(500, 50_000), st.floats(0.001, 1.0))
@settings(max_examples=60, deadline=None)
def test_the_ratio_of_a_rate_is_that_of_two_binomials(n: int, part: int, lasted: int, share: float) -> None:
    k, known = n * part // 100, round(lasted * share)
    window, drift = (np.append(np.full(SIZE, (m - c) / SIZE), c)[None] for m, c in ((n, k), (lasted, known)))
    found = recovery(of(USUAL), window, drift, "rate", SIZE).evidence[0]
    # A level of z standard errors is taken to be z - 1 of them away.
    own = max(of(USUAL).evidence(drift, drift.sum(1, keepdims=True))[0, -1], 0.5)
    likely = 0.02 + ((known + 0.5) / (lasted + 1) - 0.02) * max(1 - 1 / math.sqrt(2 * own), 0)
    assert found == pytest.approx(binom.logpmf(k, n, 0.02) - binom.logpmf(k, n, likely), abs=1e-3 * n + 1e-6)
    assert math.isfinite(found)


def test_one_value_in_a_field_that_is_lost_is_no_end_of_it() -> None:
    lost = np.append(np.zeros(SIZE), 5000.0)[None]
    for present, over in ((1, False), (98, True)):
        window = np.append(np.full(SIZE, present / SIZE), 100.0 - present)[None]
        assert (recovery(of(USUAL), window, lost, "rate", SIZE).evidence[0] >= needed(PANE)) == over


def test_a_drift_that_spreads_values_is_measured_by_how_much_it_varies_itself() -> None:
    """A rare category that has become a frequent one varies more: by its variance before, it would look over soon."""
    usual, then = np.array([0.01, *[0.1099] * 9, 0.0009]), np.array([0.51, *[0.054] * 9, 0.004])
    found = [(largest(of(usual, ordered=False), then, seed, "chi2") >= needed(PANE)).sum() for seed in range(3)]
    assert not any(found)


def test_windows_too_short_for_the_tail_of_their_shape_show_no_end() -> None:
    signal, drift = of(USUAL), np.round(shifted(3) * 10_000)[None]
    few, more = (np.round(USUAL * n * 10)[None] / 10 for n in (24, 26))
    assert recovery(signal, few, drift, "level").evidence[0] == 0
    assert recovery(signal, more, drift, "level").evidence[0] > 15


def test_at_other_times_of_a_cycle_a_drift_expects_as_many_events_more() -> None:
    """By night one value in ten is missing, and by day none: a drift by day of 10 % is one of 20 % by night."""
    counts = np.array([[9000.0, 1000.0], [10_000.0, 0.0]])
    signal = Likeness.of(_history(counts), 1, ordered=True)
    day, night = np.array([[0.0, 1000.0]]), np.array([[1000.0, 0.0]])
    for missing, over in ((200.0, False), (100.0, True)):
        window = np.array([[1000 - missing, missing]])
        found = Recovery(signal, "rate", 1, window, night, np.array([[900.0, 100.0]]), day).evidence[0]
        assert (found > 10) == over
        assert (found < -10) != over


def _history(counts: np.ndarray) -> History:
    blocks = np.repeat(counts / 50, 50, axis=0)
    phases = np.repeat(np.diag(counts.sum(1)) / 50, 50, axis=0)
    visits = np.stack([counts / 2] * 2)
    return History(blocks, phases, np.arange(100) % 2, visits, 2)


def test_what_was_hardly_a_drift_is_over_as_soon_as_it_looks_so() -> None:
    """A third of its evidence shows its end; of one that lasts, what errs once in a million events."""
    signal, drifted = of(USUAL), shifted(0.2)
    for lasted, bar in ((900, None), (40_000, needed(PANE))):
        found = recovery(signal, USUAL[None] * 500, np.round(drifted * lasted)[None], "level")
        missing = found.evidence[0] - found.surplus(PANE)[0]
        own = signal.evidence(found.drift, found.before)[0, signal.tests.index("level")]
        assert missing == pytest.approx(bar or own / 3)


def test_as_many_nats_as_make_a_false_end_once_in_a_million_events() -> None:
    assert math.exp(-needed(250)) / 250 == pytest.approx(FALSE)
    assert needed(1e9) == 0
