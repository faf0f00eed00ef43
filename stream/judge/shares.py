"""What each signal has of the false pages of a model's data, for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.config.sections import ModelConfig
from driftline.stream.judge.judge import Judge
from driftline.stream.judge.pace import pace_of_baseline
from driftline.stream.judge.resolution import WINDOWS


@dataclass(frozen=True)
class Share:
    """The share of the false pages that a signal may cause, and the least evidence, in nats, that alarms of it."""

    signal: str
    priority: str
    share: float
    nats: float

    def __str__(self) -> str:
        """The share in words.

        >>> str(Share("score", "high", 0.345, 11.21))
        'score: priority high, 34 % of the false pages of the data, alarms from 11.2 nats'
        """
        return (
            f"{self.signal}: priority {self.priority}, {100 * self.share:.2g} % of the false pages of the data, "
            f"alarms from {self.nats:.1f} nats"
        )


def shares_of_baseline(baseline: Baseline, config: ModelConfig) -> tuple[Share, ...]:
    """What `shares` says of a model with this baseline, at its pace; none if that must be known and is not."""
    pace = pace_of_baseline(baseline)
    if not config.signals.rules or (pace is None and config.false_pages):
        return ()
    selected = replace(baseline.select_signals(config.signals.selects), cycles=None)
    return shares(Judge(selected, config), config.rate_per_event(pace or 0.0))


def shares(judge: Judge, rate: float) -> tuple[Share, ...]:
    """The shares of a judge's signals, largest first; none where all are the same. rate: false alarms per event.

    Signals that are not judged by slopes have that evidence at least, and more by how much their events depend on each
    other.
    """
    rules = [judge.config.signals.rule(each.name) for each in judge.baseline.layout.signals]
    if len({each.weight for each in rules}) < 2 or not judge.weighs:
        return ()
    battery, alike, fresh = judge.battery, judge.alike, judge.config.clock
    nats = judge.weights.bound(rate, fresh, len(judge.config.windows) or WINDOWS, battery)
    if alike:
        nats = alike.thresholds(nats[None], rate, fresh)[0]
    signal_of = (alike or battery).signal_of
    own = judge.weights.of[battery.signal_of]
    part = alike.shares if alike else np.bincount(battery.signal_of, own / own.sum(), len(rules))
    found = (
        Share(signal.name, rules[s].priority, float(part[s]), float(nats[signal_of == s].min()))
        for s, signal in enumerate(judge.baseline.layout.signals)
    )
    return tuple(sorted(found, key=lambda each: -each.share))
