"""Labels that come by themselves, in replays: the outcomes are those of a direct join, whatever their order."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from driftline.stream.alerts.build import iso
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.judge.incidents import OUTCOMES
from driftline.stream.judge.waiting import Counts
from driftline.stream.outcomes.tasks import NumbersTask
from driftline.stream.replay.pipeline import LogBatch, Pipeline
from driftline.stream.replay.run import ReplayResult, replay
from driftline.stream.replay.verdict import decide
from tests.harness.labelled import baseline_of, messages

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CONFIG = """
panes: {{events: 50}}
models: {{{model}: {{clock: 50, false_alarms_per_event: 1.0e-5, outcomes: {{labels: topic{more}}}}}}}
"""


def configured(more: str = "", model: str = "fraud") -> Config:
    return parse_config(CONFIG.format(model=model, more=more))


def log_of(rows: Sequence[bytes | None], size: int = 700) -> Iterator[LogBatch]:
    for first in range(0, len(rows), size):
        yield LogBatch(np.arange(first, min(first + size, len(rows))), rows[first : first + size])


def apart(log: Sequence[bytes], seed: int = 0, lag_ms: int = HOUR) -> tuple[list[bytes], list[dict[str, Any]]]:
    """The same events without their labels, and these as messages, in an order that says nothing."""
    rng, rows, labels = np.random.default_rng(seed), list[bytes](), list[dict[str, Any]]()
    for row in map(orjson.loads, log):
        label = {
            "id": row["id"],
            "ts": row["ts"] + int(rng.integers(lag_ms)),
            "model": row["model"],
            "label": row.pop("label"),
        }
        rows.append(orjson.dumps(row))
        labels.append(label)
    rng.shuffle(labels)  # type: ignore[arg-type]
    return rows, labels


def replayed(config: Config, baseline: Baseline | None, rows: Sequence[bytes], labels: Sequence[Any]) -> ReplayResult:
    alerts = list[IncidentAlert]()
    written = [each if isinstance(each, bytes) else orjson.dumps(each) for each in labels]
    result = replay(
        config, [baseline] if baseline else [], {0: log_of(rows)}, alerts.append, labels={0: log_of(written)}
    )
    assert alerts == result.alerts
    return result


@cache
def known() -> Baseline:
    return baseline_of(messages(1500, seed=1))


def shortfalls(result: ReplayResult, config: Config) -> tuple[str, ...]:
    return decide(result, config, []).shortfalls


def lines(result: ReplayResult) -> list[Any]:
    return [each.data for each in result.alerts if each.data.kind == "outcomes"]


def test_a_fall_of_the_accuracy_is_found_as_if_events_held_their_labels() -> None:
    log = messages(4000, seed=3, concept=lambda i: 0.9 * (i >= 2400))
    result = replayed(configured(), known(), *apart(log))
    (first, *_) = lines(result)
    assert first.evidence.signals[0].signal == "accuracy"
    assert first.evidence.signals[0].offsets
    assert (
        iso(1_767_225_600_000 + 2_000_000)[:16]
        <= first.evidence.signals[0].since[:16]
        <= iso(1_767_225_600_000 + 2_800_000)
    )
    assert result.labels == {"fraud": Counts(joined=4000)}


@pytest.mark.parametrize("order", ["by time", "by class", "backwards"])
def test_the_order_of_labels_changes_nothing(order: str) -> None:
    rows, labels = apart(messages(3000, seed=3, concept=lambda i: 0.9 * (i >= 1800)))
    keys = {"by time": lambda each: each["ts"], "by class": lambda each: (each["label"], each["id"])}
    ordered = sorted(labels, key=keys[order]) if order in keys else labels[::-1]
    expected = replayed(configured(), known(), rows, labels)
    assert lines(replayed(configured(), known(), rows, ordered)) == lines(expected) != []


def test_a_model_that_learns_its_baseline_has_its_first_outcomes_as_the_reference() -> None:
    rows, labels = apart(messages(4000, seed=5, concept=lambda i: 0.9 * (i >= 2400)))
    config = parse_config("models: {fraud: {learn_events: 500, clock: 50, outcomes: {labels: topic, learn: 1000}}}")
    result = replayed(config, None, rows, labels)
    assert result.labels == {"fraud": Counts(joined=4000)}
    assert [each.evidence.signals[0].signal for each in lines(result)][:1] == ["accuracy"]


def test_labels_that_are_none_and_those_of_other_models_are_said_or_passed_over() -> None:
    rows, labels = apart(messages(300, seed=3))
    odd: list[Any] = [
        b"{", b"", b'{"id": "e-1", "ts": 1, "model": "fraud"}',
        {"id": "e-1", "ts": "soon", "model": "fraud", "label": "fine"},
        {"id": "e-1", "ts": 1_767_225_600_000, "model": "fraud", "label": {"a": 1}},
        {"id": "e-1", "ts": 1_767_225_600_000, "model": "fraud", "label": None},
        {"id": "e-1", "ts": 1_767_225_600_000, "model": "other", "label": "fine"},
        {"id": "nobody", "ts": 1_767_225_600_000, "model": "fraud", "label": "x" * 100_000},
    ]  # fmt: skip
    result = replayed(configured(), known(), rows, odd + labels)
    assert result.labels == {"fraud": Counts(joined=300, unmatched=1)}
    assert [each for each in result.remarks if "6 of 308 labels are unusable (not JSON" in each]
    assert ["6 of 308 labels are unusable" in each for each in shortfalls(result, configured())] == [True]


def test_ids_that_do_not_match_are_named() -> None:
    rows, labels = apart(messages(300, seed=3))
    wrong = [{**each, "id": f"x{each['id']}"} for each in labels]
    result = replayed(configured(), known(), rows, wrong)
    assert ["no label has the id of one of its predictions" in each for each in shortfalls(result, configured())] == [
        True
    ]
    assert shortfalls(replayed(configured(), known(), rows, labels), configured()) == ()


def test_labels_that_all_come_too_late_are_no_all_clear() -> None:
    rows, labels = apart(messages(300, seed=3))
    late = [{**each, "ts": each["ts"] + 30 * HOUR} for each in labels]
    result = replayed(configured(), known(), rows, late)
    (shortfall,) = shortfalls(result, configured())
    assert "300 of its labels came too late, and none in time; raise `outcomes.wait`" in shortfall
    assert [each for each in result.remarks if "99 of 100 come within 31h; raise `outcomes.wait` to that" in each]


def test_where_ids_do_not_match_a_few_late_labels_do_not_hide_it() -> None:
    rows, labels = apart(messages(300, seed=3))
    wrong = [{**each, "id": f"x{each['id']}"} for each in labels[5:]]
    late = [{**each, "ts": each["ts"] + 30 * HOUR} for each in labels[:5]]
    result = replayed(configured(), known(), rows, wrong + late)
    assert (result.labels["fraud"].late, result.labels["fraud"].unmatched) == (5, 295)
    (shortfall,) = shortfalls(result, configured())
    assert "no label has the id of one of its predictions" not in shortfall
    assert "most of its labels have the id of none of its predictions" in shortfall


def test_a_model_of_which_no_labels_were_given_fails_nothing_unless_the_configuration_asks_for_them() -> None:
    rows, labels = apart(messages(300, seed=3))
    others = [orjson.dumps({**orjson.loads(each), "model": "other"}) for each in rows]
    both, given = [*rows, *others], [known(), baseline_of(messages(1500, seed=1), model="other")]
    silent, asked = "defaults: {outcomes: {labels: topic}}", "models: {other: {outcomes: {labels: topic}}}"
    for more, expected in ((silent, 0), (f"{silent}\n{asked}", 1)):
        config = parse_config(f"panes: {{events: 50}}\n{more}")
        logs = {"labels": {0: log_of([*map(orjson.dumps, labels)])}}
        result = replay(config, given, {0: log_of(both)}, lambda _: None, **logs)
        assert result.labels["other"].joined == 0
        found = [each for each in shortfalls(result, config) if 'model "other"' in each]
        assert len(found) == expected


def test_a_replay_that_joins_only_a_sample_says_so() -> None:
    rows, labels = apart(messages(3000, seed=3), lag_ms=600_000)
    more = ", max_pending: 1000, wait: 20m, keep: 10m, slot: 1m"
    result = replayed(configured(more), known(), rows, labels)
    assert 600 < result.labels["fraud"].joined < 900
    (remark,) = [each for each in result.remarks if "max_pending" in each]
    assert "only one in 4 predictions is joined" in remark


def test_labels_in_other_words_are_read_as_the_mapping_says() -> None:
    rows, labels = apart(messages(300, seed=3))
    own = [{"order": {"id": each["id"]}, "resolved": each["ts"] / 1000, "outcome": each["label"]} for each in labels]
    config = parse_config(
        "mapping: {labels: {id: order.id, ts: resolved, label: outcome, model: =fraud}}\n"
        + CONFIG.format(model="fraud", more="")
    )
    assert replayed(config, known(), rows, own).labels == {"fraud": Counts(joined=300)}


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as file:
        return [orjson.loads(line) for line in file]


def epoch(time: str) -> int:
    return int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))


def messy(rows: Sequence[dict[str, Any]], truth: dict[str, str], share: float) -> list[dict[str, Any]]:
    """Labels days late, of a part that scores decide, one in twenty corrected and one in ten doubled; by class."""
    rng, labels = np.random.default_rng(1), list[dict[str, Any]]()
    for row in rows:
        if share < 1 and rng.random() > share * (1.6 if row["score"] > 0.5 else 0.4):
            continue
        label, at = truth[row["id"]], epoch(row["ts"]) + int(rng.exponential(12 * HOUR))
        first = {"UP": "DOWN", "DOWN": "UP"}[label] if rng.random() < 0.05 else label
        own = [(at, first), *([(at + HOUR, label)] if first != label else [])]
        own += own[:1] if rng.random() < 0.1 else []
        labels += [{"id": row["id"], "ts": ts, "model": "electricity", "label": each} for ts, each in own]
    return sorted(labels, key=lambda each: (each["label"], each["id"]))


@pytest.mark.shared
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_outcomes_of_electricity_are_those_of_a_direct_join(shared_data: Path, share: float) -> None:
    truth = {row["id"]: row["label"] for row in read(shared_data / "electricity_labels.jsonl.gz")}
    past, rows = (read(shared_data / f"electricity_{name}.jsonl.gz") for name in ("baseline", "live"))
    labels = messy(rows, truth, share)
    baseline = baseline_of([orjson.dumps(row) for row in past], model="electricity")
    config = configured(", slot: 12h, wait: 3d, keep: 3d", "electricity")
    pipeline = Pipeline(config, {"electricity": baseline}, keeps_history=True)
    tables = collected(pipeline)
    run(pipeline, [orjson.dumps(row) for row in rows], [orjson.dumps(row) for row in labels])
    assert baseline.coding is not None
    assert not isinstance(baseline.coding.task, NumbersTask)
    classes = baseline.coding.task.classes
    for day, direct in outcomes_by_slot(rows, labels, 12 * HOUR, 3 * DAY).items():
        found = baseline.coding.task.confusion(tables.pop(day).row(baseline.coding.size))
        assert found.tolist() == [[direct[p, label] for label in classes] for p in classes], day
    assert not any(each.n for each in tables.values())
    first, *_ = (each for _, each in pipeline.steps if each.incident.scope == OUTCOMES)
    assert "1997-04-25" <= iso(first.findings[0].since)[:10] <= "1997-05-15"
    assert first.findings[0].outcome is not None
    assert first.findings[0].outcome.after < 0.65


def collected(pipeline: Pipeline) -> dict[int, Any]:
    """By slot, each table of outcomes that the model's monitor joins from here on."""
    tables = dict[int, Any]()
    join = pipeline._new_monitor("electricity")._label_join
    judge = join.judge.judge

    def noting(state: Any, baseline: Any, table: Any, pane: Any, *rest: Any) -> Any:
        if table is not None:
            tables[pane.first_ts // (12 * HOUR)] = table
        return judge(state, baseline, table, pane, *rest)

    join.judge.judge = noting  # type: ignore[method-assign]
    return tables


def run(pipeline: Pipeline, rows: Sequence[bytes], labels: Sequence[bytes]) -> None:
    for sketcher, log, of_labels in (
        (pipeline.label_sketcher(0, 0), labels, True),
        (pipeline.sketcher(0, 0), rows, False),
    ):
        for batch in log_of(log):
            for each in sketcher.consume(*batch).runs:
                take(pipeline, each, of_labels)
        take(pipeline, sketcher.close(len(log)), of_labels)
    pipeline.last_tick()


def take(pipeline: Pipeline, each: Any, of_labels: bool) -> None:
    if of_labels:
        pipeline.learn(each)
    else:
        pipeline.judge(each)
        pipeline.tick_after(each)


def outcomes_by_slot(
    rows: Sequence[dict[str, Any]], labels: Sequence[dict[str, Any]], slot: int, wait: int
) -> dict[int, Counter[tuple[str, str]]]:
    """By slot, how often a prediction has a label in time: one by one, as cut-offs are described."""
    by_id, by_slot = dict[str, list[tuple[int, str]]](), dict[int, list[dict[str, Any]]]()
    for label in labels:
        by_id.setdefault(label["id"], []).append((label["ts"], label["label"]))
    for row in rows:
        by_slot.setdefault(epoch(row["ts"]) // slot, []).append(row)
    found = dict[int, Counter[tuple[str, str]]]()
    for number, own in by_slot.items():
        end = (number + 1) * slot
        firsts = sorted(min(by_id[row["id"]])[0] if row["id"] in by_id else 1 << 62 for row in own)
        cutoff = min(max(firsts[int(np.ceil(0.99 * len(own))) - 1] + slot, end), end + wait)
        counts = Counter[tuple[str, str]]()
        for row in own:
            known = [each for each in by_id.get(row["id"], ()) if each[0] <= cutoff]
            if known:
                counts[row["prediction"], max(known)[1]] += 1
        found |= {number: counts} if counts else {}
    return found
