"""`driftline produce` and `driftline topics`: which records arrive, in which order, under which key, and when."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.demo.servers import free_port
from driftline.stream.kafka.admin import open_admin
from driftline.stream.replay.pacing import Pace
from driftline.stream.schemas.topics import wanted_topics
from tests.harness.brokers import Broker, unique
from tests.harness.topic_tools import START_MS, Site, driftline, traffic, write_lines

DAY = 24 * 3_600_000
NO_EVENTS = [b"{broken", b'{"id":"no-time","model":"taxi"}', b"[1,2]"]


def produce(site: Site, path: Path, *options: object) -> int:
    return driftline("produce", path, "--topic", site.predictions, "-c", site.path, *options)


def offsets_by_partition(records: list[object]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record.offset)  # type: ignore[attr-defined]
    return found


def test_every_line_arrives_untouched_under_its_events_id(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, lines = Site.on(broker, tmp_path, partitions=4), traffic(300, seed=1)
    before = time.time() * 1000
    assert produce(site, write_lines(tmp_path / "live.jsonl", lines)) == 0

    records = site.records(site.predictions, 300)
    assert sorted(record.value for record in records) == sorted(lines)
    assert all(record.key == json.loads(record.value)["id"].encode() for record in records)
    assert {record.partition for record in records} == {0, 1, 2, 3}
    for partition in range(4):
        mine = [lines.index(record.value) for record in records if record.partition == partition]
        assert mine == sorted(mine)
    assert all(before - 1000 < record.timestamp < time.time() * 1000 + 1000 for record in records)
    assert f"300 records written to {site.predictions}" in capsys.readouterr().out


def test_lines_that_are_no_events_are_written_without_a_key(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, lines = Site.on(broker, tmp_path), traffic(5, seed=2)
    lines[2:2] = NO_EVENTS
    assert produce(site, write_lines(tmp_path / "live.jsonl", lines)) == 0

    records = site.records(site.predictions, len(lines))
    assert [record.value for record in records] == lines
    assert [record.key for record in records] == [b"e-0", b"e-1", None, None, None, b"e-2", b"e-3", b"e-4"]
    assert "3 of them are no events" in capsys.readouterr().err


def test_an_event_that_the_configured_limits_allow_gets_its_key(broker: Broker, tmp_path: Path) -> None:
    site, deep = Site.on(broker, tmp_path), b"[" * 100 + b"]" * 100
    site.path.write_text(json.dumps(json.loads(site.path.read_text()) | {"limits": {"depth": 150}}))
    line = b'{"id":"deep","ts":%d,"model":"taxi","score":1,"features":{"x":%b}}' % (START_MS, deep)
    assert produce(site, write_lines(tmp_path / "live.jsonl", [line])) == 0
    assert [record.key for record in site.records(site.predictions, 1)] == [b"deep"]


@pytest.mark.parametrize(("key", "expected"), [("model", b"taxi"), ("none", None)])
def test_records_are_keyed_as_asked(broker: Broker, tmp_path: Path, key: str, expected: bytes | None) -> None:
    site = Site.on(broker, tmp_path, partitions=3)
    assert produce(site, write_lines(tmp_path / "live.jsonl", traffic(50, seed=3)), "--key", key) == 0
    records = site.records(site.predictions, 50)
    assert {record.key for record in records} == {expected}
    if key == "model":
        assert len({record.partition for record in records}) == 1


@pytest.mark.parametrize("pace", [("--rate", 50), ("--speed", "50x")])
def test_records_come_at_the_pace_asked_for(broker: Broker, tmp_path: Path, pace: tuple[str, object]) -> None:
    """One event a second in the file, so 50x is 50 a second: 20 ms from one to the next."""
    site = Site.on(broker, tmp_path)
    assert produce(site, write_lines(tmp_path / "live.jsonl", traffic(26, seed=4)), *pace) == 0
    stamps = [record.timestamp for record in site.records(site.predictions, 26)]
    assert stamps == sorted(stamps)
    # The first may leave late, while the producer still looks up where to send it.
    assert stamps[-1] - stamps[0] >= 0.8 * 25 * 20
    assert max(later - earlier for earlier, later in pairwise(stamps)) < 25 * 20  # spread, not one burst at the end


def test_records_too_large_for_kafka_are_reported_and_the_rest_arrives(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, lines = Site.on(broker, tmp_path), traffic(3, seed=5)
    huge = b'{"id":"huge","text":"' + b"x" * (1 << 20) + b'"}'
    assert produce(site, write_lines(tmp_path / "live.jsonl", [lines[0], huge, *lines[1:]])) == 1
    assert [record.value for record in site.records(site.predictions, 3)] == lines
    assert "1 more are too large for Kafka" in capsys.readouterr().err


def test_a_missing_topic_is_reported_and_not_created(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, absent = Site.on(broker, tmp_path), unique("absent")
    lines = write_lines(tmp_path / "live.jsonl", traffic(3, seed=6))
    assert driftline("produce", lines, "--topic", absent, "-c", site.path) == 2
    assert f"driftline topics create {absent}" in capsys.readouterr().err
    with open_admin(site.config.kafka) as admin:
        assert absent not in admin.list_topics()


def test_an_unreachable_broker_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    config = tmp_path / "driftline.yaml"
    config.write_text(f"kafka: {{bootstrap: '{address}'}}")
    lines = write_lines(tmp_path / "live.jsonl", traffic(3, seed=7))
    for command in (
        ("produce", lines, "--topic", "predictions"),
        ("topics", "create"),
        ("topics", "show"),
        ("replay", "kafka://predictions"),
    ):
        assert driftline(*command, "-c", config) == 2
        assert f"Kafka can't be reached at {address}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--rate", 5, "--speed", "2x"), "use either --rate or --speed"),
        (("--rate", 0), "--rate: expected a number above 0"),
        (("--speed", "fast"), "--speed: expected a number above 0"),
        (("--speed", "nan"), "--speed: expected a number above 0"),
        (("--key", "user"), "--key"),
    ],
)
def test_an_invalid_pace_or_key_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[object, ...], error: str
) -> None:
    lines = write_lines(tmp_path / "live.jsonl", traffic(3, seed=8))
    assert driftline("produce", lines, "--topic", "predictions", *options) == 2
    assert error in " ".join(capsys.readouterr().err.replace("│", " ").split())


# Pace


@given(st.lists(st.none() | st.integers(START_MS, START_MS + DAY), max_size=30), st.floats(0.1, 1000))
def test_due_times_rise_and_span_no_more_than_the_events_do(times: list[int | None], speed: float) -> None:
    pace = Pace(speed=speed)
    due = [pace.due(ts) for ts in times]
    known = [ts for ts in times if ts is not None] or [0]
    assert due == sorted(due)
    assert not due or due[-1] <= (max(known) - known[0]) / 1000 / speed * (1 + 1e-9)


def test_one_event_of_the_far_future_does_not_delay_those_after_it() -> None:
    pace = Pace(speed=1)
    assert [pace.due(START_MS + ms) for ms in (0, 1000, 3650 * DAY, 2000, 3000)] == [0.0, 1.0, 1.0, 1.0, 2.0]


def test_a_gap_of_days_is_skipped_but_a_night_is_waited_for() -> None:
    pace = Pace(speed=3600)
    assert [pace.due(START_MS + ms) for ms in (0, DAY // 2, 9 * DAY, 9 * DAY + 3_600_000)] == [0.0, 12.0, 12.0, 13.0]


# Topics


def test_topics_are_created_once_and_shown(broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site.on(broker, tmp_path, partitions=2)
    assert driftline("topics", "show", "-c", site.path) == 1
    shown = capsys.readouterr()
    others = len(wanted_topics(site.config.topics)) - 2  # predictions and alerts exist
    assert shown.out.count("missing") == others
    assert "driftline topics create" in shown.err

    assert driftline("topics", "create", "-c", site.path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{site.config.topics.panes}: created, 2 partitions, kept for 168 h" in lines
    assert sum("created" in line for line in lines) == others
    assert driftline("topics", "create", "-c", site.path) == 0
    assert "created" not in capsys.readouterr().out


def test_another_topic_is_created_like_predictions(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, other = Site.on(broker, tmp_path, partitions=2), unique("other")
    assert driftline("topics", "create", other, "-c", site.path) == 0
    assert capsys.readouterr().out == f"{other}: created, 2 partitions, kept for 168 h\n"
