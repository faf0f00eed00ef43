"""What baselines cost a worker: processor time to load them, memory a model, and work at the first sight of a model.

    python -m load_tests.bench.baselines                    1000 models of 20 numeric features
    python -m load_tests.bench.baselines --models 100 --json

Each format is measured in a process of its own. Memory is the growth of the resident set: of a loaded baseline alone,
and of a model that has judged a pane after a history of 100 million events.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.file import decode_baseline, encode_baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.codec.state import restore_state, state_delta
from driftline.stream.config.sections import Config
from driftline.stream.events.parse import parse_event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range
from load_tests.bench.costs import HISTORY, PANE, remembering
from load_tests.harness.load_generator import sample

Row = dict[str, float]

# Models that judge a pane: of a thousand in format 1, deriving the thresholds takes minutes.
_JUDGED = 50


def built(features: int, format_version: int) -> Baseline:
    """A baseline that a file of this format can hold, with what the format keeps."""
    events = [parse_event(value) for value in sample(features)]
    baseline = build_baseline(events, {"model": "bench"}, BuildSettings(format_version=format_version))
    return baseline.with_derived() if format_version > 1 else baseline


def measure(content: bytes, models: int) -> Row:
    """Costs of a baseline's file that `models` models have."""
    baseline = decode_baseline(content)
    parts = state_delta(None, ModelState(judge=remembering(baseline, HISTORY))).write
    before, began = _resident(), time.process_time()
    # A copy for each: a baseline keeps its file to read the blocks from.
    baselines = [decode_baseline(bytes(bytearray(content))) for _ in range(models)]
    loading, loaded = time.process_time() - began, _resident()
    states = [restore_state(parts, each) for each in baselines[:_JUDGED]]
    began = time.process_time()
    judged = [_first_pane(*each) for each in zip(baselines, states, strict=False)]
    judging = (time.process_time() - began) / len(judged)
    return {
        "file_kb": len(content) / 1e3,
        "load_s": loading,
        "loaded_kb": (loaded - before) / models / 1e3,
        "first_pane_ms": judging * 1e3,
        "model_kb": ((loaded - before) / models + (_resident() - loaded) / len(judged)) / 1e3,
    }


def _first_pane(baseline: Baseline, state: ModelState) -> tuple[Monitor, ModelState]:
    """What a worker holds of a model after the first pane that it judges."""
    monitor = Monitor(baseline.model, Config().defaults, baseline, **monitor_settings())
    after, _ = monitor.judge(state, Pane(baseline.total, 0, 0, (Range(0, HISTORY, HISTORY + PANE),)))
    return monitor, after


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    first, second = (built(chosen.features, version) for version in (1, 2))
    files = {"1": first, "2": second, "2, learned": second.without_blocks()}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        work = [(encode_baseline(each), chosen.models) for each in files.values()]
        rows = dict(zip(files, pool.starmap(measure, work, chunksize=1), strict=True))
    if chosen.json:
        print(json.dumps(rows))
    else:
        _print(rows, chosen.models)


def _print(rows: dict[str, Row], models: int) -> None:
    table = Table(title=f"{models} baselines")
    headings = ("format", "file, kB", "load all, s", "loaded, kB each", "first pane, ms", "model in a worker, kB")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        table.add_row(name, *(f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
