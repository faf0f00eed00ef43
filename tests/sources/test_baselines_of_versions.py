"""Baselines of versions in a configuration: what is loaded, and what is said of a line that is wrong."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from driftline.stream.baselines.baseline import BaselineError
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.baselines.given import mistaken_versions
from driftline.stream.checks.traffic import read_sample, traffic_findings
from driftline.stream.config.load import check_config, parse_config
from driftline.stream.config.remarks import replaced_baselines
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import Origin
from driftline.stream.events.parse import parse_event
from driftline.stream.sources.baselines import baseline_remarks, load_baselines, load_versions
from tests.worker.test_versions import baseline, mixed, rollout


def written(folder: Path, *versions: str) -> None:
    for version in versions:
        (folder / f"{version}.driftline").write_bytes(encode_baseline(baseline(version)))


def test_each_version_gets_the_file_of_its_line_whether_or_not_it_is_in_quotes(tmp_path: Path) -> None:
    written(tmp_path, "4.2", "5.0")
    config = parse_config("models: {fraud: {baselines: {4.2: 4.2.driftline, '5.0': 5.0.driftline}}}")
    found = load_versions(config, tmp_path)
    hashes = {version: each.content_hash for version, each in found["fraud"].items()}
    assert hashes == {version: baseline(version).content_hash for version in ("4.2", "5.0")}
    assert load_baselines(config, tmp_path) == {}
    assert baseline_remarks(config, tmp_path) == []


@pytest.mark.parametrize("section", ["models", "defaults"])
def test_what_a_baseline_of_a_version_cannot_prove_is_remarked_at_the_rule_and_its_order_at_its_line(
    section: str, tmp_path: Path
) -> None:
    rows = [parse_event(each) for each in rollout(500, mixed)]
    for version in ("4.2", "5.0"):
        shuffled = build_baseline(rows, {"model": "fraud", "version": version}, BuildSettings(ordered=False))
        (tmp_path / f"{version}.driftline").write_bytes(encode_baseline(shuffled))
    rules = "signals: {rules: {features.amount: {guarantee: proven}}}"
    fraud = "baselines: {4.2: 4.2.driftline, 5.0: 5.0.driftline}"
    of = {"models": f"models: {{fraud: {{{fraud}, {rules}}}}}"}
    of["defaults"] = f"models: {{fraud: {{{fraud}}}}}\ndefaults: {{{rules}}}"
    found = baseline_remarks(parse_config(of[section]), tmp_path)
    path = ("models", "fraud") if section == "models" else ("defaults",)
    (proof,) = [each for each in found if "depend on each other is not known" in each.message]
    assert proof.path == (*path, "signals", "rules")
    orders = [each.path for each in found if "no order in time" in each.message]
    assert orders == [("models", "fraud", "baselines", version) for version in ("4.2", "5.0")]


def test_a_given_baseline_replaces_those_of_versions_too(tmp_path: Path) -> None:
    config = parse_config("models: {fraud: {baselines: {4.2: absent.driftline}}}")
    assert load_versions(config, tmp_path, {"fraud": baseline("4.2")}) == {}
    (remark,) = replaced_baselines(config, ["fraud"])
    assert str(remark) == "models.fraud.baselines is not used: another baseline of this model is given"


def test_a_file_that_is_absent_or_of_another_model_is_refused_by_the_name_of_its_line(tmp_path: Path) -> None:
    written(tmp_path, "4.2")
    absent = parse_config("models: {fraud: {baselines: {5.0: 5.driftline}}}")
    with pytest.raises(BaselineError, match=r"models\.fraud\.baselines\[.5\.0.\]: .*5\.driftline: .*relative to"):
        load_versions(absent, tmp_path)
    (remark,) = baseline_remarks(absent, tmp_path)
    assert (remark.path, remark.severity) == (("models", "fraud", "baselines", "5.0"), "warning")
    other = parse_config("models: {churn: {baselines: {4.2: 4.2.driftline}}}")
    with pytest.raises(BaselineError, match=r"is the baseline of 'fraud', but `models\.churn\.baselines.*4\.2"):
        load_versions(other, tmp_path)


def test_a_file_of_another_version_is_remarked_with_what_helps() -> None:
    (remark,) = mistaken_versions({"fraud": {"4.2": baseline("4.2"), "5.0": baseline("4.2")}})
    assert "baselines['5.0']: the file says that it is the baseline of version 4.2; name the file of" in str(remark)


def test_baselines_of_versions_under_defaults_are_remarked() -> None:
    (found,) = check_config("defaults: {baselines: {4.2: a.driftline}}")
    assert "defaults.baselines has no effect" in str(found)
    assert "models.NAME.baselines" in str(found)


def test_the_newest_events_are_compared_with_the_baseline_of_their_version() -> None:
    messages = [(each, Origin("predictions", 0, i, None)) for i, each in enumerate(rollout(100, mixed))]
    config = Config.model_validate({"models": {"fraud": {}}})
    rows = [orjson.loads(each) for each in rollout(500, lambda _: "5.0")]
    parsed = [parse_event(orjson.dumps(row | {"features": {"amount": row["features"]["amount"]}})) for row in rows]
    without = build_baseline(parsed, {"model": "fraud"})
    versions = {"fraud": {"4.2": baseline("4.2"), "5.0": without}}
    found = [each.message for each in traffic_findings(config, {}, read_sample(messages, config), versions)]
    assert [each for each in found if "not monitored" in each] == [
        "model fraud: features.country in its events, but not in its baseline, are not monitored"
    ]
