"""What a label in every event costs: CPU time of both stages and bytes, with and without outcomes, in pairs.

python -m load_tests.bench.outcomes
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.baselines.outcomes import outcomes_of
from driftline.stream.codec.panes import PaneMessage
from driftline.stream.codec.state import state_delta
from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.events.parse import EventReader
from driftline.stream.panes.pane import Run
from driftline.stream.replay.pipeline import Pipeline

_EVENTS, _BATCH, _PAIRS, _FEATURES = 20_000, 2_000, 7, 20
_PANES = "panes: {events: 250, seconds: null}\n"
_CONFIG = {
    "with": parse_config(_PANES + "models: {bench: {outcomes: {labels: event}}}"),
    "without": parse_config(_PANES),
}


def _messages(n: int, seed: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    scores, features = rng.beta(1, 3, n).round(3).tolist(), rng.normal(size=(n, _FEATURES)).round(4).tolist()
    labels = (rng.random(n) < scores).tolist()
    return [orjson.dumps(_row(i, *each)) for i, each in enumerate(zip(scores, features, labels, strict=True))]


def _row(i: int, score: float, features: list[float], label: bool) -> Mapping[str, Any]:
    return {
        "id": str(i), "ts": 1_767_225_600_000 + 1000 * i, "model": "bench", "score": score,
        "features": {f"x{j}": x for j, x in enumerate(features)},
        "prediction": "fraud" if score > 0.5 else "fine", "label": "fraud" if label else "fine",
    }  # fmt: skip


def _baseline() -> Baseline:
    reader = EventReader(extras=["label"])
    events = [event for each in _messages(4000, 1) for event in reader.read(each).events]
    built = build_baseline(events, {"model": "bench"}).with_derived()
    return replace(built, outcomes=outcomes_of(events))


def _run(config: Config, baseline: Baseline, log: list[bytes]) -> tuple[float, float, list[Run], Pipeline]:
    """CPU µs an event of the first and of the second stage, the runs, and the pipeline."""
    pipeline, runs = Pipeline(config, {"bench": baseline}), list[Run]()
    sketcher, begun = pipeline.sketcher(0, 0), time.process_time()
    for first in range(0, len(log), _BATCH):
        runs += sketcher.consume(np.arange(first, first + _BATCH), log[first : first + _BATCH]).runs
    sketched = time.process_time()
    for run in runs:
        pipeline.judge(run)
    judged = time.process_time()
    return (sketched - begun) / len(log) * 1e6, (judged - sketched) / len(log) * 1e6, runs, pipeline


def main() -> None:
    baseline, log = _baseline(), _messages(_EVENTS, 2)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in _CONFIG}
    for pair in range(_PAIRS + 1):
        for name, config in _CONFIG.items():
            sketch, judge, runs, pipeline = _run(config, baseline, log)
            times[name] += [(sketch, judge)] if pair else []  # the first one warms up
            if pair == _PAIRS:
                messages = [PaneMessage.of("bench", baseline.content_hash, "t", each.panes["bench"]) for each in runs]
                pane = np.mean([len(each.to_bytes()) for each in messages])
                state = sum(map(len, state_delta(None, pipeline.states["bench"]).write.values()))
                print(f"{name:8} outcomes: a pane {pane:,.0f} bytes, the state {state:,} bytes")
    with_, without = (np.array(times[name]) for name in _CONFIG)
    for stage, own in enumerate(("first", "second")):
        more = np.median(with_[:, stage] - without[:, stage])
        print(f"{own} stage: {np.median(without[:, stage]):.1f} µs an event, with outcomes {more:+.1f}")


if __name__ == "__main__":
    main()
