"""Labels of a topic of their own, read by workers as users run them: one dies, and each label counts once."""

from __future__ import annotations

from pathlib import Path

from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.state import restore_state
from driftline.stream.demo.servers import Server
from driftline.stream.judge.waiting import Waiting
from load_tests.harness.deployment import Deployment, deploy
from tests.harness.brokers import Broker
from tests.harness.labelled import baseline_of, messages
from tests.worker.test_labels import apart, replayed

OUTCOMES = {"labels": "topic", "wait": "20m", "slot": "1m", "keep": "10m"}
MODEL = {"baseline": "fraud.driftline", "clock": 50, "false_alarms_per_event": 1.0e-4, "outcomes": OUTCOMES}


def waiting(deployment: Deployment) -> Waiting:
    parts = deployment.model_states().get("fraud")
    state = restore_state(parts, deployment.baselines["fraud"]) if parts else None
    return (state.waiting if state else None) or Waiting()


def refused(deployment: Deployment) -> set[bytes]:
    """The labels that are none: each is a dead letter at least once, and once more if a worker dies before its seal."""
    return {record.value for record in deployment.read(f"{deployment.config.topics.labels}.dlq")}


def test_each_label_counts_once_though_a_worker_is_killed(broker: Broker, redis_server: Server, tmp_path: Path) -> None:
    (tmp_path / "fraud.driftline").write_bytes(encode_baseline(baseline_of(messages(1500, seed=1))))
    sections = {"panes": {"seconds": 0.5, "events": 50}, "models": {"fraud": MODEL}, "topics": {"partitions": 2}}
    deployment = deploy(tmp_path, broker, redis_server.address, sections)
    rows, labels = apart(1500, seed=4)
    expected = replayed(deployment.config, deployment.baselines, {0: rows}, {0: labels})
    assert expected.waiting is not None
    joined = expected.waiting.counts.joined
    half = len(labels) // 2
    deployment.produce({0: labels[:half]}, deployment.config.topics.labels)
    deployment.produce({0: rows[:700]})
    with deployment.worker() as worker:
        worker.wait_for(lambda: min(waiting(deployment).pending, waiting(deployment).labels.rows) > 500)
        worker.process.kill()
    deployment.produce({0: rows[700:]})
    deployment.produce({0: labels[half:]}, deployment.config.topics.labels)
    with deployment.worker("next") as worker:
        worker.wait_for(lambda: waiting(deployment).counts.joined == joined)
        worker.wait_for(lambda: len(refused(deployment)) == 2)
        worker.wait_for(lambda: any(alert["data"]["class"] == "outcomes" for alert in deployment.alerts()))
        assert f'driftline_joined{{model="fraud",what="joined"}} {joined}.0' in worker.get("/metrics").body
