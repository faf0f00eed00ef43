"""A topic's history: which records are read, on both brokers, and that its replay finds what a replay of files does."""

from __future__ import annotations

import gc
import gzip
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer

from driftline.stream.alerts.schema import IncidentAlert
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.config.sections import Config
from driftline.stream.demo.servers import embedded_broker
from driftline.stream.events.parse import parse_event
from driftline.stream.kafka import logs
from driftline.stream.kafka.admin import TopicsError
from driftline.stream.replay.pipeline import LogBatch
from driftline.stream.replay.run import as_single_partition, replay
from driftline.stream.sources import topic_history
from driftline.stream.sources.topic_history import AtOffset, AtTime, TopicPosition, open_history
from tests.harness.brokers import Broker, unique
from tests.harness.topic_tools import START_MS, Sent, Site, driftline, traffic, write_lines

SHARED = Path(__file__).parents[3] / "shared" / "data"
# In `traffic`: the event at which price and feed break, and the number of events.
BROKEN, EVENTS = 1500, 2500


def read(
    site: Site, topic: str, first: TopicPosition | None = None, end: TopicPosition | None = None
) -> dict[int, dict[int, bytes]]:
    """The values of a range, by partition and offset."""
    with open_history(site.config.kafka, topic, first, end) as history:
        return {
            partition: {
                int(at): value
                for batch in log
                for at, value in zip(batch.offsets, batch.messages, strict=True)
                if value
            }
            for partition, log in history.logs().items()
        }


def offsets(found: dict[int, dict[int, bytes]]) -> dict[int, list[int]]:
    return {partition: list(values) for partition, values in found.items()}


# Records read


def test_a_history_ends_at_the_end_of_the_topic_when_it_was_opened(broker: Broker, tmp_path: Path) -> None:
    site = Site.on(broker, tmp_path, partitions=3)
    site.send(site.predictions, [Sent(i % 2, b"%d" % i) for i in range(1000)])  # partition 2 stays empty
    seen: list[int] = []
    with open_history(site.config.kafka, site.predictions, None, None) as history:
        site.send(site.predictions, [Sent(i % 3, b"late") for i in range(30)])
        logs = history.logs(seen.append)
        found = {partition: [value for batch in log for value in batch.messages] for partition, log in logs.items()}
    assert found == {0: [b"%d" % i for i in range(0, 1000, 2)], 1: [b"%d" % i for i in range(1, 1000, 2)]}
    assert history.total == 1000
    assert seen == sorted(seen)
    assert seen[-1] == 1000


def test_an_empty_topic_has_an_empty_history(broker: Broker, tmp_path: Path) -> None:
    site = Site.on(broker, tmp_path)
    assert read(site, site.predictions) == {}


def test_a_history_between_offsets(broker: Broker, tmp_path: Path) -> None:
    site = Site.on(broker, tmp_path, partitions=2)
    site.send(site.predictions, [Sent(0, b"%d" % i) for i in range(20)] + [Sent(1, b"%d" % i) for i in range(5)])
    between = read(site, site.predictions, AtOffset(3), AtOffset(9))
    assert between == {0: {i: b"%d" % i for i in range(3, 9)}, 1: {3: b"3", 4: b"4"}}
    assert offsets(read(site, site.predictions, AtOffset(7), None)) == {0: list(range(7, 20))}
    assert offsets(read(site, site.predictions, None, AtOffset(2))) == {0: [0, 1], 1: [0, 1]}
    assert read(site, site.predictions, AtOffset(500), None) == {}


@pytest.mark.parametrize(
    ("first", "end", "expected"),
    [
        (None, None, [0, 1, 2, 3, 4, 5, 6, 7]),
        (10, 60, [1, 2, 3, 4]),  # 2 has an earlier stamp, but follows 1, which has not; 6 follows the end
        (11, 60, [3, 4]),
        (10, None, [1, 2, 3, 4, 5, 6, 7]),
        (None, 10, [0]),
        (10, 10, []),
        (41, 60, []),
        (71, None, []),
        (-2, 71, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_history_between_times(
    broker: Broker, tmp_path: Path, first: int | None, end: int | None, expected: list[int]
) -> None:
    """stamps: seconds, by offset. Each send is one batch, so that ranges begin and end inside of batches."""
    stamps = [-2, 10, 5, 30, 40, 60, 50, 70]
    site = Site.on(broker, tmp_path)
    records = [Sent(0, b"%d" % i, START_MS + 1000 * stamp) for i, stamp in enumerate(stamps)]
    site.send(site.predictions, records[:5])
    site.send(site.predictions, records[5:])
    places = [None if seconds is None else AtTime(START_MS + 1000 * seconds) for seconds in (first, end)]
    assert offsets(read(site, site.predictions, *places)).get(0, []) == expected


def test_a_time_and_an_offset_can_be_mixed(broker: Broker, tmp_path: Path) -> None:
    site = Site.on(broker, tmp_path)
    site.send(site.predictions, [Sent(0, b"%d" % i, START_MS + 1000 * i) for i in range(20)])
    assert offsets(read(site, site.predictions, AtTime(START_MS + 5000), AtOffset(8))) == {0: [5, 6, 7]}
    assert offsets(read(site, site.predictions, AtOffset(17), AtTime(START_MS + 19_000))) == {0: [17, 18]}


def test_partitions_can_be_read_one_after_another_though_fetched_together(broker: Broker, tmp_path: Path) -> None:
    """A reader that waits for partition 0 must not hoard the others, nor lose what it has fetched of them."""
    site = Site.on(broker, tmp_path, partitions=3)
    site.send(site.predictions, [Sent(i % 3, b"x" * 500 + b"%d" % i) for i in range(3000)])
    with open_history(site.config.kafka, site.predictions, None, None) as history:
        logs = history.logs()
        for partition in (2, 0, 1):
            values = [value for batch in logs[partition] for value in batch.messages]
            assert values == [b"x" * 500 + b"%d" % i for i in range(partition, 3000, 3)]


@pytest.mark.parametrize("seed", range(4))
def test_partitions_are_read_in_any_order_though_one_fetch_brings_more_than_a_poll_returns(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The rest of a fetch is kept while its partition is paused: that of another one has ended by then."""
    monkeypatch.setitem(topic_history._TUNING, "max_poll_records", 50)
    monkeypatch.setattr(logs, "SILENCE_TIMEOUT", 10.0)
    site, rng, found = Site.on(broker, tmp_path, partitions=3), np.random.default_rng(seed), dict[int, list[Any]]()
    site.send(site.predictions, [Sent(i % 3, b"%d" % i) for i in range(930)])
    with open_history(site.config.kafka, site.predictions, None, None) as history:
        left = dict(history.logs())
        while left:
            partition = int(rng.choice(list(left)))
            batch = next(left[partition], None)
            if batch is None:
                del left[partition]
            else:
                found.setdefault(partition, []).extend(batch.messages)
    assert found == {each: [b"%d" % i for i in range(each, 930, 3)] for each in range(3)}


def test_transaction_markers_are_gaps_even_at_the_end(broker: Broker, tmp_path: Path) -> None:
    """offset  0 1 2 M 4 5 M: a reader that waited for a record at 6 would wait forever."""
    if not broker.idempotent:
        pytest.skip("the embedded broker has no transactions")
    site = Site.on(broker, tmp_path)
    producer = KafkaProducer(bootstrap_servers=site.config.kafka.bootstrap, transactional_id=unique("transaction"))
    producer.init_transactions()
    for values in (b"abc", b"de"):
        producer.begin_transaction()
        for value in values:
            producer.send(site.predictions, bytes([value]))
        producer.commit_transaction()
    producer.close()
    assert read(site, site.predictions) == {0: {0: b"a", 1: b"b", 2: b"c", 4: b"d", 5: b"e"}}
    assert offsets(read(site, site.predictions, AtOffset(3), AtOffset(5))) == {0: [4]}


def test_an_unknown_topic_is_an_error_that_suggests_similar_topics(broker: Broker, tmp_path: Path) -> None:
    site = Site.on(broker, tmp_path)
    misspelt = site.predictions.replace("predictions", "prediction")
    with pytest.raises(TopicsError, match=rf"topic {misspelt} doesn't exist; did you mean {site.predictions}\b"):
        read(site, misspelt)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_dies_while_it_is_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "kafka")  # a captured log line would keep its sockets alive
    monkeypatch.setattr(logs, "SILENCE_TIMEOUT", 1.0)
    with embedded_broker(tmp_path) as server:
        site = Site.on(Broker(server, idempotent=False), tmp_path, partitions=2)
        site.send(site.predictions, [Sent(0, b"%d" % i) for i in range(10)])

        def read_while_it_dies() -> None:
            with open_history(site.config.kafka, site.predictions, None, None) as history:
                server.kill()
                list(history.logs()[0])

        with pytest.raises(TopicsError, match=r"sent nothing of topic .* partition 0, for 1 s"):
            read_while_it_dies()
    gc.collect()  # kafka-python leaves a socket behind for every try to reconnect: be warned of them here


# Drift found


@dataclass(frozen=True)
class Setup:
    """A site with a baseline, and live lines in a file and, written by `produce`, on the predictions topic."""

    site: Site
    lines: list[bytes]
    live: Path
    baseline: Path

    @classmethod
    def on(cls, broker: Broker, folder: Path, partitions: int = 1) -> Setup:
        lines = traffic(EVENTS, seed=11, broken_from=BROKEN)
        lines[100:100] = [b"{broken", b'{"id":"no-time","model":"taxi"}']
        baseline = folder / "taxi.driftline"
        baseline.write_bytes(encode_baseline(taxi_baseline()))
        setup = cls(Site.on(broker, folder, partitions), lines, write_lines(folder / "live.jsonl", lines), baseline)
        assert driftline("produce", setup.live, "--topic", setup.site.predictions, "-c", setup.site.path) == 0
        return setup

    def replay(self, source: object, *options: object) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and alerts of `driftline replay`."""
        alerts = self.live.with_name("alerts.jsonl")
        code = driftline("replay", source, "-c", self.site.path, "-b", self.baseline, "--alerts", alerts, *options)
        return code, [json.loads(line) for line in alerts.read_bytes().splitlines()]

    @property
    def topic(self) -> str:
        return f"kafka://{self.site.predictions}"


def taxi_baseline() -> Baseline:
    return build_baseline([parse_event(line) for line in traffic(3000, seed=10)], {"model": "taxi"})


def signals(alerts: Sequence[dict[str, Any]]) -> set[str]:
    return {found["signal"] for alert in alerts for found in alert["data"]["evidence"]["signals"]}


def test_one_partition_gives_the_alerts_of_the_file(broker: Broker, tmp_path: Path) -> None:
    setup = Setup.on(broker, tmp_path)
    code, from_file = setup.replay(setup.live)
    assert code == 1
    assert signals(from_file) == {"features.price", "features.feed"}
    assert setup.replay(setup.topic) == (1, from_file)


def test_four_partitions_name_the_same_signals_at_their_own_offsets(broker: Broker, tmp_path: Path) -> None:
    setup = Setup.on(broker, tmp_path, partitions=4)
    code, from_topic = setup.replay(setup.topic)
    assert code == 1
    assert setup.replay(setup.topic) == (code, from_topic)

    _, from_file = setup.replay(setup.live)
    assert signals(from_topic) == signals(from_file)
    first, *_ = from_topic
    since = json.loads(setup.lines[BROKEN + 2])["ts"]
    found = np.datetime64(first["data"]["starts_at"][:-1], "ms").astype(int)
    assert abs(found - since) <= 50_000  # one test of 50 events, a second each
    ranges = first["data"]["evidence"]["signals"][0]["offsets"]
    assert [each["partition"] for each in ranges] == [0, 1, 2, 3]
    records = setup.site.records(setup.site.predictions, EVENTS + 2)
    for each in ranges:
        (start,) = [r for r in records if (r.partition, r.offset) == (each["partition"], each["start"])]
        assert abs(json.loads(start.value)["ts"] - since) <= 100_000


def test_offsets_select_the_records_to_replay_and_remain_those_of_the_topic(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = Setup.on(broker, tmp_path)
    code, alerts = setup.replay(setup.topic, "--to", "offset:1400")
    assert (code, alerts) == (0, [])
    assert "1,398 events in" in capsys.readouterr().out  # two of the records are no events

    code, alerts = setup.replay(setup.topic, "--from", "offset:1000", "--to", "offset:2000")
    assert code == 1
    assert "1,000 events in" in capsys.readouterr().out
    ranges = [each for alert in alerts for found in alert["data"]["evidence"]["signals"] for each in found["offsets"]]
    assert all(1000 <= each["start"] < each["end"] <= 2000 for each in ranges)
    assert min(each["start"] for each in ranges) >= BROKEN - 100


def test_times_select_records_by_their_kafka_timestamps(broker: Broker, tmp_path: Path) -> None:
    """The records have the time of their event as timestamp, as from a live producer."""
    setup = Setup.on(broker, tmp_path)
    stamped = setup.site.create(unique("stamped"))
    lines = traffic(EVENTS, seed=11, broken_from=BROKEN)
    setup.site.send(stamped, [Sent(0, line, START_MS + 1000 * i) for i, line in enumerate(lines)])

    by_time = setup.replay(f"kafka://{stamped}", "--from", "2026-01-01T00:10:00Z", "--to", "2026-01-01T00:33:20Z")
    by_offset = setup.replay(f"kafka://{stamped}", "--from", "offset:600", "--to", "offset:2000")
    assert by_time == by_offset
    assert by_time[0] == 1
    assert {alert["data"]["evidence"]["topic"] for alert in by_time[1]} == {stamped}
    assert setup.replay(f"kafka://{stamped}", "--to", "2026-01-01T00:20:00Z") == (0, [])


def test_a_replay_leaves_the_live_topics_alone_and_publishes_elsewhere(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = Setup.on(broker, tmp_path)
    site = setup.site
    site.send(site.alerts, [Sent(0, b"a live alert")])
    elsewhere = site.create(unique("replayed"))
    code, alerts = setup.replay(setup.topic, "--to-topic", elsewhere)
    assert code == 1
    published = site.records(elsewhere, len(alerts))
    assert [json.loads(record.value) for record in published] == alerts
    assert {record.key for record in published} == {b"taxi"}
    assert {tuple(record.headers) for record in published} == {(("content-type", b"application/cloudevents+json"),)}
    assert {alert["data"]["mode"] for alert in alerts} == {"replay"}

    for live in (site.alerts, site.predictions, f"{site.predictions}.dlq"):
        assert setup.replay(setup.topic, "--to-topic", live)[0] == 2
        assert f"{live} is a live topic" in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert [record.value for record in site.records(site.alerts, 1)] == [b"a live alert"]
    assert len(site.records(site.predictions, len(setup.lines))) == len(setup.lines)


def test_a_replay_can_learn_its_baseline_from_several_partitions(broker: Broker, tmp_path: Path) -> None:
    setup = Setup.on(broker, tmp_path, partitions=3)
    config = json.loads(setup.site.path.read_text()) | {"defaults": {"learn_events": 1000}}
    setup.site.path.write_text(json.dumps(config))
    alerts = tmp_path / "learned.jsonl"
    assert driftline("replay", setup.topic, "-c", setup.site.path, "--alerts", alerts) == 1
    assert signals([json.loads(line) for line in alerts.read_bytes().splitlines()]) >= {"features.feed"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("kafka://absent",), "topic absent doesn't exist"),
        (("kafka://absent", "file.jsonl"), "expected one kafka://TOPIC or files"),
        (("kafka://absent", "--from", "yesterday"), "--from: expected RFC 3339"),
        (("kafka://absent", "--to", "offset:x"), "--to: expected offset:N"),
        (("kafka://absent", "--from", "offset:9", "--to", "offset:9"), "--from must be before --to"),
        (
            ("kafka://absent", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"),
            "--from must be before",
        ),
    ],
)
def test_an_impossible_replay_is_an_error_with_its_reason(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    site = Site.on(broker, tmp_path)
    assert driftline("replay", *arguments, "-c", site.path) == 2
    assert reason in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_replay_without_records_says_so(broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site.on(broker, tmp_path)
    assert driftline("replay", f"kafka://{site.predictions}", "-c", site.path) == 2, "not an all-clear"
    assert "nothing to read" in capsys.readouterr().err


# Several partitions in one order, without a broker


def cut_randomly(log: Sequence[tuple[int, bytes]], rng: np.random.Generator) -> Iterator[LogBatch]:
    """A partition's log in batches of random length."""
    while log:
        part, log = log[: (n := int(rng.integers(1, 400)))], log[n:]
        yield LogBatch(np.array([offset for offset, _ in part]), [message for _, message in part])


@pytest.mark.parametrize("given", [True, False])
def test_the_alerts_of_several_partitions_do_not_depend_on_how_they_are_read(given: bool) -> None:
    """Partitions with gaps, read in batches of any length; with a given baseline and with a learned one."""
    config = Config.model_validate({"defaults": {"learn_events": 1000}})
    baselines = [taxi_baseline()] if given else []
    rng = np.random.default_rng(5)
    owner = rng.integers(0, 4, EVENTS)
    logs: dict[int, list[tuple[int, bytes]]] = {partition: [] for partition in range(4)}
    for i, line in enumerate(traffic(EVENTS, seed=11, broken_from=BROKEN)):
        logs[int(owner[i])].append((i, line))

    def alerts() -> list[IncidentAlert]:
        return replay(config, baselines, {p: cut_randomly(log, rng) for p, log in logs.items()}, lambda _: None).alerts

    first = alerts()
    assert first
    for _ in range(3):
        assert alerts() == first


def test_an_event_from_the_future_does_not_hold_up_its_partition() -> None:
    """In partition 1, event 700 has a time in 2029. If its run were judged last, all later runs there would be, too."""
    lines = traffic(EVENTS, seed=11, broken_from=BROKEN)
    spoiled = [*lines]
    spoiled[701] = lines[701].replace(b'"ts": 17', b'"ts": 18')
    halves = [{p: as_single_partition([log[p::2]]) for p in range(2)} for log in (lines, spoiled)]
    clean, odd = (replay(Config(), [taxi_baseline()], logs, lambda _: None).alerts for logs in halves)
    assert odd[0].data.starts_at == clean[0].data.starts_at


@pytest.mark.slow
@pytest.mark.shared
def test_electricity_from_a_topic_is_electricity_from_the_file(broker: Broker, tmp_path: Path) -> None:
    """The first 9,000 live events; `vicprice`, `vicdemand` and `transfer` leave their constants at the 7,425th."""
    lines = gzip.decompress((SHARED / "electricity_live.jsonl.gz").read_bytes()).splitlines()[:9000]
    live = write_lines(tmp_path / "live.jsonl", lines)
    baseline, alerts = tmp_path / "electricity.driftline", tmp_path / "alerts.jsonl"
    train = SHARED / "electricity_baseline.jsonl.gz"
    assert driftline("baseline", "build", train, "--model", "electricity", "-o", baseline) == 0
    one, four = (Site.on(broker, tmp_path / str(n), partitions=n) for n in (1, 4))

    def replayed(site: Site, source: object) -> list[dict[str, Any]]:
        assert driftline("replay", source, "-c", site.path, "-b", baseline, "--alerts", alerts) == 1
        return [json.loads(line) for line in alerts.read_bytes().splitlines()]

    for site, key in ((one, "model"), (four, "event-id")):
        assert driftline("produce", live, "--topic", site.predictions, "--key", key, "-c", site.path) == 0
    from_file = replayed(one, live)
    assert signals(from_file) >= {"features.vicprice", "features.vicdemand", "features.transfer"}
    assert replayed(one, f"kafka://{one.predictions}") == from_file
    assert signals(replayed(four, f"kafka://{four.predictions}")) == signals(from_file)
