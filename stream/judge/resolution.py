"""How small a shift a baseline can show at all, and what it cannot tell. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.thresholds import independence_bound
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.slopes import AT_FIRST
from driftline.stream.config.remarks import Remark
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.pace import pace_of_baseline
from driftline.stream.text.phrases import listed

# Events that say as much as one, from which on they depend on each other by more than chance; those of AR(1) 0.2.
_INDEPENDENT = 1.5
#: Windows of a check once a model has had some hundred thousand events.
WINDOWS = 50


def smallest_baseline(baseline: Baseline, config: ModelConfig) -> int:
    """Events that a baseline with these signals needs, so that a shift of 1 σ of a normal one can reach its threshold.

    However long the shift lasts, the test knows the reference only from the n events of the baseline. A rank test has
    z² = n·(3/π)·(shift/σ)² then, and so an evidence of about z²/2 nats.
    """
    columns = len(Battery(baseline.layout, baseline.total.counts, config.reference == "past").columns)
    windows = len(config.windows) or WINDOWS
    threshold = independence_bound(
        config.rate_per_event(pace_of_baseline(baseline) or 0.0), config.clock, windows, columns
    )
    return math.ceil(threshold * 2 * math.pi / 3)


def proof_remarks(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """A remark on signals with `guarantee: proven` whose events depend on each other in the baseline, or may do so."""
    slopes = {
        signal.name: _slope(baseline, s)
        for s, signal in enumerate(baseline.layout.signals)
        if config.signals.is_proven(signal.name)
    }
    if unknown := [name for name, slope in slopes.items() if slope is None]:
        found = f"whether events of {listed(unknown)} depend on each other is not known"
        yield Remark((), f"model {baseline.model}: {found}", "`guarantee: proven` holds only if they do not")
    if slow := [f"{name} ({slope:.2g})" for name, slope in slopes.items() if slope and slope > _INDEPENDENT]:
        why = "in the baseline, as many events say as much as one, as they depend on each other:"
        help = "`guarantee: proven` does not hold for them; `measured` keeps its rate"
        yield Remark((), f"model {baseline.model}: {why} {listed(slow)}", help)


def _slope(baseline: Baseline, signal: int) -> float | None:
    """How many events say as much of a signal, by its index, as one independent event; None if it is not known."""
    name = baseline.layout.signals[signal].name
    if baseline.cycles and name in baseline.cycles.by_name:
        likeness = baseline.cycles.by_name[name].likeness
    elif baseline.slopes and name in baseline.slopes.runs:
        likeness = baseline.slopes.likeness(baseline.layout, signal, baseline.total.counts)
    else:
        return None
    of_shape = likeness.widths.slope(likeness.widths.mix[None] * baseline.total.n)[0, likeness.functionals.families[0]]
    # The middle one, as one of several is larger by chance.
    return float(np.median(of_shape)) if of_shape.size else 1.0


def order_remarks(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """A remark on a baseline without an order in time, if live events are to tell how they depend on each other."""
    measured = not all(map(config.signals.is_proven, baseline.names))
    if config.reference == "baseline" and baseline.asks_live and measured:
        why = f"model {baseline.model}: its baseline has no order in time: {AT_FIRST}"
        yield Remark((), why, "build it of events with times, without --unordered, if there are any")


def small_baseline_remarks(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """A remark on a baseline whose selected signals cannot show a shift of 1 σ, if it has too few events for that."""
    needed = smallest_baseline(baseline.select_signals(config.signals.selects), config)
    if baseline.total.n < needed:
        found = f"a baseline of so few events ({baseline.total.n:,}) cannot show a shift of 1 σ, however long it lasts"
        help = f"with these signals that takes {needed:,}, and smaller shifts take more"
        yield Remark((), f"model {baseline.model}: {found}", help)
