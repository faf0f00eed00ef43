"""The load tests' own arithmetic: planted drifts, times of alerts, growth, and the needs of a deployment."""

from __future__ import annotations

import subprocess
import sys
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.codec.frames import frame
from driftline.stream.codec.panes import PackedPane
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.demo.servers import embedded_broker
from driftline.stream.panes.pane import Pane, Range
from load_tests.bench.latency import Firing, PaneRun, Spread, Timing, timings
from load_tests.bench.scaling import Unit, between, needs
from load_tests.bench.soak import Sample, Trend, bucket_bytes, trends, unowned_keys
from load_tests.bench.throughput import driftline
from load_tests.harness.deployment import Broker, Deployment, WorkerEndedError, WorkerProcess
from load_tests.harness.load_generator import Appended, Plant, Traffic, plants
from load_tests.harness.measured_worker import baselines

ROOT = Path(__file__).parents[2]
TRAFFIC = Traffic(rate=1000, models=2, partitions=2, pane=10)

# ---- traffic


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10_000))
def test_the_place_of_an_event_gives_its_round_back(models: int, partitions: int, round_: int) -> None:
    traffic = Traffic(1000, models, partitions)
    places = [traffic.place(model, round_) for model in range(models)]
    assert {traffic.round(*place) for place in places} == {round_}
    assert len(set(places)) == models


def test_every_offset_of_a_partition_is_filled_once() -> None:
    places = sorted(TRAFFIC.place(model, round_) for round_ in range(10) for model in range(2))
    assert places == [(partition, offset) for partition in range(2) for offset in range(10)]


def test_drifts_of_a_model_are_apart_and_begin_anywhere_in_a_pane() -> None:
    planted = plants(TRAFFIC, warm=100, count=50)
    assert len(planted) == 100
    for model in range(2):
        own = [plant for plant in planted if plant.model == model]
        assert own[0].first >= 100
        assert all(later.first - earlier.end >= 2 * TRAFFIC.pane_rounds for earlier, later in pairwise(own))
        assert len({plant.first % TRAFFIC.pane_rounds for plant in own}) > TRAFFIC.pane_rounds / 2


# ---- latency

# Batches of ten offsets, appended 1 s apart: offset 25 of each partition at second 2.
APPENDED = [Appended(list(range(0, 100, 10)), list(range(0, 10_000, 1000))) for _ in range(2)]
# Model 1 drifts from round 20 on: partition 0, offset 21, appended at second 2.
DRIFT = Plant(1, 20, 60)
PANES = [PaneRun(1, 0, 0, 20), PaneRun(1, 1, 0, 20), PaneRun(1, 0, 20, 40), PaneRun(1, 1, 20, 40)]


def test_an_alert_is_timed_from_the_drift_and_from_the_pane_that_decided() -> None:
    # The second pane of partition 0 decided; that of partition 1 was not judged yet.
    firing = Firing(1, at=3500, ends={0: 40, 1: 20})
    assert timings(TRAFFIC, [DRIFT], APPENDED, PANES, [firing]) == ([Timing(noticed=1.5, decided=0.5, pane=1.0)], 0)


def test_an_alert_without_a_drift_and_a_second_one_are_false_pages() -> None:
    early, other = Firing(1, 2500, {0: 20, 1: 20}), Firing(0, 3500, {0: 40})
    panes = [*PANES, PaneRun(0, 0, 20, 40)]
    twice = [Firing(1, 3500, {0: 40, 1: 20}), Firing(1, 4500, {0: 40, 1: 40})]
    found, false_pages = timings(TRAFFIC, [DRIFT], APPENDED, panes, [early, other, *twice])
    assert (len(found), false_pages) == (1, 3)


def test_a_late_alert_belongs_to_the_drift_that_its_pane_saw() -> None:
    # When it came, the next drift had begun; the end of the pane decides.
    later = Plant(1, 90, 99)
    found, false_pages = timings(TRAFFIC, [DRIFT, later], APPENDED, PANES, [Firing(1, 9900, {0: 40, 1: 20})])
    assert (found, false_pages) == ([Timing(noticed=7.9, decided=6.9, pane=1.0)], 0)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_percentiles_are_values_that_enough_others_do_not_exceed(values: list[float]) -> None:
    spread = Spread.of(values)
    for percent, value in ((50, spread.p50), (99, spread.p99)):
        assert value in values
        assert sum(each <= value for each in values) * 100 >= percent * len(values)
        assert sum(each < value for each in values) * 100 < percent * len(values)
    assert spread.max == max(values)


# ---- soak


def test_a_leak_is_found_in_noise_and_noise_alone_is_no_leak() -> None:
    rng, seconds = np.random.default_rng(1), np.arange(0, 1200, 5.0)
    noise = 200e6 + rng.normal(0, 1e6, len(seconds))
    level = Trend.of(seconds.tolist(), noise.tolist(), allowed=4e6)
    leak = Trend.of(seconds.tolist(), (noise + 10e6 * seconds / 1200).tolist(), allowed=4e6)
    assert level.flat
    assert level.low < 0 < level.high
    assert not leak.flat
    assert leak.low < 10e6 < leak.high


def test_one_step_is_no_leak_and_many_are() -> None:
    minutes = np.arange(0, 16, 1 / 12)
    once, often = 170 + 4.0 * (minutes > 3), 170 + np.floor(minutes / 2)
    assert Trend.of(minutes.tolist(), once.tolist(), allowed=3.0).flat
    assert not Trend.of(minutes.tolist(), often.tolist(), allowed=3.0).flat


def test_a_constant_is_flat_to_the_last_bit() -> None:
    trend = Trend.of([float(i) for i in range(30)], [7.0] * 30, allowed=0.0)
    assert (trend.growth, trend.high, trend.flat) == (0.0, 0.0, True)


def test_the_warm_up_is_no_leak_and_each_quantity_has_its_own_allowance() -> None:
    samples = [
        Sample(i, rss=10**8 if i > 19 else i * 10**6, files=12, lag=20 * i, redis=10**6, keys=9, events=1000 * (i + 1))
        for i in range(100)
    ]
    found = trends(samples, rate=1000, models=1, layout=baselines(1, 1)[0].layout)
    assert {name for name, trend in found.items() if not trend.flat} == {"lag"}


def test_a_bucket_of_many_events_takes_its_allowance() -> None:
    """Without sums and extremes in the allowance, the designed growth of the histogram was called a leak."""
    (baseline,) = baselines(20, 1)
    many = reduce(add, [baseline.total] * 2000)
    stored = len(frame(b"B", PackedPane.of(Pane(many, 0, 1, (Range(0, 0, many.n),)))))
    assert 0.9 * stored < bucket_bytes(baseline.layout, 4) < 1.1 * stored


def test_a_key_needs_an_owner_or_a_time_to_live() -> None:
    config = Config.model_validate({
        "topics": {"predictions": "events", "panes": "panes", "partitions": 2},
        "worker": {"group": "g.1"}, "models": {"m:1": {}},
    })  # fmt: skip
    judge = "g.1:{judge/panes/1}"
    owned = ["g.1:bound", "g.1:{sketch/events/0}", judge]
    owned += [f"{judge}:{each}" for each in ("models", "outbox", "model:m:1", "timeline:m:1")]
    unowned = ["gx1:bound", "g.1:{sketch/events/2}", f"{judge}:model:m", f"{judge}:more", "g.1:tmp", "other"]
    keys = dict.fromkeys([*owned, *unowned], -1)
    assert unowned_keys({**keys, "g.1:lease": 30}, config) == sorted(unowned)


# ---- scaling

UNIT = Unit(
    event_us=10, pane_ms=2, pane_bytes=2000, commit_bytes=5000, redis_us=100, redis_commands=8,
    model_bytes=4e6, key_bytes=2e5,
)  # fmt: skip


def test_the_needs_of_a_deployment_follow_from_unit_costs() -> None:
    need = needs(1e6, 200, UNIT)
    # 200 models share runs of 100,000 offsets: 500 events of each, so 2000 panes a second.
    assert (need.pane_events, need.panes) == (500, 2000)
    assert (need.sketch_cores, need.judge_cores, need.workers) == (10, 4, 24)
    assert need.partitions == 40
    assert need.pane_seconds == 500 * 200 * 40 / 1e6
    assert (need.panes_bytes, need.redis_written, need.redis_bytes) == (4e6, 1e7, 4e7)
    assert need.commits == (100, 2000)
    assert need.redis_commands == (800, 16_000)


@given(st.floats(1e3, 1e7), st.integers(1, 5000))
def test_more_traffic_never_needs_less(rate: float, models: int) -> None:
    less, more = needs(rate, models, UNIT), needs(2 * rate, models, UNIT)
    assert more.workers >= less.workers
    assert more.panes == pytest.approx(2 * less.panes)
    assert more.redis_bytes == less.redis_bytes


def test_figures_are_interpolated_over_the_logarithm() -> None:
    measured = {1.0: 6.0, 10.0: 8.0, 100.0: 20.0}
    assert [between(measured, x) for x in (1, 10, 100)] == pytest.approx([6, 8, 20])
    assert between(measured, 10**1.5) == pytest.approx(14)
    assert between(measured, 1000) == pytest.approx(32)


# ---- throughput


def test_a_worker_that_ends_at_its_start_ends_the_measurement_and_its_last_log_lines_are_shown(tmp_path: Path) -> None:
    """Such a worker answers no request, so that the measurement would wait for it until its timeout."""
    path = tmp_path / "driftline.yaml"
    path.write_text("models: {fraud: {baseline: absent.driftline}}")
    broker = Broker(embedded_broker(tmp_path / "broker"), idempotent=False)
    deployment = Deployment(path, broker, parse_config(path.read_text(), str(path)))
    with pytest.raises(WorkerEndedError, match=r"(?s)ended with exit code 2.*absent\.driftline"):
        driftline(deployment, events=1, processes=1)


def test_of_a_long_log_the_last_lines_are_shown(tmp_path: Path) -> None:
    program = "for number in range(1000): print(f'line {number}')"
    with WorkerProcess([sys.executable, "-c", program], tmp_path / "worker.log") as worker:
        with pytest.raises(WorkerEndedError, match="exit code 0") as ended:
            worker.wait_for(lambda: False)
        assert "line 999" in str(ended.value)
        assert "line 900" not in str(ended.value)


# ---- the tools themselves


@pytest.mark.parametrize("tool", ["backlog", "latency", "scaling", "soak", "throughput"])
def test_help_shows_how_to_run_a_tool(tool: str) -> None:
    command = [sys.executable, "-m", f"load_tests.bench.{tool}", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert f"python -m load_tests.bench.{tool} " in shown
    assert "--json" in shown
