"""One table says what the statistics are: the battery, the documents and the published names follow from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from driftline.detectors import Battery, Categories, Grid, Kind, Layout, Signal, Special
from driftline.detectors.statistics.registry import STATISTICS, Against, Statistic, Subject
from driftline.stream.alerts.explain import verdict
from driftline.stream.alerts.read import ReadSignal

DOCS = Path(__file__).parents[2] / "docs"
# In alerts and stored incidents; a row that is renamed or moved is read as another statistic.
PUBLISHED = ["ks", "level", "spread", "chi2", "rate", "adwin", "silence", "few", "many", "gap", "share", "new"]
NUMBER = Signal("x", Kind.NUMERIC, Grid.fit(np.arange(10.0)), numeric=True)
TEXT = Signal("c", Kind.CATEGORICAL, Categories(("a", "b")), numeric=False)


def test_published_names_keep_their_order_and_new_ones_come_last() -> None:
    assert list(STATISTICS)[: len(PUBLISHED)] == PUBLISHED
    schema = json.loads((DOCS / "alert.schema.json").read_text("utf-8"))
    assert list(STATISTICS) == schema["$defs"]["SignalEvidence"]["properties"]["test"]["examples"]


def test_the_page_of_the_detectors_has_the_table() -> None:
    rows = [f"| `{each.name}` | {each.of} | {each.against} | {each.quick} |\n" for each in counted()]
    assert "".join(rows) in (DOCS / "DETECTORS.md").read_text("utf-8")


def counted() -> list[Statistic]:
    return [each for each in STATISTICS.values() if each.evidence is not None]


@pytest.mark.parametrize("signals", [[NUMBER], [TEXT], [NUMBER, TEXT]], ids=["numbers", "texts", "both"])
def test_a_statistic_has_one_column_of_evidence_for_each_of_its_subjects(signals: list[Signal]) -> None:
    layout = Layout.of(signals)
    battery = Battery(layout, np.ones(layout.width, np.int64))
    subjects = {
        Subject.ORDERED: sum(each.ordered for each in signals),
        Subject.NOMINAL: sum(not each.ordered for each in signals),
        Subject.SPECIAL: len(signals) * len(Special),
    }
    expected = {each.name: subjects[each.of] for each in counted()}
    assert {name: [each.statistic for each in battery.columns].count(name) for name in expected} == expected
    windows = np.ones((3, layout.width), np.int64)
    assert battery.evidence(windows, battery.baseline, windows).shape == (3, len(battery.columns))


def test_only_statistics_against_the_past_use_it_unless_there_is_no_baseline() -> None:
    layout = Layout.of([NUMBER, TEXT])
    uses = dict(zip(*columns_of(Battery(layout, np.ones(layout.width, np.int64))), strict=True))
    assert uses == {each.name: each.against is Against.PAST for each in counted()}
    assert Battery(layout, np.ones(layout.width, np.int64), against_past=True).uses_past.all()


def columns_of(battery: Battery) -> tuple[list[str], list[bool]]:
    return [each.statistic for each in battery.columns], battery.uses_past.tolist()


@pytest.mark.parametrize("name", STATISTICS)
def test_each_statistic_has_a_sentence_that_people_read(name: str) -> None:
    says = verdict(ReadSignal(test=name, code="nan" if name == "rate" else ""))
    assert says.endswith(".")
    assert "{" not in says
    assert says != f"The test is {name}."
