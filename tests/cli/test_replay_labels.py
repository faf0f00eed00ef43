"""`driftline replay --labels`: labels of files of their own, in the columns that the configuration names."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest

from driftline.stream.baselines.file import encode_baseline
from tests.harness.command_line import Run
from tests.harness.labelled import baseline_of, messages

CONFIG = """
mapping: {labels: {id: order, ts: resolved, label: outcome, model: =fraud}}
models: {fraud: {clock: 50, baseline: fraud.driftline, outcomes: {labels: topic}}}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Predictions, their labels as a table that is sorted by class, and a baseline."""
    rows = [orjson.loads(each) for each in messages(1500, seed=3, concept=lambda i: 0.95 * (i >= 600))]
    labels = sorted((row.pop("label"), row["id"], row["ts"] + 60_000) for row in rows)
    (tmp_path / "live.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    table = "".join(f"{id_},{ts},{label}\n" for label, id_, ts in labels)
    (tmp_path / "outcomes.csv").write_text("order,resolved,outcome\n" + table)
    (tmp_path / "fraud.driftline").write_bytes(encode_baseline(baseline_of(messages(1500, seed=1))))
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def test_labels_of_a_table_are_joined_and_counted(run: Run, files: Path) -> None:  # noqa: ARG001
    result = run("replay", "live.jsonl", "-c", "c.yaml", "--labels", "outcomes.csv", "--alerts", "found.jsonl")
    assert result.code == 1
    assert "fraud: 1,500 predictions with a label" in result.words
    assert "by concept drift" in result.words
    found = run("replay", "live.jsonl", "-c", "c.yaml", "--labels", "outcomes.csv", "--json")
    assert json.loads(found.out)["labels"]["fraud"]["joined"] == 1500


def test_what_cannot_be_joined_is_refused_with_the_reason(run: Run, files: Path) -> None:
    both = run("replay", "live.jsonl", "-c", "c.yaml", "--labels", "kafka://labels")
    assert (both.code, "events of files have labels of files" in both.words) == (2, True)
    (files / "c.yaml").write_text(CONFIG.replace("topic", "event"))
    other = run("replay", "live.jsonl", "-c", "c.yaml", "--labels", "outcomes.csv")
    assert (other.code, "write `outcomes: {labels: topic}`" in other.words) == (2, True)
    (files / "c.yaml").write_text(CONFIG.replace("topic", "topic, slot: 2d"))
    assert "expected 10s to 1d (`wait`), got 2d" in run("check", "c.yaml").words
    (files / "c.yaml").write_text(CONFIG.replace("topic", "topic, wait: 20s"))
    assert "expected 10s to 20s (`wait`), got its default 10m" in run("check", "c.yaml").words


def test_labels_are_those_of_models_of_which_the_configuration_says_nothing(run: Run, files: Path) -> None:
    others = "models: {fraud: {clock: 50, baseline: fraud.driftline}, other: {outcomes: {labels: topic}}}"
    (files / "c.yaml").write_text(CONFIG.partition("models:")[0] + others)
    found = run("replay", "live.jsonl", "-c", "c.yaml", "--labels", "outcomes.csv", "--json")
    assert json.loads(found.out)["labels"]["fraud"]["joined"] == 1500


def test_labels_of_which_none_can_be_used_are_no_all_clear(run: Run, files: Path) -> None:
    (files / "calm.jsonl").write_bytes(b"\n".join(messages(300, seed=3)))
    (files / "broken.csv").write_text("order,resolved,outcome\n" + "e-1,yesterday,fine\n" * 30)
    found = run("replay", "calm.jsonl", "-c", "c.yaml", "--labels", "broken.csv")
    assert found.code == 2
    assert "30 of 30 labels are unusable" in found.words
