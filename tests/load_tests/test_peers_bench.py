"""The optimum that detectors are compared with is the known one, and a drift is found by all that can find it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from load_tests.bench.peers.__main__ import Figures, delays, faults, main, median
from load_tests.bench.peers.cases import PER_VALUE, Alarmed, Case, Floats, Peer, alarms, most_sensitive
from load_tests.bench.peers.drifts import DRIFTS, limit, optimum
from load_tests.bench.peers.elsewhere import decode, encode
from load_tests.bench.peers.model import EDETECTOR
from load_tests.bench.peers.of_river import RIVER, peer
from load_tests.bench.peers.plots import plot


def test_the_optimum_crosses_as_often_as_the_formula_of_siegmund_says() -> None:
    """Siegmund 1985: the average run length of a CUSUM of normal values, with the correction of 1.166 for overshoot."""
    shift = 0.5
    h = limit("mean 0.5 σ", PER_VALUE) + 1.166 * shift
    run_length = (math.exp(h) - h - 1) / (shift * shift / 2)
    assert run_length == pytest.approx(1 / PER_VALUE, rel=0.3)


@pytest.mark.parametrize("drift", [name for name in DRIFTS if "one value" not in name])
def test_likelihood_ratios_are_those_of_densities(drift: str) -> None:
    quiet, ratio = np.random.default_rng(3).standard_normal(200_000), DRIFTS[drift].ratio
    assert ratio is not None
    assert np.exp(ratio(quiet)).mean() == pytest.approx(1, abs=0.03)
    assert ratio(DRIFTS[drift].of(np.random.default_rng(4), quiet)).mean() > 0


def test_a_spike_has_no_optimum() -> None:
    assert optimum("5 % at one value", np.zeros(10), PER_VALUE) is None


@pytest.mark.slow
def test_a_large_shift_is_found_by_all() -> None:
    found = delays("mean 1 σ", 0, [peer("ADWIN", 0.002), peer("Page-Hinkley", 800), EDETECTOR])
    assert found.pop("never") is None
    assert all(each is not None and each <= 1500 for each in found.values()), found
    assert (found["optimum"] or 1500) < 100


STEP = np.concatenate([np.zeros(500), np.ones(500)])


@pytest.mark.parametrize("name", ["ADWIN", "HDDM_A", "HDDM_W"])
def test_alarms_are_counted_where_they_are_raised(name: str) -> None:
    """HDDM takes errors: it is given whether a value is above the median of the baseline, of zeros here."""
    alarmed = peer(name, RIVER[name].settings[0]).start(np.zeros(10))
    found = list(alarms(alarmed, STEP))
    assert found
    assert all(500 < each < 700 for each in found)


def _every(count: float) -> Any:
    def start(_: Floats) -> Alarmed:
        seen = 0

        def alarmed(_: float) -> bool:
            nonlocal seen
            seen += 1
            return seen % count == 0

        return alarmed

    return start


@pytest.mark.parametrize("slow", [False, True])
def test_a_delay_is_counted_from_the_drift_whatever_a_peer_has_seen_before(slow: bool) -> None:
    watching, values = Peer("every 700", _every(700), slow), np.zeros(50_000)
    # A slow peer begins 1000 values before the drift.
    assert watching.figure(Case(values, 20_000, 25_000)) == (400 if slow else 200)
    assert watching.figure(Case(values, 20_000)) == pytest.approx(1e6 / 700, rel=0.03)


def test_a_slow_peer_misses_what_takes_longer_than_it_is_given() -> None:
    assert Peer("every 4500", _every(4500), slow=True).figure(Case(np.zeros(50_000), 20_000, 25_000)) is None


def test_the_most_sensitive_setting_raises_two_alarms_in_four_million_values_at_most() -> None:
    assert most_sensitive(_every, (1e6, 1.3e6, 1.5e6, 3e6)) == 1.5e6


def test_cases_for_another_environment_are_read_as_they_were_written() -> None:
    cases = [Case(np.arange(5.0), 2, 4), Case(np.array([0.1, math.nan]), 1)]
    for case, read in zip(cases, decode(encode(cases)), strict=True):
        assert (read.known, read.at) == (case.known, case.at)
        assert read.values.tobytes() == case.values.tobytes()


def test_objects_among_cases_are_not_unpickled() -> None:
    with pytest.raises(ValueError, match="pickle"):
        decode(encode([Case(np.array([{}]), 0)]))


def test_a_median_says_how_many_are_missed() -> None:
    assert median([100, 300, None]) == "300 (1 missed)"
    assert median([None, None]) == "–"


def _figures(delay: float | None, pages: float) -> Figures:
    own = "Driftline, panes of 250"
    return {
        "events": 100_000,
        "delays": {"mean 0.5 σ": [{"optimum": 80, own: delay}], "5 % at one value": [{"optimum": None, own: 750}]},
        "alarms": {"nothing": {own: pages / 2}},
    }


@pytest.mark.parametrize(
    ("delay", "pages", "found"), [(570, 5, 0), (580, 5, 1), (None, 5, 1), (570, 6, 1), (570, 0, 0)]
)
def test_a_slow_alarm_and_too_many_false_pages_are_faults(delay: float | None, pages: float, found: int) -> None:
    assert len(list(faults(_figures(delay, pages)))) == found


@pytest.mark.slow
def test_the_quick_run_finds_no_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["peers", "--quick"])
    assert main() == 0
    assert "Driftline, panes of 250" in capsys.readouterr().out


def test_pictures_are_of_what_was_measured(tmp_path: Path) -> None:
    rows = {"optimum": [(100.0, 300.0)], "Driftline": [(100.0, 500.0), (1.0, 600.0)], "ADWIN": [], "Page-Hinkley": []}
    plot({"delays": {}, "looser": [], "curves": {"mean 0.2 σ": rows, "spread × 1.2": rows}}, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["delay-by-rate.png"]
