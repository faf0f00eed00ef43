"""Every event of a chaos run counted by itself: no panes, no runs, no judge. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain

import numpy as np

from driftline.detectors.arrays import IntArray
from driftline.detectors.summaries.sketch import Sketch
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.codec.state import restore_state
from driftline.stream.config.sections import Config
from driftline.stream.events.event import Event
from load_tests.chaos.outcome import Left, Verdict, shown
from load_tests.harness.oracle import Parts, event_or_none

# Events sketched at once when they are counted.
_PORTION = 2000


def check_counts(verdict: Verdict, config: Config, known: Mapping[str, Baseline], left: Left) -> None:
    """Count every event by itself, and compare with the sum of all that is remembered, value by value."""
    expected, events = _counted(known, left), Counter[str]()
    for model, (n, counts) in sorted(expected.items()):
        baseline = known[model]
        stored = _remembered(left.memories.get(model, {}), baseline, learned=model not in config.models)
        difference = stored.counts - counts
        verdict.expect(f"events counted of {model}", stored.n, n)
        if difference.any():
            verdict.wrongs.append(f"values counted of {model}: {shown(_by_signal(baseline, difference))} too many")
        verdict.lost += int(-difference[difference < 0].sum())
        verdict.doubled += int(difference[difference > 0].sum())
        events[model] = n
    verdict.figures |= {"models": len(events), "events": events.total()}


def _counted(known: Mapping[str, Baseline], left: Left) -> dict[str, tuple[int, IntArray]]:
    """By model, how many events there are, and the counts of their values in the layout of its baseline."""
    sums = {model: baseline.layout.empty() for model, baseline in known.items()}
    waiting: dict[str, list[Event]] = {model: [] for model in known}
    for value in chain.from_iterable(left.predictions.values()):
        event = event_or_none(value)
        if event is not None:
            waiting[event.model].append(event)
            if len(waiting[event.model]) == _PORTION:
                sums[event.model] += known[event.model].sketch_events(waiting[event.model])
                waiting[event.model] = []
    for model, events in waiting.items():
        if events:
            sums[model] += known[model].sketch_events(events)
    return {model: (total.n, total.counts) for model, total in sums.items()}


def _remembered(parts: Parts, baseline: Baseline, learned: bool) -> Sketch:
    """Everything that a memory has counted."""
    memory, total = restore_state(parts, None if learned else baseline), baseline.layout.empty()
    if memory.learned is not None:
        total += memory.learned.total
    if memory.judge is not None:
        total = sum((bucket.content for bucket in memory.judge.history), total)
        total += memory.judge.pending.content if memory.judge.pending else baseline.layout.empty()
    return total


def _by_signal(baseline: Baseline, difference: IntArray) -> dict[str, int]:
    """By signal, by how much its counts differ in sum."""
    totals = np.bincount(baseline.layout.signal_of_column, weights=difference).astype(int).tolist()
    return {signal.name: total for signal, total in zip(baseline.layout.signals, totals, strict=True) if total}
