"""Labels of a topic of their own, read by workers as users run them: one dies, and each label counts once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest

from driftline.detectors.outcomes.table import rows as rows_of
from driftline.stream.baselines.file import encode_baseline
from driftline.stream.codec.state import restore_state
from driftline.stream.demo.servers import Server
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.waiting import Waiting
from driftline.stream.outcomes.tasks import BinaryTask
from load_tests.harness.deployment import Deployment, WorkerProcess, deploy
from tests.harness.brokers import Broker
from tests.harness.labelled import baseline_of, messages
from tests.replay.test_labels import DAY, HOUR, messy, outcomes_by_slot, read
from tests.worker.test_labels import apart, replayed

OUTCOMES = {"labels": "topic", "wait": "20m", "slot": "1m", "keep": "10m"}
MODEL = {"baseline": "fraud.driftline", "clock": 50, "false_alarms_per_event": 1.0e-4, "outcomes": OUTCOMES}


def stored(deployment: Deployment) -> ModelState:
    """The state of the model that has a baseline."""
    ((model, baseline),) = deployment.baselines.items()
    return restore_state(deployment.model_states().get(model, {}), baseline)


def waiting(deployment: Deployment) -> Waiting:
    return stored(deployment).waiting or Waiting()


def joined(worker: WorkerProcess, model: str) -> int:
    """How many predictions of a model have a label, by its metrics: to read the state takes a second."""
    found = re.search(rf'driftline_joined{{model="{model}",what="joined"}} (\d+)', worker.get("/metrics").body)
    return int(found[1]) if found else 0


def done(worker: WorkerProcess) -> list[str]:
    """What the worker has done, by its metrics. Ticks, which never end, are left out."""
    return re.findall(r"driftline_(?:events_total|panes_total|joined\{.*) .*", worker.get("/metrics").body)


def confusion(deployment: Deployment) -> Counter[tuple[str, str]]:
    """How often each class was predicted, and what it was, in all outcomes of the state."""
    ((_, baseline),) = deployment.baselines.items()
    own, coding = stored(deployment).outcomes, baseline.coding
    assert own is not None
    assert coding is not None
    assert isinstance(coding.task, BinaryTask)
    tables = [each.content for each in (*own.history, *([own.pending] if own.pending else []))]
    counts, classes = coding.task.confusion(rows_of(tables, coding.size).sum(0)), coding.task.classes
    return Counter({(classes[p], classes[label]): int(n) for (p, label), n in np.ndenumerate(counts) if n})


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


@pytest.mark.shared
@pytest.mark.slow
def test_the_accuracy_of_electricity_falls_in_may_and_every_outcome_is_that_of_a_direct_join(
    broker: Broker, redis_server: Server, tmp_path: Path, shared_data: Path
) -> None:
    """Labels come half a day late, for 30 % of the predictions, some corrected, some doubled."""
    truth = {row["id"]: row["label"] for row in read(shared_data / "electricity_labels.jsonl.gz")}
    past, live = (read(shared_data / f"electricity_{name}.jsonl.gz") for name in ("baseline", "live"))
    labels = sorted(messy(live, truth, 0.3), key=lambda each: each["ts"])
    direct = sum(outcomes_by_slot(live, labels, 12 * HOUR, 3 * DAY).values(), Counter[tuple[str, str]]())
    baseline = baseline_of([orjson.dumps(row) for row in past], model="electricity")
    (tmp_path / "electricity.driftline").write_bytes(encode_baseline(baseline))
    outcomes = {"labels": "topic", "slot": "12h", "wait": "3d", "keep": "3d"}
    model = {**MODEL, "baseline": "electricity.driftline", "false_alarms_per_event": 1.0e-5, "outcomes": outcomes}
    deployment = deploy(tmp_path, broker, redis_server.address, {"models": {"electricity": model}})
    deployment.produce({0: [*map(orjson.dumps, labels)]}, deployment.config.topics.labels)
    deployment.produce({0: [*map(orjson.dumps, live)]})
    with deployment.worker() as worker:
        # A busy machine takes minutes for all of it.
        worker.wait_for(lambda: joined(worker, "electricity") > 0, progress=lambda: done(worker))
        worker.wait_for(lambda: orjson.loads(worker.get("/health").body)["lag"] == 0, progress=lambda: done(worker))
        # Of another model and of nobody, weeks later: all slots before them can be judged.
        end = {"ts": max(each["ts"] for each in labels) + 30 * DAY}
        last = [orjson.dumps({**labels[0], **end, "id": f"end-{i}"}) for i in range(9)]
        deployment.produce({0: last}, deployment.config.topics.labels)
        deployment.produce({0: [orjson.dumps({**live[0], **end, "id": f"end-{i}", "model": "end"}) for i in range(9)]})
        worker.wait_for(lambda: joined(worker, "electricity") == direct.total(), progress=lambda: done(worker))
        alerts = [each for each in deployment.alerts() if each["data"]["class"] == "outcomes"]
    assert confusion(deployment) == direct
    assert "1997-04-25" <= alerts[0]["data"]["evidence"]["signals"][0]["since"][:10] <= "1997-05-15"
    assert alerts[0]["data"]["evidence"]["signals"][0]["outcome"]["after"] < 0.65
