"""Outcomes on a terminal: the table, the chart and the sentences fit, and names of classes are no markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from driftline.detectors.outcomes.metrics import Costs
from driftline.stream.outcomes.performance import Performance, Wishes, concatenated, performance
from driftline.stream.reports.performance import print_performance
from tests.harness.outcomes import outcomes


@pytest.fixture(scope="module")
def found() -> Performance:
    rows = concatenated(outcomes(4000, 1), outcomes(3000, 2, 4000, concept=0.6))
    odd = {"fraud": "[red]fraud[/b]", "fine": "fine\x1b[2J"}
    renamed = replace(
        rows, prediction=[odd[each] for each in rows.prediction], label=[odd[each] for each in rows.label]
    )
    return performance(renamed, None, Wishes(costs=Costs(1, 50)))


def printed(found: Performance, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    print_performance(console, found)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_terminal_of_80_characters_shows_the_interval_the_cost_and_the_estimate(found: Performance) -> None:
    head, first, *_ = printed(found, 80)

    names = ("day (UTC)", "labelled", "accuracy", "cost a prediction", "estimated")
    assert [each for each in names if each not in head] == []
    assert "…" not in head + first
    assert len(head) <= 80


def test_a_wide_terminal_shows_more_and_names_are_neither_markup_nor_control_characters(found: Performance) -> None:
    lines = printed(found, 160)

    assert "recall of [red]fraud[/b]" in lines[0]
    assert "AUC" in lines[0]
    assert not any("\x1b[2J" in each for each in lines)


def test_a_chart_shows_the_fall_and_the_last_line_is_the_verdict(found: Performance) -> None:
    lines = printed(found, 120)
    (chart,) = [each for each in lines if "▁" in each]

    assert chart.startswith("1 Jan 2026 ")
    assert chart.index("█") < chart.rindex("▁")
    assert lines[-1].startswith("accuracy ")
    assert lines[-1].endswith(": worse")
