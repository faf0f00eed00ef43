"""Counts every event of a chaos run by itself, without panes, runs or judge. Pure."""

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
from load_tests.chaos.outcome import Outcome, Verdict, abbreviated
from load_tests.harness.oracle import Parts, event_or_none

# Events sketched at once when they are counted.
_PORTION = 2000


def check_counts(verdict: Verdict, config: Config, known: Mapping[str, Baseline], outcome: Outcome) -> None:
    """Count every event by itself and compare, value by value, with the sums in the stored model states."""
    expected, events = _counted(known, outcome), Counter[str]()
    for model, (n, counts) in sorted(expected.items()):
        baseline = known[model]
        stored = _stored(outcome.model_states.get(model, {}), baseline, learned=model not in config.models)
        difference = stored.counts - counts
        verdict.expect(f"events counted of {model}", stored.n, n)
        if difference.any():
            excess = abbreviated(_by_signal(baseline, difference))
            verdict.mismatches.append(f"values counted of {model}: {excess} too many")
        verdict.lost += int(-difference[difference < 0].sum())
        verdict.doubled += int(difference[difference > 0].sum())
        events[model] = n
    verdict.figures |= {"models": len(events), "events": events.total()}


def _counted(known: Mapping[str, Baseline], outcome: Outcome) -> dict[str, tuple[int, IntArray]]:
    """By model, the number of its events, and the counts of their values in the layout of its baseline."""
    sums = {model: baseline.layout.empty() for model, baseline in known.items()}
    waiting: dict[str, list[Event]] = {model: [] for model in known}
    for value in chain.from_iterable(outcome.predictions.values()):
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


def _stored(parts: Parts, baseline: Baseline, learned: bool) -> Sketch:
    """The sum of everything that a model state has counted."""
    state, total = restore_state(parts, None if learned else baseline), baseline.layout.empty()
    if state.learned is not None:
        total += state.learned.total
    if state.judge is not None:
        total = sum((bucket.content for bucket in state.judge.history), total)
        total += state.judge.pending.content if state.judge.pending else baseline.layout.empty()
    return total


def _by_signal(baseline: Baseline, difference: IntArray) -> dict[str, int]:
    """The sum of the differences of each signal's counts, without signals whose sum is 0."""
    totals = np.bincount(baseline.layout.signal_of_column, weights=difference).astype(int).tolist()
    return {signal.name: total for signal, total in zip(baseline.layout.signals, totals, strict=True) if total}
