"""Like with like: windows are compared with what their own phases let expect, and with how much these vary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from driftline.detectors.decision.likeness import Likeness
from driftline.detectors.decision.reference import GROUPS, History, Reference
from driftline.detectors.statistics.functionals import Functionals

# A day has 1200 events in 24 hours, a block 50; codes 0..15 are regular, 16 is missing.
DAY, HOURS, BLOCK, CODES = 1200, 24, 50, 16
DAYS = 8


def coded(values: np.ndarray) -> np.ndarray:
    cuts = np.linspace(-1.8, 1.8, CODES - 1)
    return np.where(np.isfinite(values), np.searchsorted(cuts, values), CODES)


def table(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    counts = np.zeros(shape)
    np.add.at(counts, (rows, columns), 1)
    return counts


def hour(n: int, phases: int) -> np.ndarray:
    return np.arange(n) % DAY * phases // DAY


def history_of(codes: np.ndarray, phases: int = HOURS) -> History:
    at = np.arange(len(codes))
    visits = np.zeros((-(-len(codes) // DAY), phases, CODES + 1))
    np.add.at(visits, (at // DAY, hour(len(codes), phases), codes), 1)
    blocks = len(codes) // BLOCK
    return History(
        table(at // BLOCK, codes, (blocks, CODES + 1)),
        table(at // BLOCK, hour(len(codes), phases), (blocks, phases)),
        np.arange(blocks) * BLOCK // DAY,
        visits,
        len(visits),
    )


def windows(codes: np.ndarray, lengths: list[int], phases: int = HOURS) -> tuple[np.ndarray, np.ndarray]:
    """Counts, and events by phase, of the last `lengths` events of codes that begin at midnight."""
    hours = hour(len(codes), phases)
    counts = [np.bincount(codes[-n:], minlength=CODES + 1) for n in lengths]
    return np.array(counts, float), np.array([np.bincount(hours[-n:], minlength=phases) for n in lengths], float)


def largest(likeness: Likeness, codes: np.ndarray, phases: int = HOURS) -> np.ndarray:
    """The largest evidence (T,) of windows that end at each block."""
    live = history_of(codes, phases)
    counts, hours = (np.vstack([np.zeros(each.shape[1]), each.cumsum(0)]) for each in (live.blocks, live.phases))
    each = [
        likeness.evidence(counts[w:] - counts[:-w], hours[w:] - hours[:-w]).max(0)
        for w in (1, 2, 4, 8, 16, 24, 48, 96)
        if w < len(counts)
    ]
    return np.max(each, 0)


def traffic(kind: str, days: int, seed: int) -> np.ndarray:
    rng, n = np.random.default_rng([seed, len(kind)]), days * DAY
    noise, day = rng.standard_normal(n), 2 * np.pi * np.arange(n) / DAY
    match kind:
        case "level":
            return 0.7 * noise + 0.9 * np.sin(day)
        case "spread":
            return 0.6 * noise * (1 + 0.6 * np.sin(day))
        case "missing":
            return np.where(rng.random(n) < 0.06 + 0.05 * np.sin(day), np.nan, noise)
        case "dependent":
            return lfilter([1], [1, -0.8], 0.6 * noise)
        case "evenings that move":
            moves = rng.uniform(-1, 1, days + 1)[np.arange(n) // DAY]
            return 0.8 * noise + np.exp(-((np.arange(n) % DAY / DAY * 24 - 19 - moves) ** 2))
    return noise


KINDS = ["nothing", "level", "spread", "missing", "dependent", "evenings that move"]


# The reference


def test_a_mixture_of_phases_is_expected_and_its_error_is_that_of_the_phases() -> None:
    reference = Reference(np.array([[30.0, 10.0], [0.0, 60.0], [0.0, 0.0]]))
    assert reference.expected(np.array([[4.0, 6.0, 0.0]])).tolist() == [[3.0, 7.0]]
    assert reference.expected(np.array([[0.0, 0.0, 10.0]])) == pytest.approx(np.array([[3.0, 7.0]]))
    assert reference.size(np.array([[4.0, 6.0, 0.0], [5.0, 0.0, 0.0]])) == pytest.approx([100, 40])


def test_windows_with_the_baselines_own_mixture_are_known_as_well_as_without_phases() -> None:
    counts = np.random.default_rng(1).poisson(20, (24, 5)).astype(float)
    reference = Reference(counts)
    assert reference.size(counts.sum(1)[None] / 10) == pytest.approx([counts.sum()])
    assert reference.expected(counts.sum(1)[None]) == pytest.approx(counts.sum(0)[None])


def test_residuals_compare_each_cycle_with_the_others() -> None:
    codes = coded(traffic("level", 3, 1))
    history = history_of(codes)
    others = Reference(history.visits[1:].sum(0))
    first = history.blocks[:24] - others.expected(history.phases[:24])
    assert history.residuals[:24] == pytest.approx(first * np.sqrt(2 / 3))
    assert history.residuals.sum(1) == pytest.approx(0, abs=1e-9)


def test_five_years_of_days_are_known_from_groups_of_neighbouring_days() -> None:
    rng, days, codes = np.random.default_rng(1), 1826, 255
    seconds = np.sort(rng.integers(0, days * 86_400, 5000))
    each = rng.integers(0, codes, 5000)
    history = History.of(each, codes + 3, seconds, 48, 64)
    assert history.visits.shape == (GROUPS, 48, codes + 3)
    assert np.array_equal(history.reference.counts, table(seconds // 1800 % 48, each, (48, codes + 3)))
    assert history.cycles == len(np.unique(seconds // 86_400))
    assert Likeness.of(history, codes, ordered=False).widths.cycle == pytest.approx(5000 / history.cycles)


@pytest.mark.parametrize("days", [GROUPS, 2 * GROUPS])
def test_a_restless_evening_is_seen_in_groups_of_days_too(days: int) -> None:
    rng, at = np.random.default_rng(2), np.arange(days * 96)
    hour, day = at % 96 // 4, at // 96
    moved = np.where((hour >= 18) & (hour < 21), 1.5 * rng.normal(size=days)[day], 0)
    codes = coded(rng.normal(size=len(at)) + moved)
    widths = Likeness.of(History.of(codes, CODES + 1, at * 900, HOURS, len(at) // 100), CODES, ordered=True).widths
    level = widths.excess[:, 0]
    assert level[18:21].min() > 1.8
    assert level[:16].max() == 1


# Functionals


def test_missing_values_move_no_shape() -> None:
    shares = np.array([0.1, 0.2, 0.3, 0.1, 0.3])
    functionals = Functionals(shares, 4, ordered=True)
    shape = functionals.matrix[:, functionals.families[0]]
    assert shape[4] == pytest.approx(0)
    assert shares @ shape == pytest.approx(0)
    assert (functionals.matrix[:, -1] == [0, 0, 0, 0, 1]).all()


# False alarms and delay


@pytest.mark.parametrize("kind", KINDS)
def test_traffic_that_goes_on_as_it_was_shows_little_evidence(kind: str) -> None:
    # Some 4,000 blocks: one in e^8.3 of them may show 9 nats and what a family costs, at most 3.
    highest = []
    for seed in range(8):
        values = traffic(kind, 2 * DAYS + 4, seed)
        likeness = Likeness.of(history_of(coded(values[: DAYS * DAY])), CODES, ordered=True)
        highest.append(largest(likeness, coded(values[DAYS * DAY :])).max())
    assert sorted(highest)[-2] < 12


# Values vary most in the first half of a day whose spread has a cycle.
@pytest.mark.parametrize(("kind", "events"), [("level", 400), ("spread", 800), ("missing", 400), (KINDS[-1], 400)])
def test_a_shift_is_seen_under_a_cycle_nearly_as_soon_as_without(kind: str, events: int) -> None:
    for seed in range(4):
        values = traffic(kind, DAYS + 1, seed)
        shifted = values[DAYS * DAY :][:events] + 0.5 * np.nanstd(values)
        likeness = Likeness.of(history_of(coded(values[: DAYS * DAY])), CODES, ordered=True)
        assert likeness.evidence(*windows(coded(shifted), [events])).max() > 12


def test_without_phases_a_cycle_hides_the_shift() -> None:
    values = traffic("level", DAYS + 1, 1)
    shifted = coded(values[DAYS * DAY :][: DAY // 2] + 0.5 * values.std())
    for phases, seen in ((HOURS, True), (1, False)):
        likeness = Likeness.of(history_of(coded(values[: DAYS * DAY]), phases), CODES, ordered=True)
        assert (likeness.evidence(*windows(shifted, [400], phases)).max() > 12) == seen


def test_dependence_lowers_evidence_by_its_slope() -> None:
    # Of AR(1) 0.8, nine events say as much as one that is independent.
    rng, shift = np.random.default_rng(3), 0.5
    free, bound = (traffic(kind, DAYS, 1) for kind in ("nothing", "dependent"))
    level = []
    for values in (free, bound):
        likeness = Likeness.of(history_of(coded(values), 1), CODES, ordered=True)
        window = coded(rng.standard_normal(600) + shift)
        level.append(likeness.evidence(*windows(window, [600], 1))[0, 1])
    assert 5 < level[0] / level[1] < 18


def test_a_share_that_stays_up_is_seen_though_its_hours_are_restless() -> None:
    rng = np.random.default_rng(5)
    days = 30

    def drawn(n_days: int, more: float) -> np.ndarray:
        n = n_days * DAY
        evening = np.abs(np.arange(n) % DAY / DAY * 24 - 20 - rng.uniform(-1, 1, n_days)[np.arange(n) // DAY]) < 1
        codes = rng.integers(0, CODES, n)
        codes = np.where(rng.random(n) < 0.4 * evening, 3, codes)
        return np.where(rng.random(n) < more, 1, codes)

    likeness = Likeness.of(history_of(drawn(days, 0.0)), CODES, ordered=False)
    assert likeness.widths.excess.max() > 5
    # Without the rule of whole cycles, 9 nats are reached with twice as many events.
    assert likeness.evidence(*windows(drawn(3, 0.03), [3 * DAY]))[0, 0] > 9
    assert largest(likeness, drawn(days, 0.0))[0] < 12


# Whatever a window holds


@given(st.lists(st.integers(0, 10**6), min_size=CODES + 1, max_size=CODES + 1), st.booleans(), st.integers(0, 23))
def test_evidence_is_finite(counts: list[int], ordered: bool, at: int) -> None:
    window = np.array([counts], float)
    window[0, 0] += 1
    phases = np.zeros((1, HOURS))
    phases[0, at] = window.sum()
    evidence = BASELINES[ordered].evidence(window, phases)
    assert evidence.shape == (1, len(BASELINES[ordered].tests))
    assert np.isfinite(evidence).all()
    assert (evidence >= 0).all()


BASELINES = {each: Likeness.of(history_of(coded(traffic("level", 6, 1))), CODES, each) for each in (False, True)}


def test_a_constant_signal_has_evidence_only_of_other_values() -> None:
    codes = np.zeros(6 * DAY, np.int64)
    likeness = Likeness.of(history_of(codes), CODES, ordered=True)
    same, other = (np.eye(CODES + 1)[[each]] * 500 for each in (0, CODES))
    phases = np.full((1, HOURS), 500 / HOURS)
    assert likeness.evidence(same, phases).max() < 1
    assert likeness.evidence(other, phases)[0, -1] > 100
