"""Events that follow the time of day, for baselines with cycles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import orjson

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.events.event import Event

#: Events of a day, one every three minutes, and the days of a baseline.
DAY, KNOWN = 480, 8
#: A Monday, epoch ms.
MONDAY = 1_700_438_400_000
_STEP = 86_400_000 // DAY


def events(first: int, days: float, seed: int, *, shift: float = 0.0, model: str = "given") -> Iterator[Event]:
    """The events from the `first` day on, of which all but `calm` follow the day. shift: added to `wave` and `calm`."""
    rng, n = np.random.default_rng([seed, first + 1000]), int(days * DAY)
    at = first * DAY + np.arange(n)
    sun = np.sin(2 * np.pi * at / DAY)
    wave, calm = 1.2 * sun + rng.normal(size=n) + shift, rng.normal(size=n) + shift
    kind = np.where(rng.random(n) < 0.3 + 0.25 * sun, "evening", "other")
    often = np.where(rng.random(n) < 0.2 + 0.18 * sun, np.nan, rng.normal(size=n))
    for i in range(n):
        signals = {
            "features.wave": float(wave[i]),
            "features.calm": float(calm[i]),
            "features.kind": str(kind[i]),
            "features.often": None if np.isnan(often[i]) else float(often[i]),
        }
        yield Event(f"{at[i]}", MONDAY + int(at[i]) * _STEP, model, None, signals)


def as_message(event: Event) -> bytes:
    """The event as a message."""
    features = {name.removeprefix("features."): value for name, value in event.signals.items()}
    return orjson.dumps({"id": event.id, "model": event.model, "ts": event.ts, "features": features})


@cache
def baseline_of_days(days: int = KNOWN, timezone: str = "UTC", format_version: int = 2) -> Baseline:
    """The baseline of the days before those of the tests."""
    settings = BuildSettings(timezone=timezone, format_version=format_version)
    return build_baseline([*events(-days, days, seed=0)], {"model": "given"}, settings)
