"""Yesterday's alerts, baseline, topics and Redis: today's code makes the same of the same, and goes on from them.

tests/recordings/README.md says what was recorded. Whoever changes what is stored or sent makes these tests fail, and
has to say what becomes of what lies in Kafka and Redis already.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from driftline.stream.demo.servers import embedded_broker, embedded_redis
from tests.harness.recorded_replays import DEMO_BASELINE, build_demo_baseline, replay_demo, replay_electricity
from tests.harness.recorded_site import RECORDINGS, TO, TOPICS, Line, Site, bare, open_site, read_lines

# --- replays


def alerts_of(lines: Iterable[bytes]) -> list[bytes]:
    """The alerts of a replay, without their texts for people."""
    return [bare(orjson.loads(line)) for line in lines]


def recorded(name: str) -> list[bytes]:
    """The recorded alerts of a replay, without their texts for people."""
    return list(map(bare, read_lines(name)))


@pytest.mark.shared
def test_a_replay_of_electricity_decides_the_recorded_alerts(shared_data: Path, tmp_path: Path) -> None:
    assert alerts_of(replay_electricity(shared_data, tmp_path)) == recorded("electricity_alerts.jsonl.gz")


def test_a_replay_of_the_demo_decides_the_recorded_alerts(tmp_path: Path) -> None:
    assert alerts_of(replay_demo(tmp_path)) == recorded("demo_alerts.jsonl.gz")


def test_a_baseline_is_the_file_it_was() -> None:
    file = (RECORDINGS / DEMO_BASELINE).read_bytes()
    assert sha256(build_demo_baseline()).hexdigest() == sha256(file).hexdigest()


# --- a worker and a relay that go on where yesterday's died


def test_todays_worker_and_relay_go_on_from_what_yesterdays_left(tmp_path: Path) -> None:
    plan = json.loads((RECORDINGS / "worker.json").read_text())
    before, after = read_lines("worker_before.jsonl.gz"), read_lines("worker_after.jsonl.gz")
    with (
        embedded_broker(tmp_path) as broker,
        embedded_redis(tmp_path) as redis,
        open_site(tmp_path, broker.address, redis.address, plan, idempotent=False) as site,
    ):
        site.create_topics()
        site.restore([aged(line, time.time() - plan["recorded_at"]) for line in before])
        go_on(site, plan["steps"], after)
        found, sent, path = site.snapshot(), site.sent(), site.path
    compare(found, after)
    # Yesterday's pages did not name the relay's configuration.
    compare_sent(
        [{**each, "body": each["body"].replace(str(path), "driftline.yaml")} for each in sent],
        read_lines("worker_told.jsonl.gz"),
    )
    began, ended = epochs(before), epochs(found)
    assert all(ended[key] > epoch for key, epoch in began.items())
    assert began
    # What is blanked below of new alerts is still this: when Kafka was given the pane that decided it.
    assert emitted(found) <= appended(found, "panes")


def aged(line: Line, seconds: float) -> Line:
    """A line as if it had been written that much later: what was not heard of for 400 days, a relay forgets."""
    if not line.get("redis", "").endswith(":desk"):
        return line

    def later(found: re.Match[str]) -> str:
        return f"{found[1]}{float(found[2]) + seconds}"

    fields = [[name, re.sub(r'("came":)([\d.]+)', later, part)] for name, part in line["content"]]
    return {**line, "content": fields}


def go_on(site: Site, steps: Sequence[Mapping[str, int]], after: Sequence[Line]) -> None:
    """Feed what came after, in the portions in which it came, so that each is settled before the next.

    Which panes lie side by side, and which alerts a relay reads together, would be chance otherwise.
    """
    log = records(after, "predictions")
    logs = [[line for line in log if line["partition"] == partition] for partition in range(TOPICS["predictions"])]
    with site.process("worker") as worker, site.process("relay", *TO) as relay:
        site.settle(steps[0]["panes"], (worker, relay))
        for step in steps[1:]:
            partition = step["partition"]
            site.feed(logs[partition][site.tail.counts("predictions")[partition] : step["end"]])
            site.settle(step["panes"], (worker, relay))
        worker.wait_for(site.acknowledged)
        assert relay.stop() == worker.stop() == 0


def compare(found: Iterable[Line], recorded: Iterable[Line]) -> None:
    here, there = (dict(map(comparable, numbered(lines))) for lines in (filter(was_kept, found), recorded))
    wrong = {
        name: (here.get(name), there.get(name))
        for name in here.keys() | there.keys()
        if here.get(name) != there.get(name)
    }
    assert wrong == {}


def numbered(lines: Iterable[Line]) -> Iterator[Line]:
    """With panes numbered by model: in which order those of one run lie, depends on what each fetch brought."""
    seen = Counter[str]()
    for line in lines:
        if "value" in line and line["topic"] == "panes":
            seen[line["key"]] += 1
            yield {**line, "offset": (line["key"], seen[line["key"]])}
        else:
            yield line


def compare_sent(found: Iterable[Line], recorded: Iterable[Line]) -> None:
    here, there = (
        [(line["service"], line["id"], blanked(line["body"])) for line in lines] for lines in (found, recorded)
    )
    assert here == there


def unworded(header: Sequence[str]) -> Sequence[str]:
    """A header; of a dead letter's reason only the field that it names, since its wording may change."""
    name, text = header
    return (name, text.partition(":")[0] if name == "reason" else text)


def comparable(line: Line) -> tuple[tuple[Any, ...], Any]:
    """What a line is of, and what it must be, without what the clock or chance decides."""
    if "value" in line:
        place = line["topic"], line["partition"], line["offset"]
        return place, (line["key"], blanked(line["value"]), list(map(unworded, line["headers"])))
    if "group" in line:
        return (line["group"], line["topic"], line["partition"]), line["offset"]
    content = line["content"]
    if line["type"] == "hash":
        # How often a worker takes over depends on how the group comes together.
        content = [[name, "" if name == "epoch" else blanked(part)] for name, part in content if not since(line, name)]
    return (line["redis"],), (line["type"], line["lives"], list(map(blanked, content)))


def was_kept(line: Line) -> bool:
    """Whether what a line is of was kept at the recording.

    Since then it is also kept when the models of a partition were seen, and the number of a receiver's last write.
    """
    key = line.get("redis", "")
    return not (key.endswith(":seen") or ":guard:" in key)


def since(line: Line, name: str) -> bool:
    """Whether a field is kept only since the recording: what differs with each broker, claim or write of a relay."""
    if line["redis"].endswith(":bound"):
        return name == "cluster" or name.endswith(".id")
    of_desk = name == "revision" or name.startswith("ended:")
    return name == "claimed" or bool(line["redis"].endswith(":desk") and of_desk)


def blanked(value: Any) -> Any:
    """A message or a part of what is stored, without texts for people and the clock's times. The rest is as it was."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        plain = orjson.loads(value)
    except orjson.JSONDecodeError:  # some dead letters
        return value
    if "emitted_at" in plain.get("data", ()):
        # When the worker appended the pane that decided it, to Kafka.
        plain["time"] = plain["data"]["emitted_at"] = ""
        return bare(plain).decode()
    if "raw" in plain:
        # A case on the relay's desk. came: when it heard of it; fired: emitted_at of an alert.
        raw = blanked(base64.b64decode(plain["raw"]).decode())
        return orjson.dumps({**plain, "raw": raw, "came": 0, "fired": 0}).decode()
    if "routing_key" in plain:
        plain["payload"]["summary"] = plain["payload"]["custom_details"]["description"] = ""
        return orjson.dumps(plain).decode()
    return value


def epochs(lines: Iterable[Line]) -> dict[str, int]:
    hashes = {line["redis"]: dict(line["content"]) for line in lines if line.get("type") == "hash"}
    return {key: int(fields["epoch"]) for key, fields in hashes.items() if "epoch" in fields}


def records(lines: Iterable[Line], topic: str) -> list[Line]:
    return [line for line in lines if "value" in line and line["topic"] == topic]


def emitted(lines: Iterable[Line]) -> set[str]:
    """When alerts say that they were emitted."""
    alerts = [orjson.loads(line["value"]) for line in records(lines, "alerts")]
    assert all(alert["time"] == alert["data"]["emitted_at"] for alert in alerts)
    return {alert["time"] for alert in alerts}


def appended(lines: Iterable[Line], topic: str) -> set[str]:
    """When the records of a topic were appended, as alerts write it."""
    stamps = [datetime.fromtimestamp(line["timestamp"] / 1000, UTC) for line in records(lines, topic)]
    return {f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03}Z" for stamp in stamps}
