"""Makes the recordings anew: `python -m tests.recordings.record [NAME ...]`, of electricity, demo, worker; else all.

What they are, and why one does not do this lightly, is in README.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.events.parse import parse_event
from load_tests.harness.deployment import TIMEOUT, WorkerProcess
from load_tests.harness.servers import apache_kafka, real_redis
from tests.harness.recorded_replays import DEMO_BASELINE, build_demo_baseline, replay_demo, replay_electricity
from tests.harness.recorded_site import (
    DRIFTLINE,
    GROUP,
    RECORDINGS,
    TO,
    Line,
    Site,
    judge,
    open_site,
    packed,
    write_lines,
)

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"

# --- one short life of a worker and a relay

START_MS = 1_767_225_600_000
#: Events of a model in a run, and ms of its events.
RUN, RUN_MS = 50, 50_000
#: By partition of the predictions topic, the models and how many events each has in a run, which the first one ends.
#: The panes of those of the same partition lie on one partition too, but for `risk`, so their order is that of the log.
MODELS: Sequence[Mapping[str, int]] = (
    {"fraud": RUN, "credit": 49, "spam": 49, "eta": 48, "risk": 24},
    {"churn": RUN, "ltv": 49, "offers": 49, "risk": 24},
)
GIVEN = ("fraud", "credit", "spam", "eta", "risk")
#: In which runs of a partition the amount is higher, by how many σ, and in which it is missing; the last one included.
SHIFTED = {
    ("credit", 0): ((4, 8, 2.0), (27, 99, 2.0)),
    ("spam", 0): ((8, 99, 2.0),),
    ("eta", 0): ((18, 99, 2.0),),
    ("risk", 0): ((33, 99, 2.0),),
    ("risk", 1): ((20, 99, 2.0),),
    ("churn", 1): ((16, 99, 3.0),),
}
MISSING = {"fraud": (6, 24), "eta": (29, 99)}
#: Runs of each partition: the first, those before which all goes well, and those before which all ends.
RUNS = ((0, 18, 34), (8, 20, 25))

CONFIG: Mapping[str, Any] = {
    "kafka": {"bootstrap": "BOOTSTRAP", "idempotent": "IDEMPOTENT"},
    "redis": {"url": "REDIS"},
    "topics": {"predictions": "predictions", "panes": "panes", "alerts": "alerts", "partitions": 2,
               "retention_hours": None},
    "panes": {"events": RUN, "seconds": None},
    "defaults": {"incidents": {"recovery": "0s", "cooldown": "0s", "runbook": "https://wiki.example/drift"}},
    "models": {
        **{model: {"baseline": f"worker_{model}.driftline"} for model in GIVEN},
        "churn": {"learn_events": 300},
        "ltv": {"learn_events": 5000},
        # The last of its events is the one that makes its baseline.
        "offers": {"learn_events": (RUNS[1][2] - RUNS[1][0]) * MODELS[1]["offers"]},
    },
    "worker": {"group": GROUP, "http": "127.0.0.1:0", "session_seconds": 6, "watchdog_seconds": 60},
    "relay": {
        "http": "127.0.0.1:0",
        "timeout_seconds": 5,
        "longest_pause_seconds": 0.2,
        "grouping": {"group_wait": "0s", "outage_models": None},
        "pagerduty": {"url": "PAGERDUTY", "min_severity": "error"},
    },
}  # fmt: skip


def event(model: str, name: str, at: int, rng: np.random.Generator, shift: float, missing: bool) -> bytes:
    amount, score, place = rng.normal(size=3).tolist()
    features = {"amount": None if missing else round(amount + shift, 3), "country": "at" if place > 1 else "ch"}
    return orjson.dumps({"id": name, "ts": at, "model": model, "features": features, "score": round(score, 3)})


def run_of(partition: int, number: int) -> list[bytes]:
    """The messages of a run: events of the partition's models in turn. The last one ends it."""
    timed = []
    for model, count in MODELS[partition].items():
        if (model, partition, number) == ("risk", 1, RUNS[1][1] - 1):
            # Sealed last, this run is published once more by who takes over, at the same time as that of partition 0:
            # on one partition, their order would be chance.
            continue
        rng = np.random.default_rng([zlib.crc32(model.encode()), partition, number])
        shift = sum(much for first, last, much in SHIFTED.get((model, partition), ()) if first <= number <= last)
        first, last = MISSING.get(model, (1, 0))
        for i in range(count):
            at = START_MS + number * RUN_MS + i * (RUN_MS // count)
            name = f"{model}-{partition}-{number}-{i}"
            timed.append((at, event(model, name, at, rng, shift, first <= number <= last)))
    messages = [message for _, message in sorted(timed, key=lambda each: each[0])]
    if partition == 0 and number in (3, 22):
        messages[10:10] = [b'{"id": "cut off', b'{"id": "late", "ts": "soon", "model": "spam"}']
    if partition == 0 and number in (5, 30):
        messages[20:20] = [b'{"id":"n","ts":%d,"model":"risk","features":{"amount":"N/A","country":"at"}}' % START_MS]
    return messages


def write_baselines() -> None:
    for model in GIVEN:
        rng = np.random.default_rng([zlib.crc32(model.encode()), 7])
        past = [event(model, f"past-{i}", START_MS - (2000 - i) * 1000, rng, 0.0, False) for i in range(2000)]
        # With few blocks, judges start soon.
        built = build_baseline([parse_event(each) for each in past], {"model": model}, BuildSettings(blocks=16))
        (RECORDINGS / f"worker_{model}.driftline").write_bytes(encode_baseline(built))


@dataclass
class Life:
    """What happens on a site, run by run.

    panes: how many there must be. number: of partition 0's run after the one at which the worker ended. steps: what was
    fed, up to which offset, and how many panes there were then.
    """

    site: Site
    panes: int = 0
    number: int = 0
    ends: list[int] = field(default_factory=lambda: [0, 0])
    steps: list[dict[str, int]] = field(default_factory=list)

    def append(self, partition: int, messages: Sequence[bytes]) -> None:
        now = time.time_ns() // 1_000_000
        lines = [
            {"topic": "predictions", "partition": partition, "offset": self.ends[partition] + i, "timestamp": now,
             "key": f"k{i % 7}", "value": packed(message), "headers": []}
            for i, message in enumerate(messages)
        ]  # fmt: skip
        self.site.feed(lines)
        self.ends[partition] += len(messages)

    def step(self, partition: int, messages: Sequence[bytes], processes: Sequence[WorkerProcess]) -> None:
        """Append what ends a run, and wait for all that follows from it."""
        self.append(partition, messages)
        self.panes += len({orjson.loads(each)["model"] for each in messages if each.endswith(b"}")})
        self.site.settle(self.panes, processes)
        self._note(partition)

    def begin(self) -> None:
        """Incidents that come and go, a silence, a dead letter of each kind; the last alert finds no topic."""
        site = self.site
        with site.process("worker") as worker, site.process("relay", *TO) as relay:
            for partition, (first, last, _) in enumerate(RUNS):
                for number in range(first, last):
                    self.step(partition, run_of(partition, number), (worker, relay))
            site.feed([{"topic": "panes", "partition": 1, "offset": site.tail.counts("panes")[1], "headers": [],
                        "timestamp": time.time_ns() // 1_000_000, "key": "churn", "value": "no pane"}])  # fmt: skip
            self.panes += 1
            site.settle(self.panes, (worker, relay))
            assert relay.stop() == 0
            with too_narrow(site.bootstrap):
                number = RUNS[0][1] - 1
                while worker.process.poll() is None:
                    number += 1
                    self.panes += len(MODELS[0])
                    self.append(0, run_of(0, number))
                    worker.wait_for(lambda: worker.process.poll() is not None or self._judged(), alive=False)
        assert worker.process.returncode == 1
        assert self.site.redis.llen(f"{judge(0)}:outbox") == 1
        self.number = number + 1
        self.steps.clear()
        # It has read the beginning of the next run.
        self.append(0, run_of(0, self.number)[:40])

    def _note(self, partition: int) -> None:
        self.steps.append({"partition": partition, "end": self.ends[partition], "panes": self.panes})

    def _judged(self) -> bool:
        self.site.tail.read()
        there = self.site.tail.counts("panes")
        judged = [int(self.site.redis.hget(judge(each), "next") or 0) for each in range(2)]
        # The judge has committed before it knows that the alert is too large: only an empty outbox is the end of it.
        return sum(there) >= self.panes and judged == there and not self.site.redis.llen(f"{judge(0)}:outbox")

    def go_on(self) -> None:
        """A worker and a relay take over, and all is done."""
        site = self.site
        with site.process("worker") as worker, site.process("relay", *TO) as relay:
            # The runs that were sealed last are published again.
            self.panes += len(MODELS[0]) + len(MODELS[1]) - 1
            site.settle(self.panes, (worker, relay))
            self._note(0)
            self.step(0, run_of(0, self.number)[40:], (worker, relay))
            for partition, first in ((0, self.number + 1), (1, RUNS[1][1])):
                for number in range(first, RUNS[partition][2]):
                    self.step(partition, run_of(partition, number), (worker, relay))
            worker.wait_for(site.acknowledged)
            assert relay.stop() == worker.stop() == 0


@contextmanager
def too_narrow(bootstrap: str) -> Iterator[None]:
    """While the alerts topic takes no alert."""
    set_largest(bootstrap, 200)
    yield
    set_largest(bootstrap, 1_048_588)


def set_largest(bootstrap: str, size: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "alerts", {"max.message.bytes": str(size)})])
    admin.close()


def silence(site: Site, model: str) -> None:
    """Silence a model for a hundred years, which the command line does not allow: recordings outlive its longest."""
    words = ("add", "--match", f"model={model}", "--for", "31d", "--comment", "known", "--by", "ann")
    run([*DRIFTLINE, "silence", *words, "-c", str(site.path)])
    days = 36_500
    for name, stored in site.redis.hgetall(f"{GROUP}:silences").items():
        end = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds").replace("+00:00", "Z")
        site.redis.hset(f"{GROUP}:silences", name, orjson.dumps(orjson.loads(stored) | {"ends_at": end}))
    site.redis.expire(f"{GROUP}:silences", days * 86_400)


def run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT)


def dumped(lines: Sequence[Line]) -> list[bytes]:
    return [orjson.dumps(line) for line in lines]


def record_worker() -> None:
    write_baselines()
    plan: dict[str, Any] = {"config": CONFIG}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            apache_kafka(folder / "kafka") as kafka,
            real_redis(folder / "redis") as redis,
            open_site(folder, kafka.address, redis.address, plan, idempotent=True) as site,
        ):
            run([*DRIFTLINE, "topics", "create", "-c", str(site.path)])
            silence(site, "spam")
            life = Life(site)
            life.begin()
            write_lines("worker_before.jsonl.gz", dumped(site.snapshot()))
            plan["recorded_at"] = time.time()
            for each in site.services.values():
                each.requests.clear()
            life.go_on()
            write_lines("worker_after.jsonl.gz", dumped(site.snapshot()))
            write_lines("worker_told.jsonl.gz", dumped(site.sent()))
    plan["steps"] = life.steps
    (RECORDINGS / "worker.json").write_text(json.dumps(plan, indent=1) + "\n")


# --- replays


def record_demo() -> None:
    (RECORDINGS / DEMO_BASELINE).write_bytes(build_demo_baseline())
    write_lines("demo_alerts.jsonl.gz", replayed(replay_demo))


def record_electricity() -> None:
    write_lines("electricity_alerts.jsonl.gz", replayed(lambda folder: replay_electricity(SHARED_DATA, folder)))


def replayed(replay: Callable[[Path], list[bytes]]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return replay(Path(folder))


RECORD = {"electricity": record_electricity, "demo": record_demo, "worker": record_worker}


def main() -> None:
    for name in sys.argv[1:] or RECORD:
        RECORD[name]()


if __name__ == "__main__":
    main()
