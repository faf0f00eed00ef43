"""Workers of yesterday's code and of today's share a group while it is upgraded, and then none of yesterday's may."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, structs
from typer.testing import CliRunner

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.cli.main import app
from driftline.stream.codec.levels import FIRST, NEWEST
from driftline.stream.codec.state import restore_state
from driftline.stream.demo.servers import Server
from driftline.stream.judge.incidents import Phase
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import Parts, alert_bodies, baseline_of, interleave, messages
from tests.harness.brokers import Broker

ROOT = Path(__file__).parents[2]
# The last version without levels.
YESTERDAY = "828e8ef"
# Each model on one of three partitions, so that the order of its events is that of the log.
MODELS = [["a", "b"], ["c", "d"], ["e", "learns"]]
GIVEN = "abcde"
# Events of each model in a portion of the traffic; the drift begins in the 4th portion and ends in the 8th.
PORTION, PORTIONS = 150, 10


@pytest.fixture(scope="session")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with yesterday's packages."""
    archive = subprocess.run(
        ["git", "archive", YESTERDAY, "stream", "detectors", "driftline"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"git has no commit {YESTERDAY} here: {archive.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("yesterday")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as members:
        members.extractall(folder, filter="tar")
    return folder


@dataclass
class Site:
    """A deployment, yesterday's packages, and the traffic on it."""

    deployment: Deployment
    yesterday: Path
    sent: int = 0

    def old(self, name: str) -> WorkerProcess:
        """A worker of yesterday's code. -P: the repository is the working directory, and would come first."""
        command = [sys.executable, "-P", "-m", "driftline", "worker", "-c", str(self.deployment.path)]
        return self.deployment.worker(name, command, PYTHONPATH=str(self.yesterday))

    def new(self, name: str) -> WorkerProcess:
        return self.deployment.worker(name)

    def produce(self, portions: int) -> None:
        for _ in range(portions):
            first = self.sent * PORTION
            self.deployment.produce(
                {
                    partition: interleave(*(messages(model, PORTION, first, drift=(500, 1100)) for model in models))
                    for partition, models in enumerate(MODELS)
                }
            )
            self.sent += 1

    def upgrade(self, *arguments: str) -> tuple[int, str]:
        """Exit code and words of `driftline upgrade`."""
        done = CliRunner().invoke(app, ["upgrade", *arguments, "-c", str(self.deployment.path)])
        return done.exit_code, " ".join(f"{done.output} {done.exception or ''}".split())

    def stored(self) -> dict[bytes, bytes]:
        """Every key of the group, but for what workers say of themselves."""
        with self.deployment.store as client:
            keys = client.scan_iter(match=f"{self.deployment.config.worker.group}:*", count=1000)
            return {key: client.dump(key) for key in keys if not key.endswith(b":workers")}

    def versions(self) -> set[bytes]:
        """The versions of the partitions' hashes."""
        with self.deployment.store as client:
            stages = [f"{self.deployment.config.worker.group}:{{{stage}/*}}" for stage in ("sketch", "judge")]
            keys = [key for stage in stages for key in client.scan_iter(match=stage, count=1000)]
            return {client.hget(key, "version") for key in keys}


@pytest.fixture
def here(broker: Broker, redis_server: Server, tmp_path: Path, yesterday: Path) -> Site:
    sections = {
        "topics": {"partitions": 3},
        "panes": {"events": 50, "seconds": None},
        "defaults": {"incidents": {"recovery": "0s", "cooldown": "0s"}},
        "models": {
            **{model: {"baseline": f"{model}.driftline"} for model in GIVEN},
            "learns": {"learn_events": 200, "clock": 100_000},
        },
    }
    for model in GIVEN:
        # As yesterday's code builds them.
        built = replace(baseline_of(model, format_version=1), slopes=None, bins=None)
        (tmp_path / f"{model}.driftline").write_bytes(encode_baseline(built))
    return Site(deploy(tmp_path, broker, redis_server.address, sections), yesterday)


def kept(stored: Mapping[str, Parts], baselines: Mapping[str, Baseline]) -> dict[str, Any]:
    """Of each model what an upgrade must keep: position, numbering, history, pending events, open incidents."""
    found = {}
    for model, parts in stored.items():
        state = restore_state(parts, baselines.get(model))
        judge, learned = state.judge, state.learned
        assert judge is not None
        panes = [*judge.history, *([judge.pending] if judge.pending else [])]
        found[model] = {
            "consumed": dict(state.consumed),
            "last_seq": state.last_seq,
            "learned": learned and learned.content_hash,
            "seen": judge.seen,
            "starts": [judge.reference_start.tolist(), judge.past_start.tolist()],
            "panes": [(each.first_ts, each.last_ts, each.ranges, each.content.counts.tolist()) for each in panes],
            "incidents": {
                scope: structs.replace(each, course=UNSET)
                for scope, each in state.incidents.items()
                if each.phase is not Phase.CLOSED
            },
        }
    return found


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_workers_are_upgraded_one_by_one_under_traffic_and_then_the_level_is_raised(here: Site) -> None:
    deployment = here.deployment
    with here.old("old-1") as old_1, here.old("old-2") as old_2:
        here.produce(4)
        old_1.wait_for(lambda: "model learns: its baseline is learned" in old_1.logs() + old_2.logs())
        with here.new("new-1") as new_1:
            here.produce(1)
            new_1.wait_for(lambda: "the group is at format level 1" in new_1.logs())
            assert old_1.stop() == 0
            here.produce(1)
            new_1.wait_for(lambda: len(deployment.alerts()) > 0)
            with here.new("new-2") as new_2:
                code, words = here.upgrade("finish")
                assert code != 0
                assert "can do level 1 at most" in words
                here.produce(1)
                assert old_2.stop() == 0
                # Once all partitions have owners that can do it.
                new_2.wait_for(lambda: "taken over last" not in here.upgrade()[1])
                code, words = here.upgrade()
                assert code == 1
                assert f"are at format level {FIRST}; this version can do {NEWEST}" in words
                assert words.count(f" {NEWEST} ") >= 2
                here.produce(1)
                assert here.upgrade("finish")[0] == 0
                assert here.upgrade()[0] == 0
                for each in (new_1, new_2):
                    each.wait_for(lambda each=each: f"the group is at format level {NEWEST}" in each.logs())
                here.produce(PORTIONS - here.sent)
                replay = deployment.replay(FIRST)
                expected = alert_bodies(replay.alerts)
                new_2.wait_for(lambda: deployment.sealed() == replay.sealed())
                baselines = deployment.baselines
                there = kept(replay.model_states(), baselines)
                new_2.wait_for(lambda: kept(deployment.model_states(), baselines) == there)
                new_2.wait_for(lambda: alert_bodies(deployment.alerts()).keys() >= expected.keys())
                assert alert_bodies(deployment.alerts()) == expected
                assert new_1.stop() == new_2.stop() == 0
    assert {each["data"]["status"] for each in replay.alerts} == {"firing", "resolved"}
    assert here.versions() == {str(NEWEST + 1).encode()}
    before = here.stored()
    with here.old("old-3") as old_3:
        here.produce(1)
        old_3.wait_for(lambda: old_3.process.poll() is not None, alive=False)
        assert old_3.process.returncode == 1
        assert f"written by a newer Driftline, in version {NEWEST + 1}; this one writes 2: upgrade" in old_3.logs()
    assert here.stored() == before


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_forced_the_raise_ends_an_older_worker_and_a_new_one_goes_on(here: Site) -> None:
    deployment = here.deployment
    with here.old("old") as old:
        here.produce(5)
        old.wait_for(lambda: "model learns: its baseline is learned" in old.logs())
        # An incident that the new worker opened would end by the rules of its level, and not by those of the first.
        old.wait_for(lambda: {each["data"]["labels"]["model"] for each in deployment.alerts()} >= set(GIVEN))
        assert here.upgrade("finish", "--force")[0] == 0
        here.produce(1)
        old.wait_for(lambda: old.process.poll() is not None, alive=False)
        assert "another worker took over, with epoch" in old.logs()
    with here.new("new") as new:
        here.produce(PORTIONS - here.sent)
        replay = deployment.replay(FIRST)
        new.wait_for(lambda: deployment.sealed() == replay.sealed())
        baselines = deployment.baselines
        there = kept(replay.model_states(), baselines)
        new.wait_for(lambda: kept(deployment.model_states(), baselines) == there)
        expected = alert_bodies(replay.alerts)
        new.wait_for(lambda: alert_bodies(deployment.alerts()).keys() >= expected.keys())
        assert alert_bodies(deployment.alerts()) == expected
        assert new.stop() == 0
