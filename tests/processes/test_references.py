"""A configuration that is loaded again by running workers, with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.panes import ReferenceMessage, read_message
from driftline.stream.codec.state import restore_state
from driftline.stream.demo.servers import Server, free_port
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from load_tests.harness.oracle import baseline_of, events_counted, messages
from load_tests.harness.tcp_proxy import TcpProxy
from tests.harness.brokers import Broker

RELOADED = "the configuration was loaded again"


def counted(deployment: Deployment) -> int:
    return sum(events_counted(parts, None) for parts in deployment.model_states().values())


def exclude(deployment: Deployment, *signals: str) -> None:
    """Edit `signals.exclude` of the model."""
    config = yaml.safe_load(deployment.path.read_text("utf-8"))
    config["models"]["given"]["signals"] = {"exclude": list(signals)}
    deployment.path.write_text(yaml.safe_dump(config), "utf-8")


def hang_up(worker: WorkerProcess, says: str) -> None:
    """Ask for the configuration to be loaded again, and wait until the worker has said what came of it."""
    before = worker.logs().count(says)
    worker.process.send_signal(signal.SIGHUP)
    worker.wait_for(lambda: worker.logs().count(says) > before)


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_signal_excluded_at_sighup_costs_no_event_and_no_page(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    sections = {
        "panes": {"events": 50, "seconds": 0.5},
        "models": {"given": {"baseline": "given.driftline", "clock": 50}},
    }
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    (tmp_path / "given.driftline").write_bytes(encode_baseline(baseline_of("given")))
    events = messages("given", 1200)
    with deployment.worker() as worker:
        deployment.produce({0: events[:430]})
        worker.wait_for(lambda: counted(deployment) == 430)
        exclude(deployment, "features.country")
        hang_up(worker, RELOADED)
        deployment.produce({0: events[430:800]})
        worker.wait_for(lambda: counted(deployment) == 800)
        deployment.path.write_text(f"{deployment.path.read_text('utf-8')}\nnonsense: 1\n", "utf-8")
        hang_up(worker, "was not loaded again")
        deployment.produce({0: events[800:]})
        worker.wait_for(lambda: counted(deployment) == 1200)
        assert worker.stop() == 0
    state = restore_state(deployment.model_states()["given"], None)
    assert state.judge is not None
    assert [each.name for each in state.judge.signals] == ["features.amount", "score"]
    assert sum(bucket.content.n for bucket in state.judge.history) == state.judge.seen, "the history was kept"
    assert deployment.alerts() == []
    assert deployment.read(f"{deployment.config.topics.panes}.dlq") == []


def test_sighup_while_a_worker_waits_for_its_servers_ends_it_not(tmp_path: Path) -> None:
    path = tmp_path / "driftline.yaml"
    addresses = {
        "kafka": {"bootstrap": f"127.0.0.1:{free_port()}"},
        "redis": {"url": f"redis://127.0.0.1:{free_port()}"},
    }
    path.write_text(yaml.safe_dump({**addresses, "worker": {"http": "127.0.0.1:0"}}), "utf-8")
    command = [sys.executable, "-m", "driftline", "worker", "-c", str(path)]
    with WorkerProcess(command, tmp_path / "worker.log", {}) as worker:
        worker.wait_for(lambda: "does not answer" in worker.logs())
        worker.process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.process.wait(1)


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_sighup_before_the_first_takeover_puts_only_the_newer_configuration_into_effect(
    broker: Broker, redis_server: Server, tmp_path: Path
) -> None:
    """The one that the worker has read at its start may be older than what other workers have announced meanwhile."""
    with TcpProxy(redis_server.port) as redis:
        sections = {"models": {"given": {"baseline": "given.driftline"}}}
        deployment = deploy(tmp_path, broker, redis.address, sections)
        (tmp_path / "given.driftline").write_bytes(encode_baseline(baseline_of("given")))
        with deployment.worker() as worker:
            worker.wait_for(lambda: "does not answer" in worker.logs())
            newer = baseline_of("given", "another past")
            (tmp_path / "given.driftline").write_bytes(encode_baseline(newer))
            worker.process.send_signal(signal.SIGHUP)
            redis.open()
            worker.wait_for(lambda: deployment.read(deployment.config.topics.panes))
            worker.wait_for(lambda: RELOADED in worker.logs())
            assert worker.stop() == 0
    records = [read_message(each.value) for each in deployment.read(deployment.config.topics.panes)]
    assert [each.baselines for each in records if isinstance(each, ReferenceMessage)] == [{"": newer.content_hash}]
