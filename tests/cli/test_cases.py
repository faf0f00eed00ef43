"""Logs as people have them, from ../shared/cases: each to the verdict that is right about it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from driftline.stream.events.parse import EventReader
from driftline.stream.sources.files import read_messages
from tests.harness.command_line import Run

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("wide")]

DRIFT, FAILED, CLEAR = 1, 2, 0
HOUR_MS = 3_600_000
NEW_YEAR_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


class Case(NamedTuple):
    """A log, and what its replay must say. baseline: the log to build one of, for model m."""

    live: str
    code: int
    says: tuple[str, ...]
    config: str = ""
    baseline: str = ""
    silent_about: str = "rejected"


CASES = {
    "true and false are 1 and 0": Case(
        "bool-int/live01.jsonl.gz",
        CLEAR,
        ("watched 2 signals", "no drift"),
        "",
        "bool-int/base.jsonl.gz",
        "not watched",
    ),
    "true and false are True and False": Case(
        "bool-int/live.csv", CLEAR, ("watched 2 signals", "no drift"), "", "bool-int/base.jsonl.gz", "not watched"
    ),
    "a column empty in the baseline, and another empty now": Case(
        "empty-column/live.jsonl.gz",
        DRIFT,
        (
            "features.gone missing 0 % → 100 %",
            "features.empty: was null in all 6,000 events of the baseline, and has values",
        ),
        "",
        "empty-column/base.jsonl.gz",
    ),
    "a column empty while the baseline is learned": Case(
        "late-empty/live.jsonl.gz",
        DRIFT,
        ("features.flag left its constant false", "features.new: was null in all 5,000 events of the baseline"),
    ),
    "another schema": Case(
        "schema-change/live.jsonl.gz",
        DRIFT,
        (
            "features.amount missing",
            "features.zip missing",
            "features.amount_eur: new since",
            "features.device: new since",
        ),
        "",
        "schema-change/base.jsonl.gz",
    ),
    "a new feature and nothing else": Case(
        "schema-change/live_newfeature.jsonl.gz",
        CLEAR,
        ("features.device: new since the baseline", "no drift"),
        "",
        "schema-change/base.jsonl.gz",
    ),
    "a glob that matches nothing": Case(
        "exclude-by-name/live.jsonl.gz",
        DRIFT,
        ("`churn` matches no signal of model m; did you mean `features.churn`?",),
        "defaults: {signals: {exclude: [churn]}}",
    ),
    "a kind and a glob with a typing error": Case(
        "exclude-by-name/live.jsonl.gz",
        DRIFT,
        ("defaults.kinds['features.chrun']", "models.m.signals.exclude", "did you mean `features.churn`?"),
        "{defaults: {kinds: {features.chrun: categorical}}, models: {m: {signals: {exclude: [features.chrun]}}}}",
    ),
    "a signal that is left out": Case(
        "exclude-by-name/live.jsonl.gz",
        CLEAR,
        ("watched 1 signal", "features.churn: excluded by signals.exclude: features.churn"),
        "defaults: {signals: {exclude: [features.churn]}}",
    ),
    "flat JSON": Case(
        "flat-json/flat.jsonl",
        CLEAR,
        ("watched 2 signals of 1 model, judged 200 of 300 events",),
        "{mapping: {features: rest}, defaults: {learn_events: 100}}",
    ),
    "flat JSON without a mapping": Case(
        "flat-json/flat.jsonl", FAILED, ("add `mapping: {features: rest}`", "no verdict"), silent_about="no drift"
    ),
    "no id": Case(
        "flat-json/noid.jsonl",
        CLEAR,
        ("judged 200 of 300 events",),
        "{mapping: {id: $record}, defaults: {learn_events: 100}}",
    ),
    "no model": Case(
        "flat-json/nomodel.jsonl",
        CLEAR,
        ("watched 1 signal of 1 model", "judged 200 of 300 events"),
        "{mapping: {model: =m}, defaults: {learn_events: 100}}",
    ),
    "a number for a model": Case("model-as-number/live.jsonl", FAILED, ("its 100 events are too few",)),
    "numbers in strings": Case("numeric-strings/live.jsonl.gz", DRIFT, ("features.amount mean 50.05 → 79.14",)),
    "late, doubled and future events": Case("time-odd/live.jsonl.gz", CLEAR, ("judged 7,100 of 12,100 events",)),
    "named tensors": Case(
        "kserve-v2/live.jsonl.gz",
        DRIFT,
        ("features.amount mean 50.19 → 83.85", "watched 2 signals of 1 model, judged 6,952 of 12,000 events"),
        "mapping: {preset: kserve-v2}",
    ),
    "one row in each message": Case(
        "kserve-blind/live.jsonl.gz", DRIFT, ("features.amount mean",), "mapping: {preset: kserve-v2}"
    ),
    "nothing but arrays": Case(
        "kserve-blind/only_arrays.jsonl.gz",
        FAILED,
        ("watched 0 signals", "features.inputs: an array", "mapping.rows"),
        "mapping: {ts: time, model: inferenceservicename, features: data}",
        silent_about="no drift",
    ),
    "names and rows": Case(
        "seldon-ndarray/live.jsonl",
        CLEAR,
        ("watched 2 signals of 1 model, judged 900 of 1,000 events",),
        "{mapping: {preset: seldon}, defaults: {learn_events: 100}}",
    ),
    "CSV in a string": Case(
        "sagemaker-capture/live.jsonl",
        CLEAR,
        ("watched 3 signals of 1 model, judged 400 of 500 events",),
        "{mapping: {preset: sagemaker, model: =churn, names: [amount, channel]}, defaults: {learn_events: 100}}",
    ),
    "CSV in a string without a model": Case(
        "sagemaker-capture/live.jsonl",
        FAILED,
        ("`mapping: {model: =NAME}`",),
        "mapping: {preset: sagemaker}",
        silent_about="no drift",
    ),
}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal on which no sentence is broken."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_right_and_says_what_it_is_about(name: str, run: Run, shared_cases: Path) -> None:
    case = CASES[name]
    options = []
    if case.config:
        Path("c.yaml").write_text(case.config)
        options = ["-c", "c.yaml"]
    if case.baseline:
        built = run("baseline", "build", str(shared_cases / case.baseline), "--model", "m", "-o", "m.driftline")
        assert built.code == 0
        options += ["-b", "m.driftline"]
    replayed = run("replay", str(shared_cases / case.live), *options)
    assert replayed.code == case.code
    for text in case.says:
        assert text in replayed.words
    assert case.silent_about not in replayed.words


def test_baselines_of_two_versions_of_a_model_are_refused_by_name(run: Run, shared_cases: Path) -> None:
    for version in ("1", "2"):
        base = str(shared_cases / f"version-rollout/base{version}.jsonl.gz")
        run("baseline", "build", base, "--model", "m", "--version", version, "-o", f"v{version}.driftline")
    live = str(shared_cases / "version-rollout/live.jsonl.gz")
    replayed = run("replay", live, "-b", "v1.driftline", "-b", "v2.driftline")
    assert replayed.code == FAILED
    assert "two baselines of model 'm': v1.driftline (version 1) and v2.driftline (version 2)" in replayed.words


def test_every_form_of_time_is_read_as_the_same_time(shared_cases: Path) -> None:
    forms = sorted((shared_cases / "epoch-units").glob("*.jsonl"))
    assert len(forms) == 13
    for form in forms:
        (log,) = read_messages([str(form)])
        times = [EventReader().head(message).ts for message in log]
        start = NEW_YEAR_MS - HOUR_MS if form.stem == "short_zone" else NEW_YEAR_MS
        step = 60_000 if form.stem == "no_seconds" else 1000
        assert [time // step for time in times] == [(start + 1000 * n) // step for n in range(len(log))], form.stem
