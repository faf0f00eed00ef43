"""Replay: which messages of a log are read, what is counted, and what is found in real traffic."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest

from driftline.stream.alerts.build import encode_alert
from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline, BaselineError
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.config.sections import Config
from driftline.stream.events.parse import EventReader, parse_event
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.replay.run import ReplayResult, as_single_partition, replay, select_time_range
from driftline.stream.sources.baselines import load_baseline, load_baselines, load_given
from load_tests.harness.oracle import EPOCH, as_json, interleave, messages

CONFIG = Config.model_validate({"panes": {"events": 100, "seconds": None}, "defaults": {"learn_events": 700}})
FRAUD = messages("fraud", 3000, drift=(1500, 3000))


def baseline_of(model: str = "fraud") -> Baseline:
    events = [parse_event(message) for message in messages(model, 2000, first=10_000)]
    return build_baseline(events, {"model": model})


def replayed(log: Sequence[bytes], *baselines: Baseline, config: Config = CONFIG, size: int = 1000) -> ReplayResult:
    batches = [log[first : first + size] for first in range(0, len(log), size)]
    return replay(config, baselines, {0: as_single_partition(batches)}, lambda _: None)


def test_every_alert_is_reported_as_it_is_decided_and_kept() -> None:
    reported: list[IncidentAlert] = []
    result = replay(CONFIG, [baseline_of()], {0: as_single_partition([FRAUD[:1700], FRAUD[1700:]])}, reported.append)
    assert reported == result.alerts
    assert [each.data.status for each in reported] == ["firing"]
    assert result.events == 3000
    assert not result.rejected.total


def test_the_same_log_gives_the_same_bytes_in_batches_of_any_size() -> None:
    lines = [
        [encode_alert(each) for each in replayed(FRAUD, baseline_of(), size=size).alerts] for size in (1000, 1000, 170)
    ]
    assert lines[0] == lines[1] == lines[2] != []


def test_problems_are_counted_by_place_with_the_first_reason_as_an_example() -> None:
    """When they were counted by reason, a million different bad values were a million lines."""
    rows = [orjson.loads(message) for message in FRAUD[:1000]]
    for i, row in enumerate(rows[:300]):
        row["features"]["amount"] = f"N/A {i}"
    bad = [b"{", *(b'{"id": "%d"}' % i for i in range(20)), b"[%d]" % 7, b"[]"]
    result = replayed([*map(orjson.dumps, rows), *bad], baseline_of())
    assert result.events == 1000
    assert result.rejected.counts == {"ts": 20, "not JSON": 1, "expected object": 2}
    assert result.defects == {"features.amount counted as invalid": 300}
    assert result.examples["features.amount counted as invalid"] == "features.amount: expected number, got 'N/A 0'"
    assert result.rejected.causes()[0].example == "ts: missing"


def test_models_with_a_learned_baseline_and_models_with_too_few_events_are_named() -> None:
    result = replayed(interleave(messages("fraud", 900), messages("churn", 900)) + messages("tiny", 30), baseline_of())
    assert result.learned == {"churn": 700}
    assert result.without_baseline == {"tiny": 30}


@pytest.mark.parametrize(
    ("first", "end", "kept"),
    [
        (None, None, slice(0, 100)),
        (EPOCH + 20, None, slice(20, 100)),
        (None, EPOCH + 20, slice(0, 20)),
        (EPOCH + 20, EPOCH + 21, slice(20, 21)),
        (EPOCH + 1000, None, slice(0, 0)),
    ],
)
def test_a_time_range_includes_its_start_and_excludes_its_end(first: int | None, end: int | None, kept: slice) -> None:
    log = messages("fraud", 100)
    batches = list(select_time_range(as_single_partition([log[:60], log[60:]]), EventReader(), first, end))
    assert [message for batch in batches for message in batch.messages] == log[kept]
    assert [at for batch in batches for at in batch.offsets] == list(range(100))[kept]


def test_a_time_range_keeps_messages_that_are_no_events() -> None:
    log = [b"{", *messages("fraud", 3), b'{"ts": "soon"}']
    (batch,) = select_time_range([LogBatch(np.arange(5), log)], EventReader(), EPOCH + 1, EPOCH + 2)
    assert batch.messages == [b"{", log[2], b'{"ts": "soon"}']
    assert batch.offsets.tolist() == [0, 2, 4]


def test_an_empty_log_gives_an_empty_result() -> None:
    assert replayed([]) == ReplayResult()


def held(hold: str, recovery: str = "1h") -> Config:
    incidents = {"hold": hold, "recovery": recovery, "cooldown": "0s"}
    return Config.model_validate({"panes": {"events": 100}, "defaults": {"incidents": incidents}})


def test_a_drift_that_its_model_ends_with_is_reported_once_other_models_show_that_it_was_held_for_long_enough() -> None:
    drifting, others = messages("fraud", 2000, drift=(1000, 2000)), messages("churn", 100, step=60_000)
    alone = replayed(drifting, baseline_of(), config=held("1h"))
    assert alone.alerts == []
    (fired,) = replayed([*drifting, *others], baseline_of(), config=held("1h")).alerts
    assert (fired.data.status, fired.data.component) == ("firing", "fraud")
    assert fired.data.emitted_at.startswith("2026-01-01T01:0")


def test_the_end_of_a_log_is_the_last_tick() -> None:
    drifting, last = messages("fraud", 2000, drift=(1000, 2000)), messages("churn", 1, step=8_000, first=1)
    assert replayed(drifting, baseline_of(), config=held("5s")).alerts == []
    assert len(replayed([*drifting, *last], baseline_of(), config=held("5s")).alerts) == 1


def test_one_event_from_the_future_ends_no_hold() -> None:
    future = messages("churn", 1, step=1_000_000_000, first=30)
    log = [*messages("fraud", 1500, drift=(1000, 1500)), *future, *messages("fraud", 500, first=1500, drift=(0, 2000))]
    assert replayed(log, baseline_of(), config=held("1h")).alerts == []
    assert replayed([*log, *future], baseline_of(), config=held("1h")).alerts == []


@pytest.mark.parametrize("unread", [0, 2])
def test_a_model_is_absent_in_a_topic_unless_its_events_may_be_among_those_that_cannot_be_read(unread: int) -> None:
    """It has an event a minute for three days, and none for two hours in which another model has some."""
    days, gap = 3 * 24 * 60, 120
    fraud, churn = (messages(model, days + 2 * gap, step=60_000) for model in ("fraud", "churn"))
    minutes = [[one, other] for one, other in zip(churn, fraud, strict=True)]
    minutes[days : days + gap] = [[one, *[b"avro"] * unread] for one in churn[days : days + gap]]
    logs = {0: as_single_partition([[each for minute in minutes for each in minute]])}
    config = Config.model_validate({"panes": {"events": 10, "seconds": None}, "defaults": {"learn_events": 10_000}})
    result = replay(config, [baseline_of()], logs, lambda _: None, topic="predictions")
    absent = [each.data.status for each in result.alerts if each.data.kind == "absence"]
    assert absent == ([] if unread else ["firing", "resolved"])


def write(path: Path, baseline: Baseline) -> Path:
    path.write_bytes(encode_baseline(baseline))
    return path


def test_given_baselines_replace_those_of_the_configuration(tmp_path: Path) -> None:
    write(tmp_path / "fraud.driftline", baseline_of())
    other = build_baseline([parse_event(message) for message in FRAUD[:500]], {"model": "fraud"})
    given = write(tmp_path / "other.driftline", other)
    config = Config.model_validate({"models": {"fraud": {"baseline": "fraud.driftline"}, "churn": {}}})
    configured = load_baselines(config, tmp_path)["fraud"]
    assert configured.content_hash == baseline_of().content_hash
    assert load_baselines(config, tmp_path, load_given([given])).keys() == {"fraud"}
    assert load_baselines(config, tmp_path, load_given([given]))["fraud"].content_hash == other.content_hash
    churn = load_given([write(tmp_path / "churn.driftline", baseline_of("churn"))])
    assert load_baselines(config, tmp_path, churn).keys() == {"fraud", "churn"}


def test_two_given_baselines_of_one_model_are_refused_with_their_files_and_versions(tmp_path: Path) -> None:
    events = [parse_event(message) for message in FRAUD[:500]]
    one = write(tmp_path / "one.driftline", build_baseline(events, {"model": "fraud", "version": "4.1"}))
    two = write(tmp_path / "two.driftline", build_baseline(events, {"model": "fraud", "version": "4.2"}))
    with pytest.raises(BaselineError, match=r"'fraud': .*one\.driftline \(version 4\.1\) and .*two\.driftline .*4\.2"):
        load_given([one, two])


def test_a_baseline_of_another_model_than_configured_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "b.driftline", baseline_of("churn"))
    config = Config.model_validate({"models": {"fraud": {"baseline": "b.driftline"}}})
    with pytest.raises(BaselineError, match=r"b\.driftline: is the baseline of 'churn', but `models\.fraud\.baseline`"):
        load_baselines(config, tmp_path)


def test_a_baseline_that_cannot_be_read_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"none\.driftline: No such file .*`driftline baseline build` makes one"):
        load_baseline(tmp_path / "none.driftline")
    damaged = tmp_path / "damaged.driftline"
    damaged.write_bytes(encode_baseline(baseline_of())[:-100])
    with pytest.raises(BaselineError, match=r"damaged\.driftline: .*copy it again or rebuild it"):
        load_baseline(damaged)


def electricity(folder: Path, name: str) -> list[bytes]:
    return gzip.decompress((folder / f"electricity_{name}.jsonl.gz").read_bytes()).splitlines()


def electricity_baseline(log: Sequence[bytes]) -> Baseline:
    return build_baseline([parse_event(message) for message in log], {"model": "electricity"})


def ms(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000


@pytest.mark.shared
def test_electricity_names_the_three_feeds_that_broke_when_they_broke(shared_data: Path) -> None:
    """Constant in the baseline, they move from event elec-17424 on, with means that hardly change."""
    live = electricity(shared_data, "live")[:9000]
    broke = next(i for i, message in enumerate(live) if b'"elec-17424"' in message)
    assert broke == 7424
    result = replayed(live, electricity_baseline(electricity(shared_data, "baseline")), config=Config())
    fired = as_json(result.alerts[0])["data"]
    assert fired["status"] == "firing"
    feeds = {each["signal"]: each for each in fired["evidence"]["signals"]}
    assert {"features.vicprice", "features.vicdemand", "features.transfer"} == feeds.keys()
    half_hour = 1_800_000
    for feed in feeds.values():
        (offsets,) = feed["offsets"]
        assert offsets["end"] <= broke + 500
        assert abs(offsets["start"] - broke) <= 100
        assert abs(ms(feed["since"]) - parse_event(live[broke]).ts) <= 100 * half_hour
    # The rest of the story is one incident: prices and predictions follow the feeds.
    assert {each.data.incident_id for each in result.alerts} == {fired["incident_id"]}


@pytest.mark.shared
def test_electricity_does_not_drift_from_itself_however_strong_its_cycles(shared_data: Path) -> None:
    log = electricity(shared_data, "baseline")
    assert replayed(log[5000:], electricity_baseline(log), config=Config()).alerts == []
