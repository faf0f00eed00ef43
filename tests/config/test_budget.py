"""Stated budgets of false pages: of all models, of one, and of groups."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.detectors.decision.budget import Family, shares
from driftline.stream.config.budget import FalsePages
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import ModelConfig

MONTH = 2_592_000  # s


def of(model: str, text: str) -> ModelConfig:
    return parse_config(text).for_model(model)


@pytest.mark.parametrize(
    ("text", "a_month"),
    [("1 per month", 1), ("7 per week", 30), ("0.5 per day", 15), ("91 per quarter", 30), ("1 per year", 30 / 365)],
)
def test_pages_are_stated_by_day_week_month_quarter_or_year(text: str, a_month: float) -> None:
    assert FalsePages.parse(text).a_month == pytest.approx(a_month)
    assert FalsePages.parse(str(FalsePages.parse(text))) == FalsePages.parse(text)


def test_a_page_a_month_is_one_false_alarm_in_the_events_of_a_month_but_for_the_share_of_absence() -> None:
    model = of("a", "defaults: {false_pages: 1 per month}")
    assert model.rate_per_event(MONTH) == pytest.approx(0.9 / MONTH)
    assert model.pages == pytest.approx({Family.DATA: 0.9, Family.ABSENCE: 0.1})


def test_a_rate_per_event_holds_whatever_the_traffic() -> None:
    model = of("a", "defaults: {false_alarms_per_event: 1e-5}")
    assert model.rate_per_event(10.0) == model.rate_per_event(1e12) == 1e-5
    assert model.pages == {Family.DATA: None, Family.ABSENCE: 0.1}


def test_a_model_of_an_event_a_week_may_raise_no_more_than_one_false_alarm_in_a_hundred_events() -> None:
    assert of("a", "defaults: {false_pages: 1 per day}").rate_per_event(30 / 7) == 0.01


@pytest.mark.parametrize(
    ("absence", "data", "own"), [("{false_pages: 0.4}", 1.0, 0.4), ("{false_pages: null}", 1.0, None)]
)
def test_what_is_stated_of_absence_comes_beside_the_pages_and_gives_its_share_back(
    absence: str, data: float, own: float | None
) -> None:
    model = of("a", f"defaults: {{false_pages: 1 per month, absence: {absence}}}")
    assert model.pages == {Family.DATA: data, Family.ABSENCE: own}


@given(st.sets(st.sampled_from(Family), min_size=1))
def test_the_shares_of_any_families_are_one(families: set[Family]) -> None:
    assert sum(shares(families).values()) == pytest.approx(1.0)


def test_a_model_states_its_own_pages_or_its_own_rate_instead_of_the_defaults() -> None:
    text = """
defaults: {false_pages: 1 per month}
models: {a: {false_pages: 2 per month}, b: {false_alarms_per_event: 1e-7}}
"""
    assert [str(of(model, text).false_pages) for model in "abc"] == ["2 per month", "None", "1 per month"]
    assert of("b", text).rate_per_event(MONTH) == 1e-7


def test_a_group_shares_its_pages_among_the_models_that_are_named() -> None:
    text = """
budgets:
  - {models: [eu-a, eu-b, us], false_pages: 3 per month}
  - {models: ["*"], false_pages: 1 per year, among: 10}
models:
  eu-a: {}
  eu-b: {learn_events: 700}
  own: {false_pages: 1 per week}
  rate: {false_alarms_per_event: 1e-7}
"""
    pages = {name: str(of(name, text).false_pages) for name in ("eu-a", "eu-b", "us", "other")}
    assert pages == dict.fromkeys(("eu-a", "eu-b", "us"), "1 per month") | {"other": "0.1 per year"}
    assert str(of("own", text).false_pages) == "1 per week"
    assert of("rate", text).false_pages is None
    assert of("eu-b", text).learn_events == 700


def test_a_number_of_models_replaces_the_count_of_the_named_ones() -> None:
    text = "budgets: [{models: ['*'], false_pages: 5 per week, among: 50}]\nmodels: {a: {}}"
    assert str(of("a", text).false_pages) == str(of("b", text).false_pages) == "0.1 per week"


def test_all_models_that_a_glob_matches_get_no_more_than_the_group_together() -> None:
    text = "budgets: [{models: [fraud, 'eu-*'], false_pages: 1 per month, among: 4}]\nmodels: {eu-a: {}}"
    assert sum(of(name, text).false_pages.count for name in ("fraud", "eu-a", "eu-b", "eu-new")) == 1.0  # type: ignore[union-attr]
