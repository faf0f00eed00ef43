"""A model's history for tests of model state: the same panes and states in every test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import build_baseline
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range

MODEL = "fraud, 2nd {try}"
# 60 events a pane and a test every 100, so that some panes are pending; an incident opens, ends and is forgotten.
PANE, CONFIG = 60, ModelConfig(clock=100, learn_events=250, incidents=Incidents(recovery="1m", cooldown="10m"))


def events(seed: int, start: int, n: int, shift: float = 0.0) -> tuple[Event, ...]:
    """n events from offset `start`, one a second; `shift` moves the amount, in sigma, and brings missing countries."""
    rng = np.random.default_rng([seed, start])
    amounts, countries = rng.normal(shift, 1.0, n), rng.choice(["at", "ch", "de"], n, p=[0.2, 0.3, 0.5])
    missing = rng.random(n) < shift / 4
    return tuple(
        Event(
            str(start + i),
            10**12 + 1000 * (start + i),
            MODEL,
            "1",
            {"features.amount": float(amounts[i]), "features.country": None if missing[i] else str(countries[i])},
        )
        for i in range(n)
    )


@cache
def baseline() -> Baseline:
    """The baseline of the model before it drifts."""
    return build_baseline(events(1, 0, 2000), {"model": MODEL})


def panes(count: int, seed: int = 2, given: Baseline | None = None) -> Iterator[Pane[Any]]:
    """Panes of two partitions in turn, the 16th to the 25th of drifting events; without `given` of events."""
    for i in range(count):
        shift = 1.5 if 15 <= i < 25 else 0.0
        content = events(seed, i * PANE, PANE, shift)
        run = Range(i % 2, i // 2 * PANE, i // 2 * PANE + PANE)
        summed = given.sketch_events(content) if given else content
        yield Pane(summed, content[0].ts, content[-1].ts, (run,))


@dataclass
class History:
    """Panes, the state after each (the first: before any), and the alerts of each pane in words."""

    given: Baseline | None
    panes: list[Pane[Any]]
    states: list[ModelState]
    alerts: list[list[str]]

    @property
    def monitor(self) -> Monitor:
        """A monitor as a worker makes it when it starts."""
        return Monitor(MODEL, CONFIG, self.given)


@cache
def history(*, learned: bool, count: int = 90) -> History:
    """The uninterrupted run of `count` panes, with a baseline file or one that is learned."""
    given = None if learned else baseline()
    run = History(given, list(panes(count, given=given)), [ModelState()], [])
    monitor = run.monitor
    for pane in run.panes:
        state, steps = monitor.judge(run.states[-1], pane)
        run.states.append(state)
        run.alerts.append([f"{step.seq} {step.status} {step.at} {step.incident}" for step in steps])
    return run
