"""Outcomes of events that hold their label, through both stages and Redis, beside replays of log and panes."""

from __future__ import annotations

from functools import cache

import numpy as np
import orjson
import pytest

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.state import state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.demo.servers import Server
from driftline.stream.replay.panes import PanesReplay, records_of
from tests.harness.brokers import unique
from tests.harness.labelled import baseline_of, messages
from tests.replay.test_panes import as_lines, logs
from tests.worker.test_stages import Bench, play

_CONFIG = """
panes: {{events: 50}}
worker: {{group: {group}}}
defaults: {{learn_events: 300, outcomes: {{labels: event, learn: 500, floors: {{recall: 0.4}}}}}}
models: {{fraud: {{clock: 50, false_alarms_per_event: 1.0e-4}}}}
"""


@cache
def baseline(with_outcomes: bool) -> Baseline:
    return baseline_of(messages(3000, seed=1), with_outcomes)


def bench(server: Server, kind: str) -> Bench:
    """kind: of the baseline."""
    log = messages(3000, seed=3, concept=lambda i: 0.9 * (i >= 1800))
    known = {} if kind == "learned" else {"fraud": baseline(kind == "with outcomes")}
    this = Bench(f"redis://{server.address}", log, known)
    this.config = parse_config(_CONFIG.format(group=unique("group")))
    return this


@pytest.mark.parametrize("kind", ["with outcomes", "without", "learned"])
def test_after_crashes_anywhere_outcomes_and_alerts_are_those_of_both_replays(redis_server: Server, kind: str) -> None:
    async def live(this: Bench) -> None:
        rng = np.random.default_rng(len(kind))
        for _ in range(6):
            await this.crash(crash_at=int(rng.integers(1, 60)), late=bool(rng.integers(2)))
        driver = this.driver()
        await driver.work()
        await this.check()
        rows = [orjson.loads(each) for each in this.log[-1000:]]
        accuracy = sum(each["prediction"] == each["label"] for each in rows) / len(rows)
        labels = {"model": "fraud", "version": "", "metric": "accuracy"}
        shown = driver.metrics.registry.get_sample_value("driftline_performance", labels)
        assert shown == pytest.approx(accuracy, abs=0.05)
        assert any(alert["data"]["class"] == "outcomes" for alert in this.alerts())
        own = PanesReplay(this.config, this.baselines)
        alerts = [alert for record in records_of(logs(this, step_ms=0)) for alert in own.read(record)]
        stored = {model: state_delta(None, each).write for model, each in own.states.items()}
        assert stored == await this.states()
        assert as_lines(alerts).keys() == {alert["data"]["id"] for alert in this.alerts()}

    play(bench(redis_server, kind), live)


def test_the_metrics_of_a_version_with_its_own_baseline_are_its_own_and_go_when_it_is_gone(
    redis_server: Server,
) -> None:
    """The new version is right in nearly no case, the old one in most."""
    wrong = {"fraud": "fine", "fine": "fraud"}
    log = [orjson.loads(each) | {"version": "1.0"} for each in messages(1200, seed=3)]
    log = [
        each | ({"version": "2.0", "label": wrong[each["prediction"]]} if i % 2 else {}) for i, each in enumerate(log)
    ]

    async def live(this: Bench) -> None:
        driver = this.driver(versions={"fraud": {"2.0": baseline(True)}})
        await driver.announce()
        await driver.work()

        def shown(version: str) -> float | None:
            labels = {"model": "fraud", "version": version, "metric": "accuracy"}
            return driver.metrics.registry.get_sample_value("driftline_performance", labels)

        assert shown("2.0") == 0
        assert (shown("") or 0) > 0.7
        assert shown("1.0") is None
        driver.metrics.performed("fraud", {}, [""])
        assert shown("2.0") is None
        assert (shown("") or 0) > 0.7

    this = Bench(f"redis://{redis_server.address}", [orjson.dumps(each) for each in log], {"fraud": baseline(True)})
    this.config = parse_config(_CONFIG.format(group=unique("group")))
    play(this, live)


def test_where_labels_cease_metrics_say_so(redis_server: Server) -> None:
    log = [orjson.loads(each) for each in messages(3000, seed=3)]
    for each in log[1510:]:
        del each["label"]

    async def live(this: Bench) -> None:
        driver = this.driver()
        await driver.work()
        read = driver.metrics.registry.get_sample_value
        labels = {"model": "fraud", "version": "", "metric": "labelled"}
        # The last 10 labels were too few to be judged, so they are among the newest predictions.
        assert read("driftline_performance", labels) == pytest.approx(10 / 1500, rel=0.02)
        assert (read("driftline_performance", labels | {"metric": "accuracy"}) or 0) > 0.7

    this = Bench(f"redis://{redis_server.address}", [orjson.dumps(each) for each in log], {"fraud": baseline(True)})
    this.config = parse_config(_CONFIG.format(group=unique("group")))
    play(this, live)
