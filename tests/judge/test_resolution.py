"""The smallest baseline that can show a shift of one sigma, against the judge itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.resolution import smallest_baseline
from driftline.stream.panes.pane import Pane, Range

START = 1_767_225_600_000  # 2026-01-01
CONFIG = ModelConfig()


def normal(rng: np.random.Generator, n: int, shift: float = 0.0) -> list[Event]:
    values = rng.normal(size=(n, 5)) + np.array([shift, 0, 0, 0, 0])
    return [
        Event(str(i), START + 1000 * i, "m", None, {f"features.x{j}": float(value) for j, value in enumerate(row)})
        for i, row in enumerate(values)
    ]


def baselines(size: int) -> Iterator[tuple[np.random.Generator, Baseline]]:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        yield rng, build_baseline(normal(rng, size), {"model": "m"})


def finds(rng: np.random.Generator, baseline: Baseline) -> bool:
    """Whether 2,500 events shifted by 1 σ raise an alarm."""
    judge = Judge(baseline, CONFIG)
    state, incidents, found = judge.start(), {}, False
    for first in range(0, 2500, 250):
        content = baseline.sketch_events(normal(rng, 250, 1.0))
        pane = Pane(content, START, START, (Range(0, first, first + 250),))
        state, incidents, steps = judge.judge(state, incidents, pane)
        found |= bool(steps)
    return found


def test_a_baseline_of_half_the_smallest_size_is_blind_and_of_twice_the_size_is_not() -> None:
    smallest = smallest_baseline(next(baselines(100))[1], CONFIG)
    assert 30 < smallest < 40
    assert sum(finds(*each) for each in baselines(smallest // 2)) <= 2
    assert all(finds(*each) for each in baselines(2 * smallest))


def test_more_false_alarms_or_fewer_windows_need_fewer_events() -> None:
    baseline = next(baselines(100))[1]
    few = smallest_baseline(baseline, ModelConfig(false_alarms_per_event=1e-3))
    assert few < smallest_baseline(baseline, ModelConfig.model_validate({"windows": ["500 events"]}))
    assert smallest_baseline(baseline, ModelConfig.model_validate({"windows": ["500 events"]})) < smallest_baseline(
        baseline, CONFIG
    )
