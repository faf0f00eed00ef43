"""What a timeline costs the judge, and how much of Redis it takes.

    python -m load_tests.bench.timelines                     20 and 100 signals, 350 panes of 500 events each
    python -m load_tests.bench.timelines --signals 500

The same panes are judged with a timeline and without one, in turn; every minute of event time has a pane.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.codec.state import state_delta
from driftline.stream.codec.timeline import all_parts
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.judge.timeline import HOUR_MS, Counter, Kept, Timeline
from driftline.stream.panes.pane import Pane, Range

_SEED, _PANE, _WARM, _PANES = 1, 500, 50, 400
_MINUTE, _BEGIN = 60_000, 10**12


def measured(signals: int) -> dict[str, float]:
    """ms of processor time and bytes of a commit, with and without a timeline; bytes of a full one, by its parts."""
    baseline, sketches = _traffic(signals)
    with_it, without = (_Side(baseline, timelines) for timelines in (True, False))
    for index in range(_PANES):
        at = _BEGIN + index * _MINUTE
        pane = Pane(sketches[index % len(sketches)], at, at, (Range(0, index * _PANE, (index + 1) * _PANE),))
        for side in (with_it, without) if index % 2 else (without, with_it):
            side.judge(pane, counts=index >= _WARM)
    judged = _PANES - _WARM
    return {
        "signals": signals,
        "ms": 1e3 * with_it.seconds / judged,
        "ms_without": 1e3 * without.seconds / judged,
        "ratio": with_it.seconds / without.seconds,
        "commit_bytes": with_it.written / judged,
        "commit_bytes_without": without.written / judged,
        **_full(baseline, sketches),
    }


class _Side:
    """A model that is judged with a timeline, or without one."""

    def __init__(self, baseline: Baseline, timelines: bool) -> None:
        self._monitor = Monitor("m", ModelConfig(), baseline, portable=True, timelines=timelines)
        self._state, self.seconds, self.written = ModelState(), 0.0, 0

    def judge(self, pane: Pane[Any], counts: bool) -> None:
        began = time.process_time()
        after, _ = self._monitor.judge(self._state, pane)
        delta = state_delta(self._state, after)
        if counts:
            self.seconds += time.process_time() - began
            self.written += sum(map(len, [*delta.write.values(), *delta.timelines.write.values()]))
        self._state = after.stored()


def _traffic(signals: int) -> tuple[Baseline, list[Sketch]]:
    rng, names = np.random.default_rng(_SEED), [f"features.f{index}" for index in range(signals)]

    def events(n: int) -> list[Event]:
        rows = rng.lognormal(0.0, 1.0, (n, signals)).tolist()
        return [Event(str(i), _BEGIN + i, "m", None, dict(zip(names, row, strict=True))) for i, row in enumerate(rows)]

    baseline = build_baseline(events(20_000), {"model": "m"})
    return baseline, [baseline.sketch_events(events(_PANE)) for _ in range(8)]


def _full(baseline: Baseline, sketches: Sequence[Sketch]) -> dict[str, float]:
    """Bytes of a timeline of 7 days by the hour and 400 by the day, 1000 events an hour."""
    counter, sizes = Counter(baseline, Kept(168, 400)), defaultdict[str, float](float)
    timeline: Timeline | None = None
    for hour in range(24 * 403):
        sketch = sketches[hour % len(sketches)] + sketches[(hour + 1) % len(sketches)]
        timeline = counter.count(timeline, Pane(sketch, 0, 0, ()), hour * HOUR_MS)
    assert timeline is not None
    stored = {name: part for name, part in all_parts(timeline).items() if name not in timeline.open}
    for name, part in stored.items():
        sizes[f"{name.partition(':')[0]}_bytes"] += len(part)
    return dict(sizes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line of JSON for each number of signals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, nargs="*", default=[20, 100])
    for signals in parser.parse_args(arguments).signals:
        print(json.dumps({name: round(figure, 3) for name, figure in measured(signals).items()}))


if __name__ == "__main__":
    main()
