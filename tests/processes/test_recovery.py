"""Workers and servers that die and come back: in the end, states and alerts are those of the replay.

Six models, each on one of three partitions, so that the order of each one's events is that of the log.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.demo.servers import Server
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import Replay, alert_bodies, baseline_of, interleave, messages
from load_tests.harness.servers import real_redis
from load_tests.harness.tcp_proxy import TcpProxy
from tests.harness.brokers import Broker

MODELS = [["a", "b"], ["c", "d"], ["e", "learns"]]
# Events of each model in a portion of the traffic; the drift begins in the 4th portion and ends in the 8th.
PORTION, PORTIONS = 150, 10


@dataclass
class Site:
    """A deployment and the traffic on it."""

    deployment: Deployment
    sent: int = 0

    def worker(self, name: str) -> WorkerProcess:
        return self.deployment.worker(name)

    def produce(self, portions: int = 1) -> None:
        for _ in range(portions):
            first = self.sent * PORTION
            logs = {
                partition: interleave(*(messages(model, PORTION, first, drift=(500, 1100)) for model in models))
                for partition, models in enumerate(MODELS)
            }
            self.deployment.produce(logs)
            self.sent += 1

    def indexed(self) -> list[set[str]]:
        """Ids of the alerts that Redis keeps for people, and of those of open incidents."""
        with self.deployment.store as client:
            keys = [f"{self.deployment.config.worker.group}:{{judge/*:{name}" for name in ("told", "open")]
            recent, opened = ([*client.scan_iter(match=key, count=1000)] for key in keys)
            lines = [line for key in recent for line in client.lrange(key, 0, -1)]
            unresolved = [line for key in opened for line in client.hvals(key)]
        return [{json.loads(line)["id"] for line in each} for each in (lines, unresolved)]

    def finish(self, worker: WorkerProcess) -> None:
        """Send the rest, wait until a worker has done it, and compare everything with the replay."""
        self.produce(PORTIONS - self.sent)
        replay = self.deployment.replay()
        worker.wait_for(lambda: self.deployment.sealed() == replay.sealed())
        # The worker goes on sending ticks, which the next replay hears.
        worker.wait_for(lambda: self.deployment.model_states() == self.deployment.replay().model_states())
        replay = self.deployment.replay()
        expected, states = alert_bodies(replay.alerts), replay.model_states()
        worker.wait_for(lambda: alert_bodies(self.deployment.alerts()).keys() >= expected.keys())
        assert alert_bodies(self.deployment.alerts()) == expected
        newest = {each["data"]["incident_id"]: each for each in replay.alerts}
        unresolved = {each["id"] for each in newest.values() if each["data"]["status"] != "resolved"}
        assert self.indexed() == [expected.keys(), unresolved]
        assert {each["data"]["status"] for each in replay.alerts} >= {"firing", "resolved"}
        assert len(states) == 6


@contextmanager
def site(broker: Broker, redis: str, folder: Path) -> Iterator[Site]:
    sections = {
        "topics": {"partitions": 3},
        "panes": {"events": 50, "seconds": None},
        "defaults": {"incidents": {"recovery": "0s", "cooldown": "0s"}},
        "models": {
            **{model: {"baseline": f"{model}.driftline"} for model in "abcde"},
            # Evaluated too seldom to need thresholds, which take long to derive.
            "learns": {"learn_events": 200, "clock": 100_000},
        },
    }
    for model in "abcde":
        (folder / f"{model}.driftline").write_bytes(encode_baseline(baseline_of(model)))
    yield Site(deploy(folder, broker, redis, sections))


@pytest.fixture
def here(broker: Broker, redis_server: Server, tmp_path: Path) -> Iterator[Site]:
    with site(broker, redis_server.address, tmp_path) as it:
        yield it


def test_a_killed_worker_is_replaced(here: Site) -> None:
    with here.worker("first") as first:
        here.produce(4)
        first.wait_for(lambda: len(here.deployment.sealed()) == 3)
        here.produce(2)
        first.kill()
    with here.worker("second") as second:
        here.finish(second)
        assert second.stop() == 0


@pytest.mark.slow
def test_workers_come_and_go(here: Site) -> None:
    with here.worker("first") as first:
        here.produce(4)
        first.wait_for(lambda: len(here.deployment.sealed()) == 3)
        with here.worker("second") as second:
            here.produce(2)
            second.wait_for(lambda: "took over 3 partitions" in second.logs())
            here.produce(2)
            assert second.stop() == 0
        here.finish(first)
        assert first.stop() == 0
        assert first.logs().count("took over 6 partitions") == 2, "alone, then one of two, then alone"


def calm(health: dict[str, Any]) -> bool:
    figures = ("ok", None, 0, 0)
    return (health["status"], health["reason"], health["lag"], health["removed_unread"]) == figures


@pytest.mark.slow
def test_a_worker_that_loses_all_its_partitions_releases_them(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    """Another worker ends its open run. It is healthy without work, and takes over again when it is needed."""
    sections = {"panes": {"events": 100, "seconds": 10}, "models": {"a": {"baseline": "a.driftline"}}}
    (tmp_path / "a.driftline").write_bytes(encode_baseline(baseline_of("a")))
    deployment, log = deploy(tmp_path, broker, redis_server.address, sections), messages("a", 300)
    # There are two partitions, one of each topic, and the group assigns them in the order of these names.
    first, second, last = (deployment.worker(name, DRIFTLINE_FAUST_BROKER_CLIENT_ID=name) for name in "abz")
    with last:
        last.wait_for(lambda: "took over 2 partitions" in last.logs())
        deployment.produce({0: log[:150]})
        last.wait_for(lambda: deployment.sealed() == {0: 100})
        with first, second:
            sent = 150
            while not all("took over 1 partitions" in each.logs() for each in (first, second)):
                time.sleep(1)
                # However slowly they start, the run stays open until they are there.
                deployment.produce({0: log[sent : sent + 1]})
                sent += 1
                assert sent < 200, "both have taken over by now"
            last.wait_for(lambda: deployment.sealed() == {0: sent})
            last.wait_for(lambda: calm(json.loads(last.get("/health").body)))
            assert first.stop() == second.stop() == 0
        deployment.produce({0: log[sent:]})
        last.wait_for(lambda: deployment.sealed() == {0: 300})

        def replayed() -> Replay:
            replay = Replay(deployment.config, deployment.baselines, heard=deployment.heard())
            for start, end in ((0, sent), (sent, 300)):
                replay.read(0, log[start:end], start)
                replay.close(0, end)
            return replay

        last.wait_for(lambda: deployment.model_states() == replayed().model_states())
        assert last.stop() == 0


def test_a_killed_redis_comes_back_with_all_that_it_acknowledged(broker: Broker, tmp_path: Path) -> None:
    redis = real_redis(tmp_path / "redis", fsync="always")
    with redis, site(broker, redis.address, tmp_path) as here, here.worker("worker") as worker:
        for _ in range(2):
            here.produce(3)
            worker.wait_for(lambda: len(here.deployment.sealed()) == 3)
            redis.kill()
            redis.start()
        here.finish(worker)
        assert worker.stop() == 0


def rejoined(worker: WorkerProcess) -> bool:
    return worker.logs().count(": took over ") == 2


@pytest.mark.slow
def test_a_worker_that_wakes_after_it_was_replaced_is_refused_and_ends_or_rejoins(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    """It is stopped while the sketch stage waits for an answer of Redis, just before it seals."""
    with TcpProxy(redis_server.port) as redis, site(broker, redis_server.address, tmp_path) as here:
        redis.open()
        config = json.loads(here.deployment.path.read_text())
        config["redis"]["url"] = f"redis://{redis.address}/0"
        config["worker"]["watchdog_seconds"] = 600  # it is stopped for as long as its owner takes to start
        behind = tmp_path / "behind-the-proxy.yaml"
        behind.write_text(json.dumps(config))
        with replace(here.deployment, path=behind).worker("zombie") as zombie:
            here.produce(1)
            zombie.wait_for(lambda: len(here.deployment.sealed()) == 3)
            at = here.deployment.sealed()
            zombie.wait_for(lambda: here.deployment.model_states() == here.deployment.replay().model_states())
            redis.freeze()
            here.produce(7)
            zombie.wait_for(lambda: any(key in redis.held for key in (b"{sketch/", b":forgotten")))
            zombie.process.send_signal(signal.SIGSTOP)
            with here.worker("owner") as owner:
                owner.wait_for(lambda: "took over 6 partitions" in owner.logs())
                owner.wait_for(lambda: here.deployment.sealed() != at)
                redis.open()
                zombie.process.send_signal(signal.SIGCONT)
                zombie.wait_for(lambda: zombie.process.poll() is not None or rejoined(zombie), alive=False)
                # It may rejoin if its call has timed out: then it hears of the replacement before it calls again.
                assert zombie.process.poll() == 1 or rejoined(zombie)
                assert ("another worker took over, with epoch" in zombie.logs()) is not rejoined(zombie)
                here.finish(owner)
                assert owner.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_worker_whose_redis_does_not_answer_reports_it_and_waits_beyond_the_watchdogs_patience(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    with TcpProxy(redis_server.port) as redis:
        redis.open()
        sections = {"worker": {"watchdog_seconds": 13}, "panes": {"seconds": 0.5}}
        deployment = deploy(tmp_path, broker, redis.address, sections)
        with deployment.worker() as worker:
            deployment.produce({0: messages("a", 500)})
            worker.wait_for(lambda: worker.get("/health").status == 200)
            worker.wait_for(lambda: deployment.sealed() == {0: 500})
            redis.freeze()
            deployment.produce({0: messages("a", 500, first=500)})
            worker.wait_for(lambda: json.loads(worker.get("/health").body)["status"] == "waiting")
            assert "Redis does not answer: Timeout reading" in worker.get("/health").body
            time.sleep(26)
            redis.open()
            worker.wait_for(lambda: deployment.sealed() == {0: 1000})
            worker.wait_for(lambda: worker.get("/health").status == 200)
            assert worker.stop() == 0
