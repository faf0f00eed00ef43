"""The streams of the bench of concept drift change where they say, and all detectors see a change that is plain."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from load_tests.bench.concept import QUICK, Found, Lengths, changes, compared, found, main, outcomes


def test_a_change_that_is_plain_is_found_by_all_and_none_raises_an_alarm_without_it() -> None:
    of_all = compared("STAGGER", "sudden", 2, replace(QUICK, after=1000))
    assert of_all["Driftline"].false == 0
    assert all(each.delays[0] is not None and each.delays[0] < 500 for each in of_all.values()), of_all


def test_errors_rise_where_the_concept_changes_and_a_seed_repeats_them() -> None:
    rows, again = (outcomes("Agrawal", "sudden", 3, replace(QUICK, after=1000)) for _ in range(2))
    assert rows == again
    wrong = np.array([each.error for each in rows])
    change = QUICK.reference + QUICK.before
    assert wrong[change : change + 1000].mean() > wrong[change - 1000 : change].mean() + 0.1


def test_each_form_changes_where_it_says() -> None:
    assert changes("none", QUICK) == []
    assert changes("sudden", QUICK) == [range(1500, 4500)]
    assert changes("recurring", QUICK) == [range(1500, 2500), range(3500, 4500)]


@pytest.mark.parametrize(
    ("alarms", "delays", "false"),
    [([], [None], 0), ([5, 2010], [10], 1), ([2000, 2500], [0], 0), ([1999], [None], 1)],
)
def test_alarms_count_as_hits_or_as_false_ones(alarms: list[int], delays: list[int | None], false: int) -> None:
    assert found(alarms, [range(2000, 6000)], QUICK) == Found(delays, false)
    assert found(alarms, [], QUICK) == Found([], len(alarms))


def test_a_row_of_json_has_all_figures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("load_tests.bench.concept.QUICK", Lengths(300, 600, 300, 300, 300, 600))
    monkeypatch.setattr("sys.argv", ["concept", "--quick", "--seeds", "1", "--streams", "STAGGER", "--json"])
    assert main() == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["stream"], first["form"], first["detector"]) == ("STAGGER", "sudden", "Driftline")
    assert first.keys() >= {"delay", "missed", "changes", "false"}
