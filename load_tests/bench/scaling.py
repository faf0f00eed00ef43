"""The cost of Driftline as features, models, history or partitions grow, and the needs of a deployment.

    python -m load_tests.bench.scaling                                       all axes, on Kafka and Redis: 10 minutes
    python -m load_tests.bench.scaling --json > scaling.json
    python -m load_tests.bench.scaling --plot docs/images/scaling.png
    python -m load_tests.bench.scaling --figures scaling.json --rate 1e6 --models 200    only the computation

Measured, in processor time and bytes:

    features     sketching an event, judging a pane, deriving thresholds; sizes of panes, commits and model states
    models       sketching an event of a partition that many models share
    history      judging a pane after 1 million to 1000 million events, and the size of the model state
    partitions   the sizes of the state and the commits of a model whose events come over many partitions
    worker       an event, end to end: fetch, sketch, publish, judge and commit, on a filled topic
    redis        a commit: processor time and commands; a model's key

Segments do not exist yet. A segment is to be one more sketch of the same signals, in the same pass: in panes, judging
and model states, 20 features in 10 segments will cost as much as the row of 200 features.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from load_tests.bench.costs import (
    HISTORY,
    PANE,
    Row,
    by_features,
    by_history,
    by_models,
    by_partitions,
    in_redis,
    remembering,
)
from load_tests.harness.load_generator import Traffic
from load_tests.harness.measured_worker import baselines, drain, progress, servers

FEATURES, MODELS, PARTITIONS = (5, 20, 50, 100, 200), (1, 5, 10, 50, 200, 1000), (1, 4, 16, 64, 256)
EVENTS = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
# Events for the worker end to end, and the number of their models.
_DRAINED, _DRAINED_MODELS = 400_000, 5
# The planned load of a worker's core: the rest is for rebalances, catching up and the garbage collector.
_LOAD = 0.6
# Offsets after which a run ends, in multiples of a pane's events, see `stream.panes.cutter`; panes judged at once, see
# `stream.worker.judge_stage`.
_RUN, _BATCH = 100, 20


@dataclass(frozen=True)
class Unit:
    """Unit costs at 20 features.

    event_us: fetch and sketch an event, and pane_ms: judge and commit a pane, in the worker. pane_bytes: on the panes
    topic. commit_bytes, redis_us, redis_commands: of a commit of one pane. model_bytes, key_bytes: of a model in a
    worker and in Redis.
    """

    event_us: float
    pane_ms: float
    pane_bytes: float
    commit_bytes: float
    redis_us: float
    redis_commands: float
    model_bytes: float
    key_bytes: float


@dataclass(frozen=True)
class Needs:
    """The needs of a deployment. Cores are of workers; pane_seconds: to fill a pane; the others are sizes or a second.

    commits, redis_commands, redis_cores: at least and at most.
    """

    sketch_cores: float
    judge_cores: float
    workers: int
    partitions: int
    pane_events: float
    pane_seconds: float
    panes: float
    panes_bytes: float
    commits: tuple[float, float]
    redis_commands: tuple[float, float]
    redis_bytes: float
    redis_written: float
    redis_cores: tuple[float, float]
    worker_bytes: float


def unit_of(figures: Mapping[str, Any], models: int) -> Unit:
    """Unit costs at 20 features and `models` models, from the measured figures."""
    (features,) = [row for row in figures["features"] if row["features"] == 20]
    shared = {row["models"]: row["event_us"] for row in figures["models"]}
    # What the worker spends beside judging panes: fetching, and sketching events of few models.
    few = figures["worker"]["cpu_us"] - features["pane_ms"] * 1e3 / PANE
    return Unit(
        event_us=few + between(shared, models) - between(shared, _DRAINED_MODELS),
        pane_ms=features["pane_ms"],
        pane_bytes=features["pane_bytes"],
        commit_bytes=features["commit_bytes"],
        redis_us=figures["redis"]["redis_us"],
        redis_commands=figures["redis"]["redis_commands"],
        model_bytes=features["worker_bytes"],
        key_bytes=figures["redis"]["redis_key_bytes"],
    )


def between(measured: Mapping[float, float], x: float) -> float:
    """A figure at x, interpolated between the measured neighbours over the logarithm of x."""
    points = sorted(measured.items())
    (low, a), (high, b) = next((pair for pair in pairwise(points) if x <= pair[1][0]), (points[-2], points[-1]))
    return a + (b - a) * math.log(x / low) / math.log(high / low)


def needs(rate: float, models: int, unit: Unit, pane: int = PANE) -> Needs:
    """The needs of `rate` events/s over `models` models of equal traffic.

    A run ends at a model's `pane` events or at 100 · pane offsets, which many models share. A commit holds the panes
    of a fetch, 20 at most: between one and 20.
    """
    pane_events = min(pane, _RUN * pane / models)
    panes = rate / pane_events
    sketch, judge = rate * unit.event_us / 1e6, panes * unit.pane_ms / 1e3
    workers = math.ceil((sketch + judge) / _LOAD)
    # A partition belongs to one worker at a time; with half as many again, workers can join or die, and all have work.
    partitions = math.ceil(workers * 1.5 / 8) * 8
    commits = panes / _BATCH, panes
    return Needs(
        sketch_cores=sketch,
        judge_cores=judge,
        workers=workers,
        partitions=partitions,
        pane_events=pane_events,
        pane_seconds=pane_events * models * partitions / rate,
        panes=panes,
        panes_bytes=panes * unit.pane_bytes,
        commits=commits,
        redis_commands=(commits[0] * unit.redis_commands, commits[1] * unit.redis_commands),
        redis_bytes=models * unit.key_bytes,
        redis_written=panes * unit.commit_bytes,
        redis_cores=(commits[0] * unit.redis_us / 1e6, commits[1] * unit.redis_us / 1e6),
        worker_bytes=models * unit.model_bytes,
    )


def computation(rate: float, models: int, unit: Unit, pane: int = PANE) -> list[str]:
    """The same as text, one line for each need, with the figures that enter."""
    need = needs(rate, models, unit, pane)
    return [
        f"{rate:,.0f} events/s over {models:,} models, 20 features, panes of {pane:,} events:",
        f"events a pane    min({pane:,}, {_RUN} · {pane:,} / {models:,}) = {need.pane_events:,.0f}",
        f"panes            {rate:,.0f} / {need.pane_events:,.0f} = {need.panes:,.0f} /s",
        f"to sketch        {rate:,.0f} /s · {unit.event_us:.1f} µs = {need.sketch_cores:.1f} cores",
        f"to judge         {need.panes:,.0f} /s · {unit.pane_ms:.1f} ms = {need.judge_cores:.1f} cores",
        f"workers          ({need.sketch_cores:.1f} + {need.judge_cores:.1f}) / {_LOAD} = {need.workers}",
        f"partitions       {need.workers} · 1.5, in eights = {need.partitions}",
        f"a pane fills in  {need.pane_events:,.0f} · {models:,} · {need.partitions} / {rate:,.0f} = "
        f"{need.pane_seconds:.1f} s",
        f"panes topic      {need.panes:,.0f} /s · {unit.pane_bytes / 1e3:.1f} kB = {need.panes_bytes / 1e6:.1f} MB/s",
        f"commits          {need.panes:,.0f} /s / 20 … 1 panes a commit = {_range(need.commits)} /s",
        f"Redis commands   · {unit.redis_commands:.1f} = {_range(need.redis_commands)} /s, "
        f"{need.redis_cores[0]:.2f} … {need.redis_cores[1]:.2f} cores",
        f"Redis writes     {need.panes:,.0f} /s · {unit.commit_bytes / 1e3:.1f} kB = "
        f"{need.redis_written / 1e6:.1f} MB/s at most",
        f"Redis memory     {models:,} · {unit.key_bytes / 1e3:.0f} kB = {need.redis_bytes / 1e6:.0f} MB",
        f"worker memory    {models:,} · {unit.model_bytes / 1e6:.1f} MB = {need.worker_bytes / 1e6:,.0f} MB at most, "
        "were one to know and judge all models, beside 150 MB",
    ]


def _range(ends: tuple[float, float]) -> str:
    return " … ".join(f"{end:,.0f}" for end in ends)


def measure(broker: Any) -> dict[str, Any]:
    """All figures."""
    axes: list[tuple[str, Any, Sequence[int]]] = [
        ("features", by_features, FEATURES),
        ("models", by_models, MODELS),
        ("history", by_history, EVENTS),
        ("partitions", by_partitions, PARTITIONS),
    ]
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, servers(broker, Path(folder)) as site:
        traffic = Traffic(1e6, models=_DRAINED_MODELS, pane=PANE)
        figures["worker"] = vars(drain(site, traffic, _DRAINED, Path(folder) / "worker"))
        (baseline,) = baselines(20, 1)
        figures["redis"] = in_redis(site.redis, baseline, remembering(baseline, HISTORY))
    for name, cost, values in axes:
        with progress(len(values), name) as on_progress:
            figures[name] = [cost(value) for done, value in enumerate(values) if on_progress(done) is None]
    return figures


def show(figures: Mapping[str, Any]) -> None:
    """Print every axis as a table."""
    for axis in ("features", "models", "history", "partitions"):
        console_table(f"by {axis}", figures[axis])
    console_table("worker, end to end, and Redis, a commit", [{**figures["worker"], **figures["redis"]}])


def console_table(title: str, rows: Sequence[Row]) -> None:
    """Rows as a table, bytes in kB."""
    table = Table(title=title)
    for heading in rows[0]:
        table.add_column(heading.replace("bytes", "kB").replace("_us", "_µs").replace("_", " "), justify="right")
    for row in rows:
        scaled = (value / 1e3 if name.endswith("bytes") else value for name, value in row.items())
        table.add_row(*(f"{value:,.2f}" if value < 10 and value % 1 else f"{value:,.0f}" for value in scaled))
    Console().print(table)


def plot(figures: Mapping[str, Any], path: Path) -> None:
    """Save a figure of eight panels as PNG."""
    import matplotlib.pyplot as plt  # an extra; only plots need it

    panels = [
        ("features", "event_us", 1, "µs to sketch an event"),
        ("features", "pane_ms", 1, "ms to judge a pane"),
        ("features", "thresholds_s", 1, "s to derive thresholds"),
        ("models", "event_us", 1, "µs to sketch an event"),
        ("history", "pane_ms", 1, "ms to judge a pane"),
        ("history", "redis_bytes", 1e3, "kB of a model in Redis"),
        ("partitions", "redis_bytes", 1e3, "kB of a model in Redis"),
        ("partitions", "commit_bytes", 1e3, "kB of a commit"),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(13, 6), layout="constrained")
    for axis, (name, figure_name, scale, label) in zip(axes.flat, panels, strict=True):
        rows = figures[name]
        values = [row[figure_name] / scale for row in rows]
        axis.plot([next(iter(row.values())) for row in rows], values, "o-", ms=4)
        axis.set_xlabel("events of history" if name == "history" else name)
        axis.set_title(label, fontsize=10)
        axis.set_xscale("linear" if name == "features" else "log")
        axis.set_ylim(0, 1.1 * max(values))
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=75)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1e6, help="events/s of the deployment (default 1,000,000)")
    parser.add_argument("--models", type=int, default=200, help="models of the deployment (default 200)")
    parser.add_argument("--figures", type=Path, metavar="JSON", help="use these figures instead of measuring")
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="all axes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


def main() -> None:
    """Parse arguments, measure, compute, print."""
    given = _arguments()
    figures = json.loads(given.figures.read_text()) if given.figures else measure(given.broker)
    unit = unit_of(figures, given.models)
    if given.plot:
        plot(figures, given.plot)
    if given.json:
        print(json.dumps({**figures, "needs": vars(needs(given.rate, given.models, unit))}, indent=1))
    else:
        show(figures)
        print("\n".join(computation(given.rate, given.models, unit)))


if __name__ == "__main__":
    main()
