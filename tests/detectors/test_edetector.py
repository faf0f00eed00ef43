"""EDetector: its run length is at least 1/alpha whatever the distribution, and it goes on from a snapshot."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from driftline.detectors.online.edetector import EDetector

Rng = np.random.Generator
JUNK: tuple[Any, ...] = (math.nan, math.inf, -0.1, 1.5, None, "0.5", 10**400, 1j, [], Decimal("sNaN"))
VALUES = st.lists(st.floats(0, 1), max_size=60)


def naive(values: list[float], mean: float, alpha: float) -> list[int]:
    """The alarms by the definition: each bet begun at each value since the last alarm, multiplied out."""
    limits, found, first = (1 / mean, -1 / (1 - mean)), list[int](), 0
    for n in range(len(values)):
        owned = sum(
            math.prod(1 + limit / 2**j * (x - mean) for x in values[begun : n + 1])
            for limit in limits
            for j in range(1, 11)
            for begun in range(first, n + 1)
        )
        # Where both directions cancel, the last bits of the sum decide, and its order.
        assume(not math.isclose(owned / 20, 1 / alpha, rel_tol=1e-9))
        if owned / 20 >= 1 / alpha:
            found.append(n)
            first = n + 1
    return found


@given(VALUES, st.floats(0.05, 0.95), st.sampled_from([0.5, 0.1, 0.01]))
def test_it_alarms_where_the_definition_does(values: list[float], mean: float, alpha: float) -> None:
    assert EDetector(mean, alpha=alpha).update_many(values) == naive(values, mean, alpha)


def two_valued(rng: Rng, n: int) -> np.ndarray:
    """Mean 0.3, but the spread depends on the last value: neither independent nor of one distribution."""
    values, wide = np.empty(n), False
    for i, coin in enumerate(rng.random(n)):
        low, high = (0.0, 1.0) if wide else (0.25, 0.35)
        values[i] = high if coin < (0.3 - low) / (high - low) else low
        wide = bool(values[i] > 0.3)
    return values


QUIET: dict[str, tuple[float, Callable[[Rng, int], np.ndarray]]] = {
    "rare": (0.01, lambda rng, n: (rng.random(n) < 0.01).astype(float)),
    "coins": (0.5, lambda rng, n: rng.integers(0, 2, n).astype(float)),
    "uniform": (0.5, lambda rng, n: rng.random(n)),
    "skewed": (0.2, lambda rng, n: rng.beta(0.2, 0.8, n)),
    "changing spread": (0.3, two_valued),
}


@pytest.mark.parametrize("kind", QUIET)
def test_the_average_run_length_is_at_least_one_over_alpha(kind: str) -> None:
    mean, draw = QUIET[kind]
    rng, detector, n = np.random.default_rng([1, *kind.encode()]), EDetector(mean, alpha=1 / 200), 40_000
    # 200 alarms are allowed; the bound is generous, and chance is 14.
    assert len(detector.update_many(draw(rng, n))) <= 200
    assert detector.n_skipped == 0


@pytest.mark.parametrize(("after", "most"), [(0.25, 1400), (0.4, 120), (0.8, 30), (0.05, 200)])
def test_a_change_is_found_soon(after: float, most: int) -> None:
    delays = []
    for seed in range(9):
        rng, detector = np.random.default_rng(seed), EDetector(0.2)
        assert detector.update_many(rng.random(2000) < 0.2) == []
        delays.append(next(iter(detector.update_many(rng.random(4000) < after)), 4000))
    assert np.median(delays) <= most


def test_a_direction_leaves_out_the_other_and_sees_its_own_sooner() -> None:
    rng = np.random.default_rng(3)
    more, fewer = rng.random(500) < 0.5, rng.random(500) < 0.02
    assert EDetector(0.2, direction="up").update_many(fewer) == []
    assert EDetector(0.2, direction="down").update_many(more) == []
    assert EDetector(0.2, direction="up").update_many(more)[0] <= EDetector(0.2).update_many(more)[0]


@given(VALUES, st.integers(0, 60), st.sampled_from(["both", "up", "down"]))
def test_a_restored_detector_goes_on_as_the_original(values: list[float], cut: int, direction: Any) -> None:
    whole = EDetector(0.4, alpha=0.2, direction=direction)
    found = whole.update_many(values)
    first = EDetector(0.4, alpha=0.2, direction=direction)
    early = first.update_many(values[:cut])
    again = EDetector.restore(json.loads(json.dumps(first.snapshot())))
    assert early + [min(cut, len(values)) + each for each in again.update_many(values[cut:])] == found
    assert again.snapshot() == whole.snapshot()


def test_what_is_no_number_in_0_to_1_is_skipped_and_counted() -> None:
    coins = (np.random.default_rng(4).random(300) < 0.5).tolist()
    plain, dirty = EDetector(0.2), EDetector(0.2)
    plain.update_many(coins)
    dirty.update_many([each for coin in coins for each in (coin, *JUNK)])
    assert dirty.n_skipped == len(JUNK) * len(coins)
    assert dirty.n_detections == plain.n_detections > 0
    assert dirty.evidence == plain.evidence


def test_evidence_rises_to_the_threshold_and_begins_again() -> None:
    detector, last = EDetector(0.1, alpha=1e-4), 0.0
    assert detector.evidence == 0
    for _ in range(100):
        detector.update(1)
        if detector.drift_detected:
            break
        assert last <= detector.evidence < -math.log(1e-4)
        last = detector.evidence
    assert detector.drift_detected
    assert detector.evidence == 0
    facts = "mean=0.1, alpha=0.0001, direction='both', evidence=0.0, detections"
    assert (repr(detector.clone()), repr(detector)) == tuple(f"EDetector({facts}={n}, skipped=0)" for n in (0, 1))


@pytest.mark.parametrize("mean", [1e-150, 1e-9, 1 - 2**-53])
@pytest.mark.parametrize("alpha", [1e-150, 1e-6, 0.9])
@pytest.mark.filterwarnings("error")
def test_the_most_extreme_parameters_have_an_answer(mean: float, alpha: float) -> None:
    detector, near, far = EDetector(mean, alpha=alpha), round(mean), 1 - round(mean)
    for x in (near, far, mean, far, near):
        detector.update(x)
        assert math.isfinite(detector.evidence)
    assert EDetector.restore(json.loads(json.dumps(detector.snapshot()))).snapshot() == detector.snapshot()
    assert detector.n_detections > 0 or alpha < 1e-6 or mean == 1 - 2**-53


BAD: list[dict[str, Any]] = [
    {"mean": 0}, {"mean": 1.0}, {"mean": math.nan}, {"mean": 5e-324}, {"mean": 1e-151},
    {"alpha": 0}, {"alpha": 1e-310}, {"direction": "left"},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_parameters_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        EDetector(**{"mean": 0.5, **bad})


def test_a_snapshot_of_another_version_or_shape_is_refused() -> None:
    kept = EDetector(0.5).snapshot()
    for damage in ({"version": 2}, {"owned": [1.0]}, {"owned": [-1.0] * 20}):
        with pytest.raises(ValueError, match="EDetector snapshot"):
            EDetector.restore({**kept, **damage})
