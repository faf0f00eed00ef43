"""How small a shift a baseline can show at all, and what it cannot tell. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from driftline.detectors.decision.battery import Battery
from driftline.detectors.decision.thresholds import independence_bound
from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.slopes import LIVE_BLOCK, LIVE_BLOCKS
from driftline.stream.config.remarks import Remark
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.pace import pace_of_baseline

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


def order_remarks(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """A remark on a baseline without an order in time, if live events are to tell how they depend on each other."""
    if config.reference == "baseline" and baseline.asks_live:
        found = f"{LIVE_BLOCKS * LIVE_BLOCK:,} live events will tell how events depend on each other; until then"
        why = f"model {baseline.model}: its baseline has no order in time, so {found} only large changes page"
        yield Remark((), why, "build it of events with times, without --unordered, if there are any")


def small_baseline_remarks(baseline: Baseline, config: ModelConfig) -> Iterator[Remark]:
    """A remark on a baseline whose selected signals cannot show a shift of 1 σ, if it has too few events for that."""
    needed = smallest_baseline(baseline.select_signals(config.signals.selects), config)
    if baseline.total.n < needed:
        found = f"a baseline of so few events ({baseline.total.n:,}) cannot show a shift of 1 σ, however long it lasts"
        help = f"with these signals that takes {needed:,}, and smaller shifts take more"
        yield Remark((), f"model {baseline.model}: {found}", help)
