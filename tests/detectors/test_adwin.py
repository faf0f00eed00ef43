"""ADWIN against River's, against the paper word for word, and its operating characteristics over seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import drift, forest, naive_bayes, tree

from driftline.detectors.online.adwin import ADWIN, Moments
from driftline.detectors.statistics.cut import cut_evidence

FloatArray = npt.NDArray[Any]
Rng = np.random.Generator
RiverADWIN: Any = drift.ADWIN

FINITE = st.floats(-1e6, 1e6)
JUNK: tuple[Any, ...] = (math.nan, math.inf, -math.inf, None, "0.5", 10**400, 1e101, 1j, [], Decimal("sNaN"))


def detections(detector: Any, values: Iterable[Any]) -> list[int]:
    """The indices at which a detector detects."""
    found = []
    for index, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(index)
    return found


def coins(rng: Rng, *runs: tuple[int, float]) -> list[float]:
    """Runs of 0 and 1, each given as (length, share of ones)."""
    return [float(one) for n, p in runs for one in rng.random(n) < p]


# ---- Moments


@given(st.lists(FINITE, max_size=30), st.lists(FINITE, max_size=30))
def test_moments_of_two_parts_add_to_those_of_the_whole(left: list[float], right: list[float]) -> None:
    def of(values: list[float]) -> Moments:
        return sum((Moments(1, value, 0.0) for value in values), Moments())

    merged, both = of(left) + of(right), np.array(left + right)
    assert merged.n == both.size
    assert merged.total == pytest.approx(both.sum(), abs=1e-6)
    assert merged.mean == pytest.approx(both.mean() if both.size else 0.0, abs=1e-6)
    assert merged.variance == pytest.approx(both.var() if both.size else 0.0, rel=1e-6, abs=1e-6)


def test_moments_keep_a_small_variance_on_a_large_mean() -> None:
    """The sum of squares, n * 1e18, would lose it: 0.25 is less than one unit in its last place."""
    moments = sum((Moments(1, 1e9 + i % 2, 0.0) for i in range(1000)), Moments())
    assert moments.variance == pytest.approx(0.25, rel=1e-6)


# ---- cut_evidence


def paper_eps(n0: float, n1: float, variance: float, d: float) -> float:
    """The cut threshold as the paper writes it, with d = ln(2 / delta')."""
    m = 1 / (1 / n0 + 1 / n1)
    return math.sqrt(2 / m * variance * d) + 2 / (3 * m) * d


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.floats(0, 0.25), st.floats(1e-3, 1e3))
def test_evidence_is_the_d_at_which_the_gap_is_the_papers_eps(n0: int, n1: int, variance: float, d: float) -> None:
    gap = paper_eps(n0, n1, variance, d)
    assert cut_evidence(n0, 0.0, n1, gap, variance) == pytest.approx(d, rel=1e-9)
    assert cut_evidence(n0, gap, n1, 0.0, variance) == pytest.approx(d, rel=1e-9)


def test_evidence_broadcasts_over_windows_and_signals() -> None:
    rng = np.random.default_rng(0)
    n0, n1 = rng.integers(1, 100, (7, 1)), rng.integers(1, 100, (7, 3))
    mean0, mean1, variance = rng.random((7, 3)), rng.random(3), rng.random((7, 3)) / 4
    evidence = cut_evidence(n0, mean0, n1, mean1, variance)
    assert evidence.shape == (7, 3)
    one = cut_evidence(n0[4, 0], mean0[4, 2], n1[4, 2], mean1[2], variance[4, 2])
    assert one == evidence[4, 2]


@pytest.mark.parametrize(("n0", "n1"), [(0, 10), (10, 0), (0, 0), (-3, 10)])
def test_an_empty_side_is_no_evidence(n0: int, n1: int) -> None:
    assert cut_evidence(n0, math.nan, n1, 0.7, 0.1) == 0.0


def test_evidence_is_finite_for_any_input() -> None:
    extremes = [0.0, -1.0, 1e-300, 0.5, 1e300, math.inf, -math.inf, math.nan]
    with np.errstate(all="raise"):
        evidence = cut_evidence(*np.array(list(product(extremes, repeat=5))).T)
    assert np.isfinite(evidence).all()
    assert (evidence >= 0.0).all()


def test_a_variance_a_rounding_error_below_zero_counts_as_zero() -> None:
    assert cut_evidence(50, 0.2, 50, 0.3, -1e-18) == cut_evidence(50, 0.2, 50, 0.3, 0.0) > 3.0


# ---- River, detection by detection

STREAMS: dict[str, Callable[[Rng, int], FloatArray]] = {
    "rare ones": lambda rng, n: (rng.random(n) < 0.01).astype(float),
    "some ones": lambda rng, n: (rng.random(n) < 0.2).astype(float),
    "fair coin": lambda rng, n: (rng.random(n) < 0.5).astype(float),
    "uniform": lambda rng, n: rng.random(n),
    "gaussian": lambda rng, n: rng.normal(size=n),
    "abrupt": lambda rng, n: rng.random(n) + (np.arange(n) > n // 2) * rng.uniform(0.05, 1.0),
    "gradual": lambda rng, n: rng.random(n) + np.linspace(0.0, 1.0, n),
    "rate change": lambda rng, n: (rng.random(n) < np.where(np.arange(n) > n // 2, 0.5, 0.3)).astype(float),
    "constant": lambda rng, n: np.full(n, rng.normal()),
    "large constant": lambda rng, n: np.full(n, 1e9 * rng.random()),
    "alternating": lambda rng, n: np.arange(n) % 2 * rng.random(),
    "alternating huge": lambda rng, n: np.arange(n) % 2 * 1e15 * rng.random(),
    # Rounding decides here and gives River false alarms; ours agree only if the sums are formed in the same order.
    "huge offset": lambda rng, n: 1e15 + rng.normal(size=n),
    "huge scale": lambda rng, n: 1e50 * rng.normal(size=n),
    "spikes": lambda rng, n: np.where(rng.random(n) < 0.001, 1e17, rng.random(n)),
    "tiny variance": lambda rng, n: 1e6 + 1e-9 * rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "long runs": lambda rng, n: np.repeat(rng.random(n // 50 + 1), 50)[:n],
    "random walk": lambda rng, n: rng.normal(size=n).cumsum(),
}
SEEDS = range(12)


def parity_case(name: str, seed: int) -> tuple[dict[str, Any], list[float]]:
    """A stream of 1500 values of one kind, and parameters; both depend on the seed."""
    rng = np.random.default_rng([seed, len(name)])
    parameters = {
        "delta": float(rng.choice([0.0002, 0.002, 0.05, 0.3])),
        "clock": int(rng.choice([1, 8, 32, 32, 50])),
        "max_buckets": int(rng.choice([2, 3, 5, 5, 9])),
        "min_window_length": int(rng.choice([1, 2, 5, 5, 20])),
        "grace_period": int(rng.choice([0, 1, 10, 10, 100])),
    }
    return parameters, STREAMS[name](rng, 1500).tolist()


@pytest.mark.parametrize("name", STREAMS)
def test_detects_at_the_same_indices_as_river(name: str) -> None:
    """12 streams of each of 20 kinds."""
    for seed in SEEDS:
        parameters, stream = parity_case(name, seed)
        expected = detections(RiverADWIN(**parameters), stream)
        assert detections(ADWIN(**parameters, semantics="river"), stream) == expected, (seed, parameters)


def test_the_streams_of_the_parity_test_hold_many_detections() -> None:
    counts = dict.fromkeys(STREAMS, 0)
    for name, seed in product(STREAMS, SEEDS):
        parameters, stream = parity_case(name, seed)
        counts[name] += len(detections(RiverADWIN(**parameters), stream))
    assert sum(counts.values()) > 500
    assert sum(count > 0 for count in counts.values()) >= 10


@pytest.mark.parametrize("name", ["uniform", "abrupt", "gradual", "rate change", "lognormal", "long runs"])
def test_the_window_equals_rivers_after_every_value(name: str) -> None:
    """River's `variance` is the sum of squares, not what its docstring says."""
    river, ours = RiverADWIN(), ADWIN(semantics="river")
    for value in STREAMS[name](np.random.default_rng(5), 2000).tolist():
        river.update(value)
        ours.update(value)
        assert ours.width == river.width
        assert ours.total == pytest.approx(river.total, rel=1e-9)
        assert ours.estimation == pytest.approx(river.estimation, rel=1e-9)
        assert ours.variance * ours.width == pytest.approx(river.variance, rel=1e-9)


# ---- the paper, word for word


def paper_detections(values: list[float], delta: float, min_window_length: int) -> list[int]:
    """ADWIN as the paper states it, on a plain list: every split of the window, checked at every value."""
    window: list[float] = []
    found = []
    for index, value in enumerate(values):
        window.append(value)
        dropped = False
        while paper_cuts(window, delta, min_window_length):
            del window[0]
            dropped = True
        found += [index] * dropped
    return found


def paper_cuts(window: list[float], delta: float, min_window_length: int) -> bool:
    n, d = len(window), math.log(2 * max(1, len(window) - 1) / delta)
    variance = float(np.var(window))
    return any(
        abs(math.fsum(window[:cut]) / cut - math.fsum(window[cut:]) / (n - cut)) > paper_eps(cut, n - cut, variance, d)
        for cut in range(min_window_length, n - min_window_length + 1)
    )


@pytest.mark.parametrize("seed", range(4))
def test_with_buckets_of_one_value_it_is_the_algorithm_of_the_paper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = coins(rng, (60, 0.1), (60, 0.9), (60, 0.1))
    detector = ADWIN(0.05, clock=1, max_buckets=1000, min_window_length=3, grace_period=0)
    expected = paper_detections(stream, 0.05, 3)
    assert detections(detector, stream) == expected != []


def test_the_window_after_a_change_holds_mostly_new_values() -> None:
    detector = ADWIN()
    detections(detector, coins(np.random.default_rng(3), (2000, 0.2), (2000, 0.8)))
    assert detector.width < 2100
    assert detector.estimation == pytest.approx(0.8, abs=0.04)
    assert detector.variance == pytest.approx(0.8 * 0.2, abs=0.04)


def test_no_cut_is_tested_within_the_grace_period_or_with_a_short_side() -> None:
    step = [0.0] * 50 + [1.0] * 50
    assert detections(ADWIN(clock=1, max_buckets=100), step)[0] < 80
    assert detections(ADWIN(clock=1, max_buckets=100, grace_period=80), step)[0] == 80
    assert detections(ADWIN(clock=1, max_buckets=100, min_window_length=50), step) == [99]
    assert detections(ADWIN(clock=1, max_buckets=100, min_window_length=51), step) == []


# ---- operating characteristics

STATIONARY: dict[str, Callable[[Rng], FloatArray]] = {
    "uniform": lambda rng: rng.random(100_000),
    "coin of 0.02": lambda rng: (rng.random(100_000) < 0.02).astype(float),
    "fair coin": lambda rng: (rng.random(100_000) < 0.5).astype(float),
}


@pytest.mark.parametrize("name", STATIONARY)
def test_no_false_alarm_in_200_000_values_without_a_change(name: str) -> None:
    """delta allows 2 * 3125 checks some 12 alarms; the bound is far from tight."""
    for seed in range(2):
        assert detections(ADWIN(), STATIONARY[name](np.random.default_rng(seed)).tolist()) == [], seed


def test_delta_governs_the_false_alarms() -> None:
    streams = [STATIONARY["fair coin"](np.random.default_rng(seed))[:50_000].tolist() for seed in range(3)]
    alarms = [sum(len(detections(ADWIN(delta), stream)) for stream in streams) for delta in (0.002, 0.9)]
    assert alarms[0] == 0
    assert 0 < alarms[1] < 0.9 * 3 * 50_000 / 32


@pytest.mark.parametrize(("after", "median", "worst"), [(0.4, 900, 1600), (0.3, 280, 500), (0.1, 100, 150)])
def test_delay_after_a_shift_of_a_fair_coin(after: float, median: int, worst: int) -> None:
    """Values until the detection."""
    delays = []
    for seed in range(20):
        found = detections(ADWIN(), coins(np.random.default_rng(seed), (5000, 0.5), (3000, after)))
        assert found[0] >= 5000
        delays.append(found[0] - 5000)
    assert np.median(delays) <= median
    assert max(delays) <= worst


def test_memory_is_logarithmic() -> None:
    detector = ADWIN()
    detections(detector, np.random.default_rng(0).random(50_000).tolist())
    rows = detector.snapshot()["ladder"]["rows"]
    assert detector.width == 50_000
    assert sum(map(len, rows)) <= 5 * (math.log2(50_000 / 5 + 1) + 1)


# ---- values that are no numbers


@pytest.mark.parametrize("semantics", ["paper", "river"])
def test_junk_is_counted_and_changes_nothing_else(semantics: Any) -> None:
    rng = np.random.default_rng(7)
    stream = coins(rng, (1000, 0.2), (1000, 0.7))
    at = {int(i): JUNK[k % len(JUNK)] for k, i in enumerate(rng.choice(2000, 200, replace=False))}
    clean, dirty = ADWIN(semantics=semantics), ADWIN(semantics=semantics)
    found = []
    for index, value in enumerate(stream):
        if index in at:
            dirty.update(at[index])
            assert not dirty.drift_detected
        dirty.update(value)
        found += [index] * dirty.drift_detected
    assert found == detections(clean, stream) != []
    assert dirty.snapshot() == clean.snapshot() | {"n_skipped": 200}


@pytest.mark.parametrize("semantics", ["paper", "river"])
def test_a_shift_of_50_sigma_is_found_after_a_nan_which_blinds_river(semantics: Any) -> None:
    rng = np.random.default_rng(0)
    stream = [*rng.normal(0, 0.01, 500), math.nan, *rng.normal(0, 0.01, 500), *rng.normal(0.5, 0.01, 5000)]
    found = detections(ADWIN(semantics=semantics), stream)
    assert found
    assert 1001 <= found[0] <= 1001 + 2 * 32
    assert detections(RiverADWIN(), stream) == []


def test_bools_integers_and_numpy_numbers_are_numbers() -> None:
    detector = ADWIN()
    for value in (True, 1, np.float32(1.0), np.int8(1), np.bool_(True), Decimal(1)):
        detector.update(value)  # type: ignore[arg-type]
    assert (detector.total, detector.width, detector.n_skipped) == (6.0, 6, 0)


# ---- snapshots


@pytest.mark.parametrize("semantics", ["paper", "river"])
@pytest.mark.parametrize("cut", [0, 1, 500, 1003, 1055, 1311])
def test_a_restored_detector_continues_as_the_original(semantics: Any, cut: int) -> None:
    stream = [*coins(np.random.default_rng(2), (1000, 0.2), (1000, 0.6), (1000, 0.1)), None]
    original = ADWIN(0.01, clock=8, max_buckets=3, semantics=semantics)
    detections(original, stream[:cut])
    restored = ADWIN.restore(json.loads(json.dumps(original.snapshot())))
    assert restored.snapshot() == original.snapshot()
    assert detections(restored, stream[cut:]) == detections(original, stream[cut:]) != []
    assert restored.snapshot() == original.snapshot()


def test_a_snapshot_taken_at_a_detection_keeps_it() -> None:
    detector = ADWIN(semantics="river")
    stream = coins(np.random.default_rng(2), (1000, 0.2), (1000, 0.8))
    detections(detector, stream[: detections(ADWIN(semantics="river"), stream)[0] + 1])
    restored = ADWIN.restore(detector.snapshot())
    assert restored.drift_detected
    restored.update(1.0)
    assert (restored.width, restored.n_detections, restored.drift_detected) == (1, 1, False)


def test_a_snapshot_of_a_newer_version_is_refused() -> None:
    with pytest.raises(ValueError, match="ADWIN snapshot has version 2; this program reads versions 1 to 1"):
        ADWIN.restore(ADWIN().snapshot() | {"version": 2})


# ---- parameters, and River's interface


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        *[("delta", value, r"in \(0, 1\)") for value in (0, 1, -1, 2.0, math.nan, None, "0.1")],
        *[("clock", value, "at least 1") for value in (0, -32, 1.5, None, True)],
        *[("max_buckets", value, "at least 2") for value in (1, 0, 5.0)],
        *[("min_window_length", value, "at least 1") for value in (0, -5)],
        *[("grace_period", value, "at least 0") for value in (-1, math.inf)],
        *[("semantics", value, "'paper' or 'river'") for value in ("moa", None)],
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(name: str, value: Any, range_: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .*{range_}"):
        ADWIN(**{name: value})


def test_an_unused_detector_has_an_empty_window() -> None:
    detector = ADWIN()
    assert (detector.width, detector.total, detector.estimation, detector.variance) == (0, 0.0, 0.0, 0.0)
    assert not detector.drift_detected


def test_a_clone_has_the_parameters_and_nothing_else() -> None:
    parameters: dict[str, Any] = {"delta": 0.1, "clock": 4, "max_buckets": 3, "min_window_length": 2, "grace_period": 7}
    detector = ADWIN(**parameters, semantics="river")
    detections(detector, [0.0] * 40 + [1.0] * 40)
    assert detector.clone().snapshot() == ADWIN(**parameters, semantics="river").snapshot()


@pytest.mark.parametrize("semantics", ["paper", "river"])
def test_rivers_models_accept_it_as_one_of_their_detectors(semantics: Any) -> None:
    """The concept y = x > 0 turns into its opposite after 2000 events; a model that relearns gets the end right."""
    detector: Any = ADWIN(semantics=semantics)
    bayes: Any = naive_bayes.GaussianNB
    models: list[Any] = [
        drift.DriftRetrainingClassifier(bayes(), detector, train_in_background=False),
        tree.HoeffdingAdaptiveTreeClassifier(grace_period=50, drift_detector=detector, seed=1),
        forest.ARFClassifier(n_models=2, drift_detector=detector, warning_detector=detector, seed=1),
    ]
    xs = np.random.default_rng(0).normal(size=4000).tolist()
    for model in models:
        right = []
        for index, x in enumerate(xs):
            y = (x > 0) == (index < 2000)
            right.append(model.predict_one({"x": x}) == y)
            model.learn_one({"x": x}, y)
        assert np.mean(right[3500:]) > 0.9, type(model).__name__
