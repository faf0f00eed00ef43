"""One lasting drift whose state is restless is one page, by the whole judge; a plain one ends as soon as ever."""

from __future__ import annotations

import numpy as np
import pytest

from load_tests.bench.lasting import CASES, Drift, drifted, lost_while_drifting, main, seen_over, stays


def test_a_state_that_drifts_now_and_then_pages_once_and_ends_ever_less_often() -> None:
    """Without memory, the same bursts are an incident each."""
    case, length = "bursts of 300, 30 % unseen", 30_000
    kept, forgotten = (stays(case, 1, remembers=each, length=length) for each in (True, False))
    assert (kept["pages"], kept["again"]) == (1, kept["ends"])
    assert kept["ends"] <= np.log2(length / 400) < forgotten["ends"]
    assert forgotten["pages"] >= 4


def test_the_end_of_a_plain_drift_is_seen_no_later_than_by_a_quiet_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("load_tests.bench.lasting.ENDS", 5000)
    monkeypatch.setattr("load_tests.bench.lasting.AFTER", 3000)
    by_level, by_lull = (seen_over("mean 0.5", 2, remembers=each) for each in (True, False))
    assert by_level is not None
    assert by_lull is not None
    assert by_level <= by_lull


def test_a_drift_at_a_low_rate_does_not_end_before_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """By quiet windows, it ends and comes back: by chance, as many events show nothing."""
    by_level, by_lull = (stays("unseen 0.8 %", 0, remembers=each, length=40_000) for each in (True, False))
    assert (by_level["pages"], by_level["ends"]) == (1, 0)
    assert by_lull["ends"] >= 1
    monkeypatch.setattr("load_tests.bench.lasting.ENDS", 10_000)
    monkeypatch.setattr("load_tests.bench.lasting.AFTER", 5000)
    over = seen_over("unseen 0.8 %", 0, remembers=True)
    assert over is not None
    assert over <= 2500


def test_a_field_that_is_lost_while_another_one_drifts_has_a_page_of_its_own() -> None:
    """Without memory, it is an update of the slow drift, which no pager rings for."""
    with_memory, without = (lost_while_drifting("mean 0.5", 3, remembers=each, length=20_000) for each in (True, False))
    assert with_memory == (100, 2)
    assert without == (None, 1)


@pytest.mark.parametrize("name", CASES)
def test_each_drift_is_repeatable_and_differs_from_what_was_before(name: str) -> None:
    first, again = (drifted(name, np.random.default_rng(4), 12_000, 1_699_833_600_000) for _ in range(2))
    assert len(first) == 12_000
    assert first.tolist() == again.tolist()


def test_values_of_a_drift_begin_after_the_usual_ones() -> None:
    own = Drift("unseen 2 %", 3, 6000, 1000).columns["features.drifts"]
    news = np.flatnonzero(own == "new")
    assert (news >= 5000).all()
    assert (news < 11_000).all()
    assert len(news) == pytest.approx(120, rel=0.4)


def test_one_case_is_a_line_of_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("STAYS", "ENDS", "AFTER"):
        monkeypatch.setattr(f"load_tests.bench.lasting.{name}", 1000)
    monkeypatch.setattr("sys.argv", ["lasting", "--seeds", "1", "--cases", "mean 0.5", "--json"])
    assert main() == 0
    assert '"pages": 1' in capsys.readouterr().out
