"""False pages and delays of the whole judge, with its incidents, on traffic of which much follows the time of day.

    nice python -m load_tests.bench.days                        3 runs by phase, a minute each
    nice python -m load_tests.bench.days --runs 14 --json
    nice python -m load_tests.bench.days --alike                 all times alike, as baselines without cycles are judged

A run is a model of 20 signals of nine kinds of `load_tests.bench.detection`: 6 days of 8,640 events are its baseline,
and 16 are judged in panes of 100, with one false page in 100,000 events allowed. Then 1 σ is added to one signal of
some kinds at a time, in the morning of the ninth day, and the events until an alert names it are shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from driftline.detectors.arrays import FloatArray, IntArray
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status, Step
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import SLOT_MS, Pane, Range
from load_tests.bench.detection import DAY, JUDGED, KINDS, PANE, RATE, values

#: Signals of each kind.
MIX = {
    "level": 4, "spread": 2, "missing": 2, "evening": 2, "evening that moves": 2, "ar on a day": 2, "share": 2,
    "category of the evening": 1, "nothing": 3,
}  # fmt: skip
# Kinds in which a shift is waited for, events before it that are judged, and those it is waited for.
_SHIFTED, _BEFORE, _PATIENCE = ("level", "evening that moves", "ar on a day", "missing", "nothing"), 3000, 30_000
# Days of the baseline, where the shift begins, and midnight of a Wednesday, epoch ms.
_KNOWN, _AT, _MIDNIGHT = 6, 8.37, 1_700_006_400_000
_STEP = 86_400_000 // DAY

Traffic = dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Model:
    """A model with all of its traffic. by_phase: whether its baseline keeps what it knows of days."""

    traffic: Traffic
    by_phase: bool

    @classmethod
    def of(cls, seed: int, *, by_phase: bool) -> Model:
        """The model of a run."""
        rng, n = np.random.default_rng(seed), (_KNOWN + JUDGED) * DAY
        names = [(kind, f"features.{kind} {i}") for kind, count in MIX.items() for i in range(count)]
        return cls({name: values(kind, rng, n, rng.random()) for kind, name in names}, by_phase)

    @cached_property
    def baseline(self) -> Baseline:
        """Its baseline."""
        known, settings = list(events(self.traffic, 0, _KNOWN * DAY)), BuildSettings(timezone="UTC")
        built = build_baseline(known, {"model": "m"}, settings).with_derived()
        return built if self.by_phase else replace(built, cycles=None)

    def judge(self, traffic: Traffic, first: int, end: int) -> Iterator[tuple[int, Step]]:
        """The steps of its incidents, each with the event that it came after."""
        monitor = Monitor("m", ModelConfig(false_alarms_per_event=RATE), self.baseline, **monitor_settings())
        state = ModelState()
        for start in range(first, end, PANE):
            part = list(events(traffic, start, min(start + PANE, end)))
            state, steps = monitor.judge(state, self._pane(part, start))
            yield from ((start + len(part), step) for step in steps)

    def _pane(self, part: list[Event], start: int) -> Pane[Any]:
        slots, counts = np.unique([event.ts // SLOT_MS for event in part], return_counts=True)
        content, run = self.baseline.sketch_events(part), Range(0, start, start + len(part))
        return Pane(content, part[0].ts, part[-1].ts, (run,), tuple(_pairs(slots, counts)))

    def delay(self, name: str) -> int | None:
        """Events from a shift of 1 σ in a signal until an alert names it; None if none does."""
        at = int((_KNOWN + _AT) * DAY)
        shifted = self.traffic[name].copy()
        shifted[at:] += np.nanstd(shifted)
        for found, step in self.judge({**self.traffic, name: shifted}, at - _BEFORE, at + _PATIENCE):
            if found > at and any(each.signal == name for each in step.findings):
                return found - at
        return None


def events(traffic: Traffic, first: int, end: int) -> Iterator[Event]:
    """The events [first, end) of a model's traffic."""
    columns = {name: _as_events(name, each[first:end]) for name, each in traffic.items()}
    for i, row in enumerate(zip(*columns.values(), strict=True), first):
        yield Event(str(i), _MIDNIGHT + i * _STEP, "m", None, dict(zip(columns, row, strict=True)))


def _as_events(name: str, each: FloatArray) -> list[float | str | None]:
    kind = name.removeprefix("features.").rpartition(" ")[0]
    if KINDS[kind].categories:
        return [f"c{int(value)}" for value in each]
    return [None if np.isnan(value) else float(value) for value in each]


def _pairs(slots: IntArray, counts: IntArray) -> Iterator[tuple[int, int]]:
    return zip(slots.tolist(), counts.tolist(), strict=True)


def run(seed: int, *, by_phase: bool) -> dict[str, Any]:
    """A run: false pages, which tests raised them, and delays by kind."""
    model, end = Model.of(seed, by_phase=by_phase), (_KNOWN + JUDGED) * DAY
    pages = [step for _, step in model.judge(model.traffic, _KNOWN * DAY, end) if step.status is Status.FIRING]
    cycles = model.baseline.cycles
    return {
        "seed": seed,
        "phases": {each.name: each.phases for each in cycles.signals} if cycles else {},
        "pages": len(pages),
        "promised": round(JUDGED * DAY * RATE, 2),
        "by": [f"{each.signal}: {each.test.statistic}" for step in pages for each in step.findings],
        "delays": {kind: model.delay(f"features.{kind} 0") for kind in _SHIFTED},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs, each of another seed")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--alike", action="store_true", help="judge all times alike")
    parser.add_argument("--json", action="store_true", help="print each run as a line of JSON, when it ends")
    chosen = parser.parse_args()
    results = []
    for seed in range(chosen.first, chosen.first + chosen.runs):
        results.append(run(seed, by_phase=not chosen.alike))
        if chosen.json:
            print(json.dumps(results[-1]), flush=True)
    pages, promised = (sum(each[part] for each in results) for part in ("pages", "promised"))
    print(f"{pages} false pages in {chosen.runs} runs, {promised:.1f} promised", file=sys.stderr)
    for kind in _SHIFTED:
        print(f"1 σ more in {kind!r}: {[each['delays'][kind] for each in results]} events", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
