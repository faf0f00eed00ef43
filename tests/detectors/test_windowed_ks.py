"""WindowedKS on streams, and what every detector class of `detectors` must do."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import drift, linear_model, preprocessing
from scipy import stats

from driftline import detectors
from driftline.detectors.online.adwin import ADWIN
from driftline.detectors.online.detector import Detector
from driftline.detectors.online.edetector import EDetector
from driftline.detectors.online.windowed_ks import CountedSample, WindowedKS
from driftline.detectors.summaries.codes import Grid

# ---- WindowedKS

SMALL = st.lists(st.integers(-3, 3), min_size=1, max_size=40)
SILENT = 1e-300  # an alpha that no evidence in these tests reaches


def detections(detector: Any, stream: Iterable[Any]) -> list[int]:
    found = []
    for index, value in enumerate(stream):
        detector.update(value)
        if detector.drift_detected:
            found.append(index)
    return found


def normal(seed: int, *runs: tuple[int, float, float]) -> list[float]:
    """Runs of normal values, each given as (length, mean, standard deviation)."""
    rng = np.random.default_rng(seed)
    return [value for n, mean, deviation in runs for value in rng.normal(mean, deviation, n).tolist()]


def scipy_d(a: list[Any], b: list[Any]) -> float:
    """Of at least two values a side: with one each, scipy's p-value warns."""
    return float(stats.ks_2samp(a, b, method="asymp").statistic)


@given(SMALL, st.lists(st.integers(-3, 3), min_size=2, max_size=30), st.integers(1, 12), st.integers(1, 15))
def test_a_pinned_window_is_exact_at_every_value(
    stream: list[int], baseline: list[int], window: int, clock: int
) -> None:
    detector = WindowedKS(baseline, window=window, clock=clock, alpha=SILENT)
    for end, value in enumerate(stream, start=1):
        detector.update(value)
        if end % clock == 0:
            full = end >= window
            assert detector.width == (window if full else 0)
            assert detector.statistic == (scipy_d(stream[end - window : end], baseline) if full else 0.0)


@given(SMALL, st.lists(st.integers(-3, 3), min_size=2, max_size=30))
def test_without_a_window_the_strongest_suffix_counts(stream: list[int], baseline: list[int]) -> None:
    """With 40 buckets to a row every suffix is a window."""
    detector = WindowedKS(baseline, clock=1, max_buckets=40, alpha=SILENT)
    for end, value in enumerate(stream, start=1):
        detector.update(value)
        suffixes = [stream[start:end] for start in range(end)]
        m = len(baseline)
        expected = max(2 * scipy_d(s, baseline) ** 2 * len(s) * m / (len(s) + m) - math.log(2) for s in suffixes)
        assert detector.evidence == pytest.approx(max(expected, 0.0), abs=1e-9)
        assert detector.threshold == pytest.approx(math.log(end / SILENT))


@given(st.lists(st.integers(-3, 3), max_size=35))
def test_without_a_baseline_the_strongest_cut_counts(tail: list[int]) -> None:
    """Every value occurs in the warm-up, so that each has a code of its own."""
    stream = [*range(-3, 4), 0, *tail]
    detector = WindowedKS(clock=1, warmup=8, max_buckets=40, alpha=SILENT)
    assert detections(detector, stream) == []
    values = np.array(stream) + 0.0
    expected = []
    for cut in range(1, len(values)):
        d, n, m = scipy_d(values[:cut].tolist(), values[cut:].tolist()), cut, len(values) - cut
        expected.append(2 * d * d * n * m / (n + m) - math.log(2))
    assert detector.evidence == pytest.approx(max(*expected, 0.0), abs=1e-9)


def test_a_grid_loses_at_most_one_bins_share_of_d() -> None:
    baseline, window = normal(1, (5000, 0, 1)), normal(2, (200, 0.3, 1.2))
    for bins in (8, 64):
        detector = WindowedKS(baseline, window=200, clock=1, bins=bins, alpha=SILENT)
        detections(detector, window)
        assert 0 <= scipy_d(window, baseline) - detector.statistic <= 1 / bins


@pytest.mark.parametrize("options", [{"baseline": normal(0, (2000, 0, 1))}, {}], ids=["baseline", "no baseline"])
@pytest.mark.parametrize(
    ("change", "delay"), [((0.2, 1), 4000), ((0.5, 1), 300), ((1, 1), 100), ((0, 1.5), 1500), ((0, 3), 150)]
)
def test_a_change_of_mean_or_spread_is_found_in_time(
    options: dict[str, Any], change: tuple[float, float], delay: int
) -> None:
    for seed in range(3):
        found = detections(WindowedKS(**options), normal(seed, (3000, 0, 1), (delay, *change)))
        assert found
        assert found[0] >= 3000


@pytest.mark.parametrize(
    "options",
    [{"baseline": normal(0, (2000, 0, 1))}, {"baseline": normal(0, (2000, 0, 1)), "window": 500}, {}],
    ids=["baseline", "pinned", "no baseline"],
)
def test_false_alarms_stay_below_alpha_per_value(options: dict[str, Any]) -> None:
    """Measured at 0.05 to 0.2 of it. Not zero: a detector that never alarms would satisfy any bound."""
    alpha, n = 0.01, 30_000
    false_alarms = len(detections(WindowedKS(**options, alpha=alpha), normal(3, (n, 0, 1))))
    assert 0 < false_alarms < alpha * n / 2


def test_a_change_beyond_the_baselines_range_is_as_visible_as_any() -> None:
    found = detections(WindowedKS([0.0, 1.0] * 200), [0.0, 1.0] * 200 + [1e300] * 100)
    assert found
    assert found[0] < 450


def test_after_an_alarm_the_new_normal_is_learned_without_a_baseline_and_refused_with_one() -> None:
    stream = normal(4, (2000, 0, 1), (6000, 5, 1))
    assert len(detections(WindowedKS(), stream)) == 1
    assert len(detections(WindowedKS(normal(5, (2000, 0, 1))), stream)) > 100


def test_a_baseline_may_be_counted_beforehand() -> None:
    baseline = normal(6, (500, 0, 1))
    grid = Grid.fit(baseline)
    counted = CountedSample(grid, np.bincount(grid.encode(np.array(baseline)), minlength=grid.size))
    stream = normal(7, (500, 0, 1), (500, 1, 1))
    assert detections(WindowedKS(counted), stream) == detections(WindowedKS(baseline), stream) != []


# ---- Every detector

BASELINE = [0.0, 1.0] * 300
CASES: dict[type[Any], dict[str, Callable[..., Any]]] = {
    ADWIN: {"paper": ADWIN, "river": partial(ADWIN, semantics="river")},
    WindowedKS: {
        "baseline": partial(WindowedKS, BASELINE),
        "pinned": partial(WindowedKS, BASELINE, window=100),
        "no baseline": WindowedKS,
    },
}
WRONG: dict[type[Any], list[tuple[str, Any]]] = {
    ADWIN: [("delta", -1), ("delta", 1.0), ("semantics", "moa"), ("min_window_length", 0), ("grace_period", -1)],
    WindowedKS: [
        ("alpha", 0.0),
        ("alpha", 1 / 32),
        ("alpha", math.nan),
        ("alpha", "low"),
        ("window", 0),
        ("bins", 1),
        ("warmup", 1),
        ("baseline", []),
        ("baseline", [math.nan, None, "1"]),
    ],
}
MAKERS = [pytest.param(make, id=f"{cls.__name__}-{name}") for cls, made in CASES.items() for name, make in made.items()]
every_detector = pytest.mark.parametrize("make", MAKERS)
JUNK: tuple[Any, ...] = (math.nan, math.inf, -math.inf, None, "0.5", "", 10**400, 1j, [], {}, b"1", object())


def flips(seed: int, *runs: tuple[int, float]) -> list[float]:
    """Runs of 0 and 1, each given as (length, share of ones)."""
    rng = random.Random(seed)
    return [float(rng.random() < share) for n, share in runs for _ in range(n)]


def test_every_detector_class_is_covered() -> None:
    walked = pkgutil.walk_packages(detectors.__path__, "driftline.detectors.")
    modules = [importlib.import_module(module.name) for module in walked]
    found = {
        cls
        for module in modules
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and hasattr(cls, "update")
    }
    # EDetector has no clock, and tests of its own; Detector is what all of them share.
    assert found - {EDetector, Detector} == set(CASES) == set(WRONG)


@every_detector
def test_quiet_before_a_change_and_prompt_after(make: Callable[..., Any]) -> None:
    found = detections(make(), flips(1, (4000, 0.5), (1000, 0.95)))
    assert found
    assert 4000 <= found[0] < 4300


@every_detector
def test_a_detection_stands_for_one_update(make: Callable[..., Any]) -> None:
    detector = make()
    first = detections(detector, flips(2, (1000, 0.5), (300, 1.0)))[0]
    again = make()
    assert detections(again, flips(2, (1000, 0.5), (300, 1.0))[: first + 1]) == [first]
    assert again.drift_detected
    assert again.n_detections == 1
    again.update(1.0)
    assert not again.drift_detected


@every_detector
def test_memory_is_bounded(make: Callable[..., Any]) -> None:
    """Eight times the values, three more rows of the histogram."""
    detector, sizes = make(), []
    for stream in (flips(3, (4096, 0.5)), flips(4, (28_672, 0.5))):
        assert detections(detector, stream) == []
        sizes.append(len(json.dumps(detector.snapshot())))
    assert sizes[1] < 1.7 * sizes[0]


@every_detector
@given(st.lists(st.sampled_from([0.0, 1.0, 1.5]), max_size=120), st.integers(0, 700), st.integers(1, 40))
def test_a_restored_detector_continues_as_the_original(
    make: Callable[..., Any], tail: list[float], cut: int, clock: int
) -> None:
    original = make(clock=clock)
    stream = flips(5, (cut, 0.5), (100, 1.0))
    detections(original, stream)
    snapshot = json.loads(json.dumps(original.snapshot(), allow_nan=False))
    assert snapshot == original.snapshot()
    restored = type(original).restore(snapshot)
    rest = [*tail, *flips(6, (60, 1.0), (60, 0.0))]
    assert detections(restored, rest) == detections(original, rest)
    assert restored.snapshot() == original.snapshot()


@every_detector
def test_a_snapshot_of_another_version_is_refused(make: Callable[..., Any]) -> None:
    detector = make()
    for version in (0, detector.snapshot()["version"] + 1, None, "1"):
        with pytest.raises(ValueError, match="version"):
            type(detector).restore({**detector.snapshot(), "version": version})


@every_detector
def test_a_value_that_is_no_number_is_counted_and_changes_nothing_else(make: Callable[..., Any]) -> None:
    """River's ADWIN misses a shift of any size for good after a single NaN."""
    clean, littered = make(), make()
    stream = flips(7, (1500, 0.5), (500, 1.0))
    found = 0
    for index, value in enumerate(stream):
        clean.update(value)
        littered.update(JUNK[index % len(JUNK)])
        assert not littered.drift_detected
        littered.update(value)
        assert littered.drift_detected == clean.drift_detected
        found += littered.drift_detected
    assert found
    assert (clean.n_skipped, littered.n_skipped) == (0, len(stream))


@every_detector
def test_every_type_of_number_is_accepted(make: Callable[..., Any]) -> None:
    stream = flips(8, (1000, 0.5), (200, 1.0))
    expected = detections(make(), stream)
    for kind in (int, bool, np.float32, np.int8, np.bool_):
        assert detections(make(), map(kind, stream)) == expected != []


@every_detector
def test_a_clone_has_the_parameters_and_has_seen_nothing(make: Callable[..., Any]) -> None:
    used = make(clock=7)
    detections(used, flips(9, (2000, 0.5), (500, 1.0)))
    assert used.clone().snapshot() == make(clock=7).snapshot()


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (cls, *case)
        for cls, cases in WRONG.items()
        for case in [*cases, ("clock", 0), ("clock", 1.5), ("max_buckets", 1)]
    ],
)
def test_a_wrong_parameter_is_named(cls: type[Any], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        cls(**({"baseline": BASELINE} if cls is WindowedKS else {}) | {name: value})


def test_a_pinned_window_needs_a_baseline() -> None:
    with pytest.raises(ValueError, match="window needs a baseline"):
        WindowedKS(window=100)


@pytest.mark.parametrize(
    "detector",
    [ADWIN(), WindowedKS(), WindowedKS([0] * 190 + [1] * 10), WindowedKS([0] * 190 + [1] * 10, window=50)],
    ids=["ADWIN", "no baseline", "baseline", "pinned"],
)
def test_it_retrains_a_river_model_when_the_concept_turns_round(detector: Any) -> None:
    """It watches the model's errors; the baseline grants one in twenty."""
    learner = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    model = drift.DriftRetrainingClassifier(learner, detector, train_in_background=False).clone()
    rng = random.Random(10)
    errors = []
    for index in range(3000):
        x = {"a": rng.gauss(0, 1), "b": rng.gauss(0, 1)}
        y = (x["a"] > 0) != (index >= 2000)
        errors.append(model.predict_one(x) != y)
        model.learn_one(x, y)
    assert detector.n_detections == 0 < model.drift_detector.n_detections
    assert np.mean(errors[2800:]) < 0.1 < 0.9 < np.mean(errors[2000:2010])
