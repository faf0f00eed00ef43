"""Settings without effect are found wherever the signals and the models are known."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from driftline.stream.config.load import check_config, parse_config
from driftline.stream.config.remarks import (
    SignalKinds,
    replaced_baselines,
    unknown_upstreams,
    unnamed_models,
    unused_settings,
)

CHURN = {"features.churn": "numeric", "features.zip": "numeric", "score": "numeric"}


def remarks(text: str, signals: Mapping[str, SignalKinds]) -> list[str]:
    return [str(each) for each in unused_settings(parse_config(text), signals)]


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (
            "defaults: {signals: {exclude: [features.chrun]}}",
            "defaults.signals.exclude: `features.chrun` matches no signal of model m; did you mean `features.churn`?",
        ),
        (
            "models: {m: {signals: {include: [churn, score]}}}",
            "models.m.signals.include: `churn` matches no signal of model m; did you mean `features.churn`?",
        ),
        (
            "models: {m: {signals: {exclude: ['chu*']}}}",
            "models.m.signals.exclude: `chu*` matches no signal of model m; did you mean `features.chu*`?",
        ),
        (
            "defaults: {kinds: {features.zipp: categorical}}",
            "defaults.kinds['features.zipp']: `features.zipp` matches no signal of model m; "
            "did you mean `features.zip`?",
        ),
        (
            "defaults: {signals: {rules: {churn: {min_share: 0.1}, '*': {min_share: 0.2}}}}",
            "defaults.signals.rules: `churn` matches no signal of model m; did you mean `features.churn`?",
        ),
        (
            "models: {m: {signals: {exclude: [quite_else]}}}",
            "models.m.signals.exclude: `quite_else` matches no signal of model m; "
            "its signals are features.churn, features.zip, score",
        ),
    ],
)
def test_a_name_that_matches_no_signal_is_said_with_the_nearest_signal(text: str, remark: str) -> None:
    assert remarks(text, {"m": CHURN}) == [remark]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "defaults: {signals: {exclude: [features.churn]}, kinds: {features.zip: numeric}}",
        "models: {m: {signals: {include: ['features.*', score], exclude: ['*.zip']}}}",
        "models: {other: {signals: {exclude: [anything]}}}",
    ],
)
def test_settings_with_an_effect_and_those_of_models_that_are_not_known_are_not_remarked(text: str) -> None:
    assert remarks(text, {"m": CHURN}) == []


def test_defaults_need_an_effect_on_one_model_of_those_that_do_not_override_them() -> None:
    text = "defaults: {signals: {exclude: [score]}}\nmodels: {b: {signals: {exclude: []}}}"
    assert remarks(text, {"a": {"features.x": ""}, "b": CHURN}) == [
        "defaults.signals.exclude: `score` matches no signal of model a; its signals are features.x"
    ]
    assert remarks(text, {"a": {"features.x": ""}, "c": CHURN}) == []


def test_a_kind_that_the_baseline_was_built_without_has_no_effect_and_is_said() -> None:
    text = "models: {m: {kinds: {features.zip: categorical}}}"
    assert remarks(text, {"m": CHURN}) == [
        "models.m.kinds['features.zip'] has no effect: the baseline of model m has it as numeric; "
        "build the baseline again with this configuration"
    ]
    assert remarks(text, {"m": {"features.zip": ""}}) == []
    assert remarks(text, {"m": {"features.zip": "boolean"}}) == []


def test_labels_of_a_topic_need_runs_that_end_by_time() -> None:
    text = "panes: {seconds: null}\nmodels: {m: {outcomes: {labels: %s}}}"
    (diagnostic,) = check_config(text % "topic")
    assert diagnostic.severity == "warning"
    assert "labels of a topic wait until each partition of both topics has ended a run" in diagnostic.message
    assert check_config(text % "event") == []


def test_a_model_that_no_event_names_is_said_with_the_nearest_name() -> None:
    config = parse_config("models: {fruad: {}, ltv: {depends_on: [churm]}}")
    assert [str(each) for each in unnamed_models(config, {"fraud", "ltv", "churn"}, ["fraud-v1", "ltv"])] == [
        "models.fruad: no event names this model; did you mean `fraud`?",
        "the baseline of model fraud-v1: no event names this model; did you mean `fraud`?",
    ]
    assert [str(each) for each in unknown_upstreams(config, {"churn"})] == [
        "models.ltv.depends_on: no event names model churm; did you mean `churn`?"
    ]
    (remark,) = unnamed_models(parse_config("models: {ranker: {}}"), {"b", "a"})
    assert remark.help == "the models of the events are a, b"


def test_a_baseline_of_the_configuration_that_another_one_replaces_is_said() -> None:
    config = parse_config("models: {a: {baseline: a.driftline}, b: {}}")
    assert [str(each) for each in replaced_baselines(config, ["a", "b", "c"])] == [
        "models.a.baseline is not used: another baseline of this model is given"
    ]


def test_check_places_the_remarks_of_its_caller_in_the_text() -> None:
    text = "models:\n  m:\n    signals:\n      exclude:\n        - score\n        - churn\n"
    (diagnostic,) = check_config(text, more=lambda config: unused_settings(config, {"m": CHURN}))
    assert (diagnostic.span.line, diagnostic.source.strip(), diagnostic.severity) == (6, "- churn", "warning")
