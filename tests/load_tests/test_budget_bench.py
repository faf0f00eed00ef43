"""The benchmark of the budget: its traffic has no drift, its promise follows from its events, its verdict from both."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy.stats import poisson

from load_tests.bench import budget
from load_tests.bench.budget import CYCLIC, KINDS, Model, baselines, kept, main, summary
from load_tests.bench.poisson import bound, interval


@pytest.mark.parametrize("kind", KINDS)
def test_values_have_the_same_median_at_all_times(kind: str) -> None:
    values = KINDS[kind](np.random.default_rng(0), 400_000)
    assert values.shape == (400_000,)
    first, last = (np.nanmedian(part) for part in np.array_split(values, 2))
    low, high = np.nanquantile(values, [0.25, 0.75])
    assert abs(first - last) < 0.1 * max(1, high - low)


def test_intervals_are_those_of_a_poisson_number() -> None:
    assert [round(bound(count), 2) for count in (0, 1, 10)] == [3.0, 4.74, 16.96]
    for count in (1, 4, 30):
        low, high = interval(count)
        assert poisson.sf(count - 1, low) == pytest.approx(0.025, rel=1e-3)
        assert poisson.cdf(count, high) == pytest.approx(0.025, rel=1e-3)
    assert interval(0)[0] == 0


@pytest.mark.parametrize("kind", ["normal", "shares"])
def test_each_rate_judges_as_many_events_as_it_takes_for_its_promise(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SIGNALS", 3)
    monkeypatch.setattr(budget, "_STRETCH", 2000)
    done: list[int] = []
    found = list(Model(kind, 4000, 1).judge([1e-3, 5e-4], 4.0, done.append))
    assert [(each["rate"], each["events"], each["promised"]) for each in found] == [(1e-3, 4000, 4), (5e-4, 8000, 4)]
    assert sum(done) == 8000
    again = list(Model(kind, 4000, 1).judge([5e-4], 4.0, done.append))
    assert again == found[1:], "a rate does not depend on the others"
    assert all(sum(each["tests"].values()) >= each["pages"] for each in found)


def test_a_shift_is_found_after_it_began_by_a_baseline_without_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SIGNALS", 2)
    monkeypatch.setattr(budget, "_STRETCH", 5000)
    (found,) = Model("normal", 4000, 1, "unstated", 3.0, 2500).judge([1e-4], 0.5, lambda _: None)
    assert 0 < found["delay"] <= 1000
    (calm,) = Model("normal", 4000, 1, "unstated").judge([1e-4], 0.5, lambda _: None)
    assert "delay" not in calm


def test_a_rate_is_kept_unless_all_cells_or_one_of_them_have_too_many_pages() -> None:
    def runs(*pages: int) -> list[budget.Result]:
        return [
            {"kind": kind, "rows": 10, "rate": 1e-5, "seed": 0, "pages": n, "promised": 10.0, "open": 0.0, "tests": {}}
            for kind, n in zip(KINDS, pages, strict=False)
        ]

    assert kept(runs(10, 12, 9), 1e-5)
    assert not kept(runs(17, 17, 17), 1e-5)
    assert not kept(runs(40, 0, 0, 0, 0), 1e-5)
    own = summary(runs(10, 12, 5), 1e-5)
    assert (own["ratio"], own["median"], own["worst"]) == (0.9, 1.0, ["uniform", 10, 12, 10.0])


def test_runs_and_rates_are_lines_of_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(budget, "SIGNALS", 2)
    monkeypatch.setattr(budget, "_STRETCH", 1000)
    given = ["--kinds", "uniform", "--seeds", "1", "--rows", "2000", "--rates", "1e-4", "--promised", "0.1", "--json"]
    monkeypatch.setattr("sys.argv", ["budget", *given])
    assert main() == 0
    run, rate = map(json.loads, capsys.readouterr().out.splitlines())
    assert (run["kind"], run["events"], rate["promised"]) == ("uniform", 1000, 0.1)


@pytest.mark.parametrize("kind", CYCLIC)
def test_traffic_with_cycles_goes_on_where_its_baseline_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SIGNALS", 1)
    (first, *_) = baselines(kind, [], [5])
    model = Model(kind, first, 1)
    assert model.baseline.cycles is not None
    assert model.baseline.total.n == first
    assert {each.phases for each in model.baseline.cycles.signals} <= ({168} if kind == "week" else {24, 48})
    panes = [*model.panes(model.needed(1e-5, 0.1))]
    assert sum(pane.content.n for pane in panes) % model.stretch == 0
    assert all(before.last_ts < pane.first_ts for before, pane in itertools.pairwise(panes))


def test_values_are_of_the_signal_that_they_are_drawn_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_STRETCH", 1000)
    monkeypatch.setitem(KINDS, "apart", lambda rng, n: np.repeat(np.arange(20.0), n // 20) + rng.random(n))
    monkeypatch.setattr(Model, "_value", lambda _, value: None if value < 0.9 else value)
    model = Model("apart", 2000, 1)
    layout, counts = model.baseline.layout, next(model.panes(1000)).content.counts
    assert layout.signals[-1].name == "features.f00", "its first rows are missing"
    assert all(counts[own].max() < 50 for own in layout.columns[:-1])
