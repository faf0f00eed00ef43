"""Speed of the numeric core on one core: decode, rank, sketch and judge, beside River and scipy at the same job.

    python -m load_tests.bench.core                     20 numeric features, panes of 1000 events
    python -m load_tests.bench.core --features 100 --json

Everything runs in one process, one thing after the other, so that ratios hold on a busy machine, too. The job is to
check every feature for drift after every pane (Driftline, scipy) or after every event (River, which has no panes).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

# One thread in numpy's linear algebra, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table
from river.drift import ADWIN as RiverADWIN
from river.drift import KSWIN
from scipy.stats import ks_2samp

from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.config.sections import Config
from driftline.stream.events.decode import Decoder
from driftline.stream.events.parse import parse_event
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.state import JudgeState
from driftline.stream.panes.pane import Pane, Range
from driftline.stream.replay.pipeline import Pipeline

START_MS = 1_767_225_600_000  # 2026-01-01


def messages(rng: np.random.Generator, events: int, features: int) -> list[bytes]:
    """Events of `features` numeric features, one a millisecond, 17 significant digits as JSON writers give them."""
    values = rng.normal(size=(events, features))
    return [
        json.dumps({
            "id": f"event-{i}", "ts": START_MS + i, "model": "bench",
            "features": {f"feature_{j}": value for j, value in enumerate(row)},
        }).encode()
        for i, row in enumerate(values.tolist())
    ]  # fmt: skip


def per_event(work: Callable[[], None], events: int) -> float:
    """Microseconds of processor time an event; the work is repeated until it has taken 1 s."""
    work()
    repeats, started = 0, time.process_time()
    while (spent := time.process_time() - started) < 1.0:
        work()
        repeats += 1
    return spent / repeats / events * 1e6


def stages(batch: list[bytes], baseline: Baseline, warm: JudgeState) -> dict[str, float]:
    """Microseconds an event of each stage for one pane, with a history as full as `warm`'s."""
    decoder, judge = Decoder({"bench": baseline.fields}), Judge(baseline, Config().defaults)
    columns = decoder.decode(batch).known["bench"]
    codes = baseline.encode(columns)
    pane = Pane(baseline.layout.sketch(codes, columns.numeric), 0, 0, (Range(0, 0, len(batch)),))
    work: dict[str, Callable[[], Any]] = {
        "decode": lambda: decoder.decode(batch),
        "rank": lambda: baseline.encode(columns),
        "sketch": lambda: baseline.layout.sketch(codes, columns.numeric),
        "judge": lambda: judge.judge(warm, {}, pane),
    }
    return {name: per_event(run, len(batch)) for name, run in work.items()}


def whole(log: list[bytes], baseline: Baseline, pane: int) -> float:
    """Microseconds an event of the whole pipeline, over a log without drift that is read repeatedly."""
    pipeline = Pipeline(Config.model_validate({"panes": {"events": pane, "seconds": None}}), {"bench": baseline})
    sketcher, offset = pipeline.sketcher(0, 0), itertools.count()

    def run() -> None:
        for first in range(0, len(log), 10_000):
            messages = log[first : first + 10_000]
            runs, *_ = sketcher.consume(np.fromiter(offset, np.int64, len(messages)), messages)
            for each in runs:
                pipeline.judge(each)

    return per_event(run, len(log))


def full_state(baseline: Baseline, panes: int, events: int) -> JudgeState:
    """A judge's state after `panes` panes of `events` events distributed as in the baseline, made from its counts."""
    judge, state = Judge(baseline, Config().defaults), None
    share = np.round(baseline.total.counts * (events / baseline.total.n)).astype(np.int64)
    sketch = Sketch(events, share, np.zeros_like(baseline.total.sums), baseline.total.extremes)
    history = judge.start().history
    for k in range(panes):
        history = history.push(Pane(sketch, k, k, (Range(0, k * events, (k + 1) * events),)))
    state = judge.start()
    return replace(state, seen=panes * events, history=history)


def state_bytes(state: JudgeState) -> int:
    """Bytes of the arrays in a state."""
    sketches = [pane.content for pane in state.history]
    return sum(each.counts.nbytes + each.sums.nbytes + each.extremes.nbytes for each in sketches)


def other_libraries(values: np.ndarray, baseline_values: np.ndarray) -> dict[str, float]:
    """Microseconds an event of other libraries at the same job, for `values` of shape (n, features)."""
    n, features = values.shape
    rows = values.tolist()

    def river(make: Callable[[], Any], some: int) -> float:
        detectors = [make() for _ in range(features)]

        def run() -> None:
            for row in rows[:some]:
                for detector, value in zip(detectors, row, strict=True):
                    detector.update(value)

        return per_event(run, some)

    def scipy() -> None:
        for j in range(features):
            ks_2samp(baseline_values[:, j], values[:, j], method="asymp")

    return {
        "River ADWIN, every event": river(RiverADWIN, n),
        "River KSWIN, every event": river(lambda: KSWIN(seed=1), 50),
        "scipy ks_2samp, every pane, one window": per_event(scipy, n),
    }


def measure(features: int, pane: int) -> dict[str, Any]:
    """All figures."""
    rng = np.random.default_rng(1)
    sample = [parse_event(message) for message in messages(rng, 10_000, features)]
    baseline = build_baseline(sample, {"model": "bench"})
    warm = full_state(baseline, 100_000_000 // pane, pane)
    batch = messages(rng, pane, features)
    values = rng.normal(size=(pane, features))
    return {
        "features": features,
        "pane": pane,
        "stages": stages(batch, baseline, warm),
        "pipeline": whole(messages(rng, 50_000, features), baseline, pane),
        "state_bytes": state_bytes(warm),
        "buckets": len(warm.history),
        "peers": other_libraries(values, rng.normal(size=(10_000, features))),
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    own = sum(result["stages"].values())
    table = Table(title=f"{result['features']} features, panes of {result['pane']} events, one core")
    for heading in ("", "µs/event", "events/s", "× Driftline"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = {
        **{f"  {name}": cost for name, cost in result["stages"].items()},
        "Driftline, after 100 million events": own,
        "Driftline, pipeline over 50,000 events": result["pipeline"],
        **result["peers"],
    }
    for name, cost in rows.items():
        table.add_row(name, f"{cost:.2f}", f"{1e6 / cost:,.0f}", f"{cost / own:.2f}")
    Console().print(table)
    Console().print(
        f"state after 100 million events: {result['state_bytes'] / 1e6:.2f} MB in {result['buckets']} buckets"
    )


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=20, help="numeric features an event (default 20)")
    parser.add_argument("--pane", type=int, default=1000, help="events a pane (default 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    result = measure(arguments.features, arguments.pane)
    print(json.dumps(result, indent=1)) if arguments.json else show(result)


if __name__ == "__main__":
    main()
