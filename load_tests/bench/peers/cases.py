"""What peers are asked, whatever library they are of. It needs NumPy alone, as `elsewhere` runs in another environment.

A peer starts from the values of a baseline and then says of each value whether it raises an alarm.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Alarmed = Callable[[float], bool]
#: Alarms that one signal of a model of 20 may raise for each of its values, at one false page in 100,000 events.
PER_VALUE = 1e-5 / 20
# Values without a drift that find a setting: two alarms are allowed.
TUNED_ON = 4_000_000
# Slow peers take fewer values: before a drift, after it, and where there is none. Their windows are at most 500 long.
_BEFORE, _AFTER, _QUIET = 1000, 3000, 10_000


@dataclass(frozen=True, eq=False)
class Case:
    """Values of one signal. known: those of the baseline, the first ones. at: where it drifts, or None."""

    values: Floats
    known: int
    at: int | None = None


@dataclass(frozen=True)
class Peer:
    """A detector at one setting.

    name: with the setting. start: of the baseline's values. is_looser: it raises more false alarms than allowed.
    """

    name: str
    start: Callable[[Floats], Alarmed]
    slow: bool = False
    is_looser: bool = False

    def figure(self, case: Case) -> float | None:
        """Values from the drift to the first alarm after it, None if none comes; or alarms in a million without one."""
        alarmed = self.start(case.values[: case.known])
        if case.at is None:
            live = case.values[case.known :][: _QUIET if self.slow else None]
            return sum(1 for _ in alarms(alarmed, live)) / len(live) * 1e6
        first = case.at - _BEFORE if self.slow else 0
        seen = alarms(alarmed, case.values[first:][: _BEFORE + _AFTER if self.slow else None])
        return next((each + first - case.at for each in seen if each + first > case.at), None)

    def cost(self) -> float:
        """Processor time of a value, in µs, at normal values."""
        alarmed, live = self.start(normal(20_000)), normal(2000 if self.slow else 50_000)
        start = time.process_time()
        for _ in alarms(alarmed, live):
            pass
        return (time.process_time() - start) / len(live) * 1e6


def alarms(alarmed: Alarmed, of: Floats) -> Iterator[int]:
    """How many values a peer has seen at each of its alarms."""
    return (seen for seen, value in enumerate(of.tolist(), 1) if alarmed(value))


def middle(delays: Sequence[float | None]) -> float:
    """The median of delays, infinite where most are missed."""
    return statistics.median_high([math.inf if each is None else each for each in delays])


def normal(count: int) -> Floats:
    """Independent normal values."""
    return np.random.default_rng(2026).standard_normal(count)


def most_sensitive(start: Callable[[float], Callable[[Floats], Alarmed]], settings: Sequence[float]) -> float:
    """The first setting, of ever less sensitive ones, that raises no more alarms than allowed on normal values.

    Raises StopIteration where none does.
    """
    quiet, allowed = normal(TUNED_ON), int(TUNED_ON * PER_VALUE)
    found = (islice(alarms(start(each)(np.zeros(1)), quiet), allowed + 1) for each in settings)
    return next(each for each, seen in zip(settings, found, strict=True) if len(list(seen)) <= allowed)
